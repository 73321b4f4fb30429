//! What was counted of each queue and type, put together from the rows of the tally.

use std::collections::{BTreeMap, HashSet};

use crate::id::Name;
use crate::store::tally::Event;
use crate::totals::{ERROR_CLASS_OTHER, ERROR_CLASSES_MAX, Spread, TypeTotals, bound_classes};

/// The sums so far, by queue and type.
#[derive(Default)]
pub(in crate::store) struct Summed(BTreeMap<(String, String), One>);

struct One {
    totals: TypeTotals,
    /// The error classes that have a row in the totals, so that no other can take their place.
    known: HashSet<String>,
}

/// A row: what happened how often, how long it ran and how long it had been due.
pub(in crate::store) struct Row {
    pub(in crate::store) queue: String,
    pub(in crate::store) job_type: String,
    pub(in crate::store) event: i64,
    pub(in crate::store) n: i64,
    pub(in crate::store) ran: Option<Spread>,
    pub(in crate::store) waited: Option<Spread>,
    /// The class that these attempts failed with, in the rows that count classes.
    pub(in crate::store) class: Option<String>,
    /// Whether it is a row of the totals, not one that waits to be folded into them.
    pub(in crate::store) folded: bool,
}

impl Summed {
    pub(in crate::store) fn add(&mut self, row: Row) {
        const ENQUEUED: i64 = Event::Enqueued as i64;
        const COMPLETED: i64 = Event::Completed as i64;
        const FAILED: i64 = Event::Failed as i64;
        const DEAD: i64 = Event::Dead as i64;
        const CANCELLED: i64 = Event::Cancelled as i64;
        const SNOOZED: i64 = Event::Snoozed as i64;
        const RELEASED: i64 = Event::Released as i64;
        const STALLED: i64 = Event::Stalled as i64;
        let of = |name: &str| Name::stored(name);
        let (queue, job_type) = (of(&row.queue), of(&row.job_type));
        let one = self.0.entry((row.queue, row.job_type));
        let one = one.or_insert_with(|| One {
            totals: TypeTotals::none(queue, job_type),
            known: HashSet::new(),
        });
        if let Some(class) = row.class {
            if row.folded {
                one.known.insert(class.clone());
            }
            *one.totals.error_classes.entry(class).or_default() += row.n.max(0) as u64;
            return;
        }
        let one = &mut one.totals;
        let count = match row.event {
            ENQUEUED => &mut one.enqueued,
            COMPLETED => &mut one.completed,
            FAILED => &mut one.failed,
            DEAD => &mut one.dead,
            CANCELLED => &mut one.cancelled,
            SNOOZED => &mut one.snoozed,
            RELEASED => &mut one.released,
            STALLED => &mut one.stalled,
            // Rows that left the record are no event of a job's life.
            _ => return,
        };
        *count += row.n.max(0) as u64;
        row.ran.iter().for_each(|ran| one.ran.merge(ran));
        row.waited.iter().for_each(|waited| one.waited.merge(waited));
    }

    /// Returns the sums in the order of queues and types.
    pub(in crate::store) fn totals(self) -> Vec<TypeTotals> {
        self.0.into_values().map(One::whole).collect()
    }
}

impl One {
    /// Workers of the version before count no classes: what they failed with is not known.
    fn whole(mut self) -> TypeTotals {
        let classes = &mut self.totals.error_classes;
        let unknown = self.totals.failed.saturating_sub(classes.values().sum());
        if unknown > 0 {
            *classes.entry(ERROR_CLASS_OTHER.into()).or_default() += unknown;
        }
        bound_classes(classes, ERROR_CLASSES_MAX, |class| self.known.contains(class));
        self.totals
    }
}
