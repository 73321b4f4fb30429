//! Looks at a store's health: its server, its schema, its contents, and who works on it.

use std::time::Duration;

use super::Db;
use super::errors::Trouble;
use super::migrate;
use super::rows::{get, many};
use super::statements::Statements;
use super::wire::Line;
use crate::clock::Timestamp;
use crate::inspect::{Finding, WorkerInfo};
use crate::store::Facts;
use crate::store::common::health::{self, STALLED_MAX, bad, ok, warning};
use crate::store::common::presence::SILENT;

/// Clocks that are further apart than this are warned of: ids and times of clients are made by
/// other clocks than the one that judges them.
const CLOCKS_APART_MAX: Duration = Duration::from_secs(5);
/// A table with more dead rows than this, and more dead than alive, is warned of.
const DEAD_MANY: i64 = 100_000;
/// So often it is looked whether two connections of ours meet the same process of the server.
/// The one table that is kept without a log on purpose: after a crash everybody looks anyway.
const UNLOGGED: &str = "sleeper";

/// What the catalogs say of a table of ours.
struct Table {
    name: String,
    live: i64,
    dead: i64,
    vacuumed: Option<Timestamp>,
    vacuum_off: bool,
    unlogged: bool,
    partition: bool,
    missing: Vec<String>,
}

impl Db {
    pub(super) async fn doctor(&self, facts: &Facts, full: bool) -> Result<Vec<Finding>, Trouble> {
        let before = self.clock.now();
        let server = self.server().await?;
        let after = self.clock.now();
        let mut found = vec![ok("library", format!("Postgres {}", facts.version))];
        let (version, mark) = self.schema_version().await?;
        found.push(health::schema(version, self.newest()));
        if version == 0 {
            found.extend(server.findings());
            return Ok(found);
        }
        found.push(self.functions(&mark).await?);
        found.extend(server.findings());
        found.push(self.slots().await?);
        found.push(self.pooler());
        found.push(self.offset(server.clock, before, after));
        let tables = self.tables().await?;
        found.extend([dead_rows(&tables), logs(&tables), grants(&tables)]);
        found.push(self.partitions(full).await?);
        let workers = self.workers().await?;
        found.extend(self.contents(&workers).await?);
        let (seen, _) = self.seen().await?;
        found.push(health::presence(&workers));
        found.push(health::leader(seen.led, &workers));
        found.push(health::types(&seen.foreign, &workers));
        if full {
            found.push(health::places(self.many("homeless").await?, self.many("strays").await?));
        }
        Ok(found)
    }

    async fn many(&self, name: &'static str) -> Result<u64, Trouble> {
        let rows = self.query(Line::Look, "doctor", name, &[]).await?;
        rows.first().map_or(Ok(0), |row| many(row, "count"))
    }

    /// Looks whether the functions in the schema are this program's.
    async fn functions(&self, mark: &str) -> Result<Finding, Trouble> {
        if let Some(theirs) = migrate::newer(mark) {
            let value = format!("those of the newer version {theirs} of this program");
            return Ok(warning("functions", value, "upgrade this program too"));
        }
        let schema = self.wire.schema();
        let rows = self.query(Line::Look, "doctor", "installed", &[&schema]).await?;
        let ours = Statements::functions(&schema);
        let (mut strange, mut forbidden, mut same) = (Vec::new(), Vec::new(), 0);
        for row in &rows {
            let (name, text): (String, &str) = (get(row, "name")?, get(row, "text")?);
            match ours.contains(text) && ours.contains(&format!(".{name}(")) {
                true => same += 1,
                false => strange.push(name.clone()),
            }
            if !get::<bool>(row, "granted")? {
                forbidden.push(name);
            }
        }
        let wanted = ours.matches("FUNCTION \"").count();
        Ok(if !strange.is_empty() {
            let value = format!("{} differ from this program's", strange.join(", "));
            let advice = "somebody changed them, or another version of this program runs here: run \
                          `dutiful migrate` with the newest";
            bad("functions", value, advice)
        } else if same < wanted || *mark != migrate::mark(&ours) {
            let value = format!("{same} of {wanted} are there, of another version of this program");
            bad("functions", value, "run `dutiful migrate` with the newest version of this program")
        } else if !forbidden.is_empty() {
            let value = format!("our role may not call {}", forbidden.join(", "));
            let advice = "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA … to the role in the URL";
            bad("functions", value, advice)
        } else {
            ok("functions", format!("all {same} are this program's"))
        })
    }

    /// What was found out when the store was opened.
    fn pooler(&self) -> Finding {
        let manner = self.wire.manner();
        let how = if manner.prepares { "are prepared" } else { "carry their types" };
        let place = manner.words().unwrap_or("none");
        match manner.warning() {
            None => ok("pooler", format!("{place}; statements {how}")),
            Some(advice) => warning("pooler", format!("{place}; statements {how}"), advice),
        }
    }

    /// The server's clock was read between these two times of ours.
    fn offset(&self, server: Timestamp, before: Timestamp, after: Timestamp) -> Finding {
        if self.clock.is_manual() {
            return ok("clocks", "this program's is set by hand".into());
        }
        offset(server, before, after)
    }

