//! Splits, dividends and other corporate actions, in words and in JSON.

use chrono::NaiveDate;
use domain::calendar::exchange_date;
use domain::corporate_action::{CorporateAction, CorporateActionKind};
use domain::journal::{BookedTerms, JournalEntry};
use domain::{CloseOut, DecimalText, PerShare, Quantity, SplitRatio, Symbol};
use serde::Serialize;
use utoipa::ToSchema;

use crate::openapi::enums;
use crate::shell::format;

/// A past or announced event of a stock.
#[derive(Serialize, ToSchema)]
#[schema(as = CorporateAction)]
pub struct Action {
    /// For example `AAPL/2020-08-31/split`.
    id: String,
    #[schema(value_type = enums::CorporateActionKind)]
    kind: &'static str,
    /// The first session in new shares, without the dividend, under the new symbol, or without trading.
    ex_on: NaiveDate,
    /// Whether that day is in the future.
    upcoming: bool,
    /// Only for a split: `3:2` for three new shares for each two old ones.
    split_ratio: Option<String>,
    /// Only for a dividend: US dollars for each share held at the close before `ex_on`.
    #[schema(value_type = Option<DecimalText>)]
    per_share: Option<PerShare>,
    /// The day a dividend is paid.
    pays_on: Option<NaiveDate>,
    /// Only for a symbol change: the new symbol.
    new_symbol: Option<Symbol>,
    /// The event as a sentence.
    description: String,
}

impl Action {
    pub fn from_action(action: &CorporateAction, today: NaiveDate) -> Self {
        let (per_share, pays_on) = match &action.kind {
            CorporateActionKind::CashDividend { amount, pays_on } => (Some(amount.clone()), Some(*pays_on)),
            _ => (None, None),
        };
        let new_symbol = match &action.kind {
            CorporateActionKind::SymbolChange { to } => Some(to.clone()),
            _ => None,
        };
        Self {
            id: action.id.to_string(),
            kind: action.kind.as_str(),
            ex_on: action.ex_on,
            upcoming: action.ex_on > today,
            split_ratio: action.ratio().map(|ratio| ratio.to_string()),
            per_share,
            pays_on,
            new_symbol,
            description: describe(action),
        }
    }
}

/// `10 for 1 split`, `Dividend of 0.26 a share, paid on 8 Dec 2026`.
pub fn describe(action: &CorporateAction) -> String {
    match &action.kind {
        CorporateActionKind::Split { .. } => {
            action.ratio().map_or_else(String::new, |ratio| format!("{} split", for_each(ratio)))
        }
        CorporateActionKind::CashDividend { amount, pays_on } => {
            format!("Dividend of {amount} a share, paid on {}", format::date(*pays_on))
        }
        CorporateActionKind::SymbolChange { to } => format!("{} becomes {to}", action.symbol),
        CorporateActionKind::Delisting => "Delisted".to_owned(),
        CorporateActionKind::CloseOut(CloseOut::Cash { per_share }) => {
            format!("Closed out for {per_share} in cash for each share")
        }
        CorporateActionKind::CloseOut(CloseOut::WriteOff) => {
            "Written off: its shares are worthless".to_owned()
        }
        CorporateActionKind::CloseOut(CloseOut::Exchange { symbol, ratio, cash, .. }) => {
            format!("Exchanged into {symbol}, {} shares{}", for_each(*ratio), and_cash(cash.as_ref()))
        }
    }
}

/// Text of an exchange's cash part: `, and 1.50 in cash for each`.
fn and_cash(cash: Option<&PerShare>) -> String {
    cash.map_or_else(String::new, |cash| format!(", and {cash} in cash for each"))
}

/// A ratio in words: `3 for 2`.
fn for_each(ratio: SplitRatio) -> String {
    format!("{} for {}", ratio.numerator, ratio.denominator)
}

