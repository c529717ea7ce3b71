//! Performance: against reference libraries, recomputed from the explanations, and what always holds.
#![expect(clippy::unwrap_used, reason = "a panic fails the test")]

mod explanations;
mod portfolio;
mod properties;
mod reference;
