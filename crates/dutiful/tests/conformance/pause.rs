//! `pause`: claims from a queue stop, and go on where they stopped.

use crate::harness::*;

promises![
    says_whether_it_changed_anything,
    a_paused_queue_takes_jobs_and_gives_none,
    other_queues_go_on,
    what_runs_already_runs_to_its_end,
    a_queue_without_jobs_can_be_paused,
    a_paused_queue_keeps_its_order,
];

async fn says_whether_it_changed_anything(lab: Lab) -> Kept {
    let queue = name("default");
    assert!(!lab.store.pause(queue.clone(), false).await?, "it was not paused");
    assert!(lab.store.pause(queue.clone(), true).await?);
    assert!(!lab.store.pause(queue.clone(), true).await?);
    assert!(lab.store.pause(queue.clone(), false).await?);
    assert!(!lab.store.pause(queue, false).await?);
    Ok(())
}

async fn a_paused_queue_takes_jobs_and_gives_none(lab: Lab) -> Kept {
    lab.put(1).await;
    lab.store.pause(name("default"), true).await?;
    lab.put(1).await;
    assert!(lab.claim(10).await.is_empty());
    assert_eq!(lab.store.stats().await?.totals.pending, 2);
    lab.store.pause(name("default"), false).await?;
    assert_eq!(lab.claim(10).await.len(), 2);
    Ok(())
}

async fn other_queues_go_on(lab: Lab) -> Kept {
    lab.store.pause(name("other"), true).await?;
    let id = lab.put(1).await[0];
    assert_eq!(lab.claim_one().await.fence.id, id);
    Ok(())
}

async fn what_runs_already_runs_to_its_end(lab: Lab) -> Kept {
    let active = lab.active().await;
    lab.store.pause(active.queue.clone(), true).await?;
    let beat = HeartbeatRequest { worker: lab.worker, fences: vec![active.fence], lease: LEASE };
    assert_eq!(lab.store.heartbeat(beat).await?[0].held, Held::Yes);
    assert_eq!(lab.end(&active, End::Completed(None)).await, Held::Yes);
    assert_eq!(lab.state(active.fence.id).await, Some(State::Completed));
    Ok(())
}

async fn a_queue_without_jobs_can_be_paused(lab: Lab) -> Kept {
    assert!(lab.store.pause(name("tomorrow"), true).await?);
    lab.put_one(Record { queue: name("tomorrow"), ..job() }).await;
    assert!(lab.claim_all("tomorrow").await.is_empty());
    let queues = lab.store.queues().await?;
    let paused: Vec<_> = queues.iter().map(|q| (q.queue.as_str(), q.paused)).collect();
    assert_eq!(paused, [("tomorrow", true)]);
    Ok(())
}

async fn a_paused_queue_keeps_its_order(lab: Lab) -> Kept {
    let given = lab.put(5).await;
    lab.store.pause(name("default"), true).await?;
    let urgent = lab.put_one(Record { priority: 0, ..job() }).await;
    lab.store.pause(name("default"), false).await?;
    assert_eq!(ids(&lab.claim(10).await), [&[urgent], &given[..]].concat());
    Ok(())
}
