//! The terminal: taken as a whole while the pages are shown, and given back as it was, whether they
//! end by a key, a signal or a panic.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ratatui::crossterm::event::{self, Event};
use ratatui::{DefaultTerminal, Frame};
use tokio::sync::mpsc;

use crate::failure::Failure;

/// Keys that wait to be taken.
const EVENTS_MAX: usize = 256;
/// How often the thread that reads keys looks whether it is to end.
const POLL: Duration = Duration::from_millis(50);

/// The screen and its keys.
pub(crate) struct Terminal {
    screen: DefaultTerminal,
    events: mpsc::Receiver<io::Result<Event>>,
    reader: Option<std::thread::JoinHandle<()>>,
    over: Arc<AtomicBool>,
}

impl Terminal {
    /// Takes the terminal. A panic from here on gives it back before it is told.
    pub(crate) fn open() -> Result<Self, Failure> {
        let screen = ratatui::try_init().map_err(|error| {
            // What was done of it is undone; there is nobody to tell if that fails as well.
            let _ = ratatui::try_restore();
            failed(error)
        })?;
        let (tell, events) = mpsc::channel(EVENTS_MAX);
        let over = Arc::new(AtomicBool::new(false));
        let until = over.clone();
        let reader = std::thread::spawn(move || read(&tell, &until));
        Ok(Self { screen, events, reader: Some(reader), over })
    }

    /// Draws one picture.
    pub(crate) fn draw(&mut self, picture: impl FnOnce(&mut Frame<'_>)) -> Result<(), Failure> {
        self.screen.draw(picture).map(drop).map_err(failed)
    }

    /// Waits for a key or another size; ends when the terminal is gone.
    pub(crate) async fn event(&mut self) -> Option<Result<Event, Failure>> {
        let event = self.events.recv().await;
        Some(event.unwrap_or_else(|| Err(gone())).map_err(failed))
    }

    /// Returns what has happened already.
    pub(crate) fn waiting(&mut self) -> Option<Result<Event, Failure>> {
        self.events.try_recv().ok().map(|event| event.map_err(failed))
    }

    /// Gives the terminal back.
    pub(crate) fn close(mut self) -> Result<(), Failure> {
        self.give_back().map_err(failed)
    }

    fn give_back(&mut self) -> io::Result<()> {
        self.over.store(true, Ordering::Relaxed);
        // A reader that goes on would take keys that are meant for the shell.
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
            let cursor = self.screen.show_cursor();
            // A panic has given it back and told of itself: once more would put the cursor, and
            // what the shell says next, over that.
            if std::thread::panicking() {
                return cursor;
            }
            return ratatui::try_restore().and(cursor);
        }
        Ok(())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It is on its way out by an error, which says more than this one could.
        let _ = self.give_back();
    }
}

/// Reads keys until it is over, or there are none to read any more.
fn read(tell: &mpsc::Sender<io::Result<Event>>, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        let event = match event::poll(POLL) {
            Ok(false) => continue,
            Ok(true) => event::read(),
            Err(error) => Err(error),
        };
        let last = event.is_err();
        match tell.try_send(event) {
            // Too many at once are left out rather than waited for.
            Ok(()) | Err(mpsc::error::TrySendError::Full(_)) if !last => {}
            _ => return,
        }
    }
}

fn gone() -> io::Error {
    io::Error::other("it is gone")
}

fn failed(error: io::Error) -> Failure {
    Failure::failed(format!("use the terminal: {error}"))
}
