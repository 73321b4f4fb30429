//! The schema's versions, up and down, each in one transaction with the record of its version; and
//! the functions in it, which are put there anew whenever this program's differ.

use super::errors::Trouble;
use super::session::Session;
use super::statements::{Statements, placed};
use super::wire::Line;
use super::{Db, PostgresStore};
use crate::error::StoreError;
use crate::store::Migrated;

/// (up, down) of version 1, 2, …
const VERSIONS: &[(&str, &str)] =
    &[(include_str!("migrations/0001_up.sql"), include_str!("migrations/0001_down.sql"))];

/// The newest version that this program knows.
pub(super) const NEWEST: i64 = VERSIONS.len() as i64;

impl PostgresStore {
    /// Brings the schema to the newest version, if it is older.
    pub(crate) async fn migrate_newest(&self) -> Result<Migrated, StoreError> {
        let db = self.db.clone();
        self.db.wire.run(async move { db.migrate(None).await }).await
    }
}

impl Db {
    /// Returns the version of the schema here, 0 without one.
    pub(super) async fn schema_version(&self) -> Result<(i64, String), Trouble> {
        let schema = self.wire.schema();
        let exists = self.query(Line::Look, "migrate", "exists", &[&schema]).await?;
        if !exists.first().is_some_and(|row| row.get(0)) {
            return Ok((0, String::new()));
        }
        let rows = self.query(Line::Look, "migrate", "version", &[]).await?;
        Ok(rows.first().map_or((0, String::new()), |row| (row.get(0), row.get(1))))
    }

    /// Brings the schema to `target` (`None`: up to the newest).
    pub(super) async fn migrate(&self, target: Option<i64>) -> Result<Migrated, Trouble> {
        let schema = self.wire.schema();
        let functions = Statements::functions(&schema);
        let print = fingerprint(&functions);
        let (from, there) = self.schema_version().await?;
        if from > NEWEST {
            return Err(StoreError::Newer { found: from, known: NEWEST }.into());
        }
        let to = target.unwrap_or(NEWEST);
        if !(0..=NEWEST).contains(&to) {
            let text = format!("there is no schema version {to}; this program knows 0 to {NEWEST}");
            return Err(StoreError::ReadOnly(text).into());
        }
        if from == to && (there == print || to == 0) {
            return Ok(Migrated { from, to });
        }
        // A connection of its own, closed afterwards, so that nothing of a failed step stays.
        let session = self.wire.connect().await?;
        let done = self.step_all(&session, from, to, &functions, &print).await;
        session.close();
        done?;
        Ok(Migrated { from, to })
    }

    async fn step_all(
        &self,
        session: &Session,
        from: i64,
        to: i64,
        functions: &str,
        print: &str,
    ) -> Result<(), Trouble> {
        let schema = self.wire.schema();
        let lock = lock_number(&schema);
        let mut script =
            format!("BEGIN; SET LOCAL lock_timeout = '2s'; SELECT pg_advisory_xact_lock({lock});");
        script += &steps(&schema, from, to, functions, print);
        script += "COMMIT;";
        session.batch(&script).await
    }
}

/// Writes the steps from one version to another as SQL.
fn steps(schema: &str, from: i64, to: i64, functions: &str, print: &str) -> String {
    let mut script = format!(
        "CREATE SCHEMA IF NOT EXISTS \"{schema}\";
         CREATE TABLE IF NOT EXISTS \"{schema}\".schema
             (version bigint NOT NULL, functions text NOT NULL);\n"
    );
    // Whoever was faster has left the version there: the check fails, and the caller looks again.
    script += &format!(
        "DO $$ BEGIN IF coalesce((SELECT version FROM \"{schema}\".schema), 0) <> {from} THEN
             RAISE EXCEPTION 'another process migrates' USING ERRCODE = '40001'; END IF; END $$;\n"
    );
    for next in from..to {
        script += &placed(VERSIONS[next as usize].0, schema);
    }
    for last in (to..from).rev() {
        script += &placed(VERSIONS[last as usize].1, schema);
    }
    if to > 0 {
        script += functions;
        script += &format!(
            "DELETE FROM \"{schema}\".schema;
             INSERT INTO \"{schema}\".schema (version, functions) VALUES ({to}, '{print}');\n"
        );
    }
    script.replace("DROP SCHEMA dutiful ", &format!("DROP SCHEMA \"{schema}\" "))
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
