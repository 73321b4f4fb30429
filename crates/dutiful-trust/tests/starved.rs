//! T8: handlers that never yield, on every thread of the runtime and with busy processes beside
//! them, cost no lease: the heartbeat has a thread of its own.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use dutiful::{Client, Context, Event, Job, Observer, State, Worker};
use serde::{Deserialize, Serialize};

const LEASE: Duration = Duration::from_millis(1500);
/// The handlers take this long.
const SPIN: Duration = LEASE.saturating_mul(5);
/// Threads of the runtime, and jobs.
const THREADS: usize = 2;
/// For each core so many processes that want all of it.
const BUSY_PER_CORE: usize = 2;
/// Anything that takes longer never happens.
const NEVER: Duration = Duration::from_secs(60);

#[derive(Serialize, Deserialize)]
struct Spin {}

impl Job for Spin {
    const TYPE: &'static str = "spin";
}

async fn spin(_: Spin, cx: Context<AtomicU64>) -> dutiful::Result<()> {
    cx.app.fetch_add(1, Ordering::SeqCst);
    let begun = Instant::now();
    while begun.elapsed() < SPIN {
        std::hint::spin_loop();
    }
    Ok(())
}

/// Processes that are busy until they are dropped.
struct Busy(Vec<Child>);

impl Busy {
    fn start() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let one = |_| {
            let mut shell = Command::new("sh");
            shell.args(["-c", "while :; do :; done"]).stdin(Stdio::null());
            shell.spawn().expect("a shell starts")
        };
        Self((0..cores * BUSY_PER_CORE).map(one).collect())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let ended = child.kill().and_then(|()| child.wait());
            assert!(ended.is_ok(), "nothing stays behind: {ended:?}");
        }
    }
}

/// Counts what a worker must not tell.
#[derive(Default)]
struct Alarm {
    rescued: AtomicU64,
    fenced: AtomicU64,
    lost: AtomicU64,
}

impl Observer for Alarm {
    fn event(&self, event: &Event<'_>) {
        let counter = match event {
            Event::Rescued { .. } => &self.rescued,
            Event::SelfFenced { .. } => &self.fenced,
            Event::LeaseLost { .. } => &self.lost,
            _ => return,
        };
        counter.fetch_add(1, Ordering::SeqCst);
    }
}

impl Alarm {
    fn heard(&self) -> [u64; 3] {
        [&self.rescued, &self.fenced, &self.lost].map(|n| n.load(Ordering::SeqCst))
    }
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(THREADS).enable_all().build().expect("a runtime starts")
}

fn worker(client: &Client, runs: &Arc<AtomicU64>, alarm: &Arc<Alarm>) -> Worker<AtomicU64> {
    let worker = Worker::new(client, runs.clone()).job(spin).queue("default", THREADS);
    worker.lease(LEASE).observer(alarm.clone())
}

/// Runs a worker on a runtime and thread of its own.
fn run(url: &str, runs: &Arc<AtomicU64>, alarm: &Arc<Alarm>) -> Running {
    let (url, runs, alarm) = (url.to_owned(), runs.clone(), alarm.clone());
    let (to, handle) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        runtime().block_on(async {
            let client = Client::connect(&url).await?;
            let worker = worker(&client, &runs, &alarm);
            to.send(worker.handle()).expect("the test waits for it");
            worker.run().await
        })
    });
    let handle = handle.recv_timeout(NEVER).expect("the worker starts");
    Running { handle, thread }
}

struct Running {
    handle: dutiful::WorkerHandle,
    thread: std::thread::JoinHandle<Result<dutiful::Report, dutiful::Error>>,
}

impl Running {
    fn stop(self) -> dutiful::Report {
        self.handle.stop();
        self.thread.join().expect("the worker does not panic").expect("it ends in order")
    }
}

/// Returns how much of the shortest lease is left, in µs, or `None` when nobody holds any.
fn shortest_lease(file: &Path) -> Option<i64> {
    let conn = dutiful_trust::final_state::open(file).expect("the file opens");
    let sql = "SELECT min(until) FROM dutiful_lease";
    let until: Option<i64> = conn.query_row(sql, [], |row| row.get(0)).expect("it is read");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is after 1970");
    until.map(|until| until - now.as_micros() as i64)
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < NEVER, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn handlers_that_starve_the_runtime_keep_their_leases_on_a_busy_machine() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("jobs.db");
    let url = format!("sqlite:{}", file.display());
    let (client, jobs) = runtime().block_on(async {
        let client = Client::connect(&url).await.expect("the store opens");
        let jobs =
            client.enqueue_all((0..THREADS).map(|_| Spin {})).await.expect("they are stored");
        (client, jobs)
    });
    let (runs, alarm) = (Arc::new(AtomicU64::new(0)), Arc::new(Alarm::default()));
    let starved = run(&url, &runs, &alarm);
    wait_until("both jobs run", || runs.load(Ordering::SeqCst) == THREADS as u64);
    let _busy = Busy::start();
    // Somebody who would take the jobs at once.
    let rescuer = run(&url, &runs, &alarm);
    let mut left = Vec::new();
    wait_until("the jobs end", || {
        left.extend(shortest_lease(&file));
        shortest_lease(&file).is_none()
    });
    left.sort_unstable();
    let (worst, usual) = (left[0], left[left.len() / 100]);
    println!("left of a lease of {LEASE:?}: {worst} µs at worst, {usual} µs in 99 of 100 looks");
    assert!(worst > 0, "a lease ended {} µs before it was renewed", -worst);
    assert_eq!(rescuer.stop().completed, 0);
    assert_eq!(starved.stop().completed, THREADS as u64);
    assert_eq!(alarm.heard(), [0, 0, 0], "rescued, fenced, lost");
    for job in jobs {
        let seen = runtime().block_on(client.job(job.id)).expect("it is answered");
        let seen = seen.expect("it is on record");
        assert_eq!((seen.state, seen.attempt), (State::Completed, 1));
    }
}
