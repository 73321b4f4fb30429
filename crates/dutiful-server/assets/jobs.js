// The list of jobs: filters that stand in the address, pages by key, changes of one, some or all.

import { Act } from "./act.js";
import { get, query } from "./api.js";
import { changeChosen, changeMatching, title, VERBS } from "./bulk.js";
import { compact, isId, plural, shortId } from "./format.js";
import { useLive, usePoll } from "./live.js";
import {
  curl, Empty, Head, html, jobHref, Loaded, queueHref, State, STATES, Text, Time,
} from "./parts.js";
import { go } from "./router.js";
import { useEffect, useRef, useState } from "./vendor/hooks.js";

const PAGE = 50;
/** How long one click goes on searching, and the first look; what is looked at again and again by
 * itself is one page. */
const SEARCH_MS = 3000;
const LOOK_MS = 500;
const FIELDS = ["state", "queue", "type", "group", "tag", "correlation_id", "error", "since",
  "until", "live", "fingerprint"];

/** The filter that an address says. */
export function filterOf(search) {
  const given = new URLSearchParams(search);
  return Object.fromEntries(FIELDS.map((name) => [name, given.get(name)?.trim() || ""])
    .filter(([, value]) => value));
}

const address = (filter) => `/jobs${query(filter)}`;

/** What was typed into the search: an id, `name:value` pairs, or a part of an error. */
export function search(text) {
  const words = text.trim();
  if (isId(words)) return jobHref(words.toLowerCase());
  const filter = {};
  const rest = [];
  for (const word of words.split(/\s+/)) {
    const [, name, value] = /^([a-z_]+):(.+)$/.exec(word) || [];
    if (FIELDS.includes(name)) filter[name] = value;
    else rest.push(word);
  }
  if (rest.join(" ")) filter.error = rest.join(" ");
  return address(filter);
}

/** A page of jobs. The server searches for a moment only; a person means a while. */
async function pageOf(filter, before, most) {
  const until = Date.now() + most;
  const jobs = [];
  let next = before;
  do {
    const limit = PAGE - jobs.length;
    const page = await get(`/v1/jobs${query({ ...filter, limit, before: next })}`);
    jobs.push(...page.jobs);
    next = page.next;
  } while (next && jobs.length < PAGE && Date.now() < until);
  return { jobs, next };
}

export function Jobs({ search: text }) {
  const filter = filterOf(text);
  const key = JSON.stringify(filter);
  const [more, setMore] = useState({ jobs: [], next: undefined, busy: false });
  const [chosen, choose] = useState(new Set());
  const looked = useRef();
  const extended = more.next !== undefined;
  const first = usePoll(() => {
    const most = looked.current === key ? 0 : LOOK_MS;
    looked.current = key;
    return pageOf(filter, undefined, most);
  }, 5000, [key],
    { live: true, pause: extended || chosen.size > 0 });
  useEffect(() => {
    setMore({ jobs: [], next: undefined, busy: false });
    choose(new Set());
  }, [key]);
  const jobs = [...(first.data?.jobs || []), ...more.jobs];
  const next = extended ? more.next : first.data?.next;
  const goOn = async () => {
    setMore({ ...more, busy: true });
    try {
      const page = await pageOf(filter, next, SEARCH_MS);
      setMore({ jobs: [...more.jobs, ...page.jobs], next: page.next, busy: false });
    } catch (error) {
      setMore({ ...more, busy: false, error });
    }
  };
  const refresh = () => {
    setMore({ jobs: [], next: undefined, busy: false });
    choose(new Set());
    first.reload();
  };
  const change = async (verb) => {
    if (await changeChosen(verb, [...chosen])) refresh();
  };
  return html`
    <${Head} title="Jobs" />
    <${Tabs} filter=${filter} />
    <${Filter} key=${key} filter=${filter} />
    ${filter.fingerprint && html`<p class="notice info"><span>Only one group of the dead letters.
      ${" "}<a href=${address({ ...filter, fingerprint: "" })}>Show others like it</a></span></p>`}
    <${Loaded} of=${first}>${() => html`
      <${Changes} chosen=${chosen} filter=${filter} change=${change} some=${jobs.length > 0}
        refresh=${refresh} stale=${extended || chosen.size > 0} />
      ${jobs.length > 0 && html`<${Table} jobs=${jobs} chosen=${chosen} choose=${choose} />`}
      ${jobs.length === 0 && !next && html`<${Nothing} filter=${filter} />`}
      <${More} next=${next} found=${jobs.length} more=${more} goOn=${goOn} />`}<//>`;
}

