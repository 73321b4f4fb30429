//! What is seen of jobs while and after they run: progress, logs, results, filters; and quiet mode.

use serde_json::json;

use crate::place::{Place, until, written};

const NOBODY: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

#[test]
fn a_command_speaks_through_its_stderr() {
    let place = Place::with(
        "[handlers.t]\nmax_attempts = 1\ncommand = [\"sh\", \"-c\", '''\
         echo begun >&2\n\
         echo \"dutiful: progress 40 half way, nearly\" >&2\n\
         echo \"dutiful: progress 400 is no percent\" >&2\n\
         printf 'the end' >&2\n\
         exit 3''']\n",
    );
    let id = place.enqueue(&["t", "--max-attempts", "1"]);
    place.work();
    let job = place.show(&id);
    assert_eq!(job["progress"]["percent"], 40);
    assert_eq!(job["progress"]["note"], "half way, nearly");
    let log = job["attempts"][0]["log"].as_array().unwrap();
    let lines: Vec<_> = log.iter().map(|line| line["text"].as_str().unwrap()).collect();
    assert_eq!(lines, ["begun", "dutiful: progress 400 is no percent", "the end"]);
    let shown = place.run(&["jobs", "show", &id]).stdout;
    assert!(shown.contains("40 % half way, nearly") && shown.contains("Z begun"), "{shown}");
}

#[test]
fn the_end_of_a_job_is_waited_for() {
    let place = Place::with(
        "[handlers.t]\ncommand = [\"sh\", \"-c\", 'until [ -e go ]; do :; done; echo [1.50]']\n\
         [handlers.bad]\nmax_attempts = 1\ncommand = [\"sh\", \"-c\", 'echo no luck >&2; exit 3']\n",
    );
    let (good, bad) = (place.enqueue(&["t"]), place.enqueue(&["bad", "--max-attempts", "1"]));
    let late = "it is pending; ask again, or wait longer";
    place.fails(1, &["jobs", "wait", &good, "--timeout", "10ms"], late);
    let worker = place.start(&["work", "--until-empty"]);
    let waiting = place.start(&["jobs", "wait", &good]);
    place.write("go", "");
    assert_eq!(waiting.end().stdout, "[1.50]\n");
    worker.end();
    let told = place.json(&["jobs", "wait", &good]);
    assert_eq!((&told["state"], &told["id"]), (&json!("completed"), &json!(good)));
    place.fails(1, &["jobs", "wait", &bad], "it is dead (exit 3: no luck)");
    place.fails(1, &["jobs", "wait", NOBODY], "the store does not know it");
}

#[test]
fn lists_are_filtered_by_what_jobs_belong_to() {
    let place = Place::with("[handlers.bad]\nmax_attempts = 1\ncommand = [\"false\"]\n");
    let tagged = place.enqueue(&["a", "--tag", "import", "--group", "acme"]);
    let related = place.enqueue(&["a", "--correlation-id", "req-7"]);
    let bad = place.enqueue(&["bad", "--max-attempts", "1"]);
    place.work();
    let one = |filter: &[&str]| {
        let page = place.json(&[&["jobs", "list"], filter].concat());
        let jobs = page["jobs"].as_array().unwrap();
        assert_eq!(jobs.len(), 1, "{filter:?}: {page}");
        jobs[0]["id"].as_str().unwrap().to_owned()
    };
    assert_eq!(one(&["--tag", "import"]), tagged);
    assert_eq!(one(&["--group", "acme"]), tagged);
    assert_eq!(one(&["--correlation-id", "req-7"]), related);
    assert_eq!(one(&["--error", "EXIT 1"]), bad);
    assert_eq!(one(&["--since", "1h", "--limit", "1"]), bad);
    let none = |args: &[&str]| assert_eq!(place.json(args)["jobs"], json!([]), "{args:?}");
    none(&["jobs", "list", "--until", "1h"]);
    none(&["jobs", "list", "--since", "2999-01-01T00:00:00Z"]);
    none(&["dead", "list", "--error", "timeout"]);
    place.fails(2, &["jobs", "list", "--since", "yesterday"], "nor a duration");
    place.fails(2, &["dead", "retry", &bad, "--error", "x"], "add --all");
    assert_eq!(place.json(&["dead", "retry", "--all", "--error", "unheard-of"])["done"], 0);
    assert_eq!(place.json(&["dead", "retry", "--all", "--error", "exit"])["done"], 1);
    assert_eq!(place.show(&bad)["state"], "pending");
}

#[test]
fn a_signal_makes_a_worker_quiet_and_another_lets_it_go_on() {
    let place = Place::with(
        "[handlers.t]\ncommand = [\"sh\", \"-c\", \
         'echo $$ > running; until [ -e go ]; do :; done; echo done >> ended']\n",
    );
    let first = place.enqueue(&["t"]);
    let worker = place.start(&["work"]);
    written(&place, "running");
    worker.signal("TSTP");
    let quiet = || place.json(&["workers", "list"])["workers"][0]["quiet"] == json!(true);
    until("the worker is quiet", quiet);
    let second = place.enqueue(&["t"]);
    place.write("go", "");
    until("the first has ended", || place.show(&first)["state"] == "completed");
    assert_eq!(place.show(&second)["state"], "pending");
    worker.signal("CONT");
    until("the second has ended", || place.show(&second)["state"] == "completed");
    worker.signal("TERM");
    assert_eq!(worker.end().code, Some(0));
}
