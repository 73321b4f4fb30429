//! The testing kit, as users use it: single steps, time that passes when told to, planned faults.
#![cfg(feature = "sqlite")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dutiful::testing::{LAB_START, Lab, RUNS_MAX};
use dutiful::{
    AttemptOutcome, Client, Context, Error, HandlerError, Job, Outcome, Result, Retry, State,
    StoreError, Worker,
};
use serde::{Deserialize, Serialize};

const MINUTE: Duration = Duration::from_secs(60);

#[derive(Debug, Serialize, Deserialize)]
struct Mail {
    to: String,
}

impl Job for Mail {
    const TYPE: &'static str = "mail";
    const QUEUE: &'static str = "mail";
    const RETRY: Retry = Retry::fixed(MINUTE);
}

#[derive(Debug, Serialize, Deserialize)]
struct Report {
    pages: u32,
}

impl Job for Report {
    const TYPE: &'static str = "report";
}

fn mail(to: &str) -> Mail {
    Mail { to: to.into() }
}

/// A worker whose mails all arrive.
fn postman(lab: &Lab) -> Worker<()> {
    Worker::new(lab.client(), ()).job(|_: Mail, _: Context<()>| async { Ok(()) })
}

#[tokio::test]
async fn jobs_run_one_at_a_time_in_their_order() {
    let lab = Lab::new().await;
    for (to, priority) in [("late", 20), ("first", 1), ("second", 2)] {
        lab.client().enqueue(mail(to)).priority(priority).await.expect("it is stored");
    }
    let worker = lab.runner(postman(&lab)).await;
    let mut order = Vec::new();
    while let Some(ran) = worker.run_one().await {
        assert_eq!((ran.attempt, ran.outcome), (1, AttemptOutcome::Completed));
        let payload: Mail = serde_json::from_str(ran.job.payload.expect("a payload").get())
            .expect("the payload is a mail");
        order.push(payload.to);
    }
    assert_eq!(order, ["first", "second", "late"]);
}

#[tokio::test]
async fn a_drain_runs_what_handlers_enqueue_too() {
    let lab = Lab::new().await;
    let report = |job: Report, cx: Context<()>| async move {
        for n in 0..job.pages {
            cx.client().enqueue(mail(&n.to_string())).await?;
        }
        Ok(job.pages)
    };
    let worker = lab.runner(postman(&lab).job(report)).await;
    let id = lab.client().enqueue(Report { pages: 3 }).await.expect("it is stored").id;
    assert_eq!(worker.drain().await.len(), 4);
    let children = lab.enqueued::<Mail>().await;
    assert_eq!(children.len(), 3);
    assert!(children.iter().all(|one| one.info.correlation_id == id.to_string()));
    assert!(children.iter().all(|one| one.info.state == State::Completed));
}

#[tokio::test]
async fn time_passes_only_when_it_is_told_to() {
    let lab = Lab::new().await;
    assert_eq!(lab.clock().now(), LAB_START);
    let id = lab.client().enqueue(mail("x")).delay(MINUTE).await.expect("it is stored").id;
    let worker = lab.runner(postman(&lab)).await;
    assert!(worker.run_one().await.is_none());
    assert_eq!(lab.job(id).await.state, State::Scheduled);
    lab.advance(MINUTE - Duration::from_millis(1)).await;
    assert!(worker.run_one().await.is_none());
    lab.advance(Duration::from_millis(1)).await;
    assert_eq!(lab.job(id).await.state, State::Pending);
    assert!(worker.run_one().await.is_some());
    assert_eq!(lab.clock().now(), LAB_START.plus(MINUTE));
}

#[tokio::test]
async fn retries_snoozes_and_delays_run_in_leaps() {
    let lab = Lab::new().await;
    let flaky = |_: Mail, cx: Context<()>| async move {
        match cx.attempt() {
            1 => Err(HandlerError::msg("away")),
            2 => Ok(Outcome::Snooze(MINUTE * 10)),
            _ => Ok(Outcome::Done),
        }
    };
    let worker = lab.runner(Worker::new(lab.client(), ()).job(flaky)).await;
    lab.client().enqueue(mail("x")).delay(MINUTE).await.expect("it is stored");
    let ran = worker.drain_for(MINUTE * 5).await;
    let outcomes: Vec<_> = ran.iter().map(|ran| ran.outcome).collect();
    assert_eq!(outcomes, [AttemptOutcome::Failed, AttemptOutcome::Snoozed]);
    assert_eq!(lab.clock().now(), LAB_START.plus(MINUTE * 5), "all of the time has passed");
    let ran = worker.drain_for(MINUTE * 10).await;
    assert_eq!((ran.len(), ran[0].attempt), (1, 3));
}

