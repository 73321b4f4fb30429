//! `workers`: who works, on what, and whether it can be counted on.

use dutiful::{WorkerInfo, WorkerState};

use crate::harness::*;

promises![
    a_quiet_worker_says_so,
    a_worker_is_told_with_its_queues_types_and_leases,
    a_worker_without_a_beat_is_silent,
    a_worker_with_a_long_lease_may_be_quiet_for_as_long,
    a_worker_that_left_is_stopped_and_comes_last,
    an_empty_store_has_none,
];

fn card(worker: i64) -> WorkerCard {
    WorkerCard {
        pid: std::process::id(),
        worker: WorkerId(worker),
        name: format!("host:{worker}"),
        queues: vec![(name("mail"), 5), (name("default"), 10)],
        types: vec![TypeDefaults::unknown(name("task"))],
        quiet: false,
    }
}

async fn only(lab: &Lab) -> WorkerInfo {
    let mut all = lab.store.workers().await.expect("the look is answered");
    assert_eq!(all.len(), 1);
    all.remove(0)
}

async fn a_worker_is_told_with_its_queues_types_and_leases(lab: Lab) -> Kept {
    lab.store.register(card(1)).await?;
    lab.put(3).await;
    let held = lab.claim(2).await;
    lab.pass(5);
    let ask = HeartbeatRequest { worker: lab.worker, fences: Vec::new(), lease: LEASE };
    lab.store.heartbeat(ask).await?;
    let seen = only(&lab).await;
    assert_eq!((seen.id, seen.name.as_str(), seen.pid), (lab.worker, "host:1", std::process::id()));
    let queues: Vec<_> = seen.queues.iter().map(|(name, slots)| (name.as_str(), *slots)).collect();
    assert_eq!(queues, [("default", 10), ("mail", 5)]);
    assert_eq!((seen.types, seen.running), (vec![name("task")], 2));
    assert_eq!((seen.started_at, seen.beat_at), (START, lab.clock.now()));
    assert_eq!((seen.state, seen.stopped_at), (WorkerState::Alive, None));
    lab.end(&held[0], End::Completed(None)).await;
    assert_eq!(only(&lab).await.running, 1);
    Ok(())
}

async fn a_worker_without_a_beat_is_silent(lab: Lab) -> Kept {
    lab.store.register(card(1)).await?;
    lab.put(1).await;
    lab.claim_one().await;
    lab.pass(60);
    assert_eq!(only(&lab).await.state, WorkerState::Alive);
    lab.pass(1);
    let seen = only(&lab).await;
    assert_eq!((seen.state, seen.running), (WorkerState::Silent, 1));
    lab.store.register(card(1)).await?;
    assert_eq!(only(&lab).await.state, WorkerState::Alive, "it is heard of again");
    Ok(())
}

async fn a_worker_with_a_long_lease_may_be_quiet_for_as_long(lab: Lab) -> Kept {
    lab.store.register(card(1)).await?;
    lab.put(1).await;
    let long = std::time::Duration::from_secs(3600);
    lab.store.claim(ClaimRequest { lease: long, ..lab.ask(1) }).await?;
    lab.pass(3600);
    assert_eq!(only(&lab).await.state, WorkerState::Alive);
    lab.pass(1);
    assert_eq!(only(&lab).await.state, WorkerState::Silent);
    Ok(())
}

async fn a_worker_that_left_is_stopped_and_comes_last(lab: Lab) -> Kept {
    lab.store.register(card(1)).await?;
    lab.pass(1);
    lab.store.register(card(2)).await?;
    lab.pass(1);
    lab.store.register(card(3)).await?;
    lab.store.leave(WorkerId(3)).await?;
    let all = lab.client.workers().await?;
    let order: Vec<_> = all.iter().map(|one| (one.id.0, one.state)).collect();
    let (alive, stopped) = (WorkerState::Alive, WorkerState::Stopped);
    assert_eq!(order, [(2, alive), (1, alive), (3, stopped)]);
    assert_eq!(all[2].stopped_at, Some(lab.clock.now()));
    Ok(())
}

async fn an_empty_store_has_none(lab: Lab) -> Kept {
    assert!(lab.store.workers().await?.is_empty());
    Ok(())
}

async fn a_quiet_worker_says_so(lab: Lab) -> Kept {
    lab.store.register(card(1)).await?;
    assert!(!only(&lab).await.quiet);
    lab.store.register(WorkerCard { quiet: true, ..card(1) }).await?;
    assert!(only(&lab).await.quiet);
    lab.store.register(card(1)).await?;
    assert!(!only(&lab).await.quiet, "it was told to resume");
    Ok(())
}
