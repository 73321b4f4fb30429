//! The client as programs use it: every setting arrives, many jobs at once, changes by id, and the
//! forms for transactions and for programs without a runtime.
#![cfg(feature = "sqlite")]

use std::time::{Duration, SystemTime};

use dutiful::{
    Change, Client, Clock, Delivery, EnqueueOutcome, Error, Filter, Job, JobId, NewJob, Settings,
    State, Timestamp, Verb, correlate,
};
use serde::{Deserialize, Serialize};

type Kept = Result<(), Box<dyn std::error::Error>>;

/// 2026-11-23T18:00:00Z.
const START: Timestamp = Timestamp::from_us(1_795_456_800_000_000);
const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[derive(Serialize, Deserialize)]
struct Mail {
    user: i64,
}

impl Job for Mail {
    const TYPE: &'static str = "mail";
    const QUEUE: &'static str = "outbox";
    const PRIORITY: u16 = 3;
    const MAX_ATTEMPTS: u32 = 7;
    const TIMEOUT: Duration = Duration::from_millis(1500);
    const DELIVERY: Delivery = Delivery::AtMostOnce;
}

#[derive(Serialize, Deserialize)]
struct Plain {}

impl Job for Plain {
    const TYPE: &'static str = "plain";
}

async fn memory() -> Result<(Client, Clock), Error> {
    let clock = Clock::manual(START);
    let client = Client::builder().clock(clock.clone()).connect("sqlite::memory:").await?;
    Ok((client, clock))
}

async fn show(client: &Client, id: JobId) -> dutiful::JobInfo {
    client.job(id).await.expect("the look is answered").expect("the job is on record")
}

#[tokio::test]
async fn a_typed_job_takes_the_settings_beside_its_name() -> Kept {
    let (client, _) = memory().await?;
    let stored = client.enqueue(Mail { user: 7 }).await?;
    assert_eq!(stored.outcome, EnqueueOutcome::New);
    let seen = show(&client, stored.id).await;
    assert_eq!((seen.job_type.as_str(), seen.queue.as_str()), ("mail", "outbox"));
    assert_eq!((seen.priority, seen.max_attempts, seen.timeout_ms), (3, 7, 1500));
    assert_eq!(seen.delivery, Delivery::AtMostOnce);
    assert_eq!(seen.payload.map(|p| p.get().to_owned()).as_deref(), Some("{\"user\":7}"));
    let plain = show(&client, client.enqueue(Plain {}).await?.id).await;
    assert_eq!((plain.queue.as_str(), plain.priority, plain.max_attempts), ("default", 10, 3));
    assert_eq!((plain.timeout_ms, plain.delivery), (900_000, Delivery::AtLeastOnce));
    Ok(())
}

#[tokio::test]
async fn every_setting_of_the_builder_arrives() -> Kept {
    let (client, _) = memory().await?;
    let id = JobId::new();
    let enqueue = client.enqueue(Mail { user: 7 }).id(id).queue("other").priority(0);
    let enqueue = enqueue.delay(Duration::from_secs(60)).max_attempts(1000);
    let enqueue = enqueue.timeout(Duration::from_secs(9)).correlation_id("order 7");
    let enqueue = enqueue.trace_parent(TRACE).group("tenant").unique("mail:7");
    let enqueue = enqueue.tag("a").tag("b").delivery(Delivery::AtLeastOnce);
    assert_eq!(enqueue.await?.id, id);
    let seen = show(&client, id).await;
    assert_eq!((seen.id, seen.queue.as_str(), seen.priority), (id, "other", 0));
    assert_eq!(seen.scheduled_for, START.plus(Duration::from_secs(60)));
    assert_eq!((seen.max_attempts, seen.timeout_ms), (1000, 9000));
    assert_eq!(seen.correlation_id, "order 7");
    assert_eq!(seen.trace_parent.as_deref(), Some(TRACE));
    assert_eq!(
        (seen.group.as_deref(), seen.unique_key.as_deref()),
        (Some("tenant"), Some("mail:7"))
    );
    assert_eq!((seen.tags, seen.delivery), (vec!["a".into(), "b".into()], Delivery::AtLeastOnce));
    assert_eq!((seen.state, seen.created_at), (State::Scheduled, START));
    Ok(())
}

