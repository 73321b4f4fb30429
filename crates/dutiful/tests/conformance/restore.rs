//! `restore`: a backup becomes a store again, in which nobody of before has a say.

use std::path::PathBuf;

use dutiful::WorkerState;

use crate::harness::*;

promises![
    an_attempt_of_before_is_ended_and_its_fence_is_refused,
    a_cancel_asked_before_is_kept,
    an_at_most_once_job_stays_done_and_its_attempt_is_not_heard_any_more,
    workers_are_stopped_and_every_term_of_before_is_refused,
    jobs_of_all_states_are_as_they_were,
    a_server_says_what_restores_it,
];

/// Backs the store up; returns the URL and the folder of a place to restore to.
async fn back_up(lab: &Lab) -> Option<(tempfile::TempDir, PathBuf, String)> {
    lab.path()?;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let backup = dir.path().join("backup.db");
    lab.store.backup(backup.clone()).await.expect("it is written");
    let url = format!("sqlite:{}", dir.path().join("restored.db").display());
    Some((dir, backup, url))
}

async fn restored(lab: &Lab, url: &str, backup: &PathBuf, leases: u64) -> Client {
    let done = Client::builder().clock(lab.clock.clone()).restore(url, backup).await;
    let done = done.expect("it is restored");
    assert_eq!((done.leases_ended, done.aside), (leases, None));
    let client = Client::builder().clock(lab.clock.clone()).connect(url).await;
    client.expect("it opens")
}

async fn an_attempt_of_before_is_ended_and_its_fence_is_refused(lab: Lab) -> Kept {
    let given = keyed("k");
    let old = lab.active_with(given.clone()).await;
    let waiting = lab.put(1).await[0];
    let Some((_dir, backup, url)) = back_up(&lab).await else { skip!(lab, "it has no file") };
    let late = lab.claim_one().await;
    assert_eq!(late.fence.id, waiting);
    lab.pass(5);
    let client = restored(&lab, &url, &backup, 1).await;
    let store = client.store();
    for fence in [old.fence, late.fence] {
        let ask = HeartbeatRequest { worker: lab.worker, fences: vec![fence], lease: LEASE };
        assert_eq!(store.heartbeat(ask).await?[0].held, Held::Lost);
    }
    let ends = [&old, &late].map(|one| lab.finish(one, End::Completed(None))).to_vec();
    assert_eq!(store.finish(lab.worker, ends).await?, [Held::Lost, Held::Lost]);
    let job = store.show(given.id).await?.expect("it is on record");
    assert_eq!((job.state, job.attempt, job.crashes), (State::Pending, 1, 0));
    let log: Vec<_> = job.attempts.iter().map(|one| (one.number, one.outcome)).collect();
    assert_eq!(log, [(1, AttemptOutcome::Stalled)]);
    let why = job.attempts[0].error.as_ref().expect("it says why");
    assert!(why.message.contains("restored from a backup"), "{why:?}");
    let totals = store.stats().await?.totals;
    assert_eq!((totals.pending, totals.active, totals.stalled_total), (2, 0, 1));
    let ask = ClaimRequest { lanes: vec![lane(old.queue.as_str(), 1)], ..lab.ask(1) };
    let again = store.claim(ask).await?.remove(0);
    assert_eq!((again.fence.id, again.fence.attempt, again.unique), (given.id, 2, true));
    // The number of the attempt that the old life went on to is given out again, under another
    // nonce.
    let again = store.claim(lab.ask(1)).await?.remove(0);
    assert_eq!((again.fence.id, again.fence.attempt), (waiting, late.fence.attempt));
    let ends = vec![lab.finish(&late, End::Completed(None))];
    assert_eq!(store.finish(lab.worker, ends).await?, [Held::Lost]);
    let ends = vec![lab.finish(&again, End::Completed(None))];
    assert_eq!(store.finish(lab.worker, ends).await?, [Held::Yes]);
    Ok(())
}

