//! Runs one attempt of a job as a command: payload on stdin, a bare environment, its own process
//! group, and bounds on everything that it says.

mod capture;
mod environment;
mod program;
mod tree;

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, Command};

use self::capture::{LastLine, Lines, Sink};
pub(crate) use self::environment::{allowed, job_variables};
pub(crate) use self::program::find;
pub(crate) use self::tree::{Keeper, keep};

/// How long output is still read after the command ended: a process that left its group (by
/// `setsid`) may hold the pipes open for ever.
const DRAIN_MAX: Duration = Duration::from_secs(1);
/// Bytes read at once from a pipe.
const READ_BYTES: usize = 16 * 1024;

/// A command as dutiful.toml declares it: nothing of a job reaches its program or arguments.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    /// The program, found and absolute.
    pub(crate) program: PathBuf,
    /// Its arguments.
    pub(crate) args: Vec<String>,
    /// Its environment, but for what each job adds.
    pub(crate) env: Vec<(String, String)>,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Its exit code or signal.
    pub(crate) status: ExitStatus,
    /// The last line of its stdout, if that is JSON.
    pub(crate) result: Option<Box<RawValue>>,
    /// The end of its stderr.
    pub(crate) stderr: String,
}

impl Ended {
    /// Returns `exit N` or `signal N`, the class under which failures are counted.
    pub(crate) fn class(&self) -> String {
        match (self.status.code(), self.status.signal()) {
            (Some(code), _) => format!("exit {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => "exit unknown".to_owned(),
        }
    }
}

/// Runs the command to its end, and tells of each line of its stderr as it comes. When this future
/// is dropped (timeout, cancel, shutdown), the whole process group is killed.
pub(crate) async fn run(
    spec: &Spec,
    job: Vec<(&'static str, String)>,
    payload: Vec<u8>,
    keeper: &Keeper,
    tell: impl FnMut(&str),
) -> io::Result<Ended> {
    let mut child = spawn(spec, job)?;
    let group = keeper.watch(child.id());
    let stdin = child.stdin.take().expect("stdin is piped");
    let stdout = child.stdout.take().expect("stdout is piped");
    let stderr = child.stderr.take().expect("stderr is piped");
    let (mut last_line, mut lines) = (LastLine::default(), Lines::new(tell));
    let status = {
        let pipes = async {
            let reads = async {
                tokio::join!(read(stdout, &mut last_line), read(stderr, &mut lines));
            };
            tokio::join!(write(stdin, payload), reads);
        };
        tokio::pin!(pipes);
        let (status, drained) = tokio::select! {
            status = child.wait() => (status?, false),
            () = &mut pipes => (child.wait().await?, true),
        };
        // What the command left behind ends with it, or it would outlive the job's timeout.
        drop(group);
        if !drained {
            let _ = tokio::time::timeout(DRAIN_MAX, pipes).await;
        }
        status
    };
    Ok(Ended { status, result: last_line.json(), stderr: lines.text() })
}

fn spawn(spec: &Spec, job: Vec<(&'static str, String)>) -> io::Result<Child> {
    Command::new(&spec.program)
        .args(&spec.args)
        .env_clear()
        .envs(spec.env.iter().map(|(key, value)| (key, value)))
        .envs(job)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}

/// Gives the command its payload. One that does not read it to the end (EPIPE) may still succeed.
async fn write(mut stdin: ChildStdin, payload: Vec<u8>) {
    let _ = stdin.write_all(&payload).await;
    let _ = stdin.shutdown().await;
}

async fn read(mut from: impl AsyncRead + Unpin, to: &mut impl Sink) {
    let mut bytes = vec![0; READ_BYTES];
    while let Ok(n @ 1..) = from.read(&mut bytes).await {
        to.push(&bytes[..n]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn sh(script: &str, payload: &str) -> Ended {
        let spec = Spec {
            program: "/bin/sh".into(),
            args: vec!["-c".to_owned(), script.to_owned()],
            env: allowed(),
        };
        run(&spec, Vec::new(), payload.into(), &Keeper::none(), |_| {}).await.unwrap()
    }

    #[tokio::test]
    async fn gives_the_payload_and_takes_the_last_line() {
        let ended = sh("echo working; cat", r#"{"n":1.0000000000000000001}"#).await;
        assert!(ended.status.success());
        assert_eq!(ended.result.unwrap().get(), r#"{"n":1.0000000000000000001}"#);
        assert!(sh("echo '{\"a\":1}'; echo done", "").await.result.is_none());
        assert!(sh("true", "").await.result.is_none());
    }

    #[tokio::test]
    async fn is_content_with_a_command_that_reads_nothing() {
        let ended = sh("exec <&-; echo 1", &"x".repeat(4_000_000)).await;
        assert!(ended.status.success(), "{ended:?}");
        assert_eq!(ended.result.unwrap().get(), "1");
    }

    #[tokio::test]
    async fn keeps_the_end_of_a_flood() {
        let ended =
            sh("yes 'a line of error ü' | head -c 20000000 >&2; echo last >&2; exit 3", "").await;
        assert_eq!(ended.class(), "exit 3");
        assert!(ended.stderr.len() <= capture::TAIL_BYTES_MAX);
        assert!(ended.stderr.ends_with("last"));
    }

    #[tokio::test]
    async fn does_not_wait_for_a_daemon_that_keeps_the_pipes_open() {
        // The script goes on only when the daemon has a session of its own.
        let daemon =
            "setsid sleep 60 & until [ \"$(cut -d' ' -f6 /proc/$!/stat)\" = $! ]; do :; done";
        let started = std::time::Instant::now();
        let ended = sh(&format!("{daemon}; echo $!"), "").await;
        assert!(started.elapsed() < Duration::from_secs(30));
        let pid = ended.result.unwrap().get().parse().ok();
        let pid = pid.and_then(rustix::process::Pid::from_raw).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }

    #[tokio::test]
    async fn tells_a_signal_from_an_exit() {
        assert_eq!(sh("kill -TERM $$", "").await.class(), "signal 15");
    }

    #[tokio::test]
    async fn ends_what_the_command_left_running() {
        let ended = sh("sleep 1000 & echo $!", "").await;
        let pid = ended.result.unwrap().get().to_owned();
        let stat = format!("/proc/{pid}/stat");
        // Killed, and then reaped by whoever is its parent now.
        while let Ok(stat) = std::fs::read_to_string(&stat) {
            let state = stat.rsplit(") ").next().unwrap_or_default().chars().next();
            if matches!(state, Some('Z' | 'X')) {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
}
