// One job: where it stands, what happened to it, and what can be done about it.

import { get, getText, jobPath, post, postText, query, remove } from "./api.js";
import { Act } from "./act.js";
import { title } from "./bulk.js";
import { ask, attempt } from "./dialog.js";
import { between, bytes, clock, duration, plural } from "./format.js";
import { jsonProblem, member, pretty, REDACTED, redacted } from "./json.js";
import { usePoll } from "./live.js";
import {
  Bar, Copy, Empty, Head, html, Icon, JobLink, Loaded, Long, queueHref, State, Text, Time,
} from "./parts.js";
import { go } from "./router.js";
import { may } from "./session.js";
import { useEffect, useRef } from "./vendor/hooks.js";

const ENDED = ["completed", "dead", "cancelled"];
const RUNS = ["active", "stalled"];
const WAITS = ["pending", "scheduled", "failed"];

/** The JSON text is kept beside what was read of it: big numbers stay as they were written. */
async function load(id) {
  const text = await getText(jobPath(id));
  return { job: JSON.parse(text), text };
}

export function Job({ id, edits }) {
  const pace = useRef(1000);
  const found = usePoll(() => load(id), pace.current, [id], { live: true });
  const job = found.data?.job;
  pace.current = job && ENDED.includes(job.state) ? 10000 : 1000;
  const asked = useRef(false);
  useEffect(() => {
    if (!edits || asked.current || !found.data) return;
    asked.current = true;
    if (may("operate") && ["dead", "cancelled"].includes(job.state)) edit(found.data);
  }, [edits, found.data]);
  if (!job && found.error?.status === 404) {
    return html`<${Head} title="Job" /><${Empty} title="No such job">It may be past its retention,
      or was deleted. <a href="/jobs">All jobs</a><//>`;
  }
  return html`
    <${Head} title=${job ? html`<${Text} of=${job.type} />` : "Job"}
      note=${html`<span class="id">${id}</span> <${Copy} text=${id} what="the id" />`}>
      ${job && html`<${Actions} of=${found.data} reload=${found.reload} />`}<//>
    <${Loaded} of=${found}>${(data) => html`<${Whole} of=${data} />`}<//>`;
}

function Whole({ of: { job, text } }) {
  return html`
    <${Facts} job=${job} />
    ${job.progress && !ENDED.includes(job.state) && html`<${Progress} of=${job.progress} />`}
    ${job.last_error && html`<${Failure} job=${job} />`}
    <${Attempts} job=${job} />
    <${Json} name="Payload" text=${member(text, "payload")} note=${bytes(job.payload_bytes)} />
    <${Json} name="Result" text=${member(text, "result")} />
    <${Json} name="Checkpoint" text=${member(text, "checkpoint")} />
    <${Related} job=${job} />`;
}

const REASONS = {
  exhausted: "all attempts failed", discarded: "the handler gave it up",
  quarantined: "it crashed its workers",
};

const When = ({ at }) => html`<${Time} at=${at} /> <span class="note">${clock(at)}</span>`;

function Facts({ job }) {
  const tags = job.tags.map((tag) => html`<a class="mark" href=${`/jobs${query({ tag })}`}>
    <${Text} of=${tag} /></a> `);
  const rows = [
    ["State", html`<${State} of=${job.state} /> ${REASONS[job.dead_reason] || ""}`],
    ["Queue", html`<a href=${queueHref(job.queue)}><${Text} of=${job.queue} /></a>, priority ${
      job.priority}`],
    ["Type", html`<a href=${`/jobs${query({ type: job.type })}`}><${Text} of=${job.type} /></a>`],
    ["Attempts", `${job.attempt} begun, ${job.failures} of ${job.max_attempts} failures${
      job.crashes ? `, ${plural(job.crashes, "crash", "crashes")} in a row` : ""}`],
    ["Enqueued", html`<${When} at=${job.created_at} />`],
    WAITS.includes(job.state) && ["Runs", html`<${When} at=${job.scheduled_for} />`],
    job.finished_at && ["Ended", html`<${When} at=${job.finished_at} />`],
    ["Timeout", duration(job.timeout_ms / 1000)],
    ["Delivery", job.delivery.replaceAll("_", " ")],
    job.group && ["Group", html`<a href=${`/jobs${query({ group: job.group })}`}>
      <${Text} of=${job.group} /></a>`],
    job.unique_key && ["Unique key", html`<${Text} of=${job.unique_key} />`],
    job.tags.length > 0 && ["Tags", tags],
    ["Correlation id", html`<a href=${`/jobs${query({ correlation_id: job.correlation_id })}`}>
      <${Text} of=${job.correlation_id} /></a>`],
    job.trace_parent && ["Trace parent", html`<${Text} of=${job.trace_parent} />`],
  ].filter(Boolean);
  return html`<dl class="facts card">${rows.map(([name, value]) => html`
    <div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;
}

