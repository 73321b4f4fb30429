//! Handlers with a `url`: what dutiful.toml may say of them, and jobs that are sent by the binary.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use serde_json::json;

use crate::place::{Place, until};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A service that reads one request on each connection and gives one answer after the other, the
/// last again and again.
struct Service {
    port: u16,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Service {
    fn answering(answers: &'static [&'static str]) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = seen.clone();
        std::thread::spawn(move || {
            for stream in socket.incoming() {
                let mut stream = stream.unwrap();
                let request = read(&mut stream);
                let mut log = log.lock().unwrap();
                let answer = answers[log.len().min(answers.len() - 1)];
                log.push(request);
                drop(log);
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        Self { port, seen }
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    /// Returns a place whose handler `t` is this service, with further settings.
    fn place(&self, settings: &str) -> Place {
        let port = self.port;
        Place::with(&format!(
            "[handlers.t]\nurl = \"http://127.0.0.1:{port}/t\"\nallow_private = true\n{settings}\n"
        ))
    }
}

/// Reads a request to the end of its body.
fn read(stream: &mut std::net::TcpStream) -> String {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        request.extend_from_slice(&byte);
    }
    let head = String::from_utf8(request).unwrap().to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).unwrap();
    head + &String::from_utf8(body).unwrap()
}

const DONE: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 9\r\n\r\n{\"ok\":42}";
const AWAY: &str = "HTTP/1.1 500 Oh\r\nconnection: close\r\ncontent-length: 4\r\n\r\naway";

#[test]
fn sends_a_signed_job_and_keeps_the_answer() {
    let service = Service::answering(&[DONE]);
    let place = service.place(&format!("secrets = [\"{SECRET}\"]\nqueue = \"mail\""));
    let id = place.enqueue(&["t", "{\"n\":1.0}", "--queue", "mail"]);
    assert_eq!(place.work()["completed"], 1);
    assert_eq!(place.show(&id)["result"], json!({"ok": 42}));
    let request = &service.seen()[0];
    assert!(request.starts_with("post /t http/1.1\r\n"), "{request}");
    assert!(request.ends_with("\r\n\r\n{\"n\":1.0}"), "{request}");
    for line in ["webhook-signature: v1,", &format!("dutiful-job-id: {id}"), "dutiful-queue: mail"]
    {
        assert!(request.contains(&format!("\r\n{line}")), "{line} is missing in {request}");
    }
}

#[test]
fn says_what_an_answer_was_and_what_it_does_to_jobs() {
    let service = Service::answering(&[AWAY, AWAY, AWAY, AWAY, AWAY, DONE]);
    let place = service.place("max_attempts = 1");
    let ids: Vec<_> = (0..5).map(|_| place.enqueue(&["t", "--max-attempts", "1"])).collect();
    let ran = place.run(&["work", "--until-empty"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let error = json!({"class": "http_500", "message":
        format!("http://127.0.0.1:{} answered 500 Internal Server Error: away", service.port)});
    assert_eq!(place.show(&ids[0])["last_error"], error);
    assert!(ran.stderr.contains("failed 5 times in a row; its jobs wait 10 s"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("answers again"), "{}", ran.stderr);
}

#[test]
fn takes_secrets_from_a_variable_and_sends_nothing_without_it() {
    let service = Service::answering(&[DONE]);
    let place = service.place("secrets_env = \"SHOP_SECRETS\"");
    place.fails(2, &["work"], "the variable SHOP_SECRETS of secrets_env is empty or not set");
    place.enqueue(&["t"]);
    let mut command = place.command(&["work", "--until-empty"]);
    let both = format!("{SECRET} whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD");
    let ran = command.env("SHOP_SECRETS", both).output().unwrap();
    assert!(ran.status.success(), "{ran:?}");
    let seen = service.seen();
    let line = seen[0].lines().find_map(|line| line.strip_prefix("webhook-signature: "));
    assert_eq!(line.unwrap().split(' ').count(), 2, "{seen:?}");
    let wrong = place.command(&["work"]).env("SHOP_SECRETS", "whsec_hidden").output().unwrap();
    let said = String::from_utf8(wrong.stderr).unwrap();
    assert!(said.contains("SHOP_SECRETS is refused") && !said.contains("hidden"), "{said}");
}

#[test]
fn asks_no_proxy_of_the_environment() {
    let (service, proxy) = (Service::answering(&[DONE]), Service::answering(&[AWAY]));
    let place = service.place("");
    place.enqueue(&["t"]);
    let mut command = place.command(&["work", "--until-empty", "--json"]);
    let address = format!("http://127.0.0.1:{}", proxy.port);
    for name in ["http_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"] {
        command.env(name, &address);
    }
    assert!(command.output().unwrap().status.success());
    assert_eq!((service.seen().len(), proxy.seen().len()), (1, 0));
}

#[test]
fn refuses_what_cannot_be_meant_before_anything_starts() {
    for (settings, says) in [
        ("url = \"http://127.0.0.1/\"", "say allow_private = true"),
        ("url = \"http://0x7f.1/\"", "say allow_private = true"),
        ("url = \"http://169.254.169.254/\"\nallow_private = true", "is never called"),
        ("url = \"https://me:hidden@a.example/\"", "has a user or password"),
        ("url = \"ftp://a.example/\"", "only http and https"),
        ("url = \"https://a.example/\"\nsecrets = [\"hidden\"]", "openssl rand"),
        ("url = \"https://a.example/\"\nsecrets = \"hidden\"", "secrets is a list"),
        ("url = \"https://a.example/\"\ncommand = [\"true\"]", "choose one"),
        ("url = \"https://a.example/\"\ndiscard_exit = 3", "which is for commands"),
        ("url = \"https://a.example/\"\ndiscard_status = [200]", "200 is not a status"),
        ("url = \"https://a.example/\"\nca_file = \"none.pem\"", "none.pem cannot be read"),
        ("url = \"https://a.example/\"\nca_file = \"dutiful.toml\"", "has no certificate"),
        ("command = [\"true\"]\nsecrets_env = \"X\"", "has secrets_env and no url"),
    ] {
        let place = Place::with(&format!("[handlers.t]\n{settings}\n"));
        for command in ["work", "serve"] {
            place.fails(2, &[command], says);
            let said = place.run(&[command]).stderr;
            assert!(said.contains("[handlers.t]") || said.contains("line"), "{said}");
            assert!(!said.contains("hidden"), "{said}");
        }
    }
}

/// Asks the server whose log is `log`; returns all that it answers.
fn ask(place: &Place, method: &str, path: &str, body: &str) -> String {
    let address = || {
        let log = place.read("log")?;
        Some(log.split("listening on http://").nth(1)?.split_once(' ')?.0.to_owned())
    };
    until("the server listens", || address().is_some());
    let mut stream = std::net::TcpStream::connect(address().unwrap()).unwrap();
    let length = body.len();
    let head = "Host: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n";
    let ask = format!("{method} {path} HTTP/1.1\r\n{head}Content-Length: {length}\r\n\r\n{body}");
    stream.write_all(ask.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn serve_runs_what_is_registered_over_http_and_again_after_a_restart() {
    let service = Service::answering(&[DONE]);
    let place = Place::with(
        "[serve]\nprivate_handlers = true\n[queues.mail]\nslots = 2\n\
         [handlers.own]\ncommand = [\"true\"]\n",
    );
    let body = json!({ "url": format!("http://127.0.0.1:{}/hidden", service.port),
        "secrets": [SECRET], "queue": "mail", "max_attempts": 7 });
    let server = place.start_logged(&["serve", "--json", "--listen", "127.0.0.1:0"], "log");
    let own = ask(&place, "PUT", "/v1/handlers/own", &body.to_string());
    assert!(own.starts_with("HTTP/1.1 409 ") && own.contains("the file wins"), "{own}");
    let made = ask(&place, "PUT", "/v1/handlers/t", &body.to_string());
    assert!(made.starts_with("HTTP/1.1 201 "), "{made}");
    let id = place.enqueue(&["t", "{\"n\":1}"]);
    until("the job is completed", || place.show(&id)["state"] == "completed");
    let job = place.show(&id);
    assert_eq!((&job["queue"], &job["max_attempts"]), (&json!("mail"), &json!(7)), "{job}");
    assert_eq!(job["result"], json!({ "ok": 42 }));
    let request = &service.seen()[0];
    assert!(request.starts_with("post /hidden http/1.1\r\n"), "{request}");
    assert!(request.contains("\r\nwebhook-signature: v1,"), "{request}");
    let row = format!("dutiful_push_breaker{{target=\"http://127.0.0.1:{}\"}} 0\n", service.port);
    let counted = "dutiful_jobs_completed_total{queue=\"mail\",type=\"t\"} 1\n";
    until("it is counted", || {
        let page = ask(&place, "GET", "/metrics", "");
        page.contains(&row) && page.contains(counted)
    });
    let workers = place.json(&["workers", "list"])["workers"].as_array().unwrap().clone();
    let one = workers.iter().find(|one| one["name"].as_str().unwrap().ends_with(" (registered)"));
    assert_eq!(one.unwrap()["queues"], json!({ "mail": 2 }), "{workers:?}");
    server.signal("TERM");
    let ran = server.end();
    assert_eq!((ran.code, &ran.one_json_line()["completed"]), (Some(0), &json!(1)), "{ran:?}");
    let log = place.read("log").unwrap();
    assert!(!log.contains("hidden") && !log.contains("MfKQ"), "{log}");

    let id = place.enqueue(&["t"]);
    // Without the operator's word it does not run, and the log says why.
    place.write("dutiful.toml", "");
    let server = place.start_logged(&["serve", "--listen", "127.0.0.1:0"], "log");
    let log = || place.read("log").unwrap();
    until("it is told", || {
        log().contains("the handler of t that is registered over HTTP does not")
    });
    let refused = ask(&place, "PUT", "/v1/handlers/t", &body.to_string());
    assert!(refused.contains("private_handlers = true in [serve]"), "{refused}");
    server.signal("TERM");
    assert_eq!(server.end().code, Some(0));
    assert_eq!(place.show(&id)["state"], "pending");
    place.write("dutiful.toml", "[serve]\nprivate_handlers = true\n");
    let server = place.start_logged(&["serve", "--listen", "127.0.0.1:0"], "log");
    until("the job is completed", || place.show(&id)["state"] == "completed");
    server.signal("TERM");
    assert_eq!(server.end().code, Some(0));
}

#[test]
fn serve_sends_jobs_too_and_shows_the_breaker() {
    let service = Service::answering(&[DONE]);
    let place = service.place("");
    let id = place.enqueue(&["t"]);
    let server = place.start_logged(&["serve", "--listen", "127.0.0.1:0"], "log");
    until("the job is completed", || place.show(&id)["state"] == "completed");
    let page = ask(&place, "GET", "/metrics", "");
    let row = format!("dutiful_push_breaker{{target=\"http://127.0.0.1:{}\"}} 0\n", service.port);
    assert!(page.contains(&row), "{page}");
    server.signal("TERM");
    assert_eq!(server.end().code, Some(0));
}
