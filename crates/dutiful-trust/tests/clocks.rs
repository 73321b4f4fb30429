//! T10 and T11: programs whose clocks are wrong, drift or jump do their work as the server's clock
//! says; and a server whose clock is set back goes on working.

mod faked;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use dutiful::{Client, Context, HandlerError, Job, Retry, Timestamp, Worker};
use dutiful_fixture::{Options, Postgres};
use faked::{Goes, Program};
use serde::{Deserialize, Serialize};
use tokio_postgres::{NoTls, Row};

type Trouble = Box<dyn std::error::Error + Send + Sync>;
type Kept = Result<(), Trouble>;

/// Long jobs outlive two of these.
const LEASE: Duration = Duration::from_millis(2500);
const LONG: Duration = Duration::from_millis(5200);
const SHORT: Duration = Duration::from_millis(5);
/// A failed attempt is repeated after this.
const RETRY_WAIT: Duration = Duration::from_millis(1200);
/// Programs enqueue for this long, with this pause.
const ENQUEUES: Duration = Duration::from_secs(4);
const PAUSE: Duration = Duration::from_millis(60);
/// A job starts at most so late.
const LATE_MAX_US: i64 = 1_000_000;
/// After a jump of the server's clock work goes on within this.
const GOES_ON: Duration = Duration::from_secs(5);
/// So many jobs move the place where claims begin to read.
const BULK: u64 = 10_000;
/// Anything that takes longer never happens.
const NEVER: Duration = Duration::from_secs(60);
/// What is looked for is looked for so often.
const LOOK: Duration = Duration::from_millis(20);

/// What jobs did by the server's clock, in µs.
const TABLES: &str = "
    CREATE FUNCTION now_us() RETURNS bigint LANGUAGE sql VOLATILE
        AS 'SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint';
    CREATE TABLE clock (name text, ahead_us bigint);
    CREATE TABLE put (n text PRIMARY KEY, fails boolean, due_from bigint, due_by bigint);
    CREATE TABLE ran (n text, attempt int, started bigint DEFAULT now_us(), ended bigint);
    CREATE TABLE ready (name text);
    CREATE TABLE stop (name text);";

#[derive(Serialize, Deserialize)]
struct Errand {
    n: String,
    ms: u64,
    fails: bool,
}

impl Job for Errand {
    const TYPE: &'static str = "errand";
    const RETRY: Retry = Retry::fixed(RETRY_WAIT);
}

/// Writes down when it ran, by the server's clock.
async fn run(job: Errand, cx: Context<tokio_postgres::Client>) -> dutiful::Result<()> {
    let attempt = cx.attempt() as i32;
    cx.app.execute("INSERT INTO ran VALUES ($1, $2)", &[&job.n, &attempt]).await?;
    tokio::time::sleep(Duration::from_millis(job.ms)).await;
    let end = "UPDATE ran SET ended = now_us() WHERE n = $1 AND attempt = $2";
    cx.app.execute(end, &[&job.n, &attempt]).await?;
    match job.fails && attempt == 1 {
        true => Err(HandlerError::msg("it fails at first")),
        false => Ok(()),
    }
}

async fn connect(url: &str) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
    let (raw, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    // The user has the name of the schema.
    raw.batch_execute("SET search_path = public").await?;
    Ok(raw)
}

async fn number(raw: &tokio_postgres::Client, sql: &str) -> Result<i64, tokio_postgres::Error> {
    raw.query_one(sql, &[]).await.map(|row| row.get(0))
}

/// Returns the time that this program's wall shows, in µs.
fn wall_us() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.as_micros() as i64
}

/// When a job is due.
#[derive(Clone, Copy)]
enum Due {
    Now,
    After(Duration),
    At(Duration),
}

/// Enqueues jobs that are due now or later, and writes down when that is.
struct Producer<'a> {
    name: &'a str,
    client: &'a Client,
    raw: &'a tokio_postgres::Client,
}

