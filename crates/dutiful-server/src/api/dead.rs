//! Dead letters grouped by what they died of: thousands of jobs are seldom more than a few causes.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use dutiful::{Client, Error, Filter, JobId, JobInfo, Name, State as JobState, Timestamp};
use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Site;
use super::access::{Allowed, Read};
use super::filter::FilterInput;
use super::input::Query;
use super::problem::Problem;
use super::view::NameView;
use crate::labels::lock;
use crate::shown::Shown;

/// Pages of dead jobs that are looked at, newest first: 20,000 jobs, or fewer with a filter, for
/// which a page examines many and finds few. Where there are more, the answer says so.
const PAGES_MAX: usize = 20;
/// Most groups in an answer.
const GROUPS_MAX: usize = 200;
/// Who looks first waits for so long, and sees what was found until then, in smaller pages.
const HURRY: Duration = Duration::from_millis(30);
const HURRIED_PAGE: usize = 250;
/// Most pairs of a queue and a type whose groups are remembered.
const SHOWN_MAX: usize = 100;
/// Most characters of a message that tell groups apart.
const MESSAGE_MAX: usize = 200;

/// Which dead jobs.
#[derive(Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct GroupsInput {
    #[param(value_type = Option<NameView>)]
    queue: Option<String>,
    #[serde(rename = "type")]
    #[param(value_type = Option<NameView>)]
    job_type: Option<String>,
}

/// Dead jobs by cause, the most frequent first.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DeadGroups {
    /// The most frequent first.
    pub groups: Vec<DeadGroup>,
    /// False where only the newest dead jobs, about 20,000, were looked at; of very many the first
    /// who asks for a while sees fewer.
    pub complete: bool,
}

/// Dead jobs of one type with one cause.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DeadGroup {
    /// Stable: the same type, class and message without its numbers and names.
    pub fingerprint: String,
    /// Their type.
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    pub job_type: Name,
    /// The class of their errors.
    pub class: String,
    /// The message, with what differs from job to job left out.
    pub message: String,
    /// How many.
    pub count: u64,
    /// The queues that they are of.
    #[schema(value_type = Vec<String>)]
    pub queues: BTreeSet<Name>,
    /// The newest of them.
    #[schema(value_type = String, format = Uuid)]
    pub sample: JobId,
    /// When the first of them died.
    #[schema(value_type = String, format = DateTime)]
    pub first_at: Timestamp,
    /// When the last of them died.
    #[schema(value_type = String, format = DateTime)]
    pub last_at: Timestamp,
}

/// Group dead jobs by what they died of.
#[utoipa::path(get, path = "/v1/dead/groups", tag = "dead", params(GroupsInput),
    responses((status = 200, body = DeadGroups)))]
pub(super) async fn groups(
    allowed: Allowed<Read>,
    State(site): State<Site>,
    Query(asked): Query<GroupsInput>,
) -> Result<Json<DeadGroups>, Problem> {
    let GroupsInput { queue, job_type } = asked;
    let state = Some(JobState::Dead);
    let dead = FilterInput { state, queue, job_type, ..FilterInput::default() };
    let mut found = (*site.groups().of(site.client(), dead.chosen()?.filter).await?).clone();
    if !allowed.sees_all() {
        let hidden = found.groups.iter_mut().map(|group| hide(&site, group));
        try_join_all(hidden).await?;
    }
    Ok(Json(found))
}

/// Hides in the message of a group what it tells of payloads: it is that of the sample.
async fn hide(site: &Site, group: &mut DeadGroup) -> Result<(), Problem> {
    if site.redaction().hides_of(group.job_type.as_str()) {
        let sample = site.client().job(group.sample).await?;
        group.message = sample.map_or_else(String::new, |mut job| {
            site.redaction().job(&mut job);
            Cause::of(&job).message
        });
    }
    Ok(())
}

