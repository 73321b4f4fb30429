//! The workers that run: what they serve, how busy they are, and whether they are heard of.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::super::model::Model;
use super::super::paint::{Paint, count, span};
use super::super::table::{self, Column, Text, left, rest, right};
use super::{ago, draw_empty};
use crate::output;

const COLUMNS: [Column; 7] = [
    rest("worker", 12, 0),
    left("state", 7, 1),
    right("running", 9, 2),
    left("queues", 20, 4),
    left("types", 24, 6),
    right("heard of", 8, 3),
    right("started", 8, 5),
];

/// Draws the page.
pub(crate) fn draw(frame: &mut Frame<'_>, area: Rect, model: &mut Model, paint: Paint) {
    let Some(workers) = model.workers.as_deref().filter(|workers| !workers.is_empty()) else {
        let why = if model.workers.is_some() { "no worker runs" } else { "looking …" };
        return draw_empty(frame, area, model, why, paint);
    };
    let row = |at: usize| -> Vec<Text> {
        let one = &workers[at];
        let (state, style) = match one.state.as_str() {
            "alive" if one.quiet => ("quiet", paint.warn()),
            "alive" => ("alive", paint.good()),
            other => (other, paint.bad()),
        };
        let slots = one.queues.values().fold(0, |sum: u64, n| sum.saturating_add(*n));
        let queues: Vec<_> = one.queues.iter().map(|(name, n)| format!("{name}:{n}")).collect();
        vec![
            (output::plain(&one.name), Style::new()),
            (output::plain(state), style),
            (format!("{}/{}", count(one.running), count(slots)), paint.accent()),
            (output::plain(&queues.join(" ")), Style::new()),
            (output::plain(&one.types.join(" ")), paint.faint()),
            (span(ago(one.beat_at)), Style::new()),
            (span(ago(one.started_at)), paint.faint()),
        ]
    };
    table::draw(frame, area, &COLUMNS, (&mut model.worker, workers.len()), row, paint);
}
