//! The spelling of symbols at Yahoo: class shares have a hyphen, foreign listings a dot and the exchange.

use domain::Symbol;

use crate::QuoteError;
use crate::source::FOREIGN;

/// Returns Yahoo's spelling of a symbol: `BRK.B` is `BRK-B` at Yahoo.
///
/// # Errors
/// [`QuoteError::NotTradable`] for a foreign listing such as `GS2C.DE`. (`TSCO.L` is a foreign listing too, but looks
/// like a class share; the call finds nothing.)
pub(super) fn provider_symbol(symbol: &Symbol) -> Result<String, QuoteError> {
    match symbol.as_str().rsplit_once('.') {
        None => Ok(symbol.to_string()),
        Some((stem, class)) if class.len() == 1 => Ok(format!("{}-{class}", stem.replace('.', "-"))),
        Some(_) => Err(QuoteError::NotTradable { symbol: symbol.clone(), reason: FOREIGN }),
    }
}

/// Returns the symbol for Yahoo's spelling, if it is valid. At Yahoo, a dot precedes an exchange, and a hyphen with a
/// single letter a class.
pub(super) fn symbol_of(ticker: &str) -> Option<Symbol> {
    if ticker.contains('.') {
        return None;
    }
    match ticker.rsplit_once('-') {
        Some((stem, class)) if class.len() == 1 => format!("{stem}.{class}").parse().ok(),
        _ => ticker.parse().ok(),
    }
}

/// Whether an answer is about the requested symbol.
pub(super) fn is_about(answered: &str, asked: &Symbol) -> bool {
    let fold = |text: &str| text.trim().to_ascii_uppercase().replace('-', ".");
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
        for (ours, theirs) in [("BRK.B", "BRK-B"), ("AAPL", "AAPL"), ("BAC-PM", "BAC-PM")] {
            assert_eq!(provider_symbol(&symbol(ours)).unwrap(), theirs);
            assert_eq!(symbol_of(theirs), Some(symbol(ours)));
        }
        assert!(is_about("brk-b", &symbol("BRK.B")) && !is_about("BRK-A", &symbol("BRK.B")));
    }

    #[test]
    fn foreign_listings_are_rejected() {
        for foreign in ["GS2C.DE", "AAPL.VI", "0700.HK"] {
            assert!(
                matches!(provider_symbol(&symbol(foreign)), Err(QuoteError::NotTradable { .. })),
                "{foreign}"
            );
            assert_eq!(symbol_of(foreign), None);
        }
        assert_eq!((symbol_of("APC.F"), symbol_of("^GSPC"), symbol_of("EURUSD=X")), (None, None, None));
    }
}
