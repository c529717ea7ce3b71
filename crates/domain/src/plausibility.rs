//! Decides whether to accept a new price, by comparing it with the stock's last accepted price.
//!
//! A price that differs too much is *unconfirmed*: pages show it as such, and nothing uses it until it is confirmed.
//! Both prices must be in the same shares; see [`crate::share_basis`].

use std::fmt;
use std::str::FromStr;

use chrono::TimeDelta;
use thiserror::Error;

use crate::{Freshness, Price, Timestamp};

/// The largest move, up or down, that is accepted immediately. A ratio: 0.40 is 40 %.
pub const LARGEST_MOVE: f64 = 0.40;
/// The tolerance for a unit slip: the ratio of two prices is this close to a power of ten if one of them is in another
/// unit, such as cents. A ratio, with a margin for float errors.
const UNIT_SLIP: f64 = 0.01 + 1e-9;
/// The largest difference between two reports of the same close, up or down, inclusive. A ratio. Corrections are
/// smaller; after a split the difference is larger.
pub const SAME_CLOSE: f64 = 0.03;
/// The largest difference from the ratio of a usual split at which the ratio of two prices looks like that split,
/// inclusive. A ratio.
const LIKE_A_SPLIT: f64 = 0.04;
/// The numbers of shares that become one, or that one share becomes, in usual splits. Each changes the price by more
/// than [`LARGEST_MOVE`].
const USUAL_SPLITS: [f64; 17] =
    [2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 12.0, 15.0, 20.0, 25.0, 30.0, 40.0, 50.0, 100.0];
/// The shortest time between the first observation and a second one that confirms a move.
pub const CONFIRMED_AFTER: TimeDelta = TimeDelta::minutes(1);

/// Why a price is not accepted immediately.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// The ratio to the last accepted price is within 1 % of a power of ten, for example cents instead of dollars.
    UnitSlip,
    /// The price moved more than 40 % up or down.
    LargeMove,
    /// The source reports a split since the accepted price, and the split is not in the books yet.
    SplitNotBooked,
    /// The price may be in other shares than the accepted one, as after an unreported split.
    PossibleSplit,
}

impl Doubt {
    pub const ALL: [Self; 4] = [Self::UnitSlip, Self::LargeMove, Self::SplitNotBooked, Self::PossibleSplit];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnitSlip => "unit_slip",
            Self::LargeMove => "large_move",
            Self::SplitNotBooked => "split_not_booked",
            Self::PossibleSplit => "possible_split",
        }
    }

    /// What the price waits for, as a sentence for users.
    pub fn waits_for(self) -> &'static str {
        match self {
            Self::UnitSlip => {
                "it looks like a price in another unit, and is not used until a split, another answer of the source \
                 or an administrator confirms it"
            }
            Self::LargeMove => "it is not used until a second price confirms it",
            Self::SplitNotBooked => "it is not used until the split is booked",
            Self::PossibleSplit => {
                "the stock may have been split, and the price is not used until news of a split, a later session or \
                 an administrator confirms it"
            }
        }
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that is not a name of a [`Doubt`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("unknown doubt about a price: {0:?}")]
pub struct UnknownDoubt(String);

impl FromStr for Doubt {
    type Err = UnknownDoubt;
    fn from_str(text: &str) -> Result<Self, UnknownDoubt> {
        let found = Self::ALL.into_iter().find(|doubt| doubt.as_str() == text);
        found.ok_or_else(|| UnknownDoubt(text.to_owned()))
    }
}

/// A price that was reported and is not accepted yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnconfirmedPrice {
    pub price: Price,
    /// Market time of the price.
    pub as_of: Timestamp,
    /// When a similar price was first reported, with no accepted price since. Market time.
    pub first_seen_at: Timestamp,
    /// When a similar price was last reported. Market time.
    pub last_seen_at: Timestamp,
    pub doubt: Doubt,
    /// The last accepted price, in the share basis of `price`.
    pub accepted: Price,
}

/// A price that a source reports now.
#[derive(Debug, Clone, Copy)]
pub struct Observation<'a> {
    pub price: &'a Price,
    /// Market time of the price.
    pub as_of: Timestamp,
    /// Market time of the request to the source.
    pub seen_at: Timestamp,
    pub freshness: Freshness,
}

