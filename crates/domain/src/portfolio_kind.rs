//! What a portfolio is for.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::order::keywords;

keywords! {
    /// What a portfolio is for. Its owner chooses when it is opened.
    PortfolioKind {
        /// Orders fill at the market's prices.
        Practice = "practice",
        /// It records trades that were made elsewhere, and takes imports.
        Record = "record",
    }
}
