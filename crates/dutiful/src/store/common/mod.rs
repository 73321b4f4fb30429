//! What every store makes of its rows in the same way, so that it is written once: what the stored
//! numbers mean, what a job looks like, which jobs a filter wants, what the counts and looks say.

pub(super) mod count;
pub(super) mod health;
pub(super) mod list;
pub(super) mod look;
pub(super) mod presence;
pub(super) mod sections;
pub(super) mod stored;
pub(super) mod totals;
