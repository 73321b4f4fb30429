//! Notifications on their whole way: a job of a real store, a worker, and receivers on loopback
//! sockets that speak HTTP and SMTP.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use dutiful::{Filter, JobInfo, Name, State};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;

/// Longest wait for something that must happen.
const PATIENCE: Duration = Duration::from_secs(30);
/// What nobody may be shown.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const PASSWORD: &str = "sesame-of-the-mail-server";

fn notice() -> Notice {
    Notice {
        id: "oldest:mail".into(),
        rule: "latency".into(),
        severity: NotifySeverity::Critical,
        state: "firing".into(),
        queue: Some("mail".into()),
        since: "2026-11-29T02:00:00.000000Z".into(),
        fired_at: Some("2026-11-29T02:00:00.000000Z".into()),
        value: 640.0,
        threshold: 600.0,
        summary: "The oldest job in mail has waited for 640 s <& longer>".into(),
        advice: "Start more workers for mail".into(),
        acknowledged: None,
    }
}

fn no_variable(_: &str) -> Option<String> {
    None
}

/// Runs no command.
fn no_command() -> RunCommand {
    Arc::new(|_, _| Box::pin(async { Err("no command was expected".to_owned()) }))
}

fn settings(of: Value) -> NotifySettings {
    serde_json::from_value(of).unwrap()
}

fn targets(of: Value) -> Result<NotifyTargets, NotifyTargetError> {
    let settings: Vec<_> = of.as_array().unwrap().iter().cloned().map(settings).collect();
    NotifyTargets::new("shop-1", &settings, &no_variable, &no_command())
}

/// A store and a worker that sends what is in it.
struct Site {
    client: Client,
    working: tokio::task::JoinHandle<()>,
}

impl Site {
    async fn new(targets: &NotifyTargets) -> Self {
        let client = Client::connect("sqlite::memory:").await.unwrap();
        let worker = with_notifications(Worker::new(&client, ()), targets.clone());
        let working = tokio::spawn(async move {
            let _ = worker.run_until(std::future::pending()).await;
        });
        Self { client, working }
    }

    /// Returns the notifications in a state, when so many are in it.
    async fn in_state(&self, state: State, number: usize) -> Vec<JobInfo> {
        let filter = || Filter {
            state: Some(state),
            job_type: Some(Name::new("type", Notify::TYPE).unwrap()),
            ..Filter::default()
        };
        tokio::time::timeout(PATIENCE, async {
            loop {
                let found = self.client.jobs(filter()).await.unwrap().jobs;
                if found.len() >= number {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
        .expect("it takes too long")
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.working.abort();
    }
}

/// A request as it came: its head in small letters, and its body.
#[derive(Debug)]
struct Asked {
    head: String,
    body: String,
}

impl Asked {
    fn header(&self, name: &str) -> &str {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.clone().find(|(key, _)| *key == name).unwrap_or_else(|| panic!("{self:?}")).1
    }
}

/// Answers each request with the next of these statuses, then always with 200.
async fn receiver(statuses: &'static [u16]) -> (String, UnboundedReceiver<Asked>) {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let (tell, told) = unbounded_channel();
    tokio::spawn(async move {
        let mut statuses = statuses.iter();
        while let Ok((stream, _)) = socket.accept().await {
            let status = statuses.next().copied().unwrap_or(200);
            let _ = tell.send(answer(stream, status).await);
        }
    });
    (format!("http://{address}/T0/secret-path"), told)
}

async fn answer(stream: TcpStream, status: u16) -> Asked {
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(stream.read_line(&mut head).await.unwrap() > 0, "the head ends early: {head}");
    }
    let head = head.split_once("\r\n").map(|(first, rest)| format!("{first}\n{}", lower(rest)));
    let mut asked = Asked { head: head.unwrap(), body: String::new() };
    let mut body = vec![0; asked.header("content-length").parse().unwrap()];
    stream.read_exact(&mut body).await.unwrap();
    asked.body = String::from_utf8(body).unwrap();
    let text = format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    stream.get_mut().write_all(text.as_bytes()).await.unwrap();
    asked
}

/// Makes the names of headers small; their values stay.
fn lower(head: &str) -> String {
    let small = |line: &str| match line.split_once(": ") {
        Some((name, value)) => format!("{}: {value}\n", name.to_lowercase()),
        None => String::new(),
    };
    head.lines().map(small).collect()
}

/// Takes mail; tells what was said in each session, line by line.
async fn mail_server() -> (u16, UnboundedReceiver<Vec<String>>) {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    let (tell, told) = unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = socket.accept().await {
            let _ = tell.send(take_mail(stream).await);
        }
    });
    (port, told)
}

async fn take_mail(stream: TcpStream) -> Vec<String> {
    let mut stream = BufReader::new(stream);
    let (mut said, mut in_data) = (Vec::new(), false);
    stream.get_mut().write_all(b"220 test\r\n").await.unwrap();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return said;
        }
        let line = line.trim_end().to_owned();
        let verb = line.split(' ').next().unwrap_or_default().to_uppercase();
        let reply: &[u8] = match verb.as_str() {
            _ if in_data && line == "." => b"250 taken\r\n",
            _ if in_data => b"",
            "EHLO" => b"250-test\r\n250-AUTH PLAIN\r\n250 8BITMIME\r\n",
            "AUTH" => b"235 welcome\r\n",
            "DATA" => b"354 go on\r\n",
            "QUIT" => b"221 bye\r\n",
            _ => b"250 ok\r\n",
        };
        in_data = if in_data { line != "." } else { verb == "DATA" };
        said.push(line);
        stream.get_mut().write_all(reply).await.unwrap();
        if verb == "QUIT" && !in_data {
            return said;
        }
    }
}

