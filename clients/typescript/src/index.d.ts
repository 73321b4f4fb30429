/** Types of the package. `Jobs` maps each type of job to its payload; leave it out to be untyped. */

export type AnyJobs = Record<string, any>;
export type Time = string | Date;
export type State =
  | 'scheduled'
  | 'pending'
  | 'active'
  | 'completed'
  | 'failed'
  | 'dead'
  | 'stalled'
  | 'cancelled';

export interface ConnectOptions {
  /** Default: http://127.0.0.1:7700 */
  url?: string | URL;
  /** `dtf_…`, when the server asks for one. */
  token?: string;
}

export interface ClientOptions extends ConnectOptions {
  /** How long a call is repeated while the server is away or says 429 or 503. Default: 30,000. */
  retry_for_ms?: number;
}

/** What a type's jobs have by default. */
export interface TypeSettings {
  queue?: string;
  /** 0 to 1000, lower runs first. */
  priority?: number;
  max_attempts?: number;
  timeout_ms?: number;
  delivery?: 'at_least_once' | 'at_most_once';
}

export interface JobSettings extends TypeSettings {
  /** A UUID. Default: a new UUIDv7. The same id is the same job. */
  id?: string;
  scheduled_for?: Time;
  delay_ms?: number;
  correlation_id?: string;
  /** W3C trace context. */
  trace_parent?: string;
  group?: string;
  /** At most one live job has it; another enqueue answers with that one. */
  unique_key?: string;
  tags?: string[];
}

export type NewJob<Jobs extends object = AnyJobs> = {
  [T in keyof Jobs & string]: JobSettings & { type: T; payload: Jobs[T] };
}[keyof Jobs & string];

export interface Enqueued {
  id: string;
  /** `exists`: this id or idempotency key was stored before. `duplicate`: the unique key's job. */
  outcome: 'new' | 'exists' | 'duplicate';
}

export interface JobError {
  class: string;
  message: string;
}

export interface AttemptInfo {
  number: number;
  worker: string;
  worker_name: string;
  started_at: string;
  finished_at: string | null;
  outcome: string | null;
  error: JobError | null;
  log: { number: number; at: string; text: string }[];
}

/** A job as lists give it, without its payload. */
export interface JobSummary {
  id: string;
  type: string;
  state: State;
  queue: string;
  priority: number;
  payload_bytes: number;
  created_at: string;
  scheduled_for: string | null;
  attempt: number;
  failures: number;
  crashes: number;
  max_attempts: number;
  timeout_ms: number | null;
  correlation_id: string;
  trace_parent: string | null;
  group: string | null;
  unique_key: string | null;
  tags: string[];
  delivery: 'at_least_once' | 'at_most_once';
  last_attempt_at: string | null;
  finished_at: string | null;
  last_error: JobError | null;
  dead_reason?: string | null;
  progress?: { percent: number; note: string | null; at: string } | null;
}

export interface Job<Payload = any> extends JobSummary {
  payload: Payload;
  result?: any;
  checkpoint?: any;
  attempts: AttemptInfo[];
}

export interface JobResult {
  id: string;
  state: State;
  result: any;
  error: JobError | null;
}

export interface Filter {
  state?: State;
  queue?: string;
  type?: string;
  group?: string;
  tag?: string;
  correlation_id?: string;
  error?: string;
  since?: Time;
  until?: Time;
  live?: boolean;
  before?: string;
  /** Of a page; at most 200. */
  limit?: number;
}

export interface Counts {
  pending: number;
  scheduled: number;
  active: number;
  failed: number;
  completed: number;
  dead: number;
  cancelled: number;
  stalled_total: number;
}

export interface QueueInfo extends Counts {
  queue: string;
  oldest_pending_s: number | null;
  overdue_s: number | null;
  paused: boolean;
}

export interface WorkerInfo {
  id: string;
  name: string;
  pid: number | null;
  queues: Record<string, number>;
  types: string[];
  started_at: string;
  beat_at: string;
  stopped_at: string | null;
  running: number;
  quiet: boolean;
  state: 'alive' | 'silent' | 'stopped';
}

export interface Backlog {
  depth: number;
  oldest_s: number | null;
}

