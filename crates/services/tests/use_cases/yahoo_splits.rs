//! A split at Yahoo, which reports past prices in today's shares: reported before the opening, at it, hours later,
//! wrongly or never. The value of a holding is continuous at all times, and all readers agree.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use domain::HistoryRange;
use domain::calendar::exchange_date;
use domain::{Calendar, CorporateActionKind, Freshness, OrderStatus, Side, SplitRatio, Timestamp};
use market_data::{Rules, Yahoo, YahooConfig};
use persistence::{adjusted_bars, stocks};
use serde_json::{Map, Value, json};
use services::accounts::actor::Administrator;
use services::corporate_actions::splits::SplitResolution;
use services::testing::FixedPrices;
use services::{Error, Market, Services};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

use super::harness::{Exchange, Investor, day, gtc, limit, moment, price, symbol};

/// The opening of the exchange on the day of the split.
const OPEN: &str = "2026-11-23T14:30:00Z";
const BEFORE: &str = "2026-11-23T13:00:00Z";
const LATER: &str = "2026-11-23T18:00:00Z";
/// The sessions whose closes Yahoo has.
const SESSIONS: [&str; 8] = [
    "2026-11-13",
    "2026-11-16",
    "2026-11-17",
    "2026-11-18",
    "2026-11-19",
    "2026-11-20",
    "2026-11-23",
    "2026-11-24",
];

/// The events of AAPL, which trades at 200.00 before the split and 1 % higher after it, and how Yahoo reports them.
#[derive(Clone, Copy)]
struct Story {
    /// The numbers of new and old shares.
    ratio: (u32, u32),
    /// From when on the split is reported.
    told: Option<&'static str>,
    /// From when on earlier prices are reported in new shares.
    rebased: Option<&'static str>,
    /// A wrong ratio that is reported until that time.
    wrong: Option<((u32, u32), &'static str)>,
    dividend: Option<f64>,
}

impl Story {
    fn new(ratio: (u32, u32), told: Option<&'static str>, rebased: Option<&'static str>) -> Self {
        Self { ratio, told, rebased, wrong: None, dividend: None }
    }

    fn factor(&self) -> f64 {
        f64::from(self.ratio.1) / f64::from(self.ratio.0)
    }

    /// The traded price at that time.
    fn traded(&self, at: Timestamp) -> f64 {
        if at < moment(OPEN) { 200.0 } else { 202.0 * self.factor() }
    }

    fn shares(&self) -> String {
        let shares = 100.0 * f64::from(self.ratio.0) / f64::from(self.ratio.1);
        format!("{shares}")
    }
}

#[derive(Clone)]
struct StandIn {
    story: Arc<Mutex<Story>>,
    clock: services::Clock,
    calls: Arc<Mutex<Vec<String>>>,
}

impl StandIn {
    /// The time of the newest reported trade.
    fn newest(&self) -> Timestamp {
        let now = self.clock.now();
        let late = now - chrono::TimeDelta::minutes(15);
        match Calendar::Xnys.session_at(late) {
            Some(_) => late,
            None => Calendar::Xnys.last_closed(now).closes_at + chrono::TimeDelta::seconds(1),
        }
    }

    fn told(&self, traded: f64, at: Timestamp) -> f64 {
        let (story, now) = (*self.story.lock().unwrap(), self.clock.now());
        let is_rebased = story.rebased.is_some_and(|from| moment(from) <= now) && at < moment(OPEN);
        let told = if is_rebased { traded * story.factor() } else { traded };
        // The number in single precision.
        told.to_string().parse::<f32>().unwrap().into()
    }

    fn events(&self) -> Value {
        let (story, now) = (*self.story.lock().unwrap(), self.clock.now());
        let at = moment(OPEN).utc().timestamp();
        let (mut splits, mut dividends) = (Map::new(), Map::new());
        if story.told.is_some_and(|from| moment(from) <= now) {
            let wrong = story.wrong.filter(|(_, until)| now < moment(until)).map(|(ratio, _)| ratio);
            let (new, old) = wrong.unwrap_or(story.ratio);
            splits.insert(
                at.to_string(),
                json!({"date": at, "numerator": f64::from(new), "denominator": f64::from(old)}),
            );
            if let Some(amount) = story.dividend {
                dividends.insert(at.to_string(), json!({ "date": at, "amount": amount }));
            }
        }
        json!({ "splits": splits, "dividends": dividends })
    }

