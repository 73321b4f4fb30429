//! The campaigns: what is done to the processes, for how long, and what they promised.

mod home;
mod outage;
mod poison;
mod soak;
mod stop;
mod storm;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::Serialize;

use crate::final_state::FinalState;
use crate::fleet::{Fleet, LOOK, Role};
use crate::history::History;
use crate::judge::{Rules, Verdict, judge};
use crate::roles::{Mix, Shape};

use self::home::{Home, is_durable};
pub use self::outage::outage;
pub use self::poison::{Poisoned, poison};
pub use self::soak::{Endurance, soak};
pub use self::stop::stop;
pub use self::storm::{counter, rescue, storm, zombie};

/// The rest of the jobs must be done in this time and the time of the storm together.
const DRAIN_MIN: Duration = Duration::from_secs(60);
/// A process that was asked to end has this much beyond its grace.
pub const END_SLACK: Duration = Duration::from_secs(1);
/// What a person can choose about a campaign.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The name of the campaign.
    pub name: &'static str,
    /// How long processes are disturbed.
    pub during: Duration,
    /// The seed.
    pub seed: u64,
    /// The store, or `postgres` for a server of its own; a new SQLite file in `dir` when absent.
    pub store: Option<String>,
    /// Where ledgers and the store are kept; a folder that is removed when nothing is wrong, when
    /// absent.
    pub dir: Option<PathBuf>,
    /// Worker processes.
    pub workers: usize,
    /// Slots of each.
    pub slots: usize,
    /// Producer processes.
    pub producers: usize,
    /// The time between two disturbances.
    pub every: Duration,
    /// The lease.
    pub lease: Duration,
    /// The grace.
    pub grace: Duration,
}

/// The result of a campaign, printed as one line of JSON.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Which campaign.
    pub campaign: &'static str,
    /// Repeats it.
    pub seed: u64,
    /// How long processes were disturbed, in s.
    pub seconds: f64,
    /// How long the rest took, in s.
    pub drain_seconds: f64,
    /// Worker processes.
    pub workers: usize,
    /// Slots of each.
    pub slots: usize,
    /// Producer processes.
    pub producers: usize,
    /// The lease in ms.
    pub lease_ms: u64,
    /// The grace in ms.
    pub grace_ms: u64,
    /// What the store says an acknowledgement survives.
    pub durability: String,
    /// Workers that were asked to end.
    pub ended: u64,
    /// How long the slowest of them took, in ms.
    pub end_ms_max: u64,
    /// What jobs did that kill who runs them, where there are any.
    #[serde(flatten)]
    pub poisoned: Option<Poisoned>,
    /// What the judge found.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// What was seen of memory and files, when that was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endurance: Option<Endurance>,
    /// Where the ledgers are, when they are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<PathBuf>,
}

/// A campaign under way.
struct Campaign {
    plan: Plan,
    dir: PathBuf,
    fleet: Fleet,
    home: Home,
    begun: Instant,
    ended: u64,
    end_max: Duration,
}

impl Campaign {
    fn start(plan: Plan, mix: Mix, longest: Duration) -> anyhow::Result<Self> {
        let dir = match &plan.dir {
            Some(dir) => dir.clone(),
            None => std::env::temp_dir().join(format!("dutiful-trust-{}", std::process::id())),
        };
        std::fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
        let fresh = std::fs::read_dir(&dir)?.next().is_none();
        anyhow::ensure!(fresh, "use {}: it is not empty, and old ledgers mislead", dir.display());
        let home = Home::make(plan.store.as_deref(), &dir)?;
        let shape = Shape {
            store: home.url.clone(),
            dir: dir.clone(),
            mix,
            slots: plan.slots,
            lease: plan.lease,
            grace: plan.grace,
            longest,
            seed: plan.seed,
        };
        let mut fleet = Fleet::new(shape)?;
        for _ in 0..plan.workers {
            fleet.spawn(Role::Worker, None)?;
        }
        for _ in 0..plan.producers {
            fleet.spawn(Role::Producer, None)?;
        }
        let (begun, end_max) = (Instant::now(), Duration::ZERO);
        Ok(Self { plan, dir, fleet, home, begun, ended: 0, end_max })
    }

