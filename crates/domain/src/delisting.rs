//! Decides whether the evidence is sufficient to mark a stock as delisted.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use crate::calendar::exchange_date;
use crate::order::keywords;
use crate::{Calendar, Timestamp};

/// The number of days on which a table of listings must lack the stock.
const TABLES: usize = 2;
/// The number of sessions with the answer "not found" that are sufficient.
const SESSIONS: usize = 3;

keywords! {
    DelistingEvidenceKind {
        /// A table of listings lacks the stock, which an earlier table contained.
        NotListed = "not_listed",
        /// A table of former listings contains the stock, with a delisting day.
        ListedAsDelisted = "listed_as_delisted",
        /// The price source does not know the stock, but knows others at the same time.
        NotFound = "not_found",
    }
}

/// An observation of one stock on one day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DelistingEvidence {
    pub kind: DelistingEvidenceKind,
    /// The day of the table or of the session, in New York.
    pub seen_on: NaiveDate,
    pub seen_at: Timestamp,
    /// For [`DelistingEvidenceKind::ListedAsDelisted`]: the delisting day in the table.
    pub delisted_on: Option<NaiveDate>,
}

/// Sufficient evidence. It is displayed as a reason, such as: "missing from the price source's table of listings since
/// 2026-11-22".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DelistingGrounds {
    pub kind: DelistingEvidenceKind,
    /// The first day with evidence.
    pub since: NaiveDate,
    /// The delisting day in the table of former listings.
    pub delisted_on: Option<NaiveDate>,
}

impl DelistingGrounds {
    /// The first session without the stock: the session of the delisting day in the table, or of the day after the last
    /// accepted price, whichever is later.
    pub fn first_session_without(&self, last_price_at: Option<Timestamp>, calendar: Calendar) -> NaiveDate {
        let after_last = last_price_at.map(|at| exchange_date(at) + chrono::Days::new(1));
        let day = self.delisted_on.max(after_last).unwrap_or(self.since);
        calendar.sessions(day, day + chrono::Days::new(30)).next().map_or(day, |session| session.date)
    }
}

impl fmt::Display for DelistingGrounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind, self.delisted_on) {
            (DelistingEvidenceKind::ListedAsDelisted, Some(on)) => {
                write!(f, "listed by the price source as delisted on {on}")
            }
            (DelistingEvidenceKind::NotFound, _) => {
                write!(f, "not known to the price source on {SESSIONS} session days since {}", self.since)
            }
            _ => write!(f, "missing from the price source's table of listings since {}", self.since),
        }
    }
}

/// Judges the evidence about one stock. Evidence from before the last accepted price does not count, because the stock
/// was traded afterwards; a former listing that ended before that price belonged to another company.
///
/// Sufficient evidence is a former listing with its delisting day, tables of listings of two days without the stock, or
/// three sessions in which the source did not know the stock.
pub fn judge_delisting(
    evidence: &[DelistingEvidence],
    last_price_at: Option<Timestamp>,
) -> Option<DelistingGrounds> {
    let counts = |seen: &&DelistingEvidence| {
        let is_of_this_company =
            seen.delisted_on.is_none_or(|on| last_price_at.is_none_or(|at| on >= exchange_date(at)));
        last_price_at.is_none_or(|at| seen.seen_at > at) && is_of_this_company
    };
    let of = |kind| evidence.iter().filter(counts).filter(move |seen| seen.kind == kind);
    let days = |kind| of(kind).map(|seen| seen.seen_on).collect::<BTreeSet<NaiveDate>>();
    if let Some(listed) =
        of(DelistingEvidenceKind::ListedAsDelisted).max_by_key(|seen| (seen.delisted_on, seen.seen_on))
    {
        let DelistingEvidence { kind, seen_on: since, delisted_on, .. } = *listed;
        return Some(DelistingGrounds { kind, since, delisted_on });
    }
    [(DelistingEvidenceKind::NotListed, TABLES), (DelistingEvidenceKind::NotFound, SESSIONS)]
        .into_iter()
        .find_map(|(kind, enough)| {
            let days = days(kind);
            let since = *days.first()?;
            (days.len() >= enough).then_some(DelistingGrounds { kind, since, delisted_on: None })
        })
}

/// Whether a table of listings is complete, judged by the number of rows that disappeared. Of twelve thousand stocks,
/// ten or twenty are delisted per week; a truncated table lacks many more.
pub fn is_whole_table(listed_before: usize, lost: usize) -> bool {
    const FEW: usize = 5;
    const MAX_LOST_PERCENT: usize = 3;
    lost <= FEW || lost * 100 <= listed_before * MAX_LOST_PERCENT
}

