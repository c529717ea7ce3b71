//! Charts drawn by the server: the geometry of SVG in attributes, ready for the templates.
//!
//! The outer drawing is in CSS pixels with positions in percent, so that text is never stretched. The lines are in an
//! inner drawing of 1000 × 400 that is stretched. The plot takes 91 % × 89 % of the frame. Values are `f64`, because a
//! drawing needs no exact decimals.

mod axis;
pub mod treemap;

use chrono::NaiveDate;
use serde::Serialize;

use axis::{Axis, columns};

/// The part of the frame's width and height that the plot takes, in percent.
const WIDTH: f64 = 91.0;
const HEIGHT: f64 = 89.0;
/// A line with too many points for the screen is divided into this many buckets; each keeps its lowest and highest
/// point.
const BUCKETS: usize = 200;

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Chart {
    /// The ids of `<title>` and `<desc>` begin with it.
    pub id: &'static str,
    pub title: String,
    pub desc: String,
    pub rows: Vec<Row>,
    pub columns: Vec<Column>,
    /// The path of the line, in the inner drawing.
    pub line: String,
    /// The path of the comparison line.
    pub ghost: Option<String>,
    /// The height of a horizontal line, such as the user's average price.
    pub level: Option<String>,
    /// The path of the area between zero and a line below it.
    pub under: Option<String>,
    pub flows: Vec<Flow>,
    pub trades: Vec<Trade>,
    /// The last point.
    pub end: Option<End>,
}

/// A horizontal grid line with its label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    pub y: String,
    pub label: String,
    pub zero: bool,
}

/// A label under the plot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Column {
    pub x: String,
    pub label: String,
    /// Left out on narrow screens.
    pub wide_only: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Flow {
    pub x: String,
    pub label: String,
    /// Whether the label is to the left of the mark, because there is no room to its right.
    pub leftwards: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trade {
    pub x: String,
    pub y: String,
    pub bought: bool,
    pub title: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct End {
    pub x: String,
    pub y: String,
}

/// The data of a line chart.
#[derive(Debug, Default)]
pub struct Line<'a> {
    pub id: &'static str,
    pub title: String,
    pub desc: String,
    /// In order of date.
    pub points: &'a [(NaiveDate, f64)],
    /// The comparison line, in order of date. It is drawn if it has two points or more.
    pub ghost: &'a [(NaiveDate, f64)],
    pub level: Option<f64>,
    /// Day and label.
    pub flows: Vec<(NaiveDate, String)>,
    pub trades: Vec<Deal>,
}

/// A trade of the user to mark on a price chart.
#[derive(Debug)]
pub struct Deal {
    pub date: NaiveDate,
    pub price: f64,
    pub bought: bool,
    pub title: String,
}

/// Draws a line over time. `None` for fewer than two days.
pub fn line(line: Line<'_>) -> Option<Chart> {
    let time = Time::over(line.points)?;
    let deals: Vec<Deal> = line.trades.into_iter().filter(|deal| time.contains(deal.date)).collect();
    let ghost: Vec<_> = line.ghost.iter().copied().filter(|(date, _)| time.contains(*date)).collect();
    let values =
        line.points.iter().chain(&ghost).map(|(_, value)| *value).chain(deals.iter().map(|deal| deal.price));
    let axis = Axis::around(values.chain(line.level), 5);
    let (_, last) = line.points.last()?;
    Some(Chart {
        id: line.id,
        title: line.title,
        desc: line.desc,
        rows: axis.rows(),
        columns: columns(time.first, time.last),
        line: path(&time, &axis, line.points),
        ghost: (ghost.len() > 1).then(|| path(&time, &axis, &ghost)),
        level: line.level.map(|level| {
            let y = inner_y(&axis, level);
            format!("M0 {y} 1000 {y}")
        }),
        under: None,
        flows: line
            .flows
            .into_iter()
            .filter(|(date, _)| time.contains(*date) && *date > time.first)
            .map(|(date, label)| Flow { x: time.outer(date), label, leftwards: time.fraction(date) > 0.75 })
            .collect(),
        trades: deals
            .into_iter()
            .map(|deal| Trade {
                x: time.outer(deal.date),
                y: outer_y(&axis, deal.price),
                bought: deal.bought,
                title: deal.title,
            })
            .collect(),
        end: Some(End { x: percent(WIDTH), y: outer_y(&axis, *last) }),
    })
}

/// Draws how far the growth index `1 + twr` was below its highest value since the start of the window.
pub fn drawdown(id: &'static str, desc: String, twr: &[(NaiveDate, f64)]) -> Option<Chart> {
    let time = Time::over(twr)?;
    let mut high = 1.0_f64;
    let depths: Vec<(NaiveDate, f64)> = twr
        .iter()
        .map(|(date, twr)| {
            high = high.max(1.0 + twr);
            (*date, ((1.0 + twr) / high - 1.0) * 100.0)
        })
        .collect();
    let axis = Axis::down_from_zero(depths.iter().map(|(_, depth)| *depth));
    let rows = axis.rows().into_iter().map(|row| Row { label: format!("{}%", row.label), ..row }).collect();
    Some(Chart {
        id,
        title: "Drawdown".to_owned(),
        desc,
        rows,
        columns: Vec::new(),
        line: String::new(),
        ghost: None,
        level: None,
        under: Some(format!("M0 0 {} 1000 0Z", path(&time, &axis, &depths).trim_start_matches('M'))),
        flows: Vec::new(),
        trades: Vec::new(),
        end: None,
    })
}

/// A small line without axes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Spark {
    pub path: String,
    pub label: String,
}

