//! Sleepers are woken by other processes, and the server is spared where nobody sleeps.

use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dutiful_proxy::{Fault, Proxy, Way, Which};
use tokio_postgres::{AsyncMessage, NoTls};

use super::*;

/// Long enough for a ring that comes by mistake.
const MOMENT: Duration = Duration::from_millis(1500);

/// A sleeper who hears nothing any more hears again within this.
const HEALED: Duration = Duration::from_secs(15);

/// Sleeps until nothing rings any more; returns what was heard.
async fn asleep(client: &Client) -> u64 {
    let heard = client.store().doorbell(0).await;
    // The first ring is the one after the mark.
    quiet(client, soon(client.store().doorbell(heard)).await).await
}

/// Sleeps on until nothing rings any more.
async fn quiet(client: &Client, mut heard: u64) -> u64 {
    while let Ok(more) = tokio::time::timeout(MOMENT, client.store().doorbell(heard)).await {
        heard = more;
    }
    heard
}

/// Listens past the store; what is heard stands in the list.
async fn listener(url: &str) -> (tokio_postgres::Client, Arc<Mutex<Vec<String>>>) {
    let (client, mut connection) = tokio_postgres::connect(url, NoTls).await.expect("connects");
    let heard = Arc::new(Mutex::new(Vec::new()));
    let list = heard.clone();
    tokio::spawn(async move {
        while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
            if let AsyncMessage::Notification(said) = message {
                list.lock().expect("a list").push(said.payload().to_owned());
            }
        }
    });
    client.batch_execute("LISTEN dutiful").await.expect("it listens");
    (client, heard)
}

/// Returns what was heard until now: whatever was sent before is heard before.
async fn heard_until_now(client: &tokio_postgres::Client, heard: &Mutex<Vec<String>>) -> usize {
    client.batch_execute("NOTIFY dutiful, 'now'").await.expect("it notifies");
    let is_now = async || heard.lock().expect("a list").last().is_some_and(|last| last == "now");
    until(is_now).await;
    let mut list = heard.lock().expect("a list");
    let n = list.len() - 1;
    list.clear();
    n
}

#[tokio::test]
async fn an_enqueue_in_another_process_wakes_a_sleeper() -> Kept {
    let url = database();
    let (sleeper, producer) = (client(&url).await, client(&url).await);
    let mut heard = asleep(&sleeper).await;
    for _ in 0..5 {
        let (ring, put) = tokio::join!(soon(sleeper.store().doorbell(heard)), put(&producer));
        put?;
        assert!(ring > heard);
        heard = ring;
    }
    Ok(())
}

#[tokio::test]
async fn whoever_falls_asleep_looks_once_more_and_no_more() -> Kept {
    let url = database();
    let sleeper = client(&url).await;
    let first = sleeper.store().doorbell(0).await;
    let again = soon(sleeper.store().doorbell(first)).await;
    assert!(again > first);
    let raw = raw(&url).await;
    let fresh = "SELECT count(*) FROM dutiful.sleeper WHERE until > clock_timestamp()";
    assert_eq!(raw.query_one(fresh, &[]).await?.get::<_, i64>(0), 1, "the mark was there before");
    let more = tokio::time::timeout(MOMENT, sleeper.store().doorbell(again)).await;
    assert!(more.is_err(), "nothing came, and the mark stayed fresh");
    // Short sleeps while the mark is fresh end in no look of their own either.
    for _ in 0..20 {
        let short = Duration::from_millis(50);
        let more = tokio::time::timeout(short, sleeper.store().doorbell(again)).await;
        assert!(more.is_err(), "the mark was renewed without a ring");
    }
    Ok(())
}

#[tokio::test]
async fn nobody_is_notified_while_nobody_sleeps() -> Kept {
    let url = database();
    let producer = client(&url).await;
    let (raw, heard) = listener(&url).await;
    for _ in 0..20 {
        put(&producer).await?;
    }
    assert_eq!(heard_until_now(&raw, &heard).await, 0);
    Ok(())
}

#[tokio::test]
async fn a_thousand_jobs_ring_once_or_twice() -> Kept {
    let url = database();
    let (sleeper, producer) = (client(&url).await, client(&url).await);
    let (raw, list) = listener(&url).await;
    let heard = asleep(&sleeper).await;
    let jobs = (0..1000)
        .map(|_| NewJob {
            job_type: "task".into(),
            payload: b"{}".to_vec(),
            settings: Default::default(),
        })
        .collect();
    let (ring, stored) =
        tokio::join!(soon(sleeper.store().doorbell(heard)), producer.enqueue_many(jobs));
    assert_eq!((ring > heard, stored?.len()), (true, 1000));
    let rings = heard_until_now(&raw, &list).await;
    assert!((1..=2).contains(&rings), "{rings}");
    Ok(())
}

