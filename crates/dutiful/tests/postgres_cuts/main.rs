//! Connections that break beside every single message of every verb that writes: what was asked
//! happens once or not at all, and whoever asks again hears the truth.

mod attempts;
mod changes;
mod chores;
mod commit;
mod enqueue;
mod lab;
