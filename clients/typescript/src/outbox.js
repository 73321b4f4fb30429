/**
 * Collects how attempts ended and sends that in batches, one call at a time: what ends while a call
 * is under way goes with the next, and when nothing is under way an end leaves at once.
 */

import { Problem } from './errors.js';
import { pause, pauseAfter } from './http.js';

const BATCH_MAX = 1000;
const BATCH_CHARS = 4 * 1024 * 1024;
const LOCKED_PAUSE_MS = 100;

export class Outbox {
  #ends = []; // [fence, JSON]
  #busy = false;

  /**
   * `send` posts a body; `onAnswer` hears each `{ fence, status }`; `onError` hears of failed calls
   * and says whether to give up; `signal` cuts pauses short.
   */
  constructor({ send, onAnswer, onError, signal }) {
    Object.assign(this, { send, onAnswer, onError, signal });
  }

  get size() {
    return this.#ends.length;
  }

  add(fence, end) {
    this.#ends.push([fence, end]);
    if (!this.#busy) this.#flush();
  }

  /** Goes on, however long the server is away, until all is sent or a stop gives up. */
  async #flush() {
    this.#busy = true;
    await undefined; // what ends in the same moment goes together
    for (let tries = 0; this.#ends.length > 0; ) {
      const batch = this.#next();
      try {
        for (const answer of await this.#deliver(batch)) await this.#settle(answer, batch);
        tries = 0;
      } catch (error) {
        this.#ends.unshift(...batch);
        if (this.onError(error)) break;
        await pause(pauseAfter(error, tries++), this.signal);
      }
    }
    this.#busy = false;
  }

  #next() {
    let [count, chars] = [0, 0];
    while (count < BATCH_MAX && count < this.#ends.length && (count === 0 || chars < BATCH_CHARS)) {
      chars += this.#ends[count++][1].length;
    }
    return this.#ends.splice(0, count);
  }

  /** A batch that is refused is halved until the one end is found that the server cannot take. */
  async #deliver(batch, last = false) {
    try {
      return (await this.send(`{"ends":[${batch.map(([, end]) => end).join()}]}`)).ends;
    } catch (error) {
      const refused = error instanceof Problem && [400, 413, 422].includes(error.status);
      if (!refused) throw error;
      if (batch.length > 1) {
        const half = batch.length >> 1;
        const first = await this.#deliver(batch.slice(0, half));
        return [...first, ...(await this.#deliver(batch.slice(half)))];
      }
      const fence = batch[0][0];
      this.onError(error);
      if (last) return [{ fence, status: 'lease_lost' }];
      const cause = { class: error.constructor.name, message: error.message };
      const end = JSON.stringify({ fence, outcome: 'failed', error: cause });
      return this.#deliver([[fence, end]], true);
    }
  }

  /** Somebody's transaction may hold a lease for a moment: that end is sent again. */
  async #settle(answer, batch) {
    if (answer.status !== 'locked') return this.onAnswer(answer);
    this.#ends.push(batch.find(([fence]) => fence === answer.fence));
    await pause(LOCKED_PAUSE_MS, this.signal);
  }
}
