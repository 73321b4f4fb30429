//! A job: a piece of work with a type, a payload and its settings; written once, never changed.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::error::InvalidJob;
use crate::id::{JobId, Name};
use crate::payload;
use crate::retry::Retry;

/// Highest priority number; lower runs first.
pub const PRIORITY_MAX: u16 = 1000;
/// Most attempts that a job can ask for.
pub const ATTEMPTS_MAX: u32 = 1000;
/// Longest timeout of one attempt.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Longest group, unique key, correlation id and tag, in bytes.
pub const TEXT_BYTES_MAX: usize = 255;
/// Most tags of one job.
pub const TAGS_MAX: usize = 20;

/// A typed payload with its settings beside its name; the handler takes it by value.
///
/// ```
/// use dutiful::Job;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct SendWelcome { user: i64 }
///
/// impl Job for SendWelcome {
///     const TYPE: &'static str = "send_welcome";
///     const QUEUE: &'static str = "mail";
///     const MAX_ATTEMPTS: u32 = 10;
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a job",
    note = "write `impl Job for {Self} {{ const TYPE: &'static str = \"…\"; }}` and derive Serialize and Deserialize"
)]
pub trait Job: Serialize + DeserializeOwned + Send + 'static {
    /// Which handler runs it; must stay the same as long as such jobs are stored.
    const TYPE: &'static str;
    /// The queue, unless the enqueue names another.
    const QUEUE: &'static str = "default";
    /// 0 to 1000, lower runs first.
    const PRIORITY: u16 = 10;
    /// Failures after which the job is dead (1 to 1000).
    const MAX_ATTEMPTS: u32 = 3;
    /// How long one attempt may run.
    const TIMEOUT: Duration = Duration::from_secs(15 * 60);
    /// Whether a crash repeats the job or drops it.
    const DELIVERY: Delivery = Delivery::AtLeastOnce;
    /// When to try again after a failure.
    const RETRY: Retry = Retry::DEFAULT;
}

/// What happens to a job whose worker crashes in the middle.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// It is run again (the default).
    #[default]
    AtLeastOnce,
    /// It is completed at the claim and never run again, even if it never ran to its end.
    AtMostOnce,
}

/// Where a job stands in its life.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// In the queue, waiting for a worker.
    Pending,
    /// Waiting for its time.
    Scheduled,
    /// Claimed, running under a lease.
    Active,
    /// Succeeded.
    Completed,
    /// The last attempt failed; waits for its retry time.
    Failed,
    /// Gave up; needs a person.
    Dead,
    /// Its lease expired and it was not rescued yet.
    Stalled,
    /// Stopped by a person or the program.
    Cancelled,
}

impl State {
    /// Every state, in the order of a job's life.
    pub const ALL: [State; 8] = [
        State::Scheduled,
        State::Pending,
        State::Active,
        State::Completed,
        State::Failed,
        State::Dead,
        State::Stalled,
        State::Cancelled,
    ];

    /// Returns the word used in JSON, SQL and on screen.
    pub const fn as_str(self) -> &'static str {
        match self {
            State::Pending => "pending",
            State::Scheduled => "scheduled",
            State::Active => "active",
            State::Completed => "completed",
            State::Failed => "failed",
            State::Dead => "dead",
            State::Stalled => "stalled",
            State::Cancelled => "cancelled",
        }
    }

    /// True when the job will not run again by itself.
    pub const fn is_final(self) -> bool {
        matches!(self, State::Completed | State::Dead | State::Cancelled)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for State {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|s| s.as_str() == text).ok_or_else(|| {
            let all: Vec<_> = Self::ALL.iter().map(|s| s.as_str()).collect();
            format!("\"{}\" is not a state ({})", crate::id::clip(text), all.join(", "))
        })
    }
}