function Nothing({ filter }) {
  if (Object.keys(filter).length > 0) {
    return html`<${Empty} title="No job matches"><a href="/jobs">Show all jobs</a> or change the
      filter above. Completed jobs are kept for some days, then they go.<//>`;
  }
  return html`<${Empty} title="No job yet" command=${curl("/v1/jobs",
    '{"type":"send_email","queue":"mail","payload":{"to":"ann@example.com"}}')}>Enqueue one:<//>`;
}

/** States to choose from, with how many there are. */
function Tabs({ filter }) {
  const { stats } = useLive();
  const queue = stats?.queues.find((one) => one.queue === filter.queue);
  const counts = filter.queue ? queue : stats?.totals;
  const exact = Object.keys(filter).every((name) => ["state", "queue", "live"].includes(name));
  const { state, live, ...rest } = filter;
  const tab = (label, now, values, n) => html`
    <li><a href=${address({ ...rest, ...values })} aria-current=${now ? "true" : undefined}>
      ${label}${exact && n !== undefined && html` <span class="note">${compact(n)}</span>`}
    </a></li>`;
  return html`
    <nav aria-label="States"><ul class="tabs">
      ${tab("all", !state && !live, {})}
      ${tab("not ended", live === "true", { live: "true" })}
      ${STATES.map((one) => tab(one, state === one, { state: one }, counts?.[one]))}
    </ul></nav>`;
}

const toLocal = (time) => {
  const at = new Date(time);
  if (!time || Number.isNaN(at.getTime())) return "";
  return new Date(at - at.getTimezoneOffset() * 60000).toISOString().slice(0, 16);
};

const INPUTS = [
  ["queue", "Queue", "queues"], ["type", "Type"], ["error", "Error text"], ["tag", "Tag"],
  ["group", "Group"], ["correlation_id", "Correlation id"],
];

function Filter({ filter }) {
  const { stats } = useLive();
  const apply = (event) => {
    event.preventDefault();
    const given = Object.fromEntries(new FormData(event.target));
    if (isId(given.id.trim())) return go(jobHref(given.id.trim().toLowerCase()));
    delete given.id;
    for (const name of ["since", "until"]) {
      if (given[name]) given[name] = new Date(given[name]).toISOString();
    }
    for (const name of Object.keys(given)) given[name] = given[name].trim();
    const { state, live } = filter;
    return go(address({ state, live, ...given }));
  };
  const names = [...INPUTS.map(([name]) => name), "since", "until"];
  const set = names.filter((name) => filter[name]).length;
  return html`
    <details class="filter" open=${set > 0 || innerWidth > 700}>
      <summary>Filter${set > 0 && ` (${set} set)`}</summary>
      <form onSubmit=${apply}>
        <label class="field"><span>Job id</span><input name="id" autocomplete="off"
          placeholder="opens the job" spellcheck=${false} /></label>
        ${INPUTS.map(([name, label, list]) => html`<label class="field"><span>${label}</span>
          <input name=${name} defaultValue=${filter[name] || ""} list=${list} autocomplete="off"
            spellcheck=${false} dir="auto" /></label>`)}
        <label class="field"><span>Enqueued since</span><input type="datetime-local" name="since"
          defaultValue=${toLocal(filter.since)} /></label>
        <label class="field"><span>Enqueued before</span><input type="datetime-local" name="until"
          defaultValue=${toLocal(filter.until)} /></label>
        <datalist id="queues">${(stats?.queues || []).map((one) => html`
          <option value=${one.queue} />`)}</datalist>
        <div class="form-actions"><button type="submit" class="primary">Filter</button>
          ${set > 0 && html`<a class="button" href=${address({
            state: filter.state, live: filter.live })}>Reset</a>`}</div>
      </form>
    </details>`;
}

/** Which changes make sense for jobs in a state. */
function verbsFor(state) {
  if (state === "dead") return ["retry", "discard", "delete"];
  if (state === "failed") return ["retry", "cancel", "delete"];
  if (state === "completed") return ["delete"];
  if (state === "cancelled") return ["retry", "delete"];
  if (["active", "stalled"].includes(state)) return ["cancel"];
  if (["pending", "scheduled"].includes(state)) return ["cancel", "delete"];
  return Object.keys(VERBS);
}

