//! The workers of registered handlers: one that runs what is registered now, and those before it,
//! which end what they run.
//!
//! A worker's handlers are fixed when it starts. So when a registration changes, another worker
//! starts with all that is registered, and the one before is told to stop in order: it claims
//! nothing more, and what it runs may end.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dutiful::{Client, Error, Name, Report, TIMEOUT_MAX, Worker, WorkerHandle};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use super::{HandlerOptions, Ready, Registration, Shared, all};
use crate::shelf::Item;

/// How often it is looked what is registered, and how often another worker starts at most.
const EVERY: Duration = Duration::from_secs(1);

/// What a worker runs that another takes the place of may take so long to end: the longest that
/// one attempt may. The worker's own grace counts when the process stops.
const LEAVING_MAX: Duration = TIMEOUT_MAX;

/// So many workers may take that long at once, each with slots of its own; of more the oldest have
/// their own grace.
const LEAVING_WORKERS_MAX: usize = 20;

/// Returns a worker without queues and handlers of its own.
type Make = Box<dyn Fn() -> Worker<()> + Send + Sync>;
/// Is told what people should know.
type Tell = Arc<dyn Fn(&str) + Send + Sync>;
/// What runs in a worker, until it ends.
type Task = JoinHandle<Result<Report, Error>>;

/// Runs the push handlers that are registered over HTTP, see [`registered`].
#[must_use = "nothing is run before run_until"]
pub struct Registered {
    client: Client,
    options: HandlerOptions,
    make: Make,
    beside: WorkerHandle,
    tell: Option<Tell>,
}

/// Returns what runs the push handlers that are registered over HTTP on this store: within about a
/// second of each change, by as many processes as do the same. Where nothing is registered there is
/// no worker.
///
/// `worker` makes a worker of this client without queues and handlers: what it sets (retention,
/// grace, lease, poll, observers, a name) should be as it is for other workers of the process,
/// since any of them may lead. `options` is a clone of what [`crate::Options::handlers`] has.
///
/// ```no_run
/// use dutiful::{Client, Worker, shutdown_signal};
/// use dutiful_server::{Options, registered, router};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let client = Client::connect("sqlite:jobs.db").await?;
/// let mut options = Options::default();
/// options.access.required = true;
/// options.handlers.declared = ["send_email".to_owned()].into(); // has a handler in this program
/// let store = client.clone();
/// let worker = move || Worker::new(&store, ()).name("shop (registered)");
/// let running = registered(&client, &options.handlers, worker)
///     .on_trouble(|sentence| eprintln!("{sentence}"))
///     .run_until(shutdown_signal());
/// let running = tokio::spawn(running);
/// let app: axum::Router = axum::Router::new().nest_service("/jobs", router(client, options));
/// let socket = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
/// axum::serve(socket, app).with_graceful_shutdown(shutdown_signal()).await?;
/// running.await?;
/// # Ok(()) }
/// ```
pub fn registered(
    client: &Client,
    options: &HandlerOptions,
    worker: impl Fn() -> Worker<()> + Send + Sync + 'static,
) -> Registered {
    Registered {
        client: client.clone(),
        options: options.clone(),
        make: Box::new(worker),
        beside: WorkerHandle::default(),
        tell: None,
    }
}

/// The workers of one process.
#[derive(Default)]
struct Crew {
    /// The one that runs what is registered now.
    current: Option<(WorkerHandle, Task)>,
    /// Those that were told to stop, the oldest first.
    leaving: Vec<(WorkerHandle, Task)>,
    /// What was seen last, and what of it `current` runs: types with their versions.
    seen: BTreeMap<String, i64>,
    runs: BTreeMap<String, i64>,
    /// When `current` took over.
    since: Option<Instant>,
    /// What was told last of a worker that ended by itself.
    told: Option<String>,
    report: Report,
}

impl Registered {
    /// Is quiet while the worker of this handle is: within about a second of it.
    pub fn beside(mut self, handle: WorkerHandle) -> Self {
        self.beside = handle;
        self
    }

    /// Tells this function, in a sentence, of each version of a registration that cannot be run
    /// here, and of a worker that could not start. No sentence has a secret in it.
    pub fn on_trouble(mut self, tell: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.tell = Some(Arc::new(tell));
        self
    }

