//! `clear`: what waits in a queue goes, a bounded piece at a time; nothing else does.

use crate::harness::*;

promises![
    what_waits_goes_and_what_runs_or_ended_stays,
    other_queues_keep_theirs,
    a_cleared_job_leaves_nothing_behind,
    clears_a_bounded_piece_at_a_time,
    the_client_clears_until_none_waits,
    a_job_claimed_meanwhile_is_not_cleared,
    an_empty_or_unknown_queue_is_cleared_of_nothing,
];

async fn what_waits_goes_and_what_runs_or_ended_stays(lab: Lab) -> Kept {
    for state in State::ALL {
        let id = lab.in_state(state).await;
        let queue = lab.show(id).await.queue;
        let gone = lab.store.clear(queue, 1000).await?;
        if matches!(state, State::Pending | State::Scheduled | State::Failed) {
            assert_eq!((gone, lab.state(id).await), (1, None), "{state}");
        } else {
            assert_eq!((gone, lab.state(id).await), (0, Some(state)), "{state}");
        }
    }
    let totals = lab.store.stats().await?.totals;
    assert_eq!((totals.pending, totals.scheduled, totals.failed), (0, 0, 0));
    assert_eq!((totals.completed, totals.cancelled, totals.dead), (1, 1, 1), "as they were");
    Ok(())
}

async fn other_queues_keep_theirs(lab: Lab) -> Kept {
    let other = lab.put_one(Record { queue: name("mail"), ..job() }).await;
    let later = Record { delay: std::time::Duration::from_secs(60), ..job() };
    let later = lab.put_one(Record { queue: name("mail"), ..later }).await;
    lab.put(3).await;
    assert_eq!(lab.client.clear("default").await?, 3);
    assert_eq!(lab.state(other).await, Some(State::Pending));
    assert_eq!(lab.state(later).await, Some(State::Scheduled));
    Ok(())
}

async fn a_cleared_job_leaves_nothing_behind(lab: Lab) -> Kept {
    let given = keyed("k");
    lab.put_one(given.clone()).await;
    let first = lab.claim_one().await;
    lab.end(&first, End::Failed(oops(), std::time::Duration::ZERO)).await;
    assert_eq!(lab.client.clear("default").await?, 1);
    assert!(lab.store.list(Filter::default()).await?.jobs.is_empty());
    assert_eq!(lab.store.retry(vec![given.id]).await?, [Change::NotFound]);
    lab.put_one(given.clone()).await;
    let seen = lab.show(given.id).await;
    assert_eq!((seen.attempt, seen.attempts.len()), (0, 0), "the id and the key are new again");
    Ok(())
}

async fn clears_a_bounded_piece_at_a_time(lab: Lab) -> Kept {
    lab.put(2500).await;
    assert_eq!(lab.store.clear(name("default"), 7).await?, 7);
    let most = lab.store.clear(name("default"), usize::MAX).await?;
    assert!((1..=1000).contains(&most), "{most} in one transaction");
    assert_eq!(lab.store.stats().await?.totals.pending as usize, 2500 - 7 - most);
    Ok(())
}

async fn the_client_clears_until_none_waits(lab: Lab) -> Kept {
    lab.put(1200).await;
    let later = Record { delay: std::time::Duration::from_secs(60), ..job() };
    lab.put_one(later).await;
    assert_eq!(lab.client.clear("default").await?, 1201);
    assert_eq!(lab.client.clear("default").await?, 0);
    Ok(())
}

async fn a_job_claimed_meanwhile_is_not_cleared(lab: Lab) -> Kept {
    for _ in 0..20 {
        lab.put(40).await;
        let clear = lab.store.clear(name("default"), 1000);
        let (claimed, gone) = tokio::join!(lab.claim(40), clear);
        let gone = gone? + lab.client.clear("default").await?;
        assert_eq!(claimed.len() + gone, 40, "each was claimed or cleared, none both");
        for one in &claimed {
            assert_eq!(lab.end(one, End::Completed(None)).await, Held::Yes);
            assert_eq!(lab.state(one.fence.id).await, Some(State::Completed));
        }
    }
    Ok(())
}

async fn an_empty_or_unknown_queue_is_cleared_of_nothing(lab: Lab) -> Kept {
    assert_eq!(lab.store.clear(name("nowhere"), 10).await?, 0);
    assert_eq!(lab.client.clear("nowhere").await?, 0);
    assert!(lab.client.clear("a b").await.is_err(), "no name of a queue");
    Ok(())
}
