//! `types`: the settings that workers registered, for those who enqueue by name alone.

use std::time::Duration;

use crate::harness::*;

promises![
    returns_what_was_registered,
    an_unknown_type_is_left_out,
    an_empty_question_is_answered_with_nothing,
    the_client_uses_them_for_jobs_by_name,
];

fn mail() -> TypeDefaults {
    TypeDefaults {
        job_type: name("mail"),
        queue: name("outbox"),
        priority: 3,
        max_attempts: 7,
        timeout: Duration::from_millis(1500),
        delivery: Delivery::AtMostOnce,
    }
}

async fn register(lab: &Lab, types: Vec<TypeDefaults>) -> Result<(), StoreError> {
    let name = "host:1".to_owned();
    let (worker, queues) = (lab.worker, Vec::new());
    lab.store
        .register(WorkerCard { pid: std::process::id(), worker, name, queues, types, quiet: false })
        .await
}

async fn returns_what_was_registered(lab: Lab) -> Kept {
    let other = TypeDefaults::unknown(name("other"));
    register(&lab, vec![mail(), other.clone()]).await?;
    let mut seen = lab.store.types(vec![name("other"), name("mail")]).await?;
    seen.sort_by(|a, b| a.job_type.cmp(&b.job_type));
    assert_eq!(seen, [mail(), other]);
    Ok(())
}

async fn an_unknown_type_is_left_out(lab: Lab) -> Kept {
    register(&lab, vec![mail()]).await?;
    assert!(lab.store.types(vec![name("nobody")]).await?.is_empty());
    assert_eq!(lab.store.types(vec![name("nobody"), name("mail")]).await?, [mail()]);
    Ok(())
}

async fn an_empty_question_is_answered_with_nothing(lab: Lab) -> Kept {
    assert!(lab.store.types(Vec::new()).await?.is_empty());
    Ok(())
}

async fn the_client_uses_them_for_jobs_by_name(lab: Lab) -> Kept {
    register(&lab, vec![mail()]).await?;
    let known = lab.client.enqueue_raw("mail", "{}").await?.id;
    let seen = lab.show(known).await;
    assert_eq!((seen.queue.as_str(), seen.priority, seen.max_attempts), ("outbox", 3, 7));
    assert_eq!((seen.timeout_ms, seen.delivery), (1500, Delivery::AtMostOnce));
    let given = lab.client.enqueue_raw("mail", "{}").queue("mine").priority(9).await?.id;
    let seen = lab.show(given).await;
    assert_eq!((seen.queue.as_str(), seen.priority), ("mine", 9), "what is said wins");
    let unknown = lab.client.enqueue_raw("nobody", "{}").await?.id;
    assert_eq!(lab.show(unknown).await.queue.as_str(), "default");
    Ok(())
}
