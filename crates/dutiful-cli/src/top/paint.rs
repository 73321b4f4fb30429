//! Colours and words: the terminal's own sixteen colours and no background, so that light and dark
//! ones are read alike; none of it where NO_COLOR is set.

use std::time::Duration;

use dutiful::State;
use ratatui::style::{Color, Modifier, Style};

use super::rates::Bound;

/// How things are emphasised.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint {
    color: bool,
}

impl Paint {
    /// With colours, or by weight alone.
    pub(crate) const fn new(color: bool) -> Self {
        Self { color }
    }

    /// As the environment wishes (https://no-color.org).
    pub(crate) fn of_environment() -> Self {
        Self::new(std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()))
    }

    fn of(self, color: Color) -> Style {
        if self.color { Style::new().fg(color) } else { Style::new() }
    }

    pub(crate) fn good(self) -> Style {
        self.of(Color::Green)
    }

    pub(crate) fn accent(self) -> Style {
        self.of(Color::Cyan)
    }

    pub(crate) fn warn(self) -> Style {
        self.of(Color::Yellow).add_modifier(Modifier::BOLD)
    }

    pub(crate) fn bad(self) -> Style {
        self.of(Color::Red).add_modifier(Modifier::BOLD)
    }

    pub(crate) fn faint(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    pub(crate) fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    pub(crate) fn chosen(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// The look of a job's state.
    pub(crate) fn state(self, state: State) -> Style {
        match state {
            State::Active => self.accent(),
            State::Completed => self.good(),
            State::Failed => self.warn(),
            State::Dead | State::Stalled => self.bad(),
            State::Scheduled | State::Cancelled => self.faint(),
            State::Pending => Style::new(),
        }
    }
}

/// Returns a number with its thousands apart, or shortened from a million on.
pub(crate) fn count(n: u64) -> String {
    match n {
        0..1_000_000 => full(n),
        1_000_000..1_000_000_000 => digits(n as f64 / 1e6, "M"),
        _ => digits(n as f64 / 1e9, "G"),
    }
}

/// Returns a number with its thousands apart.
pub(crate) fn full(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, c) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(c);
    }
    text
}

fn digits(n: f64, unit: &str) -> String {
    let places = if n < 10.0 { 2 } else { usize::from(n < 100.0) };
    // Down, so that a number never seems larger than it is.
    let scale = 10_f64.powi(places as i32);
    format!("{:.places$}{unit}", (n * scale).floor() / scale)
}

/// Returns a rate per second with as many digits as it deserves.
pub(crate) fn rate(per_second: f64) -> String {
    match per_second {
        x if x >= 100.0 => full(x.round() as u64),
        x if x >= 10.0 => format!("{x:.1}"),
        x if x > 0.0 => format!("{x:.2}"),
        _ => "0".to_owned(),
    }
}

/// Returns a time span in its two largest units.
pub(crate) fn span(span: Duration) -> String {
    let (ms, s) = (span.as_millis(), span.as_secs());
    let two = |large: u64, unit: &str, small: u64, sub: &str| match small {
        0 => format!("{large}{unit}"),
        _ => format!("{large}{unit}{small}{sub}"),
    };
    match s {
        0 => format!("{ms}ms"),
        1..10 => format!("{:.1}s", span.as_secs_f64()).replace(".0s", "s"),
        10..60 => format!("{s}s"),
        60..3600 => two(s / 60, "m", s % 60, "s"),
        3600..86_400 => two(s / 3600, "h", s % 3600 / 60, "m"),
        _ => two(s / 86_400, "d", s % 86_400 / 3600, "h"),
    }
}

/// Returns an upper bound as people read it.
pub(crate) fn bound(bound: Option<Bound>) -> String {
    match bound {
        None => "–".to_owned(),
        Some(Bound { ms, beyond }) => {
            let sign = if beyond { '>' } else { '≤' };
            format!("{sign} {}", span(Duration::from_millis(ms)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_spans_are_short() {
        let counts = [0, 999, 1000, 999_999, 1_000_000, 9_999_999, 12_345_678, 2_500_000_000];
        let shown = ["0", "999", "1,000", "999,999", "1.00M", "9.99M", "12.3M", "2.50G"];
        assert_eq!(counts.map(count), shown);
        let spans = [0, 999, 1500, 12_000, 61_000, 3_600_000, 90_000_000];
        let shown = ["0ms", "999ms", "1.5s", "12s", "1m1s", "1h", "1d1h"];
        assert_eq!(spans.map(|ms| span(Duration::from_millis(ms))), shown);
        assert_eq!([0.0, 0.5, 12.34, 1234.5].map(rate), ["0", "0.50", "12.3", "1,235"]);
        let bounds = [(25, false), (1000, false), (300_000, true)];
        let shown = bounds.map(|(ms, beyond)| bound(Some(Bound { ms, beyond })));
        assert_eq!(shown, ["≤ 25ms", "≤ 1s", "> 5m"]);
    }
}
