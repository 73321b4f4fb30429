//! Servers and connections go away and come back; the same client goes on.

use std::net::{Ipv4Addr, SocketAddr};

use dutiful_fixture::Options;
use dutiful_proxy::{Fault, Proxy, Way, Which};

use super::*;

#[tokio::test]
async fn a_connection_that_ended_while_idle_costs_nobody_an_error() -> Kept {
    let url = database();
    let client = client(&url).await;
    for _ in 0..5 {
        put(&client).await?;
        client.stats().await?;
        end_connections(&url).await;
    }
    put(&client).await?;
    assert_eq!(client.stats().await?.totals.pending, 6, "each once");
    Ok(())
}

#[tokio::test]
async fn a_server_that_was_killed_is_missed_and_found_again() -> Kept {
    let server = Postgres::start(&Options::default())?;
    let url = server.fresh_database()?;
    let client = client(&url).await;
    put(&client).await?;
    for graceful in [false, true] {
        if graceful {
            server.stop_immediate()?
        } else {
            server.kill_9()?
        }
        let error = put(&client).await.expect_err("there is no server");
        assert!(matches!(&error, Error::Store(error) if error.is_passing()), "{error:?}");
        server.restart()?;
        put_when_healed(&client).await;
    }
    assert_eq!(client.stats().await?.totals.pending, 3);
    Ok(())
}

#[tokio::test]
async fn a_server_that_takes_connections_and_says_nothing_is_given_up() -> Kept {
    let url = database();
    drop(client(&url).await);
    let target = SocketAddr::from((Ipv4Addr::LOCALHOST, server().port()));
    let proxy = Proxy::start(target, 3)?;
    let ways = &[Way::ToClient];
    proxy.on_new(Which::all(), Fault::Blackhole { ways, reads: true });
    let through =
        url.replace(&format!(":{}/", target.port()), &format!(":{}/", proxy.addr().port()));
    let error = soon(Client::connect(&through)).await.expect_err("nobody answers");
    assert!(matches!(error, Error::Store(StoreError::Unavailable(_))), "{error:?}");
    proxy.heal();
    put(&soon(Client::connect(&through)).await?).await?;
    Ok(())
}
