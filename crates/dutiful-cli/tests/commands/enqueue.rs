//! `dutiful enqueue`: one job, many jobs, and what a repeat does.

use serde_json::json;

use crate::place::Place;

const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

#[test]
fn stores_every_setting_of_the_flags() {
    let place = Place::new();
    let args = [
        "enqueue",
        "send_email",
        "{\"to\":\"ann\"}",
        "--id",
        ID,
        "--queue",
        "mail",
        "--priority",
        "3",
        "--at",
        "2999-12-31T23:59:59Z",
        "--max-attempts",
        "7",
        "--timeout",
        "1m30s",
        "--correlation-id",
        "order 7",
        "--trace-parent",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "--group",
        "tenant",
        "--unique",
        "mail:7",
        "--tag",
        "a",
        "--tag",
        "b",
        "--delivery",
        "at_most_once",
    ];
    assert_eq!(place.json(&args), json!({"id": ID, "outcome": "new"}));
    let job = place.show(ID);
    let wanted = json!({
        "id": ID, "type": "send_email", "payload": {"to": "ann"}, "queue": "mail", "priority": 3,
        "state": "scheduled", "max_attempts": 7, "timeout_ms": 90_000, "attempt": 0, "failures": 0,
        "crashes": 0, "correlation_id": "order 7", "group": "tenant", "unique_key": "mail:7",
        "trace_parent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "tags": ["a", "b"], "delivery": "at_most_once",
    });
    for (name, value) in wanted.as_object().unwrap() {
        assert_eq!(&job[name], value, "{name}");
    }
    assert!(job["scheduled_for"].as_str().unwrap().starts_with("2999-12-31T23:59:59"), "{job}");
}

#[test]
fn takes_from_the_file_what_is_not_said_even_before_a_worker_ran() {
    let place = Place::with(
        "[handlers.t]\ncommand = [\"true\"]\nqueue = \"mail\"\npriority = 3\nmax_attempts = 7\n\
         timeout = \"90s\"\ndelivery = \"at_most_once\"\n",
    );
    let line = format!("{{\"type\":\"t\",\"payload\":1,\"id\":\"{ID}\"}}");
    place.json_with(&["enqueue", "--batch", "-"], &line);
    let wanted = json!({
        "queue": "mail", "priority": 3, "max_attempts": 7, "timeout_ms": 90_000,
        "delivery": "at_most_once",
    });
    for id in [ID.to_owned(), place.enqueue(&["t"])] {
        let job = place.show(&id);
        for (name, value) in wanted.as_object().unwrap() {
            assert_eq!(&job[name], value, "{name}");
        }
    }
    let said = place.show(&place.enqueue(&["t", "--queue", "other", "--priority", "5"]));
    assert_eq!((&said["queue"], &said["priority"]), (&json!("other"), &json!(5)));
    assert_eq!(place.show(&place.enqueue(&["else"]))["queue"], "default");
    assert_eq!(place.work()["completed"], 2, "what was enqueued before is served");
    place.write("dutiful.toml", "[handlers.t]\ncommand = [\"true\"]\npriority = 1001\n");
    place.fails(2, &["enqueue", "t"], "[handlers.t]: the priority 1001 is not within");
}

#[test]
fn passes_the_payload_as_the_bytes_it_came_as() {
    let place = Place::new();
    let payload = r#"{ "n":1.00000000000000000001,"big":123456789012345678901234567890 }"#;
    let line = format!("{{\"type\":\"t\",\"payload\":{payload},\"id\":\"{ID}\"}}");
    let ids = [
        place.enqueue(&["t", payload]),
        place.json_with(&["enqueue", "t", "-"], payload)["id"].as_str().unwrap().to_owned(),
        {
            place.json_with(&["enqueue", "--batch", "-"], &line);
            ID.to_owned()
        },
    ];
    for id in ids {
        let shown = place.run(&["jobs", "show", &id, "--json"]).stdout;
        assert!(shown.contains(payload), "{shown}");
    }
}

#[test]
fn takes_an_empty_object_and_a_negative_number_as_payloads() {
    let place = Place::new();
    assert_eq!(place.show(&place.enqueue(&["t"]))["payload"], json!({}));
    assert_eq!(place.show(&place.enqueue(&["t", "-1"]))["payload"], json!(-1));
}

