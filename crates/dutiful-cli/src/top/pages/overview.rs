//! The overview: totals by state, what happens in a second, how long things take, warnings, and the
//! queues with the most to do.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Paragraph, Sparkline};

use super::super::draw::wrapped;
use super::super::model::Model;
use super::super::paint::{Paint, bound, count, full, rate};
use super::super::rates::Rates;
use super::super::shapes::{Counts, Queue, Stats};
use super::{age, draw_empty};
use crate::output;

/// Width of one total, and of the name of a queue.
const TOTAL_COLUMNS: u16 = 10;
const QUEUE_COLUMNS: usize = 20;
/// Width of its numbers, with the word that it is paused.
const FACTS_COLUMNS: usize = 41;
/// Most rows of warnings.
const WARNING_ROWS: usize = 4;
/// Rows of a sparkline with its title, least and most.
const SPARK_ROWS: (u16, u16) = (3, 7);
/// A sparkline is drawn in so small parts of a job per second.
const PARTS: f64 = 100.0;
/// Narrower than this the sparklines stand below each other.
const BESIDE_COLUMNS: u16 = 54;

/// Draws the page.
pub(crate) fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model, paint: Paint) {
    let Some(stats) = &model.stats else {
        return draw_empty(frame, area, model, "", paint);
    };
    let totals = totals(&stats.totals, area.width, paint);
    let times = times(stats, model);
    let times: Vec<_> = times.iter().flat_map(|text| wrapped(text, area.width)).collect();
    let warnings = warnings(stats, area.width);
    let spare = area.height.saturating_sub((totals.len() + times.len() + warnings.len()) as u16);
    let beside = area.width >= BESIDE_COLUMNS;
    let sparks = match (beside, spare) {
        (true, 4..) => (spare / 2).clamp(SPARK_ROWS.0, SPARK_ROWS.1),
        (false, 9..) => 9,
        _ => 0,
    };
    let air = u16::from(spare > 12);
    let rows = [
        Constraint::Length(totals.len() as u16 + air),
        Constraint::Length(times.len() as u16),
        Constraint::Length(warnings.len() as u16),
        Constraint::Length(sparks),
        Constraint::Length(air),
        Constraint::Min(0),
    ];
    let [on_totals, on_times, on_warnings, on_sparks, _, on_queues] =
        Layout::vertical(rows).areas(area);
    frame.render_widget(Paragraph::new(totals), on_totals);
    let times: Vec<_> = times.into_iter().map(Line::from).collect();
    frame.render_widget(Paragraph::new(times), on_times);
    let warnings: Vec<_> = warnings.into_iter().map(Line::from).collect();
    frame.render_widget(Paragraph::new(warnings).style(paint.warn()), on_warnings);
    draw_sparks(frame, on_sparks, model, beside, paint);
    draw_queues(frame, on_queues, stats, paint);
}

/// Returns the totals, a name above its number, as many beside each other as there is room for.
fn totals(n: &Counts, width: u16, paint: Paint) -> Vec<Line<'static>> {
    let some = |n: u64, style: Style| if n == 0 { paint.faint() } else { style };
    let all = [
        ("pending", n.pending, paint.strong()),
        ("scheduled", n.scheduled, Style::new()),
        ("active", n.active, paint.accent()),
        ("failed", n.failed, some(n.failed, paint.warn())),
        ("completed", n.completed, paint.good()),
        ("dead", n.dead, some(n.dead, paint.bad())),
        ("cancelled", n.cancelled, Style::new()),
        ("rescued", n.stalled_total, some(n.stalled_total, Style::new())),
    ];
    let in_a_row = usize::from(width / TOTAL_COLUMNS).max(1);
    let mut lines = Vec::new();
    for some in all.chunks(in_a_row) {
        let wide = usize::from(TOTAL_COLUMNS);
        let number = |n: u64| if full(n).len() < wide { full(n) } else { count(n) };
        let names =
            some.iter().map(|(name, ..)| Span::styled(format!("{name:>wide$}"), paint.faint()));
        lines.push(Line::from(names.collect::<Vec<_>>()));
        let numbers =
            some.iter().map(|(_, n, style)| Span::styled(format!("{:>wide$}", number(*n)), *style));
        lines.push(Line::from(numbers.collect::<Vec<_>>()));
    }
    lines
}

