//! `abdicate`: the leadership given back, so that nobody waits for its end.

use std::time::Duration;

use crate::harness::*;

promises![
    the_next_candidate_leads_at_once,
    only_the_leader_of_the_term_abdicates,
    abdicating_twice_is_harmless,
];

const TTL: Duration = Duration::from_secs(10);
const A: WorkerId = WorkerId(11);
const B: WorkerId = WorkerId(22);

async fn the_next_candidate_leads_at_once(lab: Lab) -> Kept {
    let first = lab.store.lead(A, TTL).await?;
    lab.store.abdicate(A, first.term).await?;
    let second = lab.store.lead(B, TTL).await?;
    assert_eq!(second.leader, B);
    assert!(second.term > first.term);
    lab.put_one(Record { delay: Duration::from_secs(1), ..job() }).await;
    lab.pass(1);
    let late = lab.store.promote(first.term, 10).await;
    assert!(matches!(late, Err(StoreError::NotLeader(_))), "{late:?}");
    Ok(())
}

async fn only_the_leader_of_the_term_abdicates(lab: Lab) -> Kept {
    let first = lab.store.lead(A, TTL).await?;
    lab.store.abdicate(B, first.term).await?;
    lab.store.abdicate(A, first.term - 1).await?;
    lab.store.abdicate(A, first.term + 1).await?;
    assert_eq!(lab.store.lead(B, TTL).await?, first, "A leads still");
    Ok(())
}

async fn abdicating_twice_is_harmless(lab: Lab) -> Kept {
    let first = lab.store.lead(A, TTL).await?;
    lab.store.abdicate(A, first.term).await?;
    let second = lab.store.lead(B, TTL).await?;
    lab.store.abdicate(A, first.term).await?;
    assert_eq!(lab.store.lead(A, TTL).await?, second, "B leads still");
    Ok(())
}
