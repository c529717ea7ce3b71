//! Share bases: the shares in which a price, a volume or a bar is expressed.
//!
//! A split changes the meaning of one share. A value that a source reports is expressed in the shares of its own market
//! time. [`AsTraded`] marks such a value, and [`SplitHistory::convert`] is the only way to express it in the shares of
//! another time. The conversion consumes the mark, so a value is never converted twice and never used unconverted.

use bigdecimal::{BigDecimal, RoundingMode};
use chrono::{Days, NaiveDate};

use crate::decimal::Decimal;
use crate::{
    Bar, Calendar, CorporateAction, KnownAction, PerShare, Price, PriceMove, Quote, SplitRatio, Timestamp,
};

/// A value in the shares that existed at its market time, as its source reported it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AsTraded<T> {
    value: T,
    at: Timestamp,
}

impl<T> AsTraded<T> {
    /// `at` is the market time of the value.
    pub fn new(value: T, at: Timestamp) -> Self {
        Self { value, at }
    }

    /// The unconverted value, to store it or to read properties that a split does not change, such as its time.
    pub fn as_traded(&self) -> &T {
        &self.value
    }

    /// The unconverted value.
    pub fn into_as_traded(self) -> T {
        self.value
    }

    /// The market time whose shares the value is expressed in.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// Changes properties that a split does not change, such as whether a quote is stale.
    pub fn map(self, change: impl FnOnce(T) -> T) -> Self {
        Self { value: change(self.value), at: self.at }
    }
}

impl From<Quote> for AsTraded<Quote> {
    fn from(quote: Quote) -> Self {
        let at = quote.as_of;
        Self::new(quote, at)
    }
}

impl From<PriceMove> for AsTraded<PriceMove> {
    fn from(price_move: PriceMove) -> Self {
        let at = price_move.quote.as_of;
        Self::new(price_move, at)
    }
}

/// The market time whose share basis a session has: its opening, when splits take effect. For a day without a session,
/// the opening of the previous session.
pub fn session_basis(calendar: Calendar, day: NaiveDate) -> Timestamp {
    calendar.before(day + Days::new(1)).opens_at
}

/// The splits of one stock, each with the time at which it takes effect.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SplitHistory(Vec<(Timestamp, SplitRatio)>);

