//! One job: its settings, a timeline of its attempts with errors and log lines, and its payload.

use std::time::Duration;

use dutiful::Timestamp;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::super::draw::wrapped;
use super::super::indent::indented;
use super::super::model::{Model, Opened};
use super::super::paint::{Paint, full, span};
use super::super::shapes::{Attempt, Failure, Job};
use super::{ago, draw_empty, under_a_line};
use crate::output;

/// Bytes of a payload, result or checkpoint that are shown, and of an error's message.
const TEXT_SHOWN: usize = 16 * 1024;
/// Log lines of an attempt that are shown, the last ones.
const LOG_SHOWN: usize = 20;
/// Width of a fact's name.
const NAME_COLUMNS: usize = 15;

/// Draws the page.
pub(crate) fn draw(frame: &mut Frame<'_>, area: Rect, model: &mut Model, paint: Paint) {
    let Some(mut open) = model.open.take() else { return };
    let [head, rest] = under_a_line(area);
    frame.render_widget(heading(&open, paint), head);
    match &open.job {
        None if open.gone => draw_empty(frame, rest, model, "there is no such job any more", paint),
        None => draw_empty(frame, rest, model, "looking …", paint),
        Some(job) => {
            let lines = lines(job, rest.width, paint);
            let rows = usize::from(rest.height);
            open.scroll = open.scroll.min(lines.len().saturating_sub(rows));
            let seen: Vec<_> = lines.into_iter().skip(open.scroll).take(rows).collect();
            frame.render_widget(Paragraph::new(seen), rest);
        }
    }
    model.open = Some(open);
}

fn heading(open: &Opened, paint: Paint) -> Line<'static> {
    let mut spans = vec![Span::styled(format!(" job {}", open.id), paint.strong())];
    if let Some(job) = &open.job {
        let state = if open.gone { "deleted" } else { job.state.as_str() };
        spans.push(Span::styled(format!("  {state}"), paint.state(job.state)));
    }
    Line::from(spans)
}

fn lines(job: &Job, width: u16, paint: Paint) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    for (name, value) in facts(job) {
        fact(&mut lines, name, &value, width, Style::new(), paint);
    }
    if let Some(error) = &job.last_error {
        fact(&mut lines, "last error", &failure(error), width, paint.bad(), paint);
    }
    if !job.attempts.is_empty() {
        title(&mut lines, "attempts", paint);
        lines.push(timeline(job, width, paint));
        let mut before = job.created_at;
        for attempt in &job.attempts {
            one_attempt(&mut lines, attempt, before, width, paint);
            before = attempt.finished_at.unwrap_or(before);
        }
    }
    let texts = [
        ("payload", job.payload.as_ref()),
        ("checkpoint", job.checkpoint.as_ref()),
        ("result", job.result.as_ref()),
    ];
    for (name, text) in texts {
        let Some(json) = text.map(|text| text.get()) else { continue };
        title(&mut lines, &format!("{name} ({} bytes)", full(json.len() as u64)), paint);
        block(&mut lines, &indented(cut(json)), width, Style::new());
        if json.len() > TEXT_SHOWN {
            let more = format!("… dutiful jobs show {} shows all of it", job.id);
            block(&mut lines, &more, width, paint.faint());
        }
    }
    lines
}

