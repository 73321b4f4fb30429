//! Handlers by type: what they get, what they may answer, and how a mistake in one is contained.

use std::sync::Arc;
use std::time::Duration;

use dutiful::{
    Client, Context, DeadReason, Error, HandlerError, Job, Outcome, Result, Retry, State,
    TypeDefaults, Worker,
};
use serde::{Deserialize, Serialize};

use crate::watch::*;

promises![
    each_type_runs_its_own_handler,
    a_handler_sees_its_attempt_and_the_application,
    types_that_nobody_here_knows_are_left_alone,
    a_panic_is_caught_with_its_message_and_place,
    a_timeout_ends_the_future_and_is_charged,
    a_handler_that_never_yields_loses_its_slot_and_blocks_nobody on 3,
    a_payload_that_does_not_fit_is_a_failure_like_others,
    jobs_of_a_handler_inherit_its_correlation_and_trace,
    workers_that_cannot_work_are_refused,
];

#[derive(Serialize, Deserialize)]
struct Report {
    year: u16,
}

impl Job for Report {
    const TYPE: &'static str = "report";
    const QUEUE: &'static str = "slow";
}

fn raw_type() -> TypeDefaults {
    let name = dutiful::Name::new("type", "script").expect("a valid name");
    TypeDefaults::unknown(name)
}

async fn each_type_runs_its_own_handler(client: Client) -> Kept {
    let task = client.enqueue(Task { n: 7 }).await?.id;
    let report = client.enqueue(Report { year: 2026 }).await?.id;
    let script = client.enqueue_raw("script", " [1, 2] ").await?.id;
    let done = Worker::new(&client, ())
        .job(async |task: Task, _: Context<()>| Ok(task.n * 2))
        .job_blocking(|report: Report, _: Context<()>| Ok(format!("{}.csv", report.year)))
        .raw(raw_type(), Retry::DEFAULT, async |payload: Vec<u8>, _: Context<()>| {
            assert_eq!(payload, b" [1, 2] ", "byte for byte");
            Ok(Outcome::Done)
        })
        .until_empty(true)
        .run()
        .await?;
    assert_eq!((done.completed, done.failed, done.dead), (3, 0, 0));
    let result = async |id| show(&client, id).await.result.map(|r| r.get().to_owned());
    assert_eq!(result(task).await.as_deref(), Some("14"));
    assert_eq!(result(report).await.as_deref(), Some("\"2026.csv\""));
    assert_eq!(result(script).await, None);
    Ok(())
}

async fn a_handler_sees_its_attempt_and_the_application(client: Client) -> Kept {
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let enqueue = client.enqueue(Task { n: 7 }).queue("q").max_attempts(9).group("g");
    let id = enqueue.correlation_id("order 7").trace_parent(trace).await?.id;
    let handler = move |task: Task, cx: Context<String>| async move {
        assert_eq!((task.n, cx.app.as_str()), (7, "app"));
        assert_eq!((cx.id(), cx.queue(), cx.job_type()), (id, "q", "task"));
        assert_eq!((cx.max_attempts(), cx.group()), (9, Some("g")));
        assert_eq!(cx.attempt(), cx.fence().attempt);
        assert_eq!((cx.correlation_id().as_str(), cx.trace_parent()), ("order 7", Some(trace)));
        assert_eq!(cx.idempotency_key(), id.to_string(), "the same for every attempt");
        assert!(!cx.is_cancelled());
        if cx.attempt() == 1 {
            assert_eq!(cx.failures(), 0);
            return Err(HandlerError::retry_after(Duration::ZERO, HandlerError::msg("again")));
        }
        assert_eq!((cx.attempt(), cx.failures()), (2, 1));
        Result::Ok(())
    };
    let worker = Worker::new(&client, "app".to_owned()).job(handler).queue("q", 1);
    let done = soon("both attempts", worker.until_empty(true).run()).await?;
    assert_eq!((done.failed, done.completed), (1, 1), "{:?}", show(&client, id).await.last_error);
    Ok(())
}

async fn types_that_nobody_here_knows_are_left_alone(client: Client) -> Kept {
    let foreign = client.enqueue_raw("foreign", "{}").await?.id;
    client.enqueue(Task { n: 1 }).await?;
    let worker = Worker::new(&client, ()).job(async |_: Task, _: Context<()>| Ok(()));
    let done = soon("the known job", worker.until_empty(true).run()).await?;
    assert_eq!(done.completed, 1);
    let seen = show(&client, foreign).await;
    assert_eq!((seen.state, seen.attempt), (State::Pending, 0));
    Ok(())
}

async fn a_panic_is_caught_with_its_message_and_place(client: Client) -> Kept {
    let at_once = client.enqueue(Task { n: 1 }).max_attempts(1).await?.id;
    let later = client.enqueue(Task { n: 2 }).max_attempts(1).await?.id;
    let blocking = client.enqueue(Report { year: 1 }).max_attempts(1).await?.id;
    let fine = client.enqueue(Task { n: 3 }).await?.id;
    let handler = async |task: Task, _: Context<()>| {
        if task.n == 2 {
            tokio::task::yield_now().await;
        }
        assert!(task.n == 3, "boom {}", task.n);
        Ok(())
    };
    let worker = Worker::new(&client, ()).job(handler);
    let worker = worker
        .job_blocking(|r: Report, _: Context<()>| -> Result<()> { panic!("bang {}", r.year) });
    let done = soon("all ends", worker.until_empty(true).run()).await?;
    assert_eq!((done.completed, done.dead), (1, 3));
    assert_eq!(show(&client, fine).await.state, State::Completed, "the worker lives on");
    for (id, message) in [(at_once, "boom 1"), (later, "boom 2"), (blocking, "bang 1")] {
        let seen = show(&client, id).await;
        assert_eq!((seen.state, seen.dead_reason), (State::Dead, Some(DeadReason::Exhausted)));
        let error = seen.last_error.expect("an error is kept");
        assert_eq!(error.class, "panic");
        assert!(error.message.contains(message), "{}", error.message);
        assert!(error.message.contains("handlers.rs:"), "{}", error.message);
    }
    Ok(())
}