async fn next<T>(of: &mut UnboundedReceiver<T>) -> T {
    tokio::time::timeout(PATIENCE, of.recv()).await.expect("nothing came").unwrap()
}

#[tokio::test]
async fn a_webhook_gets_the_alert_signed_and_once_however_often_it_is_told() {
    let (url, mut asked) = receiver(&[]).await;
    let targets = targets(json!([{ "name": "ops", "url": url, "secret": SECRET }])).unwrap();
    let site = Site::new(&targets).await;
    let tell =
        async |event, alert: &Notice| notify(&site.client, &targets, event, alert).await.unwrap();
    assert_eq!(tell(Event::Firing, &notice()).await, 1);
    assert_eq!(tell(Event::Firing, &notice()).await, 0, "another server tells the same");
    let got = next(&mut asked).await;
    let body: Value = serde_json::from_str(&got.body).unwrap();
    assert_eq!((&body["event"], &body["server"]), (&json!("firing"), &json!("shop-1")));
    assert_eq!(body["alert"], serde_json::to_value(notice()).unwrap());
    assert!(got.head.starts_with("POST /T0/secret-path HTTP/1.1"), "{got:?}");
    assert_eq!(got.header("content-type"), "application/json");
    let (id, at) = (got.header("webhook-id"), got.header("webhook-timestamp"));
    let expected = super::web::Secret::parse(SECRET).unwrap();
    let expected = expected.sign(id, at.parse().unwrap(), got.body.as_bytes());
    assert_eq!(got.header("webhook-signature"), expected);
    let done = site.in_state(State::Completed, 1).await;
    assert_eq!((done.len(), done[0].id.to_string().as_str()), (1, id));
    assert_eq!(tell(Event::Resolved, &notice()).await, 1, "its end is other news");
    let later = Notice { since: "2026-11-29T05:00:00.000000Z".into(), ..notice() };
    assert_eq!(tell(Event::Firing, &later).await, 1, "and so is its return");
}