fn facts(job: &Job) -> Vec<(&'static str, String)> {
    let maybe = |text: &Option<String>| text.as_deref().map(output::plain);
    let mut attempts = format!("{} ({} failed of {})", job.attempt, job.failures, job.max_attempts);
    if job.crashes > 0 {
        attempts.push_str(&format!(", {} crashes in a row", job.crashes));
    }
    let settings = format!(
        "priority {}, timeout {}, {}",
        job.priority,
        span(Duration::from_millis(job.timeout_ms)),
        output::plain(&job.delivery).replace('_', " ")
    );
    let lone = job.correlation_id == job.id.to_string();
    let all = [
        ("type", Some(output::plain(&job.job_type))),
        ("queue", Some(output::plain(&job.queue))),
        ("attempt", Some(attempts)),
        ("created at", Some(time(job.created_at))),
        ("scheduled for", Some(time(job.scheduled_for)).filter(|_| !job.state.is_final())),
        ("finished at", job.finished_at.map(time)),
        ("dead because", maybe(&job.dead_reason)),
        ("settings", Some(settings)),
        ("correlation id", Some(output::plain(&job.correlation_id)).filter(|_| !lone)),
        ("trace parent", maybe(&job.trace_parent)),
        ("group", maybe(&job.group)),
        ("unique key", maybe(&job.unique_key)),
        ("tags", Some(output::plain(&job.tags.join(", "))).filter(|tags| !tags.is_empty())),
        (
            "progress",
            job.progress.as_ref().map(|one| {
                let note = output::plain(one.note.as_deref().unwrap_or_default());
                format!("{} % {note}", one.percent)
            }),
        ),
        (
            "payload",
            Some(format!("{} bytes", full(job.payload_bytes as u64)))
                .filter(|_| job.payload.is_none()),
        ),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

fn title(lines: &mut Vec<Line<'static>>, name: &str, paint: Paint) {
    lines.push(Line::default());
    lines.push(Line::styled(format!(" {name}"), paint.strong()));
}

fn fact(
    lines: &mut Vec<Line<'static>>,
    name: &str,
    value: &str,
    width: u16,
    style: Style,
    paint: Paint,
) {
    let room = width.saturating_sub(NAME_COLUMNS as u16 + 1);
    for (at, text) in wrapped(value, room).into_iter().enumerate() {
        let name = if at == 0 { name } else { "" };
        let name = Span::styled(format!(" {name:<NAME_COLUMNS$}"), paint.faint());
        lines.push(Line::from(vec![name, Span::styled(text, style)]));
    }
}

/// Adds lines of text as they are, each made harmless and broken where the screen ends.
fn block(lines: &mut Vec<Line<'static>>, text: &str, width: u16, style: Style) {
    for line in text.lines() {
        let line = output::plain(line);
        let texts = wrapped(&line, width.saturating_sub(3));
        lines.extend(texts.into_iter().map(|text| Line::styled(format!("   {text}"), style)));
    }
}

/// Returns the life of the job as a bar: attempts are thick, waits thin.
fn timeline(job: &Job, width: u16, paint: Paint) -> Line<'static> {
    let columns = usize::from(width.saturating_sub(2));
    let now = job.created_at.plus(ago(job.created_at));
    let last = job.attempts.iter().filter_map(|one| one.finished_at).max();
    let end = job.finished_at.or(last.filter(|_| job.state.is_final())).unwrap_or(now);
    let whole = end.since(job.created_at).as_secs_f64().max(0.001);
    let column = |at: Timestamp| {
        let part = at.since(job.created_at).as_secs_f64() / whole;
        ((part * columns as f64) as usize).min(columns.saturating_sub(1))
    };
    let mut cells = vec![("─", paint.faint()); columns];
    for one in &job.attempts {
        let (from, to) = (column(one.started_at), column(one.finished_at.unwrap_or(end)));
        for cell in cells.iter_mut().take(to + 1).skip(from) {
            *cell = ("█", outcome(&one.outcome, paint));
        }
    }
    let cells = cells.into_iter().map(|(symbol, style)| Span::styled(symbol, style));
    Line::from(std::iter::once(Span::raw(" ")).chain(cells).collect::<Vec<_>>())
}

fn one_attempt(
    lines: &mut Vec<Line<'static>>,
    attempt: &Attempt,
    before: Timestamp,
    width: u16,
    paint: Paint,
) {
    let ran = attempt.finished_at.map_or_else(
        || format!("for {}", span(ago(attempt.started_at))),
        |end| format!("after {}", span(end.since(attempt.started_at))),
    );
    let worker = attempt.worker_name.as_deref().unwrap_or("an unknown worker");
    let waited = span(attempt.started_at.since(before));
    let text = format!(
        " {} {} {ran} on {}, {} (waited {waited})",
        attempt.number,
        output::plain(&attempt.outcome),
        output::plain(worker),
        time(attempt.started_at),
    );
    let texts = wrapped(&text, width);
    let style = outcome(&attempt.outcome, paint);
    lines.extend(texts.into_iter().map(|text| Line::styled(text, style)));
    if let Some(error) = &attempt.error {
        block(lines, cut(&format!("{}: {}", error.class, error.message)), width, paint.bad());
    }
    let hidden = attempt.log.len().saturating_sub(LOG_SHOWN);
    if hidden > 0 {
        block(lines, &format!("… {hidden} log lines before these"), width, paint.faint());
    }
    for line in &attempt.log[hidden..] {
        let at = time(line.at);
        let clock = at.split(' ').nth(1).unwrap_or(&at);
        block(lines, &format!("{clock} {}", output::plain(&line.text)), width, paint.faint());
    }
}

fn outcome(word: &str, paint: Paint) -> Style {
    match word {
        "completed" => paint.good(),
        "running" => paint.accent(),
        "failed" => paint.warn(),
        "dead" | "stalled" => paint.bad(),
        _ => Style::new(),
    }
}

fn failure(error: &Failure) -> String {
    output::plain(cut(&format!("{}: {}", error.class, error.message)))
}

/// Returns a time without the fraction of its second.
fn time(at: Timestamp) -> String {
    let text = at.to_string();
    format!("{} UTC", text.split('.').next().unwrap_or(&text).replace('T', " "))
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_SHOWN)]
}