/// Whether the answers of one round show a working source: it knows at least one stock, and the number of stocks that
/// it no longer knows is no larger than the number that can be delisted at about the same time.
pub fn is_no_outage(asked: usize, answered: usize, not_found: usize) -> bool {
    const FEW: usize = 2;
    answered > 0 && (not_found <= FEW || not_found * 20 <= asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    /// Noon in New York.
    fn noon(date: &str) -> Timestamp {
        format!("{date}T17:00:00Z").parse::<chrono::DateTime<chrono::Utc>>().unwrap().into()
    }

    fn seen(kind: DelistingEvidenceKind, on: &str) -> DelistingEvidence {
        DelistingEvidence { kind, seen_on: day(on), seen_at: noon(on), delisted_on: None }
    }

    fn reported(on: &str, delisted_on: &str) -> DelistingEvidence {
        let kind = DelistingEvidenceKind::ListedAsDelisted;
        DelistingEvidence { delisted_on: Some(day(delisted_on)), ..seen(kind, on) }
    }

    #[test]
    fn two_tables_of_different_days_are_enough() {
        let kind = DelistingEvidenceKind::NotListed;
        let (sunday, monday) = (seen(kind, "2026-11-22"), seen(kind, "2026-11-23"));
        let last = Some(noon("2026-11-20"));
        assert_eq!(judge_delisting(std::slice::from_ref(&sunday), last), None);
        assert_eq!(judge_delisting(&[sunday.clone(), sunday.clone()], last), None);
        let grounds = judge_delisting(&[sunday.clone(), monday.clone()], last).unwrap();
        assert_eq!((grounds.kind, grounds.since), (kind, day("2026-11-22")));
        assert_eq!(grounds.first_session_without(last, Calendar::Xnys), day("2026-11-23"));
        // The stock was traded after the first observation.
        assert_eq!(judge_delisting(&[sunday.clone(), monday.clone()], Some(noon("2026-11-22"))), None);
        assert!(judge_delisting(&[sunday, monday], None).is_some());
    }

    #[test]
    fn three_sessions_are_enough_and_kinds_of_evidence_do_not_add_up() {
        let of = |day| seen(DelistingEvidenceKind::NotFound, day);
        let mut evidence = vec![of("2026-11-23"), of("2026-11-24")];
        evidence.push(seen(DelistingEvidenceKind::NotListed, "2026-11-22"));
        assert_eq!(judge_delisting(&evidence, None), None);
        evidence.push(of("2026-11-24"));
        assert_eq!(judge_delisting(&evidence, None), None);
        evidence.push(of("2026-11-25"));
        let grounds = judge_delisting(&evidence, Some(noon("2026-11-20"))).unwrap();
        assert_eq!(grounds.to_string(), "not known to the price source on 3 session days since 2026-11-23");
    }

    #[test]
    fn a_former_listing_counts_by_its_day() {
        let last = Some(noon("2026-11-20"));
        let old = reported("2026-11-22", "2005-03-01");
        assert_eq!(judge_delisting(std::slice::from_ref(&old), last), None, "another company's");
        let grounds = judge_delisting(&[old, reported("2026-11-22", "2026-11-25")], last).unwrap();
        assert_eq!(grounds.delisted_on, Some(day("2026-11-25")));
        // The 26th is Thanksgiving.
        let told_thursday = DelistingGrounds { delisted_on: Some(day("2026-11-26")), ..grounds };
        assert_eq!(told_thursday.first_session_without(last, Calendar::Xnys), day("2026-11-27"));
        let before_price = DelistingGrounds { delisted_on: Some(day("2026-11-20")), ..grounds };
        assert_eq!(before_price.first_session_without(last, Calendar::Xnys), day("2026-11-23"));
    }

    #[test]
    fn a_truncated_table_and_an_outage_are_not_evidence() {
        for (before, lost, whole) in
            [(12_000, 20, true), (12_000, 361, false), (12_000, 6_000, false), (4, 4, true), (10, 6, false)]
        {
            assert_eq!(is_whole_table(before, lost), whole, "{lost} of {before}");
        }
        for (asked, answered, not_found, works) in [
            (10, 9, 1, true),
            (3, 1, 2, true),
            (1, 0, 1, false),
            (30, 0, 30, false),
            (30, 20, 10, false),
            (100, 95, 5, true),
        ] {
            assert_eq!(is_no_outage(asked, answered, not_found), works, "{not_found} of {asked}");
        }
    }
}