/// Returns how long things take: the oldest that waits, and quantiles of the last minute.
fn times(stats: &Stats, model: &Model) -> Vec<String> {
    let oldest = stats.queues.iter().filter(|one| one.counts.pending > 0);
    let oldest = oldest.max_by(|a, b| a.oldest_pending_s.total_cmp(&b.oldest_pending_s));
    let oldest = oldest.map_or("nothing is pending".to_owned(), |queue| {
        format!("oldest pending {} in {}", age(queue), output::plain(&queue.queue))
    });
    let history = &model.history;
    let times = format!(
        " waited p50 {} p95 {}   ran p50 {} p95 {}   (last minute)",
        bound(history.waited(0.5)),
        bound(history.waited(0.95)),
        bound(history.ran(0.5)),
        bound(history.ran(0.95)),
    );
    vec![format!(" {oldest}"), times]
}

fn warnings(stats: &Stats, width: u16) -> Vec<String> {
    let mut lines = Vec::new();
    for (at, warning) in stats.warnings.iter().enumerate() {
        if lines.len() >= WARNING_ROWS {
            let left = stats.warnings.len() - at;
            lines.truncate(WARNING_ROWS - 1);
            lines.push(format!(" … and {left} more: dutiful stats shows them all"));
            return lines;
        }
        lines.extend(wrapped(&format!(" ! {}", output::plain(warning)), width));
    }
    lines.truncate(WARNING_ROWS);
    lines
}

/// The name of a sparkline, what it shows, and its look.
type Spark = (&'static str, fn(&Rates) -> f64, Style);

fn draw_sparks(frame: &mut Frame<'_>, area: Rect, model: &Model, beside: bool, paint: Paint) {
    if area.is_empty() {
        return;
    }
    let three = [Constraint::Fill(1); 3];
    let layout = if beside { Layout::horizontal(three) } else { Layout::vertical(three) };
    let areas: [Rect; 3] = layout.spacing(u16::from(beside) * 2).areas(area);
    let lines: [Spark; 3] = [
        ("enqueued", |rates| rates.enqueued, paint.accent()),
        ("completed", |rates| rates.completed, paint.good()),
        ("failed", |rates| rates.failed, paint.bad()),
    ];
    for (area, (name, of, style)) in areas.into_iter().zip(lines) {
        let now = model.history.now().as_ref().map_or("…".to_owned(), |one| rate(of(one)));
        let columns = usize::from(area.width);
        let mut seen: Vec<f64> =
            model.history.columns().rev().take(columns).map(|one| of(&one)).collect();
        seen.reverse();
        let peak = seen.iter().copied().fold(0.0, f64::max);
        let mut title = vec![Span::styled(format!(" {name} "), paint.faint())];
        title.push(Span::styled(format!("{now}/s "), paint.strong()));
        if peak > 0.0 {
            title.push(Span::styled(format!("peak {} ", rate(peak)), paint.faint()));
        }
        let block = Block::new().borders(Borders::TOP).border_style(paint.faint());
        // The newest stands at the right end.
        let missing = columns.saturating_sub(seen.len());
        let bars = seen.iter().map(|one| Some((one * PARTS) as u64));
        let data: Vec<Option<u64>> = std::iter::repeat_n(None, missing).chain(bars).collect();
        let spark =
            Sparkline::default().data(data).style(style).block(block.title(Line::from(title)));
        frame.render_widget(spark, area);
    }
}

/// Draws the queues with the most to do, each with a bar of what is due in it.
fn draw_queues(frame: &mut Frame<'_>, area: Rect, stats: &Stats, paint: Paint) {
    let mut queues: Vec<&Queue> = stats.queues.iter().collect();
    let todo = |one: &Queue| one.counts.pending.saturating_add(one.counts.active);
    queues.sort_by_key(|one| std::cmp::Reverse(todo(one)));
    let most = queues.iter().map(|one| one.counts.pending).max().unwrap_or(0).max(1);
    let room = usize::from(area.width).saturating_sub(QUEUE_COLUMNS + FACTS_COLUMNS + 3);
    let line = |one: &&Queue| {
        let n = &one.counts;
        let bar = (n.pending as f64 / most as f64 * room as f64).ceil() as usize;
        let facts = format!("{:>8} pending {:>8} active  ", count(n.pending), count(n.active));
        let name = output::short(&one.queue, QUEUE_COLUMNS - 1);
        Line::from(vec![
            Span::raw(format!(" {name:<QUEUE_COLUMNS$}")),
            Span::raw(facts),
            Span::styled(if one.paused { "paused " } else { "" }, paint.warn()),
            Span::styled("━".repeat(bar), paint.accent()),
        ])
    };
    let lines: Vec<_> = queues.iter().take(usize::from(area.height)).map(line).collect();
    frame.render_widget(Paragraph::new(lines), area);
}
