//! Round numbers for the vertical axis, round dates for the horizontal one.

use chrono::{Datelike, Days, Months, NaiveDate};

use super::{Column, HEIGHT, Row, WIDTH, extent, percent};

/// A vertical axis: its values from bottom to top, in round steps.
#[derive(Debug)]
pub struct Axis {
    bottom: f64,
    step: f64,
    steps: u32,
}

impl Axis {
    /// An axis that covers all values in about `wanted` steps of 1, 2, 2.5 or 5 times a power of ten.
    pub fn around(values: impl Iterator<Item = f64>, wanted: u32) -> Self {
        let (mut low, mut high) = extent(values);
        if !(high - low).is_normal() {
            let margin = (low.abs() * 0.01).max(0.01);
            (low, high) = if low.is_finite() { (low - margin, high + margin) } else { (0.0, 1.0) };
        }
        let step = nice((high - low) / f64::from(wanted));
        // The tolerance makes 0.3 three steps of 0.1 despite rounding errors.
        let bottom = (low / step + 1e-9).floor() * step;
        let steps = whole(((high - bottom) / step - 1e-9).ceil()).max(1);
        Self { bottom, step, steps }
    }

    /// An axis from the lowest value up to zero.
    pub fn down_from_zero(values: impl Iterator<Item = f64>) -> Self {
        let (low, _) = extent(values);
        let deepest = if low.is_finite() { low.min(-1.0) } else { -1.0 };
        let step = nice(-deepest / 2.5);
        let steps = whole((-deepest / step - 1e-9).ceil()).max(1);
        Self { bottom: -step * f64::from(steps), step, steps }
    }

    fn top(&self) -> f64 {
        self.bottom + self.step * f64::from(self.steps)
    }

    /// The position of a value on the axis: 0 at the top, 1 at the bottom.
    pub fn fraction(&self, value: f64) -> f64 {
        (self.top() - value) / (self.top() - self.bottom)
    }

    /// The grid lines from the bottom up; for an axis that ends at zero, from zero down.
    pub fn rows(&self) -> Vec<Row> {
        let (unit, letter) = self.unit();
        let places = decimals(self.step / unit);
        let mut rows: Vec<Row> = (0..=self.steps)
            .map(|index| {
                let value = self.bottom + self.step * f64::from(index);
                let zero = value.abs() < self.step / 1000.0;
                let number = format!("{:.places$}", if zero { 0.0 } else { value / unit });
                Row {
                    y: percent(HEIGHT * f64::from(self.steps - index) / f64::from(self.steps)),
                    label: format!("{}{letter}", crate::shell::format::count(number)),
                    zero,
                }
            })
            .collect();
        if rows.last().is_some_and(|row| row.zero) {
            rows.reverse();
        }
        rows
    }

