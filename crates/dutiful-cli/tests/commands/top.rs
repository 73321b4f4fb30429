//! `dutiful top` on a real terminal: it shows, asks, changes, and gives the terminal back.

use std::io::Write as _;
use std::process::Command;

use serde_json::json;

use crate::place::{Place, until};
use crate::terminal::{Screen, stty};

/// What gives the screen that was there before back, and its cursor.
const MAIN_SCREEN: &str = "\u{1b}[?1049l";
const CURSOR: &str = "\u{1b}[?25h";

/// Waits for the end of the program, which must be a good one that leaves nothing behind.
fn given_back(screen: Screen) {
    let (name, modes, seen) = (screen.name.clone(), screen.modes.clone(), screen.seen.clone());
    // Held open, so that the terminal stays for a look at its modes.
    let held = screen.keys.try_clone().unwrap();
    assert_eq!(screen.end(), Some(0));
    assert_eq!(stty(&name, &["-g"]), modes, "the modes are what they were");
    until("the screen is given back", || {
        let seen = seen.lock().unwrap();
        seen.contains(MAIN_SCREEN) && seen.rfind(CURSOR) > seen.rfind("\u{1b}[?25l")
    });
    drop(held);
}

#[test]
fn a_queue_is_paused_by_keys_and_the_terminal_is_given_back() {
    let place = Place::new();
    place.enqueue(&["greet"]);
    let mut screen = Screen::start(&place, &["top", "--every", "200ms"]);
    screen.until_shown(1, "overview");
    screen.until_shown(1, "completed");
    let raw = stty(&screen.name, &["-a"]);
    assert!(raw.contains("-icanon") && raw.contains("-echo"), "{raw}");
    let is_paused = || place.json(&["queues", "list"])["queues"][0]["paused"] == json!(true);
    for (keys, shown) in [("2", "oldest"), ("p", "sure?")] {
        screen.keys.write_all(keys.as_bytes()).unwrap();
        screen.until_shown(1, shown);
    }
    assert!(!is_paused());
    screen.keys.write_all(b"y").unwrap();
    until("the queue is paused", is_paused);
    screen.keys.write_all(b"q").unwrap();
    given_back(screen);
}

#[test]
fn a_signal_ends_it_and_the_terminal_is_given_back() {
    let place = Place::with_store();
    for signal in ["-TERM", "-INT"] {
        let screen = Screen::start(&place, &["top"]);
        screen.until_shown(1, "overview");
        let id = screen.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
        given_back(screen);
    }
}

#[test]
fn a_server_that_is_away_is_told_and_awaited() {
    let place = Place::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    drop(taken);
    let server = format!("http://{address}");
    let args = ["top", "--server", &server, "--every", "200ms"];
    let mut screen = Screen::start(&place, &args);
    screen.until_shown(1, "refused");
    let serving = place.start(&["serve", "--listen", &address]);
    // The totals are drawn when it answers.
    screen.until_shown(1, "rescued");
    serving.signal("TERM");
    assert_eq!(serving.end().code, Some(0));
    screen.until_shown(2, "refused");
    screen.keys.write_all(b"q").unwrap();
    given_back(screen);
}

#[test]
fn a_token_is_asked_for_and_allows_what_it_allows() {
    let place = Place::new();
    place.enqueue(&["greet"]);
    let made = place.json(&["tokens", "create", "ann", "--scopes", "read"]);
    let token = made["token"].as_str().unwrap();
    let address = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().to_string()
    };
    let serving = place.start(&["serve", "--listen", &address]);
    until("the server listens", || std::net::TcpStream::connect(&address).is_ok());
    let server = format!("http://{address}");
    let args = ["top", "--server", &server, "--every", "200ms"];
    let mut screen = Screen::start(&place, &args);
    screen.until_shown(1, "DUTIFUL_TOKEN");
    screen.keys.write_all(b"q").unwrap();
    given_back(screen);
    let mut screen = Screen::start(&place, &[&args[..], &["--token", token]].concat());
    for (keys, shown) in [("2", "oldest"), ("p", "sure?"), ("y", "operate")] {
        screen.keys.write_all(keys.as_bytes()).unwrap();
        screen.until_shown(1, shown);
    }
    assert_eq!(place.json(&["queues", "list"])["queues"][0]["paused"], json!(false));
    screen.keys.write_all(b"\x03").unwrap();
    given_back(screen);
    serving.signal("TERM");
    assert_eq!(serving.end().code, Some(0));
}

#[test]
fn where_there_is_no_terminal_another_command_is_named() {
    let place = Place::with_store();
    place.fails(2, &["top"], "dutiful stats --json");
    place.fails(2, &["top", "--json"], "dutiful stats --json");
    place.fails(2, &["top", "--every", "1ms"], "1ms is not within 200ms to 1h");
    for (args, says) in [
        (&["top", "--store", "sqlite:none.db"][..], "there is no such file"),
        (&["top", "--server", "127.0.0.1:7700"], "such as http://127.0.0.1:7700"),
    ] {
        let screen = Screen::start(&place, args);
        screen.until_shown(1, says);
        assert!(!screen.seen.lock().unwrap().contains(MAIN_SCREEN));
        assert_ne!(screen.end(), Some(0));
    }
}
