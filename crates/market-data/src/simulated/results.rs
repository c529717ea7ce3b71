//! The dates of companies' quarterly results, and the price jumps after them.

use chrono::{Datelike, Days, NaiveDate, Weekday};

use super::catalogue::{Follows, Instrument};
use super::chance::{Draws, Purpose};
use super::sessions::{FIRST_DATE, LAST_DATE, Sessions};

/// Results are published four times per year, in the two months after each quarter.
const RESULTS_PER_YEAR: f64 = 4.0;
const MONTHS_OF_RESULTS: [u32; 4] = [1, 4, 7, 10];
/// The season of results begins on the first Monday on or after this day of the month.
const FIRST_DAY: u32 = 10;
/// The length of the season, in weeks.
const WEEKS: u32 = 6;
const DAYS_OF_A_WEEK: u32 = 5;

/// The jumps of one company's price, in units of the standard deviation of the log return per session.
#[derive(Debug, Default)]
pub(super) struct Results {
    /// The sessions that open after results, in order.
    sessions: Vec<u16>,
    /// For each of these sessions, the sum of all jumps up to and including it.
    sums: Vec<f64>,
}

impl Results {
    /// Creates jumps that have `share` of the instrument's variance. Funds have none.
    pub(super) fn for_instrument(
        seed: u64,
        instrument: &Instrument,
        share: f64,
        sessions_per_year: f64,
        sessions: Sessions,
    ) -> Self {
        if share == 0.0 || !matches!(instrument.follows, Follows::Company(_)) {
            return Self::default();
        }
        let draws = Draws::new(seed, &format!("stock/{}", instrument.symbol), Purpose::Results);
        let deviation = libm::sqrt(share * sessions_per_year / RESULTS_PER_YEAR);
        let dates = dates(instrument.symbol, FIRST_DATE, LAST_DATE);
        let sessions: Vec<u16> = dates.filter_map(|date| sessions.from(date)).collect();
        let sums = (0..).zip(&sessions).scan(0.0, |sum, (place, _)| {
            *sum += deviation * draws.normal(place);
            Some(*sum)
        });
        Self { sums: sums.collect(), sessions }
    }

    /// The sum of the jumps up to the open of a session.
    pub(super) fn until(&self, session: u16) -> f64 {
        let later = self.sessions.partition_point(|opens| *opens <= session);
        later.checked_sub(1).map_or(0.0, |last| self.sums[last])
    }

    /// The sessions that open after results, in order.
    pub(super) fn sessions(&self) -> &[u16] {
        &self.sessions
    }
}

/// The days from `first` to `last` on which a company's price opens after its results. They are known for all of time
/// and are the same with every seed. A holiday is replaced by the next session.
pub(super) fn dates(symbol: &str, first: NaiveDate, last: NaiveDate) -> impl Iterator<Item = NaiveDate> {
    // Derived only from the symbol, so that the days reveal nothing about the seed.
    let draws = Draws::new(0, &format!("stock/{symbol}"), Purpose::ResultsDates);
    let after = draws.one_of(0, WEEKS) * 7 + draws.one_of(1, DAYS_OF_A_WEEK);
    let of_year = move |year: i32| {
        MONTHS_OF_RESULTS.into_iter().filter_map(move |month| {
            let begins = NaiveDate::from_ymd_opt(year, month, FIRST_DAY)?;
            let to_monday = (7 - begins.weekday().days_since(Weekday::Mon)) % 7;
            Some(begins + Days::new((to_monday + after).into()))
        })
    };
    (first.year()..=last.year()).flat_map(of_year).filter(move |date| (first..=last).contains(date))
}

#[cfg(test)]
mod tests {
    use super::super::catalogue::INSTRUMENTS;
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[test]
    fn each_company_has_its_results_on_four_working_days_a_year() {
        let mut seen = std::collections::HashSet::new();
        for row in INSTRUMENTS {
            let year: Vec<NaiveDate> = dates(row.symbol, day("2027-01-01"), day("2027-12-31")).collect();
            assert_eq!(year.len(), 4, "{}", row.symbol);
            for pair in year.windows(2) {
                assert!((80..100).contains(&(pair[1] - pair[0]).num_days()), "{}: {year:?}", row.symbol);
            }
            assert!(year.iter().all(|date| !matches!(date.weekday(), Weekday::Sat | Weekday::Sun)));
            seen.insert(year[0]);
        }
        assert!(seen.len() > 15, "results are spread over the season: {seen:?}");
    }

    #[test]
    fn jumps_happen_at_the_opens_after_results_and_nowhere_else() {
        for sessions in [Sessions::AroundTheClock, Sessions::Xnys] {
            let apple = INSTRUMENTS.iter().find(|row| row.symbol == "AAPL").unwrap();
            let results = Results::for_instrument(1, apple, 0.07, 252.0, sessions);
            assert_eq!(results.until(0), 0.0);
            for session in 1..sessions.count() {
                let jumps = results.until(session) != results.until(session - 1);
                assert_eq!(jumps, results.sessions().contains(&session), "{session}");
            }
            let jumps: Vec<f64> = results
                .sessions()
                .iter()
                .map(|session| results.until(*session) - results.until(session - 1))
                .collect();
            let variance = jumps.iter().map(|jump| jump * jump).sum::<f64>() / jumps.len() as f64;
            assert!((variance / (0.07 * 63.0) - 1.0).abs() < 0.25, "{variance}");
        }
    }

    #[test]
    fn funds_have_no_results() {
        let spy = INSTRUMENTS.iter().find(|row| row.symbol == "SPY").unwrap();
        assert!(Results::for_instrument(1, spy, 0.07, 252.0, Sessions::Xnys).sessions().is_empty());
    }
}
