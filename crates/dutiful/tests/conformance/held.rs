//! `held`: whether a lease exists still, to learn how an unknown outcome ended.

use crate::harness::*;

promises![
    answers_for_each_fence_in_order,
    an_expired_lease_is_held_until_its_rescue,
    asking_changes_nothing,
    an_empty_question_is_answered_with_nothing,
];

async fn answers_for_each_fence_in_order(lab: Lab) -> Kept {
    let (active, done) = (lab.active().await, lab.active().await);
    lab.end(&done, End::Completed(None)).await;
    let fence = active.fence;
    let fences = vec![
        done.fence,
        fence,
        forged(fence),
        Fence { attempt: fence.attempt + 1, ..fence },
        Fence { id: JobId::new(), ..fence },
        fence,
    ];
    use Held::{Lost, Yes};
    assert_eq!(lab.store.held(fences).await?, [Lost, Yes, Lost, Lost, Lost, Yes]);
    Ok(())
}

async fn an_expired_lease_is_held_until_its_rescue(lab: Lab) -> Kept {
    let active = lab.active().await;
    lab.pass(3600);
    assert_eq!(lab.store.held(vec![active.fence]).await?, [Held::Yes]);
    lab.rescue(3).await;
    assert_eq!(lab.store.held(vec![active.fence]).await?, [Held::Lost]);
    Ok(())
}

async fn asking_changes_nothing(lab: Lab) -> Kept {
    let active = lab.active().await;
    lab.pass(20);
    lab.store.held(vec![active.fence]).await?;
    lab.pass(11);
    assert_eq!(lab.rescue(3).await.len(), 1, "a question is no heartbeat");
    Ok(())
}

async fn an_empty_question_is_answered_with_nothing(lab: Lab) -> Kept {
    assert!(lab.store.held(Vec::new()).await?.is_empty());
    Ok(())
}