impl SplitHistory {
    /// Collects the splits in force from the known actions of one stock; other actions are ignored.
    pub fn of_known<'a>(actions: impl IntoIterator<Item = &'a KnownAction>) -> Self {
        let splits = actions.into_iter().filter_map(|known| Some((known.effective_at, known.ratio()?)));
        Self(splits.collect())
    }

    /// Collects the splits from announced actions of one stock; other actions are ignored.
    pub fn of_actions<'a>(
        actions: impl IntoIterator<Item = &'a CorporateAction>,
        calendar: Calendar,
    ) -> Self {
        let splits = actions.into_iter().filter_map(|action| {
            let ratio = action.ratio()?;
            Some((action.effective_at(calendar), ratio))
        });
        Self(splits.collect())
    }

    pub fn push(&mut self, effective_at: Timestamp, ratio: SplitRatio) {
        self.0.push((effective_at, ratio));
    }

    /// Returns the splits, except those that take effect at the same time as one of `others`.
    #[must_use]
    pub fn without(&self, others: &Self) -> Self {
        let is_other = |at: &Timestamp| others.0.iter().any(|(effective, _)| effective == at);
        Self(self.0.iter().filter(|(effective, _)| !is_other(effective)).copied().collect())
    }

    /// Converts the bars of a source that reports old prices in the shares after these splits, but does not report the
    /// splits: each bar is converted to the shares of its own session. If the reported prices jump at a split by its
    /// ratio, they do not contain the split, so it is ignored.
    pub fn in_traded_shares(&self, mut bars: Vec<Bar>, calendar: Calendar) -> Vec<Bar> {
        for split @ (effective, _) in &self.0 {
            let alone = Self(vec![*split]);
            let first_after = bars.partition_point(|bar| session_basis(calendar, bar.date) < *effective);
            let (Some(before), Some(after)) = (first_after.checked_sub(1), bars.get(first_after)) else {
                continue;
            };
            let close = &bars[before].close;
            let basis = session_basis(calendar, bars[before].date);
            let expected = alone.convert(AsTraded::new(close.clone(), basis), *effective);
            let distance = |from: &Price| (after.close.to_f64() / from.to_f64()).ln().abs();
            if distance(&expected) <= distance(close) {
                continue;
            }
            for bar in &mut bars[..first_after] {
                let basis = session_basis(calendar, bar.date);
                *bar = alone.convert(AsTraded::new(bar.clone(), *effective), basis);
            }
        }
        bars
    }

    /// Expresses a value in the shares that exist at `at`. The splits between its market time and `at` are multiplied
    /// first and rounded once; a value newer than `at` is converted backward.
    pub fn convert<T: ShareBased>(&self, traded: AsTraded<T>, at: Timestamp) -> T {
        let AsTraded { value, at: from } = traded;
        let mut factor = ShareFactor::one();
        let (first, last) = (from.min(at), from.max(at));
        for (_, ratio) in self.0.iter().filter(|(effective, _)| first < *effective && *effective <= last) {
            factor = factor.then(*ratio);
        }
        if at < from {
            factor = factor.inverse();
        }
        if factor.is_one() { value } else { value.times(&factor) }
    }

    /// Converts daily bars, each as traded in its session, to the shares that exist at `at`, so that a chart does not
    /// fall at a split. Prices are rounded half-even to the tick, volumes down to whole shares. Dividends are not
    /// subtracted.
    pub fn convert_bars(&self, bars: Vec<Bar>, calendar: Calendar, at: Timestamp) -> Vec<Bar> {
        if self.0.is_empty() {
            return bars;
        }
        let convert = |bar: Bar| {
            let basis = session_basis(calendar, bar.date);
            self.convert(AsTraded::new(bar, basis), at)
        };
        bars.into_iter().map(convert).collect()
    }
}

/// The ratio of new shares to old shares.
#[derive(Debug, Clone)]
pub struct ShareFactor {
    new: Decimal,
    old: Decimal,
}

impl ShareFactor {
    fn one() -> Self {
        Self { new: Decimal::whole(1), old: Decimal::whole(1) }
    }

    fn then(self, ratio: SplitRatio) -> Self {
        Self {
            new: &self.new * &ratio.numerator.get().into(),
            old: &self.old * &ratio.denominator.get().into(),
        }
    }

    fn inverse(self) -> Self {
        Self { new: self.old, old: self.new }
    }

    fn is_one(&self) -> bool {
        self.new == self.old
    }
}

/// A value that a split changes.
pub trait ShareBased {
    /// The value in the shares after `factor`.
    #[must_use]
    fn times(self, factor: &ShareFactor) -> Self;
}

impl ShareBased for Price {
    /// Rounds half-even to the tick. A price below the smallest tick becomes that tick; a result above the largest
    /// price leaves the price unchanged.
    fn times(self, factor: &ShareFactor) -> Self {
        let quotient = |mode| Self::quotient(&(&self.0 * &factor.old), &factor.new, mode).checked().ok();
        quotient(RoundingMode::HalfEven).or_else(|| quotient(RoundingMode::Up)).unwrap_or(self)
    }
}

/// The number of decimals of an [`UnroundedPrice`] after a division.
const UNROUNDED_SCALE: i64 = 12;

/// A price, or an amount per share, that is not rounded to a tick. Some sources report old prices in today's shares;
/// the traded price is exact only if it is rounded after the conversion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnroundedPrice(Decimal);

impl UnroundedPrice {
    pub fn new(exact: BigDecimal) -> Self {
        Self(exact.into())
    }

