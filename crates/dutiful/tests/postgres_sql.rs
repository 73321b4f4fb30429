//! The SQL interface of a Postgres store: what a program in any language may call in its own
//! transaction, and what it may look at.

use std::time::Duration;

use dutiful::{Client, Context, EnqueueOutcome, Job, JobId, Outcome, Settings, Worker};
use serde::{Deserialize, Serialize};
use tokio_postgres::types::Type;
use tokio_postgres::{NoTls, Row};

type Kept = Result<(), Box<dyn std::error::Error>>;

/// How long something that must happen may take.
const HUNG: Duration = Duration::from_secs(60);

/// A schema of its own, a client of it, and a plain connection.
struct House {
    schema: String,
    client: Client,
    sql: tokio_postgres::Client,
}

/// Returns the address of a database for tests.
fn server() -> String {
    std::env::var("DUTIFUL_TEST_POSTGRES").unwrap_or_else(|_| {
        let server = dutiful_fixture::Postgres::shared(dutiful_fixture::Version::System);
        server.expect("a private server starts").url("postgres")
    })
}

async fn connect() -> Result<tokio_postgres::Client, tokio_postgres::Error> {
    let (sql, connection) = tokio_postgres::connect(&server(), NoTls).await?;
    tokio::spawn(connection);
    Ok(sql)
}

impl House {
    async fn new() -> Result<Self, Box<dyn std::error::Error>> {
        let schema = format!("t{}", JobId::new().to_string().replace('-', ""));
        let client = Client::connect(&format!("{}?schema={schema}", server())).await?;
        Ok(Self { schema, client, sql: connect().await? })
    }

    /// Puts the names into this house's schema.
    fn placed(&self, sql: &str) -> String {
        sql.replace("dutiful.", &format!("{}.", self.schema))
    }

    async fn query(&self, sql: &str) -> Result<Vec<Row>, tokio_postgres::Error> {
        self.sql.query(&self.placed(sql), &[]).await
    }

    async fn run(&self, sql: &str) -> Result<(), tokio_postgres::Error> {
        self.sql.batch_execute(&self.placed(sql)).await
    }

    /// Returns the first value of the first row as text.
    async fn text(&self, sql: &str) -> Result<String, tokio_postgres::Error> {
        let rows = self.query(&format!("SELECT ({sql})::text")).await?;
        rows[0].try_get(0)
    }

    /// Returns what the server says against a statement: SQLSTATE and sentence.
    async fn refused(&self, sql: &str) -> (String, String) {
        let error = self.query(sql).await.expect_err(sql);
        let said = error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error}"));
        (said.code().code().to_owned(), said.message().to_owned())
    }

    async fn jobs(&self) -> Result<i64, tokio_postgres::Error> {
        self.query("SELECT count(*) FROM dutiful.job").await?[0].try_get(0)
    }
}

#[derive(Serialize, Deserialize)]
struct Add {
    a: i64,
    b: i64,
}

impl Job for Add {
    const TYPE: &'static str = "add";
    const QUEUE: &'static str = "sums";
}

#[tokio::test]
async fn a_job_from_plain_sql_is_worked_and_seen() -> Kept {
    let house = House::new().await?;
    let worker = Worker::new(&house.client, ())
        .job(|job: Add, _: Context<()>| async move { Ok::<_, dutiful::AnyError>(job.a + job.b) })
        .queue("sums", 2);
    let stop = tokio_util::sync::CancellationToken::new();
    let stopped = stop.clone();
    let running = tokio::spawn(worker.run_until(async move { stopped.cancelled().await }));
    let id = house.text(r#"dutiful.enqueue('add', '{"a":1, "b":2}', queue => 'sums')"#).await?;
    let state = format!("SELECT state, result FROM dutiful.jobs WHERE id = '{id}'");
    let worked = async {
        loop {
            let rows = house.query(&state).await?;
            if rows[0].try_get::<_, String>(0)? == "completed" {
                return rows[0].try_get::<_, String>(1);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert_eq!(tokio::time::timeout(HUNG, worked).await??, "3");
    stop.cancel();
    running.await??;
    Ok(())
}
