// The small parts that every page is made of.

import { base } from "./base.js";
import { h } from "./vendor/preact.js";
import { useState } from "./vendor/hooks.js";
import htm from "./vendor/htm.js";
import { KEPT_MS } from "./live.js";
import { ago, clock, compact, count, shortId } from "./format.js";
import { asksForToken } from "./session.js";

export const html = htm.bind(h);

export const STATES = [
  "pending", "scheduled", "active", "failed", "stalled", "completed", "dead", "cancelled",
];

const ICONS = {
  overview: "M3 12h4l3-8 4 16 3-8h4",
  queues: "M4 6h16M4 12h16M4 18h10",
  jobs: "M5 4h14v16H5zM9 9h6M9 13h6",
  dead: "M12 4l9 16H3zM12 10v4M12 17v.5",
  workers: "M7 7h10v10H7zM10 2v3M14 2v3M10 19v3M14 19v3M2 10h3M2 14h3M19 10h3M19 14h3",
  alerts: "M6 17V11a6 6 0 0 1 12 0v6l1.5 2h-15zM10 21h4",
  settings: "M4 7h10M18 7h2M14 4v6M4 17h2M10 17h10M6 14v6",
  search: "M10.5 4a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13zM15.5 15.5L21 21",
  theme: "M12 3a9 9 0 1 0 0 18zM12 3a9 9 0 0 1 0 18",
  ok: "M4 12.5l5 5L20 7",
  warning: "M12 4l9 16H3zM12 10v4M12 17v.5",
  bad: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM12 7.5v5.5M12 16v.5",
  info: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM12 11v5.5M12 7.5v.5",
  pause: "M9 5v14M15 5v14",
  audit: "M6 3h9l4 4v14H6zM9 11h7M9 15h7M9 7h3",
  leave: "M14 4h5v16h-5M10 8l-4 4 4 4M6 12h9",
};

/** A drawing beside a word, which says the same. */
export const Icon = ({ name }) => html`
  <svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
    <path d=${ICONS[name] || ICONS.info} />
  </svg>`;

/** Text that somebody else wrote: in its own direction, and nothing but text. */
export const Text = ({ of }) => html`<bdi class="text">${String(of ?? "")}</bdi>`;

/** A sentence with commands in it, which stand between backticks. */
export function Advice({ of }) {
  return of.split("`").map((part, n) => n % 2 === 1 ? html`<span class="mono">${part}</span>` : part);
}

/** A state as a word; its colour only helps. */
export function State({ of }) {
  const known = STATES.includes(of) || OUTCOMES.includes(of);
  return html`<span class=${`state ${known ? `is-${of}` : ""}`}>${String(of)}</span>`;
}
const OUTCOMES = ["running", "snoozed", "released", "unknown", "alive", "silent", "stopped",
  "paused", "quiet", "ok", "warning", "bad", "critical", "off"];

/** A time as people say it; the exact one when pointed at. */
export const Time = ({ at }) => at
  ? html`<time datetime=${at} title=${clock(at)}>${ago(at)}</time>` : "–";

/** A number that leads to the list behind it. */
export function Num({ n, href, tone }) {
  if (!n) return html`<span class="zero">${count(n)}</span>`;
  return html`<a class=${`num ${tone || ""}`} href=${href}>${count(n)}</a>`;
}

export const jobHref = (id) => `/jobs/${encodeURIComponent(id)}`;
export const queueHref = (name) => `/queues/${encodeURIComponent(name)}`;

export const JobLink = ({ id, full }) =>
  html`<a class="id" href=${jobHref(id)} title=${id}>${full ? id : shortId(id)}</a>`;

/** A share of something, 0 to 1, drawn; the words beside it say the same. */
export const Bar = ({ share, tone }) => html`
  <svg class=${`bar ${tone || ""}`} viewBox="0 0 100 6" preserveAspectRatio="none"
    aria-hidden="true" focusable="false">
    <rect class="bar-back" width="100" height="6" />
    <rect class="bar-fill" width=${Math.max(0, Math.min(1, share || 0)) * 100} height="6" />
  </svg>`;

/**
 * A number over time, newest at the right; what is not known stays empty. Without a span it is what
 * this page has seen, up to the last ten minutes.
 */
