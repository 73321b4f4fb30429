// Keeps the numbers of the store live: by events, by asking when there are none, and remembers
// the last ten minutes of them for the small charts.

import { base } from "./base.js";
import { get } from "./api.js";
import { useEffect, useRef, useState } from "./vendor/hooks.js";

/** How far back the charts go. */
export const KEPT_MS = 10 * 60 * 1000;
/** Silence after which the server is asked: with events it may be that nothing changed. */
const SILENCE_EVENTS_MS = 5000;
const SILENCE_ASKING_MS = 2000;
/** What could not be loaded is asked for again after this time. */
const AGAIN_MS = 3000;
/** A live list asks again at most this often. */
const LIVE_MS = 1000;

const NOTHING = { stats: null, at: 0, lost: null, how: "asking" };
const live = { ...NOTHING, history: [] };
const listeners = new Set();
let source = null;
let asking = false;
let reopenAt = 0;
/** The timer while somebody is signed in; what was asked under another one is not heard. */
let timer = null;

const tell = () => listeners.forEach((listener) => listener(live));

function take(stats) {
  live.stats = stats;
  live.at = Date.now();
  live.lost = null;
  tell();
}

function open() {
  if (source || document.hidden || Date.now() < reopenAt) return;
  source = new EventSource(`${base}/v1/events`);
  source.addEventListener("open", () => {
    live.how = "events";
    tell();
  });
  source.addEventListener("stats", (event) => take(JSON.parse(event.data)));
  source.addEventListener("error", () => {
    // The browser would try by itself, but not after every kind of answer.
    close();
    reopenAt = Date.now() + 3000;
  });
}

function close() {
  source?.close();
  source = null;
  live.how = "asking";
}

async function ask() {
  const mine = timer;
  asking = true;
  try {
    const stats = await get("/v1/stats", { timeout: 5000 });
    if (mine !== timer) return;
    take(stats);
  } catch (problem) {
    if (mine !== timer) return;
    live.lost = live.lost || { since: Date.now() };
    live.lost.problem = problem;
    tell();
  }
  asking = false;
}

function tick() {
  if (document.hidden) return;
  open();
  const patience = live.how === "events" ? SILENCE_EVENTS_MS : SILENCE_ASKING_MS;
  if (!asking && Date.now() - live.at > patience) ask();
  remember();
}

function remember() {
  if (!live.stats || live.lost) return;
  const { totals, queues } = live.stats;
  const oldest = queues.reduce((most, one) => Math.max(most, one.oldest_pending_s || 0), 0);
  live.history.push({ t: Date.now(), ...totals, oldest });
  const first = live.history.findIndex((one) => one.t > Date.now() - KEPT_MS);
  if (first > 0) live.history.splice(0, first);
  tell();
}

/** A hidden tab holds no connection: browsers allow few of them. */
const seen = () => (document.hidden ? close() : tick());

/** Starts it, for the one who is signed in. */
export function start() {
  document.addEventListener("visibilitychange", seen);
  timer = setInterval(tick, 1000);
  reopenAt = 0;
  tick();
}

/** Stops it and forgets what it knew: who signs in next may see something else. */
export function stop() {
  document.removeEventListener("visibilitychange", seen);
  clearInterval(timer);
  timer = null;
  asking = false;
  close();
  Object.assign(live, NOTHING, { history: [] });
  tell();
}

/** The numbers now; the component is drawn again when they change. */
export function useLive() {
  const [, again] = useState(0);
  useEffect(() => {
    const listener = () => again((n) => n + 1);
    listeners.add(listener);
    return () => listeners.delete(listener);
  }, []);
  return live;
}

/**
 * Loads something now, each `ms`, and with `live` also when the store's numbers change.
 * `deps` says what it depends on: when that changes, what was loaded is forgotten.
 */
export function usePoll(load, ms, deps = [], { live: follows = false, pause = false } = {}) {
  const [state, set] = useState({});
  const run = useRef(() => {});
  const paused = useRef(pause);
  const pace = useRef(ms);
  paused.current = pause;
  pace.current = ms;
  useEffect(() => {
    let gone = false;
    let turn = 0;
    let timer;
    let last = 0;
    let seen = live.stats;
    run.current = async () => {
      clearTimeout(timer);
      const mine = ++turn;
      last = Date.now();
      let next;
      try {
        next = { data: await load() };
      } catch (error) {
        next = { error };
      }
      if (gone || mine !== turn) return;
      set((old) => (next.error ? { data: old.data, error: next.error } : next));
      clearTimeout(timer);
      timer = setTimeout(tickOne, next.error ? Math.min(pace.current, AGAIN_MS) : pace.current);
    };
    const tickOne = () => {
      const rests = document.hidden || paused.current;
      if (rests) timer = setTimeout(tickOne, LIVE_MS);
      else run.current();
    };
    const moved = () => {
      if (live.stats === seen || live.lost || document.hidden || paused.current) return;
      if (Date.now() - last < LIVE_MS) return;
      const same = seen && JSON.stringify(seen.totals) === JSON.stringify(live.stats.totals);
      seen = live.stats;
      if (!same) run.current();
    };
    set({});
    run.current();
    const changed = () => run.current();
    if (follows) listeners.add(moved);
    addEventListener("dutiful:changed", changed);
    return () => {
      gone = true;
      clearTimeout(timer);
      listeners.delete(moved);
      removeEventListener("dutiful:changed", changed);
    };
  }, deps);
  return { ...state, reload: () => run.current() };
}

/** What a counter grew by each second, lately; null while that is not known. */
export function rate(history, name, over = 10000) {
  const last = history.at(-1);
  if (!last) return null;
  const first = history.find((one) => one.t >= last.t - over);
  if (last.t - first.t < 1500 || last[name] < first[name]) return null;
  return ((last[name] - first[name]) * 1000) / (last.t - first.t);
}

/** The same at each moment that is remembered, for a chart. */
export function rates(history, name) {
  const points = [];
  for (let i = 5; i < history.length; i += 1) {
    const [a, b] = [history[i - 5], history[i]];
    const grew = b[name] - a[name];
    points.push({ t: b.t, v: grew < 0 ? null : (grew * 1000) / (b.t - a.t) });
  }
  return points;
}
