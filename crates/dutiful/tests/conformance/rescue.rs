//! `rescue`: jobs whose worker fell silent run again, or are quarantined after too many crashes.

use std::time::Duration;

use crate::harness::*;

promises![
    a_stalled_job_goes_back_into_the_queue,
    a_live_lease_is_left_alone,
    a_rescue_says_what_it_did,
    crashes_in_a_row_lead_to_quarantine,
    zero_never_quarantines,
    a_rescue_is_never_charged_as_a_failure,
    rescuing_twice_rescues_once,
    at_most_so_many_and_the_rest_next_time,
    patience_gives_the_owner_its_turn,
    a_beat_between_two_sweeps_saves_the_lease,
    a_beat_counts_though_no_sweep_saw_the_lease_held,
    a_thousand_long_jobs_do_not_hide_a_stalled_one,
    the_clock_may_jump_back_without_a_rescue,
    a_quarantined_job_can_be_retried,
    a_lease_of_a_clock_that_went_back_is_rescued,
];

async fn a_stalled_job_goes_back_into_the_queue(lab: Lab) -> Kept {
    let active = lab.active_with(Record { priority: 3, payload: b"7".to_vec(), ..job() }).await;
    lab.crash(&active, 3).await;
    let seen = lab.show(active.fence.id).await;
    assert_eq!((seen.state, seen.attempt, seen.priority), (State::Pending, 1, 3));
    assert_eq!(seen.attempts.len(), 1);
    assert_eq!(seen.attempts[0].outcome, AttemptOutcome::Stalled);
    assert_eq!(seen.attempts[0].finished_at, Some(lab.clock.now()));
    assert_eq!(seen.last_error.map(|e| e.class).as_deref(), Some("stalled"));
    let again = lab.claim_from(active.queue.as_str()).await;
    assert_eq!((again.fence.attempt, again.crashes), (2, 1));
    assert_eq!(again.payload, b"7");
    Ok(())
}

async fn a_live_lease_is_left_alone(lab: Lab) -> Kept {
    let active = lab.active().await;
    lab.pass(30);
    assert!(lab.rescue(1).await.is_empty(), "the lease holds to its last µs");
    lab.clock.advance(Duration::from_micros(1));
    assert_eq!(lab.rescue(3).await[0].fence, active.fence);
    Ok(())
}

async fn a_rescue_says_what_it_did(lab: Lab) -> Kept {
    let active = lab.active().await;
    let rescued = lab.crash(&active, 2).await;
    assert_eq!((&rescued.queue, &rescued.job_type), (&active.queue, &active.job_type));
    assert_eq!((rescued.crashes, rescued.dead), (1, false));
    let again = lab.claim_from(active.queue.as_str()).await;
    let rescued = lab.crash(&again, 2).await;
    assert_eq!((rescued.crashes, rescued.dead), (2, true));
    Ok(())
}

async fn crashes_in_a_row_lead_to_quarantine(lab: Lab) -> Kept {
    let first = lab.active().await;
    let (id, queue) = (first.fence.id, first.queue.as_str());
    assert!(!lab.crash(&first, 3).await.dead);
    assert!(!lab.crash(&lab.claim_from(queue).await, 3).await.dead);
    assert!(lab.crash(&lab.claim_from(queue).await, 3).await.dead);
    let seen = lab.show(id).await;
    assert_eq!((seen.state, seen.dead_reason), (State::Dead, Some(DeadReason::Quarantined)));
    assert_eq!((seen.crashes, seen.failures, seen.attempt), (3, 0, 3));
    assert!(seen.last_error.is_some_and(|e| e.class == "stalled" && !e.message.is_empty()));
    let log: Vec<_> = seen.attempts.iter().map(|a| (a.number, a.outcome)).collect();
    assert_eq!(log, [1, 2, 3].map(|n| (n, AttemptOutcome::Stalled)));
    lab.pass(3600);
    assert!(lab.claim_all(queue).await.is_empty());
    Ok(())
}

async fn zero_never_quarantines(lab: Lab) -> Kept {
    let mut active = lab.active().await;
    for crashes in 1..=20 {
        let rescued = lab.crash(&active, 0).await;
        assert_eq!((rescued.crashes, rescued.dead), (crashes, false));
        active = lab.claim_from(active.queue.as_str()).await;
    }
    Ok(())
}

async fn a_rescue_is_never_charged_as_a_failure(lab: Lab) -> Kept {
    let mut active = lab.active_with(Record { max_attempts: 1, ..job() }).await;
    for _ in 0..5 {
        lab.crash(&active, 0).await;
        active = lab.claim_from(active.queue.as_str()).await;
        assert_eq!(active.failures, 0);
    }
    Ok(())
}

async fn rescuing_twice_rescues_once(lab: Lab) -> Kept {
    let active = lab.active().await;
    lab.crash(&active, 3).await;
    assert!(lab.rescue(3).await.is_empty());
    let seen = lab.show(active.fence.id).await;
    assert_eq!((seen.crashes, seen.attempts.len()), (1, 1));
    Ok(())
}

