//! The settings for the plan of an Alpha Vantage key.

use market_data::{AlphaVantagePlan, Entitlement};

use super::Env;

const PER_MINUTE: &str = "ALPHAVANTAGE_CALLS_PER_MINUTE";
const PER_DAY: &str = "ALPHAVANTAGE_CALLS_PER_DAY";
const ENTITLEMENT: &str = "ALPHAVANTAGE_ENTITLEMENT";
/// More calls per minute than any plan has.
const MAX_PER_MINUTE: u32 = 6000;
/// The limit per day of a free key.
const FREE_PER_DAY: u32 = 25;

impl<F: Fn(&str) -> Option<String>> Env<F> {
    /// Reads the plan. Refuses settings that contradict each other or a free key.
    pub(super) fn alpha_vantage_plan(&mut self, has_key: bool) -> AlphaVantagePlan {
        let per_minute = self.calls_per_minute();
        let (per_day, is_unlimited) = self.calls_per_day();
        let choices = [("delayed", Entitlement::Delayed), ("realtime", Entitlement::Realtime)];
        let entitlement = self.choice(ENTITLEMENT, &choices);
        let set: Vec<&str> =
            [PER_MINUTE, PER_DAY, ENTITLEMENT].into_iter().filter(|name| self.text(name).is_some()).collect();
        if !has_key {
            for name in set {
                self.refuse::<()>(name, &"describes the plan of a key, and ALPHAVANTAGE_API_KEY is not set");
            }
        } else if self.text(PER_MINUTE).is_none() {
            // Without a number of calls per minute, the key is a free one.
            if entitlement.is_some() {
                self.refuse::<()>(
                    ENTITLEMENT,
                    &"needs ALPHAVANTAGE_CALLS_PER_MINUTE, the calls per minute of the paid plan: a free key has closing prices only",
                );
            }
            if is_unlimited || per_day.is_some_and(|calls| calls > FREE_PER_DAY) {
                self.refuse::<()>(
                    PER_DAY,
                    &"needs ALPHAVANTAGE_CALLS_PER_MINUTE, the calls per minute of the paid plan: a free key has 25 calls per day",
                );
            }
        }
        AlphaVantagePlan { per_minute, per_day, entitlement }
    }

    fn calls_per_minute(&mut self) -> Option<u32> {
        let expected = "the calls per minute of your plan, from 1 to 6000, like 75";
        match self.parsed::<u32>(PER_MINUTE, expected) {
            Some(calls) if (1..=MAX_PER_MINUTE).contains(&calls) => Some(calls),
            Some(calls) => self.refuse(PER_MINUTE, &format!("is {calls}: expected {expected}")),
            None => None,
        }
    }

    /// Reads the limit, and whether it was set to unlimited.
    fn calls_per_day(&mut self) -> (Option<u32>, bool) {
        let text = self.text(PER_DAY);
        if text.is_some_and(|text| text == "0" || text.eq_ignore_ascii_case("unlimited")) {
            return (None, true);
        }
        (self.parsed(PER_DAY, "a whole number of calls, like 5000, or unlimited"), false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, MarketData};

    const KEY: (&str, &str) = ("ALPHAVANTAGE_API_KEY", "k");

    fn plan(more: &[(&str, &str)]) -> AlphaVantagePlan {
        match Config::from_variables(&[&[KEY], more].concat()).unwrap().market_data {
            MarketData::AlphaVantage { plan, .. } => plan,
            other => panic!("{other:?}"),
        }
    }

    fn complaints(variables: &[(&str, &str)]) -> Vec<String> {
        Config::from_variables(variables).unwrap_err().0
    }

    #[test]
    fn a_key_has_the_calls_and_prices_of_its_plan() {
        assert_eq!(plan(&[]), AlphaVantagePlan::default());
        let minute = (PER_MINUTE, "75");
        let paid = AlphaVantagePlan { per_minute: Some(75), ..AlphaVantagePlan::default() };
        assert_eq!(plan(&[minute]), paid);
        for unlimited in ["0", "unlimited", "Unlimited"] {
            assert_eq!(plan(&[minute, (PER_DAY, unlimited)]), paid);
        }
        assert_eq!(plan(&[minute, (PER_DAY, "5000")]).per_day, Some(5000));
        assert_eq!(plan(&[(PER_DAY, "10")]).per_day, Some(10), "a free key that another program uses too");
        assert_eq!(plan(&[minute, (ENTITLEMENT, "delayed")]).entitlement, Some(Entitlement::Delayed));
        assert_eq!(plan(&[minute, (ENTITLEMENT, "Realtime")]).entitlement, Some(Entitlement::Realtime));
    }

    #[test]
    fn conflicting_settings_are_refused_with_advice() {
        for (name, value, words) in [
            (PER_MINUTE, "0", "from 1 to 6000"),
            (PER_MINUTE, "6001", "from 1 to 6000"),
            (PER_MINUTE, "many", "like 75"),
            (PER_DAY, "-1", "or unlimited"),
            (PER_DAY, "26", "needs ALPHAVANTAGE_CALLS_PER_MINUTE"),
            (PER_DAY, "unlimited", "needs ALPHAVANTAGE_CALLS_PER_MINUTE"),
            (PER_DAY, "0", "needs ALPHAVANTAGE_CALLS_PER_MINUTE"),
            (ENTITLEMENT, "yes", "expected delayed or realtime"),
            (ENTITLEMENT, "realtime", "needs ALPHAVANTAGE_CALLS_PER_MINUTE"),
        ] {
            let told = complaints(&[KEY, (name, value)]);
            assert!(
                told.len() == 1 && told[0].starts_with(name) && told[0].contains(words),
                "{value}: {told:?}"
            );
        }
        for (name, value) in [(PER_MINUTE, "75"), (PER_DAY, "10"), (ENTITLEMENT, "delayed")] {
            for market in [None, Some(("MARKET_DATA", "yahoo")), Some(("MARKET_DATA", "simulated"))] {
                let variables: Vec<(&str, &str)> = market.into_iter().chain([(name, value)]).collect();
                let told = complaints(&variables);
                assert!(
                    told[0].starts_with(name) && told[0].contains("ALPHAVANTAGE_API_KEY is not set"),
                    "{told:?}"
                );
            }
        }
        // The settings of a key that is currently not used may stay.
        assert!(Config::from_variables(&[KEY, ("MARKET_DATA", "yahoo"), (PER_MINUTE, "75")]).is_ok());
    }
}
