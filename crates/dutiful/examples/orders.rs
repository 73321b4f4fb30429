//! Exactly once with the data: an order and its job commit together, and so do the job's effect and
//! its completion, in one SQLite file that belongs to the application.

#![expect(clippy::print_stdout, reason = "an example shows what it did")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use dutiful::{Client, Completed, Context, Job, Result, Worker};
use rusqlite::{Connection, TransactionBehavior};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct TakeFromStock {
    order: i64,
}

impl Job for TakeFromStock {
    const TYPE: &'static str = "take_from_stock";
}

/// The application: it opens the same file with its own connections.
struct Shop {
    file: PathBuf,
}

impl Shop {
    fn connection(&self) -> rusqlite::Result<Connection> {
        let conn = Connection::open(&self.file)?;
        conn.busy_timeout(Duration::from_secs(5))?;
        Ok(conn)
    }
}

/// Blocking, because a `rusqlite::Transaction` cannot cross an await.
fn take_from_stock(job: TakeFromStock, cx: Context<Shop>) -> Result<Completed> {
    let mut conn = cx.app.connection()?;
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    tx.execute(include_str!("orders/take.sql"), [job.order])?;
    let done = cx.complete_within(&tx).now()?; // a stale worker's transaction is rolled back here
    tx.commit()?;
    Ok(done)
}

#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let file = Path::new("shop.db");
    let client = Client::connect(&format!("sqlite:{}", file.display())).await?;
    let shop = Shop { file: file.to_owned() };

    let mut conn = shop.connection()?;
    conn.execute_batch(include_str!("orders/schema.sql"))?;
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    tx.execute(include_str!("orders/insert.sql"), [])?;
    let order = tx.last_insert_rowid();
    client.enqueue(TakeFromStock { order }).within(&tx).now()?;
    tx.commit()?; // the order and its job exist now, or neither

    let worker = Worker::new(&client, shop).job_blocking(take_from_stock).until_empty(true);
    worker.run().await?;
    let left: i64 = conn.query_row(include_str!("orders/left.sql"), [], |row| row.get(0))?;
    println!("{left} of 10 left in stock");
    assert_eq!(left, 9, "the effect happened once");
    client.close().await?;
    Ok(())
}
