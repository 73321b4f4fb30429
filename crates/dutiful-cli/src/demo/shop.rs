//! The shop: products on a shelf, and orders that commit together with their jobs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use dutiful::{Client, JobId};
use rusqlite::{Connection, TransactionBehavior, params};

use super::home::Home;
use super::jobs::{MonthlyReport, ResizeImage, SendConfirmationEmail, UpdateInventory};
use super::ledger::Ledger;
use crate::failure::Failure;

/// The orders come in over this time, so that somebody can watch, but …
const OPENING: Duration = Duration::from_secs(6);
/// … never slower than one in this time.
const PACE_MAX: Duration = Duration::from_millis(30);
/// How long a connection of the shop waits for its turn to write.
const BUSY_MAX: Duration = Duration::from_secs(20);
/// Most pieces in one order.
const QUANTITY_MAX: u64 = 3;

/// The shelf: names and prices in cents.
const PRODUCTS: [(&str, u64); 5] = [
    ("Poster, small", 1200),
    ("Poster, large", 2900),
    ("Postcards, ten", 850),
    ("Calendar", 1990),
    ("Puzzle, 500 pieces", 2450),
];
const CUSTOMERS: [&str; 8] = ["ada", "ben", "chloe", "deniz", "emeka", "farah", "goran", "hana"];

/// An order, which follows from its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) number: u64,
    pub(crate) product: u64,
    pub(crate) quantity: u64,
}

impl Order {
    fn new(number: u64) -> Self {
        let product = number * 7 % PRODUCTS.len() as u64;
        Self { number, product, quantity: 1 + number * 5 % QUANTITY_MAX }
    }

    fn customer(self) -> String {
        let name = CUSTOMERS[(self.number % CUSTOMERS.len() as u64) as usize];
        format!("{name}.{}@example.com", self.number)
    }
}

/// Returns how many pieces of each product stand on the shelf in the morning.
pub(crate) fn stock_at_opening(orders: u64) -> u64 {
    orders * QUANTITY_MAX
}

/// Returns how many products there are; their ids count from 0.
pub(crate) fn products() -> u64 {
    PRODUCTS.len() as u64
}

/// Opens a connection of the shop's own to the file that the store lives in too.
pub(crate) fn connect(database: &Path) -> rusqlite::Result<Connection> {
    let db = Connection::open(database)?;
    db.busy_timeout(BUSY_MAX)?;
    Ok(db)
}

/// Puts the products on the shelf.
pub(crate) fn furnish(database: &Path, orders: u64) -> Result<(), Failure> {
    let fill = || -> rusqlite::Result<()> {
        let mut db = connect(database)?;
        let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        tx.execute_batch(include_str!("sql/schema.sql"))?;
        for (id, (name, cents)) in (0_u64..).zip(PRODUCTS) {
            let stock = stock_at_opening(orders);
            tx.execute(include_str!("sql/insert_product.sql"), params![id, name, cents, stock])?;
        }
        tx.commit()
    };
    fill().map_err(|error| Failure::failed(format!("furnish the shop: {error}")))
}

/// Orders coming in on a thread of their own; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Sale {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<(), Failure>>>,
}

#[derive(Debug, Default)]
struct Shared {
    placed: AtomicU64,
    stop: AtomicBool,
}

impl Sale {
    /// Opens the door.
    pub(crate) fn begin(
        client: Client,
        home: &Home,
        pictures: Vec<PathBuf>,
        orders: u64,
    ) -> Result<Self, Failure> {
        let failed = |error: &dyn std::fmt::Display| Failure::failed(format!("sell: {error}"));
        let db = connect(&home.database()).map_err(|error| failed(&error))?;
        let ledger = Ledger::open(&home.shop_ledger()).map_err(|error| failed(&error))?;
        let shared = Arc::new(Shared::default());
        let mut till = Till { client, db, ledger, pictures, orders };
        let seen = shared.clone();
        let thread = thread::Builder::new()
            .name("shop".into())
            .spawn(move || sell(&mut till, &seen))
            .map_err(|error| failed(&error))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Returns how many orders have committed.
    pub(crate) fn placed(&self) -> u64 {
        self.shared.placed.load(Ordering::Acquire)
    }

    /// Says why no more orders come, if they ended by an error.
    pub(crate) fn check(&mut self) -> Result<(), Failure> {
        let ended = self.thread.take_if(|thread| thread.is_finished());
        let Some(thread) = ended else { return Ok(()) };
        thread.join().unwrap_or_else(|_| Err(Failure::failed("sell: the shop's thread panicked")))
    }
}

impl Drop for Sale {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // It ends after the order at hand; the files must not vanish beneath it.
            let _ = thread.join();
        }
    }
}

/// What taking an order needs.
struct Till {
    client: Client,
    db: Connection,
    ledger: Ledger,
    pictures: Vec<PathBuf>,
    orders: u64,
}

fn sell(till: &mut Till, shared: &Shared) -> Result<(), Failure> {
    let (began, pace) = (Instant::now(), PACE_MAX.min(OPENING.div_f64(till.orders as f64)));
    for number in 1..=till.orders {
        let due = began + pace.mul_f64(number as f64);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if shared.stop.load(Ordering::Acquire) {
            return Ok(());
        }
        place(till, Order::new(number))
            .map_err(|error| error.reworded(|text| format!("take order {number}: {text}")))?;
        shared.placed.store(number, Ordering::Release);
    }
    Ok(())
}

/// Books one order and its jobs: all of it commits, or nothing. Acknowledged orders are noted.
fn place(till: &mut Till, order: Order) -> Result<(), Failure> {
    let sql = |error: rusqlite::Error| Failure::failed(error.to_string());
    let Order { number, product, quantity } = order;
    let to = order.customer();
    let subject = format!("Your order {number} has arrived");
    let picture = till.pictures[(number as usize - 1) % till.pictures.len()].clone();
    let client = &till.client;

    let tx = till.db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(sql)?;
    tx.execute(include_str!("sql/insert_order.sql"), params![number, product, quantity, to])
        .map_err(sql)?;
    let mail = SendConfirmationEmail { order: number, to, subject };
    let stock = UpdateInventory { order: number, product, quantity };
    let mut jobs = vec![
        client.enqueue(mail).within(&tx).now()?.id,
        client.enqueue(stock).within(&tx).now()?.id,
        client.enqueue(ResizeImage { order: number, picture }).within(&tx).now()?.id,
    ];
    if number == till.orders {
        jobs.push(client.enqueue(MonthlyReport { orders: number }).within(&tx).now()?.id);
    }
    tx.commit().map_err(sql)?;

    let ids: Vec<_> = jobs.iter().map(JobId::to_string).collect();
    till.ledger
        .note(format_args!("order {number} {product} {quantity} {}", ids.join(" ")))
        .map_err(|error| Failure::failed(format!("note it in the ledger: {error}")))
}
