//! Finds instruments by a few letters.

use domain::Listing;

/// How well a listing matches a query; smaller is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Symbol,
    SymbolPrefix,
    WordPrefix,
    InsideName,
}

/// Returns up to `limit` listings that match `query`, the best first; equally good ones are ordered by symbol.
///
/// The best match is a symbol that begins with the query, then a name with a word that begins with it, then a name that
/// contains it. Upper and lower case are equal, and so are the spellings `BRK.B`, `BRK-B` and `BRK/B` of a class share.
pub(crate) fn best_matches(
    query: &str,
    listings: impl IntoIterator<Item = Listing>,
    limit: usize,
) -> Vec<Listing> {
    let query = query.trim().to_lowercase();
    if query.is_empty() {
        return Vec::new();
    }
    let mut found: Vec<(Fit, Listing)> =
        listings.into_iter().filter_map(|listing| Some((fit(&query, &listing)?, listing))).collect();
    found.sort_by(|(a, one), (b, other)| a.cmp(b).then_with(|| one.symbol.cmp(&other.symbol)));
    found.into_iter().map(|(_, listing)| listing).take(limit).collect()
}

/// `query` is in lower case and not empty.
fn fit(query: &str, listing: &Listing) -> Option<Fit> {
    let symbol = listing.symbol.as_str().to_lowercase();
    let as_symbol = query.replace(['-', '/', ' '], ".");
    if symbol == as_symbol {
        return Some(Fit::Symbol);
    }
    if symbol.starts_with(&as_symbol) {
        return Some(Fit::SymbolPrefix);
    }
    let name = listing.company_name.to_lowercase();
    let begins_word =
        |at: usize| name[..at].chars().next_back().is_none_or(|before| !before.is_alphanumeric());
    if name.match_indices(query).any(|(at, _)| begins_word(at)) {
        return Some(Fit::WordPrefix);
    }
    name.contains(query).then_some(Fit::InsideName)
}

#[cfg(test)]
mod tests {
    use domain::Currency;

    use super::*;

    fn symbols(query: &str, limit: usize) -> Vec<String> {
        let listings = [
            ("PINE", "Pineapple Holdings"),
            ("AAPL", "Apple Inc."),
            ("APP", "AppLovin Corporation"),
            ("APPF", "AppFolio, Inc."),
            ("BRK.B", "Berkshire Hathaway Inc. Class B"),
            ("BAC", "Bank of America Corporation"),
        ]
        .map(|(symbol, name)| Listing {
            symbol: symbol.parse().unwrap(),
            company_name: name.to_owned(),
            exchange: String::new(),
            sector: "Other".to_owned(),
            currency: Currency::Usd,
        });
        best_matches(query, listings, limit).into_iter().map(|listing| listing.symbol.to_string()).collect()
    }

    #[test]
    fn symbols_come_before_words_and_words_before_parts_of_words() {
        assert_eq!(symbols("app", 10), ["APP", "APPF", "AAPL", "PINE"]);
        assert_eq!(symbols(" APPF ", 10), ["APPF"]);
        assert_eq!(symbols("a", 10), ["AAPL", "APP", "APPF", "BAC", "BRK.B", "PINE"]);
        assert_eq!(symbols("app", 2), ["APP", "APPF"]);
    }

    #[test]
    fn several_words_and_other_spellings_of_a_class_share_are_found() {
        assert_eq!(symbols("bank of am", 10), ["BAC"]);
        assert_eq!(symbols("hathaway", 10), ["BRK.B"]);
        for spelling in ["brk.b", "BRK-B", "brk/b", "brk b"] {
            assert_eq!(symbols(spelling, 10), ["BRK.B"], "{spelling}");
        }
    }

    #[test]
    fn an_empty_query_finds_nothing() {
        assert!(symbols("", 10).is_empty() && symbols("  ", 10).is_empty() && symbols("zzz", 10).is_empty());
    }
}
