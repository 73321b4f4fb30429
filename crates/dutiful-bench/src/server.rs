//! A private Postgres server as a production one is set, what it alone can do (the yardstick: one
//! session, no client, no handler), and how long a bare commit takes there.

use std::path::Path;

use anyhow::{Context as _, Result};
use dutiful_fixture::{Options, Postgres};
use serde_json::Value;

use crate::commit::{self, Commit};

/// Settings beside the defaults; commits wait for the disk.
const SETTINGS: [(&str, &str); 2] = [("shared_buffers", "1GB"), ("max_wal_size", "4GB")];

/// Starts the server.
pub(crate) fn start() -> Result<Postgres> {
    start_with(&SETTINGS)
}

/// Starts a server that counts what each statement costs.
pub(crate) fn start_watched() -> Result<Postgres> {
    let watch = ("shared_preload_libraries", "pg_stat_statements");
    start_with(&[SETTINGS[0], SETTINGS[1], watch])
}

fn start_with(settings: &[(&str, &str)]) -> Result<Postgres> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let settings = settings.iter().map(owned).collect();
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

/// Times commits of one small row each on a server, each sent and answered by itself.
pub(crate) fn commits(url: &str) -> Result<Commit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let client = runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
        // Whoever waits for an answer hears of the end too.
        drop(tokio::spawn(connection));
        client.batch_execute(include_str!("sql/commit_table_server.sql")).await?;
        anyhow::Ok(client)
    })?;
    let insert = include_str!("sql/commit_server.sql");
    let insert = runtime.block_on(client.prepare(insert))?;
    commit::both(|| Ok(runtime.block_on(client.execute(&insert, &[])).map(drop)?))
}
