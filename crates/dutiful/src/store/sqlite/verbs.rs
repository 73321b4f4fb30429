//! The verbs of the seam, each handed to the thread that may do it.

use std::any::Any;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use super::writer::{Txn, lock};
use super::{
    SqliteStore, Trouble, backup, change, claim, close, count, disk, doctor, enqueue, finish, kept,
    list, look, migrate, note, operate, presence, silence, upkeep,
};
use crate::clock::Timestamp;
use crate::error::StoreError;
use crate::id::{Fence, JobId, Name, WorkerId};
use crate::inspect::{
    Backup, Filter, Finding, JobInfo, JobResult, Page, QueueInfo, Stats, Vitals, WorkerInfo,
};
use crate::job::{Record, TypeDefaults};
use crate::store::{
    Beat, Change, ClaimRequest, Claimed, Enqueued, Facts, Finish, HeartbeatRequest, Held, Keep,
    KeptItem, KeptRange, Leadership, Migrated, Note, Once, OnceRequest, Promoted, Reply,
    RescueRequest, Rescued, Retention, Store, WorkerCard,
};
use crate::totals::TypeTotals;

impl SqliteStore {
    fn change_each(
        &self,
        ids: Vec<JobId>,
        change: impl Fn(&mut Txn<'_>, JobId) -> Result<Change, Trouble> + Send + 'static,
    ) -> Reply<'_, Vec<Change>> {
        self.write(ids.len(), move |txn| ids.iter().map(|id| change(txn, *id)).collect())
    }
}

impl Store for SqliteStore {
    fn facts(&self) -> Facts {
        self.facts.clone()
    }