/// Draws a small line. `None` for fewer than two values. `over` names the time span: `30 days`.
pub fn spark(over: &str, values: &[f64]) -> Option<Spark> {
    let (first, last) = (*values.first()?, *values.last()?);
    if values.len() < 2 {
        return None;
    }
    let (low, high) = extent(values.iter().copied());
    let spread = high - low;
    let picked = evenly(values, 40);
    let steps = f64::from(u32::try_from(picked.len() - 1).unwrap_or(u32::MAX));
    let mut path = String::from("M");
    for (index, value) in (0_u32..).zip(&picked) {
        let y = if spread > 0.0 { 22.0 - 20.0 * (value - low) / spread } else { 12.0 };
        let x = 100.0 * f64::from(index) / steps;
        path.push_str(&format!("{}{:.0} {y:.0}", if index == 0 { "" } else { " " }, x));
    }
    let label = match first {
        first if first > 0.0 => {
            let ratio = last / first - 1.0;
            let direction = if ratio < 0.0 { "down" } else { "up" };
            format!("{over}: {direction} {:.1}%", ratio.abs() * 100.0)
        }
        _ => over.to_owned(),
    };
    Some(Spark { path, label })
}

/// Picks at most `most` values at even distances, including the first and the last.
fn evenly(values: &[f64], most: usize) -> Vec<f64> {
    if values.len() <= most {
        return values.to_vec();
    }
    (0..most).map(|index| values[index * (values.len() - 1) / (most - 1)]).collect()
}

/// The position of a value between `low` and `high`, in percent of the distance.
pub fn position_between(value: f64, low: f64, high: f64) -> String {
    percent(if high > low { ((value - low) / (high - low)).clamp(0.0, 1.0) * 100.0 } else { 50.0 })
}

/// A length in percent, to one decimal, without a trailing zero: `74.2%`, `100%`.
pub fn percent(value: f64) -> String {
    let text = format!("{value:.1}");
    format!("{}%", text.strip_suffix(".0").unwrap_or(&text))
}

fn extent(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)))
}

/// The horizontal axis: from the first to the last day.
struct Time {
    first: NaiveDate,
    last: NaiveDate,
}

impl Time {
    fn over(points: &[(NaiveDate, f64)]) -> Option<Self> {
        let (first, last) = (points.first()?.0, points.last()?.0);
        (first < last).then_some(Self { first, last })
    }

    fn contains(&self, date: NaiveDate) -> bool {
        (self.first..=self.last).contains(&date)
    }

    /// The position of a day on the axis: 0 for the first day, 1 for the last.
    fn fraction(&self, date: NaiveDate) -> f64 {
        axis::days(self.first, date) / axis::days(self.first, self.last)
    }

    fn outer(&self, date: NaiveDate) -> String {
        percent(self.fraction(date) * WIDTH)
    }
}

fn inner_y(axis: &Axis, value: f64) -> String {
    format!("{:.0}", 400.0 * axis.fraction(value))
}

fn outer_y(axis: &Axis, value: f64) -> String {
    percent(HEIGHT * axis.fraction(value))
}

fn path(time: &Time, axis: &Axis, points: &[(NaiveDate, f64)]) -> String {
    let mut path = String::from("M");
    for (index, (date, value)) in thinned(points).into_iter().enumerate() {
        let blank = if index == 0 { "" } else { " " };
        path.push_str(&format!("{blank}{:.0} {}", 1000.0 * time.fraction(date), inner_y(axis, value)));
    }
    path
}

