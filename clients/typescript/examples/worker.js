/** Does the work. Stop it with Ctrl-C: what runs ends first. */

import process from 'node:process';
import { RetryAfter, Worker } from 'dutiful';

const worker = new Worker({
  url: process.env.DUTIFUL_URL,
  queues: { mail: 4, default: 10 },
  prefetch: 200, // the rows are many and tiny
});

worker.handle('send_welcome', async ({ to, name }, context) => {
  // Give the key to the mail service: a repeat after a crash is then no second mail.
  console.log(`to ${to}: Hello ${name}! (key ${context.idempotency_key})`);
});

let rows = 0;
worker.handle('import_row', async () => {
  if (++rows % 500 === 0) console.log(`${rows} rows imported`);
});

worker.handle('make_report', async ({ month }, context) => {
  if (context.attempt === 1) throw new RetryAfter(500, 'the database is asleep');
  for (const percent of [25, 50, 75]) {
    context.signal.throwIfAborted(); // cancelled, out of time, or its lease was lost
    await context.progress(percent, `${month}, part ${percent / 25}`);
  }
  return { month, pages: 12 };
});

await worker.run();
