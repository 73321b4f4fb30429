//! The server goes away and comes back, again and again, while producers and workers live on.

use std::time::Duration;

use anyhow::Context as _;

use super::{Campaign, Plan, Report, us};
use crate::judge::Rules;
use crate::ledger::Kind;
use crate::roles::Mix;

/// A job takes at most this long.
const WORK_MAX: Duration = Duration::from_millis(20);
/// The server stays away for at most this long, by the seed.
const AWAY_MAX_MS: u64 = 2000;
/// A job is completed within this time of the server's return.
const BACK_MAX: Duration = Duration::from_secs(5);

/// T17 and T2: the server is killed and stopped without a checkpoint by turns, and started again.
/// No process ends of it, nothing is lost, the counter that half of the jobs raise is exact, and
/// work goes on soon.
///
/// # Errors
/// What keeps the campaign from being run; what it finds is in the report.
pub fn outage(plan: Plan) -> anyhow::Result<Report> {
    let rules = Rules {
        // A claim whose answer was lost leaves leases that no worker knows of.
        only_the_killed_stall: false,
        back_us_max: Some(us(BACK_MAX)),
        ..Rules::strict(plan.lease)
    };
    let slots = plan.workers * plan.slots;
    let mut campaign = Campaign::start(plan, Mix::WorkAndCount, WORK_MAX)?;
    for round in 0u32.. {
        campaign.fleet.pass(campaign.plan.every)?;
        if campaign.begun.elapsed() >= campaign.plan.during {
            break;
        }
        let server = campaign.home.server.as_ref().context("kill a server that is not ours")?;
        campaign.fleet.note_server(Kind::ServerDown, slots)?;
        if round % 2 == 0 {
            server.kill_9()?;
        } else {
            server.stop_immediate()?;
        }
        let away = campaign.fleet.rng.u64(0..=AWAY_MAX_MS);
        campaign.fleet.pass(Duration::from_millis(away))?;
        server.restart()?;
        campaign.fleet.note_server(Kind::ServerUp, slots)?;
    }
    campaign.finish(&rules)
}
