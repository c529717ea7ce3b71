//! The life of orders: how they meet prices, how they change the books, and that the books stay consistent in every
//! history.
#![expect(clippy::unwrap_used, reason = "a panic fails the test")]

mod desk;
mod life_cycle;
mod matching;
mod model;
