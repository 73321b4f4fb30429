/** Calls to the server: JSON in and out, problems as typed errors, repeats with full jitter. */

import { setTimeout as sleep } from 'node:timers/promises';
import { Problem, Unreachable, problemOf } from './errors.js';

const URL_DEFAULT = 'http://127.0.0.1:7700';
const CALL_TIMEOUT_MS = 30_000;
const RETRY_FOR_MS = 30_000;
const PAUSE_FIRST_MS = 100;
const PAUSE_MAX_MS = 5_000;
const PASSING = new Set([429, 502, 503, 504]);

export class Http {
  #url;
  #token;
  #retry_for_ms;

  constructor({ url = URL_DEFAULT, token, retry_for_ms = RETRY_FOR_MS } = {}) {
    this.#url = new URL(url).href.replace(/\/+$/, '');
    this.#token = token;
    this.#retry_for_ms = retry_for_ms;
  }

  /**
   * One call, repeated while the trouble is a passing one: whatever must not happen twice names an
   * id or a fence, so each call may. A string is a body that is JSON already.
   */
  async call(method, path, body, options = {}) {
    const { retry_for_ms = this.#retry_for_ms, signal } = options;
    const request = { method, headers: this.#headers(body, options.headers) };
    if (body !== undefined) request.body = typeof body === 'string' ? body : JSON.stringify(body);
    const until = performance.now() + retry_for_ms;
    for (let tries = 0; ; tries++) {
      try {
        return await this.#once(path, request, options.timeout_ms ?? CALL_TIMEOUT_MS, signal);
      } catch (error) {
        const wait_ms = pauseAfter(error, tries);
        if (!isPassing(error) || performance.now() + wait_ms > until) throw error;
        await pause(wait_ms, signal);
        if (signal?.aborted) throw error;
      }
    }
  }

  #headers(body, extra) {
    const headers = new Headers(extra);
    if (body !== undefined) headers.set('content-type', 'application/json');
    if (this.#token) headers.set('authorization', `Bearer ${this.#token}`);
    return headers;
  }

  async #once(path, request, timeout_ms, signal) {
    const hangUp = new AbortController();
    const onAbort = () => hangUp.abort(new Error('hung up'));
    const onTime = () => hangUp.abort(new Error(`no answer within ${timeout_ms} ms`));
    const timer = setTimeout(onTime, timeout_ms);
    signal?.addEventListener('abort', onAbort);
    if (signal?.aborted) onAbort();
    try {
      const answer = await fetch(this.#url + path, { ...request, signal: hangUp.signal });
      const text = await answer.text();
      if (!answer.ok) throw refusal(answer, text);
      return text ? JSON.parse(text) : undefined;
    } catch (error) {
      if (error instanceof Problem) throw error;
      const why = error.cause?.message || error.message;
      const message = `${request.method} ${this.#url}${path}: ${why}`;
      throw new Unreachable(message, { cause: error });
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
    }
  }
}

function refusal(answer, text) {
  let fields = {};
  try {
    fields = JSON.parse(text);
  } catch {
    // A proxy's page of HTML: the status has to do.
  }
  const seconds = Number(answer.headers.get('retry-after'));
  return problemOf({ ...fields, status: answer.status, retry_after_ms: seconds * 1000 || 0 });
}

function isPassing(error) {
  return error instanceof Unreachable || PASSING.has(error.status);
}

/** Waits, or less when the signal says so. */
export function pause(ms, signal) {
  return sleep(ms, undefined, { signal }).catch(() => {});
}

/** Full jitter over a doubling pause, never before the time that the server asked for. */
export function pauseAfter(error, tries) {
  const most = Math.min(PAUSE_MAX_MS, PAUSE_FIRST_MS * 2 ** tries);
  return (error?.retry_after_ms ?? 0) + Math.random() * most;
}
