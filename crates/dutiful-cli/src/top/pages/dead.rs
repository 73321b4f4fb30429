//! Dead jobs by what they died of, and the jobs of one such group.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::super::model::Model;
use super::super::paint::{Paint, count, full, span};
use super::super::shapes::Group;
use super::super::table::{self, Column, Text, left, rest, right};
use super::{ago, draw_empty, jobs, under_a_line};
use crate::output;

const COLUMNS: [Column; 5] = [
    right("jobs", 7, 1),
    left("type", 18, 2),
    left("error", 16, 4),
    rest("message", 12, 0),
    right("last", 8, 3),
];

/// Draws the page.
pub(crate) fn draw(frame: &mut Frame<'_>, area: Rect, model: &mut Model, paint: Paint) {
    if let Some((group, mut list)) = model.inside.take() {
        let [head, below] = under_a_line(area);
        frame.render_widget(heading(&group, paint), head);
        jobs::draw_list(frame, below, model, &mut list, paint);
        model.inside = Some((group, list));
        return;
    }
    let (groups, complete) = match &model.groups {
        Some(groups) => (&groups.groups[..], groups.complete),
        None => return draw_empty(frame, area, model, "looking …", paint),
    };
    if groups.is_empty() {
        return draw_empty(frame, area, model, "no job is dead", paint);
    }
    let [head, below] = under_a_line(area);
    let jobs = groups.iter().fold(0, |sum: u64, one| sum.saturating_add(one.count));
    let of = if complete { "" } else { "the newest " };
    let text = format!(" {of}{} dead jobs, by cause: {}", full(jobs), groups.len());
    frame.render_widget(Line::styled(text, paint.faint()), head);
    let row = |at: usize| -> Vec<Text> {
        let one = &groups[at];
        vec![
            (count(one.count), paint.bad()),
            (output::plain(&one.job_type), Style::new()),
            (output::plain(&one.class), paint.warn()),
            (output::plain(&one.message), Style::new()),
            (span(ago(one.last_at)), paint.faint()),
        ]
    };
    table::draw(frame, below, &COLUMNS, (&mut model.group, groups.len()), row, paint);
}

fn heading(group: &Group, paint: Paint) -> Line<'static> {
    let cause = format!("{}: {}", group.class, group.message);
    Line::from(vec![
        Span::styled(format!(" {} ", output::plain(&group.job_type)), paint.strong()),
        Span::styled(output::plain(&cause), paint.warn()),
    ])
}
