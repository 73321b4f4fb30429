// Alerts: what fires and what to do about it, who knows of it, and the rules with their thresholds.

import { Act } from "./act.js";
import { get, post, put } from "./api.js";
import { ask, attempt } from "./dialog.js";
import { count, duration, plural } from "./format.js";
import { usePoll } from "./live.js";
import {
  Advice, Empty, Head, html, Icon, Loaded, queueHref, State, Text, Time,
} from "./parts.js";

/** Firing alerts shown on the overview; all are on their page. */
const FIRST = 5;
const ASK_MS = 5000;

const TONES = { critical: "bad", warning: "warning" };
const NAMES = {
  depth: "Depth", rate: "Rate", error_rate: "Error rate", dead: "Dead jobs", latency: "Latency",
  duration: "Duration", utilization: "Utilisation", stalled: "Stalls", store: "Store",
  no_workers: "No workers", overdue: "Overdue",
};
const UNITS = {
  jobs: (n) => plural(n, "job"), percent: (n) => `${n} %`, seconds: (n) => duration(n),
  times: (n) => `${n} times`, findings: () => "–",
};
const HINTS = {
  jobs: "In jobs.", percent: "In percent, 0 to 100.", seconds: "In seconds.",
  times: "How many times as long as usual.",
};

const useAlerts = () => usePoll(() => get("/v1/alerts"), ASK_MS);
const firing = (data) => (data?.alerts || []).filter((one) => one.state === "firing");
const tone = (list) => (list.some((one) => one.severity === "critical") ? "bad" : "warning");

/** How many fire, for the head of every page. */
export function FiringCount() {
  const list = firing(useAlerts().data);
  if (list.length === 0) return null;
  const words = list.length === 1 ? "alert firing" : "alerts firing";
  return html`<a class=${`firing ${tone(list)}`} href="/alerts"
    aria-label=${`${count(list.length)} ${words}`}><${Icon} name="alerts" />
    <span>${count(list.length)}<span class="line-word"> ${words}</span></span></a>`;
}

/** What fires, for the overview. */
export function FiringNow() {
  const list = firing(useAlerts().data);
  if (list.length === 0) return null;
  return html`
    <section class="card" aria-labelledby="firing"><div class="card-head">
      <h2 id="firing">${plural(list.length, "alert")} firing</h2>
      <a href="/alerts">All alerts</a></div>
      <ul class="findings">${list.slice(0, FIRST).map((one) => html`
        <li key=${one.id} class=${TONES[one.severity]}><${Icon} name=${TONES[one.severity]} />
          <div><${Text} of=${one.summary} />
            ${one.acknowledged && html` <span class="note">(known to${" "}
              <${Text} of=${one.acknowledged.by} />)</span>`}</div></li>`)}</ul>
      ${list.length > FIRST && html`<p class="note">and ${list.length - FIRST} more</p>`}
    </section>`;
}

export function AlertsPage() {
  const alerts = useAlerts();
  const rules = usePoll(() => get("/v1/alerts/rules"), 30000);
  const at = alerts.data?.looked_at;
  return html`
    <${Head} title="Alerts"
      note=${at && html`One of the servers looks every ten seconds, last <${Time} at=${at} />.`} />
    <${Loaded} of=${alerts}>${(data) => html`<${Lists} of=${data.alerts}
      reload=${alerts.reload} />`}<//>
    <section class="card" aria-labelledby="rules"><div class="card-head">
      <h2 id="rules">Rules</h2></div>
      <${Loaded} of=${rules}>${(data) => html`<${Rules} of=${data} reload=${rules.reload} />`}<//>
    </section>`;
}

