//! Workers: presence, which leases they hold, cancel requests, settings of types.

use std::time::Duration;

use super::Db;
use super::errors::Trouble;
use super::rows::{count, get, many};
use super::wire::Line;
use crate::id::{Fence, JobId, Name, WorkerId};
use crate::inspect::WorkerInfo;
use crate::job::{Delivery, TypeDefaults};
use crate::store::common::presence::{Heard, WORKERS_MAX, join_queues, split_queues};
use crate::store::{Held, WorkerCard};

impl Db {
    pub(super) async fn cancel_requests(&self, worker: WorkerId) -> Result<Vec<JobId>, Trouble> {
        let rows = self.query(Line::Beat, "cancel_requests", "asked", &[&worker.0]).await?;
        rows.iter().map(|row| get(row, "id")).collect()
    }

    pub(super) async fn held(&self, fences: &[Fence]) -> Result<Vec<Held>, Trouble> {
        let ids: Vec<_> = fences.iter().map(|fence| fence.id).collect();
        let attempts: Vec<_> = fences.iter().map(|fence| fence.attempt as i32).collect();
        let nonces: Vec<_> = fences.iter().map(|fence| fence.nonce).collect();
        let rows = self.query(Line::Look, "held", "leases", &[&ids, &attempts, &nonces]).await?;
        let held =
            |row: &tokio_postgres::Row| Ok(if row.try_get(0)? { Held::Yes } else { Held::Lost });
        rows.iter().map(held).collect()
    }

    pub(super) async fn register(&self, card: &WorkerCard) -> Result<(), Trouble> {
        let pid = card.pid as i32;
        let all = &card.types;
        let names: Vec<_> = all.iter().map(|one| one.job_type.as_str()).collect();
        let queues: Vec<_> = all.iter().map(|one| one.queue.as_str()).collect();
        let priorities: Vec<_> = all.iter().map(|one| one.priority as i16).collect();
        let attempts: Vec<_> = all.iter().map(|one| one.max_attempts as i32).collect();
        let timeouts: Vec<_> = all.iter().map(|one| one.timeout.as_millis() as i64).collect();
        let once = |one: &TypeDefaults| i16::from(one.delivery == Delivery::AtMostOnce);
        let deliveries: Vec<_> = all.iter().map(once).collect();
        // A host may call itself anything; Postgres keeps no NUL in a text.
        let called = card.name.replace('\0', "\u{fffd}");
        self.query(
            Line::Look,
            "register",
            "worker",
            &[
                &card.worker.0,
                &called,
                &pid,
                &join_queues(&card.queues),
                &names,
                &card.quiet,
                &self.now(),
                &names,
                &queues,
                &priorities,
                &attempts,
                &timeouts,
                &deliveries,
            ],
        )
        .await?;
        Ok(())
    }

    pub(super) async fn leave(&self, worker: WorkerId) -> Result<(), Trouble> {
        self.query(Line::Look, "leave", "stopped", &[&worker.0, &self.now()]).await?;
        Ok(())
    }

    pub(super) async fn types(&self, names: &[Name]) -> Result<Vec<TypeDefaults>, Trouble> {
        let names: Vec<_> = names.iter().map(|name| name.as_str()).collect();
        let rows = self.query(Line::Look, "types", "settings", &[&names]).await?;
        let read = |row: &tokio_postgres::Row| {
            Ok(TypeDefaults {
                job_type: Name::stored(get(row, "name")?),
                queue: Name::stored(get(row, "queue")?),
                priority: get::<i16>(row, "priority")?.max(0) as u16,
                max_attempts: count(row, "max_attempts")?,
                timeout: Duration::from_millis(get::<i64>(row, "timeout_ms")?.max(1) as u64),
                delivery: match get::<i16>(row, "delivery")? {
                    1 => Delivery::AtMostOnce,
                    _ => Delivery::AtLeastOnce,
                },
            })
        };
        rows.iter().map(read).collect()
    }

    pub(super) async fn workers(&self) -> Result<Vec<WorkerInfo>, Trouble> {
        let rows = self.query(Line::Look, "workers", "all", &[&WORKERS_MAX, &self.now()]).await?;
        rows.iter().map(worker).collect()
    }
}

fn worker(row: &tokio_postgres::Row) -> Result<WorkerInfo, Trouble> {
    let (beat_at, stopped_at) = (get(row, "beat_at")?, get(row, "stopped_at")?);
    let lease_until = get(row, "until")?;
    // One that somebody damaged may have none in the middle.
    let types: Vec<Option<String>> = get(row, "types")?;
    Ok(WorkerInfo {
        id: WorkerId(get(row, "id")?),
        name: get(row, "name")?,
        pid: get::<i32>(row, "pid")? as u32,
        queues: split_queues(get(row, "queues")?),
        types: types.iter().flatten().map(|name| Name::stored(name)).collect(),
        started_at: get(row, "started_at")?,
        beat_at,
        stopped_at,
        running: many(row, "running")?,
        quiet: get(row, "quiet")?,
        state: Heard { beat_at, stopped_at, lease_until }.state(get(row, "now")?),
    })
}
