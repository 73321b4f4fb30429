//! `claim`: due jobs under a lease, each to one worker, by lane, priority and time.

use std::time::Duration;

use crate::harness::*;

promises![
    hands_over_the_whole_job_under_a_lease,
    answers_nothing_when_nothing_is_due,
    skips_jobs_another_worker_holds,
    lower_priority_numbers_come_first,
    first_in_first_out_within_a_priority,
    an_older_due_time_comes_before_a_younger_one,
    each_attempt_has_a_new_number_and_nonce,
    each_job_of_a_batch_is_fenced_by_its_own_id,
    leaves_types_it_does_not_know,
    sets_a_crowd_of_foreign_jobs_aside_without_charge,
    at_most_once_jobs_are_done_at_the_claim,
    concurrent_claims_share_without_overlap,
    the_lease_lasts_as_long_as_asked,
];

async fn hands_over_the_whole_job_under_a_lease(lab: Lab) -> Kept {
    let given = Record {
        payload: br#"{"user":7}"#.to_vec(),
        priority: 3,
        max_attempts: 7,
        timeout: Duration::from_millis(1500),
        correlation_id: Some("order 7".into()),
        trace_parent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
        group: Some("tenant".into()),
        unique_key: Some("k".into()),
        ..job()
    };
    let id = lab.put_one(given.clone()).await;
    lab.pass(2);
    let seen = lab.claim_one().await;
    assert_eq!((seen.fence.id, seen.fence.attempt), (id, 1));
    assert_eq!((&seen.job_type, &seen.queue), (&given.job_type, &given.queue));
    assert_eq!(seen.payload, given.payload);
    assert_eq!((seen.failures, seen.crashes, seen.max_attempts), (0, 0, 7));
    assert_eq!((seen.timeout, seen.delivery), (given.timeout, given.delivery));
    assert!(seen.unique);
    assert_eq!((seen.created_at, seen.run_at), (START, START));
    assert_eq!(seen.claimed_at, START.plus(Duration::from_secs(2)));
    assert_eq!(seen.correlation_id, given.correlation_id);
    assert_eq!(seen.trace_parent, given.trace_parent);
    assert_eq!(seen.group, given.group);
    let shown = lab.show(id).await;
    assert_eq!((shown.state, shown.attempt), (State::Active, 1));
    assert_eq!(shown.last_attempt_at, Some(seen.claimed_at));
    assert_eq!(shown.attempts.len(), 1);
    assert_eq!(shown.attempts[0].worker, lab.worker);
    assert_eq!(shown.attempts[0].outcome, AttemptOutcome::Running);
    assert_eq!(shown.attempts[0].finished_at, None);
    Ok(())
}

async fn answers_nothing_when_nothing_is_due(lab: Lab) -> Kept {
    assert!(lab.claim(10).await.is_empty());
    lab.in_state(State::Scheduled).await;
    lab.in_state(State::Failed).await;
    assert!(lab.claim(10).await.is_empty());
    lab.put(1).await;
    let no_lanes = ClaimRequest { lanes: Vec::new(), ..lab.ask(10) };
    assert!(lab.store.claim(no_lanes).await?.is_empty());
    let no_types = ClaimRequest { types: types(&[]), ..lab.ask(10) };
    assert!(lab.store.claim(no_types).await?.is_empty());
    assert!(lab.claim(0).await.is_empty());
    assert_eq!(lab.claim(10).await.len(), 1, "and what is due stays due");
    Ok(())
}

async fn skips_jobs_another_worker_holds(lab: Lab) -> Kept {
    let given = lab.put(3).await;
    assert_eq!(ids(&lab.claim(2).await), given[..2]);
    let other = ClaimRequest { worker: WorkerId(2), ..lab.ask(10) };
    assert_eq!(ids(&lab.store.claim(other.clone()).await?), given[2..]);
    lab.pass(3600);
    assert!(lab.store.claim(other).await?.is_empty(), "expired is not rescued yet");
    Ok(())
}

async fn lower_priority_numbers_come_first(lab: Lab) -> Kept {
    let put = async |priority| lab.put_one(Record { priority, ..job() }).await;
    let (last, middle, first) = (put(1000).await, put(10).await, put(0).await);
    lab.pass(60);
    let late = put(0).await;
    assert_eq!(ids(&lab.claim(10).await), [first, late, middle, last]);
    Ok(())
}

async fn first_in_first_out_within_a_priority(lab: Lab) -> Kept {
    let mut given = Vec::new();
    for _ in 0..5 {
        given.extend(lab.put(7).await);
        lab.pass(1);
    }
    let mut seen = Vec::new();
    while seen.len() < given.len() {
        seen.extend(ids(&lab.claim(4).await));
    }
    assert_eq!(seen, given);
    Ok(())
}

async fn an_older_due_time_comes_before_a_younger_one(lab: Lab) -> Kept {
    let delayed = lab.put_one(Record { delay: Duration::from_secs(10), ..job() }).await;
    lab.pass(5);
    let early = lab.put(1).await[0];
    lab.pass(10);
    lab.promote().await;
    lab.pass(1);
    let late = lab.put(1).await[0];
    assert_eq!(ids(&lab.claim(10).await), [early, delayed, late]);
    Ok(())
}

