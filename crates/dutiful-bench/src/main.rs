//! Runs a yardstick and `dutiful bench` in turn and reports the median ratios.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a report is what this program is for"
)]

mod commit;
mod cost;
mod held;
mod http;
mod report;
mod server;
mod snapshot;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use dutiful_fixture::Postgres;
use serde_json::Value;

use crate::report::{Round, Run};
use crate::snapshot::Snapshot;

/// Compares `dutiful bench` with what the store alone can do
#[derive(Clone, Debug, Parser)]
struct Args {
    /// The `dutiful` to measure, built with --release
    #[arg(long, default_value = "target/release/dutiful")]
    dutiful: PathBuf,
    /// The store: a file in --dir, or a private Postgres server with fsync on
    #[arg(long, value_enum, default_value_t = Kind::Sqlite)]
    store: Kind,
    /// Jobs of each round
    #[arg(long, default_value_t = 1_000_000)]
    jobs: u64,
    /// Rounds, yardstick and bench in turn
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Scheduled jobs that lie beside
    #[arg(long, default_value_t = 0)]
    scheduled: u64,
    /// Finished jobs that lie beside
    #[arg(long, default_value_t = 0)]
    finished: u64,
    /// Dead jobs that lie beside
    #[arg(long, default_value_t = 0)]
    dead: u64,
    /// Queues among which the jobs are spread
    #[arg(long, default_value_t = 1)]
    queues: u64,
    /// What each run takes, in ms
    #[arg(long, default_value_t = 0)]
    run_ms: u64,
    /// Worker processes
    #[arg(long, default_value_t = 1)]
    workers: u64,
    /// Slots of each worker
    #[arg(long, default_value_t = 100)]
    concurrency: u64,
    /// Instead: a steady load while a snapshot is held for so many seconds (Postgres)
    #[arg(long)]
    held: Option<u64>,
    /// Long reports are read instead of the snapshot
    #[arg(long, requires = "held")]
    reads: bool,
    /// The rate of the steady load; 0.6 of the drain's where it is not given
    #[arg(long, requires = "held")]
    rate: Option<u64>,
    /// Instead: what a job costs the server (Postgres)
    #[arg(long)]
    cost: bool,
    /// Instead: enqueues over HTTP, to a server on a file
    #[arg(long)]
    http: bool,
    /// Hold a snapshot of the file open beside the bench and the yardstick (SQLite)
    #[arg(long)]
    snapshot: bool,
    /// A folder on the disk to measure, which may be slow to sync
    #[arg(long, default_value = ".")]
    dir: PathBuf,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let dutiful = std::fs::canonicalize(&args.dutiful)
        .with_context(|| format!("find {}; build it first", args.dutiful.display()))?;
    if let Some(report) = alone(&args, &dutiful)? {
        println!("{report}");
        return Ok(());
    }
    let place = match args.store {
        Kind::Sqlite => Place::File(tempfile::tempdir_in(&args.dir)?),
        Kind::Postgres => Place::Server(Box::new(server::start()?)),
    };
    let mut rounds = Vec::new();
    for _ in 0..args.rounds {
        let yardstick = match &place {
            Place::File(folder) => yardstick(folder.path(), &args)?,
            Place::Server(server) => server::yardstick(server, args.jobs)?,
        };
        let commit = match &place {
            Place::File(folder) => commit::measure(folder.path())?,
            Place::Server(server) => server::commits(&server.url("postgres"))?,
        };
        let bench = match &place {
            Place::File(folder) => bench_file(&dutiful, folder.path(), &args)?,
            Place::Server(server) => bench_server(&dutiful, server, &args)?,
        };
        rounds.push(Round { yardstick, commit, bench });
    }
    let command: Vec<_> = std::env::args().skip(1).collect();
    println!("{}", Run { command: command.join(" "), rounds }.markdown()?);
    Ok(())
}

