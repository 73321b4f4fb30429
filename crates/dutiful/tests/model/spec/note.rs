//! `note`: what handlers say of their attempts, and how much of it is kept.

use dutiful::store::{Held, Note};
use dutiful::{Fence, JobId, LOG_ATTEMPTS_MAX, LOG_LINES_MAX, LogLine};

use super::{Job, Model};

impl Model {
    /// Writes each note in turn. Only an attempt that is alive may speak.
    pub(crate) fn note(&mut self, notes: &[Note]) -> Vec<Held> {
        notes.iter().map(|one| self.note_one(one)).collect()
    }

    /// The last word on progress and the last checkpoint count, for the job and not for the
    /// attempt: the next one goes on from there.
    fn note_one(&mut self, one: &Note) -> Held {
        if !self.is_alive(one.fence) {
            return Held::Lost;
        }
        let Fence { id, attempt, .. } = one.fence;
        let job = self.jobs.get_mut(&id).expect("an attempt is of a job");
        job.progress = one.progress.clone().or(job.progress.take());
        job.checkpoint = one.checkpoint.clone().or(job.checkpoint.take());
        for line in &one.log {
            // A line that was written before is left alone.
            job.lines.entry((attempt, line.number)).or_insert_with(|| line.clone());
        }
        if !one.log.is_empty() {
            job.make_room(attempt);
        }
        Held::Yes
    }

    /// What is kept of the lines of one attempt.
    pub(super) fn lines_of(&self, id: JobId, attempt: u32) -> Vec<LogLine> {
        let all = self.jobs[&id].lines.range((attempt, 0)..=(attempt, u32::MAX));
        all.map(|(_, line)| line.clone()).collect()
    }
}

impl Job {
    /// Of the attempt that speaks the last lines stay, and of the attempts the last ones keep
    /// theirs.
    fn make_room(&mut self, speaks: u32) {
        let last = self.lines.range(..=(speaks, u32::MAX)).next_back();
        let last = last.map_or(0, |((_, number), _)| *number);
        self.lines.retain(|(attempt, number), _| {
            let is_old = *attempt + LOG_ATTEMPTS_MAX <= speaks;
            let is_far_back = *attempt == speaks && *number + LOG_LINES_MAX <= last;
            !is_old && !is_far_back
        });
    }
}