/// The groups that somebody looked at, by queue and type: among very many dead jobs they take long
/// to find.
#[derive(Default)]
pub(super) struct Groups(Mutex<HashMap<Which, Arc<Shown<DeadGroups>>>>);

type Which = (Option<Name>, Option<Name>);

impl Groups {
    async fn of(&self, client: &Client, filter: Filter) -> Result<Arc<DeadGroups>, Error> {
        let which = (filter.queue.clone(), filter.job_type.clone());
        let shown = {
            let mut all = lock(&self.0);
            if all.len() >= SHOWN_MAX && !all.contains_key(&which) {
                all.clear();
            }
            let new = || Arc::new(Shown::new(Duration::ZERO, Duration::ZERO));
            all.entry(which).or_insert_with(new).clone()
        };
        let (of, which) = (client.clone(), filter.clone());
        let whole = async move { dead_groups(&of, which).await };
        match shown.to_show() {
            Some((groups, due)) => {
                if due {
                    shown.begin(whole);
                }
                Ok(groups)
            }
            None => {
                let (groups, done) = look_through(client, filter, Some(HURRY)).await?;
                // Who asks again in a moment is shown the rest.
                if !done {
                    shown.begin(whole);
                }
                Ok(Arc::new(groups))
            }
        }
    }

    pub(super) fn changed(&self) {
        lock(&self.0).values().for_each(|shown| shown.changed());
    }

    pub(super) fn forget(&self) {
        lock(&self.0).clear();
    }
}

/// Groups the newest dead jobs that a filter leaves by what they died of.
///
/// # Errors
/// Those of the store.
pub async fn dead_groups(client: &Client, filter: Filter) -> Result<DeadGroups, Error> {
    Ok(look_through(client, filter, None).await?.0)
}

/// The same, for no longer than somebody will wait; says whether that was long enough.
async fn look_through(
    client: &Client,
    filter: Filter,
    patience: Option<Duration>,
) -> Result<(DeadGroups, bool), Error> {
    let begun = Instant::now();
    let limit = patience.map_or(dutiful::PAGE_MAX, |_| HURRIED_PAGE);
    let (state, limit) = (Some(JobState::Dead), Some(limit));
    let mut filter = Filter { state, limit, patience, ..filter };
    let (mut groups, mut complete, mut done, mut pages) = (HashMap::new(), false, false, 0);
    while !done {
        let page = client.jobs(filter.clone()).await?;
        page.jobs.into_iter().for_each(|job| count(&mut groups, job));
        filter.before = page.next;
        complete = page.next.is_none();
        pages += 1;
        done = complete || (patience.is_none() && pages == PAGES_MAX);
        if patience.is_some_and(|most| begun.elapsed() >= most) {
            break;
        }
    }
    let mut groups: Vec<DeadGroup> = groups.into_values().collect();
    groups.sort_by_key(|one| (std::cmp::Reverse(one.count), one.fingerprint.clone()));
    groups.truncate(GROUPS_MAX);
    Ok((DeadGroups { groups, complete }, done))
}

fn count(groups: &mut HashMap<String, DeadGroup>, job: JobInfo) {
    let died = job.finished_at.unwrap_or(job.created_at);
    let Cause { class, message, fingerprint } = Cause::of(&job);
    let group = groups.entry(fingerprint.clone()).or_insert_with(|| DeadGroup {
        fingerprint,
        job_type: job.job_type,
        class,
        message,
        count: 0,
        queues: BTreeSet::new(),
        sample: job.id,
        first_at: died,
        last_at: died,
    });
    group.count += 1;
    group.queues.insert(job.queue);
    group.first_at = group.first_at.min(died);
    group.last_at = group.last_at.max(died);
}

/// What a job died of, as jobs that died of the same have it in common.
struct Cause {
    class: String,
    message: String,
    fingerprint: String,
}

