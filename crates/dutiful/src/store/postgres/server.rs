//! What the server is set to and who burdens it: what would lose acknowledged jobs, or let dead
//! rows pile up until claims are slow.

use super::Db;
use super::errors::Trouble;
use super::rows::{get, many};
use super::wire::Line;
use crate::clock::Timestamp;
use crate::inspect::{Finding, Verdict, Vitals};
use crate::store::common::health::{bad, ok, warning};

/// A snapshot held this long, in seconds, keeps so many dead rows that claims get slower.
const SNAPSHOT_OLD_S: i64 = 300;
/// Connections left at which somebody should act, and at which it is too late.
const LEFT_FEW: i64 = 10;
const LEFT_NONE: i64 = 3;
/// Postgres stops taking writes some million transactions before this many.
const WRAPAROUND: i64 = 2_000_000_000;
/// Transactions behind at which a replication slot is a burden.
const SLOT_BEHIND: i64 = 1_000_000;

/// Settings, connections and burdens, read in one statement.
pub(super) struct Server {
    fsync: String,
    full_page_writes: String,
    synchronous_commit: String,
    autovacuum: String,
    track_counts: String,
    pub(super) clock: Timestamp,
    connections: i64,
    connections_max: i64,
    connections_reserved: i64,
    freeze_age: i64,
    freeze_max: i64,
    /// False when our role cannot see what other roles' sessions do.
    sees_all: bool,
    /// Who holds the oldest snapshot, and for how many seconds.
    snapshot: Option<(String, i64)>,
}

impl Db {
    pub(super) async fn server(&self) -> Result<Server, Trouble> {
        let schema = self.wire.schema();
        let rows = self.query(Line::Look, "doctor", "server", &[&schema]).await?;
        let row = rows.first().ok_or(Trouble::Mistake("a look without an answer"))?;
        let holder: Option<String> = get(row, "holder")?;
        let seconds = get::<Option<i64>>(row, "seconds")?.unwrap_or(0);
        Ok(Server {
            fsync: get(row, "fsync")?,
            full_page_writes: get(row, "full_page_writes")?,
            synchronous_commit: get(row, "synchronous_commit")?,
            autovacuum: get(row, "autovacuum")?,
            track_counts: get(row, "track_counts")?,
            clock: get(row, "clock")?,
            connections: get(row, "connections")?,
            connections_max: get(row, "connections_max")?,
            connections_reserved: get(row, "connections_reserved")?,
            freeze_age: get(row, "freeze_age")?,
            freeze_max: get(row, "freeze_max")?,
            sees_all: get(row, "sees_all")?,
            snapshot: holder.map(|holder| (holder, seconds)),
        })
    }

    /// Reads numbers of the store's own health for metrics.
    pub(super) async fn vitals(&self) -> Result<Vitals, Trouble> {
        let schema = self.wire.schema();
        let rows = self.query(Line::Look, "vitals", "seen", &[&schema]).await?;
        let row = rows.first().ok_or(Trouble::Mistake("a look without an answer"))?;
        let seen: Option<f64> = get(row, "snapshot_age_s")?;
        // Who sees nothing because it may not must not say that there is nothing.
        let nothing = get::<bool>(row, "sees_all")?.then_some(0.0);
        // Asked for by itself, for a function that we may not call fails the statement it is in.
        let wal_bytes = match get(row, "knows_checkpoint")? {
            true => self.wal_bytes().await?,
            false => None,
        };
        Ok(Vitals {
            dead_rows: Some(many(row, "dead_rows")?),
            snapshot_age_s: seen.map(|age| age.max(0.0)).or(nothing),
            wal_bytes,
            doorbell_lag_s: self.bell.lag().map(|lag| lag.as_secs_f64()),
        })
    }

    async fn wal_bytes(&self) -> Result<Option<u64>, Trouble> {
        let rows = self.query(Line::Look, "vitals", "wal", &[]).await?;
        rows.first().map(|row| many(row, "bytes")).transpose()
    }

