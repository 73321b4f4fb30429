//! `finish`: how an attempt ended, and what becomes of the job.

use std::time::Duration;

use crate::harness::*;

promises![
    a_completed_job_keeps_its_result_and_last_attempt,
    a_result_is_kept_byte_for_byte,
    a_failed_job_waits_for_its_retry_and_is_charged,
    a_dead_job_says_why,
    a_snoozed_job_waits_and_is_not_charged,
    a_released_job_is_due_at_once_and_not_charged,
    a_released_job_runs_before_younger_ones_of_its_priority,
    a_cancelled_job_never_runs_again,
    any_outcome_resets_the_crashes,
    an_empty_batch_is_answered_with_nothing,
    a_batch_is_answered_in_its_order,
    the_attempt_log_reads_one_to_n,
    an_at_most_once_job_says_later_how_it_ended,
    a_failed_at_most_once_job_is_not_run_again,
    a_wait_of_ages_ends_with_the_year_9999,
];

async fn a_completed_job_keeps_its_result_and_last_attempt(lab: Lab) -> Kept {
    let active = lab.active().await;
    lab.pass(3);
    assert_eq!(lab.end(&active, End::Completed(Some(b"{\"n\":1}".to_vec()))).await, Held::Yes);
    let seen = lab.show(active.fence.id).await;
    assert_eq!(seen.state, State::Completed);
    assert_eq!(seen.result.as_ref().map(|r| r.get()), Some("{\"n\":1}"));
    assert_eq!((seen.attempt, seen.failures, seen.crashes), (1, 0, 0));
    assert!(seen.finished_at.is_some_and(|at| at > START));
    assert_eq!(seen.attempts.len(), 1);
    let last = &seen.attempts[0];
    assert_eq!((last.number, last.worker, last.started_at), (1, lab.worker, START));
    assert_eq!((last.outcome, last.finished_at), (AttemptOutcome::Completed, seen.finished_at));
    assert_eq!((&last.error, &seen.last_error), (&None, &None));
    lab.pass(3600);
    assert!(lab.claim_all(active.queue.as_str()).await.is_empty());
    Ok(())
}

async fn a_result_is_kept_byte_for_byte(lab: Lab) -> Kept {
    let large = format!("\"{}\"", "x".repeat(60_000));
    for result in
        ["9007199254740993", "1e300", "[]", "{\"b\":1,\"a\":1,\"a\":2}", "\"\\u00e9\"", &large]
    {
        let active = lab.active().await;
        lab.end(&active, End::Completed(Some(result.into()))).await;
        let seen = lab.show(active.fence.id).await;
        assert_eq!(seen.result.as_ref().map(|r| r.get()), Some(result));
    }
    Ok(())
}

async fn a_failed_job_waits_for_its_retry_and_is_charged(lab: Lab) -> Kept {
    let active = lab.active().await;
    assert_eq!(lab.end(&active, End::Failed(oops(), Duration::from_secs(60))).await, Held::Yes);
    let seen = lab.show(active.fence.id).await;
    assert_eq!((seen.state, seen.attempt, seen.failures), (State::Failed, 1, 1));
    assert_eq!(seen.scheduled_for, START.plus(Duration::from_secs(60)));
    assert_eq!(seen.last_error, Some(oops()));
    assert_eq!(seen.finished_at, None);
    assert_eq!(seen.attempts[0].outcome, AttemptOutcome::Failed);
    assert_eq!(seen.attempts[0].error, Some(oops()));
    lab.pass(59);
    assert_eq!(lab.promote().await.moved, 0);
    lab.pass(1);
    assert_eq!(lab.promote().await.moved, 1);
    let again = lab.claim_from(active.queue.as_str()).await;
    assert_eq!((again.fence.attempt, again.failures), (2, 1));
    Ok(())
}

async fn a_dead_job_says_why(lab: Lab) -> Kept {
    for reason in [DeadReason::Exhausted, DeadReason::Discarded] {
        let active = lab.active().await;
        assert_eq!(lab.end(&active, End::Dead(oops(), reason)).await, Held::Yes);
        let seen = lab.show(active.fence.id).await;
        assert_eq!((seen.state, seen.dead_reason), (State::Dead, Some(reason)));
        assert_eq!(seen.last_error, Some(oops()));
        assert!(seen.finished_at.is_some());
        assert_eq!(seen.attempts.len(), 1);
        assert_eq!(seen.attempts[0].outcome, AttemptOutcome::Dead);
        assert!(lab.claim_all(active.queue.as_str()).await.is_empty());
    }
    Ok(())
}

