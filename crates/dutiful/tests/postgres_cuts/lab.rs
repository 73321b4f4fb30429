//! A store behind a proxy that cuts it off, one past it that looks, and the matrix of cuts.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

pub(crate) use dutiful::store::{
    Change, ClaimRequest, Claimed, DeadReason, End, EnqueueOutcome, Failure, Finish,
    HeartbeatRequest, Held, Lane, Note, Once, OnceRequest, Store, WorkerCard,
};
pub(crate) use dutiful::{
    AttemptOutcome, Client, Clock, Delivery, JobId, JobInfo, LogLine, Name, Progress, Record,
    State, StoreError, Timestamp, TypeDefaults, WorkerId,
};
use dutiful_fixture::{Postgres, Version};
use dutiful_proxy::{End as Ended, Fault, Proxy, Side, Way, Which};

/// What a test comes to.
pub(crate) type Kept = Result<(), Box<dyn std::error::Error>>;

/// How the server knows connections that come through the proxy.
const CUT_OFF: &str = "cut-off";
/// How many of those it still works for.
const WORKED_FOR: &str = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
     AND application_name = $1";
/// How long a call with a cut in it may take before it counts as hung.
const HUNG: Duration = Duration::from_secs(60);
/// A verb that needs more messages than this, one way, is not what these tests are for.
const MESSAGES_MAX: u64 = 200;
/// The lease of every claim.
pub(crate) const LEASE: Duration = Duration::from_secs(30);
/// Who claims.
pub(crate) const ME: WorkerId = WorkerId(1);
/// When the clock begins: 2026-11-23T18:00:00Z.
const START: Timestamp = Timestamp::from_us(1_795_456_800_000_000);

/// What nobody may find: a job in no place or in two, or a key that does not follow its job.
const HALF_STATES: &str = include_str!("../postgres_half.sql");

/// How often something happened, by the numbers that the store keeps.
const COUNTED: &str = "
    SELECT coalesce(sum(n), 0)::bigint FROM (
        SELECT queue, event, n FROM dutiful.tally UNION ALL
        SELECT unnest(queue), unnest(event), unnest(n) FROM dutiful.tally_batch UNION ALL
        SELECT queue, event, n FROM dutiful.total) t
    WHERE queue = $1 AND event = $2";

/// Numbers of events in the tally.
pub(crate) mod event {
    pub(crate) const ENQUEUED: i16 = 0;
    pub(crate) const COMPLETED: i16 = 1;
    pub(crate) const FAILED: i16 = 2;
    pub(crate) const DEAD: i16 = 3;
    pub(crate) const CANCELLED: i16 = 4;
    pub(crate) const STALLED: i16 = 7;
}

/// Two stores of one database, one of them behind the proxy; their clock stands still.
pub(crate) struct Lab {
    pub(crate) url: String,
    pub(crate) proxy: Proxy,
    /// Past the proxy.
    pub(crate) direct: Arc<dyn Store>,
    /// Behind it.
    pub(crate) cut: Arc<dyn Store>,
    pub(crate) raw: tokio_postgres::Client,
    pub(crate) clock: Clock,
    queues: AtomicUsize,
}

/// What came of one call, told in the end, after so many errors.
pub(crate) struct Told<T> {
    pub(crate) value: T,
    pub(crate) errors: usize,
}

/// Which connections are cut, and from which message on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cuts {
    /// One on which the statement is prepared; the next one gets through.
    First,
    /// A new one, so that the statement is prepared there; the next one gets through.
    New,
    /// New ones all of them, until the caller hears an error.
    Every,
}

