//! The SQL of each verb, cut into its named statements; SQL stands nowhere else.

use std::collections::HashMap;
use std::sync::LazyLock;

use rusqlite::{CachedStatement, Connection};

use super::errors::Trouble;

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
    "types",
    "workers",
];

static STATEMENTS: LazyLock<HashMap<(&str, &str), &str>> = LazyLock::new(|| {
    let mut all = HashMap::new();
    for (verb, file) in FILES {
        for section in file.split("-- :").skip(1) {
            let name_end = section.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let name = &section[..name_end.unwrap_or(section.len())];
            let body = section.find('\n').map_or("", |at| section[at..].trim_start());
            all.insert((*verb, name), skip_comments(body));
        }
    }
    all
});

fn skip_comments(mut sql: &str) -> &str {
    while let Some(rest) = sql.strip_prefix("--") {
        sql = rest.find('\n').map_or("", |at| rest[at..].trim_start());
    }
    sql.trim_end()
}

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
