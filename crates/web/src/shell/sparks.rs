//! The small charts of the stocks in a list.

use std::collections::HashMap;

use domain::HistoryRange;
use domain::{Freshness, Symbol};
use services::Services;

use crate::shell::chart;
use crate::shell::chart::Spark;

/// Draws the last month of each symbol. Empty for a real source, because its limited calls are for prices.
pub async fn month_sparks<'a>(
    services: &Services,
    symbols: impl Iterator<Item = &'a Symbol>,
) -> HashMap<Symbol, Spark> {
    let mut sparks = HashMap::new();
    if services.market().freshness() != Freshness::Simulated {
        return sparks;
    }
    for symbol in symbols {
        let Ok((bars, coverage)) = services.stocks().covered_history(None, symbol, HistoryRange::Month).await
        else {
            continue;
        };
        // A shorter series would not match its label.
        if !coverage.is_covered {
            continue;
        }
        let closes: Vec<f64> = bars.iter().map(|bar| bar.close.to_f64()).collect();
        if let Some(spark) = chart::spark("30 days", &closes) {
            sparks.insert(symbol.clone(), spark);
        }
    }
    sparks
}
