//! Leases that nobody renewed for as long as they last, by a clock that nobody can set.
//!
//! A lease's end is written by the store's clock, which is the machine's. When somebody sets that
//! back, what a dead worker held seems to last for as much longer. So the rescuer remembers when it
//! first saw each lease with its present end, and how much was left of it then: once that much time
//! has passed without a renewal, nobody is there who renews.

use std::collections::HashMap;
use std::time::Duration;

use rusqlite::{Connection, params};

use super::errors::Trouble;
use super::rows::whole_id;
use super::statements::prepare;
use crate::clock::{BootTime, Timestamp};
use crate::id::Fence;

/// The leases that are there, as they were when they were last seen to change.
#[derive(Default)]
pub(super) struct Silence(HashMap<Fence, Seen>);

struct Seen {
    until: i64,
    first: BootTime,
    left: Duration,
}

/// A lease that seems to go on and must have ended; only if its end is still this one.
pub(super) struct Silent {
    pub(super) fence: Fence,
    pub(super) until: i64,
}

/// Looks at all leases, without the write lock.
pub(super) fn silent(
    conn: &Connection,
    now: Timestamp,
    silence: &mut Silence,
) -> Result<Vec<Silent>, Trouble> {
    let (mut seen, mut found) = (HashMap::new(), Vec::new());
    let moment = BootTime::now();
    let mut statement = prepare(conn, "rescue", "leases")?;
    let mut rows = statement.query(params![now.us()])?;
    while let Some(row) = rows.next()? {
        // What no fence can name has been dealt with otherwise.
        let (Some(id), Ok(attempt)) = (whole_id(row, 0)?, row.get(1)) else { continue };
        let fence = Fence { id, attempt, nonce: row.get(2)? };
        let until: i64 = row.get(3)?;
        let known = silence.0.remove(&fence).filter(|known| known.until == until);
        let one = known.unwrap_or_else(|| {
            let claimed_at = row.get(4).unwrap_or_default();
            Seen { until, first: moment, left: left(now, claimed_at, until) }
        });
        if moment.since(one.first) > one.left && cfg!(not(bug = "trusts_the_clock")) {
            found.push(Silent { fence, until });
        }
        seen.insert(fence, one);
    }
    silence.0 = seen;
    Ok(found)
}

/// How long a lease can last from now on. One that was claimed in the future was claimed before the
/// clock went back, and lasts no longer than it did then.
fn left(now: Timestamp, claimed_at: i64, until: i64) -> Duration {
    let until = Timestamp::from_us(until);
    let since_claim = until.since(Timestamp::from_us(claimed_at));
    if claimed_at > now.us() { since_claim } else { until.since(now) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_lasts_no_longer_than_it_did_before_the_clock_went_back() {
        let at = |s: i64| Timestamp::from_us(s * 1_000_000);
        let secs = |now, claimed: i64, until: i64| {
            left(at(now), at(claimed).us(), at(until).us()).as_secs()
        };
        assert_eq!(secs(1000, 990, 1020), 20, "the clock is as it was");
        assert_eq!(secs(1000, 4590, 4620), 30, "an hour back: it was claimed in the future");
        assert_eq!(secs(1000, 900, 4620), 3620, "it ran for longer than the clock went back");
        assert_eq!(secs(1000, 990, 995), 0, "it ended");
    }
}
