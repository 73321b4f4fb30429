//! What is refused at the door: a typed error that says what to do, and nothing half-written.
#![cfg(all(feature = "postgres", feature = "sqlite"))]

use std::path::Path;
use std::time::{Duration, SystemTime};

use dutiful::{
    Client, EnqueueOutcome, Error, InvalidJob, Job, JobId, NewJob, Settings, StoreError, Timestamp,
};
use serde::{Deserialize, Serialize};

type Kept = Result<(), Box<dyn std::error::Error>>;

#[derive(Serialize, Deserialize)]
struct Plain {
    text: String,
}

impl Job for Plain {
    const TYPE: &'static str = "plain";
}

fn plain() -> Plain {
    Plain { text: "x".into() }
}

/// Knows a broken rule.
type Rule = fn(&InvalidJob) -> bool;

/// Says which rule an enqueue broke.
fn broken(answer: Result<dutiful::Enqueued, Error>, what: &str) -> InvalidJob {
    match answer {
        Err(Error::InvalidJob(why)) => {
            assert!(!why.to_string().is_empty());
            why
        }
        other => panic!("{what}: {other:?}"),
    }
}

async fn nothing_stored(client: &Client) -> Kept {
    assert!(client.jobs(dutiful::Filter::default()).await?.jobs.is_empty());
    assert_eq!(client.stats().await?.totals, dutiful::Counts::default());
    Ok(())
}

#[tokio::test]
async fn payloads_that_a_store_or_reader_could_stumble_over_are_refused() -> Kept {
    let client = Client::connect("sqlite::memory:").await?;
    let too_deep = "[".repeat(65) + &"]".repeat(65);
    let too_large = format!("\"{}\"", "x".repeat(256 * 1024));
    let cases: [(&str, &[u8], Rule); 10] = [
        ("nothing", b"", |e| matches!(e, InvalidJob::NotJson(_))),
        ("half", b"{\"a\":", |e| matches!(e, InvalidJob::NotJson(_))),
        ("two values", b"1 2", |e| matches!(e, InvalidJob::NotJson(_))),
        ("no number", b"NaN", |e| matches!(e, InvalidJob::NotJson(_))),
        ("infinite", b"1e400", |e| matches!(e, InvalidJob::NotJson(_))),
        ("a lone surrogate", b"\"\\ud800\"", |e| matches!(e, InvalidJob::NotJson(_))),
        ("not UTF-8", b"\"\xff\"", |e| matches!(e, InvalidJob::NotJson(_))),
        ("NUL", b"\"a\\u0000b\"", |e| matches!(e, InvalidJob::Nul { .. })),
        ("deep", too_deep.as_bytes(), |e| matches!(e, InvalidJob::TooDeep { max: 64 })),
        ("large", too_large.as_bytes(), |e| matches!(e, InvalidJob::TooLarge { .. })),
    ];
    for (what, payload, expected) in cases {
        let why = broken(client.enqueue_raw("plain", payload).await, what);
        assert!(expected(&why), "{what}: {why:?}");
    }
    let nul = client.enqueue(Plain { text: "a\0b".into() }).await;
    assert!(matches!(broken(nul, "typed NUL"), InvalidJob::Nul { .. }));
    let large = client.enqueue(Plain { text: "x".repeat(256 * 1024) }).await;
    assert!(matches!(broken(large, "typed and large"), InvalidJob::TooLarge { .. }));
    nothing_stored(&client).await
}