    fn chart(&self, of: &str, is_one_day: bool) -> Value {
        let (story, now, newest) = (*self.story.lock().unwrap(), self.clock.now(), self.newest());
        let today = exchange_date(newest);
        let closed = |date: &&&str| Calendar::Xnys.session(day(date)).unwrap().closes_at <= now;
        let mut slots: Vec<(i64, f64)> = SESSIONS
            .iter()
            .filter(closed)
            .filter(|date| !is_one_day || day(date) == today)
            .map(|date| {
                let session = Calendar::Xnys.session(day(date)).unwrap();
                (
                    session.opens_at.utc().timestamp(),
                    self.told(story.traded(session.opens_at), session.opens_at),
                )
            })
            .collect();
        if Calendar::Xnys.session_at(newest).is_some() {
            slots.push((newest.utc().timestamp(), self.told(story.traded(newest), newest)));
        }
        let before = Calendar::Xnys.before(today).opens_at;
        let prices: Vec<f64> = slots.iter().map(|(_, price)| *price).collect();
        json!({ "chart": { "result": [{
            "meta": {
                "currency": "USD", "symbol": of, "fullExchangeName": "NasdaqGS", "instrumentType": "EQUITY",
                "exchangeTimezoneName": "America/New_York", "regularMarketTime": newest.utc().timestamp(),
                "regularMarketPrice": self.told(story.traded(newest), newest), "longName": "Apple Inc.",
                "chartPreviousClose": self.told(story.traded(before), before), "dataGranularity": "1d",
                "range": if is_one_day { "1d" } else { "max" },
            },
            "timestamp": slots.iter().map(|(at, _)| *at).collect::<Vec<_>>(),
            "indicators": { "quote": [{ "open": prices, "high": prices, "low": prices, "close": prices,
                "volume": vec![1000; prices.len()] }] },
            "events": self.events(),
        }], "error": null } })
    }
}

impl Respond for StandIn {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let path = request.url.path().to_owned();
        self.calls.lock().unwrap().push(format!("{path}?{}", request.url.query().unwrap_or_default()));
        match path.rsplit_once('/') {
            Some(("/v8/finance/chart", of)) => {
                let is_one_day = request.url.query_pairs().any(|pair| pair == ("range".into(), "1d".into()));
                ResponseTemplate::new(200).set_body_json(self.chart(of, is_one_day))
            }
            Some((_, "search")) => ResponseTemplate::new(200).set_body_json(json!({ "quotes": [] })),
            _ => ResponseTemplate::new(404).set_body_json(json!({})),
        }
    }
}

/// Sam holds only 100 shares of AAPL that are worth 20,000.00.
struct World {
    exchange: Exchange,
    process: Services,
    stand_in: StandIn,
    sam: Investor,
    /// Keeps the stand-in running.
    _server: MockServer,
}

impl World {
    async fn new(story: Story) -> Self {
        let exchange = Exchange::with(FixedPrices::of(Freshness::Delayed, Calendar::Xnys)).await;
        let server = MockServer::start().await;
        let stand_in = StandIn {
            story: Arc::new(Mutex::new(story)),
            clock: exchange.clock.clone(),
            calls: Arc::default(),
        };
        Mock::given(any()).respond_with(stand_in.clone()).mount(&server).await;
        let process = exchange.process_on_market(|store, clock| {
            let now = clock.clone();
            let source = Yahoo::new(YahooConfig {
                base_url: server.uri().parse().unwrap(),
                cookie_url: server.uri().parse().unwrap(),
                min_gap: Duration::ZERO,
                now: Arc::new(move || now.wall().utc()),
            });
            let rules = Rules { min_gap: chrono::TimeDelta::zero(), per_minute: None, ..Rules::YAHOO };
            Market::limited(Arc::new(source.unwrap()), rules, store, clock)
        });
        let sam = exchange.investor("sam", "20000").await;
        let buy = super::harness::order(Side::Buy, "AAPL", super::harness::shares("100"));
        let bought = process.trading().place_order(sam.control(), buy).await.unwrap();
        assert_eq!(bought.order.order.status, OrderStatus::Filled);
        Self { exchange, process, stand_in, sam, _server: server }
    }

