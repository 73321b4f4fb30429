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

pub(super) async fn read_back(store: &str, queue: &str, jobs: u64) -> Result<Verified, Failure> {
    let client = Client::connect(store).await?;
    let mut filter = Filter {
        state: Some(State::Completed),
        queue: Some(Name::new("queue", queue)?),
        limit: Some(PAGE_MAX),
        ..Filter::default()
    };
    let mut completed = HashSet::new();
    let mut duplicated = 0;
    loop {
        let page = client.jobs(filter.clone()).await?;
        for job in page.jobs {
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
