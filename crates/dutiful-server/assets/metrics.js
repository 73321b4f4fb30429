// Reads what /metrics counts over all attempts, as differences between two readings.

import { getText } from "./api.js";

// Families without a prefix count for all processes; those of one process begin with dutiful_.
const LINE = /^([a-z_]+)(?:\{(.*)\})? ([0-9.eE+-]+|\+Inf)$/;

/** One reading: attempts that completed and failed, and how long attempts took. */
export async function readMetrics() {
  const text = await getText("/metrics");
  const seen = { t: Date.now(), completed: 0, failed: 0, buckets: {}, known: false };
  for (const line of text.split("\n")) {
    const match = LINE.exec(line);
    if (!match) continue;
    const [, name, labels = "", value] = match;
    if (name === "jobs_completed_total") {
      seen.known = true;
      seen.completed += Number(value);
    } else if (name === "jobs_failed_total") {
      seen.failed += Number(value);
    } else if (name === "job_duration_seconds_bucket") {
      const le = /(?:^|,)le="([^"]+)"/.exec(labels)?.[1];
      if (le) seen.buckets[le] = (seen.buckets[le] || 0) + Number(value);
    }
  }
  return seen;
}

/** What happened between two readings; null when they do not say. */
export function between(first, last) {
  if (!first || !last?.known || first === last) return null;
  const completed = last.completed - first.completed;
  const failed = last.failed - first.failed;
  // A server that started anew counts from zero again.
  if (completed < 0 || failed < 0) return null;
  return { attempts: completed + failed, failed, p95: quantile(0.95, first, last) };
}

/** The upper bound of the bucket in which this share of the attempts had ended. */
function quantile(share, first, last) {
  const number = (le) => (le === "+Inf" ? Infinity : Number(le));
  const bounds = Object.keys(last.buckets).sort((a, b) => number(a) - number(b));
  const grown = (le) => last.buckets[le] - (first.buckets[le] || 0);
  const all = bounds.length ? grown(bounds.at(-1)) : 0;
  if (!(all > 0)) return null;
  const bound = bounds.find((le) => grown(le) >= share * all);
  const finite = bounds.filter((le) => le !== "+Inf");
  return bound === "+Inf" ? { over: number(finite.at(-1)) } : { under: number(bound) };
}
