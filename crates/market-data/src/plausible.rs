//! What is believed of a source's values before anything is done with them.

use bigdecimal::BigDecimal;
use chrono::{DateTime, Datelike, NaiveDate, Utc};
use domain::calendar::exchange_date;
use domain::{Bar, Calendar, Price, Session, Symbol};

use crate::QuoteError;
use crate::corporate::Split;

/// A change from one close to the next beyond this, up or down, needs a split to be believed. A ratio.
const LARGEST_CHANGE: f64 = 0.40;
/// No series begins earlier.
const FIRST_YEAR: i32 = 1960;

pub(crate) fn unusable(what: &str) -> QuoteError {
    QuoteError::Upstream(what.to_owned())
}

/// The prices of a day, each between the low and the high.
pub(crate) struct DayPrices {
    pub(crate) open: Price,
    pub(crate) high: Price,
    pub(crate) low: Price,
    pub(crate) close: Price,
}

impl DayPrices {
    pub(crate) fn checked(self) -> Result<Self, QuoteError> {
        let range = &self.low..=&self.high;
        match range.contains(&&self.open) && range.contains(&&self.close) {
            true => Ok(self),
            false => Err(unusable("a price outside the day's low and high")),
        }
    }
}

/// The exchange's session of that day, unless there is none or it has not opened yet.
pub(crate) fn past_session(date: NaiveDate, now: DateTime<Utc>) -> Option<Session> {
    if date.year() < FIRST_YEAR || date > exchange_date(now.into()) {
        return None;
    }
    Calendar::Xnys.session(date).filter(|session| session.opens_at <= now.into())
}

/// Whether a price has changed more since `before` than is believed without a reason.
pub(crate) fn jumps(before: &Price, price: &Price) -> bool {
    price.change_ratio(before).is_none_or(|change| change.abs() > LARGEST_CHANGE)
}

/// What a price of `from` is in shares of `to`: divided by the splits that took effect after the one day and up
/// to the other.
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

/// Whether the newest bar has jumped and no split given explains it.
pub(crate) fn ends_in_a_jump(bars: &[Bar], splits: &[Split]) -> bool {
    matches!(bars, [.., before, newest] if !follows(before, newest, splits))
}

/// Leaves out bars that jump away from the bar before and are not borne out by the one after: a mistake lasts for
/// a day, a new price stays. The newest bar has none after it: a jump is held back there until one comes, or
/// until a split explains it. `bars` are sorted by date.
pub(crate) fn without_lone_jumps(symbol: &Symbol, bars: Vec<Bar>, splits: &[Split]) -> Vec<Bar> {
    let agrees = |at: usize| match (bars.get(at), bars.get(at + 1)) {
        (Some(bar), Some(next)) => follows(bar, next, splits),
        _ => false,
    };
    let mut kept: Vec<usize> = Vec::with_capacity(bars.len());
    for (at, bar) in bars.iter().enumerate() {
        let sound = match kept.last() {
            Some(last) => follows(&bars[*last], bar, splits) || agrees(at),
            // Nothing is before the first: it is out of place where the next two agree against it.
            None => agrees(at) || !agrees(at + 1),
        };
        if sound {
            kept.push(at);
        } else {
            tracing::warn!(symbol = symbol.as_str(), date = %bar.date, "held back a bar that jumps");
        }
    }
    if kept.len() == bars.len() {
        return bars;
    }
    bars.into_iter()
        .enumerate()
        .filter(|(at, _)| kept.binary_search(at).is_ok())
        .map(|(_, bar)| bar)
        .collect()
}

fn follows(before: &Bar, bar: &Bar, splits: &[Split]) -> bool {
    !jumps(&before.close, &bar.close)
        || !jumps(&in_shares_of(&before.close, before.date, bar.date, splits), &bar.close)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn price(text: &str) -> Price {
        text.parse().unwrap()
    }

    /// Bars of successive days from 2 November on with these closes.
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
        let kept = without_lone_jumps(&symbol, series(closes), splits);
        kept.into_iter().map(|bar| bar.close.to_string()).collect()
    }

    fn ten_for_one(on: &str) -> Split {
        Split::new(day(on), 10, 1).unwrap()
    }

    #[test]
    fn forty_percent_is_a_change_and_more_is_a_jump() {
        let jumped = |before, after| jumps(&price(before), &price(after));
        assert!(!jumped("100.00", "140.00") && jumped("100.00", "140.01"));
        assert!(!jumped("100.00", "60.00") && jumped("100.00", "59.99"));
        assert!(jumped("100.00", "500.00"));
    }

    #[test]
    fn a_mistake_of_one_day_is_left_out_and_a_new_level_stays() {
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
        assert!(ends_in_a_jump(&series(&closes), &[]));
        assert_eq!(kept(&closes, &[]), ["1200.00", "1208.88"]);
        let split = [ten_for_one("2026-11-04")];
        assert!(!ends_in_a_jump(&series(&closes), &split));
        assert_eq!(kept(&closes, &split), closes);
        for elsewhen in ["2026-11-03", "2026-11-05"] {
            assert_eq!(kept(&closes, &[ten_for_one(elsewhen)]).len(), 2, "{elsewhen}");
        }
    }

    #[test]
    fn the_first_bar_is_left_out_when_the_next_two_agree_against_it() {
        assert_eq!(kept(&["9000.00", "100.00", "101.00"], &[]), ["100.00", "101.00"]);
        assert_eq!(kept(&["100.00", "9000.00"], &[]), ["100.00"]);
        assert_eq!(kept(&["100.00"], &[]), ["100.00"]);
        assert!(kept(&[], &[]).is_empty());
    }

    #[test]
    fn a_price_is_translated_into_later_shares() {
        let (friday, monday) = (day("2024-06-07"), day("2024-06-10"));
        let splits = [ten_for_one("2024-06-10"), ten_for_one("2021-07-20")];
        assert_eq!(in_shares_of(&price("1208.88"), friday, monday, &splits), price("120.89"));
        assert_eq!(in_shares_of(&price("121.79"), monday, monday, &splits), price("121.79"));
        let reverse = [Split::new(monday, 1, 20).unwrap()];
        assert_eq!(in_shares_of(&price("0.31"), friday, monday, &reverse), price("6.20"));
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
