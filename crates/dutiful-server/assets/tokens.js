// The tokens of programs and people: made with a few rights, shown once, revoked.

import { get, post, remove } from "./api.js";
import { ask, attempt } from "./dialog.js";
import { plural } from "./format.js";
import { usePoll } from "./live.js";
import { Copy, html, Loaded, queueHref, Text, Time } from "./parts.js";
import { closeWith, learn, useSession } from "./session.js";

const SCOPES = [
  ["read", "read", "look at everything this dashboard shows"],
  ["enqueue", "enqueue", "put jobs into queues"],
  ["work", "work", "claim jobs and say how they ended"],
  ["operate", "operate", "retry, cancel, edit, delete, pause"],
  ["admin", "admin", "everything, also tokens and redacted fields"],
];
/** A token for these alone can be kept to some queues. */
const BY_QUEUE = ["enqueue", "work"];
const DAY_S = 86400;
const EXPIRIES = [
  [String(DAY_S), "in a day"], [String(7 * DAY_S), "in 7 days"], [String(30 * DAY_S), "in 30 days"],
  [String(90 * DAY_S), "in 90 days"], [String(365 * DAY_S), "in a year"], ["", "never"],
];
const USUAL_EXPIRY = String(90 * DAY_S);

const words = (text) => text.split(/[\s,]+/).filter(Boolean);

const FIRST = "This server asks nobody who they are. From the first token on it asks everybody, " +
  "programs and workers too; you go on here signed in with it, so it has the scope admin.";

function scopesProblem(list, first) {
  if (first && !list.includes("admin")) return "The first token needs the scope admin.";
  return list.length > 0 ? "" : "Tick at least one.";
}

function queuesProblem(text, { scopes }) {
  const wide = scopes.filter((one) => !BY_QUEUE.includes(one));
  return words(text).length > 0 && wide.length > 0
    ? `The scope ${wide[0]} goes for all queues: untick it, or leave this empty.` : "";
}

/** Asks what the new token is for; resolves to what is sent, or null. */
async function draft(first) {
  const answer = await ask({
    title: first ? "The first token" : "A new token", yes: "Make it", text: first && FIRST,
    fields: [
      { name: "name", label: "Name", hint: "Who or what will use it; the audit log says this name.",
        check: (text) => (text.trim() ? "" : "Give it a name.") },
      { name: "scopes", label: "It may", type: "ticks", options: SCOPES,
        value: [first ? "admin" : "read"], check: (list) => scopesProblem(list, first) },
      { name: "queues", label: "Only in these queues", check: queuesProblem,
        hint: "With commas between, for one that may only enqueue and work; empty: in all." },
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
  const { open, password } = useSession();
  const tokens = usePoll(() => get("/v1/tokens"), 15000);
  const make = async () => {
    const wanted = await draft(open);
    if (!wanted) return;
    const create = () => post("/v1/tokens", wanted);
    const answer = await attempt(`The token ${wanted.name} is made`,
      open ? () => closeWith(create) : create);
    if (!answer) return;
    await show(answer);
    tokens.reload();
  };
  const revoke = async (one) => {
    const last = !password && tokens.data.tokens.length === 1;
    const yes = await ask({
      title: `Revoke the token ${one.name}?`, danger: true, yes: "Revoke it",
      text: "Whatever uses it is refused within a second. This cannot be undone." +
        (last ? " It is the last one, and there is no password: after it only a token lets in " +
          "that dutiful tokens create makes on the server." : ""),
    });
    if (!yes) return;
    const path = `/v1/tokens/${encodeURIComponent(one.id)}`;
    const done = await attempt(`The token ${one.name} is revoked`, () => remove(path));
    if (!done) return;
    tokens.reload();
    // It may have been the one of this session.
    learn();
  };
  return html`
    <section class="card" aria-labelledby="tokens"><div class="card-head">
      <h2 id="tokens">Tokens</h2>
      <button type="button" onClick=${make}>New token</button></div>
      ${open && html`<p class="note">This server asks nobody who they are; with the first token it
        asks everybody.</p>`}
      <${Loaded} of=${tokens}>${(data) => data.tokens.length === 0
        ? html`<p class="note">There is none. Programs and people who use the API each get one,
            with no more rights than they need.</p>`
        : html`<${Table} tokens=${data.tokens} revoke=${revoke} />`}<//></section>`;
}

/** Shows a token that was just made, the one time that it can be. */
const show = (made) => ask({
  title: `The token of ${made.name}`, stays: true, yes: "I have kept it",
  text: "Copy it now to where it is needed: it is not shown again.",
  more: html`<div class="made">
    <input readonly class="mono" value=${made.token} aria-label=${`The token of ${made.name}`}
      onFocus=${(event) => event.target.select()} />
    <${Copy} text=${made.token} what="the token" /></div>`,
});

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
  const queues = of.queues || [];
  // Who may administer may do everything else.
  const scopes = of.scopes.includes("admin") ? ["admin"] : of.scopes;
  return html`
    <tr>
      <th scope="row"><${Text} of=${of.name} />
        <div class="sub"><span class="id">${of.id}</span></div>
        <div class="sub narrow">${queues.length > 0 && `${plural(queues.length, "queue")} · `}
          ends <${Ends} at=${of.expires_at} /> · used <${Used} at=${of.last_used_at} /></div></th>
      <td>${scopes.map((scope) => html`<span class="mark">${scope}</span> `)}</td>
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
