//! Handlers that are registered over HTTP at work: jobs are sent to real services while
//! registrations come, change and go.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, Uri};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dutiful::{Client, Name, Report, Retry, TypeDefaults, Worker, WorkerHandle, WorkerState};
use dutiful_server::push::{Push, Resolved, Resolver};
use dutiful_server::{Options, registered};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;

use crate::{PATIENCE, Site, file, postgres, until};

const KEYS: [&str; 2] = ["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "C2FVsBQIhrscChlQIMV+b5sSYspob7oD"];

/// The grace of the workers; what runs on after a change is not bound by it.
const GRACE: Duration = Duration::from_millis(100);

/// A request, as a service saw it.
#[derive(Clone, Debug)]
struct Seen {
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

/// A service on this machine that answers when it is let.
struct Service {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    answers: Arc<Semaphore>,
    serving: JoinHandle<()>,
}

impl Service {
    /// Returns one that answers so many requests.
    async fn answering(answers: usize) -> Self {
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let answers = Arc::new(Semaphore::new(answers));
        let (log, may) = (seen.clone(), answers.clone());
        let handle = async move |uri: Uri, headers: HeaderMap, body: Bytes| {
            log.lock().unwrap().push(Seen { path: uri.path().to_owned(), headers, body });
            may.acquire().await.unwrap().forget();
        };
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let router = Router::new().fallback(handle);
        let serving = tokio::spawn(async move { axum::serve(socket, router).await.unwrap() });
        Self { address, seen, answers, serving }
    }

    fn url(&self) -> String {
        format!("http://{}/jobs", self.address)
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// What runs registered handlers beside a server.
struct Running {
    over: oneshot::Sender<()>,
    running: JoinHandle<Report>,
    told: Arc<Mutex<Vec<String>>>,
}

impl Running {
    fn of(site: &Site, options: &Options, name: &'static str) -> Self {
        Self::beside(site, options, name, WorkerHandle::default())
    }

    fn beside(site: &Site, options: &Options, name: &'static str, beside: WorkerHandle) -> Self {
        let client = site.client.clone();
        let make = move || Worker::new(&client, ()).name(name).grace(GRACE);
        Self::made(site, options, beside, make)
    }

    fn made(
        site: &Site,
        options: &Options,
        beside: WorkerHandle,
        make: impl Fn() -> Worker<()> + Send + Sync + 'static,
    ) -> Self {
        let told: Arc<Mutex<Vec<String>>> = Arc::default();
        let heard = told.clone();
        let registered = registered(&site.client, &options.handlers, make)
            .beside(beside)
            .on_trouble(move |sentence| heard.lock().unwrap().push(sentence.to_owned()));
        let (over, until_over) = oneshot::channel::<()>();
        let running = tokio::spawn(registered.run_until(async {
            let _ = until_over.await;
        }));
        Self { over, running, told }
    }

    fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }

    async fn end(self) -> Report {
        drop(self.over);
        tokio::time::timeout(PATIENCE, self.running).await.expect("it ends in time").unwrap()
    }
}

/// Services of the tests are on this machine.
fn private() -> Options {
    let mut options = Options::default();
    options.handlers.private = true;
    options
}

async fn register(site: &Site, name: &str, body: Value) -> Value {
    let answer = site.put(&format!("/v1/handlers/{name}"), body).await;
    assert!([200, 201].contains(&answer.code), "{answer:?}");
    answer.json()
}

async fn until_state(site: &Site, id: &str, state: &str) {
    until(async || (site.show(id).await["state"] == state).then_some(())).await;
}

/// Waits until nobody works on this type any more.
async fn until_nobody_runs(site: &Site, job_type: &str) {
    let runs = async || {
        let workers = site.client.workers().await.unwrap();
        let live = workers.iter().filter(|one| one.state != WorkerState::Stopped);
        live.flat_map(|one| &one.types).any(|one| one.as_str() == job_type)
    };
    until(async || (!runs().await).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_sent_signed_and_with_the_settings_that_were_registered() {
    let (url, _dir) = file();
    for url in [url, postgres().await] {
        let options = private();
        let site = Site::told(&url, tempfile::tempdir().unwrap(), options.clone()).await;
        let running = Running::of(&site, &options, "one");
        let service = Service::answering(usize::MAX >> 4).await;
        let secrets = KEYS.map(|key| format!("whsec_{key}"));
        let body = json!({ "url": service.url(), "secrets": secrets, "queue": "mail",
            "max_attempts": 7, "priority": 3, "timeout_s": 60 });
        register(&site, "t", body).await;
        // At once: the answer came when the settings were known.
        let id = site.job(json!({ "type": "t", "payload": { "n": 1 } })).await;
        let job = site.show(&id).await;
        assert_eq!(
            (&job["queue"], &job["priority"], &job["max_attempts"], &job["timeout_ms"]),
            (&json!("mail"), &json!(3), &json!(7), &json!(60_000)),
            "{job}"
        );
        until_state(&site, &id, "completed").await;
        // Without secrets in a change those that are there go on signing. A change that comes soon
        // after another is taken up a while later, and answered then: the worker before does not
        // serve the queue that this job goes to.
        register(&site, "t", json!({ "url": service.url() })).await;
        let id = site.job(json!({ "type": "t", "payload": { "n": 1 } })).await;
        assert_eq!(site.show(&id).await["queue"], "default");
        until_state(&site, &id, "completed").await;
        let seen = service.seen();
        assert_eq!(seen.len(), 2, "{seen:?}");
        for one in &seen {
            assert_eq!((one.path.as_str(), &one.body[..]), ("/jobs", &br#"{"n":1}"#[..]));
            assert_eq!(one.headers["webhook-signature"], signatures(one));
        }
        assert_eq!(running.end().await.completed, 2, "what all of its workers did");
        site.close().await;
    }
}

fn signatures(seen: &Seen) -> String {
    let text = |name: &str| seen.headers[name].to_str().unwrap();
    let wanted = KEYS.map(|key| {
        let mut mac = Hmac::<Sha256>::new_from_slice(&STANDARD.decode(key).unwrap()).unwrap();
        mac.update(format!("{}.{}.", text("webhook-id"), text("webhook-timestamp")).as_bytes());
        mac.update(&seen.body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    });
    wanted.join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_sends_new_jobs_elsewhere_while_a_running_one_ends_where_it_is() {
    let options = private();
    let site = Site::file_told(options.clone()).await;
    let running = Running::of(&site, &options, "one");
    let (old, new) = (Service::answering(0).await, Service::answering(usize::MAX >> 4).await);
    register(&site, "t", json!({ "url": old.url() })).await;
    let first = site.job(json!({ "type": "t" })).await;
    until(async || (!old.seen().is_empty()).then_some(())).await;
    register(&site, "t", json!({ "url": new.url() })).await;
    // The worker before may claim until the next one is there.
    let mut ids = vec![first];
    while new.seen().is_empty() {
        ids.push(site.job(json!({ "type": "t" })).await);
        assert!(ids.len() < 300, "the new one never got a job");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // What the old one has does not end; so all others have, and no request is under way to it.
    let settled = async || {
        let (mut active, mut completed) = (0, 0);
        for id in &ids {
            match site.show(id).await["state"].as_str() {
                Some("active") => active += 1,
                Some("completed") => completed += 1,
                _ => {}
            }
        }
        (active + completed == ids.len() && active == old.seen().len()).then_some(active)
    };
    let sent_to_old = until(settled).await;
    // More at once than one worker has slots for: another that still claims would get some.
    let more = (0..40).map(|_| site.job(json!({ "type": "t" })));
    for id in futures_util::future::join_all(more).await {
        until_state(&site, &id, "completed").await;
    }
    assert_eq!(old.seen().len(), sent_to_old, "the old one gets nothing more");
    tokio::time::sleep(GRACE * 3).await;
    assert_eq!(site.show(&ids[0]).await["state"], "active", "what runs there goes on");
    old.answers.add_permits(sent_to_old);
    for id in &ids {
        until_state(&site, id, "completed").await;
        assert_eq!(site.show(id).await["attempt"], 1, "it was sent once");
    }
    assert_eq!(running.end().await.released, 0);
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_a_handler_that_is_struck_wait_until_it_is_there_again() {
    let options = private();
    let site = Site::file_told(options.clone()).await;
    let running = Running::of(&site, &options, "one");
    let service = Service::answering(usize::MAX >> 4).await;
    for name in ["t", "other"] {
        register(&site, name, json!({ "url": service.url() })).await;
        let id = site.job(json!({ "type": name })).await;
        until_state(&site, &id, "completed").await;
    }
    assert_eq!(site.delete("/v1/handlers/t").await.code, 204);
    until_nobody_runs(&site, "t").await;
    let waiting = site.job(json!({ "type": "t" })).await;
    // One that came later is done, and so the other was passed over.
    let later = site.job(json!({ "type": "other" })).await;
    until_state(&site, &later, "completed").await;
    assert_eq!(site.show(&waiting).await["state"], "pending");
    assert_eq!(site.delete("/v1/handlers/other").await.code, 204);
    until_nobody_runs(&site, "other").await;
    register(&site, "t", json!({ "url": service.url() })).await;
    until_state(&site, &waiting, "completed").await;
    assert_eq!(running.end().await.completed, 4);
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_starts_again_runs_what_was_registered_before() {
    let (url, _dir) = file();
    let service = Service::answering(usize::MAX >> 4).await;
    let options = private();
    let site = Site::told(&url, tempfile::tempdir().unwrap(), options.clone()).await;
    register(&site, "t", json!({ "url": service.url() })).await;
    let id = site.job(json!({ "type": "t" })).await;
    site.close().await;
    assert!(service.seen().is_empty(), "nobody ran it there");
    let site = Site::told(&url, tempfile::tempdir().unwrap(), options.clone()).await;
    let running = Running::of(&site, &options, "one");
    until_state(&site, &id, "completed").await;
    running.end().await;
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_server_of_a_store_takes_a_change_up() {
    let options = [private(), private()];
    let one = Site::told(&postgres().await, tempfile::tempdir().unwrap(), options[0].clone()).await;
    let two = Site::told(&one.url, tempfile::tempdir().unwrap(), options[1].clone()).await;
    let running = [Running::of(&one, &options[0], "one"), Running::of(&two, &options[1], "two")];
    let service = Service::answering(usize::MAX >> 4).await;
    register(&one, "t", json!({ "url": service.url() })).await;
    let run_it = async || {
        let workers = one.client.workers().await.unwrap();
        let live = workers.iter().filter(|worker| worker.state != WorkerState::Stopped);
        let of_type = live.filter(|worker| worker.types.iter().any(|one| one.as_str() == "t"));
        let mut names: Vec<_> = of_type.map(|worker| worker.name.clone()).collect();
        names.sort();
        (names == ["one", "two"]).then_some(())
    };
    until(run_it).await;
    let ids: Vec<_> =
        futures_util::future::join_all((0..20).map(|_| two.job(json!({ "type": "t" })))).await;
    for id in ids {
        until_state(&two, &id, "completed").await;
    }
    assert_eq!(service.seen().len(), 20);
    assert_eq!(two.delete("/v1/handlers/t").await.code, 204);
    until_nobody_runs(&one, "t").await;
    let mut completed = 0;
    for one in running {
        completed += one.end().await.completed;
    }
    assert_eq!(completed, 20);
    two.close().await;
    one.close().await;
}

/// Says that every host is this machine.
struct Loopback;

impl Resolver for Loopback {
    fn resolve(&self, _: &str) -> Resolved {
        Box::pin(async { Ok(vec![IpAddr::from([127, 0, 0, 1])]) })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_leads_to_a_private_address_is_not_called_unless_the_operator_says_so() {
    for private in [false, true] {
        let mut options = Options::default();
        options.handlers.private = private;
        options.handlers.push = Arc::new(Push::new().resolver(Loopback));
        let site = Site::file_told(options.clone()).await;
        let running = Running::of(&site, &options, "one");
        let service = Service::answering(usize::MAX >> 4).await;
        let url = format!("http://rebind.example:{}/jobs", service.address.port());
        register(&site, "t", json!({ "url": url, "max_attempts": 1 })).await;
        let id = site.job(json!({ "type": "t" })).await;
        until_state(&site, &id, if private { "completed" } else { "dead" }).await;
        let job = site.show(&id).await;
        if !private {
            assert_eq!(job["last_error"]["class"], "address", "{job}");
        }
        assert_eq!(service.seen().len(), usize::from(private));
        running.end().await;
        site.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_cannot_run_here_is_told_once_and_holds_up_no_other() {
    let options = private();
    let allowing = Site::file_told(options).await;
    let service = Service::answering(usize::MAX >> 4).await;
    let path = format!("{}?hidden", service.url());
    register(&allowing, "private", json!({ "url": path })).await;
    let mut options = Options::default();
    options.handlers.push = Arc::new(Push::new().resolver(Loopback));
    let site = Site::told(&allowing.url, tempfile::tempdir().unwrap(), options.clone()).await;
    let running = Running::of(&site, &options, "one");
    until(async || (running.told().len() == 1).then_some(())).await;
    let waiting = site.job(json!({ "type": "private" })).await;
    // Looked at again and again, as others come and go.
    for name in ["a", "b"] {
        register(&site, name, json!({ "url": "http://a.example/", "max_attempts": 1 })).await;
        let id = site.job(json!({ "type": name })).await;
        until_state(&site, &id, "dead").await;
    }
    let told = running.told();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("handler of private") && !told[0].contains("hidden"), "{told:?}");
    let all = site.get("/v1/handlers").await.json()["handlers"].clone();
    let trouble: Vec<_> =
        all.as_array().unwrap().iter().map(|one| one["trouble"].clone()).collect();
    assert!(trouble[..2].iter().all(Value::is_null), "{all}");
    assert!(trouble[2].as_str().unwrap().contains("private_handlers = true"), "{all}");
    assert_eq!(site.show(&waiting).await["state"], "pending");
    running.end().await;
    site.close().await;
    allowing.close().await;
}

/// Makes workers that cannot start while they are to fail.
#[derive(Clone, Default)]
struct Moody {
    fails: Arc<AtomicBool>,
    made: Arc<Mutex<Vec<WorkerHandle>>>,
}

impl Moody {
    fn worker(&self, client: &Client) -> Worker<()> {
        let fails = self.fails.load(Ordering::SeqCst);
        let worker = Worker::new(client, ()).grace(GRACE);
        let worker = if fails { worker.lease(Duration::ZERO) } else { worker };
        self.made.lock().unwrap().push(worker.handle());
        worker
    }

    fn made(&self) -> usize {
        self.made.lock().unwrap().len()
    }

    fn is_to_fail(&self, fails: bool) {
        self.fails.store(fails, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_cannot_start_is_told_of_once_until_one_could() {
    let (options, moody) = (private(), Moody::default());
    let site = Site::file_told(options.clone()).await;
    let service = Service::answering(usize::MAX >> 4).await;
    // Before anybody runs it here, so that the answer does not wait for that.
    register(&site, "a", json!({ "url": service.url() })).await;
    moody.is_to_fail(true);
    let (client, mood) = (site.client.clone(), moody.clone());
    let running =
        Running::made(&site, &options, WorkerHandle::default(), move || mood.worker(&client));
    until(async || (moody.made() >= 3).then_some(())).await;
    let told = running.told();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("do not run") && told[0].contains("a lease of 0"), "{told:?}");
    moody.is_to_fail(false);
    // The one that runs the second took the place of one that was found alive.
    for name in ["a", "b"] {
        register(&site, name, json!({ "url": service.url() })).await;
        let id = site.job(json!({ "type": name })).await;
        until_state(&site, &id, "completed").await;
    }
    assert_eq!(running.told().len(), 1);
    moody.is_to_fail(true);
    moody.made.lock().unwrap().last().unwrap().stop();
    until(async || (running.told().len() == 2).then_some(())).await;
    assert_eq!(running.told()[0], running.told()[1]);
    assert_eq!(running.end().await.completed, 2);
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn they_are_quiet_while_the_worker_beside_them_is() {
    let options = private();
    let site = Site::file_told(options.clone()).await;
    let beside = WorkerHandle::default();
    beside.quiet();
    let running = Running::beside(&site, &options, "one", beside.clone());
    let service = Service::answering(usize::MAX >> 4).await;
    register(&site, "t", json!({ "url": service.url() })).await;
    let is_quiet = async |quiet: bool| {
        let workers = site.client.workers().await.unwrap();
        workers.iter().any(|one| one.name == "one" && one.quiet == quiet).then_some(())
    };
    until(async || is_quiet(true).await).await;
    let id = site.job(json!({ "type": "t" })).await;
    // Another worker of the queue is done with what came later, so this one had its chance.
    let other = Worker::new(&site.client, ()).grace(GRACE);
    let defaults = TypeDefaults::unknown(Name::new("type", "other").unwrap());
    let other = other.raw(defaults, Retry::default(), async |_, _| Ok(()));
    let (other, working) = (other.handle(), tokio::spawn(other.run()));
    let later = site.job(json!({ "type": "other" })).await;
    until_state(&site, &later, "completed").await;
    other.stop();
    working.await.unwrap().unwrap();
    assert!(service.seen().is_empty());
    assert_eq!(site.show(&id).await["state"], "pending");
    beside.resume();
    until_state(&site, &id, "completed").await;
    beside.quiet();
    until(async || is_quiet(true).await).await;
    running.end().await;
    site.close().await;
}
