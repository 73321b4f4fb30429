//! The verbs of the seam, each handed to the store's thread.

use std::any::Any;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use super::PostgresStore;
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

impl Store for PostgresStore {
    fn facts(&self) -> Facts {
        self.facts.clone()
    }

    fn enqueue(&self, jobs: Vec<Record>) -> Reply<'_, Vec<Enqueued>> {
        if jobs.iter().any(|job| job.unique_key.is_some()) {
            return self.run(move |db| async move { db.enqueue_keyed(&jobs).await });
        }
        let gathered = self.check_process().map(|()| self.db.gather(jobs));
        Box::pin(async move { gathered?.await.unwrap_or(Err(StoreError::Closed)) })
    }

    fn claim(&self, ask: ClaimRequest) -> Reply<'_, Vec<Claimed>> {
        self.run(move |db| async move { db.claim(&ask).await })
    }

    fn finish(&self, worker: WorkerId, ends: Vec<Finish>) -> Reply<'_, Vec<Held>> {
        self.run(move |db| async move { db.finish(worker, &ends).await })
    }

    fn heartbeat(&self, ask: HeartbeatRequest) -> Reply<'_, Vec<Beat>> {
        self.run(move |db| async move { db.heartbeat(&ask).await })
    }

    fn cancel_requests(&self, worker: WorkerId) -> Reply<'_, Vec<JobId>> {
        self.run(move |db| async move { db.cancel_requests(worker).await })
    }

    fn held(&self, fences: Vec<Fence>) -> Reply<'_, Vec<Held>> {
        self.run(move |db| async move { db.held(&fences).await })
    }

    fn note(&self, notes: Vec<Note>) -> Reply<'_, Vec<Held>> {
        self.run(move |db| async move { db.note(&notes).await })
    }

    fn cancel(&self, ids: Vec<JobId>) -> Reply<'_, Vec<Change>> {
        self.run(move |db| async move { db.change("cancel", &ids).await })
    }

    fn retry(&self, ids: Vec<JobId>) -> Reply<'_, Vec<Change>> {
        self.run(move |db| async move { db.change("retry", &ids).await })
    }

    fn discard(&self, ids: Vec<JobId>) -> Reply<'_, Vec<Change>> {
        self.run(move |db| async move { db.change("discard", &ids).await })
    }

    fn reschedule(&self, ids: Vec<JobId>, at: Timestamp) -> Reply<'_, Vec<Change>> {
        self.run(move |db| async move { db.reschedule(&ids, at).await })
    }

    fn delete(&self, ids: Vec<JobId>) -> Reply<'_, Vec<Change>> {
        self.run(move |db| async move { db.change("delete", &ids).await })
    }

    fn clear(&self, queue: Name, limit: usize) -> Reply<'_, usize> {
        self.run(move |db| async move { db.clear(&queue, limit).await })
    }

    fn pause(&self, queue: Name, paused: bool) -> Reply<'_, bool> {
        self.run(move |db| async move { db.pause(&queue, paused).await })
    }

    fn show(&self, id: JobId) -> Reply<'_, Option<JobInfo>> {
        self.run(move |db| async move { db.show(id).await })
    }

    fn result(&self, ids: Vec<JobId>) -> Reply<'_, Vec<Option<JobResult>>> {
        self.run(move |db| async move { db.results(&ids).await })
    }

    fn list(&self, filter: Filter) -> Reply<'_, Page> {
        self.run(move |db| async move { db.list(&filter).await })
    }

    fn queues(&self) -> Reply<'_, Vec<QueueInfo>> {
        self.run(|db| async move { db.queues().await })
    }

    fn totals(&self) -> Reply<'_, Vec<TypeTotals>> {
        self.run(|db| async move { db.totals().await })
    }

    fn stats(&self) -> Reply<'_, Stats> {
        self.run(|db| async move { db.stats().await })
    }

    fn workers(&self) -> Reply<'_, Vec<WorkerInfo>> {
        self.run(|db| async move { db.workers().await })
    }

    fn doctor(&self, full: bool) -> Reply<'_, Vec<Finding>> {
        let facts = self.facts.clone();
        self.run(move |db| async move { db.doctor(&facts, full).await })
    }

    fn vitals(&self) -> Reply<'_, Vitals> {
        self.run(|db| async move { db.vitals().await })
    }

    fn backup(&self, to: PathBuf) -> Reply<'_, Backup> {
        let refused = StoreError::Unsupported {
            what: "write a backup",
            store: "postgres",
            advice: "use the server's own: `pg_dump --format=custom --schema=dutiful \
                     --file=jobs.dump DATABASE`, or its continuous archiving",
        };
        // A closed or forked store says so first.
        self.run(move |_| async move {
            drop(to);
            Err(refused.into())
        })
    }

    fn register(&self, worker: WorkerCard) -> Reply<'_, ()> {
        self.run(move |db| async move { db.register(&worker).await })
    }

    fn leave(&self, worker: WorkerId) -> Reply<'_, ()> {
        self.run(move |db| async move { db.leave(worker).await })
    }

    fn types(&self, types: Vec<Name>) -> Reply<'_, Vec<TypeDefaults>> {
        self.run(move |db| async move { db.types(&types).await })
    }

    fn lead(&self, worker: WorkerId, ttl: Duration) -> Reply<'_, Leadership> {
        self.run(move |db| async move { db.lead(worker, ttl).await })
    }

    fn abdicate(&self, worker: WorkerId, term: i64) -> Reply<'_, ()> {
        self.run(move |db| async move { db.abdicate(worker, term).await })
    }

    fn promote(&self, term: i64, limit: usize) -> Reply<'_, Promoted> {
        self.run(move |db| async move { db.promote(term, limit).await })
    }

    fn rescue(&self, term: i64, ask: RescueRequest) -> Reply<'_, Vec<Rescued>> {
        self.run(move |db| async move { db.rescue(term, ask).await })
    }

    fn prune(&self, term: i64, keep: Retention) -> Reply<'_, usize> {
        self.run(move |db| async move { db.prune(term, keep).await })
    }

    fn fold(&self, term: i64) -> Reply<'_, usize> {
        self.run(move |db| async move { db.fold(term).await })
    }

    fn once(&self, ask: OnceRequest) -> Reply<'_, Once> {
        self.run(move |db| async move { db.once(&ask).await })
    }

    fn once_store(&self, key: String, fence: Fence, result: Option<Vec<u8>>) -> Reply<'_, Held> {
        self.run(move |db| async move { db.once_store(&key, fence, result.as_deref()).await })
    }

    fn keep(&self, ask: Keep) -> Reply<'_, Option<i64>> {
        self.run(move |db| async move { db.keep(&ask).await })
    }

    fn kept(&self, range: KeptRange) -> Reply<'_, Vec<KeptItem>> {
        self.run(move |db| async move { db.kept(&range).await })
    }

    fn doorbell(&self, heard: u64) -> Pin<Box<dyn Future<Output = u64> + Send + '_>> {
        Box::pin(async move { self.db.wait_for_ring(heard).await })
    }

    fn migrate(&self, version: Option<i64>) -> Reply<'_, Migrated> {
        self.run(move |db| async move { db.migrate(version).await })
    }

    fn close(&self) -> Reply<'_, ()> {
        let checked = self.check_process();
        Box::pin(async move {
            checked?;
            if let Some(thread) = self.db.wire.close().await {
                let joined = super::super::connect::apart("dutiful-close", move || {
                    // A panic in the thread was reported already.
                    drop(thread.join());
                    Ok(())
                });
                joined.await?;
            }
            Ok::<(), StoreError>(())
        })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
