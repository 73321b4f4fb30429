//! Where the pages get what they show and send what they change: a store, or a server that has one.

use std::time::Duration;

use dutiful::{Client, Error, Filter, JobId, Name, SPREAD_MS, State, Verb};
use dutiful_server::{dead_groups, died_of};
use serde_json::json;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use super::shapes::{
    Changes, Groups, Job, JobPage, Queues, Spread, Stats, Switched, Totals, TypeTotals, Workers,
    shaped,
};
use crate::commands::change;
use crate::deed;
use crate::failure::Failure;
use crate::remote::{Remote, RemoteError};

/// Jobs on a page.
pub(crate) const PAGE_ROWS: usize = 100;
/// Pages of dead jobs that are examined for one page of a group.
const EXAMINED_PAGES: usize = 10;
/// Longest wait for a connection to the store.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// What is looked at.
pub(crate) enum Source {
    /// A store, opened when it is reached.
    Store { url: String, client: OnceCell<Client> },
    /// A server.
    Server(Remote),
}

/// Which jobs a list shows; what is not said matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query {
    pub(crate) state: Option<State>,
    pub(crate) queue: Option<String>,
    pub(crate) job_type: Option<String>,
    pub(crate) group: Option<String>,
    pub(crate) tag: Option<String>,
    pub(crate) error: Option<String>,
    pub(crate) fingerprint: Option<String>,
    pub(crate) before: Option<JobId>,
}

impl Source {
    /// Opens the store. One that is away for the moment is asked again with each look; one that is
    /// not there at all, or named wrongly, is a failure at once.
    pub(crate) async fn store(url: &str) -> Result<Self, Failure> {
        let client = match timeout(CONNECT_MAX, connect(url)).await {
            Ok(Ok(client)) => OnceCell::new_with(Some(client)),
            Ok(Err(Error::Store(error))) if error.is_passing() => OnceCell::new(),
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => OnceCell::new(),
        };
        Ok(Self::Store { url: url.to_owned(), client })
    }

    /// Returns where this is, for people.
    pub(crate) fn place(&self) -> String {
        match self {
            Self::Store { client, .. } => match client.get() {
                Some(client) => client.facts().place,
                None => "a store that was not reached yet".to_owned(),
            },
            Self::Server(remote) => remote.place().to_owned(),
        }
    }

    /// Lets go of the store.
    pub(crate) async fn close(&self) -> Result<(), Failure> {
        if let Self::Store { client, .. } = self
            && let Some(client) = client.get()
        {
            client.close().await?;
        }
        Ok(())
    }

    pub(crate) async fn stats(&self) -> Result<Stats, String> {
        match self {
            Self::Store { .. } => shaped(&self.client().await?.stats().await.map_err(text)?),
            Self::Server(remote) => remote.get(&["v1", "stats"], &[]).await.map_err(text),
        }
    }

    /// Returns the queues as they are this moment; those of [`Self::stats`] may be half a second
    /// old.
    pub(crate) async fn queues(&self) -> Result<Queues, String> {
        match self {
            Self::Store { .. } => {
                let queues = self.client().await?.queues().await.map_err(text)?;
                shaped(&json!({ "queues": queues }))
            }
            Self::Server(remote) => remote.get(&["v1", "queues"], &[]).await.map_err(text),
        }
    }

    pub(crate) async fn totals(&self) -> Result<Totals, String> {
        match self {
            Self::Store { .. } => {
                let all = self.client().await?.totals().await.map_err(text)?;
                let spread = |spread: dutiful::Spread| Spread { buckets: spread.buckets.to_vec() };
                let totals = all.into_iter().map(|one| TypeTotals {
                    job_type: one.job_type.to_string(),
                    enqueued: one.enqueued,
                    completed: one.completed,
                    failed: one.failed,
                    ran: spread(one.ran),
                    waited: spread(one.waited),
                });
                Ok(Totals { bounds_ms: SPREAD_MS.to_vec(), totals: totals.collect() })
            }
            Self::Server(remote) => remote.get(&["v1", "totals"], &[]).await.map_err(text),
        }
    }

    pub(crate) async fn jobs(&self, query: &Query) -> Result<JobPage, String> {
        match self {
            Self::Store { .. } => page(self.client().await?, query).await,
            Self::Server(remote) => remote.get(&["v1", "jobs"], &query.pairs()).await.map_err(text),
        }
    }

    /// Returns one job with everything about it; `None` when there is no such.
    pub(crate) async fn job(&self, id: JobId) -> Result<Option<Job>, String> {
        match self {
            Self::Store { .. } => {
                let job = self.client().await?.job(id).await.map_err(text)?;
                job.map(|job| shaped(&job)).transpose()
            }
            Self::Server(remote) => match remote.get(&["v1", "jobs", &id.to_string()], &[]).await {
                Err(error) if RemoteError::is_not_found(&error) => Ok(None),
                answer => answer.map(Some).map_err(text),
            },
        }
    }

