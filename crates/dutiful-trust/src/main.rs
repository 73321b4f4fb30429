//! The program of the campaigns: `dutiful-trust storm --seconds 15 --seed 1`.
//!
//! It prints one line of JSON with every figure and the violations, and ends with 1 if there are
//! any. The processes of a campaign are this same program in the hidden roles.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use dutiful_trust::campaign::{self, Plan, Report};
use dutiful_trust::roles::{self, Mix, Shape};

#[derive(Parser)]
#[command(about = "Shows that jobs survive kills, stops and restarts", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Kill one random process every so often (T1)
    Storm(PlanArgs),
    /// The same with a counter that each job raises in its completion's transaction (T2)
    Counter(PlanArgs),
    /// Kill workers one at a time and measure how soon their jobs run again (T5)
    Rescue(PlanArgs),
    /// Stop workers for twice their lease and wake them (T3)
    Zombie(PlanArgs),
    /// Disturb nobody and watch that memory, descriptors and the WAL stay flat
    Soak(PlanArgs),
    /// Enqueue jobs that kill who runs them, among others that must not suffer (T7)
    Poison(PlanArgs),
    /// Ask workers to end at random points (T38)
    Stop(PlanArgs),
    /// Kill the server of --store postgres and start it again (T17)
    Outage(PlanArgs),
    #[command(hide = true)]
    Producer(RoleArgs),
    #[command(hide = true)]
    Worker(RoleArgs),
}

#[derive(Args)]
struct PlanArgs {
    /// How long processes are disturbed
    #[arg(long, conflicts_with = "minutes")]
    seconds: Option<u64>,
    /// The same in minutes
    #[arg(long)]
    minutes: Option<u64>,
    /// Repeats the same dice
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// sqlite:FILE, postgres://…?schema=…, or postgres for a server of its own; a new file in
    /// --dir when absent
    #[arg(long)]
    store: Option<String>,
    /// An empty folder for ledgers and logs, kept; a temporary one when absent
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Worker processes
    #[arg(long, default_value_t = 4)]
    workers: usize,
    /// Slots of each worker
    #[arg(long, default_value_t = 8)]
    slots: usize,
    /// Producer processes
    #[arg(long, default_value_t = 2)]
    producers: usize,
    /// The time between two disturbances (200ms, 2s)
    #[arg(long, value_parser = duration)]
    every: Option<Duration>,
    /// The lease of the workers
    #[arg(long, default_value = "3s", value_parser = duration)]
    lease: Duration,
    /// The grace of the workers
    #[arg(long, value_parser = duration)]
    grace: Option<Duration>,
}

#[derive(Args)]
struct RoleArgs {
    #[arg(long)]
    store: String,
    #[arg(long)]
    dir: PathBuf,
    #[arg(long)]
    mix: Mix,
    #[arg(long)]
    slots: usize,
    #[arg(long)]
    lease_ms: u64,
    #[arg(long)]
    grace_ms: u64,
    #[arg(long)]
    longest_ms: u64,
    #[arg(long)]
    seed: u64,
    #[arg(long)]
    predecessor: Option<u32>,
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            // If stderr is gone there is nobody to tell.
            let _ = writeln!(std::io::stderr(), "dutiful-trust failed to {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    const STORM: Duration = Duration::from_millis(200);
    const COUNTER: Duration = Duration::from_millis(400);
    const RESCUE: Duration = Duration::from_secs(2);
    const ZOMBIE: Duration = Duration::from_millis(700);
    const STOP: Duration = Duration::from_millis(600);
    const OUTAGE: Duration = Duration::from_secs(5);
    const SHORT: Duration = Duration::from_millis(500);
    const LONG: Duration = Duration::from_secs(5);
    let report = match command {
        Command::Storm(args) => campaign::storm(args.plan("storm", STORM, LONG))?,
        Command::Counter(args) => campaign::counter(args.plan("counter", COUNTER, LONG))?,
        Command::Rescue(args) => campaign::rescue(args.plan("rescue", RESCUE, LONG))?,
        Command::Zombie(args) => campaign::zombie(args.plan("zombie", ZOMBIE, LONG))?,
        Command::Soak(args) => campaign::soak(args.plan("soak", STORM, LONG))?,
        Command::Poison(args) => campaign::poison(args.plan("poison", STORM, LONG))?,
        Command::Stop(args) => campaign::stop(args.plan("stop", STOP, SHORT))?,
        Command::Outage(args) => campaign::outage(args.plan("outage", OUTAGE, LONG))?,
        Command::Producer(args) => {
            let predecessor = args.predecessor;
            return play(roles::produce(args.shape(), predecessor));
        }
        Command::Worker(args) => return play(roles::work(args.shape())),
    };
    print(&report)?;
    Ok(if report.verdict.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(report: &Report) -> anyhow::Result<()> {
    let mut line = serde_json::to_vec(report)?;
    line.push(b'\n');
    std::io::stdout().write_all(&line)?;
    Ok(())
}

fn play(role: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<ExitCode> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(role)?;
    Ok(ExitCode::SUCCESS)
}

impl PlanArgs {
    fn plan(self, name: &'static str, every: Duration, grace: Duration) -> Plan {
        const DURING: u64 = 15;
        let minutes = self.minutes.map(|minutes| minutes * 60);
        let seconds = self.seconds.or(minutes).unwrap_or(DURING);
        Plan {
            name,
            during: Duration::from_secs(seconds),
            seed: self.seed,
            store: self.store,
            dir: self.dir,
            workers: self.workers.max(1),
            slots: self.slots.max(1),
            producers: self.producers.max(1),
            every: self.every.unwrap_or(every),
            lease: self.lease,
            grace: self.grace.unwrap_or(grace),
        }
    }
}

impl RoleArgs {
    fn shape(self) -> Shape {
        Shape {
            store: self.store,
            dir: self.dir,
            mix: self.mix,
            slots: self.slots,
            lease: Duration::from_millis(self.lease_ms),
            grace: Duration::from_millis(self.grace_ms),
            longest: Duration::from_millis(self.longest_ms),
            seed: self.seed,
        }
    }
}

/// Parses `200ms`, `3s` or `2m`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = &text[digits.len()..];
    let number: u64 = digits.parse().map_err(|_| format!("\"{text}\" is not like 200ms or 3s"))?;
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number * 60)),
        _ => Err(format!("\"{text}\" needs one of the units ms, s, m")),
    }
}
