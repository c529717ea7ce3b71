//! Converts a price from before a split or a cash dividend to its value afterwards.
//!
//! On the ex-date a split changes the meaning of one share, and a share no longer includes the dividend, which is owed
//! to its holders. Until the first price of that session is known, the last earlier price is used: converted to new
//! shares, less the dividend. Total values therefore count a dividend once, and no order trades at a price that
//! includes a dividend which the buyer will not get.

use crate::share_basis::{ShareBased, UnroundedPrice};
use crate::{
    AsTraded, Bar, CorporateActionKind, KnownAction, PerShare, Price, PriceMove, Quote, SplitHistory,
    Timestamp,
};

/// The splits in force and cash dividends of one stock, each with its effective time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ActionHistory {
    splits: SplitHistory,
    dividends: Vec<(Timestamp, PerShare)>,
}

impl ActionHistory {
    /// Builds the history from the splits in force and the cash dividends; other actions are ignored.
    pub fn of_known<'a>(actions: impl IntoIterator<Item = &'a KnownAction>) -> Self {
        let mut history = Self::default();
        actions.into_iter().for_each(|known| history.push(known));
        history
    }

    /// Adds a split that is in force or a cash dividend, and ignores other actions.
    pub fn push(&mut self, known: &KnownAction) {
        if let Some(ratio) = known.ratio() {
            self.splits.push(known.effective_at, ratio);
        }
        if let CorporateActionKind::CashDividend { amount, .. } = &known.action.kind {
            self.dividends.push((known.effective_at, amount.clone()));
        }
    }

    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Converts a price to the shares that exist at `at`, and subtracts the dividends with ex-dates in between. A price
    /// newer than `at` is converted backward, and the dividends are added. Rounds half-even to the tick after the
    /// splits, and once more after all dividends.
    pub fn convert<T: LessDividends>(&self, traded: AsTraded<T>, at: Timestamp) -> T {
        let from = traded.at();
        let dividends = self.dividends_between(from, at, at);
        let value = self.splits.convert(traded, at);
        match dividends {
            Some(dividends) => value.less(&dividends),
            None => value,
        }
    }

    /// Converts a quote as [`ActionHistory::convert`] does. Its previous close is chosen so that `price − previous_close`, plus
    /// the dividends since `today`, is the change since the market's close at `today`:
    ///
    /// - The source's previous close, the close at `previous_close_at`, less the dividends until `today`.
    /// - For a quote that is not newer than `today`, the quote's own price less the dividends until `today`: the stock has not
    ///   traded since that close.
    pub fn convert_quote(
        &self,
        traded: AsTraded<Quote>,
        at: Timestamp,
        previous_close_at: Timestamp,
        today: Timestamp,
    ) -> Quote {
        let previous_close = match traded.at() <= today {
            true => {
                let price = AsTraded::new(traded.as_traded().price.clone(), traded.at());
                Some(self.without_dividends(price, at, traded.at(), today))
            }
            false => traded.as_traded().previous_close.clone().map(|close| {
                let close = AsTraded::new(close, traded.at());
                self.without_dividends(close, at, previous_close_at, today)
            }),
        };
        Quote { previous_close, ..self.convert(traded, at) }
    }

    /// Converts a price to the shares that exist at `at`, less the dividends after `from` and until `until`.
    fn without_dividends(
        &self,
        traded: AsTraded<Price>,
        at: Timestamp,
        from: Timestamp,
        until: Timestamp,
    ) -> Price {
        let price = self.splits.convert(traded, at);
        match self.dividends_between(from, until.max(from), at) {
            Some(dividends) => price.less(&dividends),
            None => price,
        }
    }

    /// The sum of the dividends that take effect after `from` and until `until`, per share that exists at `at`. Negative when
    /// `until` is before `from`; `None` without a dividend.
    fn dividends_between(&self, from: Timestamp, until: Timestamp, at: Timestamp) -> Option<UnroundedPrice> {
        let (first, last) = (from.min(until), from.max(until));
        let between = self.dividends.iter().filter(|(effective, _)| first < *effective && *effective <= last);
        // A dividend is paid per share that exists after the splits of the same opening.
        let in_shares = |(effective, amount): &(Timestamp, PerShare)| {
            self.splits.convert(AsTraded::new(UnroundedPrice::from(amount), *effective), at)
        };
        let sum = between.map(in_shares).reduce(|sum, next| sum.plus(&next))?;
        Some(if until < from { sum.negated() } else { sum })
    }
}

/// A value that falls by the dividend on its ex-date.
pub trait LessDividends: ShareBased {
    /// Subtracts `dividends`, an amount per share.
    #[must_use]
    fn less(self, dividends: &UnroundedPrice) -> Self;
}

impl LessDividends for Price {
    /// Rounds half-even to the tick. If the dividends reach or exceed the price, the result is the smallest tick.
    fn less(self, dividends: &UnroundedPrice) -> Self {
        dividends.below(&self)
    }
}

impl LessDividends for Quote {
    /// Changes the last price, the bid and the ask, but not the previous close.
    fn less(self, dividends: &UnroundedPrice) -> Self {
        let less = |price: Option<Price>| price.map(|price| price.less(dividends));
        Self { price: self.price.less(dividends), bid: less(self.bid), ask: less(self.ask), ..self }
    }
}

impl LessDividends for Bar {
    fn less(self, dividends: &UnroundedPrice) -> Self {
        let less = |price: Price| price.less(dividends);
        let Self { open, high, low, close, .. } = self;
        Self { open: less(open), high: less(high), low: less(low), close: less(close), ..self }
    }
}

