//! `finish` under a fence: whoever lost the lease changes nothing, whatever it was doing.

use std::time::Duration;

use crate::harness::*;

promises![
    a_second_finish_of_an_attempt_is_lost,
    the_same_fence_twice_in_a_batch_counts_once,
    a_wrong_nonce_attempt_or_job_is_lost,
    a_worker_whose_job_was_rescued_changes_nothing,
    a_worker_whose_job_runs_elsewhere_changes_nothing,
    a_worker_whose_job_ended_elsewhere_changes_nothing,
    an_old_attempt_of_its_own_job_is_lost_too,
    an_expired_lease_that_nobody_rescued_may_still_finish,
    a_quarantined_job_cannot_be_completed_late,
    a_lost_finish_is_not_counted,
];

fn every_end() -> [End; 6] {
    [
        End::Completed(Some(b"\"late\"".to_vec())),
        End::Failed(oops(), Duration::from_secs(1)),
        End::Dead(oops(), DeadReason::Exhausted),
        End::Snoozed(Duration::from_secs(1)),
        End::Released,
        End::Cancelled,
    ]
}

/// Tries every way to end this attempt; each must be lost and leave the job as it is.
async fn changes_nothing(lab: &Lab, job: &Claimed) {
    let look = async || serde_json::to_string(&lab.show(job.fence.id).await).expect("JSON");
    let before = look().await;
    for end in every_end() {
        assert_eq!(lab.end(job, end.clone()).await, Held::Lost, "{end:?}");
        assert_eq!(look().await, before, "{end:?}");
    }
}

async fn a_second_finish_of_an_attempt_is_lost(lab: Lab) -> Kept {
    for end in every_end() {
        let active = lab.active().await;
        assert_eq!(lab.end(&active, end).await, Held::Yes);
        changes_nothing(&lab, &active).await;
    }
    Ok(())
}

async fn the_same_fence_twice_in_a_batch_counts_once(lab: Lab) -> Kept {
    let active = lab.active().await;
    let failed = lab.finish(&active, End::Failed(oops(), Duration::from_secs(1)));
    let done = lab.finish(&active, End::Completed(None));
    let held = lab.store.finish(lab.worker, vec![failed, done]).await?;
    assert_eq!(held, [Held::Yes, Held::Lost]);
    assert_eq!(lab.state(active.fence.id).await, Some(State::Failed));
    Ok(())
}

async fn a_wrong_nonce_attempt_or_job_is_lost(lab: Lab) -> Kept {
    let (mine, other) = (lab.active().await, lab.active().await);
    let fence = mine.fence;
    for wrong in [
        forged(fence),
        Fence { nonce: 0, ..fence },
        Fence { attempt: fence.attempt + 1, ..fence },
        Fence { attempt: 0, ..fence },
        Fence { id: other.fence.id, nonce: fence.nonce ^ 1, ..fence },
    ] {
        let stranger = Claimed { fence: wrong, ..mine.clone() };
        changes_nothing(&lab, &stranger).await;
    }
    let nowhere = Claimed { fence: Fence { id: JobId::new(), ..fence }, ..mine.clone() };
    assert_eq!(lab.end(&nowhere, End::Completed(None)).await, Held::Lost);
    assert_eq!(lab.end(&mine, End::Completed(None)).await, Held::Yes);
    assert_eq!(lab.end(&other, End::Completed(None)).await, Held::Yes);
    Ok(())
}

async fn a_worker_whose_job_was_rescued_changes_nothing(lab: Lab) -> Kept {
    let active = lab.active().await;
    lab.crash(&active, 3).await;
    changes_nothing(&lab, &active).await;
    assert_eq!(lab.state(active.fence.id).await, Some(State::Pending));
    Ok(())
}

async fn a_worker_whose_job_runs_elsewhere_changes_nothing(lab: Lab) -> Kept {
    let zombie = lab.active().await;
    lab.crash(&zombie, 3).await;
    let heir = lab.claim_from(zombie.queue.as_str()).await;
    changes_nothing(&lab, &zombie).await;
    assert_eq!(lab.end(&heir, End::Completed(Some(b"\"mine\"".to_vec()))).await, Held::Yes);
    let seen = lab.show(zombie.fence.id).await;
    assert_eq!(seen.result.as_ref().map(|r| r.get()), Some("\"mine\""));
    Ok(())
}

async fn a_worker_whose_job_ended_elsewhere_changes_nothing(lab: Lab) -> Kept {
    let zombie = lab.active().await;
    lab.crash(&zombie, 3).await;
    let heir = lab.claim_from(zombie.queue.as_str()).await;
    lab.end(&heir, End::Dead(oops(), DeadReason::Discarded)).await;
    changes_nothing(&lab, &zombie).await;
    lab.store.delete(vec![zombie.fence.id]).await?;
    assert_eq!(lab.end(&zombie, End::Completed(None)).await, Held::Lost);
    assert_eq!(lab.state(zombie.fence.id).await, None, "deleted stays deleted");
    Ok(())
}

async fn an_old_attempt_of_its_own_job_is_lost_too(lab: Lab) -> Kept {
    let first = lab.active().await;
    lab.end(&first, End::Released).await;
    let second = lab.claim_from(first.queue.as_str()).await;
    changes_nothing(&lab, &first).await;
    assert_eq!(lab.end(&second, End::Completed(None)).await, Held::Yes);
    Ok(())
}

async fn an_expired_lease_that_nobody_rescued_may_still_finish(lab: Lab) -> Kept {
    let active = lab.active().await;
    lab.pass(3600);
    assert_eq!(lab.state(active.fence.id).await, Some(State::Stalled));
    assert_eq!(lab.end(&active, End::Completed(None)).await, Held::Yes);
    assert!(lab.rescue(3).await.is_empty());
    assert_eq!(lab.state(active.fence.id).await, Some(State::Completed));
    Ok(())
}

async fn a_quarantined_job_cannot_be_completed_late(lab: Lab) -> Kept {
    let active = lab.active().await;
    assert!(lab.crash(&active, 1).await.dead);
    changes_nothing(&lab, &active).await;
    assert_eq!(lab.state(active.fence.id).await, Some(State::Dead));
    Ok(())
}

async fn a_lost_finish_is_not_counted(lab: Lab) -> Kept {
    let active = lab.active().await;
    lab.crash(&active, 3).await;
    let before = lab.store.stats().await?.totals;
    for end in every_end() {
        lab.end(&active, end).await;
    }
    assert_eq!(lab.store.stats().await?.totals, before);
    Ok(())
}