/// The record of a job as every store keeps it: checked, and never changed after the insert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The id.
    pub id: JobId,
    /// The type.
    pub job_type: Name,
    /// The payload, byte for byte as it was given.
    pub payload: Vec<u8>,
    /// The queue.
    pub queue: Name,
    /// 0 to 1000, lower first.
    pub priority: u16,
    /// When it may run first; `None` is at once.
    pub scheduled_for: Option<Timestamp>,
    /// A wait from the store's own now, used when `scheduled_for` is `None`.
    pub delay: Duration,
    /// Failures after which it is dead.
    pub max_attempts: u32,
    /// How long one attempt may run.
    pub timeout: Duration,
    /// The caller's correlation id; `None` means the job's own id.
    pub correlation_id: Option<String>,
    /// W3C trace context of the enqueue.
    pub trace_parent: Option<String>,
    /// The key by which jobs share fairness or limits.
    pub group: Option<String>,
    /// At most one live job has this key.
    pub unique_key: Option<String>,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// What a crash does to it.
    pub delivery: Delivery,
}

/// Settings that an enqueue gives; what is `None` comes from the type, then from the defaults.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The id, when the caller made it.
    pub id: Option<JobId>,
    /// The queue.
    pub queue: Option<String>,
    /// 0 to 1000.
    pub priority: Option<i64>,
    /// When it may run first.
    pub scheduled_for: Option<Timestamp>,
    /// A wait from the store's now.
    pub delay: Option<Duration>,
    /// 1 to 1000.
    pub max_attempts: Option<i64>,
    /// 1 ms to 30 days.
    pub timeout: Option<Duration>,
    /// Any text up to 255 bytes.
    pub correlation_id: Option<String>,
    /// W3C `traceparent`.
    pub trace_parent: Option<String>,
    /// Any text up to 255 bytes.
    pub group: Option<String>,
    /// Any text up to 255 bytes.
    pub unique_key: Option<String>,
    /// Up to 20 texts of up to 255 bytes.
    pub tags: Vec<String>,
    /// What a crash does to it.
    pub delivery: Option<Delivery>,
}

/// The settings of a type, used where the enqueue says nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeDefaults {
    /// The type.
    pub job_type: Name,
    /// The queue.
    pub queue: Name,
    /// 0 to 1000.
    pub priority: u16,
    /// 1 to 1000.
    pub max_attempts: u32,
    /// One attempt's time.
    pub timeout: Duration,
    /// What a crash does to it.
    pub delivery: Delivery,
}

impl TypeDefaults {
    /// Returns what stands beside the name of `J`.
    ///
    /// # Errors
    /// [`InvalidJob`] when one of the constants is out of range.
    pub fn of<J: Job>() -> Result<Self, InvalidJob> {
        Ok(Self {
            job_type: Name::new("type", J::TYPE)?,
            queue: Name::new("queue", J::QUEUE)?,
            priority: check_priority(i64::from(J::PRIORITY))?,
            max_attempts: check_attempts(i64::from(J::MAX_ATTEMPTS))?,
            timeout: check_timeout(J::TIMEOUT)?,
            delivery: J::DELIVERY,
        })
    }

    /// Returns the defaults of a type of which this is known: queue, priority, attempts, timeout
    /// and delivery of these settings; the others are those of single jobs.
    ///
    /// # Errors
    /// [`InvalidJob`] when one of them is out of range.
    pub fn given(job_type: Name, known: &Settings) -> Result<Self, InvalidJob> {
        let usual = Self::unknown(job_type);
        let queue = known.queue.as_ref().map(|queue| Name::new("queue", queue)).transpose()?;
        let priority = known.priority.map(check_priority).transpose()?;
        let attempts = known.max_attempts.map(check_attempts).transpose()?;
        let timeout = known.timeout.map(check_timeout).transpose()?;
        Ok(Self {
            job_type: usual.job_type,
            queue: queue.unwrap_or(usual.queue),
            priority: priority.unwrap_or(usual.priority),
            max_attempts: attempts.unwrap_or(usual.max_attempts),
            timeout: timeout.unwrap_or(usual.timeout),
            delivery: known.delivery.unwrap_or(usual.delivery),
        })
    }

    /// Returns the defaults of a type about which nothing is known.
    pub fn unknown(job_type: Name) -> Self {
        Self {
            job_type,
            queue: Name::stored("default"),
            priority: 10,
            max_attempts: 3,
            timeout: Duration::from_secs(15 * 60),
            delivery: Delivery::AtLeastOnce,
        }
    }
}

