//! Events of instruments: dividends by the catalog's yields, and the splits, new symbols and delistings listed here.

use std::num::NonZeroU32;

use chrono::{Datelike, Days, NaiveDate};

use super::catalogue::Instrument;
use super::chance::{Draws, Purpose};
use super::sessions::{FIRST_DATE, Sessions};

/// Dividends are paid four times per year, each a quarter of the yield.
const DIVIDENDS_PER_YEAR: f64 = 4.0;
const MONTHS_BETWEEN_DIVIDENDS: u32 = 3;
/// The last day of a month that can be an ex-date.
const LAST_EX_DAY: u32 = 20;
/// Days from the ex-date to the payment.
const DAYS_TO_PAYMENT: u64 = 15;

/// The symbol, the first day in new shares, and the ratio of new to old shares.
///
/// Splits in the past are those of the real companies; the splits after 1 November 2026 are invented.
#[rustfmt::skip]
const SPLITS: &[(&str, NaiveDate, u32, u32)] = &[
    ("AAPL", date(2014, 6, 9), 7, 1),
    ("AAPL", date(2020, 8, 31), 4, 1),
    ("TSLA", date(2020, 8, 31), 5, 1),
    ("NVDA", date(2021, 7, 20), 4, 1),
    ("GE", date(2021, 8, 2), 1, 8),
    ("AMZN", date(2022, 6, 6), 20, 1),
    ("GOOGL", date(2022, 7, 18), 20, 1),
    ("TSLA", date(2022, 8, 25), 3, 1),
    ("WMT", date(2024, 2, 26), 3, 1),
    ("NVDA", date(2024, 6, 10), 10, 1),
    ("AVGO", date(2024, 7, 15), 10, 1),
    ("XWATT", date(2026, 12, 2), 3, 2),
    ("NFLX", date(2026, 12, 7), 10, 1),
    ("XPENY", date(2027, 1, 19), 1, 20),
    ("XTINY", date(2027, 6, 14), 2, 1),
    ("META", date(2027, 9, 13), 5, 1),
    ("COST", date(2028, 3, 20), 2, 1),
];

const RENAMINGS: &[Renaming] = &[Renaming {
    from: "XCOAX",
    to: "XFIBR",
    company_name: "Fibre Optic Games (invented)",
    on: date(2026, 12, 14),
}];

/// The symbol and the first day without trading.
const DELISTINGS: &[(&str, NaiveDate)] = &[("XLAST", date(2027, 1, 11))];

#[derive(Debug)]
pub(super) struct Renaming {
    from: &'static str,
    pub(super) to: &'static str,
    pub(super) company_name: &'static str,
    /// The first day of the new symbol.
    on: NaiveDate,
}

/// All events of one instrument, in the order of sessions.
#[derive(Debug)]
pub(super) struct Events {
    splits: Vec<Split>,
    /// Sessions that are ex-dates.
    ex_dividends: Vec<u16>,
    /// `q/4`: the fall of the log price at each dividend.
    drop: f64,
    pub(super) renaming: Option<(u16, &'static Renaming)>,
    /// The first session without trading.
    pub(super) delisted: Option<u16>,
    /// The value of one share, from a session until the next entry; the first entry is for session 0.
    shares: Vec<(u16, Share)>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Split {
    pub(super) session: u16,
    pub(super) numerator: NonZeroU32,
    pub(super) denominator: NonZeroU32,
}

/// One share, compared with one share at the anchor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Share {
    /// `D(τ)/D(τ_a) · S(τ)/S(τ_a)`: the factor of the price by splits and dividends alone.
    pub(super) price: f64,
    /// `S(τ_a)/S(τ)`: the factor of the number of shares.
    pub(super) number: f64,
}

impl Events {
    /// Shares are compared with those of session `anchor`. An event on a closed day takes effect in the next session.
    pub(super) fn for_instrument(
        seed: u64,
        instrument: &Instrument,
        sessions: Sessions,
        anchor: u16,
    ) -> Self {
        let symbol = instrument.symbol;
        let session = |date| sessions.from(date).expect("a day of the market");
        let splits = SPLITS.iter().filter(|(of, ..)| *of == symbol).map(|(_, on, new, old)| Split {
            session: session(*on),
            numerator: NonZeroU32::new(*new).expect("not zero"),
            denominator: NonZeroU32::new(*old).expect("not zero"),
        });
        let renaming = RENAMINGS.iter().find(|renaming| renaming.from == symbol);
        let delisting = DELISTINGS.iter().find(|(of, _)| *of == symbol);
        let mut events = Self {
            splits: splits.collect(),
            ex_dividends: ex_dividends(seed, instrument, sessions),
            drop: instrument.dividend_yield_percent / 100.0 / DIVIDENDS_PER_YEAR,
            renaming: renaming.map(|renaming| (session(renaming.on), renaming)),
            delisted: delisting.map(|(_, on)| session(*on)),
            shares: Vec::new(),
        };
        events.shares = events.shares_compared_with(anchor);
        events
    }

