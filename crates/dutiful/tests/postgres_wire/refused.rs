//! Whatever the server refuses, one sentence says what to do, and the same client goes on when that
//! was done.

use std::io::{Read, Write};
use std::net::TcpListener;

use dutiful::InvalidJob;
use dutiful_fixture::Options;

use super::*;

/// Connects where that fails; returns what was said.
async fn refusal(url: &str) -> StoreError {
    match soon(Client::connect(url)).await {
        Err(Error::Store(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_wrong_password_a_missing_database_and_a_closed_port_are_told_apart() {
    let url = database();
    let wrong = url.replace(dutiful_fixture::PASSWORD, "wrong-one");
    let error = refusal(&wrong).await;
    assert!(matches!(&error, StoreError::Refused(text) if text.contains("password")), "{error:?}");
    assert!(!error.to_string().contains("wrong-one"), "{error}");

    let error = refusal(&server().url("nowhere")).await;
    assert!(matches!(&error, StoreError::Refused(text) if text.contains("create it")), "{error:?}");

    let closed = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("it");
    let error = refusal(&format!("postgres://nobody@{closed}/nowhere")).await;
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    assert!(!error.to_string().contains("may have been done"), "nothing was asked: {error}");
}

#[tokio::test]
async fn a_server_before_13_is_refused() {
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("postgres://me@{}/old?sslmode=disable", server.local_addr().expect("it"));
    std::thread::spawn(move || {
        for stream in server.incoming() {
            let mut stream = stream.expect("a connection");
            let mut asked = [0; 1024];
            let _ = stream.read(&mut asked);
            let version = b"server_version\x0012.22\0";
            let mut answer = b"R\0\0\0\x08\0\0\0\0S".to_vec();
            answer.extend((version.len() as u32 + 4).to_be_bytes());
            answer.extend(version);
            answer.extend(b"Z\0\0\0\x05I");
            let _ = stream.write_all(&answer);
            let _ = stream.read(&mut asked);
        }
    });
    let error = refusal(&url).await;
    assert!(error.to_string().contains("12.22") && error.to_string().contains("13"), "{error}");
}

#[tokio::test]
async fn a_table_changed_by_hand_is_named_and_mended_without_a_restart() -> Kept {
    let url = database();
    let (client, raw) = (client(&url).await, raw(&url).await);
    put(&client).await?;
    raw.batch_execute("ALTER TABLE dutiful.ready RENAME COLUMN flags TO banners").await?;
    let error = put(&client).await.expect_err("a column is missing");
    assert!(matches!(&error, Error::Store(StoreError::Schema(_))), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("dutiful migrate") && text.contains("dutiful doctor"), "{text}");
    raw.batch_execute("ALTER TABLE dutiful.ready RENAME COLUMN banners TO flags").await?;
    put_when_healed(&client).await;

    raw.batch_execute("ALTER SCHEMA dutiful RENAME TO away").await?;
    let error = put(&client).await.expect_err("everything is missing");
    assert!(matches!(&error, Error::Store(StoreError::Schema(_))), "{error:?}");
    raw.batch_execute("ALTER SCHEMA away RENAME TO dutiful").await?;
    put_when_healed(&client).await;
    Ok(())
}

#[tokio::test]
async fn a_server_that_only_reads_is_told_and_left_when_it_writes_again() -> Kept {
    let url = database();
    let client = client(&url).await;
    let (raw, name) = (raw(&url).await, url.rsplit_once('/').expect("a database").1);
    raw.batch_execute(&format!("ALTER DATABASE {name} SET default_transaction_read_only = on"))
        .await?;
    end_connections(&url).await;
    let error = put(&client).await.expect_err("nothing can be written");
    assert!(matches!(&error, Error::Store(StoreError::ReadOnly(_))), "{error:?}");
    assert!(error.to_string().contains("primary"), "{error}");
    raw_again(&url, name).await;
    put_when_healed(&client).await;
    Ok(())
}

#[tokio::test]
async fn a_standby_is_told_until_it_is_the_primary() -> Kept {
    let server = Postgres::start(&Options::default())?;
    let url = server.fresh_database()?;
    let client = client(&url).await;
    put(&client).await?;
    server.restart_as_standby()?;
    let refused = async |client: &Client| {
        let error = put(client).await.expect_err("nothing can be written");
        assert!(matches!(&error, Error::Store(StoreError::ReadOnly(_))), "{error:?}");
        assert!(error.to_string().contains("primary"), "{error}");
    };
    refused(&client).await;
    // Whoever comes new is told the same, and may read.
    let late = Client::connect(&url).await?;
    refused(&late).await;
    assert_eq!(late.stats().await?.totals.pending, 1, "nothing was written");
    server.psql("postgres", "SELECT pg_promote()")?;
    put_when_healed(&client).await;
    put_when_healed(&late).await;
    assert_eq!(client.stats().await?.totals.pending, 3);
    Ok(())
}

/// Lets the database write again, from a session that may.
async fn raw_again(url: &str, name: &str) {
    let raw = raw(url).await;
    raw.batch_execute("SET default_transaction_read_only = off").await.expect("it is set");
    let reset = format!("ALTER DATABASE {name} RESET default_transaction_read_only");
    raw.batch_execute(&reset).await.expect("it is reset");
}

#[tokio::test]
async fn a_table_that_somebody_locks_for_long_is_told_of_before_anybody_gives_up() -> Kept {
    let url = database();
    let client = client(&url).await;
    let mut locker = raw(&url).await;
    let locking = locker.transaction().await?;
    locking.batch_execute("LOCK TABLE dutiful.ready").await?;
    let error = put(&client).await.expect_err("it is locked");
    assert!(matches!(&error, Error::Store(error) if error.is_passing()), "{error:?}");
    assert!(error.to_string().contains("pg_stat_activity"), "{error}");
    locking.rollback().await?;
    put(&client).await?;
    Ok(())
}

#[tokio::test]
async fn too_many_connections_pass_by_themselves() -> Kept {
    let url = database();
    let (_owner, raw) = (client(&url).await, raw(&url).await);
    let name = url.rsplit_once('/').expect("a database").1;
    let limited = format!("limited_{name}");
    raw.batch_execute(&format!(
        "CREATE ROLE {limited} LOGIN PASSWORD 'one' CONNECTION LIMIT 0;
         GRANT USAGE ON SCHEMA dutiful TO {limited};
         GRANT ALL ON ALL TABLES IN SCHEMA dutiful TO {limited};"
    ))
    .await?;
    let user = format!("{}:{}@", dutiful_fixture::USER, dutiful_fixture::PASSWORD);
    let theirs = url.replace(&user, &format!("{limited}:one@"));
    let error = refusal(&theirs).await;
    assert!(error.is_passing() && error.to_string().contains("max_connections"), "{error:?}");
    raw.batch_execute(&format!("ALTER ROLE {limited} CONNECTION LIMIT -1")).await?;
    put(&Client::connect(&theirs).await?).await?;
    Ok(())
}

#[tokio::test]
async fn a_server_without_a_free_connection_is_told_and_used_again_when_there_is_one() -> Kept {
    let settings = [("max_connections", "12"), ("superuser_reserved_connections", "0")];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let server = Postgres::start(&dutiful_fixture::Options { settings, ..Default::default() })?;
    let url = server.fresh_database()?;
    let client = client(&url).await;
    put(&client).await?;
    end_connections(&url).await;
    let mut hogs = Vec::new();
    while let Ok((hog, connection)) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await {
        tokio::spawn(connection);
        hogs.push(hog);
        assert!(hogs.len() <= 12, "there is no limit");
    }
    let error = put(&client).await.expect_err("there is no connection left");
    assert!(matches!(&error, Error::Store(StoreError::Unavailable(_))), "{error:?}");
    assert!(error.to_string().contains("max_connections"), "{error}");
    assert!(!error.to_string().contains("may have been done"), "nothing was asked: {error}");
    drop(hogs);
    put_when_healed(&client).await;
    assert_eq!(client.stats().await?.totals.pending, 2, "what failed left nothing");
    Ok(())
}

#[tokio::test]
async fn a_payload_of_300_mb_is_refused_at_every_door_and_leaves_nothing() -> Kept {
    const BYTES: usize = 300 << 20;
    let url = database();
    let (_owner, raw) = (client(&url).await, raw(&url).await);
    let client = Client::builder().payload_bytes_max(usize::MAX).connect(&url).await?;
    let error = client.enqueue_raw("task", vec![b'1'; BYTES]).await.expect_err("it is too large");
    assert!(matches!(&error, Error::InvalidJob(InvalidJob::TooLarge { .. })), "{error:?}");
    assert!(error.to_string().contains("store the data elsewhere"), "{error}");
    let sql = format!("SELECT dutiful.enqueue('task', to_json(repeat('x', {BYTES})))");
    let error = raw.query(&sql, &[]).await.expect_err("it is too large");
    let said = error.as_db_error().expect("the server says it").message();
    assert!(said.contains("262144") && said.contains("store the data elsewhere"), "{said}");
    assert_eq!(client.stats().await?.totals.pending, 0, "nothing of it stays");
    put(&client).await?;
    Ok(())
}
