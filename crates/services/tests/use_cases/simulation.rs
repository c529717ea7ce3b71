//! The choice of a deployment's simulated market.

use std::sync::Arc;

use chrono::{Days, NaiveDate};
use domain::HistoryRange;
use domain::{
    Attached, Bar, Calendar, Freshness, OrderStatus, PlaceOrder, PriceSource, Side, StopLoss, TradingMode,
};
use market_data::{DEFAULT_SEED, Payer, QuoteSource, Simulated, SimulatedModel};
use persistence::{installation, stocks};
use services::books::performance::Window;
use services::market::price_source::claim_price_source;
use services::market::simulation::{SimulationError, SimulationSettings, SimulationUse, simulated_market};
use services::testing::FixedPrices;
use services::{Market, TradingConfig};

use crate::harness::{Exchange, day, gtc, limit, moment, order, price, quantity, shares, symbol};

const STARTS: SimulationUse = SimulationUse::Process { accept_change: false };
const ACCEPTS: SimulationUse = SimulationUse::Process { accept_change: true };

fn practice(seed: Option<u64>) -> SimulationSettings {
    SimulationSettings { seed, mode: TradingMode::Practice }
}

/// The source of the market, and the price of a stock.
async fn told(market: &Simulated) -> (String, String) {
    let at = moment("2026-11-25T17:00:00Z");
    let quote = market.quotes(&[symbol("AAPL")], at, &Payer::unlimited()).await.remove(0).unwrap();
    (quote.source.to_string(), quote.price.to_string())
}

async fn of(model: SimulatedModel, seed: u64) -> (String, String) {
    told(&Simulated::with_seed(model, seed)).await
}

impl Exchange {
    async fn market(
        &self,
        settings: SimulationSettings,
        by: SimulationUse,
    ) -> Result<(String, String), SimulationError> {
        Ok(self.market_and_canceled(settings, by).await?.0)
    }

    /// The market, and the number of orders that were canceled because of the change.
    async fn market_and_canceled(
        &self,
        settings: SimulationSettings,
        by: SimulationUse,
    ) -> Result<((String, String), usize), SimulationError> {
        let found = simulated_market(self.store(), settings, by, self.now()).await?;
        Ok((told(&found.market).await, found.canceled_orders))
    }

    async fn claim(&self, source: &str, accept: bool) {
        claim_price_source(self.store(), &PriceSource::from(source), accept, self.now()).await.unwrap();
    }
}

#[tokio::test]
async fn each_installation_has_its_own_permanent_prices() {
    let (one, other) = (Exchange::new().await, Exchange::new().await);
    let first = one.market(practice(None), STARTS).await.unwrap();
    assert_eq!(first.0, "simulated/sim-v2");
    assert_ne!(first, other.market(practice(None), STARTS).await.unwrap());
    assert_ne!(first, of(SimulatedModel::V2, DEFAULT_SEED).await);
    for by in [STARTS, ACCEPTS, SimulationUse::PricingCommand, SimulationUse::Command] {
        assert_eq!(one.market(practice(None), by).await.unwrap(), first);
    }
}

#[tokio::test]
async fn processes_that_start_together_agree_on_one_seed() {
    let exchange = Exchange::new().await;
    let starts = (0..8).map(|_| exchange.market(practice(None), STARTS));
    let mut told: Vec<_> = futures::future::join_all(starts).await.into_iter().map(Result::unwrap).collect();
    told.dedup();
    assert_eq!(told.len(), 1, "{told:?}");
}

#[tokio::test]
async fn a_configured_seed_stays_when_the_setting_is_removed() {
    let exchange = Exchange::new().await;
    let expected = of(SimulatedModel::V2, 7).await;
    assert_eq!(exchange.market(practice(Some(7)), STARTS).await.unwrap(), expected);
    assert_eq!(exchange.market(practice(None), STARTS).await.unwrap(), expected);
}

#[tokio::test]
async fn realistic_trading_has_the_exchange_view_of_the_same_seed() {
    let exchange = Exchange::new().await;
    exchange.market(practice(Some(7)), STARTS).await.unwrap();
    let realistic = SimulationSettings { seed: None, mode: TradingMode::Realistic };
    let market = exchange.market(realistic, STARTS).await.unwrap();
    assert_eq!(market, of(SimulatedModel::V2Xnys, 7).await);
    assert_eq!(market.0, "simulated/sim-v2-xnys");
}

