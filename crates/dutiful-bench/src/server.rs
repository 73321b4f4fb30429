//! A private Postgres server as a production one is set, what it alone can do (the yardstick: one
//! session, no client, no handler), how long a bare commit takes there, and how many rows a crowd
//! of bare connections commits.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result};
use dutiful_fixture::{Options, Postgres};
use serde_json::Value;

use crate::commit::{self, Commit};

/// Settings beside the defaults; commits wait for the disk.
const SETTINGS: [(&str, &str); 2] = [("shared_buffers", "1GB"), ("max_wal_size", "4GB")];

/// Where the yardstick's answer says how many rows a second a crowd of connections commits.
pub(crate) const ROWS_CONCURRENT: &str = "rows_concurrent_per_s";
/// Connections that each insert one row after the other, as many as the bench has tasks …
const CROWD: u32 = 50;
/// … so many rows each.
const ROWS_EACH: u32 = 400;

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
    let mut answer: Value = serde_json::from_str(line)?;
    answer[ROWS_CONCURRENT] = crowd(&database)?.into();
    Ok(answer)
}

/// Inserts small rows from many bare connections at the same time, each row a commit of its own;
/// returns how many a second.
fn crowd(url: &str) -> Result<f64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut ready = Vec::new();
        for _ in 0..CROWD {
            let client = connect(url).await?;
            let insert = client.prepare(include_str!("sql/commit_server.sql")).await?;
            ready.push((client, insert));
        }
        let start = Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        for (client, insert) in ready {
            tasks.spawn(async move {
                for _ in 0..ROWS_EACH {
                    client.execute(&insert, &[]).await?;
                }
                anyhow::Ok(())
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
        Ok((f64::from(CROWD * ROWS_EACH) / start.elapsed().as_secs_f64()).round())
    })
}

/// Makes a bare connection, with the table to commit to.
async fn connect(url: &str) -> Result<tokio_postgres::Client> {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
    // Whoever waits for an answer hears of the end too.
    drop(tokio::spawn(connection));
    client.batch_execute(include_str!("sql/commit_table_server.sql")).await?;
    Ok(client)
}

/// Times commits of one small row each on a server, each sent and answered by itself.
pub(crate) fn commits(url: &str) -> Result<Commit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let client = runtime.block_on(connect(url))?;
    let insert = include_str!("sql/commit_server.sql");
    let insert = runtime.block_on(client.prepare(insert))?;
    commit::both(|| Ok(runtime.block_on(client.execute(&insert, &[])).map(drop)?))
}
