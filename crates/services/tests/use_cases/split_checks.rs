//! Splits that the first price after them confirms or contradicts, and the resolution of a split in doubt.

use chrono::TimeDelta;
use domain::corporate_action::{CorporateAction, CorporateActionKind};
use domain::{
    Calendar, Freshness, OrderId, OrderStatus, OrderWarning, Side, SplitRatio, TradingHold, TransactionType,
};
use market_data::QuoteError;
use services::accounts::actor::Administrator;
use services::corporate_actions::splits::SplitResolution;
use services::testing::FixedPrices;
use services::{Error, Services};

use super::harness::{
    Exchange, Investor, day, fields, gtc, limit, moment, order, price, shares, stop, symbol,
};

const EX_ON: &str = "2026-11-23";
/// The opening of the exchange.
const OPEN: &str = "2026-11-23T14:30:00Z";

const MARKETS: [Freshness; 2] = [Freshness::Delayed, Freshness::EndOfDay];

fn ratio(text: &str) -> SplitRatio {
    text.parse().unwrap()
}

fn split(by: &str) -> CorporateAction {
    let SplitRatio { numerator, denominator } = ratio(by);
    CorporateAction::new(symbol("AAPL"), day(EX_ON), CorporateActionKind::Split { numerator, denominator })
}

/// A market on which AAPL costs 90.00 before a split and `after` from the split on; Sam holds 100 shares.
struct World {
    exchange: Exchange,
    sam: Investor,
    freshness: Freshness,
}

impl World {
    async fn new(freshness: Freshness, after: &str) -> Self {
        let prices = FixedPrices::of(freshness, Calendar::Xnys);
        prices.set("AAPL", "90.00");
        for date in ["2026-11-18", "2026-11-19", "2026-11-20"] {
            prices.set_close("AAPL", day(date), "90.00");
        }
        prices.set_from(moment(OPEN), "AAPL", after);
        prices.set_close("AAPL", day(EX_ON), after);
        let exchange = Exchange::with(prices).await;
        let sam = exchange.investor("sam", "10000").await;
        exchange.buy(sam, "AAPL", "100").await.unwrap();
        Self { exchange, sam, freshness }
    }

    async fn announce(&self, by: &str) {
        self.exchange.prices.announce(self.exchange.clock.now(), split(by));
        self.exchange.corporate_actions().learn_corporate_actions().await.unwrap();
    }

    /// Moves the clock to a minute after the opening: no price of the session is published yet.
    fn open(&self) {
        self.exchange.at("2026-11-23T14:31:00Z");
    }

    /// Moves the clock until the first price after the split is published.
    fn publish(&self) {
        self.exchange.at(match self.freshness {
            Freshness::EndOfDay => "2026-11-24T00:10:00Z",
            _ => "2026-11-23T14:50:00Z",
        });
    }

    async fn shares(&self) -> String {
        self.held().await.0
    }

    /// The held shares, and the shares reserved by orders.
    async fn held(&self) -> (String, String) {
        let valued = self.exchange.books().valuation(self.sam.reference()).await.unwrap();
        let holding = &valued.valuation.holdings[0];
        (holding.position.quantity.to_string(), holding.reserved.to_string())
    }

    async fn total(&self) -> String {
        let valued = self.exchange.books().valuation(self.sam.reference()).await.unwrap();
        valued.valuation.total_value.to_string()
    }

    async fn act(&self) {
        self.exchange.corporate_actions().apply_corporate_actions().await.unwrap();
        self.exchange.trading().match_orders().await.unwrap();
    }

    async fn status(&self, id: OrderId) -> OrderStatus {
        self.exchange.look(self.sam, id).await.status
    }

    async fn hold(&self, id: OrderId) -> Option<TradingHold> {
        self.exchange.trading().order(self.sam.reference(), id).await.unwrap().hold
    }

    async fn resolve(&self, resolution: SplitResolution) -> services::Result<()> {
        self.exchange
            .corporate_actions()
            .resolve_split(
                &Administrator::operator("ada"),
                &symbol("AAPL"),
                resolution,
                "The company says so.",
            )
            .await
    }
}

fn halt<T: std::fmt::Debug>(result: services::Result<T>) -> TradingHold {
    match result {
        Err(Error::TradingHalted { hold, .. }) => *hold,
        other => panic!("not halted: {other:?}"),
    }
}

