//! The targets of notifications, checked before anything starts: how each is reached, and which
//! alerts it wants.

use std::collections::BTreeSet;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use dutiful::{HandlerError, JobId, NAME_BYTES_MAX, Name};

use super::mail::Mail;
use super::settings::{NotifySettings, given};
use super::web::{Secret, Web};
use super::{Notice, Notification, NotifySeverity, words};
use crate::alerts::Rule;

/// Most targets.
const TARGETS_MAX: usize = 50;

/// How a command went.
type Ran = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// Runs a program with its arguments, which reads these bytes from its standard input; answers what
/// it failed with. When the answer is dropped, the program is killed.
pub type RunCommand = Arc<dyn Fn(Vec<String>, Vec<u8>) -> Ran + Send + Sync>;

/// Why a target of notifications cannot be used. It repeats no address and no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotifyTargetError {
    /// There are too many.
    #[error("[[alerts.notify]] stands there {0} times and {TARGETS_MAX} are the limit")]
    TooMany(usize),
    /// One of them is wrong.
    #[error("[[alerts.notify]] {name:?} {why}")]
    Target {
        /// Its name.
        name: String,
        /// What is wrong with it.
        why: String,
    },
}

/// Where notifications go; the default is nowhere.
#[derive(Clone, Debug, Default)]
pub struct NotifyTargets(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    server: String,
    targets: Vec<Target>,
}

/// One target.
pub(super) struct Target {
    name: String,
    severity: NotifySeverity,
    rules: BTreeSet<String>,
    queues: BTreeSet<String>,
    way: Way,
}

/// How it is told.
enum Way {
    Webhook(Web, Option<Secret>),
    Slack(Web),
    Command(Vec<String>, RunCommand),
    Email(Mail),
}

impl NotifyTargets {
    /// Checks all targets. `server` is the name by which this server calls itself in what it tells,
    /// `env` reads an environment variable, `run` runs the commands.
    ///
    /// # Errors
    /// [`NotifyTargetError`] that says what to mend in dutiful.toml.
    pub fn new(
        server: impl Into<String>,
        settings: &[NotifySettings],
        env: &dyn Fn(&str) -> Option<String>,
        run: &RunCommand,
    ) -> Result<Self, NotifyTargetError> {
        if settings.len() > TARGETS_MAX {
            return Err(NotifyTargetError::TooMany(settings.len()));
        }
        let mut targets: Vec<Target> = Vec::new();
        for one in settings {
            let wrong = |why| NotifyTargetError::Target { name: one.name.clone(), why };
            if targets.iter().any(|other| other.name == one.name) {
                return Err(wrong("stands there twice; give each a name of its own".to_owned()));
            }
            targets.push(Target::new(one, env, run).map_err(wrong)?);
        }
        Ok(Self(Arc::new(Inner { server: server.into(), targets })))
    }

    /// Returns the names of the targets that want to hear of an alert.
    pub(super) fn that_want<'a>(&'a self, alert: &'a Notice) -> impl Iterator<Item = &'a str> {
        self.0.targets.iter().filter(|one| one.wants(alert)).map(|one| one.name.as_str())
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Target> {
        self.0.targets.iter()
    }

    pub(super) fn named(&self, name: &str) -> Option<&Target> {
        self.0.targets.iter().find(|one| one.name == name)
    }

    pub(super) fn server(&self) -> &str {
        &self.0.server
    }
}

impl Target {
    fn new(
        given: &NotifySettings,
        env: &dyn Fn(&str) -> Option<String>,
        run: &RunCommand,
    ) -> Result<Self, String> {
        check_name(&given.name)?;
        given.rules.iter().try_for_each(|rule| check_rule(rule))?;
        for queue in &given.queues {
            Name::new("queue", queue)
                .map_err(|error| format!("names what is no queue: {error}"))?;
        }
        Ok(Self {
            name: given.name.clone(),
            severity: given.severity,
            rules: given.rules.iter().cloned().collect(),
            queues: given.queues.iter().cloned().collect(),
            way: way(given, env, run)?,
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// What is about the whole store is for those who watch all queues.
    fn wants(&self, alert: &Notice) -> bool {
        let of_queue = match &alert.queue {
            Some(queue) => self.queues.is_empty() || self.queues.contains(queue),
            None => self.queues.is_empty(),
        };
        let of_rule = self.rules.is_empty() || self.rules.contains(&alert.rule);
        of_queue && of_rule && alert.severity >= self.severity
    }

    /// Sends it; the id is the same for each attempt, so that a receiver can tell a repeat.
    pub(super) async fn send(&self, what: &Notification, id: JobId) -> dutiful::Result<()> {
        match &self.way {
            Way::Webhook(web, secret) => web.post(id, json(what)?, secret.as_ref()).await,
            Way::Slack(web) => {
                let text = serde_json::json!({ "text": words::chat(what) });
                web.post(id, text.to_string().into_bytes(), None).await
            }
            Way::Command(command, run) => {
                let ended = run(command.clone(), json(what)?).await;
                ended.map_err(|why| HandlerError::msg(why).with_class("command"))
            }
            Way::Email(mail) => mail.send(what, id).await,
        }
    }
}

fn json(what: &Notification) -> dutiful::Result<Vec<u8>> {
    serde_json::to_vec(what).map_err(|error| HandlerError::discard(HandlerError::msg(error)))
}

/// Returns the one way in which a target is told.
fn way(
    of: &NotifySettings,
    env: &dyn Fn(&str) -> Option<String>,
    run: &RunCommand,
) -> Result<Way, String> {
    let slack = given("slack", of.slack.as_ref(), of.slack_env.as_deref(), env)?;
    let secret = given("secret", of.secret.as_ref(), of.secret_env.as_deref(), env)?;
    if secret.is_some() && of.url.is_none() {
        return Err("has a secret, which is for a url only; remove it".to_owned());
    }
    match (&of.url, slack, &of.command, &of.email) {
        (Some(url), None, None, None) => {
            let secret = secret.as_deref().map(Secret::parse).transpose()?;
            Ok(Way::Webhook(Web::new("url", &url.0)?, secret))
        }
        (None, Some(url), None, None) => Ok(Way::Slack(Web::new("slack", &url)?)),
        (None, None, Some(command), None) => {
            let names_one = command.first().is_some_and(|program| !program.is_empty());
            if !names_one || command.iter().any(|part| part.contains('\0')) {
                return Err("names no program; write command = [\"notify.sh\"]".to_owned());
            }
            Ok(Way::Command(command.clone(), run.clone()))
        }
        (None, None, None, Some(email)) => Ok(Way::Email(Mail::new(email, env)?)),
        _ => Err("is to have one of url, slack, command and email".to_owned()),
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte);
    if (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_good) {
        return Ok(());
    }
    Err(format!("needs a name of 1 to {NAME_BYTES_MAX} of A-Z a-z 0-9 _ . : -"))
}

/// A slip of the pen would keep the target from ever being told.
fn check_rule(rule: &str) -> Result<(), String> {
    let rules = Rule::ALL.map(Rule::as_str);
    match rules.contains(&rule) {
        true => Ok(()),
        false => Err(format!("names the rule {rule:?}, and there are {}", rules.join(", "))),
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = match &self.way {
            Way::Webhook(..) => "url",
            Way::Slack(..) => "slack",
            Way::Command(..) => "command",
            Way::Email(..) => "email",
        };
        f.debug_struct("Target").field("name", &self.name).field("way", &way).finish()
    }
}
