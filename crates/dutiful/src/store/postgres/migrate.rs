//! The schema's versions, up and down, each in one transaction with the record of its version; and
//! the functions in it, which are put there anew whenever this program's differ.
//!
//! A migration never queues for a lock for long: while it waits, everybody else would wait behind
//! it. It gives up after two seconds, lets them pass, and tries again.

use std::time::Duration;

use super::errors::Trouble;
use super::statements::{Statements, placed};
use super::target::Target;
use super::wire::Line;
use super::{Db, PostgresStore};
use crate::error::StoreError;
use crate::store::Migrated;

/// (up, down) of version 1, 2, …
const VERSIONS: &[(&str, &str)] =
    &[(include_str!("migrations/0001_up.sql"), include_str!("migrations/0001_down.sql"))];

/// What the owner of the database grants to whom.
const ROLES: &str = include_str!("migrations/roles.sql");

/// The newest version that this program knows.
pub(super) const NEWEST: i64 = VERSIONS.len() as i64;

/// So often a migration is tried when somebody holds a lock, or is at it too.
const TRIES: u32 = 10;
/// Between two tries passes a time drawn between nothing and this.
const PAUSE_MAX: Duration = Duration::from_millis(800);
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
    let to = to.unwrap_or(NEWEST);
    check_known(from)?;
    check_known(to)?;
    Ok(script(&Statements::new(&schema), &schema, from, to))
}

/// Returns the SQL that grants three roles what they need in the schema that a URL names.
pub(crate) fn roles_sql(url: &str) -> Result<String, StoreError> {
    let schema = Target::parse(url)?.schema;
    Ok(in_schema(ROLES, &schema))
}

impl Db {
    /// Returns the version of the schema here, 0 without one, and its functions' fingerprint.
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
        let text = match found {
            NEWEST => return Ok(()),
            0 => format!("there are none in the schema \"{schema}\" of this database; {advice}"),
            older if older < NEWEST => format!(
                "those in the schema \"{schema}\" are version {older} and this program needs \
                 {NEWEST}; {advice}"
            ),
            found => return Err(StoreError::Newer { found, known: NEWEST }.into()),
        };
        Err(StoreError::Schema(text).into())
    }

    /// Brings the schema to `target` (`None`: up to the newest).
    pub(super) async fn migrate(&self, target: Option<i64>) -> Result<Migrated, Trouble> {
        let mut tries = 1;
        loop {
            match self.migrate_once(target).await {
                Err(Trouble::Again(_) | Trouble::Locked(_)) if tries < TRIES => {
                    tokio::time::sleep(PAUSE_MAX.mul_f64(fastrand::f64())).await;
                    tries += 1;
                }
                other => return other,
            }
        }
    }

    async fn migrate_once(&self, target: Option<i64>) -> Result<Migrated, Trouble> {
        let schema = self.wire.schema();
        let (from, there) = self.schema_version().await?;
        if from > NEWEST {
            return Err(StoreError::Newer { found: from, known: NEWEST }.into());
        }
        let to = target.unwrap_or(NEWEST);
        check_known(to)?;
        let is_there = there == fingerprint(&Statements::functions(&schema)) || to == 0;
        if from == to && is_there {
            return Ok(Migrated { from, to });
        }
        // A connection of its own, closed afterwards, so that nothing of a failed step stays.
        let session = self.wire.connect(None).await?;
        let script = script(&self.statements, &schema, from, to);
        let done = tokio::time::timeout(STEP_MAX, session.batch(&script)).await;
        session.give_up();
        done.map_err(|_| Trouble::Unknown(StoreError::Timeout(STEP_MAX)))??;
        Ok(Migrated { from, to })
    }
}

fn check_known(version: i64) -> Result<(), StoreError> {
    if (0..=NEWEST).contains(&version) {
        return Ok(());
    }
    let text = format!("there is no version {version} of them; this program knows 0 to {NEWEST}");
    Err(StoreError::Schema(text))
}

/// Writes one transaction that leads from one version to another.
fn script(statements: &Statements, schema: &str, from: i64, to: i64) -> String {
    let functions = Statements::functions(schema);
    let section = |name| statements.get("migrate", name).sql.clone() + ";\n";
    let mut script = section("open");
    for next in from..to {
        script += &in_schema(VERSIONS[next as usize].0, schema);
    }
    for last in (to..from).rev() {
        script += &in_schema(VERSIONS[last as usize].1, schema);
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
        ("{print}", fingerprint(&functions)),
    ];
    words.iter().fold(script, |script, (word, value)| script.replace(word, value))
}

/// Puts a file that is no statement of a verb into a schema.
fn in_schema(sql: &str, schema: &str) -> String {
    let sql = placed(sql, schema);
    [" ", ";", "\n"].iter().fold(sql, |sql, end| {
        sql.replace(&format!("SCHEMA dutiful{end}"), &format!("SCHEMA \"{schema}\"{end}"))
    })
}

/// A number that tells texts apart (FNV-1a); not for secrets.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

pub(super) fn fingerprint(functions: &str) -> String {
    format!("{:016x}", hash(functions))
}

/// The advisory lock under which a schema is migrated.
fn lock_number(schema: &str) -> i64 {
    hash(&format!("dutiful {schema}")) as i64
}
