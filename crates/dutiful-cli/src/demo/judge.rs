//! The judge: compares the ledgers, kept outside the store, with what the store and the world show.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::Path;

use dutiful::{Client, Filter, JobId, JobInfo, PAGE_MAX, State};
use rusqlite::Connection;

use super::home::Home;
use super::jobs::QUEUES;
use super::{ledger, pictures, shop};
use crate::failure::Failure;

/// What became of everything.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// What people see: one row per kind of effect.
    pub(crate) rows: Vec<Row>,
    /// Jobs whose enqueue was acknowledged.
    pub(crate) enqueued: u64,
    pub(crate) completed: u64,
    /// Errors and timeouts; each was followed by another attempt or by the job's death.
    pub(crate) failed_attempts: u64,
    /// Leases that ended without a word from their worker.
    pub(crate) stalled: u64,
    /// What the dead letter queue holds, with the last error.
    pub(crate) dead: Vec<String>,
    /// Neither completed nor dead.
    pub(crate) unfinished: u64,
}

/// One kind of effect, expected and found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) what: &'static str,
    pub(crate) expected: u64,
    pub(crate) found: u64,
    /// Expected, and not there.
    pub(crate) lost: u64,
    /// There more often than once, or never asked for.
    pub(crate) double: u64,
    /// Attempts beyond the first; harmless, since their effects are one.
    pub(crate) repeats: u64,
}

impl Verdict {
    pub(crate) fn lost(&self) -> u64 {
        self.rows.iter().map(|row| row.lost).sum()
    }

    pub(crate) fn double_effects(&self) -> u64 {
        self.rows.iter().map(|row| row.double).sum()
    }

    /// True when every promise was kept.
    pub(crate) fn is_clean(&self) -> bool {
        self.lost() == 0 && self.double_effects() == 0 && self.unfinished == 0
    }
}

/// An order as the shop's ledger has it.
#[derive(Debug)]
struct Booked {
    number: u64,
    product: u64,
    quantity: u64,
    /// In the order of [`QUEUES`]; the report only with the last order.
    jobs: Vec<JobId>,
}

/// Effects of one kind: how often for each order.
type Effects = HashMap<u64, u64>;

/// Reads everything anew, when no worker runs any more.
pub(crate) async fn judge(client: &Client, home: &Home, orders: u64) -> Result<Verdict, Failure> {
    let booked = booked(&home.shop_ledger()).map_err(|error| failed("the shop's ledger", error))?;
    let jobs = all_jobs(client).await?;
    let repeats = repeats(home).map_err(|error| failed("the workers' ledgers", error))?;
    let db = shop::connect(&home.database()).map_err(|error| failed("the shop", error))?;
    let stock = stock_changes(&db, &booked, orders).map_err(|error| failed("the shop", error))?;
    let mails = mails(home).map_err(|error| failed("the mail ledger", error))?;
    let small = small_pictures(home).map_err(|error| failed("the pictures", error))?;
    let report = reports(home, booked.len()).map_err(|error| failed("the report", error))?;

    let mut verdict = count(&booked, &jobs);
    verdict.stalled = client.stats().await?.totals.stalled_total;
    verdict.rows.push(orders_row(&db, &booked).map_err(|error| failed("the shop", error))?);
    for (kind, effects) in [mails, stock.effects, small, report].into_iter().enumerate() {
        let mut row = effects_row(kind, &booked, &jobs, &effects);
        row.repeats = repeats.get(QUEUES[kind].0).copied().unwrap_or_default();
        verdict.rows.push(row);
    }
    let level = &mut verdict.rows[2];
    level.lost += stock.too_much;
    level.double += stock.too_little;
    Ok(verdict)
}

fn failed(what: &str, error: impl std::fmt::Display) -> Failure {
    Failure::failed(format!("read {what}: {error}"))
}

