//! How many calls, and how they are shared out.

use chrono::TimeDelta;

use super::pace::Pacing;
use crate::{AlphaVantagePlan, Entitlement};

/// A day's calls are put into pots, so that one kind of need cannot use up the other's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pot {
    Scheduled,
    FirstSight,
    /// For people who wait, when the pot of their own is empty.
    Reserve,
}

impl Pot {
    pub const ALL: [Self; 3] = [Self::Scheduled, Self::FirstSight, Self::Reserve];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::FirstSight => "first_sight",
            Self::Reserve => "reserve",
        }
    }
}

/// The calls a provider allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// From one call to the next.
    pub min_gap: TimeDelta,
    /// By UTC's minutes.
    pub per_minute: Option<u32>,
    /// By New York's days.
    pub per_day: Option<u32>,
    /// Of a day's calls, in percent, rounded down; the rest are scheduled ones'.
    pub first_sight_percent: u32,
    pub reserve_percent: u32,
    /// A day, for each user.
    pub first_sights_per_user: Option<u32>,
    /// How the scheduled calls of a day are spread over its session. `None` for a source with one price a session.
    pub pacing: Option<Pacing>,
}

impl Rules {
    /// What a free key of Alpha Vantage is allowed: 25 calls a day, one a second. 15 of them are for jobs, 5 for
    /// symbols seen for the first time, and 5 the reserve.
    pub const ALPHA_VANTAGE_FREE: Self = Self {
        min_gap: TimeDelta::milliseconds(1500),
        per_minute: Some(5),
        per_day: Some(25),
        first_sight_percent: 20,
        reserve_percent: 20,
        first_sights_per_user: Some(3),
        pacing: None,
    };

    /// The calls of an Alpha Vantage key. Those of a paid one go out evenly: bursts are refused.
    pub fn alpha_vantage(plan: AlphaVantagePlan) -> Self {
        let free = Self::ALPHA_VANTAGE_FREE;
        let Some(per_minute) = plan.per_minute else {
            return Self { per_day: plan.per_day.or(free.per_day), ..free };
        };
        let gap = TimeDelta::milliseconds(60_000 / i64::from(per_minute.max(1)));
        Self {
            min_gap: gap.min(free.min_gap),
            per_minute: Some(per_minute),
            per_day: plan.per_day,
            // An eighth of a day's calls for each user.
            first_sights_per_user: plan.per_day.map(|calls| (calls / 8).max(1)),
            pacing: plan.entitlement.map(|entitlement| match entitlement {
                Entitlement::Delayed => Pacing::DELAYED,
                Entitlement::Realtime => Pacing::REALTIME,
            }),
            ..free
        }
    }

    /// What Yahoo is asked at most. It publishes no limit; prices move, so most calls are for people who wait.
    pub const YAHOO: Self = Self {
        min_gap: TimeDelta::seconds(1),
        per_minute: None,
        per_day: Some(2000),
        first_sight_percent: 10,
        reserve_percent: 60,
        first_sights_per_user: Some(50),
        pacing: Some(Pacing::DELAYED),
    };

    /// How many calls a minute jobs may make for prices: four of five that the limits by time allow, so that people who wait
    /// have the rest.
    pub(super) fn calls_per_minute_of_jobs(&self) -> f64 {
        let gap_ms = i32::try_from(self.min_gap.num_milliseconds()).unwrap_or(i32::MAX).max(1);
        let by_gap = 60_000.0 / f64::from(gap_ms);
        0.8 * self.per_minute.map_or(by_gap, |calls| f64::from(calls).min(by_gap))
    }

    /// The calls of a day in one pot. All pots together are the day's calls, neither more nor fewer.
    pub(super) fn limit_of(&self, pot: Pot, per_day: u32) -> u32 {
        let share = |percent: u32| {
            let exact = u64::from(per_day) * u64::from(percent.min(100)) / 100;
            u32::try_from(exact).unwrap_or(per_day)
        };
        let first_sight = share(self.first_sight_percent);
        let reserve = share(self.reserve_percent).min(per_day - first_sight);
        match pot {
            Pot::FirstSight => first_sight,
            Pot::Reserve => reserve,
            Pot::Scheduled => per_day - first_sight - reserve,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paid_key_has_the_calls_of_its_plan() {
        let rules = |per_minute, per_day, entitlement| {
            Rules::alpha_vantage(AlphaVantagePlan { per_minute, per_day, entitlement })
        };
        assert_eq!(rules(None, None, None), Rules::ALPHA_VANTAGE_FREE);
        assert_eq!(rules(None, Some(10), None), Rules { per_day: Some(10), ..Rules::ALPHA_VANTAGE_FREE });
        let paid = rules(Some(75), None, None);
        assert_eq!(
            (paid.min_gap, paid.per_minute, paid.per_day),
            (TimeDelta::milliseconds(800), Some(75), None)
        );
        assert_eq!((paid.first_sights_per_user, paid.pacing), (None, None));
        let live = rules(Some(1200), Some(100_000), Some(Entitlement::Realtime));
        assert_eq!((live.min_gap, live.per_day), (TimeDelta::milliseconds(50), Some(100_000)));
        assert_eq!((live.first_sights_per_user, live.pacing), (Some(12_500), Some(Pacing::REALTIME)));
        let slow = rules(Some(30), None, Some(Entitlement::Delayed));
        assert_eq!((slow.min_gap, slow.pacing), (TimeDelta::milliseconds(1500), Some(Pacing::DELAYED)));
    }

    #[test]
    fn the_pots_hold_the_days_calls_and_no_more() {
        let free = Rules::ALPHA_VANTAGE_FREE;
        assert_eq!(Pot::ALL.map(|pot| free.limit_of(pot, 25)), [15, 5, 5]);
        assert_eq!(Pot::ALL.map(|pot| Rules::YAHOO.limit_of(pot, 2000)), [600, 200, 1200]);
        let greedy = Rules { first_sight_percent: 80, reserve_percent: 80, ..free.clone() };
        for per_day in 0..200 {
            for rules in [&free, &Rules::YAHOO, &greedy] {
                assert_eq!(Pot::ALL.map(|pot| rules.limit_of(pot, per_day)).iter().sum::<u32>(), per_day);
            }
        }
    }
}
