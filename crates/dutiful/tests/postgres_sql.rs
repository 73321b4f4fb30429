//! The SQL interface of a Postgres store: what a program in any language may call in its own
//! transaction, and what it may look at.

use std::time::Duration;

use dutiful::{Client, Context, EnqueueOutcome, Job, JobId, JobInfo, Settings, Worker};
use serde::{Deserialize, Serialize};
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
        let client = Client::builder()
            .migrate(true)
            .connect(&format!("{}?schema={schema}", server()))
            .await?;
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

    /// Returns a job that must be on record, as the client shows it.
    async fn job(&self, id: &str) -> Result<JobInfo, Box<dyn std::error::Error>> {
        Ok(self.client.job(id.parse()?).await?.ok_or("the job is on record")?)
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
async fn a_job_from_plain_sql_is_worked_by_a_worker() -> Kept {
    let house = House::new().await?;
    let id = house.text(r#"dutiful.enqueue('add', '{"a":1, "b":2}', queue => 'sums')"#).await?;
    let done = Worker::new(&house.client, ())
        .job(async |job: Add, _: Context<()>| Ok(job.a + job.b))
        .until_empty(true)
        .run();
    assert_eq!(tokio::time::timeout(HUNG, done).await??.completed, 1);
    let select = format!("SELECT state, result FROM dutiful.jobs WHERE id = '{id}'");
    let rows = house.query(&select).await?;
    let seen: (&str, &str) = (rows[0].try_get(0)?, rows[0].try_get(1)?);
    assert_eq!(seen, ("completed", "3"));
    Ok(())
}

#[tokio::test]
async fn a_rollback_leaves_nothing_and_a_commit_all() -> Kept {
    let house = House::new().await?;
    let many = r#"SELECT * FROM dutiful.enqueue_many('[{"type":"b","payload":1,
        "unique_key":"k"}]')"#;
    for (end, jobs) in [("ROLLBACK", 0), ("COMMIT", 2)] {
        house.run("BEGIN").await?;
        house.text("dutiful.enqueue('a', '1')").await?;
        house.query(many).await?;
        house.run(end).await?;
        assert_eq!(house.jobs().await?, jobs, "{end}");
    }
    assert_eq!(house.client.stats().await?.totals.pending, 2);
    let keys = house.query("SELECT key FROM dutiful.unique_key").await?;
    assert_eq!(keys.len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_payload_is_stored_byte_for_byte() -> Kept {
    let house = House::new().await?;
    let payload = "{\"b\" : 1.10,\n\"a\":18446744073709551616, \"a\": \"\\u00e9\u{1f600}\"}";
    let alone = house.text(&format!("dutiful.enqueue('a', '{payload}')")).await?;
    let array = format!("[{{\"type\":\"a\", \"payload\": {payload} }}]");
    let rows =
        house.query(&format!("SELECT id::text FROM dutiful.enqueue_many('{array}')")).await?;
    for id in [alone.as_str(), rows[0].try_get(0)?] {
        let seen = house.job(id).await?;
        assert_eq!(seen.payload.map(|p| p.get().to_owned()).as_deref(), Some(payload));
    }
    let blank = house.text("dutiful.enqueue('a', ' 1 ')").await?;
    assert_eq!(house.job(&blank).await?.payload_bytes, 3);
    Ok(())
}

#[tokio::test]
async fn what_is_not_said_comes_from_the_type_and_then_from_the_general_defaults() -> Kept {
    let house = House::new().await?;
    house.run("INSERT INTO dutiful.type VALUES ('mail', 'letters', 7, 9, 5000, 1, now())").await?;
    let known = house.text("dutiful.enqueue('mail', '1')").await?;
    let seen = house.job(&known).await?;
    assert_eq!((seen.queue.as_str(), seen.priority, seen.max_attempts), ("letters", 7, 9));
    assert_eq!((seen.timeout_ms, seen.delivery), (5000, dutiful::Delivery::AtMostOnce));
    let said = house
        .text(
            "dutiful.enqueue('mail', '1', 'q', 1, max_attempts => 2, delivery => 'at_least_once')",
        )
        .await?;
    let seen = house.job(&said).await?;
    assert_eq!((seen.queue.as_str(), seen.priority, seen.max_attempts), ("q", 1, 2));
    assert_eq!(seen.delivery, dutiful::Delivery::AtLeastOnce);
    let plain = house.text("dutiful.enqueue('other', '1')").await?;
    let seen = house.job(&plain).await?;
    assert_eq!((seen.queue.as_str(), seen.priority, seen.max_attempts), ("default", 10, 3));
    assert_eq!((seen.timeout_ms, seen.attempt), (900_000, 0));
    Ok(())
}

#[tokio::test]
async fn every_bad_input_is_refused_with_what_to_do() -> Kept {
    let house = House::new().await?;
    let deep = format!("{}{}", "[".repeat(65), "]".repeat(65));
    let wide = format!("[{}]", vec!["{}"; 100].join(","));
    let large = format!("\"{}\"", "x".repeat(256 * 1024));
    let cases = [
        ("'a b', '1'", "the type name \"a b\" is not 1 to 128 characters of"),
        ("'', '1'", "the type name \"\" is not 1 to 128"),
        ("'a', '1', 'q/r'", "the queue name \"q/r\" is not 1 to 128"),
        ("'a', NULL", "it has no payload"),
        ("'a', '1', priority => 1001", "the priority 1001 is not within 0 to 1000"),
        ("'a', '1', priority => -1", "the priority -1 is not within 0 to 1000"),
        ("'a', '1', max_attempts => 0", "max_attempts 0 is not within 1 to 1000"),
        ("'a', '1', timeout => '0'", "the timeout 00:00:00 is not within 1 ms and 30 days"),
        ("'a', '1', timeout => '31 days'", "the timeout 31 days is not within 1 ms and 30 days"),
        ("'a', '1', delay => '-1s'", "the delay -00:00:01 is negative"),
        ("'a', '1', scheduled_for => 'infinity'", "\"infinity\" is not a time between 1970 and"),
        ("'a', '1', scheduled_for => '1969-12-31Z'", "is not a time between 1970 and 9999"),
        ("'a', '1', correlation_id => ''", "the correlation id must have 1 to 255 bytes"),
        ("'a', '1', group_key => repeat('\u{e9}', 128)", "the group must have 1 to 255 bytes"),
        ("'a', '1', unique_key => ''", "the unique key must have 1 to 255 bytes"),
        ("'a', '1', tags => ARRAY['']", "the tag must have 1 to 255 bytes"),
        ("'a', '1', tags => array_fill('t'::text, '{21}')", "it has 21 tags and the limit is 20"),
        ("'a', '1', trace_parent => '00-x'", "\"00-x\" is not a W3C traceparent"),
        ("'a', '1', delivery => 'twice'", "the delivery \"twice\" is neither at_least_once nor"),
        (r#"'a', '"\u0000"'"#, "the payload contains a NUL character"),
        (r#"'a', '"\ud800"'"#, "the payload is not JSON (half a character"),
        (r#"'a', '"\ud83d\\\ude00"'"#, "the payload is not JSON (half a character"),
        ("'a', '[1e400]'", "the payload is not JSON (number out of range)"),
        (&format!("'a', '{deep}'"), "the payload is nested deeper than 64 levels; flatten it"),
        (&format!("'a', '{large}'"), "the payload has 262146 bytes and the limit is 262144"),
    ];
    for (arguments, sentence) in cases {
        let (code, said) = house.refused(&format!("SELECT dutiful.enqueue({arguments})")).await;
        assert!(said.starts_with(sentence) || said.contains(sentence), "{said}\n{sentence}");
        assert_eq!(code, "22023", "{said}");
    }
    assert_eq!(house.jobs().await?, 0);
    let brackets_in_text = format!("\"{}\\\"\"", "[".repeat(100));
    for good in [&deep[1..129], &wide, r#""\ud83d\ude00 \\u0000""#, "[1e-400]", &brackets_in_text] {
        house.text(&format!("dutiful.enqueue('a', '{good}')")).await?;
    }
    Ok(())
}

#[tokio::test]
async fn of_many_jobs_a_bad_one_is_named_and_none_is_stored() -> Kept {
    let house = House::new().await?;
    let cases = [
        (r#"{"type":"a"}"#, "job 2: it has no payload"),
        (r#"{"payload":1}"#, "job 2: the type name"),
        (r#"{"type":"a","payload":1,"prio":1}"#, "job 2: it has an unknown field \"prio\""),
        (r#"{"type":"a","payload":1,"priority":"1"}"#, "job 2: its priority is not a number"),
        (r#"{"type":"a","payload":1,"priority":1.5}"#, "job 2: the priority 1.5 is not within"),
        (r#"{"type":"a","payload":1,"delay_ms":-1}"#, "job 2: the delay -1ms is negative"),
        (r#"{"type":"a","payload":1,"id":"7"}"#, "job 2: \"7\" is not a job id"),
        (r#"{"type":"a","payload":1,"tags":"x"}"#, "job 2: the tags are not an array of texts"),
        (r#"{"type":"a","payload":1,"scheduled_for":"soon"}"#, "job 2: \"soon\" is not a time"),
        (r#"{"type":"a","payload":1,"payload_base64":"eA=="}"#, "job 2: it has an unknown field"),
        (r#"{"type":"a","payload":"\u0000"}"#, "job 2: the payload contains a NUL"),
        ("7", "job 2: it is not a JSON object"),
    ];
    for (bad, sentence) in cases {
        let array = format!(r#"[{{"type":"a","payload":1}},{bad}]"#);
        let sql = format!("SELECT * FROM dutiful.enqueue_many('{array}')");
        let (code, said) = house.refused(&sql).await;
        assert!(said.starts_with(sentence), "{said}\n{sentence}");
        assert_eq!(code, "22023");
    }
    let (_, said) = house.refused("SELECT * FROM dutiful.enqueue_many('{}')").await;
    assert!(said.starts_with("the jobs are not a JSON array"), "{said}");
    assert_eq!(house.jobs().await?, 0);
    assert!(house.query("SELECT * FROM dutiful.enqueue_many('[]')").await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn repeats_and_unique_keys_answer_with_the_job_that_is_stored() -> Kept {
    let house = House::new().await?;
    let first = house.text("dutiful.enqueue('a', '1', unique_key => 'k')").await?;
    assert_eq!(house.text("dutiful.enqueue('a', '2', unique_key => 'k')").await?, first);
    assert_eq!(house.text(&format!("dutiful.enqueue('a', '3', id => '{first}')")).await?, first);
    let array = format!(
        r#"[{{"type":"a","payload":4,"unique_key":"k"}}, {{"type":"a","payload":5}},
            {{"type":"a","payload":6,"id":"{first}"}}]"#
    );
    let many = format!("SELECT id::text, outcome FROM dutiful.enqueue_many('{array}')");
    let rows = house.query(&many).await?;
    let outcomes: Vec<(&str, &str)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!((outcomes[0], outcomes[2]), ((&*first, "duplicate"), (&*first, "exists")));
    assert_eq!(outcomes[1].1, "new");
    let again = house.client.enqueue_raw("a", "7").unique("k").await?;
    assert_eq!((again.id.to_string(), again.outcome), (first, EnqueueOutcome::Duplicate));
    assert_eq!(house.jobs().await?, 2);
    Ok(())
}

#[tokio::test]
async fn ids_from_sql_sort_in_the_order_of_the_call() -> Kept {
    let house = House::new().await?;
    let many = "SELECT id::text FROM dutiful.enqueue_many((SELECT json_agg(json_build_object(
        'type', 'a', 'payload', n)) FROM generate_series(1, 500) n))";
    let rows = house.query(many).await?;
    let ids: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
    assert!(ids.is_sorted(), "{:?}", &ids[..3]);
    assert!(ids.iter().all(|id| &id[14..15] == "7" && "89ab".contains(&id[19..20])));
    Ok(())
}

#[tokio::test]
async fn cancel_and_retry_say_what_they_did() -> Kept {
    let house = House::new().await?;
    let id = house.text("dutiful.enqueue('a', '1', unique_key => 'k')").await?;
    let say = async |verb: &str| house.text(&format!("dutiful.{verb}('{id}')")).await;
    assert_eq!(say("retry").await?, "refused: pending");
    assert_eq!(say("cancel").await?, "done");
    assert_eq!(say("cancel").await?, "refused: cancelled");
    let other = house.text("dutiful.enqueue('a', '1', unique_key => 'k')").await?;
    assert_eq!(say("retry").await?, format!("conflict: {other}"));
    assert_eq!(house.text(&format!("dutiful.cancel('{other}')")).await?, "done");
    assert_eq!(say("retry").await?, "done");
    assert_eq!(house.text("dutiful.cancel(gen_random_uuid())").await?, "not_found");
    Ok(())
}

#[tokio::test]
async fn the_views_show_what_the_client_shows() -> Kept {
    let house = House::new().await?;
    let settings = Settings { tags: vec!["x".into(), "\"y, z".into()], ..Settings::default() };
    let enqueue = house.client.enqueue(Add { a: i64::MAX, b: 1 }).settings(settings);
    let id = enqueue.max_attempts(1).group("g").await?.id;
    house.client.enqueue_raw("later", "1").delay(HUNG).await?;
    let done = Worker::new(&house.client, ())
        .job(async |job: Add, _: Context<()>| Ok(job.a.checked_add(job.b).ok_or(Overflow)?))
        .until_empty(true)
        .run();
    assert_eq!(tokio::time::timeout(HUNG, done).await??.dead, 1);
    for seen in house.client.jobs(dutiful::Filter::default()).await?.jobs {
        let id = seen.id;
        let seen = house.job(&id.to_string()).await?;
        let select = format!(
            "SELECT state, payload, attempt, failures, tags, group_key, last_error_class, \
             dead_reason, queue, to_char(scheduled_for AT TIME ZONE 'UTC', \
             'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') FROM dutiful.jobs WHERE id = '{id}'"
        );
        let row = &house.query(&select).await?[0];
        assert_eq!(row.get::<_, &str>(0), seen.state.as_str());
        assert_eq!(Some(row.get::<_, &str>(1)), seen.payload.as_ref().map(|p| p.get()));
        assert_eq!(
            (row.get::<_, i32>(2), row.get::<_, i32>(3)),
            (seen.attempt as i32, seen.failures as i32)
        );
        assert_eq!(row.get::<_, Vec<String>>(4), seen.tags);
        assert_eq!(row.get::<_, Option<String>>(5), seen.group);
        assert_eq!(row.get::<_, Option<String>>(6), seen.last_error.map(|e| e.class));
        assert_eq!(row.get::<_, Option<&str>>(7).is_some(), seen.dead_reason.is_some());
        assert_eq!(row.get::<_, &str>(8), seen.queue.as_str());
        assert_eq!(row.get::<_, &str>(9), seen.scheduled_for.to_string());
    }
    let select = format!("SELECT outcome, error_class FROM dutiful.attempts WHERE id = '{id}'");
    let rows = house.query(&select).await?;
    assert_eq!((rows.len(), rows[0].get::<_, &str>(0)), (1, "dead"));
    assert_eq!(rows[0].get::<_, &str>(1), "Overflow");
    let rows = house.query("SELECT queue, dead, scheduled FROM dutiful.queues ORDER BY 1").await?;
    let queues: Vec<(&str, i64, i64)> =
        rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
    assert_eq!(queues, [("default", 0, 1), ("sums", 1, 0)]);
    Ok(())
}

#[derive(Debug)]
struct Overflow;

impl std::fmt::Display for Overflow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("too large")
    }
}

impl std::error::Error for Overflow {}

#[tokio::test]
async fn names_of_others_in_front_of_ours_are_not_used() -> Kept {
    let house = House::new().await?;
    let evil = format!("evil_{}", house.schema);
    house
        .run(&format!(
            "CREATE SCHEMA {evil};
             CREATE FUNCTION {evil}.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql AS
                 'BEGIN RAISE EXCEPTION ''evil''; END';
             CREATE FUNCTION {evil}.length(text) RETURNS int LANGUAGE plpgsql AS
                 'BEGIN RAISE EXCEPTION ''evil''; END';
             CREATE FUNCTION {evil}.evil(text, text) RETURNS text LANGUAGE plpgsql AS
                 'BEGIN RAISE EXCEPTION ''evil''; END';
             CREATE OPERATOR {evil}.|| (LEFTARG = text, RIGHTARG = text, FUNCTION = {evil}.evil);
             CREATE TABLE {evil}.job (id int);
             CREATE TEMPORARY TABLE ready (id int);
             SET search_path = {evil}, pg_catalog"
        ))
        .await?;
    let stands = house.query("SELECT clock_timestamp()").await;
    assert!(stands.is_err(), "the trap works");
    let id = house.text("dutiful.enqueue('a', '1', delay => '1 hour')").await?;
    assert_eq!(house.text(&format!("dutiful.cancel('{id}')")).await?, "done");
    assert_eq!(house.text(&format!("dutiful.retry('{id}')")).await?, "done");
    let select = format!("SELECT state FROM dutiful.jobs WHERE id = '{id}'");
    assert_eq!(house.query(&select).await?[0].get::<_, &str>(0), "pending");
    house.run(&format!("DROP SCHEMA {evil} CASCADE")).await?;
    Ok(())
}

#[tokio::test]
async fn a_completion_without_the_lease_can_only_roll_back() -> Kept {
    let house = House::new().await?;
    let id = house.text("dutiful.enqueue('a', '1', unique_key => 'k')").await?;
    house
        .run(
            "WITH gone AS (DELETE FROM dutiful.ready RETURNING *)
             INSERT INTO dutiful.lease (id, attempt, nonce, worker, until, claimed_at, queue,
                 priority, type, flags, failures, crashes)
             SELECT id, 1, 77, 5, now() + interval '1 minute', now(), queue, priority, type, flags,
                 0, 0 FROM gone",
        )
        .await?;
    let complete = |nonce| {
        format!(
            r#"SELECT dutiful.complete_json('{{"id":"{id}","attempt":1,"nonce":{nonce},"worker":5,
               "started_us":1795456800000000,"ran_us":1500,"waited_us":20,"ran":1,"waited":0,
               "result_base64":"NDI="}}')"#
        )
    };
    house.run("BEGIN").await?;
    assert_eq!(house.refused(&complete(78)).await, ("DU001".into(), "lease lost".into()));
    assert!(house.query("SELECT 1").await.is_err(), "the transaction is lost");
    house.run("ROLLBACK").await?;
    assert_eq!(house.text(&format!("dutiful.cancel('{id}')")).await?, "requested");
    for (end, state) in [("ROLLBACK", "active"), ("COMMIT", "completed")] {
        house.run("BEGIN").await?;
        house.query(&complete(77)).await?;
        house.run(end).await?;
        let seen = house.job(&id).await?;
        assert_eq!(seen.state.as_str(), state);
    }
    let seen = house.job(&id).await?;
    assert_eq!(seen.result.map(|r| r.get().to_owned()).as_deref(), Some("42"));
    assert_eq!(house.refused(&complete(77)).await.0, "DU001", "once");
    house.text("dutiful.enqueue('a', '1', unique_key => 'k')").await?;
    assert_eq!(house.jobs().await?, 2, "the key is free again");
    assert_eq!(house.client.stats().await?.totals.completed, 1);
    Ok(())
}

#[tokio::test]
async fn glue_hands_whole_records_over_in_base64() -> Kept {
    let house = House::new().await?;
    let jobs = r#"[{"type":"a","payload_base64":"IDEg","delay_us":5000000}, {"type":"b",
        "payload":[1, 2],"unique_key":"k"}]"#;
    let sql = format!("SELECT n, id::text, outcome FROM dutiful.enqueue_json('{jobs}')");
    let rows = house.query(&sql).await?;
    let places: Vec<(i64, &str)> = rows.iter().map(|row| (row.get(0), row.get(2))).collect();
    assert_eq!(places, [(1, "new"), (2, "new")]);
    let seen = house.job(rows[0].get(1)).await?;
    assert_eq!((seen.payload_bytes, seen.state.as_str()), (3, "scheduled"));
    Ok(())
}
