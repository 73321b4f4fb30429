//! `dutiful work --listen`: probes and metrics of the real binary, and the addresses it refuses.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use crate::place::{Place, Running, until, written};

/// What a command writes to stderr, and never on the page.
const CANARY: &str = "canary-51c9";

/// Starts a worker with probes on a free port; returns it with the address.
fn listening(place: &Place, more: &[&str]) -> (Running, String) {
    let args = [&["work", "--listen", "127.0.0.1:0"], more].concat();
    let worker = place.start_logged(&args, "log");
    let address = || {
        let log = place.read("log")?;
        let line = log.lines().find(|line| line.contains(" are on http://"))?;
        Some(line.rsplit_once("http://")?.1.to_owned())
    };
    until("the address is told", || address().is_some());
    (worker, address().unwrap())
}

/// Asks once; returns the code and what follows the head, or `None` when nobody answers.
fn ask(address: &str, path: &str, host: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

fn code(address: &str, path: &str) -> Option<u16> {
    ask(address, path, address).map(|(code, _)| code)
}

fn has(address: &str, rows: &[&str]) -> bool {
    let (code, page) = ask(address, "/metrics", address).unwrap();
    assert_eq!(code, 200, "{page}");
    assert!(!page.contains(CANARY), "{page}");
    rows.iter().all(|row| page.lines().any(|line| line == *row))
}

#[test]
fn answers_probes_and_metrics_beside_the_work() {
    let place = Place::with(
        "[handlers.good]\ncommand = [\"true\"]\n\
         [handlers.bad]\nqueue = \"mail\"\ncommand = [\"sh\", \"bad.sh\"]\n\
         [queues.mail]\nslots = 3\n",
    );
    place.write("bad.sh", &format!("cat >&2; echo {CANARY} >&2; exit 3\n"));
    let (worker, address) = listening(&place, &["--slots", "4"]);
    until("the worker is ready", || code(&address, "/readyz") == Some(200));
    assert_eq!(code(&address, "/healthz"), Some(200));
    let (good, bad) = ("queue=\"default\",type=\"good\"", "queue=\"mail\",type=\"bad\"");
    assert!(has(
        &address,
        &[
            &format!("dutiful_jobs_completed_total{{{good}}} 0"),
            &format!("dutiful_jobs_claimed_total{{{bad}}} 0"),
            "dutiful_worker_slots{queue=\"mail\"} 3",
            "dutiful_worker_slots_limit 4",
            "dutiful_store_up 1",
        ],
    ));
    place.enqueue(&["good"]);
    let payload = format!("\"{CANARY}\"");
    place.enqueue(&["bad", &payload, "--queue", "mail", "--max-attempts", "1"]);
    until("both are counted", || {
        has(
            &address,
            &[
                &format!("dutiful_jobs_completed_total{{{good}}} 1"),
                &format!("dutiful_jobs_failed_total{{{bad},error_class=\"exit 3\"}} 1"),
                &format!("dutiful_jobs_dead_total{{{bad},reason=\"exhausted\"}} 1"),
                "dutiful_queue_jobs{queue=\"mail\",state=\"dead\"} 1",
            ],
        )
    });
    assert_eq!(ask(&address, "/metrics", "evil.example").map(|(code, _)| code), Some(421));
    worker.signal("TERM");
    assert_eq!(worker.end().code, Some(0));
}

#[test]
fn is_unready_from_the_first_signal_on_and_answers_to_the_end() {
    let place = Place::with("[handlers.t]\ncommand = [\"sh\", \"t.sh\"]\n");
    place.write("t.sh", "echo started > started\nwhile [ ! -e go ]; do sleep 0.05; done\n");
    let id = place.enqueue(&["t"]);
    let (worker, address) = listening(&place, &["--json"]);
    written(&place, "started");
    until("the worker is ready", || code(&address, "/readyz") == Some(200));
    until("the slot is in use", || {
        has(&address, &["dutiful_worker_slots_in_use{queue=\"default\"} 1"])
    });
    worker.signal("TERM");
    until("the worker is not ready", || code(&address, "/readyz") == Some(503));
    assert_eq!(code(&address, "/healthz"), Some(200), "it goes on with what it began");
    assert!(has(&address, &["dutiful_worker_slots_in_use{queue=\"default\"} 1"]));
    place.write("go", "");
    let ran = worker.end();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(ran.one_json_line()["completed"], 1);
    assert_eq!(place.show(&id)["state"], "completed");
    assert_eq!(code(&address, "/healthz"), None, "they end with the worker");
}

#[test]
fn refuses_an_address_before_any_job_is_claimed() {
    let place = Place::with("[handlers.t]\ncommand = [\"touch\", \"ran\"]\n");
    place.enqueue(&["t"]);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let busy = taken.local_addr().unwrap().to_string();
    for (code, address, says) in [
        (2, "0.0.0.0:9394", "listen on 0.0.0.0:9394: nobody is asked for credentials"),
        (2, "[::]:0", "a reverse proxy or `ssh -L` in front"),
        (2, "9394", "listen on \"9394\": write an address such as 127.0.0.1:9394"),
        (1, &busy, "choose another port, or 0 for a free one"),
    ] {
        place.fails(code, &["work", "--until-empty", "--listen", address], says);
    }
    assert_eq!((place.count("pending"), place.read("ran")), (1, None));
}

#[test]
fn listens_where_the_flag_then_the_environment_then_the_file_says() {
    let place = Place::with("[handlers.t]\ncommand = [\"true\"]\n[worker]\nlisten = \"file\"\n");
    let says = |flag: &[&str], variable: Option<&str>| {
        let mut command = place.command(&[&["work", "--until-empty"], flag].concat());
        command.envs(variable.map(|value| ("DUTIFUL_LISTEN", value)));
        String::from_utf8(command.output().unwrap().stderr).unwrap()
    };
    assert!(says(&[], None).contains("listen on \"file\""));
    assert!(says(&[], Some("")).contains("listen on \"file\""), "an empty variable says nothing");
    assert!(says(&[], Some("env")).contains("listen on \"env\""));
    assert!(says(&["--listen", "flag"], Some("env")).contains("listen on \"flag\""));
    let told = says(&["--listen", "localhost:0"], Some("env"));
    assert_eq!(told.matches("http://127.0.0.1:").count(), 1, "{told}");
    place.write("dutiful.toml", "[handlers.t]\ncommand = [\"true\"]\n");
    assert!(!says(&[], None).contains("http://"), "off unless asked");
}
