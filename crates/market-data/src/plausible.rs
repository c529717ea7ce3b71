//! Checks the values of a source before they are used.

use bigdecimal::BigDecimal;
use chrono::{DateTime, Datelike, NaiveDate, TimeDelta, Utc};
use domain::calendar::exchange_date;
use domain::plausibility::{is_near, is_unit_slip};
use domain::{Bar, Calendar, Price, Session, Symbol};

use crate::QuoteError;
use crate::corporate::Split;
use crate::source::DailySeries;

/// How far a provider's clock may be ahead of this server's, because answers take time and clocks differ.
const CLOCK_MARGIN: TimeDelta = TimeDelta::minutes(1);
/// How far the newest price may be outside the day's low and high, which a source may update later. A ratio.
const RANGE_LAG: f64 = 0.01;
/// The first year of any series.
const FIRST_YEAR: i32 = 1960;

pub(crate) fn unusable(what: &str) -> QuoteError {
    QuoteError::Upstream(what.to_owned())
}

/// The reported prices of a day. Each may be missing, and they may contradict each other.
#[derive(Debug, Clone, Default)]
pub(crate) struct DayFields {
    pub(crate) open: Option<Price>,
    pub(crate) high: Option<Price>,
    pub(crate) low: Option<Price>,
    /// The close, or the newest price of the current session.
    pub(crate) close: Option<Price>,
}

/// The prices of a day; `low` is the smallest and `high` the largest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DayPrices {
    pub(crate) open: Price,
    pub(crate) high: Price,
    pub(crate) low: Price,
    pub(crate) close: Price,
}

impl DayFields {
    /// Checks each field. The close is authoritative: low and high are widened to include it if they miss it by up to 1
    /// %, because sources update them a little later. An open outside of them becomes the nearer one. Missing fields
    /// are filled from the others.
    ///
    /// # Errors
    /// [`QuoteError::Upstream`] without a close, and if the close is further away from low and high, because it is
    /// unknown which of them is wrong. If the open agrees with the close, low and high are wrong.
    pub(crate) fn settled(self) -> Result<DayPrices, QuoteError> {
        let Self { open, mut high, mut low, close } = self;
        let close = close.ok_or_else(|| unusable("an invalid price"))?;
        if low.as_ref().zip(high.as_ref()).is_some_and(|(low, high)| low > high) {
            (low, high) = (None, None);
        }
        let misses = |price: &Price, by: f64| {
            let above = high.as_ref().and_then(|high| price.change_ratio(high)).is_some_and(|over| over > by);
            let below = low.as_ref().and_then(|low| price.change_ratio(low)).is_some_and(|under| under < -by);
            above || below
        };
        if misses(&close, RANGE_LAG) {
            let open = open.as_ref().filter(|open| misses(open, RANGE_LAG) && !jumps(open, &close));
            if open.is_none() {
                return Err(unusable("a price outside the day's low and high"));
            }
            (low, high) = (None, None);
        }
        // Without a low and a high the open is used if it is near the close.
        let near_open = || open.clone().filter(|open| !jumps(open, &close)).unwrap_or_else(|| close.clone());
        let low = low.unwrap_or_else(near_open).min(close.clone());
        let high = high.unwrap_or_else(near_open).max(close.clone());
        let open = open.unwrap_or_else(|| close.clone()).clamp(low.clone(), high.clone());
        Ok(DayPrices { open, high, low, close })
    }
}

/// The exchange's session of that day, if there is one and it has already opened.
pub(crate) fn past_session(date: NaiveDate, now: DateTime<Utc>) -> Option<Session> {
    if date.year() < FIRST_YEAR || date > exchange_date(now.into()) {
        return None;
    }
    Calendar::Xnys.session(date).filter(|session| session.opens_at <= now.into())
}

/// The session of a price that is dated on that day.
///
/// # Errors
/// [`QuoteError::ClockAhead`] if that session has not opened yet by the server's clock; [`QuoteError::Upstream`] if the
/// day has no session.
pub(crate) fn session_of_price(date: NaiveDate, now: DateTime<Utc>) -> Result<Session, QuoteError> {
    let session = session_on(date)?;
    check_clock(session.opens_at.utc(), now)?;
    Ok(session)
}

