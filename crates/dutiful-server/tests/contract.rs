//! The description of the API against what is answered: schemathesis makes thousands of requests of
//! it, well formed and not, and finds no error of the server, no answer that the description does
//! not know, and nothing wrong that is accepted.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::PathBuf;
use std::sync::Arc;

use dutiful::{Client, Worker};
use dutiful_fixture::{Postgres, Version};
use dutiful_server::tokens::{self, NewToken};
use dutiful_server::{Listening, Monitor, Options, Served, with_operations};

/// What is checked of each answer. That all which fits a schema is taken is not: "either this or
/// that" is said in the sentence of the refusal.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
    response_headers_conformance,response_schema_conformance,negative_data_rejection,\
    missing_required_header,unsupported_method,use_after_free";
/// Requests that at least must have been made of each store.
const REQUESTS_MIN: u64 = 1500;

/// So many times as many requests, for a long run by hand.
const TIMES: &str = "DUTIFUL_TEST_CONTRACT_TIMES";

fn times() -> u32 {
    std::env::var(TIMES).map_or(1, |text| text.parse().expect("it is a number"))
}

/// Returns the folder in which Python finds schemathesis.
fn tool() -> PathBuf {
    let folder = std::env::var_os("DUTIFUL_TEST_SCHEMATHESIS");
    folder.expect("./test says where it installed schemathesis").into()
}

/// Serves this store and lets schemathesis ask, by a token that allows these scopes, so many of
/// each route; returns what it says.
async fn ask(url: &str, scopes: &[&str], examples: u32) -> String {
    let monitor = Arc::new(Monitor::new(Served::default()));
    let client = Client::builder().migrate(true).connect(url).await.unwrap();
    let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
    let rate_per_s = Some(1_000_000);
    let new = NewToken { name: "contract".into(), scopes, rate_per_s, ..NewToken::default() };
    let (token, _) = tokens::create(&client, new).await.unwrap();
    let listening = Listening::on("127.0.0.1:0").await.unwrap();
    let address = listening.address();
    let worker = with_operations(Worker::new(&client, ()));
    let working = tokio::spawn(worker.run());
    let serving = tokio::spawn(listening.serve_all(
        monitor,
        client,
        Options::default(),
        std::future::pending(),
    ));
    let folder = tool();
    let asked = tokio::task::spawn_blocking(move || {
        // It remembers what it found in the folder where it runs.
        let place = tempfile::tempdir().unwrap();
        std::process::Command::new("python3")
            .current_dir(place.path())
            .arg(folder.join("bin/schemathesis"))
            .args(["run", &format!("http://{address}/openapi.json"), "--checks", CHECKS])
            // One that never ends, and one that may be asked to wait for a minute.
            .args(["--exclude-path", "/v1/events", "--exclude-path", "/v1/jobs/{id}/result"])
            .args(["--suppress-health-check", "all", "--request-timeout", "40"])
            .args(["--max-examples", &(examples * times()).to_string(), "--no-color"])
            // A long run asks other things than a short one.
            .args(["--seed", &(6 + times()).to_string()])
            .args(["--header", &format!("Authorization: Bearer {token}")])
            .env("PYTHONPATH", folder)
            .output()
            .unwrap()
    });
    let output = asked.await.unwrap();
    serving.abort();
    working.abort();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{errors}");
    said
}

#[allow(clippy::print_stdout, reason = "for a long run by hand")]
fn requests(said: &str) -> u64 {
    let line = said.lines().find(|line| line.contains(" generated, ")).unwrap_or_default();
    println!("{}", line.trim());
    let number = line.trim().split(' ').next().unwrap_or_default();
    number.parse().unwrap_or_else(|_| panic!("how many requests were made? {said}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_answers_as_described() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", dir.path().join("jobs.db").display());
    let said = ask(&url, &["admin"], 12).await;
    assert!(requests(&said) >= REQUESTS_MIN, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_less_is_refused_as_described() {
    for scopes in [&["read"][..], &["enqueue", "work"]] {
        let dir = tempfile::tempdir().unwrap();
        let said =
            ask(&format!("sqlite:{}", dir.path().join("jobs.db").display()), scopes, 4).await;
        assert!(requests(&said) >= REQUESTS_MIN / 4, "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_answers_as_described() {
    let server = tokio::task::spawn_blocking(|| Postgres::shared(Version::System));
    let url = server.await.unwrap().unwrap().fresh_database().unwrap();
    let said = ask(&url, &["admin"], 12).await;
    assert!(requests(&said) >= REQUESTS_MIN, "{said}");
}
