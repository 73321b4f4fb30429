//! `enqueue` with unique keys: at most one live job has a key, and the end of a job frees it.

use std::time::Duration;

use crate::harness::*;

promises![
    a_second_live_job_with_the_key_is_a_duplicate,
    one_batch_with_a_key_twice_stores_the_first,
    keys_that_differ_in_case_or_bytes_are_different,
    every_live_state_keeps_the_key,
    every_final_state_frees_the_key,
    a_rescued_job_keeps_its_key,
    a_snoozed_or_released_job_keeps_its_key,
    a_quarantined_job_frees_its_key,
    an_at_most_once_job_frees_its_key_at_the_claim,
    a_deleted_job_frees_its_key,
    the_end_of_an_old_job_leaves_the_new_holder_alone,
];

/// Says which job an enqueue with the key "k" meets, if any.
async fn holder(lab: &Lab) -> Result<Option<JobId>, dutiful::Error> {
    let probe = keyed("k");
    let answer = lab.store.enqueue(vec![probe.clone()]).await?[0];
    if answer.outcome == EnqueueOutcome::Duplicate {
        assert_ne!(answer.id, probe.id);
        assert_eq!(lab.state(probe.id).await, None, "a duplicate leaves no trace");
        return Ok(Some(answer.id));
    }
    assert_eq!((answer.id, answer.outcome), (probe.id, EnqueueOutcome::New));
    lab.store.delete(vec![probe.id]).await?;
    Ok(None)
}

async fn a_second_live_job_with_the_key_is_a_duplicate(lab: Lab) -> Kept {
    assert_eq!(holder(&lab).await?, None);
    let first = lab.put_one(keyed("k")).await;
    assert_eq!(holder(&lab).await?, Some(first));
    assert_eq!(holder(&lab).await?, Some(first), "however often one asks");
    assert_eq!(ids(&lab.claim(10).await), [first]);
    Ok(())
}

async fn one_batch_with_a_key_twice_stores_the_first(lab: Lab) -> Kept {
    let batch = vec![keyed("b"), keyed("a"), keyed("b"), keyed("a"), keyed("c")];
    let given: Vec<_> = batch.iter().map(|job| job.id).collect();
    let answers = lab.store.enqueue(batch).await?;
    let stored: Vec<_> = answers.iter().map(|a| a.id).collect();
    assert_eq!(stored, [given[0], given[1], given[0], given[1], given[4]]);
    assert_eq!(lab.store.stats().await?.totals.pending, 3);
    Ok(())
}

async fn keys_that_differ_in_case_or_bytes_are_different(lab: Lab) -> Kept {
    // Two ways to write é, and trailing blanks: a store must compare bytes, not characters.
    let keys = ["key", "KEY", "key ", " key", "\u{e9}", "e\u{301}", "k'; DROP TABLE x; --", "%"];
    lab.put_all(keys.iter().map(|key| keyed(key)).collect()).await;
    Ok(())
}

async fn every_live_state_keeps_the_key(lab: Lab) -> Kept {
    for state in [State::Pending, State::Scheduled, State::Active, State::Failed, State::Stalled] {
        let id = lab.bring_to(state, keyed("k")).await;
        assert_eq!(holder(&lab).await?, Some(id), "{state}");
        lab.store.cancel(vec![id]).await?;
        if matches!(state, State::Active | State::Stalled) {
            assert_eq!(holder(&lab).await?, Some(id), "until its worker hears of it");
            lab.pass(31);
            lab.rescue(1).await;
        }
        assert_eq!(holder(&lab).await?, None, "{state}, then cancelled");
    }
    Ok(())
}

async fn every_final_state_frees_the_key(lab: Lab) -> Kept {
    for state in [State::Completed, State::Dead, State::Cancelled] {
        lab.bring_to(state, keyed("k")).await;
        assert_eq!(holder(&lab).await?, None, "{state}");
    }
    Ok(())
}

async fn a_rescued_job_keeps_its_key(lab: Lab) -> Kept {
    let active = lab.active_with(keyed("k")).await;
    assert!(active.unique);
    assert!(!lab.crash(&active, 3).await.dead);
    assert_eq!(holder(&lab).await?, Some(active.fence.id));
    let again = lab.claim_from(active.queue.as_str()).await;
    assert!(again.unique, "the flag moves with the job");
    lab.end(&again, End::Completed(None)).await;
    assert_eq!(holder(&lab).await?, None);
    Ok(())
}

async fn a_snoozed_or_released_job_keeps_its_key(lab: Lab) -> Kept {
    for end in [End::Snoozed(Duration::from_secs(5)), End::Released] {
        let active = lab.active_with(keyed("k")).await;
        lab.end(&active, end).await;
        assert_eq!(holder(&lab).await?, Some(active.fence.id));
        lab.pass(5);
        lab.promote().await;
        let again = lab.claim_from(active.queue.as_str()).await;
        lab.end(&again, End::Completed(None)).await;
        assert_eq!(holder(&lab).await?, None);
    }
    Ok(())
}

async fn a_quarantined_job_frees_its_key(lab: Lab) -> Kept {
    let active = lab.active_with(keyed("k")).await;
    assert!(lab.crash(&active, 1).await.dead);
    assert_eq!(holder(&lab).await?, None);
    Ok(())
}

async fn an_at_most_once_job_frees_its_key_at_the_claim(lab: Lab) -> Kept {
    let once = Record { delivery: Delivery::AtMostOnce, ..keyed("k") };
    lab.active_with(once).await;
    assert_eq!(holder(&lab).await?, None);
    Ok(())
}

async fn a_deleted_job_frees_its_key(lab: Lab) -> Kept {
    for state in [State::Pending, State::Scheduled, State::Failed] {
        let id = lab.bring_to(state, keyed("k")).await;
        lab.store.delete(vec![id]).await?;
        assert_eq!(holder(&lab).await?, None, "{state}");
    }
    Ok(())
}

async fn the_end_of_an_old_job_leaves_the_new_holder_alone(lab: Lab) -> Kept {
    let dead = lab.bring_to(State::Dead, keyed("k")).await;
    let done = lab.bring_to(State::Completed, keyed("k")).await;
    let heir = lab.put_one(keyed("k")).await;
    lab.store.discard(vec![dead]).await?;
    assert_eq!(holder(&lab).await?, Some(heir), "after a discard");
    lab.store.delete(vec![dead, done]).await?;
    assert_eq!(holder(&lab).await?, Some(heir), "after a delete");
    Ok(())
}
