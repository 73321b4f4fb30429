//! The keys: where they lead, and what they ask for before anything is changed.

use dutiful::{JobId, Name, State, Verb};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::looks::Wish;
use super::model::{Choice, Dialog, List, Model, Opened, Page, key_of_worker};
use super::source::Query;
use crate::commands::change;
use crate::output;

/// Longest filter that can be typed, in characters.
const FILTER_MAX: usize = 300;
/// Longest text of an error in a question.
const CAUSE_MAX: usize = 80;

/// What a key asks of the program.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pressed {
    /// Nothing that the screen does not know by itself.
    Nothing,
    /// Leave for good.
    Leave,
    /// Look at once.
    Look,
    /// Change something; it was confirmed.
    Do(Wish),
}

impl Model {
    /// Takes a key.
    pub(crate) fn press(&mut self, key: KeyEvent) -> Pressed {
        let ctrl = key.modifiers.contains(KeyModifiers::CONTROL);
        if ctrl && key.code == KeyCode::Char('c') {
            return Pressed::Leave;
        }
        match self.dialog.take() {
            None => self.go(key.code, ctrl),
            Some(Dialog::Help) => Pressed::Nothing,
            Some(Dialog::Ask { wish, .. }) => self.answered(key.code, wish),
            Some(Dialog::Filter { text, .. }) => self.typed(key.code, ctrl, text),
        }
    }

    fn answered(&mut self, key: KeyCode, wish: Wish) -> Pressed {
        if matches!(key, KeyCode::Char('y' | 'Y')) {
            self.said = None;
            return Pressed::Do(wish);
        }
        self.say("nothing was changed", true);
        Pressed::Nothing
    }

    fn typed(&mut self, key: KeyCode, ctrl: bool, mut text: String) -> Pressed {
        match key {
            KeyCode::Esc => return Pressed::Nothing,
            KeyCode::Enter => match query(&text, self) {
                Ok(query) => {
                    self.jobs = List::of(Query { state: self.jobs.query.state, ..query });
                    return Pressed::Look;
                }
                Err(wrong) => {
                    self.dialog = Some(Dialog::Filter { text, wrong: Some(wrong) });
                    return Pressed::Nothing;
                }
            },
            KeyCode::Backspace => drop(text.pop()),
            KeyCode::Char('u') if ctrl => text.clear(),
            KeyCode::Char(c) if !ctrl && text.chars().count() < FILTER_MAX => text.push(c),
            _ => {}
        }
        self.dialog = Some(Dialog::Filter { text, wrong: None });
        Pressed::Nothing
    }

    fn go(&mut self, key: KeyCode, ctrl: bool) -> Pressed {
        let page = self.rows.saturating_sub(1).max(1) as isize;
        match key {
            _ if ctrl => match key {
                KeyCode::Char('d' | 'f') => return self.step(page),
                KeyCode::Char('u' | 'b') => return self.step(-page),
                _ => {}
            },
            KeyCode::Char('q') => return self.leave(),
            KeyCode::Esc => return self.back(),
            KeyCode::Char('?') => self.dialog = Some(Dialog::Help),
            KeyCode::Char(c @ '1'..='5') => {
                let at = c as usize - '1' as usize;
                return self.turn_to(Page::ALL[at]);
            }
            KeyCode::Tab => return self.turn_by(1),
            KeyCode::BackTab => return self.turn_by(Page::ALL.len() - 1),
            KeyCode::Down | KeyCode::Char('j') => return self.step(1),
            KeyCode::Up | KeyCode::Char('k') => return self.step(-1),
            KeyCode::PageDown | KeyCode::Char(' ') => return self.step(page),
            KeyCode::PageUp => return self.step(-page),
            KeyCode::Home | KeyCode::Char('g') => return self.step(isize::MIN / 2),
            KeyCode::End | KeyCode::Char('G') => return self.step(isize::MAX / 2),
            KeyCode::Enter => return self.enter(),
            KeyCode::Char('u') => return Pressed::Look,
            KeyCode::Char('p') => self.ask_pause(),
            KeyCode::Char('r') => self.ask(Verb::Retry),
            KeyCode::Char('d') => self.ask(Verb::Discard),
            KeyCode::Char('c') => self.ask(Verb::Cancel),
            other => return self.in_list(other),
        }
        Pressed::Nothing
    }

