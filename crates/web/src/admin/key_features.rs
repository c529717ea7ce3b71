//! The features of a provider's key, in words.

use serde::Serialize;
use services::stocks::key_features::KeyFeatureState;

use crate::shell::format;
use crate::shell::format::Moment;

#[derive(Serialize)]
pub struct FeatureRow {
    label: &'static str,
    /// The replacement that is used while the provider refuses the feature.
    instead: &'static str,
    refused_until: Option<Moment>,
}

impl From<&KeyFeatureState> for FeatureRow {
    fn from(state: &KeyFeatureState) -> Self {
        let (label, instead) = match state.name {
            "delayed_prices" => ("Prices 15 minutes behind the market", "the close of each session is used"),
            "realtime_prices" => ("Prices of the moment", "the close of each session is used"),
            "bulk_quotes" => ("Prices of many stocks with one call", "each stock is requested separately"),
            _ => ("Charts of decades", "charts have the last 100 sessions"),
        };
        Self { label, instead, refused_until: state.refused_until.map(format::day_and_minute) }
    }
}