/// Runs what is no comparison with the yardstick; `None` where a comparison is asked for.
fn alone(args: &Args, dutiful: &Path) -> Result<Option<String>> {
    if args.cost {
        return cost::measure(dutiful, args.jobs, args.queues).map(Some);
    }
    if args.http {
        let folder = tempfile::tempdir_in(&args.dir)?;
        return http::measure(dutiful, folder.path(), args.jobs).map(Some);
    }
    let Some(seconds) = args.held else { return Ok(None) };
    let plan = held::Plan { seconds, reads: args.reads, rate: args.rate, jobs: args.jobs };
    held::measure(dutiful, &server::start()?, &plan).map(Some)
}

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum Kind {
    Sqlite,
    Postgres,
}

/// Where it is.
enum Place {
    File(tempfile::TempDir),
    Server(Box<Postgres>),
}

/// Runs the yardstick; it is a script, so that anybody can read what is compared.
fn yardstick(place: &Path, args: &Args) -> Result<Value> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("yardstick/sqlite.py");
    let mut command = Command::new("python3");
    command.arg(script).arg(args.jobs.to_string()).env("YARDSTICK_DIR", place);
    if args.snapshot {
        command.env("YARDSTICK_SNAPSHOT", "1");
    }
    one_line(&mut command)
}

/// Measures on a new database. What is to lie beside is put there first and vacuumed, as the
/// yardstick vacuums what it put there: a figure is about jobs that lie there for a while.
fn bench_server(dutiful: &Path, server: &Postgres, args: &Args) -> Result<Value> {
    let store = server.fresh_database()?;
    let beside = [("scheduled", args.scheduled), ("finished", args.finished), ("dead", args.dead)];
    if beside.iter().any(|(_, n)| *n > 0) {
        one_line(
            bench(dutiful, &store, &Args { jobs: 1, queues: 1, ..args.clone() }).arg("--json"),
        )?;
        server.psql(&store, include_str!("sql/settle_server.sql"))?;
    }
    let alone = Args { scheduled: 0, finished: 0, dead: 0, ..args.clone() };
    let mut answer = one_line(bench(dutiful, &store, &alone).arg("--json"))?;
    for (name, n) in beside {
        answer[name] = n.into();
    }
    Ok(answer)
}

fn bench(dutiful: &Path, store: &str, args: &Args) -> Command {
    let mut command = Command::new(dutiful);
    command.arg("bench").arg("--store").arg(store);
    let numbers = [
        ("--jobs", args.jobs),
        ("--scheduled", args.scheduled),
        ("--finished", args.finished),
        ("--dead", args.dead),
        ("--queues", args.queues),
        ("--run-ms", args.run_ms),
        ("--workers", args.workers),
        ("--concurrency", args.concurrency),
    ];
    for (flag, n) in numbers {
        command.arg(flag).arg(n.to_string());
    }
    command
}

fn bench_file(dutiful: &Path, place: &Path, args: &Args) -> Result<Value> {
    let file = place.join("bench.db");
    let mut command = bench(dutiful, &format!("sqlite:{}", file.display()), args);
    let held = args.snapshot.then(|| Snapshot::hold(file));
    let answer = one_line(command.arg("--json"));
    if let Some(held) = held {
        let (seconds, wal_mib) = held.let_go()?;
        eprintln!("the snapshot was held for {seconds:.1} s; the WAL had {wal_mib:.0} MiB");
    }
    for end in ["", "-wal", "-shm"] {
        // What a clean end removed need not be removed again.
        let _ = std::fs::remove_file(place.join(format!("bench.db{end}")));
    }
    answer
}

fn one_line(command: &mut Command) -> Result<Value> {
    let out = command.output().with_context(|| format!("run {command:?}"))?;
    if !out.status.success() {
        bail!("{command:?} ended with {}: {}", out.status, String::from_utf8_lossy(&out.stderr));
    }
    Ok(serde_json::from_slice(&out.stdout)?)
}