#[tokio::test]
async fn a_time_can_be_given_in_both_ways() -> Kept {
    let (client, _) = memory().await?;
    let at = START.plus(Duration::from_secs(3600));
    let system = SystemTime::UNIX_EPOCH + Duration::from_micros(at.us() as u64);
    for id in [
        client.enqueue(Plain {}).at(system).await?.id,
        client.enqueue(Plain {}).at_time(at).await?.id,
    ] {
        assert_eq!(show(&client, id).await.scheduled_for, at);
    }
    Ok(())
}

#[tokio::test]
async fn nothing_is_stored_before_the_builder_is_awaited() -> Kept {
    let (client, _) = memory().await?;
    drop(client.enqueue(Plain {}));
    assert_eq!(client.stats().await?.totals.pending, 0);
    Ok(())
}

#[tokio::test]
async fn a_repeated_id_or_key_is_harmless_and_says_so() -> Kept {
    let (client, _) = memory().await?;
    let first = client.enqueue(Plain {}).unique("k").await?;
    let again = client.enqueue(Plain {}).id(first.id).await?;
    assert_eq!((again.id, again.outcome), (first.id, EnqueueOutcome::Exists));
    let twin = client.enqueue(Plain {}).unique("k").await?;
    assert_eq!((twin.id, twin.outcome), (first.id, EnqueueOutcome::Duplicate));
    assert_eq!(client.stats().await?.totals.pending, 1);
    Ok(())
}

