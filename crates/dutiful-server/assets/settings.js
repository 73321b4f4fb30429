// What this server is: its store, what the doctor says of it, and the token of this tab.

import { get, setToken, token } from "./api.js";
import { ask } from "./dialog.js";
import { count } from "./format.js";
import { usePoll } from "./live.js";
import { Head, html, Icon, Loaded, State, Text } from "./parts.js";

export function Settings() {
  const info = usePoll(() => get("/v1/info"), 60000);
  const doctor = usePoll(() => get("/v1/doctor", { timeout: 60000 }), 60000);
  return html`
    <${Head} title="Settings" />
    <${Loaded} of=${info}>${(data) => html`<${Facts} of=${data} />`}<//>
    <section class="card" aria-labelledby="doctor"><div class="card-head">
      <h2 id="doctor">Doctor</h2>
      <button type="button" onClick=${doctor.reload}>Look again</button></div>
      <${Loaded} of=${doctor}>${(data) => html`<${Findings} of=${data.findings} />`}<//></section>
    <${Token} />`;
}

function Facts({ of }) {
  const rows = [
    ["Version", of.version], ["Store", `${of.store.store} ${of.store.version}`],
    ["Place", of.store.place], ["Durability", of.store.durability],
    ["Access", of.open ? "open on this machine, no token needed" : "by token or session"],
    of.scopes?.length > 0 && ["You may", of.scopes.join(", ")],
  ].filter(Boolean);
  return html`
    <section class="card" aria-labelledby="server"><div class="card-head">
      <h2 id="server">Server and store</h2><a href="/docs">API</a></div>
      <dl class="facts">${rows.map(([name, value]) => html`<div key=${name}><dt>${name}</dt>
        <dd><${Text} of=${value} /></dd></div>`)}</dl></section>`;
}

const WORST = { bad: 0, warning: 1, ok: 2 };

function Findings({ of }) {
  const sorted = [...of].sort((a, b) => WORST[a.verdict] - WORST[b.verdict]);
  const open = sorted.filter((one) => one.verdict !== "ok").length;
  return html`
    <p class="note">${open ? `${count(open)} of ${count(of.length)} need a look.`
      : `All ${count(of.length)} checks are fine.`}</p>
    <ul class="findings">${sorted.map((one) => html`
      <li key=${one.check} class=${one.verdict}><${Icon} name=${one.verdict} />
        <div><strong>${one.check.replaceAll("_", " ")}</strong> <${State} of=${one.verdict} />
          <p dir="auto">${one.value}</p>
          ${one.advice && html`<p class="advice" dir="auto">${one.advice}</p>`}</div></li>`)}</ul>`;
}

const Token = () => html`
  <section class="card" aria-labelledby="token"><h2 id="token">Token</h2>
    <p class="note">${token() ? "This tab sends a token with each request."
      : "This tab sends no token. One is needed when the server was given any."}
      ${" "}A token is kept until the tab is closed and sent to this server only.</p>
    <div class="actions"><button type="button" onClick=${() => askForToken()}>
      ${token() ? "Use another token" : "Use a token"}</button>
      ${token() && html`<button type="button" onClick=${() => use("")}>Forget it</button>`}</div>
  </section>`;

function use(text) {
  setToken(text);
  location.reload();
}

let asking = false;
/** Who said no once is not asked with each answer of the server again. */
let declined = false;

/** Asks for a token: by the button, or because the server answered that it wants one. */
export async function askForToken(text) {
  if (asking || (declined && text)) return;
  asking = true;
  const answer = await ask({
    title: "Token", text, yes: "Use it",
    fields: [{
      name: "token", label: "A token of this server", type: "password",
      hint: "It begins with dtf_ and is kept in this tab only.",
      check: (value) => (/^[\x21-\x7e]+$/.test(value.trim()) ? "" : "Paste the whole token."),
    }],
  });
  asking = false;
  declined = !answer;
  if (answer) use(answer.token.trim());
}
