// The first page: what is wrong, in one sentence; the eight numbers that tell it; all queues.

import { FiringNow } from "./alerts.js";
import { get } from "./api.js";
import { diagnose, trouble } from "./diagnose.js";
import { count, decimal, duration, plural } from "./format.js";
import { highest, line, LENGTH_MS, SPANS, sum } from "./history.js";
import { rate, rates, useLive, usePoll } from "./live.js";
import { between, readMetrics } from "./metrics.js";
import { curl, Empty, Figure, Head, html, Icon, Num, queueHref, Spark, Text } from "./parts.js";
import { useRef } from "./vendor/hooks.js";

/** Readings of /metrics that are kept: two minutes of them. */
const READINGS = 25;
const READ_MS = 5000;
/** Queues shown here; the others are on their page. */
const QUEUES = 8;
/** A step of the history is a minute at least. */
const HISTORY_MS = 30000;

export function Overview({ search }) {
  const live = useLive();
  const given = new URLSearchParams(search).get("span");
  const span = Object.hasOwn(LENGTH_MS, given || "") ? given : "";
  const past = usePoll(() => (span ? get(`/v1/history?span=${span}`) : null), HISTORY_MS, [span]);
  const workers = usePoll(() => get("/v1/workers"), READ_MS);
  const dead = live.stats?.totals.dead || 0;
  const groups = usePoll(() => (dead ? get("/v1/dead/groups") : { groups: [] }), 15000, [dead > 0]);
  const readings = useRef([]);
  const metrics = usePoll(async () => {
    readings.current = [...readings.current, await readMetrics()].slice(-READINGS);
    return readings.current;
  }, READ_MS);
  if (!live.stats) return html`<${Head} title="Overview" /><${Wait} lost=${live.lost} />`;
  const all = workers.data?.workers;
  const findings = diagnose({
    stats: live.stats, workers: all, groups: groups.data, lost: live.lost,
  });
  const { totals, queues } = live.stats;
  const nothing = queues.length === 0 || Object.values(totals).every((n) => n === 0);
  return html`
    <${Head} title="Overview" />
    <${Verdict} findings=${findings} nothing=${nothing} workers=${all} />
    <${FiringNow} />
    <${Spans} span=${span} past=${past} />
    <${Metrics} live=${live} workers=${all} readings=${metrics.data} trouble=${metrics.error}
      past=${span && past.data ? charts(past.data, span) : null} />
    <${Queues} queues=${queues} workers=${all} />`;
}

const Wait = ({ lost }) => lost
  ? html`<${Empty} title="The server does not answer">This page goes on by itself as soon as it
      does: <${Text} of=${lost.problem.message} />.<//>`
  : html`<p class="loading" role="status">Loading …</p>`;

/** The sentences stay as they are while a pointer is on them: no other one slips under it. */
function Verdict({ findings: now, nothing, workers }) {
  const held = useRef(false);
  const shown = useRef(now);
  if (!held.current) shown.current = now;
  const findings = shown.current;
  if (nothing && findings.length === 0) {
    const first = '{"type":"send_email","queue":"mail","payload":{"to":"ann@example.com"}}';
    const command = curl("/v1/jobs", first);
    return html`<${Empty} title="Nothing here yet" command=${command}>Enqueue a first job. It waits
      until a worker serves its queue.<//>`;
  }
  const [worst, ...others] = findings;
  if (!worst) {
    const there = workers?.filter((one) => one.state === "alive").length;
    const who = there ? ` ${plural(there, "worker")} at work.` : "";
    return html`<section class="verdict ok" aria-label="What is wrong">
      <p class="verdict-line"><${Icon} name="ok" /><span>All is well.${who}</span></p></section>`;
  }
  return html`
    <section class=${`verdict ${worst.tone}`} aria-label="What is wrong"
      onPointerEnter=${() => (held.current = true)} onPointerLeave=${() => (held.current = false)}>
      <p class="hidden" role="status">${findings.length === 1 ? "One thing needs a look"
        : `${findings.length} things need a look`}</p>
      <p class="verdict-line"><${Finding} of=${worst} /></p>
      ${others.length > 0 && html`<ul>${others.slice(0, 6).map((one) => html`
        <li key=${one.href + one.tone} class=${one.tone}><${Finding} of=${one} /></li>`)}</ul>`}
      ${others.length > 6 && html`<p class="note">and ${others.length - 6} more</p>`}
    </section>`;
}

const Finding = ({ of }) => html`
  <${Icon} name=${of.tone} />${of.href ? html`<a href=${of.href}><${Text} of=${of.text} />.</a>`
    : html`<span><${Text} of=${of.text} />.</span>`}`;

