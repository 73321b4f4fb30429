// Changes of many jobs at once: asked for with how many, run by the server, shown as they go.

import { Act } from "./act.js";
import { changeJobs, get, jobPath, post } from "./api.js";
import { ask, say } from "./dialog.js";
import { count, plural } from "./format.js";
import { Bar, html, jobHref, Text } from "./parts.js";
import { useEffect, useState } from "./vendor/hooks.js";

/** What can be done to many, and what that means. */
export const VERBS = {
  retry: "Failed, dead and cancelled jobs are put back into their queue, due now.",
  cancel: "Waiting jobs end at once, running ones as soon as their worker hears of it.",
  discard: "Dead jobs leave the dead letter queue; they stay on record as cancelled.",
  delete: "Every trace of jobs that are not active is removed. This cannot be undone.",
};

export const title = (word) => word[0].toUpperCase() + word.slice(1);

/** What a change of chosen jobs did, in one sentence. */
function outcome(seen) {
  const words = {
    done: "done", requested: "asked to stop", refused: "refused in their state",
    not_found: "gone already", conflict: "kept, as their unique key is taken",
  };
  const parts = Object.entries(seen).map(([key, n]) => `${count(n)} ${words[key] || key}`);
  return parts.join(", ") || "nothing to do";
}

/** Asks, then changes the jobs with these ids; resolves to whether anything was tried. */
export async function changeChosen(verb, ids) {
  const jobs = plural(ids.length, "job");
  const yes = await ask({
    title: `${title(verb)} ${jobs}?`, text: VERBS[verb], yes: `${title(verb)} ${jobs}`,
    danger: verb !== "retry",
  });
  if (!yes) return false;
  try {
    const seen = await changeJobs(verb, ids);
    say(`${title(verb)}: ${outcome(seen)}`, seen.refused || seen.conflict ? "warning" : "ok");
  } catch (problem) {
    say(problem.message, "bad");
  }
  return true;
}

/** An older server does not know groups by fingerprint: then the class has to do. */
async function preview(filter) {
  try {
    return { filter, found: await post("/v1/operations/preview", { filter }) };
  } catch (problem) {
    if (!filter.fingerprint || ![400, 422].includes(problem.status)) throw problem;
    const { fingerprint, ...rest } = filter;
    return { filter: rest, found: await post("/v1/operations/preview", { filter: rest }) };
  }
}

/** Asks with how many match, then starts the change of all that match as an operation. */
export async function changeMatching(verb, wanted, whose = "that match") {
  let asked;
  try {
    asked = await preview(wanted);
  } catch (problem) {
    say(problem.message, "bad");
    return false;
  }
  const { at_least: n, exact } = asked.found;
  if (n === 0 && exact) {
    say("No job matches: nothing to do", "warning");
    return false;
  }
  const jobs = `${exact ? "" : "at least "}${plural(n, "job")}`;
  const answer = await ask({
    title: `${title(verb)} ${jobs} ${whose}?`,
    text: VERBS[verb],
    more: html`<${Terms} filter=${asked.filter} />`,
    fields: [{
      name: "rate", label: "At most so many each second (empty: as fast as it goes)",
      type: "number", min: 1, step: 1,
      check: (text) => (text && !(Number(text) >= 1) ? "A whole number from 1." : ""),
    }],
    yes: `${title(verb)} ${jobs}`,
    typed: verb === "delete" ? verb : undefined,
    danger: verb !== "retry",
  });
  if (!answer) return false;
  const body = { verb, filter: asked.filter };
  if (answer.rate) body.per_second = Number(answer.rate);
  try {
    follow(await post("/v1/operations", body));
    return true;
  } catch (problem) {
    say(problem.message, "bad");
    return false;
  }
}

function Terms({ filter: { fingerprint, ...filter } }) {
  return html`
    <ul class="terms">${Object.entries(filter).map(([name, value]) => html`
      <li><span>${name.replace("_", " ")}</span> <${Text} of=${value} /></li>`)}
    </ul>`;
}

// Operations that were started here. They go on in the server when this page is closed.
let running = [];
const listeners = new Set();
const ENDED = ["completed", "dead", "cancelled"];

function update(operation) {
  running = running.map((one) => (one.id === operation.id ? operation : one));
  listeners.forEach((listener) => listener(running));
}

async function follow(operation) {
  running = [...running, operation];
  update(operation);
  for (let trouble = 0; trouble < 60;) {
    await new Promise((resolve) => setTimeout(resolve, 400));
    try {
      const now = await get(`/v1/operations/${encodeURIComponent(operation.id)}`);
      update(now);
      trouble = 0;
      if (ENDED.includes(now.state)) {
        dispatchEvent(new Event("dutiful:changed"));
        return;
      }
    } catch {
      trouble += 1;
    }
  }
}

function dismiss(id) {
  running = running.filter((one) => one.id !== id);
  listeners.forEach((listener) => listener(running));
}

/** Shows the operations that were started here, on every page. */
export function Operations() {
  const [all, set] = useState(running);
  useEffect(() => {
    listeners.add(set);
    return () => {
      listeners.delete(set);
      // Who signs in next did not start them.
      running = [];
    };
  }, []);
  return all.length > 0 && html`
    <section class="operations" aria-label="Operations">
      ${all.map((one) => html`<${Operation} key=${one.id} of=${one} />`)}
    </section>`;
}

function Operation({ of }) {
  const ended = ENDED.includes(of.state);
  const stop = async () => {
    try {
      await post(`${jobPath(of.id)}/cancel`);
    } catch (problem) {
      say(problem.message, "bad");
    }
  };
  const words = { completed: "done", cancelled: "stopped", dead: "gave up" };
  const share = (of.state === "completed" ? 100 : of.percent || 0) / 100;
  return html`
    <div class="operation">
      <p role=${ended ? "status" : undefined}>
        <a href=${jobHref(of.id)}>${title(of.verb)} many</a>: ${words[of.state] || "going on"};
        ${" "}${count(of.changed || 0)} changed, ${count(of.refused || 0)} refused,
        ${" "}${count(of.examined || 0)} looked at</p>
      <${Bar} share=${share} />
      ${ended ? html`<button type="button" onClick=${() => dismiss(of.id)}>Hide</button>`
        : html`<${Act} scope="operate" onClick=${stop}>Stop<//>`}
    </div>`;
}
