//! Decides whether a symbol still belongs to the same company, because symbols are reused.

use chrono::{Days, NaiveDate};

/// How far two reports of one company's listing date may differ, for example after a correction.
const SAME_LISTING: Days = Days::new(30);

/// The stored data about a stock's company.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownCompany {
    pub symbol: String,
    pub name: String,
    pub is_fund: bool,
    /// The first trading day, as a source reported it before.
    pub listed_on: Option<NaiveDate>,
    /// The day of the oldest stored price.
    pub priced_since: Option<NaiveDate>,
    pub is_delisted: bool,
}

/// The company of a symbol as a source reports it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportedCompany {
    pub name: String,
    pub is_fund: bool,
    pub listed_on: Option<NaiveDate>,
}

/// Whether the symbol now belongs to another company. Two conditions must hold:
///
/// - The name consists of different words, ignoring case, punctuation and legal forms such as "Inc".
/// - The listing is a different one: the stock was delisted, a company became a fund or a fund a company, or the
///   reported listing date is more than 30 days after the earlier reported one or after the oldest stored price.
///
/// A new name alone means a renamed company; a new listing date alone means a correction. A missing name does not
/// count; sources then report the symbol as the name.
pub fn is_another_company(known: &KnownCompany, reported: &ReportedCompany) -> bool {
    let is_named = |name: &str| !name.trim().is_empty() && !name.trim().eq_ignore_ascii_case(&known.symbol);
    if !is_named(&known.name) || !is_named(&reported.name) || is_same_name(&known.name, &reported.name) {
        return false;
    }
    let is_later_than = |day: Option<NaiveDate>| {
        reported.listed_on.zip(day).is_some_and(|(listed_on, day)| listed_on > day + SAME_LISTING)
    };
    known.is_delisted
        || known.is_fund != reported.is_fund
        || is_later_than(known.listed_on)
        || is_later_than(known.priced_since)
}

/// Whether a former symbol of a stock now belongs to another company. `given_up_on` is the first day of the stock's
/// next symbol, `reported_on` the day of the source's report.
///
/// As in [`is_another_company`], both the name and the listing must differ. A listing also counts as different if it
/// begins on or after the day on which the stock gave the symbol up, or, if there is no listing date, if the source
/// still lists the symbol more than 30 days after that day: a table of listings may contain the new symbol late.
pub fn is_successor(
    known: &KnownCompany,
    given_up_on: NaiveDate,
    reported: &ReportedCompany,
    reported_on: NaiveDate,
) -> bool {
    // The delisting of the stock under its new symbol does not matter for the old symbol.
    let known = &KnownCompany { is_delisted: false, ..known.clone() };
    if is_another_company(known, reported) {
        return true;
    }
    let is_later = match reported.listed_on {
        Some(listed_on) => listed_on >= given_up_on,
        None => reported_on > given_up_on + SAME_LISTING,
    };
    let is_named = !reported.name.trim().is_empty();
    is_named && is_later && !is_same_name(&known.name, &reported.name)
}

/// Whether two names belong to one company. Only words are compared, without case, punctuation and legal forms, and one
/// name may be truncated. An empty name matches nothing.
pub fn is_same_name(one: &str, other: &str) -> bool {
    let (one, other) = (words(one), words(other));
    !one.is_empty() && !other.is_empty() && one.iter().zip(&other).all(|(one, other)| one == other)
}

