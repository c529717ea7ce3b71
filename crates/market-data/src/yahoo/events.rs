//! The splits and dividends in a chart, and the share basis of its prices.
//!
//! Yahoo reports old prices, volumes and dividends in the shares after all reported splits. The books need them in
//! the shares of their own day.

use std::collections::BTreeMap;

use bigdecimal::{BigDecimal, ToPrimitive};
use chrono::{NaiveDate, TimeDelta};
use domain::calendar::exchange_date;
use domain::share_basis::{ShareBased, UnroundedPrice, session_basis};
use domain::{AsTraded, Calendar, CorporateAction, SplitHistory, Symbol, Timestamp};
use serde_json::Value;

use super::number;
use crate::corporate::{Dividend, Split};

/// The minimum number of decimals of a dividend.
const MIN_DECIMALS: i64 = 2;

/// If a split is reported within this time before its opening, old prices are assumed to include it already.
const REPORTED_AHEAD: TimeDelta = TimeDelta::hours(24);

/// The splits and dividends in a chart.
#[derive(Debug)]
pub(super) struct Events<'a> {
    result: &'a Value,
    /// The splits, oldest first, one per day.
    pub(super) splits: Vec<Split>,
    /// The newest day of a split with an unreadable ratio: the shares before it are unknown.
    unreadable: Option<NaiveDate>,
}

impl<'a> Events<'a> {
    pub(super) fn from_result(result: &'a Value) -> Self {
        let mut splits: BTreeMap<NaiveDate, Split> = BTreeMap::new();
        let mut unreadable: Option<NaiveDate> = None;
        for (key, event) in entries(result, "splits") {
            let on = day_of(key, event).unwrap_or(NaiveDate::MAX);
            match ratio(event) {
                // A ratio of equal numbers changes nothing.
                Some((new, old)) if new == old && new > 0 => {}
                sides => match sides.and_then(|(new, old)| Split::new(on, new, old)) {
                    Some(split) if on != NaiveDate::MAX => _ = splits.entry(on).or_insert(split),
                    _ => unreadable = unreadable.max(Some(on)),
                },
            }
        }
        Self { result, splits: splits.into_values().collect(), unreadable }
    }

    /// The share basis of the chart.
    pub(super) fn basis(&self, of: &Symbol, now: Timestamp) -> Basis {
        let actions: Vec<CorporateAction> = self.splits.iter().filter_map(|split| split.action(of)).collect();
        let effective = actions.iter().map(|action| action.effective_at(Calendar::Xnys));
        let effective = effective.filter(|effective| *effective <= now + REPORTED_AHEAD).max();
        Basis {
            splits: SplitHistory::of_actions(&actions, Calendar::Xnys),
            basis_at: effective.map_or(now, |effective| effective.max(now)),
            unreadable: self.unreadable,
        }
    }

    /// Returns the dividends, oldest first, in the shares of their own days, one per day: different dividends on one
    /// day, such as a special one, are added. Yahoo has six decimals; those that a later split makes uncertain are
    /// rounded away.
    pub(super) fn dividends(&self, of: &Symbol, now: Timestamp) -> Vec<Dividend> {
        let mut amounts: BTreeMap<NaiveDate, Vec<BigDecimal>> = BTreeMap::new();
        for (key, event) in entries(self.result, "dividends") {
            let Some((on, amount)) = day_of(key, event).zip(number::dividend(&event["amount"])) else {
                continue;
            };
            let of_day = amounts.entry(on).or_default();
            // An identical dividend is a duplicate.
            if amount > 0 && !of_day.contains(&amount) {
                of_day.push(amount);
            }
        }
        let basis = self.basis(of, now);
        let dividend = |(on, amounts): (NaiveDate, Vec<BigDecimal>)| {
            let decimals = basis.decimals_of_dividends(on);
            let reported = UnroundedPrice::new(amounts.iter().sum());
            basis
                .is_known(on)
                .then(|| Dividend::new(on, None, basis.on_day(reported, on).rounded(decimals)))?
        };
        amounts.into_iter().filter_map(dividend).collect()
    }
}

/// The share basis of the prices of a chart.
#[derive(Debug)]
pub(super) struct Basis {
    splits: SplitHistory,
    basis_at: Timestamp,
    unreadable: Option<NaiveDate>,
}

impl Basis {
    /// Whether the share basis of that day is known.
    pub(super) fn is_known(&self, day: NaiveDate) -> bool {
        self.unreadable.is_none_or(|unreadable| unreadable <= day)
    }

    /// Converts a value of the chart to the shares of its day.
    pub(super) fn on_day<T: ShareBased>(&self, reported: T, day: NaiveDate) -> T {
        let traded = AsTraded::new(reported, self.basis_at);
        self.splits.convert(traded, session_basis(Calendar::Xnys, day))
    }

    /// The number of certain decimals of a dividend of that day: the rounding error, half of the sixth decimal, is
    /// multiplied by the splits since.
    fn decimals_of_dividends(&self, day: NaiveDate) -> i64 {
        let factor = self.on_day(UnroundedPrice::new(1.into()), day).rounded(6).to_f64().unwrap_or(1.0);
        let (mut lost, mut multiplied) = (0, 1.0);
        while multiplied < factor && lost < number::DECIMALS_OF_DIVIDENDS {
            (lost, multiplied) = (lost + 1, multiplied * 10.0);
        }
        (number::DECIMALS_OF_DIVIDENDS - lost).max(MIN_DECIMALS)
    }
}

fn entries<'a>(result: &'a Value, kind: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    result["events"][kind].as_object().into_iter().flatten()
}

/// The exchange's day of an event, from its date or from its key.
fn day_of(key: &str, event: &Value) -> Option<NaiveDate> {
    let from_key = || chrono::DateTime::from_timestamp(key.parse().ok()?, 0);
    let at = number::instant(&event["date"]).or_else(from_key)?;
    Some(exchange_date(at.into()))
}

/// The new and old shares in ten-thousandths, from two numbers or from a text like `10:1`.
fn ratio(event: &Value) -> Option<(u64, u64)> {
    let side = |name: &str| number::side_of_ratio(&event[name]).filter(|side| *side > 0);
    if let Some(sides) = side("numerator").zip(side("denominator")) {
        return Some(sides);
    }
    let (new, old) = event["splitRatio"].as_str()?.split_once([':', '/'])?;
    let side = |text: &str| {
        number::side_of_ratio(&Value::Number(text.trim().parse().ok()?)).filter(|side| *side > 0)
    };
    side(new).zip(side(old))
}
