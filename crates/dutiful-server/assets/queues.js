// All queues with their numbers, and one queue by itself; pause, resume and clear.

import { Act } from "./act.js";
import { get, post, queuePath } from "./api.js";
import { capacity, trouble } from "./diagnose.js";
import { ask, attempt, say } from "./dialog.js";
import { count, duration, plural } from "./format.js";
import { useLive, usePoll } from "./live.js";
import {
  curl, Empty, Head, html, Icon, JobLink, Loaded, Num, queueHref, State, Text, Time,
} from "./parts.js";

const COLUMNS = [
  ["pending", "Due"], ["scheduled", "Scheduled"], ["active", "Active"], ["failed", "Failed"],
  ["dead", "Dead"], ["completed", "Completed"], ["cancelled", "Cancelled"],
];
const NARROW = ["pending", "active", "dead"];

const jobs = (queue, state) => `/jobs?state=${state}&queue=${encodeURIComponent(queue)}`;

async function pause(queue, pauses) {
  const verb = pauses ? "pause" : "resume";
  const what = pauses ? `Queue ${queue} is paused: nothing in it is claimed`
    : `Queue ${queue} goes on`;
  return attempt(what, () => post(`${queuePath(queue)}/${verb}`));
}

/** Deletes what waits in a queue, once its name was typed. */
async function clear(of) {
  const waits = of.pending + of.scheduled + of.failed;
  const yes = await ask({
    title: `Delete ${plural(waits, "job")} that ${waits === 1 ? "waits" : "wait"} in ${of.queue}?`,
    text: "Due, scheduled and failed jobs of this queue go with all traces of them; active, " +
      "completed and dead ones stay. This cannot be undone.",
    typed: of.queue, yes: `Delete ${plural(waits, "job")}`, danger: true,
  });
  if (!yes) return;
  const answer = await attempt(`Queue ${of.queue} is being emptied`,
    () => post(`${queuePath(of.queue)}/clear`));
  if (answer?.deleted !== undefined) say(`${plural(answer.deleted, "job")} deleted`);
}

/** What can be done to a queue. */
const Actions = ({ of, reload, small }) => html`
  <${Act} scope="operate" class=${of.paused ? "primary" : ""}
    onClick=${() => pause(of.queue, !of.paused).then(reload)}
    aria-label=${`${of.paused ? "Resume" : "Pause"} queue ${of.queue}`}>
    ${of.paused ? "Resume" : "Pause"}<//>
  <${Act} scope="operate" class=${`quiet ${small ? "wide" : ""}`}
    onClick=${() => clear(of).then(reload)}
    disabled=${of.pending + of.scheduled + of.failed === 0}
    aria-label=${`Clear queue ${of.queue}`}>Clear<//>`;

export function Queues() {
  const queues = usePoll(() => get("/v1/queues"), 5000, [], { live: true });
  const workers = usePoll(() => get("/v1/workers"), 5000);
  return html`
    <${Head} title="Queues" />
    <${Loaded} of=${queues}>${(data) => data.queues.length === 0
      ? html`<${Empty} title="No queue yet" command=${curl("/v1/jobs",
          '{"type":"send_email","queue":"mail","payload":{}}')}>A queue is there as soon as a job
          is enqueued to it.<//>`
      : html`<${Table} queues=${data.queues} workers=${workers.data?.workers}
          reload=${queues.reload} />`}<//>`;
}

