//! What every store keeps: one file per verb of the `Store` trait, each promise on each store.
//!
//! A new store is one line in `stores!`. A promise is a function listed in `promises!` at the top
//! of its file; what is not listed is dead code, which the compiler reports.
#![cfg(feature = "sqlite")]

#[macro_use]
mod harness;

stores! {
    file: crate::harness::file,
    memory: crate::harness::memory,
    postgres: crate::harness::postgres,
    postgres_18: crate::runtime_role::postgres_18,
}

mod abdicate;
mod backup;
mod cancel;
mod cancel_requests;
mod claim;
mod claim_limits;
mod clear;
mod close;
mod corpus;
mod delete;
mod discard;
mod doctor;
mod doorbell;
mod dropped;
mod enqueue;
mod enqueue_unique;
mod facts;
mod finish;
mod finish_fences;
mod fold;
mod heartbeat;
mod held;
mod history;
mod keep;
mod kept;
mod lead;
mod leave;
mod list;
mod list_filters;
mod migrate;
mod note;
mod once;
mod once_store;
mod pause;
mod payloads;
mod promote;
mod prune;
mod queues;
mod register;
mod reschedule;
mod rescue;
mod restore;
mod result;
mod retry;
mod runtime_role;
mod show;
mod stats;
mod totals;
mod types;
mod verdicts;
mod vitals;
mod workers;
