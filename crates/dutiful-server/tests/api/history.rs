//! The history: minutes, hours and days pass on a clock that the tests move, on a file and on
//! Postgres.

use std::time::SystemTime;

use dutiful::store::KeptRange;
use dutiful::{Clock, Name, Timestamp};
use dutiful_server::Options;
use serde_json::{Value, json};

use crate::{Site, file, postgres, until};

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// A server on whose clock the time is what the test says.
struct Told {
    site: Site,
    clock: Clock,
}

impl Told {
    /// Starts a server at this time; returns when it has looked for the first time.
    async fn start(url: &str, dir: tempfile::TempDir, at: i64) -> Self {
        let clock = Clock::manual(Timestamp::from_us(at * 1_000_000));
        let mut options = Options::default();
        options.clock = clock.clone();
        let told = Self { site: Site::told(url, dir, options).await, clock };
        told.looked(at).await;
        told
    }

    /// Another one on the same store; it looks only when its time has come.
    async fn beside(&self, at: i64) -> Self {
        let clock = Clock::manual(Timestamp::from_us(at * 1_000_000));
        let mut options = Options::default();
        options.clock = clock.clone();
        let dir = tempfile::tempdir().unwrap();
        Self { site: Site::told(&self.site.url, dir, options).await, clock }
    }

    /// Lets it be this time; returns when somebody has looked then.
    async fn pass(&self, at: i64) {
        self.clock.set(Timestamp::from_us(at * 1_000_000));
        self.looked(at).await;
    }

    async fn looked(&self, at: i64) {
        until(async || {
            let last = kept(&self.site, "last", "last~").await.pop()?;
            (last["at"].as_i64() >= Some(at)).then_some(())
        })
        .await;
        // What ended then is kept right after.
        until(async || {
            let newest = kept(&self.site, "m:", "m;").await.pop();
            let last = kept(&self.site, "last", "last~").await.pop()?;
            let over = last["over"].as_array()?.iter().rfind(|one| one["step_s"] == 60);
            let is_kept = over.is_none_or(|over| newest.as_ref() == Some(over));
            is_kept.then_some(())
        })
        .await;
    }

    async fn points(&self, span: &str) -> Vec<Value> {
        let answer = self.site.get(&format!("/v1/history?span={span}")).await;
        assert_eq!(answer.code, 200, "{answer:?}");
        answer.json()["points"].as_array().unwrap().clone()
    }

    /// Returns the point that began at this time.
    async fn point(&self, span: &str, at: i64) -> Option<Value> {
        let at = Timestamp::from_us(at * 1_000_000).to_string();
        self.points(span).await.into_iter().find(|point| point["at"] == json!(at))
    }
}

/// What the store keeps under `from <= key < to`, the oldest first.
async fn kept(site: &Site, from: &str, to: &str) -> Vec<Value> {
    let shelf = Name::new("shelf", "history").unwrap();
    let (from, to) = (from.to_owned(), Some(to.to_owned()));
    let range = KeptRange { shelf, from, to, newest_first: false, limit: 10_000 };
    let found = site.client.store().kept(range).await.unwrap();
    found.iter().map(|item| serde_json::from_slice(&item.value).unwrap()).collect()
}

/// Returns the begin of the hour so many hours ago.
fn hours_ago(hours: i64) -> i64 {
    let now = Timestamp::from_system(SystemTime::now()).unwrap().us() / 1_000_000;
    now - now.rem_euclid(HOUR) - hours * HOUR
}

fn sum(points: &[Value], name: &str) -> u64 {
    points.iter().map(|point| point[name].as_u64().unwrap()).sum()
}

/// Makes of each promise a test on each store, with a server whose clock stands at a full hour.
macro_rules! over_time {
    ($($promise:ident from $hours:literal hours ago),* $(,)?) => {
        $(mod $promise {
            #[tokio::test(flavor = "multi_thread")]
            async fn file() {
                let ((url, dir), begin) = (super::file(), super::hours_ago($hours));
                super::$promise(super::Told::start(&url, dir, begin).await, begin).await;
            }
            #[tokio::test(flavor = "multi_thread")]
            async fn postgres() {
                let (url, begin) = (super::postgres().await, super::hours_ago($hours));
                let dir = tempfile::tempdir().unwrap();
                super::$promise(super::Told::start(&url, dir, begin).await, begin).await;
            }
        })*
    };
}

