//! What the doctor finds on a Postgres server: each wrong thing is made, and found.
#![cfg(feature = "postgres")]

use dutiful::{Client, Finding, JobId, Verdict};
use dutiful_fixture::{Mode, PgBouncer, Postgres, Version};
use tokio_postgres::NoTls;

/// A schema of its own, and a second connection that does what it likes.
struct Lab {
    url: String,
    schema: String,
    client: Client,
    raw: tokio_postgres::Client,
}

fn server() -> String {
    std::env::var("DUTIFUL_TEST_POSTGRES").unwrap_or_else(|_| {
        let server = Postgres::shared(Version::System).expect("a private server starts");
        server.url("postgres")
    })
}

async fn raw(url: &str) -> tokio_postgres::Client {
    let (raw, connection) = tokio_postgres::connect(url, NoTls).await.expect("it connects");
    tokio::spawn(connection);
    raw
}

impl Lab {
    async fn open() -> Self {
        let schema = format!("t{}", JobId::new().to_string().replace('-', ""));
        let url = format!("{}?schema={schema}", server());
        let client = Client::builder().migrate(true).connect(&url).await.expect("the store opens");
        Self { url, schema, client, raw: raw(&server()).await }
    }

    /// Runs SQL in which `S.` stands for the schema.
    async fn run(&self, sql: &str) {
        let sql = sql.replace("S.", &format!("{}.", self.schema));
        self.raw.batch_execute(&sql).await.expect("it runs");
    }

    async fn close(self) {
        self.run("DROP SCHEMA S. CASCADE".replace("S.", &self.schema).as_str()).await;
    }
}

async fn look(client: &Client, check: &str) -> Finding {
    let all = client.doctor(false).await.expect("the look is answered");
    let found = all.into_iter().find(|one| one.check == check);
    let found = found.unwrap_or_else(|| panic!("nothing was said about {check}"));
    assert_eq!(found.advice.is_none(), found.verdict == Verdict::Ok, "{found:?}");
    found
}

#[tokio::test]
async fn whoever_holds_the_oldest_snapshot_is_named() {
    let name = format!("t{}", JobId::new().to_string().replace('-', ""));
    let admin = raw(&server()).await;
    admin.batch_execute(&format!("CREATE DATABASE {name}")).await.expect("it is made");
    let (base, _) = server().rsplit_once('/').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let url = format!("{base}/{name}");
    let client = Client::builder().migrate(true).connect(&url).await.expect("the store opens");
    assert!(look(&client, "snapshot").await.value.contains("nobody"));
    let holder = raw(&url).await;
    let pid: i32 = holder.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    holder.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1").await.unwrap();
    let found = look(&client, "snapshot").await;
    assert!(found.value.contains(&format!("session {pid} ")), "{found:?}");
    assert!(found.value.contains("idle in transaction"), "{found:?}");
    holder.batch_execute("COMMIT").await.unwrap();
    assert!(look(&client, "snapshot").await.value.contains("nobody"));
    client.close().await.expect("it closes");
    admin.batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await.expect("it goes");
}

#[tokio::test]
async fn functions_that_are_not_ours_are_found() {
    let lab = Lab::open().await;
    assert_eq!(look(&lab.client, "functions").await.verdict, Verdict::Ok);
    lab.run("CREATE FUNCTION S.stranger() RETURNS int LANGUAGE sql AS 'SELECT 7'").await;
    let found = look(&lab.client, "functions").await;
    assert!(found.verdict == Verdict::Bad && found.value.contains("stranger"), "{found:?}");
    lab.run("DROP FUNCTION S.stranger(); UPDATE S.schema SET functions = 'older'").await;
    let found = look(&lab.client, "functions").await;
    assert!(found.verdict == Verdict::Bad && found.value.contains("another version"), "{found:?}");
    lab.client.migrate(None).await.expect("it is brought up to date");
    assert_eq!(look(&lab.client, "functions").await.verdict, Verdict::Ok);
    lab.close().await;
}

#[tokio::test]
async fn a_commit_that_does_not_wait_and_a_server_without_fsync_are_told_in_both_places() {
    let lab = Lab::open().await;
    let says = |warnings: &[String], word: &str| warnings.iter().any(|text| text.contains(word));
    let fsync: String = lab.raw.query_one("SHOW fsync", &[]).await.unwrap().get(0);
    let (found, stats) = (look(&lab.client, "fsync").await, lab.client.stats().await.unwrap());
    let expected = if fsync == "on" { Verdict::Ok } else { Verdict::Bad };
    assert_eq!(found.verdict, expected, "{found:?}");
    assert_eq!(says(&stats.warnings, "fsync"), fsync != "on", "{:?}", stats.warnings);
    assert!(!says(&stats.warnings, "synchronous_commit"), "{:?}", stats.warnings);
    let hasty = format!("{}&options=-c%20synchronous_commit%3Doff", lab.url);
    let hasty = Client::builder().migrate(true).connect(&hasty).await.expect("the store opens");
    assert_eq!(look(&hasty, "synchronous_commit").await.verdict, Verdict::Bad);
    assert!(says(&hasty.stats().await.unwrap().warnings, "synchronous_commit"));
    lab.close().await;
}

