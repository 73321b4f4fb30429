//! The look at the store every ten seconds, by one server of many: it takes a sample, evaluates the
//! rules, writes down what changed, and has it told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dutiful::{Client, Error, Filter, State as JobState, StoreError, Verdict};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::baseline::{self, Baselines};
use super::board::{Board, in_time};
use super::evaluate::{Record, State, When, evaluate};
use super::judge::View;
use super::options::ms;
use super::sample::{Ring, Sample, Trouble};
use super::tell::tell;
use crate::look::Look;
use crate::notify::NotifyTargets;
use crate::shelf::{Item, Shelf};

/// Whose turn it is stands under this name.
const TURN: &str = "alerts";
/// A turn lasts for so many looks, so that one that is missed does not end it,
/// and so long at least.
const TURN_LOOKS: u32 = 3;
const TURN_MIN: Duration = Duration::from_secs(5);
/// How often the doctor is asked, which reads more than the rest.
const DOCTOR_EVERY: Duration = Duration::from_secs(60);
const DOCTOR_MAX: Duration = Duration::from_secs(30);
/// How often what is usual is made anew of the history.
const USUAL_EVERY: Duration = Duration::from_secs(600);
/// What was pending begins anew when nobody looked for so long, or for so many looks.
const SEAM: Duration = Duration::from_secs(60);
const SEAM_LOOKS: u32 = 6;
/// Stalled jobs that are counted.
const STALLED_MAX: usize = 1000;

/// What one server remembers from look to look.
pub(crate) struct Watch {
    board: Arc<Board>,
    look: Arc<Look>,
    targets: NotifyTargets,
    holder: String,
    ring: Ring,
    usual: Timed<Baselines>,
    findings: Timed<Vec<Trouble>>,
    /// True while it is this server's turn.
    ours: bool,
}

/// Something that is asked for now and then.
struct Timed<T> {
    value: T,
    at: Option<Instant>,
}

impl<T: Default> Default for Timed<T> {
    fn default() -> Self {
        Self { value: T::default(), at: None }
    }
}

impl<T> Timed<T> {
    fn is_due(&self, every: Duration) -> bool {
        self.at.is_none_or(|at| at.elapsed() >= every)
    }

    fn set(&mut self, value: T) {
        (self.value, self.at) = (value, Some(Instant::now()));
    }
}

impl Watch {
    pub(crate) fn new(board: Arc<Board>, look: Arc<Look>, targets: NotifyTargets) -> Self {
        Self {
            board,
            look,
            targets,
            holder: format!("{:016x}", fastrand::u64(..)),
            ring: Ring::default(),
            usual: Timed::default(),
            findings: Timed::default(),
            ours: false,
        }
    }

