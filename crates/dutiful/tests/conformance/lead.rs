//! `lead`: one leader at a time, and a term that grows with each change.

use std::time::Duration;

use crate::harness::*;

promises![
    the_first_candidate_leads,
    a_second_candidate_waits_until_the_end_of_the_lease,
    the_leader_renews_without_a_new_term,
    the_term_grows_with_every_change,
    chores_of_an_old_term_are_refused,
    chores_before_any_leader_are_refused,
    of_many_candidates_one_leads,
    a_leader_of_a_clock_that_went_back_holds_nobody_up,
];

const TTL: Duration = Duration::from_secs(10);
const A: WorkerId = WorkerId(11);
const B: WorkerId = WorkerId(22);

async fn the_first_candidate_leads(lab: Lab) -> Kept {
    let now = lab.store.lead(A, TTL).await?;
    assert_eq!(now.leader, A);
    assert!(now.term > 0);
    Ok(())
}

async fn a_second_candidate_waits_until_the_end_of_the_lease(lab: Lab) -> Kept {
    let first = lab.store.lead(A, TTL).await?;
    assert_eq!(lab.store.lead(B, TTL).await?, first, "told who leads");
    lab.pass(9);
    assert_eq!(lab.store.lead(B, TTL).await?, first);
    lab.pass(2);
    let second = lab.store.lead(B, TTL).await?;
    assert_eq!(second.leader, B);
    assert!(second.term > first.term);
    assert_eq!(lab.store.lead(A, TTL).await?, second, "the old leader waits in turn");
    Ok(())
}

async fn the_leader_renews_without_a_new_term(lab: Lab) -> Kept {
    let first = lab.store.lead(A, TTL).await?;
    for _ in 0..20 {
        lab.pass(9);
        assert_eq!(lab.store.lead(A, TTL).await?, first);
    }
    assert_eq!(lab.store.lead(B, TTL).await?.leader, A, "each renewal counts from its own time");
    Ok(())
}

async fn the_term_grows_with_every_change(lab: Lab) -> Kept {
    let mut last = 0;
    for leader in [A, B, A, B] {
        let now = lab.store.lead(leader, TTL).await?;
        assert_eq!(now.leader, leader);
        assert!(now.term > last);
        last = now.term;
        lab.pass(11);
    }
    Ok(())
}

/// Does every chore; each must be refused, because another leads since `now`.
async fn all_refused(lab: &Lab, term: i64, now: i64) {
    let refused = |what: &str, answer: Result<(), StoreError>| {
        let told = matches!(answer, Err(StoreError::NotLeader(since)) if since == now);
        assert!(told, "{what}: {answer:?}");
    };
    let ask = RescueRequest { crashes_max: 3, limit: 10, patience: Duration::ZERO };
    refused("promote", lab.store.promote(term, 10).await.map(drop));
    refused("rescue", lab.store.rescue(term, ask).await.map(drop));
    refused("prune", lab.store.prune(term, Retention::default()).await.map(drop));
    refused("fold", lab.store.fold(term).await.map(drop));
}

async fn chores_of_an_old_term_are_refused(lab: Lab) -> Kept {
    let old = lab.store.lead(A, TTL).await?.term;
    let due = lab.put_one(Record { delay: Duration::from_secs(5), ..job() }).await;
    let stalled = lab.active().await.fence.id;
    lab.pass(40);
    let new = lab.store.lead(B, TTL).await?.term;
    all_refused(&lab, old, new).await;
    all_refused(&lab, new + 1, new).await;
    assert_eq!(lab.state(due).await, Some(State::Scheduled), "nothing was done");
    assert_eq!(lab.state(stalled).await, Some(State::Stalled));
    assert_eq!(lab.store.promote(new, 10).await?.moved, 1);
    Ok(())
}

async fn chores_before_any_leader_are_refused(lab: Lab) -> Kept {
    lab.put_one(Record { delay: Duration::from_secs(5), ..job() }).await;
    lab.pass(5);
    all_refused(&lab, 1, 0).await;
    Ok(())
}

async fn of_many_candidates_one_leads(lab: Lab) -> Kept {
    for round in 0..5_i64 {
        lab.pass(11);
        let ask = |n| lab.store.lead(WorkerId(round * 10 + n), TTL);
        let (a, b, c, d) = tokio::join!(ask(1), ask(2), ask(3), ask(4));
        let first = a?;
        for other in [b?, c?, d?] {
            assert_eq!(other, first);
        }
    }
    Ok(())
}

async fn a_leader_of_a_clock_that_went_back_holds_nobody_up(lab: Lab) -> Kept {
    let ttl = Duration::from_secs(10);
    lab.pass(24 * 3600);
    let old = lab.store.lead(WorkerId(1), ttl).await?;
    lab.clock.set(START);
    let new = lab.store.lead(WorkerId(2), ttl).await?;
    assert_eq!(new.leader, WorkerId(2), "the end that the first one set lies a day ahead");
    assert!(new.term > old.term);
    assert_eq!(lab.store.lead(WorkerId(1), ttl).await?, new);
    Ok(())
}