    pub(crate) async fn groups(&self) -> Result<Groups, String> {
        match self {
            Self::Store { .. } => {
                let groups = dead_groups(self.client().await?, Filter::default()).await;
                shaped(&groups.map_err(text)?)
            }
            Self::Server(remote) => remote.get(&["v1", "dead", "groups"], &[]).await.map_err(text),
        }
    }

    pub(crate) async fn workers(&self) -> Result<Workers, String> {
        match self {
            Self::Store { .. } => {
                let workers = self.client().await?.workers().await.map_err(text)?;
                shaped(&json!({ "workers": workers }))
            }
            Self::Server(remote) => remote.get(&["v1", "workers"], &[]).await.map_err(text),
        }
    }

    /// Pauses a queue or lets it go on; says whether that changed anything.
    pub(crate) async fn pause(&self, queue: &str, pause: bool) -> Result<bool, String> {
        match self {
            Self::Store { .. } => {
                let client = self.client().await?;
                let doing = async {
                    if pause { client.pause(queue).await } else { client.resume(queue).await }
                };
                let action = if pause { "queues.pause" } else { "queues.resume" };
                let done = deed::done(client, action, queue, doing).await;
                done.map_err(text)
            }
            Self::Server(remote) => {
                let verb = if pause { "pause" } else { "resume" };
                let switched = remote.post(&["v1", "queues", queue, verb], &json!({})).await;
                switched.map(|one: Switched| one.changed).map_err(text)
            }
        }
    }

    /// Changes jobs by their ids; says of each what became of it.
    pub(crate) async fn change(
        &self,
        verb: Verb,
        ids: Vec<JobId>,
    ) -> Result<Vec<dutiful::Change>, String> {
        match self {
            Self::Store { .. } => {
                let client = self.client().await?;
                let changing = client.change_many(verb, ids.clone());
                let changes = deed::changed(client, verb, &ids, changing).await.map_err(text)?;
                Ok(changes.into_iter().map(|(_, change)| change).collect())
            }
            Self::Server(remote) => {
                let body = json!({ "verb": change::infinitive(verb), "ids": ids });
                let done = remote.post(&["v1", "jobs", "change"], &body).await;
                let done = done.map_err(text)?;
                let Changes { changes } = done;
                Ok(changes.into_iter().map(dutiful::Change::from).collect())
            }
        }
    }

    async fn client(&self) -> Result<&Client, String> {
        match self {
            Self::Store { url, client } => {
                client.get_or_try_init(|| connect(url)).await.map_err(text)
            }
            Self::Server(_) => Err("open the store of a server".to_owned()),
        }
    }
}

impl Query {
    fn filter(&self) -> Result<Filter, String> {
        let name = |what, given: &Option<String>| {
            given.as_deref().map(|given| Name::new(what, given)).transpose().map_err(text)
        };
        Ok(Filter {
            state: self.fingerprint.as_ref().map(|_| State::Dead).or(self.state),
            queue: name("queue", &self.queue)?,
            job_type: name("type", &self.job_type)?,
            group: self.group.clone(),
            tag: self.tag.clone(),
            error: self.error.clone(),
            before: self.before,
            limit: Some(PAGE_ROWS),
            ..Filter::default()
        })
    }

    fn pairs(&self) -> Vec<(&'static str, String)> {
        let all = [
            ("state", self.state.map(|state| state.to_string())),
            ("queue", self.queue.clone()),
            ("type", self.job_type.clone()),
            ("group", self.group.clone()),
            ("tag", self.tag.clone()),
            ("error", self.error.clone()),
            ("fingerprint", self.fingerprint.clone()),
            ("before", self.before.map(|id| id.to_string())),
            ("limit", Some(PAGE_ROWS.to_string())),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

async fn connect(url: &str) -> Result<Client, Error> {
    Client::builder().must_exist().connect(url).await
}

/// Returns a page of a store. Of a group of dead jobs it may be short, or empty, and have a next
/// one: a store does not know what jobs have in common, so a bounded number is looked through.
async fn page(client: &Client, query: &Query) -> Result<JobPage, String> {
    let mut filter = query.filter()?;
    let Some(fingerprint) = &query.fingerprint else {
        return shaped(&client.jobs(filter).await.map_err(text)?);
    };
    filter.limit = Some(dutiful::PAGE_MAX);
    let mut found = Vec::new();
    for _ in 0..EXAMINED_PAGES {
        let page = client.jobs(filter.clone()).await.map_err(text)?;
        found.extend(page.jobs.into_iter().filter(|job| died_of(job, fingerprint)));
        filter.before = page.next;
        if found.len() > PAGE_ROWS {
            found.truncate(PAGE_ROWS);
            filter.before = found.last().map(|job| job.id);
        }
        if found.len() == PAGE_ROWS || filter.before.is_none() {
            break;
        }
    }
    shaped(&dutiful::Page { jobs: found, next: filter.before })
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
