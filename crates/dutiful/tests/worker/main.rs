//! Workers as programs run them: handlers, decisions, queues, exactly-once effects, and the end.

mod backoff;
mod clock;
mod edges;
mod exactly;
mod fence;
mod handlers;
mod outcomes;
mod queues;
mod stop;
mod watch;
