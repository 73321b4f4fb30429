//! Workers as programs run them: handlers, decisions, queues, exactly-once effects, and the end.
#![cfg(feature = "sqlite")]

#[macro_use]
mod watch;

stores! {
    memory: crate::watch::memory,
    postgres: crate::watch::postgres,
}

mod backoff;
mod clock;
mod control;
mod edges;
mod exactly;
mod fence;
mod handlers;
mod layers;
mod outcomes;
mod queues;
mod speak;
mod stop;
