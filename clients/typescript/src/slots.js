/** The slots of one queue: attempts that run, those that wait for a slot, and how many to claim. */

export class Slots {
  running = 0;
  #waiting = [];
  #wake = () => {};

  constructor(queue, size, prefetch) {
    Object.assign(this, { queue, size, prefetch });
  }

  /** How many jobs to claim now. None while half of the prefetch waits: small claims cost most. */
  wanted() {
    const waiting = this.#waiting.length;
    return waiting > this.prefetch / 2 ? 0 : this.size + this.prefetch - this.running - waiting;
  }

  add(attempt) {
    this.#waiting.push(attempt);
  }

  /** The next attempt for which there is a slot. */
  next() {
    return this.running < this.size ? this.#waiting.shift() : undefined;
  }

  /** Takes out one that waits, or all. */
  drop(attempt) {
    this.#waiting = this.#waiting.filter((one) => one !== attempt);
  }

  dropAll() {
    return this.#waiting.splice(0);
  }

  changed() {
    return new Promise((resolve) => (this.#wake = resolve));
  }

  wake() {
    this.#wake();
  }
}
