//! Reads environment variables and collects their errors.

use std::fmt::Display;
use std::num::{NonZeroU16, NonZeroU32};
use std::str::FromStr;
use std::time::Duration;

use chrono::TimeDelta;
use domain::{Commission, DecimalError, Money, Rate, TradingMode};
use services::TradingConfig;
use services::live::StreamLimits;
use services::operations::health::HealthConfig;
use url::Url;
use web::ConnectionLimits;

use super::MarketData;

/// Reads variables and collects their errors.
pub(super) struct Env<F> {
    pub(super) variable: F,
    pub(super) bad: Vec<String>,
}

impl<F: Fn(&str) -> Option<String>> Env<F> {
    pub(super) fn text(&self, name: &str) -> Option<String> {
        (self.variable)(name).map(|value| value.trim().to_owned())
    }

    pub(super) fn refuse<T>(&mut self, name: &str, why: &impl Display) -> Option<T> {
        self.bad.push(format!("{name} {why}"));
        None
    }

    pub(super) fn parsed<T: FromStr>(&mut self, name: &str, expected: &str) -> Option<T> {
        let text = self.text(name)?;
        text.parse().ok().or_else(|| self.refuse(name, &format!("is {text:?}: expected {expected}")))
    }

    pub(super) fn choice<T: Copy>(&mut self, name: &str, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text(name)?;
        let found =
            choices.iter().find(|(word, _)| word.eq_ignore_ascii_case(&text)).map(|(_, value)| *value);
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        found.or_else(|| self.refuse(name, &format!("is {text:?}: expected {}", words.join(" or "))))
    }

    pub(super) fn list<T>(&mut self, name: &str, expected: &str, read: impl Fn(&str) -> Option<T>) -> Vec<T> {
        let text = self.text(name).unwrap_or_default();
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts
            .filter_map(|part| {
                read(part).or_else(|| {
                    self.refuse(name, &format!("has {part:?}: expected {expected}, separated by commas"))
                })
            })
            .collect()
    }

    pub(super) fn web_address(&mut self, name: &str) -> Option<Url> {
        let text = self.text(name)?;
        let url =
            Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        url.or_else(|| {
            self.refuse(name, &format!("is {text:?}: expected an address like https://stockyard.example.org"))
        })
    }

    /// Reads an address that may have only a scheme and a host.
    fn host_address(&mut self, name: &str, default: &str) -> Option<Url> {
        if self.text(name).is_none() {
            return Url::parse(default).ok();
        }
        let url = self.web_address(name)?;
        let is_bare = url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        match is_bare {
            true => Some(url),
            false => self.refuse(name, &format!("must be scheme and host only, like {default}")),
        }
    }

    /// Reads an amount, rate or percentage. The error message comes from its type.
    fn decimal<T: FromStr<Err = DecimalError>>(&mut self, name: &str) -> Option<T> {
        let text = self.text(name)?;
        text.parse().map_err(|error| self.refuse::<()>(name, &format!("is {text:?}: {error}"))).ok()
    }

    fn charge(&mut self, name: &str) -> Money {
        match self.decimal::<Money>(name) {
            Some(money) if money.is_negative() => {
                self.refuse::<()>(name, &"must be zero or more");
                Money::zero()
            }
            money => money.unwrap_or_else(Money::zero),
        }
    }

    pub(super) fn trading(&mut self) -> TradingConfig {
        let default = TradingConfig::default();
        let modes = [("practice", TradingMode::Practice), ("realistic", TradingMode::Realistic)];
        TradingConfig {
            mode: self.choice("TRADING", &modes).unwrap_or(default.mode),
            commission: Commission {
                per_order: self.charge("COMMISSION_PER_ORDER"),
                per_share: self.decimal("COMMISSION_PER_SHARE").unwrap_or_else(Rate::zero),
                percent: self.decimal("COMMISSION_PERCENT").unwrap_or_else(Rate::zero),
                minimum: self.charge("COMMISSION_MINIMUM"),
            },
            slippage: self.decimal("SLIPPAGE_PERCENT"),
            liquidity: self.decimal("LIQUIDITY_PERCENT"),
            order_batch: self
                .parsed("ORDER_BATCH", "a number of orders from 1 to 65535, like 256")
                .map_or(default.order_batch, |most: NonZeroU16| most.get().into()),
            order_clerks: default.order_clerks,
        }
    }