/// Reads `order NUMBER PRODUCT QUANTITY JOB…`.
fn booked(path: &Path) -> io::Result<Vec<Booked>> {
    let broken = || io::Error::new(io::ErrorKind::InvalidData, "a line is not an order");
    let number = |word: &String| word.parse::<u64>().map_err(|_| broken());
    let order = |words: Vec<String>| match words.as_slice() {
        [kind, order, product, quantity, jobs @ ..] if kind == "order" && jobs.len() >= 3 => {
            let jobs = jobs.iter().map(|id| id.parse().map_err(|_| broken()));
            Ok(Booked {
                number: number(order)?,
                product: number(product)?,
                quantity: number(quantity)?,
                jobs: jobs.collect::<Result<_, _>>()?,
            })
        }
        _ => Err(broken()),
    };
    ledger::read(path)?.into_iter().map(order).collect()
}

async fn all_jobs(client: &Client) -> Result<HashMap<JobId, JobInfo>, Failure> {
    let (mut jobs, mut before) = (HashMap::new(), None);
    loop {
        let filter = Filter { before, limit: Some(PAGE_MAX), ..Filter::default() };
        let page = client.jobs(filter).await?;
        jobs.extend(page.jobs.into_iter().map(|job| (job.id, job)));
        before = page.next;
        if before.is_none() {
            return Ok(jobs);
        }
    }
}

/// Counts the jobs that were acknowledged, by what became of them.
fn count(booked: &[Booked], jobs: &HashMap<JobId, JobInfo>) -> Verdict {
    let mut verdict = Verdict::default();
    for (order, id) in booked.iter().flat_map(|b| b.jobs.iter().map(move |id| (b.number, id))) {
        verdict.enqueued += 1;
        let Some(job) = jobs.get(id) else { continue };
        verdict.failed_attempts += u64::from(job.failures);
        match job.state {
            State::Completed => verdict.completed += 1,
            State::Dead => {
                let why = job.last_error.as_ref().map_or("no error", |e| e.message.as_str());
                verdict.dead.push(format!("{} of order {order}: {why}", job.job_type));
            }
            State::Cancelled => {}
            _ => verdict.unfinished += 1,
        }
    }
    verdict
}

/// Compares the orders in the database with those that were acknowledged.
fn orders_row(db: &Connection, booked: &[Booked]) -> rusqlite::Result<Row> {
    let mut statement = db.prepare(include_str!("sql/list_orders.sql"))?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let found: HashSet<(u64, u64, u64)> = rows.collect::<Result<_, _>>()?;
    let expected: HashSet<_> = booked.iter().map(|b| (b.number, b.product, b.quantity)).collect();
    Ok(Row {
        what: "orders booked",
        expected: booked.len() as u64,
        found: found.len() as u64,
        lost: expected.difference(&found).count() as u64,
        double: found.difference(&expected).count() as u64,
        repeats: 0,
    })
}

/// Compares one kind of effect with the jobs that should have had it.
fn effects_row(
    kind: usize,
    booked: &[Booked],
    jobs: &HashMap<JobId, JobInfo>,
    effects: &Effects,
) -> Row {
    let mut row = Row { what: QUEUES[kind].1, ..Row::default() };
    let mut asked_for = HashSet::new();
    for (order, id) in booked.iter().filter_map(|b| Some((b.number, b.jobs.get(kind)?))) {
        asked_for.insert(order);
        let times = effects.get(&order).copied().unwrap_or_default();
        let state = jobs.get(id).map(|job| job.state);
        // A dead job owes nothing, and an unfinished one is counted as that.
        let owed = matches!(state, None | Some(State::Completed | State::Cancelled));
        row.expected += u64::from(state != Some(State::Dead));
        row.found += u64::from(times > 0);
        row.lost += u64::from(owed && times == 0);
        row.double += times.saturating_sub(1);
    }
    let strangers = effects.iter().filter(|(order, _)| !asked_for.contains(order));
    row.double += strangers.map(|(_, times)| times).sum::<u64>();
    row
}