    /// Runs until the future resolves, then stops in order, within the workers' grace. Returns what
    /// all of its workers did. Dropped before, its workers stop too, and nobody waits for them.
    pub fn run_until(self, stop: impl Future<Output = ()>) -> impl Future<Output = Report> {
        let here = Here::new(self.options.shared.clone());
        async move {
            let mut crew = Crew::default();
            tokio::pin!(stop);
            loop {
                tokio::select! {
                    () = &mut stop => break,
                    () = self.round(&mut crew) => {}
                }
            }
            drop(here);
            crew.end().await
        }
    }

    async fn round(&self, crew: &mut Crew) {
        self.reap(crew).await;
        // Without an answer things stay as they are; the workers tell of trouble with the store.
        if let Ok(items) = all(&self.client).await {
            self.take_note(crew, items);
        }
        self.heed(crew);
        let early = async {
            self.options.shared.changed.notified().await;
            // A script that registers many in a row is no reason to start as many workers.
            if let Some(since) = crew.since {
                sleep_until(since + EVERY).await;
            }
        };
        tokio::select! {
            () = sleep(EVERY) => {}
            () = early => {}
        }
    }

    /// Puts another worker in charge when what can be run here is not what runs.
    fn take_note(&self, crew: &mut Crew, items: Vec<Item<Registration>>) {
        let seen: BTreeMap<_, _> =
            items.iter().map(|item| (item.key.clone(), item.version)).collect();
        let lives = crew.current.is_some() || crew.runs.is_empty();
        if lives && seen == crew.seen {
            return;
        }
        let before = std::mem::replace(&mut crew.seen, seen);
        let (mut ready, mut runs) = (Vec::new(), BTreeMap::new());
        for Item { key, value, version } in items {
            let checked = Name::new("type", &key).map_err(|error| error.to_string());
            match checked.and_then(|name| value.ready(&name, &self.options)) {
                Ok(one) => {
                    ready.push(one);
                    runs.insert(key, version);
                }
                Err(_) if before.get(&key) == Some(&version) => {}
                Err(why) => self.tell(&format!(
                    "the handler of {key} that is registered over HTTP does not run here: {why}"
                )),
            }
        }
        if lives && runs == crew.runs {
            return;
        }
        let next = (!ready.is_empty()).then(|| self.start(ready));
        crew.replace(next, runs);
    }

    fn start(&self, ready: Vec<Ready>) -> (WorkerHandle, Task) {
        let queues: BTreeSet<_> = ready.iter().map(|one| one.defaults.queue.clone()).collect();
        let mut worker = (self.make)();
        for queue in queues {
            worker = worker.queue(queue.as_str(), self.options.slots_of(&queue));
        }
        for Ready { defaults, retry, target } in ready {
            worker = worker.raw(defaults, retry, move |payload, cx| {
                let target = target.clone();
                async move { target.attempt(payload, &cx).await }
            });
        }
        let handle = worker.handle();
        if self.beside.is_quiet() {
            handle.quiet();
        }
        (handle, tokio::spawn(worker.run()))
    }

