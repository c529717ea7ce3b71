//! Yahoo reports past prices in today's shares. The client converts its bars, quotes, splits and dividends to the
//! shares of their own days, with any splits.

use std::sync::Arc;
use std::time::Duration;

use chrono::NaiveDate;
use domain::{CorporateAction, CorporateActionKind, Timestamp};
use market_data::{QuoteError, QuoteSource, Yahoo, YahooConfig};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::{FREE, SourceQuotes, day, instant, price, symbol};

/// Thursday, 10:45 in New York.
const NOW: &str = "2026-11-19T15:45:00Z";
/// The sessions before that day, oldest first.
const DAYS: [&str; 5] = ["2026-11-12", "2026-11-13", "2026-11-16", "2026-11-17", "2026-11-18"];

fn opens(on: &str) -> i64 {
    instant(&format!("{on}T14:30:00Z")).utc().timestamp()
}

/// A split as Yahoo reports it.
fn split(on: &str, numerator: f64, denominator: f64) -> (String, Value) {
    let at = opens(on);
    let ratio = format!("{numerator}:{denominator}");
    (
        at.to_string(),
        json!({"date": at, "numerator": numerator, "denominator": denominator, "splitRatio": ratio}),
    )
}

fn dividend(on: &str, amount: f64) -> (String, Value) {
    (opens(on).to_string(), json!({ "date": opens(on), "amount": amount }))
}

fn events(splits: &[(String, Value)], dividends: &[(String, Value)]) -> Value {
    let object = |entries: &[(String, Value)]| Value::Object(entries.iter().cloned().collect::<Map<_, _>>());
    json!({ "splits": object(splits), "dividends": object(dividends) })
}

/// A number as Yahoo reports it, in single precision.
fn binary32(exact: f64) -> f64 {
    exact.to_string().parse::<f32>().unwrap().into()
}

/// A chart of AAPL with these daily closes, each with a volume of one thousand.
fn chart(closes: &[(&str, f64)], events: Value) -> Value {
    let prices: Vec<f64> = closes.iter().map(|(_, close)| binary32(*close)).collect();
    let starts: Vec<i64> = closes.iter().map(|(on, _)| opens(on)).collect();
    let volumes = vec![1000; closes.len()];
    json!({ "chart": { "result": [{
        "meta": {
            "currency": "USD", "symbol": "AAPL", "fullExchangeName": "NasdaqGS", "instrumentType": "EQUITY",
            "exchangeTimezoneName": "America/New_York", "regularMarketTime": instant("2026-11-19T15:30:00Z").utc().timestamp(),
            "regularMarketPrice": 100.5, "chartPreviousClose": 100.0, "dataGranularity": "1d", "range": "1d",
        },
        "timestamp": starts,
        "indicators": { "quote": [{ "open": prices, "high": prices, "low": prices, "close": prices, "volume": volumes }] },
        "events": events,
    }], "error": null } })
}

struct Provider {
    server: MockServer,
    client: Yahoo,
    now: Timestamp,
}

impl Provider {
    async fn at(now: &str, answer: Value) -> Self {
        let server = MockServer::start().await;
        let now = instant(now);
        let client = Yahoo::new(YahooConfig {
            base_url: server.uri().parse().unwrap(),
            cookie_url: server.uri().parse().unwrap(),
            min_gap: Duration::ZERO,
            now: Arc::new(move || now.utc()),
        });
        Mock::given(any())
            .respond_with(ResponseTemplate::new(200).set_body_json(answer))
            .mount(&server)
            .await;
        Self { server, client: client.unwrap(), now }
    }

    /// Date, close and volume of each bar.
    async fn bars(&self) -> Result<Vec<(NaiveDate, String, u64)>, QuoteError> {
        let bars =
            self.client.daily_bars(&symbol("AAPL"), day("2026-01-01"), day("2026-11-19"), self.now).await?;
        Ok(bars.into_iter().map(|bar| (bar.date, bar.close.to_string(), bar.volume)).collect())
    }

    async fn closes(&self) -> Vec<String> {
        self.bars().await.unwrap().into_iter().map(|(_, close, _)| close).collect()
    }

    async fn actions(&self) -> Vec<String> {
        let (first, last) = (day("2026-01-01"), day("2027-01-31"));
        let told =
            self.client.corporate_actions(&symbol("AAPL"), first, last, self.now, &FREE).await.unwrap();
        told.iter().map(described).collect()
    }
}