/// What the shelf says.
struct Stock {
    effects: Effects,
    /// Pieces that stand on the shelf and should be gone, and the other way round.
    too_much: u64,
    too_little: u64,
}

/// Reads how often stock was taken for each order, and whether the shelf agrees piece by piece.
fn stock_changes(db: &Connection, booked: &[Booked], orders: u64) -> rusqlite::Result<Stock> {
    let mut statement = db.prepare(include_str!("sql/list_stock_changes.sql"))?;
    let changes: Vec<(u64, u64, u64)> = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_, _>>()?;
    let taken: HashMap<_, _> = changes.iter().map(|(order, _, pieces)| (*order, *pieces)).collect();
    let effects: Effects = changes.iter().map(|(order, times, _)| (*order, *times)).collect();
    let mut statement = db.prepare(include_str!("sql/list_stock.sql"))?;
    let left: HashMap<u64, i64> =
        statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
    let (mut too_much, mut too_little) = (0, 0);
    for product in 0..shop::products() {
        let of_product = booked.iter().filter(|b| b.product == product);
        let gone: u64 = of_product.filter_map(|b| taken.get(&b.number)).sum();
        let expected = shop::stock_at_opening(orders).saturating_sub(gone).cast_signed();
        let off = left.get(&product).copied().unwrap_or_default() - expected;
        too_much += off.max(0).unsigned_abs();
        too_little += off.min(0).unsigned_abs();
    }
    for b in booked {
        let times = effects.get(&b.number).copied().unwrap_or_default();
        let pieces = taken.get(&b.number).copied().unwrap_or_default();
        too_much += (b.quantity * times).saturating_sub(pieces);
        too_little += pieces.saturating_sub(b.quantity * times);
    }
    Ok(Stock { effects, too_much, too_little })
}

/// Reads how many mails were delivered for each order: those with a key not seen before.
fn mails(home: &Home) -> io::Result<Effects> {
    let mut effects = Effects::new();
    for words in ledger::read(&home.mail_ledger())? {
        if let [what, order, _key] = words.as_slice()
            && what == "delivered"
        {
            *effects.entry(order.parse().unwrap_or_default()).or_default() += 1;
        }
    }
    Ok(effects)
}

/// Reads which orders have a small picture. A file that is no picture counts as none.
fn small_pictures(home: &Home) -> io::Result<Effects> {
    let mut effects = Effects::new();
    for entry in home.pictures().read_dir()? {
        let path = entry?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        // A file with another name belongs to no order: order 0 does not exist.
        let order = stem.strip_prefix("order-").and_then(|n| n.parse().ok()).unwrap_or(0);
        if pictures::is_small_picture(&path) {
            *effects.entry(order).or_default() += 1;
        }
    }
    Ok(effects)
}

/// Reads the reports: each must have a line for every order below its head.
fn reports(home: &Home, orders: usize) -> io::Result<Effects> {
    let mut effects = Effects::new();
    for entry in home.reports().read_dir()? {
        let text = std::fs::read_to_string(entry?.path())?;
        if text.lines().count() == orders + 1 {
            *effects.entry(orders as u64).or_default() += 1;
        }
    }
    Ok(effects)
}

/// Counts the attempts beyond the first, by queue, from what the workers noted when they began.
fn repeats(home: &Home) -> io::Result<HashMap<String, u64>> {
    let mut seen = HashSet::new();
    let mut repeats = HashMap::new();
    for entry in home.ledgers().read_dir()? {
        for words in ledger::read(&entry?.path())? {
            if let [what, queue, _order, id, _attempt] = words.as_slice()
                && what == "start"
                && !seen.insert(id.clone())
            {
                *repeats.entry(queue.clone()).or_default() += 1;
            }
        }
    }
    Ok(repeats)
}

#[cfg(test)]
mod tests {
    use dutiful::Worker;
    use rusqlite::params;

