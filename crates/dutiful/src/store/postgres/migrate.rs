//! The schema's versions, up and down, each in one transaction with the record of its version; and
//! the functions in it, which are put there anew whenever this program's differ.
//!
//! A migration never queues for a lock for long: while it waits, everybody else would wait behind
//! it. It gives up after a fifth of a second, lets them pass, and tries again.

use std::time::Duration;

use super::errors::Trouble;
use super::statements::{Statements, placed};
use super::target::Target;
use super::wire::Line;
use super::{Db, PostgresStore};
use crate::error::StoreError;
use crate::store::Migrated;

/// (up, down) of versions that follow each other, in SQL that writes `dutiful.` before our names.
pub(crate) type Versions = &'static [(&'static str, &'static str)];

/// Version 1, 2, …
const VERSIONS: Versions = &[
    (include_str!("migrations/0001_up.sql"), include_str!("migrations/0001_down.sql")),
    (include_str!("migrations/0002_up.sql"), include_str!("migrations/0002_down.sql")),
    (include_str!("migrations/0003_up.sql"), include_str!("migrations/0003_down.sql")),
    (include_str!("migrations/0004_up.sql"), include_str!("migrations/0004_down.sql")),
];

/// What the owner of the database grants to whom.
const ROLES: &str = include_str!("migrations/roles.sql");

/// So often a migration is tried when somebody holds a lock, or is at it too: for half a minute.
const TRIES: u32 = 40;
/// Between two tries passes a time drawn between nothing and this, at first …
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// … and in the end: those who waited behind it get most of the time.
const PAUSE_MAX: Duration = Duration::from_millis(1500);
/// How long a migration may take; those that touch many rows go in steps of their own.
const STEP_MAX: Duration = Duration::from_secs(600);

/// What to do about the schema when a store is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Preparation {
    /// Bring it to the newest version.
    Migrate,
    /// Refuse one that is missing or older.
    Check,
    /// Take it as it is.
    Leave,
}

impl PostgresStore {
    /// Looks after the schema as asked.
    ///
    /// # Errors
    /// [`StoreError::Schema`] when it is missing or older and is not to be migrated;
    /// [`StoreError::Newer`] when another program has migrated it further.
    pub(crate) async fn prepare(&self, how: Preparation) -> Result<(), StoreError> {
        let db = self.db.clone();
        let prepared = self.db.wire.run(async move {
            match how {
                Preparation::Migrate => db.migrate(None).await.map(drop),
                Preparation::Check => db.check_schema().await,
                Preparation::Leave => Ok(()),
            }
        });
        prepared.await
    }
}

/// Returns the SQL that brings the schema that a URL names from one version to another.
pub(crate) fn migration_sql(url: &str, from: i64, to: Option<i64>) -> Result<String, StoreError> {
    let schema = Target::parse(url)?.schema;
    let newest = VERSIONS.len() as i64;
    let to = to.unwrap_or(newest);
    check_known(from, newest)?;
    check_known(to, newest)?;
    Ok(script(&Statements::new(&schema), &schema, VERSIONS, (from, to)))
}

/// Returns the SQL that grants three roles what they need in the schema that a URL names.
pub(crate) fn roles_sql(url: &str) -> Result<String, StoreError> {
    let schema = Target::parse(url)?.schema;
    Ok(in_schema(ROLES, &schema))
}

impl Db {
    /// Returns the newest version that this program knows.
    pub(super) fn newest(&self) -> i64 {
        (VERSIONS.len() + self.further.len()) as i64
    }

    /// Returns the version of the schema here, 0 without one, and the mark of its functions.
    pub(super) async fn schema_version(&self) -> Result<(i64, String), Trouble> {
        let schema = self.wire.schema();
        let exists = self.query(Line::Look, "migrate", "exists", &[&schema]).await?;
        if !exists.first().is_some_and(|row| row.get(0)) {
            return Ok((0, String::new()));
        }
        let rows = self.query(Line::Look, "migrate", "version", &[]).await?;
        Ok(rows.first().map_or((0, String::new()), |row| (row.get(0), row.get(1))))
    }

    async fn check_schema(&self) -> Result<(), Trouble> {
        let (found, _) = self.schema_version().await?;
        let schema = self.wire.schema();
        let advice = "run `dutiful migrate`, or let a worker do it with \
            Client::builder().migrate(true)";
        let newest = self.newest();
        let text = match found {
            found if found == newest => return Ok(()),
            0 => format!("there are none in the schema \"{schema}\" of this database; {advice}"),
            older if older < newest => format!(
                "those in the schema \"{schema}\" are version {older} and this program needs \
                 {newest}; {advice}"
            ),
            found => return Err(StoreError::Newer { found, known: newest }.into()),
        };
        Err(StoreError::Schema(text).into())
    }

    /// Brings the schema to `target` (`None`: up to the newest).
    pub(super) async fn migrate(&self, target: Option<i64>) -> Result<Migrated, Trouble> {
        let mut tries = 1;
        loop {
            match self.migrate_once(target).await {
                Err(Trouble::Again(_) | Trouble::Locked(_)) if tries < TRIES => {
                    let pause = PAUSE_MIN.saturating_mul(1 << tries.min(10)).min(PAUSE_MAX);
                    tokio::time::sleep(pause.mul_f64(fastrand::f64())).await;
                    tries += 1;
                }
                other => return other,
            }
        }
    }