over_time! {
    each_minute_says_what_happened_in_it from 2 hours ago,
    another_server_goes_on_without_a_hole_and_a_long_silence_is_a_gap from 3 hours ago,
    minutes_become_hours_and_hours_days from 50 hours ago,
    two_servers_count_each_job_once from 2 hours ago,
    many_queues_stay_bounded from 2 hours ago,
    what_cannot_be_asked_for_is_refused from 2 hours ago,
}

async fn each_minute_says_what_happened_in_it(told: Told, begin: i64) {
    let site = &told.site;
    let worker = site.worker(&["default"]).await;
    assert!(told.points("hour").await.is_empty(), "nothing is known yet, and that is no zero");
    for _ in 0..10 {
        site.job(json!({ "type": "task" })).await;
    }
    site.job(json!({ "type": "task", "queue": "mail" })).await;
    told.pass(begin + MINUTE).await;
    let first = told.point("day", begin).await.unwrap();
    assert_eq!((&first["enqueued"], &first["pending"]), (&json!(11), &json!(11)), "{first}");
    assert_eq!((&first["completed"], &first["ran_p50_ms"]), (&json!(0), &Value::Null), "{first}");
    assert_eq!(first["over"], json!(true));
    for _ in 0..10 {
        let fence = site.claim(&worker).await["fence"].clone();
        let end = json!({ "fence": fence, "outcome": "completed", "ran_ms": 0 });
        site.finish(&worker, end).await;
    }
    site.dead(&worker, "SmtpError", "mailbox full").await;
    told.pass(begin + 2 * MINUTE).await;
    let second = told.point("day", begin + MINUTE).await.unwrap();
    assert_eq!((&second["enqueued"], &second["completed"]), (&json!(1), &json!(10)), "{second}");
    assert_eq!((&second["failed"], &second["died"]), (&json!(1), &json!(1)), "{second}");
    assert_eq!((&second["pending"], &second["dead"]), (&json!(1), &json!(1)), "{second}");
    let ms = |name: &str| second[name].as_f64().unwrap();
    assert!((0.0..=1.0).contains(&ms("ran_p50_ms")), "most took no time: {second}");
    assert!(ms("ran_p95_ms") >= ms("ran_p50_ms"), "{second}");
    assert!(ms("waited_p95_ms") >= ms("waited_p50_ms"), "{second}");
    let mail = site.get("/v1/history?span=day&queue=mail").await.json();
    assert_eq!(
        (&mail["step_s"], sum(mail["points"].as_array().unwrap(), "enqueued")),
        (&json!(60), 1)
    );
    let nobody = site.get("/v1/history?span=day&queue=nobody").await.json();
    let nobody = nobody["points"].as_array().unwrap().clone();
    assert_eq!((nobody.len(), sum(&nobody, "enqueued")), (2, 0), "known, and nothing happened");
    told.site.close().await;
}

async fn another_server_goes_on_without_a_hole_and_a_long_silence_is_a_gap(told: Told, begin: i64) {
    told.site.job(json!({ "type": "task" })).await;
    told.pass(begin + MINUTE).await;
    // Its clock stands still from here on: as good as gone.
    told.site.job(json!({ "type": "task" })).await;
    let next = told.beside(begin + MINUTE).await;
    next.pass(begin + 4 * MINUTE).await;
    let points = next.points("day").await;
    assert_eq!(points.len(), 4, "three minutes are shared out: {points:?}");
    assert_eq!(sum(&points, "enqueued"), 2);
    for _ in 0..5 {
        next.site.job(json!({ "type": "task" })).await;
    }
    next.pass(begin + 40 * MINUTE).await;
    assert_eq!(next.points("day").await.len(), 4, "nobody saw these minutes");
    next.site.job(json!({ "type": "task" })).await;
    next.pass(begin + 41 * MINUTE).await;
    let after = next.point("day", begin + 40 * MINUTE).await.unwrap();
    assert_eq!(after["enqueued"], json!(1), "and what they had is not of the minute after");
    let hour = next.point("month", begin).await.unwrap();
    assert_eq!((&hour["over"], &hour["enqueued"]), (&json!(false), &json!(8)), "{hour}");
    next.pass(begin + HOUR).await;
    let hour = next.point("month", begin).await.unwrap();
    assert_eq!((&hour["over"], &hour["enqueued"]), (&json!(true), &json!(8)), "{hour}");
    assert_eq!(hour["pending"], json!(8));
    next.site.close().await;
    told.site.close().await;
}

