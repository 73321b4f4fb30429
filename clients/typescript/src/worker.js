/** Claims jobs, runs their handlers, renews their leases, and sends how they ended. */

import os from 'node:os';
import process from 'node:process';
import { Attempt } from './attempt.js';
import { LeaseLost, NotFound } from './errors.js';
import { Http, pause, pauseAfter } from './http.js';
import { Outbox } from './outbox.js';
import { Slots } from './slots.js';

const LEASE_MS = 30_000;
const GRACE_MS = 25_000;
const CLAIM_MAX = 1000;
const EXTEND_MAX = 1000;
const WAIT_MAX_MS = 30_000;
/** Claims pause while so many ends are unsent. */
const UNSENT_MAX = 5_000;
/** How exact timeouts and self-fencing are. */
const TICK_MS = 100;
/** How long a stop waits for claims under way before it hangs up on them. */
const HANG_UP_MS = 500;
/** How long a stop goes on sending ends after its grace. */
const FLUSH_MS = 4_000;

export class Worker {
  #http;
  #options;
  #slots;
  #outbox;
  #handlers = new Map();
  #types = {};
  #attempts = new Map(); // by fence: all that is claimed and whose end the server does not know
  #id;
  #registering;
  #beat_ms;
  #loops = [];
  #stopping; // the promise of a stop
  #claims = new AbortController();
  #closing = new AbortController();

