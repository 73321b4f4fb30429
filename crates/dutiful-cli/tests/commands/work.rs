//! `dutiful work`: commands as handlers, and what their exit codes and output come to.

use serde_json::{Value, json};

use crate::place::{Place, until, written};

/// Returns a place with one handler, `t`, that runs this script.
fn script(settings: &str, script: &str) -> Place {
    let place = Place::with(&format!("[handlers.t]\ncommand = [\"sh\", \"t.sh\"]\n{settings}\n"));
    place.write("t.sh", script);
    place
}

#[test]
fn keeps_the_last_line_of_stdout_as_the_result() {
    let place = script("", "echo working\ncat\n");
    let payload = r#"{"n":1.00000000000000000001}"#;
    let id = place.enqueue(&["t", payload]);
    let report = place.work();
    assert_eq!((&report["completed"], &report["failed"]), (&json!(1), &json!(0)));
    let shown = place.run(&["jobs", "show", &id, "--json"]).stdout;
    assert!(shown.contains(&format!("\"result\":{payload}")), "{shown}");
    assert_eq!(place.show(&id)["state"], "completed");
    let place = script("", "echo '{\"a\":1}'\necho done\n");
    let id = place.enqueue(&["t"]);
    place.work();
    let job = place.show(&id);
    assert_eq!((&job["state"], &job["result"]), (&json!("completed"), &Value::Null));
}

#[test]
fn tells_the_command_about_its_job() {
    let place = script("queue = \"mail\"\nmax_attempts = 4", "env > seen\n");
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let id = place.enqueue(&[
        "t",
        "--queue",
        "mail",
        "--max-attempts",
        "4",
        "--correlation-id",
        "order 7",
        "--trace-parent",
        parent,
    ]);
    place.work();
    let seen = place.read("seen").unwrap();
    for line in [
        &format!("DUTIFUL_JOB_ID={id}"),
        "DUTIFUL_JOB_TYPE=t",
        "DUTIFUL_QUEUE=mail",
        "DUTIFUL_ATTEMPT=1",
        "DUTIFUL_MAX_ATTEMPTS=4",
        "DUTIFUL_CORRELATION_ID=order 7",
    ] {
        assert!(seen.lines().any(|seen| seen == line), "{line} is missing: {seen}");
    }
    let key = seen.lines().find_map(|line| line.strip_prefix("DUTIFUL_IDEMPOTENCY_KEY="));
    assert!(key.is_some_and(|key| !key.is_empty()), "{seen}");
    let trace = seen.lines().find_map(|line| line.strip_prefix("TRACEPARENT=")).unwrap();
    assert_eq!(trace.get(..35), parent.get(..35), "the trace goes on");
}

#[test]
fn fails_an_attempt_with_the_end_of_stderr() {
    let place = script("max_attempts = 2\nretry_base = \"1s\"", "echo trouble >&2\nexit 3\n");
    let id = place.enqueue(&["t", "--max-attempts", "2"]);
    let report = place.work();
    assert_eq!((&report["completed"], &report["dead"]), (&json!(0), &json!(1)));
    let job = place.show(&id);
    assert_eq!((&job["state"], &job["dead_reason"]), (&json!("dead"), &json!("exhausted")));
    assert_eq!(job["last_error"], json!({"class": "exit 3", "message": "trouble"}));
    let outcomes: Vec<_> =
        job["attempts"].as_array().unwrap().iter().map(|one| &one["outcome"]).collect();
    assert_eq!(outcomes, ["failed", "dead"]);
}

#[test]
fn names_a_signal_and_a_silent_failure() {
    let place = script("max_attempts = 1", "kill -SEGV $$\n");
    let id = place.enqueue(&["t", "--max-attempts", "1"]);
    place.work();
    let error = &place.show(&id)["last_error"];
    assert_eq!(error["class"], "signal 11");
    assert!(error["message"].as_str().unwrap().contains("wrote nothing to stderr"), "{error}");
}

#[test]
fn gives_up_or_waits_by_declared_exit_codes() {
    let place = script(
        "discard_exit = [65, 66]\nsnooze_exit = 75\nsnooze_for = \"1s\"",
        "read what\n[ \"$what\" = '\"later\"' ] && [ $DUTIFUL_ATTEMPT = 1 ] && exit 75\n\
         [ \"$what\" = '\"never\"' ] && echo 'no such customer' >&2 && exit 66\nexit 0\n",
    );
    let never = place.enqueue(&["t", "\"never\""]);
    let later = place.enqueue(&["t", "\"later\""]);
    place.work();
    let job = place.show(&never);
    assert_eq!((&job["state"], &job["dead_reason"]), (&json!("dead"), &json!("discarded")));
    assert_eq!(job["last_error"], json!({"class": "exit 66", "message": "no such customer"}));
    assert_eq!(job["attempt"], 1);
    let job = place.show(&later);
    assert_eq!((&job["state"], &job["failures"]), (&json!("completed"), &json!(0)));
    assert_eq!((&job["attempt"], &job["attempts"][0]["outcome"]), (&json!(2), &json!("snoozed")));
}

