//! Runs the demo as people do and holds it to what it says: nothing lost, nothing done twice.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Longest time that anything here may take.
const LIMIT: Duration = Duration::from_secs(60);

fn demo(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dutiful"));
    command.arg("demo").args(args).env_remove("DUTIFUL_STORE").env_remove("DUTIFUL_CONFIG");
    command
}

/// Returns the one line of `--json` by its fields, in their order.
fn summary(output: &Output) -> BTreeMap<String, f64> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let (line, rest) = text.split_once('\n').unwrap_or_else(|| panic!("no line in {output:?}"));
    assert_eq!(rest, "", "more than one line: {text}");
    let fields: BTreeMap<String, f64> = serde_json::from_str(line).unwrap();
    let names = [
        "completed",
        "dead",
        "double_effects",
        "enqueued",
        "failed_attempts",
        "lost",
        "orders",
        "seconds",
        "stalled",
    ];
    assert_eq!(fields.keys().collect::<Vec<_>>(), names);
    fields
}

/// Returns the processes whose command line names this directory: the demo and its workers.
fn processes_of(dir: &Path) -> Vec<u32> {
    let dir = dir.to_str().unwrap();
    let mut found = Vec::new();
    for entry in Path::new("/proc").read_dir().unwrap() {
        let name = entry.unwrap().file_name();
        let Some(id) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        // A process that has just ended has no command line any more.
        let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&line).split('\0').any(|word| word == dir) {
            found.push(id);
        }
    }
    found
}

fn await_that(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < LIMIT, "{what} has not come about");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Counts lines of a ledger that begin with this word.
fn lines(ledger: &Path, word: &str) -> usize {
    let text = std::fs::read_to_string(ledger).unwrap_or_default();
    text.lines().filter(|line| line.starts_with(&format!("{word} "))).count()
}

#[test]
fn loses_nothing_and_doubles_nothing_when_a_worker_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().canonicalize().unwrap().join("shop");
    let output = demo(&["--json", "--orders", "60", "--dir"]).arg(&home).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let is = summary(&output);
    assert_eq!((is["orders"], is["enqueued"], is["completed"]), (60.0, 181.0, 181.0), "{is:?}");
    assert_eq!((is["dead"], is["lost"], is["double_effects"]), (0.0, 0.0, 0.0), "{is:?}");
    assert!(is["stalled"] >= 1.0, "the worker held no job when it was killed: {is:?}");
    // The refusals of orders 20, 40 and 60; one whose worker died with the news is a stall instead.
    assert!(is["failed_attempts"] <= 3.0, "{is:?}");
    assert!(is["failed_attempts"] + is["stalled"] >= 3.0, "{is:?}");
    assert!(is["seconds"] > 2.0 && is["seconds"] < 20.0, "{is:?}");

    // The same from the outside, without the judge of the demo.
    let ledgers = home.join("ledgers");
    assert_eq!(lines(&ledgers.join("shop.ledger"), "order"), 60);
    assert_eq!(lines(&ledgers.join("mail.ledger"), "delivered"), 60);
    assert_eq!(lines(&ledgers.join("mail.ledger"), "refused"), 3);
    assert_eq!(home.join("pictures").read_dir().unwrap().count(), 60);
    let report = std::fs::read_to_string(home.join("reports/orders.csv")).unwrap();
    assert_eq!(report.lines().count(), 61);
    let shop = rusqlite::Connection::open(home.join("shop.db")).unwrap();
    let count = |sql| shop.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count("SELECT count(*) FROM shop_stock_change"), 60);
    assert_eq!(count("SELECT count(DISTINCT order_id) FROM shop_stock_change"), 60);
    assert_eq!(processes_of(&home), Vec::<u32>::new());
}

