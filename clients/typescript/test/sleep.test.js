/** A worker process that sleeps longer than its lease, as a suspended machine does. */

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Server, eventually } from './server.js';

describe('sleep', () => {
  let server;
  before(async () => {
    server = await Server.start();
  });
  after(() => server.close());

  it('drops what was rescued meanwhile, and its end', async (t) => {
    const { client } = server;
    // Its one slot runs, so no claim is under way whose answer it would sleep over.
    const { child, says } = server.program(t, 'sleeps', 1);
    const { id } = await client.enqueue('work', 'long', { queue: 'sleeps' });
    await says('started 1');
    child.kill('SIGSTOP');
    await eventually(async () => (await client.job(id)).crashes === 1);
    child.kill('SIGCONT');
    await says('told lease_lost');
    const { state, result } = await client.result(id, { wait_ms: 20_000 });
    assert.deepEqual([state, result], ['completed', 'attempt 2']);
  });
});
