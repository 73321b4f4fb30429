//! The pages, one file each; each draws itself into the room between the tabs and the keys.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;

use super::model::Model;
use super::paint::{Paint, span};
use super::shapes::Queue;

pub(crate) mod dead;
pub(crate) mod job;
pub(crate) mod jobs;
pub(crate) mod overview;
pub(crate) mod queues;
pub(crate) mod workers;

/// Splits off the first row of a page.
fn under_a_line(area: Rect) -> [Rect; 2] {
    Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(area)
}

/// Says instead of a table why it is empty; before the first look, that one is under way.
fn draw_empty(frame: &mut Frame<'_>, area: Rect, model: &Model, why: &str, paint: Paint) {
    let text = match (model.looked_at, &model.missed) {
        (None, None) => "looking …",
        (None, Some(_)) => "nothing was seen yet",
        (Some(_), _) => why,
    };
    frame.render_widget(Line::styled(format!(" {text}"), paint.faint()), area);
}

/// Returns how long ago something was, by the clock of this machine.
fn ago(at: dutiful::Timestamp) -> std::time::Duration {
    dutiful::Clock::machine().now().since(at)
}

/// Returns how long the oldest pending job of a queue has been due; anything may be told of it.
fn age(queue: &Queue) -> String {
    let oldest = std::time::Duration::try_from_secs_f64(queue.oldest_pending_s);
    oldest.map_or_else(|_| "?".to_owned(), span)
}
