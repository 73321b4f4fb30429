//! A user's own transaction, cut off: the job is there with the data, or neither is.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use dutiful_proxy::{Fault, Side, Way, Which};

use super::lab::*;

/// Opens a connection of the user's own through the proxy.
async fn connect(url: &str) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// An order and its job, in one transaction.
async fn order(sql: &mut tokio_postgres::Client, n: i64) -> Result<(), tokio_postgres::Error> {
    let transaction = sql.transaction().await?;
    transaction.execute("INSERT INTO shop (n) VALUES ($1)", &[&n]).await?;
    let enqueue = "SELECT dutiful.enqueue('task', '{}', correlation_id => $1::bigint::text)";
    transaction.query(enqueue, &[&n]).await?;
    transaction.commit().await
}

#[tokio::test]
async fn a_commit_that_is_cut_off_leaves_the_job_with_the_data_or_neither() -> Kept {
    let lab = Lab::open().await?;
    lab.raw.batch_execute("CREATE TABLE shop (n bigint PRIMARY KEY)").await?;
    let port = lab.url.rsplit_once(':').and_then(|(_, rest)| rest.split('/').next());
    let target = SocketAddr::from((Ipv4Addr::LOCALHOST, port.expect("a port").parse()?));
    let through = through(&lab.url, &lab.proxy, target);
    let (mut made, mut n, mut kept) = (0, 0, 0);
    for way in Way::BOTH.iter().copied() {
        for side in [Side::Before, Side::After] {
            for k in 1.. {
                n += 1;
                let mut sql = connect(&through).await?;
                // From the first word of the transaction to the answer to its commit.
                lab.proxy.on_open(Which::all(), Fault::CutAtMessage { way, k, side });
                let told = order(&mut sql, n).await;
                drop(sql);
                lab.proxy.heal();
                let both = until_settled(&lab, n).await?;
                assert!(both == (1, 1) || both == (0, 0), "{way:?} {k} {side:?}: {both:?}");
                if told.is_ok() {
                    assert_eq!(both, (1, 1), "what was told to be committed is there");
                }
                kept += u32::from(told.is_err() && both == (1, 1));
                if told.is_ok() && (way, side) != (Way::ToClient, Side::After) || k > 60 {
                    break;
                }
                if told.is_ok() {
                    // The last answer went on before the cut: was there one to cut at all?
                    let ends = lab.proxy.connections();
                    if ends.last().is_none_or(|one| one.end != Some(dutiful_proxy::End::Cut(way))) {
                        break;
                    }
                }
                made += 1;
            }
        }
    }
    assert!(made > 60, "{made}");
    assert!(kept >= 2, "some were committed and nobody was told: {kept}");
    println!("a user's transaction: {made} cuts, {kept} committed without an answer");
    Ok(())
}

/// Waits until nothing of the user's connection runs; returns how many orders and jobs there are.
async fn until_settled(lab: &Lab, n: i64) -> Result<(i64, i64), Box<dyn std::error::Error>> {
    let running = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
        AND backend_xid IS NOT NULL AND pid <> pg_backend_pid()";
    for _ in 0..3000 {
        if lab.raw.query_one(running, &[]).await?.get::<_, i64>(0) == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let both = "SELECT (SELECT count(*) FROM shop WHERE n = $1::bigint),
        (SELECT count(*) FROM dutiful.job j JOIN dutiful.ready USING (id)
         WHERE j.correlation_id = ($1::bigint)::text)";
    let row = lab.raw.query_one(both, &[&n]).await?;
    Ok((row.get(0), row.get(1)))
}
