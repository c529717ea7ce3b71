//! Compares the exchange's calendar with `data/xnys-2010-2030.csv`, which names its source.

#![expect(clippy::unwrap_used, reason = "the helpers of tests may panic like the tests")]

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use domain::{Calendar, Session, Timestamp};

const FACTS: &str = include_str!("data/xnys-2010-2030.csv");
const MICROSECOND: TimeDelta = TimeDelta::microseconds(1);

fn facts() -> Vec<Session> {
    let instant = |date: &str, time: &str| -> Timestamp {
        format!("{date}T{time}:00Z").parse::<DateTime<Utc>>().unwrap().into()
    };
    let session = |line: &str| {
        let [date, opens, closes] = line.split(',').collect::<Vec<_>>().try_into().unwrap();
        let (opens_at, closes_at) = (instant(date, opens), instant(date, closes));
        Session { date: date.parse().unwrap(), opens_at, closes_at }
    };
    FACTS.lines().filter(|line| !line.starts_with('#')).map(session).collect()
}

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

#[test]
fn sessions_of_twenty_one_years_match_the_exchange() {
    let facts = facts();
    assert_eq!(facts.len(), 5279);
    let ours: Vec<Session> = Calendar::Xnys.sessions(day("2010-01-01"), day("2030-12-31")).collect();
    // The differences are compared first, because the whole lists are too long to read.
    let of_one_alone: Vec<_> = ours
        .iter()
        .filter(|session| !facts.contains(session))
        .chain(facts.iter().filter(|session| !ours.contains(session)))
        .collect();
    assert_eq!(of_one_alone, Vec::<&Session>::new());
    assert_eq!(ours, facts);
}

#[test]
fn closed_days_have_no_session() {
    let facts = facts();
    let mut sessions = facts.iter().peekable();
    for date in day("2010-01-01").iter_days().take_while(|date| *date <= day("2030-12-31")) {
        let known = sessions.next_if(|session| session.date == date).copied();
        assert_eq!(Calendar::Xnys.session(date), known, "{date}");
    }
    assert_eq!(sessions.next(), None);
}

#[test]
fn current_next_and_last_sessions_are_right_at_every_open_and_close() {
    let facts = facts();
    let dates = |at: Timestamp| {
        let open = Calendar::Xnys.session_at(at).map(|session| session.date);
        let [last, next, booked] = [
            Calendar::Xnys.last_closed(at),
            Calendar::Xnys.next_open(at),
            Calendar::Xnys.booking_session(at),
        ]
        .map(|session| session.date);
        (open, last, next, booked)
    };
    for three in facts.windows(3) {
        let [before, session, after] = [three[0], three[1], three[2]].map(|session| session.date);
        let Session { opens_at, closes_at, .. } = three[1];
        let in_session = (Some(session), before, after, session);
        assert_eq!(dates(opens_at - MICROSECOND), (None, before, session, session));
        assert_eq!(dates(opens_at), in_session);
        assert_eq!(dates(closes_at - MICROSECOND), in_session);
        assert_eq!(dates(closes_at), (None, session, after, after));
        assert_eq!(Calendar::Xnys.before(session).date, before);
    }
}
