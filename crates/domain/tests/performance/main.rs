//! Performance: compared with reference libraries, recomputed from the explanations, and checked for invariants.
#![expect(clippy::unwrap_used, reason = "a panic fails the test")]

mod explanations;
mod portfolio;
mod properties;
mod reference;