/** How far back the charts go: in the address, so that it can be kept and sent. */
const Spans = ({ span, past }) => html`
  <div class="spans">
    <nav aria-label="Time shown by the charts"><ul class="tabs">${SPANS.map(([name, label]) => html`
      <li key=${name}><a href=${name ? `/?span=${name}` : "/"}
        aria-current=${span === name ? "true" : undefined}>${label}</a></li>`)}</ul></nav>
    ${span && html`<p class="note" role="status">${past.error
      ? html`The history could not be loaded: <${Text} of=${past.error.message} />.`
      : past.data?.points.length === 0
        ? "No history yet: it begins a minute after a server has started."
        : `Figures are of now, lines and notes of the last ${span}.`}</p>`}
  </div>`;

/** What the history says beside each of the eight numbers. */
function charts(past, span) {
  const each = past.step_s * 1000;
  const most = (name, say = count) => {
    const found = highest(past, name);
    return found === null ? "not known" : `at most ${say(found)} in the ${span}`;
  };
  const [completed, failed] = [sum(past, "completed"), sum(past, "failed")];
  const ended = (one) => one.completed + one.failed;
  const rateOf = (one) => (one.over ? (one.completed * 1000) / each : null);
  const p95 = (one) => (one.ran_p95_ms === null ? null : one.ran_p95_ms / 1000);
  return {
    span: LENGTH_MS[span],
    pending: [line(past, (one) => one.pending), most("pending")],
    completed: [line(past, rateOf), `${count(completed)} in the ${span}`],
    errors: [line(past, (one) => (ended(one) ? one.failed / ended(one) : null)),
      `${count(failed)} of ${plural(completed + failed, "attempt")}`],
    dead: [line(past, (one) => one.dead), `${count(sum(past, "died"))} died in the ${span}`],
    oldest: [line(past, (one) => one.oldest_s), most("oldest_s", duration)],
    duration: [line(past, p95), most("ran_p95_ms", (ms) => duration(ms / 1000))],
    active: [line(past, (one) => one.active), most("active")],
    stalled: [line(past, (one) => (one.over ? one.stalled : null)),
      `${count(sum(past, "stalled"))} in the ${span}`],
  };
}

/** What the readings of /metrics say about the last minute, and about each step before it. */
function measured(readings) {
  const last = readings?.at(-1);
  const first = readings?.find((one) => one.t >= last.t - 61000);
  const steps = (readings || []).slice(1).map((one, i) => {
    return { t: one.t, ...between(readings[i], one) };
  });
  return { minute: between(first, last), steps, known: last?.known };
}

function Metrics({ live, workers, readings, trouble: problem, past }) {
  const { stats: { totals, queues }, history } = live;
  const points = (name) => history.map((one) => ({ t: one.t, v: one[name] }));
  const { minute, steps, known } = measured(readings);
  const silent = problem || (readings && !known);
  const missing = silent ? "this server does not tell" : "measuring …";
  const done = rate(history, "completed");
  const slowest = queues.reduce((most, one) => {
    return one.oldest_pending_s > (most?.oldest_pending_s || 0) ? one : most;
  }, null);
  const errors = minute?.attempts ? (100 * minute.failed) / minute.attempts : null;
  const stalls = history.length > 1 ? totals.stalled_total - history[0].stalled_total : null;
  const share = used(workers);
  // What lies further back takes the place of what this page has seen itself.
  const drawn = (name, now, note) => {
    if (!past) return { points: now(), note };
    const [seen, said] = past[name];
    return { points: seen, note: said, span: past.span };
  };
  return html`
    <h2 class="hidden">Eight numbers</h2>
    <ul class="metrics">
      <${Metric} label="Queue depth" value=${totals.pending} href="/jobs?state=pending"
        ...${drawn("pending", () => points("pending"),
          `due now, ${count(totals.scheduled)} scheduled`)} />
      <${Metric} label="Completions" href="/jobs?state=completed"
        value=${done === null ? null : perTime(done)}
        ...${drawn("completed", () => rates(history, "completed"),
          done === null ? "measuring …" : `${count(totals.completed)} on record`)} />
      <${Metric} label="Error rate" href="/jobs?state=failed" tone=${errors > 5 ? "bad" : ""}
        value=${errors === null ? null : `${decimal(errors)} %`}
        ...${drawn("errors", () => steps.map((one) => ({
          t: one.t, v: one.attempts ? one.failed / one.attempts : null,
        })), minute ? `${count(minute.failed)} of ${plural(minute.attempts, "attempt")}`
          : missing)} />
      <${Metric} label="Dead letters" value=${totals.dead} href="/dead"
        tone=${totals.dead ? "bad" : ""}
        ...${drawn("dead", () => points("dead"), totals.dead ? "wait for a person" : "none")} />
      <${Metric} label="Latency" href=${`/jobs?state=pending${slowest ?
          `&queue=${encodeURIComponent(slowest.queue)}` : ""}`}
        value=${slowest ? duration(slowest.oldest_pending_s) : "0 s"}
        tone=${slowest?.oldest_pending_s > 30 ? "warning" : ""}
        ...${drawn("oldest", () => points("oldest"), slowest
          ? html`oldest due, in <${Text} of=${slowest.queue} />` : "nothing waits")} />
      <${Metric} label="Duration" href="/jobs?state=completed" value=${within(minute?.p95)}
        ...${drawn("duration", () => steps.map((one) => ({ t: one.t, v: one.p95?.under ?? null })),
          minute ? (minute.p95 ? "95 of 100 attempts, last minute" : "no attempt in a minute")
            : missing)} />
      <${Metric} label="Utilisation" href="/workers" tone=${share?.share > 0.9 ? "warning" : ""}
        value=${share?.slots ? `${Math.round(share.share * 100)} %` : null}
        ...${drawn("active", () => points("active"), share ? `${count(share.running)} of ${
          plural(share.slots, "slot")}, ${plural(share.workers, "worker")}` : "measuring …")} />
      <${Metric} label="Stalls" href="/jobs?state=stalled" value=${stalls}
        tone=${stalls > 0 ? "bad" : ""}
        ...${drawn("stalled", () => rates(history, "stalled_total"),
          `since this page is open; ${count(totals.stalled_total)} in all`)} />
    </ul>`;
}