#[tokio::test]
async fn a_retry_that_need_not_wait_is_due_at_once() {
    let lab = Lab::new().await;
    let hasty = |_: Mail, cx: Context<()>| async move {
        match cx.attempt() {
            1 => Err(HandlerError::retry_after(Duration::ZERO, HandlerError::msg("again"))),
            2 => Ok(Outcome::Snooze(Duration::ZERO)),
            _ => Ok(Outcome::Done),
        }
    };
    let worker = lab.runner(Worker::new(lab.client(), ()).job(hasty)).await;
    lab.client().enqueue(mail("x")).await.expect("it is stored");
    lab.client().enqueue(mail("later")).delay(MINUTE).await.expect("it is stored");
    assert_eq!(worker.drain_for(MINUTE).await.len(), 6);
    let hasty = lab.assert_enqueued::<Mail>(|job| job.to == "x").await.info;
    let ended = hasty.finished_at.expect("it is completed");
    assert!(ended < LAB_START.plus(MINUTE), "no time had to pass for it: {ended}");
    lab.client().enqueue(mail("y")).await.expect("it is stored");
    assert_eq!(worker.drain().await.len(), 3);
}

#[tokio::test]
#[should_panic(expected = "and still something is due")]
async fn a_job_that_never_ends_is_told_from_a_long_test() {
    let lab = Lab::new().await;
    let again = |_: Mail, cx: Context<()>| async move {
        cx.client().enqueue(mail("again")).await?;
        Ok(())
    };
    let worker = lab.runner(Worker::new(lab.client(), ()).job(again)).await;
    lab.client().enqueue(mail("x")).await.expect("it is stored");
    assert!(worker.drain().await.len() < RUNS_MAX);
}

#[tokio::test]
async fn what_was_enqueued_can_be_asserted() {
    let lab = Lab::new().await;
    let ids = lab.client().enqueue_all(["ada", "bob"].map(mail)).await.expect("they are stored");
    let ada = lab.assert_enqueued::<Mail>(|job| job.to == "ada").await;
    assert_eq!((ada.info.id, ada.info.queue.as_str()), (ids[0].id, "mail"));
    lab.refute_enqueued::<Mail>(|job| job.to == "eve").await;
    assert!(lab.enqueued::<Report>().await.is_empty());
}

#[tokio::test]
#[should_panic(expected = "no mail was enqueued that fits: [{\"to\":\"ada\"}]")]
async fn what_is_missing_is_said_with_what_is_there() {
    let lab = Lab::new().await;
    lab.client().enqueue(mail("ada")).await.expect("it is stored");
    lab.assert_enqueued::<Mail>(|job| job.to == "eve").await;
}

#[tokio::test]
#[should_panic(expected = "one fits: [{\"to\":\"ada\"}]")]
async fn what_is_there_too_much_is_shown() {
    let lab = Lab::new().await;
    lab.client().enqueue(mail("ada")).await.expect("it is stored");
    lab.refute_enqueued::<Mail>(|_| true).await;
}

#[tokio::test]
async fn a_planned_fault_happens_once_and_changes_nothing() {
    let lab = Lab::new().await;
    lab.faults().fail("enqueue");
    let error = lab.client().enqueue(mail("x")).await.expect_err("it was planned");
    assert!(matches!(error, Error::Store(StoreError::Planned("enqueue"))), "{error:?}");
    assert!(lab.enqueued::<Mail>().await.is_empty());
    lab.client().enqueue(mail("x")).await.expect("the next one is stored");
    lab.faults().fail_times("claim", 2);
    let worker = lab.runner(postman(&lab)).await;
    for _ in 0..2 {
        assert!(worker.try_run_one().await.is_err());
    }
    assert!(worker.try_run_one().await.expect("the third passes").is_some());
}

#[tokio::test]
async fn a_lost_answer_is_done_all_the_same() {
    let lab = Lab::new().await;
    lab.faults().lose_answer("enqueue");
    let error = lab.client().enqueue(mail("x")).await.expect_err("nobody answered");
    assert!(matches!(error, Error::Store(StoreError::Timeout(_))), "{error:?}");
    let id = lab.assert_enqueued::<Mail>(|_| true).await.info.id;
    let worker = lab.runner(postman(&lab)).await;
    lab.faults().lose_answer("finish");
    assert!(worker.try_run_one().await.is_err());
    assert_eq!(lab.job(id).await.state, State::Completed);
    assert!(worker.run_one().await.is_none(), "and it is not run again");
}

