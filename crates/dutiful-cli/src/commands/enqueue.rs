//! `dutiful enqueue`: one job from the command line, or many from NDJSON.

use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use dutiful::{Client, Delivery, EnqueueOutcome, Enqueued, JobId, Timestamp};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::batch::{BadLine, Chunk, Lines};
use crate::failure::{Answer, Failure};
use crate::settings::Settings;
use crate::{input, output};

/// Most bytes of a payload that are read from standard input, so that its true size can be told.
const STDIN_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Most characters of why a line is bad, which may quote all of the line.
const REASON_SHOWN: usize = 300;

/// The arguments of `dutiful enqueue`.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "dutiful enqueue [OPTIONS] TYPE [PAYLOAD]\n       dutiful enqueue --batch FILE"
)]
#[command(after_help = "\
Examples:
  dutiful enqueue send_email '{\"to\":\"ann@example.com\"}' --queue mail
  dutiful enqueue report --delay 1h --max-attempts 5 --unique monthly-report
  dutiful enqueue import - < data.json
  dutiful enqueue --batch jobs.ndjson
  make-jobs | dutiful enqueue --batch - --json

A line of --batch is one job, {\"type\":\"send_email\",\"payload\":{…}}, and may have: id, queue, priority,
scheduled_for, delay_ms, max_attempts, timeout_ms, correlation_id, trace_parent, group, unique_key,
tags, delivery. Lines are stored 1000 at a time, each chunk only when all of its lines are good.
Sending lines again is harmless when they carry ids.

What is not said comes from [handlers.TYPE] in dutiful.toml, else from what the last worker of the
type declared, else: queue default, priority 10, 3 attempts, 15 minutes each.")]
pub(crate) struct Args {
    /// Which handler runs it
    #[arg(value_name = "TYPE", required_unless_present = "batch", conflicts_with = "batch")]
    job_type: Option<String>,
    /// One JSON value, or - to read it from standard input
    #[arg(default_value = "{}", hide_default_value = false, allow_negative_numbers = true)]
    payload: String,
    /// Read jobs from a file of NDJSON, or - for standard input
    #[arg(long, value_name = "FILE")]
    batch: Option<PathBuf>,
    #[command(flatten)]
    settings: JobSettings,
}

/// The settings of the job; what is not given comes from its type.
#[derive(Debug, clap::Args)]
#[group(id = "job settings", multiple = true, conflicts_with = "batch")]
struct JobSettings {
    /// The id, a UUID; a job with this id that is there already stays as it is
    #[arg(long, value_parser = input::job_id)]
    id: Option<JobId>,
    /// The queue
    #[arg(long)]
    queue: Option<String>,
    /// 0 to 1000; lower runs first
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = input::number)]
    priority: Option<i64>,
    /// Run it after a while (30s, 5m, 2h)
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = input::duration)]
    #[arg(conflicts_with = "at")]
    delay: Option<Duration>,
    /// Run it at a time (2026-12-31T23:59:59Z)
    #[arg(long, value_name = "RFC3339", allow_hyphen_values = true, value_parser = input::time)]
    at: Option<Timestamp>,
    /// Failures after which it is dead
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = input::number)]
    max_attempts: Option<i64>,
    /// How long one attempt may run (30s)
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = input::timeout)]
    timeout: Option<Duration>,
    /// What it belongs to; found again in logs and in its children
    #[arg(long, value_name = "TEXT")]
    correlation_id: Option<String>,
    /// The W3C traceparent of what asks for it
    #[arg(long, value_name = "TRACEPARENT")]
    trace_parent: Option<String>,
    /// Whose it is (a tenant, a customer)
    #[arg(long, value_name = "TEXT")]
    group: Option<String>,
    /// At most one live job has this key
    #[arg(long, value_name = "KEY")]
    unique: Option<String>,
    /// A word to find it by; may be given again
    #[arg(long = "tag", value_name = "TEXT")]
    tags: Vec<String>,
    /// at_least_once or at_most_once
    #[arg(long, value_parser = delivery)]
    delivery: Option<Delivery>,
}

