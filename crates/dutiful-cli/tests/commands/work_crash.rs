//! A worker that dies: its commands die with it, and another worker finishes its jobs.

use serde_json::json;

use crate::place::{Place, lives, until, written};

/// A handler that waits for the file `go`, in a child of its own.
const WAITING: &str = "[worker]\nlease = \"1s\"\n[handlers.t]\ncommand = [\"sh\", \"t.sh\"]\n";
const SCRIPT: &str = "[ -e go ] && exit 0\nsleep 1000 &\necho $$ $! > pids\nwait\n";

#[test]
fn another_worker_finishes_after_kill_9() {
    let place = Place::with(WAITING);
    place.write("t.sh", SCRIPT);
    let id = place.enqueue(&["t"]);
    let more: Vec<_> = (0..20).map(|_| place.enqueue(&["t", "--delay", "1s"])).collect();
    let worker = place.start(&["work"]);
    let pids = written(&place, "pids");
    worker.signal("KILL");
    assert_eq!(worker.end().code, None);
    for pid in pids.split(' ') {
        until("the commands of the dead worker are dead", || !lives(pid));
    }
    place.write("go", "");
    place.work();
    let job = place.show(&id);
    assert_eq!((&job["state"], &job["attempt"]), (&json!("completed"), &json!(2)));
    assert_eq!((&job["failures"], &job["attempts"][0]["outcome"]), (&json!(0), &json!("stalled")));
    for id in more {
        assert_eq!(place.show(&id)["state"], "completed");
    }
    assert!(place.json(&["stats"])["totals"]["stalled_total"].as_u64() >= Some(1));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let place = Place::with(WAITING);
    place.write("t.sh", SCRIPT);
    place.enqueue(&["t"]);
    let worker = place.start(&["work", "--grace", "1h"]);
    let pids = written(&place, "pids");
    worker.signal("TERM");
    // A signal that comes before the first was taken would be the same signal, so it is repeated
    // until the worker has ended.
    let id = worker.id();
    until("the worker ends", || {
        let sent = std::process::Command::new("kill").args(["-TERM", &id.to_string()]).output();
        assert!(sent.is_ok());
        !lives(&id.to_string())
    });
    let ran = worker.end();
    assert!(ran.code != Some(0), "{ran:?}");
    for pid in pids.split(' ') {
        until("the commands are dead", || !lives(pid));
    }
}

#[test]
fn a_signal_that_comes_twice_at_once_still_stops_in_order() {
    let place = Place::with(WAITING);
    place.write("t.sh", "echo begun > begun\nuntil [ -e go ]; do sleep 0.1; done\n");
    let id = place.enqueue(&["t"]);
    let worker = place.start_logged(&["work", "--grace", "1h"], "log");
    written(&place, "begun");
    // As `timeout` does, which signals its command and then its command's group; oftener, so that
    // one of them surely comes when the first was taken already.
    let mut signal = std::process::Command::new("kill");
    signal.arg("-TERM").args(vec![worker.id().to_string(); 200]);
    assert!(signal.status().unwrap().success());
    until("it stops", || place.read("log").is_some_and(|log| log.contains("stopping: ")));
    place.write("go", "");
    assert_eq!(worker.end().code, Some(0));
    assert_eq!(place.show(&id)["state"], "completed");
}

#[test]
fn several_workers_share_the_jobs() {
    let place =
        Place::with("[handlers.t]\ncommand = [\"sh\", \"-c\", 'cat >> \"ledger.$PPID\"']\n");
    let lines: String =
        (0..60).map(|n| format!("{{\"type\":\"t\",\"payload\":\"{n}\"}}\n")).collect();
    place.json_with(&["enqueue", "--batch", "-"], &lines);
    let workers: Vec<_> =
        (0..3).map(|_| place.start(&["work", "--until-empty", "--json"])).collect();
    let ids: Vec<_> = workers.iter().map(|worker| worker.id()).collect();
    let reports: Vec<_> = workers.into_iter().map(|worker| worker.end().one_json_line()).collect();
    let completed: u64 = reports.iter().map(|report| report["completed"].as_u64().unwrap()).sum();
    assert_eq!(completed, 60, "{reports:?}");
    let ledgers: String = ids.iter().filter_map(|id| place.read(&format!("ledger.{id}"))).collect();
    for n in 0..60 {
        assert_eq!(ledgers.matches(&format!("\"{n}\"")).count(), 1, "job {n}");
    }
}
