use domain::plausibility::{Doubt, UnconfirmedPrice};
use domain::{Freshness, PriceSource, Quote, Timestamp};
use persistence::providers::{self, ProviderRecord, Unconfirmed};
use persistence::stocks;

use super::harness::{Db, moment, price, symbol};

const DAY: &str = "alpha_vantage/day/2026-11-20/reserve";

fn quote(of: &str, at: &str, as_of: Timestamp) -> Quote {
    Quote {
        symbol: symbol(of),
        price: price(at),
        bid: None,
        ask: None,
        previous_close: Some(price("149.99")),
        volume: Some(12),
        as_of,
        source: PriceSource::from("alpha_vantage"),
        freshness: Freshness::EndOfDay,
        stale: false,
    }
}

#[tokio::test]
async fn calls_are_counted_only_up_to_the_limit_of_the_window() {
    let db = Db::new().await;
    let spend = async |limit| db.write(move |tx| providers::try_spend(tx, DAY, moment(100), limit)).await;
    assert_eq!([spend(2).await, spend(2).await, spend(2).await], [true, true, false]);
    assert!(!spend(0).await, "no calls are allowed at all");
    assert_eq!(db.read(|tx| providers::spent(tx, DAY)).await, 2);
    assert_eq!(db.read(|tx| providers::spent(tx, "alpha_vantage/day/2026-11-21/reserve")).await, 0);
    assert!(db.write(|tx| providers::try_spend(tx, "another", moment(100), 1)).await);
    assert!(!db.write(|tx| providers::try_spend(tx, "none", moment(100), 0)).await);
    assert_eq!(db.count("provider_budget"), 2);
}

#[tokio::test]
async fn simultaneous_calls_succeed_up_to_the_limit_of_the_window() {
    let db = Db::new().await;
    let spending = (0..40).map(|_| {
        let store = db.store();
        tokio::spawn(async move {
            store.write(|tx| providers::try_spend(tx, DAY, moment(100), 25)).await.unwrap()
        })
    });
    let mut counted = 0;
    for spender in spending.collect::<Vec<_>>() {
        counted += usize::from(spender.await.unwrap());
    }
    assert_eq!(counted, 25);
    assert_eq!(db.read(|tx| providers::spent(tx, DAY)).await, 25);
}

#[tokio::test]
async fn ended_windows_and_leases_are_deleted() {
    let db = Db::new().await;
    db.write(|tx| {
        providers::try_spend(tx, "yesterday", moment(0), 5)?;
        providers::try_spend(tx, "today", moment(100), 5)?;
        providers::try_lease(tx, "old", "one", moment(0), moment(1))?;
        providers::try_lease(tx, "new", "one", moment(0), moment(100))
    })
    .await;
    assert_eq!(db.write(|tx| providers::delete_ended(tx, moment(50))).await, 1);
    assert_eq!((db.count("provider_budget"), db.count("provider_leases")), (1, 1));
}

#[tokio::test]
async fn a_queue_has_one_next_place_and_records_results() {
    let db = Db::new().await;
    assert_eq!(db.read(|tx| providers::record(tx, "yahoo")).await, None);
    assert_eq!(db.write(|tx| providers::lock_queue(tx, "yahoo", moment(3))).await, moment(3));
    db.write(|tx| {
        providers::set_next_call(tx, "yahoo", moment(4))?;
        providers::note_answer(tx, "yahoo", moment(4))?;
        providers::note_failure(tx, "yahoo", "it refuses", moment(5))?;
        providers::park(tx, "yahoo", moment(900))
    })
    .await;
    assert_eq!(db.write(|tx| providers::lock_queue(tx, "yahoo", moment(6))).await, moment(900));
    let record = db.read(|tx| providers::record(tx, "yahoo")).await;
    assert_eq!(
        record,
        Some(ProviderRecord {
            next_call_at: moment(900),
            parked_until: Some(moment(900)),
            last_answered_at: Some(moment(4)),
            last_failed_at: Some(moment(5)),
            last_error: Some("it refuses".to_owned()),
        })
    );
}

#[tokio::test]
async fn a_lease_belongs_to_one_holder_until_it_ends_or_is_released() {
    let db = Db::new().await;
    let lease = async |holder: &'static str, now, until| {
        db.write(move |tx| providers::try_lease(tx, "quote/AAPL", holder, moment(now), moment(until))).await
    };
    assert!(lease("one", 0, 90).await);
    assert!(lease("one", 10, 100).await, "its holder may have it longer");
    assert!(!lease("two", 99, 190).await);
    assert!(lease("two", 100, 190).await);
    db.write(|tx| providers::release(tx, "quote/AAPL", "one")).await;
    assert!(!lease("one", 101, 191).await, "it was not its to give back");
    db.write(|tx| providers::release(tx, "quote/AAPL", "two")).await;
    assert!(lease("one", 102, 192).await);
}