#[tokio::test]
async fn thousands_of_typed_jobs_go_in_one_call() -> Kept {
    let (client, _) = memory().await?;
    let stored = client.enqueue_all((0..2500).map(|user| Mail { user })).await?;
    assert_eq!(stored.len(), 2500);
    assert!(stored.is_sorted_by_key(|one| one.id));
    let last = show(&client, stored[2499].id).await;
    assert_eq!(last.payload.map(|p| p.get().to_owned()).as_deref(), Some("{\"user\":2499}"));
    assert_eq!(last.queue.as_str(), "outbox");
    assert!(client.enqueue_all(Vec::<Mail>::new()).await?.is_empty());
    assert!(client.enqueue_many(Vec::new()).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn jobs_by_name_carry_settings_of_their_own() -> Kept {
    let (client, _) = memory().await?;
    let settings = Settings { priority: Some(1), tags: vec!["t".into()], ..Settings::default() };
    let one = NewJob { job_type: "x".into(), payload: b"1".to_vec(), settings };
    let two = NewJob { job_type: "y".into(), payload: b"2".to_vec(), ..NewJob::default() };
    let stored = client.enqueue_many(vec![one, two]).await?;
    let (one, two) = (show(&client, stored[0].id).await, show(&client, stored[1].id).await);
    assert_eq!((one.priority, one.tags, one.job_type.as_str()), (1, vec!["t".into()], "x"));
    assert_eq!((two.priority, two.job_type.as_str()), (10, "y"));
    Ok(())
}

#[tokio::test]
async fn ids_of_one_call_go_up_queue_by_queue() -> Kept {
    const QUEUES: usize = 3;
    let (client, _) = memory().await?;
    let own = JobId::new();
    let job = |n: usize| {
        let queue = Some(format!("q{}", n % QUEUES));
        let settings = Settings { queue, id: (n == 7).then_some(own), ..Settings::default() };
        NewJob { job_type: "x".into(), payload: n.to_string().into_bytes(), settings }
    };
    let mut stored = client.enqueue_many((0..900).map(job).collect()).await?;
    assert_eq!(stored[7].id, own, "an id that was given stays");
    for n in [0, 1, 500, 899] {
        let payload = show(&client, stored[n].id).await.payload.map(|p| p.get().to_owned());
        assert_eq!(payload, Some(n.to_string()), "the answers keep the order of the jobs");
    }
    stored.drain(6..9);
    let of = |queue| stored.iter().skip(queue).step_by(QUEUES).map(|one| one.id);
    let ids: Vec<JobId> = (0..QUEUES).flat_map(of).collect();
    assert!(ids.is_sorted(), "each queue's ids go up, and those of the next queue follow");
    Ok(())
}

#[tokio::test]
async fn changes_by_id_work_and_their_errors_say_what_to_do() -> Kept {
    let (client, clock) = memory().await?;
    let id = client.enqueue(Plain {}).unique("k").await?.id;
    let later = START.plus(Duration::from_secs(60));
    assert_eq!(client.reschedule(id, later).await?, Change::Done);
    assert_eq!(show(&client, id).await.state, State::Scheduled);
    assert_eq!(client.cancel(id).await?, Change::Done);
    let twice = client.cancel(id).await.expect_err("it has ended");
    assert!(matches!(twice, Error::WrongState { state: State::Cancelled, .. }), "{twice:?}");
    assert!(twice.to_string().contains("only a job that has not ended"), "{twice}");
    let holder = client.enqueue(Plain {}).unique("k").await?.id;
    let taken = client.retry(id).await.expect_err("its key is taken");
    assert!(matches!(taken, Error::Conflict { holder: other, .. } if other == holder));
    client.delete(holder).await?;
    assert_eq!(client.retry(id).await?, Change::Done);
    assert!(matches!(client.discard(id).await, Err(Error::WrongState { .. })));
    assert_eq!(client.delete(id).await?, Change::Done);
    for gone in [client.cancel(id).await, client.retry(id).await, client.delete(id).await] {
        assert!(matches!(gone, Err(Error::NotFound(missing)) if missing == id), "{gone:?}");
    }
    assert!(client.job(id).await?.is_none());
    clock.advance(Duration::from_secs(1));
    Ok(())
}

#[tokio::test]
async fn many_changes_answer_each_for_itself() -> Kept {
    let (client, _) = memory().await?;
    let stored = client.enqueue_all((0..1500).map(|_| Plain {})).await?;
    let mut ids: Vec<_> = stored.iter().map(|one| one.id).collect();
    ids.push(JobId::new());
    let answers = client.change_many(Verb::Cancel, ids.clone()).await?;
    assert_eq!(answers.iter().map(|(id, _)| *id).collect::<Vec<_>>(), ids);
    assert!(answers[..1500].iter().all(|(_, change)| *change == Change::Done));
    assert_eq!(answers[1500].1, Change::NotFound);
    assert_eq!(client.stats().await?.totals.cancelled, 1500);
    assert!(client.change_many(Verb::Delete, Vec::new()).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn queues_pause_resume_and_are_listed() -> Kept {
    let (client, _) = memory().await?;
    client.enqueue(Plain {}).await?;
    assert!(client.pause("default").await?);
    assert!(!client.pause("default").await?);
    assert!(client.queues().await?[0].paused);
    assert!(client.resume("default").await?);
    assert!(matches!(client.pause("no good").await, Err(Error::InvalidJob(_))));
    Ok(())
}

#[tokio::test]
async fn a_correlation_id_is_inherited_and_an_explicit_one_wins() -> Kept {
    let (client, _) = memory().await?;
    let (inherited, own, many) = correlate("request-42", async {
        let inherited = client.enqueue(Plain {}).await?.id;
        let own = client.enqueue(Plain {}).correlation_id("mine").await?.id;
        Ok::<_, Error>((inherited, own, client.enqueue_all([Plain {}]).await?[0].id))
    })
    .await?;
    let outside = client.enqueue(Plain {}).await?.id;
    assert_eq!(show(&client, inherited).await.correlation_id, "request-42");
    assert_eq!(show(&client, many).await.correlation_id, "request-42");
    assert_eq!(show(&client, own).await.correlation_id, "mine");
    assert_eq!(show(&client, outside).await.correlation_id, outside.to_string());
    Ok(())
}

#[tokio::test]
async fn clones_share_one_store() -> Kept {
    let (client, _) = memory().await?;
    let clone = client.clone();
    let id = client.enqueue(Plain {}).await?.id;
    assert_eq!(show(&clone, id).await.id, id);
    let all = clone.jobs(Filter { limit: Some(10), ..Filter::default() }).await?;
    assert_eq!(all.jobs.len(), 1);
    Ok(())
}

#[tokio::test]
async fn two_stores_in_memory_are_two_stores() -> Kept {
    let ((one, _), (two, _)) = (memory().await?, memory().await?);
    one.enqueue(Plain {}).await?;
    assert_eq!((one.stats().await?.totals.pending, two.stats().await?.totals.pending), (1, 0));
    Ok(())
}

#[test]
fn programs_without_a_runtime_wait() -> Kept {
    let jobs = dutiful::blocking::Client::connect("sqlite::memory:")?;
    let id = jobs.wait(jobs.enqueue(Mail { user: 7 }).priority(1))?.id;
    let seen = jobs.wait(jobs.job(id))?.expect("it was just stored");
    assert_eq!((seen.priority, seen.queue.as_str()), (1, "outbox"));
    assert_eq!(jobs.wait(jobs.enqueue_all((0..100).map(|user| Mail { user })))?.len(), 100);
    assert_eq!(jobs.wait(jobs.cancel(id))?, Change::Done);
    let elsewhere = jobs.clone();
    let thread = std::thread::spawn(move || elsewhere.wait(elsewhere.stats()));
    let stats = thread.join().expect("the thread ends in order")?;
    assert_eq!((stats.totals.pending, stats.totals.cancelled), (100, 1));
    Ok(())
}

#[test]
fn the_runtime_of_the_blocking_client_runs_a_worker_until_a_signal() -> Kept {
    let jobs = dutiful::blocking::Client::connect("sqlite::memory:")?;
    jobs.wait(jobs.enqueue(Mail { user: 7 }))?;
    let handler = |_: Mail, _: dutiful::Context<()>| -> dutiful::Result<()> { Ok(()) };
    let worker = dutiful::Worker::new(&jobs, ()).job_blocking(handler).until_empty(true);
    let report = jobs.wait(worker.run_until(dutiful::shutdown_signal()))?;
    assert_eq!(report.completed, 1);
    Ok(())
}

#[test]
fn a_transaction_keeps_the_job_or_drops_it() -> Kept {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("shop.db");
    let jobs = dutiful::blocking::Client::connect(&format!("sqlite:{}", path.display()))?;
    let mut shop = rusqlite::Connection::open(&path)?;
    shop.execute_batch("CREATE TABLE orders (id INTEGER PRIMARY KEY)")?;
    let order = |shop: &mut rusqlite::Connection, commit: bool| -> Result<JobId, Error> {
        let tx = shop.transaction().expect("a transaction begins");
        tx.execute("INSERT INTO orders DEFAULT VALUES", []).expect("the order is inserted");
        let stored = jobs.enqueue(Mail { user: 7 }).unique("order").within(&tx).now()?;
        let twin = jobs.enqueue(Mail { user: 7 }).unique("order").within(&tx).now()?;
        assert_eq!((twin.id, twin.outcome), (stored.id, EnqueueOutcome::Duplicate));
        if commit { tx.commit() } else { tx.rollback() }.expect("the transaction ends");
        Ok(stored.id)
    };
    let dropped = order(&mut shop, false)?;
    assert!(jobs.wait(jobs.job(dropped))?.is_none());
    assert_eq!(jobs.wait(jobs.stats())?.totals.pending, 0);
    let kept = order(&mut shop, true)?;
    let seen = jobs.wait(jobs.job(kept))?.expect("both committed");
    assert_eq!((seen.priority, seen.queue.as_str()), (3, "outbox"));
    let orders: i64 = shop.query_row("SELECT count(*) FROM orders", [], |row| row.get(0))?;
    assert_eq!((orders, jobs.wait(jobs.stats())?.totals.pending), (1, 1));
    Ok(())
}

#[tokio::test]
async fn an_enqueue_by_name_heeds_what_another_process_registers_a_second_later() -> Kept {
    let folder = tempfile::tempdir()?;
    let url = format!("sqlite://{}", folder.path().join("jobs.db").display());
    let (client, other) = (Client::connect(&url).await?, Client::connect(&url).await?);
    let before = client.enqueue_raw("mail", "{}").await?;
    assert_eq!(show(&client, before.id).await.max_attempts, 3);
    let handler = async |_: Mail, _: dutiful::Context<()>| Ok(());
    dutiful::Worker::new(&other, ()).job(handler).until_empty(true).run().await?;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let after = client.enqueue_raw("mail", "{\"user\":1}").await?;
    assert_eq!(show(&client, after.id).await.max_attempts, 7);
    Ok(())
}