const Progress = ({ of }) => html`
  <section class="card" aria-labelledby="progress"><h2 id="progress">Progress</h2>
    <p role="status">${of.percent} %${of.note && html`: <${Text} of=${of.note} />`}${" "}
      <span class="note"><${Time} at=${of.at} /></span></p>
    <${Bar} share=${of.percent / 100} /></section>`;

const Failure = ({ job }) => html`
  <section class=${`card ${job.state === "completed" ? "" : "bad"}`} aria-labelledby="error">
    <h2 id="error">${job.state === "completed" ? "Error before it went well" : "Error"}${": "}
      <${Text} of=${job.last_error.class} /></h2>
    <${Long} text=${job.last_error.message} lines=${8} label="Message of the error" />
    <p class="note"><a href=${`/jobs${query({ error: job.last_error.class, type: job.type })}`}>
      Jobs of this type with this error</a></p></section>`;

function Attempts({ job }) {
  const attempts = job.attempts || [];
  const took = (one) => between(one.started_at, one.finished_at);
  const longest = Math.max(0.001, ...attempts.map(took));
  return html`
    <section class="card" aria-labelledby="attempts"><h2 id="attempts">Attempts</h2>
      ${attempts.length === 0 && html`<p class="note">None yet: no worker has claimed it.</p>`}
      <ol class="timeline">${[...attempts].reverse().map((one) => html`
        <li key=${one.number} class=${`at-${one.outcome}`}>
          <div class="attempt"><strong>${one.number}</strong> <${State} of=${one.outcome} />
            <span>${duration(took(one))}${one.finished_at ? "" : " so far"}</span>
            <span class="note"><${Time} at=${one.started_at} /> on${" "}
              <${Text} of=${one.worker_name || one.worker} /></span></div>
          <${Bar} share=${took(one) / longest} tone=${one.outcome} />
          ${one.error && html`<${Long} lines=${1} label=${`Error of attempt ${one.number}`}
            text=${`${one.error.class}: ${one.error.message}`} />`}
          ${one.log?.length > 0 && html`<${Log} lines=${one.log} open=${!one.finished_at}
            number=${one.number} />`}
        </li>`)}</ol></section>`;
}

function Log({ lines, open, number }) {
  const box = useRef();
  const last = lines.at(-1).number;
  useEffect(() => {
    if (box.current) box.current.scrollTop = box.current.scrollHeight;
  }, [last]);
  return html`
    <details open=${open}><summary>${plural(lines.length, "log line")}${
      lines[0].number > 1 ? " (older ones made room)" : ""}</summary>
      <div class="log" ref=${box} tabindex="0" role="log" aria-label=${`Log of attempt ${number}`}>
        <ol>
        ${lines.map((line) => html`<li key=${line.number}><time datetime=${line.at}>${
          clock(line.at).slice(11, 19)}</time> <span dir="auto">${line.text}</span></li>`)}
        </ol></div></details>`;
}

const WHY_REDACTED = "The settings of this server keep their values from being shown.";

function Json({ name, text, note }) {
  if (text === undefined || (text === "null" && name !== "Payload")) return null;
  const id = `json-${name.toLowerCase()}`;
  const hidden = redacted(text);
  return html`
    <section class="card" aria-labelledby=${id}><div class="card-head">
      <h2 id=${id}>${name} <span class="note">${note}</span>
        ${hidden > 0 && html` <span class="mark" title=${WHY_REDACTED}>${
          plural(hidden, "redacted field")}</span>`}</h2>
      <${Copy} text=${text} what=${`the ${name.toLowerCase()}`} /></div>
      <${Long} text=${pretty(text)} lines=${40} label=${name} mark=${REDACTED} /></section>`;
}

