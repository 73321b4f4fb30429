//! Workers as programs run them: handlers, decisions, queues, exactly-once effects, and the end.

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
mod watch;
