//! Orders from their placing to their end: how they meet prices, what they do to the books, and that no history of
//! them spoils the books.
#![expect(clippy::unwrap_used, reason = "a panic fails the test")]

mod desk;
mod life_cycle;
mod matching;
mod model;
