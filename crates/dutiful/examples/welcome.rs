//! The smallest whole program: a typed job, its handler, a client and a worker on one SQLite file.

#![expect(clippy::print_stdout, reason = "an example shows what it did")]

use dutiful::{Client, Context, Job, Result, Worker};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct SendWelcome {
    user: i64,
}

impl Job for SendWelcome {
    const TYPE: &'static str = "send_welcome";
    const QUEUE: &'static str = "mail";
}

async fn send_welcome(job: SendWelcome, cx: Context<()>) -> Result<()> {
    // Any error returned here would be retried with backoff, and end as a dead job.
    println!("attempt {} of job {}: welcome, user {}!", cx.attempt(), cx.id(), job.user);
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), dutiful::Error> {
    let client = Client::connect("sqlite:jobs.db").await?;
    client.enqueue(SendWelcome { user: 7 }).await?; // durable now
    client.enqueue(SendWelcome { user: 8 }).unique("welcome:8").priority(1).await?;

    let worker = Worker::new(&client, ()).job(send_welcome).queue("mail", 20).until_empty(true);
    let report = worker.run_until(dutiful::shutdown_signal()).await?;
    println!("{} jobs completed", report.completed);
    client.close().await
}