#[test]
fn takes_a_command_that_reads_no_payload_and_floods_its_output() {
    let place = script("", "exec <&-\nyes 'a line of noise' | head -c 50000000\necho 7\n");
    let large = format!("\"{}\"", "x".repeat(200_000));
    let id = place.json_with(&["enqueue", "t", "-"], &large)["id"].as_str().unwrap().to_owned();
    let worker = place.start(&["work", "--until-empty"]);
    let status = format!("/proc/{}/status", worker.id());
    let mut peak_kib = 0;
    until("the job is completed", || {
        let status = std::fs::read_to_string(&status).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = peak.and_then(|text| text.trim().trim_end_matches(" kB").parse().ok());
        peak_kib = peak_kib.max(kib.unwrap_or(0));
        place.show(&id)["state"] == "completed"
    });
    assert_eq!(worker.end().code, Some(0));
    assert_eq!(place.show(&id)["result"], 7);
    // Debug builds with SQLite's caches take some 30 MiB; the flood alone has 50 MB.
    assert!((1..64 * 1024).contains(&peak_kib), "{peak_kib} KiB");
}

#[test]
fn serves_only_the_queues_that_are_asked_for() {
    let place = Place::with(
        "[handlers.a]\nqueue = \"one\"\ncommand = [\"true\"]\n\
         [handlers.b]\nqueue = \"two\"\ncommand = [\"true\"]\n",
    );
    let a = place.enqueue(&["a", "--queue", "one"]);
    let b = place.enqueue(&["b", "--queue", "two"]);
    place.json(&["work", "--until-empty", "--queue", "two"]);
    assert_eq!(place.show(&a)["state"], "pending");
    assert_eq!(place.show(&b)["state"], "completed");
    // A worker leaves the settings of its types behind, which an enqueue by name uses.
    assert_eq!(place.show(&place.enqueue(&["a"]))["queue"], "one");
}

#[test]
fn ends_gracefully_at_sigterm() {
    let place = script("", "echo started > started\nwhile [ ! -e go ]; do sleep 0.05; done\n");
    let id = place.enqueue(&["t"]);
    let worker = place.start(&["work", "--json"]);
    written(&place, "started");
    let late = place.enqueue(&["t"]);
    worker.signal("TERM");
    place.write("go", "");
    let ran = worker.end();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.one_json_line()["completed"].as_u64() >= Some(1), "{ran:?}");
    assert_eq!(place.show(&id)["state"], "completed");
    assert_ne!(place.show(&late)["state"], "active");
}

#[test]
fn gives_a_job_back_uncharged_when_the_grace_is_over() {
    let place = script("", "echo $$ > started\nexec sleep 1000\n");
    let id = place.enqueue(&["t"]);
    let worker = place.start(&["work", "--grace", "200ms", "--json"]);
    let pid = written(&place, "started");
    worker.signal("TERM");
    let ran = worker.end();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(ran.one_json_line()["released"], 1);
    let job = place.show(&id);
    assert_eq!((&job["state"], &job["failures"]), (&json!("pending"), &json!(0)));
    until("the command is dead", || !crate::place::lives(&pid));
}

#[test]
fn keeps_finished_jobs_as_long_as_the_file_says() {
    let config = |keep: &str| {
        format!(
            "[worker]\n{keep}\n[handlers.good]\ncommand = [\"true\"]\n\
             [handlers.bad]\ncommand = [\"false\"]\nmax_attempts = 1\n\
             [handlers.wait]\ncommand = [\"sh\", \"-c\", 'until [ -e go ]; do sleep 0.1; done']\n"
        )
    };
    let place = Place::with(&config(""));
    let (good, bad) = (place.enqueue(&["good"]), place.enqueue(&["bad"]));
    place.work();
    assert_eq!((place.show(&good)["state"].as_str(), place.count("dead")), (Some("completed"), 1));
    place.write("dutiful.toml", &config("keep_completed = \"1ms\"\nkeep_dead = \"90d\""));
    place.enqueue(&["wait"]);
    let worker = place.start(&["work", "--until-empty"]);
    until("what is too old is deleted", || place.run(&["jobs", "show", &good]).code == Some(1));
    assert_eq!(place.show(&bad)["state"], "dead", "the other kind is kept");
    place.write("go", "");
    worker.end();
}
