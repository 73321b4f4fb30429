// Turns numbers, times and JSON into the text that people read; knows nothing of the page.

const whole = new Intl.NumberFormat("en");
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

/** 12345 → "12,345"; unknown → "–". */
export const count = (n) => (n === undefined || n === null ? "–" : whole.format(n));

/** The same in little room: 12345 → "12.3K". */
export const compact = (n) => (Math.abs(n) < 10000 ? count(n) : short.format(n));

/** 1 job, 2 jobs. */
export const plural = (n, one, many = one + "s") => `${count(n)} ${n === 1 ? one : many}`;

/** A rate or a share with as many digits as matter. */
export function decimal(n) {
  if (n === 0 || Math.abs(n) >= 100) return whole.format(Math.round(n));
  return n.toFixed(Math.abs(n) >= 10 ? 1 : 2);
}

/** Seconds → "850 ms", "12 s", "3 min 20 s", "2 h 5 min", "3 d 4 h". */
export function duration(s) {
  if (s === undefined || s === null || Number.isNaN(s)) return "–";
  if (s < 0) return "0 s";
  if (s < 1) return `${Math.round(s * 1000)} ms`;
  if (s < 10) return `${Number(s.toFixed(1))} s`;
  const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const rounded = Math.round(s);
  const first = units.findIndex(([size]) => rounded >= size);
  const [size, name] = units[first];
  const rest = rounded % size;
  const next = units[first + 1];
  const part = next ? Math.floor(rest / next[0]) : 0;
  return `${Math.floor(rounded / size)} ${name}` + (part ? ` ${part} ${next[1]}` : "");
}

/** Seconds between two RFC 3339 times; the second is now when it is absent. */
export const between = (from, to) => ((to ? Date.parse(to) : Date.now()) - Date.parse(from)) / 1000;

/** "3 min ago" or "in 20 s", from a time. */
export function ago(time) {
  if (!time) return "–";
  const s = between(time);
  if (Math.abs(s) < 1) return "now";
  return s > 0 ? `${coarse(s)} ago` : `in ${coarse(-s)}`;
}

/** One unit only, for columns that change each second. */
function coarse(s) {
  for (const [size, name] of [[86400, "d"], [3600, "h"], [60, "min"]]) {
    if (s >= size) return `${Math.floor(s / size)} ${name}`;
  }
  return `${Math.floor(s)} s`;
}

/** A time in the reader's zone, to the second. */
export function clock(time) {
  if (!time) return "–";
  const at = new Date(time);
  if (Number.isNaN(at.getTime())) return String(time);
  return at.toLocaleString("sv-SE", { timeZoneName: "short" });
}

/** Bytes → "812 B", "1.4 KiB". */
export function bytes(n) {
  if (n < 1024) return `${n} B`;
  return n < 1048576 ? `${(n / 1024).toFixed(1)} KiB` : `${(n / 1048576).toFixed(1)} MiB`;
}

/** The end of a UUID, which tells jobs of one moment apart. */
export const shortId = (id) => `…${id.slice(-8)}`;

export const isId = (text) => /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text);

// Strings, each mark by itself, and numbers and words.
const TOKEN = /"[^"\\]*(?:\\[^][^"\\]*)*"|[{}[\],:]|[^\s{}[\],:"]+/g;

/**
 * The text of a member of a JSON object, exactly as it stands there, or undefined.
 * A number that JavaScript cannot hold (2^53 + 1, 1e400) stays as it is.
 */
export function member(json, name) {
  let depth = 0;
  let key;
  let start = -1;
  for (const { 0: mark, index } of json.matchAll(TOKEN)) {
    if (depth === 1 && start < 0 && mark[0] === '"' && key === undefined) {
      key = JSON.parse(mark);
    } else if (depth === 1 && mark === ":" && start < 0) {
      start = index + 1;
    } else if (depth === 1 && (mark === "," || mark === "}")) {
      if (key === name) return json.slice(start, index).trim();
      key = undefined;
      start = -1;
    }
    if (mark === "{" || mark === "[") depth += 1;
    if (mark === "}" || mark === "]") depth -= 1;
  }
  return undefined;
}

/** Lays out JSON text in lines without reading its values. */
export function pretty(json) {
  let out = "";
  let depth = 0;
  let before = "";
  const line = () => "\n" + "  ".repeat(depth);
  for (const [text] of json.matchAll(TOKEN)) {
    const opens = before === "{" || before === "[";
    if (text === "}" || text === "]") {
      depth -= 1;
      out += (opens ? "" : line()) + text;
    } else {
      out += (opens || before === "," ? line() : "") + text + (text === ":" ? " " : "");
      if (text === "{" || text === "[") depth += 1;
    }
    before = text;
  }
  return out;
}

/** What is wrong with a JSON text, in one sentence; empty when nothing is. */
export function jsonProblem(text) {
  if (!text.trim()) return "Write a JSON value, at least null.";
  try {
    JSON.parse(text);
    return "";
  } catch (error) {
    const place = /position (\d+)/.exec(error.message);
    if (!place) return `This is not JSON: ${error.message}.`;
    const before = text.slice(0, Number(place[1])).split("\n");
    const what = error.message.replace(/ in JSON at position.*$/s, "");
    return `Line ${before.length}, column ${before.at(-1).length + 1}: ${what}.`;
  }
}
