//! What each of the three roles on Postgres may not do: the runtime changes no table and sees no
//! other schema, the producer enqueues and does nothing else. (That the runtime can do every verb
//! is shown by `conformance`, which runs as that role.)
#![cfg(feature = "postgres")]

use dutiful::store::{ClaimRequest, End, Held, Lane};
use dutiful::{Client, EnqueueOutcome, Error, Filter, Job, Name, StoreError, WorkerId};
use dutiful_fixture::{PASSWORD, Postgres, USER, Version};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio_postgres::NoTls;

type Kept = Result<(), Box<dyn std::error::Error>>;

/// What Postgres says to who may not.
const FORBIDDEN: &str = "42501";

#[derive(Serialize, Deserialize)]
struct Task {}

impl Job for Task {
    const TYPE: &'static str = "task";
}

/// A database with a store and something else in it, and a user of each role.
struct House {
    url: String,
    runtime: String,
    producer: String,
}

impl House {
    async fn new() -> Result<Self, Box<dyn std::error::Error>> {
        // Roles belong to the whole server, so they are made by one at a time.
        static ALONE: Mutex<()> = Mutex::const_new(());
        let _alone = ALONE.lock().await;
        let server = Postgres::shared(Version::System)?;
        let url = server.fresh_database()?;
        Client::builder().migrate(true).connect(&url).await?.close().await?;
        let name = url.rsplit('/').next().ok_or("a database")?;
        let user = |role: &str| {
            let login = format!("{name}_{role}");
            let sql = format!("CREATE ROLE {login} LOGIN PASSWORD 'one' IN ROLE dutiful_{role};");
            (sql, url.replace(&format!("{USER}:{PASSWORD}@"), &format!("{login}:one@")))
        };
        let ((runtime_sql, runtime), (producer_sql, producer)) =
            (user("runtime"), user("producer"));
        let others = "CREATE SCHEMA private; CREATE TABLE private.secret AS SELECT 42 AS answer;
            CREATE TABLE public.users AS SELECT 'ann' AS name;";
        let roles = Client::roles_sql(&url)?;
        raw(&url)
            .await?
            .batch_execute(&[&roles, &runtime_sql, &producer_sql, others].concat())
            .await?;
        Ok(Self { url, runtime, producer })
    }
}

async fn raw(url: &str) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
    let (raw, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(raw)
}

/// Runs each statement as this user; the server must forbid it.
async fn forbidden(url: &str, statements: &[&str]) -> Kept {
    let raw = raw(url).await?;
    for sql in statements {
        let error = raw.batch_execute(sql).await.expect_err(sql);
        assert_eq!(error.code().map(|code| code.code()), Some(FORBIDDEN), "{sql}: {error:?}");
    }
    Ok(())
}

/// Asks for one job.
fn ask() -> ClaimRequest {
    let name = |text: &str| Name::new("name", text).expect("it is one");
    ClaimRequest {
        worker: WorkerId(1),
        lanes: vec![Lane { queue: name("default"), limit: 1, at_most_once: 1 }],
        types: std::sync::Arc::new([name("task")].into()),
        lease: std::time::Duration::from_secs(30),
        limit: 1,
        bytes: usize::MAX,
        crashed: 1,
    }
}

/// What the server forbids arrives as an error that says what to grant.
fn refused<T: std::fmt::Debug, E: Into<Error>>(what: &str, answer: Result<T, E>) {
    let error = answer.expect_err(what).into();
    assert!(matches!(error, Error::Store(StoreError::Refused(_))), "{what}: {error:?}");
    assert!(error.to_string().contains("--print-roles"), "{what}: {error}");
}

#[tokio::test]
async fn the_runtime_changes_no_table_and_sees_no_other_schema() -> Kept {
    let house = House::new().await?;
    forbidden(
        &house.runtime,
        &[
            "CREATE TABLE dutiful.mine ()",
            "ALTER TABLE dutiful.job ADD COLUMN mine int",
            "ALTER TABLE dutiful.ready DISABLE TRIGGER ALL",
            "DROP TABLE dutiful.ready",
            "TRUNCATE dutiful.ready",
            "CREATE INDEX ON dutiful.job (queue)",
            "CREATE TRIGGER mine AFTER INSERT ON dutiful.ready EXECUTE FUNCTION dutiful.moment_()",
            "CREATE FUNCTION dutiful.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "CREATE OR REPLACE FUNCTION dutiful.moment_(at timestamptz) RETURNS timestamptz
                 LANGUAGE sql AS 'SELECT at'",
            "CREATE OR REPLACE VIEW dutiful.queues AS SELECT 1",
            "DROP SCHEMA dutiful CASCADE",
            "ALTER SCHEMA dutiful OWNER TO CURRENT_USER",
            "CREATE SCHEMA mine",
            "CREATE ROLE mine",
            "SET ROLE dutiful_owner",
            "SELECT * FROM private.secret",
            "SELECT * FROM public.users",
            "COPY dutiful.job TO PROGRAM 'true'",
            "COPY dutiful.job TO '/tmp/jobs'",
            "SELECT pg_read_file('/etc/passwd')",
            "ALTER SYSTEM SET fsync = off",
        ],
    )
    .await?;
    let client = Client::connect(&house.runtime).await?;
    refused("migrate", client.migrate(Some(0)).await);
    client.enqueue(Task {}).await?;
    assert_eq!(client.stats().await?.totals.pending, 1, "all stands as it was");
    Ok(())
}