impl Producer<'_> {
    async fn put_all(&self) -> Kept {
        self.put(0, LONG, false, Due::Now).await?;
        let began = Instant::now();
        for i in 1.. {
            if began.elapsed() > ENQUEUES {
                break;
            }
            let wait = Duration::from_millis(300 + 97 * (i % 20));
            match i % 4 {
                0 => self.put(i, SHORT, false, Due::Now).await?,
                1 => self.put(i, SHORT, false, Due::After(wait)).await?,
                2 => self.put(i, SHORT, false, Due::At(wait)).await?,
                _ => self.put(i, SHORT, true, Due::Now).await?,
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    async fn put(&self, i: u64, takes: Duration, fails: bool, due: Due) -> Kept {
        let n = format!("{}-{i}", self.name);
        let job = Errand { n: n.clone(), ms: takes.as_millis() as u64, fails };
        let before = number(self.raw, "SELECT now_us()").await?;
        let enqueue = self.client.enqueue(job);
        let (enqueue, from, by) = match due {
            Due::Now => (enqueue, 0, 0),
            Due::After(wait) => (enqueue.delay(wait), wait.as_micros(), wait.as_micros()),
            Due::At(wait) => {
                let at = Timestamp::from_us(before).plus(wait);
                (enqueue.at_time(at), wait.as_micros(), wait.as_micros())
            }
        };
        enqueue.await?;
        let after = match due {
            Due::At(_) => before,
            _ => number(self.raw, "SELECT now_us()").await?,
        };
        let (from, by) = (before + from as i64, after + by as i64);
        let put = "INSERT INTO put VALUES ($1, $2, $3, $4)";
        self.raw.execute(put, &[&n, &fails, &from, &by]).await?;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by another test as a program of its own"]
async fn program() -> Kept {
    let Some((name, url)) = faked::given() else { return Ok(()) };
    let client = Client::connect(&url).await?;
    let (raw, app) = (connect(&url).await?, connect(&url).await?);
    let worker = Worker::new(&client, app).job(run).queue("default", 20).lease(LEASE);
    let worker = worker.name(&name);
    let handle = worker.handle();
    let worker = tokio::spawn(worker.run());
    Producer { name: &name, client: &client, raw: &raw }.put_all().await?;
    let ahead = "INSERT INTO clock VALUES ($1, $2::bigint - now_us())";
    raw.execute(ahead, &[&name, &wall_us()]).await?;
    raw.execute("INSERT INTO ready VALUES ($1)", &[&name]).await?;
    let stop = format!("SELECT count(*) FROM stop WHERE name IN ('{name}', 'all')");
    while number(&raw, &stop).await? == 0 {
        tokio::time::sleep(LOOK).await;
    }
    handle.stop();
    let report = worker.await??;
    assert_eq!(report.lost, 0, "leases lost");
    Ok(client.close().await?)
}

/// A server, its tables, and a session of the test's own.
struct Lab {
    /// Held until the end.
    _server: Postgres,
    url: String,
    raw: tokio_postgres::Client,
    began: i64,
}

impl Lab {
    async fn new(options: &Options) -> Result<Self, Trouble> {
        let server = Postgres::start(options)?;
        let url = server.create_database("clocks")?;
        Client::builder().migrate(true).connect(&url).await?.close().await?;
        let raw = connect(&url).await?;
        raw.batch_execute(TABLES).await?;
        let began = number(&raw, "SELECT now_us()").await?;
        Ok(Self { _server: server, url, raw, began })
    }

    async fn until(&self, what: &str, sql: &str) -> Kept {
        let began = Instant::now();
        while number(&self.raw, sql).await? == 0 {
            assert!(began.elapsed() < NEVER, "never happened: {what}");
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    async fn until_ready(&self, programs: usize) -> Kept {
        let sql = format!("SELECT (count(*) >= {programs})::int::bigint FROM ready");
        self.until("the programs have enqueued", &sql).await
    }

    async fn until_all_ran(&self) -> Kept {
        let sql = "SELECT (NOT EXISTS (SELECT FROM put WHERE NOT EXISTS (SELECT FROM ran
            WHERE ran.n = put.n AND ended IS NOT NULL AND attempt = 1 + fails::int)))::int::bigint";
        self.until("all jobs have run", sql).await
    }

    /// Asks whoever leads to end, so that another leads.
    async fn stop_the_leader(&self) -> Kept {
        let sql = "INSERT INTO stop SELECT w.name FROM dutiful.leader l
            JOIN dutiful.worker w ON w.id = l.worker";
        assert_eq!(self.raw.execute(sql, &[]).await?, 1, "somebody leads");
        Ok(())
    }

    async fn stop_all(&self) -> Kept {
        Ok(self.raw.batch_execute("INSERT INTO stop VALUES ('all')").await?)
    }

    /// Each job ran once, in time by the server's clock, and no stored time is from another clock.
    async fn judge(&self) -> Result<String, Trouble> {
        let sql = "SELECT n, fails, due_from, due_by, array_agg(attempt ORDER BY started),
                array_agg(started ORDER BY started), array_agg(ended ORDER BY started)
            FROM put LEFT JOIN ran USING (n) GROUP BY 1, 2, 3, 4";
        let jobs = self.raw.query(sql, &[]).await?;
        let mut late: Vec<i64> = jobs.iter().flat_map(judge_job).collect();
        late.sort_unstable();
        let (usual, worst) = (late[late.len() / 2], late[late.len() - 1]);
        let said = format!("{} jobs, late by {usual} µs, at worst {worst} µs", jobs.len());
        assert!(worst <= LATE_MAX_US, "{said}");
        let stalled = "SELECT count(*) FROM dutiful.attempt WHERE outcome = 6";
        assert_eq!(number(&self.raw, stalled).await?, 0, "false rescues");
        let kept = "SELECT count(*) FROM put p WHERE NOT EXISTS (SELECT FROM dutiful.jobs j
            WHERE j.payload::json ->> 'n' = p.n AND j.state = 'completed')";
        assert_eq!(number(&self.raw, kept).await?, 0, "jobs that are not on record");
        self.judge_times().await?;
        Ok(said)
    }

    async fn judge_times(&self) -> Kept {
        let times = "SELECT created_at AS t, 'job' AS place FROM dutiful.job
            UNION ALL SELECT started_at, 'done' FROM dutiful.done
            UNION ALL SELECT finished_at, 'done' FROM dutiful.done
            UNION ALL SELECT started_at, 'attempt' FROM dutiful.attempt
            UNION ALL SELECT finished_at, 'attempt' FROM dutiful.attempt
            UNION ALL SELECT started_at, 'worker' FROM dutiful.worker
            UNION ALL SELECT beat_at, 'worker' FROM dutiful.worker
            UNION ALL SELECT stopped_at, 'worker' FROM dutiful.worker";
        let sql = format!(
            "SELECT t::text || ' in ' || place FROM ({times}) x
             WHERE NOT extract(epoch FROM t) * 1000000 BETWEEN {} AND now_us()",
            self.began
        );
        let wrong = self.raw.query(&sql, &[]).await?;
        let wrong: Vec<String> = wrong.iter().map(|row| row.get(0)).collect();
        assert_eq!(wrong, Vec::<String>::new(), "times of another clock");
        Ok(())
    }
}

/// Checks one job; returns how late each of its attempts was.
fn judge_job(job: &Row) -> Vec<i64> {
    let (n, fails): (String, bool) = (job.get(0), job.get(1));
    let (from, by): (i64, i64) = (job.get(2), job.get(3));
    let attempts: Vec<i32> = job.get(4);
    let (started, ended): (Vec<i64>, Vec<i64>) = (job.get(5), job.get(6));
    let wanted: &[i32] = if fails { &[1, 2] } else { &[1] };
    assert_eq!(attempts, wanted, "job {n} ran as often");
    assert!(started[0] >= from, "job {n} started {} µs early", from - started[0]);
    let mut late = vec![started[0] - by];
    if fails {
        let again = ended[0] + RETRY_WAIT.as_micros() as i64;
        assert!(started[1] >= again, "job {n} was repeated {} µs early", again - started[1]);
        late.push(started[1] - again);
    }
    late
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_with_wrong_clocks_work_as_the_servers_clock_says() -> Kept {
    let lab = Lab::new(&Options::default()).await?;
    let start = |name: &str, goes| Program::start("program", name, &Goes::So(goes), &lab.url);
    let programs = [start("ahead", "+10m"), start("behind", "-10m"), start("drifting", "+0 x1.5")];
    lab.until_ready(programs.len()).await?;
    lab.stop_the_leader().await?;
    lab.until_all_ran().await?;
    lab.stop_all().await?;
    programs.into_iter().for_each(Program::end);
    println!("{}", lab.judge().await?);
    for (name, low, high) in [("ahead", 590, 610), ("behind", -610, -590), ("drifting", 2, 30)] {
        let sql = format!("SELECT ahead_us / 1000000 FROM clock WHERE name = '{name}'");
        let ahead = number(&lab.raw, &sql).await?;
        assert!((low..=high).contains(&ahead), "the clock of {name} is {ahead} s ahead");
    }
    Ok(())
}

/// Says what time a clock shows, in a file that programs of any user may read.
struct Hands {
    folder: tempfile::TempDir,
}

impl Hands {
    fn new() -> Result<Self, Trouble> {
        let hands = Self { folder: tempfile::tempdir()? };
        std::fs::set_permissions(hands.folder.path(), Permissions::from_mode(0o755))?;
        hands.turn(0)?;
        Ok(hands)
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("clock")
    }

    /// Sets the clock so many seconds ahead of the machine's.
    fn turn(&self, ahead: i64) -> Kept {
        let new = self.folder.path().join("new");
        std::fs::write(&new, format!("{ahead:+}\n"))?;
        // Nobody reads half of it.
        Ok(std::fs::rename(new, self.file())?)
    }

    /// Sets the clock to a time.
    fn turn_to(&self, time: &str) -> Kept {
        let us = time.parse::<Timestamp>()?.us() - wall_us();
        self.turn(us / 1_000_000)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_whose_clock_jumps_works_on_as_the_servers_clock_says() -> Kept {
    let (lab, hands) = (Lab::new(&Options::default()).await?, Hands::new()?);
    // The first ids are from here: later ones never go back.
    hands.turn_to("1970-01-01T00:00:01Z")?;
    let program = Program::start("program", "jumping", &Goes::AsSaid(&hands.file()), &lab.url);
    lab.until("it works", "SELECT count(*) FROM ran").await?;
    let jump = ENQUEUES / 8;
    for ahead in [0, 86_400, -3600] {
        hands.turn(ahead)?;
        tokio::time::sleep(jump).await;
    }
    for time in ["2038-01-19T03:14:07Z", "9999-12-31T23:59:59Z", "1970-01-01T00:00:01Z"] {
        hands.turn_to(time)?;
        tokio::time::sleep(jump).await;
    }
    hands.turn(0)?;
    lab.until_ready(1).await?;
    lab.until_all_ran().await?;
    lab.stop_all().await?;
    program.end();
    println!("{}", lab.judge().await?);
    for (year, like) in [(1970, "00000000%"), (2038, "01f%"), (9999, "e677d%")] {
        let sql = format!("SELECT count(*) FROM dutiful.job WHERE id::text LIKE '{like}'");
        assert!(number(&lab.raw, &sql).await? > 0, "no id was made in {year}");
    }
    Ok(())
}

/// A job that only moves the place where claims begin to read.
#[derive(Serialize, Deserialize)]
struct Bulk {}

impl Job for Bulk {
    const TYPE: &'static str = "bulk";
}

async fn do_nothing(_: Bulk, _: Context<tokio_postgres::Client>) -> dutiful::Result<()> {
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_goes_on_when_the_servers_clock_is_set_back() -> Kept {
    let hands = Hands::new()?;
    let environment = faked::environment(&Goes::AsSaid(&hands.file()));
    let lab = Lab::new(&Options { environment, ..Options::default() }).await?;
    let client = Client::connect(&lab.url).await?;
    let worker = Worker::new(&client, connect(&lab.url).await?).job(run).job(do_nothing);
    let worker = worker.queue("default", 20).lease(LEASE);
    let handle = worker.handle();
    let worker = tokio::spawn(worker.run());
    client.enqueue_all((0..BULK).map(|_| Bulk {})).await?;
    lab.until("all of it is done", "SELECT (count(*) = 0)::int::bigint FROM dutiful.ready").await?;
    let producer = Producer { name: "one", client: &client, raw: &lab.raw };
    producer.put(0, LONG, false, Due::Now).await?;
    lab.until("the long job runs", "SELECT count(*) FROM ran").await?;
    hands.turn(-3600)?;
    let sql = format!("SELECT (now_us() < {})::int::bigint", lab.began);
    lab.until("the server's clock is back", &sql).await?;
    let back = Instant::now();
    for i in 1..=20 {
        producer.put(i, SHORT, false, Due::Now).await?;
    }
    producer.put(21, SHORT, false, Due::After(RETRY_WAIT)).await?;
    lab.until("a short job runs", "SELECT count(*) FROM ran WHERE n <> 'one-0'").await?;
    let first = back.elapsed();
    lab.until("they all run", "SELECT (count(*) = 21)::int::bigint FROM ran WHERE n <> 'one-0'")
        .await?;
    println!("the first job ran {first:?} after the jump, the last one {:?}", back.elapsed());
    assert!(first < GOES_ON, "work stood still for {first:?}");
    assert!(back.elapsed() < GOES_ON + RETRY_WAIT, "the last one ran {:?} late", back.elapsed());
    lab.until_all_ran().await?;
    handle.stop();
    let report = worker.await??;
    assert_eq!((report.lost, report.completed), (0, BULK + 22));
    let stalled = "SELECT count(*) FROM dutiful.attempt WHERE outcome = 6";
    assert_eq!(number(&lab.raw, stalled).await?, 0, "false rescues");
    Ok(client.close().await?)
}
