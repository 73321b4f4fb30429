//! `register`: a worker's presence, and the settings of its types.

use crate::harness::*;

promises![
    the_name_of_a_worker_stands_in_the_attempt_log,
    the_latest_settings_of_a_type_win,
    registering_again_changes_nothing,
    a_silent_worker_no_longer_serves_its_types,
];

fn card(lab: &Lab, types: Vec<TypeDefaults>) -> WorkerCard {
    let queues = vec![(name("default"), 10), (name("mail"), 5)];
    WorkerCard {
        pid: std::process::id(),
        worker: lab.worker,
        name: "host:1".into(),
        queues,
        types,
        quiet: false,
    }
}

async fn the_name_of_a_worker_stands_in_the_attempt_log(lab: Lab) -> Kept {
    let before = lab.active().await;
    assert_eq!(lab.show(before.fence.id).await.attempts[0].worker_name, None);
    lab.store.register(card(&lab, Vec::new())).await?;
    let seen = lab.show(before.fence.id).await;
    assert_eq!(seen.attempts[0].worker_name.as_deref(), Some("host:1"));
    Ok(())
}

async fn the_latest_settings_of_a_type_win(lab: Lab) -> Kept {
    let first = TypeDefaults::unknown(name("task"));
    lab.store.register(card(&lab, vec![first.clone()])).await?;
    let second = TypeDefaults { queue: name("mail"), max_attempts: 9, ..first };
    let other = WorkerCard { worker: WorkerId(2), ..card(&lab, vec![second.clone()]) };
    lab.store.register(other).await?;
    assert_eq!(lab.store.types(vec![name("task")]).await?, [second]);
    Ok(())
}

async fn registering_again_changes_nothing(lab: Lab) -> Kept {
    let task = TypeDefaults::unknown(name("task"));
    for _ in 0..3 {
        lab.store.register(card(&lab, vec![task.clone()])).await?;
    }
    assert_eq!(lab.store.types(vec![name("task")]).await?, [task]);
    Ok(())
}

async fn a_silent_worker_no_longer_serves_its_types(lab: Lab) -> Kept {
    let warns = async || {
        let stats = lab.store.stats().await.expect("the numbers are read");
        stats.warnings.iter().any(|text| text.contains("task"))
    };
    lab.put(1).await;
    lab.store.register(card(&lab, vec![TypeDefaults::unknown(name("task"))])).await?;
    assert!(!warns().await);
    lab.pass(24 * 3600);
    assert!(warns().await, "nobody heard of it for a day");
    let ask = HeartbeatRequest { worker: lab.worker, fences: Vec::new(), lease: LEASE };
    lab.store.heartbeat(ask).await?;
    assert!(!warns().await, "a beat is a sign of life, without a lease too");
    Ok(())
}
