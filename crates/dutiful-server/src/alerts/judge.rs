//! What each rule makes of the numbers of one queue: whether its condition holds, the sentence with
//! the numbers, and what to do.

use super::baseline::Baselines;
use super::rules::{Rule, Setting, Severity};
use super::sample::{Line, Ring, Sample, Trouble, Window, quantile};
use super::words::{jobs, number, percent, time};
use crate::serve::OWN_QUEUE as OWN;

/// Shares and quantiles of fewer attempts say nothing.
pub(crate) const ATTEMPTS_MIN: u64 = 20;
/// Attempts that are shorter than this are not called slow, whatever is usual.
const SLOW_MIN_S: f64 = 0.05;
/// The quantile that durations are judged by.
pub(crate) const QUANTILE: f64 = 0.95;
/// In the queues of the server's own jobs, some of which run one at a time and take long, only
/// these are looked at.
const OWN_RULES: [Rule; 4] = [Rule::Dead, Rule::Stalled, Rule::NoWorkers, Rule::Overdue];

/// What is looked at.
pub(crate) struct View<'a> {
    pub(crate) ring: &'a Ring,
    pub(crate) baselines: &'a Baselines,
    pub(crate) window_ms: i64,
}

/// What a rule makes of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    Holds(Found),
    Gone,
    /// There is too little to tell: what was said before stays.
    Unknown,
}

/// A condition that holds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Found {
    pub(crate) value: f64,
    pub(crate) summary: String,
    pub(crate) advice: String,
    /// Where it is less than the rule says.
    pub(crate) severity: Option<Severity>,
}

fn found(value: f64, summary: String, advice: &str) -> Verdict {
    Verdict::Holds(Found { value, summary, advice: advice.to_owned(), severity: None })
}

/// Holds, or is gone when the window was whole, else nobody knows.
fn over_window(window: &Window, holds: Option<Verdict>) -> Verdict {
    match holds {
        Some(verdict) => verdict,
        None if window.whole => Verdict::Gone,
        None => Verdict::Unknown,
    }
}

impl View<'_> {
    /// Judges one rule for one queue, or for the store.
    pub(crate) fn judge(&self, rule: Rule, queue: Option<&str>, setting: &Setting) -> Verdict {
        let Some(last) = self.ring.last() else { return Verdict::Unknown };
        if !setting.enabled {
            return Verdict::Gone;
        }
        let Some(queue) = queue else { return store(&last.troubles) };
        if !last.answers {
            return Verdict::Unknown;
        }
        if is_own(queue) && !OWN_RULES.contains(&rule) {
            return Verdict::Gone;
        }
        let window = self.ring.window(queue, self.window_ms);
        let (Some(line), Some(window)) = (last.queues.get(queue), window) else {
            return absent(last);
        };
        let at = At { queue, line, window: &window, limit: setting.threshold };
        match rule {
            Rule::Depth => at.depth(),
            Rule::Rate => at.rate(self.baselines.per_minute(queue)),
            Rule::ErrorRate => at.error_rate(),
            Rule::Dead => at.dead(),
            Rule::Latency => at.latency(),
            Rule::Duration => at.duration(self.baselines.ran_s(queue)),
            Rule::Utilization => at.utilization(),
            Rule::Stalled => at.stalled(),
            Rule::NoWorkers => at.no_workers(),
            Rule::Overdue => at.overdue(),
            Rule::Store => Verdict::Gone,
        }
    }
}

fn is_own(queue: &str) -> bool {
    queue.strip_prefix(OWN).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// A queue that is not among those watched has nothing in it, unless there are too many of them.
fn absent(last: &Sample) -> Verdict {
    if last.whole { Verdict::Gone } else { Verdict::Unknown }
}

fn store(troubles: &[Trouble]) -> Verdict {
    let worst = troubles.iter().max_by_key(|one| one.bad);
    let Some(worst) = worst else { return Verdict::Gone };
    let more = match troubles.len() - 1 {
        0 => String::new(),
        n => format!(" (and {n} more)"),
    };
    let summary = format!("the store: {}{more}", worst.text);
    let look = "Run `dutiful doctor`: it says what is wrong and what to do.";
    Verdict::Holds(Found {
        value: troubles.len() as f64,
        summary,
        advice: worst.advice.clone().unwrap_or_else(|| look.to_owned()),
        severity: (!worst.bad).then_some(Severity::Warning),
    })
}

/// One queue with what happened in it, and the threshold.
struct At<'a> {
    queue: &'a str,
    line: &'a Line,
    window: &'a Window,
    limit: f64,
}

