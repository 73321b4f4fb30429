//! `once`: a remembered effect runs under one attempt at a time, and its result is returned after.

use std::time::Duration;

use crate::harness::*;

promises![
    the_first_attempt_runs_it,
    a_stored_result_is_returned_to_every_later_attempt,
    another_live_attempt_has_to_wait,
    a_crash_before_the_result_runs_it_again,
    the_end_of_an_attempt_lets_the_next_run_it,
    a_lost_attempt_learns_so,
    a_result_is_forgotten_after_its_time,
    keys_do_not_touch_each_other,
    an_at_most_once_job_may_remember_too,
];

const DAY: Duration = Duration::from_secs(24 * 3600);

async fn once(lab: &Lab, key: &str, job: &Claimed) -> Result<Once, StoreError> {
    lab.store.once(OnceRequest { key: key.into(), fence: job.fence, ttl: DAY }).await
}

async fn store(lab: &Lab, key: &str, job: &Claimed, result: &str) -> Result<Held, StoreError> {
    lab.store.once_store(key.into(), job.fence, Some(result.into())).await
}

async fn the_first_attempt_runs_it(lab: Lab) -> Kept {
    let job = lab.active().await;
    assert_eq!(once(&lab, "k", &job).await?, Once::Run);
    assert_eq!(once(&lab, "k", &job).await?, Once::Run, "its own key is no obstacle");
    Ok(())
}

async fn a_stored_result_is_returned_to_every_later_attempt(lab: Lab) -> Kept {
    let job = lab.active().await;
    once(&lab, "k", &job).await?;
    assert_eq!(store(&lab, "k", &job, "\"receipt 7\"").await?, Held::Yes);
    let known = Once::Known(b"\"receipt 7\"".to_vec());
    assert_eq!(once(&lab, "k", &job).await?, known);
    lab.crash(&job, 0).await;
    let next = lab.claim_from(job.queue.as_str()).await;
    assert_eq!(once(&lab, "k", &next).await?, known, "to the next attempt");
    let other = lab.active().await;
    assert_eq!(once(&lab, "k", &other).await?, known, "and to another job that shares the key");
    Ok(())
}

async fn another_live_attempt_has_to_wait(lab: Lab) -> Kept {
    let (first, second) = (lab.active().await, lab.active().await);
    once(&lab, "k", &first).await?;
    assert_eq!(once(&lab, "k", &second).await?, Once::Taken);
    lab.pass(3600);
    assert_eq!(once(&lab, "k", &second).await?, Once::Taken, "silent, but not rescued yet");
    Ok(())
}

async fn a_crash_before_the_result_runs_it_again(lab: Lab) -> Kept {
    let first = lab.active().await;
    once(&lab, "k", &first).await?;
    lab.crash(&first, 0).await;
    let second = lab.claim_from(first.queue.as_str()).await;
    assert_eq!(once(&lab, "k", &second).await?, Once::Run);
    Ok(())
}

async fn the_end_of_an_attempt_lets_the_next_run_it(lab: Lab) -> Kept {
    let wait = Duration::from_secs(1);
    for end in [End::Failed(oops(), wait), End::Released, End::Completed(None), End::Cancelled] {
        let (first, second) = (lab.active().await, lab.active().await);
        let key = format!("{end:?}");
        once(&lab, &key, &first).await?;
        assert_eq!(once(&lab, &key, &second).await?, Once::Taken);
        lab.end(&first, end).await;
        assert_eq!(once(&lab, &key, &second).await?, Once::Run, "{key}");
    }
    Ok(())
}

async fn a_lost_attempt_learns_so(lab: Lab) -> Kept {
    let zombie = lab.active().await;
    lab.crash(&zombie, 0).await;
    assert_eq!(once(&lab, "k", &zombie).await?, Once::Lost);
    let heir = lab.claim_from(zombie.queue.as_str()).await;
    assert_eq!(once(&lab, "k", &zombie).await?, Once::Lost);
    assert_eq!(once(&lab, "k", &heir).await?, Once::Run, "the zombie took nothing");
    store(&lab, "k", &heir, "1").await?;
    assert_eq!(once(&lab, "k", &zombie).await?, Once::Lost);
    let wrong = Claimed { fence: forged(heir.fence), ..heir };
    assert_eq!(once(&lab, "k", &wrong).await?, Once::Lost);
    Ok(())
}

async fn a_result_is_forgotten_after_its_time(lab: Lab) -> Kept {
    let job = lab.active().await;
    once(&lab, "k", &job).await?;
    store(&lab, "k", &job, "1").await?;
    lab.pass(24 * 3600);
    assert_eq!(once(&lab, "k", &job).await?, Once::Known(b"1".to_vec()));
    lab.pass(1);
    assert_eq!(once(&lab, "k", &job).await?, Once::Run);
    Ok(())
}

async fn keys_do_not_touch_each_other(lab: Lab) -> Kept {
    let job = lab.active().await;
    for (n, key) in ["k", "K", "k ", "", "\u{e9}", "e\u{301}", "%", "a/b"].into_iter().enumerate() {
        assert_eq!(once(&lab, key, &job).await?, Once::Run, "{key:?}");
        store(&lab, key, &job, &n.to_string()).await?;
    }
    assert_eq!(once(&lab, "k", &job).await?, Once::Known(b"0".to_vec()));
    assert_eq!(once(&lab, "a/b", &job).await?, Once::Known(b"7".to_vec()));
    Ok(())
}

async fn an_at_most_once_job_may_remember_too(lab: Lab) -> Kept {
    let job = lab.active_with(Record { delivery: Delivery::AtMostOnce, ..job() }).await;
    assert_eq!(once(&lab, "k", &job).await?, Once::Run);
    assert_eq!(store(&lab, "k", &job, "1").await?, Held::Yes);
    assert_eq!(once(&lab, "k", &job).await?, Once::Known(b"1".to_vec()));
    Ok(())
}
