//! What dutiful.toml says of a target of notifications: `[[alerts.notify]]`.

use std::fmt;

use serde::Deserialize;

use super::NotifySeverity;

/// A target of notifications. `Debug` shows no address of it and no secret.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NotifySettings {
    /// Its name: jobs and messages call it so.
    pub name: String,
    /// A webhook: the URL that the JSON is posted to.
    pub url: Option<Hidden>,
    /// Signs what is posted to `url`, by the Standard Webhooks specification: `whsec_…`.
    pub secret: Option<Hidden>,
    /// The environment variable that has the secret instead.
    pub secret_env: Option<String>,
    /// The URL of an incoming webhook of Slack, or of what takes the same.
    pub slack: Option<Hidden>,
    /// The environment variable that has it instead.
    pub slack_env: Option<String>,
    /// A program and its arguments; it reads the JSON from its standard input.
    pub command: Option<Vec<String>>,
    /// Addresses of mail.
    pub email: Option<EmailSettings>,
    /// Only alerts that are at least so severe (default: all).
    #[serde(default)]
    pub severity: NotifySeverity,
    /// Only alerts of these rules (default: of all).
    #[serde(default)]
    pub rules: Vec<String>,
    /// Only alerts about these queues (default: about all, and about the whole store).
    #[serde(default)]
    pub queues: Vec<String>,
}

/// How a target is told by mail.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmailSettings {
    /// Who gets it.
    pub to: Vec<String>,
    /// Whom it is from.
    pub from: String,
    /// The server that takes it: `smtps://user:pass@mail:465`, or `smtp://localhost:25`, where TLS
    /// is used if it is offered. A password is sent by TLS only, but to this machine.
    pub smtp: Option<Hidden>,
    /// The environment variable that has it instead.
    pub smtp_env: Option<String>,
}

/// A text that nobody is shown.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Hidden(pub String);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden(…)")
    }
}

/// Returns a text that stands in dutiful.toml, or in the environment variable that is named there.
pub(super) fn given(
    what: &str,
    text: Option<&Hidden>,
    variable: Option<&str>,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<String>, String> {
    match (text, variable) {
        (Some(_), Some(_)) => Err(format!("has {what} and {what}_env; choose one")),
        (Some(text), None) => Ok(Some(text.0.clone())),
        (None, None) => Ok(None),
        (None, Some(variable)) => match env(variable).filter(|text| !text.is_empty()) {
            Some(text) => Ok(Some(text)),
            None => Err(format!(
                "takes its {what} from the environment variable {variable}, which is not set; \
                 export it to the server"
            )),
        },
    }
}
