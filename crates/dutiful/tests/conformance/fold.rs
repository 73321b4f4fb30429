//! `fold`: the tally's rows become totals, and no number changes by it.

use crate::harness::*;

promises![
    folding_keeps_every_number,
    folding_twice_folds_once,
    what_happens_after_a_fold_is_added,
    folds_of_one_queue_and_type_add_up,
    an_empty_tally_folds_nothing,
    times_that_nobody_can_believe_hold_nothing_up,
];

async fn fold(lab: &Lab) -> Result<usize, StoreError> {
    let term = lab.term().await;
    lab.store.fold(term).await
}

async fn happen(lab: &Lab) {
    for state in State::ALL {
        lab.in_state(state).await;
    }
    lab.pass(31);
    lab.rescue(3).await;
}

async fn folding_keeps_every_number(lab: Lab) -> Kept {
    happen(&lab).await;
    let before = lab.store.stats().await?;
    assert!(before.totals.completed > 0 && before.totals.stalled_total > 0);
    assert!(fold(&lab).await? > 0);
    let after = lab.store.stats().await?;
    assert_eq!(after.totals, before.totals);
    let by_queue = |stats: &dutiful::Stats| {
        let queues = stats.queues.iter().map(|q| (q.queue.clone(), q.counts));
        queues.collect::<Vec<_>>()
    };
    assert_eq!(by_queue(&after), by_queue(&before));
    Ok(())
}

async fn folding_twice_folds_once(lab: Lab) -> Kept {
    happen(&lab).await;
    let before = lab.store.stats().await?.totals;
    while fold(&lab).await? > 0 {}
    assert_eq!(fold(&lab).await?, 0);
    assert_eq!(lab.store.stats().await?.totals, before);
    Ok(())
}

async fn what_happens_after_a_fold_is_added(lab: Lab) -> Kept {
    for round in 1..=5 {
        lab.in_state(State::Completed).await;
        fold(&lab).await?;
        lab.in_state(State::Completed).await;
        assert_eq!(lab.store.stats().await?.totals.completed, 2 * round);
    }
    Ok(())
}

async fn folds_of_one_queue_and_type_add_up(lab: Lab) -> Kept {
    for round in 1..=3 {
        lab.put(2).await;
        for job in lab.claim(2).await {
            lab.end(&job, End::Completed(None)).await;
        }
        assert!(fold(&lab).await? > 0);
        assert_eq!(lab.store.stats().await?.totals.completed, 2 * round);
    }
    Ok(())
}

async fn an_empty_tally_folds_nothing(lab: Lab) -> Kept {
    assert_eq!(fold(&lab).await?, 0);
    assert_eq!(lab.store.stats().await?.totals, dutiful::Counts::default());
    Ok(())
}

async fn times_that_nobody_can_believe_hold_nothing_up(lab: Lab) -> Kept {
    for _ in 0..2 {
        let queue = name("believed");
        let jobs: Vec<_> = (0..3).map(|_| Record { queue: queue.clone(), ..job() }).collect();
        lab.store.enqueue(jobs).await?;
        let claimed = lab.claim_all(queue.as_str()).await;
        let end = |one: &Claimed| Finish {
            ran: std::time::Duration::MAX,
            waited: std::time::Duration::MAX,
            ..one.unstarted(End::Completed(None))
        };
        let ends = claimed.iter().map(end).collect();
        assert_eq!(lab.store.finish(lab.worker, ends).await?, [Held::Yes; 3]);
        fold(&lab).await?;
    }
    assert_eq!(lab.store.stats().await?.totals.completed, 6);
    Ok(())
}
