//! The features of the key: their state according to earlier calls, and a test with one call.

use domain::Symbol;

use super::refusal::Refusal;
use super::transport::Failure;
use super::{AlphaVantage, Entitlement, bulk, ticker, wire};
use crate::{FeatureState, KeyFeature, Payer, QuoteError};

impl AlphaVantage {
    pub(super) fn feature_states(&self) -> Vec<FeatureState> {
        let now = self.transport.now();
        let mut states = Vec::new();
        if let Some(entitlement) = self.entitlement {
            let feature = match entitlement {
                Entitlement::Delayed => KeyFeature::DelayedPrices,
                Entitlement::Realtime => KeyFeature::RealtimePrices,
            };
            states.push(FeatureState { feature, refused_until: self.entitled.refused_until(now) });
            states.push(FeatureState {
                feature: KeyFeature::BulkQuotes,
                refused_until: self.bulk.refused_until(now),
            });
        }
        if self.is_paid {
            let refused_until = self.full_series.refused_until(now);
            states.push(FeatureState { feature: KeyFeature::FullHistory, refused_until });
        }
        states
    }

    /// Tests one feature with one call, even if the key is not configured for it. Returns a short description of the
    /// answer, or `None` if the key does not include the feature.
    ///
    /// # Errors
    /// The reason why the call failed, or the provider's answer about the symbol.
    pub async fn try_feature(
        &self,
        feature: KeyFeature,
        symbol: &Symbol,
        payer: &Payer,
    ) -> Result<Option<String>, QuoteError> {
        let ticker = ticker::provider_symbol(symbol)?;
        let now = self.transport.now();
        let entitlement = match feature {
            KeyFeature::DelayedPrices => Entitlement::Delayed,
            KeyFeature::RealtimePrices => Entitlement::Realtime,
            _ => self.entitlement.unwrap_or(Entitlement::Realtime),
        };
        let (function, parameter) = match feature {
            KeyFeature::DelayedPrices | KeyFeature::RealtimePrices => {
                ("GLOBAL_QUOTE", ("entitlement", entitlement.as_str()))
            }
            KeyFeature::BulkQuotes => ("REALTIME_BULK_QUOTES", ("entitlement", entitlement.as_str())),
            KeyFeature::FullHistory => ("TIME_SERIES_DAILY", ("outputsize", "full")),
        };
        let parameters = [("symbol", ticker.as_str()), parameter];
        let answer = match self.transport.call(function, &parameters, payer).await {
            Err(Failure::Refused(Refusal::Premium)) => return Ok(None),
            answer => answer.map_err(|failure| self.transport.to_quote_error(failure, Some(symbol)))?,
        };
        Ok(match feature {
            KeyFeature::DelayedPrices | KeyFeature::RealtimePrices => {
                let quote = wire::quote(&answer, symbol, Some(entitlement.freshness()), now)?;
                Some(format!("{} as of {}", quote.price, quote.as_of))
            }
            KeyFeature::BulkQuotes => {
                let quotes =
                    bulk::quotes(&answer, std::slice::from_ref(symbol), entitlement.freshness(), now)?;
                Some(format!("{} of 1 symbol answered", quotes.len()))
            }
            KeyFeature::FullHistory => {
                let bars = wire::daily_bars(&answer, symbol, now.into(), now)?;
                let first = bars.first().map_or_else(String::new, |bar| format!(" since {}", bar.date));
                Some(format!("{} sessions{first}", bars.len()))
            }
        })
    }
}