#[tokio::test]
async fn numbers_and_times_out_of_range_are_refused() -> Kept {
    let client = Client::connect("sqlite::memory:").await?;
    for priority in [-1, 1001, i64::MIN, i64::MAX] {
        let why = broken(client.enqueue(plain()).priority(priority).await, "priority");
        assert_eq!(why, InvalidJob::Priority(priority));
    }
    for attempts in [0, -1, 1001, 1 << 32, (1 << 32) + 1, i64::MAX] {
        let why = broken(client.enqueue(plain()).max_attempts(attempts).await, "attempts");
        assert_eq!(why, InvalidJob::MaxAttempts(attempts));
    }
    let month = Duration::from_secs(30 * 24 * 3600);
    for timeout in [Duration::ZERO, Duration::from_micros(999), month + month, Duration::MAX] {
        let why = broken(client.enqueue(plain()).timeout(timeout).await, "timeout");
        assert!(matches!(why, InvalidJob::Timeout(_)), "{why:?}");
    }
    let year_10000 = SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_800);
    let before_1970 = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
    for at in [year_10000, before_1970] {
        let why = broken(client.enqueue(plain()).at(at).await, "time");
        assert!(matches!(why, InvalidJob::Time { .. }), "{why:?}");
    }
    for text in ["10000-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "tomorrow", "", "2026-13-01"] {
        let answer = text.parse::<Timestamp>();
        assert!(matches!(answer, Err(InvalidJob::Time { .. })), "{text}: {answer:?}");
    }
    let last: Timestamp = "9999-12-31T23:59:59.999999Z".parse()?;
    assert_eq!(last, Timestamp::MAX);
    nothing_stored(&client).await
}

#[tokio::test]
async fn names_and_texts_that_do_not_fit_are_refused() -> Kept {
    let client = Client::connect("sqlite::memory:").await?;
    let long = "x".repeat(300);
    for name in ["", &long, "a b", "a/b", "ä", "a{b}", "a\0", "a\n", "'; --", "*"] {
        let why = broken(client.enqueue(plain()).queue(name).await, "queue");
        assert!(matches!(why, InvalidJob::Name { what: "queue", .. }), "{name:?}: {why:?}");
        let why = broken(client.enqueue_raw(name, "{}").await, "type");
        assert!(matches!(why, InvalidJob::Name { what: "type", .. }), "{name:?}: {why:?}");
    }
    for text in ["", &long] {
        for answer in [
            client.enqueue(plain()).group(text).await,
            client.enqueue(plain()).unique(text).await,
            client.enqueue(plain()).correlation_id(text).await,
            client.enqueue(plain()).tag(text).await,
        ] {
            let why = broken(answer, "text");
            assert!(matches!(why, InvalidJob::Text { max: 255, .. }), "{why:?}");
        }
    }
    let why = broken(client.enqueue(plain()).group("a\0b").await, "NUL");
    assert!(matches!(why, InvalidJob::Nul { what: "group" }), "{why:?}");
    let mut tagged = client.enqueue(plain());
    for n in 0..21 {
        tagged = tagged.tag(n.to_string());
    }
    assert_eq!(broken(tagged.await, "tags"), InvalidJob::Tags { given: 21, max: 20 });
    for trace in ["", "00", "00-x-y-01", "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01"]
    {
        let why = broken(client.enqueue(plain()).trace_parent(trace).await, "trace");
        assert!(matches!(why, InvalidJob::TraceParent { .. }), "{trace}: {why:?}");
    }
    for id in ["", "7", "01890a5d-ac96-774b-bcce-b302099a805", "not-a-uuid"] {
        assert!(matches!(id.parse::<JobId>(), Err(InvalidJob::Id { .. })), "{id}");
    }
    nothing_stored(&client).await
}

#[tokio::test]
async fn one_bad_job_among_thousands_stores_none() -> Kept {
    let client = Client::connect("sqlite::memory:").await?;
    let mut jobs: Vec<_> = (0..3000)
        .map(|n| NewJob {
            job_type: "plain".into(),
            payload: n.to_string().into_bytes(),
            settings: Settings::default(),
        })
        .collect();
    jobs[2500].payload = b"{".to_vec();
    let answer = client.enqueue_many(jobs).await;
    assert!(matches!(answer, Err(Error::InvalidJob(InvalidJob::NotJson(_)))), "{answer:?}");
    let texts = (0..3000).map(|n| Plain { text: if n == 2999 { "\0" } else { "x" }.into() });
    let answer = client.enqueue_all(texts).await;
    assert!(matches!(answer, Err(Error::InvalidJob(InvalidJob::Nul { .. }))), "{answer:?}");
    nothing_stored(&client).await
}

