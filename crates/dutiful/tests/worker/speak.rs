//! What handlers say while they run, and what producers hear of the end.

use std::sync::Arc;
use std::time::Duration;

use dutiful::testing::Lab;
use dutiful::{Client, Context, Error, HandlerError, JobId, Result, State, Worker};

use crate::watch::{Kept, Shop, Task, Watch, show, soon};

promises![
    progress_and_lines_are_seen_while_the_handler_runs,
    the_last_words_of_an_attempt_that_failed_are_kept,
    the_next_attempt_reads_the_checkpoint_of_the_last,
    a_checkpoint_that_is_too_large_is_refused_before_it_is_sent,
    who_waits_hears_of_every_end_and_of_none,
];

/// Runs a worker with this handler until nothing is left.
async fn work<F, Fut, R>(client: &Client, handler: F) -> dutiful::Report
where
    F: Fn(Task, Context<()>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<R>> + Send + 'static,
    R: dutiful::IntoOutcome,
{
    let worker = Worker::new(client, ()).job(handler).until_empty(true);
    soon("the end of the work", worker.run()).await.expect("the worker ends well")
}

async fn progress_and_lines_are_seen_while_the_handler_runs(client: Client) -> Kept {
    let id = client.enqueue(Task { n: 1 }).await?.id;
    let go_on = Arc::new(tokio::sync::Notify::new());
    let waits = go_on.clone();
    let handler = move |_: Task, cx: Context<()>| {
        let waits = waits.clone();
        async move {
            cx.log("first line");
            cx.progress(40, "half way, nearly");
            waits.notified().await;
            cx.log("last line");
            Ok(())
        }
    };
    let running = tokio::spawn({
        let client = client.clone();
        async move { work(&client, handler).await }
    });
    let seen = async {
        loop {
            let job = show(&client, id).await;
            if let Some(progress) = job.progress {
                return (progress, job.attempts[0].log.len());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let (progress, lines) = soon("progress", seen).await;
    assert_eq!((progress.percent, progress.note.as_deref()), (40, Some("half way, nearly")));
    assert_eq!(lines, 1);
    go_on.notify_one();
    running.await?;
    let job = show(&client, id).await;
    let log: Vec<_> = job.attempts[0].log.iter().map(|line| line.text.as_str()).collect();
    assert_eq!(log, ["first line", "last line"], "the end takes the last words with it");
    Ok(())
}

async fn the_last_words_of_an_attempt_that_failed_are_kept(client: Client) -> Kept {
    let id = client.enqueue(Task { n: 1 }).max_attempts(1).await?.id;
    let handler = |_: Task, cx: Context<()>| async move {
        cx.progress(99, "");
        cx.log("about to fail");
        Err::<(), _>(HandlerError::msg("no"))
    };
    work(&client, handler).await;
    let job = show(&client, id).await;
    assert_eq!(job.state, State::Dead);
    assert_eq!(job.attempts[0].log[0].text, "about to fail");
    assert_eq!(job.progress.map(|p| (p.percent, p.note)), Some((99, None)));
    Ok(())
}

async fn the_next_attempt_reads_the_checkpoint_of_the_last(client: Client) -> Kept {
    let id = client.enqueue(Task { n: 0 }).await?.id;
    let handler = |_: Task, cx: Context<()>| async move {
        let done: i64 = cx.checkpoint().await?.unwrap_or_default();
        if done < 30 {
            cx.save_checkpoint(&(done + 15)).await?;
            return Err(HandlerError::retry_after(Duration::ZERO, HandlerError::msg("more")));
        }
        Ok(done)
    };
    work(&client, handler).await;
    let ended = client.result(id).await?;
    assert_eq!(ended.decode::<i64>()?, 30);
    assert_eq!(show(&client, id).await.attempt, 3);
    Ok(())
}

async fn a_checkpoint_that_is_too_large_is_refused_before_it_is_sent(client: Client) -> Kept {
    let id = client.enqueue(Task { n: 0 }).max_attempts(1).await?.id;
    let handler = |_: Task, cx: Context<()>| async move {
        cx.save_checkpoint(&"x".repeat(dutiful::RESULT_BYTES_MAX)).await
    };
    work(&client, handler).await;
    let error = show(&client, id).await.last_error.expect("it failed");
    assert!(error.message.contains("the limit is 65536"), "{}", error.message);
    Ok(())
}

#[tokio::test]
async fn words_before_a_completion_in_the_users_transaction_are_kept() -> Kept {
    let shop = Shop::open().await;
    let id = shop.client.enqueue(Task { n: 1 }).await?.id;
    let path = shop.path.clone();
    let handler = move |_: Task, cx: Context<()>| {
        cx.log("in the transaction");
        let mut conn = rusqlite::Connection::open(&path)?;
        conn.busy_timeout(Duration::from_secs(10))?;
        let tx = conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let done = cx.complete_within(&tx).now()?;
        tx.commit()?;
        Ok(done)
    };
    let worker = Worker::new(&shop.client, ()).job_blocking(handler).until_empty(true);
    soon("the end", worker.run()).await?;
    let job = show(&shop.client, id).await;
    assert_eq!((job.state, job.attempts[0].log.len()), (State::Completed, 1));
    Ok(())
}

#[tokio::test]
async fn words_before_a_transaction_that_was_rolled_back_are_kept() -> Kept {
    let shop = Shop::open().await;
    // In single steps, for a heartbeat could have written them before.
    let lab = Lab::connect(&format!("sqlite:{}", shop.path.display())).await?;
    let id = lab.client().enqueue(Task { n: 1 }).max_attempts(1).await?.id;
    let path = shop.path.clone();
    let handler = move |_: Task, cx: Context<()>| {
        cx.log("before the rollback");
        let mut conn = rusqlite::Connection::open(&path)?;
        let tx = conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let done = cx.complete_within(&tx).now()?;
        tx.rollback()?;
        Ok(done)
    };
    let worker = Worker::new(lab.client(), ()).job_blocking(handler);
    let ran = lab.runner(worker).await.run_one().await.expect("it is due");
    assert_eq!((ran.id, ran.job.state, ran.job.attempts[0].log.len()), (id, State::Dead, 1));
    Ok(())
}

#[tokio::test]
async fn a_producer_waits_for_the_result_of_another_process_of_work() -> Kept {
    let shop = Shop::open().await;
    let elsewhere = shop.elsewhere().await;
    let id = shop.client.enqueue(Task { n: 21 }).await?.id;
    let waiting = tokio::spawn({
        let client = shop.client.clone();
        async move { client.result(id).await }
    });
    let handler = |job: Task, _: Context<()>| async move { Ok(job.n * 2) };
    work(&elsewhere, handler).await;
    let ended = soon("the result", waiting).await??;
    assert_eq!((ended.state, ended.decode::<i64>()?), (State::Completed, 42));
    assert!(ended.decode::<String>().is_err(), "a number is no text");
    Ok(())
}

async fn who_waits_hears_of_every_end_and_of_none(client: Client) -> Kept {
    assert!(matches!(client.result(JobId::new()).await, Err(Error::NotFound(_))));
    let id = client.enqueue(Task { n: 1 }).max_attempts(1).await?.id;
    let early = client.result(id).timeout(Duration::from_millis(20)).await;
    let Err(error @ Error::NotEnded { state: State::Pending, .. }) = early else {
        panic!("{early:?}")
    };
    assert!(error.to_string().contains("it is pending"), "{error}");
    let handler = |_: Task, _: Context<()>| async { Err::<(), _>(HandlerError::msg("no luck")) };
    work(&client, handler).await;
    let dead = client.result(id).await?;
    assert_eq!(dead.state, State::Dead);
    let error = dead.decode::<()>().expect_err("a dead job has no result");
    assert!(error.to_string().contains("it is dead (error: no luck)"), "{error}");
    let other = client.enqueue(Task { n: 2 }).await?.id;
    client.cancel(other).await?;
    assert_eq!(client.result(other).await?.state, State::Cancelled);
    let unit = client.enqueue(Task { n: 3 }).await?.id;
    work(&client, |_: Task, _: Context<()>| async { Ok(()) }).await;
    client.result(unit).await?.decode::<()>()?;
    Ok(())
}

#[tokio::test]
async fn a_stale_attempt_cannot_keep_a_checkpoint() -> Kept {
    let shop = Shop::open().await;
    let watch = Watch::new();
    let id = shop.client.enqueue(Task { n: 1 }).await?.id;
    let raw = shop.path.clone();
    let handler = move |_: Task, cx: Context<()>| {
        let raw = raw.clone();
        async move {
            // Somebody takes the lease away, as a rescue would.
            let conn = rusqlite::Connection::open(&raw)?;
            conn.busy_timeout(Duration::from_secs(10))?;
            conn.execute("UPDATE dutiful_lease SET nonce = nonce + 1", [])?;
            let refused = cx.save_checkpoint(&1).await.expect_err("it is no longer ours");
            assert!(refused.failure().message.contains("lease was lost"));
            Ok(())
        }
    };
    let worker = Worker::new(&shop.client, ()).job(handler).observer(watch.clone());
    let handle = worker.handle();
    let running = tokio::spawn(worker.run());
    watch.hears("lost", 1).await;
    handle.stop();
    running.await??;
    assert!(show(&shop.client, id).await.checkpoint.is_none());
    Ok(())
}
