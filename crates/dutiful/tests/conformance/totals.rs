//! `totals`: what was counted by queue and type, exactly, whoever did it and whatever is folded.

use std::time::Duration;

use dutiful::TypeTotals;

use crate::harness::*;

promises![
    a_store_in_which_nothing_happened_has_none,
    every_event_is_counted_once_under_its_queue_and_type,
    times_fall_into_their_buckets_and_add_up,
    a_fold_changes_no_number,
    what_left_the_record_stays_counted,
];

/// Adds up what was counted of all queues: most attempts of the lab have one of their own.
async fn all(lab: &Lab) -> Result<TypeTotals, StoreError> {
    let totals = lab.store.totals().await?;
    let mut sum = totals.first().cloned().expect("something was counted");
    totals[1..].iter().for_each(|one| sum.add(one));
    Ok(sum)
}

async fn a_store_in_which_nothing_happened_has_none(lab: Lab) -> Kept {
    assert_eq!(lab.store.totals().await?, []);
    Ok(())
}

async fn every_event_is_counted_once_under_its_queue_and_type(lab: Lab) -> Kept {
    for state in State::ALL {
        lab.in_state(state).await;
    }
    for end in [End::Snoozed(Duration::from_secs(60)), End::Released] {
        let active = lab.active().await;
        assert_eq!(lab.end(&active, end).await, Held::Yes);
    }
    let other = Record { queue: name("other"), job_type: name("other"), ..job() };
    lab.store.enqueue(vec![other.clone(), other]).await?;
    let totals = lab.store.totals().await?;
    let other = totals.iter().find(|one| one.queue.as_str() == "other").expect("counted");
    assert_eq!((other.job_type.as_str(), other.enqueued), ("other", 1), "a repeat is none");
    let done = totals.iter().filter(|one| one.completed > 0).collect::<Vec<_>>();
    assert_eq!((done.len(), done[0].enqueued, done[0].failed), (1, 1, 0), "{done:?}");
    let one = all(&lab).await?;
    assert_eq!(one.enqueued, State::ALL.len() as u64 + 3);
    assert_eq!((one.completed, one.failed, one.dead, one.cancelled), (1, 2, 1, 1));
    assert_eq!((one.snoozed, one.released, one.stalled), (1, 1, 0));
    lab.pass(31);
    lab.rescue(0).await;
    let rescued = lab.store.stats().await?.totals.stalled_total;
    assert_eq!(all(&lab).await?.stalled, rescued);
    assert!(rescued > 0);
    Ok(())
}

async fn times_fall_into_their_buckets_and_add_up(lab: Lab) -> Kept {
    let runs = [(1, 0), (2, 7), (2, 400_000), (300_001, 1)];
    for (ran, waited) in runs {
        let active = lab.active().await;
        let end = Finish {
            ran: Duration::from_millis(ran),
            waited: Duration::from_millis(waited),
            ..active.unstarted(End::Completed(None))
        };
        assert_eq!(lab.store.finish(lab.worker, vec![end]).await?, [Held::Yes]);
    }
    for folded in [false, true] {
        let sum = all(&lab).await?;
        let (ran, waited) = (sum.ran, sum.waited);
        assert_eq!((ran.count(), ran.sum), (4, Duration::from_millis(300_006)), "{folded}");
        assert_eq!((ran.buckets[0], ran.buckets[1], ran.buckets[15]), (1, 2, 1), "{folded}");
        assert_eq!(waited.sum, Duration::from_millis(400_008), "{folded}");
        assert_eq!((waited.buckets[0], waited.buckets[2], waited.buckets[15]), (2, 1, 1));
        let term = lab.term().await;
        lab.store.fold(term).await?;
    }
    assert_eq!(dutiful::SPREAD_MS[..2], [1, 5]);
    Ok(())
}

async fn a_fold_changes_no_number(lab: Lab) -> Kept {
    for state in [State::Completed, State::Failed, State::Dead, State::Completed] {
        lab.in_state(state).await;
    }
    let before = lab.store.totals().await?;
    let term = lab.term().await;
    assert!(lab.store.fold(term).await? > 0);
    assert_eq!(lab.store.totals().await?, before);
    lab.in_state(State::Completed).await;
    let completed = |totals: &[TypeTotals]| totals.iter().map(|one| one.completed).sum::<u64>();
    assert_eq!(completed(&lab.store.totals().await?), completed(&before) + 1);
    Ok(())
}

async fn what_left_the_record_stays_counted(lab: Lab) -> Kept {
    let id = lab.in_state(State::Completed).await;
    lab.store.delete(vec![id]).await?;
    let totals = lab.store.totals().await?;
    assert_eq!((totals[0].enqueued, totals[0].completed), (1, 1));
    Ok(())
}
