//! Counts words in files, by jobs, in a program without a runtime: the main thread enqueues and
//! waits, and the worker lives on a thread of its own.
//!
//! `blocking DATABASE FILE …`

#![expect(clippy::print_stdout, reason = "a program says what it found")]

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use dutiful::blocking::Client;
use dutiful::{Context, Job, OrDecide as _, Report, Result, Worker, WorkerHandle};
use serde::{Deserialize, Serialize};

/// A failure that ends the program.
type Fatal = Box<dyn std::error::Error + Send + Sync>;

/// Files read at a time.
const SLOTS: usize = 4;
/// How long one file may take before the main thread gives up on its answer.
const ANSWER_WAIT: Duration = Duration::from_secs(30);

#[derive(Serialize, Deserialize)]
struct CountWords {
    file: PathBuf,
}

impl Job for CountWords {
    const TYPE: &'static str = "count_words";
}

/// An ordinary function: it may read, compute and sleep as it likes, on a thread of its own.
fn count_words(job: CountWords, _: Context<()>) -> Result<usize> {
    // A file that is not there will not come by trying again.
    let text = std::fs::read_to_string(&job.file).or_discard()?;
    Ok(text.split_whitespace().count())
}

fn main() -> Result<(), Fatal> {
    let mut arguments = std::env::args_os().skip(1);
    let database = arguments.next().ok_or("usage: blocking DATABASE FILE …")?;
    let files: Vec<PathBuf> = arguments.map(PathBuf::from).collect();

    let jobs = Client::connect(&format!("sqlite:{}", PathBuf::from(database).display()))?;
    let (worker, handle) = start_worker(&jobs)?;

    let count = |file: &PathBuf| CountWords { file: file.clone() };
    let enqueued = jobs.wait(jobs.enqueue_all(files.iter().map(count)))?;
    let mut total = 0;
    for (file, job) in files.iter().zip(enqueued) {
        let ended = jobs.wait(jobs.result(job.id).timeout(ANSWER_WAIT))?;
        match ended.decode::<usize>() {
            Ok(words) => {
                println!("{words} {}", file.display());
                total += words;
            }
            // The error says what the handler failed with.
            Err(error) => println!("failed to {error}"),
        }
    }
    println!("{total} total");

    handle.stop();
    let report = worker.join().map_err(|_| "the worker's thread panicked")??;
    println!("{} jobs completed, {} dead", report.completed, report.dead);
    jobs.wait(jobs.close())?;
    Ok(())
}

/// A worker at work: its thread, and the handle that stops it.
type Working = (thread::JoinHandle<Result<Report, dutiful::Error>>, WorkerHandle);

/// Starts the worker on a thread with a small runtime, which nobody else has to know of.
fn start_worker(jobs: &Client) -> std::io::Result<Working> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let worker = Worker::new(jobs, ()).job_blocking(count_words).queue("default", SLOTS);
    let handle = worker.handle();
    let thread = thread::Builder::new().name("worker".into());
    Ok((thread.spawn(move || runtime.block_on(worker.run()))?, handle))
}
