/** Hands over work and waits for a result, as a web application would. */

import process from 'node:process';
import { Client } from 'dutiful';

const client = new Client({ url: process.env.DUTIFUL_URL });

// A request that comes twice, as requests do, is one job: its key says so.
for (let time = 0; time < 2; time++) {
  const { id, outcome } = await client.enqueue(
    'send_welcome',
    { to: 'ann@example.com', name: 'Ann' },
    { queue: 'mail', unique_key: 'welcome:ann@example.com' },
  );
  console.log(`welcome for Ann: job ${id} (${outcome})`);
}

// Thousands in a few requests.
const rows = Array.from({ length: 2500 }, (_, n) => ({ type: 'import_row', payload: { n } }));
console.log(`${(await client.enqueueAll(rows)).length} rows to import`);

// The first attempt of this one fails; the second one's result is awaited here.
const { id } = await client.enqueue('make_report', { month: '2026-11' });
const { state, result } = await client.result(id, { wait_ms: 30_000 });
console.log(`the report is ${state}:`, result);
