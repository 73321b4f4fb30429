//! `heartbeat`: leases go on for those who hold them, and for nobody else.

use std::time::Duration;

use dutiful::store::Beat;

use crate::harness::*;

promises![
    a_beat_renews_the_lease_from_now,
    a_beat_renews_a_lease_that_expired_but_was_not_rescued,
    a_beat_after_the_rescue_is_lost,
    a_beat_with_a_wrong_fence_renews_nothing,
    a_batch_is_answered_in_its_order,
    an_empty_beat_is_answered_with_nothing,
    a_beat_carries_the_cancel_request,
    a_beat_does_not_revive_what_ended,
    beats_repeat_for_ever,
];

const YES: Beat = Beat { held: Held::Yes, cancel: false };
const LOST: Beat = Beat { held: Held::Lost, cancel: false };

async fn beat(lab: &Lab, fences: Vec<Fence>) -> Result<Vec<Beat>, StoreError> {
    lab.store.heartbeat(HeartbeatRequest { worker: lab.worker, fences, lease: LEASE }).await
}

async fn a_beat_renews_the_lease_from_now(lab: Lab) -> Kept {
    let active = lab.active().await;
    lab.pass(20);
    assert_eq!(beat(&lab, vec![active.fence]).await?, [YES]);
    lab.pass(30);
    assert!(lab.rescue(3).await.is_empty(), "30 s after the beat it is held");
    lab.pass(1);
    assert_eq!(lab.rescue(3).await.len(), 1, "31 s after the beat it is not");
    Ok(())
}

async fn a_beat_renews_a_lease_that_expired_but_was_not_rescued(lab: Lab) -> Kept {
    let active = lab.active().await;
    lab.pass(3600);
    assert_eq!(lab.state(active.fence.id).await, Some(State::Stalled));
    assert_eq!(beat(&lab, vec![active.fence]).await?, [YES]);
    assert_eq!(lab.state(active.fence.id).await, Some(State::Active));
    assert!(lab.rescue(3).await.is_empty());
    Ok(())
}

async fn a_beat_after_the_rescue_is_lost(lab: Lab) -> Kept {
    let active = lab.active().await;
    lab.crash(&active, 3).await;
    assert_eq!(beat(&lab, vec![active.fence]).await?, [LOST]);
    let heir = lab.claim_from(active.queue.as_str()).await;
    lab.pass(20);
    assert_eq!(beat(&lab, vec![active.fence]).await?, [LOST]);
    lab.pass(11);
    assert_eq!(lab.rescue(3).await[0].fence, heir.fence, "a zombie's beat renews nothing");
    Ok(())
}

async fn a_beat_with_a_wrong_fence_renews_nothing(lab: Lab) -> Kept {
    let active = lab.active().await;
    lab.pass(20);
    let fence = active.fence;
    let wrong = vec![
        forged(fence),
        Fence { attempt: fence.attempt + 1, ..fence },
        Fence { id: JobId::new(), ..fence },
    ];
    assert_eq!(beat(&lab, wrong).await?, [LOST; 3]);
    lab.pass(11);
    assert_eq!(lab.rescue(3).await.len(), 1);
    Ok(())
}

async fn a_batch_is_answered_in_its_order(lab: Lab) -> Kept {
    lab.put(4).await;
    let jobs = lab.claim(4).await;
    lab.end(&jobs[0], End::Completed(None)).await;
    lab.end(&jobs[2], End::Released).await;
    let fences = [3, 2, 1, 0, 3].map(|n: usize| jobs[n].fence).to_vec();
    assert_eq!(beat(&lab, fences).await?, [YES, LOST, YES, LOST, YES]);
    Ok(())
}

async fn an_empty_beat_is_answered_with_nothing(lab: Lab) -> Kept {
    assert!(beat(&lab, Vec::new()).await?.is_empty());
    Ok(())
}

async fn a_beat_carries_the_cancel_request(lab: Lab) -> Kept {
    let (asked, other) = (lab.active().await, lab.active().await);
    lab.store.cancel(vec![asked.fence.id]).await?;
    let cancelled = Beat { held: Held::Yes, cancel: true };
    for _ in 0..2 {
        let beats = beat(&lab, vec![asked.fence, other.fence]).await?;
        assert_eq!(beats, [cancelled, YES], "until the worker has acted");
    }
    Ok(())
}

async fn a_beat_does_not_revive_what_ended(lab: Lab) -> Kept {
    for end in [End::Completed(None), End::Cancelled, End::Dead(oops(), DeadReason::Discarded)] {
        let active = lab.active().await;
        lab.end(&active, end).await;
        let before = lab.state(active.fence.id).await;
        assert_eq!(beat(&lab, vec![active.fence]).await?, [LOST]);
        assert_eq!(lab.state(active.fence.id).await, before);
    }
    Ok(())
}

async fn beats_repeat_for_ever(lab: Lab) -> Kept {
    let active = lab.active().await;
    for _ in 0..100 {
        lab.clock.advance(Duration::from_secs(29));
        assert_eq!(beat(&lab, vec![active.fence]).await?, [YES]);
        assert!(lab.rescue(1).await.is_empty());
    }
    assert_eq!(lab.show(active.fence.id).await.attempt, 1);
    Ok(())
}
