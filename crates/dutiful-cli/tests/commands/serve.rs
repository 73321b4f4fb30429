//! `dutiful serve`: API, dashboard and handlers in one process, and what a kill leaves of it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::place::{Place, Running, until};

/// Starts a server; returns it with its address.
pub(crate) fn serving(place: &Place, listen: &str, log: &str) -> (Running, String) {
    let server = place.start_logged(&["serve", "--listen", listen], log);
    until("the address is told", || told(place, log).is_some());
    (server, told(place, log).unwrap())
}

/// Returns the address that a server told.
pub(crate) fn told(place: &Place, log: &str) -> Option<String> {
    let text = place.read(log)?;
    let rest = text.split_once("listening on http://")?.1;
    Some(rest.split_once(' ')?.0.to_owned())
}

/// Asks once; returns the code and the body.
fn ask(address: &str, method: &str, path: &str, body: &str) -> (u16, String) {
    ask_with(address, method, path, "", body)
}

/// The same with more lines in the head.
pub(crate) fn ask_with(
    address: &str,
    method: &str,
    path: &str,
    lines: &str,
    body: &str,
) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         {lines}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn post(address: &str, path: &str, body: &Value) -> Value {
    let (code, text) = ask(address, "POST", path, &body.to_string());
    assert!((200..300).contains(&code), "{path}: {code} {text}");
    serde_json::from_str(&text).unwrap_or_default()
}

fn get(address: &str, path: &str) -> Value {
    serde_json::from_str(&get_text(address, path)).unwrap()
}

pub(crate) fn get_text(address: &str, path: &str) -> String {
    let (code, text) = ask(address, "GET", path, "");
    assert_eq!(code, 200, "{path}: {text}");
    text
}

#[test]
fn one_process_is_a_whole_system() {
    let place = Place::with(
        "[handlers.greet]\nqueue = \"mail\"\ncommand = [\"sh\", \"-c\", \"cat; exit 0\"]\n",
    );
    let (server, address) = serving(&place, "127.0.0.1:0", "log");
    let (code, page) = ask(&address, "GET", "/", "");
    assert_eq!(code, 200);
    assert!(page.contains("<title>Dutiful"), "{page}");
    for asset in page.split("\"/assets/").skip(1) {
        let path = format!("/assets/{}", asset.split('"').next().unwrap());
        assert_eq!(ask(&address, "GET", &path, "").0, 200, "{path}");
    }
    let job = json!({ "type": "greet", "payload": { "name": "Ann" } });
    let id = post(&address, "/v1/jobs", &job)["id"].as_str().unwrap().to_owned();
    let result = get(&address, &format!("/v1/jobs/{id}/result?wait_ms=20000"));
    assert_eq!((&result["state"], &result["result"]), (&json!("completed"), &job["payload"]));
    let queue = get(&address, &format!("/v1/jobs/{id}"))["queue"].clone();
    assert_eq!(queue, "mail", "the type's own, which the server registered");
    until("it is ready", || ask(&address, "GET", "/readyz", "").0 == 200);
    server.signal("TERM");
    assert_eq!(server.end().code, Some(0));
    assert_eq!(place.show(&id)["state"], "completed");
}

#[test]
fn a_killed_server_loses_nothing_and_its_workers_go_on() {
    let place = Place::new();
    let (server, address) = serving(&place, "127.0.0.1:0", "log");
    let worker = json!({ "name": "far", "queues": { "default": 5 }, "types": ["task"] });
    let worker = post(&address, "/v1/workers", &worker)["id"].as_str().unwrap().to_owned();
    let jobs = vec![json!({ "type": "task" }); 50];
    let stored = post(&address, "/v1/jobs/batch", &json!({ "jobs": jobs }));
    assert_eq!(stored["jobs"].as_array().unwrap().len(), 50);
    let claim = format!("/v1/workers/{worker}/claim");
    let fences = |claimed: &Value| -> Vec<Value> {
        claimed["jobs"].as_array().unwrap().iter().map(|job| job["fence"].clone()).collect()
    };
    let mut held = fences(&post(&address, &claim, &json!({ "max": 5 })));
    assert_eq!(held.len(), 5);
    server.signal("KILL");
    server.end();
    // On the same port, so that whoever waits for it finds it again.
    let (server, again) = serving(&place, &address, "log2");
    assert_eq!(again, address);
    let mut done = 0;
    while !held.is_empty() {
        let end = |fence| json!({ "fence": fence, "outcome": "completed" });
        let ends: Vec<_> = held.iter().map(end).collect();
        let finish = format!("/v1/workers/{worker}/finish");
        let written = post(&address, &finish, &json!({ "ends": ends }));
        let ends = written["ends"].as_array().unwrap();
        assert!(ends.iter().all(|one| one["status"] == "done"), "{written}");
        done += ends.len();
        held = fences(&post(&address, &claim, &json!({ "max": 20, "queues": { "default": 20 } })));
    }
    assert_eq!(done, 50);
    let totals = get(&address, "/v1/stats")["totals"].clone();
    assert_eq!((&totals["completed"], &totals["stalled_total"]), (&json!(50), &json!(0)));
    server.signal("TERM");
    assert_eq!(server.end().code, Some(0));
}

