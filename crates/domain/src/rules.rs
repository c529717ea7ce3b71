//! The trading rules of an installation: hours, commission, slippage, liquidity. They come from the configuration and
//! are the same for all users.

use crate::calendar::exchange_date;
use crate::order::keywords;
use crate::{Calendar, Freshness, Money, Percent, Price, Quantity, Quote, Rate, Side, Timestamp};
use serde::{Deserialize, Serialize};
use std::str::FromStr;

keywords! {
    TradingMode {
        /// Orders are accepted at any time. A market order fills immediately at the newest fresh price, and outside a
        /// session at the newest close.
        Practice = "practice",
        /// Exchange hours apply, and an order fills only at a price that is later than the order.
        Realistic = "realistic",
    }
}

/// The commission for an order. The default is zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commission {
    /// Charged once for an order that fills.
    pub per_order: Money,
    /// Per share, in the account's currency.
    pub per_share: Rate,
    /// In percent of quantity × price.
    pub percent: Rate,
    /// The smallest commission of an order that fills.
    pub minimum: Money,
}

impl Default for Commission {
    fn default() -> Self {
        Self {
            per_order: Money::zero(),
            per_share: Rate::zero(),
            percent: Rate::zero(),
            minimum: Money::zero(),
        }
    }
}

impl Commission {
    /// The commission of an order that has filled `quantity` for `amount` so far, in all its fills together. Each part
    /// is rounded half-even to the cent.
    pub fn charged_for(&self, quantity: &Quantity, amount: &Money) -> Money {
        if quantity.is_zero() {
            return Money::zero();
        }
        let charged =
            self.per_order.clone() + self.per_share.per_share(quantity) + self.percent.percent_of(amount);
        charged.max(self.minimum.clone())
    }

    pub fn is_free(&self) -> bool {
        *self == Self::default()
    }
}

/// Whether orders can fill at the newest price of a stock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PriceStanding {
    /// A price of the current session: buys fill at the ask and sells at the bid.
    Live,
    /// The close of a past session: in practice mode orders fill at it until there is a newer price.
    PastClose,
    /// Too old: orders do not fill at it.
    Old,
}

/// All trading rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TradingRules {
    pub mode: TradingMode,
    /// The calendar of `day`, `opg` and `cls` orders, and in realistic mode of the trading hours.
    pub calendar: Calendar,
    pub commission: Commission,
    /// How much worse than the quote a market order fills. Limit orders have no slippage.
    pub slippage: Option<Percent>,
    /// The share of the traded volume that a fill may take. `None` means no limit.
    pub liquidity: Option<Percent>,
}

/// The trading rules, with the time of a decision about an order.
#[derive(Debug, Clone, Copy)]
pub struct RulesAt<'a> {
    pub rules: &'a TradingRules,
    pub now: Timestamp,
}

impl TradingRules {
    /// These rules for a decision at `now`.
    pub fn at(&self, now: Timestamp) -> RulesAt<'_> {
        RulesAt { rules: self, now }
    }

    /// Practice mode, no commission, no slippage, unlimited liquidity.
    pub fn practice(calendar: Calendar) -> Self {
        Self {
            mode: TradingMode::Practice,
            calendar,
            commission: Commission::default(),
            slippage: None,
            liquidity: None,
        }
    }

    /// The same rules for an order that must not fill at the newest price and waits for a later one.
    #[must_use]
    pub fn until_next_price(&self) -> Self {
        Self { mode: TradingMode::Realistic, ..self.clone() }
    }

    /// Whether a price of time `at` may fill an order. The close is included, because an end-of-day source has no other
    /// price.
    pub fn is_open(&self, at: Timestamp) -> bool {
        match self.mode {
            TradingMode::Practice => true,
            TradingMode::Realistic => {
                let session = self.calendar.session(exchange_date(at));
                session.is_some_and(|session| session.contains(at) || session.closes_at == at)
            }
        }
    }

    /// Whether an order that is placed at `at` can fill at the newest price. [`Freshness::is_stale`] decides which
    /// prices are too old.
    ///
    /// Outside a session the newest close is valid until the next session opens; then orders wait for its first price.
    /// For a source that publishes only closing prices, the newest close is valid at any time.
    pub fn standing(&self, quote: &Quote, at: Timestamp) -> PriceStanding {
        if quote.stale || quote.freshness.is_stale(quote.as_of, at, self.calendar) {
            return PriceStanding::Old;
        }
        match (quote.freshness, self.calendar, self.calendar.session_at(at)) {
            (Freshness::EndOfDay, _, _) | (_, Calendar::Xnys, None) => PriceStanding::PastClose,
            (_, Calendar::Xnys, Some(session)) if quote.as_of < session.opens_at => PriceStanding::Old,
            (_, Calendar::Xnys | Calendar::AroundTheClock, _) => PriceStanding::Live,
        }
    }

    /// The price of a market order, with slippage, if the quote's price is `price`.
    pub fn slipped(&self, side: Side, price: &Price) -> Price {
        let Some(percent) = &self.slippage else { return price.clone() };
        match side {
            Side::Buy => price.raised(percent),
            Side::Sell => price.lowered(percent).unwrap_or_else(|| price.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn money(text: &str) -> Money {
        text.parse().unwrap()
    }

    #[test]
    fn trading_is_free_only_without_any_rate() {
        assert!(Commission::default().is_free());
        for commission in [
            Commission { per_order: money("1"), ..Commission::default() },
            Commission { per_share: "0.01".parse().unwrap(), ..Commission::default() },
            Commission { percent: "0.1".parse().unwrap(), ..Commission::default() },
            Commission { minimum: money("1"), ..Commission::default() },
        ] {
            assert!(!commission.is_free(), "{commission:?}");
        }
    }

    #[test]
    fn an_order_that_waits_for_the_next_price_keeps_all_other_rules() {
        let rules = TradingRules {
            slippage: Some("0.1".parse().unwrap()),
            commission: Commission { per_order: money("1"), ..Commission::default() },
            ..TradingRules::practice(Calendar::Xnys)
        };
        let waiting = rules.until_next_price();
        assert_eq!(waiting.mode, TradingMode::Realistic);
        assert_eq!(TradingRules { mode: rules.mode, ..waiting }, rules);
    }

    #[test]
    fn commission_by_hand() {
        let quantity: Quantity = "100".parse().unwrap();
        assert_eq!(Commission::default().charged_for(&quantity, &money("5000")), money("0"));
        let broker = Commission {
            per_order: money("1.00"),
            per_share: "0.0035".parse().unwrap(),
            percent: "0.02".parse().unwrap(),
            minimum: money("2.00"),
        };
        // 1.00 + 0.35 + 1.00
        assert_eq!(broker.charged_for(&quantity, &money("5000")), money("2.35"));
        // 1.00 + 0.00 + 0.01, so the minimum
        assert_eq!(broker.charged_for(&"1".parse().unwrap(), &money("50")), money("2.00"));
        assert_eq!(broker.charged_for(&Quantity::zero(), &money("0")), money("0"));
    }

    #[test]
    fn slippage_is_against_the_trader() {
        let rules = TradingRules {
            slippage: Some("0.05".parse().unwrap()),
            ..TradingRules::practice(Calendar::AroundTheClock)
        };
        let price: Price = "200.00".parse().unwrap();
        assert_eq!(rules.slipped(Side::Buy, &price).to_string(), "200.10");
        assert_eq!(rules.slipped(Side::Sell, &price).to_string(), "199.90");
        assert_eq!(TradingRules::practice(Calendar::Xnys).slipped(Side::Buy, &price), price);
    }
}
