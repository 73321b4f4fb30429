//! dutiful.toml: what it may say, and the sentences when it says anything else.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dutiful::{Delivery, InvalidJob, Name, Settings, TypeDefaults};
use dutiful_server::push::Secret;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use crate::access::{RedactConfig, ServeConfig};
use crate::alerts::AlertsConfig;
use crate::failure::Failure;
use crate::input;

/// Largest dutiful.toml, in bytes.
const BYTES_MAX: u64 = 1024 * 1024;

/// The whole file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// The store's URL.
    pub(crate) store: Option<String>,
    /// How `dutiful work` behaves.
    #[serde(default)]
    pub(crate) worker: WorkerConfig,
    /// The queues that `dutiful work` serves, beside those of its handlers.
    #[serde(default)]
    pub(crate) queues: BTreeMap<String, QueueConfig>,
    /// Where `dutiful serve` listens, and who may do what there.
    #[serde(default)]
    pub(crate) serve: ServeConfig,
    /// Fields of payloads that are hidden, by type.
    #[serde(default)]
    pub(crate) redact: RedactConfig,
    /// The commands that run jobs, by type.
    #[serde(default)]
    pub(crate) handlers: BTreeMap<String, HandlerConfig>,
    /// How alerts are looked after, and who is told.
    #[serde(default)]
    pub(crate) alerts: AlertsConfig,
}

/// `[worker]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WorkerConfig {
    /// Most jobs at once in this process, over all queues.
    pub(crate) slots: Option<usize>,
    /// How long running jobs may go on after a stop was asked.
    #[serde(default, deserialize_with = "maybe_duration")]
    pub(crate) grace: Option<Duration>,
    /// How long a lease lasts without renewal.
    #[serde(default, deserialize_with = "maybe_duration")]
    pub(crate) lease: Option<Duration>,
    /// How often an idle worker looks at the store.
    #[serde(default, deserialize_with = "maybe_duration")]
    pub(crate) poll: Option<Duration>,
    /// Dead after so many crashes in a row; 0 is never.
    pub(crate) crashes_max: Option<u32>,
    /// How long completed and cancelled jobs are kept.
    #[serde(default, deserialize_with = "maybe_duration")]
    pub(crate) keep_completed: Option<Duration>,
    /// How long dead jobs are kept.
    #[serde(default, deserialize_with = "maybe_duration")]
    pub(crate) keep_dead: Option<Duration>,
    /// Where to answer probes and metrics.
    pub(crate) listen: Option<String>,
    /// By weight, or the first queue first.
    #[serde(default)]
    pub(crate) order: Order,
}

/// In which order queues are served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Order {
    /// By their weights.
    #[default]
    Weighted,
    /// Heaviest first, the next only when the ones before are empty.
    Strict,
}

/// `[queues.NAME]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct QueueConfig {
    /// Most jobs of it at once in this process.
    pub(crate) slots: Option<usize>,
    /// Its share when several queues are full.
    pub(crate) weight: Option<u32>,
}

/// `[handlers.TYPE]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HandlerConfig {
    /// The queue of its jobs.
    #[serde(default = "default_queue")]
    pub(crate) queue: String,
    /// The program and its arguments, fixed here: nothing of a job ever reaches them.
    #[serde(default)]
    pub(crate) command: Vec<String>,
    /// Where its jobs are sent, instead of to a command.
    pub(crate) url: Option<String>,
    /// The keys that sign what is sent.
    #[serde(default, deserialize_with = "hidden")]
    pub(crate) secrets: Vec<Secret>,
    /// The variable that holds further secrets, with blanks between them.
    pub(crate) secrets_env: Option<String>,
    /// Statuses that give the job up, beside 409 and 410.
    #[serde(default)]
    pub(crate) discard_status: Vec<u16>,
    /// True when the URL may lead to this machine or a private network.
    #[serde(default)]
    pub(crate) allow_private: bool,
    /// A file of certificates to believe beside the public authorities.
    pub(crate) ca_file: Option<PathBuf>,
    /// How long one attempt may run.
    #[serde(default, deserialize_with = "maybe_timeout")]
    pub(crate) timeout: Option<Duration>,
    /// Failures after which a job is dead.
    pub(crate) max_attempts: Option<i64>,
    /// Lower runs first.
    pub(crate) priority: Option<i64>,
    /// What a crash of the worker does to a job.
    #[serde(default)]
    pub(crate) delivery: Delivery,
    /// The wait after the first failure; it doubles with each.
    #[serde(default, deserialize_with = "maybe_duration")]
    pub(crate) retry_base: Option<Duration>,
    /// Exit codes that give the job up.
    #[serde(default, deserialize_with = "exit_codes")]
    pub(crate) discard_exit: Vec<i32>,
    /// Exit codes that ask for a later run.
    #[serde(default, deserialize_with = "exit_codes")]
    pub(crate) snooze_exit: Vec<i32>,
    /// How much later; a minute, when nothing is said.
    #[serde(default, deserialize_with = "maybe_duration")]
    pub(crate) snooze_for: Option<Duration>,
    /// Added to the command's environment.
    #[serde(default)]
    pub(crate) env: BTreeMap<String, String>,
}

