/** What can go wrong, as types: refusals of the server, and what handlers say or are told. */

export class DutifulError extends Error {
  get name() {
    return this.constructor.name;
  }
}

/** The server could not be reached, or gave no usable answer, for as long as we were to try. */
export class Unreachable extends DutifulError {}

/** The server refused. `code` is the API's own word for why; `status` is that of HTTP. */
export class Problem extends DutifulError {
  constructor({ status, code = 'unknown', title, detail, retry_after_ms }) {
    super(detail || title || `the server answered with status ${status}`);
    Object.assign(this, { status, code, retry_after_ms });
  }
}

export class BadRequest extends Problem {}
export class Unauthorized extends Problem {}
export class Forbidden extends Problem {}
export class NotFound extends Problem {}
export class Conflict extends Problem {}
export class LeaseLost extends Problem {}
export class WrongState extends Problem {}
export class TooLarge extends Problem {}
export class Invalid extends Problem {}
export class TooManyRequests extends Problem {}
export class StoreUnavailable extends Problem {}

const BY_CODE = {
  bad_request: BadRequest,
  unauthorized: Unauthorized,
  forbidden: Forbidden,
  not_found: NotFound,
  conflict: Conflict,
  lease_lost: LeaseLost,
  wrong_state: WrongState,
  too_large: TooLarge,
  invalid: Invalid,
  too_many_requests: TooManyRequests,
  store_unavailable: StoreUnavailable,
};

/** Makes the error of the class that belongs to the problem's code. */
export function problemOf(fields) {
  return new (BY_CODE[fields.code] ?? Problem)(fields);
}

/** Thrown by a handler: run me again after this time; no failure is charged. */
export class Snooze extends DutifulError {
  constructor(delay_ms) {
    super(`again in ${delay_ms} ms`);
    this.delay_ms = delay_ms;
  }
}

/** Thrown by a handler: this failed, and trying again is useless; the job is dead at once. */
export class Discard extends DutifulError {}

/** Thrown by a handler: this failed; try again after this time rather than by the usual backoff. */
export class RetryAfter extends DutifulError {
  constructor(delay_ms, message = 'failed', options) {
    super(message, options);
    this.delay_ms = delay_ms;
  }
}

/** The reason of a context's signal. `why`: cancelled, timeout, lease_lost or stopping. */
export class Stopped extends DutifulError {
  constructor(why) {
    super(`the handler is to stop: ${why}`);
    this.why = why;
  }
}
