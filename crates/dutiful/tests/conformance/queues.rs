//! `queues`: what stands in each queue.

use std::time::Duration;

use crate::harness::*;

promises![
    counts_each_queue_by_state,
    an_empty_store_has_no_queue,
    the_age_is_that_of_the_oldest_pending_job,
    what_nobody_promotes_is_overdue,
    a_queue_that_is_empty_now_keeps_its_history,
    queues_come_in_the_order_of_their_names,
];

async fn counts_each_queue_by_state(lab: Lab) -> Kept {
    for state in [State::Pending, State::Scheduled, State::Active, State::Failed, State::Dead] {
        lab.in_state(state).await;
    }
    let queues = lab.store.queues().await?;
    let mut sum = dutiful::Counts::default();
    for queue in &queues {
        sum.add(&queue.counts);
    }
    assert_eq!((sum.pending, sum.scheduled, sum.active), (1, 1, 1));
    assert_eq!((sum.failed, sum.dead, sum.completed, sum.cancelled), (1, 1, 0, 0));
    let dead = queues.iter().find(|q| q.counts.dead == 1).expect("its queue is listed");
    let alone = dutiful::Counts { dead: 1, ..Default::default() };
    assert_eq!(dead.counts, alone, "each job counts in its own queue alone");
    Ok(())
}

async fn an_empty_store_has_no_queue(lab: Lab) -> Kept {
    assert!(lab.store.queues().await?.is_empty());
    Ok(())
}

async fn the_age_is_that_of_the_oldest_pending_job(lab: Lab) -> Kept {
    lab.put_one(Record { priority: 500, ..job() }).await;
    lab.pass(60);
    lab.put_one(Record { priority: 0, ..job() }).await;
    lab.put_one(Record { delay: Duration::from_secs(9), ..job() }).await;
    lab.clock.advance(Duration::from_millis(1500));
    assert_eq!(lab.store.queues().await?[0].oldest_pending_s, 61.5);
    lab.claim(10).await;
    assert_eq!(lab.store.queues().await?[0].oldest_pending_s, 0.0);
    Ok(())
}

async fn what_nobody_promotes_is_overdue(lab: Lab) -> Kept {
    lab.put_one(Record { delay: Duration::from_secs(30), ..job() }).await;
    lab.put_one(Record { delay: Duration::from_secs(40), ..job() }).await;
    lab.pass(30);
    assert_eq!(lab.store.queues().await?[0].overdue_s, 0.0);
    lab.pass(12);
    let found = &lab.store.queues().await?[0];
    assert_eq!((found.overdue_s, found.oldest_pending_s), (12.0, 0.0));
    lab.promote().await;
    let found = &lab.store.queues().await?[0];
    assert_eq!((found.overdue_s, found.counts.pending), (0.0, 2));
    Ok(())
}

async fn a_queue_that_is_empty_now_keeps_its_history(lab: Lab) -> Kept {
    lab.put(1).await;
    let claimed = lab.claim_one().await;
    lab.end(&claimed, End::Completed(None)).await;
    let queues = lab.store.queues().await?;
    assert_eq!((queues.len(), queues[0].queue.as_str()), (1, "default"));
    assert_eq!((queues[0].counts.completed, queues[0].counts.pending), (1, 0));
    Ok(())
}

async fn queues_come_in_the_order_of_their_names(lab: Lab) -> Kept {
    for queue in ["b", "c", "a"] {
        lab.put_one(Record { queue: name(queue), ..job() }).await;
    }
    let queues = lab.store.queues().await?;
    let names: Vec<_> = queues.iter().map(|q| q.queue.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    Ok(())
}
