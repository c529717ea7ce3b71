//! Alpha Vantage's refusals, which nearly all come with HTTP status 200 instead of data.
//!
//! They are recognized by their text, not by the JSON key or the status (MARKET-DATA.md, a.4).

use chrono::{DateTime, TimeDelta, Utc};
use domain::Symbol;
use serde_json::{Map, Value};

use crate::QuoteError;
use crate::budget::new_day;

/// Why an answer contains no data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The free key's limit of one call per second.
    PerSecond,
    /// The paid key's limit per minute, or too many calls at once; until 2023 also the free key's.
    PerMinute,
    /// The free key's limit per day.
    PerDay,
    /// No calls are accepted before the time that the provider sent in a header.
    Until(DateTime<Utc>),
    /// A demonstration key, no key or a wrong key.
    Key,
    /// The key does not include the function or one of its parameters.
    Premium,
    /// An invalid call: sent for unknown symbols and for wrong parameters.
    InvalidCall,
    /// The function no longer exists, so this program is outdated.
    BadFunction,
    /// Any other text, in the provider's words.
    Other(String),
}

/// The JSON keys of refusals, in any case.
const NOTICES: [&str; 3] = ["Information", "Note", "Error Message"];
/// The JSON key of a refusal that comes together with invented rows.
const MESSAGE: &str = "message";
/// The most characters of the provider's text that are passed on to the caller.
const MAX_WORDS: usize = 200;

impl Refusal {
    /// Returns the refusal in an answer, if there is one. Of several, the first one of a known kind.
    pub(super) fn from_answer(answer: &Map<String, Value>) -> Option<Self> {
        let is_notice = |key: &str| NOTICES.iter().any(|notice| notice.eq_ignore_ascii_case(key));
        let texts = answer.iter().filter(|(key, _)| is_notice(key)).filter_map(|(_, text)| text.as_str());
        let mut refusals: Vec<Self> = texts.map(Self::read).collect();
        refusals.sort_by_key(|refusal| matches!(refusal, Self::Other(_)));
        let premium_message = || {
            let message = answer.get(MESSAGE).and_then(Value::as_str).map(Self::read);
            message.filter(|message| *message == Self::Premium)
        };
        refusals.into_iter().next().or_else(premium_message)
    }

    /// Postpones the end of a limit on calls to `retry_at` if that is later. Other refusals stay unchanged.
    pub(super) fn not_before(self, retry_at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Self {
        match (self.retry_at(now), retry_at) {
            (Some(own), Some(reported)) if reported > own => Self::Until(reported),
            _ => self,
        }
    }

    /// When to retry after a limit on calls.
    fn retry_at(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::PerSecond => Some(now + TimeDelta::seconds(2)),
            Self::PerMinute => Some(now + TimeDelta::seconds(60)),
            Self::PerDay => Some(new_day(now)),
            Self::Until(at) => Some(*at),
            _ => None,
        }
    }

    /// The order matters: the text about the limit per second also names the one per day, and the text about a paid
    /// key's limit contains the word "premium".
    fn read(text: &str) -> Self {
        let folded = text.to_lowercase();
        let has = |parts: &[&str]| parts.iter().any(|part| folded.contains(part));
        if has(&["1 request per second", "spreading out"]) {
            Self::PerSecond
        } else if has(&["calls per minute", "minute-level rate limit", "burst pattern"]) {
            Self::PerMinute
        } else if has(&["api rate limit is", "detected your api key"]) {
            Self::PerDay
        } else if has(&["demo", "apikey is invalid"]) {
            Self::Key
        } else if has(&["premium endpoint", "premium feature"]) {
            Self::Premium
        } else if has(&["invalid api call"]) {
            Self::InvalidCall
        } else if has(&["this api function"]) && has(&["does not exist"]) {
            Self::BadFunction
        } else {
            Self::Other(text.to_owned())
        }
    }

