//! The history of the store's numbers, kept in the store itself, so that charts and alerts need no
//! other program: a point for each minute, hour and day, each for a bounded time.
//!
//! All comes from what the store counts by itself, for all processes together: a recorder looks at
//! these counts and keeps by how much they grew. It may be any server and need not be the same one
//! as the last time, because what the last look saw stands in the store, too.

mod course;
mod numbers;
mod record;

use std::collections::BTreeMap;
use std::time::Duration;

use dutiful::{Client, StoreError};
use serde::{Deserialize, Serialize};

use crate::shelf::Shelf;

pub(crate) use self::numbers::{Numbers, quantile_ms};
pub(crate) use self::record::Recorder;

use self::course::Course;

/// Most points that one answer has.
pub(crate) const POINTS_MAX: usize = 1500;

const SHELF: Shelf = Shelf("history");
/// The key of what the last look saw, and of the steps that are not over. Another form of it would
/// need another key: what cannot be read is never written over.
const LAST: &str = "last";

/// The numbers of all queues within one step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Point {
    /// Its start, in seconds since 1970.
    pub(crate) at: i64,
    /// How long it is, in seconds.
    pub(crate) step_s: u32,
    /// The busiest queues; the rest is summed up as `other`. A queue in which nothing was and
    /// nothing happened is not among them.
    pub(crate) queues: BTreeMap<String, Numbers>,
}

/// How long steps are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Resolution {
    /// Kept for 24 hours.
    Minute,
    /// Kept for 30 days.
    Hour,
    /// Kept for 400 days.
    Day,
}

impl Resolution {
    const ALL: [Self; 3] = [Self::Minute, Self::Hour, Self::Day];

    pub(crate) const fn step_s(self) -> u32 {
        match self {
            Self::Minute => 60,
            Self::Hour => 60 * 60,
            Self::Day => 24 * 60 * 60,
        }
    }

    /// For how long points are kept.
    const fn kept(self) -> Duration {
        Duration::from_secs(match self {
            Self::Minute => 24 * 60 * 60,
            Self::Hour => 30 * 24 * 60 * 60,
            Self::Day => 400 * 24 * 60 * 60,
        })
    }

    const fn letter(self) -> char {
        match self {
            Self::Minute => 'm',
            Self::Hour => 'h',
            Self::Day => 'd',
        }
    }

    fn of(step_s: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.step_s() == step_s)
    }

    fn key(self, at: i64) -> String {
        format!("{}:{at:015}", self.letter())
    }
}

/// Returns the points of the steps that are over and began at this time or later, oldest first. A
/// step that nobody saw is not among them: that is no zero.
pub(crate) async fn since(
    client: &Client,
    resolution: Resolution,
    from_unix_s: i64,
) -> Result<Vec<Point>, StoreError> {
    // Newest first, so that it is the oldest that a limit cuts off.
    let (from, to) = (resolution.key(from_unix_s.max(0)), resolution.key(999_999_999_999_999));
    let items = SHELF.range(client, &from, Some(&to), true, POINTS_MAX).await?;
    Ok(items.into_iter().rev().map(|item| item.value).collect())
}

/// Returns the point of the step that is not over, as far as it was seen.
pub(crate) async fn unfinished(
    client: &Client,
    resolution: Resolution,
) -> Result<Option<Point>, StoreError> {
    let last = SHELF.get::<Course>(client, LAST).await?;
    Ok(last.and_then(|item| item.value.unfinished(resolution)))
}
