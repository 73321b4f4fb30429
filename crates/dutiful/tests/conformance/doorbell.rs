//! `doorbell`: a sleeper is woken when something may have become claimable.

use std::time::Duration;

use crate::harness::*;

promises![
    the_first_answer_comes_at_once,
    rings_for_everything_that_makes_a_job_due,
    a_ring_before_the_sleep_is_not_missed,
    every_sleeper_is_woken,
];

/// Hears the last ring so far.
async fn last_ring(lab: &Lab) -> u64 {
    let mut heard = lab.store.doorbell(0).await;
    // Rings that are still under way (the file's own commits) come within moments, then none.
    while let Ok(more) =
        tokio::time::timeout(Duration::from_millis(50), lab.store.doorbell(heard)).await
    {
        heard = more;
    }
    heard
}

async fn the_first_answer_comes_at_once(lab: Lab) -> Kept {
    assert!(lab.store.doorbell(0).await >= 1);
    assert!(lab.store.doorbell(0).await >= 1, "for whoever heard nothing yet");
    Ok(())
}

async fn rings_for_everything_that_makes_a_job_due(lab: Lab) -> Kept {
    let heard = last_ring(&lab).await;
    let later = lab.put_one(Record { delay: Duration::from_secs(5), ..job() }).await;
    let due = lab.put(1).await[0];
    let heard = lab.store.doorbell(heard).await.max(last_ring(&lab).await);

    let claimed = lab.claim_one().await;
    lab.end(&claimed, End::Released).await;
    let heard = lab.store.doorbell(heard).await.max(last_ring(&lab).await);

    lab.pass(5);
    assert_eq!(lab.promote().await.moved, 1);
    let heard = lab.store.doorbell(heard).await.max(last_ring(&lab).await);

    assert_eq!(lab.claim(10).await.len(), 2);
    lab.pass(31);
    assert_eq!(lab.rescue(0).await.len(), 2);
    let heard = lab.store.doorbell(heard).await.max(last_ring(&lab).await);

    lab.store.cancel(vec![due, later]).await?;
    let heard = heard.max(last_ring(&lab).await);
    lab.store.retry(vec![due]).await?;
    let heard = lab.store.doorbell(heard).await.max(last_ring(&lab).await);

    lab.store.pause(name("default"), true).await?;
    let heard = heard.max(last_ring(&lab).await);
    lab.store.pause(name("default"), false).await?;
    assert!(lab.store.doorbell(heard).await > heard);
    Ok(())
}

async fn a_ring_before_the_sleep_is_not_missed(lab: Lab) -> Kept {
    let heard = last_ring(&lab).await;
    lab.put(1).await;
    assert!(lab.store.doorbell(heard).await > heard);
    Ok(())
}

async fn every_sleeper_is_woken(lab: Lab) -> Kept {
    let heard = last_ring(&lab).await;
    let sleep = || lab.store.doorbell(heard);
    let (a, b, c, _) = tokio::join!(sleep(), sleep(), sleep(), lab.put(1));
    assert!(a > heard && b > heard && c > heard);
    Ok(())
}
