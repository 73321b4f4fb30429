//! Notifications about alerts: each is a job for each target that wants it, so it is stored with
//! the jobs, tried again like them, and seen where they are seen.
//!
//! A job names its target, and nothing more of it: addresses and secrets stand in dutiful.toml,
//! never in the store.

mod mail;
mod settings;
mod target;
#[cfg(test)]
mod tests;
mod web;
mod words;

use std::fmt;
use std::time::Duration;

use dutiful::{Client, Context, EnqueueOutcome, Error, HandlerError, Job, JobId, Retry, Worker};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use self::settings::{EmailSettings, Hidden, NotifySettings};
pub use self::target::{NotifyTargetError, NotifyTargets, RunCommand};

/// The queue of notifications: one of their own, for in that of the server's other jobs an
/// operation may run for hours.
pub const NOTIFY_QUEUE: &str = "dutiful.notify";
/// How many are sent at once: a target that does not answer holds up one of them.
pub const NOTIFY_SLOTS: usize = 4;
/// How long news waits for those before it.
const ORDER_WAIT: Duration = Duration::from_secs(2);
/// What the ids of notifications are made from, beside what they tell.
const ID_OF: &str = "dutiful:notify:";

/// What happened to an alert.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Event {
    /// It holds, for as long as its rule wants.
    Firing,
    /// It holds no longer.
    Resolved,
}

/// How soon somebody should look.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotifySeverity {
    /// In working hours.
    #[default]
    Warning,
    /// Now.
    Critical,
}

/// An alert, as the API shows it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Notice {
    pub(crate) id: String,
    /// Which rule.
    pub(crate) rule: String,
    pub(crate) severity: NotifySeverity,
    /// `pending`, `firing` or `resolved`.
    pub(crate) state: String,
    /// Which queue; `None` when it is about the whole store.
    pub(crate) queue: Option<String>,
    /// When this state began, in RFC 3339.
    pub(crate) since: String,
    /// When it began to fire.
    #[serde(default)]
    pub(crate) fired_at: Option<String>,
    pub(crate) value: f64,
    pub(crate) threshold: f64,
    /// What is wrong, with the numbers, in one sentence.
    pub(crate) summary: String,
    /// What to do about it.
    pub(crate) advice: String,
    /// Who has seen it.
    pub(crate) acknowledged: Option<Acknowledged>,
}

/// Who has seen an alert.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Acknowledged {
    pub(crate) by: String,
    pub(crate) at: String,
}

/// What is sent.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Notification {
    event: Event,
    alert: Notice,
    /// Who tells it: a name for people.
    server: String,
}

/// The job that sends it to one target.
#[derive(Serialize, Deserialize)]
struct Notify {
    target: String,
    #[serde(flatten)]
    notification: Notification,
}

impl Job for Notify {
    const TYPE: &'static str = "dutiful.notify";
    const QUEUE: &'static str = NOTIFY_QUEUE;
    const PRIORITY: u16 = 0;
    const MAX_ATTEMPTS: u32 = 10;
    const TIMEOUT: Duration = Duration::from_secs(60);
    const RETRY: Retry = Retry::exponential(Duration::from_secs(5));
}

/// Enqueues a notification for each target that wants it, and returns how many are new. However
/// often and by whichever server the same is told, each target has one job for it.
///
/// # Errors
/// [`Error::Store`]: the store did not take all of them; tell it again.
pub(crate) async fn notify(
    client: &Client,
    targets: &NotifyTargets,
    event: Event,
    alert: &Notice,
) -> Result<usize, Error> {
    let mut new = 0;
    for target in targets.that_want(alert) {
        let id = id_of(event, (&alert.id, &alert.since), target);
        let notification =
            Notification { event, alert: alert.clone(), server: targets.server().to_owned() };
        let job = Notify { target: target.to_owned(), notification };
        let stored = client.enqueue(job).id(id).await?;
        new += usize::from(stored.outcome == EnqueueOutcome::New);
    }
    Ok(new)
}

/// Returns the id that the same news for the same target always has: what became of an alert, and
/// when.
fn id_of(event: Event, (alert, since): (&str, &str), target: &str) -> JobId {
    // No name has a line break, so no two sets of words are the same text.
    let words = [ID_OF, alert, &event.to_string(), since, target].join("\n");
    JobId::from_bytes(Uuid::new_v5(&Uuid::NAMESPACE_URL, words.as_bytes()).into_bytes())
}

/// Adds what sends notifications to a worker. It is to be there without targets, too: then what was
/// enqueued for one that is no longer declared is given up, where else it would wait for ever.
pub fn with_notifications<A: Send + Sync + 'static>(
    worker: Worker<A>,
    targets: NotifyTargets,
) -> Worker<A> {
    let send = move |job: Notify, cx: Context<A>| {
        let (targets, client, id) = (targets.clone(), cx.client().clone(), cx.id());
        async move {
            wait_for_the_beginning(&client, &job).await?;
            send(targets, job, id).await
        }
    };
    worker.job(send).queue(NOTIFY_QUEUE, NOTIFY_SLOTS)
}

/// That an alert is over is told after that it fires: nobody is left with the wrong news last.
async fn wait_for_the_beginning(client: &Client, job: &Notify) -> dutiful::Result<()> {
    let Notification { event: Event::Resolved, alert, .. } = &job.notification else {
        return Ok(());
    };
    let Some(fired_at) = &alert.fired_at else { return Ok(()) };
    let firing = id_of(Event::Firing, (&alert.id, fired_at), &job.target);
    let firing = client.job(firing).await?;
    if firing.is_some_and(|firing| !firing.state.is_final()) {
        let waits = HandlerError::msg("that it fires is not told yet").with_class("order");
        return Err(HandlerError::snooze(ORDER_WAIT, waits));
    }
    Ok(())
}

async fn send(targets: NotifyTargets, job: Notify, id: JobId) -> dutiful::Result<()> {
    let Some(target) = targets.named(&job.target) else {
        let gone = format!("the target {:?} is no longer in dutiful.toml", job.target);
        return Err(HandlerError::discard(HandlerError::msg(gone).with_class("no_target")));
    };
    target.send(&job.notification, id).await
}

/// Tells each target that this is a test, whatever it wants to hear of, and returns what became of
/// it, by the names of the targets.
pub async fn try_notifications(targets: &NotifyTargets) -> Vec<(String, dutiful::Result<()>)> {
    let now = dutiful::Clock::machine().now().to_string();
    let alert = Notice {
        id: "test".into(),
        rule: "test".into(),
        severity: NotifySeverity::Warning,
        state: "firing".into(),
        queue: None,
        since: now.clone(),
        fired_at: Some(now),
        value: 0.0,
        threshold: 0.0,
        summary: "This is a test: nothing is wrong".into(),
        advice: "Nothing is to be done; alerts will come this way".into(),
        acknowledged: None,
    };
    let what = Notification { event: Event::Firing, alert, server: targets.server().to_owned() };
    let sent = targets
        .all()
        .map(|target| async { (target.name().to_owned(), target.send(&what, JobId::new()).await) });
    futures_util::future::join_all(sent).await
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        })
    }
}

impl fmt::Display for NotifySeverity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Warning => "warning",
            Self::Critical => "critical",
        })
    }
}
