//! Which jobs are meant: the filter of lists and operations, and the pages that it finds.

use std::time::Instant;

use dutiful::{Client, Error, Filter, Name, State as JobState, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::dead;
use super::jobs::PAGE_DEFAULT;
use super::problem::Problem;
use super::view::{NameView, StateView};

/// Pages of the store that one page of jobs with a fingerprint looks through.
const PAGES_MAX: usize = 10;

/// Which jobs; what is not said matches all.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Filter)]
pub(crate) struct FilterInput {
    /// In this state.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<StateView>)]
    pub(super) state: Option<JobState>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<NameView>)]
    pub(super) queue: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<NameView>)]
    pub(super) job_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) group: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tag: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) correlation_id: Option<String>,
    /// Whose last error has this text in its class or message, in upper or lower case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
    /// Dead of this: a fingerprint of `/v1/dead/groups`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fingerprint: Option<String>,
    /// Enqueued at this time or later.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub(super) since: Option<String>,
    /// Enqueued before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub(super) until: Option<String>,
}

impl FilterInput {
    pub(super) fn chosen(&self) -> Result<Chosen, Problem> {
        let time = |text: &Option<String>| -> Result<Option<Timestamp>, Problem> {
            Ok(text.as_deref().map(str::parse).transpose()?)
        };
        let name = |what, text: &Option<String>| -> Result<Option<Name>, Problem> {
            Ok(text.as_deref().map(|text| Name::new(what, text)).transpose()?)
        };
        if self.fingerprint.is_some() && self.state.is_some_and(|state| state != JobState::Dead) {
            return Err(Problem::invalid("only dead jobs have a fingerprint; leave out the state"));
        }
        let state = self.fingerprint.as_ref().map(|_| JobState::Dead).or(self.state);
        let filter = Filter {
            state,
            queue: name("queue", &self.queue)?,
            job_type: name("type", &self.job_type)?,
            group: self.group.clone(),
            tag: self.tag.clone(),
            correlation_id: self.correlation_id.clone(),
            since: time(&self.since)?,
            until: time(&self.until)?,
            error: self.error.clone(),
            ..Filter::default()
        };
        Ok(Chosen { filter, fingerprint: self.fingerprint.clone() })
    }
}

/// A filter that was read, and what the store does not filter by itself.
pub(super) struct Chosen {
    pub(super) filter: Filter,
    fingerprint: Option<String>,
}

impl Chosen {
    /// Returns the page that its filter asks for; with a fingerprint it examines a bounded number
    /// of dead jobs, and may be short.
    pub(super) async fn page(&self, client: &Client) -> Result<dutiful::Page, Error> {
        let Some(wanted) = &self.fingerprint else { return client.jobs(self.filter.clone()).await };
        let limit = self.filter.limit.unwrap_or(PAGE_DEFAULT);
        let (mut jobs, mut filter) = (Vec::new(), self.filter.clone());
        filter.limit = Some(dutiful::PAGE_MAX);
        let begun = Instant::now();
        for _ in 0..PAGES_MAX {
            let page = client.jobs(filter.clone()).await?;
            for job in page.jobs.into_iter().filter(|job| dead::died_of(job, wanted)) {
                jobs.push(job);
                if jobs.len() == limit {
                    let next = jobs.last().map(|job| job.id);
                    return Ok(dutiful::Page { jobs, next });
                }
            }
            filter.before = page.next;
            if page.next.is_none() || filter.patience.is_some_and(|most| begun.elapsed() >= most) {
                break;
            }
        }
        Ok(dutiful::Page { jobs, next: filter.before })
    }
}