export function Spark({ points, span: given }) {
  const now = given ? Date.now() : points.at(-1)?.t || 0;
  const most = points.reduce((high, one) => Math.max(high, one.v ?? 0), 1e-9);
  // A page that was opened just now shows the minute it knows, not nine empty ones before it.
  const span = given || Math.min(KEPT_MS, Math.max(60000, now - (points[0]?.t || now)));
  const x = (one) => (100 * (1 - (now - one.t) / span)).toFixed(2);
  const y = (one) => (27 - (25 * one.v) / most).toFixed(2);
  const runs = [[]];
  for (const one of points) {
    if (one.v === null || one.v === undefined) runs.push([]);
    else runs.at(-1).push(one);
  }
  // A step between two gaps is drawn, too: a short line.
  const known = runs.filter((run) => run.length > (given ? 0 : 1));
  const line = (run) => run.map((one, i) => `${i ? "L" : "M"}${x(one)} ${y(one)}`).join("") +
    (run.length > 1 ? "" : "h.6");
  const area = (run) => `${line(run)}L${x(run.at(-1))} 28L${x(run[0])} 28Z`;
  return html`
    <svg class="spark" viewBox="0 0 100 28" preserveAspectRatio="none" aria-hidden="true"
      focusable="false">
      <path class="spark-base" d="M0 27.5H100" />
      ${known.map((run) => html`<path class="spark-area" d=${area(run)} />
        <path class="spark-line" d=${line(run)} />`)}
    </svg>`;
}

/** What there is when there is nothing, and what to do next. */
export const Empty = ({ title, children, command }) => html`
  <div class="empty">
    <p class="empty-title">${title}</p>
    ${children && html`<p>${children}</p>`}
    ${command && html`<pre class="command" tabindex="0">${command}</pre>`}
  </div>`;

export const curl = (path, body) => [
  `curl -X POST ${location.origin}${base}${path} \\`,
  asksForToken() && "  -H \"Authorization: Bearer $DUTIFUL_TOKEN\" \\",
  `  -H 'Content-Type: application/json' \\`,
  `  -d '${body}'`,
].filter(Boolean).join("\n");

/** What stands in the place of something that is not there yet or could not be had. */
export function Loaded({ of, children }) {
  const { data, error, reload } = of;
  if (data === undefined && !error) return html`<p class="loading" role="status">Loading …</p>`;
  return html`
    ${error && html`<div class="notice bad" role="alert"><${Icon} name="bad" />
      <span>This could not be loaded: <${Text} of=${error.message} />.</span>
      <button type="button" onClick=${reload}>Try again</button></div>`}
    ${data !== undefined && children(data)}`;
}

/** A text in which each `mark` stands out. */
const marked = (text, mark) => text.split(mark).map((piece, i) => html`${
  i > 0 && html`<span class="redacted">${mark}</span>`}${piece}`);

/** A text that may be long: its first lines, and the rest on demand. */
export function Long({ text, lines = 4, label, mark }) {
  const [all, set] = useState(false);
  const parts = String(text).split("\n");
  const cut = parts.length > lines + 1 || text.length > 1200;
  const shown = all || !cut ? text : parts.slice(0, lines).join("\n").slice(0, 1200);
  return html`
    <pre class="long" dir="auto" tabindex="0" aria-label=${label}>${
      mark ? marked(shown, mark) : shown}${cut && !all ? " …" : ""}</pre>
    ${cut && html`<button type="button" class="quiet small" aria-expanded=${all}
      onClick=${() => set(!all)}>${all ? "Less" : `All of it (${parts.length} lines)`}</button>`}`;
}

/** Copies a text, and says so. */
export function Copy({ text, what }) {
  const [word, set] = useState("Copy");
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      set("Copied");
    } catch {
      // Browsers give the clipboard over https and on this machine only.
      set("Not copied");
    }
    setTimeout(() => set("Copy"), 1500);
  };
  return html`<button type="button" class="quiet small" onClick=${copy}
    aria-label=${`Copy ${what}`}>${word}</button>`;
}

/** The head of a page: what it is, and what can be done on it. */
export const Head = ({ title, children, note }) => html`
  <div class="head">
    <div><h1 id="title" tabindex="-1">${title}</h1>
      ${note && html`<p class="note">${note}</p>`}</div>
    ${children && html`<div class="actions">${children}</div>`}
  </div>`;

/** A figure in a box, with its unit in small. */
export const Figure = ({ value }) => html`<span class="figure">${
  typeof value === "number" ? compact(value) : value}</span>`;
