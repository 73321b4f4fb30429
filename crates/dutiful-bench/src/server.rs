//! A private Postgres server as a production one is set, and the yardstick on it: what the server
//! alone can do, one session, no client, no handler.

use std::path::Path;

use anyhow::{Context as _, Result};
use dutiful_fixture::{Options, Postgres};
use serde_json::Value;

/// Settings beside the defaults; commits wait for the disk.
const SETTINGS: [(&str, &str); 2] = [("shared_buffers", "1GB"), ("max_wal_size", "4GB")];

/// Starts the server.
pub(crate) fn start() -> Result<Postgres> {
    let settings = SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    Postgres::start(&Options { fsync: true, settings, ..Options::default() })
}

/// Runs the yardstick in a database of its own; it is a script, so that anybody can read what is
/// compared.
pub(crate) fn yardstick(server: &Postgres, jobs: u64) -> Result<Value> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("yardstick/postgres.sql");
    let database = server.fresh_database()?;
    let run = format!("\\set jobs {jobs}\n\\i {}\n", script.display());
    let said = server.psql(&database, &run)?;
    let line = said.lines().rev().find(|line| line.starts_with('{'));
    let line = line.with_context(|| format!("find the yardstick's answer in: {said}"))?;
    Ok(serde_json::from_str(line)?)
}
