//! `retry`: dead, failed and cancelled jobs go back into the queue, due now.

use crate::harness::*;

promises![
    answers_by_the_state_the_job_is_in,
    an_unknown_job_is_not_found,
    an_empty_batch_is_answered_with_nothing,
    a_dead_job_begins_anew_and_keeps_its_attempts,
    a_failed_job_is_due_now_and_stays_charged,
    a_cancelled_job_runs_after_all,
    a_job_whose_key_is_taken_is_a_conflict,
    a_retried_job_takes_its_key_again,
    of_two_with_one_key_the_first_is_retried,
    a_retried_job_keeps_what_it_was_given,
    a_second_retry_changes_nothing,
];

async fn answers_by_the_state_the_job_is_in(lab: Lab) -> Kept {
    for state in State::ALL {
        let id = lab.in_state(state).await;
        let answer = lab.store.retry(vec![id]).await?[0];
        if matches!(state, State::Dead | State::Failed | State::Cancelled) {
            assert_eq!(answer, Change::Done, "{state}");
            assert_eq!(lab.state(id).await, Some(State::Pending), "{state}");
        } else {
            assert_eq!(answer, Change::Refused { state });
            assert_eq!(lab.state(id).await, Some(state), "nothing changed");
        }
    }
    Ok(())
}

async fn an_unknown_job_is_not_found(lab: Lab) -> Kept {
    assert_eq!(lab.store.retry(vec![JobId::new()]).await?, [Change::NotFound]);
    Ok(())
}

async fn an_empty_batch_is_answered_with_nothing(lab: Lab) -> Kept {
    assert!(lab.store.retry(Vec::new()).await?.is_empty());
    Ok(())
}

async fn a_dead_job_begins_anew_and_keeps_its_attempts(lab: Lab) -> Kept {
    let active = lab.active().await;
    let id = active.fence.id;
    lab.end(&active, End::Dead(oops(), DeadReason::Exhausted)).await;
    lab.pass(60);
    assert_eq!(lab.store.retry(vec![id]).await?, [Change::Done]);
    let seen = lab.show(id).await;
    assert_eq!((seen.state, seen.attempt), (State::Pending, 1), "attempts only grow");
    assert_eq!((seen.failures, seen.crashes), (0, 0), "all its attempts are open again");
    assert_eq!((seen.dead_reason, seen.finished_at), (None, None));
    assert_eq!(seen.attempts.len(), 1);
    assert_eq!(seen.attempts[0].error, Some(oops()));
    let again = lab.claim_from(active.queue.as_str()).await;
    assert_eq!((again.fence.attempt, again.failures, again.crashes), (2, 0, 0));
    assert_eq!(again.run_at, again.claimed_at, "due since the retry");
    Ok(())
}

async fn a_failed_job_is_due_now_and_stays_charged(lab: Lab) -> Kept {
    let id = lab.in_state(State::Failed).await;
    assert_eq!(lab.store.retry(vec![id]).await?, [Change::Done]);
    let seen = lab.show(id).await;
    assert_eq!((seen.state, seen.failures, seen.attempt), (State::Pending, 1, 1));
    assert_eq!(lab.claim_from(seen.queue.as_str()).await.failures, 1);
    Ok(())
}

async fn a_cancelled_job_runs_after_all(lab: Lab) -> Kept {
    let waiting = lab.put(1).await[0];
    lab.store.cancel(vec![waiting]).await?;
    assert_eq!(lab.store.retry(vec![waiting]).await?, [Change::Done]);
    let again = lab.claim_one().await;
    assert_eq!((again.fence.id, again.fence.attempt), (waiting, 1));
    let ran = lab.in_state(State::Cancelled).await;
    assert_eq!(lab.store.retry(vec![ran]).await?, [Change::Done]);
    let seen = lab.show(ran).await;
    assert_eq!(seen.attempts.len(), 1);
    assert_eq!(seen.attempts[0].outcome, AttemptOutcome::Cancelled);
    assert_eq!(lab.claim_from(seen.queue.as_str()).await.fence.attempt, 2);
    Ok(())
}

async fn a_job_whose_key_is_taken_is_a_conflict(lab: Lab) -> Kept {
    for state in [State::Dead, State::Cancelled] {
        let id = lab.bring_to(state, keyed("k")).await;
        let holder = lab.put_one(keyed("k")).await;
        assert_eq!(lab.store.retry(vec![id]).await?, [Change::Conflict { holder }]);
        assert_eq!(lab.state(id).await, Some(state), "nothing changed");
        lab.store.delete(vec![holder]).await?;
        assert_eq!(lab.store.retry(vec![id]).await?, [Change::Done], "and now it is free");
        lab.store.delete(vec![id]).await?;
    }
    Ok(())
}

async fn a_retried_job_takes_its_key_again(lab: Lab) -> Kept {
    for state in [State::Dead, State::Failed, State::Cancelled] {
        let id = lab.bring_to(state, keyed("k")).await;
        lab.store.retry(vec![id]).await?;
        let twin = lab.store.enqueue(vec![keyed("k")]).await?[0];
        assert_eq!((twin.id, twin.outcome), (id, EnqueueOutcome::Duplicate), "{state}");
        let queue = lab.show(id).await.queue;
        let again = lab.claim_from(queue.as_str()).await;
        assert!(again.unique);
        lab.end(&again, End::Completed(None)).await;
        let free = lab.put_one(keyed("k")).await;
        lab.store.delete(vec![free]).await?;
    }
    Ok(())
}

async fn of_two_with_one_key_the_first_is_retried(lab: Lab) -> Kept {
    let first = lab.bring_to(State::Dead, keyed("k")).await;
    let second = lab.bring_to(State::Dead, keyed("k")).await;
    let answers = lab.store.retry(vec![second, first]).await?;
    assert_eq!(answers, [Change::Done, Change::Conflict { holder: second }]);
    Ok(())
}

async fn a_retried_job_keeps_what_it_was_given(lab: Lab) -> Kept {
    let given = Record {
        payload: b"[1,2]".to_vec(),
        priority: 3,
        max_attempts: 9,
        group: Some("g".into()),
        ..job()
    };
    let id = lab.bring_to(State::Dead, given).await;
    lab.store.retry(vec![id]).await?;
    let queue = lab.show(id).await.queue;
    let again = lab.claim_from(queue.as_str()).await;
    assert_eq!((again.payload, again.max_attempts), (b"[1,2]".to_vec(), 9));
    assert_eq!(again.group.as_deref(), Some("g"));
    assert_eq!(lab.show(id).await.priority, 3);
    Ok(())
}

async fn a_second_retry_changes_nothing(lab: Lab) -> Kept {
    let id = lab.in_state(State::Dead).await;
    let answers = lab.store.retry(vec![id, id]).await?;
    assert_eq!(answers, [Change::Done, Change::Refused { state: State::Pending }]);
    assert_eq!(lab.store.stats().await?.totals.pending, 1);
    assert_eq!(lab.store.stats().await?.totals.dead, 0);
    Ok(())
}