impl Config {
    /// Reads the file. One that is missing is empty, unless somebody `named` it.
    pub(crate) fn read(file: &Path, named: bool) -> Result<Self, Failure> {
        let refused = |why: String| Failure::usage(format!("read {}: {why}", file.display()));
        let text = match read_bounded(file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !named => {
                return Ok(Self::default());
            }
            Err(error) => return Err(refused(format!("{error}; name another with --config"))),
        };
        let config: Self = toml::from_str(&text).map_err(|error| refused(place(&error, &text)))?;
        for (name, handler) in &config.handlers {
            handler.check().map_err(|why| refused(format!("[handlers.{name}] {why}")))?;
        }
        config.alerts.options().map_err(refused)?;
        Ok(config)
    }
}

impl HandlerConfig {
    /// Returns the settings of the jobs of this type, where an enqueue says nothing.
    pub(crate) fn defaults(&self, name: &str) -> Result<TypeDefaults, InvalidJob> {
        let known = Settings {
            queue: Some(self.queue.clone()),
            priority: self.priority,
            max_attempts: self.max_attempts,
            timeout: self.timeout,
            delivery: Some(self.delivery),
            ..Settings::default()
        };
        TypeDefaults::given(Name::new("type", name)?, &known)
    }

    fn check(&self) -> Result<(), String> {
        if self.url.is_some() {
            return self.check_push();
        }
        if let Some(key) = self.of_a_push() {
            return Err(format!("has {key} and no url, to which that belongs; add it"));
        }
        if self.command.first().is_none_or(String::is_empty) {
            return Err("names no program; write command = [\"program\", \"argument\"], \
                 or url = \"https://…\""
                .to_owned());
        }
        if self.command.iter().any(|part| part.contains('\0')) {
            return Err("has a NUL character in its command; remove it".to_owned());
        }
        if let Some(code) = self.discard_exit.iter().find(|code| self.snooze_exit.contains(code)) {
            return Err(format!("has {code} in discard_exit and in snooze_exit; choose one"));
        }
        self.env.iter().try_for_each(|(key, value)| check_variable(key, value))
    }

    fn check_push(&self) -> Result<(), String> {
        let of_a_command = [
            ("command", !self.command.is_empty()),
            ("discard_exit", !self.discard_exit.is_empty()),
            ("snooze_exit", !self.snooze_exit.is_empty()),
            ("snooze_for", self.snooze_for.is_some()),
            ("env", !self.env.is_empty()),
        ];
        match of_a_command.into_iter().find(|(_, is_there)| *is_there) {
            Some(("command", _)) => Err("has a command and a url; choose one".to_owned()),
            Some((key, _)) => Err(format!("has {key}, which is for commands; strike it")),
            None => Ok(()),
        }
    }

    /// Returns a key that only a handler with a URL has.
    fn of_a_push(&self) -> Option<&'static str> {
        let keys = [
            ("secrets", !self.secrets.is_empty()),
            ("secrets_env", self.secrets_env.is_some()),
            ("discard_status", !self.discard_status.is_empty()),
            ("allow_private", self.allow_private),
            ("ca_file", self.ca_file.is_some()),
        ];
        keys.into_iter().find_map(|(key, is_there)| is_there.then_some(key))
    }
}

fn check_variable(key: &str, value: &str) -> Result<(), String> {
    if key.is_empty() || key.contains(['=', '\0']) || value.contains('\0') {
        return Err(format!("has the environment variable {key:?}, which no program can be given"));
    }
    if key.starts_with("DUTIFUL_") || key == "TRACEPARENT" {
        return Err(format!("sets {key}, which dutiful itself gives to each command; rename it"));
    }
    Ok(())
}

fn read_bounded(file: &Path) -> std::io::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    let read = std::fs::File::open(file)?.take(BYTES_MAX + 1).read_to_string(&mut text)?;
    if read as u64 > BYTES_MAX {
        return Err(std::io::Error::other("it is larger than 1 MiB"));
    }
    Ok(text)
}

