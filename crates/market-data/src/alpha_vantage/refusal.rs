//! The refusals Alpha Vantage sends in place of data, nearly all with HTTP status 200.
//!
//! Their texts tell them apart, not the key they are under nor the status (MARKET-DATA.md, a.4).

use chrono::{DateTime, TimeDelta, Utc};
use domain::calendar::exchange_date;
use domain::{Calendar, Symbol};
use serde_json::{Map, Value};

use crate::QuoteError;

/// Why there is no data in an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    PerSecond,
    PerMinute,
    PerDay,
    /// The key is a demonstration's, missing or wrong.
    Key,
    /// The key does not cover the function or one of its parameters.
    Premium,
    /// Sent for unknown symbols, and for wrong parameters.
    InvalidCall,
    /// Anything else, in the provider's words.
    Other(String),
}

/// The keys a refusal may be under.
const NOTICES: [&str; 3] = ["Information", "Note", "Error Message"];
/// Beside rows that are made up.
const MESSAGE: &str = "message";
/// How much of the provider's own words is passed on.
const MOST_WORDS: usize = 200;

/// After midnight in New York, when a new day's calls are counted, with some minutes for their clock.
const NEW_DAY_MARGIN: TimeDelta = TimeDelta::minutes(5);

impl Refusal {
    /// The refusal in an answer, if it is one.
    pub(super) fn of(answer: &Map<String, Value>) -> Option<Self> {
        let text = |key: &str| answer.get(key).and_then(Value::as_str);
        let notice = NOTICES.iter().find_map(|key| text(key));
        let premium_message = || text(MESSAGE).filter(|message| Self::read(message) == Self::Premium);
        notice.or_else(premium_message).map(Self::read)
    }

    /// The order matters: the text on the limit per second names the one per day too, and a text on a paid
    /// key's limit has the word premium in it.
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
        } else {
            Self::Other(text.to_owned())
        }
    }

    /// What a caller is told. `about` is the symbol the call was for, `redact` takes out what is secret.
    pub(super) fn into_error(
        self,
        about: Option<&Symbol>,
        now: DateTime<Utc>,
        redact: impl Fn(&str) -> String,
    ) -> QuoteError {
        let limited = |retry_at| QuoteError::RateLimited { retry_at: Some(retry_at) };
        match self {
            Self::PerSecond => limited(now + TimeDelta::seconds(2)),
            Self::PerMinute => limited(now + TimeDelta::seconds(60)),
            Self::PerDay => limited(new_day(now)),
            Self::Key => QuoteError::Upstream("the API key is not accepted".to_owned()),
            Self::Premium => QuoteError::Upstream("the API key does not cover this".to_owned()),
            Self::InvalidCall => match about {
                Some(symbol) => QuoteError::UnknownSymbol(symbol.clone()),
                None => QuoteError::Upstream("the call was refused as invalid".to_owned()),
            },
            Self::Other(text) => {
                QuoteError::Upstream(redact(&text).chars().take(MOST_WORDS).collect::<String>())
            }
        }
    }
}

