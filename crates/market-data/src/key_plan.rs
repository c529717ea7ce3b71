//! What the key of a provider allows, as its owner has set it, and what turned out to be allowed.

use chrono::{DateTime, Utc};

/// Something that a provider gives to some keys and not to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyFeature {
    /// Prices of the running session, 15 minutes behind.
    DelayedPrices,
    /// Prices of the running session, of the moment.
    RealtimePrices,
    /// Prices of many stocks with one call.
    BulkQuotes,
    /// Charts of decades instead of the last 100 sessions.
    FullHistory,
}

impl KeyFeature {
    pub const ALL: [Self; 4] =
        [Self::DelayedPrices, Self::RealtimePrices, Self::BulkQuotes, Self::FullHistory];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::DelayedPrices => "delayed_prices",
            Self::RealtimePrices => "realtime_prices",
            Self::BulkQuotes => "bulk_quotes",
            Self::FullHistory => "full_history",
        }
    }
}

/// A feature that the source is set up to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeatureState {
    pub feature: KeyFeature,
    /// The provider has refused it, and it is not tried before then: the source does without it.
    pub refused_until: Option<DateTime<Utc>>,
}

/// The calls and prices of an Alpha Vantage key, as its owner has them from the plan. The default is a free key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AlphaVantagePlan {
    /// Calls a minute of a paid plan; `None` for a free key.
    pub per_minute: Option<u32>,
    /// Calls a day; `None` for those of the plan: 25 of a free key, no limit of a paid one.
    pub per_day: Option<u32>,
    /// The prices of the running session that the key's agreement covers.
    pub entitlement: Option<crate::Entitlement>,
}

impl AlphaVantagePlan {
    /// Paid keys have calls a minute.
    pub fn is_paid(self) -> bool {
        self.per_minute.is_some()
    }
}