impl At<'_> {
    fn depth(&self) -> Verdict {
        let pending = self.line.pending;
        let before = self.window.pending_before;
        if pending as f64 <= self.limit || before.is_some_and(|before| pending <= before) {
            return Verdict::Gone;
        }
        let growth = before.map_or_else(String::new, |before| {
            let span = time(self.window.span_ms as f64 / 1000.0);
            format!(", {} more than {span} ago", number((pending - before) as f64))
        });
        let Self { queue, limit, .. } = self;
        let is = if pending == 1 { "is" } else { "are" };
        found(
            pending as f64,
            format!(
                "{} {is} due in queue {queue}{growth} (threshold {})",
                jobs(pending),
                number(*limit)
            ),
            "Start more workers or give them more slots, unless the handlers wait for something \
             that is down.",
        )
    }

    fn rate(&self, usual: Option<f64>) -> Verdict {
        let minutes = self.window.span_ms as f64 / 60_000.0;
        let Some(usual) = usual.filter(|usual| usual * minutes >= ATTEMPTS_MIN as f64) else {
            return over_window(self.window, None);
        };
        if self.line.pending == 0 {
            return Verdict::Gone;
        }
        let now = self.window.completed as f64 / minutes;
        let part = 100.0 * now / usual;
        // A shorter span than the window may be a pause between two long jobs.
        let holds = self.window.whole && self.window.waiting && part < self.limit;
        let verdict = holds.then(|| {
            let Self { queue, limit, line, .. } = self;
            let summary = format!(
                "queue {queue} completes {} a minute, {} of its usual {}, while {} wait \
                 (threshold {})",
                number(now),
                percent(part),
                number(usual),
                number(line.pending as f64),
                percent(*limit)
            );
            let advice = "Look whether workers are missing or slow, and what their handlers wait \
                          for; a deploy may have changed something.";
            found(part, summary, if line.paused { RESUME } else { advice })
        });
        over_window(self.window, verdict)
    }

    fn error_rate(&self) -> Verdict {
        let Self { queue, limit, window, .. } = self;
        let attempts = window.completed + window.failed;
        let part = 100.0 * window.failed as f64 / attempts.max(1) as f64;
        let holds = attempts >= ATTEMPTS_MIN && part > *limit;
        let verdict = holds.then(|| {
            let summary = format!(
                "{} of {} attempts in queue {queue} failed in the last {}: {} (threshold {})",
                number(window.failed as f64),
                number(attempts as f64),
                time(window.span_ms as f64 / 1000.0),
                percent(part),
                percent(*limit)
            );
            let advice = "See what they fail with: `dutiful jobs list --state failed`; pause the \
                          queue while a dependency is down.";
            found(part, summary, advice)
        });
        over_window(window, verdict)
    }

    fn dead(&self) -> Verdict {
        let Self { queue, limit, line, .. } = self;
        if line.dead as f64 <= *limit {
            return Verdict::Gone;
        }
        let verb = if line.dead == 1 { "waits" } else { "wait" };
        found(
            line.dead as f64,
            format!(
                "{} in queue {queue} {verb} for a person (threshold {})",
                jobs(line.dead).replacen("job", "dead job", 1),
                number(*limit)
            ),
            "Find the cause with `dutiful dead list`, then retry or discard them, or acknowledge \
             this.",
        )
    }

    fn latency(&self) -> Verdict {
        let Self { queue, limit, line, window } = self;
        let attempts: u64 = window.waited.iter().sum();
        let waited = quantile(&window.waited, QUANTILE).filter(|_| attempts >= ATTEMPTS_MIN);
        let advice = match (line.paused, line.workers) {
            (true, _) => RESUME,
            (_, 0) => "Start a worker that serves this queue.",
            _ => "Give the queue more slots or workers, or find out why its handlers are slow.",
        };
        if line.pending > 0 && line.oldest_s > *limit {
            let paused = if line.paused { ", which is paused," } else { "" };
            let summary = format!(
                "the oldest due job in queue {queue}{paused} has waited for {} (threshold {})",
                time(line.oldest_s),
                time(*limit)
            );
            return found(line.oldest_s, summary, advice);
        }
        let verdict = waited.filter(|waited| waited > limit).map(|waited| {
            let summary = format!(
                "of 100 jobs in queue {queue} 5 waited longer than {} in the last {} \
                 (threshold {})",
                time(waited),
                time(window.span_ms as f64 / 1000.0),
                time(*limit)
            );
            found(waited, summary, advice)
        });
        over_window(window, verdict)
    }

    fn duration(&self, usual: Option<f64>) -> Verdict {
        let Self { queue, limit, window, .. } = self;
        let attempts: u64 = window.ran.iter().sum();
        let now = quantile(&window.ran, QUANTILE).filter(|_| attempts >= ATTEMPTS_MIN);
        let slow = now.zip(usual).filter(|(now, usual)| *now >= SLOW_MIN_S && *usual > 0.0);
        let verdict = slow.filter(|(now, usual)| now / usual > *limit).map(|(now, usual)| {
            let summary = format!(
                "of 100 attempts in queue {queue} 5 ran longer than {}, {} times the usual {} \
                 (threshold {} times)",
                time(now),
                number(now / usual),
                time(usual),
                number(*limit)
            );
            let advice = "Look at the newest attempts with `dutiful jobs list`: a dependency may \
                          be slow, or payloads larger than before.";
            found(now / usual, summary, advice)
        });
        over_window(window, verdict)
    }

    fn utilization(&self) -> Verdict {
        let Self { queue, limit, line, .. } = self;
        // What is claimed ahead is active and needs no slot yet.
        let busy = line.active.min(line.slots);
        let part = 100.0 * busy as f64 / line.slots.max(1) as f64;
        if line.slots == 0 || part <= *limit {
            return Verdict::Gone;
        }
        found(
            part,
            format!(
                "{} of {} slots of queue {queue} are in use: {} (threshold {})",
                number(busy as f64),
                number(line.slots as f64),
                percent(part),
                percent(*limit)
            ),
            "Give the queue more slots or another worker before jobs begin to wait.",
        )
    }

    fn stalled(&self) -> Verdict {
        let Self { queue, limit, line, window } = self;
        let stalled = window.stalled + line.stalled_now;
        let verdict = (stalled as f64 > *limit).then(|| {
            let was = if stalled == 1 { "was" } else { "were" };
            let summary = format!(
                "{} of queue {queue} {was} lost by a worker in the last {} (threshold {})",
                jobs(stalled),
                time(window.span_ms as f64 / 1000.0),
                number(*limit)
            );
            let advice = "Look at the logs of the workers that ended: a crash, a kill for memory, \
                          or a machine that stood still.";
            found(stalled as f64, summary, advice)
        });
        over_window(window, verdict)
    }

    fn no_workers(&self) -> Verdict {
        let Self { queue, limit, line, .. } = self;
        if line.paused || line.workers > 0 || line.pending as f64 <= *limit {
            return Verdict::Gone;
        }
        let verb = if line.pending == 1 { "waits" } else { "wait" };
        found(
            line.pending as f64,
            format!(
                "{} {verb} in queue {queue}, which no running worker serves, the oldest for {}",
                jobs(line.pending),
                time(line.oldest_s)
            ),
            "Start a worker that serves this queue, or let one that runs serve it too.",
        )
    }

    fn overdue(&self) -> Verdict {
        let Self { queue, limit, line, .. } = self;
        if line.overdue_s <= *limit {
            return Verdict::Gone;
        }
        found(
            line.overdue_s,
            format!(
                "jobs of queue {queue} wait since their time came {} ago, and nobody moves them on \
                 (threshold {})",
                time(line.overdue_s),
                time(*limit)
            ),
            "Start a worker or a server: one of them leads, and moves jobs whose time has come. \
             Where some run, look at the leader's log and at `dutiful doctor`.",
        )
    }
}

const RESUME: &str = "Resume the queue when it is time: `dutiful queues resume`.";