async fn at_most_so_many_and_the_rest_next_time(lab: Lab) -> Kept {
    lab.put(25).await;
    assert_eq!(lab.claim(25).await.len(), 25);
    lab.pass(31);
    let term = lab.term().await;
    let ask = RescueRequest { crashes_max: 3, limit: 10, patience: Duration::ZERO };
    let mut sizes = Vec::new();
    for _ in 0..4 {
        sizes.push(lab.store.rescue(term, ask).await?.len());
    }
    assert_eq!(sizes, [10, 10, 5, 0]);
    assert_eq!(lab.claim(100).await.len(), 25);
    Ok(())
}

async fn sweep(lab: &Lab) -> Result<usize, StoreError> {
    let term = lab.term().await;
    let patience = Duration::from_secs(10);
    let ask = RescueRequest { crashes_max: 3, limit: 10, patience };
    Ok(lab.store.rescue(term, ask).await?.len())
}

async fn patience_gives_the_owner_its_turn(lab: Lab) -> Kept {
    if lab.on_postgres() {
        skip!(lab, "rescuer and owner reach the same server, so a lease that ended is over");
    }
    let active = lab.active().await;
    lab.pass(31);
    assert_eq!(sweep(&lab).await?, 0, "the first sight");
    lab.pass(9);
    assert_eq!(sweep(&lab).await?, 0);
    assert_eq!(lab.state(active.fence.id).await, Some(State::Stalled));
    lab.pass(1);
    assert_eq!(sweep(&lab).await?, 1);
    Ok(())
}

async fn a_beat_between_two_sweeps_saves_the_lease(lab: Lab) -> Kept {
    if lab.on_postgres() {
        skip!(lab, "rescuer and owner reach the same server, so a lease that ended is over");
    }
    let active = lab.active().await;
    let beat = || HeartbeatRequest { worker: lab.worker, fences: vec![active.fence], lease: LEASE };
    lab.pass(31);
    assert_eq!(sweep(&lab).await?, 0);
    lab.store.heartbeat(beat()).await?;
    lab.pass(10);
    assert_eq!(sweep(&lab).await?, 0, "it is held again");
    lab.pass(21);
    assert_eq!(sweep(&lab).await?, 0, "a new silence needs two looks again");
    lab.pass(10);
    assert_eq!(sweep(&lab).await?, 1);
    Ok(())
}

async fn a_beat_counts_though_no_sweep_saw_the_lease_held(lab: Lab) -> Kept {
    if lab.on_postgres() {
        skip!(lab, "rescuer and owner reach the same server, so a lease that ended is over");
    }
    let active = lab.active().await;
    lab.pass(31);
    assert_eq!(sweep(&lab).await?, 0, "the first sight");
    let fences = vec![active.fence];
    lab.store.heartbeat(HeartbeatRequest { worker: lab.worker, fences, lease: LEASE }).await?;
    lab.pass(31);
    assert_eq!(sweep(&lab).await?, 0, "the first sight of a new silence");
    lab.pass(10);
    assert_eq!(sweep(&lab).await?, 1);
    Ok(())
}

async fn a_thousand_long_jobs_do_not_hide_a_stalled_one(lab: Lab) -> Kept {
    lab.put(1000).await;
    let long = ClaimRequest { lease: Duration::from_secs(9999), ..lab.ask(1000) };
    assert_eq!(lab.store.claim(long).await?.len(), 1000);
    let stalled = lab.active().await;
    lab.pass(31);
    let term = lab.term().await;
    let ask = RescueRequest { crashes_max: 3, limit: 5, patience: Duration::ZERO };
    let rescued = lab.store.rescue(term, ask).await?;
    assert_eq!(rescued.len(), 1);
    assert_eq!(rescued[0].fence, stalled.fence);
    Ok(())
}

async fn the_clock_may_jump_back_without_a_rescue(lab: Lab) -> Kept {
    let active = lab.active().await;
    lab.clock.set(START.minus(Duration::from_secs(3600)));
    assert!(lab.rescue(1).await.is_empty());
    assert_eq!(lab.end(&active, End::Completed(None)).await, Held::Yes);
    Ok(())
}

async fn a_quarantined_job_can_be_retried(lab: Lab) -> Kept {
    let active = lab.active().await;
    assert!(lab.crash(&active, 1).await.dead);
    assert_eq!(lab.store.retry(vec![active.fence.id]).await?, [Change::Done]);
    let again = lab.claim_from(active.queue.as_str()).await;
    assert_eq!((again.crashes, again.fence.attempt), (0, 2));
    lab.end(&again, End::Completed(None)).await;
    let seen = lab.show(active.fence.id).await;
    let log: Vec<_> = seen.attempts.iter().map(|a| a.outcome).collect();
    assert_eq!(log, [AttemptOutcome::Stalled, AttemptOutcome::Completed]);
    Ok(())
}

async fn a_lease_of_a_clock_that_went_back_is_rescued(lab: Lab) -> Kept {
    lab.pass(48 * 3600);
    let (orphan, held) = (lab.active().await, lab.active().await);
    lab.clock.set(START);
    let fences = vec![held.fence];
    lab.store.heartbeat(HeartbeatRequest { worker: lab.worker, fences, lease: LEASE }).await?;
    let rescued = lab.rescue(0).await;
    assert_eq!(rescued.len(), 1, "its end lies two days ahead, and nobody renewed it since");
    assert_eq!(rescued[0].fence, orphan.fence);
    assert_eq!(lab.state(held.fence.id).await, Some(State::Active));
    Ok(())
}