const perTime = (n) => (n > 0 && n < 1 ? `${decimal(n * 60)} /min` : `${decimal(n)} /s`);

function within(p95) {
  if (!p95) return null;
  return p95.over ? `over ${duration(p95.over)}` : `≤ ${duration(p95.under)}`;
}

/** Slots in use over the workers that live. */
function used(workers) {
  if (!workers) return null;
  const alive = workers.filter((one) => one.state === "alive");
  const slots = alive.reduce((sum, one) => {
    return sum + Object.values(one.queues).reduce((all, n) => all + n, 0);
  }, 0);
  const running = alive.reduce((sum, one) => sum + one.running, 0);
  return { slots, running, workers: alive.length, share: slots ? running / slots : 0 };
}

function Metric({ label, value, note, href, tone, points, span }) {
  return html`
    <li class=${`metric ${tone || ""}`}>
      <a href=${href}>
        <span class="label">${label}${tone && html`<${Icon} name=${tone} />
          <span class="hidden">needs a look</span>`}</span>
        <${Figure} value=${value ?? "–"} />
        <${Spark} points=${points} span=${span} />
        <span class="note">${note}</span>
      </a>
    </li>`;
}

/** The queues in which most is to see, worst first. */
function Queues({ queues, workers }) {
  if (queues.length === 0) return null;
  const weight = (one) => {
    return (trouble(one, workers) ? 1e9 : 0) + one.pending + one.dead * 10 + one.active;
  };
  const shown = [...queues].sort((a, b) => weight(b) - weight(a)).slice(0, QUEUES);
  return html`
    <section class="card" aria-labelledby="glance">
      <div class="card-head"><h2 id="glance">Queues</h2>
        <a href="/queues">${queues.length > QUEUES ? `All ${queues.length}` : "All about them"}</a>
      </div>
      <div class="scroll"><table>
        <thead><tr><th scope="col">Queue</th><th scope="col" class="n">Due</th>
          <th scope="col" class="n">Active</th><th scope="col" class="n wide">Failed</th>
          <th scope="col" class="n">Dead</th><th scope="col" class="n wide">Oldest</th></tr></thead>
        <tbody>${shown.map((one) => html`<${Row} key=${one.queue} of=${one} workers=${workers} />`)}
        </tbody>
      </table></div>
    </section>`;
}

function Row({ of, workers }) {
  const jobs = (state) => `/jobs?state=${state}&queue=${encodeURIComponent(of.queue)}`;
  const wrong = trouble(of, workers);
  return html`
    <tr>
      <th scope="row"><a href=${queueHref(of.queue)}><${Text} of=${of.queue} /></a>
        ${wrong && html` <span class=${`state is-${wrong.tone}`}>${wrong.short}</span>`}</th>
      <td class="n"><${Num} n=${of.pending} href=${jobs("pending")} /></td>
      <td class="n"><${Num} n=${of.active} href=${jobs("active")} /></td>
      <td class="n wide"><${Num} n=${of.failed} href=${jobs("failed")} /></td>
      <td class="n"><${Num} n=${of.dead} href=${jobs("dead")} tone="bad" /></td>
      <td class="n wide">${of.pending ? duration(of.oldest_pending_s) : "–"}</td>
    </tr>`;
}