impl Lab {
    pub(crate) async fn open() -> Result<Self, Box<dyn std::error::Error>> {
        let server = Postgres::shared(Version::System)?;
        let url = server.fresh_database()?;
        let (raw, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await?;
        tokio::spawn(connection);
        // No server is killed here, so nobody need wait for its disk.
        let name = url.rsplit_once('/').map(|(_, name)| name).expect("a database");
        raw.batch_execute(&format!("ALTER DATABASE {name} SET synchronous_commit = off")).await?;
        // To compile the looks below takes a hundred times as long as they do.
        raw.batch_execute("SET jit = off").await?;
        let clock = Clock::manual(START);
        let direct = Client::builder().clock(clock.clone()).migrate(true).connect(&url).await?;
        let target = SocketAddr::from((Ipv4Addr::LOCALHOST, server.port()));
        let proxy = Proxy::start(target, 11)?;
        let through = through(&url, &proxy, target) + "?application_name=" + CUT_OFF;
        let cut = Client::builder().clock(clock.clone()).connect(&through).await?;
        let (direct, cut) = (direct.store().clone(), cut.store().clone());
        Ok(Self { url, proxy, direct, cut, raw, clock, queues: AtomicUsize::new(0) })
    }

    /// Makes a queue for one call and what belongs to it.
    pub(crate) fn queue(&self) -> Name {
        name(&format!("q{}", self.queues.fetch_add(1, Ordering::SeqCst)))
    }

    /// Runs a call once for each cut: before and after each message in each direction, counted
    /// from the one that carries `text`, until none is left that could be cut. Then looks.
    pub(crate) async fn every_cut<P, T>(
        &self,
        (what, text, cuts): (&str, &str, Cuts),
        prepare: impl AsyncFn(Name) -> Result<P, StoreError>,
        call: impl AsyncFn(&P) -> Result<T, StoreError>,
        check: impl AsyncFn(&P, &Name, Told<T>) -> Kept,
    ) -> Kept {
        let began = Instant::now();
        let mut made = [0; 4];
        let sides = [Side::Before, Side::After];
        let ways = Way::BOTH.iter().flat_map(|way| sides.map(|side| (*way, side)));
        for (count, (way, side)) in made.iter_mut().zip(ways) {
            if cuts == Cuts::First {
                // The statement gets prepared.
                call(&prepare(self.queue()).await?).await?;
            }
            for k in 1.. {
                assert!(k < MESSAGES_MAX, "{what} never ends");
                let queue = self.queue();
                let props = prepare(queue.clone()).await?;
                if cuts != Cuts::First {
                    self.proxy.kill(Which::all());
                }
                let before = self.cut_so_far(way);
                let fault = Fault::CutAtMessage { way, k, side };
                let told = self.told((text, fault), cuts, async || call(&props).await).await;
                let was_cut = self.cut_so_far(way) > before;
                self.settled().await?;
                let at = format!("{what}, {way:?} {k} {side:?}");
                check(&props, &queue, told).await.map_err(|error| format!("{at}: {error}"))?;
                self.nothing_is_half(&queue).await.map_err(|error| format!("{at}: {error}"))?;
                if !was_cut {
                    break;
                }
                *count += 1;
            }
        }
        let least = made.iter().min().copied().unwrap_or_default();
        assert!(least >= 2, "{what}: the text was not met, or too few messages: {made:?}");
        let all: usize = made.iter().sum();
        #[expect(clippy::print_stdout, reason = "how many cuts there were is part of the promise")]
        {
            println!("{what}: {all} cuts in {:.1} s, {made:?}", began.elapsed().as_secs_f64());
        }
        Ok(())
    }

    /// Makes a call until it is answered; its caller hears only of trouble that passes.
    async fn told<T>(
        &self,
        (text, fault): (&str, Fault),
        cuts: Cuts,
        call: impl AsyncFn() -> Result<T, StoreError>,
    ) -> Told<T> {
        let which = match cuts {
            Cuts::First | Cuts::New => Which::sent(text).once(),
            Cuts::Every => Which::sent(text),
        };
        self.proxy.on_all(which, fault);
        let mut errors = 0;
        let asking = async {
            loop {
                match call().await {
                    Ok(value) => return Told { value, errors },
                    Err(error) => {
                        assert!(error.is_passing(), "{error:?}");
                        assert!(errors < 5, "{error}");
                        errors += 1;
                        if cuts == Cuts::Every {
                            self.proxy.heal();
                        }
                    }
                }
            }
        };
        let told = tokio::time::timeout(HUNG, asking).await.expect("it hangs");
        self.proxy.heal();
        told
    }

    /// Waits until the server is done with what was cut off: what it heard in full it does, after
    /// the caller asked again perhaps.
    async fn settled(&self) -> Result<(), tokio_postgres::Error> {
        let began = Instant::now();
        loop {
            let open = self.proxy.connections().iter().filter(|one| one.end.is_none()).count();
            let there: i64 = self.raw.query_one(WORKED_FOR, &[&CUT_OFF]).await?.get(0);
            if there <= open as i64 {
                return Ok(());
            }
            assert!(began.elapsed() < HUNG, "{there} are there of {open}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    fn cut_so_far(&self, way: Way) -> usize {
        let all = self.proxy.connections();
        all.iter().filter(|one| one.end == Some(Ended::Cut(way))).count()
    }

    /// Looks for what nobody may find.
    pub(crate) async fn nothing_is_half(&self, queue: &Name) -> Kept {
        let found = self.raw.query(HALF_STATES, &[&Some(queue.as_str())]).await?;
        match found.first() {
            None => Ok(()),
            Some(row) => Err(row.try_get::<_, String>(0)?.into()),
        }
    }

    /// Returns how often something happened in a queue.
    pub(crate) async fn counted(&self, queue: &Name, event: i16) -> Result<i64, StoreError> {
        let rows = self.raw.query_one(COUNTED, &[&queue.as_str(), &event]).await;
        Ok(rows.expect("a number").get(0))
    }

    /// Enqueues a job, past the proxy.
    pub(crate) async fn put(&self, job: Record) -> Result<JobId, StoreError> {
        Ok(self.direct.enqueue(vec![job]).await?[0].id)
    }

    /// Enqueues a job and claims it, past the proxy.
    pub(crate) async fn active(&self, job: Record) -> Result<Claimed, StoreError> {
        let queue = job.queue.clone();
        self.put(job).await?;
        Ok(self.direct.claim(ask(&queue, 1)).await?.remove(0))
    }

    /// Returns a job that ended so.
    pub(crate) async fn ended(&self, job: Record, end: End) -> Result<JobId, StoreError> {
        let claimed = self.active(job).await?;
        self.direct.finish(ME, vec![claimed.unstarted(end)]).await?;
        Ok(claimed.fence.id)
    }

    /// Returns a job that must be on record.
    pub(crate) async fn show(&self, id: JobId) -> Result<JobInfo, StoreError> {
        Ok(self.direct.show(id).await?.expect("the job is on record"))
    }

    /// Lets every lease expire.
    pub(crate) fn expire(&self) {
        self.clock.advance(LEASE + Duration::from_secs(1));
    }
}

/// Returns the URL that leads through the proxy.
pub(crate) fn through(url: &str, proxy: &Proxy, target: SocketAddr) -> String {
    url.replace(&format!(":{}/", target.port()), &format!(":{}/", proxy.addr().port()))
}

/// Returns a plain job.
pub(crate) fn job(queue: &Name) -> Record {
    Record {
        id: JobId::new(),
        job_type: name("task"),
        payload: b"{\"n\":1}".to_vec(),
        queue: queue.clone(),
        priority: 10,
        scheduled_for: None,
        delay: Duration::ZERO,
        max_attempts: 3,
        timeout: Duration::from_secs(60),
        correlation_id: None,
        trace_parent: None,
        group: None,
        unique_key: None,
        tags: Vec::new(),
        delivery: Delivery::AtLeastOnce,
    }
}

/// Returns a job with a unique key of its own.
pub(crate) fn keyed(queue: &Name) -> Record {
    let job = job(queue);
    Record { unique_key: Some(format!("key of {}", job.id)), ..job }
}

/// Returns a claim of up to so many jobs of a queue.
pub(crate) fn ask(queue: &Name, limit: usize) -> ClaimRequest {
    ClaimRequest {
        worker: ME,
        lanes: vec![Lane { queue: queue.clone(), limit, at_most_once: limit }],
        types: Arc::new(HashSet::from([name("task")])),
        lease: LEASE,
        limit,
        bytes: usize::MAX,
        crashed: limit,
    }
}

/// Returns a checked name.
pub(crate) fn name(text: &str) -> Name {
    Name::new("name", text).expect("a name in a test is valid")
}

/// Returns an error that a handler may have ended with.
pub(crate) fn oops() -> Failure {
    Failure { class: "Oops".into(), message: "it broke".into() }
}