const Table = ({ queues, workers, reload }) => html`
  <div class="card scroll"><table>
    <caption class="hidden">Queues and how many of their jobs are in each state</caption>
    <thead><tr><th scope="col">Queue</th>
      ${COLUMNS.map(([state, label]) => html`<th scope="col"
        class=${`n ${NARROW.includes(state) ? "" : "wide"}`}>${label}</th>`)}
      <th scope="col" class="n wide">Oldest due</th><th scope="col">Actions</th></tr></thead>
    <tbody>${queues.map((one) => html`
      <tr key=${one.queue}>
        <th scope="row"><a href=${queueHref(one.queue)}><${Text} of=${one.queue} /></a>
          <${Note} of=${trouble(one, workers)} /></th>
        ${COLUMNS.map(([state]) => html`<td class=${`n ${NARROW.includes(state) ? "" : "wide"}`}>
          <${Num} n=${one[state]} href=${jobs(one.queue, state)}
            tone=${state === "dead" ? "bad" : ""} /></td>`)}
        <td class="n wide">${one.pending ? duration(one.oldest_pending_s) : "–"}</td>
        <td><div class="row-actions"><${Actions} of=${one} reload=${reload} small /></div></td>
      </tr>`)}</tbody>
  </table></div>`;

const Note = ({ of }) => of && html` <span class=${`state is-${of.tone}`}>${of.short}</span>`;

/** One queue: why it stands still if it does, who serves it, its latest jobs. */
export function Queue({ name }) {
  const live = useLive();
  const queue = usePoll(() => get(queuePath(name)), 3000, [name], { live: true });
  const workers = usePoll(() => get("/v1/workers"), 5000, [name]);
  const dead = usePoll(() => get(`/v1/dead/groups?queue=${encodeURIComponent(name)}`), 15000,
    [name, Boolean(queue.data?.dead)]);
  const latest = usePoll(
    () => get(`/v1/jobs?limit=10&queue=${encodeURIComponent(name)}`), 5000, [name], { live: true });
  const all = workers.data?.workers || [];
  return html`
    <${Head} title=${html`Queue <${Text} of=${name} />`}>
      ${queue.data && html`<${Actions} of=${queue.data} reload=${queue.reload} />`}<//>
    <${Loaded} of=${queue}>${(of) => html`
      <${Trouble} of=${trouble(of, workers.data?.workers)} lost=${live.lost} />
      <ul class="tiles">${COLUMNS.map(([state, label]) => html`
        <li key=${state}><a href=${jobs(name, state)}><span class="label">${label}</span>
          <span class="figure">${count(of[state])}</span></a></li>`)}</ul>
      <p class="note">${of.pending ? `The oldest due job has waited for ${
        duration(of.oldest_pending_s)}. ` : ""}${plural(capacity(all, name).workers, "worker")}
        ${" "}with ${plural(capacity(all, name).slots, "slot")} ${
          capacity(all, name).workers === 1 ? "serves" : "serve"} it
        ${" "}(<a href="/workers">who</a>).</p>`}<//>
    ${dead.data?.groups.length > 0 && html`
      <section class="card" aria-labelledby="why"><div class="card-head">
        <h2 id="why">Why jobs died here</h2><a href="/dead">Dead letters</a></div>
        <ul class="list">${dead.data.groups.slice(0, 5).map((one) => html`
          <li key=${one.fingerprint}><strong class="bad">${count(one.count)}</strong>${" "}
            <${Text} of=${one.class} />: <${Text} of=${one.message} />${" "}
            <${JobLink} id=${one.sample} /></li>`)}</ul></section>`}
    <section class="card" aria-labelledby="latest"><div class="card-head">
      <h2 id="latest">Latest jobs</h2>
      <a href=${`/jobs?queue=${encodeURIComponent(name)}`}>All jobs of it</a></div>
      <${Loaded} of=${latest}>${(page) => html`<ul class="list">${page.jobs.map((job) => html`
        <li key=${job.id}><${State} of=${job.state} /> <${JobLink} id=${job.id} />${" "}
          <${Text} of=${job.type} />${" "}
          <span class="note"><${Time} at=${job.created_at} /></span></li>`)}
        ${page.jobs.length === 0 && html`<li class="note">No job is on record.</li>`}</ul>`}<//>
    </section>`;
}

const Trouble = ({ of }) => of && html`
  <p class=${`notice ${of.tone}`}><${Icon} name=${of.tone} />
    <span><${Text} of=${of.text} />.</span></p>`;