/// The time of a price, limited to the server's time: the clock of the provider may be a few seconds ahead.
///
/// # Errors
/// [`QuoteError::ClockAhead`] if it is later than the server's time; [`QuoteError::Upstream`] if there is no trading at
/// that time.
pub(crate) fn time_of_price(as_of: DateTime<Utc>, now: DateTime<Utc>) -> Result<DateTime<Utc>, QuoteError> {
    let session = session_on(exchange_date(as_of.into()))?;
    if as_of < session.opens_at.utc() {
        return Err(unusable("a price of a time without trading"));
    }
    check_clock(as_of, now)?;
    Ok(as_of.min(now))
}

fn session_on(date: NaiveDate) -> Result<Session, QuoteError> {
    let date = Some(date).filter(|date| date.year() >= FIRST_YEAR);
    let session = date.and_then(|date| Calendar::Xnys.session(date));
    session.ok_or_else(|| unusable("a price of a day without trading"))
}

fn check_clock(at: DateTime<Utc>, now: DateTime<Utc>) -> Result<(), QuoteError> {
    match at > now + CLOCK_MARGIN {
        true => Err(QuoteError::ClockAhead { by: at - now }),
        false => Ok(()),
    }
}

/// Whether a price has moved too far since `before` to be accepted without an explanation.
pub(crate) fn jumps(before: &Price, price: &Price) -> bool {
    !is_near(before, price)
}

/// Converts a price of the day `from` to the shares of the day `to`: divided by the splits that took effect after
/// `from`, up to `to`.
pub(crate) fn in_shares_of(price: &Price, from: NaiveDate, to: NaiveDate, splits: &[Split]) -> Price {
    let between = splits.iter().filter(|split| from < split.effective_on && split.effective_on <= to);
    let (numerators, denominators) = between
        .fold((BigDecimal::from(1), BigDecimal::from(1)), |product, split| {
            (product.0 * split.numerator, product.1 * split.denominator)
        });
    match price.to_string().parse::<BigDecimal>() {
        Ok(exact) if numerators != denominators => Price::rounded(&(exact * denominators / numerators)),
        _ => price.clone(),
    }
}

/// Whether splits are needed to judge the bars: the newest bar has jumped, or another bar looks like a price in another
/// unit, and none of the given splits explains it.
pub(crate) fn needs_splits(bars: &[Bar], splits: &[Split]) -> bool {
    let jumped = |pair: &[Bar]| matches!(pair, [before, bar] if !follows(before, bar, splits));
    let slipped = |pair: &[Bar]| jumped(pair) && is_unit_slip(&pair[0].close, &pair[1].close);
    bars.len().checked_sub(2).is_some_and(|at| jumped(&bars[at..])) || bars.windows(2).any(slipped)
}

/// Removes bars that jump away from the previous bar and are not confirmed by the next one: a mistake lasts for a day,
/// a new price stays. A price in another unit is confirmed only by a split, however long it lasts. The newest bar has
/// no next one: if it jumps, it is returned separately as doubtful. `bars` are sorted by date.
pub(crate) fn without_lone_jumps(symbol: &Symbol, bars: Vec<Bar>, splits: &[Split]) -> DailySeries {
    let mut kept = sound_bars(&bars, splits);
    // The first bars may be in the wrong unit; then the others are right.
    if kept.len() * 2 < bars.len() {
        let backwards: Vec<Bar> = bars.iter().rev().cloned().collect();
        let mut others: Vec<usize> =
            sound_bars(&backwards, splits).into_iter().map(|at| bars.len() - 1 - at).collect();
        others.reverse();
        if others.len() > kept.len() {
            kept = others;
        }
    }
    if kept.len() == bars.len() {
        return DailySeries { bars, doubtful: None };
    }
    let newest = bars.len() - 1;
    let mut series = DailySeries::default();
    for (at, bar) in bars.into_iter().enumerate() {
        if kept.binary_search(&at).is_ok() {
            series.bars.push(bar);
            continue;
        }
        tracing::warn!(symbol = symbol.as_str(), date = %bar.date, "skipped a bar with a price jump");
        if at == newest {
            series.doubtful = Some(bar);
        }
    }
    series
}