fn delivery(text: &str) -> Result<Delivery, String> {
    match text {
        "at_least_once" => Ok(Delivery::AtLeastOnce),
        "at_most_once" => Ok(Delivery::AtMostOnce),
        _ => Err("it is at_least_once or at_most_once".to_owned()),
    }
}

impl JobSettings {
    fn settings(self) -> dutiful::Settings {
        dutiful::Settings {
            id: self.id,
            queue: self.queue,
            priority: self.priority,
            scheduled_for: self.at,
            delay: self.delay,
            max_attempts: self.max_attempts,
            timeout: self.timeout,
            correlation_id: self.correlation_id,
            trace_parent: self.trace_parent,
            group: self.group,
            unique_key: self.unique,
            tags: self.tags,
            delivery: self.delivery,
        }
    }
}

/// Enqueues the job or the jobs.
pub(crate) async fn run(args: Args, settings: Settings) -> Answer {
    match (args.job_type, args.batch) {
        (_, Some(file)) => many(&file, &settings).await,
        (Some(job_type), None) => {
            let payload = payload(args.payload).await?;
            let mut job = args.settings.settings();
            declared(&job_type, &mut job, &settings)?;
            one(&job_type, payload, job, &settings).await
        }
        (None, None) => Err(Failure::usage("enqueue: name a type, or a file with --batch")),
    }
}

/// Gives a job what dutiful.toml declares for its type, where the job itself says nothing. The
/// store learns that from the first worker, and jobs enqueued before must not be other ones.
fn declared(
    job_type: &str,
    job: &mut dutiful::Settings,
    settings: &Settings,
) -> Result<(), Failure> {
    let Some(handler) = settings.config.handlers.get(job_type) else { return Ok(()) };
    let known = handler.defaults(job_type).map_err(|why| {
        let file = settings.config_file.display();
        Failure::usage(format!("read {file}: [handlers.{job_type}]: {why}"))
    })?;
    job.queue.get_or_insert_with(|| known.queue.to_string());
    job.priority.get_or_insert(known.priority.into());
    job.max_attempts.get_or_insert(known.max_attempts.into());
    job.timeout.get_or_insert(known.timeout);
    job.delivery.get_or_insert(known.delivery);
    Ok(())
}

async fn payload(text: String) -> Result<Vec<u8>, Failure> {
    if text != "-" {
        return Ok(text.into_bytes());
    }
    let read = tokio::task::spawn_blocking(|| {
        let mut bytes = Vec::new();
        std::io::stdin().lock().take(STDIN_BYTES_MAX).read_to_end(&mut bytes).map(|_| bytes)
    });
    let bytes = read.await.expect("reading does not panic");
    bytes.map_err(|error| Failure::failed(format!("read the payload from stdin: {error}")))
}

async fn one(
    job_type: &str,
    payload: Vec<u8>,
    job: dutiful::Settings,
    settings: &Settings,
) -> Answer {
    let client = settings.client().await?;
    let enqueued = client.enqueue_raw(job_type, payload).settings(job).await?;
    if settings.json {
        output::json(&enqueued)?;
    } else {
        let Enqueued { id, outcome } = enqueued;
        output::line(match outcome {
            EnqueueOutcome::New => format!("enqueued {id}"),
            EnqueueOutcome::Exists => format!("left {id} as it is: a job with this id is there"),
            EnqueueOutcome::Duplicate => format!("left it to {id}: that job has the unique key"),
        })?;
    }
    client.close().await?;
    Ok(ExitCode::SUCCESS)
}

/// What became of a batch.
#[derive(Debug, Default, Serialize)]
struct Tally {
    jobs: u64,
    new: u64,
    exists: u64,
    duplicate: u64,
}

impl Tally {
    fn add(&mut self, enqueued: &[Enqueued]) {
        self.jobs += enqueued.len() as u64;
        for job in enqueued {
            match job.outcome {
                EnqueueOutcome::New => self.new += 1,
                EnqueueOutcome::Exists => self.exists += 1,
                EnqueueOutcome::Duplicate => self.duplicate += 1,
            }
        }
    }