#[tokio::test]
async fn a_published_quote_is_shared_and_becomes_the_last_price() {
    let db = Db::new().await;
    let aapl = db.stock("AAPL").await;
    let first = quote("AAPL", "150.25", moment(10));
    let published = vec![(first.clone(), moment(20)), (quote("MSFT", "400.00", moment(10)), moment(20))];
    db.write(move |tx| providers::publish(tx, &published)).await;
    let asked = [symbol("AAPL"), symbol("IBM"), symbol("MSFT")];
    let found = db.read(move |tx| providers::published(tx, &asked)).await;
    assert_eq!(found.len(), 2);
    assert_eq!(found[0], (first, moment(20)));

    // A quote that was requested earlier arrives too late.
    let late = vec![(quote("AAPL", "149.00", moment(9)), moment(19))];
    db.write(move |tx| providers::publish(tx, &late)).await;
    let found = db.read(|tx| providers::published(tx, &[symbol("AAPL")])).await;
    assert_eq!(found[0].0.price, price("150.25"));
    let last = db.read(move |tx| stocks::by_ids(tx, &[aapl])).await.remove(0).last.unwrap();
    assert_eq!(
        (last.price, last.as_of, last.source.as_str()),
        (price("150.25"), moment(10), "alpha_vantage")
    );
}

#[tokio::test]
async fn the_price_of_another_source_is_replaced_even_if_newer() {
    let db = Db::new().await;
    let aapl = db.stock("AAPL").await;
    let simulated = Quote {
        source: PriceSource::from("simulated/sim-v1"),
        freshness: Freshness::Simulated,
        ..quote("AAPL", "245.00", moment(1000))
    };
    db.write(move |tx| stocks::save_last_price(tx, aapl, &simulated)).await;
    let real = vec![(quote("AAPL", "150.25", moment(10)), moment(1001))];
    db.write(move |tx| providers::publish(tx, &real)).await;
    let last = db.read(move |tx| stocks::by_ids(tx, &[aapl])).await.remove(0).last.unwrap();
    assert_eq!(
        (last.price, last.as_of, last.source.as_str()),
        (price("150.25"), moment(10), "alpha_vantage")
    );
    // A deployment may also return to the simulated market.
    let simulated = Quote {
        source: PriceSource::from("simulated/sim-v1"),
        freshness: Freshness::Simulated,
        ..quote("AAPL", "246.00", moment(5))
    };
    db.write(move |tx| stocks::save_last_price(tx, aapl, &simulated)).await;
    let last = db.read(move |tx| stocks::by_ids(tx, &[aapl])).await.remove(0).last.unwrap();
    assert_eq!(last.price, price("246.00"));
}

fn unconfirmed(of: &str, told: &str, doubt: Doubt) -> Unconfirmed {
    Unconfirmed {
        symbol: symbol(of),
        source: PriceSource::from("alpha_vantage"),
        freshness: Freshness::Delayed,
        price: UnconfirmedPrice {
            price: price(told),
            as_of: moment(60),
            first_seen_at: moment(50),
            last_seen_at: moment(70),
            doubt,
            accepted: price("150.00"),
        },
    }
}

#[tokio::test]
async fn one_unconfirmed_price_per_symbol_is_stored_until_it_is_settled() {
    let db = Db::new().await;
    let of_source =
        async |source: &'static str| db.read(move |tx| providers::unconfirmed(tx, source, None)).await;
    let kept =
        [unconfirmed("MSFT", "1500.00", Doubt::UnitSlip), unconfirmed("AAPL", "40.00", Doubt::LargeMove)];
    let prices = kept.clone();
    db.write(move |tx| providers::save_unconfirmed(tx, &prices)).await;
    let [msft, aapl] = kept;
    assert_eq!(of_source("alpha_vantage").await, [aapl, msft.clone()], "in order of symbol");
    assert_eq!(of_source("yahoo").await, []);
    // A later unconfirmed price of the same symbol replaces it.
    let later = unconfirmed("AAPL", "41.00", Doubt::SplitNotBooked);
    let prices = [later.clone()];
    db.write(move |tx| providers::save_unconfirmed(tx, &prices)).await;
    let wanted = [symbol("AAPL"), symbol("KO")];
    let found = db.read(move |tx| providers::unconfirmed(tx, "alpha_vantage", Some(&wanted))).await;
    assert_eq!(found, [later]);
    db.write(|tx| providers::delete_unconfirmed(tx, &[symbol("AAPL"), symbol("KO")])).await;
    assert_eq!(of_source("alpha_vantage").await, [msft]);
}

#[tokio::test]
async fn an_accepted_unconfirmed_price_replaces_newer_ones() {
    let db = Db::new().await;
    let id = db.stock("AAPL").await;
    // The accepted price is newer.
    let quotes = [(quote("AAPL", "150.00", moment(100)), moment(101))];
    db.write(move |tx| providers::publish(tx, &quotes)).await;
    let waiting = unconfirmed("AAPL", "40.00", Doubt::LargeMove);
    let prices = [waiting.clone()];
    db.write(move |tx| providers::save_unconfirmed(tx, &prices)).await;
    db.write(move |tx| providers::accept(tx, &waiting, moment(200))).await;
    let last = db.read(move |tx| stocks::by_ids(tx, &[id])).await.remove(0).last.unwrap();
    assert_eq!((last.price, last.as_of, last.previous_close), (price("40.00"), moment(60), None));
    let published = db.read(|tx| providers::published(tx, &[symbol("AAPL")])).await;
    assert_eq!((published[0].0.price.clone(), published[0].1), (price("40.00"), moment(200)));
    assert_eq!(db.count("unconfirmed_prices"), 0);
}
