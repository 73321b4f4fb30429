//! Shows that Dutiful keeps its promises while processes are killed, stopped and woken.
//!
//! Producers and workers run as processes of their own and write what they do to an outside
//! [`ledger`]; nothing of it passes through the system under test. A driver
//! ([`fleet`], [`campaign`]) kills and stops them by a seed. At the end a [`judge`] compares the
//! ledgers with the tables of the store, read by a connection of its own ([`final_state`]).

pub mod campaign;
pub mod final_state;
pub mod fleet;
pub mod history;
pub mod judge;
pub mod ledger;
pub mod roles;
