//! Tables that fit: the columns that matter least go first where a terminal is narrow.

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Row, Table};

use super::model::Choice;
use super::paint::Paint;

/// Columns between columns.
const GAP: u16 = 1;

/// A column: its head, how wide it is, and how long it stays when there is little room.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    pub(crate) head: &'static str,
    pub(crate) width: u16,
    /// It takes what the others leave, and is as wide as that at least.
    pub(crate) rest: bool,
    /// Numbers stand on the right.
    pub(crate) right: bool,
    /// The highest goes first.
    pub(crate) rank: u8,
}

/// A column of text.
pub(crate) const fn left(head: &'static str, width: u16, rank: u8) -> Column {
    Column { head, width, rest: false, right: false, rank }
}

/// The column that takes the rest.
pub(crate) const fn rest(head: &'static str, least: u16, rank: u8) -> Column {
    Column { head, width: least, rest: true, right: false, rank }
}

/// A column of numbers.
pub(crate) const fn right(head: &'static str, width: u16, rank: u8) -> Column {
    Column { head, width, rest: false, right: true, rank }
}

/// The text of a cell and its look.
pub(crate) type Text = (String, Style);

/// Draws the rows with the chosen one marked. Only the rows that are seen are made.
pub(crate) fn draw(
    frame: &mut Frame<'_>,
    area: Rect,
    columns: &[Column],
    (choice, rows): (&mut Choice, usize),
    row: impl Fn(usize) -> Vec<Text>,
    paint: Paint,
) {
    let shown = fitting(columns, area.width);
    let line = |cells: Vec<Text>| {
        Row::new(shown.iter().map(|at| {
            let (text, style) = cells.get(*at).cloned().unwrap_or_default();
            let side = if columns[*at].right { Alignment::Right } else { Alignment::Left };
            Cell::from(Line::from(Span::styled(text, style)).alignment(side))
        }))
    };
    let head = line(columns.iter().map(|one| (one.head.to_owned(), paint.faint())).collect());
    let widths = shown.iter().map(|at| match columns[*at].rest {
        true => Constraint::Fill(1),
        false => Constraint::Length(columns[*at].width),
    });
    let height = usize::from(area.height.saturating_sub(1));
    let first = first_row(choice, rows, height);
    let seen = (first..rows).take(height).map(|at| line(row(at)));
    let table = Table::new(seen, widths.collect::<Vec<_>>())
        .header(head)
        .column_spacing(GAP)
        .row_highlight_style(paint.chosen());
    choice.table.select((rows > 0).then(|| choice.at.saturating_sub(first)));
    *choice.table.offset_mut() = 0;
    frame.render_stateful_widget(table, area, &mut choice.table);
}

/// Returns the first row that is seen, so that the chosen one is among them.
fn first_row(choice: &mut Choice, rows: usize, height: usize) -> usize {
    let most = rows.saturating_sub(height);
    let least = (choice.at + 1).saturating_sub(height);
    choice.first = choice.first.clamp(least.min(choice.at), choice.at).min(most);
    choice.first
}

/// Returns the columns that fit, in their order.
fn fitting(columns: &[Column], width: u16) -> Vec<usize> {
    let mut order: Vec<usize> = (0..columns.len()).collect();
    order.sort_by_key(|at| columns[*at].rank);
    let (mut taken, mut shown) = (0, Vec::new());
    for at in order {
        let own = GAP + columns[at].width;
        if shown.is_empty() || taken + own <= width {
            taken += own;
            shown.push(at);
        }
    }
    shown.sort_unstable();
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matters_least_goes_first() {
        let columns = [rest("name", 12, 0), right("a", 9, 2), right("b", 9, 1)];
        assert_eq!(fitting(&columns, 80), [0, 1, 2]);
        assert_eq!(fitting(&columns, 25), [0, 2]);
        assert_eq!(fitting(&columns, 3), [0]);
    }

    #[test]
    fn the_chosen_row_is_seen() {
        let mut choice = Choice::default();
        for (at, height, first) in
            [(0, 5, 0), (4, 5, 0), (5, 5, 1), (9, 5, 5), (3, 5, 3), (9, 20, 0)]
        {
            choice.at = at;
            assert_eq!(first_row(&mut choice, 10, height), first, "{at} in {height}");
        }
        choice.at = 0;
        assert_eq!(first_row(&mut choice, 0, 0), 0);
    }
}