    /// Rounds half-even to `decimals` decimals.
    pub fn rounded(&self, decimals: i64) -> BigDecimal {
        self.0.half_even(decimals).big().into_owned()
    }

    pub(crate) fn plus(&self, other: &Self) -> Self {
        Self(&self.0 + &other.0)
    }

    pub(crate) fn negated(&self) -> Self {
        Self(&Decimal::ZERO - &self.0)
    }

    /// `price − self`, rounded half-even to the tick: the smallest tick if the result is not above zero, and `price`
    /// if the result is beyond the largest price.
    pub(crate) fn below(&self, price: &Price) -> Price {
        let left = Price::half_even(&(&price.0 - &self.0));
        if left.0.is_positive() {
            left.checked().unwrap_or_else(|_| price.clone())
        } else {
            Price::from_scaled(1, 4)
        }
    }
}

impl From<&PerShare> for UnroundedPrice {
    fn from(amount: &PerShare) -> Self {
        Self(amount.0.clone())
    }
}

impl ShareBased for UnroundedPrice {
    /// Rounds half-even to twelve decimals.
    fn times(self, factor: &ShareFactor) -> Self {
        let dividend = &self.0 * &factor.old;
        Self(dividend.quotient(&factor.new, UNROUNDED_SCALE, RoundingMode::HalfEven))
    }
}

/// A number of traded shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TradedShares(pub u64);

impl ShareBased for TradedShares {
    /// Rounds down to whole shares.
    fn times(self, factor: &ShareFactor) -> Self {
        Self(volume(self.0, factor))
    }
}

/// Converts a volume; rounds down to whole shares.
fn volume(old: u64, factor: &ShareFactor) -> u64 {
    let exact = &Decimal::from(old) * &factor.new;
    exact.quotient(&factor.old, 0, RoundingMode::Down).to_u64().unwrap_or(u64::MAX)
}

impl ShareBased for Quote {
    fn times(self, factor: &ShareFactor) -> Self {
        let price = |price: Option<Price>| price.map(|price| price.times(factor));
        Self {
            price: self.price.times(factor),
            bid: price(self.bid),
            ask: price(self.ask),
            previous_close: price(self.previous_close),
            volume: self.volume.map(|shares| volume(shares, factor)),
            ..self
        }
    }
}

impl ShareBased for PriceMove {
    fn times(self, factor: &ShareFactor) -> Self {
        Self { quote: self.quote.times(factor), volume: self.volume.map(|shares| volume(shares, factor)) }
    }
}

