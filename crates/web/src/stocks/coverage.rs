//! Notes about charts and yearly extremes whose prices begin later than their range.

use chrono::NaiveDate;
use domain::HistoryRange;
use domain::performance::Period;
use services::stocks::coverage::Coverage;

use crate::shell::format;

/// The note under a chart if its range or a longer one is not covered, else empty. `known` are the loaded ranges; the
/// chart's range comes first.
pub fn note(known: &[Coverage], today: NaiveDate) -> String {
    let Some(shortened) = known.iter().find(|coverage| !coverage.is_covered) else { return String::new() };
    let (Some(first), Some(shown)) = (shortened.first_on, known.first()) else { return String::new() };
    let others: Vec<&str> = HistoryRange::ALL
        .into_iter()
        .filter(|(range, _)| shortened.leaves_uncovered(*range, today))
        .filter(|(range, _)| shown.is_covered || *range != shown.range)
        .map(|(range, _)| name(range))
        .collect();
    let since = format::date(first);
    match (shown.is_covered, listed(&others)) {
        (false, None) => format!("Since {since}: the source has no older prices."),
        (false, Some(names)) => {
            let show = if others.len() == 1 { "shows" } else { "show" };
            format!("Since {since}: the source has no older prices. {names} {show} the same.")
        }
        (true, Some(names)) => {
            let begin = if others.len() == 1 { "begins" } else { "begin" };
            format!("{names} {begin} on {since}: the source has no older prices.")
        }
        (true, None) => String::new(),
    }
}

fn name(range: HistoryRange) -> &'static str {
    if range == HistoryRange::All { "All" } else { range.as_str() }
}

/// Joins names: `1Y, 5Y and All`.
fn listed(names: &[&str]) -> Option<String> {
    match names {
        [] => None,
        [one] => Some((*one).to_owned()),
        [first @ .., last] => Some(format!("{} and {last}", first.join(", "))),
    }
}

/// The label of the lowest and highest price of a year: `52 weeks`, or the first day if there are prices of less time.
pub fn span_of_year(year: &Coverage) -> String {
    match year.first_on.filter(|_| !year.is_covered) {
        Some(first) => format!("Since {}", format::date(first)),
        None => "52 weeks".to_owned(),
    }
}

/// The note under a portfolio's chart if the portfolio is younger than the range, else empty.
pub fn note_on_portfolio(period: Period, opened: NaiveDate, today: NaiveDate) -> String {
    match period.first_day(today) {
        Some(start) if start < opened => {
            format!("Since {}, when the portfolio was opened.", format::date(opened))
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn coverage(range: HistoryRange, first: &str, is_covered: bool) -> Coverage {
        let range_start = range.first_day(day("2026-11-20"));
        Coverage { range, range_start, first_on: Some(day(first)), is_covered }
    }

    #[test]
    fn a_chart_says_where_its_prices_begin_and_which_ranges_show_the_same() {
        let today = day("2026-11-20");
        let year = coverage(HistoryRange::Year, "2026-06-30", false);
        assert_eq!(
            note(&[year], today),
            "Since 30 Jun 2026: the source has no older prices. YTD, 5Y and All show the same."
        );
        let month = coverage(HistoryRange::Month, "2026-10-20", true);
        assert_eq!(
            note(&[month, year], today),
            "YTD, 1Y, 5Y and All begin on 30 Jun 2026: the source has no older prices."
        );
        let all = coverage(HistoryRange::All, "2026-06-30", true);
        assert_eq!(
            note(&[all, year], today),
            "YTD, 1Y, 5Y and All begin on 30 Jun 2026: the source has no older prices."
        );
        let full = coverage(HistoryRange::Year, "2025-11-20", true);
        let five_years = coverage(HistoryRange::FiveYears, "2023-01-03", false);
        assert_eq!(
            note(&[five_years, full], today),
            "Since 3 Jan 2023: the source has no older prices. All shows the same."
        );
        assert_eq!(note(&[month, full], today), "");
        assert_eq!(
            (span_of_year(&year), span_of_year(&full)),
            ("Since 30 Jun 2026".into(), "52 weeks".into())
        );
    }

    #[test]
    fn a_young_portfolio_says_when_it_was_opened() {
        let told = |range| note_on_portfolio(range, day("2026-11-02"), day("2026-11-20"));
        assert_eq!(told(Period::Year), "Since 2 Nov 2026, when the portfolio was opened.");
        assert_eq!(told(Period::Week), "");
        assert_eq!(told(Period::All), "");
    }
}
