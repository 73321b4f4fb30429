//! What people read of a notification: the subject of a mail, its text, and a message in a chat.

use super::{Event, Notification};

/// Longest sentence that is taken over, in bytes; the rest is cut.
const SENTENCE_MAX: usize = 2000;
/// Longest subject.
const SUBJECT_MAX: usize = 180;

/// One line: how severe, what happened, where.
pub(super) fn subject(what: &Notification) -> String {
    let alert = &what.alert;
    let head = match what.event {
        Event::Firing => alert.severity.to_string(),
        Event::Resolved => "resolved".to_owned(),
    };
    let place = alert.queue.as_ref().map_or(String::new(), |queue| format!("{queue}: "));
    cut(&line(&format!("[{head}] {place}{}", alert.summary)), SUBJECT_MAX)
}

/// The whole of it as plain text.
pub(super) fn text(what: &Notification) -> String {
    let alert = &what.alert;
    let mut lines = vec![opening(what), line(&alert.summary)];
    if what.event == Event::Firing && !alert.advice.is_empty() {
        lines.push(format!("What to do: {}", line(&alert.advice)));
    }
    let queue = alert.queue.as_ref().map_or(String::new(), |queue| format!(", queue {queue}"));
    lines.push(String::new());
    lines.push(format!("Rule {}{queue}, since {}", line(&alert.rule), line(&alert.since)));
    lines.push(format!("Value {}, threshold {}", alert.value, alert.threshold));
    if let Some(seen) = &alert.acknowledged {
        lines.push(format!("Acknowledged by {} at {}", line(&seen.by), line(&seen.at)));
    }
    if !what.server.is_empty() {
        lines.push(format!("Told by {}", line(&what.server)));
    }
    let lines: Vec<_> = lines.iter().map(|one| cut(one, SENTENCE_MAX)).collect();
    lines.join("\n") + "\n"
}

/// The same for a chat, where some characters have a meaning.
pub(super) fn chat(what: &Notification) -> String {
    let text = text(what).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    text.trim_end().to_owned()
}

fn opening(what: &Notification) -> String {
    match what.event {
        Event::Firing => format!("{} alert", what.alert.severity).to_uppercase(),
        Event::Resolved => "RESOLVED".to_owned(),
    }
}

/// Makes one line of what may be several: a queue's name, or an error, is somebody else's text.
fn line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn cut(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(most)])
}
