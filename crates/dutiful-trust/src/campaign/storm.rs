//! Kill storms, the counter and the zombies: processes are killed and stopped while all work.

use std::time::{Duration, Instant};

use super::{Campaign, Plan, Report, us};
use crate::fleet::Role;
use crate::judge::Rules;
use crate::roles::Mix;

/// In a storm a job takes at most this long.
const WORK_MAX: Duration = Duration::from_millis(20);
/// A handler whose lease was lost hears of it within this time of its process's awakening.
const CANCEL_MAX: Duration = Duration::from_secs(1);
/// A killed worker's leases are rescued after at most so many leases: the lease itself (another
/// leads before its end, if it led), a half between the two looks that a rescue needs, and a third
/// for two sweeps …
const RESCUE_LEASES: u32 = 2;
/// … and this much for a busy machine.
const RESCUE_SLACK: Duration = Duration::from_millis(500);
/// With a counter a job takes at most this long: most of it before its transaction, so that who
/// stands still does it without the write lock, and comes back to a lease that is gone.
const COUNT_MAX: Duration = Duration::from_millis(100);
/// With a counter one disturbance in so many is a stop instead of a kill …
const STOP_ONE_IN: u32 = 4;
/// … of so many leases: leaders are killed too, and until the next one leads nobody is rescued.
const STOP_LEASES: u32 = 3;

/// T1: one random process, worker or producer, is killed every so often.
///
/// # Errors
/// What keeps the campaign from being run; what it finds is in the report.
pub fn storm(plan: Plan) -> anyhow::Result<Report> {
    let rules = Rules::strict(plan.lease);
    let mut campaign = Campaign::start(plan, Mix::Work, WORK_MAX)?;
    while campaign.begun.elapsed() < campaign.plan.during {
        campaign.fleet.pass(campaign.plan.every)?;
        campaign.kill_one()?;
    }
    campaign.finish(&rules)
}

/// T2: each job raises a counter in the transaction that completes it, while processes are killed,
/// and some stopped for longer than the lease and woken.
///
/// # Errors
/// What keeps the campaign from being run; what it finds is in the report.
pub fn counter(plan: Plan) -> anyhow::Result<Report> {
    let rules = Rules { only_the_killed_stall: false, ..Rules::strict(plan.lease) };
    let mut campaign = Campaign::start(plan, Mix::Count, COUNT_MAX)?;
    for round in 1u32.. {
        if campaign.begun.elapsed() >= campaign.plan.during {
            break;
        }
        campaign.fleet.pass(campaign.plan.every)?;
        if round % STOP_ONE_IN == 0 {
            campaign.stop_one(STOP_LEASES)?;
        } else {
            campaign.kill_one()?;
        }
    }
    campaign.finish(&rules)
}

/// T5: workers are killed one at a time, with long jobs under way; their jobs run again soon, and
/// nobody else's are disturbed.
///
/// # Errors
/// What keeps the campaign from being run; what it finds is in the report.
pub fn rescue(plan: Plan) -> anyhow::Result<Report> {
    let rescued_within = plan.lease * RESCUE_LEASES + RESCUE_SLACK;
    let rules = Rules { rescue_us_max: Some(us(rescued_within)), ..Rules::strict(plan.lease) };
    // Beyond two thirds of the lease, a job whose lease nobody renews is cancelled.
    let longest = plan.lease;
    // The next leader must not be killed before it has done its work.
    let every = plan.every.max(rescued_within);
    let mut campaign = Campaign::start(plan, Mix::Random, longest)?;
    while campaign.begun.elapsed() < campaign.plan.during {
        campaign.fleet.pass(every)?;
        if let Some(index) = campaign.fleet.pick(Some(Role::Worker)) {
            campaign.fleet.kill(index)?;
        }
    }
    campaign.finish(&rules)
}

/// T3: workers are stopped for twice the lease and woken, again and again.
///
/// # Errors
/// What keeps the campaign from being run; what it finds is in the report.
pub fn zombie(plan: Plan) -> anyhow::Result<Report> {
    let rules = Rules {
        // Who stands still with the write lock keeps all others from renewing.
        only_the_killed_stall: false,
        cancel_us_max: Some(us(CANCEL_MAX)),
        ..Rules::strict(plan.lease)
    };
    let longest = plan.lease;
    let mut campaign = Campaign::start(plan, Mix::Linger, longest)?;
    let mut next = Instant::now() + campaign.plan.every;
    while campaign.begun.elapsed() < campaign.plan.during {
        campaign.fleet.pass(super::LOOK)?;
        if Instant::now() >= next {
            next = Instant::now() + campaign.plan.every;
            campaign.stop_one(2)?;
        }
    }
    campaign.finish(&rules)
}

impl Campaign {
    fn kill_one(&mut self) -> anyhow::Result<()> {
        match self.fleet.pick(None) {
            Some(index) => self.fleet.kill(index),
            None => Ok(()),
        }
    }

    /// Stops a worker for so many leases, unless half of them stand still already.
    fn stop_one(&mut self, leases: u32) -> anyhow::Result<()> {
        let standing = self.fleet.live.iter().filter(|process| process.is_stopped()).count();
        if standing * 2 >= self.plan.workers {
            return Ok(());
        }
        match self.fleet.pick(Some(Role::Worker)) {
            Some(index) => self.fleet.stop(index, self.plan.lease * leases),
            None => Ok(()),
        }
    }
}
