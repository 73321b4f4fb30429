//! Looks at a Postgres store with many jobs in it: what the pages hold, and how they are found.
#![cfg(feature = "postgres")]

use std::collections::HashSet;

use dutiful::{AttemptOutcome, Client, Filter, JobId, Name, State};
use dutiful_fixture::{Postgres, Version};
use tokio_postgres::NoTls;

/// Every job is of one of eight sorts by the last digit of its number: ready, scheduled, failed,
/// set aside, active, stalled, done and dead.
const PLACES: &str = include_str!("postgres_look.sql");
const LIST: &str = include_str!("../src/store/postgres/sql/list.sql");

struct Lab {
    schema: String,
    client: Client,
    raw: tokio_postgres::Client,
}

impl Lab {
    async fn with(jobs: usize) -> Self {
        let server = std::env::var("DUTIFUL_TEST_POSTGRES").unwrap_or_else(|_| {
            let server = Postgres::shared(Version::System).expect("a private server starts");
            server.url("postgres")
        });
        let schema = format!("t{}", JobId::new().to_string().replace('-', ""));
        let url = format!("{server}?schema={schema}");
        let client = Client::builder().migrate(true).connect(&url).await.expect("the store opens");
        let (raw, connection) = tokio_postgres::connect(&server, NoTls).await.expect("connected");
        tokio::spawn(connection);
        let fill =
            PLACES.replace("dutiful.", &format!("{schema}.")).replace("@n", &jobs.to_string());
        raw.batch_execute(&fill).await.expect("the jobs are there");
        Self { schema, client, raw }
    }

    async fn all(&self, filter: Filter) -> Vec<(JobId, State)> {
        let (mut seen, mut before) = (Vec::new(), None);
        loop {
            let page = self.client.jobs(Filter { before, ..filter.clone() }).await.expect("a page");
            seen.extend(page.jobs.iter().map(|job| (job.id, job.state)));
            before = page.next;
            if before.is_none() {
                return seen;
            }
        }
    }

    async fn close(self) {
        let drop = format!("DROP SCHEMA {} CASCADE", self.schema);
        self.raw.batch_execute(&drop).await.expect("it goes");
    }
}

#[tokio::test]
async fn pages_hold_every_job_once_and_in_its_state() {
    let lab = Lab::with(80).await;
    for limit in [7, 10, 1000] {
        let limit = Some(limit);
        let all = lab.all(Filter { limit, ..Filter::default() }).await;
        assert_eq!(all.len(), 80);
        assert!(all.windows(2).all(|two| two[0].0 > two[1].0), "newest first, each once");
        for state in State::ALL {
            let expected: Vec<_> = all.iter().filter(|one| one.1 == state).copied().collect();
            let n = match state {
                State::Pending => 20,
                State::Cancelled => 0,
                _ => 10,
            };
            assert_eq!(expected.len(), n, "{state}");
            let state = Some(state);
            assert_eq!(lab.all(Filter { state, limit, ..Filter::default() }).await, expected);
        }
        assert_eq!(lab.all(Filter { live: true, limit, ..Filter::default() }).await.len(), 60);
        let tag = Some("b, c".to_owned());
        assert_eq!(lab.all(Filter { tag, limit, ..Filter::default() }).await, all, "a search");
    }
    lab.close().await;
}

#[tokio::test]
async fn a_search_examines_a_bounded_number_and_goes_on_from_its_cursor() {
    let lab = Lab::with(50_500).await;
    let queue = Some(Name::new("queue", "rare").expect("a name"));
    let filter = Filter { queue, ..Filter::default() };
    let first = lab.client.jobs(filter.clone()).await.expect("a page");
    assert!(first.jobs.is_empty() && first.next.is_some(), "{} found", first.jobs.len());
    let rest = lab.client.jobs(Filter { before: first.next, ..filter }).await.expect("a page");
    assert_eq!((rest.jobs.len(), rest.next), (1, None));
    assert_eq!(rest.jobs[0].queue.as_str(), "rare");
    let error = Some("OOPS".to_owned());
    let failed = Filter { error, limit: Some(3), ..Filter::default() };
    let page = lab.client.jobs(failed).await.expect("a page");
    assert!(page.jobs.len() == 3 && page.jobs.iter().all(|job| job.last_error.is_some()));
    lab.close().await;
}

