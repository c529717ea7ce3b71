//! Drawdowns: depth and duration below the last high.

use chrono::NaiveDate;

use crate::performance::closed_days::ClosedDays;
use crate::performance::series::Fold;
use crate::performance::{Close, Day, Figure, Formula, Series, UndefinedReason, Value, Workings};

pub(super) const MAX_DRAWDOWN: Formula = Formula {
    words: "The largest fall of the growth index from its highest value so far. The index starts at 1 and grows by \
            the daily returns, so deposits and withdrawals do not change it.",
    symbols: "max_drawdown = min (W / max W so far − 1), with W = Π (1 + r)",
    source: "empyrical's max_drawdown; quantstats' max_drawdown",
};

pub(super) const LONGEST_UNDER_WATER: Formula = Formula {
    words: "The longest time in calendar days from a high of the growth index to the first close at or above it \
            again, or to the end of the window.",
    symbols: "longest_under_water = max (recovered_on − peak_on)",
    source: "quantstats' drawdown_details",
};

/// The deepest fall of the growth index from a high; flows do not count.
#[derive(Debug, Clone, PartialEq)]
pub struct Drawdown {
    /// Negative or zero: −0.088 is 8.8 % below the high.
    pub depth: f64,
    /// The day of the high; `None` if the high was the start of a window without an earlier close.
    pub peak_on: Option<NaiveDate>,
    pub trough_on: NaiveDate,
    /// The first later day at or above the high; `None` if there is none yet.
    pub recovered_on: Option<NaiveDate>,
}

impl Drawdown {
    /// Calendar days from the high to the lowest close. `None` if the day of the high is unknown.
    pub fn days_to_trough(&self) -> Option<i64> {
        Some((self.trough_on - self.peak_on?).num_days())
    }

    /// Calendar days from the lowest close until the high was reached again; `None` if it was not.
    pub fn days_to_recovery(&self) -> Option<i64> {
        Some((self.recovered_on? - self.trough_on).num_days())
    }
}

/// A period below an earlier high of the growth index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnderWater {
    /// The day of the high, or the first day of the window if the high was its start.
    pub from: NaiveDate,
    /// The first later day at or above the high; `None` if there is none yet.
    pub recovered_on: Option<NaiveDate>,
    /// Calendar days from the high to the recovery, or to the end of the window.
    pub days: i64,
}

/// How far the growth index is below its highest value so far, for each day: zero or negative, −1 after a total loss.
pub fn drawdowns(series: &Series) -> Vec<(NaiveDate, f64)> {
    let mut highs = Highs::new(series.before.as_ref());
    let depth = |day: &Day| {
        highs.add(day);
        highs.invested.map(|_| (day.date, highs.now.depth()))
    };
    series.days().iter().filter_map(depth).collect()
}

/// The deepest drawdown, with its days. Its depth is zero when the index never fell.
///
/// # Errors
/// [`UndefinedReason::NothingInvested`] when no day has a return.
pub fn max_drawdown(series: &Series, work: &mut Workings) -> Figure<Drawdown> {
    series.note_days(work);
    let highs = series.fold(|| Highs::new(series.before.as_ref()));
    let Deepest { place, trough_on, recovered_on } = highs.deepest.ok_or(UndefinedReason::NothingInvested)?;
    work.number("peak", "Highest growth of 1 before the fall", place.high);
    work.number("trough", "Lowest growth of 1", place.growth);
    let known = |date: Option<NaiveDate>| date.map_or(Value::Missing, Value::Date);
    work.step("peak_on", "Day of the high", || known(place.high_on));
    work.step("trough_on", "Day of the lowest close", || Value::Date(trough_on));
    work.step("recovered_on", "Back at the high on", || known(recovered_on));
    Ok(Drawdown { depth: place.depth(), peak_on: place.high_on, trough_on, recovered_on })
}

/// The longest period below an earlier high.
///
/// # Errors
/// [`UndefinedReason::NothingInvested`] when no day has a return; [`UndefinedReason::NoDrawdown`] when the index never fell.
pub fn longest_under_water(series: &Series, work: &mut Workings) -> Figure<UnderWater> {
    series.note_days(work);
    let mut highs = series.fold(|| Highs::new(series.before.as_ref()));
    let (_, last) = highs.invested.ok_or(UndefinedReason::NothingInvested)?;
    if let Some(below) = highs.below_since {
        highs.keep_longer(below, None, last);
    }
    let (longest, high) = highs.longest.ok_or(UndefinedReason::NoDrawdown)?;
    work.number("peak", "Growth of 1 at the high", high);
    work.step("peak_on", "Day of the high", || Value::Date(longest.from));
    work.step("recovered_on", "Back at the high on", || {
        longest.recovered_on.map_or(Value::Missing, Value::Date)
    });
    Ok(longest)
}

/// The growth index, with its highest value so far.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Place {
    growth: f64,
    high: f64,
    /// `None` for the start of a window without an earlier close.
    high_on: Option<NaiveDate>,
}

impl Place {
    fn depth(&self) -> f64 {
        self.growth / self.high - 1.0
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Deepest {
    place: Place,
    trough_on: NaiveDate,
    recovered_on: Option<NaiveDate>,
}

/// The highs and falls of the growth index from the first day with a return on.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Highs {
    /// On the last day.
    now: Place,
    /// The first day with a return, and the last day.
    invested: Option<(NaiveDate, NaiveDate)>,
    deepest: Option<Deepest>,
    /// Where the index is below a high: the day of that high, and the high.
    below_since: Option<(NaiveDate, f64)>,
    /// The longest time below a high that is over, with that high.
    longest: Option<(UnderWater, f64)>,
}

impl Highs {
    /// Before the first day of a window.
    pub fn new(before: Option<&Close>) -> Self {
        let now = Place { growth: 1.0, high: 1.0, high_on: before.map(|close| close.date) };
        Self { now, invested: None, deepest: None, below_since: None, longest: None }
    }