    fn enqueue(&self, jobs: Vec<Record>) -> Reply<'_, Vec<Enqueued>> {
        let due = jobs.iter().any(enqueue::is_due);
        let asked = self.write(jobs.len(), move |txn| enqueue::enqueue(txn, &jobs));
        if due {
            self.bell.ring_ahead();
        }
        asked
    }

    fn claim(&self, ask: ClaimRequest) -> Reply<'_, Vec<Claimed>> {
        self.write(ask.limit, move |txn| claim::claim(txn, &ask))
    }

    fn finish(&self, worker: WorkerId, ends: Vec<Finish>) -> Reply<'_, Vec<Held>> {
        self.write(ends.len(), move |txn| finish::finish(txn, worker, &ends))
    }

    fn heartbeat(&self, ask: HeartbeatRequest) -> Reply<'_, Vec<Beat>> {
        self.write_first(move |txn| presence::heartbeat(txn, &ask))
    }

    fn cancel_requests(&self, worker: WorkerId) -> Reply<'_, Vec<JobId>> {
        self.read(move |conn, _| presence::cancel_requests(conn, worker))
    }

    fn held(&self, fences: Vec<Fence>) -> Reply<'_, Vec<Held>> {
        self.read(move |conn, _| presence::held(conn, &fences))
    }

    fn note(&self, notes: Vec<Note>) -> Reply<'_, Vec<Held>> {
        let rows = notes.iter().map(|one| 1 + one.log.len()).sum();
        self.write(rows, move |txn| note::note(txn, &notes))
    }

    fn cancel(&self, ids: Vec<JobId>) -> Reply<'_, Vec<Change>> {
        self.change_each(ids, change::cancel)
    }

    fn retry(&self, ids: Vec<JobId>) -> Reply<'_, Vec<Change>> {
        self.change_each(ids, change::retry)
    }

    fn discard(&self, ids: Vec<JobId>) -> Reply<'_, Vec<Change>> {
        self.change_each(ids, change::discard)
    }

    fn reschedule(&self, ids: Vec<JobId>, at: Timestamp) -> Reply<'_, Vec<Change>> {
        self.change_each(ids, move |txn, id| change::reschedule(txn, id, at))
    }

    fn delete(&self, ids: Vec<JobId>) -> Reply<'_, Vec<Change>> {
        self.change_each(ids, change::delete)
    }

    fn clear(&self, queue: Name, limit: usize) -> Reply<'_, usize> {
        Box::pin(async move {
            for _ in 0..operate::LOOKS_MAX {
                let (of, limit) = (queue.clone(), limit.clamp(1, operate::CLEAR_MAX));
                let found = self.read(move |conn, _| operate::waiting(conn, &of, limit)).await?;
                let (of, rows) = (queue.clone(), found.len());
                if rows == 0 {
                    return Ok(0);
                }
                let gone = self.write(rows, move |txn| operate::clear(txn, &of, &found)).await?;
                // None of them: workers were faster with all, so others are at the front now.
                if gone > 0 {
                    return Ok(gone);
                }
            }
            Err(operate::too_fast(&queue))
        })
    }

    fn pause(&self, queue: Name, paused: bool) -> Reply<'_, bool> {
        self.write(1, move |txn| change::pause(txn, &queue, paused))
    }

    fn show(&self, id: JobId) -> Reply<'_, Option<JobInfo>> {
        self.read(move |conn, now| look::show(conn, id, now))
    }

    fn result(&self, ids: Vec<JobId>) -> Reply<'_, Vec<Option<JobResult>>> {
        self.read(move |conn, now| look::results(conn, &ids, now))
    }

    fn list(&self, filter: Filter) -> Reply<'_, Page> {
        self.read(move |conn, now| list::list(conn, &filter, now))
    }

    fn queues(&self) -> Reply<'_, Vec<QueueInfo>> {
        self.count(count::queues)
    }

    fn totals(&self) -> Reply<'_, Vec<TypeTotals>> {
        self.read(|conn, _| count::totals(conn))
    }

    fn stats(&self) -> Reply<'_, Stats> {
        self.count(count::stats)
    }

    fn workers(&self) -> Reply<'_, Vec<WorkerInfo>> {
        self.read(operate::workers)
    }

    fn doctor(&self, full: bool) -> Reply<'_, Vec<Finding>> {
        doctor::doctor(self, full)
    }

    fn vitals(&self) -> Reply<'_, Vitals> {
        let (path, bell) = (self.path.clone(), self.bell.clone());
        self.read(move |_, _| Ok(disk::vitals(path.as_deref(), bell.lag())))
    }

    fn backup(&self, to: PathBuf) -> Reply<'_, Backup> {
        backup::backup(self, to)
    }

    fn register(&self, worker: WorkerCard) -> Reply<'_, ()> {
        self.write(1, move |txn| presence::register(txn, &worker))
    }

    fn leave(&self, worker: WorkerId) -> Reply<'_, ()> {
        self.write(1, move |txn| presence::leave(txn, worker))
    }

    fn types(&self, types: Vec<Name>) -> Reply<'_, Vec<TypeDefaults>> {
        self.read(move |conn, _| presence::types(conn, &types))
    }

    fn lead(&self, worker: WorkerId, ttl: Duration) -> Reply<'_, Leadership> {
        self.write_first(move |txn| upkeep::lead(txn, worker, ttl))
    }

    fn abdicate(&self, worker: WorkerId, term: i64) -> Reply<'_, ()> {
        self.write(1, move |txn| upkeep::abdicate(txn, worker, term))
    }

    fn promote(&self, term: i64, limit: usize) -> Reply<'_, Promoted> {
        Box::pin(async move {
            // Looking costs no lock; most of the time nothing is due.
            let look = |conn: &_, now| Ok((upkeep::next_due(conn)?, now));
            if let (next, now) = self.read(look).await?
                && next.is_none_or(|at| at > now)
            {
                let next = next.map(|at| at.since(now));
                return Ok(Promoted { moved: 0, next });
            }
            self.write(limit, move |txn| upkeep::promote(txn, term, limit)).await
        })
    }

    fn rescue(&self, term: i64, ask: RescueRequest) -> Reply<'_, Vec<Rescued>> {
        let (suspects, silence) = (self.suspects.clone(), self.silence.clone());
        let look = move |conn: &_, now| silence::silent(conn, now, &mut lock(&silence));
        Box::pin(async move {
            let silent = self.read(look).await?;
            let rescue = move |txn: &mut Txn<'_>| {
                upkeep::rescue(txn, term, &ask, &mut lock(&suspects), &silent)
            };
            self.write(ask.limit, rescue).await
        })
    }

    fn prune(&self, term: i64, keep: Retention) -> Reply<'_, usize> {
        Box::pin(async move {
            let found = self.read(move |conn, now| upkeep::prunable(conn, keep, now)).await?;
            self.write(found.len(), move |txn| upkeep::prune(txn, term, keep, &found)).await
        })
    }

    fn fold(&self, term: i64) -> Reply<'_, usize> {
        self.write(1000, move |txn| upkeep::fold(txn, term))
    }

    fn once(&self, ask: OnceRequest) -> Reply<'_, Once> {
        self.write(1, move |txn| presence::once(txn, &ask))
    }

    fn once_store(&self, key: String, fence: Fence, result: Option<Vec<u8>>) -> Reply<'_, Held> {
        self.write(1, move |txn| presence::once_store(txn, &key, fence, result.as_deref()))
    }

    fn keep(&self, ask: Keep) -> Reply<'_, Option<i64>> {
        self.write(1, move |txn| kept::keep(txn, &ask))
    }

    fn kept(&self, range: KeptRange) -> Reply<'_, Vec<KeptItem>> {
        self.read(move |conn, now| kept::kept(conn, &range, now))
    }

    fn doorbell(&self, heard: u64) -> Pin<Box<dyn Future<Output = u64> + Send + '_>> {
        Box::pin(self.bell.wait(heard))
    }

    fn migrate(&self, version: Option<i64>) -> Reply<'_, Migrated> {
        self.write(1, move |txn| migrate::within(txn.conn, version))
    }

    fn close(&self) -> Reply<'_, ()> {
        let checked = self.check_process();
        Box::pin(async move {
            checked?;
            close(self).await;
            Ok::<(), StoreError>(())
        })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
