//! A steady load on Postgres while somebody holds a snapshot (or reads long reports): whether the
//! rate, the time of a claim and the backlog stay what they were, and whether the tables shrink.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use dutiful_fixture::Postgres;
use serde_json::Value;

/// Seconds of load before, and after.
const BESIDE: u64 = 32;
/// Seconds that a window of the report spans.
const WINDOW: usize = 30;
/// Until the load's worker is ready, in seconds.
const READY: u64 = 2;
/// The part of the drain's rate that is enqueued, and has to be worked, at the same time.
const SHARE: f64 = 0.6;
/// Reports that are read at the same time, each begun this long after the one before.
const READERS: u64 = 3;
const READERS_APART: u64 = 20;
/// Looks at the tables after the end, and the seconds between them.
const LOOKS: usize = 8;
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// What is measured.
pub(crate) struct Plan {
    /// For how many seconds the snapshot is held, or each report read.
    pub(crate) seconds: u64,
    /// Reports instead of a snapshot.
    pub(crate) reads: bool,
    /// Jobs a second; a part of the drain's rate where it is not given.
    pub(crate) rate: Option<u64>,
    /// Jobs of the drain that says what the rate is.
    pub(crate) jobs: u64,
}

/// Runs it and returns the report.
pub(crate) fn measure(dutiful: &Path, server: &Postgres, plan: &Plan) -> Result<String> {
    let mut text = String::new();
    let rate = match plan.rate {
        Some(rate) => rate,
        None => {
            let mut bench = bench(dutiful, &server.fresh_database()?);
            let drain = &crate::one_line(bench.args(["--jobs", &plan.jobs.to_string()]))?;
            let drain = drain["drain_per_s"].as_f64().context("read the drain's rate")?;
            writeln!(text, "The drain alone: {drain:.0} jobs/s; the load is {SHARE} of it.\n")?;
            (drain * SHARE) as u64
        }
    };
    let url = server.fresh_database()?;
    let held = if plan.reads { plan.seconds + (READERS - 1) * READERS_APART } else { plan.seconds };
    let mut load = bench(dutiful, &url);
    load.args(["--rate", &rate.to_string(), "--seconds", &(held + 2 * BESIDE).to_string()]);
    let load = load.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn()?;
    std::thread::sleep(Duration::from_secs(BESIDE + READY));
    let before = look(server, &url)?;
    std::thread::scope(|scope| {
        let readers = if plan.reads { READERS } else { 1 };
        let holders: Vec<_> = (0..readers)
            .map(|n| {
                std::thread::sleep(Duration::from_secs(if n == 0 { 0 } else { READERS_APART }));
                let url = &url;
                scope.spawn(move || server.psql(url, &script(plan)))
            })
            .collect();
        for holder in holders {
            holder
                .join()
                .map_err(|_| anyhow::anyhow!("hold a snapshot: its thread panicked"))??;
        }
        anyhow::Ok(())
    })?;
    let release = look(server, &url)?;
    let out = load.wait_with_output()?;
    if !out.status.success() {
        bail!("the load ended with {}", out.status);
    }
    let load: Value = serde_json::from_slice(&out.stdout)?;
    windows(&mut text, &load, held as usize)?;
    writeln!(text, "\n| tables, when | ready | dead rows | lease | dead rows |")?;
    writeln!(text, "|---|---|---|---|---|")?;
    writeln!(text, "| before | {before} |\n| at the release | {release} |")?;
    for n in 1..=LOOKS {
        std::thread::sleep(LOOK_EVERY);
        let after = BESIDE as usize + n * LOOK_EVERY.as_secs() as usize;
        writeln!(text, "| {after} s after it | {} |", look(server, &url)?)?;
    }
    Ok(text)
}

fn bench(dutiful: &Path, url: &str) -> Command {
    let mut command = Command::new(dutiful);
    command.args(["bench", "--json", "--store", url]);
    command
}

/// What the other session does.
fn script(plan: &Plan) -> String {
    if !plan.reads {
        return include_str!("sql/hold_server.sql").replace(":seconds", &plan.seconds.to_string());
    }
    // Ten pages a second, as fast as a program that writes a report takes them.
    let page = include_str!("sql/read_page_server.sql").repeat(plan.seconds as usize * 10);
    include_str!("sql/read_server.sql").replace(":pages", &page)
}

/// Returns the sizes and dead rows of the tables that jobs pass through.
fn look(server: &Postgres, url: &str) -> Result<String> {
    let rows = server.psql(url, include_str!("sql/sizes_server.sql"))?;
    Ok(rows.trim().replace('|', " | "))
}

fn windows(text: &mut String, load: &Value, held: usize) -> Result<()> {
    let seconds = load["seconds"].as_array().context("read the seconds of the load")?;
    let begin = BESIDE as usize;
    writeln!(text, "{} jobs/s enqueued and worked; held for {held} s.\n", load["rate"])?;
    writeln!(
        text,
        "| {WINDOW} s | enqueued /s | completed /s | backlog | claim p50 | claim p99 |"
    )?;
    writeln!(text, "|---|---|---|---|---|---|")?;
    for (name, from) in [
        ("before", begin - WINDOW),
        ("the first under it", begin),
        ("the last under it", begin + held - WINDOW),
        ("the last of all", begin + held + BESIDE as usize - WINDOW),
    ] {
        let part = seconds.get(from..(from + WINDOW).min(seconds.len())).unwrap_or_default();
        let sum = |name: &str| part.iter().filter_map(|one| one[name].as_u64()).sum::<u64>();
        let claims = part.iter().filter_map(|one| one["claim_us"].as_array()).flatten();
        let mut claims: Vec<u64> = claims.filter_map(Value::as_u64).collect();
        claims.sort_unstable();
        let ms = |percent: usize| {
            let at = claims.len().saturating_sub(1) * percent / 100;
            claims.get(at).copied().unwrap_or(0) as f64 / 1000.0
        };
        let n = part.len().max(1) as u64;
        let backlog = part.last().and_then(|one| one["backlog"].as_i64()).unwrap_or(0);
        let (enqueued, completed) = (sum("enqueued") / n, sum("completed") / n);
        let (p50, p99) = (ms(50), ms(99));
        writeln!(
            text,
            "| {name} | {enqueued} | {completed} | {backlog} | {p50:.1} ms | {p99:.1} ms |"
        )?;
    }
    Ok(())
}
