//! `delete`: every trace of a job that is not active goes.

use crate::harness::*;

promises![
    everything_but_active_jobs_is_deleted,
    an_unknown_job_is_not_found,
    an_empty_batch_is_answered_with_nothing,
    a_batch_is_answered_in_its_order,
    nothing_of_a_deleted_job_comes_back,
    a_deleted_id_is_new_again,
    the_numbers_follow,
];

async fn everything_but_active_jobs_is_deleted(lab: Lab) -> Kept {
    for state in State::ALL {
        let id = lab.in_state(state).await;
        let answer = lab.store.delete(vec![id]).await?[0];
        if matches!(state, State::Active | State::Stalled) {
            assert_eq!(answer, Change::Refused { state });
            assert_eq!(lab.state(id).await, Some(state), "nothing changed");
        } else {
            assert_eq!(answer, Change::Done, "{state}");
            assert_eq!(lab.state(id).await, None);
        }
    }
    Ok(())
}

async fn an_unknown_job_is_not_found(lab: Lab) -> Kept {
    assert_eq!(lab.store.delete(vec![JobId::new()]).await?, [Change::NotFound]);
    Ok(())
}

async fn an_empty_batch_is_answered_with_nothing(lab: Lab) -> Kept {
    assert!(lab.store.delete(Vec::new()).await?.is_empty());
    Ok(())
}

async fn a_batch_is_answered_in_its_order(lab: Lab) -> Kept {
    let active = lab.active().await.fence.id;
    let waiting = lab.put(1).await[0];
    let answers = lab.store.delete(vec![active, waiting, JobId::new(), waiting]).await?;
    let refused = Change::Refused { state: State::Active };
    assert_eq!(answers, [refused, Change::Done, Change::NotFound, Change::NotFound]);
    Ok(())
}

async fn nothing_of_a_deleted_job_comes_back(lab: Lab) -> Kept {
    let first = lab.active().await;
    let (id, queue) = (first.fence.id, first.queue.as_str());
    lab.end(&first, End::Released).await;
    let second = lab.claim_from(queue).await;
    lab.end(&second, End::Completed(Some(b"1".to_vec()))).await;
    lab.store.delete(vec![id]).await?;
    assert_eq!(lab.store.retry(vec![id]).await?, [Change::NotFound]);
    assert_eq!(lab.store.cancel(vec![id]).await?, [Change::NotFound]);
    assert!(lab.store.list(Filter::default()).await?.jobs.is_empty());
    lab.pass(3600);
    lab.promote().await;
    assert!(lab.claim_all(queue).await.is_empty());
    Ok(())
}

async fn a_deleted_id_is_new_again(lab: Lab) -> Kept {
    let id = lab.in_state(State::Dead).await;
    lab.store.delete(vec![id]).await?;
    lab.put_one(Record { id, payload: b"2".to_vec(), ..job() }).await;
    let claimed = lab.claim_one().await;
    assert_eq!((claimed.fence.attempt, claimed.payload), (1, b"2".to_vec()));
    let seen = lab.show(id).await;
    assert_eq!(seen.attempts.len(), 1, "no attempt of the deleted one is shown");
    assert_eq!(seen.last_error, None);
    Ok(())
}

async fn the_numbers_follow(lab: Lab) -> Kept {
    let mut all = Vec::new();
    for state in State::ALL {
        if !matches!(state, State::Active | State::Stalled) {
            all.push(lab.in_state(state).await);
        }
    }
    lab.store.delete(all).await?;
    assert_eq!(lab.store.stats().await?.totals, dutiful::Counts::default());
    Ok(())
}
