//! Labels of bounded number: so many pairs of a queue and a type, so many error classes of a type.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use dutiful::ERROR_CLASSES_MAX;

/// The queue whose rows are there from the start, whatever is served.
pub(crate) const QUEUE_DEFAULT: &str = "default";
/// Most pairs of a queue and a type that have rows of their own; the rest share one row.
pub(crate) const PAIRS_MAX: usize = 200;
/// Most rows of error classes on the page of a fleet, over all pairs; the smallest go into the row
/// of their pair's rest.
pub(crate) const CLASS_ROWS_MAX: usize = 2000;
/// The label of what is over the limit.
pub(crate) const OTHER: &str = dutiful::ERROR_CLASS_OTHER;

/// A set of `N` labels.
pub(crate) type Labels<const N: usize> = [(&'static str, Arc<str>); N];

/// Makes the row of a queue and a type.
type Make<T> = Box<dyn Fn(&str, &str) -> T + Send + Sync>;

/// The rows of each pair of a queue and a type, made at its first sight.
pub(crate) struct Pairs<T> {
    make: Make<T>,
    rows: RwLock<Rows<T>>,
}

struct Rows<T> {
    by_queue: HashMap<Box<str>, HashMap<Box<str>, Arc<T>>>,
    pairs: usize,
    other: Option<Arc<T>>,
}

impl<T> Pairs<T> {
    pub(crate) fn new(make: impl Fn(&str, &str) -> T + Send + Sync + 'static) -> Self {
        let rows = Rows { by_queue: HashMap::new(), pairs: 0, other: None };
        Self { make: Box::new(make), rows: RwLock::new(rows) }
    }

    /// Returns the row of a pair, or the shared one when there are too many pairs.
    pub(crate) fn row(&self, queue: &str, job_type: &str) -> Arc<T> {
        let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(row) = rows.by_queue.get(queue).and_then(|types| types.get(job_type)) {
            return row.clone();
        }
        drop(rows);
        self.make_row(queue, job_type)
    }

    fn make_row(&self, queue: &str, job_type: &str) -> Arc<T> {
        let mut rows = self.rows.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(row) = rows.by_queue.get(queue).and_then(|types| types.get(job_type)) {
            return row.clone();
        }
        if rows.pairs >= PAIRS_MAX {
            let other = rows.other.get_or_insert_with(|| Arc::new((self.make)(OTHER, OTHER)));
            return other.clone();
        }
        rows.pairs += 1;
        let row = Arc::new((self.make)(queue, job_type));
        let types = rows.by_queue.entry(queue.into()).or_default();
        types.insert(job_type.into(), row.clone());
        row
    }
}

/// The error classes that were seen of each type.
#[derive(Default)]
pub(crate) struct Classes(Mutex<HashMap<Box<str>, HashSet<Box<str>>>>);

impl Classes {
    /// Returns the class, or `other` when the type has too many.
    pub(crate) fn admit<'a>(&self, job_type: &str, class: &'a str) -> &'a str {
        let mut types = lock(&self.0);
        if !types.contains_key(job_type) && types.len() >= PAIRS_MAX {
            return OTHER;
        }
        let seen = types.entry(job_type.into()).or_default();
        if !seen.contains(class) {
            if seen.len() >= ERROR_CLASSES_MAX {
                return OTHER;
            }
            seen.insert(class.into());
        }
        class
    }
}

/// A panic of another observer's thread leaves counts as they are.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn shares_one_row_among_pairs_over_the_limit() {
        let pairs = Pairs::new(|queue, job_type| format!("{queue}/{job_type}"));
        for n in 0..PAIRS_MAX {
            assert_eq!(*pairs.row("q", &n.to_string()), format!("q/{n}"));
        }
        assert_eq!(*pairs.row("q", "more"), "other/other");
        assert_eq!(*pairs.row("r", "0"), "other/other");
        assert_eq!(*pairs.row("q", "7"), "q/7", "what has a row keeps it");
    }

    #[test]
    fn counts_classes_by_type_up_to_the_limit() {
        let classes = Classes::default();
        for n in 0..ERROR_CLASSES_MAX {
            let class = format!("exit {n}");
            assert_eq!(classes.admit("a", &class), class);
        }
        assert_eq!(classes.admit("a", "exit 99"), OTHER);
        assert_eq!(classes.admit("a", "exit 7"), "exit 7");
        assert_eq!(classes.admit("b", "exit 99"), "exit 99", "another type has its own fifty");
    }
}