    async fn tables(&self) -> Result<Vec<Table>, Trouble> {
        let schema = self.wire.schema();
        let rows = self.query(Line::Look, "doctor", "tables", &[&schema]).await?;
        let read = |row: &tokio_postgres::Row| {
            Ok(Table {
                name: get(row, "name")?,
                live: get(row, "live")?,
                dead: get(row, "dead")?,
                vacuumed: get(row, "vacuumed")?,
                vacuum_off: get(row, "vacuum_off")?,
                unlogged: get(row, "unlogged")?,
                partition: get(row, "partition")?,
                missing: get(row, "missing")?,
            })
        };
        rows.iter().map(read).collect()
    }

    /// Looks at stored times, at leases that should have been rescued, and at queues that nobody
    /// serves.
    async fn contents(&self, workers: &[WorkerInfo]) -> Result<[Finding; 3], Trouble> {
        let (silent, late) = (SILENT.as_secs() as i64, STALLED_MAX.as_secs() as i64);
        let now = self.now();
        let rows = self.query(Line::Count, "doctor", "contents", &[&now, &silent, &late]).await?;
        let row = rows.first().ok_or(Trouble::Mistake("a look without an answer"))?;
        let now: Timestamp = get(row, "now")?;
        let oldest = get::<Option<Timestamp>>(row, "oldest")?.unwrap_or(now);
        let unserved: Vec<String> = get(row, "unserved")?;
        Ok([
            health::clock(get(row, "newest")?, now),
            health::stalled(many(row, "stalled")?, oldest, now, workers),
            health::queues(&unserved, workers),
        ])
    }
}

fn offset(server: Timestamp, before: Timestamp, after: Timestamp) -> Finding {
    let (ahead, behind) = (server.since(after), before.since(server));
    let (apart, word) = if ahead > behind { (ahead, "ahead of") } else { (behind, "behind") };
    if apart <= CLOCKS_APART_MAX {
        return ok("clocks", format!("the server's is at most {} s off", apart.as_secs()));
    }
    let value = format!("the server's is {} s {word} this machine's", apart.as_secs());
    let advice = "set both by NTP: times that programs ask for are judged by the server's clock";
    warning("clocks", value, advice)
}

fn dead_rows(tables: &[Table]) -> Finding {
    let off: Vec<_> =
        tables.iter().filter(|one| one.vacuum_off).map(|one| one.name.as_str()).collect();
    if !off.is_empty() {
        let value = format!("autovacuum is off for {}", off.join(", "));
        return bad("dead_rows", value, "RESET (autovacuum_enabled) on these tables");
    }
    let dead: i64 = tables.iter().map(|one| one.dead).sum();
    let Some(worst) = tables.iter().max_by_key(|one| one.dead).filter(|one| one.dead > 0) else {
        return ok("dead_rows", "none".into());
    };
    let vacuumed = worst.vacuumed.map_or("never".into(), |at| at.to_string());
    let value = format!("{dead}, most in {}: {}, vacuumed {vacuumed}", worst.name, worst.dead);
    if worst.dead > DEAD_MANY && worst.dead > worst.live {
        let advice = "VACUUM this table, and look for an old snapshot (above) or too few \
                      autovacuum workers";
        return warning("dead_rows", value, advice);
    }
    ok("dead_rows", value)
}

fn logs(tables: &[Table]) -> Finding {
    let lost = tables.iter().filter(|one| one.unlogged && one.name != UNLOGGED);
    let lost: Vec<_> = lost.map(|one| one.name.as_str()).collect();
    if lost.is_empty() {
        return ok("unlogged", "none that matters".into());
    }
    let value = format!("{} would be empty after a crash of the server", lost.join(", "));
    bad("unlogged", value, "SET LOGGED on these tables")
}

fn grants(tables: &[Table]) -> Finding {
    // Rights on a partitioned table are enough for its partitions.
    let missing = tables.iter().filter(|one| !one.partition && !one.missing.is_empty());
    let missing: Vec<_> =
        missing.map(|one| format!("{} on {}", one.missing.join(" and "), one.name)).collect();
    if missing.is_empty() {
        return ok("grants", "our role may do all that is needed".into());
    }
    let value = format!("our role lacks {}", missing.join(", "));
    let advice = "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA … to the role in the \
                  URL";
    bad("grants", value, advice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::Verdict;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_us(seconds * 1_000_000)
    }

    #[test]
    fn clocks_that_are_apart_are_found_whichever_is_ahead() {
        assert_eq!(offset(at(100), at(99), at(101)).verdict, Verdict::Ok);
        assert_eq!(offset(at(106), at(99), at(101)).verdict, Verdict::Ok);
        let ahead = offset(at(107), at(99), at(101));
        assert!(ahead.verdict == Verdict::Warning && ahead.value.contains("6 s ahead"));
        let behind = offset(at(90), at(99), at(101));
        assert!(behind.verdict == Verdict::Warning && behind.value.contains("9 s behind"));
    }

    #[test]
    fn dead_rows_are_warned_of_when_they_outnumber_the_living() {
        let table = |dead, live| Table {
            name: "ready".into(),
            live,
            dead,
            vacuumed: None,
            vacuum_off: false,
            unlogged: false,
            partition: false,
            missing: Vec::new(),
        };
        assert_eq!(dead_rows(&[table(0, 0)]).verdict, Verdict::Ok);
        assert_eq!(dead_rows(&[table(100_001, 200_000)]).verdict, Verdict::Ok);
        assert_eq!(dead_rows(&[table(100_000, 0)]).verdict, Verdict::Ok);
        assert_eq!(dead_rows(&[table(100_001, 0)]).verdict, Verdict::Warning);
        let off = Table { vacuum_off: true, ..table(0, 0) };
        assert_eq!(dead_rows(&[off]).verdict, Verdict::Bad);
    }
}
