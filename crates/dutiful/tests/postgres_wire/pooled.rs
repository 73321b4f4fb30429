//! Behind PgBouncer: found out without being told, and used as far as it allows.

use dutiful_fixture::{Mode, PgBouncer};

use super::*;

fn through(mode: Mode) -> (PgBouncer, String, String) {
    let direct = database();
    let bouncer = PgBouncer::start(server(), mode).expect("a pooler");
    let pooled = bouncer.url(direct.rsplit_once('/').expect("a database").1);
    (bouncer, direct, pooled)
}

#[tokio::test(flavor = "multi_thread")]
async fn transaction_mode_is_found_out_and_worked_with() -> Kept {
    let (_bouncer, direct, pooled) = through(Mode::Transaction);
    let one = client(&pooled).await;
    assert!(one.facts().place.contains("transaction mode"), "{}", one.facts().place);
    let mut tasks = Vec::new();
    for _ in 0..8 {
        let pooled = pooled.clone();
        tasks.push(tokio::spawn(async move {
            let client = Client::connect(&pooled).await?;
            assert!(client.facts().place.contains("transaction mode"));
            for n in 0..20 {
                put(&client).await?;
                client.enqueue_raw("task", "{}").unique(format!("{n}")).await?;
                client.stats().await?;
            }
            Ok::<(), Error>(())
        }));
    }
    for task in tasks {
        soon(task).await??;
    }
    let stats = one.stats().await?;
    assert_eq!(stats.totals.pending, 8 * 20 + 20);
    assert!(stats.warnings.iter().any(|one| one.contains("polling")), "{:?}", stats.warnings);
    // Nothing of ours stays on the server's connections for whoever gets them next.
    let left = "SELECT name || '=' || setting FROM pg_settings
        WHERE source = 'session' AND name IN ('statement_timeout', 'lock_timeout', 'jit')";
    assert!(raw(&pooled).await.query(left, &[]).await.is_err() || no_settings(&pooled, left).await);
    let place = Client::connect(&direct).await?.facts().place;
    assert!(!place.contains("pooler"), "{place}");
    Ok(())
}

async fn no_settings(url: &str, sql: &str) -> bool {
    let said = raw(url).await.simple_query(sql).await.expect("settings");
    said.iter().all(|row| !matches!(row, tokio_postgres::SimpleQueryMessage::Row(_)))
}

#[tokio::test]
async fn sleepers_behind_transaction_mode_are_left_to_polling() -> Kept {
    let (_bouncer, direct, pooled) = through(Mode::Transaction);
    let sleeper = client(&pooled).await;
    let heard = sleeper.store().doorbell(0).await;
    let (ring, stored) = tokio::join!(soon(sleeper.store().doorbell(heard)), put(&sleeper));
    stored?;
    assert!(ring > heard, "within the process it rings all the same");
    let marks = "SELECT count(*) FROM dutiful.sleeper";
    assert_eq!(raw(&direct).await.query_one(marks, &[]).await?.get::<_, i64>(0), 0);
    Ok(())
}

#[tokio::test]
async fn session_mode_keeps_everything() -> Kept {
    let (_bouncer, direct, pooled) = through(Mode::Session);
    let (sleeper, producer) = (client(&pooled).await, client(&direct).await);
    assert!(sleeper.facts().place.contains("session mode"), "{}", sleeper.facts().place);
    let warnings = sleeper.stats().await?.warnings;
    assert!(!warnings.iter().any(|one| one.contains("poll")), "{warnings:?}");
    let mut heard = soon(sleeper.store().doorbell(1)).await;
    for _ in 0..3 {
        let (ring, stored) = tokio::join!(soon(sleeper.store().doorbell(heard)), put(&producer));
        stored?;
        heard = ring;
    }
    Ok(())
}

#[tokio::test]
async fn statement_mode_is_refused_with_what_to_set() {
    let (_bouncer, _direct, pooled) = through(Mode::Statement);
    let error = soon(Client::connect(&pooled)).await.expect_err("no transaction is possible");
    assert!(error.to_string().contains("pool_mode"), "{error}");
}
