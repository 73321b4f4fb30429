//! One picture of the screen: head, pages, the page itself, what was said, the keys.

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph};

use super::model::{Dialog, Model, Page};
use super::paint::{Paint, count, span};
use super::{help, pages};
use crate::output;

/// A look that is older than so many rests is told to be.
const STALE_LOOKS: u32 = 5;
/// Narrower than this only the page that is shown has its name beside its number.
const TABS_COLUMNS: u16 = 56;
/// Widest question.
const QUESTION_COLUMNS: u16 = 70;

/// Draws everything.
pub(crate) fn draw(frame: &mut Frame<'_>, model: &mut Model, paint: Paint) {
    let notice = notice(model, paint);
    let notice_rows = notice
        .as_ref()
        .map_or(0, |(text, _)| wrapped(text, frame.area().width).len().clamp(1, 3) as u16);
    let rows = [
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Min(0),
        Constraint::Length(notice_rows),
        Constraint::Length(1),
    ];
    let [head, tabs, body, said, foot] = Layout::vertical(rows).areas(frame.area());
    draw_head(frame, head, model, paint);
    draw_tabs(frame, tabs, model, paint);
    model.rows = usize::from(body.height.saturating_sub(1));
    if model.open.is_some() {
        pages::job::draw(frame, body, model, paint);
    } else {
        match model.page {
            Page::Overview => pages::overview::draw(frame, body, model, paint),
            Page::Queues => pages::queues::draw(frame, body, model, paint),
            Page::Jobs => pages::jobs::draw(frame, body, model, paint),
            Page::Dead => pages::dead::draw(frame, body, model, paint),
            Page::Workers => pages::workers::draw(frame, body, model, paint),
        }
    }
    if let Some((text, style)) = notice {
        let lines: Vec<_> = wrapped(&text, said.width).into_iter().map(Line::from).collect();
        frame.render_widget(Paragraph::new(lines).style(style), said);
    }
    frame.render_widget(Line::styled(help::keys(model), paint.faint()), foot);
    draw_dialog(frame, model, paint);
}

fn draw_head(frame: &mut Frame<'_>, area: Rect, model: &Model, paint: Paint) {
    let age = model.looked_at.map(|at| at.elapsed());
    let state = match age {
        None => ("looking …".to_owned(), paint.faint()),
        Some(age) if age > model.every * STALE_LOOKS => {
            (format!("{} old", span(age)), paint.warn())
        }
        Some(_) => (format!("every {}", span(model.every)), paint.faint()),
    };
    let name = Span::styled(" dutiful ", paint.strong());
    let right = state.0.chars().count() as u16 + 1;
    let [left, right] =
        Layout::horizontal([Constraint::Min(0), Constraint::Length(right)]).areas(area);
    let place = Span::styled(output::plain(&model.place), paint.accent());
    frame.render_widget(Line::from(vec![name, place]), left);
    frame.render_widget(Line::styled(state.0, state.1).alignment(Alignment::Left), right);
}

fn draw_tabs(frame: &mut Frame<'_>, area: Rect, model: &Model, paint: Paint) {
    let dead = model.stats.as_ref().map_or(0, |stats| stats.totals.dead);
    let mut spans = Vec::new();
    let short = area.width < TABS_COLUMNS;
    for (at, page) in Page::ALL.into_iter().enumerate() {
        let here = page == model.page;
        let style = if here { paint.chosen() } else { Style::new() };
        let name = if here || !short { page.name() } else { "" };
        spans.push(Span::styled(format!(" {} {name}", at + 1), style));
        if page == Page::Dead && dead > 0 {
            let loud = if here { style } else { paint.bad() };
            spans.push(Span::styled(format!(" {}", count(dead)), loud));
        }
        spans.push(Span::styled(" ", style));
    }
    frame.render_widget(Line::from(spans), area);
}

/// Returns what stands above the keys: what went wrong before what was done.
fn notice(model: &Model, paint: Paint) -> Option<(String, Style)> {
    if let Some(why) = &model.missed {
        let again = span(model.every);
        let text = format!("failed to {}; asked again every {again}", output::plain(why));
        return Some((text, paint.bad()));
    }
    if let Some(said) = &model.said {
        let style = if said.good { paint.good() } else { paint.warn() };
        return Some((output::plain(&said.text), style));
    }
    model.busy.as_ref().map(|busy| (format!("{busy} …"), paint.accent()))
}

