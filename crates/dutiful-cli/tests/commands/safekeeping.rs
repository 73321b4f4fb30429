//! `backup`, `restore` and `doctor`: the store comes back, and what is wrong with it is told.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use crate::place::{Place, until};

fn finding(report: &Value, check: &str) -> Value {
    let all = report["findings"].as_array().unwrap();
    all.iter().find(|one| one["check"] == check).unwrap_or_else(|| panic!("{report}")).clone()
}

#[test]
fn backs_up_and_restores_what_was_there() {
    let place = Place::with("[handlers.t]\ncommand = [\"true\"]\n");
    let kept = place.enqueue(&["t"]);
    let told = place.json(&["backup", "copy.db"]);
    assert_eq!(told["jobs"], 1);
    assert!(told["path"].as_str().unwrap().ends_with("/copy.db"), "{told}");
    assert_eq!(told["bytes"], place.path("copy.db").metadata().unwrap().len());
    place.fails(1, &["backup", "copy.db"], "it exists already; name a new file");
    place.fails(1, &["backup", "no/such/copy.db"], "name a folder that exists");
    assert!(place.run(&["backup", "other.db"]).stdout.starts_with("backed up 1 jobs in "));
    let lost = place.enqueue(&["t"]);
    place.work();
    place.fails(1, &["restore", "copy.db"], "--replace");
    assert_eq!(place.show(&lost)["state"], "completed", "nothing changed");
    let told = place.json(&["restore", "copy.db", "--replace"]);
    assert_eq!((&told["jobs"], &told["leases_ended"]), (&json!(1), &json!(0)));
    assert_eq!(place.show(&kept)["state"], "pending");
    place.fails(1, &["jobs", "show", &lost], "the store does not know it");
    let aside = format!("sqlite:{}", told["aside"].as_str().unwrap());
    assert_eq!(place.json(&["stats", "--store", &aside])["totals"]["completed"], 2);
    let told = place.json(&["restore", "copy.db", "--store", "sqlite:new.db"]);
    assert_eq!(told["aside"], Value::Null);
    assert_eq!(place.json(&["stats", "--store", "sqlite:new.db"])["totals"]["pending"], 1);
    let ran = place.run(&["restore", "copy.db", "--replace"]);
    assert!(ran.stdout.starts_with("moved what was there to /"), "{ran:?}");
    assert!(ran.stdout.contains("restored 1 jobs to /"), "{ran:?}");
}

#[test]
fn a_job_that_ran_when_it_was_backed_up_runs_again_after_the_restore() {
    let place = Place::with(
        "[handlers.t]\ncommand = [\"sh\", \"-c\", \
         \"echo $DUTIFUL_ATTEMPT >> runs; while [ ! -e off ]; do sleep 0.05; done\"]\n",
    );
    let id = place.enqueue(&["t"]);
    let worker = place.start(&["work"]);
    until("the job runs", || place.read("runs").is_some_and(|text| text.ends_with('\n')));
    place.json(&["backup", "copy.db"]);
    let told = place.json(&["restore", "copy.db", "--replace"]);
    assert_eq!(told["leases_ended"], 1);
    place.write("off", "");
    // Its store is aside now, and what it would write is refused.
    worker.signal("TERM");
    drop(worker.end());
    let job = place.show(&id);
    assert_eq!((&job["state"], &job["attempt"]), (&json!("pending"), &json!(1)));
    assert_eq!(job["attempts"][0]["outcome"], "stalled");
    place.work();
    assert_eq!(place.read("runs").unwrap(), "1\n2\n");
    assert_eq!(place.show(&id)["state"], "completed");
}

#[test]
fn refuses_to_restore_what_is_no_backup() {
    let place = Place::new();
    place.write("notes.txt", &"these are notes and no database\n".repeat(100));
    place.fails(1, &["restore", "notes.txt"], "it is damaged");
    place.fails(1, &["restore", "none.db"], "name a backup");
    place.fails(2, &["restore"], "see dutiful restore --help");
    place.fails(2, &["restore", "notes.txt", "--store", "mysql://x"], "its scheme is unknown");
    place.fails(1, &["restore", "notes.txt", "--store", "sqlite::memory:"], "name a file");
    assert!(!place.path("dutiful.db").exists());
}

#[test]
fn finds_a_sound_store_well_and_says_what_others_may_read() {
    let place = Place::new();
    place.enqueue(&["t"]);
    let ran = place.run(&["doctor", "--full", "--json"]);
    let report = ran.one_json_line();
    for check in ["library", "schema", "durability", "integrity", "places", "mode", "clock"] {
        assert_eq!(finding(&report, check)["verdict"], "ok", "{report}");
    }
    assert_eq!(finding(&report, "types")["verdict"], "warning", "nobody serves it");
    let open = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(place.path("dutiful.db"), open).unwrap();
    let ran = place.run(&["doctor"]);
    assert!(ran.stdout.contains("mode (warning): others on this machine may read"), "{ran:?}");
    let room =
        place.run(&["doctor", "--json", "--store", "sqlite:dutiful.db?max_bytes=9000000000"]);
    assert_eq!(finding(&room.one_json_line(), "room")["verdict"], "ok");
}

#[test]
fn ends_with_exit_1_when_something_is_bad() {
    let place = Place::new();
    place.enqueue(&["t"]);
    let store = rusqlite::Connection::open(place.path("dutiful.db")).unwrap();
    store.execute("DELETE FROM dutiful_ready", []).unwrap();
    drop(store);
    let ran = place.run(&["doctor", "--full", "--json"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let report = ran.one_json_line();
    assert_eq!(
        (&report["verdict"], &finding(&report, "places")["verdict"]),
        (&json!("bad"), &json!("bad"))
    );
    assert!(ran.sentence().contains("1 jobs stand in no one place"), "{ran:?}");
    let ran = place.run(&["doctor", "--store", "sqlite:dutiful.db?max_bytes=1"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stdout.contains("room (bad): raise max_bytes"), "{ran:?}");
}