#[test]
fn repeats_harmlessly() {
    let place = Place::new();
    let first = ["enqueue", "t", "1", "--id", ID];
    assert_eq!(place.json(&first)["outcome"], "new");
    assert_eq!(place.json(&first), json!({"id": ID, "outcome": "exists"}));
    let holder = place.enqueue(&["t", "--unique", "k"]);
    let second = place.json(&["enqueue", "t", "--unique", "k"]);
    assert_eq!(second, json!({"id": holder, "outcome": "duplicate"}));
    assert_eq!(place.count("pending"), 2);
}

#[test]
fn stores_a_batch_from_a_file_or_a_pipe() {
    let place = Place::new();
    let line = |n: usize| format!("{{\"type\":\"t\",\"payload\":{n},\"id\":\"{}\"}}\n", id(n));
    let lines: String = (0..2500).map(line).collect();
    place.write("jobs.ndjson", &lines);
    let told = place.json(&["enqueue", "--batch", "jobs.ndjson"]);
    assert_eq!(told, json!({"jobs": 2500, "new": 2500, "exists": 0, "duplicate": 0}));
    let more = format!("{lines}\n{{\"type\":\"t\",\"payload\":1,\"delay_ms\":60000}}");
    let told = place.json_with(&["enqueue", "--batch", "-"], &more);
    assert_eq!(told, json!({"jobs": 2501, "new": 1, "exists": 2500, "duplicate": 0}));
    assert_eq!((place.count("pending"), place.count("scheduled")), (2500, 1));
}

#[test]
fn names_the_bad_line_and_how_many_are_stored() {
    let place = Place::new();
    let mut lines: Vec<_> = vec!["{\"type\":\"t\",\"payload\":{}}"; 1600];
    for (bad, says) in [
        ("{\"type\":\"t\"}", "missing field `payload`"),
        ("{\"type\":\"t\",\"payload\":1,\"priority\":1001}", "priority 1001 is not within"),
        ("{\"type\":\"t\",\"payload\":\"\\ud800\"}", "payload is not JSON"),
        ("{\"type\":\"t\",\"payload\":1,\"timeout_ms\":-1}", "timeout -1ms is not within"),
        ("{\"type\":\"t t\",\"payload\":1}", "type name"),
    ] {
        let place = Place::new();
        lines[1500] = bad;
        let ran = place.run_with(&["enqueue", "--batch", "-"], &lines.join("\n"));
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{ran:?}");
        let sentence = ran.sentence();
        assert!(sentence.starts_with("read line 1501 of stdin: "), "{sentence}");
        assert!(sentence.contains(says), "{sentence}");
        assert!(sentence.contains("the first 1000 jobs are stored"), "{sentence}");
        assert_eq!(place.count("pending"), 1000);
    }
    let long = "y".repeat(100_000);
    let ran = place.run_with(&["enqueue", "--batch", "-"], &format!("\"{long}\""));
    assert!(ran.code == Some(2) && ran.stderr.len() < 1000, "{} bytes", ran.stderr.len());
    lines.truncate(0);
    lines.extend(["{\"type\":\"t\",\"payload\":1}", "nonsense"]);
    place.fails_with(2, &["enqueue", "--batch", "-"], &lines.join("\n"), "nothing is stored");
    assert_eq!(place.count("pending"), 0);
}

#[test]
fn a_batch_cut_in_the_middle_can_be_sent_again() {
    let place = Place::new();
    let line = |n: usize| format!("{{\"type\":\"t\",\"payload\":{n},\"id\":\"{}\"}}\n", id(n));
    let lines: String = (0..3000).map(line).collect();
    let cut = &lines[..lines.len() - 10];
    place.fails_with(2, &["enqueue", "--batch", "-"], cut, "the first 2000 jobs are stored");
    let told = place.json_with(&["enqueue", "--batch", "-"], &lines);
    assert_eq!(told, json!({"jobs": 3000, "new": 1000, "exists": 2000, "duplicate": 0}));
}

fn id(n: usize) -> String {
    format!("01890a5d-ac96-774b-bcce-{n:012x}")
}