function Lists({ of, reload }) {
  const list = (state) => of.filter((one) => one.state === state);
  const [now, soon, over] = ["firing", "pending", "resolved"].map(list);
  return html`
    ${now.length === 0 && html`<${Empty} title="Nothing fires">${soon.length
      ? "What is below has to hold a little longer before it does."
      : "All rules hold."}<//>`}
    ${now.length > 0 && html`<div class="groups">${now.map((one) => html`
      <${Firing} key=${one.id} of=${one} reload=${reload} />`)}</div>`}
    <${Others} id="pending" title="Not for long enough yet" of=${soon} />
    <${Others} id="resolved" title="Resolved in the last day" of=${over} />`;
}

/** A card for what somebody should do something about. */
function Firing({ of, reload }) {
  const known = of.acknowledged;
  return html`
    <section class=${`card alert ${TONES[of.severity]}`} aria-label=${`Alert ${of.id}`}>
      <div class="alert-head"><${Icon} name=${TONES[of.severity]} /><div>
        <h2><${Text} of=${of.summary} /></h2>
        <p class="note">${NAMES[of.rule] || of.rule}${of.queue && html`,${" "}
          <a href=${queueHref(of.queue)}><${Text} of=${of.queue} /></a>`},${" "}
          ${of.severity}, since <${Time} at=${of.since} /></p>
        <p class="advice" dir="auto"><${Advice} of=${of.advice} /></p>
        ${known && html`<p class="note">Known to <${Text} of=${known.by} />${" "}
          <${Time} at=${known.at} /></p>`}</div>
        ${!known && html`<${Act} scope="operate"
          onClick=${() => acknowledge(of).then(reload)}
          aria-label=${`Acknowledge ${of.id}`}>Acknowledge<//>`}</div>
    </section>`;
}

const Others = ({ id, title, of }) => of.length > 0 && html`
  <section class="card" aria-labelledby=${id}><h2 id=${id}>${title}</h2>
    <ul class="findings">${of.map((one) => html`
      <li key=${one.id} class="info"><${Icon} name=${one.state === "resolved" ? "ok" : "info"} />
        <div><${Text} of=${one.summary} /><p class="note">${NAMES[one.rule] || one.rule},${" "}
          ${one.state} <${Time} at=${one.since} />${one.acknowledged && html`, known to${" "}
          <${Text} of=${one.acknowledged.by} />`}</p></div></li>`)}</ul></section>`;

async function acknowledge(of) {
  const dead = of.rule === "dead";
  const yes = await ask({
    title: "Acknowledge this alert?",
    text: `${of.summary}. ${dead ? "It is resolved by that, and fires again when more jobs die."
      : "It goes on until its condition is gone; others see that you know of it."}`,
    yes: "Acknowledge", no: "Not yet",
  });
  if (!yes) return;
  await attempt("Acknowledged",
    () => post(`/v1/alerts/${encodeURIComponent(of.id)}/acknowledge`));
}

const Rules = ({ of, reload }) => html`
  <p class="note">What is set here is kept in the store and wins over dutiful.toml.</p>
  <div class="scroll"><table>
    <caption class="hidden">Rules of alerts with their thresholds</caption>
    <thead><tr><th scope="col">Rule</th><th scope="col">Queue</th>
      <th scope="col" class="n">Threshold</th><th scope="col" class="n wide">For</th>
      <th scope="col" class="wide">Severity</th><th scope="col">Actions</th></tr></thead>
    <tbody>${of.rules.map((one) => html`<${Rule} key=${`${one.rule}/${one.queue}`} of=${one}
      all=${of} reload=${reload} />`)}</tbody>
  </table></div>`;

function Rule({ of, all, reload }) {
  const name = `${NAMES[of.rule] || of.rule}${of.queue ? ` of ${of.queue}` : ""}`;
  const save = (what, change) => attempt(what, () => send(all, change)).then(reload);
  const own = kept(all, of);
  const turn = () => save(`${name} is ${of.enabled ? "off" : "on"}`,
    (put) => Object.assign(put(of.rule, of.queue), { enabled: !of.enabled }));
  return html`
    <tr>
      <th scope="row">${NAMES[of.rule] || of.rule}<div class="sub">${of.about}</div></th>
      <td>${of.queue ? html`<${Text} of=${of.queue} />` : "all"}</td>
      <td class="n">${of.enabled ? UNITS[of.unit](of.threshold) : html`<${State} of="off" />`}</td>
      <td class="n wide">${of.for_s ? duration(of.for_s) : "at once"}</td>
      <td class="wide"><${State} of=${of.severity} /></td>
      <td><div class="row-actions">
        <${Act} scope="operate" onClick=${() => change(of, save)}
          aria-label=${`Change ${name}`}>Change<//>
        <${Act} scope="operate" class="quiet" onClick=${turn}
          aria-label=${`Turn ${of.enabled ? "off" : "on"} ${name}`}>
          ${of.enabled ? "Turn off" : "Turn on"}<//>
        ${own && html`<${Act} scope="operate" class="quiet" aria-label=${`Undo ${name}`}
          onClick=${() => save(`${name} is as before`, (put) => put(of.rule, of.queue, true))}>
          Undo<//>`}</div></td>
    </tr>`;
}

/** What was set here of a rule. */
const kept = ({ kept: { rules, queues } }, { rule, queue }) =>
  (queue ? queues[queue]?.[rule] : rules[rule]);

/** Changes a copy of what is kept and puts it in its place, if nobody else did meanwhile. */
function send({ kept: before, version }, change) {
  const next = structuredClone(before);
  change((rule, queue, forgets) => {
    const rules = queue ? (next.queues[queue] ||= {}) : next.rules;
    if (forgets) return delete rules[rule];
    return (rules[rule] ||= {});
  });
  for (const [queue, rules] of Object.entries(next.queues)) {
    if (Object.keys(rules).length === 0) delete next.queues[queue];
  }
  return put("/v1/alerts/rules", { ...next, ...(version && { version }) });
}

const number = (least) => (text) => (text.trim() !== "" && Number(text) >= least ? ""
  : `A number, ${least} or more.`);

async function change(of, save) {
  const fields = [
    !of.queue && of.rule !== "store" && {
      name: "queue", label: "Queue", hint: "Empty: all queues that have no threshold of their own.",
      check: (text) => (/^[A-Za-z0-9_.:-]{0,128}$/.test(text.trim()) ? ""
        : "Letters, digits and _ . : - only."),
    },
    of.unit !== "findings" && {
      name: "threshold", label: "Threshold", value: String(of.threshold), hint: HINTS[of.unit],
      check: number(of.unit === "times" ? 1 : 0),
    },
    {
      name: "for_s", label: "For", value: String(of.for_s), check: number(0),
      hint: "In seconds: so long it has to hold before it fires.",
    },
    {
      name: "severity", label: "Severity", value: of.severity, hint: "warning or critical",
      check: (text) => (["warning", "critical"].includes(text.trim()) ? ""
        : "Write warning or critical."),
    },
  ].filter(Boolean);
  const title = `Change ${NAMES[of.rule] || of.rule}${of.queue ? ` of ${of.queue}` : ""}`;
  const answer = await ask({ title, text: `It fires when: ${of.about}.`, fields, yes: "Save" });
  if (!answer) return;
  const queue = of.queue || answer.queue?.trim() || null;
  await save("The rule is changed", (put) => Object.assign(put(of.rule, queue), {
    ...(answer.threshold !== undefined && { threshold: Number(answer.threshold) }),
    for_s: Number(answer.for_s), severity: answer.severity.trim(), enabled: true,
  }));
}
