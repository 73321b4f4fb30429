//! A temporary folder in which the binary is run, and what its answers must look like.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longest wait for something that must happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// The binary.
pub(crate) const DUTIFUL: &str = env!("CARGO_BIN_EXE_dutiful");

/// A folder of its own for one test, with a store and a dutiful.toml of its own.
pub(crate) struct Place {
    dir: tempfile::TempDir,
}

/// What a run of the binary came to.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    /// Returns a place whose dutiful.toml is this.
    pub(crate) fn with(config: &str) -> Self {
        let place = Self::new();
        place.write("dutiful.toml", config);
        place
    }

    /// Returns a place with an empty store.
    pub(crate) fn with_store() -> Self {
        let place = Self::new();
        place.json(&["migrate"]);
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.path(name)).ok()
    }

    /// Returns the binary in this folder, with nothing of the tests' own environment.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(DUTIFUL);
        let path = std::env::var_os("PATH").unwrap();
        command.args(args).current_dir(self.dir.path()).env_clear().env("PATH", path);
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        self.run_with(args, "")
    }

    /// Runs the binary with this text on its standard input.
    pub(crate) fn run_with(&self, args: &[&str], stdin: &str) -> Ran {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut pipe = child.stdin.take().unwrap();
        let stdin = stdin.to_owned();
        // A command that reads nothing closes the pipe early; that is its right.
        let feed = std::thread::spawn(move || drop(pipe.write_all(stdin.as_bytes())));
        let output = child.wait_with_output().unwrap();
        feed.join().unwrap();
        Ran {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs a command that must succeed, with `--json`; returns its one line.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        self.json_with(args, "")
    }

    pub(crate) fn json_with(&self, args: &[&str], stdin: &str) -> Value {
        let ran = self.run_with(&[args, &["--json"]].concat(), stdin);
        assert_eq!(ran.code, Some(0), "{args:?}: {ran:?}");
        ran.one_json_line()
    }

    /// Runs a command that must fail with this code and sentence, and print nothing else.
    pub(crate) fn fails(&self, code: i32, args: &[&str], says: &str) {
        self.fails_with(code, args, "", says);
    }

    pub(crate) fn fails_with(&self, code: i32, args: &[&str], stdin: &str, says: &str) {
        let ran = self.run_with(args, stdin);
        assert_eq!(ran.code, Some(code), "{args:?}: {ran:?}");
        assert_eq!(ran.stdout, "", "{args:?}");
        let sentence = ran.sentence();
        assert!(sentence.contains(says), "{args:?}: {sentence:?} does not say {says:?}");
    }

    /// Enqueues a job and returns its id.
    pub(crate) fn enqueue(&self, args: &[&str]) -> String {
        let answer = self.json(&[&["enqueue"], args].concat());
        assert_eq!(answer["outcome"], "new", "{answer}");
        answer["id"].as_str().unwrap().to_owned()
    }

    /// Works until nothing is left, and returns the report.
    pub(crate) fn work(&self) -> Value {
        self.json(&["work", "--until-empty"])
    }

    pub(crate) fn show(&self, id: &str) -> Value {
        self.json(&["jobs", "show", id])
    }

    /// Returns how many jobs are in this state.
    pub(crate) fn count(&self, state: &str) -> u64 {
        self.json(&["stats"])["totals"][state].as_u64().unwrap()
    }

    /// Starts the binary in the background.
    pub(crate) fn start(&self, args: &[&str]) -> Running {
        let mut command = self.command(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Running(Some(command.spawn().unwrap()))
    }

    /// Starts the binary in the background, with its stderr in a file of the place.
    pub(crate) fn start_logged(&self, args: &[&str], log: &str) -> Running {
        let mut command = self.command(args);
        let log = std::fs::File::create(self.path(log)).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        Running(Some(command.spawn().unwrap()))
    }
}

impl Ran {
    /// Returns the one line of JSON that stdout is.
    pub(crate) fn one_json_line(&self) -> Value {
        let line = self.stdout.strip_suffix('\n').unwrap_or_else(|| panic!("{self:?}"));
        assert!(!line.contains('\n'), "more than one line: {self:?}");
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// Returns the one sentence that stderr is.
    pub(crate) fn sentence(&self) -> &str {
        let line = self.stderr.strip_suffix('\n').unwrap_or_else(|| panic!("{self:?}"));
        assert!(!line.contains('\n'), "more than one line: {self:?}");
        line.strip_prefix("dutiful: failed to ").unwrap_or_else(|| panic!("{self:?}"))
    }
}

/// A process in the background, killed when the test is over.
pub(crate) struct Running(Option<Child>);

impl Running {
    pub(crate) fn of(child: Child) -> Self {
        Self(Some(child))
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.as_ref().unwrap().id()
    }

    /// Sends a signal (`TERM`, `KILL`, …).
    pub(crate) fn signal(&self, name: &str) {
        let signal = format!("-{name}");
        let sent = Command::new("kill").args([&signal, &self.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Ran {
        until("the process ends", || self.0.as_mut().unwrap().try_wait().unwrap().is_some());
        let output = self.0.take().unwrap().wait_with_output().unwrap();
        Ran {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Waits until something is so.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "waited too long until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until a file of the place has text that ends with a newline, and returns it.
pub(crate) fn written(place: &Place, name: &str) -> String {
    let text = || place.read(name).filter(|text| text.ends_with('\n'));
    until(&format!("{name} is written"), || text().is_some());
    text().unwrap().trim_end().to_owned()
}

/// Returns whether the process lives: there, and neither a zombie nor dead.
pub(crate) fn lives(pid: &str) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid).join("stat"));
    let state = stat.ok().and_then(|stat| stat.rsplit(") ").next()?.chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}
