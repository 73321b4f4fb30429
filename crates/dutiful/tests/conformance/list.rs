//! `list`: pages of jobs, newest first, through every filter.

use crate::harness::*;

promises![
    pages_run_from_the_newest_to_the_oldest,
    a_page_has_fifty_jobs_and_at_most_a_thousand,
    every_state_has_its_filter,
    live_jobs_are_those_not_at_their_end,
    live_jobs_on_the_move_are_never_missed,
    filters_by_queue_and_type_alone_and_together,
    an_empty_store_has_an_empty_page,
    a_cursor_that_nobody_has_is_fine,
    the_last_full_page_has_no_next,
    lists_leave_out_payloads_results_and_attempts,
    a_rare_job_is_found_behind_a_crowd,
    jobs_that_arrive_meanwhile_do_not_repeat_others,
];

/// Reads all pages of a filter.
async fn all(lab: &Lab, filter: Filter) -> Result<Vec<JobId>, StoreError> {
    let (mut seen, mut before) = (Vec::new(), filter.before);
    loop {
        let page = lab.store.list(Filter { before, ..filter.clone() }).await?;
        seen.extend(page.jobs.iter().map(|job| job.id));
        if page.next.is_none() {
            return Ok(seen);
        }
        before = page.next;
    }
}

async fn pages_run_from_the_newest_to_the_oldest(lab: Lab) -> Kept {
    let mut given = lab.put(23).await;
    given.reverse();
    for limit in [1, 2, 7, 22, 23, 24] {
        let seen = all(&lab, Filter { limit: Some(limit), ..Filter::default() }).await?;
        assert_eq!(seen, given, "in pages of {limit}");
    }
    Ok(())
}

async fn a_page_has_fifty_jobs_and_at_most_a_thousand(lab: Lab) -> Kept {
    lab.put(1001).await;
    let size = async |limit| {
        let page = lab.store.list(Filter { limit, ..Filter::default() }).await;
        page.expect("the page is read").jobs.len()
    };
    assert_eq!(size(None).await, 50);
    assert_eq!(size(Some(1000)).await, 1000);
    assert_eq!(size(Some(usize::MAX)).await, 1000);
    Ok(())
}

async fn every_state_has_its_filter(lab: Lab) -> Kept {
    // Stalled comes first: bringing it about lets the leases of all others expire too.
    let mut given = vec![(State::Stalled, lab.in_state(State::Stalled).await)];
    for state in State::ALL {
        if state != State::Stalled {
            given.push((state, lab.in_state(state).await));
        }
    }
    for (state, id) in given {
        let seen = all(&lab, Filter { state: Some(state), ..Filter::default() }).await?;
        assert_eq!(seen, [id], "{state}");
    }
    assert_eq!(all(&lab, Filter::default()).await?.len(), State::ALL.len());
    Ok(())
}

async fn live_jobs_are_those_not_at_their_end(lab: Lab) -> Kept {
    let mut given = vec![lab.in_state(State::Stalled).await];
    for state in [State::Pending, State::Scheduled, State::Failed, State::Active] {
        given.push(lab.in_state(state).await);
    }
    for state in [State::Completed, State::Cancelled, State::Dead] {
        lab.in_state(state).await;
    }
    given.sort();
    given.reverse();
    let live = Filter { live: true, ..Filter::default() };
    assert_eq!(all(&lab, live.clone()).await?, given);
    assert_eq!(all(&lab, Filter { limit: Some(2), ..live.clone() }).await?, given);
    let dead = Filter { state: Some(State::Dead), ..live.clone() };
    assert!(all(&lab, dead).await?.is_empty(), "dead and live at a time is nobody");
    let other = Filter { queue: Some(name("other")), ..live };
    assert!(all(&lab, other).await?.is_empty());
    Ok(())
}

async fn live_jobs_on_the_move_are_never_missed(lab: Lab) -> Kept {
    let id = lab.put_one(job()).await;
    let mover = async {
        for _ in 0..200 {
            let active = lab.claim_one().await;
            lab.end(&active, End::Released).await;
        }
    };
    let look = async {
        for _ in 0..200 {
            let filter = Filter { live: true, ..Filter::default() };
            let page = lab.store.list(filter).await.expect("the page is read");
            assert_eq!(page.jobs.iter().map(|job| job.id).collect::<Vec<_>>(), [id]);
        }
    };
    tokio::join!(mover, look);
    Ok(())
}

