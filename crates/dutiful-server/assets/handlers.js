// The push handlers that are registered over HTTP: where each sends its jobs, and whether it runs.

import { get } from "./api.js";
import { usePoll } from "./live.js";
import { html, Icon, Loaded, queueHref, Text } from "./parts.js";

export function Handlers() {
  const handlers = usePoll(() => get("/v1/handlers"), 15000);
  return html`
    <section class="card" aria-labelledby="handlers"><div class="card-head">
      <h2 id="handlers">Push handlers</h2></div>
      <${Loaded} of=${handlers}>${(data) => data.handlers.length === 0
        ? html`<p class="note">None is registered over HTTP. PUT /v1/handlers/TYPE registers one;
            those of dutiful.toml are not listed here.</p>`
        : html`<${Table} handlers=${data.handlers} />`}<//></section>`;
}

const Table = ({ handlers }) => html`
  <div class="scroll"><table>
    <caption class="hidden">Push handlers registered over HTTP, by type</caption>
    <thead><tr><th scope="col">Type</th><th scope="col">Sends to</th><th scope="col">Queue</th>
      <th scope="col" class="n wide">Attempts</th>
      <th scope="col" class="n wide">Secrets</th></tr></thead>
    <tbody>${handlers.map((one) => html`<${Row} key=${one.type} of=${one} />`)}</tbody>
  </table></div>`;

/** The path of a URL may hold a secret, and is not needed to know whose jobs go where. */
const Row = ({ of }) => html`
  <tr>
    <th scope="row"><${Text} of=${of.type} />
      ${of.trouble && html`<div class="sub"><${Icon} name="warning" />
        Does not run here: <${Text} of=${of.trouble} /></div>`}</th>
    <td>${of.origin === null ? "–" : html`<${Text} of=${of.origin} />`}</td>
    <td><a href=${queueHref(of.queue)}><${Text} of=${of.queue} /></a></td>
    <td class="n wide">${of.max_attempts ?? "as usual"}</td>
    <td class="n wide">${of.secret_count}</td>
  </tr>`;
