//! `reschedule`: waiting jobs get another time.

use std::time::Duration;

use crate::harness::*;

promises![
    only_waiting_jobs_are_rescheduled,
    an_unknown_job_is_not_found,
    an_empty_batch_is_answered_with_nothing,
    a_batch_moves_together,
    a_pending_job_waits_until_the_new_time,
    a_scheduled_job_can_be_brought_forward,
    a_failed_job_stays_failed_and_charged,
    the_last_time_is_a_time,
    the_same_time_again_changes_nothing,
    a_job_that_was_set_aside_is_scheduled_then,
];

const HOUR: Duration = Duration::from_secs(3600);

async fn only_waiting_jobs_are_rescheduled(lab: Lab) -> Kept {
    for state in State::ALL {
        let id = lab.in_state(state).await;
        let at = lab.clock.now().plus(HOUR * 2);
        let answer = lab.store.reschedule(vec![id], at).await?[0];
        let seen = lab.show(id).await;
        match state {
            State::Pending | State::Scheduled | State::Failed => {
                assert_eq!((answer, seen.scheduled_for), (Change::Done, at), "{state}");
                let expected = if state == State::Failed { state } else { State::Scheduled };
                assert_eq!(seen.state, expected);
            }
            _ => {
                assert_eq!((answer, seen.state), (Change::Refused { state }, state));
                assert_ne!(seen.scheduled_for, at, "nothing changed");
            }
        }
    }
    Ok(())
}

async fn an_unknown_job_is_not_found(lab: Lab) -> Kept {
    assert_eq!(lab.store.reschedule(vec![JobId::new()], START).await?, [Change::NotFound]);
    Ok(())
}

async fn an_empty_batch_is_answered_with_nothing(lab: Lab) -> Kept {
    assert!(lab.store.reschedule(Vec::new(), START).await?.is_empty());
    Ok(())
}

async fn a_batch_moves_together(lab: Lab) -> Kept {
    let given = lab.put(3).await;
    let at = START.plus(HOUR);
    let asked = vec![given[0], JobId::new(), given[1], given[2]];
    let answers = lab.store.reschedule(asked, at).await?;
    assert_eq!(answers, [Change::Done, Change::NotFound, Change::Done, Change::Done]);
    lab.clock.set(at);
    assert_eq!(lab.promote().await.moved, 3);
    assert_eq!(ids(&lab.claim(10).await), given);
    Ok(())
}

async fn a_pending_job_waits_until_the_new_time(lab: Lab) -> Kept {
    let id = lab.put(1).await[0];
    lab.store.reschedule(vec![id], START.plus(HOUR)).await?;
    assert!(lab.claim(10).await.is_empty());
    lab.pass(3599);
    assert_eq!(lab.promote().await.moved, 0);
    lab.pass(1);
    assert_eq!(lab.promote().await.moved, 1);
    let claimed = lab.claim_one().await;
    assert_eq!((claimed.fence.id, claimed.fence.attempt), (id, 1));
    Ok(())
}

async fn a_scheduled_job_can_be_brought_forward(lab: Lab) -> Kept {
    let id = lab.in_state(State::Scheduled).await;
    lab.store.reschedule(vec![id], START.minus(HOUR)).await?;
    lab.promote().await;
    assert_eq!(lab.claim_one().await.fence.id, id);
    Ok(())
}

async fn a_failed_job_stays_failed_and_charged(lab: Lab) -> Kept {
    let id = lab.in_state(State::Failed).await;
    lab.store.reschedule(vec![id], START.plus(HOUR)).await?;
    let seen = lab.show(id).await;
    assert_eq!((seen.state, seen.failures), (State::Failed, 1));
    assert_eq!(seen.last_error, Some(oops()));
    lab.pass(3600);
    lab.promote().await;
    assert_eq!(lab.claim_from(seen.queue.as_str()).await.failures, 1);
    Ok(())
}

async fn the_last_time_is_a_time(lab: Lab) -> Kept {
    let id = lab.put(1).await[0];
    assert_eq!(lab.store.reschedule(vec![id], Timestamp::MAX).await?, [Change::Done]);
    assert_eq!(lab.show(id).await.scheduled_for, Timestamp::MAX);
    Ok(())
}

async fn the_same_time_again_changes_nothing(lab: Lab) -> Kept {
    let id = lab.put(1).await[0];
    for _ in 0..3 {
        assert_eq!(lab.store.reschedule(vec![id], START.plus(HOUR)).await?, [Change::Done]);
    }
    let totals = lab.store.stats().await?.totals;
    assert_eq!((totals.pending, totals.scheduled), (0, 1));
    Ok(())
}

async fn a_job_that_was_set_aside_is_scheduled_then(lab: Lab) -> Kept {
    let foreign = |_| Record { job_type: name("foreign"), ..job() };
    let ids = lab.put_all((0..1000).map(foreign).collect()).await;
    assert!(lab.claim(1).await.is_empty(), "a crowd that nobody here knows is set aside");
    assert_eq!(lab.state(ids[0]).await, Some(State::Pending));
    let tomorrow = START.plus(Duration::from_secs(24 * 3600));
    lab.store.reschedule(vec![ids[0]], tomorrow).await?;
    assert_eq!(lab.state(ids[0]).await, Some(State::Scheduled), "nobody can run it today");
    Ok(())
}