    async fn work(&self) {
        for run in self.process.jobs().due_runs().await.unwrap() {
            assert!(self.process.jobs().run_job(run.id, "worker").await.unwrap(), "{run:?}");
        }
        let _ = self.process.trading().match_orders().await;
    }

    async fn shares(&self) -> String {
        let valued = self.process.books().valuation(self.sam.reference()).await.unwrap();
        valued.valuation.holdings[0].position.quantity.to_string()
    }

    async fn total(&self) -> f64 {
        let valued = self.process.books().valuation(self.sam.reference()).await.unwrap();
        valued.valuation.total_value.to_string().parse().unwrap()
    }

    /// Advances the clock to that time and checks every reader.
    async fn at(&self, instant: &str) {
        self.exchange.at(instant);
        // Readers are checked before and after the jobs.
        for _ in 0..2 {
            let total = self.total().await;
            assert!((19_900.0..=20_500.0).contains(&total), "{instant}: the total is {total}");
            let quote = self.process.stocks().quote(&symbol("AAPL")).await.unwrap();
            let valued = self.process.books().valuation(self.sam.reference()).await.unwrap();
            let holding = &valued.valuation.holdings[0];
            assert_eq!(holding.quote.price, quote.price, "{instant}");
            if let Ok(bars) = self.process.stocks().history(&symbol("AAPL"), HistoryRange::Month).await {
                for pair in bars.windows(2) {
                    let change = pair[1].close.change_ratio(&pair[0].close).unwrap();
                    assert!(change.abs() < 0.05, "{instant}: {pair:?}");
                }
                // A split in the chart is booked immediately.
                let quote = self.process.stocks().quote(&symbol("AAPL")).await.unwrap();
                let last = bars.last().unwrap().close.change_ratio(&quote.price).unwrap();
                assert!(
                    last.abs() < 0.05,
                    "{instant}: the chart ends at {:?}, the price is {}",
                    bars.last(),
                    quote.price
                );
            }
            self.work().await;
        }
        for row in self.process.books().snapshots(self.sam.reference(), None, None).await.unwrap() {
            let total: f64 = row.total_value.to_string().parse().unwrap();
            assert!(
                (19_900.0..=20_500.0).contains(&total),
                "{instant}: the snapshot of {} is {total}",
                row.date
            );
        }
    }

    async fn all_at(&self, instants: &[&str]) {
        for instant in instants {
            self.at(instant).await;
        }
    }

    /// Sells one share at the market; returns whether the order was filled.
    async fn sells(&self) -> Result<bool, Error> {
        let sell = super::harness::order(Side::Sell, "AAPL", super::harness::shares("1"));
        let placed = self.process.trading().place_order(self.sam.control(), sell).await?;
        let order = placed.order.order;
        if order.status.is_open() {
            self.process.trading().cancel_order(self.sam.control(), order.id).await.unwrap();
        }
        Ok(order.status == OrderStatus::Filled)
    }
}

const FRIDAY: [&str; 2] = ["2026-11-20T20:40:00Z", "2026-11-20T21:45:00Z"];
const MORNING: [&str; 8] = [
    "2026-11-23T12:00:00Z",
    "2026-11-23T13:05:00Z",
    "2026-11-23T14:31:00Z",
    "2026-11-23T14:46:00Z",
    "2026-11-23T14:47:00Z",
    "2026-11-23T14:49:00Z",
    "2026-11-23T14:52:00Z",
    "2026-11-23T16:00:00Z",
];
const AFTERNOON: [&str; 6] = [
    "2026-11-23T17:59:00Z",
    "2026-11-23T18:01:00Z",
    "2026-11-23T18:03:00Z",
    "2026-11-23T18:05:00Z",
    "2026-11-23T21:20:00Z",
    "2026-11-23T21:50:00Z",
];
const TUESDAY: [&str; 4] =
    ["2026-11-24T13:30:00Z", "2026-11-24T14:46:00Z", "2026-11-24T14:48:00Z", "2026-11-24T15:50:00Z"];