#[test]
fn completes_every_job_on_its_first_attempt_but_for_the_refused_mails_without_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().canonicalize().unwrap().join("shop");
    let args = ["--json", "--orders", "60", "--no-kill", "--dir"];
    let output = demo(&args).arg(&home).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let is = summary(&output);
    assert_eq!((is["orders"], is["enqueued"], is["completed"]), (60.0, 181.0, 181.0), "{is:?}");
    assert_eq!((is["dead"], is["lost"], is["double_effects"]), (0.0, 0.0, 0.0), "{is:?}");
    assert_eq!((is["stalled"], is["failed_attempts"]), (0.0, 3.0), "{is:?}");
    assert!(is["seconds"] > 0.0 && is["seconds"] < 20.0, "{is:?}");
    assert_eq!(processes_of(&home), Vec::<u32>::new());
}

#[test]
fn shows_a_picture_that_cannot_be_read_as_a_dead_job() {
    let dir = tempfile::tempdir().unwrap();
    let (images, home) = (dir.path().join("images"), dir.path().join("shop"));
    std::fs::create_dir(&images).unwrap();
    std::fs::write(images.join("broken.png"), "no picture").unwrap();
    let mut command = demo(&["--orders", "2", "--no-kill", "--images"]);
    let output = command.arg(&images).arg("--dir").arg(&home).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("5 completed, 2 dead"), "{text}");
    let dead = "dead: resize_image of order 2: the picture broken.png cannot be read";
    assert!(text.contains(dead), "{text}");

    let mut list = Command::new(env!("CARGO_BIN_EXE_dutiful"));
    let store = format!("sqlite:{}", home.join("shop.db").display());
    let output = list.args(["dead", "list", "--json", "--store", &store]).output().unwrap();
    let list: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(list["jobs"].as_array().map(Vec::len), Some(2), "{list}");
}

#[test]
fn leaves_no_worker_behind_when_it_is_interrupted() {
    let (status, left) = stop_in_the_middle(Signal::INT);
    assert_eq!(status.code(), Some(130));
    assert_eq!(left, Vec::<u32>::new(), "workers outlived the demo");
}

#[test]
fn leaves_no_worker_behind_when_it_is_killed() {
    // Nobody is left to tell the workers; they see the end of their pipe.
    let (status, _) = stop_in_the_middle(Signal::KILL);
    assert_eq!(status.code(), None);
}

/// Stops a demo whose workers are at work; returns which of them it left, then awaits their end.
fn stop_in_the_middle(how: Signal) -> (ExitStatus, Vec<u32>) {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().canonicalize().unwrap().join("shop");
    let mut command = demo(&["--json", "--orders", "5000", "--dir"]);
    let mut demo = command.arg(&home).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let ledger = |number| home.join(format!("ledgers/worker-{number}.ledger"));
    await_that("work of both workers", || (1..=2).all(|number| lines(&ledger(number), "end") > 0));
    assert_eq!(processes_of(&home).len(), 3);
    kill_process(Pid::from_raw(demo.id() as i32).unwrap(), how).unwrap();
    let status = demo.wait().unwrap();
    let left = processes_of(&home);
    await_that("the end of all workers", || processes_of(&home).is_empty());
    (status, left)
}

#[test]
fn says_in_one_sentence_what_is_wrong_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "").unwrap();
    std::fs::create_dir(dir.path().join("empty")).unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (file, full, empty) = (path("file"), path(""), path("empty"));
    let (missing, fresh) = (path("missing"), path("fresh"));
    for (args, code, says) in [
        (vec!["--orders", "0"], 2, "0 is not in 1..=100000"),
        (vec!["--orders", "x"], 2, "invalid"),
        (vec!["--workers", "0"], 2, "0 is not in 1..=16"),
        (vec!["--images", &missing, "--dir", &fresh], 1, "No such file or directory"),
        (vec!["--images", &empty, "--dir", &fresh], 1, "no file in it ends in .png"),
        (vec!["--dir", &full], 1, "it is not empty"),
        (vec!["--dir", &file], 1, "give --dir a directory that you may write to"),
        (vec!["--dir", "/proc/shop"], 1, "give --dir a directory that you may write to"),
    ] {
        let output = demo(&args).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}");
        assert_eq!(output.stdout, b"", "{args:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.starts_with("dutiful: failed to ") && text.contains(says), "{args:?}: {text}");
        assert_eq!(text.lines().count(), 1, "{args:?}: {text}");
    }
    assert!(!dir.path().join("fresh").exists());
}
