//! Handlers behind URLs: from dutiful.toml to a target, and what people are told of targets.

use std::path::Path;
use std::sync::Arc;

use dutiful_server::HandlerOptions;
use dutiful_server::push::{
    BreakerChange, BreakerState, Push, Secret, Target, TargetError, TargetSettings,
};

use crate::config::HandlerConfig;
use crate::output;
use crate::settings::Settings;

/// Largest file of certificates, in bytes.
const CA_BYTES_MAX: u64 = 1024 * 1024;

/// Returns what the targets of this process share; their circuit breakers are told of on stderr.
pub(crate) fn push() -> Push {
    Push::new().on_change(|change| output::note(output::plain(&sentence(change))))
}

fn sentence(change: &BreakerChange) -> String {
    let (target, failures) = (&change.target, change.failures);
    match change.state {
        BreakerState::Open => format!(
            "{target} failed {failures} times in a row; its jobs wait {} s, not charged",
            change.pause.as_secs()
        ),
        BreakerState::HalfOpen => format!("{target} is tried with one job"),
        BreakerState::Closed => format!("{target} answers again; its jobs go on"),
    }
}

/// Says what goes for handlers that are registered over HTTP: what dutiful.toml declares wins.
pub(crate) fn registrations(options: &mut HandlerOptions, settings: &Settings, push: &Arc<Push>) {
    let config = &settings.config;
    options.private = config.serve.private_handlers;
    options.declared = config.handlers.keys().cloned().collect();
    let slots = config.queues.iter().filter_map(|(name, one)| Some((name.clone(), one.slots?)));
    options.slots = slots.collect();
    options.push = push.clone();
}

/// Checks the URL of a handler and what belongs to it.
pub(crate) fn target(push: &Push, url: &str, config: &HandlerConfig) -> Result<Target, String> {
    let mut secrets = config.secrets.clone();
    if let Some(name) = &config.secrets_env {
        secrets.extend(secrets_of(name, std::env::var(name).ok())?);
    }
    let settings = TargetSettings {
        secrets,
        discard_status: config.discard_status.clone(),
        allow_private: config.allow_private,
        ca_pem: config.ca_file.as_deref().map(certificates).transpose()?,
        ..TargetSettings::new(url)
    };
    push.target(settings).map_err(|error| match (&error, &config.ca_file) {
        (TargetError::Certificates(why), Some(file)) => {
            format!("the ca_file {} cannot be used: {why}", file.display())
        }
        _ => error.to_string(),
    })
}

/// Reads the secrets of an environment variable, which must be there: a handler whose requests are
/// to be signed sends none unsigned.
fn secrets_of(name: &str, value: Option<String>) -> Result<Vec<Secret>, String> {
    let value = value.unwrap_or_default();
    let secrets: Result<Vec<_>, _> = value.split_whitespace().map(Secret::parse).collect();
    let secrets = secrets.map_err(|error| format!("the variable {name} is refused: {error}"))?;
    match secrets.is_empty() {
        true => Err(format!("the variable {name} of secrets_env is empty or not set; set it")),
        false => Ok(secrets),
    }
}

fn certificates(file: &Path) -> Result<Vec<u8>, String> {
    use std::io::Read as _;
    let read = || {
        let mut pem = Vec::new();
        let mut file = std::fs::File::open(file)?.take(CA_BYTES_MAX + 1);
        file.read_to_end(&mut pem).map(|_| pem)
    };
    read().map_err(|error| format!("the ca_file {} cannot be read: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_several_secrets_of_a_variable_and_never_sends_without_one() {
        let one = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let two = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
        let read = |value: &str| secrets_of("SHOP", Some(value.to_owned()));
        assert_eq!(read(&format!(" {one}\n{two} ")).map(|secrets| secrets.len()), Ok(2));
        assert_eq!(read(one), Secret::parse(one).map(|one| vec![one]).map_err(|e| e.to_string()));
        for missing in [Some(" ".to_owned()), None] {
            let error = secrets_of("SHOP", missing).expect_err("there is none");
            assert!(error.contains("SHOP of secrets_env is empty"), "{error}");
        }
        let error = read(&format!("{one} whsec_hidden")).expect_err("the second is none");
        assert!(error.contains("SHOP") && !error.contains("hidden"), "{error}");
    }
}