#[tokio::test]
async fn a_chat_gets_a_text_in_which_nothing_is_markup() {
    let (url, mut asked) = receiver(&[]).await;
    let targets = targets(json!([{ "name": "chat", "slack": url }])).unwrap();
    let site = Site::new(&targets).await;
    notify(&site.client, &targets, Event::Firing, &notice()).await.unwrap();
    let body: Value = serde_json::from_str(&next(&mut asked).await.body).unwrap();
    assert_eq!(body.as_object().unwrap().len(), 1);
    let text = body["text"].as_str().unwrap();
    assert!(text.starts_with("CRITICAL ALERT\nThe oldest job in mail"), "{text}");
    assert!(text.contains("&lt;&amp; longer&gt;") && !text.contains('<'), "{text}");
    for part in
        ["Start more workers", "Rule latency, queue mail", "Value 640, threshold 600", "shop-1"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    let resolved = Notice { state: "resolved".into(), ..notice() };
    notify(&site.client, &targets, Event::Resolved, &resolved).await.unwrap();
    let body: Value = serde_json::from_str(&next(&mut asked).await.body).unwrap();
    let text = body["text"].as_str().unwrap();
    assert!(text.starts_with("RESOLVED\n") && !text.contains("Start more"), "{text}");
}

#[tokio::test]
async fn a_mail_has_its_headers_and_the_text_and_reaches_all() {
    let (port, mut told) = mail_server().await;
    let smtp = format!("smtp://ops:{PASSWORD}@127.0.0.1:{port}");
    let email = json!({ "to": ["ops@example.com", "Ann <ann@example.com>"],
        "from": "Dutiful <dutiful@example.com>", "smtp": smtp });
    let targets = targets(json!([{ "name": "mail", "email": email }])).unwrap();
    let site = Site::new(&targets).await;
    let alert = Notice { summary: "Zu spät:\r\nBcc: evil@example.com".into(), ..notice() };
    notify(&site.client, &targets, Event::Firing, &alert).await.unwrap();
    let said = next(&mut told).await;
    let done = site.in_state(State::Completed, 1).await;
    let has = |line: &str| assert!(said.iter().any(|one| one == line), "{line} in {said:#?}");
    has("MAIL FROM:<dutiful@example.com>");
    has("RCPT TO:<ops@example.com>");
    has("RCPT TO:<ann@example.com>");
    has("From: Dutiful <dutiful@example.com>");
    has("Auto-Submitted: auto-generated");
    has(&format!("Message-ID: <{}@example.com>", done[0].id));
    has("What to do: Start more workers for mail");
    has("Rule latency, queue mail, since 2026-11-29T02:00:00.000000Z");
    let starts = |with: &str| said.iter().any(|one| one.starts_with(with));
    assert!(starts("Subject: ") && starts("Date: ") && starts("To: ops@example.com"), "{said:#?}");
    assert!(starts("AUTH PLAIN "), "{said:#?}");
    assert!(!starts("Bcc"), "an alert cannot write headers: {said:#?}");
}

#[tokio::test]
async fn a_command_reads_the_alert() {
    let ran = Arc::new(Mutex::new(Vec::new()));
    let note = ran.clone();
    let run: RunCommand = Arc::new(move |command, stdin| {
        let mut ran = note.lock().unwrap();
        ran.push((command, serde_json::from_slice::<Value>(&stdin).unwrap()));
        let first = ran.len() == 1;
        Box::pin(async move { if first { Err("exit 3: pager is busy".into()) } else { Ok(()) } })
    });
    let page = settings(json!({ "name": "page", "command": ["page.sh", "--loud"] }));
    let targets = NotifyTargets::new("shop-1", &[page], &no_variable, &run).unwrap();
    let site = Site::new(&targets).await;
    notify(&site.client, &targets, Event::Firing, &notice()).await.unwrap();
    let done = site.in_state(State::Completed, 1).await;
    let ran = ran.lock().unwrap();
    assert_eq!((ran.len(), done[0].failures), (2, 1), "it was tried again");
    assert_eq!(ran[1].0, ["page.sh", "--loud"]);
    assert_eq!(ran[1].1["alert"]["summary"], json!(notice().summary));
}

#[tokio::test]
async fn a_target_that_fails_is_tried_again_and_holds_up_no_other() {
    let (broken, mut refused) = receiver(&[500, 302]).await;
    let (well, mut asked) = receiver(&[]).await;
    let targets = targets(json!([
        { "name": "broken", "url": broken },
        { "name": "well", "url": well },
    ]));
    let targets = targets.unwrap();
    let site = Site::new(&targets).await;
    assert_eq!(notify(&site.client, &targets, Event::Firing, &notice()).await.unwrap(), 2);
    next(&mut asked).await;
    let first = next(&mut refused).await;
    let failed = &site.in_state(State::Failed, 1).await[0];
    assert_eq!(failed.last_error.as_ref().unwrap().class, "status 500");
    assert_eq!(failed.max_attempts, 10);
    // Or its own time came first.
    let _ = site.client.retry(failed.id).await;
    let again = next(&mut refused).await;
    assert_eq!(first.header("webhook-id"), again.header("webhook-id"), "so a repeat is known");
    let failed = &site.in_state(State::Failed, 1).await[0];
    let said = &failed.last_error.as_ref().unwrap().message;
    assert!(said.contains("status 302; it was not followed"), "{said}");
    assert!(!said.contains("secret-path"), "{said}");
}

#[tokio::test]
async fn that_it_is_over_is_told_last() {
    let (url, mut told) = receiver(&[503]).await;
    let targets = targets(json!([{ "name": "ops", "url": url }])).unwrap();
    let site = Site::new(&targets).await;
    notify(&site.client, &targets, Event::Firing, &notice()).await.unwrap();
    site.in_state(State::Failed, 1).await;
    let since = "2026-11-29T02:00:30.000000Z".into();
    let resolved = Notice { state: "resolved".into(), since, ..notice() };
    notify(&site.client, &targets, Event::Resolved, &resolved).await.unwrap();
    site.in_state(State::Completed, 2).await;
    for event in ["firing", "firing", "resolved"] {
        let body: Value = serde_json::from_str(&next(&mut told).await.body).unwrap();
        assert_eq!(body["event"], event);
    }
}

#[tokio::test]
async fn a_test_is_told_to_all_and_says_how_it_went() {
    let (good, mut told) = receiver(&[]).await;
    let (bad, _) = receiver(&[500]).await;
    let targets = targets(json!([
        { "name": "ops", "url": good, "severity": "critical", "queues": ["mail"] },
        { "name": "chat", "slack": bad },
    ]))
    .unwrap();
    let went = try_notifications(&targets).await;
    assert_eq!((went[0].0.as_str(), went[0].1.is_ok()), ("ops", true));
    assert_eq!(went[1].0, "chat");
    let why = went[1].1.as_ref().unwrap_err().failure().message.clone();
    assert!(why.contains("500"), "{why}");
    let body: Value = serde_json::from_str(&next(&mut told).await.body).unwrap();
    assert_eq!(body["alert"]["summary"], "This is a test: nothing is wrong");
}

#[tokio::test]
async fn what_is_for_a_target_that_is_gone_is_given_up() {
    let (url, _asked) = receiver(&[]).await;
    let before = targets(json!([{ "name": "old", "url": url }])).unwrap();
    let site = Site::new(&NotifyTargets::default()).await;
    notify(&site.client, &before, Event::Firing, &notice()).await.unwrap();
    let dead = &site.in_state(State::Dead, 1).await[0];
    let error = dead.last_error.as_ref().unwrap();
    assert_eq!((error.class.as_str(), dead.failures), ("no_target", 1));
    assert!(error.message.contains("\"old\" is no longer in dutiful.toml"), "{}", error.message);
}

#[tokio::test]
async fn a_receiver_that_cannot_be_reached_is_named_by_no_address() {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/T0/secret-path", socket.local_addr().unwrap());
    drop(socket);
    let targets = targets(json!([{ "name": "chat", "slack": url }])).unwrap();
    let site = Site::new(&targets).await;
    notify(&site.client, &targets, Event::Firing, &notice()).await.unwrap();
    let failed = &site.in_state(State::Failed, 1).await[0];
    let error = failed.last_error.as_ref().unwrap();
    assert_eq!(error.class, "unreachable");
    assert!(error.message.contains("could not be reached"), "{}", error.message);
    assert!(!error.message.contains("secret-path"), "{}", error.message);
}

#[tokio::test]
async fn each_target_is_told_of_what_it_wants() {
    let all = |name: &str, more: Value| {
        let mut one = json!({ "name": name, "url": "http://127.0.0.1:9/" });
        one.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        one
    };
    let targets = targets(json!([
        all("all", json!({})),
        all("critical", json!({ "severity": "critical" })),
        all("latency", json!({ "rules": ["latency", "depth"] })),
        all("mail", json!({ "queues": ["mail"] })),
    ]));
    let targets = targets.unwrap();
    let wanted = |alert: Notice| targets.that_want(&alert).collect::<Vec<_>>().join(" ");
    assert_eq!(wanted(notice()), "all critical latency mail");
    let warning = NotifySeverity::Warning;
    assert_eq!(wanted(Notice { severity: warning, ..notice() }), "all latency mail");
    assert_eq!(wanted(Notice { rule: "dead".into(), ..notice() }), "all critical mail");
    assert_eq!(wanted(Notice { queue: Some("pdf".into()), ..notice() }), "all critical latency");
    assert_eq!(wanted(Notice { queue: None, ..notice() }), "all critical latency");
}

#[tokio::test]
async fn secrets_stand_nowhere_but_in_the_settings() {
    let (port, _told) = mail_server().await;
    let smtp = format!("smtp://ops:{PASSWORD}@127.0.0.1:{port}");
    let email = json!({ "to": ["ops@example.com"], "from": "d@example.com", "smtp": smtp });
    let slack = "http://127.0.0.1:9/T0/secret-path";
    let of = json!([
        { "name": "ops", "url": "http://127.0.0.1:9/secret-path", "secret": SECRET },
        { "name": "chat", "slack": slack },
        { "name": "mail", "email": email },
    ]);
    let all: Vec<_> = of.as_array().unwrap().iter().cloned().map(settings).collect();
    let targets = targets(of).unwrap();
    let client = Client::connect("sqlite::memory:").await.unwrap();
    notify(&client, &targets, Event::Firing, &notice()).await.unwrap();
    let mut shown = format!("{all:?} {targets:?}");
    for job in client.jobs(Filter::default()).await.unwrap().jobs {
        let whole = client.job(job.id).await.unwrap().unwrap();
        shown += &serde_json::to_string(&whole).unwrap();
    }
    assert!(shown.contains("\"target\":\"mail\""), "{shown}");
    for secret in ["MfKQ9r8G", PASSWORD, "secret-path"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
}

#[test]
fn a_secret_may_come_from_the_environment() {
    let env = |name: &str| (name == "OPS_SECRET").then(|| SECRET.to_owned());
    let of = json!({ "name": "ops", "url": "http://127.0.0.1:9/", "secret_env": "OPS_SECRET" });
    assert!(NotifyTargets::new("", &[settings(of.clone())], &env, &no_command()).is_ok());
    let error = targets(json!([of])).unwrap_err().to_string();
    assert!(error.contains("variable OPS_SECRET, which is not set"), "{error}");
}

#[test]
fn says_what_is_wrong_and_never_repeats_a_secret() {
    let url = "http://127.0.0.1:9/";
    let mail = |of: Value| json!({ "name": "m", "email": of });
    for (of, says) in [
        (json!({ "name": "", "url": url }), "needs a name"),
        (json!({ "name": "a b", "url": url }), "needs a name"),
        (json!({ "name": "a" }), "one of url, slack, command and email"),
        (json!({ "name": "a", "url": url, "slack": url }), "one of url, slack"),
        (json!({ "name": "a", "url": "sesame" }), "write url = \"https://"),
        (json!({ "name": "a", "url": url, "secret": "sesame" }), "whsec_$(openssl"),
        (json!({ "name": "a", "slack": url, "secret": SECRET }), "for a url only"),
        (json!({ "name": "a", "slack": url, "slack_env": "X" }), "slack and slack_env"),
        (json!({ "name": "a", "command": [] }), "names no program"),
        (json!({ "name": "a", "url": url, "rules": ["latncy"] }), "there are depth, rate"),
        (json!({ "name": "a", "url": url, "queues": ["a b"] }), "is no queue"),
        (mail(json!({ "to": [], "from": "a@b.c", "smtp": "smtp://h" })), "1 to 20 addresses"),
        (mail(json!({ "to": ["x"], "from": "a@b.c", "smtp": "smtp://h" })), "no address"),
        (mail(json!({ "to": ["a@b.c"], "from": "a@b.c" })), "no email.smtp"),
        (mail(json!({ "to": ["a@b.c"], "from": "a@b.c", "smtp": "u:sesame@h" })), "no server"),
    ] {
        let error = targets(json!([of])).expect_err(says).to_string();
        assert!(error.contains(says) && !error.contains("sesame"), "{says}: {error}");
    }
    let twice = targets(json!([{ "name": "a", "url": url }, { "name": "a", "url": url }]));
    assert!(twice.unwrap_err().to_string().contains("stands there twice"));
}
