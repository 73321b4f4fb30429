//! Graceful ends: SIGTERM at random points, some twice, with jobs longer than the grace.

use std::time::Duration;

use super::{Campaign, END_SLACK, Plan, Report};
use crate::fleet::{Ending, Role};
use crate::judge::Rules;
use crate::roles::Mix;

/// One end in so many gets a second SIGTERM.
const INSIST_ONE_IN: u64 = 4;
/// Two signals within fewer ms count as one (50 ms, and some for the way).
const TWICE_AT_ONCE: u64 = 80;
/// After the second SIGTERM a process is gone within this time.
const AT_ONCE: Duration = Duration::from_millis(250);
/// The exit code of a program that ended by its second SIGTERM.
const SECOND_TERM: i32 = 143;

/// T38: workers are asked to end at random points and replaced.
///
/// # Errors
/// What keeps the campaign from being run; what it finds is in the report.
pub fn stop(plan: Plan) -> anyhow::Result<Report> {
    let rules = Rules::strict(plan.lease);
    let longest = plan.grace * 2;
    let mut campaign = Campaign::start(plan, Mix::Random, longest)?;
    let mut round = 0;
    while campaign.begun.elapsed() < campaign.plan.during {
        round += 1;
        let every = campaign.plan.every.as_millis() as u64;
        let pause = Duration::from_millis(campaign.fleet.rng.u64(0..=every));
        campaign.fleet.pass(pause)?;
        campaign.end_one(round % INSIST_ONE_IN == 0)?;
    }
    campaign.finish(&rules)
}

impl Campaign {
    fn end_one(&mut self, insists: bool) -> anyhow::Result<()> {
        let Some(index) = self.fleet.pick(Some(Role::Worker)) else { return Ok(()) };
        self.fleet.wait_until_ready(index)?;
        let ending = self.fleet.ask_to_end(index)?;
        self.fleet.spawn(Role::Worker, None)?;
        self.ended += 1;
        if insists { self.insist(ending) } else { self.wait(ending) }
    }

    /// Exit code 0 within the grace and a second, and no lease is left behind.
    fn wait(&mut self, ending: Ending) -> anyhow::Result<()> {
        let within = self.plan.grace + END_SLACK;
        let (process, status, took) = self.fleet.wait_for(ending, within)?;
        self.end_max = self.end_max.max(took);
        let pid = process.pid();
        if status.code() != Some(0) {
            self.fleet.complaints.push(format!("T38: worker {pid} ended with {status}, not 0"));
        }
        let left = self.home.tables()?.number("leases_of", Some(pid))?;
        if left > 0 {
            self.fleet.complaints.push(format!("T38: worker {pid} left {left} leases behind"));
        }
        Ok(())
    }

    /// The second SIGTERM ends the process at once, unless it was quick enough to end in order.
    fn insist(&mut self, ending: Ending) -> anyhow::Result<()> {
        // Early in the grace, or it might end in order before anybody could tell.
        let early = (self.plan.grace.as_millis() as u64 / 4).max(2 * TWICE_AT_ONCE);
        let pause = Duration::from_millis(self.fleet.rng.u64(TWICE_AT_ONCE..=early));
        std::thread::sleep(pause);
        self.fleet.insist(&ending)?;
        let (process, status, took) = self.fleet.wait_for(ending, pause + AT_ONCE)?;
        let pid = process.pid();
        if ![Some(0), Some(SECOND_TERM)].contains(&status.code()) {
            let what = format!("after its second SIGTERM, {took:?} after the first");
            self.fleet.complaints.push(format!("T38: worker {pid} ended with {status} {what}"));
        }
        Ok(())
    }
}
