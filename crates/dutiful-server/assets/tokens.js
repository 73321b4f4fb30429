// The tokens of programs and people: made with a few rights, shown once, revoked.

import { get, post, remove } from "./api.js";
import { ask, attempt } from "./dialog.js";
import { plural } from "./format.js";
import { usePoll } from "./live.js";
import { Copy, Empty, html, Icon, Loaded, queueHref, Text, Time } from "./parts.js";
import { learn, useSession } from "./session.js";
import { useEffect, useRef, useState } from "./vendor/hooks.js";

const SCOPES = [
  ["read", "read", "look at everything this dashboard shows"],
  ["enqueue", "enqueue", "hand in jobs"],
  ["work", "work", "claim jobs and say how they ended"],
  ["operate", "operate", "retry, cancel, edit, delete, pause"],
  ["admin", "admin", "make and revoke tokens"],
];
const DAY_S = 86400;
const EXPIRIES = [
  [String(DAY_S), "in a day"], [String(7 * DAY_S), "in 7 days"], [String(30 * DAY_S), "in 30 days"],
  [String(90 * DAY_S), "in 90 days"], [String(365 * DAY_S), "in a year"], ["", "never"],
];
const USUAL_EXPIRY = String(90 * DAY_S);

const words = (text) => text.split(/[\s,]+/).filter(Boolean);

/** Asks what the new token is for; resolves to what is sent, or null. */
async function draft() {
  const answer = await ask({
    title: "A new token", yes: "Make it",
    fields: [
      { name: "name", label: "Name", hint: "Who or what will use it; the audit log says this name.",
        check: (text) => (text.trim() ? "" : "Give it a name.") },
      { name: "scopes", label: "It may", type: "ticks", options: SCOPES, value: ["read"],
        check: (list) => (list.length > 0 ? "" : "Tick at least one.") },
      { name: "queues", label: "Only in these queues",
        hint: "With commas between; empty: in all." },
      { name: "expires_in_s", label: "It ends", options: EXPIRIES, value: USUAL_EXPIRY },
    ],
  });
  if (!answer) return null;
  const wanted = { name: answer.name.trim(), scopes: answer.scopes };
  if (words(answer.queues).length > 0) wanted.queues = words(answer.queues);
  if (answer.expires_in_s) wanted.expires_in_s = Number(answer.expires_in_s);
  return wanted;
}

export function Tokens() {
  const { open } = useSession();
  const tokens = usePoll(() => get("/v1/tokens"), 15000);
  const [made, setMade] = useState(null);
  const make = async () => {
    const wanted = await draft();
    if (!wanted) return;
    const answer = await attempt(`The token ${wanted.name} is made`,
      () => post("/v1/tokens", wanted));
    if (!answer) return;
    setMade(answer);
    tokens.reload();
  };
  const revoke = async (one) => {
    const yes = await ask({
      title: `Revoke the token ${one.name}?`, danger: true, yes: "Revoke it",
      text: "Whatever uses it is refused from now on. This cannot be undone.",
    });
    if (!yes) return;
    const path = `/v1/tokens/${encodeURIComponent(one.id)}`;
    const done = await attempt(`The token ${one.name} is revoked`, () => remove(path));
    if (!done) return;
    if (made?.id === one.id) setMade(null);
    tokens.reload();
    // It may have been the one of this session.
    learn();
  };
  return html`
    <section class="card" aria-labelledby="tokens"><div class="card-head">
      <h2 id="tokens" tabindex="-1">Tokens</h2>
      <button type="button" onClick=${make}>New token</button></div>
      ${open && html`<p class="note">This server asks nobody who they are, and tokens change nothing
        while it is open; the guide says how to close it.</p>`}
      ${made && html`<${Made} key=${made.id} of=${made} done=${() => setMade(null)} />`}
      <${Loaded} of=${tokens}>${(data) => data.tokens.length === 0
        ? html`<${Empty} title="No token yet">Programs and people who use the API each get one,
            with no more rights than they need.<//>`
        : html`<${Table} tokens=${data.tokens} revoke=${revoke} />`}<//></section>`;
}

/** A token that was just made: the one time at which it is shown. */
function Made({ of, done }) {
  const box = useRef();
  const input = useRef();
  useEffect(() => box.current.focus(), []);
  const close = () => {
    done();
    document.getElementById("tokens").focus();
  };
  return html`
    <div class="made notice ok" role="group" aria-labelledby="made" tabindex="-1" ref=${box}>
      <${Icon} name="ok" />
      <div><p id="made">This is the token of <strong><${Text} of=${of.name} /></strong>.
        ${" "}Copy it now: it is not shown again.</p>
        <div class="made-line">
          <input readonly class="mono" ref=${input} value=${of.token}
          aria-label=${`The token of ${of.name}`} onFocus=${() => input.current.select()} />
          <${Copy} text=${of.token} what="the token" /></div>
        <button type="button" onClick=${close}>I have kept it</button></div></div>`;
}

const Table = ({ tokens, revoke }) => html`
  <div class="scroll"><table>
    <caption class="hidden">Tokens, newest first</caption>
    <thead><tr><th scope="col">Name</th><th scope="col">It may</th>
      <th scope="col" class="wide">Queues</th><th scope="col" class="wide">Made</th>
      <th scope="col" class="wide">Ends</th><th scope="col" class="wide">Last used</th>
      <th scope="col">Actions</th></tr></thead>
    <tbody>${tokens.map((one) => html`<${Row} key=${one.id} of=${one} revoke=${revoke} />`)}</tbody>
  </table></div>`;

const Ends = ({ at }) => at ? html`<${Time} at=${at} />` : "never";

function Row({ of, revoke }) {
  const over = of.expires_at && Date.parse(of.expires_at) <= Date.now();
  const queues = of.queues || [];
  return html`
    <tr>
      <th scope="row"><${Text} of=${of.name} />
        ${over && html` <span class="state">past its time</span>`}
        <div class="sub"><span class="id">${of.id}</span></div>
        <div class="sub narrow">${queues.length > 0 && `${plural(queues.length, "queue")} · `}
          ends <${Ends} at=${of.expires_at} /> · used <${Used} at=${of.last_used_at} /></div></th>
      <td>${of.scopes.map((scope) => html`<span class="mark">${scope}</span> `)}</td>
      <td class="wide">${queues.length === 0 ? "all" : queues.map((name) => html`
        <a class="mark" href=${queueHref(name)}><${Text} of=${name} /></a> `)}</td>
      <td class="wide"><${Time} at=${of.created_at} /></td>
      <td class="wide"><${Ends} at=${of.expires_at} /></td>
      <td class="wide"><${Used} at=${of.last_used_at} /></td>
      <td><button type="button" class="quiet" onClick=${() => revoke(of)}
        aria-label=${`Revoke the token ${of.name}`}>Revoke</button></td>
    </tr>`;
}

const Used = ({ at }) => at ? html`<${Time} at=${at} />` : "never";
