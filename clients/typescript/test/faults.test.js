/** What a worker does when its server dies, when it sleeps too long, when it is told to go. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe, it } from 'node:test';
import { Server, deferred, eventually, proxy } from './server.js';

describe('faults', () => {
  let server;
  let client;
  before(async () => {
    server = await Server.start();
    client = server.client;
  });
  after(() => server.close());

  it('completes everything when the server is killed and comes back', async (t) => {
    const job = { type: 'work', queue: 'kill' };
    const jobs = Array.from({ length: 600 }, (_, payload) => ({ ...job, payload }));
    const stored = await client.enqueueAll(jobs);
    const runs = [];
    const work = async (n) => {
      runs.push(n);
      await new Promise((resolve) => setTimeout(resolve, 5));
      return n;
    };
    const options = { slots: 4, prefetch: 50, lease_ms: 10_000 };
    await server.work(t, 'kill', { work }, options);
    await eventually(async () => (await client.queue('kill')).completed > 50);
    await server.kill();
    await server.open();
    await eventually(async () => (await client.queue('kill')).completed === 600);
    for (const n of [0, 299, 599]) assert.equal((await client.job(stored[n].id)).result, n);
    // What was held when the server died went on under its lease: nothing ran twice.
    assert.deepEqual(runs.sort((a, b) => a - b), jobs.map(({ payload }) => payload));
  });

  it('drops a job whose lease was taken, and its end', async (t) => {
    const taken = deferred();
    const work = async (_, { attempt, fence, signal }) => {
      if (attempt === 1) {
        taken.resolve(fence);
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
      }
      return `attempt ${attempt}`;
    };
    await server.work(t, 'taken', { work }, { slots: 1, lease_ms: 9000 });
    const { id } = await client.enqueue('work', null, { queue: 'taken' });
    await fetch(`${server.url}/v1/leases/${await taken.promise}/release`, { method: 'POST' });
    const began = performance.now();
    const { state, result } = await client.result(id, { wait_ms: 20_000 });
    assert.deepEqual([state, result], ['completed', 'attempt 2']);
    assert.ok(performance.now() - began < 5000, 'told by the beat of 3 s, not by the lease');
  });

  it('tells handlers to stop by two thirds of a lease that it cannot renew', async (t) => {
    let away = false;
    const url = await proxy(t, server.url, async (request, response, forward) => {
      if (!away) return forward();
      response.destroy();
    });
    const [started, told] = [deferred(), deferred()];
    const work = async (_, { signal }) => {
      started.resolve();
      signal.addEventListener('abort', () => told.resolve(signal.reason.why));
      await told.promise;
    };
    await server.work(t, 'fenced', { work }, { url });
    const { id } = await client.enqueue('work', null, { queue: 'fenced' });
    await started.promise;
    away = true;
    const began = performance.now();
    assert.equal(await told.promise, 'lease_lost');
    assert.ok(performance.now() - began < 2500, 'before the lease of 3 s was over');
    away = false;
    const { state } = await client.job(id);
    assert.notEqual(state, 'completed');
  });

  it('stops in order at SIGTERM, at once at a second one', async (t) => {
    const idle = server.program(t, 'idle');
    await client.enqueue('work', 'quick', { queue: 'idle' });
    await idle.says('started 1');
    idle.child.kill('SIGTERM');
    assert.deepEqual(await once(idle.child, 'exit'), [0, null]);
    assert.equal((await client.queue('idle')).completed, 1);

    const busy = server.program(t, 'busy');
    await client.enqueue('work', 'long', { queue: 'busy' });
    await busy.says('started 1');
    busy.child.kill('SIGTERM');
    await busy.says('heard SIGTERM');
    const worker = async () => (await client.workers()).find(({ queues }) => queues.busy);
    assert.equal((await worker()).state, 'alive');
    busy.child.kill('SIGTERM');
    assert.deepEqual(await once(busy.child, 'exit'), [143, null]);
  });
});
