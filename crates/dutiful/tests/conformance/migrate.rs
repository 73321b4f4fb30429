//! `migrate`: the schema's versions, up and down, with the data in it.

use crate::harness::*;

promises![
    migrating_to_where_it_is_changes_nothing,
    every_version_but_the_first_step_keeps_the_jobs,
    down_to_nothing_and_up_again_works,
    an_unknown_version_is_refused,
    a_newer_schema_is_refused_and_left_alone,
    two_that_migrate_at_once_agree,
    a_refused_one_spoils_nothing_that_is_under_way,
];

async fn migrating_to_where_it_is_changes_nothing(lab: Lab) -> Kept {
    let id = lab.in_state(State::Dead).await;
    let first = lab.store.migrate(None).await?;
    assert_eq!(first.from, first.to, "a store is opened at its newest version");
    assert_eq!(lab.store.migrate(Some(first.to)).await?, first);
    assert_eq!(lab.state(id).await, Some(State::Dead));
    Ok(())
}

async fn every_version_but_the_first_step_keeps_the_jobs(lab: Lab) -> Kept {
    if lab.name == "postgres_18" {
        skip!(lab, "its role may not change tables");
    }
    let mut given = Vec::new();
    for state in State::ALL {
        let id = lab.in_state(state).await;
        given.push(serde_json::to_string(&lab.show(id).await).expect("JSON"));
    }
    let look = async |json: &String| {
        let before: serde_json::Value = serde_json::from_str(json).expect("JSON");
        let id = before["id"].as_str().and_then(|id| id.parse().ok()).expect("an id");
        serde_json::to_string(&lab.show(id).await).expect("JSON")
    };
    // What stalls meanwhile differs in its state alone, so the pictures are taken anew.
    let mut pictures = Vec::new();
    for json in &given {
        pictures.push(look(json).await);
    }
    let newest = lab.store.migrate(None).await?.to;
    for version in (1..=newest).rev() {
        assert_eq!(lab.store.migrate(Some(version)).await?.to, version);
        assert_eq!(lab.store.migrate(None).await?.to, newest);
        for picture in &pictures {
            assert_eq!(&look(picture).await, picture, "after version {version}");
        }
    }
    Ok(())
}

async fn down_to_nothing_and_up_again_works(lab: Lab) -> Kept {
    if lab.name == "postgres_18" {
        skip!(lab, "its role may not change tables");
    }
    let id = lab.in_state(State::Completed).await;
    let newest = lab.store.migrate(None).await?.to;
    let down = lab.store.migrate(Some(0)).await?;
    assert_eq!((down.from, down.to), (newest, 0));
    assert!(lab.store.enqueue(vec![job()]).await.is_err(), "there is nothing to write to");
    assert!(lab.store.stats().await.is_err());
    let up = lab.store.migrate(None).await?;
    assert_eq!((up.from, up.to), (0, newest));
    assert_eq!(lab.state(id).await, None);
    lab.put(1).await;
    let claimed = lab.claim_one().await;
    assert_eq!(lab.end(&claimed, End::Completed(None)).await, Held::Yes);
    Ok(())
}

async fn an_unknown_version_is_refused(lab: Lab) -> Kept {
    let id = lab.put(1).await[0];
    for version in [-1, 9999, i64::MAX, i64::MIN] {
        assert!(lab.store.migrate(Some(version)).await.is_err(), "{version}");
    }
    assert_eq!(lab.state(id).await, Some(State::Pending));
    assert_eq!(lab.claim_one().await.fence.id, id);
    Ok(())
}

async fn a_newer_schema_is_refused_and_left_alone(lab: Lab) -> Kept {
    let Some(path) = lab.path() else { skip!(lab, "nobody else can open it") };
    let id = lab.put(1).await[0];
    let known = lab.store.migrate(None).await?.to;
    let raw = rusqlite::Connection::open(path).expect("the file opens");
    let set = |version: i64| raw.execute("UPDATE dutiful_schema SET version = ?1", [version]);
    set(known + 1).expect("the version is written");
    let Some(Err(error)) = lab.reopen().await else { panic!("it was opened") };
    let dutiful::Error::Store(StoreError::Newer { found, known: ours }) = &error else {
        panic!("{error:?}")
    };
    assert_eq!((*found, *ours), (known + 1, known));
    assert!(error.to_string().contains("upgrade"), "{error}");
    set(known).expect("the version is written");
    assert_eq!(lab.state(id).await, Some(State::Pending));
    Ok(())
}

async fn two_that_migrate_at_once_agree(lab: Lab) -> Kept {
    if lab.path().is_none() {
        skip!(lab, "nobody else can open it");
    }
    lab.store.migrate(Some(0)).await?;
    let (a, b, c) = tokio::join!(lab.reopen(), lab.reopen(), lab.reopen());
    for client in [a, b, c] {
        client.expect("it has a file")?.enqueue_raw("task", "{}").await?;
    }
    assert_eq!(lab.store.stats().await?.totals.pending, 3);
    Ok(())
}

async fn a_refused_one_spoils_nothing_that_is_under_way(lab: Lab) -> Kept {
    for _ in 0..20 {
        let job = lab.active().await;
        let end = lab.finish(&job, End::Completed(None));
        let (ended, refused, more) = tokio::join!(
            lab.store.finish(lab.worker, vec![end]),
            lab.store.migrate(Some(99)),
            lab.store.enqueue(vec![crate::harness::job()]),
        );
        assert_eq!(ended?, [Held::Yes], "it was not committed by somebody else's verb");
        assert!(refused.is_err());
        assert_eq!(more?[0].outcome, EnqueueOutcome::New);
    }
    assert_eq!(lab.store.stats().await?.totals.completed, 20, "each is counted");
    Ok(())
}
