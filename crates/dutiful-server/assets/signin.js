// The page in the place of every other one while nobody is signed in.

import { Empty, Head, html, Icon, Text } from "./parts.js";
import { signIn } from "./session.js";
import { useEffect, useRef, useState } from "./vendor/hooks.js";

/** How one can say who one is; a server without a password takes tokens only. */
const WAYS = [
  {
    name: "password", label: "Password", button: "Sign in", autocomplete: "current-password",
    wrong: "This is not the password.",
  },
  {
    name: "token", label: "Token", button: "Sign in with the token", autocomplete: "off",
    hint: "It begins with dut_. Somebody with the scope admin makes tokens under Settings.",
    wrong: "This token is not valid: it is mistyped, past its time, or revoked.",
  },
];

export function SignIn({ password, word }) {
  const ways = WAYS.filter(({ name }) => password || name === "token");
  return html`
    <section class="card signin" aria-labelledby="title">
      <${Head} title="Sign in" note="This server shows its jobs to those who sign in." />
      <p role="status" class=${word ? "notice info" : "hidden"}>${word && html`
        <${Icon} name="info" /><span>${word}</span>`}</p>
      ${ways.map((way, i) => html`
        ${i > 0 && html`<p class="or"><span>or</span></p>`}
        <${Way} key=${way.name} of=${way} first=${i === 0} />`)}
    </section>`;
}

function Way({ of, first }) {
  const input = useRef();
  const [wrong, setWrong] = useState("");
  const [busy, setBusy] = useState(false);
  useEffect(() => {
    if (first) input.current.focus();
  }, []);
  const submit = async (event) => {
    event.preventDefault();
    if (busy) return;
    const value = of.name === "token" ? input.current.value.trim() : input.current.value;
    if (!value) {
      setWrong(`Type the ${of.name}.`);
      input.current.focus();
      return;
    }
    setBusy(true);
    // Said anew, so that the same answer to another try is read aloud again.
    setWrong("");
    try {
      await signIn({ [of.name]: value });
    } catch (problem) {
      setWrong(problem.status === 401 ? of.wrong : problem.message);
      input.current?.select();
    }
    setBusy(false);
  };
  const id = `signin-${of.name}`;
  return html`
    <form onSubmit=${submit} class="way">
      <label for=${id}>${of.label}</label>
      <input id=${id} type="password" ref=${input} autocomplete=${of.autocomplete}
        spellcheck=${false} autocapitalize="off" aria-invalid=${wrong ? "true" : undefined}
        aria-describedby=${`${id}-note`} />
      <p id=${`${id}-note`} class=${wrong ? "wrong" : "note"} role="alert">${wrong}</p>
      ${of.hint && html`<p class="note">${of.hint}</p>`}
      <button type="submit" class=${first ? "primary" : ""} aria-disabled=${busy}>${
        busy ? "Signing in …" : of.button}</button>
    </form>`;
}

/** Before anything is known of the session: nothing yet, or why not. */
export const Wait = ({ problem }) => problem
  ? html`<${Head} title="Dutiful" /><div role="alert"><${Empty} title="The server does not answer">
      This page goes on by itself as soon as it does: <${Text} of=${problem.message} />.<//></div>`
  : html`<${Head} title="Dutiful" /><p class="loading" role="status">Loading …</p>`;

/** For a token that may do something, but not look. */
export const Blind = ({ actor, scopes }) => html`
  <${Head} title="Nothing to show" />
  <div class="notice warning"><${Icon} name="warning" />
    <span><${Text} of=${actor} /> is signed in but may not look: this dashboard needs the scope
      read, and there is ${scopes.length > 0 ? `only ${scopes.join(", ")}` : "none"}. Sign out to
      come back as somebody else.</span></div>`;