/// The sentence for a journal entry of a corporate action or a reversal: `3 for 2 split: 10 became 15 shares.`
pub fn sentence(entry: &JournalEntry) -> Option<String> {
    if let Some(reversal) = &entry.reverses {
        let what = match reversal.ratio {
            Some(ratio) => format!("The {} split is reversed", for_each(ratio)),
            None => "A trade is reversed".to_owned(),
        };
        let shares = entry.quantity.clone().unwrap_or_else(Quantity::zero);
        return Some(format!(
            "{what}: {} became {} shares.",
            format::quantity(&reversal.before),
            format::quantity(&shares)
        ));
    }
    let action = entry.action.as_ref()?;
    let quantity = entry.quantity.clone().unwrap_or_else(Quantity::zero);
    Some(match &action.terms {
        BookedTerms::Split { ratio, before } => {
            let late = match exchange_date(action.effective_at) < exchange_date(entry.timestamp) {
                true => format!(
                    " It took effect on {} and was booked when it became known.",
                    format::date(exchange_date(action.effective_at))
                ),
                false => String::new(),
            };
            let corrected = match &entry.realized_pnl {
                Some(by) => {
                    format!(
                        " The realized gain of sales since then was corrected by {}.",
                        format::gain(by).text
                    )
                }
                None => String::new(),
            };
            format!(
                "{} split: {} became {} shares.{late}{corrected}",
                for_each(*ratio),
                format::quantity(before),
                format::quantity(&quantity)
            )
        }
        BookedTerms::ClosedOut { cash, ratio } => {
            let shares = format::quantity(&quantity);
            match (cash, ratio) {
                (Some(cash), None) => format!("Closed out: {shares} shares for {cash} in cash each."),
                (None, None) => format!("Written off: {shares} shares are worthless."),
                (cash, Some(ratio)) => format!(
                    "Exchanged: {shares} shares for those of another stock, {}{}. Their cost basis moves to the new shares.",
                    for_each(*ratio),
                    and_cash(cash.as_ref())
                ),
            }
        }
        BookedTerms::Exchanged { ratio, given } => format!(
            "Received for {} shares of another stock, {}, at their cost.",
            format::quantity(given),
            for_each(*ratio)
        ),
        BookedTerms::Dividend { per_share } => {
            let (shares, count) = (format::quantity(&quantity), quantity.to_string());
            let noun = if count == "1" { "share" } else { "shares" };
            format!(
                "Dividend of {per_share} for each of {shares} {noun} held before {}.",
                format::date(exchange_date(action.effective_at))
            )
        }
    })
}

/// The factor that converts a price of that day to today's shares. An `f64`, because it is only for charts.
pub fn price_factor(actions: &[CorporateAction], day: NaiveDate, today: NaiveDate) -> f64 {
    let since = actions.iter().filter(|action| day < action.ex_on && action.ex_on <= today);
    since.filter_map(CorporateAction::ratio).fold(1.0, |factor, ratio| {
        factor * f64::from(ratio.denominator.get()) / f64::from(ratio.numerator.get())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::journal::BookedAction;
    use domain::{ActionId, Money, PortfolioId, Timestamp};

    fn at(text: &str) -> Timestamp {
        text.parse::<chrono::DateTime<chrono::Utc>>().unwrap().into()
    }

    fn line(terms: BookedTerms, quantity: &str, booked: &str) -> JournalEntry {
        let effective_at = at("2026-12-02T05:00:00Z");
        JournalEntry {
            quantity: Some(quantity.parse().unwrap()),
            action: Some(BookedAction { id: ActionId(1), effective_at, terms }),
            ..JournalEntry::cash(PortfolioId(1), Money::zero(), at(booked))
        }
    }

    #[test]
    fn splits_and_dividends_are_described_in_words() {
        let split = BookedTerms::Split { ratio: "3:2".parse().unwrap(), before: "10".parse().unwrap() };
        let on_time = line(split.clone(), "15", "2026-12-02T05:00:00Z");
        assert_eq!(sentence(&on_time).unwrap(), "3 for 2 split: 10 became 15 shares.");
        let late = JournalEntry {
            realized_pnl: Some("675".parse().unwrap()),
            ..line(split, "15", "2026-12-09T12:00:00Z")
        };
        assert_eq!(
            sentence(&late).unwrap(),
            "3 for 2 split: 10 became 15 shares. It took effect on 2 Dec 2026 and was booked when it became known. \
             The realized gain of sales since then was corrected by +675.00."
        );
        let dividend = BookedTerms::Dividend { per_share: PerShare::from_scaled(2_575, 4).unwrap() };
        assert_eq!(
            sentence(&line(dividend, "100", "2026-12-17T05:00:00Z")).unwrap(),
            "Dividend of 0.2575 for each of 100 shares held before 2 Dec 2026."
        );
        assert_eq!(
            sentence(&JournalEntry::cash(PortfolioId(1), Money::zero(), at("2026-12-02T05:00:00Z"))),
            None
        );
    }
}
