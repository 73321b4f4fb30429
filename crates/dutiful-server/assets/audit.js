// What operators did: who, when, what to, and whether it was done.

import { get, query } from "./api.js";
import { clock, isId, plural } from "./format.js";
import { usePoll } from "./live.js";
import { Empty, Head, html, JobLink, Loaded, queueHref, Text, Time } from "./parts.js";
import { go } from "./router.js";
import { useState } from "./vendor/hooks.js";

const PAGE = 50;
const NONE = { entries: [], next: undefined, busy: false };

export function Audit({ search }) {
  const given = new URLSearchParams(search);
  const filter = { actor: given.get("actor") || "", action: given.get("action") || "" };
  const [more, setMore] = useState(NONE);
  const extended = more.next !== undefined;
  const first = usePoll(() => get(`/v1/audit${query({ limit: PAGE })}`), 5000, [],
    { pause: extended });
  const next = extended ? more.next : first.data?.next;
  const goOn = async () => {
    setMore({ ...more, busy: true, error: null });
    try {
      const page = await get(`/v1/audit${query({ limit: PAGE, before: next })}`);
      setMore({ entries: [...more.entries, ...page.entries], next: page.next, busy: false });
    } catch (error) {
      setMore({ ...more, busy: false, error });
    }
  };
  const refresh = () => {
    setMore(NONE);
    first.reload();
  };
  return html`
    <${Head} title="Audit" note="What was done to jobs, queues and tokens, and by whom." />
    <${Loaded} of=${first}>${(data) => {
      const all = [...data.entries, ...more.entries];
      const kept = all.filter((one) => {
        return (!filter.actor || one.actor === filter.actor)
          && (!filter.action || one.action === filter.action);
      });
      if (all.length === 0) {
        return html`<${Empty} title="Nothing was done yet">Retries, cancellations, pauses and all
          else that people and programs change is written down here.<//>`;
      }
      return html`
        <${Filter} all=${all} filter=${filter} />
        ${kept.length > 0 ? html`<${Table} entries=${kept} />`
          : html`<${Empty} title="Nothing like this in what is loaded">
              <a href="/audit">Show all entries</a>${next && " or load older ones"}.<//>`}
        <div class="more">
          ${more.error && html`<p class="wrong" role="alert">
            <${Text} of=${more.error.message} /></p>`}
          <p role="status" class="note">${kept.length < all.length && `${kept.length} of `}${
            plural(all.length, "entry", "entries")} shown${next ? "" : ", that is all"}</p>
          ${extended && html`<button type="button" class="quiet" onClick=${refresh}>
            Back to the newest</button>`}
          ${next && html`<button type="button" onClick=${goOn} disabled=${more.busy}>
            ${more.busy ? "Loading …" : "Older entries"}</button>`}</div>`;
    }}<//>`;
}

const FILTERS = [["actor", "Who", "everybody"], ["action", "What", "everything"]];

/** Chooses among what is loaded; the choice stands in the address. */
function Filter({ all, filter }) {
  const choose = (name) => (event) => {
    go(`/audit${query({ ...filter, [name]: event.target.value })}`);
  };
  return html`
    <form class="choices" aria-label="Filter what is loaded"
      onSubmit=${(event) => event.preventDefault()}>
      ${FILTERS.map(([name, label, any]) => {
        const seen = [...new Set([filter[name], ...all.map((one) => one[name])])];
        return html`<label key=${name} class="field"><span>${label}</span>
          <select value=${filter[name]} onChange=${choose(name)}>
            <option value="" selected=${!filter[name]}>${any}</option>
            ${seen.filter(Boolean).sort().map((one) => html`<option key=${one} value=${one}
              selected=${one === filter[name]}>${one}</option>`)}</select></label>`;
      })}
    </form>`;
}

const Table = ({ entries }) => html`
  <div class="card scroll"><table class="audit">
    <caption class="hidden">What was done, newest first</caption>
    <thead><tr><th scope="col">When</th><th scope="col" class="wide">Who</th>
      <th scope="col">What</th><th scope="col" class="wide">Answer</th></tr></thead>
    <tbody>${entries.map((one) => html`<${Row} key=${one.id} of=${one} />`)}</tbody>
  </table></div>`;

function Row({ of }) {
  const answer = html`<${Answer} status=${of.status} />`;
  return html`
    <tr>
      <td><${Time} at=${of.at} /><div class="sub wide">${clock(of.at)}</div></td>
      <td class="wide actor"><${Text} of=${of.actor} /></td>
      <td><strong><${Text} of=${of.action} /></strong>${of.subject && html`${" "}
          <${Subject} of=${of.subject} action=${of.action} />`}
        ${of.detail && html`<div class="sub"><${Detail} of=${of.detail} /></div>`}
        <div class="sub narrow">by <${Text} of=${of.actor} /> · ${answer}</div></td>
      <td class="wide">${answer}</td>
    </tr>`;
}

/** How it went; a server that was killed in the middle did not write that down. */
function Answer({ status }) {
  if (!status) return html`<span class="state">not known</span>`;
  const word = status < 400 ? "done" : status < 500 ? "refused" : "went wrong";
  const tone = { done: "ok", refused: "warning", "went wrong": "bad" }[word];
  return html`<span class=${`state is-${tone}`} title=${`Status ${status}`}>${word}</span>`;
}

/** Of a list so many are shown; the entry itself says how many there were. */
const FEW = 3;

/** More about it, as it was written down: names and values, lists last. */
function Detail({ of }) {
  if (typeof of !== "object" || Array.isArray(of)) return html`<${Value} of=${of} />`;
  const pairs = Object.entries(of).filter(([, value]) => value !== null);
  pairs.sort(([, one], [, other]) => Array.isArray(one) - Array.isArray(other));
  return pairs.map(([name, value], i) => html`${i > 0 && " · "}${name.replaceAll("_", " ")}${" "}
    <${Value} of=${value} />`);
}

function Value({ of }) {
  if (Array.isArray(of)) {
    return html`${of.slice(0, FEW).map((one, i) => html`${i > 0 && ", "}<${Value} of=${one} />`)}${
      of.length > FEW && " …"}`;
  }
  if (typeof of === "string" && isId(of)) return html`<${JobLink} id=${of} />`;
  if (typeof of === "object" && of !== null) return html`<${Detail} of=${of} />`;
  return html`<${Text} of=${of} />`;
}

/** What it was done to: a link when it has a page. */
function Subject({ of, action }) {
  const kind = action.split(".", 1)[0];
  if (isId(of) && kind !== "tokens") return html`<${JobLink} id=${of} />`;
  if (kind === "queues") return html`<a href=${queueHref(of)}><${Text} of=${of} /></a>`;
  return html`<span class="id"><${Text} of=${of} /></span>`;
}
