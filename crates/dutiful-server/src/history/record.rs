//! The recorder: looks at the store's counts once a minute and keeps by how much they grew. One of
//! all servers on a store does it, whichever is first.

use std::time::Duration;

use dutiful::store::KeepWhen;
use dutiful::{Client, Clock, Error};
use tokio_util::sync::CancellationToken;

use super::course::{self, Course};
use super::{LAST, Resolution, SHELF};
use crate::shelf::Shelf;

/// For how long one recorder keeps the others from looking, too. They come to the same end, so this
/// spares the store only.
const TURN: Duration = Duration::from_secs(3);
/// A look that failed, or that another recorder does, is looked after again by then.
const AGAIN: Duration = Duration::from_secs(3);
/// How often a clock is read that somebody moves.
const MANUAL_POLL: Duration = Duration::from_millis(5);
/// A look that is this late counts as made at the end of the minute, where it was to be.
const LATE_MAX_S: i64 = 5;

/// Keeps the history of a store.
pub(crate) struct Recorder {
    client: Client,
    clock: Clock,
    /// Tells it from the recorders of other servers.
    name: String,
    /// The version of the course whose ended steps were all kept.
    kept: Option<i64>,
}

impl Recorder {
    pub(crate) fn new(client: Client, clock: Clock) -> Self {
        let name = format!("{:016x}", fastrand::u64(..));
        Self { client, clock, name, kept: None }
    }

    /// Looks at the end of each minute, until it is told to stop.
    pub(crate) async fn run(mut self, stopping: CancellationToken) {
        loop {
            let pause = async {
                // A store that is away for a moment is asked again, and its counts wait for that.
                match self.look().await {
                    Ok(true) => tokio::time::sleep(self.until_next()).await,
                    Ok(false) | Err(_) => tokio::time::sleep(self.at_most(AGAIN)).await,
                }
            };
            tokio::select! {
                () = pause => {}
                () = stopping.cancelled() => return,
            }
        }
    }

    /// Looks if it is time; returns true when the last look, whosever it was, is of this minute.
    async fn look(&mut self) -> Result<bool, Error> {
        let at = on_time(self.now());
        let last = SHELF.get::<Course>(&self.client, LAST).await?;
        // A version is the store's time, in µs, at which it was written.
        if last.as_ref().is_some_and(|last| !last.value.is_due(at, last.version)) {
            return Ok(true);
        }
        if !Shelf::take_turn(&self.client, "history", &self.name, TURN).await? {
            return Ok(false);
        }
        let (course, when) = match &last {
            // Whoever wrote it may have ended before it kept them.
            Some(last) => {
                self.keep(&last.value, last.version).await?;
                (self.go_on(&last.value, at).await?, KeepWhen::Version(last.version))
            }
            None => (Course::begun(at, self.see().await?), KeepWhen::Absent),
        };
        // Of two that looked at once the first one's look counts.
        if let Some(version) = SHELF.put(&self.client, LAST, &course, when, None).await? {
            self.keep(&course, version).await?;
        }
        Ok(true)
    }

    async fn go_on(&self, last: &Course, at: i64) -> Result<Course, Error> {
        Ok(last.after(at, self.see().await?))
    }

    async fn see(&self) -> Result<course::Seen, Error> {
        let (totals, stats) = (self.client.totals().await?, self.client.stats().await?);
        Ok(course::seen(&totals, &stats))
    }

    /// Keeps the steps that ended. They stand in the course of this version and nothing else is
    /// ever written for them, so it does no harm that several do it.
    async fn keep(&mut self, course: &Course, version: i64) -> Result<(), Error> {
        if self.kept == Some(version) {
            return Ok(());
        }
        for point in &course.over {
            let Some(resolution) = Resolution::of(point.step_s) else { continue };
            let (key, ttl) = (resolution.key(point.at), Some(resolution.kept()));
            SHELF.put(&self.client, &key, point, KeepWhen::Always, ttl).await?;
        }
        self.kept = Some(version);
        Ok(())
    }

    fn now(&self) -> i64 {
        self.clock.now().us().div_euclid(1_000_000)
    }

    fn until_next(&self) -> Duration {
        let minute = i64::from(Resolution::Minute.step_s()) * 1_000_000;
        let into = self.clock.now().us().rem_euclid(minute);
        self.at_most(Duration::from_micros((minute - into) as u64))
    }

    /// Nobody knows when a clock that stands still is moved.
    fn at_most(&self, pause: Duration) -> Duration {
        if self.clock.is_manual() { pause.min(MANUAL_POLL) } else { pause }
    }
}

/// Returns the end of the minute for a look just after it.
fn on_time(now: i64) -> i64 {
    let late = now.rem_euclid(i64::from(Resolution::Minute.step_s()));
    if late <= LATE_MAX_S { now - late } else { now }
}