#[tokio::test]
async fn no_order_fills_until_a_price_confirms_a_split() {
    for freshness in MARKETS {
        let world = World::new(freshness, "9.10").await;
        let World { exchange, sam, .. } = &world;
        let working = exchange.accepted(*sam, gtc(Side::Sell, "AAPL", "10", limit("120.00"))).await;
        world.announce("10:1").await;
        world.open();
        world.act().await;
        assert_eq!(world.held().await, ("1000".into(), "100".into()), "{freshness:?}");
        assert_eq!(world.total().await, "10000.00", "{freshness:?}");

        let bought = exchange.buy(*sam, "AAPL", "1").await.unwrap().order;
        let cheap = exchange.place(*sam, gtc(Side::Sell, "AAPL", "5", limit("1.00"))).await.unwrap().order;
        let awaiting = Some(TradingHold::AwaitingSplit { ratio: ratio("10:1") });
        for placed in [&bought, &cheap] {
            assert_eq!(
                (placed.order.status, &placed.hold),
                (OrderStatus::Accepted, &awaiting),
                "{freshness:?}"
            );
        }
        let previewed =
            exchange.trading().preview_order(sam.reference(), order(Side::Buy, "AAPL", shares("1")));
        let previewed = previewed.await.unwrap();
        assert_eq!((previewed.fill.is_none(), &previewed.hold), (true, &awaiting));
        let on_hold = OrderWarning::OnHold {
            symbol: symbol("AAPL"),
            hold: TradingHold::AwaitingSplit { ratio: ratio("10:1") },
        };
        assert!(previewed.warnings().contains(&on_hold));
        world.act().await;
        assert_eq!(world.hold(working).await, awaiting);
        for id in [bought.order.id, cheap.order.id, working] {
            assert_eq!(world.status(id).await, OrderStatus::Accepted, "{freshness:?}");
        }

        world.publish();
        world.act().await;
        exchange.work().await;
        world.act().await;
        assert_eq!(exchange.corporate_actions().held_splits().await.unwrap(), []);
        for id in [bought.order.id, cheap.order.id] {
            let filled = exchange.trading().order(sam.reference(), id).await.unwrap();
            assert_eq!((filled.order.status, filled.hold), (OrderStatus::Filled, None), "{freshness:?}");
            assert_eq!(filled.fills[0].price, Some(price("9.10")));
        }
        assert_eq!(world.status(working).await, OrderStatus::Accepted);
        assert_eq!(world.shares().await, "996");
        exchange.assert_books_balance().await;
    }
}

/// A source of closing prices reports a split with the first close after it. Until then users trade at the last close,
/// in the shares before the split.
#[tokio::test]
async fn trades_at_prices_before_an_unknown_split_are_split_too() {
    for (by, after) in [("2:1", "45.00"), ("1:3", "270.00")] {
        let World { exchange, sam, .. } = World::new(Freshness::EndOfDay, after).await;
        let ada = exchange.investor("ada", "10000").await;
        exchange.at("2026-11-23T15:00:00Z");
        exchange.sell(sam, "AAPL", "10").await.unwrap();
        exchange.buy(ada, "AAPL", "30").await.unwrap();
        let told = |entry: &domain::JournalEntry| entry.receipt.as_ref().unwrap().quoted_price.to_string();
        assert_eq!(told(&exchange.journal(sam).await[0]), "90.00");
        exchange.at("2026-11-23T23:00:00Z");
        exchange.prices.announce(exchange.clock.now(), split(by));
        exchange.corporate_actions().learn_corporate_actions().await.unwrap();
        exchange.corporate_actions().apply_corporate_actions().await.unwrap();
        for who in [sam, ada] {
            let valued = exchange.books().valuation(who.reference()).await.unwrap();
            assert_eq!(valued.valuation.total_value.to_string(), "10000.00", "{by}");
        }
        // Later trades are in new shares.
        exchange.buy(sam, "AAPL", "1").await.unwrap();
        let valued = exchange.books().valuation(sam.reference()).await.unwrap();
        assert_eq!(valued.valuation.total_value.to_string(), "10000.00", "{by}");
        exchange.work().await;
        let rows = exchange.rows(sam).await;
        assert_eq!(rows.last().unwrap().total_value.to_string(), "10000.00", "{by}: {rows:?}");
        exchange.assert_books_balance().await;
    }
}