    /// The unit of the labels: thousands, millions and so on, if the steps are large enough to be distinguished.
    fn unit(&self) -> (f64, &'static str) {
        let largest = self.top().abs().max(self.bottom.abs());
        [(1e12, "T"), (1e9, "B"), (1e6, "M")]
            .into_iter()
            .find(|(unit, _)| self.step * 10.0 >= *unit && largest >= *unit)
            .or_else(|| (self.step >= 1e3 && largest >= 1e4).then_some((1e3, "k")))
            .unwrap_or((1.0, ""))
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few steps of an axis")]
fn whole(value: f64) -> u32 {
    value as u32
}

/// Rounds up to 1, 2, 2.5, 5 or 10 times a power of ten.
fn nice(raw: f64) -> f64 {
    let power = 10_f64.powf(raw.log10().floor());
    let factor = [1.0, 2.0, 2.5, 5.0].into_iter().find(|factor| raw <= factor * power * 1.000_001);
    factor.unwrap_or(10.0) * power
}

/// The number of decimals that distinguishes multiples of `step`.
fn decimals(step: f64) -> usize {
    (0..6)
        .find(|places| {
            let scaled = step * 10_f64.powi(*places);
            (scaled - scaled.round()).abs() < 1e-6 * scaled
        })
        .and_then(|places| usize::try_from(places).ok())
        .unwrap_or(6)
}

pub fn days(from: NaiveDate, to: NaiveDate) -> f64 {
    f64::from(i32::try_from((to - from).num_days()).unwrap_or(i32::MAX))
}

/// A few labels for a time axis: days, weeks, months or years.
pub fn columns(first: NaiveDate, last: NaiveDate) -> Vec<Column> {
    let span = (last - first).num_days();
    let ticks = match span {
        ..=10 => every(first, 1, last, "%-d %b"),
        11..=110 => every(first, u64::try_from(span).unwrap_or(0) / 6, last, "%-d %b"),
        111..=300 => months(first, last, 1),
        301..=560 => months(first, last, 2),
        561..=1100 => months(first, last, 6),
        1101..=4000 => years(first, last, 1),
        _ => years(first, last, i32::try_from(span / 365 / 8).unwrap_or(5).max(2)),
    };
    let whole = days(first, last);
    ticks
        .into_iter()
        // The last few percent are left free for the labels at the side.
        .filter(|(date, _)| days(first, *date) <= 0.96 * whole)
        .enumerate()
        .map(|(index, (date, label))| Column {
            x: percent(WIDTH * days(first, date) / whole),
            label,
            wide_only: index % 2 == 1,
        })
        .collect()
}

fn every(first: NaiveDate, step: u64, last: NaiveDate, pattern: &str) -> Vec<(NaiveDate, String)> {
    std::iter::successors(Some(first), |date| date.checked_add_days(Days::new(step.max(1))))
        .take_while(|date| *date < last)
        .map(|date| (date, date.format(pattern).to_string()))
        .collect()
}

/// The first day of every `step`-th month. The label of January is the year.
fn months(first: NaiveDate, last: NaiveDate, step: u32) -> Vec<(NaiveDate, String)> {
    let start = first.with_day(1).unwrap_or(first);
    std::iter::successors(Some(start), |date| date.checked_add_months(Months::new(1)))
        .take_while(|date| *date < last)
        .filter(|date| *date >= first && date.month0() % step == 0)
        .map(|date| {
            let pattern = if date.month() == 1 { "%Y" } else { "%b" };
            (date, date.format(pattern).to_string())
        })
        .collect()
}

fn years(first: NaiveDate, last: NaiveDate, step: i32) -> Vec<(NaiveDate, String)> {
    (first.year()..=last.year())
        .filter(|year| year % step == 0)
        .filter_map(|year| NaiveDate::from_ymd_opt(year, 1, 1))
        .filter(|date| (first..last).contains(date))
        .map(|date| (date, date.format("%Y").to_string()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(low: f64, high: f64) -> Vec<String> {
        Axis::around([low, high].into_iter(), 5).rows().into_iter().map(|row| row.label).collect()
    }

    #[test]
    fn steps_are_round_and_distinguishable() {
        assert_eq!(labels(119.69, 189.84), ["100", "120", "140", "160", "180", "200"]);
        assert_eq!(labels(99.2, 101.1), ["99", "99.5", "100", "100.5", "101", "101.5"].map(with_one_decimal));
        assert_eq!(labels(0.0123, 0.0301), ["0.010", "0.015", "0.020", "0.025", "0.030", "0.035"]);
        assert_eq!(
            labels(99_500.0, 100_400.0),
            ["99,400", "99,600", "99,800", "100,000", "100,200", "100,400"]
        );
        assert_eq!(labels(1e6, 3.4e6), ["1.0M", "1.5M", "2.0M", "2.5M", "3.0M", "3.5M"]);
        assert_eq!(labels(8e14, 9e14), ["800T", "820T", "840T", "860T", "880T", "900T"]);
    }

    fn with_one_decimal(label: &str) -> String {
        if label.contains('.') { label.to_owned() } else { format!("{label}.0") }
    }

    #[test]
    fn a_flat_line_lies_in_the_middle() {
        let axis = Axis::around([100_000.0, 100_000.0].into_iter(), 5);
        assert!((axis.fraction(100_000.0) - 0.5).abs() < 1e-9);
        assert!(!Axis::around(std::iter::empty(), 5).rows().is_empty());
    }

    #[test]
    fn every_value_is_within_the_plot() {
        for (low, high) in [(0.0, 0.3), (1e-4, 2e-4), (95.0, 105.0), (-3.0, 7.0), (1e15, 1.1e15), (5.0, 5.0)]
        {
            let axis = Axis::around([low, high].into_iter(), 5);
            assert!(
                axis.fraction(low) <= 1.0 + 1e-9 && axis.fraction(high) >= -1e-9,
                "{low} {high} {axis:?}"
            );
            assert!((2..=8).contains(&axis.rows().len()), "{low} {high}");
        }
    }

    #[test]
    fn a_time_axis_has_a_few_labels() {
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        let texts = |first, last| -> Vec<String> {
            columns(day(first), day(last)).into_iter().map(|column| column.label).collect()
        };
        assert_eq!(texts("2026-11-13", "2026-11-20").len(), 7);
        assert_eq!(texts("2025-11-20", "2026-11-20"), ["2026", "Mar", "May", "Jul", "Sep", "Nov"]);
        assert_eq!(texts("2021-11-20", "2026-11-20"), ["2022", "2023", "2024", "2025", "2026"]);
        assert_eq!(texts("2006-11-20", "2026-11-20").len(), 10);
        for (first, last) in
            [("2026-10-01", "2026-11-20"), ("2026-01-01", "2026-08-01"), ("2024-01-01", "2026-08-01")]
        {
            assert!((3..=12).contains(&texts(first, last).len()), "{first} {last}");
        }
    }
}
