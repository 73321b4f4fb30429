// Says in one sentence each what is wrong, worst first, with where to go about it.

import { duration, plural } from "./format.js";
import { queueHref } from "./parts.js";

/** The oldest due job may wait so long before that is said. */
const LATE_S = 30;

/** A name of any script in a sentence of ours, each in its own direction. */
const isolated = (text) => `\u2068${text}\u2069`;

const serves = (worker, queue) =>
  worker.state === "alive" && !worker.quiet && worker.queues[queue] > 0;

/** Slots of a queue over all workers that live, and how many workers those are. */
export function capacity(workers, queue) {
  const there = workers.filter((worker) => serves(worker, queue));
  return {
    workers: there.length,
    slots: there.reduce((sum, worker) => sum + worker.queues[queue], 0),
  };
}

/** Why jobs of a queue do not run; null when they do. */
export function trouble(queue, workers) {
  const { queue: name, pending, paused, oldest_pending_s: oldest } = queue;
  const href = queueHref(name);
  if (paused) {
    const tone = pending ? "bad" : "warning";
    const wait = pending ? `${plural(pending, "job")} ${pending === 1 ? "waits" : "wait"} in it`
      : "nothing waits in it";
    return { tone, text: `Queue ${name} is paused, ${wait}`, short: "paused", href };
  }
  if (!pending || !workers) return null;
  if (capacity(workers, name).workers === 0) {
    const text = `No worker serves queue ${name}, ${plural(pending, "job")} ` +
      `${pending === 1 ? "waits" : "wait"}, the oldest for ${duration(oldest)}`;
    return { tone: "bad", text, short: "no worker", href: "/workers" };
  }
  if (oldest > LATE_S) {
    const text = `Queue ${name} is ${duration(oldest)} behind: ${plural(pending, "job")} due, ` +
      `${plural(capacity(workers, name).slots, "slot")}`;
    return { tone: "warning", text, short: "behind", href };
  }
  return null;
}

/** The group that most dead jobs belong to, in words. */
function mostly(groups, dead) {
  const first = groups?.groups?.[0];
  if (!first) return "";
  const where = first.queues.length === 1 ? ` in ${first.queues[0]}` : "";
  const share = first.count >= dead ? "all of them" : "mostly";
  return `, ${share} ${isolated(first.class)}${where}`;
}

/** Everything that is wrong: `[{tone, text, href}]`. */
export function diagnose({ stats, workers, groups, lost }) {
  if (lost) return [{ tone: "bad", text: "What follows is from before", href: "" }];
  if (!stats) return [];
  const { totals, queues } = stats;
  const found = [];
  const waiting = queues.filter((one) => one.pending && !one.paused);
  const served = (one) => capacity(workers, one.queue).workers > 0;
  const none = workers && waiting.length > 1 && !waiting.some(served);
  if (none) {
    const jobs = plural(waiting.reduce((sum, one) => sum + one.pending, 0), "job");
    const text = `No worker serves any of the ${waiting.length} queues in which ${jobs} wait`;
    found.push({ tone: "bad", text, href: "/workers" });
  }
  const troubles = queues.map((queue) => {
    return { ...trouble(queue, none ? null : workers), queue, weight: queue.pending };
  }).filter((one) => one.text);
  const behind = troubles.filter((one) => one.short === "behind");
  const many = behind.length > 2;
  if (many) {
    const most = behind.reduce((a, b) => {
      return b.queue.oldest_pending_s > a.queue.oldest_pending_s ? b : a;
    }).queue;
    const text = `${behind.length} queues are behind, most ${most.queue} by ` +
      duration(most.oldest_pending_s);
    found.push({ tone: "warning", text, href: "/queues" });
  }
  found.push(...troubles.filter((one) => !many || one.short !== "behind"));
  if (totals.dead) {
    const are = totals.dead === 1 ? "is" : "are";
    const text = `${plural(totals.dead, "job")} ${are} dead${mostly(groups, totals.dead)}`;
    found.push({ tone: "bad", text, href: "/dead" });
  }
  for (const worker of workers || []) {
    if (worker.state !== "silent") continue;
    const holds = worker.running ? `, it holds ${plural(worker.running, "job")}` : "";
    const text = `Worker ${isolated(worker.name)} has not been heard of lately${holds}`;
    found.push({ tone: "warning", text, href: "/workers" });
  }
  found.push(...said(stats.warnings));
  if (totals.failed) {
    const text = `${plural(totals.failed, "job")} failed and ` +
      `${totals.failed === 1 ? "waits for its" : "wait for their"} retry`;
    found.push({ tone: "info", text, href: "/jobs?state=failed" });
  }
  // By size in powers of ten, so that the sentences do not change places each second.
  const order = { bad: 0, warning: 1, info: 2 };
  const size = (one) => Math.round(Math.log10((one.weight || 0) + 1));
  return found.sort((a, b) => order[a.tone] - order[b.tone] || size(b) - size(a));
}

/** The store's own warnings, but those that were said above with more. */
function said(warnings) {
  const fresh = warnings.filter((text) => !/ dead jobs? waits? for|^queue .* is paused/.test(text));
  return fresh.map((text) => {
    const type = /no running worker serves type (\S+),/.exec(text)?.[1];
    const sentence = text[0].toUpperCase() + text.slice(1);
    if (type) {
      const href = `/jobs?live=true&type=${encodeURIComponent(type)}`;
      return { tone: "bad", text: sentence, href };
    }
    const href = text.includes("stalled") ? "/jobs?state=stalled" : "/settings";
    return { tone: "warning", text: sentence, href };
  });
}