#[tokio::test]
async fn an_id_that_exists_changes_nothing() -> Kept {
    let client = Client::connect("sqlite::memory:").await?;
    let first = client.enqueue(plain()).await?;
    let again = client.enqueue(Plain { text: "y".into() }).id(first.id).queue("other").await?;
    assert_eq!((again.id, again.outcome), (first.id, EnqueueOutcome::Exists));
    let seen = client.job(first.id).await?.expect("it is on record");
    assert_eq!(seen.payload.map(|p| p.get().to_owned()).as_deref(), Some("{\"text\":\"x\"}"));
    assert_eq!(seen.queue.as_str(), "default");
    Ok(())
}

async fn refused(url: &str) -> StoreError {
    match Client::connect(url).await {
        Err(Error::Store(why)) => why,
        other => panic!("{url}: {other:?}"),
    }
}

fn url(path: &Path) -> String {
    format!("sqlite:{}", path.display())
}

#[tokio::test]
async fn urls_that_name_no_store_are_refused() {
    for wrong in
        ["", "jobs.db", "sqlite:", "mysql://x/y", "sqlite:x.db?cache=1", "sqlite:x?max_bytes=-1"]
    {
        let why = refused(wrong).await;
        assert!(matches!(why, StoreError::Url { .. }), "{wrong}: {why:?}");
        assert!(!Path::new("x.db").exists() && !Path::new("x").exists());
    }
    let why = refused("nosql://user:secret@host/db").await.to_string();
    assert!(!why.contains("secret"), "{why}");
}

#[tokio::test]
async fn places_that_cannot_be_a_store_are_refused_and_left_alone() -> Kept {
    let dir = tempfile::tempdir()?;
    let at = |name: &str| dir.path().join(name);
    std::fs::create_dir(at("folder"))?;
    std::fs::write(at("text"), "this is no database, but a letter to a friend\n".repeat(100))?;
    std::fs::write(at("note"), "buy milk\n")?;
    std::os::unix::fs::symlink(at("text"), at("link"))?;
    for (name, word) in [
        ("folder", "directory"),
        ("text", "not a SQLite database"),
        ("note", "no SQLite database"),
        ("link", "symbolic link"),
        ("missing/jobs.db", "place"),
    ] {
        let why = refused(&url(&at(name))).await;
        assert!(matches!(why, StoreError::Open { .. }), "{name}: {why:?}");
        assert!(why.to_string().contains(word), "{name}: {why}");
    }
    assert_eq!(std::fs::read_dir(at("folder"))?.count(), 0);
    assert!(std::fs::read_to_string(at("text"))?.starts_with("this is no database"));
    assert_eq!(std::fs::read_to_string(at("note"))?, "buy milk\n");
    assert!(!at("missing").exists() && !at("text-wal").exists());
    Ok(())
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_refused() -> Kept {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("jobs.db");
    Client::connect(&url(&path)).await?.close().await?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o400))?;
    if std::fs::OpenOptions::new().write(true).open(&path).is_ok() {
        println!("skipped: this user may write to read-only files");
        return Ok(());
    }
    let why = refused(&url(&path)).await;
    assert!(matches!(why, StoreError::Open { .. }), "{why:?}");
    assert!(why.to_string().contains("allow reading and writing"), "{why}");
    Ok(())
}

#[tokio::test]
async fn a_new_file_locked_by_another_program_is_refused() -> Kept {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("jobs.db");
    let other = rusqlite::Connection::open(&path)?;
    other
        .execute_batch("CREATE TABLE theirs (x); BEGIN EXCLUSIVE; INSERT INTO theirs VALUES (1)")?;
    let why = refused(&url(&path)).await;
    assert!(matches!(why, StoreError::Open { .. } | StoreError::Busy { .. }), "{why:?}");
    assert!(why.to_string().contains("lock"), "{why}");
    other.execute_batch("COMMIT")?;
    let client = Client::connect(&url(&path)).await?;
    client.enqueue(plain()).await?;
    let theirs: i64 = other.query_row("SELECT count(*) FROM theirs", [], |row| row.get(0))?;
    assert_eq!(theirs, 1, "their table is as it was");
    Ok(())
}

