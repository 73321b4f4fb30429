//! The queues: how many jobs stand where, how long the oldest waits, and which are paused.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::super::model::Model;
use super::super::paint::{Paint, count};
use super::super::table::{self, Column, Text, left, rest, right};
use super::{age, draw_empty};
use crate::output;

const COLUMNS: [Column; 9] = [
    rest("queue", 12, 0),
    right("pending", 8, 1),
    right("active", 8, 3),
    right("failed", 8, 4),
    right("dead", 8, 2),
    right("scheduled", 9, 7),
    right("completed", 9, 8),
    right("oldest", 8, 6),
    left("", 6, 5),
];

/// Draws the page.
pub(crate) fn draw(frame: &mut Frame<'_>, area: Rect, model: &mut Model, paint: Paint) {
    let queues = model.stats.as_ref().map_or(&[][..], |stats| &stats.queues);
    if queues.is_empty() {
        return draw_empty(frame, area, model, "no job was ever enqueued here", paint);
    }
    let row = |at: usize| -> Vec<Text> {
        let one = &queues[at];
        let n = &one.counts;
        let number = |n: u64, style: Style| match n {
            0 => ("·".to_owned(), paint.faint()),
            n => (count(n), style),
        };
        let oldest = if n.pending > 0 { age(one) } else { String::new() };
        vec![
            (output::plain(&one.queue), paint.strong()),
            number(n.pending, Style::new()),
            number(n.active, paint.accent()),
            number(n.failed, paint.warn()),
            number(n.dead, paint.bad()),
            number(n.scheduled, Style::new()),
            number(n.completed, paint.good()),
            (oldest, Style::new()),
            (if one.paused { "paused" } else { "" }.to_owned(), paint.warn()),
        ]
    };
    table::draw(frame, area, &COLUMNS, (&mut model.queue, queues.len()), row, paint);
}