    async fn migrate_once(&self, target: Option<i64>) -> Result<Migrated, Trouble> {
        let schema = self.wire.schema();
        let (from, there) = self.schema_version().await?;
        let newest = self.newest();
        if from > newest {
            return Err(StoreError::Newer { found: from, known: newest }.into());
        }
        let to = target.unwrap_or(newest);
        check_known(to, newest)?;
        let ours = mark(&Statements::functions(&schema));
        if from == to && (to == 0 || there == ours || newer(&there).is_some()) {
            return Ok(Migrated { from, to });
        }
        // A connection of its own, closed afterwards, so that nothing of a failed step stays.
        let session = self.wire.connect(None).await?;
        let versions = [VERSIONS, self.further].concat();
        let script = script(&self.statements, &schema, &versions, (from, to));
        let done = tokio::time::timeout(STEP_MAX, session.batch(&script)).await;
        session.give_up();
        done.map_err(|_| Trouble::Unknown(StoreError::Timeout(STEP_MAX)))??;
        Ok(Migrated { from, to })
    }
}

fn check_known(version: i64, newest: i64) -> Result<(), StoreError> {
    if (0..=newest).contains(&version) {
        return Ok(());
    }
    let text = format!("there is no version {version} of them; this program knows 0 to {newest}");
    Err(StoreError::Schema(text))
}

/// Writes one transaction that leads from one version to another.
fn script(
    statements: &Statements,
    schema: &str,
    versions: &[(&str, &str)],
    (from, to): (i64, i64),
) -> String {
    let functions = Statements::functions(schema);
    let section = |name| statements.get("migrate", name).sql.clone() + ";\n";
    let mut script = section("open");
    for next in from..to {
        script += &in_schema(versions[next as usize].0, schema);
    }
    for last in (to..from).rev() {
        script += &in_schema(versions[last as usize].1, schema);
    }
    if to > 0 {
        script += &functions;
        script += &section("record");
    }
    script += &section("commit");
    let words = [
        ("{schema}", schema.to_owned()),
        ("{lock}", lock_number(schema).to_string()),
        ("{from}", from.to_string()),
        ("{to}", to.to_string()),
        ("{mark}", mark(&functions)),
    ];
    words.iter().fold(script, |script, (word, value)| script.replace(word, value))
}

/// Puts a file that is no statement of a verb into a schema.
fn in_schema(sql: &str, schema: &str) -> String {
    let named = ["SCHEMA", "EXISTS"].iter().flat_map(|word| {
        [" ", ";", "\n"].map(|end| {
            let ours = format!("{word} \"{schema}\"{end}");
            (format!("{word} dutiful{end}"), ours)
        })
    });
    named.fold(placed(sql, schema), |sql, (dutiful, ours)| sql.replace(&dutiful, &ours))
}

/// A number that tells texts apart (FNV-1a); not for secrets.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// What stands beside functions in the schema: whose they are, and a number for their text.
pub(super) fn mark(functions: &str) -> String {
    format!("{} {:016x}", env!("CARGO_PKG_VERSION"), hash(functions))
}

/// Returns the version of the program whose functions bear this mark, if it is newer than this one.
/// Its functions serve us too, as ours serve those before us, so an older program leaves them: two
/// that run together would else put theirs in each other's place at every start.
pub(super) fn newer(mark: &str) -> Option<&str> {
    let theirs = mark.split(' ').next().unwrap_or_default();
    (release(theirs)? > release(env!("CARGO_PKG_VERSION"))?).then_some(theirs)
}

fn release(version: &str) -> Option<[u64; 3]> {
    let mut numbers = version.split(['-', '+']).next()?.split('.').map(str::parse);
    let release = [numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?];
    numbers.next().is_none().then_some(release)
}

/// The advisory lock under which a schema is migrated.
fn lock_number(schema: &str) -> i64 {
    hash(&format!("dutiful {schema}")) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_file_names_another_schema_than_the_one_asked_for() {
        let files = VERSIONS.iter().flat_map(|(up, down)| [*up, *down]);
        for file in files.chain([ROLES]) {
            let sql = in_schema(file, "jobs");
            let code = sql.lines().filter(|line| !line.trim_start().starts_with("--"));
            let left: Vec<_> = code.filter(|line| line.contains("dutiful")).collect();
            let roles = left.iter().all(|line| !line.replace("dutiful_", "").contains("dutiful"));
            assert!(roles, "{left:?}");
        }
    }

    #[test]
    fn functions_of_a_newer_program_are_known_by_their_mark() {
        for newer_one in ["99.0.0 0", "0.99.0-rc.1 0", "99.10.2+build 0"] {
            assert!(newer(newer_one).is_some(), "{newer_one}");
        }
        let ours = mark("");
        for other in [ours.as_str(), "0.0.1 0", "", "99", "99.0.0.0 0", "a.b.c 0", "00f0 0"] {
            assert!(newer(other).is_none(), "{other}");
        }
    }
}
