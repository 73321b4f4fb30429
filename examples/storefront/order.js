// Takes an order in Node: the order and its three jobs in one transaction, by the package `pg`.
// Use: DATABASE_URL=postgres://… node order.js NUMBER [fail]
const { Client } = require('pg');

async function main(order, fails) {
  const db = new Client({ connectionString: process.env.DATABASE_URL });
  await db.connect();
  try {
    await db.query('BEGIN');
    await db.query('INSERT INTO orders (id, taken_by) VALUES ($1, $2)', [order, 'node']);
    await db.query('SELECT dutiful.enqueue($1, $2, queue => $3, priority => 1)', [
      'take_from_stock', { order }, 'orders',
    ]);
    await db.query('SELECT dutiful.enqueue($1, $2, queue => $3, unique_key => $4)', [
      'send_receipt', { order }, 'mail', `receipt:${order}`,
    ]);
    await db.query("SELECT dutiful.enqueue($1, $2, queue => $3, delay => '200 milliseconds')", [
      'ask_for_review', { order }, 'mail',
    ]);
    if (fails) throw new Error('the card was refused');
    await db.query('COMMIT');
    console.log(`order ${order} is taken`);
  } catch (error) {
    await db.query('ROLLBACK');
    console.log(`order ${order} is not taken: ${error.message}`);
  } finally {
    await db.end();
  }
}

main(Number(process.argv[2]), process.argv[3] === 'fail').catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
