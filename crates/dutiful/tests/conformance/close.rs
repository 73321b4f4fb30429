//! `close`: what was asked is done, what comes later is refused, and the jobs stay.

use crate::harness::*;

promises![
    what_was_asked_before_is_done,
    every_verb_is_refused_afterwards,
    closing_twice_is_harmless,
    the_jobs_are_there_after_the_next_start,
];

async fn what_was_asked_before_is_done(lab: Lab) -> Kept {
    let asked: Vec<_> = (0..50).map(|_| lab.store.enqueue(vec![job()])).collect();
    lab.store.close().await?;
    for answer in asked {
        assert_eq!(answer.await?[0].outcome, EnqueueOutcome::New);
    }
    Ok(())
}

fn closed<T: std::fmt::Debug>(answer: Result<T, StoreError>) {
    assert!(matches!(answer, Err(StoreError::Closed)), "{answer:?}");
}

async fn every_verb_is_refused_afterwards(lab: Lab) -> Kept {
    let active = lab.active().await;
    lab.store.close().await?;
    closed(lab.store.enqueue(vec![job()]).await);
    closed(lab.store.claim(lab.ask(1)).await);
    let ends = vec![lab.finish(&active, End::Completed(None))];
    closed(lab.store.finish(lab.worker, ends).await);
    closed(lab.store.cancel(vec![active.fence.id]).await);
    closed(lab.store.held(vec![active.fence]).await);
    closed(lab.store.show(active.fence.id).await);
    closed(lab.store.stats().await);
    closed(lab.store.promote(1, 1).await);
    closed(lab.store.migrate(None).await);
    assert_eq!(lab.store.facts().store, lab.client.facts().store, "facts need no connection");
    Ok(())
}

async fn closing_twice_is_harmless(lab: Lab) -> Kept {
    lab.store.close().await?;
    lab.store.close().await?;
    lab.client.close().await?;
    Ok(())
}

async fn the_jobs_are_there_after_the_next_start(lab: Lab) -> Kept {
    if lab.path().is_none() {
        skip!(lab, "it ends with its connection");
    }
    let mut given = Vec::new();
    for state in State::ALL {
        given.push((lab.in_state(state).await, state));
    }
    lab.store.close().await?;
    let again = lab.reopen().await.expect("it has a file")?;
    for (id, state) in given {
        let seen = again.store().show(id).await?.map(|job| job.state);
        // The lease of the active one expired while the stalled one was made.
        let expected = if state == State::Active { State::Stalled } else { state };
        assert_eq!(seen, Some(expected));
    }
    Ok(())
}
