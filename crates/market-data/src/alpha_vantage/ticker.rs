//! The spelling of symbols at Alpha Vantage: class shares have a hyphen, foreign listings a suffix.

use domain::Symbol;

use crate::QuoteError;
use crate::source::FOREIGN;

/// Returns the provider's spelling of a symbol: `BRK.B` is `BRK-B` at Alpha Vantage.
///
/// # Errors
/// [`QuoteError::NotTradable`] for a foreign listing, which ends in a dot and the exchange's letters (`TSCO.LON`): the
/// answer would contain its price without the currency.
pub(super) fn provider_symbol(symbol: &Symbol) -> Result<String, QuoteError> {
    let suffix = symbol.as_str().rsplit_once('.').map_or("", |(_, suffix)| suffix);
    if suffix.len() >= 3 {
        return Err(QuoteError::NotTradable { symbol: symbol.clone(), reason: FOREIGN });
    }
    Ok(symbol.as_str().replace('.', "-"))
}

/// The symbol for the provider's spelling, if it is valid.
pub(super) fn symbol_of(ticker: &str) -> Option<Symbol> {
    ticker.replace('-', ".").parse().ok()
}

/// Whether an answer is about the requested symbol, in either spelling.
pub(super) fn is_about(answered: &str, asked: &Symbol) -> bool {
    let fold = |text: &str| text.trim().to_ascii_uppercase().replace(['-', '/'], ".");
    fold(answered) == fold(asked.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbol(text: &str) -> Symbol {
        text.parse().unwrap()
    }

    #[test]
    fn class_shares_change_their_dot_for_a_hyphen_and_back() {
        assert_eq!(provider_symbol(&symbol("BRK.B")).unwrap(), "BRK-B");
        assert_eq!(provider_symbol(&symbol("AAPL")).unwrap(), "AAPL");
        assert_eq!(symbol_of("BRK-B"), Some(symbol("BRK.B")));
        assert_eq!(symbol_of("not a symbol"), None);
    }

    #[test]
    fn foreign_listings_are_rejected() {
        for foreign in ["TSCO.LON", "SHOP.TRT", "6190.HKG"] {
            assert!(
                matches!(provider_symbol(&symbol(foreign)), Err(QuoteError::NotTradable { .. })),
                "{foreign}"
            );
        }
    }

    #[test]
    fn an_answer_is_recognized_in_any_spelling() {
        for spelling in ["BRK.B", "brk-b", " BRK/B "] {
            assert!(is_about(spelling, &symbol("BRK.B")), "{spelling}");
        }
        assert!(!is_about("BRK.A", &symbol("BRK.B")) && !is_about("", &symbol("BRK.B")));
    }
}
