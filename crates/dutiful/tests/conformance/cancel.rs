//! `cancel`: waiting jobs stop at once, active ones when their worker hears of it.

use std::time::Duration;

use crate::harness::*;

promises![
    answers_by_the_state_the_job_is_in,
    an_unknown_job_is_not_found,
    an_empty_batch_is_answered_with_nothing,
    a_batch_is_answered_in_its_order,
    a_cancelled_job_is_on_record_and_never_runs,
    a_second_cancel_changes_nothing,
    an_active_job_may_still_complete,
    a_cancel_request_survives_the_death_of_the_worker,
    a_cancel_request_survives_a_release,
];

async fn answers_by_the_state_the_job_is_in(lab: Lab) -> Kept {
    for state in State::ALL {
        let id = lab.in_state(state).await;
        let (change, after) = match state {
            State::Scheduled | State::Pending | State::Failed => (Change::Done, State::Cancelled),
            State::Active | State::Stalled => (Change::Requested, state),
            State::Completed | State::Dead | State::Cancelled => (Change::Refused { state }, state),
        };
        assert_eq!(lab.store.cancel(vec![id]).await?, [change], "{state}");
        assert_eq!(lab.state(id).await, Some(after));
    }
    Ok(())
}

async fn an_unknown_job_is_not_found(lab: Lab) -> Kept {
    assert_eq!(lab.store.cancel(vec![JobId::new()]).await?, [Change::NotFound]);
    Ok(())
}

async fn an_empty_batch_is_answered_with_nothing(lab: Lab) -> Kept {
    assert!(lab.store.cancel(Vec::new()).await?.is_empty());
    Ok(())
}

async fn a_batch_is_answered_in_its_order(lab: Lab) -> Kept {
    let active = lab.active().await.fence.id;
    let waiting = lab.put(1).await[0];
    let answers = lab.store.cancel(vec![JobId::new(), waiting, active, waiting]).await?;
    let again = Change::Refused { state: State::Cancelled };
    assert_eq!(answers, [Change::NotFound, Change::Done, Change::Requested, again]);
    Ok(())
}

async fn a_cancelled_job_is_on_record_and_never_runs(lab: Lab) -> Kept {
    let due = lab.put(1).await[0];
    let later = lab.put_one(Record { delay: Duration::from_secs(5), ..job() }).await;
    lab.store.cancel(vec![due, later]).await?;
    lab.pass(10);
    assert_eq!(lab.promote().await.moved, 0);
    assert!(lab.claim(10).await.is_empty());
    for id in [due, later] {
        let seen = lab.show(id).await;
        assert_eq!((seen.state, seen.attempt), (State::Cancelled, 0));
        assert_eq!(seen.finished_at, Some(START));
        assert!(seen.attempts.is_empty(), "it never began");
    }
    Ok(())
}

async fn a_second_cancel_changes_nothing(lab: Lab) -> Kept {
    let id = lab.put(1).await[0];
    lab.store.cancel(vec![id]).await?;
    let before = lab.store.stats().await?.totals;
    lab.pass(60);
    lab.store.cancel(vec![id]).await?;
    assert_eq!(lab.show(id).await.finished_at, Some(START));
    assert_eq!(lab.store.stats().await?.totals, before, "counted once");
    let active = lab.active().await;
    for _ in 0..2 {
        assert_eq!(lab.store.cancel(vec![active.fence.id]).await?, [Change::Requested]);
    }
    Ok(())
}

async fn an_active_job_may_still_complete(lab: Lab) -> Kept {
    let active = lab.active().await;
    lab.store.cancel(vec![active.fence.id]).await?;
    assert_eq!(lab.end(&active, End::Completed(None)).await, Held::Yes);
    assert_eq!(lab.state(active.fence.id).await, Some(State::Completed), "what is done is done");
    Ok(())
}

async fn a_cancel_request_survives_the_death_of_the_worker(lab: Lab) -> Kept {
    let active = lab.active().await;
    lab.store.cancel(vec![active.fence.id]).await?;
    lab.crash(&active, 3).await;
    assert!(lab.claim_all(active.queue.as_str()).await.is_empty(), "nobody runs it again");
    assert_eq!(lab.state(active.fence.id).await, Some(State::Cancelled));
    Ok(())
}

async fn a_cancel_request_survives_a_release(lab: Lab) -> Kept {
    let wait = Duration::from_secs(1);
    for end in [End::Released, End::Snoozed(wait), End::Failed(oops(), wait)] {
        let active = lab.active().await;
        lab.store.cancel(vec![active.fence.id]).await?;
        assert_eq!(lab.end(&active, end.clone()).await, Held::Yes);
        lab.pass(1);
        lab.promote().await;
        assert!(lab.claim_all(active.queue.as_str()).await.is_empty(), "{end:?}: runs no more");
        assert_eq!(lab.state(active.fence.id).await, Some(State::Cancelled), "{end:?}");
    }
    Ok(())
}
