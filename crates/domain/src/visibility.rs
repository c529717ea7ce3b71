//! The visibility of portfolios.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::order::keywords;

keywords! {
    /// The readers of a portfolio besides its owner. Only the owner may change the portfolio.
    Visibility {
        /// No one.
        Private = "private",
        /// Readers who know its address, which contains a random key.
        Link = "link",
        /// Everyone.
        Public = "public",
    }
}