impl ShareBased for Bar {
    fn times(self, factor: &ShareFactor) -> Self {
        Self {
            date: self.date,
            open: self.open.times(factor),
            high: self.high.times(factor),
            low: self.low.times(factor),
            close: self.close.times(factor),
            volume: volume(self.volume, factor),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CorporateActionKind, Freshness, PriceSource};

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn split(ex_on: &str, ratio: &str) -> CorporateAction {
        let SplitRatio { numerator, denominator } = ratio.parse().unwrap();
        let kind = CorporateActionKind::Split { numerator, denominator };
        CorporateAction::new("AAPL".parse().unwrap(), day(ex_on), kind)
    }

    fn bar(date: &str, [open, high, low, close]: [&str; 4], volume: u64) -> Bar {
        let price = |text: &str| text.parse().unwrap();
        Bar {
            date: day(date),
            open: price(open),
            high: price(high),
            low: price(low),
            close: price(close),
            volume,
        }
    }

    /// About noon of that day in New York: the session is open on both calendars.
    fn noon(date: &str) -> Timestamp {
        let at = day(date).and_hms_opt(17, 0, 0).unwrap().and_utc();
        at.into()
    }

    fn adjusted(bars: &[Bar], actions: &[CorporateAction], on: &str) -> Vec<Bar> {
        let history = SplitHistory::of_actions(actions, Calendar::Xnys);
        history.convert_bars(bars.to_vec(), Calendar::Xnys, noon(on))
    }

    fn quote(price: &str, at: Timestamp) -> AsTraded<Quote> {
        let price: Price = price.parse().unwrap();
        let quote = Quote {
            symbol: "AAPL".parse().unwrap(),
            bid: Some(price.clone()),
            ask: Some(price.clone()),
            previous_close: Some(price.clone()),
            price,
            volume: Some(1_001),
            as_of: at,
            source: PriceSource::from("test"),
            freshness: Freshness::EndOfDay,
            stale: false,
        };
        quote.into()
    }

    #[test]
    fn bars_before_a_split_are_converted_to_new_shares() {
        let raw = [
            bar("2020-08-28", ["504.05", "505.77", "498.31", "499.23"], 46_907_479),
            bar("2020-08-31", ["127.58", "131.00", "126.00", "129.04"], 225_702_700),
        ];
        let actions = [split("2020-08-31", "4:1")];
        let converted = adjusted(&raw, &actions, "2020-08-31");
        // 504.05 / 4 = 126.0125, 505.77 / 4 = 126.4425, 498.31 / 4 = 124.5775, 499.23 / 4 = 124.8075.
        assert_eq!(converted[0], bar("2020-08-28", ["126.01", "126.44", "124.58", "124.81"], 187_629_916));
        assert_eq!(converted[1], raw[1]);
        // Bars from before the split took effect are not converted.
        assert_eq!(adjusted(&raw[..1], &actions, "2020-08-28"), raw[..1]);
    }

    #[test]
    fn several_splits_are_rounded_once_and_dividends_are_ignored() {
        let raw = [bar("2014-06-06", ["10.01", "10.01", "10.01", "10.01"], 100)];
        let dividend = CorporateActionKind::CashDividend {
            amount: PerShare::from_scaled(1, 0).unwrap(),
            pays_on: day("2015-01-20"),
        };
        let actions = [
            split("2014-06-09", "3:1"),
            CorporateAction::new("AAPL".parse().unwrap(), day("2015-01-05"), dividend),
            split("2016-01-04", "1:2"),
            split("2017-01-03", "1:7"),
        ];
        // 10.01 × 14 / 3 = 46.71333; 100 × 3 / 14 = 21.4.
        let converted = adjusted(&raw, &actions, "2026-11-25");
        assert_eq!(converted, [bar("2014-06-06", ["46.71", "46.71", "46.71", "46.71"], 21)]);
    }

    #[test]
    fn a_split_and_its_reverse_change_nothing() {
        let raw = [bar("2014-06-06", ["0.0001", "9999999.99", "0.0001", "0.3333"], u64::MAX)];
        let actions = [split("2014-06-09", "3:1"), split("2016-01-04", "1:3")];
        assert_eq!(adjusted(&raw, &actions, "2026-11-25"), raw);
    }

    #[test]
    fn a_quote_is_converted_with_all_its_prices_and_its_volume() {
        let history = SplitHistory::of_actions(&[split("2026-11-23", "10:1")], Calendar::Xnys);
        let converted = history.convert(quote("90.40", noon("2026-11-20")), noon("2026-11-23"));
        let expected = Quote {
            volume: Some(10_010),
            as_of: noon("2026-11-20"),
            ..quote("9.04", noon("2026-11-23")).into_as_traded()
        };
        assert_eq!(converted, expected);
    }

    #[test]
    fn a_price_is_converted_forward_and_backward_over_the_splits_between() {
        let actions = [split("2026-11-23", "10:1"), split("2026-11-25", "1:4")];
        let history = SplitHistory::of_actions(&actions, Calendar::AroundTheClock);
        let price = |text: &str, from, to| {
            let traded = AsTraded::new(text.parse::<Price>().unwrap(), noon(from));
            history.convert(traded, noon(to)).to_string()
        };
        for (text, from, to, expected) in [
            ("90.40", "2026-11-22", "2026-11-22", "90.40"),
            ("90.40", "2026-11-22", "2026-11-23", "9.04"),
            ("90.40", "2026-11-22", "2026-11-26", "36.16"),
            ("9.04", "2026-11-24", "2026-11-25", "36.16"),
            ("9.04", "2026-11-24", "2026-11-22", "90.40"),
            ("36.16", "2026-11-26", "2026-11-22", "90.40"),
            ("36.16", "2026-11-26", "2026-11-24", "9.04"),
            // Below the smallest tick, and beyond the largest price.
            ("0.0004", "2026-11-22", "2026-11-23", "0.0001"),
            ("9999999.99", "2026-11-23", "2026-11-22", "9999999.99"),
        ] {
            assert_eq!(price(text, from, to), expected, "{text} from {from} to {to}");
        }
    }

    #[test]
    fn bars_reported_in_later_shares_are_converted_back() {
        let history = SplitHistory::of_actions(&[split("2026-11-23", "2:1")], Calendar::Xnys);
        let series = |before: &str| [bar("2026-11-20", [before; 4], 10), bar("2026-11-23", ["101.00"; 4], 7)];
        let traded = history.in_traded_shares(series("100.00").to_vec(), Calendar::Xnys);
        assert_eq!(traded, [bar("2026-11-20", ["200.00"; 4], 5), bar("2026-11-23", ["101.00"; 4], 7)]);
        for unchanged in
            [series("200.00").to_vec(), series("100.00")[..1].to_vec(), series("100.00")[1..].to_vec()]
        {
            assert_eq!(history.in_traded_shares(unchanged.clone(), Calendar::Xnys), unchanged);
        }
        assert_eq!(
            history.without(&history).in_traded_shares(series("100.00").to_vec(), Calendar::Xnys),
            series("100.00")
        );
    }

    #[test]
    fn a_price_reported_in_todays_shares_is_restored_exactly() {
        // Closes before splits as traded, and as sources with binary floats report them today.
        for (ratio, reported, traded) in [
            ("4:1", "124.80750274658203", "499.23"),
            ("3:2", "133.32667541503906", "199.99"),
            ("1:20", "6.200000286102295", "0.3100"),
            ("1281:1000", "156.1280288696289", "200.00"),
            ("224:1", "0.09933035820722580", "22.25"),
            ("1:1000", "12345.599609375", "12.35"),
        ] {
            let history = SplitHistory::of_actions(&[split("2020-08-31", ratio)], Calendar::Xnys);
            let exact = UnroundedPrice::new(reported.parse().unwrap());
            let on = session_basis(Calendar::Xnys, day("2020-08-28"));
            let converted = history.convert(AsTraded::new(exact, noon("2026-11-20")), on);
            assert_eq!(Price::rounded(&converted.rounded(4)).to_string(), traded, "{ratio} {reported}");
        }
        let history = SplitHistory::of_actions(&[split("2020-08-31", "4:1")], Calendar::Xnys);
        let shares = AsTraded::new(TradedShares(187_629_916), noon("2026-11-20"));
        let on = session_basis(Calendar::Xnys, day("2020-08-28"));
        assert_eq!(history.convert(shares, on), TradedShares(46_907_479));
    }

    #[test]
    fn a_price_at_the_opening_is_in_the_new_shares() {
        let history = SplitHistory::of_actions(&[split("2026-11-23", "10:1")], Calendar::AroundTheClock);
        let opening = Calendar::AroundTheClock.session(day("2026-11-23")).unwrap().opens_at;
        let converted = history.convert(quote("9.04", opening), noon("2026-11-23"));
        assert_eq!(converted.price.to_string(), "9.04");
        let before = history.convert(quote("90.40", opening - chrono::TimeDelta::microseconds(1)), opening);
        assert_eq!(before.price.to_string(), "9.04");
    }
}