#[tokio::test]
async fn sim_v1_is_used_until_the_new_version_is_accepted() {
    let exchange = Exchange::new().await;
    exchange.claim("simulated/sim-v1", false).await;
    let realistic = SimulationSettings { seed: None, mode: TradingMode::Realistic };
    // With empty books, another seed changes no one's wealth; it stays when the setting is removed.
    for (settings, seed) in [(practice(None), DEFAULT_SEED), (practice(Some(7)), 7), (realistic, 7)] {
        for by in [STARTS, SimulationUse::PricingCommand, SimulationUse::Command] {
            let market = exchange.market(settings, by).await.unwrap();
            assert_eq!(market, of(SimulatedModel::V1, seed).await);
        }
    }
    let accepted = exchange.market(practice(None), ACCEPTS).await.unwrap();
    assert_eq!(accepted.0, "simulated/sim-v2");
    exchange.claim(&accepted.0, true).await;
    assert_eq!(exchange.market(practice(None), STARTS).await.unwrap(), accepted);
}

#[tokio::test]
async fn another_seed_is_rejected_with_positions_or_orders_unless_accepted() {
    let exchange = Exchange::new().await;
    let set = |seed, by| exchange.market(practice(Some(seed)), by);
    set(7, STARTS).await.unwrap();
    // Without positions and orders, another seed changes no portfolio's value.
    set(8, STARTS).await.unwrap();
    let sam = exchange.investor("sam", "1000.00").await;
    let order = exchange.accepted(sam, gtc(Side::Buy, "AAPL", "1", limit("10.00"))).await;
    for by in [STARTS, SimulationUse::PricingCommand] {
        let refused = set(7, by).await.unwrap_err();
        assert!(matches!(refused, SimulationError::SeedChanged), "{refused:?}");
        let told = refused.to_string();
        assert!(told.contains("SIMULATION_SEED") && told.contains("--accept-price-source-change"), "{told}");
        assert!(!told.contains('7') && !told.contains('8'), "a seed is never shown: {told}");
    }
    exchange.trading().cancel_order(sam.control(), order).await.unwrap();
    exchange.buy(sam, "AAPL", "1").await.unwrap();
    assert!(set(7, STARTS).await.is_err());
    assert_eq!(set(8, STARTS).await.unwrap(), of(SimulatedModel::V2, 8).await);
    assert_eq!(set(7, ACCEPTS).await.unwrap(), of(SimulatedModel::V2, 7).await);
    assert_eq!(exchange.market(practice(None), STARTS).await.unwrap(), of(SimulatedModel::V2, 7).await);
}

#[tokio::test]
async fn an_accepted_change_of_the_seed_cancels_open_orders() {
    for mode in [TradingMode::Practice, TradingMode::Realistic] {
        let settings = |seed| SimulationSettings { seed: Some(seed), mode };
        let exchange = Exchange::new().await;
        exchange.market(settings(4711), STARTS).await.unwrap();
        let (sam, mia) = (exchange.investor("sam", "10000").await, exchange.investor("mia", "10000").await);
        exchange.buy(sam, "AAPL", "10").await.unwrap();
        let bracket = PlaceOrder {
            attached: Attached::Bracket {
                take_profit: price("180.00"),
                stop_loss: StopLoss { stop: price("120.00"), limit: None },
            },
            ..gtc(Side::Buy, "AAPL", "5", limit("145"))
        };
        let mut open = Vec::new();
        for (who, command) in [
            (sam, gtc(Side::Sell, "AAPL", "4", limit("170.00"))),
            (sam, gtc(Side::Buy, "MSFT", "1", limit("300.00"))),
            (mia, bracket),
        ] {
            open.push((who, exchange.accepted(who, command).await));
        }
        // The change is accepted, but the seed is the same or not set: nothing changes.
        for settings in [settings(4711), SimulationSettings { seed: None, mode }] {
            let (_, canceled) = exchange.market_and_canceled(settings, ACCEPTS).await.unwrap();
            assert_eq!(canceled, 0, "{mode:?}");
        }
        // Nothing changes either when another seed is rejected, or a command only reads.
        exchange.market(settings(815), STARTS).await.unwrap_err();
        exchange.market(settings(815), SimulationUse::Command).await.unwrap();
        for (who, id) in &open {
            assert!(exchange.look(*who, *id).await.status.is_open(), "{mode:?}");
        }
        let (_, canceled) = exchange.market_and_canceled(settings(815), ACCEPTS).await.unwrap();
        assert_eq!(canceled, 5, "with the two exits");
        for (who, id) in &open {
            let order = exchange.look(*who, *id).await;
            assert_eq!(order.status, OrderStatus::Canceled);
            let reason = order.reject_reason.unwrap();
            assert!(reason.contains("another seed") && reason.contains("place the order again"), "{reason}");
            assert!(!reason.contains("4711") && !reason.contains("815"), "a seed is never shown: {reason}");
        }
        for who in [sam, mia] {
            assert_eq!(
                exchange.buying_power(who).await,
                exchange.cash(who).await,
                "nothing is kept any more"
            );
        }
        let (_, canceled) = exchange.market_and_canceled(settings(815), ACCEPTS).await.unwrap();
        assert_eq!(canceled, 0, "a second process that starts with the same word");
        exchange.assert_books_balance().await;
    }
}

