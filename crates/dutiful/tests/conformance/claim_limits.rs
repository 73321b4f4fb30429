//! `claim` within bounds: lanes, bytes, crashed jobs, at-most-once jobs, paused queues.

use crate::harness::*;

promises![
    takes_no_more_than_each_lane_allows,
    takes_no_more_than_the_whole_claim_allows,
    serves_the_first_lane_first,
    a_full_lane_does_not_block_the_next,
    takes_no_more_bytes_than_asked_but_always_one_job,
    takes_no_more_crashed_jobs_than_asked,
    takes_no_more_at_most_once_jobs_than_the_lane_allows,
    a_paused_lane_gives_nothing,
    queue_names_are_compared_byte_by_byte,
    a_crowd_of_at_most_once_jobs_is_not_walked_to_its_end,
    a_crowd_of_crashed_jobs_makes_room_for_others,
];

/// Puts so many jobs into a queue.
async fn fill(lab: &Lab, queue: &str, n: usize) -> Vec<JobId> {
    lab.put_all((0..n).map(|_| Record { queue: name(queue), ..job() }).collect()).await
}

async fn takes_no_more_than_each_lane_allows(lab: Lab) -> Kept {
    let (a, b) = (fill(&lab, "a", 5).await, fill(&lab, "b", 5).await);
    let lanes = vec![lane("a", 2), lane("b", 3), lane("empty", 9), lane("c", 0)];
    let claimed = lab.store.claim(ClaimRequest { lanes, ..lab.ask(100) }).await?;
    assert_eq!(ids(&claimed), [&a[..2], &b[..3]].concat());
    Ok(())
}

async fn takes_no_more_than_the_whole_claim_allows(lab: Lab) -> Kept {
    let (a, b) = (fill(&lab, "a", 5).await, fill(&lab, "b", 5).await);
    let lanes = vec![lane("a", 4), lane("b", 4)];
    let claimed = lab.store.claim(ClaimRequest { lanes, ..lab.ask(6) }).await?;
    assert_eq!(ids(&claimed), [&a[..4], &b[..2]].concat());
    Ok(())
}

async fn serves_the_first_lane_first(lab: Lab) -> Kept {
    let a: Vec<_> = fill(&lab, "a", 2).await;
    let urgent = lab.put_one(Record { queue: name("b"), priority: 0, ..job() }).await;
    let lanes = vec![lane("a", 10), lane("b", 10)];
    let claimed = lab.store.claim(ClaimRequest { lanes, ..lab.ask(10) }).await?;
    assert_eq!(ids(&claimed), [a[0], a[1], urgent], "priority counts within a queue");
    Ok(())
}

async fn a_full_lane_does_not_block_the_next(lab: Lab) -> Kept {
    fill(&lab, "flood", 3000).await;
    let calm = fill(&lab, "calm", 1).await;
    let lanes = vec![lane("flood", 1), lane("calm", 1)];
    let claimed = lab.store.claim(ClaimRequest { lanes, ..lab.ask(2) }).await?;
    assert_eq!(ids(&claimed)[1..], calm);
    Ok(())
}

async fn takes_no_more_bytes_than_asked_but_always_one_job(lab: Lab) -> Kept {
    let hundred = || Record { payload: vec![b'1'; 100], ..job() };
    let given = lab.put_all((0..6).map(|_| hundred()).collect()).await;
    let with = |bytes| ClaimRequest { bytes, ..lab.ask(10) };
    assert_eq!(ids(&lab.store.claim(with(250)).await?), given[..2]);
    assert_eq!(ids(&lab.store.claim(with(100)).await?), given[2..3]);
    assert_eq!(ids(&lab.store.claim(with(99)).await?), given[3..4], "one is always given");
    assert_eq!(ids(&lab.store.claim(with(0)).await?), given[4..5]);
    assert_eq!(ids(&lab.store.claim(with(usize::MAX)).await?), given[5..]);
    Ok(())
}