/// When the provider's next day begins, as far as is known: the day is taken to be New York's.
fn new_day(now: DateTime<Utc>) -> DateTime<Utc> {
    let today = exchange_date(now.into());
    let midnight = Calendar::AroundTheClock.session(today).map_or(now, |day| day.closes_at.utc());
    midnight + NEW_DAY_MARGIN
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The texts of MARKET-DATA.md, section a.4, as recorded or documented.
    const TEXTS: &[(&str, Refusal)] = &[
        (
            "Thank you for using Alpha Vantage! Please consider spreading out your free API requests more \
             sparingly (1 request per second). You may subscribe to any of the premium plans to lift the free \
             key rate limit (25 requests per day), raise the per-second burst limit, and instantly unlock all \
             premium endpoints",
            Refusal::PerSecond,
        ),
        (
            "Thank you for using Alpha Vantage! Our standard API call frequency is 5 calls per minute and 500 \
             calls per day. Please visit https://www.alphavantage.co/premium/",
            Refusal::PerMinute,
        ),
        (
            "Minute-level rate limit exceed. Please reach out for your premium subscription plan.",
            Refusal::PerMinute,
        ),
        ("Burst pattern detected. Please spread your requests evenly.", Refusal::PerMinute),
        (
            "We have detected your API key as TESTKEY0000 and our standard API rate limit is 25 requests per \
             day. Please subscribe to any of the premium plans to instantly remove all daily rate limits.",
            Refusal::PerDay,
        ),
        (
            "Thank you for using Alpha Vantage! Our standard API rate limit is 25 requests per day.",
            Refusal::PerDay,
        ),
        (
            "The **demo** API key is for demo purposes only. Please claim your free API key at \
             (https://www.alphavantage.co/support/#api-key) to explore our full API offerings.",
            Refusal::Key,
        ),
        ("the parameter apikey is invalid or missing. Please claim your free API key.", Refusal::Key),
        (
            "Thank you for using Alpha Vantage! This is a premium endpoint. You may subscribe.",
            Refusal::Premium,
        ),
        (
            "Thank you! The outputsize=full parameter value is a premium feature for the TIME_SERIES_DAILY \
             endpoint.",
            Refusal::Premium,
        ),
        (
            "Invalid API call. Please retry or visit the documentation \
             (https://www.alphavantage.co/documentation/) for TIME_SERIES_DAILY.",
            Refusal::InvalidCall,
        ),
    ];

    fn answer(key: &str, text: &str) -> Map<String, Value> {
        Map::from_iter([(key.to_owned(), Value::from(text))])
    }

    #[test]
    fn each_text_is_told_apart_under_each_key() {
        for (text, expected) in TEXTS {
            for key in NOTICES {
                assert_eq!(Refusal::of(&answer(key, text)).as_ref(), Some(expected), "{key}: {text}");
            }
        }
    }

    #[test]
    fn what_nobody_has_seen_yet_is_a_refusal_too() {
        for text in ["This API function (X) does not exist.", "Something new"] {
            assert_eq!(Refusal::of(&answer("Information", text)), Some(Refusal::Other(text.to_owned())));
        }
    }

    #[test]
    fn a_message_beside_data_counts_only_when_it_speaks_of_premium() {
        assert_eq!(Refusal::of(&answer("message", "success")), None);
        let premium = answer("message", "This is a premium endpoint. You may subscribe.");
        assert_eq!(Refusal::of(&premium), Some(Refusal::Premium));
        assert_eq!(Refusal::of(&Map::new()), None);
    }

    #[test]
    fn limits_say_when_to_come_back() {
        let now: DateTime<Utc> = "2026-11-22T18:00:00Z".parse().unwrap();
        let retry = |refusal: Refusal| match refusal.into_error(None, now, str::to_owned) {
            QuoteError::RateLimited { retry_at: Some(at) } => at.to_rfc3339(),
            other => panic!("{other}"),
        };
        assert_eq!(retry(Refusal::PerSecond), "2026-11-22T18:00:02+00:00");
        assert_eq!(retry(Refusal::PerMinute), "2026-11-22T18:01:00+00:00");
        assert_eq!(retry(Refusal::PerDay), "2026-11-23T05:05:00+00:00");
    }

    #[test]
    fn an_invalid_call_for_a_symbol_means_that_it_is_unknown() {
        let symbol: Symbol = "NOSUCH".parse().unwrap();
        let told = |about| Refusal::InvalidCall.into_error(about, DateTime::<Utc>::MIN_UTC, str::to_owned);
        assert_eq!(told(Some(&symbol)), QuoteError::UnknownSymbol(symbol.clone()));
        assert!(matches!(told(None), QuoteError::Upstream(_)));
    }
}