    /// Takes note of workers that have ended; the next round starts another in place of one that
    /// ended by itself.
    async fn reap(&self, crew: &mut Crew) {
        crew.forget_the_gone().await;
        let Some((_, task)) = crew.current.take_if(|(_, task)| task.is_finished()) else {
            // It lived through a round: when it fails again, that is news.
            if crew.current.is_some() {
                crew.told = None;
            }
            return;
        };
        let why = match task.await {
            Ok(Ok(report)) => {
                crew.report += report;
                return;
            }
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        // Tried again every second, and told once.
        if crew.told.as_ref() != Some(&why) {
            self.tell(&format!("the handlers that are registered over HTTP do not run: {why}"));
            crew.told = Some(why);
        }
    }

    /// Is quiet as the worker beside is. Those that leave are not told: a worker that is told
    /// something registers its types again, and theirs are old.
    fn heed(&self, crew: &Crew) {
        let Some((handle, _)) = &crew.current else { return };
        match self.beside.is_quiet() {
            quiet if quiet == handle.is_quiet() => {}
            true => handle.quiet(),
            false => handle.resume(),
        }
    }

    fn tell(&self, sentence: &str) {
        if let Some(tell) = &self.tell {
            tell(sentence);
        }
    }
}

/// As long as this is there, who registers a handler waits until it is taken up here.
struct Here(Arc<Shared>);

impl Here {
    fn new(shared: Arc<Shared>) -> Self {
        shared.runs.store(true, Ordering::SeqCst);
        Self(shared)
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        self.0.runs.store(false, Ordering::SeqCst);
    }
}

impl Crew {
    /// The new worker is there before the old one is told to stop, so that the targets they share,
    /// with what their circuit breakers know, are never gone in between.
    fn replace(&mut self, next: Option<(WorkerHandle, Task)>, runs: BTreeMap<String, i64>) {
        if let Some((handle, task)) = std::mem::replace(&mut self.current, next) {
            handle.stop_within(LEAVING_MAX);
            self.leaving.push((handle, task));
        }
        let too_many = self.leaving.len().saturating_sub(LEAVING_WORKERS_MAX);
        self.leaving[..too_many].iter().for_each(|(handle, _)| handle.stop());
        (self.runs, self.since) = (runs, Some(Instant::now()));
    }

    async fn forget_the_gone(&mut self) {
        for (_, task) in self.leaving.extract_if(.., |(_, task)| task.is_finished()) {
            if let Ok(Ok(report)) = task.await {
                self.report += report;
            }
        }
    }

    /// Tells all to stop and waits for them.
    async fn end(mut self) -> Report {
        self.replace(None, BTreeMap::new());
        self.leaving.iter().for_each(|(handle, _)| handle.stop());
        for (_, task) in std::mem::take(&mut self.leaving) {
            if let Ok(Ok(report)) = task.await {
                self.report += report;
            }
        }
        self.report
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.current.iter().chain(&self.leaving).for_each(|(handle, _)| handle.stop());
    }
}

impl fmt::Debug for Registered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registered").field("options", &self.options).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::future::pending;

    use dutiful::{Retry, TypeDefaults};
    use tokio::time::timeout;

    use super::*;

    /// Longest wait for what is to come.
    const PATIENCE: Duration = Duration::from_secs(30);

    /// Returns a worker of a queue of its own that runs a job without an end.
    async fn busy(client: &Client, queue: &str) -> (WorkerHandle, Task) {
        client.enqueue_raw("endless", "null").queue(queue).await.unwrap();
        let (tell, mut started) = tokio::sync::mpsc::unbounded_channel();
        let defaults = TypeDefaults::unknown(Name::new("type", "endless").unwrap());
        let worker = Worker::new(client, ()).queue(queue, 1).grace(Duration::from_millis(100));
        let worker = worker.raw(defaults, Retry::default(), move |_, _| {
            tell.send(()).unwrap();
            pending::<dutiful::Result<()>>()
        });
        let one = (worker.handle(), tokio::spawn(worker.run()));
        timeout(PATIENCE, started.recv()).await.unwrap().unwrap();
        one
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn of_too_many_workers_that_leave_the_oldest_has_its_own_grace() {
        let client = Client::connect("sqlite::memory:").await.unwrap();
        let mut crew = Crew::default();
        for number in 0..=LEAVING_WORKERS_MAX {
            let next = busy(&client, &format!("q{number}")).await;
            crew.replace(Some(next), BTreeMap::new());
        }
        // One is in charge, and as many leave as may.
        for number in 1..=2 {
            let next = busy(&client, &format!("more{number}")).await;
            crew.replace(Some(next), BTreeMap::new());
            assert_eq!(crew.leaving.len(), LEAVING_WORKERS_MAX + 1, "none of them ended before");
            let (_, oldest) = &mut crew.leaving[0];
            let report = timeout(PATIENCE, oldest).await.expect("it ends").unwrap().unwrap();
            assert_eq!(report.released, 1);
            crew.leaving.remove(0);
        }
        assert!(crew.leaving.iter().all(|(_, task)| !task.is_finished()), "the others go on");
        assert_eq!(crew.end().await.released, LEAVING_WORKERS_MAX as u64 + 1);
    }
}