async fn a_snoozed_job_waits_and_is_not_charged(lab: Lab) -> Kept {
    let active = lab.active().await;
    lab.end(&active, End::Snoozed(Duration::from_secs(60))).await;
    let seen = lab.show(active.fence.id).await;
    assert_eq!((seen.state, seen.attempt, seen.failures), (State::Scheduled, 1, 0));
    assert_eq!(seen.scheduled_for, START.plus(Duration::from_secs(60)));
    assert_eq!(seen.attempts[0].outcome, AttemptOutcome::Snoozed);
    lab.pass(60);
    assert_eq!(lab.promote().await.moved, 1);
    let again = lab.claim_from(active.queue.as_str()).await;
    assert_eq!((again.fence.attempt, again.failures), (2, 0));
    Ok(())
}

async fn a_released_job_is_due_at_once_and_not_charged(lab: Lab) -> Kept {
    let active = lab.active().await;
    lab.end(&active, End::Released).await;
    let seen = lab.show(active.fence.id).await;
    assert_eq!((seen.state, seen.attempt, seen.failures), (State::Pending, 1, 0));
    assert_eq!(seen.attempts[0].outcome, AttemptOutcome::Released);
    let again = lab.claim_from(active.queue.as_str()).await;
    assert_eq!((again.fence.attempt, again.failures, again.crashes), (2, 0, 0));
    Ok(())
}

async fn a_released_job_runs_before_younger_ones_of_its_priority(lab: Lab) -> Kept {
    lab.put(1).await;
    let first = lab.claim_one().await;
    lab.pass(1);
    lab.end(&first, End::Released).await;
    lab.pass(1);
    lab.put(3).await;
    assert_eq!(lab.claim_one().await.fence.id, first.fence.id);
    Ok(())
}

async fn a_cancelled_job_never_runs_again(lab: Lab) -> Kept {
    let active = lab.active().await;
    lab.end(&active, End::Cancelled).await;
    let seen = lab.show(active.fence.id).await;
    assert_eq!(seen.state, State::Cancelled);
    assert!(seen.finished_at.is_some());
    assert_eq!(seen.attempts[0].outcome, AttemptOutcome::Cancelled);
    lab.pass(3600);
    assert!(lab.rescue(3).await.is_empty());
    assert!(lab.claim_all(active.queue.as_str()).await.is_empty());
    Ok(())
}

async fn any_outcome_resets_the_crashes(lab: Lab) -> Kept {
    let wait = Duration::from_secs(5);
    for end in [End::Failed(oops(), wait), End::Snoozed(wait), End::Released] {
        let active = lab.active().await;
        let queue = active.queue.as_str();
        assert_eq!(lab.crash(&active, 3).await.crashes, 1);
        let second = lab.claim_from(queue).await;
        assert_eq!(second.crashes, 1);
        assert_eq!(lab.crash(&second, 3).await.crashes, 2);
        let third = lab.claim_from(queue).await;
        assert_eq!(third.crashes, 2);
        lab.end(&third, end.clone()).await;
        assert_eq!(lab.show(active.fence.id).await.crashes, 0, "{end:?}");
        lab.pass(5);
        lab.promote().await;
        let fourth = lab.claim_from(queue).await;
        assert_eq!((fourth.crashes, fourth.fence.attempt), (0, 4));
        assert_eq!(lab.crash(&fourth, 3).await.crashes, 1, "counted from one again");
        let last = lab.claim_from(queue).await;
        lab.end(&last, End::Completed(None)).await;
    }
    Ok(())
}

async fn an_empty_batch_is_answered_with_nothing(lab: Lab) -> Kept {
    assert!(lab.store.finish(lab.worker, Vec::new()).await?.is_empty());
    Ok(())
}

async fn a_batch_is_answered_in_its_order(lab: Lab) -> Kept {
    lab.put(6).await;
    let jobs = lab.claim(6).await;
    lab.end(&jobs[1], End::Completed(None)).await;
    lab.end(&jobs[4], End::Released).await;
    let ends = [
        End::Completed(None),
        End::Completed(None),
        End::Failed(oops(), Duration::from_secs(9)),
        End::Dead(oops(), DeadReason::Exhausted),
        End::Cancelled,
        End::Snoozed(Duration::from_secs(9)),
    ];
    let batch = jobs.iter().zip(ends).map(|(job, end)| lab.finish(job, end)).collect();
    let held = lab.store.finish(lab.worker, batch).await?;
    use Held::{Lost, Yes};
    assert_eq!(held, [Yes, Lost, Yes, Yes, Lost, Yes]);
    let states = [
        State::Completed,
        State::Completed,
        State::Failed,
        State::Dead,
        State::Pending,
        State::Scheduled,
    ];
    for (job, state) in jobs.iter().zip(states) {
        assert_eq!(lab.state(job.fence.id).await, Some(state));
    }
    Ok(())
}

