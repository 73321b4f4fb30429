//! `prune`: retention deletes what ended long ago, and nothing that lives.

use crate::harness::*;

promises![
    finished_jobs_are_kept_for_their_time_and_then_go,
    dead_jobs_are_kept_longer,
    what_lives_is_never_pruned,
    a_pruned_job_leaves_nothing_behind,
    prunes_a_bounded_piece_at_a_time,
    a_job_counts_from_its_end_and_not_from_its_enqueue,
    ids_that_sort_by_no_time_are_pruned_too,
    a_pruned_key_holder_stays_a_holder_of_nothing,
    an_empty_store_prunes_nothing,
];

const DAY: u64 = 24 * 3600;

/// Returns a job whose id is of the clock's time, as a client of that time would have made it.
fn of_now(lab: &Lab, n: u8) -> Record {
    let mut bytes = *JobId::floor(lab.clock.now().us()).as_bytes();
    bytes[6] = 0x70;
    bytes[15] = n;
    Record { id: JobId::from_bytes(bytes), ..job() }
}

/// Prunes until nothing is left to prune; says how many rows went.
async fn prune(lab: &Lab) -> Result<usize, StoreError> {
    let term = lab.term().await;
    let mut gone = 0;
    loop {
        match lab.store.prune(term, Retention::default()).await? {
            0 => return Ok(gone),
            n => gone += n,
        }
    }
}

async fn finished_jobs_are_kept_for_their_time_and_then_go(lab: Lab) -> Kept {
    let done = lab.bring_to(State::Completed, of_now(&lab, 1)).await;
    let cancelled = lab.bring_to(State::Cancelled, of_now(&lab, 2)).await;
    lab.pass(7 * DAY - 60);
    assert_eq!(prune(&lab).await?, 0);
    assert_eq!(lab.state(done).await, Some(State::Completed));
    lab.pass(120);
    assert_eq!(prune(&lab).await?, 2);
    assert_eq!((lab.state(done).await, lab.state(cancelled).await), (None, None));
    let totals = lab.store.stats().await?.totals;
    assert_eq!((totals.completed, totals.cancelled), (0, 0), "the numbers follow");
    Ok(())
}

async fn dead_jobs_are_kept_longer(lab: Lab) -> Kept {
    let dead = lab.bring_to(State::Dead, of_now(&lab, 1)).await;
    lab.pass(90 * DAY - 60);
    assert_eq!(prune(&lab).await?, 0);
    lab.pass(120);
    assert_eq!(prune(&lab).await?, 1);
    assert_eq!(lab.state(dead).await, None);
    assert_eq!(lab.store.stats().await?.totals.dead, 0);
    Ok(())
}

async fn what_lives_is_never_pruned(lab: Lab) -> Kept {
    let mut alive = Vec::new();
    let states = [State::Pending, State::Scheduled, State::Failed, State::Active, State::Stalled];
    for (n, state) in (1..).zip(states) {
        alive.push(lab.bring_to(state, of_now(&lab, n)).await);
    }
    lab.pass(1000 * DAY);
    assert_eq!(prune(&lab).await?, 0);
    for id in alive {
        assert!(lab.state(id).await.is_some());
    }
    Ok(())
}

async fn a_pruned_job_leaves_nothing_behind(lab: Lab) -> Kept {
    let given = of_now(&lab, 1);
    let first = lab.active_with(given.clone()).await;
    lab.end(&first, End::Released).await;
    let second = lab.claim_from(first.queue.as_str()).await;
    lab.end(&second, End::Completed(Some(b"1".to_vec()))).await;
    lab.pass(8 * DAY);
    assert_eq!(prune(&lab).await?, 1);
    assert!(lab.store.list(Filter::default()).await?.jobs.is_empty());
    assert_eq!(lab.store.retry(vec![given.id]).await?, [Change::NotFound]);
    lab.put_one(Record { payload: b"2".to_vec(), ..given.clone() }).await;
    let seen = lab.show(given.id).await;
    assert_eq!((seen.attempt, seen.attempts.len()), (0, 0), "no trace of the first life");
    Ok(())
}

async fn prunes_a_bounded_piece_at_a_time(lab: Lab) -> Kept {
    let of = |n: u16| {
        let mut bytes = *of_now(&lab, 0).id.as_bytes();
        bytes[14..].copy_from_slice(&n.to_be_bytes());
        Record { id: JobId::from_bytes(bytes), ..job() }
    };
    lab.put_all((0..3500).map(of).collect()).await;
    for _ in 0..4 {
        let claimed = lab.claim(1000).await;
        let ends = claimed.iter().map(|one| lab.finish(one, End::Completed(None))).collect();
        lab.store.finish(lab.worker, ends).await?;
    }
    lab.pass(8 * DAY);
    let term = lab.term().await;
    let first = lab.store.prune(term, Retention::default()).await?;
    assert!((1..=2000).contains(&first), "{first} in one transaction");
    assert_eq!(first + prune(&lab).await?, 3500);
    Ok(())
}

async fn a_job_counts_from_its_end_and_not_from_its_enqueue(lab: Lab) -> Kept {
    let id = lab.put_one(of_now(&lab, 1)).await;
    lab.pass(30 * DAY);
    let claimed = lab.claim_one().await;
    lab.end(&claimed, End::Completed(None)).await;
    lab.pass(6 * DAY);
    assert_eq!(prune(&lab).await?, 0);
    assert_eq!(lab.state(id).await, Some(State::Completed));
    lab.pass(2 * DAY);
    assert_eq!(prune(&lab).await?, 1);
    Ok(())
}

async fn ids_that_sort_by_no_time_are_pruned_too(lab: Lab) -> Kept {
    let mut given = Vec::new();
    for state in [State::Completed, State::Cancelled, State::Dead] {
        for byte in [0x00, 0x7F, 0xFF] {
            let mut bytes = [byte; 16];
            bytes[15] = given.len() as u8;
            let id = JobId::from_bytes(bytes);
            given.push(lab.bring_to(state, Record { id, ..job() }).await);
        }
    }
    lab.pass(91 * DAY);
    prune(&lab).await?;
    for id in given {
        assert_eq!(lab.state(id).await, None, "{id}");
    }
    Ok(())
}

async fn a_pruned_key_holder_stays_a_holder_of_nothing(lab: Lab) -> Kept {
    let old = Record { unique_key: Some("k".into()), ..of_now(&lab, 1) };
    lab.bring_to(State::Completed, old).await;
    lab.pass(8 * DAY);
    let heir = lab.put_one(Record { unique_key: Some("k".into()), ..of_now(&lab, 2) }).await;
    assert_eq!(prune(&lab).await?, 1);
    let twin = lab.store.enqueue(vec![keyed("k")]).await?[0];
    assert_eq!((twin.id, twin.outcome), (heir, EnqueueOutcome::Duplicate));
    Ok(())
}

async fn an_empty_store_prunes_nothing(lab: Lab) -> Kept {
    assert_eq!(prune(&lab).await?, 0);
    Ok(())
}
