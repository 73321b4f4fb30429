// What this server is: its store, what the doctor says of it, who looks, and the tokens.

import { get } from "./api.js";
import { count } from "./format.js";
import { Handlers } from "./handlers.js";
import { usePoll } from "./live.js";
import { Advice, Head, html, Icon, Loaded, State, Text } from "./parts.js";
import { may, useSession } from "./session.js";
import { Tokens } from "./tokens.js";

export function Settings() {
  const info = usePoll(() => get("/v1/info"), 60000);
  const doctor = usePoll(() => get("/v1/doctor", { timeout: 60000 }), 60000);
  return html`
    <${Head} title="Settings" />
    <${Loaded} of=${info}>${(data) => html`<${Facts} of=${data} />`}<//>
    ${may("admin") && html`<${Tokens} /><${Handlers} />`}
    <section class="card" aria-labelledby="doctor"><div class="card-head">
      <h2 id="doctor">Doctor</h2>
      <button type="button" onClick=${doctor.reload}>Look again</button></div>
      <${Loaded} of=${doctor}>${(data) => html`<${Findings} of=${data.findings} />`}<//></section>`;
}

function Facts({ of }) {
  const { open, actor, scopes } = useSession();
  const rows = [
    ["Version", of.version], ["Store", `${of.store.store} ${of.store.version}`],
    ["Place", of.store.place], ["Durability", of.store.durability],
    ["Access", open ? "open on this machine, nobody is asked who they are"
      : "by signing in or by token"],
    actor !== null && ["Signed in as", actor],
    scopes.length > 0 && ["You may", scopes.join(", ")],
  ].filter(Boolean);
  return html`
    <section class="card" aria-labelledby="server"><div class="card-head">
      <h2 id="server">Server and store</h2>
      <span><a href="/audit">Audit</a> · <a href="/docs">API</a></span></div>
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
          ${one.advice && html`<p class="advice" dir="auto"><${Advice} of=${one.advice} /></p>`}</div></li>`)}</ul>`;
}