async fn takes_no_more_crashed_jobs_than_asked(lab: Lab) -> Kept {
    let crashed = lab.put(3).await;
    assert_eq!(lab.claim(3).await.len(), 3);
    lab.pass(31);
    assert_eq!(lab.rescue(0).await.len(), 3);
    let sane = lab.put(2).await;
    let with = |crashed| ClaimRequest { crashed, ..lab.ask(10) };
    assert_eq!(ids(&lab.store.claim(with(0)).await?), sane, "crashed jobs block nobody");
    let one = lab.store.claim(with(1)).await?;
    assert_eq!((ids(&one), one[0].crashes), (crashed[..1].to_vec(), 1));
    assert_eq!(ids(&lab.store.claim(with(10)).await?), crashed[1..]);
    Ok(())
}

async fn takes_no_more_at_most_once_jobs_than_the_lane_allows(lab: Lab) -> Kept {
    let once = || Record { delivery: Delivery::AtMostOnce, ..job() };
    let given = lab.put_all(vec![once(), once(), once(), job(), job()]).await;
    let with = |at_most_once| {
        let lanes = vec![Lane { queue: name("default"), limit: 3, at_most_once }];
        ClaimRequest { lanes, ..lab.ask(3) }
    };
    assert_eq!(ids(&lab.store.claim(with(1)).await?), [given[0], given[3], given[4]]);
    assert!(lab.store.claim(with(0)).await?.is_empty());
    assert_eq!(lab.state(given[1]).await, Some(State::Pending), "skipped, not done");
    assert_eq!(ids(&lab.store.claim(with(3)).await?), given[1..3]);
    Ok(())
}

async fn a_paused_lane_gives_nothing(lab: Lab) -> Kept {
    fill(&lab, "a", 2).await;
    let b = fill(&lab, "b", 2).await;
    lab.store.pause(name("a"), true).await?;
    let lanes = vec![lane("a", 10), lane("b", 10)];
    let claimed = lab.store.claim(ClaimRequest { lanes, ..lab.ask(10) }).await?;
    assert_eq!(ids(&claimed), b);
    Ok(())
}

async fn queue_names_are_compared_byte_by_byte(lab: Lab) -> Kept {
    for queue in ["mail", "Mail", "mail.", "mail:1", "mail-1", "mail_1"] {
        let given = fill(&lab, queue, 1).await;
        assert_eq!(lab.claim_from(queue).await.fence.id, given[0]);
    }
    Ok(())
}

async fn a_crowd_of_at_most_once_jobs_is_not_walked_to_its_end(lab: Lab) -> Kept {
    if lab.on_postgres() {
        skip!(lab, "a claim holds nobody up there, so it may walk on to what it can take");
    }
    let once = || Record { delivery: Delivery::AtMostOnce, ..job() };
    let given = lab.put_all((0..1500).map(|_| once()).collect()).await;
    let last = lab.put(1).await;
    let with = |at_most_once| {
        let lanes = vec![Lane { queue: name("default"), limit: 600, at_most_once }];
        ClaimRequest { lanes, ..lab.ask(600) }
    };
    assert!(lab.store.claim(with(0)).await?.is_empty(), "it would hold the write lock all the way");
    assert_eq!(ids(&lab.store.claim(with(600)).await?), given[..600]);
    assert_eq!(ids(&lab.store.claim(with(0)).await?), last, "900 are passed");
    Ok(())
}

async fn a_crowd_of_crashed_jobs_makes_room_for_others(lab: Lab) -> Kept {
    let crashed = lab.put(1500).await;
    let held = lab.claim(1500).await;
    assert_eq!(held.len(), 1500);
    lab.pass(31);
    while !lab.rescue(0).await.is_empty() {}
    let sane = lab.put(3).await;
    let with = |crashed| ClaimRequest { crashed, ..lab.ask(10) };
    if !lab.on_postgres() {
        let first = lab.store.claim(with(0)).await?;
        assert!(first.is_empty(), "it would hold the write lock all the way");
    }
    assert_eq!(ids(&lab.store.claim(with(0)).await?), sane);
    assert_eq!(ids(&lab.store.claim(with(1)).await?), crashed[..1], "the first keep their place");
    lab.pass(11);
    lab.promote().await;
    let rest = lab.store.claim(ClaimRequest { crashed: 2000, ..lab.ask(2000) }).await?;
    assert_eq!(rest.len(), 1499, "those set aside come back, uncharged");
    assert!(rest.iter().all(|job| (job.failures, job.crashes) == (0, 1)));
    Ok(())
}
