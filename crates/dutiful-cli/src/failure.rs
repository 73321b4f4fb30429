//! Why a command did not succeed: one sentence for stderr and the exit code.

use std::io::Write as _;
use std::process::ExitCode;

use crate::output;

/// What a command comes to.
pub(crate) type Answer = Result<ExitCode, Failure>;

/// The end of a sentence that begins with "failed to", and its exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    text: String,
}

impl Failure {
    /// Something that was asked correctly could not be done; exit code 1.
    pub(crate) fn failed(text: impl Into<String>) -> Self {
        Self { code: 1, text: text.into() }
    }

    /// It was asked wrongly (flags, values, dutiful.toml); exit code 2.
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self { code: 2, text: text.into() }
    }

    /// Returns the same failure with more said before or after its text.
    pub(crate) fn reworded(self, reword: impl FnOnce(&str) -> String) -> Self {
        Self { code: self.code, text: reword(&self.text) }
    }

    /// Says it on stderr and returns the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        let text = output::plain(self.text.trim_end_matches(['.', '\n']));
        // Nobody is left to tell when stderr is closed.
        let _ = writeln!(std::io::stderr(), "dutiful: failed to {text}");
        ExitCode::from(self.code)
    }
}

impl From<dutiful::Error> for Failure {
    fn from(error: dutiful::Error) -> Self {
        let text = error.to_string();
        if asked_wrongly(&error) { Self::usage(text) } else { Self::failed(text) }
    }
}

impl From<dutiful::InvalidJob> for Failure {
    fn from(error: dutiful::InvalidJob) -> Self {
        dutiful::Error::from(error).into()
    }
}

fn asked_wrongly(error: &dutiful::Error) -> bool {
    use dutiful::{Error, StoreError};
    match error {
        Error::InvalidJob(_) | Error::Worker(_) | Error::Store(StoreError::Url { .. }) => true,
        Error::Partly { source, .. } => asked_wrongly(source),
        _ => false,
    }
}
