//! Workers: presence, leases renewed, cancel requests, remembered effects, settings of types.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use super::errors::Trouble;
use super::rows::job_id;
use super::statements::prepare;
use super::writer::Txn;
use crate::id::{Fence, JobId, Name, WorkerId};
use crate::job::{Delivery, TypeDefaults};
use crate::store::common::presence::join_queues;
use crate::store::{Beat, HeartbeatRequest, Held, Once, OnceRequest, WorkerCard};

pub(super) fn heartbeat(txn: &mut Txn<'_>, ask: &HeartbeatRequest) -> Result<Vec<Beat>, Trouble> {
    let until = txn.now.plus(ask.lease).us();
    let mut renew = prepare(txn.conn, "heartbeat", "renew")?;
    let mut beats = Vec::with_capacity(ask.fences.len());
    for fence in &ask.fences {
        let row = renew
            .query_row(params![fence.id, fence.attempt, fence.nonce, until], |row| row.get(0))
            .optional()?;
        beats.push(match row {
            Some(cancel) => Beat { held: Held::Yes, cancel },
            None if cfg!(bug = "no_heartbeat_check") => Beat { held: Held::Yes, cancel: false },
            None => Beat { held: Held::Lost, cancel: false },
        });
    }
    prepare(txn.conn, "heartbeat", "present")?.execute(params![ask.worker.0, txn.now.us()])?;
    Ok(beats)
}

pub(super) fn cancel_requests(conn: &Connection, worker: WorkerId) -> Result<Vec<JobId>, Trouble> {
    let mut asked = prepare(conn, "cancel_requests", "asked")?;
    let ids = asked.query_map(params![worker.0], |row| job_id(row, 0))?;
    Ok(ids.collect::<Result<_, _>>()?)
}

pub(super) fn held(conn: &Connection, fences: &[Fence]) -> Result<Vec<Held>, Trouble> {
    let mut lease = prepare(conn, "held", "lease")?;
    let mut answers = Vec::with_capacity(fences.len());
    for fence in fences {
        let key = params![fence.id, fence.attempt, fence.nonce];
        let found = lease.query_row(key, |_| Ok(())).optional()?;
        answers.push(if found.is_some() { Held::Yes } else { Held::Lost });
    }
    Ok(answers)
}

pub(super) fn register(txn: &mut Txn<'_>, card: &WorkerCard) -> Result<(), Trouble> {
    let types: serde_json::Value =
        card.types.iter().map(|t| t.job_type.as_str()).collect::<Vec<_>>().into();
    prepare(txn.conn, "register", "worker")?.execute(params![
        card.worker.0,
        card.name,
        card.pid,
        join_queues(&card.queues),
        types.to_string(),
        txn.now.us(),
        card.quiet,
    ])?;
    for one in &card.types {
        prepare(txn.conn, "register", "type")?.execute(params![
            one.job_type.as_str(),
            one.queue.as_str(),
            one.priority,
            one.max_attempts,
            one.timeout.as_millis() as i64,
            i64::from(one.delivery == Delivery::AtMostOnce),
            txn.now.us(),
        ])?;
    }
    Ok(())
}

pub(super) fn leave(txn: &mut Txn<'_>, worker: WorkerId) -> Result<(), Trouble> {
    prepare(txn.conn, "leave", "stopped")?.execute(params![worker.0, txn.now.us()])?;
    Ok(())
}

pub(super) fn types(conn: &Connection, names: &[Name]) -> Result<Vec<TypeDefaults>, Trouble> {
    let mut found = Vec::new();
    for name in names {
        let one = prepare(conn, "types", "settings")?
            .query_row(params![name.as_str()], |row| {
                let at_most_once = row.get::<_, i64>(4)? == 1;
                Ok(TypeDefaults {
                    job_type: name.clone(),
                    queue: Name::stored(&row.get::<_, String>(0)?),
                    priority: row.get(1)?,
                    max_attempts: row.get(2)?,
                    timeout: Duration::from_millis(row.get::<_, i64>(3)?.max(1) as u64),
                    delivery: if at_most_once {
                        Delivery::AtMostOnce
                    } else {
                        Delivery::AtLeastOnce
                    },
                })
            })
            .optional()?;
        found.extend(one);
    }
    Ok(found)
}

pub(super) fn once(txn: &mut Txn<'_>, ask: &OnceRequest) -> Result<Once, Trouble> {
    let Fence { id, attempt, nonce } = ask.fence;
    let mut mine = prepare(txn.conn, "once", "mine")?;
    if mine.query_row(params![id, attempt, nonce], |_| Ok(())).optional()?.is_none() {
        return Ok(Once::Lost);
    }
    let row = prepare(txn.conn, "once", "row")?
        .query_row(params![ask.key], |row| {
            let holder = (job_id(row, 0)?, row.get::<_, u32>(1)?, row.get::<_, i64>(2)?);
            Ok((holder, row.get::<_, Option<Vec<u8>>>(3)?, row.get::<_, i64>(4)?))
        })
        .optional()?;
    if let Some((holder, result, expires_at)) = row
        && expires_at >= txn.now.us()
    {
        if let Some(result) = result {
            return Ok(Once::Known(result));
        }
        let (theirs, number, token) = holder;
        let alive = mine.query_row(params![theirs, number, token], |_| Ok(())).optional()?;
        if alive.is_some() && holder != (id, attempt, nonce) {
            return Ok(Once::Taken);
        }
    }
    let expires = txn.now.plus(ask.ttl).us();
    prepare(txn.conn, "once", "take")?.execute(params![ask.key, id, attempt, nonce, expires])?;
    Ok(Once::Run)
}

pub(super) fn once_store(
    txn: &mut Txn<'_>,
    key: &str,
    fence: Fence,
    result: Option<&[u8]>,
) -> Result<Held, Trouble> {
    let Fence { id, attempt, nonce } = fence;
    let changed = match result {
        Some(result) => prepare(txn.conn, "once_store", "store")?
            .execute(params![key, id, attempt, nonce, result])?,
        None => {
            prepare(txn.conn, "once_store", "forget")?.execute(params![key, id, attempt, nonce])?
        }
    };
    Ok(if changed == 1 { Held::Yes } else { Held::Lost })
}