  constructor({ url, token, ...options } = {}) {
    this.#options = {
      name: `${os.hostname()}:${process.pid}`,
      queues: { default: 10 },
      prefetch: 0,
      lease_ms: LEASE_MS,
      grace_ms: GRACE_MS,
      on_error: (error) => console.error(`dutiful: ${error.message}`),
      ...options,
    };
    const { queues, prefetch } = this.#options;
    this.#http = new Http({ url, token, retry_for_ms: 0 });
    this.#slots = new Map(
      Object.entries(queues).map(([queue, size]) => [queue, new Slots(queue, size, prefetch)]),
    );
    const { signal } = this.#closing;
    this.#outbox = new Outbox({
      send: (body) => this.#post('finish', body, { signal }),
      onAnswer: (answer) => this.#answered(answer),
      onError: (error) => this.#failed(error),
      signal,
    });
  }

  /** Names the handler of a type, and what its jobs have by default (`max_attempts`, `queue`). */
  handle(type, handler, settings = {}) {
    this.#handlers.set(type, handler);
    this.#types[type] = settings;
    return this;
  }

  /** Works until SIGTERM, SIGINT or `stop()`, then stops in order; a second signal ends at once. */
  async run(signals = ['SIGTERM', 'SIGINT']) {
    const onSignal = (name) => {
      if (this.#stopping) process.exit(128 + os.constants.signals[name]);
      this.stop();
    };
    for (const name of signals) process.on(name, onSignal);
    try {
      await this.start();
      await Promise.all(this.#loops);
      await this.stop();
    } finally {
      for (const name of signals) process.off(name, onSignal);
    }
  }

  /** Registers, waiting for a server that is away, and begins to claim. */
  async start() {
    await this.#register(Infinity);
    if (this.#stopping) return;
    this.#loops = [...this.#slots.values()].map((slots) => this.#claim(slots));
    this.#loops.push(this.#beat());
    const timer = setInterval(() => this.#watch(), TICK_MS);
    this.#closing.signal.addEventListener('abort', () => clearInterval(timer));
  }

  /** Claims no more, lets what runs end within the grace, releases the rest, sends what is left. */
  stop() {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop() {
    await undefined; // so that #stopping is set
    for (const slots of this.#slots.values()) {
      for (const attempt of slots.dropAll()) this.#settle(attempt, { outcome: 'released' });
      slots.wake();
    }
    setTimeout(() => this.#claims.abort(), HANG_UP_MS).unref();
    await Promise.all(this.#loops.slice(0, -1));
    await until(() => this.#running().length === 0, this.#options.grace_ms);
    for (const attempt of this.#running()) {
      if (attempt.leased) this.#settle(attempt, { outcome: 'released' });
      attempt.tell('stopping');
    }
    await until(() => this.#attempts.size === 0, FLUSH_MS);
    this.#claims.abort();
    this.#closing.abort();
    await Promise.all(this.#loops);
    if (!this.#id) return;
    const options = { timeout_ms: 1000 };
    await this.#http.call('DELETE', `/v1/workers/${this.#id}`, undefined, options).catch(() => {});
  }

  #running() {
    return [...this.#attempts.values()].filter((attempt) => attempt.started && !attempt.settled);
  }

  async #register(retry_for_ms) {
    const { name, queues } = this.#options;
    const body = { name, queues, types: this.#types };
    const options = { retry_for_ms, signal: this.#claims.signal };
    try {
      const answer = await this.#http.call('POST', '/v1/workers', body, options);
      this.#id = answer.id;
      this.#beat_ms = Math.min(answer.beat_ms, this.#options.lease_ms / 3);
    } catch (error) {
      if (!this.#stopping) throw error;
    }
  }

  async #post(verb, body, options) {
    const id = this.#id;
    try {
      return await this.#http.call('POST', `/v1/workers/${id}/${verb}`, body, options);
    } catch (error) {
      if (error instanceof NotFound && id === this.#id) await this.#registerAgain();
      throw error;
    }
  }

  /** A server that started anew may not know this worker; several loops find out at once. */
  #registerAgain() {
    this.#registering ??= this.#register(0).finally(() => (this.#registering = undefined));
    return this.#registering;
  }

  /** After a call that failed. Answers whether to give up, because the worker has closed. */
  #failed(error) {
    if (this.#closing.signal.aborted) return true;
    this.#options.on_error(error);
    return false;
  }

  /** One loop for each queue, so that one without jobs never keeps another waiting. */
  async #claim(slots) {
    const { lease_ms } = this.#options;
    // The lease counts from before the call, so the wait must leave time for the first beat.
    const wait_ms = Math.min(WAIT_MAX_MS, Math.floor(lease_ms / 6));
    const options = { timeout_ms: wait_ms + 10_000, signal: this.#claims.signal };
    for (let tries = 0; !this.#stopping; ) {
      const wanted = this.#outbox.size < UNSENT_MAX ? slots.wanted() : 0;
      if (wanted === 0) {
        await slots.changed();
        continue;
      }
      const began = performance.now();
      const queues = { [slots.queue]: Math.min(wanted, CLAIM_MAX) };
      try {
        const { jobs } = await this.#post('claim', { queues, lease_ms, wait_ms }, options);
        for (const job of jobs) this.#take(job, slots, began);
        this.#fill(slots);
        tries = 0;
      } catch (error) {
        if (this.#stopping || this.#failed(error)) return;
        await pause(pauseAfter(error, tries++), this.#claims.signal);
      }
    }
  }

  #take(job, slots, began) {
    const attempt = new Attempt(job, slots, began, (...what) => this.#say(...what));
    this.#attempts.set(attempt.fence, attempt);
    if (!attempt.leased) this.#execute(attempt); // nobody else could run it any more
    else if (this.#stopping) this.#settle(attempt, { outcome: 'released' });
    else slots.add(attempt);
  }

  #fill(slots) {
    for (let attempt; (attempt = slots.next()); ) this.#execute(attempt);
    slots.wake();
  }

  async #execute(attempt) {
    attempt.slots.running += 1;
    const end = await attempt.run(this.#handlers.get(attempt.job.type));
    this.#settle(attempt, end);
  }

  /** Ends an attempt, once: whoever comes later is not heard. Without an end nothing is sent. */
  #settle(attempt, end) {
    if (attempt.settled) return;
    attempt.settled = true;
    const { slots } = attempt;
    if (attempt.started) slots.running -= 1;
    else slots.drop(attempt);
    if (end === undefined) this.#attempts.delete(attempt.fence);
    else this.#outbox.add(attempt.fence, typeof end === 'string' ? end : attempt.end(end));
    this.#fill(slots);
  }

  #answered({ fence, status }) {
    const attempt = this.#attempts.get(fence);
    if (!attempt) return;
    this.#attempts.delete(fence);
    attempt.slots.wake(); // claims may have paused because too many ends were unsent
    if (status !== 'lease_lost') return;
    // Also said when an end was sent again because its first answer went missing.
    this.#options.on_error(new Error(`job ${attempt.job.id} ended after its lease was lost`));
  }

  #lose(attempt) {
    attempt.tell('lease_lost');
    this.#settle(attempt);
  }

  /** Renews all leases on a timer of its own, and hears of cancel requests. */
  async #beat() {
    const { lease_ms } = this.#options;
    const signal = this.#closing.signal;
    const options = { timeout_ms: lease_ms / 6, signal };
    for (let tries = 0; !signal.aborted; ) {
      const began = performance.now();
      const leased = [...this.#attempts.values()].filter((attempt) => attempt.leased);
      try {
        for (let from = 0; from === 0 || from < leased.length; from += EXTEND_MAX) {
          const fences = leased.slice(from, from + EXTEND_MAX).map((attempt) => attempt.fence);
          const { leases } = await this.#post('extend', { fences, lease_ms }, options);
          for (const lease of leases) this.#renewed(lease, began);
        }
        tries = 0;
        const left = this.#beat_ms - (performance.now() - began);
        await pause(Math.max(0, left), signal);
      } catch (error) {
        if (this.#failed(error)) return;
        await pause(pauseAfter(error, tries++), signal);
      }
    }
  }

  #renewed({ fence, held, cancel }, began) {
    const attempt = this.#attempts.get(fence);
    if (!attempt || attempt.settled) return;
    if (!held) return this.#lose(attempt);
    attempt.renewed = began;
    if (!cancel) return;
    if (attempt.started) attempt.tell('cancelled');
    else this.#settle(attempt, { outcome: 'cancelled' });
  }

  /** Ends what ran too long, and gives up what could not be renewed by two thirds of its lease. */
  #watch() {
    const now = performance.now();
    for (const attempt of this.#attempts.values()) {
      const { timeout_ms } = attempt.job;
      if (attempt.settled) continue;
      if (attempt.leased && now - attempt.renewed > (this.#options.lease_ms * 2) / 3) {
        this.#lose(attempt);
      } else if (timeout_ms && attempt.started && now - attempt.started > timeout_ms) {
        const error = { class: 'timeout', message: `ran longer than ${timeout_ms} ms` };
        attempt.tell('timeout');
        this.#settle(attempt, { outcome: 'failed', error });
      }
    }
  }

  async #say(attempt, verb, body) {
    try {
      const path = `/v1/leases/${attempt.fence}/${verb}`;
      await this.#http.call('POST', path, body, { retry_for_ms: this.#options.lease_ms / 3 });
    } catch (error) {
      if (error instanceof LeaseLost) this.#lose(attempt);
      throw error;
    }
  }
}

async function until(condition, ms) {
  const deadline = performance.now() + ms;
  while (!condition() && performance.now() < deadline) await pause(10);
}