    /// Looks at replication slots that hold rows back.
    pub(super) async fn slots(&self) -> Result<Finding, Trouble> {
        let rows = self.query(Line::Look, "doctor", "slots", &[]).await?;
        let Some(row) = rows.first() else { return Ok(ok("slots", "none holds rows back".into())) };
        let (name, behind): (String, i64) = (get(row, "name")?, get(row, "behind")?);
        let value = format!("slot {name} is {behind} transactions behind, of {}", rows.len());
        let advice = "look whether its reader still runs; a slot that nobody reads is dropped with \
                      pg_drop_replication_slot, for until then no dead row can go";
        let idle = !get::<bool>(row, "active")?;
        Ok(match behind > SLOT_BEHIND || idle {
            true => warning("slots", value, advice),
            false => ok("slots", value),
        })
    }

    /// Looks at how many records lie in the partition for ids that fit no other.
    pub(super) async fn partitions(&self, full: bool) -> Result<Finding, Trouble> {
        const OTHER_MANY: i64 = 10_000;
        let at_most = if full { i64::MAX } else { OTHER_MANY + 1 };
        let rows = self.query(Line::Look, "doctor", "partitions", &[&at_most]).await?;
        let row = rows.first().ok_or(Trouble::Mistake("a look without an answer"))?;
        let (made, other) = (many(row, "made")?, get::<i64>(row, "other")?);
        let over = if other == at_most { "more than " } else { "" };
        let other = other.min(at_most.saturating_sub(1));
        let value = format!("{made} by time, {over}{other} records in the one for other ids");
        if made == 0 || (over.is_empty() && other <= OTHER_MANY) {
            return Ok(ok("partitions", value));
        }
        let advice = "ids are made by clocks that go wrong, or the leader could not make \
                      partitions in time: set the clocks of all clients by NTP and look at the \
                      leader's log; these records are deleted row by row";
        Ok(warning("partitions", value, advice))
    }
}

impl Server {
    /// Returns what belongs into `stats`: what loses jobs, or stops the server unless somebody
    /// acts.
    pub(super) fn warnings(&self) -> Vec<String> {
        let say = |one: Finding| {
            let advice = one.advice.unwrap_or_default();
            format!("the server: {} ({}); {advice}", one.value, one.check)
        };
        let serious = |one: &Finding| {
            let always = ["fsync", "snapshot", "autovacuum", "wraparound"].contains(&one.check);
            one.verdict == Verdict::Bad || (always && one.verdict == Verdict::Warning)
        };
        self.findings().into_iter().filter(serious).map(say).collect()
    }

    pub(super) fn findings(&self) -> Vec<Finding> {
        vec![
            self.fsync(),
            self.commit(),
            self.pages(),
            self.vacuum(),
            self.wraparound(),
            self.connections(),
            self.snapshot(),
        ]
    }

    fn fsync(&self) -> Finding {
        let value = format!("fsync is {}", self.fsync);
        let advice = "set fsync = on in postgresql.conf and reload: until then a crash of the \
                      machine loses acknowledged jobs and may destroy the database";
        if self.fsync == "on" { ok("fsync", value) } else { bad("fsync", value, advice) }
    }

    fn commit(&self) -> Finding {
        let value = format!("synchronous_commit is {}", self.synchronous_commit);
        if self.synchronous_commit != "off" {
            return ok("synchronous_commit", value);
        }
        let advice = "ALTER ROLE … SET synchronous_commit = on for the role that enqueues: until \
                      then a crash of the server loses jobs acknowledged just before";
        bad("synchronous_commit", value, advice)
    }

    fn pages(&self) -> Finding {
        let value = format!("full_page_writes is {}", self.full_page_writes);
        let advice = "set full_page_writes = on, unless the file system never tears a page";
        match self.full_page_writes.as_str() {
            "on" => ok("full_page_writes", value),
            _ => warning("full_page_writes", value, advice),
        }
    }

    fn vacuum(&self) -> Finding {
        if self.autovacuum == "on" && self.track_counts == "on" {
            return ok("autovacuum", "autovacuum is on".into());
        }
        let value =
            format!("autovacuum is {}, track_counts is {}", self.autovacuum, self.track_counts);
        let advice = "set both on and reload: without it dead rows pile up and claims get slow";
        bad("autovacuum", value, advice)
    }