    /// Looks until it is told to stop, and leaves the turn to another server then.
    pub(crate) async fn run(mut self, stopping: CancellationToken) {
        let mut tick = tokio::time::interval(self.board.options.every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stopping.cancelled() => break,
                _ = tick.tick() => {}
            }
            // What is under way is done to its end: an alert that is written down is told.
            self.look().await;
        }
        if self.ours {
            let over = Shelf::take_turn(self.board.client(), TURN, &self.holder, Duration::ZERO);
            // Without an answer the turn ends by itself.
            let _ = in_time(over).await;
        }
    }

    async fn look(&mut self) {
        let now = now();
        match self.try_look(now).await {
            Ok(()) => {}
            Err(error) => self.store_is_away(now, &format!("failed to {error}")),
        }
    }

    async fn try_look(&mut self, now: i64) -> Result<(), StoreError> {
        let lasts = (self.board.options.every * TURN_LOOKS).max(TURN_MIN);
        let turn = Shelf::take_turn(self.board.client(), TURN, &self.holder, lasts);
        self.ours = in_time(turn).await?;
        if !self.ours {
            // Another server looks. What is not seen in a row is of no use later.
            self.ring.clear();
            self.board.set_away(None);
            return Ok(());
        }
        let sample = self.sample(now).await?;
        self.ring.push(sample, self.board.options.window_ms());
        if self.usual.is_due(USUAL_EVERY) {
            let usual = baseline::read(self.board.client(), now, self.board.options.window);
            // Without an answer what was usual before is good enough.
            let usual = in_time(usual).await.unwrap_or_else(|_| self.usual.value.clone());
            self.usual.set(usual);
        }
        self.judge(now).await
    }

    /// Asks the store for everything that the rules look at.
    async fn sample(&mut self, now: i64) -> Result<Sample, StoreError> {
        if self.findings.is_due(DOCTOR_EVERY) {
            let findings = findings(self.board.client()).await;
            self.findings.set(findings);
        }
        let mut sample = in_time(sample(&self.look, now)).await?;
        sample.troubles.extend(self.findings.value.iter().cloned());
        Ok(sample)
    }

    async fn judge(&mut self, now: i64) -> Result<(), StoreError> {
        let board = self.board.clone();
        let kept = board.kept().await?;
        let (rules, _) = board.rules().await?;
        let seam = SEAM.max(board.options.every * SEAM_LOOKS);
        let seamless = board.looked().await?.is_some_and(|at| now - at <= ms(seam));
        let mut before: BTreeMap<_, _> =
            kept.iter().map(|(id, item)| (id.clone(), item.value.clone())).collect();
        if let Some(away) = board.away() {
            before.insert(away.id(), away);
        }
        let (ring, baselines, window_ms) =
            (&self.ring, &self.usual.value, board.options.window_ms());
        let when = When { now, settle_ms: board.options.settle_ms(), seamless };
        let after = evaluate(&rules, &View { ring, baselines, window_ms }, &before, when);
        self.write(&kept, &after).await?;
        board.set_away(None);
        board.set_looked(now).await
    }

    /// Writes down what changed, and tells what was not told yet.
    async fn write(
        &self,
        kept: &BTreeMap<String, Item<Record>>,
        after: &BTreeMap<String, Record>,
    ) -> Result<(), StoreError> {
        for id in kept.keys().filter(|id| !after.contains_key(*id)) {
            self.board.forget(id).await?;
        }
        for (id, record) in after {
            let item = kept.get(id);
            let version = item.map(|item| item.version);
            let same = item.is_some_and(|item| item.value == *record);
            let version = match same {
                true => version,
                // When a person acknowledged it meanwhile, the next look goes on from there.
                false => self.board.put(record, version).await?,
            };
            if let Some(version) = version.filter(|_| !record.told) {
                self.tell(record, version).await?;
            }
        }
        Ok(())
    }

    /// Told first and written down after: told twice is better than not at all.
    async fn tell(&self, record: &Record, version: i64) -> Result<(), StoreError> {
        if tell(self.board.client(), &self.targets, record).await.is_ok() {
            let told = Record { told: true, ..record.clone() };
            self.board.put(&told, Some(version)).await?;
        }
        Ok(())
    }

    /// Nothing can be read or written: that alone is known, and this server remembers it.
    fn store_is_away(&mut self, now: i64, why: &str) {
        let mut ring = Ring::default();
        ring.push(Sample::silent(now, why), self.board.options.window_ms());
        let before = self.board.away().map(|record| (record.id(), record)).into_iter().collect();
        let file = self.board.options.rules.clone();
        let rules = super::rules::RuleSet { file, ..Default::default() };
        let baselines = Baselines::default();
        let view = View { ring: &ring, baselines: &baselines, window_ms: 0 };
        let when = When { now, settle_ms: 0, seamless: true };
        let after = evaluate(&rules, &view, &before, when);
        self.board.set_away(after.into_values().find(|one| one.state != State::Resolved));
    }
}

/// Returns what the rules look at, without the doctor's findings.
pub(super) async fn sample(look: &Look, now: i64) -> Result<Sample, StoreError> {
    let client = look.client();
    let asked = async {
        let stats = look.sampled().await?;
        let totals = client.totals().await?;
        let workers = client.workers().await?;
        let (state, limit) = (Some(JobState::Stalled), Some(STALLED_MAX));
        let page = client.jobs(Filter { state, limit, ..Filter::default() }).await?;
        let mut stalled = BTreeMap::new();
        for job in page.jobs {
            *stalled.entry(job.queue.to_string()).or_insert(0) += 1;
        }
        Ok(Sample::of(now, &stats, &totals, &workers, &stalled))
    };
    asked.await.map_err(of_store)
}

/// Returns what the doctor calls bad. When it does not answer in time it says nothing.
pub(super) async fn findings(client: &Client) -> Vec<Trouble> {
    let asked = tokio::time::timeout(DOCTOR_MAX, client.doctor(false)).await;
    let found = asked.ok().and_then(Result::ok).unwrap_or_default();
    let bad = found.into_iter().filter(|one| one.verdict == Verdict::Bad);
    let trouble = |one: dutiful::Finding| {
        let text = format!("{}: {}", one.check.replace('_', " "), one.value);
        Trouble { text, advice: one.advice, bad: true }
    };
    bad.map(trouble).collect()
}

/// What only reads can fail by the store alone.
fn of_store(error: Error) -> StoreError {
    match error {
        Error::Store(error) => error,
        other => StoreError::Unavailable(other.to_string()),
    }
}

/// Returns the time here, in ms since 1970.
pub(super) fn now() -> i64 {
    dutiful::Clock::machine().now().us() / 1000
}