    /// Keys of a list of jobs.
    fn in_list(&mut self, key: KeyCode) -> Pressed {
        if self.open.is_some() {
            return Pressed::Nothing;
        }
        let on_jobs = self.page == Page::Jobs;
        match key {
            KeyCode::Right | KeyCode::Char('l') if on_jobs => self.turn_state(1),
            KeyCode::Left | KeyCode::Char('h') if on_jobs => self.turn_state(State::ALL.len()),
            KeyCode::Char('/') if on_jobs => {
                let text = words(&self.jobs.query);
                self.dialog = Some(Dialog::Filter { text, wrong: None });
                return Pressed::Nothing;
            }
            KeyCode::Char('n') if self.list().is_some_and(List::older) => {}
            KeyCode::Char('b') if self.list().is_some_and(List::newer) => {}
            _ => return Pressed::Nothing,
        }
        Pressed::Look
    }

    /// All states come after each other, with "any" before the first.
    fn turn_state(&mut self, by: usize) {
        let query = &self.jobs.query;
        let at = |state| State::ALL.iter().position(|one| *one == state).map_or(0, |at| at + 1);
        let next = (query.state.map_or(0, at) + by) % (State::ALL.len() + 1);
        let state = next.checked_sub(1).map(|at| State::ALL[at]);
        self.jobs = List::of(Query { state, before: None, ..query.clone() });
    }

    fn leave(&mut self) -> Pressed {
        match self.busy.take() {
            // Asked once more, it is left.
            Some(busy) => {
                self.say(format!("{busy} is not done yet; q leaves it half done"), false);
                Pressed::Nothing
            }
            None => Pressed::Leave,
        }
    }

    /// One step back: out of a job, out of a group, out of the program.
    fn back(&mut self) -> Pressed {
        if self.open.take().is_some() || (self.page == Page::Dead && self.inside.take().is_some()) {
            return Pressed::Look;
        }
        self.leave()
    }

    fn turn_to(&mut self, page: Page) -> Pressed {
        self.open = None;
        if self.page == page {
            self.inside = None;
        }
        self.page = page;
        Pressed::Look
    }

    fn turn_by(&mut self, by: usize) -> Pressed {
        let at = Page::ALL.iter().position(|page| *page == self.page).unwrap_or_default();
        self.turn_to(Page::ALL[(at + by) % Page::ALL.len()])
    }

    fn step(&mut self, by: isize) -> Pressed {
        if let Some(open) = &mut self.open {
            // Drawing knows where the end is.
            open.scroll = open.scroll.saturating_add_signed(by);
            return Pressed::Nothing;
        }
        let step = |choice: &mut Choice, keys: Vec<String>| choice.step(by, &keys);
        match self.page {
            Page::Overview => {}
            Page::Queues => {
                let queues = self.stats.iter().flat_map(|stats| &stats.queues);
                step(&mut self.queue, queues.map(|one| one.queue.clone()).collect());
            }
            Page::Dead if self.inside.is_none() => {
                let groups = self.groups.iter().flat_map(|groups| &groups.groups);
                step(&mut self.group, groups.map(|one| one.fingerprint.clone()).collect());
            }
            Page::Jobs | Page::Dead => {
                if let Some(list) = self.list() {
                    let keys = list.keys();
                    step(&mut list.choice, keys);
                }
            }
            Page::Workers => {
                let workers = self.workers.iter().flatten();
                step(&mut self.worker, workers.map(key_of_worker).collect());
            }
        }
        Pressed::Nothing
    }

    /// Looks into what is chosen.
    fn enter(&mut self) -> Pressed {
        if self.open.is_some() {
            return Pressed::Nothing;
        }
        if let Some(job) = self.list().and_then(|list| list.chosen()) {
            self.open = Some(Opened { id: job.id, job: None, gone: false, scroll: 0 });
            return Pressed::Look;
        }
        match self.page {
            Page::Queues => {
                let queue = self.chosen_queue().map(|(queue, _)| queue);
                if queue.is_some() {
                    self.jobs = List::of(Query { queue, ..Query::default() });
                    return self.turn_to(Page::Jobs);
                }
            }
            Page::Dead if self.inside.is_none() => {
                let groups = self.groups.as_ref().map_or(&[][..], |groups| &groups.groups);
                if let Some(group) = groups.get(self.group.at).cloned() {
                    let fingerprint = Some(group.fingerprint.clone());
                    let list = List::of(Query { fingerprint, ..Query::default() });
                    self.inside = Some((group, list));
                    return Pressed::Look;
                }
            }
            _ => {}
        }
        Pressed::Nothing
    }

    fn chosen_queue(&self) -> Option<(String, bool)> {
        let one = self.stats.as_ref()?.queues.get(self.queue.at)?;
        Some((one.queue.clone(), one.paused))
    }

    fn ask_pause(&mut self) {
        let Some((queue, paused)) = self.chosen_queue().filter(|_| self.page == Page::Queues)
        else {
            return;
        };
        let name = output::plain(&queue);
        let question = if paused {
            format!("Resume queue {name}? Its jobs start again.")
        } else {
            format!("Pause queue {name}? Running jobs go on, no other starts.")
        };
        self.dialog = Some(Dialog::Ask { question, wish: Wish::Pause { queue, pause: !paused } });
    }

