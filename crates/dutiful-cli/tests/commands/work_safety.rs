//! What a job can never do: reach a command line, read a secret, or outlive its time.

use std::process::{Command, Stdio};

use serde_json::json;

use crate::place::{Place, lives, until, written};

/// Payloads that do harm wherever a shell, a format or an option parser reads them.
const EVIL: [&str; 16] = [
    r#""$(touch pwned)""#,
    r#""`touch pwned`""#,
    r#""; touch pwned;""#,
    r#""' ; touch pwned ; '""#,
    r#""\" ; touch pwned ; \"""#,
    r#""| touch pwned""#,
    r#""&& touch pwned""#,
    r#""> pwned""#,
    r#""${IFS}touch${IFS}pwned""#,
    r#""\ntouch pwned\n""#,
    r#""--help""#,
    r#""-rf --""#,
    r#""%s%n%n""#,
    r#""../../../etc/passwd""#,
    r#"{"DUTIFUL_JOB_ID":"x","LD_PRELOAD":"./pwned"}"#,
    r#""\u001b]0;pwned\u0007""#,
];

#[test]
fn payloads_are_inert() {
    let place = Place::with(
        "[handlers.t]\ncommand = [\"sh\", \"-c\", 'cat > \"out.$DUTIFUL_JOB_ID\"; echo $# > args']\n",
    );
    let ids: Vec<_> = EVIL.map(|payload| place.enqueue(&["t", payload])).into();
    assert_eq!(place.work()["completed"], EVIL.len());
    for (id, payload) in ids.iter().zip(EVIL) {
        assert_eq!(place.read(&format!("out.{id}")).as_deref(), Some(payload));
    }
    assert_eq!(place.read("args").as_deref(), Some("0\n"));
    assert!(!place.path("pwned").exists());
}

#[test]
fn settings_of_a_job_are_inert_too() {
    let place = Place::with("[handlers.t]\ncommand = [\"sh\", \"-c\", \"env > seen\"]\n");
    let evil = "$(touch pwned)\nLD_PRELOAD=./pwned";
    place.enqueue(&["t", "--correlation-id", evil, "--group", evil, "--tag", evil]);
    assert_eq!(place.work()["completed"], 1);
    assert!(place.read("seen").unwrap().contains("DUTIFUL_CORRELATION_ID=$(touch pwned)\n"));
    assert!(!place.path("pwned").exists());
}

#[test]
fn commands_see_nothing_of_the_workers_environment() {
    let place = Place::with(
        "[handlers.t]\ncommand = [\"sh\", \"-c\", \"env > seen; ls /proc/$$/fd > fds\"]\n\
         env = { GREETING = \"hello\", TZ = \"Asia/Tokyo\" }\n",
    );
    place.enqueue(&["t"]);
    let mut worker = place.command(&["work", "--until-empty", "--store", "sqlite:dutiful.db"]);
    worker.env("DATABASE_PASSWORD", "secret").env("LD_PRELOAD", "").env("HOME", "/home/x");
    worker.env("DUTIFUL_STORE", "sqlite:secret.db").env("TZ", "UTC").stdin(Stdio::null());
    assert!(worker.output().unwrap().status.success());
    let seen = place.read("seen").unwrap();
    assert!(!seen.contains("secret") && !seen.contains("LD_PRELOAD"), "{seen}");
    for line in ["GREETING=hello", "TZ=Asia/Tokyo", "HOME=/home/x"] {
        assert!(seen.lines().any(|seen| seen == line), "{line} is missing: {seen}");
    }
    let ours = ["PATH", "HOME", "TZ", "GREETING", "TRACEPARENT", "PWD", "OLDPWD", "SHLVL", "_"];
    for line in seen.lines() {
        let key = line.split('=').next().unwrap();
        assert!(ours.contains(&key) || key.starts_with("DUTIFUL_"), "{line}");
    }
    assert_eq!(place.read("fds").unwrap(), fds_of_a_plain_child(), "no file of the worker's own");
}

/// Returns the files that a child of this test has: 0 to 2, and what the test itself was given.
fn fds_of_a_plain_child() -> String {
    let mut shell = Command::new("sh");
    shell.args(["-c", "ls /proc/$$/fd > plain-fds"]);
    let place = Place::new();
    let (input, output) = (Stdio::null(), Stdio::null());
    assert!(
        shell.current_dir(place.path(".")).stdin(input).stdout(output).status().unwrap().success()
    );
    place.read("plain-fds").unwrap()
}

#[test]
fn a_timeout_kills_the_command_and_its_children() {
    let place = Place::with(
        "[handlers.t]\ntimeout = \"1s\"\nmax_attempts = 1\n\
         command = [\"sh\", \"-c\", \"sleep 1000 & (trap '' TERM; sleep 1000) & echo $$ $! > pids; wait\"]\n",
    );
    let id = place.enqueue(&["t", "--timeout", "1s", "--max-attempts", "1"]);
    assert_eq!(place.work()["dead"], 1);
    assert_eq!(place.show(&id)["last_error"]["class"], "timeout");
    for pid in written(&place, "pids").split(' ') {
        until("the command and its child are dead", || !lives(pid));
    }
}

#[test]
fn a_cancel_from_another_process_kills_the_command() {
    let place = Place::with(
        "[handlers.t]\ncommand = [\"sh\", \"-c\", \"sleep 1000 & echo $$ $! > pids; wait\"]\n",
    );
    let id = place.enqueue(&["t"]);
    let worker = place.start(&["work"]);
    let pids = written(&place, "pids");
    assert_eq!(place.json(&["jobs", "cancel", &id])["requested"], 1);
    until("the job is cancelled", || place.show(&id)["state"] == "cancelled");
    for pid in pids.split(' ') {
        until("the command and its child are dead", || !lives(pid));
    }
    worker.signal("TERM");
    assert_eq!(worker.end().code, Some(0));
}

#[test]
fn nothing_outlives_a_command_that_succeeded() {
    let place = Place::with(
        "[handlers.t]\ncommand = [\"sh\", \"-c\", \"sleep 1000 & echo $! > pid; echo 1\"]\n",
    );
    let id = place.enqueue(&["t"]);
    assert_eq!(place.work()["completed"], 1);
    assert_eq!(place.show(&id)["result"], json!(1));
    let pid = written(&place, "pid");
    until("the child is dead", || !lives(&pid));
}
