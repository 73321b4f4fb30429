/** One run of a job: what its handler is given, and what the handler's answer means for the job. */

import { Discard, RetryAfter, Snooze, Stopped } from './errors.js';

const STACK_LINES = 8;
/** The server keeps 16 KiB of a message. */
const MESSAGE_CHARS = 8_000;

/** What a handler gets beside the payload: the job's fields, a signal, and ways to report. */
export class Context {
  #say;

  constructor(job, signal, say) {
    Object.assign(this, job);
    this.signal = signal;
    this.#say = say;
  }

  /** How far the job is, 0 to 100, shown on the dashboard. */
  async progress(percent, note) {
    await this.#say('progress', { percent, note });
  }

  /** Lines for the log of this attempt. */
  async log(...lines) {
    await this.#say('log', { lines: lines.map(String) });
  }
}

export class Attempt {
  settled = false;
  started; // performance.now() when the handler began
  #stop = new AbortController();

  /** `renewed` is a time before which the lease surely began. */
  constructor(job, slots, renewed, say) {
    this.job = job;
    this.slots = slots;
    this.fence = job.fence;
    this.renewed = renewed;
    // A job that runs at most once is completed at the claim: there is no lease to renew or lose.
    this.leased = job.delivery !== 'at_most_once';
    this.context = new Context(job, this.#stop.signal, (verb, body) => say(this, verb, body));
  }

  /** Runs the handler; answers how the attempt ends, as JSON. */
  async run(handler) {
    this.started = performance.now();
    // A handler that throws at once must not run the next one inside of this call.
    await undefined;
    try {
      const result = await handler(this.job.payload, this.context);
      return this.end({ outcome: 'completed', result });
    } catch (error) {
      return this.end(this.#failed(error));
    }
  }

  /** Tells the handler to stop; the first reason counts. */
  tell(why) {
    this.why ??= why;
    this.#stop.abort(new Stopped(this.why));
  }

  end(outcome) {
    const ran_ms = this.started && Math.round(performance.now() - this.started);
    return JSON.stringify({ fence: this.fence, ...outcome, ran_ms });
  }

  #failed(error) {
    if (this.why === 'cancelled') return { outcome: 'cancelled' };
    if (error instanceof Snooze) return { outcome: 'snoozed', snooze_ms: error.delay_ms };
    if (error instanceof Discard) return { outcome: 'discarded', error: described(error) };
    if (error instanceof RetryAfter) {
      const cause = described(error.cause ?? error);
      return { outcome: 'failed', error: cause, retry_after_ms: error.delay_ms };
    }
    return { outcome: 'failed', error: described(error) };
  }
}

function described(error) {
  if (!(error instanceof Error)) return { class: typeof error, message: String(error) };
  const frames = (error.stack ?? '').split('\n').filter((line) => /^\s+at /.test(line));
  const message = [error.message, ...frames.slice(0, STACK_LINES)].join('\n');
  return { class: error.constructor.name, message: message.slice(0, MESSAGE_CHARS) };
}
