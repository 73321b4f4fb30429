//! `workers`, `stats --watch` and `completions`: who works, and looks that go on.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::Value;

use crate::place::{Place, until};

fn workers(place: &Place, args: &[&str]) -> Vec<Value> {
    let told = place.json(&[&["workers", "list"], args].concat());
    told["workers"].as_array().unwrap().clone()
}

#[test]
fn lists_who_works_and_those_that_stopped_only_when_asked() {
    let place = Place::with(
        "[queues.mail]\nslots = 3\n[handlers.t]\nqueue = \"mail\"\n\
         command = [\"sh\", \"-c\", \"echo on > on; while [ ! -e off ]; do sleep 0.05; done\"]\n",
    );
    place.json(&["migrate"]);
    assert_eq!(workers(&place, &["--all"]).len(), 0);
    place.enqueue(&["t", "--queue", "mail"]);
    let worker = place.start(&["work"]);
    until("the job runs", || place.read("on").is_some());
    let all = workers(&place, &[]);
    assert_eq!(all.len(), 1);
    let one = &all[0];
    assert_eq!((&one["state"], &one["running"]), (&"alive".into(), &1.into()));
    assert_eq!((one["pid"].as_u64(), &one["stopped_at"]), (Some(worker.id().into()), &Value::Null));
    assert_eq!((&one["queues"]["mail"], &one["types"][0]), (&3.into(), &"t".into()));
    let table = place.run(&["workers", "list"]).stdout;
    assert!(table.contains("alive") && table.contains("mail:3"), "{table}");
    place.write("off", "");
    until("the job is done", || place.count("completed") == 1);
    worker.signal("TERM");
    assert_eq!(worker.end().code, Some(0));
    assert_eq!(workers(&place, &[]).len(), 0);
    let all = workers(&place, &["--all"]);
    assert_eq!((&all[0]["state"], &all[0]["running"]), (&"stopped".into(), &0.into()));
}

#[test]
fn watches_with_one_line_for_each_look_until_it_is_stopped() {
    let place = Place::new();
    place.enqueue(&["t"]);
    for signal in ["INT", "TERM"] {
        let mut command = place.command(&["stats", "--watch=1", "--json"]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for _ in 0..2 {
            let look: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
            assert_eq!(look["totals"]["pending"], 1);
        }
        let id = child.id().to_string();
        let sent = std::process::Command::new("kill").args([&format!("-{signal}"), &id]).status();
        assert!(sent.unwrap().success());
        assert!(child.wait().unwrap().success(), "{signal} ends it well");
    }
}

#[test]
fn stops_to_watch_when_its_reader_goes_away() {
    let place = Place::with_store();
    for args in [&["stats", "--watch=1"][..], &["stats", "--watch=1", "--json"]] {
        let mut command = place.command(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.next().is_some());
        drop(lines);
        let ran = child.wait_with_output().unwrap();
        assert!(ran.status.success() && ran.stderr.is_empty(), "{ran:?}");
    }
    place.fails(2, &["stats", "--watch=0"], "0 is not in 1..=3600");
    place.fails(2, &["stats", "--watch=soon"], "invalid digit");
}

#[test]
fn prints_completions_for_each_shell_without_store_or_settings() {
    let place = Place::with("nonsense");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = place.run(&["completions", shell]);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{shell}");
        assert!(ran.stdout.contains("completions"), "{shell}");
        for word in ["enqueue", "doctor", "restore", "--replace"] {
            let word = if shell == "fish" { word.trim_start_matches("--") } else { word };
            assert!(ran.stdout.contains(word), "{shell} knows no {word}");
        }
        // Elvish and PowerShell are given no values by clap.
        let states = ran.stdout.contains("stalled") || ["elvish", "powershell"].contains(&shell);
        assert!(states, "{shell} knows no states");
        assert!(!ran.stdout.contains("keep-groups"), "{shell} offers what is hidden");
        let told = place.json(&["completions", shell]);
        assert_eq!(
            (told["shell"].as_str(), told["script"].as_str()),
            (Some(shell), Some(&*ran.stdout))
        );
    }
    assert!(!place.path("dutiful.db").exists());
    place.fails(2, &["completions", "tcsh"], "see dutiful completions --help");
}