#[tokio::test]
async fn accepting_the_newest_version_cancels_open_orders() {
    let exchange = Exchange::new().await;
    exchange.claim("simulated/sim-v1", false).await;
    exchange.market(practice(Some(7)), STARTS).await.unwrap();
    let sam = exchange.investor("sam", "1000.00").await;
    let open = exchange.accepted(sam, gtc(Side::Buy, "AAPL", "1", limit("10.00"))).await;
    // Version and seed change together, as in a process that was started with both.
    let (accepted, _) = exchange.market_and_canceled(practice(Some(8)), ACCEPTS).await.unwrap();
    assert_eq!(accepted, of(SimulatedModel::V2, 8).await);
    exchange.claim(&accepted.0, true).await;
    let order = exchange.look(sam, open).await;
    assert_eq!(order.status, OrderStatus::Canceled);
    let reason = order.reject_reason.unwrap();
    assert!(reason.contains("from simulated/sim-v1 to simulated/sim-v2"), "{reason}");
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn another_seed_of_sim_v1_is_rejected_and_a_chosen_one_is_kept() {
    let exchange = Exchange::new().await;
    exchange.claim("simulated/sim-v1", false).await;
    let first = exchange.market(practice(Some(7)), STARTS).await.unwrap();
    let sam = exchange.investor("sam", "1000.00").await;
    exchange.accepted(sam, gtc(Side::Buy, "AAPL", "1", limit("10.00"))).await;
    for by in [STARTS, SimulationUse::PricingCommand] {
        let refused = exchange.market(practice(Some(8)), by).await.unwrap_err();
        assert!(matches!(refused, SimulationError::SeedChanged), "{refused:?}");
    }
    assert_eq!(exchange.market(practice(None), STARTS).await.unwrap(), first, "the recorded seed stays");
    let accepted = exchange.market(practice(None), ACCEPTS).await.unwrap();
    assert_eq!(accepted, of(SimulatedModel::V2, 7).await);

    // The constant in the program is not kept: anyone could compute tomorrow's prices.
    let exchange = Exchange::new().await;
    exchange.claim("simulated/sim-v1", false).await;
    assert_eq!(
        exchange.market(practice(None), STARTS).await.unwrap(),
        of(SimulatedModel::V1, DEFAULT_SEED).await
    );
    let accepted = exchange.market(practice(None), ACCEPTS).await.unwrap();
    assert_ne!(accepted, of(SimulatedModel::V2, DEFAULT_SEED).await);
    assert_eq!(accepted.0, "simulated/sim-v2");
}

#[tokio::test]
async fn bars_of_another_seed_are_not_used() {
    let exchange = Exchange::new().await;
    exchange.market(practice(Some(7)), STARTS).await.unwrap();
    let aapl = exchange.instruments().stock(&symbol("AAPL")).await.unwrap().id;
    let bar = |date: &str| {
        let [open, high, low, close] = ["150.00"; 4].map(price);
        Bar { date: day(date), open, high, low, close, volume: 1 }
    };
    for (source, date) in
        [("simulated/sim-v2", "2026-11-20"), ("simulated/sim-v2-xnys", "2026-11-19"), ("yahoo", "2026-11-18")]
    {
        let bars = [bar(date)];
        exchange.write(move |tx| stocks::save_bars(tx, aapl, source, &bars)).await;
    }
    exchange.market(practice(Some(8)), ACCEPTS).await.unwrap();
    let stored = async |source: &'static str| {
        let (first, last) = (day("2026-11-01"), day("2026-11-30"));
        exchange.read(move |tx| stocks::bars_from(tx, aapl, source, first, last)).await.len()
    };
    assert_eq!(stored("simulated/sim-v2").await, 0);
    assert_eq!(stored("simulated/sim-v2-xnys").await, 0);
    assert_eq!(stored("yahoo").await, 1);
    let (first, last) = (day("2026-11-01"), day("2026-11-30"));
    let all = exchange.read(move |tx| stocks::bars(tx, aapl, first, last)).await;
    assert_eq!(all.len(), 3, "the books were valued with them");
}

