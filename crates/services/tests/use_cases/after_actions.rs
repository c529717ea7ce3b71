//! After an action, the first read and the first stream of every process show the books after the action.
//!
//! Each case reads everything on all processes, so that their caches are filled, performs one action on one of them,
//! and compares what all processes show with what a newly started process shows.

use std::sync::Arc;
use std::task::{Context, Waker};

use chrono::TimeDelta;
use domain::corporate_action::{CorporateAction, CorporateActionKind};
use domain::{
    OrderFilter, OrderTerms, PerShare, PortfolioRef, ReplaceOrder, Side, SplitRatio, TimeInForce,
    TransactionFilter,
};
use services::Services;
use services::accounts::tokens::Scope;
use services::books::performance::Window;
use services::events::Change;
use services::live::{Peers, Proof, StreamRequest, Subscription, Update};
use services::testing::FixedPrices;

use crate::harness::{Exchange, Investor, day, gtc, limit, moment, order, price, shares, symbol};

/// Everything that a process shows of a user's portfolio: the name and the text of each part.
type Shown = Vec<(&'static str, String)>;

async fn open_stream(services: &Services, who: Investor) -> services::Result<Subscription> {
    let (_, token) = services.accounts().create_token(who.user, "stream", Scope::Read, None).await.unwrap();
    let wanted = StreamRequest { portfolios: vec![who.portfolio], ..StreamRequest::default() };
    services.live().follow(who.user, Proof::token(&token), wanted).await
}

/// The first event of a new stream, or why there is no stream.
async fn first_valuation(services: &Services, who: Investor) -> String {
    let mut stream = match open_stream(services, who).await {
        Ok(stream) => stream,
        Err(error) => return error.to_string(),
    };
    let mut told = Vec::new();
    let _ = stream.poll_updates(&mut Context::from_waker(Waker::noop()), |update| {
        if let Update::Valuation(valued) = update {
            told.push(format!("{:?}", valued.value));
        }
    });
    told.join("\n")
}

async fn show(services: &Services, who: Investor) -> Shown {
    let Investor { user, portfolio } = who;
    macro_rules! text {
        ($asked:expr) => {
            format!("{:?}", $asked.await)
        };
    }
    vec![
        ("stream", first_valuation(services, who).await),
        ("portfolio", text!(services.books().portfolio(PortfolioRef::new(user, portfolio)))),
        ("portfolios", text!(services.books().portfolios(user, false, None, 100))),
        ("archived portfolios", text!(services.books().portfolios(user, true, None, 100))),
        ("valuation", text!(services.books().valuation(PortfolioRef::new(user, portfolio)))),
        ("valuations", text!(services.books().valuations(user))),
        ("composition", text!(services.books().composition(PortfolioRef::new(user, portfolio)))),
        (
            "orders",
            text!(services.trading().orders(
                PortfolioRef::new(user, portfolio),
                OrderFilter::default(),
                None,
                50
            )),
        ),
        (
            "transactions",
            text!(services.books().transactions(
                PortfolioRef::new(user, portfolio),
                TransactionFilter::default(),
                None,
                50
            )),
        ),
        (
            "performance",
            text!(services.books().performance(PortfolioRef::new(user, portfolio), Window::default())),
        ),
        ("snapshots", text!(services.books().snapshots(PortfolioRef::new(user, portfolio), None, None))),
        ("flows", text!(services.books().external_flows(PortfolioRef::new(user, portfolio)))),
        ("watchlists", text!(services.watchlists().all(user))),
    ]
}

/// Sends changes to another process, like the relay over Redis.
struct Relay(Services);

impl Peers for Relay {
    fn send_changes(&self, changes: Vec<Change>) {
        self.0.live().receive_changes(&changes);
    }
}

/// Three processes on one database. The first one performs the actions and sends its changes to the second one; the
/// third one receives no messages.
struct Deployment {
    exchange: Exchange,
    told: Services,
    untold: Services,
    sam: Investor,
    /// Streams that stay open during all actions, if any.
    streams: Vec<Subscription>,
    /// Whether the processes read pending news before they are compared.
    reads_news: bool,
    before: Shown,
}

impl Deployment {
    async fn start(prices: FixedPrices, with_streams: bool, reads_news: bool) -> Self {
        let exchange = Exchange::with(prices).await;
        let sam = exchange.investor("sam", "100000.00").await;
        let (told, untold) = (exchange.another_process(), exchange.another_process());
        exchange.live().connect_peers(Arc::new(Relay(told.clone())));
        let mut streams = Vec::new();
        if with_streams {
            for process in [&*exchange, &told, &untold] {
                streams.push(open_stream(process, sam).await.unwrap());
            }
        }
        let mut deployment = Self { exchange, told, untold, sam, streams, reads_news, before: Vec::new() };
        deployment.warm().await;
        deployment
    }

    fn processes(&self) -> [(&'static str, &Services); 3] {
        [("acting", &self.exchange), ("told", &self.told), ("untold", &self.untold)]
    }

    /// Reads everything on all processes to fill their caches.
    async fn warm(&mut self) {
        let mut before = Vec::new();
        for (_, process) in self.processes() {
            before = show(process, self.sam).await;
        }
        self.before = before;
    }

    /// Asserts that all processes show the same as a new one, and that the action has changed the parts `seen_in`.
    async fn after(&mut self, action: &str, seen_in: &[&str]) {
        let shown = {
            if self.reads_news {
                assert!(!self.streams.is_empty(), "without streams there are no news");
                for (_, process) in self.processes() {
                    process.live().read_news().await;
                }
            }
            let mut shown = Vec::new();
            for (name, process) in self.processes() {
                shown.push((name, show(process, self.sam).await));
            }
            shown
        };
        let expected = show(&self.exchange.another_process(), self.sam).await;
        for (process, parts) in shown {
            for ((part, text), (_, newest)) in parts.iter().zip(&expected) {
                assert_eq!(text, newest, "after {action}, the {process} process shows an old {part}");
            }
        }
        for part in seen_in {
            let of = |shown: &Shown| shown.iter().find(|(name, _)| name == part).unwrap().1.clone();
            assert_ne!(of(&self.before), of(&expected), "{action} is not seen in {part}");
        }
        self.warm().await;
    }
}

const BOOKS: [&str; 5] = ["stream", "portfolio", "portfolios", "valuation", "valuations"];

async fn the_books_after_every_action_are_shown(with_streams: bool, reads_news: bool) {
    let prices = FixedPrices::new();
    let news = moment("2026-11-20T00:00:00Z");
    let amount = PerShare::from_scaled(50, 2).unwrap();
    let dividend = CorporateActionKind::CashDividend { amount, pays_on: day("2026-11-25") };
    prices.announce(news, CorporateAction::new(symbol("MSFT"), day("2026-11-23"), dividend));
    let SplitRatio { numerator, denominator } = "10:1".parse().unwrap();
    let split = CorporateActionKind::Split { numerator, denominator };
    prices.announce(news, CorporateAction::new(symbol("AAPL"), day("2026-11-24"), split));
    prices.set_from(moment("2026-11-24T05:00:00Z"), "AAPL", "15.00");
    let mut all = Deployment::start(prices, with_streams, reads_news).await;
    let sam = all.sam;

    all.exchange.buy(sam, "AAPL", "10").await.unwrap();
    all.after("a buy", &BOOKS).await;
    all.exchange.buy(sam, "MSFT", "5").await.unwrap();
    all.after("another buy", &["stream", "composition", "orders", "transactions"]).await;
    all.exchange.sell(sam, "AAPL", "4").await.unwrap();
    all.after("a sell", &BOOKS).await;

    let waiting = all.exchange.accepted(sam, gtc(Side::Buy, "JPM", "2", limit("100.00"))).await;
    all.after("an order that waits", &["stream", "portfolio", "valuation", "orders"]).await;
    let changes = ReplaceOrder { limit_price: Some(price("110.00")), ..ReplaceOrder::default() };
    let replaced = all.exchange.trading().replace_order(sam.control(), waiting, changes).await.unwrap();
    all.after("a change of an order", &["stream", "portfolio", "valuation", "orders"]).await;
    all.exchange.trading().cancel_order(sam.control(), replaced.order.order.id).await.unwrap();
    all.after("a cancellation", &["stream", "portfolio", "valuation", "orders"]).await;

    let worker = all.exchange.another_process();
    worker.live().connect_peers(Arc::new(Relay(all.told.clone())));
    all.exchange.accepted(sam, gtc(Side::Buy, "AAPL", "1", limit("149.00"))).await;
    all.warm().await;
    all.exchange.prices.set("AAPL", "148.00");
    all.exchange.pass(TimeDelta::seconds(5));
    for (_, process) in all.processes() {
        process.live().tick_streams().await;
    }
    worker.trading().match_orders().await.unwrap();
    all.after("a fill by a worker", &["stream", "portfolio", "valuation", "orders", "transactions"]).await;
    let end_of_day = domain::PlaceOrder {
        terms: OrderTerms::Limit { limit: price("1.00") },
        time_in_force: TimeInForce::Day,
        ..order(Side::Buy, "SPY", shares("1"))
    };
    all.exchange.accepted(sam, end_of_day).await;
    all.warm().await;

    all.exchange.deposit(sam, "250.00").await.unwrap();
    all.after("a deposit", &["stream", "portfolio", "valuation", "transactions", "flows"]).await;
    all.exchange.withdraw(sam, "50.00").await.unwrap();
    all.after("a withdrawal", &["stream", "portfolio", "valuation", "transactions", "flows"]).await;
    all.exchange.books().update_portfolio(sam.control(), Some("Renamed".into()), None).await.unwrap();
    all.after("a new name", &BOOKS).await;

    let list = all.exchange.watchlists().create_watchlist(sam.trader(), "Tech").await.unwrap().id;
    all.after("a new watchlist", &["watchlists"]).await;
    all.exchange.watchlists().watch(sam.trader(), list, &symbol("AAPL")).await.unwrap();
    all.after("a stock on the watchlist", &["watchlists"]).await;
    all.exchange.watchlists().rename_watchlist(sam.trader(), list, "Renamed").await.unwrap();
    all.after("a new name of the watchlist", &["watchlists"]).await;
    all.exchange.watchlists().unwatch(sam.trader(), list, &symbol("AAPL")).await.unwrap();
    all.after("a stock off the watchlist", &["watchlists"]).await;
    all.exchange.watchlists().delete_watchlist(sam.trader(), list).await.unwrap();
    all.after("the end of the watchlist", &["watchlists"]).await;

    worker.corporate_actions().learn_corporate_actions().await.unwrap();
    let valued = ["stream", "portfolio", "valuation"];
    for (instant, action, seen_in) in [
        ("2026-11-23T05:00:01Z", "a dividend that is owed", &valued[..]),
        // A split shows from the opening on: a portfolio that is read has the split even before the job.
        ("2026-11-24T05:00:01Z", "a split", &[]),
        ("2026-11-25T21:00:01Z", "a dividend that is paid", &valued[..]),
    ] {
        all.exchange.at(instant);
        for (_, process) in all.processes() {
            process.live().tick_streams().await;
            process.live().read_news().await;
            process.live().tick_streams().await;
        }
        all.warm().await;
        worker.trading().match_orders().await.unwrap();
        worker.corporate_actions().apply_corporate_actions().await.unwrap();
        all.after(action, seen_in).await;
    }
    for run in worker.jobs().due_runs().await.unwrap() {
        worker.jobs().run_job(run.id, "worker").await.unwrap();
    }
    all.after("a snapshot", &["snapshots", "performance"]).await;

    let new = all.exchange.books().reset_portfolio(sam.control(), None).await.unwrap().id;
    all.after("a reset", &["stream", "portfolio", "portfolios", "archived portfolios", "valuations"]).await;
    all.exchange.books().delete_portfolio(sam.control()).await.unwrap();
    all.after("a deletion", &["stream", "portfolio", "valuation", "archived portfolios"]).await;
    all.sam.portfolio = new;
    all.warm().await;
    all.untold.books().delete_portfolio(sam.trader().portfolio(new)).await.unwrap();
    all.after("a deletion elsewhere", &["stream", "portfolio", "portfolios", "valuations"]).await;
    all.exchange.assert_books_balance().await;
}

#[tokio::test]
async fn reads_and_streams_show_the_books_after_an_action() {
    the_books_after_every_action_are_shown(false, false).await;
}

#[tokio::test]
async fn streams_opened_beside_others_begin_with_the_books_after_an_action() {
    the_books_after_every_action_are_shown(true, false).await;
}

#[tokio::test]
async fn a_stream_values_books_that_were_just_read_immediately() {
    the_books_after_every_action_are_shown(true, true).await;
}

#[tokio::test]
async fn a_stream_opened_after_a_pause_begins_with_the_newest_prices() {
    let mut all = Deployment::start(FixedPrices::new(), false, false).await;
    all.exchange.buy(all.sam, "AAPL", "10").await.unwrap();
    all.warm().await;
    all.exchange.pass(TimeDelta::minutes(5));
    all.exchange.prices.set("AAPL", "170.00");
    all.after("a move of a price", &["stream", "valuation"]).await;
}
