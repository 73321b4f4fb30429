//! Jobs that kill the process that runs them, among others that must come to no harm.

use std::time::Duration;

use anyhow::Context as _;
use dutiful::blocking::Client;
use dutiful::{JobId, State};
use serde::Serialize;

use super::{Campaign, Plan, Report};
use crate::final_state::{FinalState, code};
use crate::fleet::{Fleet, LOOK};
use crate::history::{History, of_kind};
use crate::judge::{Rules, Verdict};
use crate::ledger::{END_QUARANTINED, Entry, Kind, now_us};
use crate::roles::{CRASHES_MAX, Errand, Mix, POISONS, QUEUE};

/// The other jobs take at most this long.
const WORK_MAX: Duration = Duration::from_millis(60);
/// One part of so many of the time is without poison, to compare with.
const CALM_PARTS: u32 = 3;
/// A job that kills is quarantined within so many leases for each death: the lease itself, a half
/// until another leads, and the two looks of a rescue; twice that on a busy machine.
const LEASES_PER_DEATH: u32 = 5;
/// After a round, the others that were hit have this long to run again: who was hit twice by
/// chance must not meet the next round.
const RECOVERY: Duration = Duration::from_millis(700);

/// What jobs did that kill who runs them.
#[derive(Clone, Debug, Serialize)]
pub struct Poisoned {
    /// How many such jobs there were.
    pub poison_jobs: u64,
    /// How many processes they killed.
    pub crashed: u64,
    /// How long until one was quarantined, the slowest, in ms.
    pub quarantine_ms_max: u64,
    /// Most stalls of one of the other jobs.
    pub neighbour_stalls_max: u64,
    /// Other jobs completed in a second, before there was poison.
    pub calm_per_s: f64,
    /// Other jobs completed in a second while there was.
    pub poisoned_per_s: f64,
}

/// What the driver did, and when, in µs since 1970.
struct Poured {
    jobs: Vec<JobId>,
    slowest: Duration,
    calm: (i64, i64),
    poisoned: (i64, i64),
}

/// T7: first nothing happens; then jobs that abort, and that overflow the stack, are enqueued in
/// pairs among the others, the next pair when the one before is quarantined.
///
/// # Errors
/// What keeps the campaign from being run; what it finds is in the report.
pub fn poison(plan: Plan) -> anyhow::Result<Report> {
    let rules = Rules::strict(plan.lease);
    let mut campaign = Campaign::start(plan, Mix::Poison, WORK_MAX)?;
    campaign.fleet.may_crash = true;
    let client = Client::connect(&campaign.home.url).context("open the store")?;
    campaign.pass_until_work_flows()?;
    let calm_from = now_us();
    campaign.fleet.pass(campaign.plan.during / CALM_PARTS)?;
    let calm_until = now_us();
    let (mut jobs, mut slowest) = (Vec::new(), Duration::ZERO);
    while jobs.is_empty() || campaign.begun.elapsed() < campaign.plan.during {
        let pair = campaign.enqueue_poison(&client)?;
        jobs.extend(pair);
        slowest = slowest.max(campaign.wait_for_quarantine(&client, &pair)?);
        campaign.fleet.pass(RECOVERY)?;
    }
    let (calm, poisoned) = ((calm_from, calm_until), (calm_until, now_us()));
    let poured = Poured { jobs, slowest, calm, poisoned };
    client.wait(client.close())?;
    campaign.finish_and(&rules, |fleet, history, state, verdict| {
        Some(look(fleet, history, state, verdict, &poured))
    })
}

impl Campaign {
    /// Waits until workers complete jobs: processes take a moment to start.
    fn pass_until_work_flows(&mut self) -> anyhow::Result<()> {
        const START: Duration = Duration::from_secs(2);
        for index in 0..self.fleet.live.len() {
            self.fleet.wait_until_ready(index)?;
        }
        self.fleet.pass(START.min(self.plan.during / CALM_PARTS))
    }

    /// Enqueues one job of each kind, the next when the one before has killed its first process: in
    /// one process the first would take the other along before it had begun.
    fn enqueue_poison(&mut self, client: &Client) -> anyhow::Result<[JobId; 2]> {
        let ids = POISONS.map(|_| JobId::new());
        for (id, job_type) in ids.into_iter().zip(POISONS) {
            self.fleet.note_job(Kind::Intent, id, END_QUARANTINED);
            let enqueue = client.enqueue_raw(job_type, Errand::short().payload());
            client.wait(enqueue.id(id).queue(QUEUE))?;
            self.fleet.note_job(Kind::Acked, id, END_QUARANTINED);
            let (crashed, begun) = (self.fleet.crashed, self.begun.elapsed());
            // Whoever kills nobody is judged at the end.
            while self.fleet.crashed == crashed
                && self.begun.elapsed() - begun < self.plan.lease * LEASES_PER_DEATH
            {
                self.fleet.pass(LOOK)?;
            }
        }
        Ok(ids)
    }

    /// Returns how long it took; whoever is still about after that is judged at the end.
    fn wait_for_quarantine(&mut self, client: &Client, ids: &[JobId]) -> anyhow::Result<Duration> {
        let within = self.plan.lease * LEASES_PER_DEATH * CRASHES_MAX;
        let begun = self.begun.elapsed();
        loop {
            let mut dead = 0;
            for id in ids {
                let job = client.wait(client.job(*id))?.context("find an acknowledged job")?;
                dead += usize::from(job.state == State::Dead);
            }
            let took = self.begun.elapsed() - begun;
            if dead == ids.len() || took > within {
                return Ok(took);
            }
            self.fleet.pass(LOOK * 4)?;
        }
    }
}

fn look(
    fleet: &Fleet,
    history: &History,
    state: &FinalState,
    verdict: &mut Verdict,
    poured: &Poured,
) -> Poisoned {
    let (poisons, deaths) = (&poured.jobs, u64::from(CRASHES_MAX));
    for id in poisons {
        let runs = of_kind(history.job(id.as_bytes()), Kind::Start).count() as u64;
        if runs != deaths {
            verdict.blame(format!("T7: job {id} killed {runs} processes, not {deaths}"));
        }
    }
    let expected = deaths * poisons.len() as u64;
    if fleet.crashed != expected {
        let crashed = fleet.crashed;
        verdict.blame(format!("T7: {crashed} processes crashed, the jobs account for {expected}"));
    }
    let is_poison = |id: &[u8; 16]| poisons.iter().any(|one| one.as_bytes() == id);
    let others = state.jobs.iter().filter(|(id, _)| !is_poison(id));
    let stalls = others.map(|(_, found)| {
        found.log.iter().filter(|row| row.outcome == code::STALLED).count() as u64
    });
    Poisoned {
        poison_jobs: poisons.len() as u64,
        crashed: fleet.crashed,
        quarantine_ms_max: poured.slowest.as_millis() as u64,
        neighbour_stalls_max: stalls.max().unwrap_or(0),
        calm_per_s: rate(history, poured.calm),
        poisoned_per_s: rate(history, poured.poisoned),
    }
}

/// Returns how many completions workers heard of in a second.
fn rate(history: &History, (from, until): (i64, i64)) -> f64 {
    let inside = |entry: &&Entry| entry.kind == Kind::DoneOk && (from..until).contains(&entry.at);
    let done = history.jobs.values().flatten().filter(inside).count();
    done as f64 * 1e6 / (until - from).max(1) as f64
}