/// Reduces the points of a line without changing its shape: keeps both ends, and the lowest and highest point of each
/// bucket.
fn thinned(points: &[(NaiveDate, f64)]) -> Vec<(NaiveDate, f64)> {
    if points.len() <= 2 * BUCKETS {
        return points.to_vec();
    }
    let size = points.len().div_ceil(BUCKETS);
    let mut kept = Vec::with_capacity(2 * BUCKETS + 2);
    kept.extend(points.first().copied());
    for bucket in points.chunks(size) {
        let by_value = |a: &&(NaiveDate, f64), b: &&(NaiveDate, f64)| a.1.total_cmp(&b.1);
        let (Some(low), Some(high)) = (bucket.iter().min_by(by_value), bucket.iter().max_by(by_value)) else {
            continue;
        };
        let (earlier, later) = if low.0 <= high.0 { (low, high) } else { (high, low) };
        kept.push(*earlier);
        kept.push(*later);
    }
    kept.extend(points.last().copied());
    kept.dedup();
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::Days;

    fn points(values: &[f64]) -> Vec<(NaiveDate, f64)> {
        let first = NaiveDate::from_ymd_opt(2026, 1, 1).unwrap();
        values.iter().zip(0..).map(|(value, day)| (first + Days::new(day), *value)).collect()
    }

    #[test]
    fn a_line_fills_the_plot() {
        let points = points(&[90_000.0, 130_000.0, 110_000.0]);
        let chart = line(Line { id: "equity", points: &points, ..Line::default() }).unwrap();
        assert_eq!(chart.line, "M0 400 500 0 1000 200");
        assert_eq!(chart.end, Some(End { x: "91%".into(), y: "44.5%".into() }));
        let labels: Vec<&str> = chart.rows.iter().map(|row| row.label.as_str()).collect();
        assert_eq!(labels, ["90k", "100k", "110k", "120k", "130k"]);
        assert_eq!((chart.rows[0].y.as_str(), chart.rows[4].y.as_str()), ("89%", "0%"));
    }

    #[test]
    fn a_line_to_compare_with_has_the_same_axes() {
        let points = points(&[100.0, 110.0, 120.0]);
        let (first, last) = (points[0].0, points[2].0);
        let outside = last + Days::new(1);
        let ghost = [(first, 100.0), (last, 140.0), (outside, 900.0)];
        let chart = line(Line { points: &points, ghost: &ghost, ..Line::default() }).unwrap();
        assert_eq!(
            (chart.line.as_str(), chart.ghost.as_deref()),
            ("M0 400 500 300 1000 200", Some("M0 400 1000 0"))
        );
        let alone = line(Line { points: &points, ghost: &ghost[..1], ..Line::default() }).unwrap();
        assert_eq!(alone.ghost, None);
    }

    #[test]
    fn a_single_day_gives_no_line() {
        assert_eq!(line(Line { points: &points(&[1.0]), ..Line::default() }), None);
        assert_eq!(spark("30 days", &[1.0]), None);
    }

    #[test]
    fn flows_and_trades_are_marked_on_their_day() {
        let points = points(&[10.0, 20.0, 30.0]);
        let deal =
            |day: usize, price, bought| Deal { date: points[day].0, price, bought, title: String::new() };
        let outside =
            Deal { date: points[0].0 - Days::new(9), price: 5000.0, bought: true, title: String::new() };
        let chart = line(Line {
            points: &points,
            flows: vec![(points[0].0, "opening".into()), (points[1].0, "deposit 10".into())],
            trades: vec![deal(1, 20.0, true), deal(2, 30.0, false), outside],
            level: Some(20.0),
            ..Line::default()
        })
        .unwrap();
        assert_eq!(chart.flows.len(), 1, "the deposit that opened the portfolio is its first point");
        assert_eq!(chart.flows[0].x, "45.5%");
        assert_eq!((chart.trades[0].y.as_str(), chart.trades[1].y.as_str()), ("44.5%", "0%"));
        assert_eq!(chart.trades.len(), 2);
        assert_eq!(chart.level.as_deref(), Some("M0 200 1000 200"));
    }

    #[test]
    fn a_drawdown_is_drawn_below_zero() {
        let twr = points(&[0.10, -0.012, 0.21]);
        let chart = drawdown("dd", String::new(), &twr).unwrap();
        let labels: Vec<&str> = chart.rows.iter().map(|row| row.label.as_str()).collect();
        assert_eq!(labels, ["0%", "−5%", "−10%", "−15%"]);
        assert!(chart.rows[0].zero);
        // 0.988 / 1.1 − 1 = −10.18 %
        assert_eq!(chart.under.as_deref(), Some("M0 0 0 0 500 272 1000 0 1000 0Z"));
    }

    #[test]
    fn long_lines_keep_their_extremes() {
        let mut values: Vec<f64> = (0..7300).map(|day| f64::from(day % 100)).collect();
        values[5000] = 1000.0;
        let kept = thinned(&points(&values));
        assert!(kept.len() <= 2 * BUCKETS + 2);
        assert!(kept.iter().any(|(_, value)| *value == 1000.0));
        assert!(kept.is_sorted_by_key(|(date, _)| *date));
    }

    #[test]
    fn sparks_say_what_they_show() {
        let spark = spark("30 days", &[100.0, 90.0, 110.0]).unwrap();
        assert_eq!(spark.path, "M0 12 50 22 100 2");
        assert_eq!(spark.label, "30 days: up 10.0%");
        assert_eq!(super::spark("", &[5.0, 5.0]).unwrap().path, "M0 12 100 12");
    }

    #[test]
    fn lengths_are_short() {
        assert_eq!((percent(74.25).as_str(), percent(100.0).as_str()), ("74.2%", "100%"));
        assert_eq!(position_between(15.0, 10.0, 20.0), "50%");
        assert_eq!(position_between(15.0, 15.0, 15.0), "50%");
    }
}
