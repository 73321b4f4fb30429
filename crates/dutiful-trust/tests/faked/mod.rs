//! Programs whose wall clock is not the machine's: libfaketime stands between them and the system.

use std::path::Path;
use std::process::{Child, Command, Stdio};

/// How a clock goes: an offset (`+10m`), an offset and a speed (`+0 x1.5`), or what a file says at
/// any moment.
pub(crate) enum Goes<'a> {
    So(&'a str),
    AsSaid(&'a Path),
}

/// Returns the environment in which a program's clock goes so. Only what the wall shows is false:
/// spans of time are measured by another clock, which nobody sets.
pub(crate) fn environment(goes: &Goes<'_>) -> Vec<(String, String)> {
    let (name, value) = match goes {
        Goes::So(text) => ("FAKETIME", (*text).to_owned()),
        Goes::AsSaid(file) => ("FAKETIME_TIMESTAMP_FILE", file.display().to_string()),
    };
    let all = [
        ("LD_PRELOAD", library()),
        (name, value),
        ("FAKETIME_NO_CACHE", "1".to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ("NO_FAKE_STAT", "1".to_owned()),
    ];
    all.map(|(name, value)| (name.to_owned(), value)).into()
}

/// Asks `faketime` where its library is.
fn library() -> String {
    let asked =
        Command::new("faketime").args(["-m", "-f", "+0", "printenv", "LD_PRELOAD"]).output();
    let said = asked.ok().filter(|output| output.status.success());
    let said = said.and_then(|output| String::from_utf8(output.stdout).ok());
    let missing = "faketime is missing: ./test installs it (on Debian: apt-get install faketime)";
    said.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()).expect(missing)
}

/// A program, killed when dropped.
pub(crate) struct Program {
    name: String,
    child: Child,
}

impl Program {
    /// Runs an ignored test of this file as a program of its own, with another clock.
    pub(crate) fn start(test: &str, name: &str, goes: &Goes<'_>, url: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
        command.args(["--exact", test, "--ignored", "--nocapture"]);
        command.envs(environment(goes)).env(NAME, name).env(URL, url);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        Self { name: name.to_owned(), child: child.expect("a program starts") }
    }

    /// Waits until it has ended by itself; it must have ended well.
    pub(crate) fn end(mut self) {
        let status = self.child.wait().expect("it is ours to wait for");
        assert!(status.success(), "{} ended badly: {status}", self.name);
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const NAME: &str = "DUTIFUL_TRUST_NAME";
const URL: &str = "DUTIFUL_TRUST_URL";

/// Returns the name that this program was given and where its jobs are, unless it is a test.
pub(crate) fn given() -> Option<(String, String)> {
    Some((std::env::var(NAME).ok()?, std::env::var(URL).ok()?))
}