impl LessDividends for PriceMove {
    fn less(self, dividends: &UnroundedPrice) -> Self {
        Self { quote: self.quote.less(dividends), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CorporateAction, Freshness, PriceSource, StockId};

    /// The time this many hours after an arbitrary opening.
    fn hour(hours: i64) -> Timestamp {
        let opening: chrono::DateTime<chrono::Utc> = "2026-11-23T14:30:00Z".parse().unwrap();
        Timestamp::from(opening) + chrono::TimeDelta::hours(hours)
    }

    fn known(at: Timestamp, kind: CorporateActionKind) -> KnownAction {
        let ex_on = "2026-11-23".parse().unwrap();
        KnownAction {
            id: crate::ActionId(1),
            stock_id: StockId(1),
            action: CorporateAction::new("KO".parse().unwrap(), ex_on, kind),
            effective_at: at,
            pays_at: None,
            known_at: hour(-100),
            applied_at: None,
            check: None,
            reversed_at: None,
        }
    }

    fn history(splits: &[(i64, &str)], dividends: &[(i64, i64)]) -> ActionHistory {
        let mut history = ActionHistory::default();
        for (at, ratio) in splits {
            history.splits.push(hour(*at), ratio.parse().unwrap());
        }
        for (at, cents) in dividends {
            let amount = PerShare::from_scaled(*cents, 2).unwrap();
            let pays_on = "2026-12-11".parse().unwrap();
            history.push(&known(hour(*at), CorporateActionKind::CashDividend { amount, pays_on }));
        }
        history
    }

    fn price(text: &str) -> Price {
        text.parse().unwrap()
    }

    #[test]
    fn an_earlier_price_is_converted_to_new_shares_less_the_dividends_since() {
        for (name, history, text, from, to, expected) in [
            ("no dividend between", history(&[], &[(0, 100)]), "103.00", 0, 5, "103.00"),
            ("a dividend", history(&[], &[(0, 100)]), "103.00", -1, 0, "102.00"),
            ("not effective yet", history(&[], &[(0, 100)]), "103.00", -2, -1, "103.00"),
            ("two dividends", history(&[], &[(0, 100), (24, 25)]), "103.00", -1, 24, "101.75"),
            ("a split of the same opening", history(&[(0, "2:1")], &[(0, 50)]), "103.00", -1, 0, "51.00"),
            ("a split after it", history(&[(24, "2:1")], &[(0, 100)]), "103.00", -1, 24, "51.00"),
            ("backward", history(&[], &[(0, 100)]), "102.00", 0, -1, "103.00"),
            ("backward over a split", history(&[(0, "2:1")], &[(0, 50)]), "51.00", 1, -1, "103.00"),
            ("more than the price", history(&[], &[(0, 10_300)]), "103.00", -1, 0, "0.0001"),
            ("down to less than a dollar", history(&[], &[(0, 10_250)]), "103.00", -1, 0, "0.5000"),
        ] {
            let traded = AsTraded::new(price(text), hour(from));
            assert_eq!(history.convert(traded, hour(to)), price(expected), "{name}");
        }
    }

    #[test]
    fn fractions_of_a_cent_are_rounded_half_even_once() {
        let mut history = ActionHistory::default();
        for _ in 0..3 {
            let amount = PerShare::from_scaled(2_425, 4).unwrap();
            let pays_on = "2026-12-11".parse().unwrap();
            history.push(&known(hour(0), CorporateActionKind::CashDividend { amount, pays_on }));
        }
        // 103.00 − 3 × 0.2425 = 102.2725. Rounding after each dividend would give 102.28.
        assert_eq!(history.convert(AsTraded::new(price("103.00"), hour(-1)), hour(0)), price("102.27"));
    }

    #[test]
    fn the_day_change_counts_only_dividends_since_the_previous_close() {
        let history = history(&[], &[(0, 100)]);
        let quote = Quote {
            symbol: "KO".parse().unwrap(),
            price: price("103.00"),
            bid: Some(price("102.90")),
            ask: Some(price("103.10")),
            previous_close: Some(price("104.00")),
            volume: Some(1_001),
            as_of: hour(-1),
            source: PriceSource::from("test"),
            freshness: Freshness::EndOfDay,
            stale: false,
        };
        let converted = |as_of: i64, at: i64, [previous_close_at, today]: [i64; 2]| {
            let quote = Quote { as_of: hour(as_of), ..quote.clone() };
            let quote = history.convert_quote(quote.into(), hour(at), hour(previous_close_at), hour(today));
            [Some(quote.price), quote.bid, quote.ask, quote.previous_close]
                .map(|price| price.unwrap().to_string())
        };
        assert_eq!(converted(-1, -1, [-89, -89]), ["103.00", "102.90", "103.10", "104.00"], "before");
        assert_eq!(converted(-66, 2, [-89, -66]), ["102.00", "101.90", "102.10", "103.00"], "on the ex date");
        assert_eq!(
            converted(-65, 2, [-89, -66]),
            ["102.00", "101.90", "102.10", "104.00"],
            "a price after the previous close"
        );
        assert_eq!(converted(-66, 25, [-89, 6]), ["102.00", "101.90", "102.10", "102.00"], "a session later");
        assert_eq!(
            converted(6, 25, [-66, 6]),
            ["103.00", "102.90", "103.10", "103.00"],
            "a price of the ex date"
        );
    }
}