impl Record {
    /// Returns the checked record of a payload that came from outside as bytes.
    pub(crate) fn from_bytes(
        defaults: &TypeDefaults,
        payload: Vec<u8>,
        settings: Settings,
        max_bytes: usize,
    ) -> Result<Self, InvalidJob> {
        payload::check(&payload, max_bytes)?;
        Self::build(defaults, payload, settings)
    }

    /// Returns the checked record of a payload that was checked already.
    pub(crate) fn build(
        defaults: &TypeDefaults,
        payload: Vec<u8>,
        settings: Settings,
    ) -> Result<Self, InvalidJob> {
        settings.check()?;
        let queue = match settings.queue {
            Some(queue) => Name::new("queue", &queue)?,
            None => defaults.queue.clone(),
        };
        let priority = settings.priority.map(check_priority).transpose()?;
        let attempts = settings.max_attempts.map(check_attempts).transpose()?;
        Ok(Self {
            id: settings.id.unwrap_or_else(JobId::new),
            job_type: defaults.job_type.clone(),
            payload,
            queue,
            priority: priority.unwrap_or(defaults.priority),
            scheduled_for: settings.scheduled_for,
            delay: settings.delay.unwrap_or_default(),
            max_attempts: attempts.unwrap_or(defaults.max_attempts),
            timeout: settings.timeout.unwrap_or(defaults.timeout),
            correlation_id: settings.correlation_id,
            trace_parent: settings.trace_parent,
            group: settings.group,
            unique_key: settings.unique_key,
            tags: settings.tags,
            delivery: settings.delivery.unwrap_or(defaults.delivery),
        })
    }
}

impl Settings {
    /// Checks every value, so that a thousand jobs can be refused before the first is stored.
    pub(crate) fn check(&self) -> Result<(), InvalidJob> {
        if self.tags.len() > TAGS_MAX {
            return Err(InvalidJob::Tags { given: self.tags.len(), max: TAGS_MAX });
        }
        let texts = [
            ("correlation id", &self.correlation_id),
            ("group", &self.group),
            ("unique key", &self.unique_key),
        ];
        let given = texts.iter().filter_map(|(what, text)| Some((*what, text.as_ref()?)));
        for (what, text) in given.chain(self.tags.iter().map(|tag| ("tag", tag))) {
            check_text(what, text)?;
        }
        if let Some(queue) = &self.queue {
            Name::check("queue", queue)?;
        }
        self.priority.map(check_priority).transpose()?;
        self.max_attempts.map(check_attempts).transpose()?;
        self.timeout.map(check_timeout).transpose()?;
        self.trace_parent.as_deref().map(check_trace_parent).transpose()?;
        Ok(())
    }
}

fn check_priority(given: i64) -> Result<u16, InvalidJob> {
    match u16::try_from(given) {
        Ok(priority) if priority <= PRIORITY_MAX => Ok(priority),
        _ => Err(InvalidJob::Priority(given)),
    }
}

fn check_attempts(given: i64) -> Result<u32, InvalidJob> {
    match u32::try_from(given) {
        Ok(attempts) if (1..=ATTEMPTS_MAX).contains(&attempts) => Ok(attempts),
        _ => Err(InvalidJob::MaxAttempts(given)),
    }
}

fn check_timeout(given: Duration) -> Result<Duration, InvalidJob> {
    if given < Duration::from_millis(1) || given > TIMEOUT_MAX {
        return Err(InvalidJob::Timeout(format!("{given:?}")));
    }
    Ok(given)
}

fn check_text(what: &'static str, text: &str) -> Result<(), InvalidJob> {
    if text.is_empty() || text.len() > TEXT_BYTES_MAX {
        return Err(InvalidJob::Text { what, max: TEXT_BYTES_MAX });
    }
    if text.contains('\0') {
        return Err(InvalidJob::Nul { what });
    }
    Ok(())
}

fn check_trace_parent(text: &str) -> Result<(), InvalidJob> {
    let parts: Vec<_> = text.split('-').collect();
    let hex = |part: &str, len| {
        part.len() == len && part.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase())
    };
    let valid = parts.len() == 4
        && hex(parts[0], 2)
        && hex(parts[1], 32)
        && hex(parts[2], 16)
        && hex(parts[3], 2);
    if valid { Ok(()) } else { Err(InvalidJob::TraceParent { given: crate::id::clip(text) }) }
}