    /// The error for the caller. `about` is the symbol of the call.
    pub(super) fn into_error(self, about: Option<&Symbol>, now: DateTime<Utc>) -> QuoteError {
        match self {
            Self::PerSecond | Self::PerMinute | Self::PerDay | Self::Until(_) => {
                QuoteError::RateLimited { retry_at: self.retry_at(now) }
            }
            Self::Key => QuoteError::KeyRefused,
            Self::Premium => QuoteError::NotCovered,
            Self::InvalidCall => match about {
                Some(symbol) => QuoteError::UnknownSymbol(symbol.clone()),
                None => QuoteError::Upstream("the call was refused as invalid".to_owned()),
            },
            Self::BadFunction => QuoteError::Upstream("the provider no longer has this function".to_owned()),
            Self::Other(text) => QuoteError::Upstream(text.chars().take(MAX_WORDS).collect::<String>()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The envelopes of MARKET-DATA.md, section a.4, by name, as recorded or documented.
    const ENVELOPES: &[(&str, &str, Refusal)] = &[
        (
            "per_second",
            "Thank you for using Alpha Vantage! Please consider spreading out your free API requests more \
             sparingly (1 request per second). You may subscribe to any of the premium plans to lift the free \
             key rate limit (25 requests per day), raise the per-second burst limit, and instantly unlock all \
             premium endpoints",
            Refusal::PerSecond,
        ),
        (
            "per_minute, until 2023",
            "Thank you for using Alpha Vantage! Our standard API call frequency is 5 calls per minute and 500 \
             calls per day. Please visit https://www.alphavantage.co/premium/",
            Refusal::PerMinute,
        ),
        (
            "per_minute of a paid key",
            "Minute-level rate limit exceed. Please reach out for your premium subscription plan.",
            Refusal::PerMinute,
        ),
        ("burst", "Burst pattern detected. Please spread your premium requests evenly.", Refusal::PerMinute),
        (
            "per_day",
            "We have detected your API key as TESTKEY0000 and our standard API rate limit is 25 requests per \
             day. Please subscribe to any of the premium plans to instantly remove all daily rate limits.",
            Refusal::PerDay,
        ),
        (
            "per_day without the key",
            "Thank you for using Alpha Vantage! Our standard API rate limit is 25 requests per day.",
            Refusal::PerDay,
        ),
        (
            "per_day of a key with the word demo in it",
            "We have detected your API key as DEMO1234 and our standard API rate limit is 25 requests per day.",
            Refusal::PerDay,
        ),
        (
            "bad_api_key, the demonstration's",
            "The **demo** API key is for demo purposes only. Please claim your free API key at \
             (https://www.alphavantage.co/support/#api-key) to explore our full API offerings.",
            Refusal::Key,
        ),
        (
            "bad_api_key, invalid or missing",
            "the parameter apikey is invalid or missing. Please claim your free API key.",
            Refusal::Key,
        ),
        (
            "premium_required, the function",
            "Thank you for using Alpha Vantage! This is a premium endpoint. You may subscribe.",
            Refusal::Premium,
        ),
        (
            "premium_required, a parameter",
            "Thank you! The outputsize=full parameter value is a premium feature for the TIME_SERIES_DAILY \
             endpoint.",
            Refusal::Premium,
        ),
        (
            "invalid_api_call",
            "Invalid API call. Please retry or visit the documentation \
             (https://www.alphavantage.co/documentation/) for TIME_SERIES_DAILY.",
            Refusal::InvalidCall,
        ),
        ("bad_function", "This API function (X) does not exist.", Refusal::BadFunction),
    ];

    fn answer(key: &str, text: &str) -> Map<String, Value> {
        Map::from_iter([(key.to_owned(), Value::from(text))])
    }

    #[test]
    fn each_refusal_is_recognized_under_each_key() {
        for (name, text, expected) in ENVELOPES {
            for key in NOTICES.into_iter().chain(["information", "ERROR MESSAGE"]) {
                assert_eq!(
                    Refusal::from_answer(&answer(key, text)).as_ref(),
                    Some(expected),
                    "{name} under {key}"
                );
            }
        }
    }

    #[test]
    fn an_unknown_notice_is_a_refusal() {
        for text in ["Something new", ""] {
            assert_eq!(
                Refusal::from_answer(&answer("Information", text)),
                Some(Refusal::Other(text.to_owned()))
            );
        }
    }

    #[test]
    fn of_two_notices_the_known_one_is_used() {
        let mut both = answer("Information", "Welcome to our new site");
        both.insert("Note".to_owned(), Value::from("Our standard API rate limit is 25 requests per day."));
        assert_eq!(Refusal::from_answer(&both), Some(Refusal::PerDay));
    }

    #[test]
    fn a_message_beside_data_is_a_refusal_only_about_premium() {
        assert_eq!(Refusal::from_answer(&answer("message", "success")), None);
        let premium = answer("message", "This is a premium endpoint. You may subscribe.");
        assert_eq!(Refusal::from_answer(&premium), Some(Refusal::Premium));
        assert_eq!(Refusal::from_answer(&Map::new()), None);
    }

    #[test]
    fn limits_contain_the_time_to_retry() {
        let now: DateTime<Utc> = "2026-11-22T18:00:00Z".parse().unwrap();
        let retry = |refusal: Refusal| match refusal.into_error(None, now) {
            QuoteError::RateLimited { retry_at: Some(at) } => at.to_rfc3339(),
            other => panic!("{other}"),
        };
        assert_eq!(retry(Refusal::PerSecond), "2026-11-22T18:00:02+00:00");
        assert_eq!(retry(Refusal::PerMinute), "2026-11-22T18:01:00+00:00");
        assert_eq!(retry(Refusal::PerDay), "2026-11-23T05:05:00+00:00");
        // A later time in the provider's header is used.
        let reported = |minutes| Some(now + TimeDelta::minutes(minutes));
        assert_eq!(retry(Refusal::PerMinute.not_before(reported(30), now)), "2026-11-22T18:30:00+00:00");
        assert_eq!(retry(Refusal::PerDay.not_before(reported(30), now)), "2026-11-23T05:05:00+00:00");
        assert_eq!(Refusal::Premium.not_before(reported(30), now), Refusal::Premium);
    }

    #[test]
    fn an_invalid_call_for_a_symbol_means_that_it_is_unknown() {
        let symbol: Symbol = "NOSUCH".parse().unwrap();
        let reported = |about| Refusal::InvalidCall.into_error(about, DateTime::<Utc>::MIN_UTC);
        assert_eq!(reported(Some(&symbol)), QuoteError::UnknownSymbol(symbol.clone()));
        assert!(matches!(reported(None), QuoteError::Upstream(_)));
    }
}