#[tokio::test]
async fn reversing_a_split_restores_trades_at_prices_before_it() {
    let World { exchange, sam, .. } = World::new(Freshness::EndOfDay, "91.00").await;
    let ada = exchange.investor("ada", "10000").await;
    exchange.at("2026-11-23T15:00:00Z");
    exchange.sell(sam, "AAPL", "10").await.unwrap();
    exchange.buy(ada, "AAPL", "30").await.unwrap();
    exchange.prices.announce(exchange.clock.now(), split("2:1"));
    exchange.corporate_actions().learn_corporate_actions().await.unwrap();
    exchange.corporate_actions().apply_corporate_actions().await.unwrap();
    let held = async |who: Investor| {
        let valued = exchange.books().valuation(who.reference()).await.unwrap();
        valued.valuation.holdings[0].position.quantity.to_string()
    };
    assert_eq!([held(sam).await, held(ada).await], ["180", "60"]);
    exchange.at("2026-11-23T23:00:00Z");
    exchange.work().await;
    exchange.corporate_actions().apply_corporate_actions().await.unwrap();
    assert_eq!([held(sam).await, held(ada).await], ["90", "30"], "the first price contradicts it");
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn a_split_of_the_simulated_market_needs_no_price() {
    let prices = FixedPrices::new();
    prices.announce(moment("2026-11-20T00:00:00Z"), split("20:1"));
    let exchange = Exchange::with(prices).await;
    let sam = exchange.investor("sam", "100000").await;
    exchange.buy(sam, "AAPL", "10").await.unwrap();
    exchange.corporate_actions().learn_corporate_actions().await.unwrap();
    exchange.at("2026-11-23T05:00:01Z");
    let bought = exchange.buy(sam, "AAPL", "1").await.unwrap().order;
    assert_eq!((bought.order.status, bought.hold), (OrderStatus::Filled, None));
}

/// 20:1 is announced for a 2:1 split, and the first price contradicts it.
async fn suspended(freshness: Freshness) -> (World, [OrderId; 2]) {
    let world = World::new(freshness, "45.00").await;
    let terms =
        [(gtc(Side::Sell, "AAPL", "33", limit("140.07"))), gtc(Side::Sell, "AAPL", "7", stop("40.03"))];
    let mut orders = Vec::new();
    for command in terms {
        orders.push(world.exchange.accepted(world.sam, command).await);
    }
    // This order would fill at the first price if orders filled.
    world.exchange.accepted(world.sam, gtc(Side::Buy, "AAPL", "1", limit("60.00"))).await;
    world.announce("20:1").await;
    world.open();
    world.act().await;
    assert_eq!(world.held().await, ("2000".into(), "800".into()));
    world.publish();
    world.act().await;
    (world, [orders[0], orders[1]])
}

#[tokio::test]
async fn a_contradicting_price_reverses_a_split_and_halts_trading() {
    for freshness in MARKETS {
        let (world, [profit, loss]) = suspended(freshness).await;
        let World { exchange, sam, .. } = &world;
        assert_eq!(world.held().await, ("100".into(), "40".into()), "{freshness:?}");
        assert_eq!(world.total().await, "10000.00", "{freshness:?}");
        for (id, size, terms) in [(profit, "33", limit("140.07")), (loss, "7", stop("40.03"))] {
            let found = exchange.look(*sam, id).await;
            assert_eq!((found.status, found.size, found.terms), (OrderStatus::Accepted, shares(size), terms));
        }
        let contradicted = TradingHold::SplitContradicted {
            ratio: ratio("20:1"),
            compared: Some((price("4.50"), price("45.00"))),
        };
        assert_eq!(world.hold(profit).await, Some(contradicted.clone()));
        assert_eq!(halt(exchange.buy(*sam, "AAPL", "1").await), contradicted);
        assert_eq!(halt(exchange.sell(*sam, "AAPL", "1").await), contradicted);
        let previewed =
            exchange.trading().preview_order(sam.reference(), order(Side::Buy, "AAPL", shares("1")));
        assert_eq!(halt(previewed.await), contradicted);
        assert_eq!(
            halt(
                exchange
                    .another_process()
                    .trading()
                    .place_order(sam.control(), order(Side::Buy, "AAPL", shares("1")))
                    .await
            ),
            contradicted
        );
        let shown = exchange.stocks().quote_for(None, &symbol("AAPL")).await.unwrap();
        assert_eq!((shown.quote.price, shown.quote.stale), (price("90.00"), true));
        assert!(shown.why_stale.unwrap().to_string().contains("20:1"));
        world.act().await;
        let orders = exchange.all_orders(*sam).await;
        let waiting = orders.iter().find(|found| found.order.terms == limit("60.00")).unwrap();
        assert_eq!(waiting.order.status, OrderStatus::Accepted, "{freshness:?}");
        // Other stocks are traded, and orders can be canceled.
        assert_eq!(exchange.buy(*sam, "MSFT", "1").await.unwrap().order.order.status, OrderStatus::Filled);
        exchange.trading().cancel_order(sam.control(), loss).await.unwrap();

        let lines: Vec<_> = exchange
            .journal(*sam)
            .await
            .into_iter()
            .filter(|line| {
                matches!(line.transaction_type, TransactionType::Split | TransactionType::Reversal)
            })
            .collect();
        let [reversal, booked] = &lines[..] else { panic!("{lines:?}") };
        assert_eq!(reversal.reverses.as_ref().map(|reverses| reverses.of), booked.id);
        // Applying the actions again, in another process, changes nothing.
        exchange.another_process().corporate_actions().apply_corporate_actions().await.unwrap();
        world.act().await;
        assert_eq!(world.shares().await, "100");
        exchange.assert_books_balance().await;
    }
}

#[tokio::test]
async fn snapshots_during_a_halt_are_provisional_and_final_once_it_is_resolved() {
    for freshness in MARKETS {
        let (world, _) = suspended(freshness).await;
        let World { exchange, sam, .. } = &world;
        exchange.at("2026-11-24T01:00:00Z");
        exchange.work().await;
        let row = |rows: Vec<domain::Snapshot>| rows.into_iter().find(|row| row.date == day(EX_ON)).unwrap();
        let before = row(exchange.rows(*sam).await);
        assert_eq!((before.total_value.to_string(), before.provisional), ("10000.00".into(), true));
        exchange.assert_books_balance().await;
        world.resolve(SplitResolution::Correct(ratio("2:1"))).await.unwrap();
        exchange.clock.pass(TimeDelta::days(1));
        exchange.work().await;
        let after = row(exchange.rows(*sam).await);
        assert_eq!((after.total_value.to_string(), after.provisional), ("10000.00".into(), false));
        exchange.assert_books_balance().await;
    }
}

#[tokio::test]
async fn an_administrator_resolves_a_split_with_a_reason() {
    for freshness in MARKETS {
        for (resolution, expected, orders) in [
            (SplitResolution::Correct(ratio("2:1")), "200", ("66", "70.04", "14", "20.01")),
            (SplitResolution::Withdraw, "100", ("33", "140.07", "7", "40.03")),
            (SplitResolution::Confirm, "2000", ("660", "7.01", "140", "2.00")),
        ] {
            let (world, [profit, loss]) = suspended(freshness).await;
            let World { exchange, sam, .. } = &world;
            let unexplained = exchange
                .corporate_actions()
                .resolve_split(&Administrator::operator("ada"), &symbol("AAPL"), resolution, " ")
                .await;
            assert_eq!(fields(unexplained), ["reason"]);
            assert_eq!(exchange.corporate_actions().held_splits().await.unwrap().len(), 1);
            world.resolve(resolution).await.unwrap();
            assert_eq!(world.shares().await, expected, "{resolution:?}");
            let (profit_size, profit_limit, loss_size, loss_stop) = orders;
            let (profit, loss) = (exchange.look(*sam, profit).await, exchange.look(*sam, loss).await);
            assert_eq!((profit.size, profit.terms), (shares(profit_size), limit(profit_limit)));
            assert_eq!((loss.size, loss.terms), (shares(loss_size), stop(loss_stop)));
            assert_eq!(exchange.corporate_actions().held_splits().await.unwrap(), []);
            assert!(matches!(world.resolve(resolution).await, Err(Error::NoSplitInDoubt(_))));
            // Repeated news changes nothing.
            exchange.corporate_actions().learn_corporate_actions().await.unwrap();
            exchange.corporate_actions().apply_corporate_actions().await.unwrap();
            assert_eq!(world.shares().await, expected, "{resolution:?}");
            assert_eq!(
                exchange.buy(*sam, "AAPL", "1").await.unwrap().order.order.status,
                OrderStatus::Filled
            );
            exchange.assert_books_balance().await;
        }
    }
}

#[tokio::test]
async fn corrected_news_replaces_a_split_in_doubt() {
    for freshness in MARKETS {
        // The correction becomes known after the price, or before it.
        for early in [false, true] {
            let world = if early {
                let world = World::new(freshness, "45.00").await;
                world.announce("20:1").await;
                world.open();
                world.act().await;
                world
            } else {
                suspended(freshness).await.0
            };
            world.exchange.prices.retract_actions();
            world.announce("2:1").await;
            world.act().await;
            assert_eq!(world.shares().await, "200", "{freshness:?}, early: {early}");
            assert_eq!(world.total().await, "10000.00", "{freshness:?}, early: {early}");
            world.publish();
            world.act().await;
            assert_eq!(world.exchange.corporate_actions().held_splits().await.unwrap(), []);
            let bought = world.exchange.buy(world.sam, "AAPL", "1").await.unwrap().order;
            assert_eq!(bought.fills[0].price, Some(price("45.00")));
            world.exchange.assert_books_balance().await;
        }
    }
}

#[tokio::test]
async fn a_wrong_split_that_becomes_known_late_is_not_booked_at_all() {
    for freshness in MARKETS {
        let world = World::new(freshness, "45.00").await;
        let World { exchange, sam, .. } = &world;
        exchange.at("2026-11-25T15:00:00Z");
        exchange.prices.set_close("AAPL", day("2026-11-24"), "45.00");
        world.announce("20:1").await;
        world.act().await;
        assert_eq!(world.shares().await, "100");
        assert_eq!(exchange.journal(*sam).await.len(), 2, "nothing is booked");
        halt(exchange.buy(*sam, "AAPL", "1").await);
        world.resolve(SplitResolution::Correct(ratio("2:1"))).await.unwrap();
        assert_eq!((world.shares().await, world.total().await), ("200".into(), "10000.00".into()));
        exchange.assert_books_balance().await;
    }
}

#[tokio::test]
async fn several_processes_reverse_a_split_once_in_every_portfolio() {
    let world = World::new(Freshness::Delayed, "45.00").await;
    let exchange = &world.exchange;
    let mut others = Vec::new();
    for number in 0..6 {
        let other = exchange.investor(&format!("investor{number}"), "10000").await;
        exchange.buy(other, "AAPL", "10").await.unwrap();
        others.push(other);
    }
    world.announce("20:1").await;
    let processes: Vec<Services> = (0..3).map(|_| exchange.another_process()).collect();
    // Some portfolios have had the split when the price comes; the others are just getting it.
    world.open();
    for other in &others[..2] {
        exchange.books().valuation(other.reference()).await.unwrap();
    }
    world.publish();
    let (a, b, c) = tokio::join!(
        processes[0].corporate_actions().apply_corporate_actions(),
        processes[1].corporate_actions().apply_corporate_actions(),
        processes[2].trading().match_orders(),
    );
    a.unwrap();
    b.unwrap();
    c.unwrap();
    exchange.corporate_actions().apply_corporate_actions().await.unwrap();
    for other in others {
        let valued = exchange.books().valuation(other.reference()).await.unwrap().valuation;
        assert_eq!(valued.holdings[0].position.quantity.to_string(), "10");
    }
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn an_order_on_the_ex_date_keeps_the_stored_price_in_its_shares() {
    let world = World::new(Freshness::EndOfDay, "9.00").await;
    let exchange = &world.exchange;
    world.announce("10:1").await;
    world.open();
    exchange.accepted(world.sam, gtc(Side::Buy, "AAPL", "1", limit("1.00"))).await;
    exchange.prices.fail_with(QuoteError::Unreachable);
    assert_eq!(exchange.stocks().quote(&symbol("AAPL")).await.unwrap().price, price("9.00"));
    assert_eq!(world.total().await, "10000.00");
}

#[tokio::test]
async fn opposite_splits_restore_the_number_of_shares() {
    let prices = FixedPrices::new();
    let exchange = Exchange::with(prices.clone()).await;
    let sam = exchange.investor("sam", "100000").await;
    let split_on = |by: &str, on: &str| {
        let SplitRatio { numerator, denominator } = ratio(by);
        let kind = CorporateActionKind::Split { numerator, denominator };
        prices.announce(moment("2026-11-20T00:00:00Z"), CorporateAction::new(symbol("AAPL"), day(on), kind));
    };
    split_on("1:3", "2026-11-23");
    split_on("3:1", "2026-11-25");
    prices.set_from(moment("2026-11-23T05:00:00Z"), "AAPL", "450.00");
    prices.set_from(moment("2026-11-25T05:00:00Z"), "AAPL", "150.00");
    exchange.buy(sam, "AAPL", "100").await.unwrap();
    let all = exchange.accepted(sam, gtc(Side::Sell, "AAPL", "100", limit("900.00"))).await;
    exchange.corporate_actions().learn_corporate_actions().await.unwrap();
    let held = async || {
        exchange.corporate_actions().apply_corporate_actions().await.unwrap();
        let valued = exchange.books().valuation(sam.reference()).await.unwrap();
        valued.valuation.holdings[0].position.quantity.to_string()
    };
    exchange.at("2026-11-23T06:00:00Z");
    assert_eq!(held().await, "33.333333333");
    exchange.at("2026-11-25T06:00:00Z");
    assert_eq!(held().await, "100");
    assert_eq!(exchange.look(sam, all).await.size, shares("100"));
    exchange.assert_books_balance().await;
}
