//! What commands do on a terminal that they do not in a pipe: ask, and redraw.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::place::{Place, until};

/// A run of the binary on a terminal of its own.
pub(crate) struct Screen {
    pub(crate) child: Child,
    pub(crate) keys: File,
    pub(crate) seen: Arc<Mutex<String>>,
    /// The terminal's path.
    pub(crate) name: String,
    /// Its modes before the binary ran.
    pub(crate) modes: String,
}

impl Screen {
    pub(crate) fn start(place: &Place, args: &[&str]) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap().into_string().unwrap();
        let theirs = File::options().read(true).write(true).open(&name).unwrap();
        stty(&name, &["rows", "30", "cols", "100"]);
        let modes = stty(&name, &["-g"]);
        let mut command = place.command(args);
        let end = || Stdio::from(theirs.try_clone().unwrap());
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        let keys = File::from(ours);
        let (mut shown, seen) = (keys.try_clone().unwrap(), Arc::new(Mutex::new(String::new())));
        let copy = seen.clone();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // A terminal that nobody writes to any more reads as an error.
            while let Ok(n @ 1..) = shown.read(&mut bytes) {
                copy.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..n]));
            }
        });
        Self { child, keys, seen, name, modes }
    }

    pub(crate) fn until_shown(&self, times: usize, text: &str) {
        until(&format!("{text} is shown"), || {
            self.seen.lock().unwrap().matches(text).count() >= times
        });
    }

    pub(crate) fn end(mut self) -> Option<i32> {
        until("it ends", || self.child.try_wait().unwrap().is_some());
        self.child.wait().unwrap().code()
    }
}

/// Asks or tells a terminal how it behaves.
pub(crate) fn stty(terminal: &str, args: &[&str]) -> String {
    let ran = Command::new("stty").args(["-F", terminal]).args(args).output().unwrap();
    assert!(ran.status.success(), "{ran:?}");
    String::from_utf8(ran.stdout).unwrap()
}

#[test]
fn asks_before_it_clears_a_queue_and_takes_no_other_word_for_yes() {
    let place = Place::new();
    place.enqueue(&["t"]);
    for (answer, code, left) in [("no\n", 1, 1), ("y\n", 1, 1), ("\u{4}", 1, 1), ("yes\n", 0, 0)] {
        let mut screen = Screen::start(&place, &["queues", "clear", "default"]);
        screen.until_shown(1, "1 jobs wait in queue default. Delete them for good?");
        screen.keys.write_all(answer.as_bytes()).unwrap();
        assert_eq!(screen.end(), Some(code), "{answer:?}");
        assert_eq!(place.count("pending"), left, "{answer:?}");
    }
}

#[test]
fn redraws_in_place_on_a_terminal_and_ends_with_exit_0() {
    let place = Place::new();
    place.enqueue(&["t"]);
    let screen = Screen::start(&place, &["stats", "--watch=1"]);
    screen.until_shown(2, "\u{1b}[H");
    screen.until_shown(2, "oldest");
    let id = screen.child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    assert_eq!(screen.end(), Some(0));
}
