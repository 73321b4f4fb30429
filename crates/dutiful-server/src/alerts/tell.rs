//! What became of an alert, told to those who want to know.

use dutiful::{Client, Error};

use super::evaluate::{Record, State};
use super::rules::Severity;
use super::view::Alert;
use crate::notify::{Acknowledged, Event, Notice, NotifySeverity, NotifyTargets, notify};

/// Has it told that an alert fires or is resolved. Told again, each target hears it once.
pub(super) async fn tell(
    client: &Client,
    targets: &NotifyTargets,
    record: &Record,
) -> Result<(), Error> {
    let event = match record.state {
        State::Firing => Event::Firing,
        State::Resolved => Event::Resolved,
        State::Pending => return Ok(()),
    };
    notify(client, targets, event, &notice(record.clone().into())).await.map(drop)
}

fn notice(alert: Alert) -> Notice {
    let known = alert.acknowledged;
    Notice {
        id: alert.id,
        rule: alert.rule.as_str().to_owned(),
        severity: match alert.severity {
            Severity::Warning => NotifySeverity::Warning,
            Severity::Critical => NotifySeverity::Critical,
        },
        state: alert.state.as_str().to_owned(),
        queue: alert.queue,
        since: alert.since.to_string(),
        fired_at: alert.fired_at.map(|at| at.to_string()),
        value: alert.value,
        threshold: alert.threshold,
        summary: alert.summary,
        advice: alert.advice,
        acknowledged: known.map(|one| Acknowledged { by: one.by, at: one.at.to_string() }),
    }
}
