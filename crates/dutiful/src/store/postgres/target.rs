//! Reads `postgres://user:password@host:port/database?schema=dutiful&…`: the driver's own words, and
//! ours beside them.

use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::Config;

use super::tls::{self, Tls, tls};
use crate::error::StoreError;
use crate::store::connect::redact;

/// Where our tables stand when the URL says nothing.
const SCHEMA: &str = "dutiful";
/// Longest name of a schema, in bytes: what Postgres keeps of a name.
const SCHEMA_BYTES_MAX: usize = 63;
/// How long a connection may take to be made, with all that is said before it can be used.
pub(super) const CONNECT_MAX: Duration = Duration::from_secs(10);
/// A connection on which nothing moves is asked after this long whether it is still there …
const KEEPALIVE_IDLE: Duration = Duration::from_secs(5);
/// … again every so often …
const KEEPALIVE_EVERY: Duration = Duration::from_secs(5);
/// … and given up after so many questions without an answer,
const KEEPALIVE_TRIES: u32 = 3;
/// or when what was sent is not acknowledged for so long.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(15);

/// Which server, database and schema, and how to speak to it.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) config: Config,
    pub(super) schema: String,
    /// False where a pooler gives each transaction another connection: nothing may be prepared.
    pub(super) prepared: Option<bool>,
    pub(super) tls: Tls,
}

impl Target {
    /// Reads a URL.
    pub(super) fn parse(url: &str) -> Result<Self, StoreError> {
        let refuse = |reason: String| StoreError::Url { url: redact(url), reason };
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let ours = Ours::take(query).map_err(&refuse)?;
        check_schema(&ours.schema).map_err(&refuse)?;
        let plain = match ours.theirs.is_empty() {
            true => base.to_owned(),
            false => format!("{base}?{}", ours.theirs.join("&")),
        };
        let mut config: Config = plain.parse().map_err(|error: tokio_postgres::Error| {
            let detail =
                std::error::Error::source(&error).map_or(String::new(), |s| format!(": {s}"));
            refuse(format!("{error}{detail}; write postgres://user:password@host:5432/database"))
        })?;
        config.ssl_mode(ours.mode.ssl_mode());
        watch_over(&mut config);
        let tls = tls(ours.mode, ours.root.as_deref()).map_err(&refuse)?;
        Ok(Self { config, schema: ours.schema, prepared: ours.prepared, tls })
    }

    /// Says where it is, without secrets.
    pub(super) fn place(&self) -> String {
        let hosts = self.config.get_hosts().iter().map(|host| match host {
            tokio_postgres::config::Host::Tcp(name) => name.clone(),
            #[cfg(unix)]
            tokio_postgres::config::Host::Unix(path) => path.display().to_string(),
        });
        let host = hosts.collect::<Vec<_>>().join(",");
        let port = self.config.get_ports().first().map_or(String::new(), |port| format!(":{port}"));
        let database = self.config.get_dbname().unwrap_or_default();
        match self.schema.as_str() {
            SCHEMA => format!("{host}{port}/{database}"),
            schema => format!("{host}{port}/{database}, schema {schema}"),
        }
    }
}

/// What the URL says to us and not to the driver.
struct Ours<'a> {
    schema: String,
    prepared: Option<bool>,
    mode: tls::Mode,
    root: Option<PathBuf>,
    theirs: Vec<&'a str>,
}

impl<'a> Ours<'a> {
    fn take(query: &'a str) -> Result<Self, String> {
        let mut ours = Self {
            schema: SCHEMA.to_owned(),
            prepared: None,
            mode: tls::Mode::default(),
            root: None,
            theirs: Vec::new(),
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=').unwrap_or((pair, "")) {
                ("schema", name) => ours.schema = name.to_owned(),
                ("sslmode", word) => ours.mode = tls::Mode::parse(word)?,
                ("sslrootcert", path) => ours.root = Some(path.into()),
                ("statement_mode", "prepared") => ours.prepared = Some(true),
                ("statement_mode", "typed") => ours.prepared = Some(false),
                ("statement_mode", other) => {
                    return Err(format!(
                        "statement_mode is \"prepared\" or \"typed\", not \"{other}\""
                    ));
                }
                _ => ours.theirs.push(pair),
            }
        }
        Ok(ours)
    }
}

/// Lets a connection whose other side is gone without a word be found out, unless the URL says how.
fn watch_over(config: &mut Config) {
    let unsaid = Config::new();
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT_MAX);
    }
    if config.get_application_name().is_none() {
        config.application_name("dutiful");
    }
    if config.get_keepalives_idle() == unsaid.get_keepalives_idle() {
        config.keepalives_idle(KEEPALIVE_IDLE);
    }
    if config.get_keepalives_interval().is_none() {
        config.keepalives_interval(KEEPALIVE_EVERY);
    }
    if config.get_keepalives_retries().is_none() {
        config.keepalives_retries(KEEPALIVE_TRIES);
    }
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(UNACKNOWLEDGED_MAX);
    }
}

fn check_schema(name: &str) -> Result<(), String> {
    let fits = !name.is_empty() && name.len() <= SCHEMA_BYTES_MAX && !name.starts_with("pg_");
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    if fits && name.bytes().all(plain) && !name.as_bytes()[0].is_ascii_digit() {
        return Ok(());
    }
    let text = "the schema's name is 1 to 63 of the characters a-z 0-9 _, and begins with a letter";
    Err(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_and_how_or_is_refused_without_its_password() {
        let target =
            Target::parse("postgres://app:s3cret@db:5433/shop?schema=jobs_2").expect("fine");
        assert_eq!(target.place(), "db:5433/shop, schema jobs_2");
        let plain = Target::parse("postgres://app@db/shop?sslmode=require").expect("fine");
        assert_eq!((plain.schema.as_str(), plain.prepared), ("dutiful", None));
        for wrong in [
            "postgres://app:s3cret@db:port/shop",
            "postgres://app:s3cret@db/shop?schema=Robert'); DROP",
            "postgres://app:s3cret@db/shop?schema=",
            "postgres://app:s3cret@db/shop?statement_mode=fast",
            "postgres://app:s3cret@db/shop?colour=blue",
            "postgres://app:s3cret@db/shop?sslmode=maybe",
            "postgres://app:s3cret@db/shop?sslmode=verify-full&sslrootcert=/nowhere.pem",
            "postgres://app:s3cret@db/shop?sslmode=require&sslrootcert=/etc/ssl/ca.pem",
        ] {
            let error = Target::parse(wrong).err().expect("it is refused").to_string();
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}
