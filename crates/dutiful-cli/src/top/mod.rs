//! The dashboard in a terminal: keys change what is shown, a task looks, and what it saw last is
//! drawn.

mod draw;
mod help;
mod indent;
mod keys;
mod looks;
mod model;
mod pages;
mod paint;
mod rates;
mod shapes;
mod source;
mod table;
mod terminal;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use ratatui::crossterm::event::Event;
use tokio::sync::{mpsc, watch};

pub(crate) use self::source::Source;

use self::keys::Pressed;
use self::looks::{Asked, News, Wish};
use self::model::Model;
use self::paint::Paint;
use self::terminal::Terminal;
use crate::failure::Failure;

/// Looks and answers that wait to be drawn.
const NEWS_MAX: usize = 16;
/// Ages on the screen are drawn anew this often, whatever happens.
const DRAW_EVERY: Duration = Duration::from_secs(1);
/// Longest wait for a store to close.
const CLOSE_MAX: Duration = Duration::from_secs(3);

/// Shows the pages until a key or a signal ends them.
pub(crate) async fn run(source: Source, every: Duration) -> Result<(), Failure> {
    let source = Arc::new(source);
    let stop = dutiful::shutdown_signal();
    let mut terminal = Terminal::open()?;
    let (asked, to_look) = watch::channel(Asked::default());
    let (tell, mut news) = mpsc::channel(NEWS_MAX);
    let mut looking = tokio::spawn(looks::look_on(source.clone(), to_look, tell.clone(), every));
    let mut screen = Screen {
        model: Model::new(source.place(), every),
        paint: Paint::of_environment(),
        source: source.clone(),
        asked,
        tell,
    };
    let ended = tokio::select! {
        ended = screen.show(&mut terminal, &mut news, stop) => ended,
        // It looks as long as there is a screen, unless it panicked, which was told by then.
        _ = &mut looking => Err(Failure::failed("look: the task that does so ended; start again")),
    };
    looking.abort();
    // The terminal comes back before the store is waited for.
    terminal.close()?;
    let _ = tokio::time::timeout(CLOSE_MAX, source.close()).await;
    ended
}

/// What is shown, and who is asked for it.
struct Screen {
    model: Model,
    paint: Paint,
    source: Arc<Source>,
    asked: watch::Sender<Asked>,
    tell: mpsc::Sender<News>,
}

impl Screen {
    async fn show(
        &mut self,
        terminal: &mut Terminal,
        news: &mut mpsc::Receiver<News>,
        stop: impl Future<Output = ()>,
    ) -> Result<(), Failure> {
        let mut stop = std::pin::pin!(stop);
        let mut tick = tokio::time::interval(DRAW_EVERY);
        loop {
            self.model.tidy();
            let (model, paint) = (&mut self.model, self.paint);
            terminal.draw(|frame| draw::draw(frame, model, paint))?;
            tokio::select! {
                // Keys are taken before looks.
                biased;
                () = &mut stop => return Ok(()),
                event = terminal.event() => {
                    let mut event = event;
                    // What was typed or pasted meanwhile is one picture.
                    while let Some(one) = event {
                        if self.happened(one?) {
                            return Ok(());
                        }
                        event = terminal.waiting();
                    }
                }
                Some(news) = news.recv() => {
                    let done = matches!(news, News::Done(_));
                    self.model.take(news);
                    if done {
                        self.look();
                    }
                }
                _ = tick.tick() => {}
            }
        }
    }

    /// Takes an event; says whether it is the last one.
    fn happened(&mut self, event: Event) -> bool {
        let Some(key) = event.as_key_press_event() else { return false };
        match self.model.press(key) {
            Pressed::Leave => return true,
            Pressed::Nothing => {}
            Pressed::Look => self.look(),
            Pressed::Do(wish) => self.act(wish),
        }
        false
    }

    /// Has a look made at once, at what is on the screen now.
    fn look(&self) {
        let wanted = self.model.wanted();
        self.asked.send_modify(|asked| {
            asked.wanted = wanted;
            asked.turn = asked.turn.wrapping_add(1);
        });
    }

    fn act(&mut self, wish: Wish) {
        self.model.busy = Some(wish.to_string());
        let (source, tell) = (self.source.clone(), self.tell.clone());
        tokio::spawn(async move {
            // Nobody listens when the screen is closed.
            let _ = tell.send(News::Done(looks::act(&source, wish).await)).await;
        });
    }
}
