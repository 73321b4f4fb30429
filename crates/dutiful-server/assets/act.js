// Buttons for what not everybody may do: they stay where they are, and say which scope they need.

import { say } from "./dialog.js";
import { html } from "./parts.js";
import { lacking } from "./session.js";

/**
 * A button that needs a scope. Who lacks it can still reach the button, by keyboard too, and is
 * told why it does nothing; the server would refuse the request all the same.
 */
export function Act({ scope, onClick, children, ...rest }) {
  const why = lacking(scope);
  if (!why) return html`<button type="button" onClick=${onClick} ...${rest}>${children}</button>`;
  return html`<button type="button" ...${rest} aria-disabled="true" title=${why}
    onClick=${() => say(why, "warning")}>${children}</button>`;
}
