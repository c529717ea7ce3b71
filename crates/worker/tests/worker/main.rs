//! Tests of the worker as the program runs it: with a new database, a clock that the test moves, and a real Redis.
#![expect(clippy::unwrap_used, reason = "a panic fails the test")]

mod embedded;
mod firm;
mod heartbeats;
mod outages;
mod queued;
mod redis_server;
mod relaying;
mod source;
