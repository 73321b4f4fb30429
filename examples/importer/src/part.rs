//! One part of the file: a job of a thousand lines, which remembers how far it came.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use dutiful::{Context, HandlerError, Job, Result, Retry};
use rusqlite::TransactionBehavior;
use serde::{Deserialize, Serialize};

use crate::Import;

/// Lines in one transaction.
const STEP_LINES: usize = 100;

/// Some lines of the file. The payload says where they are, not what they are: payloads are small.
#[derive(Serialize, Deserialize)]
pub(crate) struct Part {
    file: PathBuf,
    source: String,
    at: Place,
    lines: usize,
}

/// Where the next line begins.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Place {
    byte: u64,
    line: usize,
}

impl Job for Part {
    const TYPE: &'static str = "import_part";
    const QUEUE: &'static str = "import";
    const RETRY: Retry = Retry::fixed(Duration::from_secs(2));
}

/// Cuts the file into parts of so many lines.
pub(crate) fn cut(file: &Path, source: &str, lines: usize) -> std::io::Result<Vec<Part>> {
    let mut reader = BufReader::new(File::open(file)?);
    let (mut parts, mut at, mut text) = (Vec::new(), Place { byte: 0, line: 1 }, Vec::new());
    loop {
        let (start, mut count) = (at, 0);
        while count < lines {
            text.clear();
            let bytes = reader.read_until(b'\n', &mut text)?;
            if bytes == 0 {
                break;
            }
            at = Place { byte: at.byte + bytes as u64, line: at.line + 1 };
            count += 1;
        }
        if count == 0 {
            return Ok(parts);
        }
        parts.push(Part { file: file.to_owned(), source: source.into(), at: start, lines: count });
    }
}

/// Takes in the lines of a part, a hundred at a time. It begins where the last attempt ended.
///
/// Blocking, because it reads a file and holds transactions of `rusqlite`.
pub(crate) fn import(job: Part, cx: Context<Import>) -> Result<usize> {
    let end = job.at.line + job.lines;
    let mut at: Place = cx.wait(cx.checkpoint())?.unwrap_or(job.at);
    let mut reader = BufReader::new(File::open(&job.file)?);
    reader.seek(SeekFrom::Start(at.byte))?;
    let mut conn = cx.app.connection()?;
    while at.line < end {
        if cx.is_cancelled() {
            // The worker stops: what is saved stays, and the next attempt goes on from here.
            return Err(HandlerError::msg("told to stop"));
        }
        let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        at = step(&tx, &job, &mut reader, at, end)?;
        tx.commit()?;
        // Killed between these two, the next attempt reads the last hundred lines again.
        cx.wait(cx.save_checkpoint(&at))?;
        let done = at.line - job.at.line;
        cx.progress((100 * done / job.lines) as u8, format!("{done} lines"));
    }
    Ok(job.lines)
}

/// Takes in the lines of one transaction, and returns where the next begins.
fn step(
    tx: &rusqlite::Transaction<'_>,
    job: &Part,
    reader: &mut impl BufRead,
    mut at: Place,
    end: usize,
) -> Result<Place> {
    let mut insert = tx.prepare(include_str!("../sql/insert_product.sql"))?;
    let stop = end.min(at.line + STEP_LINES);
    let mut text = String::new();
    while at.line < stop {
        text.clear();
        let bytes = reader.read_line(&mut text)?;
        let (sku, stock) = parse(&text, at.line)?;
        insert.execute((&job.source, at.line, sku, stock))?;
        at = Place { byte: at.byte + bytes as u64, line: at.line + 1 };
    }
    Ok(at)
}

/// Reads a line. A bad one does not get better by trying again, so it ends the job at once: it is
/// in the dead letter queue, with the number of the line.
fn parse(text: &str, line: usize) -> Result<(&str, i64)> {
    let bad =
        || HandlerError::discard(HandlerError::msg(format!("line {line}: {text:?} is no row")));
    let (sku, stock) = text.trim_end().split_once(',').ok_or_else(bad)?;
    let stock = stock.parse().map_err(|_| bad())?;
    Ok((sku, stock))
}