impl Cause {
    fn of(job: &JobInfo) -> Self {
        let error = job.last_error.as_ref();
        let class = error.map_or_else(String::new, |error| error.class.clone());
        let message = error.map_or_else(String::new, |error| normalised(&error.message));
        // FNV-1a; not for secrets.
        let text = format!("{}\n{class}\n{message}", job.job_type);
        let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self { class, message, fingerprint: format!("{hash:016x}") }
    }
}

/// Says whether a job died of what the fingerprint of a [`DeadGroup`] stands for.
pub fn died_of(job: &JobInfo, wanted: &str) -> bool {
    job.state == JobState::Dead && Cause::of(job).fingerprint == wanted
}

/// The first line of a message without what differs from job to job: words with digits in them
/// become `#`, and what stands in quotes `…`.
fn normalised(message: &str) -> String {
    let line = message.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let (mut text, mut word, mut quote) = (String::new(), String::new(), None);
    for c in line.trim().chars().chain([' ']) {
        if let Some(end) = quote {
            if c == end {
                quote = None;
                text.push(c);
            }
            continue;
        }
        if c.is_alphanumeric() || c == '_' || (c == '-' && !word.is_empty()) {
            word.push(c);
            continue;
        }
        // Within a word it is an apostrophe.
        let opens = matches!(c, '"' | '`') || (c == '\'' && word.is_empty());
        text.push_str(if word.contains(|c: char| c.is_numeric()) { "#" } else { &word });
        word.clear();
        text.push(c);
        if opens {
            quote = Some(c);
            text.push('…');
        }
    }
    text.trim_end().chars().take(MESSAGE_MAX).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use dutiful::{HandlerError, NewJob, Retry, TypeDefaults, Worker};

    use super::*;

    #[tokio::test]
    async fn who_is_in_a_hurry_sees_the_newest_and_the_rest_in_a_moment() {
        let client = Client::connect("sqlite::memory:").await.unwrap();
        let job = || NewJob { job_type: "t".into(), payload: b"1".to_vec(), ..NewJob::default() };
        let all = HURRIED_PAGE * 3;
        client.enqueue_many((0..all).map(|_| job()).collect()).await.unwrap();
        let gives_up = |_: Vec<u8>, _| async {
            Err::<(), _>(HandlerError::discard(HandlerError::msg("broken").with_class("Bad")))
        };
        let defaults = TypeDefaults::unknown(Name::new("type", "t").unwrap());
        let worker = Worker::new(&client, ()).raw(defaults, Retry::DEFAULT, gives_up);
        worker.queue("default", 100).until_empty(true).run().await.unwrap();
        let of = |groups: &DeadGroups| groups.groups[0].count as usize;
        let hurried = look_through(&client, Filter::default(), Some(Duration::ZERO)).await.unwrap();
        assert!(of(&hurried.0) < all && !hurried.0.complete && !hurried.1, "{hurried:?}");
        let whole = dead_groups(&client, Filter::default()).await.unwrap();
        assert_eq!((of(&whole), whole.complete), (all, true));
        let groups = Groups::default();
        while of(&groups.of(&client, Filter::default()).await.unwrap()) < all {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[test]
    fn messages_of_one_cause_are_one() {
        for (message, says) in [
            ("", ""),
            ("\n\n  mailbox full\nat line 7", "mailbox full"),
            ("connect to 10.0.0.7:25: refused", "connect to #.#.#.#:#: refused"),
            ("user 4711 not found", "user # not found"),
            ("order 0198-ab4c-77 is gone", "order # is gone"),
            ("no column \"amount 7\" here", "no column \"…\" here"),
            ("can't open 'a b'", "can't open '…'"),
            ("unclosed \"quote goes on", "unclosed \"…"),
            ("Größe überschritten: 17 MB", "Größe überschritten: # MB"),
        ] {
            assert_eq!(normalised(message), says, "{message}");
        }
        assert_eq!(normalised(&"x".repeat(5000)).len(), MESSAGE_MAX);
    }
}