#[tokio::test]
async fn an_unreadable_seed_is_an_error_and_makes_no_new_market() {
    let exchange = Exchange::new().await;
    exchange.market(practice(None), STARTS).await.unwrap();
    exchange.write(|tx| installation::set(tx, "simulation_seed", "a word")).await;
    let refused = exchange.market(practice(None), STARTS).await.unwrap_err();
    assert!(matches!(refused, SimulationError::UnreadableSeed), "{refused:?}");
}

#[tokio::test]
async fn a_week_on_the_exchange_view_has_prices_fills_and_snapshots_in_sessions_only() {
    let trading = TradingConfig { mode: TradingMode::Realistic, ..TradingConfig::default() };
    let exchange = Exchange::trading(FixedPrices::of(Freshness::Simulated, Calendar::Xnys), trading).await;
    let services = exchange.process_on_market(|_, clock| {
        Market::new(Arc::new(Simulated::with_seed(SimulatedModel::V2Xnys, DEFAULT_SEED)), clock)
    });
    services.stocks().import_catalogue().await.unwrap();
    let aapl = symbol("AAPL");
    let work = async |at: &str| {
        exchange.at(at);
        services.trading().match_orders().await.unwrap();
        for run in services.jobs().due_runs().await.unwrap() {
            assert!(services.jobs().run_job(run.id, "worker").await.unwrap(), "{run:?}");
        }
    };

    // On Saturday the last close is shown, and an order waits.
    exchange.at("2026-11-21T15:00:00Z");
    let sam = exchange.investor("sam", "10000.00").await;
    let friday = services.stocks().quote(&aapl).await.unwrap();
    assert!(friday.as_of < moment("2026-11-20T21:00:00Z") && friday.as_of > moment("2026-11-20T20:59:59Z"));
    assert!(!friday.stale);
    let bought = services.trading().place_order(sam.control(), order(Side::Buy, "AAPL", shares("2"))).await;
    let bought = bought.unwrap().order.order.id;
    let status = async || services.trading().order(sam.reference(), bought).await.unwrap();
    for at in ["2026-11-22T15:00:00Z", "2026-11-23T14:29:59Z"] {
        work(at).await;
        assert_eq!(status().await.order.status, OrderStatus::Accepted, "{at}");
        assert_eq!(services.stocks().quote(&aapl).await.unwrap(), friday, "{at}");
    }
    // The order fills at Monday's first price.
    work("2026-11-23T14:30:05Z").await;
    let filled = status().await;
    assert_eq!(filled.order.status, OrderStatus::Filled);
    assert_eq!(filled.fills[0].receipt.as_ref().unwrap().quoted_at, moment("2026-11-23T14:30:00Z"));
    assert_eq!(filled.fills[0].receipt.as_ref().unwrap().source.as_str(), "simulated/sim-v2-xnys");

    // The week of Thanksgiving, the early close after it, and a weekend.
    for day in 23..=30 {
        work(&format!("2026-11-{day}T20:00:00Z")).await;
        work(&format!("2026-11-{day}T23:30:00Z")).await;
    }
    let valued = services.books().valuation(sam.reference()).await.unwrap().valuation;
    let rows = exchange.rows(sam).await;
    let dates: Vec<String> = rows.iter().map(|row| row.date.to_string()).collect();
    assert_eq!(dates, ["2026-11-23", "2026-11-24", "2026-11-25", "2026-11-27", "2026-11-30"]);
    assert!(rows.iter().all(|row| !row.provisional));
    assert_eq!(rows[4].total_value, valued.total_value, "after the close the last snapshot is the valuation");
    let bars = services.stocks().history(&aapl, HistoryRange::Month).await.unwrap();
    assert!(bars.iter().all(|bar| Calendar::Xnys.session(bar.date).is_some()));
    for row in &rows {
        let bar = bars.iter().find(|bar| bar.date == row.date).unwrap();
        assert_eq!(row.positions_value, bar.close.times(&quantity("2")), "{}", row.date);
    }
    exchange.assert_books_balance().await;
}

