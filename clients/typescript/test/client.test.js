/** The client against a real server: what is stored, found, changed and refused. */

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Client, Conflict, NotFound, Problem, Unreachable, WrongState } from '../src/index.js';
import { Server, eventually, proxy } from './server.js';

const NOBODY = '00000000-0000-7000-8000-000000000000';

describe('client', () => {
  let server;
  let client;
  before(async () => {
    server = await Server.start();
    client = server.client;
  });
  after(() => server.close());

  it('stores a job and gives back every value as it was', async () => {
    const payload = {
      numbers: [0, -1, 0.1, 1e300, 5e-324, 9007199254740991, -0.5],
      texts: ['', 'Grüße', '日本語', '👩‍👩‍👧', '\u0001\u001f"\\/', '\u2028'],
      nested: { a: [null, true, false, {}], '': 1 },
    };
    const lane = { queue: 'round', priority: 3 };
    const settings = { ...lane, max_attempts: 7, tags: ['ä', 'b'], group: 'g' };
    const { id, outcome } = await client.enqueue('round_trip', payload, settings);
    assert.equal(outcome, 'new');
    const job = await client.job(id);
    assert.deepEqual(job.payload, payload);
    const { queue, priority, max_attempts, tags, group } = job;
    assert.deepEqual({ queue, priority, max_attempts, tags, group }, settings);
    assert.equal(job.state, 'pending');
  });

  it('stores one job for one idempotency key, one id, one unique key', async () => {
    const again = { idempotency_key: 'order-7', queue: 'once' };
    const [one, two] = [
      await client.enqueue('charge', { n: 1 }, again),
      await client.enqueue('charge', { n: 1 }, again),
    ];
    assert.deepEqual(two, { id: one.id, outcome: 'exists' });
    const { id } = await client.enqueue('charge', 1, { queue: 'once' });
    const same = await client.enqueue('charge', 1, { id, queue: 'once' });
    assert.deepEqual(same, { id, outcome: 'exists' });
    const first = await client.enqueue('charge', 1, { unique_key: 'u', queue: 'once' });
    const second = await client.enqueue('charge', 1, { unique_key: 'u', queue: 'once' });
    assert.deepEqual(second, { id: first.id, outcome: 'duplicate' });
    assert.equal((await client.queue('once')).pending, 3);
  });

  it('stores thousands in batches, in order, and lists them page after page', async () => {
    const jobs = Array.from({ length: 2500 }, (_, n) => ({ type: 't', queue: 'bulk', payload: n }));
    const stored = await client.enqueueAll(jobs);
    assert.equal(stored.length, 2500);
    assert.ok(stored.every(({ outcome }) => outcome === 'new'));
    assert.equal((await client.job(stored[1700].id)).payload, 1700);
    const listed = [];
    for await (const job of client.jobs({ queue: 'bulk', limit: 200 })) listed.push(job.id);
    assert.deepEqual(listed.reverse(), stored.map(({ id }) => id));
  });

  it('stores one job when the answer to the first try went missing', async (t) => {
    let lost = 0;
    const url = await proxy(t, server.url, async (request, response, forward) => {
      const answer = await forward();
      if (lost++ > 0) return answer;
      response.destroy();
    });
    const { outcome } = await new Client({ url }).enqueue('lost', {}, { queue: 'lost' });
    assert.equal(outcome, 'exists');
    assert.equal((await client.queue('lost')).pending, 1);
  });

  it('waits as long as a busy server asks', async (t) => {
    let calls = 0;
    const url = await proxy(t, server.url, async (request, response, forward) => {
      if (calls++ > 0) return forward();
      response.writeHead(503, { 'retry-after': '1', 'content-type': 'application/problem+json' });
      response.end('{"status":503,"code":"store_unavailable","detail":"the store is busy"}');
    });
    const began = performance.now();
    await new Client({ url }).stats();
    assert.ok(performance.now() - began >= 995);
    assert.equal(calls, 2);
  });

  it('changes jobs: cancel, retry, reschedule, delete', async () => {
    const later = { queue: 'change', delay_ms: 3_600_000 };
    const { id } = await client.enqueue('t', null, later);
    assert.equal((await client.job(id)).state, 'scheduled');
    await client.reschedule(id, { at: new Date(Date.now() + 7_200_000) });
    assert.ok(Date.parse((await client.job(id)).scheduled_for) > Date.now() + 7_000_000);
    await client.reschedule(id, { delay_ms: 3_600_000 });
    assert.ok(Date.parse((await client.job(id)).scheduled_for) < Date.now() + 7_000_000);
    assert.equal(await client.cancel(id), 'done');
    assert.equal((await client.result(id, { wait_ms: 5_000 })).state, 'cancelled');
    assert.equal(await client.retry(id), 'done');
    assert.equal((await client.job(id)).state, 'pending');
    await client.delete(id);
    await assert.rejects(client.job(id), NotFound);
  });

  it('pauses and resumes queues, and tells numbers', async () => {
    await client.enqueue('t', null, { queue: 'numbers' });
    assert.equal(await client.pause('numbers'), true);
    assert.equal(await client.pause('numbers'), false);
    assert.equal((await client.queues()).find((one) => one.queue === 'numbers').paused, true);
    assert.equal(await client.resume('numbers'), true);
    await eventually(async () => (await client.backlog('numbers')).depth === 1);
    assert.equal((await client.backlog()).queues.numbers.depth, 1);
    assert.ok((await client.stats()).totals.pending >= 1);
  });

  it('throws problems as errors of their class', async () => {
    await assert.rejects(client.job(NOBODY), (error) => {
      assert.ok(error instanceof NotFound);
      assert.deepEqual([error.status, error.code], [404, 'not_found']);
      return error.message.length > 5;
    });
    const { id } = await client.enqueue('t', null, { queue: 'problems' });
    await assert.rejects(client.retry(id), WrongState);
    await assert.rejects(client.enqueue('bad type!', 1), (error) => error instanceof Problem);
    const key = { unique_key: 'taken', queue: 'problems' };
    const first = await client.enqueue('t', 1, key);
    await client.cancel(first.id);
    await client.enqueue('t', 1, key);
    await assert.rejects(client.retry(first.id), Conflict);
    const away = new Client({ url: 'http://127.0.0.1:9', retry_for_ms: 200 });
    await assert.rejects(away.stats(), Unreachable);
  });

  it('goes on with a call when the server comes back', async () => {
    await server.kill();
    const stored = client.enqueue('t', 'kept', { queue: 'away' });
    await server.open();
    const { id } = await stored;
    assert.equal((await client.job(id)).payload, 'kept');
  });
});