const RATIOS: [(u32, u32); 5] = [(2, 1), (1, 10), (20, 1), (3, 2), (1281, 1000)];

async fn lived_through(story: Story) -> World {
    let world = World::new(story).await;
    // One order that the split moves away from the new price, and one that a price in new shares would fill.
    let far = 200.0 * if story.factor() > 1.0 { 1.5 } else { 0.8 };
    let side = if story.factor() > 1.0 { Side::Sell } else { Side::Buy };
    let size = if story.factor() > 1.0 { "10" } else { "1" };
    if side == Side::Sell {
        let order = gtc(side, "AAPL", size, limit(&format!("{far:.2}")));
        world.process.trading().place_order(world.sam.control(), order).await.unwrap();
    }
    for part in [&FRIDAY[..], &MORNING, &AFTERNOON, &TUESDAY] {
        world.all_at(part).await;
    }
    world
}

#[tokio::test]
async fn the_value_is_continuous_whenever_a_split_is_reported() {
    for ratio in RATIOS {
        for told in [BEFORE, OPEN, LATER] {
            for rebased in [told, OPEN] {
                // A ratio that does not look like a split and is not reported counts as a move until it is reported.
                if told == LATER && rebased == LATER && !matches!(ratio, (2, 1) | (20, 1) | (1, 10)) {
                    continue;
                }
                let story = Story::new(ratio, Some(told), Some(rebased));
                let world = lived_through(story).await;
                let name = format!("{ratio:?} told {told} rebased {rebased}");
                assert_eq!(world.shares().await, story.shares(), "{name}");
                assert_eq!(world.process.corporate_actions().held_splits().await.unwrap(), [], "{name}");
                assert_eq!(world.process.stocks().unconfirmed_prices().await.unwrap(), [], "{name}");
                let total = world.total().await;
                assert!((20_190.0..20_210.0).contains(&total), "{name}: {total}");
                assert!(world.sells().await.unwrap(), "{name}");
                world.exchange.assert_books_balance().await;
            }
        }
    }
}

#[tokio::test]
async fn an_unreported_split_holds_the_price_until_it_is_recorded() {
    for (ratio, rebased) in [
        ((2, 1), Some(OPEN)),
        ((1, 10), Some(OPEN)),
        ((3, 2), Some(OPEN)),
        ((1281, 1000), Some(OPEN)),
        ((20, 1), Some(BEFORE)),
    ] {
        let story = Story::new(ratio, None, rebased);
        let world = lived_through(story).await;
        assert_eq!(world.shares().await, "100", "{ratio:?}");
        assert_eq!(world.total().await, 20_000.0, "{ratio:?}");
        assert_eq!(world.process.stocks().unconfirmed_prices().await.unwrap().len(), 1, "{ratio:?}");
        assert!(!world.sells().await.unwrap(), "{ratio:?}: a price in doubt fills nothing");
        let side = |side| NonZeroU32::new(side).unwrap();
        let recorded = SplitRatio { numerator: side(ratio.0), denominator: side(ratio.1) };
        let resolution = SplitResolution::Correct(recorded);
        world
            .process
            .corporate_actions()
            .resolve_split(
                &Administrator::operator("ada"),
                &symbol("AAPL"),
                resolution,
                "The company says so.",
            )
            .await
            .unwrap();
        world.all_at(&["2026-11-24T15:52:00Z", "2026-11-24T15:54:00Z"]).await;
        assert_eq!(world.shares().await, story.shares(), "{ratio:?}");
        assert!((20_190.0..20_210.0).contains(&world.total().await), "{ratio:?}");
        assert!(world.sells().await.unwrap(), "{ratio:?}");
        world.exchange.assert_books_balance().await;
    }
}

#[tokio::test]
async fn an_unexplained_fall_by_half_is_accepted_a_session_later() {
    let story = Story::new((2, 1), None, None);
    let world = World::new(story).await;
    for part in [&FRIDAY[..], &MORNING, &AFTERNOON] {
        world.all_at(part).await;
    }
    assert_eq!(world.total().await, 20_000.0);
    assert!(!world.sells().await.unwrap());
    // Yahoo's series still has Friday's close: the shares were not split.
    for instant in TUESDAY.into_iter().chain(["2026-11-24T16:10:00Z", "2026-11-24T17:00:00Z"]) {
        world.exchange.at(instant);
        world.work().await;
    }
    assert_eq!(world.total().await, 10_100.0);
    assert!(world.sells().await.unwrap());
}