    /// Says how far a batch came that did not come to its end.
    fn so_far(&self) -> String {
        match self.jobs {
            0 => "nothing is stored".to_owned(),
            n => format!("the first {n} jobs are stored; send the rest again"),
        }
    }
}

async fn many(file: &Path, settings: &Settings) -> Answer {
    let source = Source::open(file)?;
    let client = settings.client().await?;
    let bar = source.bar();
    let mut chunks = source.read();
    let mut tally = Tally::default();
    while let Some(chunk) = chunks.recv().await {
        let stored = match chunk {
            Ok(mut chunk) => {
                for job in &mut chunk.jobs {
                    declared(&job.job_type, &mut job.settings, settings)?;
                }
                store(&client, chunk, file, &bar).await
            }
            Err(bad) => Err(refused(bad, file)),
        };
        match stored {
            Ok(enqueued) => tally.add(&enqueued),
            Err(why) => {
                bar.finish_and_clear();
                return Err(why.reworded(|text| format!("{text}; {}", tally.so_far())));
            }
        }
    }
    bar.finish_and_clear();
    client.close().await?;
    if settings.json {
        output::json(&tally)?;
    } else {
        output::line(format!(
            "{} jobs: {} new, {} were there already, {} left to a job with the same unique key",
            tally.jobs, tally.new, tally.exists, tally.duplicate
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn store(
    client: &Client,
    chunk: Chunk,
    file: &Path,
    bar: &ProgressBar,
) -> Result<Vec<Enqueued>, Failure> {
    match client.enqueue_many(chunk.jobs.clone()).await {
        Ok(enqueued) => {
            bar.inc(chunk.bytes);
            Ok(enqueued)
        }
        Err(error @ dutiful::Error::InvalidJob(_)) => {
            let bad = chunk.refused().await?;
            Err(bad.map_or_else(|| error.into(), |bad| refused(bad, file)))
        }
        Err(error) => Err(error.into()),
    }
}

fn refused(bad: BadLine, file: &Path) -> Failure {
    let reason = output::short(&bad.reason, REASON_SHOWN);
    Failure::usage(format!("read line {} of {}: {reason}", bad.number, name(file)))
}

/// Where the lines of a batch come from.
struct Source {
    lines: Box<dyn BufRead + Send>,
    bytes: Option<u64>,
}

impl Source {
    fn open(file: &Path) -> Result<Self, Failure> {
        if file == Path::new("-") {
            return Ok(Self { lines: Box::new(BufReader::new(std::io::stdin())), bytes: None });
        }
        let failed = |error| Failure::usage(format!("read {}: {error}", file.display()));
        let open = File::open(file).map_err(failed)?;
        let facts = open.metadata().map_err(failed)?;
        if facts.is_dir() {
            return Err(Failure::usage(format!(
                "read {}: it is a directory; name a file of NDJSON",
                file.display()
            )));
        }
        let bytes = facts.is_file().then_some(facts.len());
        Ok(Self { lines: Box::new(BufReader::with_capacity(256 * 1024, open)), bytes })
    }

    /// Returns a progress bar, which shows itself only when stderr is a terminal.
    fn bar(&self) -> ProgressBar {
        match self.bytes {
            Some(bytes) => ProgressBar::new(bytes).with_style(style(
                "{wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left",
            )),
            None => ProgressBar::new_spinner().with_style(style("{spinner} {bytes} read")),
        }
    }

    /// Reads and checks chunks on a thread of its own, one ahead of the store.
    fn read(self) -> tokio::sync::mpsc::Receiver<Result<Chunk, BadLine>> {
        let (to, chunks) = tokio::sync::mpsc::channel(1);
        std::thread::spawn(move || {
            let mut lines = Lines::new(self.lines);
            loop {
                let chunk = lines.chunk();
                let last = !matches!(&chunk, Ok(chunk) if !chunk.jobs.is_empty());
                let end = last && chunk.is_ok();
                if end || to.blocking_send(chunk).is_err() || last {
                    return;
                }
            }
        });
        chunks
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn name(file: &Path) -> String {
    if file == Path::new("-") { "stdin".to_owned() } else { file.display().to_string() }
}
