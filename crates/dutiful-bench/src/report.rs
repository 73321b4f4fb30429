//! The report of a comparison, as Markdown to be kept.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::commit::Commit;

/// One yardstick and the bench that followed it.
pub(crate) struct Round {
    pub(crate) yardstick: Value,
    pub(crate) bench: Value,
}

/// All rounds of a comparison.
pub(crate) struct Run {
    pub(crate) command: String,
    pub(crate) commit: Commit,
    pub(crate) rounds: Vec<Round>,
}

impl Run {
    /// Writes the figures, the median ratios and the raw lines.
    pub(crate) fn markdown(&self) -> Result<String> {
        let mut text = String::new();
        writeln!(text, "`dutiful-bench {}`", self.command)?;
        writeln!(text, "on {}\n", machine())?;
        let Commit { in_a_row, idle } = self.commit;
        writeln!(
            text,
            "A bare durable commit: p50 {} ms, p99 {} ms in a row; p50 {} ms, p99 {} ms one each 20 ms.\n",
            in_a_row.p50, in_a_row.p99, idle.p50, idle.p99
        )?;
        writeln!(text, "| figure | yardstick | dutiful | ratio of each round | median |")?;
        writeln!(text, "|---|---|---|---|---|")?;
        self.row(&mut text, "bulk enqueue /s", "enqueue_per_s", "enqueue_bulk_per_s")?;
        self.row(&mut text, "drain /s", "drain_per_s", "drain_per_s")?;
        writeln!(text, "\nThe raw lines:\n\n```json")?;
        for round in &self.rounds {
            writeln!(text, "{}\n{}", round.yardstick, round.bench)?;
        }
        writeln!(text, "```")?;
        Ok(text)
    }

    fn row(&self, text: &mut String, figure: &str, theirs: &str, ours: &str) -> Result<()> {
        let number = |value: &Value, name: &str| {
            value[name].as_f64().with_context(|| format!("read {name} of {value}"))
        };
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
    use crate::commit::Times;

    #[test]
    fn the_median_ratio_is_that_of_pairs() {
        let round = |yardstick: u32, bench: u32| Round {
            yardstick: serde_json::json!({"enqueue_per_s": yardstick, "drain_per_s": 10}),
            bench: serde_json::json!({"enqueue_bulk_per_s": bench, "drain_per_s": 5}),
        };
        let rounds = vec![round(100, 50), round(200, 180), round(100, 70)];
        let times = Times { p50: 1.0, p99: 2.0 };
        let commit = Commit { in_a_row: times, idle: times };
        let text = Run { command: String::new(), commit, rounds }.markdown().expect("all is there");
        assert!(text.contains("| 100 | 70 | 0.50 · 0.90 · 0.70 | **0.70** |"), "{text}");
        assert!(text.contains("| 10 | 5 | 0.50 · 0.50 · 0.50 | **0.50** |"), "{text}");
    }
}