#[tokio::test]
async fn the_sleepers_own_process_is_woken_without_the_server() -> Kept {
    let url = database();
    let only = client(&url).await;
    let (raw, list) = listener(&url).await;
    let heard = asleep(&only).await;
    let (ring, stored) = tokio::join!(soon(only.store().doorbell(heard)), put(&only));
    stored?;
    assert!(ring > heard);
    assert_eq!(heard_until_now(&raw, &list).await, 0, "nobody else sleeps");
    Ok(())
}

#[tokio::test]
async fn a_listener_whose_connection_was_ended_hears_again() -> Kept {
    let url = database();
    let (sleeper, producer) = (client(&url).await, client(&url).await);
    let heard = asleep(&sleeper).await;
    let ring = tokio::time::timeout(HEALED, sleeper.store().doorbell(heard));
    let (ring, ()) = tokio::join!(ring, end_connections(&url));
    let ring = ring?;
    assert!(ring > heard, "something may have been missed");
    let heard = quiet(&sleeper, ring).await;
    let (ring, ()) =
        tokio::join!(soon(sleeper.store().doorbell(heard)), put_when_healed(&producer));
    assert!(ring > heard);
    Ok(())
}

#[tokio::test]
async fn a_listener_that_hears_nothing_any_more_is_found_within_15_seconds() -> Kept {
    let url = database();
    let target = SocketAddr::from((Ipv4Addr::LOCALHOST, server().port()));
    let proxy = Proxy::start(target, 7)?;
    let through =
        url.replace(&format!(":{}/", target.port()), &format!(":{}/", proxy.addr().port()));
    // What is said on the wire is to be seen.
    let (sleeper, producer) =
        (client(&format!("{through}?sslmode=disable")).await, client(&url).await);
    let heard = asleep(&sleeper).await;
    let ways = &[Way::ToClient, Way::ToServer];
    let cut = proxy.on_open(Which::sent("LISTEN"), Fault::Blackhole { ways, reads: true });
    assert_eq!(cut, 1, "one connection listens");
    put(&producer).await?;
    let ring = sleeper.store().doorbell(heard);
    let ring = tokio::time::timeout(HEALED, ring).await?;
    assert!(ring > heard, "it was healed and looks for what it missed");
    let heard = quiet(&sleeper, ring).await;
    let (ring, stored) = tokio::join!(soon(sleeper.store().doorbell(heard)), put(&producer));
    stored?;
    assert!(ring > heard);
    Ok(())
}

/// What a failover makes of the connections to the server before.
#[derive(Clone, Copy, PartialEq)]
enum Before {
    Ends,
    IsSilent,
}

/// The address moves to another server, which has the schema too.
async fn listen_through_a_failover(before: Before, name: &str) -> Kept {
    let after = Postgres::shared(Version::V18)?;
    let (url, other) = (server().create_database(name)?, after.create_database(name)?);
    let at = |server: &Postgres| SocketAddr::from((Ipv4Addr::LOCALHOST, server.port()));
    let proxy = Proxy::start(at(server()), 7)?;
    let port = |addr: SocketAddr| format!(":{}/", addr.port());
    let through = url.replace(&port(at(server())), &port(proxy.addr()));
    let sleeper = client(&format!("{through}?sslmode=disable")).await;
    let producer = client(&other).await;
    let heard = asleep(&sleeper).await;
    proxy.redirect(at(after));
    let ways = &[Way::ToClient, Way::ToServer];
    let cut = match before {
        Before::Ends => proxy.kill(Which::all()),
        Before::IsSilent => proxy.on_open(Which::all(), Fault::Blackhole { ways, reads: true }),
    };
    assert!(cut > 0, "it had connections");
    put(&producer).await?;
    let ring = tokio::time::timeout(HEALED, sleeper.store().doorbell(heard)).await?;
    assert!(ring > heard, "it looks for what it missed");
    let heard = quiet(&sleeper, ring).await;
    let (ring, stored) = tokio::join!(soon(sleeper.store().doorbell(heard)), put(&producer));
    stored?;
    assert!(ring > heard, "it hears the other server");
    Ok(())
}

#[tokio::test]
async fn a_listener_follows_a_failover_that_ends_its_connection() -> Kept {
    listen_through_a_failover(Before::Ends, "failover_that_ends").await
}

#[tokio::test]
async fn a_listener_follows_a_failover_that_says_nothing() -> Kept {
    listen_through_a_failover(Before::IsSilent, "failover_that_is_silent").await
}
