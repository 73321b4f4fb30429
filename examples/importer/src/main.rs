//! Imports a CSV file, several parts at a time, and goes on where it was when it is started again.
//!
//! `importer DATABASE FILE.csv`: each line is `article,stock`.

#![expect(clippy::print_stdout, reason = "a program says how far it is and what it did")]

mod part;

use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use dutiful::{Client, Worker};
use rusqlite::Connection;

use crate::part::Part;

/// A failure that ends the program.
type Fatal = Box<dyn std::error::Error + Send + Sync>;

/// Lines in one job.
const PART_LINES: usize = 1000;
/// Parts at a time.
const SLOTS: usize = 4;
/// A killed importer's parts are free again after so long.
const LEASE: Duration = Duration::from_secs(2);
/// How often it says how far it is.
const SAY: Duration = Duration::from_millis(200);
/// How long a connection waits for its turn to write.
const WRITE_WAIT: Duration = Duration::from_secs(10);

/// What the handlers and the summary share.
struct Import {
    database: PathBuf,
    /// Names this state of this file: changed, it is another.
    source: String,
}

impl Import {
    fn connection(&self) -> rusqlite::Result<Connection> {
        let conn = Connection::open(&self.database)?;
        conn.busy_timeout(WRITE_WAIT)?;
        Ok(conn)
    }

    /// Returns how many rows are in, and the sum of their stock.
    fn sum(&self) -> rusqlite::Result<(i64, i64)> {
        let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        self.connection()?.query_row(include_str!("../sql/sum_products.sql"), [&self.source], row)
    }
}

#[tokio::main]
async fn main() -> Result<(), Fatal> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [database, file] = arguments.as_slice() else {
        return Err("usage: importer DATABASE FILE.csv".into());
    };
    let client = Client::connect(&format!("sqlite:{database}")).await?;
    let import = Import { database: database.into(), source: name_of(Path::new(file))? };
    import.connection()?.execute_batch(include_str!("../sql/schema.sql"))?;
    enqueue_once(&client, &import, Path::new(file)).await?;

    let import = std::sync::Arc::new(import);
    let worker = Worker::new(&client, import.clone())
        .job_blocking(part::import)
        .queue("import", SLOTS)
        .lease(LEASE)
        .until_empty(true);
    // Ctrl-C ends the parts under way or gives them back; start it again and it goes on.
    let report = tokio::select! {
        report = worker.run_until(dutiful::shutdown_signal()) => report?,
        failed = say_how_far(&import) => return failed,
    };

    let (rows, stock) = import.sum()?;
    let stats = client.stats().await?.totals;
    let waiting = stats.pending + stats.failed + stats.scheduled;
    client.close().await?;
    println!("{rows} rows with {stock} pieces; {} parts done here", report.completed);
    println!("{waiting} parts wait, {} gave up", stats.dead);
    Ok(())
}

/// Enqueues the parts of the file, unless that was done. Killed before the note is written, it
/// enqueues them again; a part that runs twice finds its rows there and changes nothing.
async fn enqueue_once(client: &Client, import: &Import, file: &Path) -> Result<(), Fatal> {
    let conn = import.connection()?;
    let known: i64 =
        conn.query_row(include_str!("../sql/source_parts.sql"), [&import.source], |r| r.get(0))?;
    if known > 0 {
        println!("going on with {}", file.display());
        return Ok(());
    }
    let parts = part::cut(file, &import.source, PART_LINES)?;
    let count = parts.len();
    client.enqueue_all::<Part>(parts).await?;
    conn.execute(include_str!("../sql/insert_source.sql"), (&import.source, count))?;
    println!("{count} parts of {}", file.display());
    Ok(())
}

/// Prints a line now and then until it is dropped.
async fn say_how_far(import: &Import) -> Result<(), Fatal> {
    let mut before = 0;
    loop {
        tokio::time::sleep(SAY).await;
        let (rows, _) = import.sum()?;
        if rows != before {
            println!("{rows} rows");
            before = rows;
        }
    }
}

fn name_of(file: &Path) -> Result<String, Fatal> {
    let about = std::fs::metadata(file)?;
    let changed = about.modified()?.duration_since(UNIX_EPOCH)?.as_millis();
    let path = std::fs::canonicalize(file)?;
    Ok(format!("{} {} {changed}", path.display(), about.len()))
}