/// The indices of the accepted bars, in order.
fn sound_bars(bars: &[Bar], splits: &[Split]) -> Vec<usize> {
    let agrees = |at: usize| match (bars.get(at), bars.get(at + 1)) {
        (Some(bar), Some(next)) => follows_either_way(bar, next, splits),
        _ => false,
    };
    let mut kept: Vec<usize> = Vec::with_capacity(bars.len());
    // Whether the previous bar is in another unit. Then the bars that follow it are too, however far they drift.
    let mut is_slipped = false;
    for (at, bar) in bars.iter().enumerate() {
        let sound = match kept.last().map(|last| &bars[*last]) {
            Some(last) if follows_either_way(last, bar, splits) => true,
            Some(last) => {
                is_slipped = is_unit_slip(&last.close, &bar.close)
                    || (is_slipped && follows_either_way(&bars[at - 1], bar, splits));
                !is_slipped && agrees(at)
            }
            // The first bar has no previous one: it is wrong if the next two agree with each other and not with it.
            None => agrees(at) || !agrees(at + 1),
        };
        if sound {
            is_slipped = false;
            kept.push(at);
        }
    }
    kept
}

/// [`follows`], in either order of time.
fn follows_either_way(one: &Bar, other: &Bar, splits: &[Split]) -> bool {
    match one.date <= other.date {
        true => follows(one, other, splits),
        false => follows(other, one, splits),
    }
}