    /// Lets the rest drain, ends the workers in order, and judges.
    fn finish(self, rules: &Rules) -> anyhow::Result<Report> {
        self.finish_and(rules, |_, _, _, _| None)
    }

    /// The same, with a look of the campaign's own at what was said and what is stored.
    fn finish_and(
        mut self,
        rules: &Rules,
        look: impl FnOnce(&Fleet, &History, &FinalState, &mut Verdict) -> Option<Poisoned>,
    ) -> anyhow::Result<Report> {
        let disturbed = self.begun.elapsed();
        // Who stands still does so to the end, and then must find its leases gone.
        while self.fleet.live.iter().any(crate::fleet::Process::is_stopped) {
            self.fleet.pass(LOOK)?;
        }
        // A producer has no grace; a call under way may take as long as the store is busy.
        self.fleet.end_all(Role::Producer, DRAIN_MIN)?;
        let drained = self.drain(DRAIN_MIN + self.plan.during)?;
        let drain_seconds = self.begun.elapsed().saturating_sub(disturbed).as_secs_f64();
        self.ended += self.plan.workers as u64;
        let within = self.plan.grace + END_SLACK;
        self.end_max = self.end_max.max(self.fleet.end_all(Role::Worker, within)?);
        let history = History::read(&self.dir)?;
        let state = self.home.tables()?.read()?;
        let mut verdict = judge(&history, &state, rules);
        let poisoned = look(&self.fleet, &history, &state, &mut verdict);
        if !drained {
            verdict.blame("J1: the jobs left were not done in time".to_owned());
        }
        let durability = self.home.durability()?;
        if !is_durable(&durability) {
            verdict
                .blame(format!("what is acknowledged does not survive power loss: {durability}"));
        }
        for complaint in std::mem::take(&mut self.fleet.complaints) {
            verdict.blame(complaint);
        }
        let kept = self.keep_or_remove(&verdict);
        let report = self.report(disturbed, drain_seconds, durability, verdict, kept);
        Ok(Report { poisoned, ..report })
    }

    fn drain(&mut self, within: Duration) -> anyhow::Result<bool> {
        let tables = self.home.tables()?;
        let begun = Instant::now();
        while tables.number("waiting", None)? > 0 {
            if begun.elapsed() > within {
                return Ok(false);
            }
            self.fleet.pass(LOOK * 4)?;
        }
        Ok(true)
    }

    /// Removes the folder of a clean run that nobody named.
    fn keep_or_remove(&self, verdict: &Verdict) -> Option<PathBuf> {
        let ours = self.plan.dir.is_none();
        if ours && verdict.is_clean() && std::fs::remove_dir_all(&self.dir).is_ok() {
            return None;
        }
        Some(self.dir.clone())
    }

    fn report(
        &self,
        disturbed: Duration,
        drain_seconds: f64,
        durability: String,
        verdict: Verdict,
        kept: Option<PathBuf>,
    ) -> Report {
        let plan = &self.plan;
        Report {
            campaign: plan.name,
            seed: plan.seed,
            seconds: disturbed.as_secs_f64(),
            drain_seconds,
            workers: plan.workers,
            slots: plan.slots,
            producers: plan.producers,
            lease_ms: plan.lease.as_millis() as u64,
            grace_ms: plan.grace.as_millis() as u64,
            durability,
            ended: self.ended,
            end_ms_max: self.end_max.as_millis() as u64,
            poisoned: None,
            verdict,
            endurance: None,
            kept,
        }
    }
}

/// Returns the number of µs in a duration.
fn us(while_: Duration) -> i64 {
    i64::try_from(while_.as_micros()).unwrap_or(i64::MAX)
}
