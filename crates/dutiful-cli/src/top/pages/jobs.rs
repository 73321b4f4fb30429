//! Lists of jobs, newest first: those of a state and a filter, and those of a group of dead ones.

use dutiful::State;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::super::keys::words;
use super::super::model::{List, Model};
use super::super::paint::{Paint, span};
use super::super::shapes::Job;
use super::super::table::{self, Column, Text, left, rest, right};
use super::{ago, draw_empty, under_a_line};
use crate::output;

/// Characters of an id at its end, where ids of one moment differ.
const ID_SHOWN: usize = 8;
/// Where the line of states has less room than this beside the filter, only the chosen one is
/// there.
const STATES_COLUMNS: usize = 77;

const COLUMNS: [Column; 7] = [
    left("state", 9, 1),
    left("type", 18, 0),
    left("queue", 12, 4),
    right("age", 7, 2),
    right("att", 4, 5),
    left("id", 9, 6),
    rest("last error", 16, 3),
];

/// Draws the page.
pub(crate) fn draw(frame: &mut Frame<'_>, area: Rect, model: &mut Model, paint: Paint) {
    let [head, below] = under_a_line(area);
    frame.render_widget(states(&model.jobs, head.width, paint), head);
    let mut list = std::mem::take(&mut model.jobs);
    draw_list(frame, below, model, &mut list, paint);
    model.jobs = list;
}

/// Returns the line of states with the one that is shown, and the filter.
fn states(list: &List, width: u16, paint: Paint) -> Line<'static> {
    let shown = list.query.state;
    let all = std::iter::once(None).chain(State::ALL.into_iter().map(Some));
    let filter = output::plain(&words(&list.query));
    let room = usize::from(width).saturating_sub(filter.chars().count());
    let all = all.filter(|one| room > STATES_COLUMNS || *one == shown);
    let mut spans: Vec<_> = all
        .map(|one| {
            let name = one.map_or("any", State::as_str);
            let style = if one == shown { paint.chosen() } else { paint.faint() };
            Span::styled(format!(" {name} "), style)
        })
        .collect();
    if !list.newer.is_empty() {
        spans.push(Span::styled(format!(" page {}", list.newer.len() + 1), paint.accent()));
    }
    if !filter.is_empty() {
        spans.push(Span::styled(format!(" {filter}"), paint.strong()));
    }
    Line::from(spans)
}

/// Draws a list of jobs.
pub(super) fn draw_list(
    frame: &mut Frame<'_>,
    area: Rect,
    model: &mut Model,
    list: &mut List,
    paint: Paint,
) {
    model.rows = usize::from(area.height.saturating_sub(1));
    let jobs = list.page.as_ref().map_or(&[][..], |page| &page.jobs);
    if jobs.is_empty() {
        let why = match &list.page {
            None => "looking …",
            Some(page) if page.next.is_some() => "none in this part: n looks further back",
            Some(_) => "no such jobs",
        };
        return draw_empty(frame, area, model, why, paint);
    }
    let row = |at: usize| cells(&jobs[at], paint);
    table::draw(frame, area, &COLUMNS, (&mut list.choice, jobs.len()), row, paint);
}

fn cells(job: &Job, paint: Paint) -> Vec<Text> {
    let id = job.id.to_string();
    let error = job.last_error.as_ref();
    let error = error.map(|one| format!("{}: {}", one.class, one.message)).unwrap_or_default();
    let progress = job.progress.as_ref().filter(|_| job.state == State::Active);
    let last = match progress {
        Some(one) => format!("{} % {}", one.percent, one.note.as_deref().unwrap_or_default()),
        None => error,
    };
    vec![
        (job.state.to_string(), paint.state(job.state)),
        (output::plain(&job.job_type), Style::new()),
        (output::plain(&job.queue), Style::new()),
        (span(ago(job.created_at)), paint.faint()),
        (format!("{}/{}", job.attempt, job.max_attempts), paint.faint()),
        (format!("…{}", &id[id.len().saturating_sub(ID_SHOWN)..]), paint.faint()),
        (output::plain(&last), paint.faint()),
    ]
}