fn described(action: &CorporateAction) -> String {
    match &action.kind {
        CorporateActionKind::Split { numerator, denominator } => {
            format!("{} {numerator}:{denominator}", action.ex_on)
        }
        CorporateActionKind::CashDividend { amount, pays_on } => {
            format!("{} pays {amount} on {pays_on}", action.ex_on)
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn bars_are_in_the_shares_of_their_own_days_for_every_ratio() {
    for (new, old, told_volume) in [
        (2.0, 1.0, 500),
        (10.0, 1.0, 100),
        (1.0, 20.0, 20_000),
        (3.0, 2.0, 666),
        (1281.0, 1000.0, 780),
        (1.281, 1.0, 780),
        (21.0, 20.0, 952),
        (1.0, 1.5, 1500),
        (7.0, 3.0, 428),
    ] {
        // The stock traded at 200.00, 201.37 and 199.99 before the split, and at a matching price after it.
        let after = 200.0 * old / new;
        let told = [
            (DAYS[0], 200.0 * old / new),
            (DAYS[1], 201.37 * old / new),
            (DAYS[2], 199.99 * old / new),
            (DAYS[3], after),
            (DAYS[4], after),
        ];
        let provider = Provider::at(NOW, chart(&told, events(&[split(DAYS[3], new, old)], &[]))).await;
        let bars = provider.bars().await.unwrap();
        let closes: Vec<&str> = bars.iter().take(3).map(|(_, close, _)| close.as_str()).collect();
        assert_eq!(closes, ["200.00", "201.37", "199.99"], "{new}:{old}");
        assert_eq!(bars[3].1, price(&format!("{after:.8}")).to_string(), "{new}:{old}");
        assert_eq!((bars[2].2, bars[3].2), (told_volume, 1000), "{new}:{old}");
        assert_eq!(provider.actions().await.len(), 1, "{new}:{old}");
    }
}

#[tokio::test]
async fn dividends_around_several_splits_are_converted() {
    let told = [(DAYS[0], 50.0), (DAYS[1], 50.0), (DAYS[2], 50.0), (DAYS[3], 50.0), (DAYS[4], 50.0)];
    let splits = [split(DAYS[1], 4.0, 1.0), split(DAYS[3], 1.0, 2.0)];
    // 0.82 before both splits, 0.20 on the day of the first, 0.10 on the day of the second.
    let dividends = [
        dividend(DAYS[0], 0.41),
        dividend(DAYS[1], 0.4),
        dividend(DAYS[3], 0.1),
        dividend(DAYS[4], 0.123457),
    ];
    let provider = Provider::at(NOW, chart(&told, events(&splits, &dividends))).await;
    assert_eq!(provider.closes().await, ["100.00", "25.00", "25.00", "50.00", "50.00"]);
    assert_eq!(
        provider.actions().await,
        [
            "2026-11-12 pays 0.82 on 2026-12-02",
            "2026-11-13 4:1",
            "2026-11-13 pays 0.20 on 2026-12-03",
            "2026-11-17 1:2",
            "2026-11-17 pays 0.10 on 2026-12-07",
            "2026-11-18 pays 0.123457 on 2026-12-08",
        ]
    );
}

#[tokio::test]
async fn a_dividend_before_a_split_keeps_its_certain_decimals() {
    // 3.05 was paid; Yahoo has 0.108929 after splits of 7:1 and 4:1.
    let splits = [split(DAYS[1], 7.0, 1.0), split(DAYS[2], 4.0, 1.0)];
    let provider = Provider::at(NOW, chart(&[], events(&splits, &[dividend(DAYS[0], 0.108929)]))).await;
    assert_eq!(provider.actions().await[0], "2026-11-12 pays 3.05 on 2026-12-02");
}

#[tokio::test]
async fn dividends_of_one_day_are_combined() {
    let at = opens(DAYS[2]);
    let told = |key: i64, amount: f64| (key.to_string(), json!({ "date": at, "amount": amount }));
    let told = [told(at, 0.25), told(at + 1, 1.5), told(at + 2, 0.25)];
    let provider = Provider::at(NOW, chart(&[], events(&[], &told))).await;
    assert_eq!(provider.actions().await, ["2026-11-16 pays 1.75 on 2026-12-06"]);
}

#[tokio::test]
async fn events_with_invalid_or_missing_fields_are_handled() {
    let closes = DAYS.map(|on| (on, 100.0));
    let at = opens(DAYS[2]);
    let with = |key: &str, event: Value| json!({ "splits": { key: event } });
    // Events that are still readable.
    for event in [
        json!({ "date": at, "splitRatio": "2:1" }),
        json!({ "date": at, "numerator": null, "denominator": "1", "splitRatio": "2/1" }),
        json!({ "date": at, "numerator": 0, "denominator": 1, "splitRatio": "4:2" }),
        json!({ "numerator": 2, "denominator": 1 }),
        json!({ "date": "soon", "numerator": 20_000, "denominator": 10_000, "more": [1, 2] }),
    ] {
        let provider = Provider::at(NOW, chart(&closes, with(&at.to_string(), event.clone()))).await;
        assert_eq!(provider.closes().await, ["200.00", "200.00", "100.00", "100.00", "100.00"], "{event}");
        assert_eq!(provider.actions().await, ["2026-11-16 2:1"], "{event}");
    }
    // Events without an effect.
    for event in
        [json!({ "date": at, "numerator": 1, "denominator": 1 }), json!({ "date": at, "splitRatio": "3:3" })]
    {
        let provider = Provider::at(NOW, chart(&closes, with(&at.to_string(), event.clone()))).await;
        assert_eq!(provider.closes().await, ["100.00"; 5], "{event}");
    }
    // The share basis of the days before an unreadable split is unknown.
    for event in [
        json!({ "date": at }),
        json!({ "date": at, "numerator": 2, "denominator": 0, "splitRatio": "2:0" }),
        json!({ "date": at, "numerator": -2, "denominator": 1 }),
        json!({ "date": at, "numerator": 1e12, "denominator": 1 }),
        json!({ "date": at, "splitRatio": "two for one" }),
        json!(null),
        json!([2, 1]),
    ] {
        let provider = Provider::at(NOW, chart(&closes, with(&at.to_string(), event.clone()))).await;
        assert_eq!(provider.bars().await.unwrap().len(), 3, "{event}");
        assert_eq!(provider.actions().await, Vec::<String>::new(), "{event}");
    }
    // If the day of the split is unknown too, the share basis of every day is unknown.
    let provider = Provider::at(NOW, chart(&closes, with("key", json!({ "numerator": 2 })))).await;
    assert!(matches!(provider.bars().await, Err(QuoteError::Upstream(_))));
    // Invalid dividends, and events that are not objects.
    for told in [
        json!({ "dividends": { "a": { "date": at, "amount": null }, "b": { "date": at, "amount": -1 }, "c": { "amount": 1 },
            "d": { "date": at, "amount": "0.25" }, "e": null } }),
        json!({ "dividends": [], "splits": "none" }),
        json!([]),
        json!(null),
    ] {
        let provider = Provider::at(NOW, chart(&closes, told.clone())).await;
        assert_eq!(provider.closes().await, ["100.00"; 5], "{told}");
        assert_eq!(provider.actions().await, Vec::<String>::new(), "{told}");
    }
}

#[tokio::test]
async fn a_split_reported_shortly_before_its_opening_is_in_the_prices() {
    // Half an hour before the opening, and on the evening two days before.
    for (now, before) in [("2026-11-19T14:00:00Z", "200.00"), ("2026-11-17T23:00:00Z", "100.00")] {
        let told = [(DAYS[2], 100.0), (DAYS[3], 100.0)];
        let mut answer = chart(&told, events(&[split("2026-11-19", 2.0, 1.0)], &[]));
        answer["chart"]["result"][0]["meta"]["regularMarketTime"] = json!(opens(DAYS[3]) + 23_401);
        let provider = Provider::at(now, answer).await;
        assert_eq!(provider.closes().await, [before, before], "{now}");
        assert_eq!(provider.actions().await, ["2026-11-19 2:1"]);
    }
}

#[tokio::test]
async fn the_previous_close_is_in_the_shares_of_the_quote() {
    for (new, old, told, price_now) in [
        (2.0, 1.0, 200.0, 100.5),
        (2.0, 1.0, 100.0, 100.5),
        (3.0, 2.0, 150.0, 101.0),
        (3.0, 2.0, 100.0, 99.0),
        (1.0, 10.0, 10.0, 103.0),
        (1.0, 10.0, 100.0, 97.0),
        (1281.0, 1000.0, 128.1, 100.0),
    ] {
        let mut answer = chart(&[], events(&[split("2026-11-19", new, old)], &[]));
        answer["chart"]["result"][0]["meta"]["chartPreviousClose"] = json!(told);
        answer["chart"]["result"][0]["meta"]["regularMarketPrice"] = json!(price_now);
        let provider = Provider::at(NOW, answer).await;
        let aapl = symbol("AAPL");
        let quote = provider
            .client
            .quotes_by_symbol(std::slice::from_ref(&aapl), provider.now)
            .await
            .remove(&aapl)
            .unwrap()
            .unwrap();
        assert_eq!(quote.previous_close, Some(price("100.00")), "{new}:{old} told as {told}");
    }
}

#[tokio::test]
async fn actions_that_come_with_prices_need_no_call() {
    let answer =
        chart(&[(DAYS[4], 200.0)], events(&[split("2026-11-19", 2.0, 1.0)], &[dividend("2026-11-19", 0.3)]));
    let provider = Provider::at(NOW, answer).await;
    let aapl = symbol("AAPL");
    assert_eq!(provider.client.observed_actions(&aapl), None);
    provider
        .client
        .quotes_by_symbol(std::slice::from_ref(&aapl), provider.now)
        .await
        .remove(&aapl)
        .unwrap()
        .unwrap();
    let seen = provider.client.observed_actions(&aapl).unwrap();
    let told: Vec<String> = seen.actions.iter().map(described).collect();
    assert_eq!(told, ["2026-11-19 2:1", "2026-11-19 pays 0.30 on 2026-12-09"]);
    // The chart of one day covers only that day, a series all its days.
    assert!(seen.covers(day("2026-11-19"), provider.now) && !seen.covers(day("2026-11-18"), provider.now));
    provider.bars().await.unwrap();
    let seen = provider.client.observed_actions(&aapl).unwrap();
    assert!(seen.covers(day("2026-01-01"), provider.now) && !seen.covers(day("2025-12-31"), provider.now));
    assert_eq!(provider.server.received_requests().await.unwrap().len(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Closes as traded are restored from Yahoo's conversion of them, to the cent, over any usual splits.
    #[test]
    fn closes_are_restored_as_traded(
        cents in prop::collection::vec(2_000_u32..60_000, 5),
        splits in prop::collection::vec((1_usize..5, prop::sample::select(vec![
            (2.0, 1.0), (3.0, 1.0), (3.0, 2.0), (4.0, 1.0), (5.0, 4.0), (7.0, 1.0), (10.0, 1.0), (20.0, 1.0), (1.0, 2.0),
            (1.0, 10.0), (1.0, 8.0), (1281.0, 1000.0), (1046.0, 1000.0),
        ])), 0..3),
    ) {
        let mut by_day = std::collections::BTreeMap::new();
        for (on, ratio) in splits {
            by_day.entry(on).or_insert(ratio);
        }
        // The closes follow the splits, so that none looks like a mistake.
        let mut level = 1.0;
        let mut traded = Vec::new();
        for (at, cents) in cents.iter().enumerate() {
            if let Some((new, old)) = by_day.get(&at) {
                level *= old / new;
            }
            let moved = 0.9 + f64::from(cents % 200) / 1000.0;
            traded.push((300.0 * level * moved * 100.0).round() / 100.0);
        }
        prop_assume!(traded.iter().all(|close| *close >= 1.0));
        let factor = |at: usize| by_day.range(at + 1..).fold(1.0, |factor, (_, (new, old))| factor * old / new);
        let told: Vec<(&str, f64)> = DAYS.iter().enumerate().map(|(at, on)| (*on, traded[at] * factor(at))).collect();
        let told_splits: Vec<_> = by_day.iter().map(|(at, (new, old))| split(DAYS[*at], *new, *old)).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let closes = runtime.block_on(async {
            Provider::at(NOW, chart(&told, events(&told_splits, &[]))).await.closes().await
        });
        let expected: Vec<String> = traded.iter().map(|close| format!("{close:.2}")).collect();
        prop_assert_eq!(closes, expected);
    }
}
