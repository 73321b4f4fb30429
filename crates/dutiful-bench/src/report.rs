//! The report of a comparison, as Markdown to be kept.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::commit::{Commit, Times};
use crate::server::ROWS_CONCURRENT;

/// One yardstick, bare commits, and the bench that followed them.
pub(crate) struct Round {
    pub(crate) yardstick: Value,
    pub(crate) commit: Commit,
    pub(crate) bench: Value,
}

/// All rounds of a comparison.
pub(crate) struct Run {
    pub(crate) command: String,
    pub(crate) rounds: Vec<Round>,
}

impl Run {
    /// Writes the figures, the median ratios and the raw lines.
    pub(crate) fn markdown(&self) -> Result<String> {
        let mut text = String::new();
        writeln!(text, "`dutiful-bench {}`", self.command)?;
        writeln!(text, "on {}\n", machine())?;
        let (in_a_row, idle) = (self.commit(|it| it.in_a_row), self.commit(|it| it.idle));
        writeln!(
            text,
            "A bare durable commit: p50 {} ms, p99 {} ms in a row; p50 {} ms, p99 {} ms one each 20 ms.\n",
            in_a_row.p50, in_a_row.p99, idle.p50, idle.p99
        )?;
        writeln!(text, "| figure | yardstick | dutiful | ratio of each round | median |")?;
        writeln!(text, "|---|---|---|---|---|")?;
        self.row(&mut text, "bulk enqueue /s", "enqueue_per_s", "enqueue_bulk_per_s")?;
        self.row(&mut text, "drain /s", "drain_per_s", "drain_per_s")?;
        if self.rounds.iter().all(|round| round.yardstick[ROWS_CONCURRENT].is_number()) {
            let figure = "50 at the same time, one by one /s";
            self.row(&mut text, figure, ROWS_CONCURRENT, "enqueue_concurrent_per_s")?;
        }
        self.pickup(&mut text)?;
        writeln!(text, "\nThe raw lines:\n\n```json")?;
        for round in &self.rounds {
            let commit = serde_json::to_string(&round.commit)?;
            writeln!(text, "{}\n{commit}\n{}", round.yardstick, round.bench)?;
        }
        writeln!(text, "```")?;
        Ok(text)
    }

    /// Returns the medians of the rounds.
    fn commit(&self, which: impl Fn(&Commit) -> Times) -> Times {
        let of = |part: fn(&Times) -> f64| {
            let each = |round: &Round| part(&which(&round.commit));
            median(&mut self.rounds.iter().map(each).collect::<Vec<_>>())
        };
        Times { p50: of(|it| it.p50), p99: of(|it| it.p99) }
    }

    /// Compares the pickups of each round with the two commits that each of them waits for.
    fn pickup(&self, text: &mut String) -> Result<()> {
        let (mut p50s, mut p99s, mut over) = (Vec::new(), Vec::new(), Vec::new());
        for round in &self.rounds {
            let at = |part| number(&round.bench["pickup_ms"], part);
            p50s.push(at("p50")?);
            p99s.push(at("p99")?);
            over.push(at("p50")? - 2.0 * round.commit.idle.p50);
        }
        let each: Vec<_> = over.iter().map(|ms| format!("{ms:.2}")).collect();
        writeln!(
            text,
            "\nPickup: p50 {:.2} ms, p99 {:.2} ms. p50 less twice the p50 of a commit each 20 ms: \
             {} ms, median **{:.2}**.",
            median(&mut p50s),
            median(&mut p99s),
            each.join(" · "),
            median(&mut over)
        )?;
        Ok(())
    }

    fn row(&self, text: &mut String, figure: &str, theirs: &str, ours: &str) -> Result<()> {
        let (mut yardsticks, mut benches, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for round in &self.rounds {
            let (theirs, ours) = (number(&round.yardstick, theirs)?, number(&round.bench, ours)?);
            yardsticks.push(theirs);
            benches.push(ours);
            ratios.push(ours / theirs);
        }
        let each: Vec<_> = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect();
        let (theirs, ours) = (median(&mut yardsticks), median(&mut benches));
        let ratio = median(&mut ratios);
        writeln!(
            text,
            "| {figure} | {theirs:.0} | {ours:.0} | {} | **{ratio:.2}** |",
            each.join(" · ")
        )?;
        Ok(())
    }
}

fn number(value: &Value, name: &str) -> Result<f64> {
    value[name].as_f64().with_context(|| format!("read {name} of {value}"))
}

fn median(numbers: &mut [f64]) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(0.0)
}

/// Returns the processor and how many of it there are.
fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.and_then(|rest| rest.split_once(": ")).map_or("unknown", |(_, name)| name);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{cores} × {model}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(yardstick: u32, bench: u32, commit: f64, pickup: f64) -> Round {
        let times = Times { p50: commit, p99: 2.0 };
        Round {
            yardstick: serde_json::json!({
                "enqueue_per_s": yardstick, "drain_per_s": 10, ROWS_CONCURRENT: 4 * yardstick
            }),
            commit: Commit { in_a_row: times, idle: times },
            bench: serde_json::json!({
                "enqueue_bulk_per_s": bench, "drain_per_s": 5, "enqueue_concurrent_per_s": bench,
                "pickup_ms": {"p50": pickup, "p99": 9.0}
            }),
        }
    }

    fn report(rounds: Vec<Round>) -> String {
        Run { command: String::new(), rounds }.markdown().expect("all is there")
    }

    #[test]
    fn the_median_ratio_is_that_of_pairs() {
        let rounds = [(100, 50), (200, 180), (100, 70)].map(|(y, b)| round(y, b, 1.0, 2.0));
        let text = report(rounds.into());
        assert!(text.contains("| 100 | 70 | 0.50 · 0.90 · 0.70 | **0.70** |"), "{text}");
        assert!(text.contains("| 10 | 5 | 0.50 · 0.50 · 0.50 | **0.50** |"), "{text}");
        assert!(text.contains("| 400 | 70 | 0.12 · 0.23 · 0.17 | **0.17** |"), "{text}");
    }

    #[test]
    fn pickups_are_compared_with_the_commits_of_their_own_round() {
        let rounds = [(1.0, 2.5), (2.0, 4.25), (1.0, 2.75)].map(|(c, p)| round(100, 50, c, p));
        let text = report(rounds.into());
        assert!(text.contains("p50 1 ms, p99 2 ms in a row"), "{text}");
        assert!(text.contains("20 ms: 0.50 · 0.25 · 0.75 ms, median **0.50**"), "{text}");
    }
}