/// Says what is wrong and in which line, without the drawing that toml adds.
fn place(error: &toml::de::Error, text: &str) -> String {
    let what = error.message();
    match error.span() {
        Some(span) => {
            let before = text.as_bytes().get(..span.start).unwrap_or_default();
            let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
            format!("{what} in line {line}")
        }
        None => what.to_owned(),
    }
}

fn default_queue() -> String {
    "default".to_owned()
}

fn plain_duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    input::duration(&text).map_err(D::Error::custom)
}

fn maybe_timeout<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(from)?;
    input::timeout(&text).map(Some).map_err(D::Error::custom)
}

fn maybe_duration<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    plain_duration(from).map(Some)
}

/// Reads secrets; what is wrong with one is said without repeating it.
fn hidden<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Secret>, D::Error> {
    let toml::Value::Array(values) = toml::Value::deserialize(from)? else {
        return Err(D::Error::custom("secrets is a list; write secrets = [\"whsec_…\"]"));
    };
    let secret = |value: &toml::Value| Secret::parse(value.as_str().unwrap_or_default());
    values.iter().map(|value| secret(value).map_err(D::Error::custom)).collect()
}

/// Reads `3` or `[3, 4]`, each a code that a program can exit with and that is not success.
fn exit_codes<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<i32>, D::Error> {
    let codes = match toml::Value::deserialize(from)? {
        toml::Value::Array(values) => values,
        value => vec![value],
    };
    let code = |value: &toml::Value| match value.as_integer() {
        Some(code @ 1..=255) => Ok(code as i32),
        _ => Err(D::Error::custom(format!("{value} is not an exit code from 1 to 255"))),
    };
    codes.iter().map(code).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, String> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("dutiful.toml");
        std::fs::write(&file, text).unwrap();
        Config::read(&file, true).map_err(|failure| format!("{failure:?}"))
    }

    #[test]
    fn reads_the_whole_example_of_the_design() {
        let config = read(
            "store = \"sqlite:shop.db\"\n[worker]\nslots = 4\ngrace = \"5s\"\norder = \"strict\"\n\
             [queues.mail]\nslots = 20\nweight = 3\n[handlers.send_email]\nqueue = \"mail\"\n\
             command = [\"python3\", \"send_email.py\"]\ntimeout = \"30s\"\nmax_attempts = 5\n\
             discard_exit = [3, 4]\nsnooze_exit = 75\nenv = { SMTP = \"mx\" }\n",
        )
        .unwrap();
        let handler = &config.handlers["send_email"];
        assert_eq!(config.worker.order, Order::Strict);
        assert_eq!(handler.discard_exit, [3, 4]);
        assert_eq!(handler.snooze_exit, [75]);
        assert_eq!(handler.timeout, Some(Duration::from_secs(30)));
        assert_eq!(config.queues["mail"].slots, Some(20));
    }

    #[test]
    fn names_what_is_wrong_and_where() {
        for (text, says) in [
            ("stroe = 1", "unknown field `stroe`"),
            ("\n\n[worker]\nslot = 1", "in line 4"),
            ("[handlers.a]\ncommand = [\"x\"]\ntimeout = \"-5s\"", "the timeout -5s"),
            ("[handlers.a]\ncommand = [\"x\"]\ntimeout = 5", "expected a string"),
            ("[handlers.a]\ncommand = []", "names no program"),
            ("[handlers.a]\nurl = \"https://x\"\ncommand = [\"x\"]", "choose one"),
            ("[handlers.a]\nurl = \"https://x\"\nsnooze_for = \"1s\"", "has snooze_for, which"),
            ("[handlers.a]\ncommand = [\"x\"]\nallow_private = true", "and no url"),
            ("[handlers.a]\nurl = \"https://x\"\nsecrets = \"whsec_hidden\"", "secrets is a list"),
            ("[handlers.a]\nurl = \"https://x\"\nsecrets = [\"whsec_hidden\"]", "openssl rand"),
            ("[handlers.a]\ncommand = [\"x\"]\ndiscard_exit = 0", "0 is not an exit code"),
            ("[handlers.a]\ncommand = [\"x\"]\ndiscard_exit = 3\nsnooze_exit = [3]", "choose one"),
            ("[handlers.a]\ncommand = [\"x\"]\nenv = { DUTIFUL_JOB_ID = \"1\" }", "sets DUTIFUL_"),
            ("[worker]\nkeep_dead = \"-5d\"", "is not a duration such as 500ms"),
            ("[worker]\norder = \"random\"", "unknown variant `random`"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(says), "{text}: {error}");
            assert!(error.contains("code: 2"), "{error}");
            assert!(!error.contains("whsec_hidden"), "{error}");
        }
    }
}
