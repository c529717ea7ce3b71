//! Monthly returns as a table with one row per year, colored by size.

use std::collections::BTreeMap;

use chrono::Datelike;
use domain::performance::{Measures, PeriodReturn};
use serde::Serialize;

use crate::shell::format::{self, Delta};
use crate::shell::heat;

/// The return per step of color. A month beyond three steps has the strongest color.
const MONTH_STEP: f64 = 0.02;
const YEAR_STEP: f64 = 0.06;

/// The months and the total of a calendar year.
#[derive(Debug, Serialize)]
pub struct HeatRow {
    year: i32,
    /// January to December; `None` for a month without a return.
    months: [Option<HeatCell>; 12],
    total: Option<HeatCell>,
}

/// A return with the CSS class of its color.
#[derive(Debug, Serialize)]
pub struct HeatCell {
    color: &'static str,
    change: Delta,
}

fn cell(of: &PeriodReturn, step: f64) -> HeatCell {
    HeatCell {
        color: heat::class(of.period_return / step),
        change: format::percent_gain_in_tenths(of.period_return),
    }
}

/// One row for each year with a return, the newest first.
pub fn rows(measures: &Measures) -> Vec<HeatRow> {
    let empty = |year| HeatRow { year, months: Default::default(), total: None };
    let mut years: BTreeMap<i32, HeatRow> = BTreeMap::new();
    for of in &measures.monthly_returns {
        let row = years.entry(of.first.year()).or_insert_with(|| empty(of.first.year()));
        let index = usize::try_from(of.first.month0()).expect("Invariant: a month is below 12");
        row.months[index] = Some(cell(of, MONTH_STEP));
    }
    for of in &measures.yearly_returns {
        let row = years.entry(of.first.year()).or_insert_with(|| empty(of.first.year()));
        row.total = Some(cell(of, YEAR_STEP));
    }
    years.into_values().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::Calendar;
    use domain::performance::{Analysis, Close, Settings};

    #[test]
    fn each_return_is_in_the_cell_of_its_month() {
        let close = |date: &str, value: &str, flow: &str| Close {
            date: date.parse().unwrap(),
            total_value: value.parse().unwrap(),
            net_flow: flow.parse().unwrap(),
        };
        // +10 % in November, −5 % in December, none in January, +1 % in February.
        let window = [
            close("2026-11-20", "1000", "1000"),
            close("2026-11-30", "1100", "0"),
            close("2026-12-31", "1045", "0"),
            close("2027-01-29", "1045", "0"),
            close("2027-02-26", "1055.45", "0"),
        ];
        let measures = Analysis::new(None, &window, Settings::new(Calendar::Xnys, 0.0)).measures();
        let rows = rows(&measures);
        assert_eq!(rows.iter().map(|row| row.year).collect::<Vec<_>>(), [2027, 2026]);
        let shown =
            |cell: &Option<HeatCell>| cell.as_ref().map(|cell| (cell.change.text.clone(), cell.color));
        let text = |text: &str, color| Some((text.to_owned(), color));
        assert_eq!(shown(&rows[1].months[9]), None);
        assert_eq!(shown(&rows[1].months[10]), text("+10.0%", "h-p4"));
        assert_eq!(shown(&rows[1].months[11]), text("−5.0%", "h-n3"));
        assert_eq!(shown(&rows[1].total), text("+4.5%", "h-p1"));
        assert_eq!(shown(&rows[0].months[0]), text("0.0%", "h-0"));
        assert_eq!(shown(&rows[0].months[1]), text("+1.0%", "h-p1"));
    }
}
