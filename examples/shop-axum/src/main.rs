//! A small shop on the web: whoever signs up gets a mail, and nobody gets two or waits for it.
//!
//! `shop-axum FOLDER [ADDRESS]` keeps its database and the sent mails in FOLDER.

#![expect(clippy::print_stdout, reason = "a program says where it listens and what it did")]

mod mail;
mod web;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dutiful::{Client, Worker};
use dutiful_server::Options;

/// A failure that ends the program.
type Fatal = Box<dyn std::error::Error + Send + Sync>;

/// Mails are short: a crashed process is known for dead after so long, and its mails go out then.
const LEASE: Duration = Duration::from_secs(3);
/// Mails under way at once.
const SLOTS: usize = 4;
/// How long mails under way may take after the stop.
const GRACE: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> Result<(), Fatal> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("usage: shop-axum FOLDER [ADDRESS]")?);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8080".into());
    let outbox = Arc::new(mail::Outbox::open(folder.join("outbox")).await?);

    // One file for the shop's tables and its jobs, so that both can be written in one transaction.
    let file = folder.join("shop.db");
    let client = Client::connect(&format!("sqlite:{}", file.display())).await?;
    let shop = web::Shop::open(&file, client.clone())?;

    let worker = Worker::new(&client, outbox)
        .job(mail::send_welcome)
        .queue("mail", SLOTS)
        .lease(LEASE)
        .grace(GRACE);
    let handle = worker.handle();

    // What becomes of the mails is seen below /backstage. As it stands only this machine gets
    // there; the shop's own login would stand before it.
    let jobs = dutiful_server::router(client.clone(), Options::default());
    let app = web::routes(shop).nest_service("/backstage", jobs);

    let listener = tokio::net::TcpListener::bind(&address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let serve = async {
        // First the web, so that no request comes in any more …
        axum::serve(listener, app).with_graceful_shutdown(dutiful::shutdown_signal()).await?;
        // … then the worker: it ends the mails under way and gives back the others.
        handle.stop();
        Ok::<_, Fatal>(())
    };
    // A worker that cannot run ends the server too, rather than to let mails pile up unseen.
    let ((), report) = tokio::try_join!(serve, async { Ok(worker.run().await?) })?;
    client.close().await?;
    println!("stopped: {} mails sent, {} given back", report.completed, report.released);
    Ok(())
}