function Changes({ chosen, filter, change, some, refresh, stale }) {
  const verbs = verbsFor(filter.state);
  if (chosen.size > 0) {
    return html`
      <div class="changes on" role="group" aria-label="Change the chosen jobs">
        <span role="status">${plural(chosen.size, "job")} chosen</span>
        ${verbs.map((verb) => html`<${Act} scope="operate"
          class=${verb === "retry" ? "primary" : ""} onClick=${() => change(verb)}>
          ${title(verb)}<//>`)}
        <button type="button" class="quiet" onClick=${refresh}>Choose none</button>
      </div>`;
  }
  if (!some) return null;
  const { live, ...rest } = filter;
  return html`
    <div class="changes" role="group" aria-label="Change all jobs that match">
      <span class="note">All that match:</span>
      ${live ? html`<span class="note">choose a state first</span>`
        : verbs.map((verb) => html`<${Act} scope="operate" class="small"
          aria-label=${`${title(verb)} all that match`}
          onClick=${() => changeMatching(verb, rest).then((did) => did && refresh())}>
          ${title(verb)} …<//>`)}
      ${stale && html`<button type="button" class="quiet small" onClick=${refresh}>
        Back to the newest</button>`}
    </div>`;
}

function Table({ jobs, chosen, choose }) {
  const all = jobs.every((job) => chosen.has(job.id));
  const toggle = (id) => {
    const next = new Set(chosen);
    if (!next.delete(id)) next.add(id);
    choose(next);
  };
  return html`
    <div class="card scroll"><table class="jobs">
      <caption class="hidden">Jobs, newest first</caption>
      <thead><tr>
        <th scope="col" class="pick"><input type="checkbox" checked=${all}
          aria-label=${`Choose all ${jobs.length} jobs shown`}
          onChange=${() => choose(new Set(all ? [] : jobs.map((job) => job.id)))} /></th>
        <th scope="col">State</th><th scope="col">Job</th><th scope="col" class="wide">Queue</th>
        <th scope="col" class="n wide">Attempt</th>
        <th scope="col" class="wide">Enqueued</th></tr></thead>
      <tbody>${jobs.map((job) => html`<${Row} key=${job.id} of=${job} on=${chosen.has(job.id)}
        toggle=${toggle} />`)}</tbody>
    </table></div>`;
}

function Row({ of, on, toggle }) {
  const marks = [...of.tags.map((tag) => ["tag", tag]), ...(of.group ? [["group", of.group]] : [])];
  return html`
    <tr class=${on ? "on" : ""}>
      <td class="pick"><input type="checkbox" checked=${on} onChange=${() => toggle(of.id)}
        aria-label=${`Choose job ${shortId(of.id)}`} /></td>
      <td><${State} of=${of.state} /></td>
      <td class="main">
        <a class="job" href=${jobHref(of.id)}><${Text} of=${of.type} />${" "}
          <span class="id">${shortId(of.id)}</span></a>
        ${marks.map(([name, value]) => html` <a class="mark" title=${name}
          href=${address({ [name]: value })}><${Text} of=${value} /></a>`)}
        ${of.last_error && of.state !== "completed" && html`<div class="sub error" dir="auto">
          <strong><${Text} of=${of.last_error.class} /></strong>:
          ${" "}${firstLine(of.last_error.message)}</div>`}
        ${of.progress && of.state === "active" && html`<div class="sub">${of.progress.percent} %
          ${of.progress.note && html` · <${Text} of=${of.progress.note} />`}</div>`}
        <div class="sub narrow"><span class="lane">${of.queue}</span> ·
          ${" "}attempt ${of.attempt}/${of.max_attempts} · <${Time} at=${of.created_at} /></div>
      </td>
      <td class="wide"><a class="lane" href=${queueHref(of.queue)} title=${of.queue}>
        <${Text} of=${of.queue} /></a></td>
      <td class="n wide">${of.attempt}/${of.max_attempts}</td>
      <td class="wide"><${Time} at=${of.created_at} />
        ${waits(of) && html`<div class="sub">runs <${Time} at=${of.scheduled_for} /></div>`}</td>
    </tr>`;
}

const waits = (job) => ["scheduled", "failed"].includes(job.state);
const firstLine = (text) => text.split("\n", 1)[0].slice(0, 200);

function More({ next, found, more, goOn }) {
  if (!next) return found > PAGE && html`<p class="note">${plural(found, "job")}, that is all.</p>`;
  const short = found % PAGE !== 0 || found === 0;
  const where = `The search goes back through the jobs, ${found} found so far`;
  return html`
    <div class="more">
      ${more.error && html`<p class="wrong" role="alert"><${Text} of=${more.error.message} /></p>`}
      <p role="status" class="note">${short ? where : `${plural(found, "job")} shown`}</p>
      <button type="button" onClick=${goOn} disabled=${more.busy}>
        ${more.busy ? "Searching …" : short ? "Go on searching" : "Older jobs"}</button>
    </div>`;
}
