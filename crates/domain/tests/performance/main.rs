//! Performance: against reference libraries, recomputed from the explanations, and what always holds.
#![expect(clippy::unwrap_used, reason = "what goes wrong here fails the test")]

mod explanations;
mod portfolio;
mod properties;
mod reference;
