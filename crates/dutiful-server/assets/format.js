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