    fn keep_longer(
        &mut self,
        (from, high): (NaiveDate, f64),
        recovered_on: Option<NaiveDate>,
        until: NaiveDate,
    ) {
        let days = (until - from).num_days();
        if self.longest.as_ref().is_none_or(|(longest, _)| days > longest.days) {
            self.longest = Some((UnderWater { from, recovered_on, days }, high));
        }
    }
}

impl Fold for Highs {
    fn add(&mut self, day: &Day) {
        if self.invested.is_none() && day.daily_return.is_none() {
            return;
        }
        // A fall on the first day is one from the start of the window, which counts from that day.
        let high_before = self.invested.and(self.now.high_on);
        let (first, _) = *self.invested.get_or_insert((day.date, day.date));
        self.invested = Some((first, day.date));
        let now = &mut self.now;
        now.growth *= 1.0 + day.daily_return.unwrap_or(0.0);
        if now.growth >= now.high {
            (now.high, now.high_on) = (now.growth, Some(day.date));
        }
        let now = *now;
        if self.deepest.is_none_or(|deepest| now.depth() < deepest.place.depth()) {
            self.deepest = Some(Deepest { place: now, trough_on: day.date, recovered_on: None });
        }
        if let Some(deepest) = self.deepest.as_mut().filter(|deepest| now.growth >= deepest.place.high) {
            deepest.recovered_on = deepest.recovered_on.or(Some(day.date));
        }
        if now.growth < now.high {
            self.below_since = self.below_since.or_else(|| Some((high_before.unwrap_or(first), now.high)));
        } else if let Some(below) = self.below_since.take() {
            self.keep_longer(below, Some(day.date), day.date);
        }
    }

    fn after(closed: &ClosedDays) -> &Self {
        &closed.highs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::performance::series::tests::{growing, series};

    fn off() -> Workings {
        Workings::off()
    }

    /// Growth 1.10, 1.045, 1.21, 0.968, 1.10, 1.21, 1.30: −20 % from day 3 to day 4, back on day 6.
    #[test]
    fn the_deepest_fall_with_its_dates() {
        let rows = ["1100", "1045", "1210", "968", "1100", "1210", "1300"].map(|value| (value, "0"));
        let mut rows = rows.to_vec();
        rows[0].1 = "1000";
        let series = series(&rows);
        let dates: Vec<NaiveDate> = series.days.iter().map(|day| day.date).collect();
        let drawdown = max_drawdown(&series, &mut off()).unwrap();
        assert!((drawdown.depth + 0.2).abs() < 1e-12);
        assert_eq!((drawdown.peak_on, drawdown.trough_on), (Some(dates[2]), dates[3]));
        assert_eq!(drawdown.recovered_on, Some(dates[5]));
        assert_eq!((drawdown.days_to_trough(), drawdown.days_to_recovery()), (Some(1), Some(2)));
        let longest = longest_under_water(&series, &mut off()).unwrap();
        assert_eq!(longest, UnderWater { from: dates[2], recovered_on: Some(dates[5]), days: 3 });
    }

    #[test]
    fn a_fall_from_the_start_counts_and_may_be_open() {
        let series = series(&[("900", "1000"), ("950", "0")]);
        let drawdown = max_drawdown(&series, &mut off()).unwrap();
        assert!((drawdown.depth + 0.1).abs() < 1e-12);
        assert_eq!((drawdown.peak_on, drawdown.recovered_on), (None, None));
        let longest = longest_under_water(&series, &mut off()).unwrap();
        assert_eq!((longest.days, longest.recovered_on), (1, None));
    }

    #[test]
    fn a_rising_index_has_no_drawdown() {
        let rising = growing(&[0.1, 0.2, 0.0]);
        let drawdown = max_drawdown(&rising, &mut off()).unwrap();
        assert_eq!((drawdown.depth, drawdown.recovered_on), (0.0, Some(rising.days[0].date)));
        assert_eq!(longest_under_water(&rising, &mut off()), Err(UndefinedReason::NoDrawdown));
        let nothing = Err(UndefinedReason::NothingInvested);
        assert_eq!(max_drawdown(&series(&[]), &mut off()), nothing);
    }

    #[test]
    fn a_withdrawal_is_not_a_drawdown() {
        let series = series(&[("1000", "1000"), ("100", "-900"), ("0", "-100"), ("0", "0")]);
        assert_eq!(max_drawdown(&series, &mut off()).unwrap().depth, 0.0);
    }

    #[test]
    fn a_total_loss_is_minus_one() {
        let series = series(&[("1000", "1000"), ("0", "0"), ("500", "500")]);
        assert_eq!(max_drawdown(&series, &mut off()).unwrap().depth, -1.0);
        assert_eq!(drawdowns(&series).iter().map(|(_, depth)| *depth).collect::<Vec<_>>(), [0.0, -1.0, -1.0]);
    }

    /// The longest period under water does not belong to the deepest fall.
    #[test]
    fn the_longest_time_under_water_may_be_another_fall() {
        let series = growing(&[0.1, -0.5, 1.1, -0.01, 0.001, 0.001, 0.02]);
        let longest = longest_under_water(&series, &mut off()).unwrap();
        assert_eq!((longest.from, longest.days), (series.days[2].date, 4));
    }
}