#[tokio::test]
async fn grants_of_before_a_migration_are_enough_after_it() -> Kept {
    let house = House::new().await?;
    let owner = Client::connect(&house.url).await?;
    // Makes anew what the newest version brought, by somebody who has no default privileges.
    owner.migrate(Some(3)).await?;
    owner.migrate(None).await?;
    Client::connect(&house.producer).await?.enqueue_all((0..2000).map(|_| Task {})).await?;
    let client = Client::connect(&house.runtime).await?;
    let (store, worker) = (client.store(), WorkerId(1));
    let jobs = store.claim(ask()).await?;
    let ends = jobs.iter().map(|job| job.unstarted(End::Completed(None))).collect();
    assert_eq!(store.finish(worker, ends).await?, [Held::Yes]);
    let totals = client.stats().await?.totals;
    assert_eq!((totals.pending, totals.completed), (1999, 1));
    let term = store.lead(worker, std::time::Duration::from_secs(60)).await?.term;
    assert!(store.fold(term).await? > 0);
    Ok(())
}

#[tokio::test]
async fn the_producer_enqueues_by_library_and_by_sql() -> Kept {
    let house = House::new().await?;
    let client = Client::connect(&house.producer).await?;
    let first = client.enqueue(Task {}).unique("a key").await?;
    let again = client.enqueue(Task {}).unique("a key").await?;
    assert_eq!((again.id, again.outcome), (first.id, EnqueueOutcome::Duplicate));
    client.enqueue(Task {}).delay(std::time::Duration::from_secs(60)).await?;
    client.enqueue_all((0..3).map(|_| Task {})).await?;
    client.enqueue_all((0..2000).map(|_| Task {})).await?;
    let raw = raw(&house.producer).await?;
    for sql in [
        "SELECT dutiful.enqueue('task', '{}')",
        "SELECT dutiful.enqueue('task', '{}', unique_key => 'a key', delay => '1 hour')",
        r#"SELECT * FROM dutiful.enqueue_many('[{"type": "task", "payload": {}}]')"#,
        // What `.within(&mut tx)` sends.
        r#"SELECT * FROM dutiful.enqueue_within_(json_build_object('instance',
            dutiful.instance_(), 'jobs', '[{"type": "task", "payload": {}}]'::json)::text)"#,
    ] {
        raw.batch_execute(sql).await.map_err(|error| format!("{sql}: {error:?}"))?;
    }
    let seen = Client::connect(&house.runtime).await?.stats().await?.totals;
    assert_eq!((seen.pending, seen.scheduled), (2007, 1));
    Ok(())
}

#[tokio::test]
async fn the_producer_does_nothing_else() -> Kept {
    let house = House::new().await?;
    let id = Client::connect(&house.url).await?.enqueue(Task {}).await?.id;
    let client = Client::connect(&house.producer).await?;
    refused("claim", client.store().claim(ask()).await);
    refused("lead", client.store().lead(WorkerId(1), std::time::Duration::from_secs(9)).await);
    refused("show", client.job(id).await);
    refused("list", client.jobs(Filter::default()).await);
    refused("cancel", client.cancel(id).await);
    refused("retry", client.retry(id).await);
    refused("delete", client.delete(id).await);
    refused("clear", client.clear("default").await);
    refused("pause", client.pause("default").await);
    refused("stats", client.stats().await);
    refused("migrate", client.migrate(Some(0)).await);
    let of_job = |sql: &str| sql.replace("ID", &format!("'{id}'"));
    let statements = [
        "SELECT payload FROM dutiful.job",
        "SELECT * FROM dutiful.jobs",
        "SELECT * FROM dutiful.ready",
        "SELECT dutiful.cancel(ID)",
        "SELECT dutiful.retry(ID)",
        "DELETE FROM dutiful.ready",
        "DELETE FROM dutiful.job",
        "UPDATE dutiful.job SET payload = ''",
        "UPDATE dutiful.ready SET priority = 0",
        "UPDATE dutiful.unique_key SET key = 'mine'",
        "INSERT INTO dutiful.done SELECT",
        "INSERT INTO dutiful.lease SELECT",
        "SELECT result FROM dutiful.done",
        "CREATE TABLE dutiful.mine ()",
        "SELECT * FROM private.secret",
        "SET ROLE dutiful_runtime",
    ]
    .map(of_job);
    forbidden(&house.producer, &statements.each_ref().map(String::as_str)).await?;
    let seen = Client::connect(&house.url).await?.job(id).await?.ok_or("it is there")?;
    assert_eq!(seen.state, dutiful::State::Pending);
    Ok(())
}