fn draw_dialog(frame: &mut Frame<'_>, model: &Model, paint: Paint) {
    match &model.dialog {
        None => {}
        Some(Dialog::Help) => {
            let lines: Vec<_> = help::LINES.iter().map(|line| Line::from(*line)).collect();
            let width = lines.iter().map(Line::width).max().unwrap_or_default() as u16;
            draw_box(frame, " keys · any key closes ", lines, width, paint.accent());
        }
        Some(Dialog::Ask { question, .. }) => {
            let width = QUESTION_COLUMNS.min(frame.area().width.saturating_sub(4));
            let mut lines: Vec<_> = wrapped(question, width).into_iter().map(Line::from).collect();
            lines.push(Line::default());
            lines.push(Line::styled("y  yes      any other key  no", paint.strong()));
            draw_box(frame, " sure? ", lines, width, paint.warn());
        }
        Some(Dialog::Filter { text, wrong }) => {
            let width = QUESTION_COLUMNS.min(frame.area().width.saturating_sub(4));
            let typed = format!("{}▏", output::plain(text));
            let mut lines: Vec<_> = wrapped(&typed, width).into_iter().map(Line::from).collect();
            lines.push(Line::default());
            match wrong {
                Some(wrong) => {
                    let wrong = wrapped(&output::plain(wrong), width);
                    lines.extend(wrapped_lines(wrong, paint.bad()));
                }
                None => {
                    let known =
                        format!("a type, or type= queue= group= tag= error=; {}", known(model));
                    lines.extend(wrapped_lines(wrapped(&known, width), paint.faint()));
                }
            }
            draw_box(
                frame,
                " filter · Enter takes it, Esc does not ",
                lines,
                width,
                paint.accent(),
            );
        }
    }
}

fn wrapped_lines(texts: Vec<String>, style: Style) -> impl Iterator<Item = Line<'static>> {
    texts.into_iter().take(3).map(move |text| Line::styled(text, style))
}

/// Returns the types there are, for whoever types a filter.
fn known(model: &Model) -> String {
    let names: Vec<_> = model.types.iter().take(20).map(|name| output::plain(name)).collect();
    format!("there are {}", names.join(" "))
}

/// Draws a box in the middle, over what is there.
fn draw_box(
    frame: &mut Frame<'_>,
    title: &'static str,
    lines: Vec<Line<'_>>,
    width: u16,
    border: Style,
) {
    let whole = frame.area();
    let (width, height) = (width.saturating_add(4), lines.len() as u16 + 2);
    let area = whole.centered(Constraint::Length(width), Constraint::Length(height));
    let area = area.intersection(whole);
    let block = Block::bordered().border_style(border).title(title);
    frame.render_widget(Clear, area);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let inner = Rect { x: inner.x.saturating_add(1), ..inner }.intersection(inner);
    frame.render_widget(Paragraph::new(lines), inner);
}

/// Breaks plain text into lines of this width, between words where that is possible.
pub(crate) fn wrapped(text: &str, width: u16) -> Vec<String> {
    let width = usize::from(width.max(1));
    let (mut lines, mut line, mut column) = (Vec::new(), String::new(), 0);
    for word in text.split_inclusive(' ') {
        let long = Span::raw(word.trim_end()).width();
        if column > 0 && column + long > width {
            lines.push(std::mem::take(&mut line));
            column = 0;
        }
        for c in word.chars() {
            let wide = Span::raw(c.encode_utf8(&mut [0; 4]) as &str).width();
            if column + wide > width && column > 0 {
                if c == ' ' {
                    continue;
                }
                lines.push(std::mem::take(&mut line));
                column = 0;
            }
            line.push(c);
            column += wide;
        }
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn breaks_between_words_and_within_those_that_are_too_long() {
        assert_eq!(wrapped("one two three", 8), ["one two ", "three"]);
        assert_eq!(wrapped("abcdefghij kl", 4), ["abcd", "efgh", "ij ", "kl"]);
        assert_eq!(wrapped("日本語", 4), ["日本", "語"]);
        assert_eq!(wrapped("", 0), [""]);
        for width in 1..20 {
            for line in wrapped("the quick  brown fox jumped 日本語 over it", width) {
                let fits = Span::raw(line.trim_end()).width() <= usize::from(width.max(2));
                assert!(fits, "{line:?} in {width}");
            }
        }
    }
}