async fn each_attempt_has_a_new_number_and_nonce(lab: Lab) -> Kept {
    lab.put(1).await;
    let mut before: Option<Fence> = None;
    for attempt in 1..=20 {
        let claimed = lab.claim_one().await;
        assert_eq!(claimed.fence.attempt, attempt);
        if let Some(before) = before {
            assert_ne!(claimed.fence.nonce, before.nonce);
        }
        before = Some(claimed.fence);
        assert_eq!(lab.end(&claimed, End::Released).await, Held::Yes);
    }
    Ok(())
}

async fn each_job_of_a_batch_is_fenced_by_its_own_id(lab: Lab) -> Kept {
    lab.put(2).await;
    let batch = lab.claim(2).await;
    lab.end(&batch[0], End::Completed(None)).await;
    let fences = vec![batch[0].fence, batch[1].fence];
    assert_eq!(lab.store.held(fences).await?, [Held::Lost, Held::Yes]);
    Ok(())
}

async fn leaves_types_it_does_not_know(lab: Lab) -> Kept {
    let foreign = |n| Record { job_type: name(&format!("foreign-{n}")), ..job() };
    let others = lab.put_all((0..50).map(foreign).collect()).await;
    let mine = lab.put(2).await;
    assert_eq!(ids(&lab.claim(10).await), mine, "they do not stand in the way");
    for id in &others {
        let seen = lab.show(*id).await;
        assert_eq!((seen.state, seen.attempt), (State::Pending, 0));
    }
    let other = ClaimRequest { types: types(&["foreign-7", "task"]), ..lab.ask(10) };
    assert_eq!(ids(&lab.store.claim(other).await?), [others[7]]);
    Ok(())
}

async fn sets_a_crowd_of_foreign_jobs_aside_without_charge(lab: Lab) -> Kept {
    let foreign = |_| Record { job_type: name("foreign"), ..job() };
    let others = lab.put_all((0..2500).map(foreign).collect()).await;
    let mine = lab.put(1).await;
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.extend(ids(&lab.claim(10).await));
    }
    assert_eq!(seen, mine, "a few claims get past 2500 foreign jobs");
    assert_eq!(lab.store.stats().await?.totals.pending, 2500, "they still wait for a worker");
    for id in [others[0], others[1000], others[2499]] {
        let seen = lab.show(id).await;
        assert_eq!((seen.state, seen.attempt, seen.failures), (State::Pending, 0, 0));
    }
    let knows = ClaimRequest { types: types(&["foreign"]), ..lab.ask(5000) };
    let at_once = lab.store.claim(knows.clone()).await?.len();
    assert!(at_once <= 1500, "at least 1000 of them were set aside, {at_once} are due");
    lab.pass(10);
    while lab.promote().await.moved > 0 {}
    let later = lab.store.claim(knows).await?;
    assert_eq!(at_once + later.len(), 2500, "after ten seconds all are due again");
    assert!(later.iter().all(|job| job.fence.attempt == 1 && job.failures == 0));
    Ok(())
}

async fn at_most_once_jobs_are_done_at_the_claim(lab: Lab) -> Kept {
    let once = Record { delivery: Delivery::AtMostOnce, ..job() };
    let claimed = lab.active_with(once).await;
    assert_eq!(claimed.delivery, Delivery::AtMostOnce);
    let seen = lab.show(claimed.fence.id).await;
    assert_eq!((seen.state, seen.attempt), (State::Completed, 1));
    assert_eq!(seen.attempts[0].outcome, AttemptOutcome::Unknown);
    lab.pass(3600);
    assert!(lab.rescue(3).await.is_empty(), "its worker died, and nobody runs it again");
    assert_eq!(lab.state(claimed.fence.id).await, Some(State::Completed));
    Ok(())
}

async fn concurrent_claims_share_without_overlap(lab: Lab) -> Kept {
    let given = lab.put(200).await;
    let one = async |n| {
        let ask = ClaimRequest { worker: WorkerId(n), ..lab.ask(17) };
        lab.store.claim(ask).await.expect("the claim is answered")
    };
    let all = tokio::join!(one(1), one(2), one(3), one(4), one(5), one(6));
    let (a, b, c, d, e, f) = all;
    let mut seen: Vec<_> = [a, b, c, d, e, f].iter().flat_map(|batch| ids(batch)).collect();
    seen.sort_unstable();
    assert_eq!(seen, given[..102]);
    Ok(())
}

async fn the_lease_lasts_as_long_as_asked(lab: Lab) -> Kept {
    lab.put(1).await;
    let ask = ClaimRequest { lease: Duration::from_secs(300), ..lab.ask(1) };
    let claimed = lab.store.claim(ask).await?;
    lab.pass(300);
    assert!(lab.rescue(3).await.is_empty());
    assert_eq!(lab.state(claimed[0].fence.id).await, Some(State::Active));
    lab.pass(1);
    assert_eq!(lab.state(claimed[0].fence.id).await, Some(State::Stalled));
    assert_eq!(lab.rescue(3).await.len(), 1);
    Ok(())
}