    fn wraparound(&self) -> Finding {
        let (age, max) = (self.freeze_age, self.freeze_max.max(1));
        let value = format!("our oldest table is {age} transactions old");
        let advice = "run VACUUM (FREEZE) on the tables of this schema, and find out what holds \
                      autovacuum up (an old snapshot, a lock): without it the server stops writing";
        // Autovacuum forces itself at `max`, so twice that says that it cannot.
        match age {
            _ if age > (WRAPAROUND / 2).max(max) => bad("wraparound", value, advice),
            _ if age > max.saturating_mul(2) => warning("wraparound", value, advice),
            _ => ok("wraparound", value),
        }
    }

    fn connections(&self) -> Finding {
        let left = self.connections_max - self.connections_reserved - self.connections;
        let value = format!("{} of {} in use", self.connections, self.connections_max);
        let advice = "raise max_connections, close sessions that idle, or put a pooler between: a \
                      worker that finds no connection neither claims nor renews its leases";
        match left {
            _ if left <= LEFT_NONE => bad("connections", value, advice),
            _ if left <= LEFT_FEW => warning("connections", value, advice),
            _ => ok("connections", value),
        }
    }

    fn snapshot(&self) -> Finding {
        let check = "snapshot";
        match &self.snapshot {
            Some((holder, seconds)) if *seconds > SNAPSHOT_OLD_S => {
                let value = format!("{holder} holds a snapshot or transaction for {seconds} s");
                let advice = "end it (COMMIT, pg_terminate_backend, ROLLBACK PREPARED) and set \
                              idle_in_transaction_session_timeout: while it lasts no dead row can \
                              go, and claims get slower";
                bad(check, value, advice)
            }
            Some((holder, seconds)) => ok(check, format!("{holder} holds one for {seconds} s")),
            None if self.sees_all => ok(check, "nobody holds an old one".into()),
            None => {
                // Not seen is not wrong: it is told, and nobody is alarmed.
                let value = "none of our role; grant it pg_read_all_stats to see others'";
                ok(check, value.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound() -> Server {
        let on = || "on".to_owned();
        Server {
            fsync: on(),
            full_page_writes: on(),
            synchronous_commit: on(),
            autovacuum: on(),
            track_counts: on(),
            clock: Timestamp::from_us(0),
            connections: 10,
            connections_max: 100,
            connections_reserved: 3,
            freeze_age: 1000,
            freeze_max: 200_000_000,
            sees_all: true,
            snapshot: Some(("session 1".into(), 300)),
        }
    }

    #[test]
    fn a_sound_server_is_not_complained_about() {
        assert!(sound().findings().iter().all(|one| one.verdict == Verdict::Ok));
        assert!(sound().warnings().is_empty());
    }

    #[test]
    fn each_danger_is_found_with_advice_and_warned_of() {
        let off = || "off".to_owned();
        for (check, server) in [
            ("fsync", Server { fsync: off(), ..sound() }),
            ("synchronous_commit", Server { synchronous_commit: off(), ..sound() }),
            ("autovacuum", Server { autovacuum: off(), ..sound() }),
            ("autovacuum", Server { track_counts: off(), ..sound() }),
            ("wraparound", Server { freeze_age: 400_000_001, ..sound() }),
            ("wraparound", Server { freeze_age: 1_000_000_001, ..sound() }),
            ("connections", Server { connections: 94, ..sound() }),
            ("snapshot", Server { snapshot: Some(("session 1".into(), 301)), ..sound() }),
        ] {
            let wrong: Vec<_> =
                server.findings().into_iter().filter(|one| one.verdict != Verdict::Ok).collect();
            assert_eq!(wrong.len(), 1, "{check}: {wrong:?}");
            assert_eq!(wrong[0].check, check);
            assert!(wrong[0].advice.is_some(), "{check}");
            let said = server.warnings();
            assert!(said.len() == 1 && said[0].contains(check), "{said:?}");
        }
    }

    #[test]
    fn lesser_things_are_left_to_the_doctor() {
        for server in [
            Server { full_page_writes: "off".into(), ..sound() },
            Server { connections: 90, ..sound() },
        ] {
            assert!(server.findings().iter().any(|one| one.verdict == Verdict::Warning));
            assert!(server.warnings().is_empty());
        }
    }
}