/// Practice and realistic trading in turns: snapshots of a weekend stay, no snapshot is taken on a closed day in the
/// exchange view, and the books of earlier days stay right, even around a split.
#[tokio::test]
async fn books_stay_right_after_a_change_of_view_or_seed() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "10000.00").await;
    let mut expected = Vec::new();
    for (model, seed, first, last) in [
        (SimulatedModel::V1, DEFAULT_SEED, "2026-11-20", "2026-11-23"),
        (SimulatedModel::V2, 7, "2026-11-24", "2026-11-29"),
        (SimulatedModel::V2Xnys, 7, "2026-11-30", "2026-12-06"),
        // NFLX is split ten for one on the 7th, and the closes before and after are from unrelated markets.
        (SimulatedModel::V2Xnys, 8, "2026-12-07", "2026-12-13"),
        (SimulatedModel::V2, 8, "2026-12-14", "2026-12-20"),
    ] {
        let services = exchange
            .process_on_market(|_, clock| Market::new(Arc::new(Simulated::with_seed(model, seed)), clock));
        exchange.at(&format!("{first}T15:00:00Z"));
        exchange.claim(model.name(), true).await;
        services.stocks().import_catalogue().await.unwrap();
        let calendar = model.calendar();
        for date in day(first).iter_days().take_while(|date| *date <= day(last)) {
            // The jobs run during a session of both views, and after its close.
            for time in ["15:00:00", "23:30:00"] {
                exchange.at(&format!("{date}T{time}Z"));
                for run in services.jobs().due_runs().await.unwrap() {
                    assert!(services.jobs().run_job(run.id, "worker").await.unwrap(), "{run:?}");
                }
                services.trading().match_orders().await.unwrap();
            }
            if date == day("2026-11-20") {
                for ticker in ["NFLX", "SPY"] {
                    let buy = order(Side::Buy, ticker, shares("2"));
                    services.trading().place_order(sam.control(), buy).await.unwrap();
                }
            }
        }
        // Sessions that a market had before it was chosen, over a weekend, are caught up.
        let next = expected.last().map_or(day(first), |last: &NaiveDate| last.succ_opt().unwrap());
        expected.extend(calendar.sessions(next, day(last)).map(|session| session.date));
        exchange.at(&format!("{}T05:30:00Z", day(last).succ_opt().unwrap()));
        for run in services.jobs().due_runs().await.unwrap() {
            assert!(services.jobs().run_job(run.id, "worker").await.unwrap(), "{run:?}");
        }
        let dates: Vec<NaiveDate> = exchange.rows(sam).await.into_iter().map(|row| row.date).collect();
        assert_eq!(dates, expected, "{model:?}");
        assert!(exchange.rows(sam).await.iter().all(|row| !row.provisional), "{model:?}");
        let report = services.books().verify(|_, _| ()).await.unwrap();
        assert!(report.differences.is_empty(), "{model:?} {seed}: {:?}", report.differences);
        // The deposit of the first day is in no later window.
        let from = day(last).checked_sub_days(Days::new(1)).unwrap();
        for window in [Window::default(), Window::Dates { from: Some(from), to: None }] {
            let measured = services.books().performance(sam.reference(), window).await.unwrap();
            assert!(measured.twr.is_none_or(|twr| twr.abs() < 0.2), "{model:?}: {measured:?}");
        }
    }
}
