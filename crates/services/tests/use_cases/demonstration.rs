//! The demonstration: years of trading in three portfolios, created by the ordinary use cases.

use std::sync::Arc;

use domain::{Calendar, PortfolioRef, Timestamp, TransactionFilter, TransactionType};
use market_data::{DEFAULT_SEED, Simulated};
use persistence::testing::TestStore;
use services::books::performance::Window;
use services::demonstration::demonstration_clock;
use services::testing::friday_afternoon;
use services::{Error, Market, Services, ServicesConfig};

use crate::harness::{Exchange, fields};

/// Services for a demonstration of `months` months: five years take too long in an unoptimized build.
async fn services_at(store: &TestStore, end: Timestamp, months: u32) -> Services {
    let clock = demonstration_clock(end, months);
    let market = Market::new(Arc::new(Simulated::new(DEFAULT_SEED)), clock);
    let services = Services::new(store.store.clone(), market, ServicesConfig::default());
    services.stocks().import_catalogue().await.unwrap();
    services
}

#[tokio::test]
async fn the_demonstration_has_every_kind_of_event_and_its_books_balance() {
    let (store, end) = (TestStore::new().await, friday_afternoon());
    let services = services_at(&store, end, 36).await;
    let mut told = (0, 0);
    let made = services.make_demonstration(end, |done, all| told = (done, all)).await.unwrap();
    assert_eq!(told, (made.sessions, made.sessions));
    assert!(made.sessions > 1090, "{made:?}");

    let report = services.books().verify(|_, _| ()).await.unwrap();
    assert_eq!(report.differences, []);
    let closed = Calendar::AroundTheClock.last_closed(end).date;
    assert_eq!(made.last_on, closed);
    let shown = services.books().demonstration_portfolios().await.unwrap();
    assert_eq!(shown.iter().map(|one| one.id).collect::<Vec<_>>(), made.portfolios);

    let (mut kinds, mut deepest) = (Vec::new(), 0.0_f64);
    for id in &made.portfolios {
        let rows = services.books().snapshots(PortfolioRef::new(made.owner, *id), None, None).await.unwrap();
        assert_eq!(rows.len(), made.sessions);
        assert!(rows.iter().all(|row| !row.provisional), "every snapshot is final");
        let mut before = None;
        loop {
            let page = services
                .books()
                .transactions(PortfolioRef::new(made.owner, *id), TransactionFilter::default(), before, 1000)
                .await
                .unwrap();
            kinds.extend(page.items.iter().map(|line| line.entry.transaction_type));
            before = page.next;
            if before.is_none() {
                break;
            }
        }
        let all = services
            .books()
            .performance(PortfolioRef::new(made.owner, *id), Window::default())
            .await
            .unwrap();
        deepest = deepest.min(all.max_drawdown.unwrap().depth);
    }
    let count = |kind| kinds.iter().filter(|one| **one == kind).count();
    assert!(count(TransactionType::Deposit) > 23, "{kinds:?}");
    assert!(count(TransactionType::Withdrawal) >= 1);
    let (buys, sells) = (count(TransactionType::Buy), count(TransactionType::Sell));
    assert!(buys > 50 && sells >= 2, "{buys} buys, {sells} sells");
    assert!(count(TransactionType::Dividend) > 40);
    assert!(count(TransactionType::Split) >= 1);
    assert!(deepest < -0.3, "the deepest drawdown is {deepest}");

    // The worker continues after the last session instead of starting with the first.
    services.market().clock.set(end);
    let keys: Vec<String> =
        services.jobs().due_runs().await.unwrap().into_iter().map(|run| run.key).collect();
    assert!(keys.iter().all(|key| !key.starts_with("202") || key.starts_with("2026")), "{keys:?}");
}

#[tokio::test]
async fn a_database_with_portfolios_gets_no_demonstration() {
    let exchange = Exchange::new().await;
    exchange.investor("sam", "100").await;
    let before = exchange.now();
    let refused = exchange.make_demonstration(before, |_, _| ()).await;
    assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    assert_eq!(fields(refused), ["database"]);
    assert_eq!(exchange.now(), before, "the clock has not moved");
    assert_eq!(exchange.books().demonstration_portfolios().await.unwrap(), []);
}
