/** The worker against a real server: every way in which a job can end. */

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Discard, RetryAfter, Snooze } from '../src/index.js';
import { Server, deferred, eventually } from './server.js';

class CardDeclined extends Error {}

describe('worker', () => {
  let server;
  let client;
  before(async () => {
    server = await Server.start();
    client = server.client;
  });
  after(() => server.close());

  /** Enqueues one job and awaits how it ended. */
  async function ended(queue, payload, settings = {}) {
    const { id } = await client.enqueue('work', payload, { queue, ...settings });
    await client.result(id, { wait_ms: 20_000 });
    return client.job(id);
  }

  it('runs a job and keeps what the handler returns', async (t) => {
    let seen;
    await server.work(t, 'happy', {
      work: (payload, context) => {
        seen = context;
        return { twice: payload.n * 2, text: 'Grüße 👋' };
      },
    });
    const settings = { correlation_id: 'request-1', group: 'g', idempotency_key: 'happy-1' };
    const job = await ended('happy', { n: 21 }, settings);
    assert.equal(job.state, 'completed');
    assert.deepEqual(job.result, { twice: 42, text: 'Grüße 👋' });
    const { id, type, attempt, correlation_id, group } = seen;
    assert.deepEqual([id, type, attempt], [job.id, 'work', 1]);
    assert.deepEqual([correlation_id, group], ['request-1', 'g']);
    assert.ok(seen.fence.includes(job.id));
    assert.ok(seen.idempotency_key);
  });

  it('drains more jobs than it has slots, each once, never over its slots', async (t) => {
    const runs = new Map();
    let [now, most] = [0, 0];
    const work = async (n) => {
      most = Math.max(most, ++now);
      runs.set(n, (runs.get(n) ?? 0) + 1);
      await new Promise(setImmediate);
      now -= 1;
    };
    const job = { type: 'work', queue: 'many' };
    const jobs = Array.from({ length: 1000 }, (_, payload) => ({ ...job, payload }));
    await client.enqueueAll(jobs);
    await server.work(t, 'many', { work }, { slots: 8, prefetch: 100 });
    await eventually(async () => (await client.queue('many')).completed === 1000);
    assert.equal(runs.size, 1000);
    assert.ok([...runs.values()].every((count) => count === 1));
    assert.ok(most <= 8, `${most} ran at once`);
  });

  it('keeps progress and log lines', async (t) => {
    const work = async (_, context) => {
      await context.progress(40, 'half way');
      await context.log('line one', 'Zeile zwei');
    };
    await server.work(t, 'says', { work });
    const job = await ended('says');
    assert.equal(job.progress.percent, 40);
    assert.equal(job.progress.note, 'half way');
    assert.deepEqual(job.attempts[0].log.map(({ text }) => text), ['line one', 'Zeile zwei']);
  });

  it('tries again after failures until the job is dead', async (t) => {
    const work = () => {
      throw new RetryAfter(1, 'later', { cause: new CardDeclined('no money') });
    };
    await server.work(t, 'fails', { work });
    const job = await ended('fails', null, { max_attempts: 3 });
    assert.deepEqual([job.state, job.attempt, job.failures], ['dead', 3, 3]);
    assert.equal(job.last_error.class, 'CardDeclined');
    assert.match(job.last_error.message, /^no money\n\s+at .*worker\.test\.js/);
  });

  it('leaves the time of a retry to the server', async (t) => {
    const work = () => {
      throw new CardDeclined('no');
    };
    await server.work(t, 'waits', { work });
    const { id } = await client.enqueue('work', null, { queue: 'waits' });
    const job = await eventually(async () => {
      const found = await client.job(id);
      return found.failures === 1 && found;
    });
    assert.equal(job.state, 'failed');
    assert.ok(job.scheduled_for > job.last_attempt_at);
  });

  it('snoozes without charging a failure', async (t) => {
    const work = (_, context) => {
      if (context.attempt === 1) throw new Snooze(10);
      return context.attempt;
    };
    await server.work(t, 'snoozes', { work });
    const job = await ended('snoozes', null, { max_attempts: 1 });
    assert.deepEqual([job.state, job.result, job.failures], ['completed', 2, 0]);
  });

  it('discards at once', async (t) => {
    const work = () => {
      throw new Discard('the address does not exist');
    };
    await server.work(t, 'discards', { work });
    const job = await ended('discards', null, { max_attempts: 9 });
    assert.deepEqual([job.state, job.attempt], ['dead', 1]);
    assert.match(job.last_error.message, /^the address does not exist/);
  });

  it('fails what runs too long, tells it, and gives its slot to the next', async (t) => {
    const told = deferred();
    const work = async (payload, context) => {
      if (payload === 'quick') return 'ran';
      context.signal.addEventListener('abort', () => told.resolve(context.signal.reason.why));
      return new Promise(() => {}); // it never ends
    };
    await server.work(t, 'slow', { work }, { slots: 1 });
    const slow = await ended('slow', 'slow', { timeout_ms: 200, max_attempts: 1 });
    assert.equal(slow.state, 'dead');
    assert.equal(slow.last_error.class, 'timeout');
    assert.equal(await told.promise, 'timeout');
    assert.equal((await ended('slow', 'quick')).result, 'ran');
  });

  it('cancels a job that runs', async (t) => {
    const started = deferred();
    const work = async (_, { signal }) => {
      started.resolve();
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
      signal.throwIfAborted();
    };
    await server.work(t, 'cancels', { work });
    const { id } = await client.enqueue('work', null, { queue: 'cancels' });
    await started.promise;
    assert.equal(await client.cancel(id), 'requested');
    assert.equal((await client.result(id, { wait_ms: 20_000 })).state, 'cancelled');
  });

  it('keeps the lease of a handler that waits for longer than the lease', async (t) => {
    const work = async () => {
      await new Promise((resolve) => setTimeout(resolve, 4_000));
      return 'kept';
    };
    await server.work(t, 'long', { work });
    const job = await ended('long');
    assert.deepEqual([job.state, job.result, job.attempt], ['completed', 'kept', 1]);
    assert.equal(job.crashes, 0);
  });

  it('fails a job whose result the server cannot keep, and none of its neighbours', async (t) => {
    const results = { big: 'x'.repeat(70_000), odd: 10n, fine: 'fine' };
    const work = (name) => results[name];
    await client.pause('results');
    const jobs = ['fine', 'big', 'odd', 'fine'].map((payload) => {
      return { type: 'work', queue: 'results', payload, max_attempts: 1 };
    });
    const stored = await client.enqueueAll(jobs);
    await server.work(t, 'results', { work });
    await client.resume('results');
    const ends = [];
    for (const { id } of stored) ends.push((await client.result(id, { wait_ms: 20_000 })).state);
    assert.deepEqual(ends, ['completed', 'dead', 'dead', 'completed']);
  });

  it('runs once at most without a lease', async (t) => {
    const ended = deferred();
    const work = async (_, { signal }) => {
      // Far longer than two thirds of the lease.
      await new Promise((resolve) => setTimeout(resolve, 1000));
      ended.resolve(signal.aborted);
    };
    await server.work(t, 'at-most', { work }, { lease_ms: 1000 });
    const settings = { queue: 'at-most', delivery: 'at_most_once' };
    const { id } = await client.enqueue('work', null, settings);
    assert.equal(await ended.promise, false);
    assert.equal((await client.job(id)).state, 'completed');
  });

  it('stops in order: what runs ends, what does not end is released', async (t) => {
    const [quick, endless] = [deferred(), deferred()];
    const finish = deferred();
    const work = async (payload) => {
      if (payload === 'endless') return new Promise(() => endless.resolve());
      quick.resolve();
      await finish.promise;
      return 'ended';
    };
    const worker = await server.work(t, 'stops', { work }, { slots: 2, grace_ms: 500 });
    const first = await client.enqueue('work', 'quick', { queue: 'stops' });
    const second = await client.enqueue('work', 'endless', { queue: 'stops' });
    await Promise.all([quick.promise, endless.promise]);
    const stopped = worker.stop();
    finish.resolve();
    await stopped;
    assert.equal((await client.job(first.id)).result, 'ended');
    const released = await client.job(second.id);
    assert.deepEqual([released.state, released.failures, released.crashes], ['pending', 0, 0]);
    const info = (await client.workers()).find(({ queues }) => queues.stops);
    assert.equal(info.state, 'stopped');
  });
});