fn follows(before: &Bar, bar: &Bar, splits: &[Split]) -> bool {
    !jumps(&before.close, &bar.close)
        || !jumps(&in_shares_of(&before.close, before.date, bar.date, splits), &bar.close)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn price(text: &str) -> Price {
        text.parse().unwrap()
    }

    /// Bars of successive days from 2 November on, with these closes.
    fn series(closes: &[&str]) -> Vec<Bar> {
        let days = day("2026-11-02").iter_days();
        let bar = |(date, close): (NaiveDate, &&str)| Bar {
            date,
            open: price(close),
            high: price(close),
            low: price(close),
            close: price(close),
            volume: 1,
        };
        days.zip(closes).map(bar).collect()
    }

    fn kept(closes: &[&str], splits: &[Split]) -> Vec<String> {
        let symbol = "AAPL".parse().unwrap();
        let kept = without_lone_jumps(&symbol, series(closes), splits).bars;
        kept.into_iter().map(|bar| bar.close.to_string()).collect()
    }

    fn ten_for_one(on: &str) -> Split {
        Split::new(day(on), 10, 1).unwrap()
    }

    #[test]
    fn a_move_above_forty_percent_is_a_jump() {
        let jumped = |before, after| jumps(&price(before), &price(after));
        assert!(!jumped("100.00", "140.00") && jumped("100.00", "140.01"));
        assert!(!jumped("100.00", "60.00") && jumped("100.00", "59.99"));
        assert!(jumped("100.00", "500.00"));
    }

    #[test]
    fn a_mistake_of_one_day_is_removed_and_a_new_level_stays() {
        assert_eq!(kept(&["100.00", "500.00", "101.00"], &[]), ["100.00", "101.00"]);
        assert_eq!(kept(&["100.00", "0.01", "99.00", "98.00"], &[]), ["100.00", "99.00", "98.00"]);
        let moved = ["101.00", "100.00", "160.00", "158.00", "161.00"];
        assert_eq!(kept(&moved, &[]), moved);
        let halved_twice = ["100.00", "101.00", "50.00", "49.00", "24.00", "25.00"];
        assert_eq!(kept(&halved_twice, &[]), halved_twice);
    }

    #[test]
    fn a_jump_at_the_end_is_held_back_until_a_split_explains_it() {
        let closes = ["1200.00", "1208.88", "121.79"];
        assert!(needs_splits(&series(&closes), &[]));
        let symbol = "AAPL".parse().unwrap();
        let doubtful = without_lone_jumps(&symbol, series(&closes), &[]).doubtful;
        assert_eq!(doubtful.map(|bar| bar.close.to_string()).as_deref(), Some("121.79"));
        assert_eq!(kept(&closes, &[]), ["1200.00", "1208.88"]);
        let split = [ten_for_one("2026-11-04")];
        assert!(!needs_splits(&series(&closes), &split));
        assert_eq!(kept(&closes, &split), closes);
        for elsewhen in ["2026-11-03", "2026-11-05"] {
            assert_eq!(kept(&closes, &[ten_for_one(elsewhen)]).len(), 2, "{elsewhen}");
        }
    }

    #[test]
    fn a_price_in_another_unit_is_removed_however_long_it_lasts() {
        let cents = ["100.00", "101.00", "102.00", "10200.00", "10150.00"];
        assert!(needs_splits(&series(&cents), &[]));
        assert_eq!(kept(&cents, &[]), ["100.00", "101.00", "102.00"]);
        assert_eq!(
            kept(&["100.00", "101.00", "1010.00", "1000.00", "99.00", "98.00"], &[]),
            ["100.00", "101.00", "99.00", "98.00"]
        );
        // The first bars may be in the wrong unit.
        assert_eq!(
            kept(&["1000.00", "1010.00", "101.00", "100.00", "99.00", "98.00"], &[]),
            ["101.00", "100.00", "99.00", "98.00"]
        );
        // A reverse split explains it.
        let reverse = [Split::new(day("2026-11-04"), 1, 10).unwrap()];
        let consolidated = ["10.00", "10.10", "101.00", "100.00"];
        assert!(!needs_splits(&series(&consolidated), &reverse));
        assert_eq!(kept(&consolidated, &reverse), consolidated);
    }

    #[test]
    fn the_first_bar_is_removed_if_the_next_two_contradict_it() {
        assert_eq!(kept(&["9000.00", "100.00", "101.00"], &[]), ["100.00", "101.00"]);
        assert_eq!(kept(&["100.00", "9000.00"], &[]), ["100.00"]);
        assert_eq!(kept(&["100.00"], &[]), ["100.00"]);
        assert!(kept(&[], &[]).is_empty());
    }

    #[test]
    fn a_price_is_converted_to_later_shares() {
        let (friday, monday) = (day("2024-06-07"), day("2024-06-10"));
        let splits = [ten_for_one("2024-06-10"), ten_for_one("2021-07-20")];
        assert_eq!(in_shares_of(&price("1208.88"), friday, monday, &splits), price("120.89"));
        assert_eq!(in_shares_of(&price("121.79"), monday, monday, &splits), price("121.79"));
        let reverse = [Split::new(monday, 1, 20).unwrap()];
        assert_eq!(in_shares_of(&price("0.31"), friday, monday, &reverse), price("6.20"));
    }

    fn settled(fields: [&str; 4]) -> Option<[String; 4]> {
        let [open, high, low, close] = fields.map(|text| Price::from_provider(text).ok());
        let DayPrices { open, high, low, close } = DayFields { open, high, low, close }.settled().ok()?;
        Some([open, high, low, close].map(|price| price.to_string()))
    }

    #[test]
    fn each_price_of_a_day_is_judged_separately() {
        for (fields, expected) in [
            // Open, high, low, close.
            (["10.00", "12.00", "9.00", "11.00"], ["10.00", "12.00", "9.00", "11.00"]),
            // The high or the low is updated late.
            (["257.00", "259.40", "255.00", "259.41"], ["257.00", "259.41", "255.00", "259.41"]),
            (["257.00", "259.40", "255.00", "254.99"], ["257.00", "259.40", "254.99", "254.99"]),
            // An invalid open.
            (["9.99", "12.00", "10.00", "11.00"], ["10.00", "12.00", "10.00", "11.00"]),
            (["1100.00", "12.00", "10.00", "11.00"], ["12.00", "12.00", "10.00", "11.00"]),
            // Missing fields.
            (["", "12.00", "9.00", "11.00"], ["11.00", "12.00", "9.00", "11.00"]),
            (["10.00", "", "9.00", "11.00"], ["10.00", "11.00", "9.00", "11.00"]),
            (["10.00", "0", "None", "11.00"], ["10.00", "11.00", "10.00", "11.00"]),
            (["", "", "", "11.00"], ["11.00", "11.00", "11.00", "11.00"]),
            (["1.00", "", "", "11.00"], ["11.00", "11.00", "11.00", "11.00"]),
            // Low and high contradict each other, or open and close together.
            (["10.00", "9.00", "12.00", "11.00"], ["10.00", "11.00", "10.00", "11.00"]),
            (["10.00", "1.20", "0.90", "11.00"], ["10.00", "11.00", "10.00", "11.00"]),
        ] {
            assert_eq!(settled(fields), Some(expected.map(str::to_owned)), "{fields:?}");
        }
    }

    #[test]
    fn a_close_that_the_other_prices_contradict_is_rejected() {
        for fields in [
            ["10.00", "12.00", "9.00", "12.13"],
            ["10.00", "12.00", "9.00", "8.90"],
            ["10.00", "12.00", "9.00", "110.00"],
            ["", "12.00", "9.00", "110.00"],
            ["10.00", "12.00", "9.00", ""],
            ["10.00", "12.00", "9.00", "-11.00"],
        ] {
            assert_eq!(settled(fields), None, "{fields:?}");
        }
    }

    proptest! {
        /// For any input a bar is consistent and keeps the close, and consistent fields are unchanged.
        #[test]
        fn a_settled_day_is_consistent(cents in prop::array::uniform4(prop::option::of(1_i64..3_000))) {
            let [open, high, low, close] = cents.map(|cents| cents.map(|cents| Price::from_scaled(cents, 2)));
            let fields = DayFields { open, high, low, close };
            if let Ok(day) = fields.clone().settled() {
                prop_assert_eq!(Some(&day.close), fields.close.as_ref());
                for price in [&day.open, &day.close] {
                    prop_assert!(&day.low <= price && price <= &day.high);
                }
            }
            let [a, b, c, d] = cents.map(|cents| Price::from_scaled(cents.unwrap_or(1), 2));
            let (low, high) = ([&a, &b, &c, &d].into_iter().min().cloned(), [&a, &b, &c, &d].into_iter().max().cloned());
            let sound = DayFields { open: Some(a.clone()), high: high.clone(), low: low.clone(), close: Some(b.clone()) };
            let expected = DayPrices { open: a, high: high.unwrap(), low: low.unwrap(), close: b };
            prop_assert_eq!(sound.settled(), Ok(expected));
        }
    }

    #[test]
    fn a_price_from_the_future_is_a_clock_error() {
        let now: DateTime<Utc> = "2026-11-20T15:00:00Z".parse().unwrap();
        let reported = |text: &str| time_of_price(text.parse().unwrap(), now);
        assert_eq!(reported("2026-11-20T14:59:00Z").unwrap().to_rfc3339(), "2026-11-20T14:59:00+00:00");
        // A difference of a minute is accepted.
        assert_eq!(reported("2026-11-20T15:01:00Z"), Ok(now));
        for (ahead, words) in [
            ("2026-11-20T15:01:01Z", "1 minute"),
            ("2026-11-20T15:02:40Z", "2 minutes"),
            ("2026-11-20T20:00:00Z", "5 hours"),
            ("2026-11-23T16:00:00Z", "3 days"),
        ] {
            let error = reported(ahead).unwrap_err();
            assert!(matches!(error, QuoteError::ClockAhead { .. }), "{error:?}");
            let expected =
                format!("the price source's clock is {words} ahead of this server's: set the server's clock");
            assert_eq!(error.to_string(), expected);
        }
        for never in
            ["2026-11-20T14:29:59Z", "2026-11-21T16:00:00Z", "1959-12-31T16:00:00Z", "2026-11-28T16:00:00Z"]
        {
            assert!(matches!(reported(never), Err(QuoteError::Upstream(_))), "{never}");
        }
        let opens = "2026-11-23T14:30:00Z".parse::<DateTime<Utc>>().unwrap();
        assert!(session_of_price(day("2026-11-23"), opens - TimeDelta::seconds(60)).is_ok());
        let early = session_of_price(day("2026-11-23"), opens - TimeDelta::seconds(61));
        assert_eq!(early, Err(QuoteError::ClockAhead { by: TimeDelta::seconds(61) }));
    }

    #[test]
    fn only_sessions_that_have_opened_are_past() {
        let now: DateTime<Utc> = "2026-11-20T14:29:59Z".parse().unwrap();
        assert!(past_session(day("2026-11-20"), now).is_none());
        assert!(past_session(day("2026-11-20"), now + chrono::TimeDelta::seconds(1)).is_some());
        for never in ["2026-11-23", "2026-11-21", "1959-12-31", "2099-01-05"] {
            assert!(past_session(day(never), now).is_none(), "{never}");
        }
    }
}
