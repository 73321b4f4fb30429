//! The environment of a command: a short list of ours, what dutiful.toml adds, what the job is.

use std::collections::BTreeMap;

use dutiful::Context;

use super::Spec;

/// Variables of the worker that a command gets too. Anything else (a database's password, a cloud's
/// key, `LD_PRELOAD`) must be named in the handler's `env` table.
const ALLOWED: [&str; 7] = ["PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "USER"];

/// Returns what is passed on of this process's environment.
pub(crate) fn allowed() -> Vec<(String, String)> {
    ALLOWED.iter().filter_map(|key| Some(((*key).to_owned(), std::env::var(key).ok()?))).collect()
}

impl Spec {
    /// Adds variables that dutiful.toml gives; they win over ours.
    pub(crate) fn with_env(mut self, table: &BTreeMap<String, String>) -> Self {
        self.env.retain(|(key, _)| !table.contains_key(key));
        self.env.extend(table.iter().map(|(key, value)| (key.clone(), value.clone())));
        self
    }
}

/// Returns what a command finds about its job.
pub(crate) fn job_variables<A>(cx: &Context<A>) -> Vec<(&'static str, String)> {
    let mut variables = vec![
        ("DUTIFUL_JOB_ID", cx.id().to_string()),
        ("DUTIFUL_JOB_TYPE", cx.job_type().to_string()),
        ("DUTIFUL_QUEUE", cx.queue().to_string()),
        ("DUTIFUL_ATTEMPT", cx.attempt().to_string()),
        ("DUTIFUL_MAX_ATTEMPTS", cx.max_attempts().to_string()),
        ("DUTIFUL_IDEMPOTENCY_KEY", cx.idempotency_key()),
        ("DUTIFUL_CORRELATION_ID", cx.correlation_id().to_string()),
    ];
    // Of this attempt's span where there is one, so that what the command does stands below it.
    if let Some(parent) = dutiful::trace_parent() {
        variables.push(("TRACEPARENT", parent));
    }
    variables
}
