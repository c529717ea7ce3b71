//! The worker as its hosts use it: on a fresh database, on a clock that the test moves, beside a real Redis.
#![expect(clippy::unwrap_used, reason = "a panic fails the test")]

mod embedded;
mod firm;
mod heartbeats;
mod outages;
mod queued;
mod redis_server;
mod relaying;
mod source;
