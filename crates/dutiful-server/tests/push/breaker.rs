//! A target that fails again and again: its jobs wait, uncharged, until one of them goes through.

use std::sync::atomic::{AtomicU16, Ordering};

use dutiful::{Delivery, State};
use dutiful_server::push::BreakerState;
use dutiful_server::{Listening, Monitor, Served};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;

const PAUSE: Duration = Duration::from_millis(300);

/// A service whose status can be changed, and a push whose breakers are heard.
struct Lab {
    status: Arc<AtomicU16>,
    service: Service,
    push: Push,
    told: Arc<Mutex<Vec<BreakerState>>>,
}

impl Lab {
    async fn new(failures: u32, pause: Duration) -> Self {
        let status = Arc::new(AtomicU16::new(500));
        let now = status.clone();
        let service =
            Service::answering(move |_| answer(now.load(Ordering::SeqCst), &[], "")).await;
        let told: Arc<Mutex<Vec<BreakerState>>> = Arc::default();
        let heard = told.clone();
        let push = Push::new().breaker(failures, pause);
        let push = push.on_change(move |change| heard.lock().unwrap().push(change.state));
        Self { status, service, push, told }
    }

    async fn site(&self) -> Site {
        Site::working(target(&self.push, &self.service.url())).await
    }

    fn told(&self) -> Vec<BreakerState> {
        self.told.lock().unwrap().clone()
    }
}

#[tokio::test]
async fn jobs_wait_uncharged_until_one_goes_through() {
    let lab = Lab::new(2, PAUSE).await;
    let mut site = lab.site().await;
    for _ in 0..2 {
        assert_eq!(site.run("1").await.1.class(), "http_500");
    }
    assert_eq!(lab.told(), [BreakerState::Open]);
    let (job, came) = site.run("1").await;
    assert!(matches!(came, Came::Snoozed(wait) if wait <= 2 * PAUSE), "{came:?}");
    assert_eq!((job.failures, lab.service.seen().len()), (0, 2), "nothing was sent");
    lab.status.store(200, Ordering::SeqCst);
    let came = loop {
        match site.next().await {
            Came::Snoozed(_) => {}
            came => break came,
        }
    };
    assert_eq!(came, Came::Completed);
    let job = site.look(job.id).await;
    assert_eq!((job.state, job.failures), (State::Completed, 0));
    let all = [BreakerState::Open, BreakerState::HalfOpen, BreakerState::Closed];
    assert_eq!(lab.told(), all);
    assert_eq!(site.run("1").await.1, Came::Completed);
}

#[tokio::test]
async fn an_answer_that_blames_the_job_does_not_count_against_the_target() {
    let lab = Lab::new(1, LONG).await;
    let mut site = lab.site().await;
    for status in [404, 409, 429, 302, 200] {
        lab.status.store(status, Ordering::SeqCst);
        site.run("1").await;
    }
    assert_eq!((lab.service.seen().len(), lab.told()), (5, vec![]));
}

#[tokio::test]
async fn other_targets_go_on() {
    let (bad, good) = (Lab::new(1, LONG).await, Service::answering(|_| "").await);
    let mut site = bad.site().await;
    site.run("1").await;
    assert!(matches!(site.run("1").await.1, Came::Snoozed(_)));
    let mut other = Site::working(target(&bad.push, &good.url())).await;
    assert_eq!(other.run("1").await.1, Came::Completed);
}

#[tokio::test]
async fn a_job_that_runs_at_most_once_is_sent_all_the_same() {
    let lab = Lab::new(1, LONG).await;
    let mut site = lab.site().await;
    site.run("1").await;
    let once = site.job("1").delivery(Delivery::AtMostOnce).await.unwrap();
    site.next().await;
    assert_eq!(lab.service.seen().len(), 2);
    assert_eq!(site.look(once.id).await.attempt, 1);
}

#[tokio::test]
async fn metrics_show_where_each_breaker_stands() {
    let lab = Lab::new(1, LONG).await;
    let mut site = lab.site().await;
    let monitor = Arc::new(Monitor::new(Served::default()));
    monitor.watch_push(&lab.push);
    let listening = Listening::on("127.0.0.1:0").await.unwrap();
    let address = listening.address();
    let serving = listening.serve(monitor, site.client.clone(), std::future::pending());
    let serving = tokio::spawn(serving);
    let row = format!("dutiful_push_breaker{{target=\"http://{}\"}}", lab.service.address);
    for value in [0, 2] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).await.unwrap();
        assert!(page.contains(&format!("{row} {value}\n")), "{page}");
        assert!(!page.contains("via=test"), "{page}");
        site.run("1").await;
    }
    serving.abort();
}
