/** A worker in a process of its own, to be stopped, paused and killed by tests. */

import { Worker } from '../src/index.js';

// Two signals that a process has not heard yet are one.
process.on('SIGTERM', () => console.log('heard SIGTERM'));
const [url, queue, slots] = process.argv.slice(2);
const queues = { [queue]: Number(slots) };
const worker = new Worker({ url, queues, lease_ms: 1000, on_error: () => {} });
worker.handle('work', async (payload, { attempt, signal }) => {
  console.log(`started ${attempt}`);
  if (payload === 'quick' || attempt > 1) return `attempt ${attempt}`;
  await new Promise((resolve) => signal.addEventListener('abort', resolve));
  console.log(`told ${signal.reason.why}`);
});
await worker.run();
console.log('stopped');