    /// Asks whether the job that is chosen, or the whole group, is to be changed.
    fn ask(&mut self, verb: Verb) {
        if self.page == Page::Dead && self.inside.is_none() && self.open.is_none() {
            return self.ask_group(verb);
        }
        let Some(job) = self.job() else { return };
        let (id, state) = (job.id, job.state);
        let what = format!("job {id} ({}, {state})", output::plain(&job.job_type));
        if !can(verb, state) {
            let why = change::reason(verb, &dutiful::Change::Refused { state });
            return self
                .say(format!("failed to {} {what}: {why}", change::infinitive(verb)), false);
        }
        self.dialog = Some(Dialog::Ask { question: question(verb, &what), wish: wish(verb, id) });
    }

    fn ask_group(&mut self, verb: Verb) {
        let groups = self.groups.as_ref().map_or(&[][..], |groups| &groups.groups);
        let Some(group) = groups.get(self.group.at).filter(|_| verb != Verb::Cancel) else {
            return;
        };
        let cause = format!("{}: {}", group.class, group.message);
        let what = format!(
            "all {} dead jobs of {} with {}",
            group.count,
            output::plain(&group.job_type),
            output::short(&cause, CAUSE_MAX)
        );
        let fingerprint = group.fingerprint.clone();
        let wish = Wish::ChangeGroup { verb, fingerprint };
        self.dialog = Some(Dialog::Ask { question: question(verb, &what), wish });
    }
}

fn wish(verb: Verb, id: JobId) -> Wish {
    Wish::Change { verb, id }
}

fn can(verb: Verb, state: State) -> bool {
    match verb {
        Verb::Retry => matches!(state, State::Dead | State::Failed | State::Cancelled),
        Verb::Discard => state == State::Dead,
        _ => !state.is_final(),
    }
}

fn question(verb: Verb, what: &str) -> String {
    match verb {
        Verb::Retry => format!("Retry {what}? Due at once."),
        Verb::Discard => format!("Discard {what}? On record as cancelled then."),
        _ => format!("Cancel {what}? It does not run again."),
    }
}

/// Returns what was typed for a query.
pub(crate) fn words(query: &Query) -> String {
    let all = [
        ("type", &query.job_type),
        ("queue", &query.queue),
        ("group", &query.group),
        ("tag", &query.tag),
        ("error", &query.error),
    ];
    let given = all.iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
    let words: Vec<_> = given.map(|(name, value)| format!("{name}={value}")).collect();
    words.join(" ")
}

/// Reads `send_email`, `queue=mail`, `type=send_email error=timeout`; a word alone is a type, or a
/// queue where only a queue has that name. What follows `error=` may have spaces.
fn query(text: &str, model: &Model) -> Result<Query, String> {
    let mut query = Query::default();
    let (text, error) = match text.split_once("error=") {
        Some((rest, error)) => (rest, Some(error.trim()).filter(|error| !error.is_empty())),
        None => (text, None),
    };
    query.error = error.map(str::to_owned);
    for word in text.split_whitespace() {
        let is_queue = |name: &str| {
            let queues = model.stats.iter().flat_map(|stats| &stats.queues);
            !model.types.contains(name) && queues.map(|one| &one.queue).any(|one| one == name)
        };
        let (key, value) = match word.split_once('=') {
            Some(pair) => pair,
            None if is_queue(word) => ("queue", word),
            None => ("type", word),
        };
        let name = |what| Name::new(what, value).map_err(|error| error.to_string());
        let value = Some(value.to_owned()).filter(|value| !value.is_empty());
        match key {
            "queue" => query.queue = name("queue").map(|_| value)?,
            "type" => query.job_type = name("type").map(|_| value)?,
            "group" => query.group = value,
            "tag" => query.tag = value,
            _ => return Err(format!("{key}= is none of type=, queue=, group=, tag=, error=")),
        }
    }
    Ok(query)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_is_typed_as_a_filter_and_writes_it_back() {
        let mut model = Model::default();
        model.types.insert("send_email".to_owned());
        for text in ["", "type=a queue=b", "type=a group=g tag=t error=no such host", "queue=x"] {
            assert_eq!(words(&query(text, &model).unwrap()), text);
        }
        assert_eq!(words(&query("  send_email ", &model).unwrap()), "type=send_email");
        for (text, says) in [("colour=red", "none of type="), ("type=a/b", "a/b"), ("a\u{7}b", "a")]
        {
            assert!(query(text, &model).unwrap_err().contains(says), "{text}");
        }
    }
}
