//! `dutiful tokens` and `dutiful password`, and a server that asks for credentials.

use serde_json::{Value, json};

use crate::place::{Place, until};
use crate::serve::{ask_with, get_text, serving, told};

#[test]
fn a_token_closes_the_door_and_opens_it_for_whoever_has_it() {
    let place = Place::new();
    let (server, address) = serving(&place, "127.0.0.1:0", "log");
    assert_eq!(ask_with(&address, "GET", "/v1/stats", "", "").0, 200, "nobody is asked yet");
    let made = place.json(&["tokens", "create", "ann", "--scopes", "read,enqueue"]);
    let token = made["token"].as_str().unwrap().to_owned();
    assert_eq!(made["scopes"], serde_json::json!(["read", "enqueue"]));
    let code = |head: &str| ask_with(&address, "GET", "/v1/stats", head, "").0;
    until("everybody is asked", || code("") == 401);
    let head = format!("Authorization: Bearer {token}\r\n");
    assert_eq!(code(&head), 200);
    let listed = place.run(&["tokens", "list"]);
    assert!(listed.stdout.contains("ann") && !listed.stdout.contains(&token), "{listed:?}");
    let id = made["id"].as_str().unwrap();
    assert_eq!(place.run(&["tokens", "revoke", id]).code, Some(0));
    until("it is refused", || code(&head) == 401);
    let again = place.run(&["tokens", "revoke", id]);
    assert_eq!(again.code, Some(1));
    assert!(again.stderr.contains("there is none; see `tokens list`"), "{again:?}");
    assert_eq!(place.run(&["tokens", "open"]).code, Some(0));
    until("nobody is asked again", || code("") == 200);
    server.signal("TERM");
    assert_eq!(server.end().code, Some(0));
}

#[test]
fn a_server_that_asks_makes_the_first_token_itself_and_listens_anywhere() {
    let place = Place::new();
    let refused = place.run(&["serve", "--listen", "0.0.0.0:0"]);
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("--auth"), "{refused:?}");
    let server = place.start_logged(&["serve", "--auth", "--listen", "0.0.0.0:0"], "log");
    until("the address is told", || told(&place, "log").is_some());
    let address = told(&place, "log").unwrap().replace("0.0.0.0", "127.0.0.1");
    let log = place.read("log").unwrap();
    let token = log.lines().find(|line| line.starts_with("dut_")).expect("it is told");
    let head = format!("Authorization: Bearer {token}\r\n");
    assert_eq!(ask_with(&address, "GET", "/v1/tokens", &head, "").0, 200);
    assert_eq!(ask_with(&address, "GET", "/v1/stats", "", "").0, 401);
    server.signal("TERM");
    assert_eq!(server.end().code, Some(0));
    let server = place.start_logged(&["serve", "--auth", "--listen", "127.0.0.1:0"], "log2");
    until("the address is told", || told(&place, "log2").is_some());
    assert!(!place.read("log2").unwrap().contains("dut_"), "only once");
    drop(server);
}

#[test]
fn what_the_command_line_changes_stands_in_the_log_of_operators() {
    let place = Place::new();
    let id = |n: &str| place.json(&["enqueue", "task", n, "--queue", "mail"])["id"].clone();
    let (one, two) = (id("1"), id("2"));
    let (one, two) = (one.as_str().unwrap(), two.as_str().unwrap());
    let unknown = "01890a5d-ac96-774b-bcce-b302099a8057";
    for (args, code) in [
        (&["queues", "pause", "mail"][..], 0),
        (&["jobs", "cancel", one], 0),
        (&["jobs", "retry", one, unknown], 1),
        (&["jobs", "list"], 0),
        (&["queues", "resume", "a b"], 2),
        (&["queues", "clear", "mail", "--yes"], 0),
        (&["tokens", "create", "ann", "--scopes", "read"], 0),
        (&["tokens", "open"], 0),
    ] {
        assert_eq!(place.run(args).code, Some(code), "{args:?}");
    }
    let (server, address) = serving(&place, "127.0.0.1:0", "log");
    let log: Value = serde_json::from_str(&get_text(&address, "/v1/audit")).unwrap();
    let entries = log["entries"].as_array().unwrap();
    let said = |entry: &Value| {
        assert_eq!(entry["actor"], "command line", "it has no user in its environment");
        let field = |name: &str| entry[name].as_str().unwrap().to_owned();
        (field("action"), field("subject"), entry["status"].as_u64().unwrap())
    };
    let said: Vec<_> = entries.iter().rev().map(said).collect();
    let expected = [
        ("queues.pause", "mail", 200),
        ("jobs.cancel", one, 200),
        ("jobs.retry", "", 200),
        ("queues.resume", "a b", 500),
        ("queues.clear", "mail", 200),
        ("tokens.create", "ann", 200),
        ("tokens.open", "", 200),
    ];
    let expected = expected.map(|(action, of, status)| (action.to_owned(), of.to_owned(), status));
    assert_eq!(said, expected, "{log}");
    assert_eq!(entries[4]["detail"], json!({ "jobs": 2, "first": [one, unknown] }));
    assert!(!log.to_string().contains(two), "nobody changed it by its id");
    server.signal("TERM");
    assert_eq!(server.end().code, Some(0));
}

#[test]
fn slips_about_credentials_are_told() {
    let place = Place::with("[serve]\npassword_hash = \"secret\"\n");
    let wrong = place.run(&["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
    assert!(wrong.stderr.contains("`dutiful password`") && !wrong.stderr.contains("secret\""));
    let create = |more: &[&str]| {
        let given = place.run(&[&["tokens", "create", "x"][..], more].concat());
        assert_eq!(given.code, Some(2), "{given:?}");
        given.stderr
    };
    assert!(create(&["--scopes", "root"]).contains("\"root\" is no scope; there are read,"));
    assert!(create(&["--scopes", "read", "--queues", "a"]).contains("enqueue and work"));
    assert!(create(&["--scopes", "read", "--rate", "0"]).contains("its rate is 1 to"));
    assert!(create(&[]).contains("--scopes"));
    let hash = place.run_with(&["password"], "correct horse\n");
    assert!(hash.stdout.starts_with("$argon2id$"), "{hash:?}");
    let short = place.run_with(&["password"], "short\n");
    assert_eq!(short.code, Some(2));
    assert!(short.stderr.contains("8 to 1024 bytes"), "{short:?}");
}
