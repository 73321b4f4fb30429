//! What is asked wrongly: one sentence that says what to do, exit 1 or 2, nothing written.

use crate::place::Place;

const LONG: &str = "a_queue_name_that_is_far_too_long_because_it_says_the_same_thing_again_and_again_\
    a_queue_name_that_is_far_too_long_because_it_says_the_same_thing_again_and_again_\
    a_queue_name_that_is_far_too_long_because_it_says_the_same_thing_again_and_again_\
    a_queue_name_that_is_far_too_long_because_it_says_the_same_thing_again_and_again";

#[test]
fn refuses_bad_payloads_and_settings_with_exit_2() {
    let place = Place::new();
    for (args, says) in [
        (&["t", "{"][..], "the payload is not JSON"),
        (&["t", ""], "the payload is not JSON"),
        (&["t", "'a'"], "the payload is not JSON"),
        (&["t", "1 2"], "the payload is not JSON"),
        (&["t", r#""a\u0000b""#], "NUL"),
        (&["t", r#""\ud800""#], "the payload is not JSON"),
        (&["t", "--timeout", "-5s"], "the timeout -5s is not within"),
        (&["t", "--timeout=-5s"], "the timeout -5s is not within"),
        (&["t", "--timeout", "0s"], "the timeout 0ns is not within"),
        (&["t", "--timeout", "31d"], "is not within 1 ms and 30 days"),
        (&["t", "--timeout", "soon"], "is not a duration"),
        (&["t", "--delay", "-1h"], "is not a duration"),
        (&["t", "--priority", "-1"], "the priority -1 is not within 0 to 1000"),
        (&["t", "--priority", "1001"], "the priority 1001 is not within 0 to 1000"),
        (&["t", "--priority", "high"], "is not a whole number"),
        (&["t", "--max-attempts", "0"], "max_attempts 0 is not within 1 to 1000"),
        (&["t", "--max-attempts", "4294967296"], "max_attempts 4294967296 is not within"),
        (&["t", "--at", "10000-01-01T00:00:00Z"], "is not a time between 1970 and 9999"),
        (&["t", "--at", "+010000-01-01T00:00:00Z"], "is not a time between 1970 and 9999"),
        (&["t", "--at", "tomorrow"], "is not a time between 1970 and 9999"),
        (&["t", "--queue", ""], "the queue name \"\" is not 1 to 128 characters"),
        (&["t", "--queue", LONG], "is not 1 to 128 characters"),
        (&["t", "--queue", "a b"], "the queue name \"a b\" is not 1 to 128 characters"),
        (&["t", "--queue", "ü"], "is not 1 to 128 characters"),
        (&["t", "--queue", "a\u{1b}[31m"], "is not 1 to 128 characters"),
        (&["t/t"], "the type name \"t/t\" is not 1 to 128 characters"),
        (&["t", "--id", "7"], "is not a job id"),
        (&["t", "--group", ""], "the group must have 1 to 255 bytes"),
        (&["t", "--trace-parent", "00-x"], "is not a W3C traceparent"),
        (&["t", "--delivery", "twice"], "it is at_least_once or at_most_once"),
    ] {
        place.fails(2, &[&["enqueue"], args].concat(), says);
    }
    assert_eq!((place.count("pending"), place.count("scheduled")), (0, 0));
}

#[test]
fn refuses_payloads_that_are_too_deep_or_too_large() {
    let place = Place::new();
    let deep = "[".repeat(65) + &"]".repeat(65);
    place.fails(2, &["enqueue", "t", &deep], "nested deeper than 64 levels");
    let large = format!("\"{}\"", "x".repeat(256 * 1024));
    let says = "the payload has 262146 bytes and the limit is 262144";
    place.fails_with(2, &["enqueue", "t", "-"], &large, says);
    let line = format!("{{\"type\":\"t\",\"payload\":{large}}}");
    place.fails_with(2, &["enqueue", "--batch", "-"], &line, says);
    assert_eq!(place.count("pending"), 0);
}

#[test]
fn refuses_wrong_usage_with_exit_2_and_one_sentence() {
    let place = Place::with_store();
    for (args, says) in [
        (&["frobnicate"][..], "unrecognized subcommand 'frobnicate'"),
        (&["enqueue"], "were not provided: <TYPE>; see dutiful enqueue --help"),
        (&["enqueue", "t", "--queue"], "see dutiful enqueue --help"),
        (&["enqueue", "t", "1", "--batch", "f"], "cannot be used with"),
        (&["enqueue", "--batch", "f", "--queue", "q"], "cannot be used with"),
        (&["enqueue", "t", "--delay", "1s", "--at", "2030-01-01T00:00:00Z"], "cannot be used with"),
        (&["enqueue", "t", "--prority", "1"], "unexpected argument '--prority'"),
        (&["enqueue", "--batch", "none.ndjson"], "read none.ndjson"),
        (&["enqueue", "--batch", "."], "it is a directory"),
        (&["jobs", "cancel"], "see dutiful jobs cancel --help"),
        (&["jobs", "show", "7"], "is not a job id"),
        (&["jobs", "list", "--state", "lost"], "\"lost\" is not a state"),
        (&["jobs", "list", "--limit", "0"], "0 is not in 1..=1000; see dutiful jobs list --help"),
        (&["jobs", "list", "--queue", "a b"], "the queue name"),
        (&["dead", "retry"], "see dutiful dead retry --help"),
        (&["dead", "retry", "--type", "t"], "--all"),
        (&["queues", "pause", "a b"], "the queue name"),
        (&["stats", "--store", "mysql://x"], "its scheme is unknown"),
        (&["stats", "--store", "sqlite:"], "it names no file"),
        (&["stats", "--config", "none.toml"], "read none.toml"),
        (&["work", "--grace", "5"], "is not a duration"),
    ] {
        place.fails(2, args, says);
    }
    assert!(!place.path("dutiful.db").exists() || place.count("pending") == 0);
}

#[test]
fn refuses_what_is_no_store_with_exit_1() {
    let place = Place::new();
    std::fs::create_dir(place.path("folder")).unwrap();
    place.fails(1, &["stats", "--store", "sqlite:folder"], "it is a directory");
    place.write("notes.txt", &"these are notes and no database\n".repeat(100));
    place.fails(1, &["stats", "--store", "sqlite:notes.txt"], "notes.txt");
    assert!(place.read("notes.txt").unwrap().starts_with("these are notes"));
    place.fails(1, &["stats", "--store", "sqlite:no/such/folder/x.db"], "no/such/folder/x.db");
}

#[test]
fn refuses_a_store_of_a_newer_version() {
    let place = Place::new();
    place.enqueue(&["t"]);
    let store = rusqlite::Connection::open(place.path("dutiful.db")).unwrap();
    store.execute("UPDATE dutiful_schema SET version = 999", []).unwrap();
    drop(store);
    place.fails(1, &["stats"], "upgrade dutiful");
    place.fails(1, &["enqueue", "t"], "upgrade dutiful");
}

#[test]
fn says_that_another_program_has_locked_the_store() {
    let place = Place::new();
    place.enqueue(&["t"]);
    let store = rusqlite::Connection::open(place.path("dutiful.db")).unwrap();
    store.execute_batch("BEGIN IMMEDIATE").unwrap();
    place.fails(1, &["enqueue", "t"], "lock");
    store.execute_batch("ROLLBACK").unwrap();
    assert_eq!(place.count("pending"), 1);
}

#[test]
fn says_that_no_space_is_left_and_how_much_is_stored() {
    let place = Place::new();
    let lines = "{\"type\":\"t\",\"payload\":{}}\n".repeat(20_000);
    let store = "sqlite:small.db?max_bytes=400000";
    let ran = place.run_with(&["enqueue", "--batch", "-", "--store", store], &lines);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{ran:?}");
    assert!(ran.sentence().contains("no space is left"), "{ran:?}");
    let stats = place.json(&["stats", "--store", "sqlite:small.db"]);
    let stored = stats["totals"]["pending"].as_u64().unwrap();
    assert!(stored.is_multiple_of(1000) && (1..20_000).contains(&stored), "{stored}");
    assert!(ran.sentence().contains(&format!("the first {stored} jobs are stored")), "{ran:?}");
}

#[test]
fn refuses_a_bad_settings_file_with_exit_2() {
    for (config, says) in [
        ("stroe = \"sqlite:x.db\"", "unknown field `stroe`"),
        ("[handlers.a]\ncommand = [\"true\"]\ntiemout = \"1s\"", "unknown field `tiemout`"),
        ("[handlers.a]\ncommand = [\"true\"]\ntimeout = \"-1s\"", "the timeout -1s is not within"),
        ("[handlers.a]\ncommand = \"true\"", "line 2"),
        ("[handlers.a]\nurl = \"https://a.example\"\ncommand = [\"true\"]", "choose one"),
        ("nonsense", "line 1"),
    ] {
        let place = Place::with(config);
        place.fails(2, &["work", "--until-empty"], says);
        place.fails(2, &["stats"], "read dutiful.toml");
        assert!(!place.path("dutiful.db").exists(), "{config}");
    }
}

#[test]
fn refuses_to_work_with_handlers_that_cannot_run() {
    for (config, says) in [
        ("", "declares no handler"),
        (
            "[handlers.a]\ncommand = [\"no-such-program\"]",
            "the program \"no-such-program\" does not exist",
        ),
        ("[handlers.a]\ncommand = [\"./none.sh\"]", "[handlers.a]: the program \"./none.sh\""),
        ("[handlers.a]\ncommand = [\"./dutiful.toml\"]", "is not executable"),
        ("[handlers.\"a b\"]\ncommand = [\"true\"]", "the type name \"a b\""),
        ("[handlers.a]\nurl = \"https://localhost\"", "say allow_private = true"),
        ("[handlers.a]\ncommand = [\"true\"]\nqueue = \"\"", "the queue name \"\""),
        ("[handlers.a]\ncommand = [\"true\"]\npriority = 1001", "the priority 1001"),
        ("[handlers.a]\ncommand = [\"true\"]\nmax_attempts = 0", "max_attempts 0"),
        ("[handlers.a]\ncommand = [\"true\"]\n[worker]\nslots = 0", "start the worker: "),
        ("[handlers.a]\ncommand = [\"true\"]\n[worker]\nlease = \"1ms\"", "a lease of 1ms"),
        ("[handlers.a]\ncommand = [\"true\"]\n[queues.q]\nslots = 0", "queue q needs 1 to"),
        ("[handlers.a]\ncommand = [\"true\"]\ntimeout = \"0s\"", "the timeout 0ns"),
        (
            "[handlers.a]\ncommand = [\"true\"]\n[queues.\"x y\"]\nslots = 1",
            "the queue name \"x y\"",
        ),
    ] {
        Place::with(config).fails(2, &["work", "--until-empty"], says);
    }
    Place::new().fails(2, &["work", "--until-empty"], "declares no handler");
}
