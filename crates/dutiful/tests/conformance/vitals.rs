//! `vitals`: numbers of the store's own health, as far as it knows them, and within bounds.

use crate::harness::*;

promises![
    each_store_tells_what_it_knows,
    the_log_of_what_was_written_is_seen,
    a_snapshot_that_somebody_holds_has_an_age,
    the_doorbell_has_a_lag_where_somebody_waits_for_it,
];

async fn each_store_tells_what_it_knows(lab: Lab) -> Kept {
    let vitals = lab.client.vitals().await?;
    let server = lab.on_postgres();
    assert_eq!(vitals.dead_rows.is_some(), server, "{vitals:?}");
    assert_eq!(vitals.wal_bytes.is_some(), lab.name != "memory", "{vitals:?}");
    assert!(vitals.wal_bytes.is_none_or(|bytes| bytes < 1 << 40), "{vitals:?}");
    assert!(vitals.dead_rows.is_none_or(|rows| rows < 1_000_000), "{vitals:?}");
    assert!(vitals.snapshot_age_s.is_none_or(|age| (0.0..3600.0).contains(&age)), "{vitals:?}");
    assert!(server || vitals.snapshot_age_s.is_none(), "{vitals:?}");
    assert_eq!(vitals.doorbell_lag_s, None, "nobody waits");
    Ok(())
}

async fn the_log_of_what_was_written_is_seen(lab: Lab) -> Kept {
    if lab.name == "memory" {
        skip!(lab, "it has no log");
    }
    let bytes = async || lab.client.vitals().await.map(|one| one.wal_bytes.unwrap_or(0));
    let payload = format!("\"{}\"", "x".repeat(10_000)).into_bytes();
    // Others on the server write too, and a checkpoint may begin it anew: then it grows again.
    for _ in 0..100 {
        let before = bytes().await?;
        lab.put_one(Record { payload: payload.clone(), ..job() }).await;
        if bytes().await? > before {
            return Ok(());
        }
    }
    panic!("the log does not grow");
}

async fn a_snapshot_that_somebody_holds_has_an_age(lab: Lab) -> Kept {
    let Some((url, _)) = lab.server() else {
        skip!(lab, "it does not know who reads");
    };
    let holder = tokio_postgres::connect(&url, tokio_postgres::NoTls).await;
    let (holder, connection) = holder.expect("it connects");
    tokio::spawn(connection);
    let hold = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1; SELECT pg_sleep(0.05)";
    holder.batch_execute(hold).await.expect("a snapshot is held");
    let age = lab.client.vitals().await?.snapshot_age_s.expect("it is of our own role");
    assert!(age >= 0.05, "{age}");
    Ok(())
}

async fn the_doorbell_has_a_lag_where_somebody_waits_for_it(lab: Lab) -> Kept {
    if lab.name == "memory" {
        skip!(lab, "its bell rings within one process only");
    }
    let heard = lab.store.doorbell(0).await;
    let waits = async {
        let mut heard = heard;
        loop {
            heard = lab.store.doorbell(heard).await;
        }
    };
    let looks = async {
        loop {
            if let Some(lag) = lab.client.vitals().await?.doorbell_lag_s {
                return Ok(lag);
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    let lag: Result<f64, dutiful::Error> = tokio::select! {
        () = waits => unreachable!("it has no end"),
        lag = looks => lag,
    };
    assert!((0.0..60.0).contains(&lag?));
    Ok(())
}
