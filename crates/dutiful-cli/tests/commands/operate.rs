//! `jobs`, `dead`, `queues`, `stats` and `migrate`: what they print and what they change.

use serde_json::{Value, json};

use crate::place::Place;

const NOBODY: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

/// Returns a place with dead jobs: three of `broken` in `mail`, one of `other` in `default`.
fn with_dead() -> (Place, Vec<String>) {
    let place = Place::with(
        "[handlers.broken]\nqueue = \"mail\"\nmax_attempts = 1\n\
         command = [\"sh\", \"-c\", \"printf 'red \\\\033[31m' >&2; exit 3\"]\n\
         [handlers.other]\nmax_attempts = 1\ncommand = [\"false\"]\n",
    );
    let mut ids: Vec<_> = (0..3)
        .map(|_| place.enqueue(&["broken", "--queue", "mail", "--max-attempts", "1"]))
        .collect();
    ids.push(place.enqueue(&["other", "--max-attempts", "1"]));
    place.work();
    assert_eq!(place.count("dead"), 4);
    (place, ids)
}

fn ids(page: &Value) -> Vec<&str> {
    page["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap()).collect()
}

#[test]
fn lists_jobs_newest_first_by_filters_and_pages() {
    let place = Place::new();
    let old = place.enqueue(&["a", "--queue", "mail"]);
    let middle = place.enqueue(&["b", "--queue", "mail", "--delay", "1h"]);
    let new = place.enqueue(&["a"]);
    assert_eq!(ids(&place.json(&["jobs", "list"])), [&new, &middle, &old]);
    assert_eq!(ids(&place.json(&["jobs", "list", "--queue", "mail"])), [&middle, &old]);
    assert_eq!(ids(&place.json(&["jobs", "list", "--type", "a"])), [&new, &old]);
    assert_eq!(ids(&place.json(&["jobs", "list", "--state", "scheduled"])), [&middle]);
    let page = place.json(&["jobs", "list", "--limit", "2"]);
    assert_eq!(ids(&page), [&new, &middle]);
    let next = page["next"].as_str().unwrap();
    let page = place.json(&["jobs", "list", "--limit", "2", "--before", next]);
    assert_eq!((ids(&page), &page["next"]), (vec![old.as_str()], &Value::Null));
    let table = place.run(&["jobs", "list"]).stdout;
    assert!(table.contains(&old) && table.contains("scheduled"), "{table}");
    let job = place.run(&["jobs", "show", &old]).stdout;
    assert!(job.contains("mail") && job.contains("pending"), "{job}");
}

#[test]
fn changes_jobs_by_id_and_answers_for_each() {
    let place = Place::new();
    let (a, b) = (place.enqueue(&["t"]), place.enqueue(&["t"]));
    let told = place.json(&["jobs", "cancel", &a, &b]);
    let results = json!([{"id": a, "change": "done"}, {"id": b, "change": "done"}]);
    assert_eq!(told, json!({"done": 2, "requested": 0, "refused": 0, "results": results}));
    assert_eq!(place.show(&a)["state"], "cancelled");
    assert_eq!(place.json(&["jobs", "retry", &a])["done"], 1);
    assert_eq!(place.show(&a)["state"], "pending");
    assert_eq!(place.json(&["jobs", "delete", &b])["done"], 1);
    place.fails(1, &["jobs", "show", &b], "the store does not know it");
    let ran = place.run(&["jobs", "cancel", &a, NOBODY, "--json"]);
    assert_eq!(ran.code, Some(1));
    let told = ran.one_json_line();
    assert_eq!((&told["done"], &told["refused"]), (&json!(1), &json!(1)));
    assert_eq!(told["results"][1], json!({"id": NOBODY, "change": "not_found"}));
    assert!(ran.sentence().starts_with("cancel 1 of 2 jobs; the first is 01890a5d"), "{ran:?}");
    place.fails(1, &["jobs", "cancel", NOBODY], "the store does not know it");
    place.fails(1, &["jobs", "cancel", &a], "it is cancelled");
}

#[test]
fn retries_and_discards_the_dead_by_id_or_by_filter() {
    let (place, jobs) = with_dead();
    assert_eq!(ids(&place.json(&["dead", "list", "--type", "other"])), [&jobs[3]]);
    assert_eq!(place.json(&["dead", "list"])["jobs"].as_array().unwrap().len(), 4);
    assert_eq!(place.json(&["dead", "retry", &jobs[0]])["done"], 1);
    let job = place.show(&jobs[0]);
    assert_eq!((&job["state"], &job["failures"]), (&json!("pending"), &json!(0)));
    assert_eq!(place.json(&["dead", "discard", "--all", "--queue", "mail"])["done"], 2);
    assert_eq!(place.show(&jobs[1])["state"], "cancelled");
    assert_eq!(place.json(&["dead", "retry", "--all", "--type", "other"])["done"], 1);
    assert_eq!((place.count("dead"), place.count("pending")), (0, 2));
    let none = json!({"done": 0, "requested": 0, "refused": 0, "results": []});
    assert_eq!(place.json(&["dead", "retry", "--all"]), none);
}

#[test]
fn shows_errors_without_letting_them_steer_the_terminal() {
    let (place, jobs) = with_dead();
    let job = place.show(&jobs[0]);
    let error = json!({"class": "exit 3", "message": "red \u{1b}[31m"});
    assert_eq!(job["last_error"], error);
    for args in [vec!["dead", "list"], vec!["jobs", "show", &jobs[0]]] {
        let text = place.run(&args).stdout;
        assert!(text.contains("exit 3") && !text.contains('\u{1b}'), "{text:?}");
    }
}

#[test]
fn pauses_and_resumes_a_queue() {
    let place = Place::with("[handlers.t]\ncommand = [\"true\"]\n");
    place.enqueue(&["t"]);
    let told = place.json(&["queues", "pause", "default"]);
    assert_eq!(told, json!({"queue": "default", "paused": true, "changed": true}));
    assert_eq!(place.json(&["queues", "pause", "default"])["changed"], false);
    let queues = place.json(&["queues", "list"]);
    let queue = &queues["queues"][0];
    assert_eq!((&queue["queue"], &queue["paused"]), (&json!("default"), &json!(true)));
    assert_eq!(queue["pending"], 1);
    assert!(place.run(&["queues", "list"]).stdout.contains("paused"));
    let told = place.json(&["queues", "resume", "default"]);
    assert_eq!(told, json!({"queue": "default", "paused": false, "changed": true}));
    place.work();
    assert_eq!(place.count("completed"), 1);
}

#[test]
fn clears_a_queue_when_told_yes() {
    let place = Place::new();
    place.enqueue(&["t", "--queue", "mail"]);
    place.enqueue(&["t", "--queue", "mail", "--delay", "1h"]);
    place.enqueue(&["t"]);
    let says = "2 jobs shall be deleted for good; add --yes";
    place.fails(2, &["queues", "clear", "mail"], says);
    place.fails(2, &["queues", "clear", "mail", "--json"], says);
    assert_eq!(place.count("pending") + place.count("scheduled"), 3, "nothing was deleted");
    let told = place.json(&["queues", "clear", "mail", "--yes"]);
    assert_eq!(told, json!({"queue": "mail", "cleared": 2}));
    assert_eq!((place.count("pending"), place.count("scheduled")), (1, 0));
    let told = place.json(&["queues", "clear", "mail"]);
    assert_eq!(told["cleared"], 0, "of nothing nobody need be asked");
    place.fails(2, &["queues", "clear", "a b", "--yes"], "the queue name");
}

#[test]
fn counts_by_state_and_queue() {
    let place = Place::new();
    place.enqueue(&["t", "--queue", "mail"]);
    place.enqueue(&["t", "--delay", "1h"]);
    let stats = place.json(&["stats"]);
    let totals = json!({
        "pending": 1, "scheduled": 1, "active": 0, "failed": 0, "completed": 0, "dead": 0,
        "cancelled": 0, "stalled_total": 0,
    });
    assert_eq!(stats["totals"], totals);
    let names: Vec<_> =
        stats["queues"].as_array().unwrap().iter().map(|queue| &queue["queue"]).collect();
    assert_eq!(names, ["default", "mail"]);
    assert!(stats["queues"][1]["oldest_pending_s"].as_f64().unwrap() >= 0.0);
    assert_eq!(stats["queues"][1]["paused"], false);
    assert!(stats["warnings"].is_array());
    assert!(place.run(&["stats"]).stdout.contains("mail"));
}

#[test]
fn tells_the_version_of_the_schema() {
    let place = Place::new();
    let told = place.json(&["migrate"]);
    assert!(told["from"].is_i64() && told["to"].as_i64() >= told["from"].as_i64(), "{told}");
    place.fails(1, &["migrate", "--to", "999"], "999");
}

#[test]
fn deletes_no_schema_without_being_told_to() {
    let place = Place::new();
    place.enqueue(&["t"]);
    place.fails(2, &["migrate", "--to", "0"], "add --yes if so");
    assert_eq!(place.count("pending"), 1, "nothing was deleted");
    assert_eq!(place.json(&["migrate", "--to", "0", "--yes"])["to"], 0);
    assert_eq!(place.count("pending"), 0);
}

#[test]
fn makes_no_store_where_somebody_only_looks() {
    let place = Place::new();
    let no = "there is no such file; check the name and the folder";
    for args in [
        &["stats"][..],
        &["jobs", "list"],
        &["dead", "list"],
        &["queues", "pause", "mail"],
        &["workers", "list"],
        &["doctor"],
        &["backup", "copy.db"],
    ] {
        place.fails(1, args, no);
    }
    place.fails(1, &["stats", "--store", "sqlite:typo.db"], no);
    assert!(!place.path("dutiful.db").exists() && !place.path("typo.db").exists());
}

#[test]
fn says_so_when_there_is_nothing_to_change_or_show() {
    let place = Place::with_store();
    assert_eq!(place.run(&["dead", "retry", "--all"]).stdout, "no such jobs\n");
    assert_eq!(place.run(&["dead", "discard", "--all"]).stdout, "no such jobs\n");
    assert_eq!(place.run(&["workers", "list"]).stdout, "no worker runs\n");
    assert_eq!(place.run(&["workers", "list", "--all"]).stdout, "no worker is on record\n");
    assert!(place.run(&["doctor"]).stdout.contains("none is due, and no worker runs"));
    let id = place.enqueue(&["t"]);
    place.fails(1, &["jobs", "retry", &id], "it is pending, and only dead, failed or cancelled");
    place.json(&["jobs", "cancel", &id]);
    place.fails(1, &["jobs", "cancel", &id], "it is cancelled and has ended already");
    assert!(place.run(&["jobs", "show", &id]).stdout.contains("15m"));
}

#[test]
fn takes_the_store_from_flag_then_environment_then_file() {
    let place = Place::with("store = \"sqlite:file.db\"\n");
    let run = |args: &[&str], env: Option<&str>| {
        let mut command = place.command(args);
        assert!(
            command.envs(env.map(|url| ("DUTIFUL_STORE", url))).output().unwrap().status.success()
        );
    };
    run(&["migrate"], None);
    assert!(place.path("file.db").exists());
    run(&["migrate"], Some("sqlite:environment.db"));
    assert!(place.path("environment.db").exists());
    run(&["migrate", "--store", "sqlite:flag.db"], Some("sqlite:unused.db"));
    assert!(place.path("flag.db").exists() && !place.path("unused.db").exists());
    let place = Place::new();
    place.json(&["migrate"]);
    assert!(place.path("dutiful.db").exists());
}

#[test]
fn is_content_when_its_reader_goes_away() {
    let place = Place::new();
    let lines = "{\"type\":\"t\",\"payload\":1}\n".repeat(500);
    place.json_with(&["enqueue", "--batch", "-"], &lines);
    let mut list = place.command(&["jobs", "list", "--limit", "500"]);
    let mut list = list.stdout(std::process::Stdio::piped()).spawn().unwrap();
    drop(list.stdout.take());
    assert!(list.wait().unwrap().success());
}

#[test]
fn helps_with_examples() {
    let place = Place::new();
    for command in ["work", "enqueue", "stats", "doctor", "backup", "restore", "migrate"] {
        let help = place.run(&[command, "--help"]);
        assert_eq!(help.code, Some(0));
        assert!(help.stdout.contains("Example") && help.stderr.is_empty(), "{help:?}");
    }
    assert!(place.run(&["--version"]).stdout.starts_with("dutiful "));
}
