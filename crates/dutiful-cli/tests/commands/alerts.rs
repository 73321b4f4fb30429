//! `alerts` and `alerts ack`: from one look where no server runs, and from what a server found.

use serde_json::{Value, json};

use crate::place::{Place, Ran, until};

fn alert(ran: &Ran, id: &str) -> Option<Value> {
    let told = ran.one_json_line();
    let all = told["alerts"].as_array().unwrap().clone();
    all.into_iter().find(|one| one["id"] == id)
}

#[test]
fn one_look_tells_what_fires_and_ends_with_2_when_it_is_critical() {
    let place = Place::with("[alerts.queues.mail.no_workers]\nseverity = \"warning\"\n");
    place.json(&["migrate"]);
    place.enqueue(&["t", "--queue", "mail"]);
    let ran = place.run(&["alerts", "--json"]);
    let mail = alert(&ran, "no_workers:mail").unwrap();
    assert_eq!((&mail["severity"], &mail["state"]), (&json!("warning"), &json!("firing")));
    assert_eq!(ran.one_json_line()["at_once"], true);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    place.enqueue(&["t", "--queue", "pdf"]);
    let ran = place.run(&["alerts", "--json"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    let shown = place.run(&["alerts"]);
    assert_eq!(shown.code, Some(2));
    assert!(shown.stderr.contains("no server looked within a minute"), "{shown:?}");
    assert!(shown.stdout.contains("no_workers:pdf: Start a worker"), "{shown:?}");
    let known = place.json(&["alerts", "ack", "no_workers:pdf"]);
    assert!(known["acknowledged"]["by"].as_str().unwrap().contains("command line"), "{known}");
    let ran = place.run(&["alerts", "--json"]);
    assert!(alert(&ran, "no_workers:pdf").unwrap()["acknowledged"].is_object(), "{ran:?}");
    place.fails(1, &["alerts", "ack", "dead:nowhere"], "find the alert dead:nowhere");
}

#[test]
fn shows_what_a_server_found() {
    let place = Place::with("[alerts.rules.no_workers]\nfor = \"0s\"\n");
    place.json(&["migrate"]);
    place.enqueue(&["t", "--queue", "mail"]);
    let server = place.start_logged(&["serve", "--listen", "127.0.0.1:0"], "log");
    until("the server looked", || {
        let told = place.run(&["alerts", "--json"]).one_json_line();
        told["at_once"] == false && told["looked_at"].is_string()
    });
    let ran = place.run(&["alerts", "--json"]);
    assert_eq!(alert(&ran, "no_workers:mail").unwrap()["state"], "firing", "{ran:?}");
    server.signal("TERM");
    assert_eq!(server.end().code, Some(0));
    let again = place.run(&["alerts", "--json"]);
    assert_eq!(again.one_json_line()["at_once"], false, "its word counts for a minute");
}

#[test]
fn a_test_is_told_to_everybody_who_would_be() {
    let place = Place::with(
        "[[alerts.notify]]\nname = \"good\"\ncommand = [\"sh\", \"-c\", \"cat > told\"]\n\
         [[alerts.notify]]\nname = \"bad\"\ncommand = [\"sh\", \"-c\", \"exit 3\"]\n",
    );
    let ran = place.run(&["alerts", "test"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stdout.contains("good: told\n") && ran.stdout.contains("exit 3"), "{ran:?}");
    assert!(place.read("told").unwrap().contains("This is a test"));
    let ran = place.run(&["alerts", "test", "--json"]).one_json_line();
    assert_eq!(ran["targets"][0], json!({ "target": "good", "told": true }));
    assert!(place.read("dutiful.db").is_none(), "no store is needed");
    Place::new().fails(2, &["alerts", "test"], "no [[alerts.notify]]");
}

#[test]
fn says_what_is_wrong_with_the_settings_of_alerts() {
    for (config, says) in [
        ("[alerts.rules.depth]\nthreshold = -1\n", "the threshold -1 of depth is not from 0"),
        ("[alerts.rules.latency]\nthreshold = \"soon\"\n", "not a duration"),
        ("[alerts.rules.lateness]\n", "lateness"),
        ("[alerts.queues.mail.store]\nenabled = false\n", "about the whole store"),
    ] {
        let place = Place::with(config);
        place.fails(2, &["alerts"], says);
        place.fails(2, &["serve"], says);
    }
    let place = Place::new();
    place.fails(1, &["alerts"], "dutiful.db");
}