/// Additional information about the price.
#[derive(Debug, Clone, Copy, Default)]
pub struct Evidence<'a> {
    /// The earlier unconfirmed price, if there is one.
    pub before: Option<&'a UnconfirmedPrice>,
    /// The price at the same time from another endpoint of the source.
    pub second_endpoint: Option<&'a Price>,
    /// The last accepted price, converted by the splits that the source reports and that are not in the books yet.
    pub after_news: Option<&'a Price>,
    /// Whether a session has opened since the accepted price: splits take effect at openings.
    pub is_later_session: bool,
    /// The accepted price, if it is a close: as the source reports it now, and as it was accepted, both in the shares
    /// of the answer.
    pub reported_close: Option<(&'a Price, &'a Price)>,
    /// Whether the source still reports the accepted close in a session after the new price was first reported. Then
    /// the shares have not changed since.
    pub close_stands: bool,
}

/// Whether two reports of a close are equal, apart from corrections. Both are in the same shares.
pub fn is_same_close(one: &Price, other: &Price) -> bool {
    other.change_ratio(one).is_some_and(|change| change.abs() <= SAME_CLOSE)
}

/// Whether the ratio of the prices is within 4 % of the ratio of a usual split, such as 2:1 or 1:10.
pub fn is_like_a_split(before: &Price, price: &Price) -> bool {
    let Some(change) = price.change_ratio(before) else { return false };
    let ratio = change + 1.0;
    let is_like =
        |usual: &f64| [ratio / usual, ratio * usual].iter().any(|ratio| (ratio - 1.0).abs() <= LIKE_A_SPLIT);
    USUAL_SPLITS.iter().any(is_like)
}

/// Returns the doubt about a price, compared with the last accepted one in the same shares; `None` if the price is
/// accepted.
///
/// ```
/// use domain::plausibility::{Doubt, doubt};
///
/// let accepted = "189.42".parse()?;
/// assert_eq!(doubt(&accepted, &"191.00".parse()?), None);
/// assert_eq!(doubt(&accepted, &"18942.00".parse()?), Some(Doubt::UnitSlip));
/// assert_eq!(doubt(&accepted, &"90.00".parse()?), Some(Doubt::LargeMove));
/// # Ok::<(), domain::DecimalError>(())
/// ```
pub fn doubt(accepted: &Price, price: &Price) -> Option<Doubt> {
    if is_near(accepted, price) {
        None
    } else if is_unit_slip(accepted, price) {
        Some(Doubt::UnitSlip)
    } else {
        Some(Doubt::LargeMove)
    }
}

/// Whether one price is at most 40 % above or below the other.
pub fn is_near(before: &Price, price: &Price) -> bool {
    price.change_ratio(before).is_some_and(|change| change.abs() <= LARGEST_MOVE)
}

/// Whether the ratio of the prices is within 1 % of a power of ten other than 1.
pub fn is_unit_slip(before: &Price, price: &Price) -> bool {
    let Some(change) = price.change_ratio(before) else { return false };
    let ratio = change + 1.0;
    if ratio <= 0.0 {
        return false;
    }
    let power = ratio.log10().round();
    power != 0.0 && (ratio / 10_f64.powf(power) - 1.0).abs() <= UNIT_SLIP
}

