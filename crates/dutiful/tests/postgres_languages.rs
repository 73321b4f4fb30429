//! Orders taken by Node, by Python and by psql, with their jobs in the same transaction, worked by
//! Rust: the programs of `examples/storefront` and of the guide's page, as they stand there.
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

fn house() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Runs a program of the example and returns its last word.
fn run(program: &str, file: &str, url: &str, words: &[&str]) -> String {
    let file = house().join("examples/storefront").join(file);
    let mut all = vec![file.to_str().expect("a path of text")];
    all.extend(words);
    speak(program, &all, url)
}

/// Runs a program of another language, with its driver and the database's address.
fn speak(program: &str, words: &[&str], url: &str) -> String {
    let packages = |variable: &str, fallback: &str| -> PathBuf {
        std::env::var_os(variable).map_or(house().join("target/servers").join(fallback), Into::into)
    };
    let out = Command::new(program)
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

/// Returns the one block of the guide's page that is in this language.
fn of_page(language: &str) -> String {
    let page = std::fs::read_to_string(house().join("docs/guide/postgres.md")).expect("the page");
    let mut blocks = page.split("```").filter_map(|part| part.strip_prefix(language));
    let block = blocks.next().filter(|block| block.starts_with('\n'));
    assert!(blocks.next().is_none(), "one block in {language}");
    block.unwrap_or_else(|| panic!("the page has {language}")).to_owned()
}

/// Makes a store and the application's table.
async fn shop(server: &Postgres) -> (String, Client) {
    let url = server.fresh_database().expect("a database is made");
    let client = Client::builder().migrate(true).connect(&url).await.expect("the store opens");
    let table = "CREATE TABLE orders (id bigint PRIMARY KEY, total bigint NOT NULL)";
    server.psql(&url, table).expect("the application's table is made");
    (url, client)
}

/// Returns the orders and then the jobs, as text.
fn seen(server: &Postgres, url: &str) -> String {
    let orders = "SELECT id, total FROM orders";
    let jobs = "SELECT type, queue, priority, max_attempts, state, payload::json ->> 'order',
        unique_key FROM dutiful.jobs ORDER BY type";
    server.psql(url, &format!("{orders}; {jobs}")).expect("they are read")
}

#[tokio::test]
async fn the_sql_of_the_guide_does_in_psql_what_the_page_says() {
    let server = Postgres::shared(Version::System).expect("a private server starts");
    let block = of_page("sql");
    let (url, client) = shop(server).await;
    server.psql(&url, &block.replace("COMMIT;", "ROLLBACK;")).expect("it runs");
    assert_eq!(seen(server, &url), "", "neither the order nor a job");
    server.psql(&url, &block).expect("it runs");
    let expected = [
        "17|4200",
        "count|default|10|3|pending|17|",
        "notify|default|10|10|pending|17|",
        "send_receipt|default|10|3|scheduled|17|receipt:17",
        "take_from_stock|orders|1|3|pending|17|",
    ];
    assert_eq!(seen(server, &url), expected.join("\n"));
    client.close().await.expect("it closes");
}

#[tokio::test]
async fn the_programs_of_the_guide_do_what_the_page_says() {
    let server = Postgres::shared(Version::System).expect("a private server starts");
    let (js, py) = (of_page("js"), of_page("python"));
    let js = format!(
        "const db = new (require('pg').Client)(process.env.DATABASE_URL);
         (async () => {{ await db.connect(); {js} await db.end(); }})();"
    );
    let py = format!("import os, psycopg\nurl = os.environ['DATABASE_URL']\n{py}");
    for (program, words) in [("node", ["-e", &js]), ("python3", ["-c", &py])] {
        let (url, client) = shop(server).await;
        speak(program, &words, &url);
        let expected = "17|4200\ntake_from_stock|orders|10|3|pending|17|";
        assert_eq!(seen(server, &url), expected, "{program}");
        client.close().await.expect("it closes");
    }
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