    pub(super) fn streams(&mut self) -> StreamLimits {
        let default = StreamLimits::default();
        let mut most = |name: &str, default: usize| {
            let expected = "a number of streams from 1 to 65535, like 10";
            self.parsed(name, expected).map_or(default, |most: NonZeroU16| most.get().into())
        };
        StreamLimits {
            per_user: most("STREAMS_PER_USER", default.per_user),
            in_all: most("STREAMS", default.in_all),
        }
    }

    /// Reads a duration of up to an hour, in seconds with decimals.
    fn seconds(&mut self, name: &str) -> Option<Duration> {
        let expected = "a number of seconds above zero, like 3";
        match self.parsed::<f64>(name, expected) {
            Some(seconds) if seconds > 0.0 && seconds <= 3600.0 => Some(Duration::from_secs_f64(seconds)),
            Some(_) => self.refuse(name, &"must be above zero and at most 3600"),
            None => None,
        }
    }

    pub(super) fn health(&mut self) -> HealthConfig {
        let default = HealthConfig::default();
        let worker_timeout = self.seconds("WORKER_TIMEOUT_S").and_then(|span| TimeDelta::from_std(span).ok());
        HealthConfig {
            check_timeout: self.seconds("HEALTH_TIMEOUT_S").unwrap_or(default.check_timeout),
            worker_timeout: worker_timeout.unwrap_or(default.worker_timeout),
        }
    }

    pub(super) fn connections(&mut self, name: &str) -> Option<usize> {
        let most: NonZeroU32 = self.parsed(name, "a number of connections from 1 on, like 1024")?;
        usize::try_from(most.get()).ok()
    }

    pub(super) fn client_limits(&mut self) -> ConnectionLimits {
        let default = ConnectionLimits::default();
        let mut seconds = |name: &str, default: Duration| self.seconds(name).unwrap_or(default);
        ConnectionLimits {
            header_timeout: seconds("HEADER_TIMEOUT_S", default.header_timeout),
            body_timeout: seconds("BODY_TIMEOUT_S", default.body_timeout),
            send_timeout: seconds("SEND_TIMEOUT_S", default.send_timeout),
            keep_alive: seconds("KEEP_ALIVE_S", default.keep_alive),
            min_rate: self
                .parsed("MIN_TRANSFER_RATE", "a number of bytes per second from 1 on, like 500")
                .unwrap_or(default.min_rate),
            ..default
        }
    }

    pub(super) fn market_data(&mut self) -> Option<MarketData> {
        let api_key = self.text("ALPHAVANTAGE_API_KEY");
        let plan = self.alpha_vantage_plan(api_key.is_some());
        let default = if api_key.is_some() { "alphavantage" } else { "simulated" };
        let chosen = self.text("MARKET_DATA").unwrap_or_else(|| default.into());
        match chosen.as_str() {
            "simulated" => {
                let seed = self.parsed("SIMULATION_SEED", "a whole number from 0 on");
                Some(MarketData::Simulated { seed })
            }
            "alphavantage" => {
                let base_url = self
                    .web_address("ALPHAVANTAGE_BASE_URL")
                    .or_else(|| Url::parse(market_data::AlphaVantageConfig::BASE_URL).ok())?;
                match api_key {
                    Some(key) => Some(MarketData::AlphaVantage { api_key: key.into(), base_url, plan }),
                    None => self
                        .refuse("ALPHAVANTAGE_API_KEY", &"is not set, and MARKET_DATA=alphavantage needs it"),
                }
            }
            "yahoo" => {
                let base_url = self.host_address("YAHOO_BASE_URL", market_data::YahooConfig::BASE_URL);
                let cookie_url = self.host_address("YAHOO_COOKIE_URL", market_data::YahooConfig::COOKIE_URL);
                Some(MarketData::Yahoo { base_url: base_url?, cookie_url: cookie_url? })
            }
            other => self
                .refuse("MARKET_DATA", &format!("is {other:?}: expected simulated, alphavantage or yahoo")),
        }
    }
}
