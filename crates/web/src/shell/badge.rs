//! Badges beside prices: source, age and staleness.

use domain::Freshness;
use serde::Serialize;

use crate::shell::format;

/// The state of a price, in one word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Badge {
    /// The class: `simulated`, `live`, `stale`, or empty.
    pub tone: &'static str,
    pub text: String,
}

impl Badge {
    pub fn for_freshness(freshness: Freshness) -> Self {
        let (tone, text) = match freshness {
            Freshness::Simulated => ("simulated", "Simulated"),
            Freshness::Realtime => ("live", "Live"),
            Freshness::Delayed => ("", "Delayed"),
            Freshness::EndOfDay => ("", "End of day"),
        };
        Self { tone, text: text.to_owned() }
    }

    pub fn of_quote(quote: &domain::Quote) -> Self {
        if quote.stale {
            Self { tone: "stale", text: "Stale".to_owned() }
        } else {
            Self::for_freshness(quote.freshness)
        }
    }
}

/// The name of a price source: `Alpha Vantage` for `alpha_vantage`, `the built-in market` for `simulated/sim-v1`.
pub fn source_name(source: &str) -> String {
    match source.split('/').next().unwrap_or(source) {
        "simulated" => "the built-in market".to_owned(),
        "yahoo" => "Yahoo Finance".to_owned(),
        other => other.split('_').map(format::capitalized).collect::<Vec<_>>().join(" "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_have_names() {
        assert_eq!(source_name("simulated/sim-v1"), "the built-in market");
        assert_eq!(source_name("alpha_vantage"), "Alpha Vantage");
        assert_eq!(source_name("yahoo"), "Yahoo Finance");
    }
}