/// Decides whether to accept a price. `accepted` is the stock's last accepted price in the shares of the new one, or,
/// if there is none yet, the source's close of the previous session. Without either, the price is accepted.
///
/// A move of more than 40 % is confirmed
/// - for a live source by a second observation at least a minute after the first,
/// - for an end-of-day source by a close of a later session,
/// - for both by another endpoint.
///
/// A unit slip is confirmed only by another endpoint. A split confirms both once it is in the books, because `accepted`
/// is then in the new shares; until then nothing confirms the price, however small the move is. An administrator
/// confirms a price by making it the accepted one.
///
/// A price may be in other shares, as after an unreported split, if the source reports a close that differs from the
/// accepted one for the same session, or if a live price has moved over an opening by the ratio of a usual split.
/// Repeated reports do not confirm it; the unchanged accepted close in the source's series one session later does.
///
/// # Errors
/// The unconfirmed price.
pub fn judge(
    accepted: Option<&Price>,
    observed: Observation<'_>,
    evidence: Evidence<'_>,
) -> Result<(), Box<UnconfirmedPrice>> {
    let Some(accepted) = accepted else { return Ok(()) };
    let is_rebased =
        evidence.reported_close.is_some_and(|(reported, expected)| !is_same_close(reported, expected));
    let doubt = match doubt(accepted, observed.price) {
        _ if evidence.after_news.is_some() => Doubt::SplitNotBooked,
        _ if is_rebased => Doubt::PossibleSplit,
        Some(Doubt::LargeMove)
            if evidence.is_later_session
                && !evidence.close_stands
                && observed.freshness != Freshness::EndOfDay
                && is_like_a_split(accepted, observed.price) =>
        {
            Doubt::PossibleSplit
        }
        Some(doubt) => doubt,
        None => return Ok(()),
    };
    let before = evidence.before.filter(|before| is_near(&before.price, observed.price));
    let agrees = evidence.second_endpoint.is_some_and(|other| is_near(other, observed.price));
    let is_repeated = before.is_some_and(|before| match observed.freshness {
        Freshness::EndOfDay => observed.as_of > before.as_of,
        _ => observed.seen_at - before.first_seen_at >= CONFIRMED_AFTER,
    });
    let is_confirmed = match doubt {
        Doubt::SplitNotBooked | Doubt::PossibleSplit => false,
        Doubt::UnitSlip => agrees,
        Doubt::LargeMove => agrees || is_repeated,
    };
    if is_confirmed {
        return Ok(());
    }
    Err(Box::new(UnconfirmedPrice {
        price: observed.price.clone(),
        as_of: observed.as_of,
        first_seen_at: before.map_or(observed.seen_at, |before| before.first_seen_at),
        last_seen_at: observed.seen_at,
        doubt,
        accepted: accepted.clone(),
    }))
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use proptest::prelude::*;

    use super::*;

    fn price(text: &str) -> Price {
        text.parse().unwrap()
    }

    fn second(n: i64) -> Timestamp {
        DateTime::from_timestamp(1_795_200_000 + n, 0).unwrap().into()
    }

    fn seen(price: &Price, at: i64, freshness: Freshness) -> Observation<'_> {
        Observation { price, as_of: second(at), seen_at: second(at), freshness }
    }

    /// Judges the observations one after the other as the gateway does. Returns for each whether it was accepted.
    fn believed(first: &str, freshness: Freshness, observed: &[(i64, &str)]) -> Vec<bool> {
        let (mut accepted, mut before) = (price(first), None::<UnconfirmedPrice>);
        let one = |(at, text): &(i64, &str)| {
            let new = price(text);
            let evidence = Evidence { before: before.as_ref(), ..Evidence::default() };
            let verdict = judge(Some(&accepted), seen(&new, *at, freshness), evidence);
            match verdict {
                Ok(()) => (accepted, before) = (new, None),
                Err(unconfirmed) => {
                    before = Some(*unconfirmed);
                    return false;
                }
            }
            true
        };
        observed.iter().map(one).collect()
    }

    #[test]
    fn a_move_of_forty_percent_is_accepted_and_more_is_in_doubt() {
        for (new, expected) in [
            ("140.00", None),
            ("60.00", None),
            ("140.01", Some(Doubt::LargeMove)),
            ("59.99", Some(Doubt::LargeMove)),
            ("150.00", Some(Doubt::LargeMove)),
            ("1000.00", Some(Doubt::UnitSlip)),
            ("1010.00", Some(Doubt::UnitSlip)),
            ("1010.01", Some(Doubt::LargeMove)),
            ("990.00", Some(Doubt::UnitSlip)),
            ("989.99", Some(Doubt::LargeMove)),
            ("10000.00", Some(Doubt::UnitSlip)),
            ("10.00", Some(Doubt::UnitSlip)),
            ("1.00", Some(Doubt::UnitSlip)),
            ("0.0100", Some(Doubt::UnitSlip)),
            ("10.20", Some(Doubt::LargeMove)),
            ("500.00", Some(Doubt::LargeMove)),
        ] {
            assert_eq!(doubt(&price("100.00"), &price(new)), expected, "{new}");
        }
    }

    #[test]
    fn a_live_move_is_accepted_with_a_second_observation_a_minute_later() {
        for crash in ["10.50", "40.00", "235.00"] {
            let observed = [(0, crash), (59, crash), (60, crash), (120, crash)];
            assert_eq!(
                believed("100.00", Freshness::Delayed, &observed),
                [false, false, true, true],
                "{crash}"
            );
        }
        // A price that returns to the accepted one means that the other was a mistake; a third price starts a new
        // observation.
        let erratic = [(0, "40.00"), (60, "101.00"), (120, "40.00"), (180, "400.00"), (240, "390.00")];
        assert_eq!(believed("100.00", Freshness::Realtime, &erratic), [false, true, false, false, true]);
    }

    #[test]
    fn a_close_that_moved_is_accepted_with_a_close_of_a_later_session() {
        let day = 86_400;
        let observed = [(0, "40.00"), (0, "40.00"), (day, "38.00"), (2 * day, "39.00")];
        assert_eq!(believed("100.00", Freshness::EndOfDay, &observed), [false, false, true, true]);
    }

    #[test]
    fn a_unit_slip_is_accepted_only_from_another_endpoint() {
        for freshness in [Freshness::Delayed, Freshness::EndOfDay] {
            let observed: Vec<(i64, &str)> = (0..20).map(|n| (n * 86_400, "1000.00")).collect();
            assert!(believed("100.00", freshness, &observed).iter().all(|believed| !believed));
            let (accepted, new) = (price("100.00"), price("1000.00"));
            let judged = |other: &str| {
                let other = price(other);
                let evidence = Evidence { second_endpoint: Some(&other), ..Evidence::default() };
                judge(Some(&accepted), seen(&new, 0, freshness), evidence).is_ok()
            };
            assert!(judged("1010.00") && !judged("100.00"));
        }
    }

    #[test]
    fn a_price_explained_by_a_split_waits_for_the_books() {
        let (accepted, after_news, new) = (price("100.00"), price("10.00"), price("10.30"));
        let before = UnconfirmedPrice {
            price: new.clone(),
            as_of: second(0),
            first_seen_at: second(0),
            last_seen_at: second(0),
            doubt: Doubt::LargeMove,
            accepted: accepted.clone(),
        };
        let evidence = Evidence {
            before: Some(&before),
            after_news: Some(&after_news),
            second_endpoint: Some(&new),
            ..Evidence::default()
        };
        let judged = judge(Some(&accepted), seen(&new, 3600, Freshness::Delayed), evidence);
        assert_eq!(judged.unwrap_err().doubt, Doubt::SplitNotBooked);
        // Once the books have the split, the accepted price is in new shares.
        assert!(judge(Some(&after_news), seen(&new, 3600, Freshness::Delayed), Evidence::default()).is_ok());
    }

    #[test]
    fn a_reported_split_holds_back_even_a_small_move() {
        for (accepted, after, new) in
            [("200.00", "133.33", "134.10"), ("200.00", "156.13", "155.00"), ("200.00", "190.48", "200.00")]
        {
            let (accepted, after, new) = (price(accepted), price(after), price(new));
            let evidence = Evidence { after_news: Some(&after), ..Evidence::default() };
            let judged = judge(Some(&accepted), seen(&new, 60, Freshness::Delayed), evidence);
            assert_eq!(judged.unwrap_err().doubt, Doubt::SplitNotBooked);
        }
    }

    #[test]
    fn a_changed_close_means_other_shares() {
        let judged = |reported: &str, new: &str, close_stands: bool| {
            let (accepted, reported, new) = (price("200.00"), price(reported), price(new));
            let evidence = Evidence {
                reported_close: Some((&reported, &accepted)),
                close_stands,
                ..Evidence::default()
            };
            judge(Some(&accepted), seen(&new, 3600, Freshness::Delayed), evidence).map_err(|held| held.doubt)
        };
        // 3:2, 1281:1000, 2:1 and 1:10.
        for reported in ["133.33", "156.13", "100.00", "2000.00"] {
            assert_eq!(judged(reported, reported, false), Err(Doubt::PossibleSplit), "{reported}");
        }
        assert_eq!(judged("199.00", "190.00", false), Ok(()));
        assert_eq!(judged("194.20", "190.00", false), Ok(()));
        assert_eq!(judged("200.00", "80.00", true), Err(Doubt::LargeMove));
    }

    #[test]
    fn a_move_like_a_split_is_confirmed_only_by_a_later_series() {
        for (new, is_like) in [
            ("50.00", true),
            ("48.10", true),
            ("33.00", true),
            ("24.10", true),
            ("200.00", true),
            ("40.00", false),
            ("57.00", false),
            ("235.00", false),
            ("10.50", false),
        ] {
            assert_eq!(is_like_a_split(&price("100.00"), &price(new)), is_like, "{new}");
            let (accepted, new) = (price("100.00"), price(new));
            let held = UnconfirmedPrice {
                price: new.clone(),
                as_of: second(0),
                first_seen_at: second(0),
                last_seen_at: second(0),
                doubt: Doubt::PossibleSplit,
                accepted: accepted.clone(),
            };
            let judged = |is_later_session, close_stands| {
                let evidence =
                    Evidence { before: Some(&held), is_later_session, close_stands, ..Evidence::default() };
                judge(Some(&accepted), seen(&new, 3600, Freshness::Delayed), evidence).is_ok()
            };
            assert_eq!(judged(true, false), !is_like, "{new:?}");
            assert!(judged(false, false), "within a session no shares are split: {new:?}");
            assert!(judged(true, true), "the series still has the close: {new:?}");
        }
    }

    #[test]
    fn a_first_price_is_accepted() {
        let first = price("0.0001");
        assert!(judge(None, seen(&first, 0, Freshness::Realtime), Evidence::default()).is_ok());
    }

    proptest! {
        /// A price that is accepted immediately is within 40 % and is not a unit slip; any other first price is not
        /// accepted. The order of the two prices matters only for the size of the move.
        #[test]
        fn a_first_price_far_away_is_never_accepted(
            old in 1_i64..2_000_000, new in 1_i64..2_000_000, live in any::<bool>(),
        ) {
            let (old, new) = (Price::from_scaled(old, 2), Price::from_scaled(new, 2));
            let freshness = if live { Freshness::Delayed } else { Freshness::EndOfDay };
            let verdict = judge(Some(&old), seen(&new, 0, freshness), Evidence::default());
            prop_assert_eq!(verdict.is_ok(), is_near(&old, &new));
            if let Err(held) = verdict {
                prop_assert_eq!(held.doubt == Doubt::UnitSlip, is_unit_slip(&old, &new));
                prop_assert_eq!((&held.price, &held.accepted), (&new, &old));
            }
        }

        /// In any sequence, an accepted price is within 40 % of the previously accepted one or of an earlier
        /// observation.
        #[test]
        fn no_single_observation_moves_a_live_price_beyond_forty_percent(
            cents in prop::collection::vec((1_i64..50_000, 0_i64..120), 1..40),
        ) {
            let (mut accepted, mut before, mut at) = (Price::from_scaled(10_000, 2), None::<UnconfirmedPrice>, 0);
            let mut earlier: Vec<Price> = Vec::new();
            for (cents, pause) in cents {
                at += pause;
                let new = Price::from_scaled(cents, 2);
                let evidence = Evidence { before: before.as_ref(), ..Evidence::default() };
                match judge(Some(&accepted), seen(&new, at, Freshness::Delayed), evidence) {
                    Ok(()) => {
                        let is_borne_out = is_near(&accepted, &new) || earlier.iter().any(|old| is_near(old, &new));
                        prop_assert!(is_borne_out);
                        (accepted, before) = (new.clone(), None);
                    }
                    Err(held) => before = Some(*held),
                }
                earlier.push(new);
            }
        }

        /// A unit slip is never accepted by itself, however often it is reported.
        #[test]
        fn a_unit_slip_never_becomes_the_price(cents in 100_i64..100_000, power in 1_u32..4, times in 1_i64..20) {
            let old = Price::from_scaled(cents, 2);
            let slipped = Price::from_scaled(cents * 10_i64.pow(power), 2);
            for (accepted, new) in [(&old, &slipped), (&slipped, &old)] {
                let mut before = None::<UnconfirmedPrice>;
                for n in 0..times {
                    let evidence = Evidence { before: before.as_ref(), ..Evidence::default() };
                    let verdict = judge(Some(accepted), seen(new, n * 3600, Freshness::Delayed), evidence);
                    prop_assert!(verdict.is_err());
                    before = verdict.err().map(|held| *held);
                }
            }
        }
    }
}