async fn filters_by_queue_and_type_alone_and_together(lab: Lab) -> Kept {
    let mut given = Vec::new();
    for (queue, job_type) in [("a", "x"), ("a", "y"), ("b", "x"), ("b", "y"), ("a", "x")] {
        let one = Record { queue: name(queue), job_type: name(job_type), ..job() };
        given.push(lab.put_one(one).await);
    }
    let cases = [
        (Some("a"), None, vec![4, 1, 0]),
        (None, Some("x"), vec![4, 2, 0]),
        (Some("a"), Some("x"), vec![4, 0]),
        (Some("b"), Some("y"), vec![3]),
        (Some("c"), None, vec![]),
        (None, Some("z"), vec![]),
    ];
    for (queue, job_type, expected) in cases {
        let expected: Vec<_> = expected.into_iter().map(|n: usize| given[n]).collect();
        for state in [None, Some(State::Pending)] {
            let filter = Filter {
                state,
                queue: queue.map(name),
                job_type: job_type.map(name),
                limit: Some(1),
                ..Filter::default()
            };
            assert_eq!(all(&lab, filter).await?, expected, "{queue:?} {job_type:?} {state:?}");
        }
    }
    Ok(())
}

async fn an_empty_store_has_an_empty_page(lab: Lab) -> Kept {
    let page = lab.store.list(Filter::default()).await?;
    assert!(page.jobs.is_empty());
    assert_eq!(page.next, None);
    Ok(())
}

async fn a_cursor_that_nobody_has_is_fine(lab: Lab) -> Kept {
    let given = lab.put(3).await;
    lab.store.delete(vec![given[1]]).await?;
    let before = async |id| all_before(&lab, id).await;
    assert_eq!(before(given[1]).await, [given[0]], "the job of the cursor is gone");
    assert!(before(JobId::from_bytes([0; 16])).await.is_empty());
    assert_eq!(before(JobId::from_bytes([0xFF; 16])).await, [given[2], given[0]]);
    Ok(())
}

async fn all_before(lab: &Lab, id: JobId) -> Vec<JobId> {
    let filter = Filter { before: Some(id), ..Filter::default() };
    let page = lab.store.list(filter).await.expect("the page is read");
    page.jobs.iter().map(|job| job.id).collect()
}

async fn the_last_full_page_has_no_next(lab: Lab) -> Kept {
    lab.put(4).await;
    let first = lab.store.list(Filter { limit: Some(2), ..Filter::default() }).await?;
    assert_eq!(first.next, first.jobs.last().map(|job| job.id));
    let filter = Filter { limit: Some(2), before: first.next, ..Filter::default() };
    let last = lab.store.list(filter).await?;
    assert_eq!((last.jobs.len(), last.next), (2, None));
    Ok(())
}

async fn lists_leave_out_payloads_results_and_attempts(lab: Lab) -> Kept {
    let given = Record { payload: vec![b'1'; 1000], ..keyed("k") };
    let active = lab.active_with(given).await;
    lab.end(&active, End::Completed(Some(b"1".to_vec()))).await;
    let seen = &lab.store.list(Filter::default()).await?.jobs[0];
    assert!(seen.payload.is_none() && seen.result.is_none() && seen.attempts.is_empty());
    assert_eq!((seen.payload_bytes, seen.attempt), (1000, 1));
    assert_eq!(seen.unique_key.as_deref(), Some("k"));
    assert!(seen.last_attempt_at.is_some() && seen.finished_at.is_some());
    Ok(())
}

async fn a_rare_job_is_found_behind_a_crowd(lab: Lab) -> Kept {
    let rare = lab.put_one(Record { job_type: name("rare"), ..job() }).await;
    for _ in 0..6 {
        lab.store.enqueue((0..10_000).map(|_| job()).collect()).await?;
    }
    let filter = Filter { job_type: Some(name("rare")), ..Filter::default() };
    let first = lab.store.list(filter.clone()).await?;
    assert!(first.jobs.is_empty() && first.next.is_some(), "one page examines 50,000 rows");
    assert_eq!(all(&lab, filter).await?, [rare]);
    Ok(())
}

async fn jobs_that_arrive_meanwhile_do_not_repeat_others(lab: Lab) -> Kept {
    let mut given = lab.put(6).await;
    let first = lab.store.list(Filter { limit: Some(3), ..Filter::default() }).await?;
    lab.put(3).await;
    let rest = all(&lab, Filter { before: first.next, ..Filter::default() }).await?;
    given.reverse();
    assert_eq!(rest, given[3..]);
    Ok(())
}
