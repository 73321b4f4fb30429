//! The SQL of each verb, cut into its named statements; SQL stands nowhere else.

use std::collections::HashMap;
use std::sync::LazyLock;

use rusqlite::{CachedStatement, Connection};

use super::errors::Trouble;
use crate::store::common::sections::sections;

macro_rules! verbs {
    ($($verb:literal),* $(,)?) => {
        const FILES: &[(&str, &str)] =
            &[$(($verb, include_str!(concat!("sql/", $verb, ".sql")))),*];
    };
}

verbs![
    "abdicate",
    "backup",
    "cancel",
    "cancel_requests",
    "claim",
    "clear",
    "delete",
    "discard",
    "doctor",
    "enqueue",
    "finish",
    "fold",
    "heartbeat",
    "held",
    "keep",
    "kept",
    "lead",
    "leave",
    "list",
    "note",
    "once",
    "once_store",
    "pause",
    "promote",
    "prune",
    "queues",
    "register",
    "reschedule",
    "rescue",
    "restore",
    "retry",
    "show",
    "stats",
    "totals",
    "types",
    "workers",
];

static STATEMENTS: LazyLock<HashMap<(&str, &str), &str>> = LazyLock::new(|| {
    let mut all = HashMap::new();
    for (verb, file) in FILES {
        all.extend(sections(file).map(|(name, sql)| ((*verb, name), sql)));
    }
    all
});

/// Returns a prepared statement of a verb, from the connection's cache.
pub(super) fn prepare<'c>(
    conn: &'c Connection,
    verb: &'static str,
    name: &'static str,
) -> Result<CachedStatement<'c>, Trouble> {
    let sql = STATEMENTS.get(&(verb, name)).copied().unwrap_or_else(|| {
        // A name that no file has is a mistake in this crate; every statement is run by a test.
        panic!("sql/{verb}.sql has no statement \"{name}\"")
    });
    Ok(conn.prepare_cached(sql)?)
}