#[tokio::test]
async fn words_that_cannot_be_written_do_not_cost_the_end() {
    let lab = Lab::new().await;
    lab.client().enqueue(mail("x")).await.expect("it is stored");
    let talks = |_: Mail, cx: Context<()>| async move {
        cx.log("a line");
        Ok(())
    };
    let worker = lab.runner(Worker::new(lab.client(), ()).job(talks)).await;
    lab.faults().fail("note");
    let ran = worker.run_one().await.expect("it is due");
    assert_eq!((ran.outcome, ran.job.attempts[0].log.len()), (AttemptOutcome::Completed, 0));
}

#[tokio::test]
async fn a_finish_that_failed_is_run_again_after_the_lease() {
    let lab = Lab::new().await;
    let id = lab.client().enqueue(mail("x")).await.expect("it is stored").id;
    let worker = lab.runner(postman(&lab).lease(MINUTE)).await;
    lab.faults().fail("finish");
    assert!(worker.try_run_one().await.is_err());
    assert_eq!(lab.job(id).await.state, State::Active);
    lab.advance(MINUTE + Duration::from_secs(1)).await;
    let job = lab.job(id).await;
    assert_eq!((job.state, job.crashes), (State::Pending, 1));
    assert_eq!(job.attempts[0].outcome, AttemptOutcome::Stalled);
    let ran = worker.run_one().await.expect("it was rescued");
    assert_eq!((ran.attempt, ran.outcome), (2, AttemptOutcome::Completed));
}

#[tokio::test]
async fn a_handler_that_loses_its_lease_changes_nothing() {
    let lab = Arc::new(Lab::new().await);
    let runs = Arc::new(AtomicUsize::new(0));
    let (theirs, counted) = (lab.clone(), runs.clone());
    let handler = move |_: Mail, cx: Context<()>| {
        let (lab, runs) = (theirs.clone(), counted.clone());
        async move {
            if runs.fetch_add(1, Ordering::SeqCst) == 0 {
                lab.lose_lease(cx.id()).await;
                let refused = cx.save_checkpoint(&1).await;
                assert!(refused.is_err(), "the checkpoint of a stale attempt");
            }
            Ok(cx.attempt())
        }
    };
    let id = lab.client().enqueue(mail("x")).await.expect("it is stored").id;
    let worker = lab.runner(Worker::new(lab.client(), ()).job(handler)).await;
    let first = worker.run_one().await.expect("it is due");
    assert_eq!((first.job.state, first.job.result.is_none()), (State::Pending, true));
    assert!(worker.run_one().await.is_some());
    let second: u32 = lab.client().result(id).await.expect("it ended").decode().expect("a number");
    assert_eq!((second, runs.load(Ordering::SeqCst)), (2, 2));
}

#[tokio::test]
async fn a_worker_that_runs_by_itself_can_be_cut_off() {
    let lab = Lab::new().await;
    let id = lab.client().enqueue(mail("x")).await.expect("it is stored").id;
    let forever = |_: Mail, cx: Context<()>| async move {
        cx.cancelled().await;
        std::future::pending::<Result<()>>().await
    };
    lab.faults().cut("heartbeat");
    let worker = Worker::new(lab.client(), ()).job(forever).lease(Duration::from_millis(300));
    let handle = worker.handle();
    let running = tokio::spawn(worker.run());
    let lost = async {
        loop {
            let job = lab.job(id).await;
            if job.state == State::Active {
                break;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        // Two thirds of the lease pass on the worker's own clock, then it gives up by itself.
        tokio::time::sleep(Duration::from_millis(600)).await;
        handle.stop();
        running.await.expect("no panic").expect("it ends well")
    };
    let report = tokio::time::timeout(Duration::from_secs(20), lost).await.expect("in time");
    assert_eq!((report.lost, report.completed), (1, 0));
    lab.faults().mend("heartbeat");
    assert_eq!(lab.job(id).await.state, State::Active, "the store's clock stands still");
}

#[tokio::test]
async fn the_client_of_the_user_keeps_what_it_was_built_with() {
    let builder = Client::builder().middleware(|job| {
        job.settings.tags.push("seen".into());
        Ok(())
    });
    let lab = Lab::build(builder, "sqlite::memory:").await.expect("it opens");
    lab.client().enqueue(mail("x")).await.expect("it is stored");
    assert_eq!(lab.assert_enqueued::<Mail>(|_| true).await.info.tags, ["seen"]);
}

#[tokio::test]
#[should_panic(expected = "no verb \"finsh\"")]
async fn a_fault_in_a_verb_that_does_not_exist_is_refused() {
    Lab::new().await.faults().fail("finsh");
}
