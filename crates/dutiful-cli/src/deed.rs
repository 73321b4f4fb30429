//! What the command line changes is written down where a server writes what is asked of it.

use dutiful::{Client, Error, JobId, Verb};
use dutiful_server::audit::{self, Deed};
use serde_json::{Value, json};

use crate::commands::change;

/// So many ids of a change of many are written down.
const IDS_MAX: usize = 20;

/// Returns who sits before this terminal, as far as it is known.
pub(crate) fn who() -> String {
    let named = ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
    match named.filter(|name| !name.is_empty()) {
        Some(name) => format!("{name} (command line)"),
        None => "command line".to_owned(),
    }
}

/// Does something to one thing, and writes it down.
pub(crate) async fn done<T, E: From<Error>>(
    client: &Client,
    action: &str,
    subject: &str,
    doing: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let (action, subject) = (action.to_owned(), subject.to_owned());
    let deed = Deed { actor: who(), action, subject, detail: Value::Null };
    audit::written(client, deed, doing).await
}

/// Changes jobs, and writes it down.
pub(crate) async fn changed<T>(
    client: &Client,
    verb: Verb,
    ids: &[JobId],
    doing: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let action = format!("jobs.{}", change::infinitive(verb));
    let (subject, detail) = match ids {
        [] => return doing.await,
        [id] => (id.to_string(), Value::Null),
        ids => {
            let first = &ids[..ids.len().min(IDS_MAX)];
            (String::new(), json!({ "jobs": ids.len(), "first": first }))
        }
    };
    audit::written(client, Deed { actor: who(), action, subject, detail }, doing).await
}
