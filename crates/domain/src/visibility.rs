//! Who may read a portfolio besides its owner.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::order::keywords;

keywords! {
    /// Who may read a portfolio besides its owner. Only the owner may change it.
    Visibility {
        /// No one.
        Private = "private",
        /// Readers who know its address, which contains a random key.
        Link = "link",
        /// Everyone.
        Public = "public",
    }
}
