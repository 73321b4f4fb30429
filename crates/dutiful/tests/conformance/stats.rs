//! `stats`: totals, queues, and what a person should look at.

use crate::harness::*;

promises![
    an_empty_store_has_nothing_to_say,
    totals_are_the_sum_of_the_queues,
    a_repeat_is_not_counted,
    a_rescue_counts_once_for_ever,
    warns_of_dead_jobs,
    warns_of_stalled_jobs_until_their_rescue,
    warns_of_a_paused_queue_with_jobs,
    warns_of_jobs_that_wait_for_a_leader,
];

async fn an_empty_store_has_nothing_to_say(lab: Lab) -> Kept {
    let stats = lab.store.stats().await?;
    assert_eq!(stats.totals, dutiful::Counts::default());
    // How a server for tests is set up is not the store's doing.
    let ours = stats.warnings.iter().filter(|text| !text.starts_with("the server:")).count();
    assert!(stats.queues.is_empty() && ours == 0, "{:?}", stats.warnings);
    Ok(())
}

async fn totals_are_the_sum_of_the_queues(lab: Lab) -> Kept {
    for state in State::ALL {
        lab.in_state(state).await;
    }
    let stats = lab.store.stats().await?;
    let mut sum = dutiful::Counts::default();
    for queue in &stats.queues {
        sum.add(&queue.counts);
    }
    assert_eq!(sum, stats.totals);
    let t = stats.totals;
    assert_eq!((t.pending, t.scheduled, t.failed), (1, 1, 1));
    assert_eq!((t.completed, t.dead, t.cancelled), (1, 1, 1));
    assert_eq!((t.active, t.stalled_total), (2, 0), "stalled is a lease not rescued yet");
    Ok(())
}

async fn a_repeat_is_not_counted(lab: Lab) -> Kept {
    let one = keyed("k");
    for _ in 0..3 {
        lab.store.enqueue(vec![one.clone(), keyed("k")]).await?;
    }
    assert_eq!(lab.store.stats().await?.totals.pending, 1);
    Ok(())
}

async fn a_rescue_counts_once_for_ever(lab: Lab) -> Kept {
    let active = lab.active().await;
    lab.crash(&active, 0).await;
    lab.rescue(0).await;
    assert_eq!(lab.store.stats().await?.totals.stalled_total, 1);
    lab.store.delete(vec![active.fence.id]).await?;
    assert_eq!(lab.store.stats().await?.totals.stalled_total, 1);
    Ok(())
}

/// Says whether a warning has this word.
async fn warns(lab: &Lab, word: &str) -> Result<bool, StoreError> {
    Ok(lab.store.stats().await?.warnings.iter().any(|text| text.contains(word)))
}

async fn warns_of_dead_jobs(lab: Lab) -> Kept {
    assert!(!warns(&lab, "dead").await?);
    let id = lab.in_state(State::Dead).await;
    assert!(warns(&lab, "dead").await?);
    lab.store.discard(vec![id]).await?;
    assert!(!warns(&lab, "dead").await?);
    Ok(())
}

async fn warns_of_stalled_jobs_until_their_rescue(lab: Lab) -> Kept {
    lab.in_state(State::Active).await;
    assert!(!warns(&lab, "stalled").await?);
    lab.pass(31);
    assert!(warns(&lab, "stalled").await?);
    lab.rescue(3).await;
    assert!(!warns(&lab, "stalled").await?);
    Ok(())
}

async fn warns_of_a_paused_queue_with_jobs(lab: Lab) -> Kept {
    lab.store.pause(name("default"), true).await?;
    assert!(!warns(&lab, "paused").await?, "nothing waits in it");
    lab.put(1).await;
    assert!(warns(&lab, "paused").await?);
    lab.store.pause(name("default"), false).await?;
    assert!(!warns(&lab, "paused").await?);
    Ok(())
}

async fn warns_of_jobs_that_wait_for_a_leader(lab: Lab) -> Kept {
    lab.in_state(State::Scheduled).await;
    assert!(warns(&lab, "leads").await?);
    lab.term().await;
    assert!(!warns(&lab, "leads").await?);
    Ok(())
}
