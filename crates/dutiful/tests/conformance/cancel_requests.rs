//! `cancel_requests`: what a worker was asked to stop.

use crate::harness::*;

promises![
    a_worker_sees_its_own_requests_only,
    a_request_is_seen_until_the_attempt_ends,
    a_worker_without_requests_sees_none,
];

async fn a_worker_sees_its_own_requests_only(lab: Lab) -> Kept {
    lab.put(4).await;
    let mine = ids(&lab.claim(2).await);
    let other = WorkerId(2);
    let theirs = ids(&lab.store.claim(ClaimRequest { worker: other, ..lab.ask(2) }).await?);
    lab.store.cancel(vec![mine[1], theirs[0], theirs[1]]).await?;
    assert_eq!(lab.store.cancel_requests(lab.worker).await?, mine[1..]);
    let mut seen = lab.store.cancel_requests(other).await?;
    seen.sort_unstable();
    assert_eq!(seen, theirs);
    Ok(())
}

async fn a_request_is_seen_until_the_attempt_ends(lab: Lab) -> Kept {
    let active = lab.active().await;
    lab.store.cancel(vec![active.fence.id]).await?;
    for _ in 0..2 {
        assert_eq!(lab.store.cancel_requests(lab.worker).await?, [active.fence.id]);
    }
    lab.end(&active, End::Cancelled).await;
    assert!(lab.store.cancel_requests(lab.worker).await?.is_empty());
    Ok(())
}

async fn a_worker_without_requests_sees_none(lab: Lab) -> Kept {
    lab.active().await;
    assert!(lab.store.cancel_requests(lab.worker).await?.is_empty());
    assert!(lab.store.cancel_requests(WorkerId(77)).await?.is_empty());
    Ok(())
}
