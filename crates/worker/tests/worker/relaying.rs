//! Changes that one process commits reach the streams of another process.

use services::accounts::actor::Trader;
use std::sync::Arc;
use std::task::{Context, Waker};

use domain::{Attached, OrderSize, OrderTerms, PlaceOrder, PortfolioId, Side, TimeInForce, UserId};
use market_data::{DEFAULT_SEED, Simulated};
use services::accounts::register::Registration;
use services::books::portfolios::OpenPortfolio;
use services::live::{Proof, StreamRequest, Subscription, Update};
use services::testing::TestServices;
use services::{Market, Services, ServicesConfig};
use tokio::task::JoinSet;

use crate::firm::{eventually, redis_url};
use crate::redis_server::RedisServer;

/// A user whose stream is open in one process, and who trades in another process.
struct Deployment {
    trading: Services,
    listening: Services,
    stream: Subscription,
    user: UserId,
    portfolio: PortfolioId,
    relays: JoinSet<()>,
    _test: TestServices,
}

impl Deployment {
    /// Two connected processes.
    async fn open(redis: &str) -> Self {
        let test = TestServices::new().await;
        let trading = test.services.clone();
        let market = Market::new(Arc::new(Simulated::new(DEFAULT_SEED)), test.clock.clone());
        let listening = Services::new(test.store.store.clone(), market, ServicesConfig::default());
        let registration = Registration {
            username: "sam".to_owned(),
            email: "sam@example.org".to_owned(),
            password: "a long enough secret".into(),
            first_name: String::new(),
            last_name: String::new(),
        };
        let user = trading.accounts().register(registration).await.unwrap().id;
        let growth = OpenPortfolio { name: "Growth".into(), description: String::new(), cash_balance: None };
        let portfolio = trading.books().open_portfolio(Trader::on_behalf_of(user), growth).await.unwrap().id;
        let stream =
            listening.live().follow(user, Proof::token("any"), StreamRequest::default()).await.unwrap();
        let queue = format!("test:{}", uuid::Uuid::now_v7());
        let mut relays = JoinSet::new();
        for services in [trading.clone(), listening.clone()] {
            let (url, queue) = (redis.to_owned(), queue.clone());
            relays.spawn(async move {
                worker::relay(services, &url.into(), &queue, std::future::pending()).await.unwrap();
            });
        }
        let mut deployment = Self { trading, listening, stream, user, portfolio, relays, _test: test };
        deployment.is_told("reset").await;
        deployment
    }

    async fn buy(&self) {
        let order = PlaceOrder {
            symbol: "AAPL".parse().unwrap(),
            side: Side::Buy,
            size: OrderSize::Quantity("1".parse().unwrap()),
            terms: OrderTerms::Market,
            time_in_force: TimeInForce::Day,
            attached: Attached::Nothing,
            client_order_id: None,
        };
        self.trading
            .trading()
            .place_order(Trader::on_behalf_of(self.user).portfolio(self.portfolio), order)
            .await
            .unwrap();
    }

    /// Whether this event has arrived since the last call.
    async fn hears(&mut self, what: &str) -> bool {
        self.listening.live().read_news().await;
        let mut heard = false;
        let _ = self.stream.poll_updates(&mut Context::from_waker(Waker::noop()), |update| {
            heard |= match update {
                Update::Order(_) => what == "order",
                Update::Reset(_) => what == "reset",
                _ => false,
            };
        });
        heard
    }

    async fn is_told(&mut self, what: &str) {
        eventually(&format!("the stream tells {what}"), async || self.hears(what).await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_placed_in_one_process_reaches_the_streams_of_the_other() {
    let mut deployment = Deployment::open(&redis_url()).await;
    deployment.buy().await;
    deployment.is_told("order").await;
    assert!(!deployment.hears("order").await, "it was told twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_work_after_redis_is_flushed() {
    let redis = RedisServer::start().await;
    let mut deployment = Deployment::open(&redis.url()).await;
    redis::cmd("FLUSHALL").query_async::<()>(&mut redis.connect().await).await.unwrap();
    deployment.buy().await;
    deployment.is_told("order").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_work_without_redis_and_streams_reset_when_it_is_back() {
    let mut redis = RedisServer::start().await;
    let mut deployment = Deployment::open(&redis.url()).await;
    redis.kill();
    deployment.buy().await;
    redis.start_again().await;
    deployment.is_told("reset").await;
    // Both directions have to be connected again.
    eventually("orders are told again", async || {
        deployment.buy().await;
        deployment.hears("order").await
    })
    .await;
    assert!(deployment.relays.try_join_next().is_none(), "a relay has ended");
}