/// Starts a server on a store that is not of this place.
fn serving_on(place: &Place, store: &str, log: &str) -> (Running, String) {
    let args = ["serve", "--listen", "127.0.0.1:0", "--store", store];
    let server = place.start_logged(&args, log);
    until("the address is told", || told(place, log).is_some());
    (server, told(place, log).unwrap())
}

/// Claims what is there at one server and says at another that it is done; returns how many.
fn work_off(worker: &str, (here, there): (&str, &str)) -> usize {
    let claim = json!({ "max": 50, "wait_ms": 200 });
    let claimed = post(here, &format!("/v1/workers/{worker}/claim"), &claim);
    let jobs = claimed["jobs"].as_array().unwrap();
    let end = |job: &Value| json!({ "fence": job["fence"], "outcome": "completed" });
    let ends: Vec<_> = jobs.iter().map(end).collect();
    let finish = format!("/v1/workers/{worker}/finish");
    let written = post(there, &finish, &json!({ "ends": ends }));
    let done = written["ends"].as_array().unwrap().iter().filter(|one| one["status"] == "done");
    done.count()
}

#[test]
fn of_two_servers_on_one_postgres_either_may_die() {
    let server = dutiful_fixture::Postgres::shared(dutiful_fixture::Version::System).unwrap();
    let url = server.fresh_database().unwrap();
    let place = Place::new();
    let (mut first, mut a) = serving_on(&place, &url, "log-0");
    let (mut second, mut b) = serving_on(&place, &url, "log-1");
    let worker = json!({ "name": "far", "queues": { "default": 50 }, "types": ["task"] });
    let worker = post(&a, "/v1/workers", &worker)["id"].as_str().unwrap().to_owned();
    let mut done = 0;
    for round in 2..4 {
        let jobs = vec![json!({ "type": "task" }); 40];
        post(&a, "/v1/jobs/batch", &json!({ "jobs": jobs }));
        // Whoever leads moves it into the queue when it is due, and one of the two has just died.
        post(&b, "/v1/jobs", &json!({ "type": "task", "delay_ms": 1000 }));
        done += work_off(&worker, (&a, &b));
        first.signal("KILL");
        first.end();
        until("all of this round are done by the other one", || {
            done += work_off(&worker, (&b, &b));
            done == (round - 1) * 41
        });
        (first, a) = serving_on(&place, &url, &format!("log-{round}"));
        // The next to die is the one that lived.
        std::mem::swap(&mut first, &mut second);
        std::mem::swap(&mut a, &mut b);
    }
    let totals = get(&a, "/v1/stats")["totals"].clone();
    assert_eq!((&totals["completed"], &totals["stalled_total"]), (&json!(2 * 41), &json!(0)));
    for server in [first, second] {
        server.signal("TERM");
        assert_eq!(server.end().code, Some(0));
    }
}

#[test]
fn refuses_what_it_cannot_serve_in_one_sentence() {
    let place = Place::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let busy = taken.local_addr().unwrap().to_string();
    for (code, address, says) in [
        (2, "0.0.0.0:7700", "nobody is asked for credentials"),
        (2, "7700", "write an address such as"),
        (1, busy.as_str(), "choose another port"),
    ] {
        place.fails(code, &["serve", "--listen", address], says);
    }
    place.fails(
        1,
        &["serve", "--listen", "127.0.0.1:0", "--store", "sqlite:no/such/x.db"],
        "no/such",
    );
    place.write("dutiful.toml", "[handlers.x]\ncommand = [\"no-such-program\"]\n");
    place.fails(2, &["serve", "--listen", "127.0.0.1:0"], "[handlers.x]");
}