    use super::*;
    use crate::demo::jobs::{MonthlyReport, ResizeImage, SendConfirmationEmail, UpdateInventory};
    use crate::demo::ledger::Ledger;
    use crate::demo::shop::Sale;

    const ORDERS: u64 = 2;

    /// Takes two orders and completes their jobs, none of which does anything.
    async fn shop_of_idlers(home: &Home) -> Client {
        let client = Client::connect(&home.store_url()).await.unwrap();
        shop::furnish(&home.database(), ORDERS).unwrap();
        let pictures = pictures::unpack(home).unwrap();
        let mut sale = Sale::begin(client.clone(), home, pictures, ORDERS).unwrap();
        while sale.placed() < ORDERS {
            sale.check().unwrap();
            tokio::task::yield_now().await;
        }
        Worker::new(&client, ())
            .job(async |_: SendConfirmationEmail, _| Ok(()))
            .job(async |_: UpdateInventory, _| Ok(()))
            .job(async |_: ResizeImage, _| Ok(()))
            .job(async |_: MonthlyReport, _| Ok(()))
            .until_empty(true)
            .run()
            .await
            .unwrap();
        client
    }

    /// Does once what the jobs of an order should have done.
    fn do_it(home: &Home, order: &Booked, key: &str) {
        let mails = Ledger::open(&home.mail_ledger()).unwrap();
        mails.note(format_args!("delivered {} {key}", order.number)).unwrap();
        let db = shop::connect(&home.database()).unwrap();
        let (number, pieces) = (order.number, order.quantity);
        db.execute(include_str!("sql/take_stock.sql"), params![order.product, pieces]).unwrap();
        db.execute(include_str!("sql/insert_stock_change.sql"), params![number, pieces]).unwrap();
        let (original, part) = (home.originals().join("tiles.png"), home.parts().join("part"));
        let small = home.pictures().join(format!("order-{number}.jpg"));
        pictures::shrink(&original, &part, &small).unwrap();
    }

    #[tokio::test]
    async fn sees_what_was_lost_and_what_was_done_twice() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::make(Some(&dir.path().join("home"))).unwrap();
        let client = shop_of_idlers(&home).await;
        let numbers = |verdict: &Verdict| {
            let rows = verdict.rows.iter().map(|row| (row.lost, row.double));
            (verdict.is_clean(), rows.collect::<Vec<_>>())
        };

        let verdict = judge(&client, &home, ORDERS).await.unwrap();
        assert_eq!((verdict.enqueued, verdict.completed), (7, 7));
        assert_eq!(numbers(&verdict), (false, vec![(0, 0), (2, 0), (2, 0), (2, 0), (1, 0)]));

        let booked = booked(&home.shop_ledger()).unwrap();
        booked.iter().for_each(|order| do_it(&home, order, "first"));
        std::fs::write(home.reports().join("orders.csv"), "head\n1\n2\n").unwrap();
        let verdict = judge(&client, &home, ORDERS).await.unwrap();
        assert_eq!(numbers(&verdict), (true, vec![(0, 0); 5]));

        do_it(&home, &booked[0], "second");
        std::fs::copy(home.pictures().join("order-1.jpg"), home.pictures().join("order-9.jpg"))
            .unwrap();
        std::fs::write(home.reports().join("again.csv"), "head\n1\n2\n").unwrap();
        let verdict = judge(&client, &home, ORDERS).await.unwrap();
        assert_eq!(numbers(&verdict), (false, vec![(0, 0), (0, 1), (0, 1), (0, 1), (0, 1)]));

        let db = shop::connect(&home.database()).unwrap();
        db.execute(include_str!("sql/take_stock.sql"), params![0, 5]).unwrap();
        let insert = include_str!("sql/insert_order.sql");
        db.execute(insert, params![77, 0, 1, "nobody"]).unwrap();
        let verdict = judge(&client, &home, ORDERS).await.unwrap();
        assert_eq!(numbers(&verdict), (false, vec![(0, 1), (0, 1), (0, 6), (0, 1), (0, 1)]));
    }
}
