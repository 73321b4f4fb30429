//! Orders taken by Node and by Python, with their jobs in the same transaction, worked by Rust: the
//! programs of `examples/storefront`, as they stand there.
#![cfg(feature = "postgres")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use dutiful::{Client, Context, Filter, Job, Result, Worker};
use dutiful_fixture::{Postgres, Version};
use serde::{Deserialize, Serialize};

/// What the workers did: the type and the order.
type Done = Arc<Mutex<Vec<(&'static str, i64)>>>;

macro_rules! jobs {
    ($($name:ident $handler:ident $type:literal $queue:literal),*) => {$(
        #[derive(Serialize, Deserialize)]
        struct $name { order: i64 }

        impl Job for $name {
            const TYPE: &'static str = $type;
            const QUEUE: &'static str = $queue;
        }

        async fn $handler(job: $name, cx: Context<Done>) -> Result<()> {
            cx.app.lock().expect("nobody panicked").push(($type, job.order));
            Ok(())
        }
    )*};
}

jobs!(
    TakeFromStock take_from_stock "take_from_stock" "orders",
    SendReceipt send_receipt "send_receipt" "mail",
    AskForReview ask_for_review "ask_for_review" "mail"
);

/// Runs a program of the example and returns its last word.
fn run(program: &str, file: &str, url: &str, words: &[&str]) -> String {
    let house = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let packages = |variable: &str, fallback: &str| -> PathBuf {
        std::env::var_os(variable).map_or(house.join("target/servers").join(fallback), Into::into)
    };
    let out = Command::new(program)
        .arg(house.join("examples/storefront").join(file))
        .args(words)
        .env("DATABASE_URL", url)
        .env("NODE_PATH", packages("DUTIFUL_TEST_NODE", "node/node_modules"))
        .env("PYTHONPATH", packages("DUTIFUL_TEST_PYTHON", "python"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .expect("the program starts");
    let said = String::from_utf8_lossy(&out.stdout).trim().to_owned();
    assert!(out.status.success(), "{said}{}", String::from_utf8_lossy(&out.stderr));
    said
}

#[tokio::test]
async fn orders_of_other_languages_are_worked_by_rust_and_a_rollback_leaves_nothing() {
    let server = Postgres::shared(Version::System).expect("a private server starts");
    let url = server.fresh_database().expect("a database is made");
    let client = Client::builder().migrate(true).connect(&url).await.expect("the store opens");
    let table = "CREATE TABLE orders (id bigint PRIMARY KEY, taken_by text NOT NULL)";
    server.psql(&url, table).expect("the application's table is made");
    for (program, file, order) in [("node", "order.js", "1"), ("python3", "order.py", "2")] {
        assert_eq!(run(program, file, &url, &[order]), format!("order {order} is taken"));
        let refused = run(program, file, &url, &["9", "fail"]);
        assert_eq!(refused, "order 9 is not taken: the card was refused");
    }
    let page = client.jobs(Filter::default()).await.expect("the look is answered");
    assert_eq!(page.jobs.len(), 6, "three for each order that was taken");
    let done = Done::default();
    let worker = Worker::new(&client, done.clone())
        .job(take_from_stock)
        .job(send_receipt)
        .job(ask_for_review)
        .queue("orders", 2)
        .queue("mail", 2);
    let report = worker.until_empty(true).run().await.expect("the worker ends");
    assert_eq!((report.completed, report.failed), (6, 0));
    let mut done = std::mem::take(&mut *done.lock().expect("nobody panicked"));
    done.sort_unstable();
    let types = ["ask_for_review", "send_receipt", "take_from_stock"];
    let expected: Vec<_> = types.iter().flat_map(|job| [(*job, 1), (*job, 2)]).collect();
    assert_eq!(done, expected);
    let orders = server.psql(&url, "SELECT id, taken_by FROM orders ORDER BY id");
    assert_eq!(orders.expect("they are read"), "1|node\n2|python");
    client.close().await.expect("it closes");
}