async fn the_attempt_log_reads_one_to_n(lab: Lab) -> Kept {
    let first = lab.active().await;
    let (id, queue) = (first.fence.id, first.queue.as_str());
    lab.end(&first, End::Failed(oops(), Duration::from_secs(1))).await;
    lab.pass(1);
    lab.promote().await;
    lab.crash(&lab.claim_from(queue).await, 3).await;
    lab.end(&lab.claim_from(queue).await, End::Snoozed(Duration::from_secs(1))).await;
    lab.pass(1);
    lab.promote().await;
    lab.end(&lab.claim_from(queue).await, End::Released).await;
    lab.end(&lab.claim_from(queue).await, End::Dead(oops(), DeadReason::Discarded)).await;
    assert_eq!(lab.store.retry(vec![id]).await?, [Change::Done]);
    let last = lab.claim_from(queue).await;
    let running = lab.show(id).await;
    assert_eq!(running.attempts.last().map(|a| a.outcome), Some(AttemptOutcome::Running));
    lab.end(&last, End::Completed(None)).await;
    let seen = lab.show(id).await;
    let log: Vec<_> = seen.attempts.iter().map(|a| (a.number, a.outcome)).collect();
    use AttemptOutcome::{Completed, Dead, Failed, Released, Snoozed, Stalled};
    let expected = [Failed, Stalled, Snoozed, Released, Dead, Completed];
    assert_eq!(log, (1..).zip(expected).collect::<Vec<_>>());
    assert!(seen.attempts.iter().all(|a| a.finished_at.is_some_and(|at| at >= a.started_at)));
    assert!(seen.attempts.is_sorted_by_key(|a| a.started_at));
    let errors: Vec<_> = seen.attempts.iter().map(|a| a.error.is_some()).collect();
    assert_eq!(errors, [true, true, false, false, true, false]);
    assert_eq!(seen.attempts[1].error.as_ref().map(|e| e.class.as_str()), Some("stalled"));
    Ok(())
}

async fn an_at_most_once_job_says_later_how_it_ended(lab: Lab) -> Kept {
    let active = lab.active_with(Record { delivery: Delivery::AtMostOnce, ..job() }).await;
    lab.pass(2);
    assert_eq!(lab.end(&active, End::Completed(Some(b"7".to_vec()))).await, Held::Yes);
    let seen = lab.show(active.fence.id).await;
    assert_eq!((seen.state, seen.attempt), (State::Completed, 1));
    assert_eq!(seen.result.as_ref().map(|r| r.get()), Some("7"));
    assert_eq!(seen.attempts.len(), 1);
    assert_eq!(seen.attempts[0].outcome, AttemptOutcome::Completed);
    assert_eq!(lab.end(&active, End::Completed(None)).await, Held::Lost, "once");
    assert_eq!(lab.store.stats().await?.totals.completed, 1);
    Ok(())
}

async fn a_failed_at_most_once_job_is_not_run_again(lab: Lab) -> Kept {
    for end in [
        End::Failed(oops(), Duration::from_secs(1)),
        End::Dead(oops(), DeadReason::Exhausted),
        End::Snoozed(Duration::from_secs(1)),
        End::Released,
    ] {
        let active = lab.active_with(Record { delivery: Delivery::AtMostOnce, ..job() }).await;
        lab.end(&active, end.clone()).await;
        lab.pass(3600);
        lab.promote().await;
        assert!(lab.rescue(3).await.is_empty());
        assert!(lab.claim_all(active.queue.as_str()).await.is_empty(), "after {end:?}");
        let seen = lab.show(active.fence.id).await;
        assert!(seen.state.is_final(), "{end:?} came to {}", seen.state);
        let last = seen.attempts[0].outcome;
        assert_ne!(last, AttemptOutcome::Completed, "after {end:?}");
    }
    Ok(())
}

async fn a_wait_of_ages_ends_with_the_year_9999(lab: Lab) -> Kept {
    for end in [End::Failed(oops(), Duration::MAX), End::Snoozed(Duration::MAX)] {
        let active = lab.active().await;
        assert_eq!(lab.end(&active, end).await, Held::Yes);
        assert_eq!(lab.show(active.fence.id).await.scheduled_for, Timestamp::MAX);
    }
    Ok(())
}