#[tokio::test]
async fn tables_that_are_set_wrong_are_found() {
    let lab = Lab::open().await;
    for check in ["dead_rows", "unlogged"] {
        assert_eq!(look(&lab.client, check).await.verdict, Verdict::Ok);
    }
    lab.run("ALTER TABLE S.ready SET (autovacuum_enabled = false)").await;
    let found = look(&lab.client, "dead_rows").await;
    assert!(found.verdict == Verdict::Bad && found.value.contains("ready"), "{found:?}");
    lab.run("ALTER TABLE S.dead SET UNLOGGED").await;
    let found = look(&lab.client, "unlogged").await;
    assert!(found.verdict == Verdict::Bad && found.value.contains("dead"), "{found:?}");
    lab.close().await;
}

#[tokio::test]
async fn rights_that_are_missing_are_named() {
    let lab = Lab::open().await;
    let role = format!("r{}", lab.schema);
    lab.run(&format!(
        "CREATE ROLE {role}; GRANT USAGE ON SCHEMA {0} TO {role};
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {0} TO {role}",
        lab.schema
    ))
    .await;
    let other = format!("{}&options=-c%20role%3D{role}", lab.url);
    let other = Client::builder().migrate(true).connect(&other).await.expect("the store opens");
    assert_eq!(look(&other, "grants").await.verdict, Verdict::Ok);
    lab.run(&format!("REVOKE INSERT, DELETE ON S.job FROM {role}")).await;
    let found = look(&other, "grants").await;
    assert_eq!(found.verdict, Verdict::Bad);
    assert!(found.value.contains("INSERT and DELETE on job"), "{found:?}");
    other.close().await.expect("it closes");
    lab.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
    lab.close().await;
}

#[tokio::test]
async fn records_that_fit_no_partition_are_counted() {
    let lab = Lab::open().await;
    assert_eq!(look(&lab.client, "partitions").await.verdict, Verdict::Ok);
    let stray = "INSERT INTO S.job (id, type, queue, priority, created_at, max_attempts,
            timeout_ms, delivery, payload)
        SELECT ('00000000-0000-0000-0000-' || lpad(to_hex(n), 12, '0'))::uuid, 't', 'q', 10, now(),
            3, 1, 0, '1' FROM generate_series(1, 10001) n";
    lab.run(stray).await;
    let found = look(&lab.client, "partitions").await;
    assert!(found.verdict == Verdict::Warning && found.value.contains("10000"), "{found:?}");
    lab.run("DELETE FROM S.job WHERE id <= '00000000-0000-0000-0000-000000000001'").await;
    assert_eq!(look(&lab.client, "partitions").await.verdict, Verdict::Ok);
    lab.close().await;
}

#[tokio::test]
async fn records_without_a_place_and_places_without_a_record_are_counted_by_a_full_look() {
    let lab = Lab::open().await;
    let places = async || {
        let all = lab.client.doctor(true).await.expect("the look is answered");
        all.into_iter().find(|one| one.check == "places").expect("they are counted")
    };
    assert_eq!(places().await.verdict, Verdict::Ok);
    lab.run(
        "INSERT INTO S.job (id, type, queue, priority, created_at, max_attempts, timeout_ms,
            delivery, payload) VALUES (gen_random_uuid(), 't', 'q', 10, now(), 3, 1, 0, '1');
         INSERT INTO S.ready VALUES ('q', 10, now(), gen_random_uuid(), 't', 0, 0, 0, 0)",
    )
    .await;
    let found = places().await;
    assert_eq!(found.verdict, Verdict::Bad);
    assert!(found.value.contains("1 jobs") && found.value.contains("1 places"), "{found:?}");
    lab.close().await;
}

#[tokio::test]
async fn a_pooler_that_lends_out_transactions_is_told_from_the_server_itself() {
    let lab = Lab::open().await;
    assert_eq!(look(&lab.client, "pooler").await.verdict, Verdict::Ok);
    let server = Postgres::shared(Version::System).expect("a private server starts");
    let verdict = async |mode, settings: &str| {
        let bouncer = PgBouncer::start(server, mode).expect("a pooler starts");
        let schema = format!("t{}", JobId::new().to_string().replace('-', ""));
        let url = format!("{}?schema={schema}{settings}", bouncer.url("postgres"));
        let client = Client::builder().migrate(true).connect(&url).await.expect("the store opens");
        let found = look(&client, "pooler").await;
        client.close().await.expect("it closes");
        (found.verdict, found.value.contains("transaction mode"))
    };
    let typed = "&statement_mode=typed";
    assert_eq!(verdict(Mode::Session, "").await, (Verdict::Ok, false));
    assert_eq!(verdict(Mode::Transaction, typed).await, (Verdict::Warning, true));
    assert_eq!(verdict(Mode::Transaction, "").await, (Verdict::Warning, true), "it is found out");
    lab.close().await;
}
