/** The front door: enqueue, look, cancel, retry. One method is one call of the HTTP API. */

import { Http } from './http.js';
import { uuidv7 } from './id.js';

const BATCH_MAX = 1000;
/** The server bounds the body of a request; large payloads travel in more, smaller batches. */
const BATCH_CHARS = 4 * 1024 * 1024;
const WAIT_MS = 20_000;

export class Client {
  #http;

  constructor(options) {
    this.#http = new Http(options);
  }

  /** Stores one job; durable when this returns. Answers `{ id, outcome }`. */
  async enqueue(type, payload = null, { idempotency_key, ...settings } = {}) {
    if (idempotency_key === undefined) {
      return this.#post('/v1/jobs', { id: uuidv7(), type, payload, ...settings });
    }
    const headers = { 'idempotency-key': idempotency_key };
    return this.#post('/v1/jobs', { type, payload, ...settings }, { headers });
  }

  /** Stores many, a thousand in one piece; answers in the same order. */
  async enqueueAll(jobs) {
    const answers = [];
    for (const batch of batches(jobs)) {
      const { jobs: stored } = await this.#post('/v1/jobs/batch', `{"jobs":[${batch}]}`);
      answers.push(...stored);
    }
    return answers;
  }

  job(id) {
    return this.#get(`/v1/jobs/${encodeURIComponent(id)}`);
  }

  /** `{ id, state, result, error }` once the job has ended, or as it stands after `wait_ms`. */
  async result(id, { wait_ms = 0 } = {}) {
    const until = performance.now() + wait_ms;
    for (;;) {
      const left = Math.max(0, until - performance.now());
      const wait = { wait_ms: Math.ceil(Math.min(left, WAIT_MS)) };
      const answer = await this.#get(`/v1/jobs/${encodeURIComponent(id)}/result`, wait);
      if (left === 0 || hasEnded(answer.state)) return answer;
    }
  }

  /** One page, newest first: `{ jobs, next }`. It may be short and still have a `next`. */
  page(filter = {}) {
    return this.#get('/v1/jobs', filter);
  }

  /** All jobs that match, page after page. */
  async *jobs(filter = {}) {
    let before = filter.before;
    do {
      const page = await this.page({ ...filter, before });
      yield* page.jobs;
      before = page.next;
    } while (before);
  }

  /** "done", or "requested" when a worker runs it and will hear of it with its next beat. */
  cancel(id) {
    return this.#change(id, 'cancel');
  }

  retry(id) {
    return this.#change(id, 'retry');
  }

  discard(id) {
    return this.#change(id, 'discard');
  }

  /** `when`: `{ at }` (a Date or RFC 3339) or `{ delay_ms }`. */
  async reschedule(id, when) {
    await this.#post(`/v1/jobs/${encodeURIComponent(id)}/reschedule`, when);
  }

  async delete(id) {
    await this.#http.call('DELETE', `/v1/jobs/${encodeURIComponent(id)}`);
  }

  async queues() {
    return (await this.#get('/v1/queues')).queues;
  }

  queue(queue) {
    return this.#get(`/v1/queues/${encodeURIComponent(queue)}`);
  }

  async pause(queue) {
    return (await this.#post(`/v1/queues/${encodeURIComponent(queue)}/pause`)).changed;
  }

  async resume(queue) {
    return (await this.#post(`/v1/queues/${encodeURIComponent(queue)}/resume`)).changed;
  }

  async workers() {
    return (await this.#get('/v1/workers')).workers;
  }

  stats() {
    return this.#get('/v1/stats');
  }

  /** Due jobs and the age of the oldest; of one queue when it is named. For autoscalers. */
  backlog(queue) {
    return this.#get('/v1/backlog', { queue });
  }

  async #change(id, verb) {
    return (await this.#post(`/v1/jobs/${encodeURIComponent(id)}/${verb}`)).change;
  }

  #post(path, body, options) {
    return this.#http.call('POST', path, body, options);
  }

  #get(path, query = {}) {
    const given = Object.entries(query).filter(([, value]) => value !== undefined);
    const text = given.map(([name, value]) => [name, value?.toISOString?.() ?? String(value)]);
    const options = { timeout_ms: 30_000 + (query.wait_ms ?? 0) };
    const search = given.length ? `?${new URLSearchParams(text)}` : '';
    return this.#http.call('GET', path + search, undefined, options);
  }
}

function hasEnded(state) {
  return ['completed', 'dead', 'cancelled'].includes(state);
}

/** Cuts jobs, each with an id of its own, into JSON texts of a bounded count and length. */
function* batches(jobs) {
  let texts = [];
  let chars = 0;
  for (const job of jobs) {
    const text = JSON.stringify({ id: uuidv7(), payload: null, ...job });
    if (texts.length === BATCH_MAX || (texts.length && chars + text.length > BATCH_CHARS)) {
      yield texts.join();
      texts = [];
      chars = 0;
    }
    texts.push(text);
    chars += text.length;
  }
  if (texts.length) yield texts.join();
}