fn words(name: &str) -> Vec<String> {
    const LEGAL_FORMS: [&str; 27] = [
        "inc",
        "incorporated",
        "corp",
        "corporation",
        "co",
        "company",
        "companies",
        "ltd",
        "limited",
        "plc",
        "llc",
        "lp",
        "nv",
        "sa",
        "ag",
        "se",
        "the",
        "class",
        "common",
        "stock",
        "ordinary",
        "shares",
        "holding",
        "holdings",
        "group",
        "com",
        "adr",
    ];
    let lower = name.to_lowercase();
    let words = lower.split(|c: char| !c.is_alphanumeric()).filter(|word| word.chars().count() > 1);
    words.filter(|word| !LEGAL_FORMS.contains(word)).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Option<NaiveDate> {
        Some(text.parse().unwrap())
    }

    fn known() -> KnownCompany {
        KnownCompany {
            symbol: "XYZ".into(),
            name: "Xylophone Zither Corp".into(),
            is_fund: false,
            listed_on: day("1999-03-01"),
            priced_since: day("2026-06-01"),
            is_delisted: false,
        }
    }

    fn reported(name: &str, listed_on: Option<NaiveDate>) -> ReportedCompany {
        ReportedCompany { name: name.into(), is_fund: false, listed_on }
    }

    #[test]
    fn another_name_and_a_later_listing_are_another_company() {
        for (name, listed_on, expected) in [
            ("Xyon Bio Inc", day("2026-11-02"), true),
            // The same names in other spellings or with other legal forms.
            ("XYLOPHONE ZITHER CORPORATION", day("2026-11-02"), false),
            ("The Xylophone Zither Company, Inc. - Class A", day("2026-11-02"), false),
            // A renamed company, and one whose listing date was corrected.
            ("Block Inc", day("1999-03-01"), false),
            ("Block Inc", day("1999-03-20"), false),
            ("Block Inc", None, false),
            ("Xylophone Zither Corp", day("2026-11-02"), false),
            // Missing data.
            ("", day("2026-11-02"), false),
            ("xyz", day("2026-11-02"), false),
        ] {
            assert_eq!(
                is_another_company(&known(), &reported(name, listed_on)),
                expected,
                "{name} {listed_on:?}"
            );
        }
    }

    #[test]
    fn names_are_compared_by_their_words() {
        for (one, other, is_same) in [
            ("Apple Inc", "Apple Inc.", true),
            ("The Coca-Cola Company", "COCA COLA CO", true),
            ("Meta Platforms, Inc.", "Meta Platforms Inc - Class A", true),
            ("Alphabet Inc - Class C", "Alphabet Incorporated", true),
            ("Twitter Inc", "Trump Media & Technology Group", false),
            ("First Republic Bank", "First Solar Inc", false),
            ("", "Apple", false),
        ] {
            assert_eq!(is_same_name(one, other), is_same, "{one} and {other}");
        }
    }

    #[test]
    fn a_delisting_a_change_of_kind_or_older_prices_mean_another_listing() {
        let bio = |listed_on| reported("Xyon Bio Inc", listed_on);
        let delisted = KnownCompany { is_delisted: true, listed_on: None, priced_since: None, ..known() };
        assert!(is_another_company(&delisted, &bio(None)));
        assert!(!is_another_company(&delisted, &reported("Xylophone Zither, Inc.", None)));
        let fund = ReportedCompany { is_fund: true, ..reported("Xtra Yield ETF", None) };
        assert!(is_another_company(&known(), &fund));
        let unknown = KnownCompany { listed_on: None, ..known() };
        assert!(is_another_company(&unknown, &bio(day("2026-11-02"))));
        assert!(!is_another_company(&unknown, &bio(day("2026-06-20"))), "its oldest price may be its first");
        let nameless = KnownCompany { name: "XYZ".into(), ..known() };
        assert!(!is_another_company(&nameless, &bio(day("2026-11-02"))));
    }

    #[test]
    fn a_former_symbol_passes_on_with_another_name_and_a_later_listing() {
        let meta = KnownCompany {
            symbol: "META".into(),
            name: "Meta Platforms, Inc.".into(),
            listed_on: day("2012-05-18"),
            priced_since: None,
            ..known()
        };
        let unknown = KnownCompany { listed_on: None, ..meta.clone() };
        let delisted = KnownCompany { is_delisted: true, ..meta.clone() };
        let given_up_on = day("2026-11-23").unwrap();
        for (known, name, listed_on, reported_on, expected) in [
            (&meta, "Fresh Brands Inc", day("2026-12-07"), "2026-12-07", true),
            // Within the 30 days by which listing dates may differ.
            (&unknown, "Fresh Brands Inc", day("2026-11-23"), "2026-11-24", true),
            (&unknown, "Fresh Brands Inc", day("2026-11-22"), "2026-11-24", false),
            (&unknown, "Fresh Brands Inc", None, "2026-12-23", false),
            (&unknown, "Fresh Brands Inc", None, "2026-12-24", true),
            // The same company, reported under its old name or symbol.
            (&meta, "Facebook, Inc.", day("2012-05-18"), "2026-12-07", false),
            (&meta, "Facebook, Inc.", day("2012-05-18"), "2027-12-07", false),
            (&meta, "Meta Platforms Inc", day("2026-12-07"), "2026-12-07", false),
            (&meta, "", day("2026-12-07"), "2026-12-07", false),
            (&delisted, "Facebook, Inc.", day("2012-05-18"), "2026-12-07", false),
        ] {
            let found =
                is_successor(known, given_up_on, &reported(name, listed_on), reported_on.parse().unwrap());
            assert_eq!(found, expected, "{name} {listed_on:?} {reported_on}");
        }
    }
}
