//! The end of the demo: one table, one verdict, and what to try next; or one line of JSON.

use comfy_table::{Cell, CellAlignment, Color};
use serde::Serialize;

use super::home::Home;
use super::judge::Verdict;
use crate::failure::Failure;
use crate::output;

/// Most dead jobs that are named.
const DEAD_SHOWN: usize = 5;

/// The line of `--json`.
#[derive(Serialize)]
struct Summary {
    orders: u64,
    enqueued: u64,
    completed: u64,
    failed_attempts: u64,
    stalled: u64,
    dead: u64,
    lost: u64,
    double_effects: u64,
    seconds: f64,
}

/// Prints the one line of JSON.
pub(crate) fn json(verdict: &Verdict, orders: u64, seconds: f64) -> Result<(), Failure> {
    output::json(&Summary {
        orders,
        enqueued: verdict.enqueued,
        completed: verdict.completed,
        failed_attempts: verdict.failed_attempts,
        stalled: verdict.stalled,
        dead: verdict.dead.len() as u64,
        lost: verdict.lost(),
        double_effects: verdict.double_effects(),
        seconds: (seconds * 1000.0).round() / 1000.0,
    })
}

/// Prints the table and what it means.
pub(crate) fn people(verdict: &Verdict, home: &Home, seconds: f64) -> Result<(), Failure> {
    let mut table = output::table([
        "in the ledgers and in the world",
        "due",
        "done",
        "lost",
        "double",
        "repeats",
    ]);
    let bad = |n: u64| if n == 0 { output::count(0) } else { output::count(n).fg(Color::Red) };
    let right = |n: u64| Cell::new(n).set_alignment(CellAlignment::Right);
    for row in &verdict.rows {
        let (due, done) = (right(row.expected), right(row.found));
        let repeats = output::count(row.repeats);
        table.add_row(vec![
            Cell::new(row.what),
            due,
            done,
            bad(row.lost),
            bad(row.double),
            repeats,
        ]);
    }
    output::line(format!("\n{table}"))?;
    output::line(
        "repeats are attempts after a failure or a crash; they are harmless, because mails carry a \
         key,\nstock changes commit with their job, and files are replaced whole.\n",
    )?;
    output::line(sentence(verdict, seconds))?;
    for dead in verdict.dead.iter().take(DEAD_SHOWN) {
        output::line(format!("  dead: {}", output::short(dead, 160)))?;
    }
    if verdict.dead.len() > DEAD_SHOWN {
        output::line(format!("  … and {} more", verdict.dead.len() - DEAD_SHOWN))?;
    }
    output::line(format!("\n{}", next(verdict, home)))
}

fn sentence(verdict: &Verdict, seconds: f64) -> String {
    let (lost, double) = (verdict.lost(), verdict.double_effects());
    let ran = format!(
        "{} jobs in {seconds:.1} s: {} completed, {} dead, {} failed attempts, {} stalled.",
        verdict.enqueued,
        verdict.completed,
        verdict.dead.len(),
        verdict.failed_attempts,
        verdict.stalled
    );
    let end = match (lost, double, verdict.unfinished) {
        (0, 0, 0) => "Nothing was lost, nothing was done twice.".to_owned(),
        (_, _, 0) => format!("{lost} LOST, {double} DONE TWICE. This must not happen."),
        (_, _, unfinished) => format!("{unfinished} UNFINISHED, {lost} lost, {double} done twice."),
    };
    format!("{ran}\n{end}")
}

/// Returns what to try next.
fn next(verdict: &Verdict, home: &Home) -> String {
    if !home.is_kept() {
        return "Next: add --dir shop to keep it all, --images DIR for pictures of your own, or \
                --workers 4."
            .into();
    }
    let look = if verdict.dead.is_empty() { "jobs list" } else { "dead list" };
    format!("Next: dutiful {look} --store {}", home.store_url())
}
