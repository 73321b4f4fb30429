//! The pages on real data: a SQLite store, and a server on such a store, drawn into memory.

mod acts;
mod hostile;
mod pages;

use std::sync::Arc;
use std::time::{Duration, Instant};

use dutiful::{Client, Context, HandlerError, Name, Retry, TypeDefaults, Worker};
use dutiful_server::{Listening, Monitor, Options, Served};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use tokio::sync::oneshot;

use super::draw::draw;
use super::keys::Pressed;
use super::looks::{self, News};
use super::model::Model;
use super::paint::Paint;
use super::source::Source;
use crate::remote::Remote;

/// Longest wait for something that must happen.
const PATIENCE: Duration = Duration::from_secs(30);
const EVERY: Duration = Duration::from_secs(1);
/// What must not reach a terminal as it is: colours, a cleared screen, a bell, turned text.
const EVIL: &str = "\u{1b}[31m\u{9b}2J\u{7}\u{202e}evil\u{2066}";

/// A store with jobs in every state that matters, and a way to it.
struct Site {
    client: Client,
    source: Source,
    over: Vec<oneshot::Sender<()>>,
    _dir: tempfile::TempDir,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Store,
    Server,
}

impl Site {
    /// Four jobs that died of two causes, one that was done, and one that nobody runs.
    async fn new(kind: Kind) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", dir.path().join("jobs.db").display());
        let client = Client::connect(&url).await.unwrap();
        for n in 0..3 {
            mail(&client, &format!("{{\"full\":{n}}}")).await;
        }
        mail(&client, "{\"evil\":true}").await;
        mail(&client, "{\"to\":\"ann@example.com\",\"sum\":1.50}").await;
        client.enqueue_raw("report", "{}").queue("later").tag(EVIL).await.unwrap();
        let mut site = Self {
            source: Source::store(&url).await.unwrap(),
            client,
            over: Vec::new(),
            _dir: dir,
        };
        if kind == Kind::Server {
            site.serve().await;
        }
        site.work().await;
        site
    }

    async fn serve(&mut self) {
        let listening = Listening::on("127.0.0.1:0").await.unwrap();
        let server = format!("http://{}", listening.address());
        self.source = Source::Server(Remote::new(&server, None, false).unwrap());
        let (over, until_over) = oneshot::channel();
        let monitor = Arc::new(Monitor::new(Served::default()));
        let stop = async move {
            let _ = until_over.await;
        };
        let (client, options) = (self.client.clone(), Options::default());
        tokio::spawn(listening.serve_all(monitor, client, options, stop));
        self.over.push(over);
    }

    /// Runs a worker until the site is gone; resolves when it has done what there was.
    async fn work(&mut self) {
        let defaults = TypeDefaults::unknown(Name::new("type", "send_email").unwrap());
        let worker = Worker::new(&self.client, ())
            .raw(defaults, Retry::exponential(EVERY), send)
            .queue("mail", 3)
            .name(format!("host-7 {EVIL}"));
        let (over, until_over) = oneshot::channel::<()>();
        let stop = async move {
            let _ = until_over.await;
        };
        tokio::spawn(async move { worker.run_until(stop).await.unwrap() });
        self.over.push(over);
        until(async || {
            let totals = self.client.stats().await.unwrap().totals;
            totals.dead == 4 && totals.completed == 1
        })
        .await;
    }

    fn model(&self) -> Model {
        Model::new(self.source.place(), EVERY)
    }

    /// Looks at what is on the screen.
    async fn look(&self, model: &mut Model) {
        let look = looks::look(&self.source, &model.wanted()).await.unwrap();
        model.take(News::Looked(Box::new(look)));
    }

    /// Presses keys, with a look or a change where one is asked for; returns the screen then.
    async fn press(&self, model: &mut Model, keys: &str) -> String {
        for c in keys.chars() {
            match model.press(key(c)) {
                Pressed::Do(wish) => model.take(News::Done(looks::act(&self.source, wish).await)),
                Pressed::Leave => panic!("{c} leaves"),
                Pressed::Look | Pressed::Nothing => {}
            }
            self.look(model).await;
        }
        screen(model, 100, 40)
    }
}

async fn mail(client: &Client, payload: &str) {
    client.enqueue_raw("send_email", payload).queue("mail").max_attempts(1).await.unwrap();
}

async fn send(payload: Vec<u8>, cx: Context<()>) -> dutiful::Result<()> {
    let payload = String::from_utf8(payload).unwrap();
    cx.progress(40, EVIL);
    cx.log(format!("a mail {EVIL}"));
    if payload.contains("evil") {
        return Err(HandlerError::msg(EVIL).with_class("Evil"));
    }
    if payload.contains("full") {
        let text = format!("mailbox {} is full", cx.id());
        return Err(HandlerError::msg(text).with_class("SmtpError"));
    }
    Ok(())
}

/// Returns the key of a letter: ⏎ ⎋ ⇥ ← → ↑ ↓ ⌫ stand for those keys.
fn key(c: char) -> KeyEvent {
    let code = match c {
        '⏎' => KeyCode::Enter,
        '⎋' => KeyCode::Esc,
        '⇥' => KeyCode::Tab,
        '←' => KeyCode::Left,
        '→' => KeyCode::Right,
        '↑' => KeyCode::Up,
        '↓' => KeyCode::Down,
        '⌫' => KeyCode::Backspace,
        c => KeyCode::Char(c),
    };
    KeyEvent::new(code, KeyModifiers::NONE)
}

/// Draws the model on a screen of this size.
fn drawn(model: &mut Model, width: u16, height: u16, paint: Paint) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, model, paint)).unwrap();
    terminal.backend().buffer().clone()
}

/// Returns the words on the screen, a line a row.
fn screen(model: &mut Model, width: u16, height: u16) -> String {
    let buffer = drawn(model, width, height, Paint::new(true));
    let rows = buffer.content.chunks(usize::from(width));
    let row = |cells: &[ratatui::buffer::Cell]| cells.iter().map(|cell| cell.symbol()).collect();
    rows.map(row).collect::<Vec<String>>().join("\n")
}

/// Asks again until it is so.
async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < end, "waited too long");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Makes of each promise a test on a store and one on a server.
macro_rules! promises {
    ($($promise:ident),* $(,)?) => {
        $(mod $promise {
            use super::super::{Kind, Site};
            #[tokio::test(flavor = "multi_thread")]
            async fn store() {
                super::$promise(&Site::new(Kind::Store).await).await;
            }
            #[tokio::test(flavor = "multi_thread")]
            async fn server() {
                super::$promise(&Site::new(Kind::Server).await).await;
            }
        })*
    };
}
use promises;