    pub(super) fn splits(&self) -> impl Iterator<Item = Split> {
        self.splits.iter().copied().filter(|split| self.is_traded(split.session))
    }

    /// The sessions that are ex-dates.
    pub(super) fn ex_dividends(&self) -> impl Iterator<Item = u16> {
        self.ex_dividends.iter().copied().filter(|session| self.is_traded(*session))
    }

    pub(super) fn is_traded(&self, session: u16) -> bool {
        self.delisted.is_none_or(|end| session < end)
    }

    /// The dividend per share, given the price at the opening of an ex-date: the price has fallen to `exp(−q/4)` of its
    /// value, and the dividend is the difference.
    pub(super) fn dividend(&self, price_without: f64) -> f64 {
        price_without * (libm::exp(self.drop) - 1.0)
    }

    pub(super) fn share(&self, session: u16) -> Share {
        let later = self.shares.partition_point(|(begins, _)| *begins <= session);
        self.shares[later - 1].1
    }

    /// [`Share::price`] at the previous close, for a share of this session: splits are included, the dividend is not.
    pub(super) fn price_before(&self, session: u16) -> f64 {
        let (before, here) = (self.share(session.saturating_sub(1)), self.share(session));
        before.price * (before.number / here.number)
    }

    fn shares_compared_with(&self, anchor: u16) -> Vec<(u16, Share)> {
        // The number of shares that one share at the beginning has become, as an exact ratio, and the dividends since
        // then.
        let number = |session: u16| {
            let until = self.splits.iter().filter(|split| split.session <= session);
            until.fold((1_u64, 1_u64), |(new, old), split| {
                (new * u64::from(split.numerator.get()), old * u64::from(split.denominator.get()))
            })
        };
        let dividends = |session: u16| self.ex_dividends.partition_point(|ex| *ex <= session) as f64;
        let (anchor_new, anchor_old) = number(anchor);
        let share = |session: u16| {
            let (new, old) = number(session);
            let (more, less) = ((new * anchor_old) as f64, (old * anchor_new) as f64);
            let dropped = libm::exp(-self.drop * (dividends(session) - dividends(anchor)));
            Share { price: dropped * (less / more), number: more / less }
        };
        let mut changes: Vec<u16> = self.splits.iter().map(|split| split.session).collect();
        changes.extend([0].iter().chain(&self.ex_dividends));
        changes.sort_unstable();
        changes.dedup();
        changes.into_iter().map(|session| (session, share(session))).collect()
    }
}

/// The payment day of a dividend with this ex-date; always the day of a session.
pub(super) fn pays_on(ex_on: NaiveDate, sessions: Sessions) -> NaiveDate {
    let on = ex_on + Days::new(DAYS_TO_PAYMENT);
    sessions.from(on).map_or(on, |session| sessions.date(session))
}

/// The sessions of the ex-dates of an instrument: the same day of every third month. The first month and the day are
/// drawn at random.
fn ex_dividends(seed: u64, instrument: &Instrument, sessions: Sessions) -> Vec<u16> {
    if instrument.dividend_yield_percent == 0.0 {
        return Vec::new();
    }
    let draws = Draws::new(seed, &format!("stock/{}", instrument.symbol), Purpose::ExDates);
    let first_month = draws.one_of(0, MONTHS_BETWEEN_DIVIDENDS);
    let day = 1 + draws.one_of(1, LAST_EX_DAY);
    let months = (first_month..).step_by(MONTHS_BETWEEN_DIVIDENDS as usize);
    let ex_on = |month: u32| {
        let year = FIRST_DATE.year() + i32::try_from(month / 12).ok()?;
        sessions.from(NaiveDate::from_ymd_opt(year, month % 12 + 1, day)?)
    };
    months.map_while(ex_on).collect()
}

const fn date(year: i32, month: u32, day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(year, month, day).expect("a date")
}

#[cfg(test)]
mod tests {
    use super::super::catalogue::INSTRUMENTS;
    use super::*;

