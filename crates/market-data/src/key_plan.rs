//! The features of a provider's key: as configured, and as refused by the provider.

use chrono::{DateTime, Utc};

/// A feature that a provider includes only in some keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyFeature {
    /// Prices of the current session, 15 minutes behind.
    DelayedPrices,
    /// Real-time prices of the current session.
    RealtimePrices,
    /// Prices of many stocks per call.
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

/// A feature that the source is configured to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeatureState {
    pub feature: KeyFeature,
    /// Until when the feature is not tried again, because the provider refused it. The source works without it until
    /// then.
    pub refused_until: Option<DateTime<Utc>>,
}

/// The limits and prices of an Alpha Vantage key, from its plan. The default is a free key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AlphaVantagePlan {
    /// Calls per minute of a paid plan; `None` for a free key.
    pub per_minute: Option<u32>,
    /// Calls per day; `None` for the plan's default: 25 for a free key, no limit for a paid one.
    pub per_day: Option<u32>,
    /// The prices of the current session that the key's agreement includes.
    pub entitlement: Option<crate::Entitlement>,
}

impl AlphaVantagePlan {
    /// Whether the key is paid: paid keys have a limit per minute.
    pub fn is_paid(self) -> bool {
        self.per_minute.is_some()
    }
}