async fn a_cancel_asked_before_is_kept(lab: Lab) -> Kept {
    let id = lab.active_with(keyed("k")).await.fence.id;
    assert_eq!(lab.store.cancel(vec![id]).await?, [Change::Requested]);
    let Some((_dir, backup, url)) = back_up(&lab).await else { skip!(lab, "it has no file") };
    let client = restored(&lab, &url, &backup, 1).await;
    let job = client.job(id).await?.expect("it is on record");
    assert_eq!(job.state, State::Cancelled);
    let totals = client.stats().await?.totals;
    assert_eq!((totals.cancelled, totals.stalled_total, totals.pending), (1, 1, 0));
    let twin = client.store().enqueue(vec![keyed("k")]).await?[0];
    assert_eq!(twin.outcome, EnqueueOutcome::New, "its key is free");
    Ok(())
}

async fn an_at_most_once_job_stays_done_and_its_attempt_is_not_heard_any_more(lab: Lab) -> Kept {
    let given = Record { delivery: Delivery::AtMostOnce, ..job() };
    let old = lab.active_with(given.clone()).await;
    let Some((_dir, backup, url)) = back_up(&lab).await else { skip!(lab, "it has no file") };
    let client = restored(&lab, &url, &backup, 0).await;
    let seen = client.job(given.id).await?.expect("it is on record");
    assert_eq!((seen.state, seen.attempts[0].outcome), (State::Completed, AttemptOutcome::Unknown));
    let ends = vec![lab.finish(&old, End::Completed(Some(b"1".to_vec())))];
    assert_eq!(client.store().finish(lab.worker, ends).await?, [Held::Lost]);
    assert!(client.job(given.id).await?.expect("it is on record").result.is_none());
    Ok(())
}

async fn workers_are_stopped_and_every_term_of_before_is_refused(lab: Lab) -> Kept {
    let card = WorkerCard {
        pid: std::process::id(),
        worker: lab.worker,
        name: "host:1".into(),
        queues: Vec::new(),
        types: Vec::new(),
        quiet: false,
    };
    lab.store.register(card).await?;
    let before = lab.term().await;
    let Some((_dir, backup, url)) = back_up(&lab).await else { skip!(lab, "it has no file") };
    let client = restored(&lab, &url, &backup, 0).await;
    assert_eq!(client.workers().await?[0].state, WorkerState::Stopped);
    let (store, ttl) = (client.store(), std::time::Duration::from_secs(10));
    let led = store.lead(WorkerId(7), ttl).await?;
    assert_eq!(led.leader, WorkerId(7), "nobody's term is waited for");
    assert!(led.term > before + 1000, "the old life never comes to {}", led.term);
    let refused = store.fold(before).await;
    assert!(matches!(refused, Err(StoreError::NotLeader(_))), "{refused:?}");
    Ok(())
}

async fn jobs_of_all_states_are_as_they_were(lab: Lab) -> Kept {
    let mut all = Vec::new();
    for state in State::ALL {
        all.push((lab.in_state(state).await, state));
    }
    let Some((_dir, backup, url)) = back_up(&lab).await else { skip!(lab, "it has no file") };
    let client = restored(&lab, &url, &backup, 2).await;
    for (id, state) in all {
        let now = client.job(id).await?.map(|job| job.state);
        let was_leased = matches!(state, State::Active | State::Stalled);
        assert_eq!(now, Some(if was_leased { State::Pending } else { state }));
    }
    let found = client.doctor(true).await?;
    for check in ["places", "integrity"] {
        let one = found.iter().find(|one| one.check == check).expect("it is looked at");
        assert_eq!(one.verdict, dutiful::Verdict::Ok, "{one:?}");
    }
    Ok(())
}

async fn a_server_says_what_restores_it(lab: Lab) -> Kept {
    if !lab.on_postgres() {
        skip!(lab, "it is no server");
    }
    let backup = std::path::Path::new("jobs.dump");
    let refused = Client::builder().restore("postgres://localhost/jobs", backup).await;
    let error = refused.expect_err("it is refused").to_string();
    assert!(error.contains("pg_restore"), "{error}");
    Ok(())
}
