//! Programs get no more rights than their work needs.

use super::*;

/// Makes a user of a role; returns the URL for it.
async fn user(url: &str, role: &str) -> Result<String, tokio_postgres::Error> {
    let name = format!("{role}_{}", url.rsplit_once('/').expect("a database").1);
    let sql = format!("CREATE ROLE {name} LOGIN PASSWORD 'one' IN ROLE {role}");
    raw(url).await.batch_execute(&sql).await?;
    let owner = format!("{}:{}@", dutiful_fixture::USER, dutiful_fixture::PASSWORD);
    Ok(url.replace(&owner, &format!("{name}:one@")))
}

#[tokio::test]
async fn three_roles_can_do_their_work_and_no_more() -> Kept {
    // Roles belong to the whole server, so these have one of their own.
    let server = Postgres::start(&dutiful_fixture::Options::default())?;
    let url = server.fresh_database()?;
    raw(&url).await.batch_execute(&Client::roles_sql(&url)?).await?;

    let owner = user(&url, "dutiful_owner").await?;
    let as_owner = format!("{owner}?options=-c%20role%3Ddutiful_owner");
    put(&Client::builder().migrate(true).connect(&as_owner).await?).await?;

    // A new table has no grants but those by default: after a migration it is run again.
    raw(&url).await.batch_execute(&Client::roles_sql(&url)?).await?;

    let runtime = user(&url, "dutiful_runtime").await?;
    let client = Client::connect(&runtime).await?;
    put(&client).await?;
    client.enqueue_raw("task", "{}").unique("a key").await?;
    assert_eq!(client.stats().await?.totals.pending, 3);
    client.queues().await?;
    client.workers().await?;
    let error = client.migrate(Some(0)).await.expect_err("it may not drop anything");
    assert!(matches!(&error, Error::Store(StoreError::Refused(_))), "{error:?}");
    assert!(error.to_string().contains("--print-roles"), "{error}");
    for sql in ["CREATE TABLE dutiful.mine ()", "DROP TABLE dutiful.ready CASCADE"] {
        assert!(raw(&runtime).await.batch_execute(sql).await.is_err(), "{sql}");
    }

    let producer = user(&url, "dutiful_producer").await?;
    let client = Client::connect(&producer).await?;
    put(&client).await?;
    client.enqueue_raw("task", "{}").unique("another key").delay(HUNG).await?;
    for sql in ["SELECT payload FROM dutiful.job", "DELETE FROM dutiful.ready"] {
        assert!(raw(&producer).await.batch_execute(sql).await.is_err(), "{sql}");
    }
    assert_eq!(Client::connect(&runtime).await?.stats().await?.totals.pending, 4);
    Ok(())
}