#[tokio::test]
async fn an_enqueue_beside_an_open_write_transaction_says_what_to_do() -> Kept {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("jobs.db");
    let client = Client::connect(&url(&path)).await?;
    let mut other = rusqlite::Connection::open(&path)?;
    let tx = other.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let answer = client.enqueue(plain()).await;
    let Err(Error::Store(why @ StoreError::Busy { .. })) = answer else { panic!("{answer:?}") };
    assert!(why.is_passing() && why.to_string().contains(".within(&tx)"), "{why}");
    drop(tx);
    nothing_stored(&client).await?;
    assert_eq!(client.enqueue(plain()).await?.outcome, EnqueueOutcome::New);
    Ok(())
}

#[tokio::test]
async fn a_transaction_of_another_file_is_refused_before_any_write() -> Kept {
    let dir = tempfile::tempdir()?;
    let client = Client::connect(&url(&dir.path().join("ours.db"))).await?;
    let mut theirs = rusqlite::Connection::open(dir.path().join("theirs.db"))?;
    let mut in_memory = rusqlite::Connection::open_in_memory()?;
    for other in [&mut theirs, &mut in_memory] {
        let tx = other.transaction()?;
        let answer = client.enqueue(plain()).within(&tx).now();
        assert!(matches!(answer, Err(Error::Store(StoreError::Elsewhere { .. }))), "{answer:?}");
        tx.commit()?;
        let tables: i64 =
            other.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        assert_eq!(tables, 0);
    }
    nothing_stored(&client).await
}

#[tokio::test]
async fn a_bad_job_in_a_transaction_leaves_the_transaction_usable() -> Kept {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("jobs.db");
    let client = Client::connect(&url(&path)).await?;
    let mut shop = rusqlite::Connection::open(&path)?;
    let tx = shop.transaction()?;
    let bad = client.enqueue(plain()).priority(5000).within(&tx).now();
    assert!(matches!(bad, Err(Error::InvalidJob(InvalidJob::Priority(5000)))), "{bad:?}");
    client.enqueue(plain()).within(&tx).now()?;
    tx.commit()?;
    assert_eq!(client.stats().await?.totals.pending, 1);
    Ok(())
}

/// A Postgres transaction that nobody may use.
struct Untouched;
enum Nobody {}

impl dutiful::Transaction<Nobody> for Untouched {
    fn ask<'t>(&'t mut self, statement: &'t str, _: &'t str) -> dutiful::Asked<'t> {
        panic!("it was asked {statement}")
    }
}

#[tokio::test]
async fn a_transaction_of_another_kind_of_store_is_refused_before_anything_is_sent() -> Kept {
    let client = Client::connect("sqlite::memory:").await?;
    let answer = client.enqueue(plain()).within(&mut Untouched).await;
    assert!(matches!(answer, Err(Error::Store(StoreError::Elsewhere { .. }))), "{answer:?}");
    let answer = client.enqueue_all([plain()]).within(&mut Untouched).await;
    assert!(matches!(answer, Err(Error::Store(StoreError::Elsewhere { .. }))), "{answer:?}");
    nothing_stored(&client).await
}

#[tokio::test]
async fn many_jobs_go_into_a_transaction_together() -> Kept {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("jobs.db");
    let client = Client::connect(&url(&path)).await?;
    let mut shop = rusqlite::Connection::open(&path)?;
    let tx = shop.transaction()?;
    assert_eq!(client.enqueue_all((0..20).map(|_| plain())).within(&tx).now()?.len(), 20);
    tx.rollback()?;
    nothing_stored(&client).await?;
    let tx = shop.transaction()?;
    client.enqueue_all((0..20).map(|_| plain())).within(&tx).now()?;
    tx.commit()?;
    assert_eq!(client.stats().await?.totals.pending, 20);
    Ok(())
}