async fn minutes_become_hours_and_hours_days(told: Told, begin: i64) {
    let mut all = 0;
    for step in 1..=48 {
        let jobs = vec![json!({ "type": "task" }); 1 + step % 3];
        all += jobs.len() as u64;
        told.site.post("/v1/jobs/batch", json!({ "jobs": jobs })).await;
        // The first hour minute by minute, then hour by hour.
        if step == 1 {
            for minute in 1..60 {
                told.pass(begin + minute * MINUTE).await;
            }
        }
        told.pass(begin + step as i64 * HOUR).await;
    }
    let hours = told.points("month").await;
    assert_eq!((hours.len(), sum(&hours, "enqueued")), (48, all), "{hours:?}");
    assert!(hours.iter().all(|hour| hour["over"] == json!(true)));
    assert_eq!(hours[0]["enqueued"], json!(2));
    assert_eq!(hours[47]["pending"], json!(all), "what stood there at the end of the hour");
    let days = told.points("year").await;
    assert!((2..=3).contains(&days.len()), "{days:?}");
    assert_eq!(sum(&days, "enqueued"), all);
    let midnight = begin + (DAY - begin.rem_euclid(DAY)) % DAY;
    let whole = told.point("year", midnight).await.unwrap();
    assert_eq!(whole["over"], json!(true));
    let of_day = |hour: &&Value| {
        let at: Timestamp = hour["at"].as_str().unwrap().parse().unwrap();
        (midnight..midnight + DAY).contains(&(at.us() / 1_000_000))
    };
    let of_day: Vec<_> = hours.iter().filter(of_day).cloned().collect();
    assert_eq!((of_day.len(), &json!(sum(&of_day, "enqueued"))), (24, &whole["enqueued"]));
    told.site.close().await;
}

async fn two_servers_count_each_job_once(told: Told, begin: i64) {
    let other = told.beside(begin).await;
    for minute in 1..=20 {
        let site = if minute % 2 == 0 { &told.site } else { &other.site };
        let jobs = vec![json!({ "type": "task" }); 7];
        site.post("/v1/jobs/batch", json!({ "jobs": jobs })).await;
        other.clock.set(Timestamp::from_us((begin + minute * MINUTE) * 1_000_000));
        told.pass(begin + minute * MINUTE).await;
    }
    // One goes, and the other goes on by itself.
    other.site.close().await;
    for minute in 21..=25 {
        told.site.job(json!({ "type": "task" })).await;
        told.pass(begin + minute * MINUTE).await;
    }
    let points = told.points("day").await;
    assert_eq!((points.len(), sum(&points, "enqueued")), (25, 20 * 7 + 5), "{points:?}");
    assert!(points[..20].iter().all(|point| point["enqueued"] == json!(7)), "{points:?}");
    told.site.close().await;
}

async fn many_queues_stay_bounded(told: Told, begin: i64) {
    let queue = |n: usize| json!({ "type": "task", "queue": format!("tenant-{n:03}") });
    let mut jobs: Vec<_> = (0..150).map(queue).collect();
    jobs.extend(vec![json!({ "type": "task", "queue": "busy" }); 50]);
    told.site.post("/v1/jobs/batch", json!({ "jobs": jobs })).await;
    told.pass(begin + MINUTE).await;
    let points = kept(&told.site, "m:", "m;").await;
    let queues = points[0]["queues"].as_object().unwrap();
    assert_eq!(queues.len(), 101, "a hundred, and the rest as one");
    assert_eq!(queues["busy"]["enqueued"], json!(50), "the busiest is by itself");
    assert_eq!(queues["other"]["enqueued"], json!(51));
    let point = told.point("day", begin).await.unwrap();
    assert_eq!((&point["enqueued"], &point["pending"]), (&json!(200), &json!(200)));
    told.site.close().await;
}

async fn what_cannot_be_asked_for_is_refused(told: Told, _: i64) {
    for query in ["span=week", "span=", "span=hour&queue=a%20b", "span=hour&since=0", "queue="] {
        let refused = told.site.get(&format!("/v1/history?{query}")).await;
        refused.problem(422, "invalid");
    }
    assert_eq!(told.site.get("/v1/history").await.json(), json!({ "step_s": 60, "points": [] }));
    told.site.close().await;
}
