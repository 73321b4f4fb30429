//! Numbers as people read them in a sentence.

/// Returns a number with its thousands apart, and a fraction only where it matters.
pub(crate) fn number(n: f64) -> String {
    if n.abs() < 10.0 && n.fract() != 0.0 {
        return format!("{n:.1}");
    }
    let digits = format!("{:.0}", n.abs());
    let mut text = String::from(if n < 0.0 { "-" } else { "" });
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

pub(crate) fn percent(n: f64) -> String {
    format!("{} %", number(n))
}

pub(crate) fn jobs(n: u64) -> String {
    format!("{} {}", number(n as f64), if n == 1 { "job" } else { "jobs" })
}

/// Returns a span of time in its two largest units.
pub(crate) fn time(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    let two = |a: u64, unit: &str, b: u64, smaller: &str| match b {
        0 => format!("{a} {unit}"),
        _ => format!("{a} {unit} {b} {smaller}"),
    };
    match whole {
        0 if seconds < 0.0995 => format!("{:.0} ms", seconds.max(0.0) * 1000.0),
        0..10 => format!("{} s", number((seconds * 10.0).round() / 10.0)),
        10..60 => format!("{whole} s"),
        60..3600 => two(whole / 60, "min", whole % 60, "s"),
        3600..86_400 => two(whole / 3600, "h", whole % 3600 / 60, "min"),
        _ => two(whole / 86_400, "d", whole % 86_400 / 3600, "h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_at_a_glance() {
        for (n, says) in [
            (0.0, "0"),
            (7.0, "7"),
            (7.26, "7.3"),
            (48.9, "49"),
            (1234.0, "1,234"),
            (1e6, "1,000,000"),
        ] {
            assert_eq!(number(n), says);
        }
        assert_eq!((jobs(1), jobs(2)), ("1 job".to_owned(), "2 jobs".to_owned()));
    }

    #[test]
    fn times_have_two_units_at_most() {
        for (seconds, says) in [
            (0.0, "0 ms"),
            (0.042, "42 ms"),
            (0.5, "0.5 s"),
            (1.0, "1 s"),
            (30.0, "30 s"),
            (61.4, "1 min 1 s"),
            (300.0, "5 min"),
            (5400.0, "1 h 30 min"),
            (90_000.0, "1 d 1 h"),
        ] {
            assert_eq!(time(seconds), says);
        }
    }
}
