//! What workers say of the attempts that they hold: beats, notes, remembered effects.

use tokio_postgres::types::ToSql;

use super::Db;
use super::errors::Trouble;
use super::wire::Line;
use crate::clock::{Timestamp, micros};
use crate::id::{Fence, JobId};
use crate::inspect::{LOG_ATTEMPTS_MAX, LOG_LINES_MAX};
use crate::store::{Beat, HeartbeatRequest, Held, Note, Once, OnceRequest};

/// The fences of a batch as columns.
#[derive(Default)]
struct Fences {
    ids: Vec<JobId>,
    attempts: Vec<i32>,
    nonces: Vec<i64>,
}

impl Fences {
    fn push(&mut self, fence: &Fence) {
        self.ids.push(fence.id);
        self.attempts.push(number(fence));
        self.nonces.push(fence.nonce);
    }
}

/// Returns the attempt as it is stored; one that is beyond what can be stored is nobody's.
fn number(fence: &Fence) -> i32 {
    i32::try_from(fence.attempt).unwrap_or(-1)
}

/// Log lines of a batch as columns, each with the place of its note, counted from 1.
#[derive(Default)]
struct Lines {
    of: Vec<i32>,
    numbers: Vec<i64>,
    times: Vec<Timestamp>,
    texts: Vec<String>,
}

impl Db {
    pub(super) async fn heartbeat(&self, ask: &HeartbeatRequest) -> Result<Vec<Beat>, Trouble> {
        let mut fences = Fences::default();
        ask.fences.iter().for_each(|fence| fences.push(fence));
        let (lease, now) = (micros(ask.lease), self.now());
        let params: [&(dyn ToSql + Sync); 6] =
            [&fences.ids, &fences.attempts, &fences.nonces, &ask.worker.0, &lease, &now];
        let rows = self.query(Line::Beat, "heartbeat", "renew", &params).await?;
        let mut beats = Vec::with_capacity(rows.len());
        for row in &rows {
            beats.push(Beat { held: held(row.try_get(0)?), cancel: row.try_get(1)? });
        }
        Ok(beats)
    }

    pub(super) async fn note(&self, notes: &[Note]) -> Result<Vec<Held>, Trouble> {
        let (mut fences, mut lines) = (Fences::default(), Lines::default());
        for (at, one) in (1..).zip(notes) {
            fences.push(&one.fence);
            for line in &one.log {
                lines.of.push(at);
                lines.numbers.push(line.number.into());
                lines.times.push(line.at);
                lines.texts.push(plain(&line.text));
            }
        }
        let progress = || notes.iter().map(|one| one.progress.as_ref());
        let percents: Vec<_> = progress().map(|p| p.map(|p| i16::from(p.percent))).collect();
        let words: Vec<_> = progress().map(|p| p?.note.as_deref().map(plain)).collect();
        let noted: Vec<_> = progress().map(|p| p.map(|p| p.at)).collect();
        let checkpoints: Vec<_> = notes.iter().map(|one| one.checkpoint.as_deref()).collect();
        let (lines_max, attempts_max) = (LOG_LINES_MAX as i32, LOG_ATTEMPTS_MAX as i32);
        let now = self.now();
        let params: [&(dyn ToSql + Sync); 14] = [
            &fences.ids,
            &fences.attempts,
            &fences.nonces,
            &percents,
            &words,
            &noted,
            &checkpoints,
            &lines.of,
            &lines.numbers,
            &lines.times,
            &lines.texts,
            &lines_max,
            &attempts_max,
            &now,
        ];
        let rows = self.query(Line::Finish, "note", "keep", &params).await?;
        let mut answers = Vec::with_capacity(rows.len());
        for row in &rows {
            answers.push(held(row.try_get(0)?));
        }
        Ok(answers)
    }

    pub(super) async fn once(&self, ask: &OnceRequest) -> Result<Once, Trouble> {
        let (attempt, ttl, now) = (number(&ask.fence), micros(ask.ttl), self.now());
        let params: [&(dyn ToSql + Sync); 6] =
            [&ask.key, &ask.fence.id, &attempt, &ask.fence.nonce, &ttl, &now];
        let rows = self.query(Line::Finish, "once", "begin", &params).await?;
        let row = rows.first().ok_or(Trouble::Mistake("a remembered effect said nothing"))?;
        Ok(match row.try_get::<_, i32>(0)? {
            0 => Once::Lost,
            1 => Once::Run,
            2 => Once::Known(row.try_get(1)?),
            _ => Once::Taken,
        })
    }

    pub(super) async fn once_store(
        &self,
        key: &str,
        fence: Fence,
        result: Option<&[u8]>,
    ) -> Result<Held, Trouble> {
        let attempt = number(&fence);
        let mut params: Vec<&(dyn ToSql + Sync)> = vec![&key, &fence.id, &attempt, &fence.nonce];
        let name = match &result {
            Some(result) => {
                params.push(result);
                "store"
            }
            None => "forget",
        };
        let rows = self.query(Line::Finish, "once_store", name, &params).await?;
        Ok(held(!rows.is_empty()))
    }
}

fn held(yes: bool) -> Held {
    if yes { Held::Yes } else { Held::Lost }
}

/// A text of Postgres cannot hold a NUL.
fn plain(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}
