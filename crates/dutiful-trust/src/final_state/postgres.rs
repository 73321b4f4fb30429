//! Reads the tables in a schema of Postgres in one snapshot, with a connection of the judge's own.

use std::str::FromStr as _;

use anyhow::Context as _;
use tokio::runtime::Runtime;
use tokio_postgres::{Client, Config, NoTls, Row};

use super::{FinalState, Logged, Standing, place, statement};
use crate::ledger::Id;

/// The schema where the URL names none.
const SCHEMA: &str = "dutiful";
const SQL: &str = include_str!("../sql/final_state_postgres.sql");

/// A connection, and the runtime that it needs.
pub struct Postgres {
    client: Client,
    runtime: Runtime,
    schema: String,
}

impl Postgres {
    pub(super) fn open(url: &str) -> anyhow::Result<Self> {
        let (plain, schema) = without_schema(url);
        let config = Config::from_str(&plain).context("read the URL of the store")?;
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let connecting = async {
            let (client, connection) = config.connect(NoTls).await?;
            // How it ended is heard by whoever asks next.
            drop(tokio::spawn(connection));
            Ok::<_, tokio_postgres::Error>(client)
        };
        let client = runtime.block_on(connecting).context("connect the judge to Postgres")?;
        Ok(Self { client, runtime, schema })
    }

    pub(super) fn number(&self, name: &str, pid: Option<u32>) -> anyhow::Result<i64> {
        let sql = self.sql(name);
        let answer = self.runtime.block_on(async {
            match pid.map(i64::from) {
                Some(pid) => self.client.query_one(&sql, &[&pid]).await,
                None => self.client.query_one(&sql, &[]).await,
            }
        });
        Ok(answer.with_context(|| format!("read \"{name}\" from Postgres"))?.try_get(0)?)
    }

    pub(super) fn read(&self) -> anyhow::Result<FinalState> {
        self.rows("begin")?;
        let mut state = FinalState::default();
        for row in self.rows("jobs")? {
            state.jobs.entry(id(&row, 0)?).or_default().records += 1;
        }
        for row in self.rows("places")? {
            state.jobs.entry(id(&row, 1)?).or_default().places.push(standing(&row)?);
        }
        for row in self.rows("attempts")? {
            state.jobs.entry(id(&row, 0)?).or_default().log.push(logged(&row)?);
        }
        for row in self.rows("workers")? {
            state.pids.insert(row.try_get(0)?, number(&row, 1)?);
        }
        for row in self.rows("tally")? {
            state.tally.insert(row.try_get(0)?, row.try_get(1)?);
        }
        if self.number("counter_there", None)? > 0 {
            state.counter = Some(self.number("counter", None)?);
        }
        state.integrity = match self.number("integrity", None)? {
            0 => "ok".to_owned(),
            wrong => format!("{wrong} jobs do not stand in exactly one place"),
        };
        self.rows("end")?;
        Ok(state)
    }

    fn rows(&self, name: &str) -> anyhow::Result<Vec<Row>> {
        let rows = self.runtime.block_on(self.client.query(&self.sql(name), &[]));
        rows.with_context(|| format!("read \"{name}\" from Postgres"))
    }

    fn sql(&self, name: &str) -> String {
        statement(SQL, name).replace("dutiful.", &format!("\"{}\".", self.schema))
    }
}

/// Takes `schema=…` out of a URL: the driver refuses words that it does not know.
pub(crate) fn without_schema(url: &str) -> (String, String) {
    let (front, query) = url.split_once('?').unwrap_or((url, ""));
    let (ours, theirs): (Vec<_>, Vec<_>) =
        query.split('&').filter(|word| !word.is_empty()).partition(|w| w.starts_with("schema="));
    let schema = ours.last().and_then(|word| word.split_once('=')).map_or(SCHEMA, |(_, name)| name);
    let plain =
        if theirs.is_empty() { front.to_owned() } else { [front, &theirs.join("&")].join("?") };
    (plain, schema.to_owned())
}

fn id(row: &Row, at: usize) -> anyhow::Result<Id> {
    let bytes: &[u8] = row.try_get(at)?;
    bytes.try_into().context("read an id: it has not 16 bytes")
}

fn number<T: TryFrom<i64>>(row: &Row, at: usize) -> anyhow::Result<T> {
    let number: i64 = row.try_get(at)?;
    T::try_from(number).ok().with_context(|| format!("use {number}: it is out of its range"))
}

fn standing(row: &Row) -> anyhow::Result<Standing> {
    Ok(Standing {
        place: place(row.try_get(0)?),
        attempt: number(row, 2)?,
        nonce: row.try_get(3)?,
        worker: row.try_get(4)?,
        detail: row.try_get(5)?,
        started_at: row.try_get(6)?,
        finished_at: row.try_get(7)?,
        failures: number(row, 8)?,
    })
}

fn logged(row: &Row) -> anyhow::Result<Logged> {
    Ok(Logged {
        attempt: number(row, 1)?,
        worker: row.try_get(2)?,
        started_at: row.try_get(3)?,
        finished_at: row.try_get(4)?,
        outcome: row.try_get(5)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_taken_out_of_the_url_and_the_rest_stays() {
        for (url, plain, schema) in [
            ("postgres://h/d", "postgres://h/d", "dutiful"),
            ("postgres://h/d?schema=jobs", "postgres://h/d", "jobs"),
            ("postgres://h/d?a=1&schema=jobs&b=2", "postgres://h/d?a=1&b=2", "jobs"),
        ] {
            assert_eq!(without_schema(url), (plain.to_owned(), schema.to_owned()));
        }
    }
}
