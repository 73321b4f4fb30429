//! `once_store`: the result of a remembered effect, written by the attempt that ran it, or nobody.

use std::time::Duration;

use crate::harness::*;

promises![
    a_result_is_kept_byte_for_byte,
    a_lost_attempt_stores_nothing,
    a_lost_attempt_forgets_nothing,
    a_key_that_was_never_taken_stores_nothing,
    a_key_of_another_attempt_stores_nothing,
    forgetting_lets_another_run_it_at_once,
    only_its_own_attempt_forgets_a_key,
    storing_again_replaces_the_result,
];

const DAY: Duration = Duration::from_secs(24 * 3600);

async fn once(lab: &Lab, key: &str, job: &Claimed) -> Result<Once, StoreError> {
    lab.store.once(OnceRequest { key: key.into(), fence: job.fence, ttl: DAY }).await
}

async fn store(lab: &Lab, job: &Claimed, result: Option<&[u8]>) -> Result<Held, StoreError> {
    lab.store.once_store("k".into(), job.fence, result.map(Into::into)).await
}

async fn a_result_is_kept_byte_for_byte(lab: Lab) -> Kept {
    let job = lab.active().await;
    let every_byte: Vec<u8> = (0..=255).collect();
    let large = vec![7; 64 * 1024];
    for result in [&b""[..], b"null", &every_byte, &large] {
        once(&lab, "k", &job).await?;
        assert_eq!(store(&lab, &job, Some(result)).await?, Held::Yes);
        assert_eq!(once(&lab, "k", &job).await?, Once::Known(result.to_vec()));
        store(&lab, &job, None).await?;
    }
    Ok(())
}

async fn a_lost_attempt_stores_nothing(lab: Lab) -> Kept {
    let zombie = lab.active().await;
    once(&lab, "k", &zombie).await?;
    lab.crash(&zombie, 0).await;
    assert_eq!(store(&lab, &zombie, Some(b"1")).await?, Held::Lost, "before its heir came");
    let heir = lab.claim_from(zombie.queue.as_str()).await;
    assert_eq!(once(&lab, "k", &heir).await?, Once::Run);
    assert_eq!(store(&lab, &zombie, Some(b"1")).await?, Held::Lost);
    store(&lab, &heir, Some(b"2")).await?;
    assert_eq!(once(&lab, "k", &heir).await?, Once::Known(b"2".to_vec()));
    Ok(())
}

async fn a_lost_attempt_forgets_nothing(lab: Lab) -> Kept {
    let zombie = lab.active().await;
    once(&lab, "k", &zombie).await?;
    store(&lab, &zombie, Some(b"1")).await?;
    lab.crash(&zombie, 0).await;
    assert_eq!(store(&lab, &zombie, None).await?, Held::Lost);
    let heir = lab.claim_from(zombie.queue.as_str()).await;
    assert_eq!(once(&lab, "k", &heir).await?, Once::Known(b"1".to_vec()), "it does not run again");
    Ok(())
}

async fn a_key_that_was_never_taken_stores_nothing(lab: Lab) -> Kept {
    let job = lab.active().await;
    assert_eq!(store(&lab, &job, Some(b"1")).await?, Held::Lost);
    assert_eq!(once(&lab, "k", &job).await?, Once::Run);
    Ok(())
}

async fn a_key_of_another_attempt_stores_nothing(lab: Lab) -> Kept {
    let (mine, other) = (lab.active().await, lab.active().await);
    once(&lab, "k", &mine).await?;
    assert_eq!(store(&lab, &other, Some(b"1")).await?, Held::Lost);
    let wrong = Claimed { fence: forged(mine.fence), ..mine.clone() };
    assert_eq!(store(&lab, &wrong, Some(b"1")).await?, Held::Lost);
    assert_eq!(once(&lab, "k", &mine).await?, Once::Run, "no result is known");
    Ok(())
}

async fn forgetting_lets_another_run_it_at_once(lab: Lab) -> Kept {
    let (mine, other) = (lab.active().await, lab.active().await);
    once(&lab, "k", &mine).await?;
    assert_eq!(once(&lab, "k", &other).await?, Once::Taken);
    assert_eq!(store(&lab, &mine, None).await?, Held::Yes);
    assert_eq!(once(&lab, "k", &other).await?, Once::Run);
    Ok(())
}

async fn only_its_own_attempt_forgets_a_key(lab: Lab) -> Kept {
    let (mine, other) = (lab.active().await, lab.active().await);
    once(&lab, "k", &mine).await?;
    assert_eq!(store(&lab, &other, None).await?, Held::Lost);
    assert_eq!(once(&lab, "k", &other).await?, Once::Taken);
    Ok(())
}

async fn storing_again_replaces_the_result(lab: Lab) -> Kept {
    let job = lab.active().await;
    once(&lab, "k", &job).await?;
    for result in [&b"1"[..], b"2"] {
        assert_eq!(store(&lab, &job, Some(result)).await?, Held::Yes);
        assert_eq!(once(&lab, "k", &job).await?, Once::Known(result.to_vec()));
    }
    Ok(())
}
