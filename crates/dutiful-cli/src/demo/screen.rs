//! What a person sees while the demo runs: sentences, and calm bars when stdout is a terminal.

use std::io::IsTerminal as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use dutiful::Counts;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::jobs::{MonthlyReport, QUEUES};
use crate::output;
use dutiful::Job as _;

/// How often the bars are drawn.
const DRAWS_PER_SECOND: u8 = 10;
/// Widest line of a sentence, beside the time.
const SENTENCE_COLUMNS: usize = 70;
/// How often a line of progress comes where there are no bars.
const LINE_EVERY: Duration = Duration::from_secs(2);

/// Where the shop stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Orders that have committed.
    pub(crate) placed: u64,
    /// In the order of [`QUEUES`].
    pub(crate) queues: [Counts; QUEUES.len()],
}

impl Progress {
    /// Returns how many jobs will never run again.
    pub(crate) fn ended(&self) -> u64 {
        self.queues.iter().map(|queue| queue.completed + queue.dead + queue.cancelled).sum()
    }
}

/// A place for sentences and bars.
pub(crate) struct Screen {
    began: Instant,
    face: Face,
}

enum Face {
    /// `--json`: nothing but the one line at the end.
    Silent,
    /// A file or a pipe reads along.
    Lines(Mutex<Instant>),
    /// A person watches.
    Live(Box<Live>),
}

struct Live {
    all: MultiProgress,
    orders: ProgressBar,
    queues: [ProgressBar; QUEUES.len()],
    foot: ProgressBar,
}

impl Screen {
    /// Opens the screen; the bars appear with the first progress.
    pub(crate) fn open(json: bool, orders: u64) -> Self {
        let began = Instant::now();
        let face = if json {
            Face::Silent
        } else if std::io::stdout().is_terminal() {
            Face::Live(Box::new(Live::new(orders)))
        } else {
            Face::Lines(Mutex::new(began))
        };
        Self { began, face }
    }

    /// Says a sentence, with the seconds since the start.
    pub(crate) fn say(&self, sentence: impl std::fmt::Display) {
        let sentence = match &self.face {
            Face::Live(_) => wrapped(&sentence.to_string()),
            Face::Silent | Face::Lines(_) => sentence.to_string(),
        };
        let line = format!("{:>5.1} s  {sentence}", self.began.elapsed().as_secs_f64());
        // Nobody is left to watch when this fails.
        let _ = match &self.face {
            Face::Silent => Ok(()),
            Face::Lines(_) => output::line(line).map_err(|_| ()),
            Face::Live(live) => live.all.println(line).map_err(|_| ()),
        };
    }

    /// Shows numbers, and one line about the crash.
    pub(crate) fn show(&self, now: &Progress, foot: Option<String>) {
        match &self.face {
            Face::Silent => {}
            Face::Live(live) => live.show(now, foot),
            Face::Lines(last) => {
                let mut last = last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                if last.elapsed() < LINE_EVERY {
                    return;
                }
                *last = Instant::now();
                let queues = QUEUES.iter().zip(&now.queues);
                let done: Vec<_> =
                    queues.map(|((_, words), q)| format!("{} {words}", q.completed)).collect();
                self.say(format!("{} orders, {}", now.placed, done.join(", ")));
                if let Some(foot) = foot {
                    self.say(foot);
                }
            }
        }
    }

    /// Draws nothing any more: the terminal has echoed ^C and the cursor is elsewhere now.
    pub(crate) fn freeze(&self) {
        if let Face::Live(live) = &self.face {
            live.all.set_draw_target(ProgressDrawTarget::hidden());
            output::note("");
        }
    }

    /// Leaves the bars as they are, for good.
    pub(crate) fn close(&self) {
        if let Face::Live(live) = &self.face {
            live.foot.finish_and_clear();
            live.orders.abandon();
            live.queues.iter().for_each(ProgressBar::abandon);
        }
    }
}

impl Live {
    fn new(orders: u64) -> Self {
        let target = ProgressDrawTarget::stdout_with_hz(DRAWS_PER_SECOND);
        let all = MultiProgress::with_draw_target(target);
        let style = ProgressStyle::with_template(
            "  {prefix:<20} {bar:30.cyan/black.bright} {pos:>6} of {len:<6} {wide_msg:.dim}",
        )
        .expect("the template is a literal")
        .progress_chars("━━─");
        let bar = |words: &'static str, len| {
            all.add(ProgressBar::new(len).with_style(style.clone()).with_prefix(words))
        };
        let first = bar("orders taken", orders);
        let queues = QUEUES.map(|(queue, words)| {
            bar(words, if queue == MonthlyReport::QUEUE { 1 } else { orders })
        });
        let plain =
            ProgressStyle::with_template("  {msg:.yellow}").expect("the template is a literal");
        let foot = all.add(ProgressBar::new_spinner().with_style(plain));
        Self { all, orders: first, queues, foot }
    }

    fn show(&self, now: &Progress, foot: Option<String>) {
        self.orders.set_position(now.placed);
        for (bar, counts) in self.queues.iter().zip(&now.queues) {
            bar.set_position(counts.completed);
            bar.set_message(remarks(counts));
        }
        self.foot.set_message(foot.unwrap_or_default());
    }
}

/// Breaks a sentence between words, so that it fits beside the time on a narrow terminal.
fn wrapped(sentence: &str) -> String {
    let (mut text, mut column) = (String::new(), 0);
    for word in sentence.split(' ') {
        let width = word.chars().count();
        if column > 0 && column + 1 + width > SENTENCE_COLUMNS {
            text.push_str("\n         ");
            column = 0;
        } else if column > 0 {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += width;
    }
    text
}

/// Returns what else there is to say of a queue, most often nothing.
fn remarks(counts: &Counts) -> String {
    let mut remarks = Vec::new();
    for (count, words) in
        [(counts.active, "running"), (counts.failed, "to retry"), (counts.dead, "dead")]
    {
        if count > 0 {
            remarks.push(format!("{count} {words}"));
        }
    }
    remarks.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn breaks_sentences_between_words() {
        let long = "word ".repeat(30);
        for line in wrapped(long.trim()).lines() {
            assert!(line.trim().chars().count() <= SENTENCE_COLUMNS && line.ends_with("word"));
        }
        assert_eq!(wrapped("a b").as_str(), "a b");
    }
}