    fn events(symbol: &str) -> Events {
        events_in(symbol, Sessions::AroundTheClock, 17_106)
    }

    fn events_in(symbol: &str, sessions: Sessions, anchor: u16) -> Events {
        Events::for_instrument(
            1,
            INSTRUMENTS.iter().find(|row| row.symbol == symbol).unwrap(),
            sessions,
            anchor,
        )
    }

    #[test]
    fn listed_events_are_of_the_catalog_and_in_order() {
        let known = |symbol: &str| INSTRUMENTS.iter().any(|row| row.symbol == symbol);
        assert!(SPLITS.iter().all(|(of, _, new, old)| known(of) && *new > 0 && *old > 0 && new != old));
        assert!(SPLITS.is_sorted_by_key(|(_, on, ..)| *on));
        assert!(RENAMINGS.iter().all(|renaming| known(renaming.from) && !known(renaming.to)));
        assert!(DELISTINGS.iter().all(|(of, _)| known(of)));
    }

    #[test]
    fn a_share_has_the_catalogs_price_at_the_anchor() {
        for row in INSTRUMENTS {
            assert_eq!(events(row.symbol).share(17_106), Share { price: 1.0, number: 1.0 }, "{}", row.symbol);
        }
    }

    #[test]
    fn splits_count_between_a_session_and_the_anchor() {
        let nvidia = events("NVDA");
        let session_on = |date| Sessions::AroundTheClock.on(date);
        let at = |date: NaiveDate| nvidia.share(session_on(date).unwrap());
        assert_eq!(at(date(2021, 7, 19)), Share { price: 40.0, number: 1.0 / 40.0 });
        assert_eq!(at(date(2021, 7, 20)), Share { price: 10.0, number: 1.0 / 10.0 });
        assert_eq!(at(date(2024, 6, 10)), Share { price: 1.0, number: 1.0 });
        assert_eq!(events("XPENY").share(32_000), Share { price: 20.0, number: 1.0 / 20.0 });
        assert_eq!(nvidia.price_before(session_on(date(2024, 6, 10)).unwrap()), 1.0);
    }

    #[test]
    fn dividends_come_four_times_a_year_and_lower_the_price_by_the_yield() {
        let (coca_cola, days) = (events("KO"), [17_106, 17_106 + 3_652]);
        let between = |ex: &u16| (days[0] + 1..=days[1]).contains(ex);
        assert_eq!(coca_cola.ex_dividends().filter(between).count(), 40);
        let years = libm::log(coca_cola.share(days[1]).price) / -0.031;
        assert!((years - 10.0).abs() < 1e-9, "{years}");
        // The dividend equals the fall of the price.
        let before = 60.0;
        let without = before * libm::exp(-0.031 / 4.0);
        assert!((coca_cola.dividend(without) - (before - without)).abs() < 1e-12);
    }

    #[test]
    fn events_take_effect_in_the_session_of_their_day_or_the_next() {
        let (sessions, anchor) = (Sessions::Xnys, Sessions::Xnys.from(date(2026, 11, 1)).unwrap());
        for row in INSTRUMENTS {
            let [around, exchange] = [events(row.symbol), events_in(row.symbol, sessions, anchor)];
            let dates = |events: &Events, of: Sessions| -> Vec<NaiveDate> {
                let splits = events.splits().map(|split| split.session);
                let renamed = events.renaming.map(|(session, _)| session);
                let all = splits.chain(events.ex_dividends()).chain(renamed).chain(events.delisted);
                all.map(|session| of.date(session)).collect()
            };
            for (planned, held) in
                dates(&around, Sessions::AroundTheClock).into_iter().zip(dates(&exchange, sessions))
            {
                assert_eq!(
                    Some(held),
                    sessions.from(planned).map(|session| sessions.date(session)),
                    "{}",
                    row.symbol
                );
                assert!(domain::Calendar::Xnys.session(pays_on(held, sessions)).is_some(), "{}", row.symbol);
            }
            assert_eq!(exchange.share(anchor), Share { price: 1.0, number: 1.0 }, "{}", row.symbol);
        }
    }

    #[test]
    fn ex_dates_are_spread_over_the_quarter() {
        let first = |symbol| events(symbol).ex_dividends().next().unwrap();
        let firsts: std::collections::HashSet<u16> = INSTRUMENTS
            .iter()
            .filter(|row| row.dividend_yield_percent > 0.0)
            .map(|row| first(row.symbol))
            .collect();
        assert!(firsts.len() > 25 && firsts.iter().all(|session| *session < 91), "{firsts:?}");
    }
}