#[tokio::test]
async fn a_job_is_shown_with_its_attempts_lines_and_progress() {
    let lab = Lab::with(16).await;
    let of = async |state| lab.all(Filter { state: Some(state), ..Filter::default() }).await[0].0;
    let dead = lab.client.job(of(State::Dead).await).await.unwrap().expect("it is there");
    let log: Vec<_> = dead.attempts.iter().map(|one| (one.number, one.outcome)).collect();
    assert_eq!(log, [(1, AttemptOutcome::Failed), (2, AttemptOutcome::Dead)]);
    assert_eq!(dead.attempts[0].worker_name.as_deref(), Some("host:7"));
    assert_eq!(dead.attempts[1].worker_name.as_deref(), Some("host:7"));
    let lines: Vec<_> = dead.attempts[0].log.iter().map(|one| one.text.as_str()).collect();
    assert_eq!(lines, ["one", "two"]);
    assert_eq!(dead.payload.as_ref().map(|raw| raw.get()), Some("[1.10]"));
    assert_eq!(dead.progress.as_ref().map(|one| one.percent), Some(50));
    assert!(dead.checkpoint.is_some() && dead.tags == ["a", "b, c"]);
    let done = lab.client.job(of(State::Completed).await).await.unwrap().expect("it is there");
    assert_eq!(done.result.as_ref().map(|raw| raw.get()), Some("7"));
    assert_eq!(done.attempts[0].outcome, AttemptOutcome::Completed);
    let asked = vec![dead.id, JobId::new(), done.id, dead.id];
    let found = lab.client.store().result(asked).await.expect("answered");
    let states: Vec<_> = found.iter().map(|one| one.as_ref().map(|one| one.state)).collect();
    let (dead, done) = (Some(State::Dead), Some(State::Completed));
    assert_eq!(states, [dead, None, done, dead]);
    assert_eq!(found[0].as_ref().and_then(|one| one.error.as_ref()).unwrap().class, "Oops");
    lab.close().await;
}

#[tokio::test]
async fn the_counts_are_those_of_the_places_and_the_tally() {
    let lab = Lab::with(80).await;
    let stats = lab.client.stats().await.expect("the numbers are read");
    let t = stats.totals;
    assert_eq!((t.pending, t.scheduled, t.failed, t.active, t.dead), (20, 10, 10, 20, 10));
    assert_eq!((t.completed, t.stalled_total), (12, 5), "from totals, tally and batches");
    assert_eq!(t.cancelled, 1, "of another queue in the same batch");
    let says = |word: &str| stats.warnings.iter().any(|text| text.contains(word));
    assert!(says("10 jobs are stalled") && says("no worker leads") && says("10 dead jobs"));
    assert!(says("serves type task"), "{:?}", stats.warnings);
    let rare = stats.queues.iter().find(|one| one.queue.as_str() == "rare").expect("it is there");
    assert!(rare.paused && rare.oldest_pending_s > 3000.0, "{rare:?}");
    lab.close().await;
}

#[tokio::test]
async fn pages_walk_the_indexes_of_their_own_places() {
    let lab = Lab::with(200_000).await;
    let mut plans = 0;
    for section in LIST.split("-- :").skip(1).filter(|section| !section.starts_with("record")) {
        let (state, sql) = section.split_once('\n').expect("a statement");
        let sql = sql
            .replace("dutiful.", &format!("{}.", lab.schema))
            .replace("$1::uuid", "'0190aaaa-0000-7000-8000-000000009000'::uuid")
            .replace("$2::bigint", "1001")
            .replace("$3::timestamptz", "now()");
        let rows = lab.raw.query(&format!("EXPLAIN {sql}"), &[]).await.expect("it is planned");
        let plan: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        let plan = plan.join("\n");
        assert!(!plan.contains("Seq Scan") && plan.contains("Index"), "{state}\n{plan}");
        let places = ["ready", "scheduled", "lease", "done_other", "dead", "job_other"];
        let walked: HashSet<_> =
            places.iter().filter(|place| plan.contains(&format!(" on {place}"))).copied().collect();
        let expected: &[&str] = match state.split([' ', ':']).next().unwrap_or_default() {
            "any" => &["job_other"],
            "live" => &["ready", "scheduled", "lease"],
            "pending" => &["ready", "scheduled"],
            "scheduled" | "failed" => &["scheduled"],
            "active" | "stalled" => &["lease"],
            "completed" | "cancelled" => &["done_other"],
            _ => &["dead"],
        };
        assert_eq!(walked, expected.iter().copied().collect(), "{state}\n{plan}");
        plans += 1;
    }
    assert_eq!(plans, 10);
    lab.close().await;
}
