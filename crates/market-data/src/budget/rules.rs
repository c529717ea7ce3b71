//! The limits on calls, and how they are divided.

use chrono::TimeDelta;

use super::pace::Pacing;
use crate::{AlphaVantagePlan, Entitlement};

/// A part of a day's calls, so that one purpose cannot use up the calls of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pot {
    Scheduled,
    FirstSight,
    /// For waiting users whose pot is empty.
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

/// The limits of a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// The shortest time between two calls.
    pub min_gap: TimeDelta,
    /// The limit per minute of UTC.
    pub per_minute: Option<u32>,
    /// The limit per day in New York.
    pub per_day: Option<u32>,
    /// The share for first sights in percent of a day's calls, rounded down; the rest is for scheduled calls.
    pub first_sight_percent: u32,
    pub reserve_percent: u32,
    /// The limit on first sights per user and day.
    pub first_sights_per_user: Option<u32>,
    /// How the scheduled calls of a day are spread over its session. `None` for a source with one price per session.
    pub pacing: Option<Pacing>,
}

impl Rules {
    /// The limits of a free Alpha Vantage key: 25 calls per day and one per second. 15 calls are for jobs, 5 for
    /// symbols that are seen for the first time, and 5 are the reserve.
    pub const ALPHA_VANTAGE_FREE: Self = Self {
        min_gap: TimeDelta::milliseconds(1500),
        per_minute: Some(5),
        per_day: Some(25),
        first_sight_percent: 20,
        reserve_percent: 20,
        first_sights_per_user: Some(3),
        pacing: None,
    };

    /// The limits of an Alpha Vantage key. The calls of a paid key are spread evenly, because the provider rejects
    /// bursts.
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
            // Each user may use an eighth of a day's calls.
            first_sights_per_user: plan.per_day.map(|calls| (calls / 8).max(1)),
            pacing: plan.entitlement.map(|entitlement| match entitlement {
                Entitlement::Delayed => Pacing::DELAYED,
                Entitlement::Realtime => Pacing::REALTIME,
            }),
            ..free
        }
    }

    /// Limits for Yahoo, which publishes none. Prices move, so most calls are for waiting users.
    pub const YAHOO: Self = Self {
        min_gap: TimeDelta::seconds(1),
        per_minute: None,
        per_day: Some(2000),
        first_sight_percent: 10,
        reserve_percent: 60,
        first_sights_per_user: Some(50),
        pacing: Some(Pacing::DELAYED),
    };

    /// The calls per minute that jobs may make for prices: four of five that the limits allow; the rest is for waiting
    /// users.
    pub(super) fn calls_per_minute_of_jobs(&self) -> f64 {
        let gap_ms = i32::try_from(self.min_gap.num_milliseconds()).unwrap_or(i32::MAX).max(1);
        let by_gap = 60_000.0 / f64::from(gap_ms);
        0.8 * self.per_minute.map_or(by_gap, |calls| f64::from(calls).min(by_gap))
    }

    /// The calls of a day in one pot. The pots add up to exactly the day's calls.
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
    fn the_pots_add_up_to_the_days_calls() {
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
