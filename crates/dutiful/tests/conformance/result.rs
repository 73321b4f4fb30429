//! `result`: how jobs ended, for whoever waits for them.

use std::time::Duration;

use crate::harness::*;

promises![
    every_state_is_told,
    a_result_is_what_the_handler_returned,
    the_error_is_that_of_the_last_attempt,
    an_attempt_that_went_well_has_no_error_of_one_before,
    answers_keep_the_order_and_unknown_jobs_have_none,
    a_retried_job_has_no_result_again,
];

async fn every_state_is_told(lab: Lab) -> Kept {
    let mut given = vec![(State::Stalled, lab.in_state(State::Stalled).await)];
    for state in State::ALL.into_iter().filter(|state| *state != State::Stalled) {
        given.push((state, lab.in_state(state).await));
    }
    let results = lab.store.result(given.iter().map(|(_, id)| *id).collect()).await?;
    for ((state, id), result) in given.iter().zip(results) {
        let result = result.expect("it is on record");
        assert_eq!((result.state, result.id), (*state, *id));
        let ends = [State::Completed, State::Dead, State::Cancelled].contains(state);
        assert_eq!(result.has_ended(), ends, "{state}");
    }
    Ok(())
}

async fn a_result_is_what_the_handler_returned(lab: Lab) -> Kept {
    let odd = b"{\"a\": 1.10, \"a\":9007199254740993}";
    let (with, without) = (lab.active().await, lab.active().await);
    lab.end(&with, End::Completed(Some(odd.to_vec()))).await;
    lab.end(&without, End::Completed(None)).await;
    let results = lab.store.result(vec![with.fence.id, without.fence.id]).await?;
    let text = |at: usize| results[at].as_ref().and_then(|r| Some(r.result.as_ref()?.get()));
    assert_eq!(text(0).map(str::as_bytes), Some(&odd[..]), "byte for byte");
    assert_eq!(text(1), None);
    Ok(())
}

async fn the_error_is_that_of_the_last_attempt(lab: Lab) -> Kept {
    let dead = lab.in_state(State::Dead).await;
    let failed = lab.in_state(State::Failed).await;
    for result in lab.store.result(vec![dead, failed]).await? {
        assert_eq!(result.and_then(|r| r.error), Some(oops()));
    }
    Ok(())
}

async fn an_attempt_that_went_well_has_no_error_of_one_before(lab: Lab) -> Kept {
    let first = lab.active().await;
    lab.end(&first, End::Failed(oops(), Duration::ZERO)).await;
    lab.promote().await;
    let second = lab.claim_from(first.queue.as_str()).await;
    lab.end(&second, End::Completed(Some(b"7".to_vec()))).await;
    let once = lab.active_with(Record { delivery: Delivery::AtMostOnce, ..job() }).await;
    lab.end(&once, End::Failed(oops(), Duration::ZERO)).await;
    let found = lab.store.result(vec![first.fence.id, once.fence.id]).await?;
    let found: Vec<_> = found.into_iter().flatten().collect();
    assert_eq!((found[0].state, &found[0].error), (State::Completed, &None));
    assert_eq!(found[0].decode::<u32>()?, 7);
    assert_eq!((found[1].state, &found[1].error), (State::Completed, &Some(oops())));
    let error = found[1].decode::<()>().expect_err("its only attempt failed").to_string();
    assert!(error.contains(&oops().message), "{error}");
    Ok(())
}

async fn answers_keep_the_order_and_unknown_jobs_have_none(lab: Lab) -> Kept {
    let ids = lab.put(2).await;
    let asked = vec![ids[1], JobId::new(), ids[0], ids[1]];
    let found = lab.store.result(asked.clone()).await?;
    let found: Vec<_> = found.into_iter().map(|one| one.map(|r| r.id)).collect();
    assert_eq!(found, [Some(asked[0]), None, Some(asked[2]), Some(asked[3])]);
    assert!(lab.store.result(Vec::new()).await?.is_empty());
    Ok(())
}

async fn a_retried_job_has_no_result_again(lab: Lab) -> Kept {
    let id = lab.in_state(State::Dead).await;
    lab.store.retry(vec![id]).await?;
    let result = lab.store.result(vec![id]).await?.remove(0).expect("it is on record");
    assert_eq!((result.state, result.has_ended()), (State::Pending, false));
    assert_eq!(result.error, None, "it has not failed since");
    Ok(())
}
