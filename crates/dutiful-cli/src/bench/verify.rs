//! What became of the drained jobs, read back from the store by a fresh connection.

use std::collections::HashSet;

use dutiful::{Client, Filter, Name, PAGE_MAX, State};
use serde::Serialize;

use crate::failure::Failure;

/// The drain's jobs as the store has them.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Verified {
    /// Completed.
    pub(super) completed: u64,
    /// Enqueued and not completed.
    pub(super) lost: u64,
    /// Attempts beyond the first, over all jobs.
    pub(super) duplicated: u64,
}

pub(super) async fn read_back(
    store: &str,
    queues: &[String],
    jobs: u64,
) -> Result<Verified, Failure> {
    let client = Client::connect(store).await?;
    // The queues of a run stand among the newest jobs, so one reading serves them all.
    let one = match queues {
        [one] => Some(Name::new("queue", one)?),
        _ => None,
    };
    let ours: HashSet<&str> = queues.iter().map(String::as_str).collect();
    let mut filter = Filter {
        state: Some(State::Completed),
        queue: one,
        limit: Some(PAGE_MAX),
        ..Filter::default()
    };
    let mut completed = HashSet::new();
    let mut duplicated = 0;
    loop {
        let page = client.jobs(filter.clone()).await?;
        for job in page.jobs.iter().filter(|job| ours.contains(job.queue.as_str())) {
            duplicated += u64::from(job.attempt.saturating_sub(1));
            completed.insert(job.id);
        }
        if page.next.is_none() {
            break;
        }
        filter.before = page.next;
    }
    client.close().await?;
    let completed = completed.len() as u64;
    Ok(Verified { completed, lost: jobs.saturating_sub(completed), duplicated })
}