function Related({ job }) {
  const path = `/v1/jobs${query({ correlation_id: job.correlation_id, limit: 20 })}`;
  const related = usePoll(() => get(path), 10000, [job.id, job.correlation_id]);
  const others = (related.data?.jobs || []).filter((one) => one.id !== job.id);
  return others.length > 0 && html`
    <section class="card" aria-labelledby="related"><div class="card-head">
      <h2 id="related">With the same correlation id</h2>
      <a href=${`/jobs${query({ correlation_id: job.correlation_id })}`}>As a list</a></div>
      <ul class="list">${others.map((one) => html`<li key=${one.id}><${State} of=${one.state} />
        ${" "}<${JobLink} id=${one.id} /> <${Text} of=${one.type} />${" "}
        <span class="note"><${Time} at=${one.created_at} /></span></li>`)}</ul></section>`;
}

/** What can be done in a state. */
function Actions({ of, reload }) {
  const { job } = of;
  const change = async (verb, question) => {
    if (question && !(await ask({ title: `${title(verb)} this job?`, danger: true,
      yes: `${title(verb)} it`, ...question }))) return;
    await attempt(DONE[verb], () => post(`${jobPath(job.id)}/${verb}`));
    reload();
  };
  const can = (...states) => states.includes(job.state);
  const button = (label, action, kind = "") => html`
    <${Act} scope="operate" class=${kind} onClick=${action}>${label}<//>`;
  return html`
    ${can("dead", "failed", "cancelled") && button("Retry", () => change("retry"), "primary")}
    ${can("dead", "cancelled") && button("Edit and retry", () => edit(of))}
    ${can("dead") && button("Discard", () => change("discard", {
      text: "It leaves the dead letter queue and stays on record as cancelled." }))}
    ${can(...WAITS) && button("Reschedule", () => reschedule(job).then(reload))}
    ${can(...WAITS, ...RUNS) && button("Cancel", () => change("cancel", {
      text: can(...RUNS) ? "Its worker is asked to stop it." : "It ends at once, without a run.",
    }))}
    ${!can(...RUNS) && button("Delete", () => erase(job), "quiet")}`;
}

const DONE = {
  retry: "It is due again", cancel: "It was told to stop", discard: "It left the dead letters",
};

async function erase(job) {
  const yes = await ask({
    title: "Delete this job?", danger: true, yes: "Delete it",
    text: "Every trace of it goes: payload, attempts, result. This cannot be undone.",
  });
  if (yes && await attempt("The job is deleted", () => remove(jobPath(job.id)))) go("/jobs");
}

async function reschedule(job) {
  const soon = new Date(Date.now() + 3600000 - new Date().getTimezoneOffset() * 60000);
  const answer = await ask({
    title: "When shall it run?", yes: "Reschedule it",
    fields: [{
      name: "at", label: "In the time of this computer", type: "datetime-local",
      value: soon.toISOString().slice(0, 16),
      check: (text) => (text ? "" : "Give a day and a time."),
    }],
  });
  if (!answer) return;
  const at = new Date(answer.at).toISOString();
  await attempt("It has its new time", () => post(`${jobPath(job.id)}/reschedule`, { at }));
}

/** A copy with another payload is enqueued, and this one leaves the dead letters. */
async function edit({ job, text }) {
  const payload = member(text, "payload") ?? "null";
  const hint = redacted(payload) > 0
    ? `Fields that say ${REDACTED} are not shown; they keep their value when left so.` : undefined;
  const answer = await ask({
    title: "Edit the payload and run it again", yes: "Enqueue it again",
    text: "A new job with this payload is enqueued; this one is discarded.",
    fields: [{
      name: "payload", label: "Payload (JSON)", rows: 12, eager: true, check: jsonProblem, hint,
      value: pretty(payload),
    }],
  });
  if (!answer) return;
  const made = await attempt("Enqueued again with the new payload",
    () => postText(`${jobPath(job.id)}/edit`, `{"payload":${answer.payload}}`));
  if (made?.id) go(`/jobs/${encodeURIComponent(made.id)}`);
}