#[tokio::test]
async fn a_wrong_ratio_halts_trading_until_the_right_one_comes() {
    for (ratio, wrong) in [((2, 1), (20, 1)), ((1, 10), (10, 1)), ((3, 2), (2, 3))] {
        let story = Story { wrong: Some((wrong, LATER)), ..Story::new(ratio, Some(OPEN), Some(OPEN)) };
        let world = World::new(story).await;
        for part in [&FRIDAY[..], &MORNING] {
            world.all_at(part).await;
        }
        assert!(matches!(world.sells().await, Err(Error::TradingHalted { .. })), "{ratio:?}");
        assert_eq!(world.shares().await, "100", "{ratio:?}");
        for part in [&AFTERNOON[..], &TUESDAY] {
            world.all_at(part).await;
        }
        assert_eq!(world.shares().await, story.shares(), "{ratio:?}");
        assert!(world.sells().await.unwrap(), "{ratio:?}");
        world.exchange.assert_books_balance().await;
    }
}

#[tokio::test]
async fn a_dividend_on_the_day_of_a_split_is_for_new_shares() {
    let story = Story { dividend: Some(0.5), ..Story::new((2, 1), Some(OPEN), Some(OPEN)) };
    let world = lived_through(story).await;
    // 200 shares at 101.00, and a dividend of 200 × 0.50 owed.
    assert_eq!(world.total().await, 20_300.0);
    let told = world.process.stocks().corporate_actions(&symbol("AAPL")).await.unwrap();
    let pays = told.iter().find_map(|action| match &action.kind {
        CorporateActionKind::CashDividend { amount, pays_on } => Some((amount.to_string(), *pays_on)),
        _ => None,
    });
    assert_eq!(pays, Some(("0.50".to_owned(), day("2026-12-13"))), "twenty days later");
}

#[tokio::test]
async fn a_split_costs_no_additional_calls() {
    let world = World::new(Story::new((2, 1), Some(OPEN), Some(OPEN))).await;
    for part in [&FRIDAY[..], &MORNING[..3]] {
        world.all_at(part).await;
    }
    let before = world.stand_in.calls.lock().unwrap().len();
    for instant in &MORNING[3..7] {
        world.exchange.at(instant);
        world.work().await;
    }
    assert_eq!(world.shares().await, "200");
    let calls = world.stand_in.calls.lock().unwrap()[before..].to_vec();
    let news = calls.iter().filter(|call| !call.contains("range=1d")).count();
    assert!(news <= 1, "the round after the opening: {calls:?}");
}

#[tokio::test]
async fn bars_stored_in_adjusted_shares_are_recognized_and_fetched_again() {
    let world = World::new(Story::new((2, 1), Some(OPEN), Some(OPEN))).await;
    let exchange = &world.exchange;
    let id = exchange.instruments().stock(&symbol("AAPL")).await.unwrap().id;
    // Bars as an earlier version stored them: Thursday in the shares after the split, and a day that Yahoo no longer
    // has.
    let bar = |date: &str, close: &str| {
        let [open, high, low, close] = [close; 4].map(price);
        domain::Bar { date: day(date), open, high, low, close, volume: 1 }
    };
    let old = [bar("2026-11-19", "100.00"), bar("2026-11-02", "99.00")];
    exchange.write(move |tx| stocks::save_bars(tx, id, adjusted_bars::ADJUSTED, &old)).await;
    let stored = async || {
        let bars = exchange.read(move |tx| stocks::bars(tx, id, day("2026-11-01"), day("2026-11-30"))).await;
        bars.into_iter().map(|bar| format!("{} {}", bar.date, bar.close)).collect::<Vec<_>>()
    };
    assert_eq!(stored().await, Vec::<String>::new(), "they are used for nothing");
    for instant in MORNING {
        world.at(instant).await;
    }
    assert!(stored().await.contains(&"2026-11-19 200.00".to_owned()), "{:?}", stored().await);
    assert_eq!(exchange.read(move |tx| adjusted_bars::stocks(tx, 10)).await, []);
}
