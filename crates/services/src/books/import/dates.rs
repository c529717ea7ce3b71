//! Days and times as files write them.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, TimeZone, Utc};
use domain::Timestamp;
use domain::calendar::EXCHANGE_ZONE;

use super::issue::RowProblem;

/// A day without a time counts as noon in New York.
const NOON: NaiveTime = NaiveTime::from_hms_opt(12, 0, 0).expect("a time of day");
/// Days that have one meaning.
const DAYS: [&str; 6] = ["%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%d %B %Y", "%d-%B-%Y", "%B %d, %Y"];
/// A day of eight digits.
const COMPACT_DAY: &str = "%Y%m%d";
/// What may follow a day.
const TIMES: [&str; 8] =
    [" %H:%M:%S", " %H:%M", "T%H:%M:%S%.f", "T%H:%M", ", %H:%M:%S", ", %H:%M", " %I:%M:%S %p", " %I:%M %p"];

/// When a row happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RowTime {
    pub at: Timestamp,
    /// Whether the file tells only the day.
    pub is_day: bool,
}

/// Which of the first two numbers of `11/12/2026` is the day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DayOrder {
    DayFirst,
    MonthFirst,
}

impl DayOrder {
    /// The order that dates of a file show, such as `11/20/2026`. `None` when none does, or when they contradict.
    pub fn detect<'a>(dates: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut shown = dates.filter_map(Self::of_date);
        let first = shown.next()?;
        shown.all(|other| other == first).then_some(first)
    }

    fn of_date(text: &str) -> Option<Self> {
        match numbers(text)? {
            (13..=31, 1..=12) => Some(Self::DayFirst),
            (1..=12, 13..=31) => Some(Self::MonthFirst),
            _ => None,
        }
    }

    fn format(self, separator: char) -> String {
        match self {
            Self::DayFirst => format!("%d{separator}%m{separator}%Y"),
            Self::MonthFirst => format!("%m{separator}%d{separator}%Y"),
        }
    }
}

/// The first two numbers of a date like `11/12/2026` or `11-12-2026`.
fn numbers(text: &str) -> Option<(u8, u8)> {
    let (first, rest) = text.split_once(['/', '-'])?;
    let (second, _) = rest.split_once(['/', '-'])?;
    let number = |text: &str| if text.len() <= 2 { text.parse().ok() } else { None };
    Some((number(first)?, number(second)?))
}

/// Reads a day or a time. Times without a zone are of New York.
///
/// # Errors
/// [`RowProblem::Date`], and [`RowProblem::DateOfTwoMeanings`] for `11/12/2026` unless the order is known.
pub(super) fn row_time(text: &str, order: Option<DayOrder>) -> Result<RowTime, RowProblem> {
    if let Ok(at) = text.parse::<DateTime<Utc>>() {
        return Ok(RowTime { at: Timestamp::new(at), is_day: false });
    }
    let (local, is_day) = match numbers(text) {
        None if text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_digit()) => {
            local_time(text, COMPACT_DAY).ok_or(RowProblem::Date)?
        }
        None => DAYS.iter().find_map(|day| local_time(text, day)).ok_or(RowProblem::Date)?,
        Some(_) => in_order(text, DayOrder::of_date(text).or(order))?,
    };
    if !(1900..2200).contains(&local.year()) {
        return Err(RowProblem::Date);
    }
    let at = EXCHANGE_ZONE.from_local_datetime(&local).earliest().ok_or(RowProblem::Date)?;
    Ok(RowTime { at: Timestamp::new(at.to_utc()), is_day })
}

fn in_order(text: &str, order: Option<DayOrder>) -> Result<(NaiveDateTime, bool), RowProblem> {
    let separator = if text.contains('/') { '/' } else { '-' };
    let read = |order: DayOrder| local_time(text, &order.format(separator)).ok_or(RowProblem::Date);
    match order {
        Some(order) => read(order),
        None => {
            let (one, other) = (read(DayOrder::DayFirst)?, read(DayOrder::MonthFirst)?);
            let is_clear = one == other;
            is_clear.then_some(one).ok_or_else(|| RowProblem::DateOfTwoMeanings { date: text.to_owned() })
        }
    }
}

/// A day with or without a time, and whether it has none.
fn local_time(text: &str, day: &str) -> Option<(NaiveDateTime, bool)> {
    if let Ok(date) = NaiveDate::parse_from_str(text, day) {
        return Some((date.and_time(NOON), true));
    }
    let read = |time: &&str| NaiveDateTime::parse_from_str(text, &format!("{day}{time}")).ok();
    TIMES.iter().find_map(read).map(|local| (local, false))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, order: Option<DayOrder>) -> String {
        match row_time(text, order) {
            Ok(time) => format!("{}{}", time.at.to_rfc3339(), if time.is_day { " day" } else { "" }),
            Err(problem) => problem.to_string(),
        }
    }

    #[test]
    fn days_and_times_of_one_meaning_are_read() {
        for day in [
            "2026-11-20",
            "2026/11/20",
            "20.11.2026",
            "20 Nov 2026",
            "20 November 2026",
            "20-Nov-2026",
            "Nov 20, 2026",
            "November 20, 2026",
            "20261120",
            "11/20/2026",
            "20/11/2026",
            "20-11-2026",
        ] {
            assert_eq!(read(day, None), "2026-11-20T17:00:00Z day", "{day}");
        }
        for time in [
            "2026-11-20T15:30:00Z",
            "2026-11-20T16:30:00+01:00",
            "2026-11-20 10:30",
            "2026-11-20 10:30:00",
            "2026-11-20T10:30:00",
            "2026-11-20T10:30:00.000",
            "2026-11-20, 10:30:00",
            "20.11.2026 10:30",
            "11/20/2026 10:30:00 AM",
            "11/20/2026 10:30 am",
        ] {
            assert_eq!(read(time, None), "2026-11-20T15:30:00Z", "{time}");
        }
        assert_eq!(read("2026-07-20", None), "2026-07-20T16:00:00Z day", "daylight saving time");
    }

    #[test]
    fn a_date_of_two_meanings_needs_another_date_that_shows_the_order() {
        assert!(read("11/12/2026", None).contains("\"11/12/2026\" has two meanings"));
        assert_eq!(read("11/11/2026", None), "2026-11-11T17:00:00Z day");
        for (shows, expected) in [("20/11/2026", "2026-12-11"), ("11/20/2026", "2026-11-12")] {
            let order = DayOrder::detect(["11/12/2026", shows, "2026-01-31"].into_iter());
            assert_eq!(read("11/12/2026", order), format!("{expected}T17:00:00Z day"), "{shows}");
        }
        assert_eq!(DayOrder::detect(["20/11/2026", "11/20/2026"].into_iter()), None);
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "yesterday",
            "20.11.26",
            "11/20/26",
            "2026-13-01",
            "2026-02-30",
            "31/31/2026",
            "0026-11-20",
            "46346",
            "2026111",
            "2026-11",
        ] {
            assert!(
                read(text, None).starts_with("write a day like 2026-11-20"),
                "{text}: {}",
                read(text, None)
            );
        }
    }
}
