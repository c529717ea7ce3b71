//! The companies that answers about prices named, in the memory of one process.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use chrono::DateTime;
use domain::Symbol;
use domain::calendar::exchange_date;
use serde_json::Value;

use super::number;
use crate::ListedStock;

/// The most symbols in memory. When there are more, all are dropped; the next answers report the companies again.
const MAX_SYMBOLS: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct Companies(Mutex<HashMap<Symbol, ListedStock>>);

impl Companies {
    pub(super) fn by_symbol(&self, symbol: &Symbol) -> Option<ListedStock> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(symbol).cloned()
    }

    /// Stores the company of a chart or of a row of bulk quotes. If a row lacks the first trading day, the day from an
    /// earlier chart of the same company is kept.
    pub(super) fn record(&self, symbol: &Symbol, reported: &Value) {
        let text = |name: &str| reported[name].as_str().map(str::trim).filter(|text| !text.is_empty());
        let Some(company_name) = text("longName").or_else(|| text("shortName")) else { return };
        let from_seconds = number::instant(&reported["firstTradeDate"]);
        let from_milliseconds =
            || reported["firstTradeDateMilliseconds"].as_i64().and_then(DateTime::from_timestamp_millis);
        let listed_at = from_seconds.or_else(from_milliseconds);
        let kind = text("instrumentType").or_else(|| text("quoteType"));
        let mut company = ListedStock {
            symbol: symbol.clone(),
            company_name: company_name.to_owned(),
            exchange: text("fullExchangeName").unwrap_or_default().to_owned(),
            is_fund: kind == Some("ETF"),
            listed_on: listed_at.map(|at| exchange_date(at.into())),
            delisted_on: None,
        };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = all.get(symbol)
            && before.company_name == company.company_name
        {
            company.listed_on = company.listed_on.or(before.listed_on);
        }
        if all.len() >= MAX_SYMBOLS && !all.contains_key(symbol) {
            all.clear();
        }
        all.insert(symbol.clone(), company);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn companies_are_stored_from_charts_and_rows() {
        let companies = Companies::default();
        let xyz: Symbol = "XYZ".parse().unwrap();
        companies.record(&xyz, &json!({ "regularMarketPrice": 1 }));
        assert_eq!(companies.by_symbol(&xyz), None);
        companies.record(
            &xyz,
            &json!({ "longName": "Xylophone Corp", "instrumentType": "EQUITY", "firstTradeDate": 345_479_400 }),
        );
        let reported = companies.by_symbol(&xyz).unwrap();
        assert_eq!((reported.listed_on, reported.is_fund), ("1980-12-12".parse().ok(), false));
        companies.record(&xyz, &json!({ "longName": "Xylophone Corp", "quoteType": "EQUITY" }));
        assert_eq!(companies.by_symbol(&xyz).unwrap().listed_on, reported.listed_on);
        let other = json!({ "shortName": "Xtra ETF", "quoteType": "ETF", "firstTradeDateMilliseconds": 1_762_180_200_000_i64 });
        companies.record(&xyz, &other);
        let reported = companies.by_symbol(&xyz).unwrap();
        assert_eq!(reported.company_name, "Xtra ETF");
        assert_eq!((reported.listed_on, reported.is_fund), ("2025-11-03".parse().ok(), true));
        // Data of another company is not kept.
        companies
            .record(&xyz, &json!({ "longName": "Xyon Bio", "quoteType": "EQUITY", "firstTradeDate": null }));
        assert_eq!(companies.by_symbol(&xyz).unwrap().listed_on, None);
    }
}
