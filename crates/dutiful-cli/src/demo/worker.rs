//! `dutiful demo-worker`, hidden: a worker process of the demo and its four handlers.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use dutiful::{Client, Completed, Context, Worker};
use rusqlite::{Connection, TransactionBehavior, params};

use super::home::Home;
use super::jobs::{self, MonthlyReport, ResizeImage, SendConfirmationEmail, UpdateInventory};
use super::ledger::Ledger;
use super::mail::{self, Mail};
use super::{pictures, shop};
use crate::failure::{Answer, Failure};

/// How long a worker may be silent before its jobs go to others. The usual 30 s would be a long
/// time to watch.
pub(crate) const LEASE: Duration = Duration::from_secs(2);
/// How long running jobs may go on after the demo is over.
pub(crate) const GRACE: Duration = Duration::from_secs(2);

/// How many jobs of each queue one worker runs at once.
const SLOTS: [(&str, usize); 4] = {
    let [mail, inventory, pictures, reports] = jobs::QUEUES;
    [(mail.0, 8), (inventory.0, 2), (pictures.0, 2), (reports.0, 1)]
};

/// The arguments that the parent process gives.
#[derive(Debug, clap::Args)]
#[command(after_help = "Started by `dutiful demo` for itself.")]
pub(crate) struct Args {
    /// Which worker this is, from 1
    #[arg(long)]
    number: u64,
    /// The demo's directory
    #[arg(long)]
    home: PathBuf,
    /// Where the mail server listens
    #[arg(long)]
    mail: SocketAddr,
}

/// What the handlers share.
struct App {
    home: Home,
    mail: SocketAddr,
    shop: Mutex<Connection>,
    ledger: Ledger,
}

/// Works until the parent closes the pipe (or dies, which closes it too) or a signal comes.
pub(crate) async fn run(args: Args) -> Answer {
    let home = Home::existing(args.home);
    let failed = |error: &dyn std::fmt::Display| {
        Failure::failed(format!("start worker {}: {error}", args.number))
    };
    let client = Client::connect(&home.store_url()).await?;
    let app = App {
        shop: Mutex::new(shop::connect(&home.database()).map_err(|error| failed(&error))?),
        ledger: Ledger::open(&home.worker_ledger(args.number)).map_err(|error| failed(&error))?,
        mail: args.mail,
        home,
    };
    let mut worker = Worker::new(&client, app)
        .job(send_confirmation_email)
        .job_blocking(update_inventory)
        .job_blocking(resize_image)
        .job_blocking(monthly_report)
        .name(name(args.number))
        .lease(LEASE)
        .grace(GRACE);
    for (queue, slots) in SLOTS {
        worker = worker.queue(queue, slots);
    }
    worker
        .run_until(async {
            tokio::select! {
                () = parent_is_done() => {}
                () = dutiful::shutdown_signal() => {}
            }
        })
        .await?;
    client.close().await?;
    Ok(ExitCode::SUCCESS)
}

/// Returns what a worker calls itself in the store.
pub(crate) fn name(number: u64) -> String {
    format!("worker {number}")
}

/// Returns the number of the worker that calls itself so.
pub(crate) fn number(name: &str) -> Option<u64> {
    name.strip_prefix("worker ")?.parse().ok()
}

async fn parent_is_done() {
    // Nothing is ever written into the pipe: both its end and an error mean that nobody is there.
    let _ = tokio::task::spawn_blocking(|| std::io::stdin().read(&mut [0])).await;
}

/// Sends the mail; the server recognises the key, so that a repeat is harmless.
async fn send_confirmation_email(
    job: SendConfirmationEmail,
    cx: Context<App>,
) -> dutiful::Result<()> {
    note(&cx, "start", job.order)?;
    let SendConfirmationEmail { order, to, subject } = job;
    mail::send(cx.app.mail, &Mail { order, to, subject }, &cx.idempotency_key()).await?;
    note(&cx, "end", order)
}

/// Takes the pieces off the shelf and completes the job in the same transaction: exactly once.
fn update_inventory(job: UpdateInventory, cx: Context<App>) -> dutiful::Result<Completed> {
    note(&cx, "start", job.order)?;
    let mut shop = cx.app.shop.lock().unwrap_or_else(PoisonError::into_inner);
    let tx = shop.transaction_with_behavior(TransactionBehavior::Immediate)?;
    tx.execute(include_str!("sql/take_stock.sql"), params![job.product, job.quantity])?;
    tx.execute(include_str!("sql/insert_stock_change.sql"), params![job.order, job.quantity])?;
    let completed = cx.complete_within(&tx).now()?;
    tx.commit()?;
    drop(shop);
    note(&cx, "end", job.order)?;
    Ok(completed)
}

/// Makes the small picture; a repeat puts the same file in the same place.
fn resize_image(job: ResizeImage, cx: Context<App>) -> dutiful::Result<()> {
    note(&cx, "start", job.order)?;
    // Two attempts never share the file that they write.
    let part = cx.app.home.parts().join(format!("{}.{}.jpg", cx.id(), cx.attempt()));
    let target = cx.app.home.pictures().join(format!("order-{}.jpg", job.order));
    pictures::shrink(&job.picture, &part, &target)?;
    note(&cx, "end", job.order)
}

/// Exports the orders as CSV; the file has its name only when it is complete.
fn monthly_report(job: MonthlyReport, cx: Context<App>) -> dutiful::Result<()> {
    note(&cx, "start", job.orders)?;
    let part = cx.app.home.parts().join(format!("{}.{}.csv", cx.id(), cx.attempt()));
    let mut file = std::io::BufWriter::new(std::fs::File::create(&part)?);
    writeln!(file, "order,at,customer,product,pieces,price,total")?;
    let shop = cx.app.shop.lock().unwrap_or_else(PoisonError::into_inner);
    let mut orders = shop.prepare(include_str!("sql/export_orders.sql"))?;
    let mut rows = orders.query([])?;
    while let Some(row) = rows.next()? {
        let (order, at): (u64, String) = (row.get(0)?, row.get(1)?);
        let (customer, product): (String, String) = (row.get(2)?, row.get(3)?);
        let (pieces, cents, total): (u64, u64, u64) = (row.get(4)?, row.get(5)?, row.get(6)?);
        let (customer, product) = (quoted(&customer), quoted(&product));
        let (price, total) = (money(cents), money(total));
        writeln!(file, "{order},{at},{customer},{product},{pieces},{price},{total}")?;
    }
    file.flush()?;
    std::fs::rename(&part, cx.app.home.reports().join("orders.csv"))?;
    note(&cx, "end", job.orders)
}

/// Writes to the ledger what an attempt does.
fn note(cx: &Context<App>, what: &str, order: u64) -> dutiful::Result<()> {
    let (queue, id, attempt) = (cx.queue(), cx.id(), cx.attempt());
    cx.app.ledger.note(format_args!("{what} {queue} {order} {id} {attempt}"))?;
    Ok(())
}

/// Returns text as one CSV field.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

fn money(cents: u64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}