export class Client<Jobs extends object = AnyJobs> {
  constructor(options?: ClientOptions);
  enqueue<T extends keyof Jobs & string>(
    type: T,
    payload: Jobs[T],
    settings?: JobSettings & { idempotency_key?: string },
  ): Promise<Enqueued>;
  enqueueAll(jobs: Iterable<NewJob<Jobs>>): Promise<Enqueued[]>;
  job(id: string): Promise<Job>;
  result(id: string, options?: { wait_ms?: number }): Promise<JobResult>;
  page(filter?: Filter): Promise<{ jobs: JobSummary[]; next: string | null }>;
  jobs(filter?: Filter): AsyncGenerator<JobSummary, void, undefined>;
  cancel(id: string): Promise<'done' | 'requested'>;
  retry(id: string): Promise<'done' | 'requested'>;
  discard(id: string): Promise<'done' | 'requested'>;
  reschedule(id: string, when: { at: Time } | { delay_ms: number }): Promise<void>;
  delete(id: string): Promise<void>;
  queues(): Promise<QueueInfo[]>;
  queue(queue: string): Promise<QueueInfo>;
  pause(queue: string): Promise<boolean>;
  resume(queue: string): Promise<boolean>;
  workers(): Promise<WorkerInfo[]>;
  stats(): Promise<{ totals: Counts; queues: QueueInfo[]; warnings: string[] }>;
  backlog(): Promise<Backlog & { queues: Record<string, Backlog> }>;
  backlog(queue: string): Promise<Backlog>;
}

export interface Context {
  readonly id: string;
  readonly type: string;
  readonly queue: string;
  readonly attempt: number;
  readonly failures: number;
  readonly crashes: number;
  readonly max_attempts: number;
  readonly timeout_ms: number | null;
  readonly delivery: 'at_least_once' | 'at_most_once';
  readonly created_at: string;
  readonly run_at: string;
  readonly claimed_at: string;
  readonly correlation_id: string;
  readonly trace_parent: string | null;
  readonly group: string | null;
  /** The same for all attempts: give it to other systems, so that they recognise a repeat. */
  readonly idempotency_key: string;
  /** Names this attempt and no other; for systems that can refuse a stale writer. */
  readonly fence: string;
  /** Aborted with a `Stopped` when the handler must stop; its answer then mostly counts no more. */
  readonly signal: AbortSignal;
  progress(percent: number, note?: string): Promise<void>;
  log(...lines: unknown[]): Promise<void>;
}

/** What it returns is the job's result (JSON, at most 64 KiB); what it throws is a failure. */
export type Handler<Payload> = (payload: Payload, context: Context) => unknown;

export interface WorkerOptions extends ConnectOptions {
  /** Default: host and process id. */
  name?: string;
  /** Slots by queue: so many handlers run at once. Default: `{ default: 10 }`. */
  queues?: Record<string, number>;
  /** Jobs claimed ahead per queue. Some hundreds for many tiny jobs. Default: 0. */
  prefetch?: number;
  /** Default: 30,000. At least 1,000. */
  lease_ms?: number;
  /** How long a stop lets running handlers go on. Default: 25,000. */
  grace_ms?: number;
  /** Hears of calls that failed and will be made again. Default: a line on stderr. */
  on_error?: (error: Error) => void;
}

export class Worker<Jobs extends object = AnyJobs> {
  constructor(options?: WorkerOptions);
  handle<T extends keyof Jobs & string>(
    type: T,
    handler: Handler<Jobs[T]>,
    settings?: TypeSettings,
  ): this;
  /** Works until a signal or `stop()`; a second signal ends the process at once. */
  run(signals?: string[]): Promise<void>;
  start(): Promise<void>;
  stop(): Promise<void>;
}

export interface WebhookOptions {
  /** Default: 300. */
  tolerance_s?: number;
  /** Default: this machine's clock. */
  now_s?: number;
}

export function verifyWebhook(
  body: string | Uint8Array,
  headers: Headers | Record<string, string | string[] | undefined>,
  secrets: string | string[],
  options?: WebhookOptions,
): any;

export class DutifulError extends Error {}
export class WebhookRefused extends DutifulError {}
export class Unreachable extends DutifulError {}
export class Problem extends DutifulError {
  readonly status: number;
  readonly code: string;
  readonly retry_after_ms: number;
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

export class Snooze extends DutifulError {
  constructor(delay_ms: number);
  readonly delay_ms: number;
}
export class Discard extends DutifulError {
  constructor(message?: string);
}
export class RetryAfter extends DutifulError {
  constructor(delay_ms: number, message?: string, options?: { cause?: unknown });
  readonly delay_ms: number;
}
export class Stopped extends DutifulError {
  constructor(why: Stopped['why']);
  readonly why: 'cancelled' | 'timeout' | 'lease_lost' | 'stopping';
}