/// Notes when it is dropped, as a future is that ran out of time.
struct Dropped(Arc<Diary>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.note(0);
    }
}

async fn a_timeout_ends_the_future_and_is_charged(client: Client) -> Kept {
    let enqueue = client.enqueue(Task { n: 1 }).timeout(Duration::from_millis(50));
    let id = enqueue.max_attempts(1).await?.id;
    let diary = Diary::new();
    let handler = async |_: Task, cx: Context<Arc<Diary>>| -> Result<()> {
        let _dropped = Dropped(Arc::clone(&cx.app));
        std::future::pending().await
    };
    let worker = Worker::new(&client, Arc::new(Arc::clone(&diary))).job(handler);
    soon("the timeout", worker.until_empty(true).run()).await?;
    assert_eq!(diary.all(), [0], "its future was dropped");
    let seen = show(&client, id).await;
    assert_eq!((seen.state, seen.failures), (State::Dead, 1));
    assert_eq!(seen.last_error.map(|e| e.class).as_deref(), Some("timeout"));
    Ok(())
}

async fn a_handler_that_never_yields_loses_its_slot_and_blocks_nobody(client: Client) -> Kept {
    let (watch, (open, gate)) = (Watch::new(), std::sync::mpsc::channel::<()>());
    let gate = std::sync::Mutex::new(gate);
    let short = Duration::from_millis(50);
    client.enqueue(Task { n: 1 }).timeout(short).max_attempts(1).priority(0).await?;
    client.enqueue(Task { n: 2 }).await?;
    let handler = move |task: Task, _: Context<()>| {
        if task.n == 1 {
            // Ends when the test does.
            let _ = gate.lock().expect("one handler waits here").recv();
        }
        Ok(())
    };
    let worker = Worker::new(&client, ()).job_blocking(handler).queue("default", 1);
    let worker = worker.observer(watch.clone()).until_empty(true);
    let done = soon("the second job", worker.run()).await?;
    assert_eq!((done.completed, done.dead), (1, 1));
    assert_eq!(watch.count("dead timeout Exhausted"), 1, "{:?}", watch.lines());
    drop(open);
    Ok(())
}

async fn a_payload_that_does_not_fit_is_a_failure_like_others(client: Client) -> Kept {
    let id = client.enqueue_raw("task", "{\"n\":\"seven\"}").max_attempts(1).await?.id;
    let worker = Worker::new(&client, ()).job(async |_: Task, _: Context<()>| Ok(()));
    soon("its end", worker.until_empty(true).run()).await?;
    let error = show(&client, id).await.last_error.expect("an error is kept");
    assert_eq!(error.class, "payload");
    assert!(error.message.contains("task"), "{}", error.message);
    Ok(())
}

async fn jobs_of_a_handler_inherit_its_correlation_and_trace(client: Client) -> Kept {
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let root = client.enqueue(Task { n: 1 }).trace_parent(trace).await?.id;
    let named = client.enqueue(Report { year: 1 }).correlation_id("order 7").await?.id;
    let spawn = async |task: Task, cx: Context<()>| -> Result<()> {
        if task.n == 1 {
            cx.client().enqueue(Task { n: 2 }).unique("child").await?;
            cx.client().enqueue_all([Task { n: 3 }]).await?;
        }
        Ok(())
    };
    let blocking = |_: Report, cx: Context<()>| -> Result<()> {
        cx.wait(cx.client().enqueue(Task { n: 4 }).unique("blocking child"))?;
        Ok(())
    };
    let worker = Worker::new(&client, ()).job(spawn).job_blocking(blocking).until_empty(true);
    assert_eq!(soon("the family", worker.run()).await?.completed, 5);
    let all = client.jobs(dutiful::Filter::default()).await?.jobs;
    let family = |id: &str| all.iter().filter(|job| job.correlation_id == id).count();
    assert_eq!(family(&root.to_string()), 3, "the root and both children");
    assert_eq!(family("order 7"), 2);
    assert!(all.iter().any(|job| job.id == named));
    let traced = all.iter().filter(|job| job.trace_parent.as_deref() == Some(trace)).count();
    assert_eq!(traced, 3);
    Ok(())
}

async fn workers_that_cannot_work_are_refused(client: Client) -> Kept {
    async fn refused(worker: Worker<()>) -> String {
        match worker.until_empty(true).run().await {
            Err(Error::Worker(why)) => why,
            Err(Error::InvalidJob(why)) => why.to_string(),
            other => panic!("{other:?}"),
        }
    }
    async fn nothing(_: Task, _: Context<()>) -> Result<()> {
        Ok(())
    }
    let new = |client: &Client| Worker::new(client, ()).job(nothing);
    assert!(refused(Worker::new(&client, ())).await.contains("no handler"));
    assert!(refused(new(&client).job(nothing)).await.contains("two handlers"));
    assert!(refused(new(&client).queue("a", 0)).await.contains("slots"));
    assert!(refused(new(&client).queue("a", usize::MAX)).await.contains("slots"));
    assert!(refused(new(&client).queue("a", 1).queue("a", 2)).await.contains("twice"));
    assert!(refused(new(&client).queue("no good", 1)).await.contains("queue"));
    assert!(refused(new(&client).slots(0)).await.contains("slots"));
    assert!(refused(new(&client).lease(Duration::from_millis(1))).await.contains("lease"));
    Ok(())
}
