//! `discard`: dead jobs leave the dead letter queue and stay on record as cancelled.

use crate::harness::*;

promises![
    only_dead_jobs_are_discarded,
    an_unknown_job_is_not_found,
    an_empty_batch_is_answered_with_nothing,
    a_batch_is_answered_in_its_order,
    the_reason_of_death_stays_on_record,
];

async fn only_dead_jobs_are_discarded(lab: Lab) -> Kept {
    for state in State::ALL {
        let id = lab.in_state(state).await;
        let answer = lab.store.discard(vec![id]).await?[0];
        if state == State::Dead {
            assert_eq!(answer, Change::Done);
            assert_eq!(lab.state(id).await, Some(State::Cancelled));
        } else {
            assert_eq!(answer, Change::Refused { state });
            assert_eq!(lab.state(id).await, Some(state), "nothing changed");
        }
    }
    Ok(())
}

async fn an_unknown_job_is_not_found(lab: Lab) -> Kept {
    assert_eq!(lab.store.discard(vec![JobId::new()]).await?, [Change::NotFound]);
    Ok(())
}

async fn an_empty_batch_is_answered_with_nothing(lab: Lab) -> Kept {
    assert!(lab.store.discard(Vec::new()).await?.is_empty());
    Ok(())
}

async fn a_batch_is_answered_in_its_order(lab: Lab) -> Kept {
    let (dead, live) = (lab.in_state(State::Dead).await, lab.put(1).await[0]);
    let answers = lab.store.discard(vec![live, dead, dead, JobId::new()]).await?;
    let refused = |state| Change::Refused { state };
    let expected =
        [refused(State::Pending), Change::Done, refused(State::Cancelled), Change::NotFound];
    assert_eq!(answers, expected);
    let totals = lab.store.stats().await?.totals;
    assert_eq!((totals.dead, totals.cancelled), (0, 1), "counted once");
    Ok(())
}

async fn the_reason_of_death_stays_on_record(lab: Lab) -> Kept {
    let id = lab.in_state(State::Dead).await;
    lab.store.discard(vec![id]).await?;
    let seen = lab.show(id).await;
    assert_eq!((seen.attempt, seen.attempts.len()), (1, 1));
    assert_eq!(seen.attempts[0].outcome, AttemptOutcome::Dead);
    assert_eq!(seen.attempts[0].error, Some(oops()));
    assert_eq!(seen.last_error, Some(oops()));
    assert!(seen.finished_at.is_some());
    Ok(())
}
