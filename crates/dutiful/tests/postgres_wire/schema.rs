//! The schema is made once, whoever comes first, and never in the way of those who work.

use std::time::Duration;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn eight_starters_at_once_on_an_empty_database_all_get_in() -> Kept {
    for _ in 0..3 {
        let url = database();
        let starters: Vec<_> = (0..8)
            .map(|_| {
                let url = url.clone();
                tokio::spawn(async move {
                    let client = Client::builder().migrate(true).connect(&url).await?;
                    put(&client).await
                })
            })
            .collect();
        for starter in starters {
            soon(starter).await??;
        }
        let found = Client::connect(&url).await?.stats().await?;
        assert_eq!(found.totals.pending, 8);
    }
    Ok(())
}

#[tokio::test]
async fn who_only_enqueues_makes_no_schema_and_says_who_does() -> Kept {
    let url = database();
    for builder in [Client::builder(), Client::builder().must_exist().migrate(true)] {
        let error = builder.connect(&url).await.expect_err("there is no schema");
        assert!(matches!(error, Error::Store(StoreError::Schema(_))), "{error:?}");
        assert!(error.to_string().contains("dutiful migrate"), "{error}");
    }
    let found = raw(&url).await.query_one("SELECT to_regnamespace('dutiful') IS NULL", &[]).await?;
    assert!(found.get::<_, bool>(0), "nothing was made");
    let migrated = Client::builder().as_it_is().connect(&url).await?.migrate(None).await?;
    assert_eq!((migrated.from, migrated.to), (0, 4));
    put(&Client::connect(&url).await?).await?;
    Ok(())
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_left_alone() -> Kept {
    let url = database();
    put(&client(&url).await).await?;
    let raw = raw(&url).await;
    raw.batch_execute("UPDATE dutiful.schema SET version = version + 1").await?;
    for builder in [Client::builder(), Client::builder().migrate(true)] {
        let error = builder.connect(&url).await.expect_err("it is newer");
        let newer = matches!(error, Error::Store(StoreError::Newer { found: 5, known: 4 }));
        assert!(newer && error.to_string().contains("upgrade"), "{error:?}");
    }
    raw.batch_execute("UPDATE dutiful.schema SET version = version - 1").await?;
    assert_eq!(Client::connect(&url).await?.stats().await?.totals.pending, 1);
    Ok(())
}

#[tokio::test]
async fn a_migration_lets_others_pass_while_somebody_reads_for_long() -> Kept {
    let url = database();
    let (migrator, worker) = (client(&url).await, client(&url).await);
    let mut reader = raw(&url).await;
    let reading = reader.transaction().await?;
    reading.query("SELECT count(*) FROM dutiful.ready", &[]).await?;
    // Down to nothing takes the strongest locks there are.
    let migrating = tokio::spawn(async move { migrator.migrate(Some(0)).await });
    let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'";
    let looker = raw(&url).await;
    until(async || looker.query_one(waits, &[]).await.expect("locks").get::<_, i64>(0) > 0).await;
    for _ in 0..3 {
        // Whoever queues behind the migration waits until it gives way, two seconds at most.
        tokio::time::timeout(Duration::from_secs(20), put(&worker)).await??;
    }
    assert!(!migrating.is_finished(), "the reader reads on");
    reading.commit().await?;
    assert_eq!(soon(migrating).await??.to, 0);
    Ok(())
}

#[tokio::test]
async fn work_goes_on_while_another_puts_its_functions_there() -> Kept {
    let url = database();
    let (worker, raw) = (client(&url).await, raw(&url).await);
    for n in 0..5 {
        raw.batch_execute("UPDATE dutiful.schema SET functions = 'of another program'").await?;
        let working = async {
            for _ in 0..20 {
                worker.enqueue_raw("task", "{}").unique(format!("{n}")).await?;
                put(&worker).await?;
            }
            Ok::<(), Error>(())
        };
        let (worked, newcomer) = tokio::join!(soon(working), soon(client(&url)));
        worked?;
        newcomer.close().await?;
    }
    assert_eq!(worker.stats().await?.totals.pending, 105);
    Ok(())
}

#[tokio::test]
async fn the_printed_sql_makes_what_a_client_needs() -> Kept {
    let url = format!("{}?schema=jobs_2", database());
    let sql = Client::migration_sql(&url, 0, None)?;
    raw(&url).await.batch_execute(&sql).await?;
    let client = Client::connect(&url).await?;
    client.enqueue_raw("task", "{}").unique("by a function").await?;
    assert_eq!(client.migrate(None).await?.from, 4, "nothing was left to do");
    assert!(!sql.contains("dutiful.") && !sql.contains('{') || sql.contains("'{}'"), "{sql}");
    assert!(Client::migration_sql(&url, 0, Some(9)).is_err());
    assert!(Client::migration_sql("sqlite::memory:", 0, None).is_err());
    Ok(())
}
