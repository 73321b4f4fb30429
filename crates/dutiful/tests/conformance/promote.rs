//! `promote`: scheduled jobs move into the queue when they are due, never before.

use std::time::Duration;

use crate::harness::*;

promises![
    moves_what_is_due_and_nothing_else,
    says_how_long_until_the_next,
    moves_at_most_so_many_the_oldest_first,
    nothing_due_moves_nothing,
    promoting_twice_moves_once,
    a_promoted_job_is_due_since_its_promotion,
    a_promoted_job_keeps_its_priority_and_key,
];

async fn moves_what_is_due_and_nothing_else(lab: Lab) -> Kept {
    let put = async |s| lab.put_one(Record { delay: Duration::from_secs(s), ..job() }).await;
    let (one, two, three) = (put(1).await, put(2).await, put(3).await);
    lab.pass(2);
    assert_eq!(lab.promote().await.moved, 2);
    assert_eq!(lab.state(one).await, Some(State::Pending));
    assert_eq!(lab.state(two).await, Some(State::Pending), "due to the µs");
    assert_eq!(lab.state(three).await, Some(State::Scheduled));
    lab.clock.advance(Duration::from_micros(999_999));
    assert_eq!(lab.promote().await.moved, 0);
    lab.clock.advance(Duration::from_micros(1));
    assert_eq!(lab.promote().await.moved, 1);
    Ok(())
}

async fn says_how_long_until_the_next(lab: Lab) -> Kept {
    assert_eq!(lab.promote().await, Promoted { moved: 0, next: None });
    for seconds in [7, 3, 11] {
        lab.put_one(Record { delay: Duration::from_secs(seconds), ..job() }).await;
    }
    assert_eq!(lab.promote().await.next, Some(Duration::from_secs(3)));
    lab.pass(3);
    let next = Some(Duration::from_secs(4));
    assert_eq!(lab.promote().await, Promoted { moved: 1, next });
    lab.pass(60);
    assert_eq!(lab.promote().await, Promoted { moved: 2, next: None });
    Ok(())
}

async fn moves_at_most_so_many_the_oldest_first(lab: Lab) -> Kept {
    let later = |s| Record { delay: Duration::from_secs(s), ..job() };
    let mut given = lab.put_all((1..=5).rev().map(later).collect()).await;
    given.reverse();
    lab.pass(5);
    let term = lab.term().await;
    assert_eq!(lab.store.promote(term, 2).await?.moved, 2);
    let mut due = ids(&lab.claim(10).await);
    due.sort_unstable();
    let mut expected = given[..2].to_vec();
    expected.sort_unstable();
    assert_eq!(due, expected);
    assert_eq!(lab.store.promote(term, 2).await?.moved, 2);
    assert_eq!(lab.store.promote(term, 2).await?.moved, 1);
    assert_eq!(lab.claim(10).await.len(), 3);
    Ok(())
}

async fn nothing_due_moves_nothing(lab: Lab) -> Kept {
    lab.put(2).await;
    lab.in_state(State::Scheduled).await;
    lab.in_state(State::Dead).await;
    assert_eq!(lab.promote().await.moved, 0);
    Ok(())
}

async fn promoting_twice_moves_once(lab: Lab) -> Kept {
    lab.put_one(Record { delay: Duration::from_secs(1), ..job() }).await;
    lab.pass(1);
    assert_eq!(lab.promote().await.moved, 1);
    assert_eq!(lab.promote().await.moved, 0);
    assert_eq!(lab.claim(10).await.len(), 1);
    assert_eq!(lab.promote().await.moved, 0);
    Ok(())
}

async fn a_promoted_job_is_due_since_its_promotion(lab: Lab) -> Kept {
    lab.put_one(Record { delay: Duration::from_secs(1), ..job() }).await;
    lab.pass(3);
    let already = lab.put(1).await[0];
    lab.pass(2);
    lab.promote().await;
    assert_eq!(lab.claim_one().await.fence.id, already, "what waited in the queue goes first");
    assert_eq!(lab.claim_one().await.run_at, START.plus(Duration::from_secs(5)));
    Ok(())
}

async fn a_promoted_job_keeps_its_priority_and_key(lab: Lab) -> Kept {
    let given = Record { priority: 1, delay: Duration::from_secs(1), ..keyed("k") };
    let id = lab.put_one(given).await;
    lab.pass(1);
    lab.put(1).await;
    lab.promote().await;
    let twin = lab.store.enqueue(vec![keyed("k")]).await?[0];
    assert_eq!((twin.id, twin.outcome), (id, EnqueueOutcome::Duplicate));
    let claimed = lab.claim_one().await;
    assert_eq!((claimed.fence.id, claimed.unique), (id, true));
    Ok(())
}
