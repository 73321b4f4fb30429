//! `leave`: a worker that stopped in order is not taken for one that crashed.

use crate::harness::*;

promises![
    a_stopped_worker_no_longer_serves_its_types,
    leaving_twice_or_unknown_is_harmless,
    a_worker_that_left_may_come_back,
];

fn card(lab: &Lab) -> WorkerCard {
    WorkerCard {
        pid: std::process::id(),
        worker: lab.worker,
        name: "host:1".into(),
        queues: vec![(name("default"), 10)],
        types: vec![TypeDefaults::unknown(name("task"))],
        quiet: false,
    }
}

/// Says whether the store warns of jobs that nobody serves.
async fn warns(lab: &Lab) -> Result<bool, StoreError> {
    Ok(lab.store.stats().await?.warnings.iter().any(|text| text.contains("task")))
}

async fn a_stopped_worker_no_longer_serves_its_types(lab: Lab) -> Kept {
    lab.put(1).await;
    assert!(warns(&lab).await?, "nobody serves it");
    lab.store.register(card(&lab)).await?;
    assert!(!warns(&lab).await?);
    lab.store.leave(lab.worker).await?;
    assert!(warns(&lab).await?);
    Ok(())
}

async fn leaving_twice_or_unknown_is_harmless(lab: Lab) -> Kept {
    lab.store.register(card(&lab)).await?;
    lab.store.leave(lab.worker).await?;
    lab.store.leave(lab.worker).await?;
    lab.store.leave(WorkerId(77)).await?;
    Ok(())
}

async fn a_worker_that_left_may_come_back(lab: Lab) -> Kept {
    lab.put(1).await;
    lab.store.register(card(&lab)).await?;
    lab.store.leave(lab.worker).await?;
    lab.store.register(card(&lab)).await?;
    assert!(!warns(&lab).await?);
    Ok(())
}
