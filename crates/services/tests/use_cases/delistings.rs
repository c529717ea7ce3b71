//! Delisted stocks: what counts as evidence and what does not, and the consequences.

use std::sync::Arc;

use domain::{Calendar, Freshness, OrderId, OrderStatus, Side};
use market_data::{ListedStock, QuoteError, Rules};
use persistence::delistings::{self, NewDelisting};
use persistence::{corporate_actions, stocks};
use services::accounts::actor::Administrator;
use services::corporate_actions::delistings::DelistingResolution;
use services::jobs::JobKind;
use services::testing::FixedPrices;
use services::{Error, Market, Services};

use super::harness::{Exchange, Investor, day, gtc, limit, moment, money, order, price, shares, symbol};

fn listed(symbol_text: &str, name: &str) -> ListedStock {
    ListedStock {
        symbol: symbol(symbol_text),
        company_name: name.to_owned(),
        exchange: "NASDAQ".to_owned(),
        is_fund: false,
        listed_on: None,
        delisted_on: None,
    }
}

const STOCKS: [(&str, &str); 3] =
    [("AAPL", "Apple Inc"), ("MSFT", "Microsoft Corporation"), ("JPM", "JPMorgan Chase & Co")];

/// A table with 200 rows and the three stocks, except `missing`.
fn table_without(missing: &str) -> Vec<ListedStock> {
    let rows = (0..200).map(|n| listed(&format!("S{n}"), &format!("Company number {n}")));
    let stocks = STOCKS.iter().filter(|(symbol, _)| *symbol != missing);
    rows.chain(stocks.map(|(symbol, name)| listed(symbol, name))).collect()
}

/// Friday afternoon. Sam holds 10 AAPL, bought at 150.00, and has an order to sell 4 of them at 200.00. He also holds
/// one MSFT.
async fn held(freshness: Freshness) -> (Exchange, Investor, OrderId) {
    let prices = FixedPrices::of(freshness, Calendar::Xnys);
    for of in ["AAPL", "MSFT", "JPM", "SPY"] {
        prices.set_close(of, day("2026-11-19"), if of == "AAPL" { "149.00" } else { "300.00" });
        prices.set_close(of, day("2026-11-20"), if of == "AAPL" { "150.00" } else { "300.00" });
    }
    let exchange = Exchange::with(prices).await;
    let sam = exchange.investor("sam", "10000.00").await;
    exchange.buy(sam, "AAPL", "10").await.unwrap();
    exchange.buy(sam, "MSFT", "1").await.unwrap();
    let order = exchange.accepted(sam, gtc(Side::Sell, "AAPL", "4", limit("200.00"))).await;
    exchange.at("2026-11-20T20:55:00Z");
    exchange.work().await;
    assert!(exchange.instruments().stored_stock(&symbol("AAPL")).await.unwrap().last.is_some());
    (exchange, sam, order)
}

fn gone(of: &str) -> QuoteError {
    QuoteError::UnknownSymbol(symbol(of))
}

async fn delisted_on(exchange: &Exchange) -> Option<String> {
    exchange.instruments().stored_stock(&symbol("AAPL")).await.unwrap().delisted_on.map(|on| on.to_string())
}

async fn days_of_evidence(exchange: &Exchange) -> usize {
    let cases = exchange.corporate_actions().delisting_cases().await.unwrap();
    cases
        .iter()
        .find(|case| case.stock.listing.symbol == symbol("AAPL"))
        .map_or(0, |case| case.evidence.len())
}

/// Asserts that open orders are canceled with the reason, that no order is accepted, and that values no longer change.
async fn assert_delisted(exchange: &Exchange, sam: Investor, order: OrderId) {
    let canceled = exchange.look(sam, order).await;
    assert_eq!(canceled.status, OrderStatus::Canceled);
    assert!(canceled.reject_reason.unwrap().contains("the stock is delisted"));
    for side in [Side::Buy, Side::Sell] {
        let refused = exchange.place(sam, super::harness::order(side, "AAPL", shares("1"))).await;
        assert!(matches!(refused, Err(Error::NotTradable { .. })), "{refused:?}");
    }
    let valued = exchange.books().valuation(sam.reference()).await.unwrap().valuation;
    let holding = valued.holdings.iter().find(|holding| holding.listing.symbol == symbol("AAPL")).unwrap();
    assert_eq!(holding.market_value, money("1500.00"));
    assert_eq!(holding.day_change.clone().unwrap(), money("0"));
    assert_eq!(holding.reserved.to_string(), "0");
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn a_stock_that_two_tables_of_different_days_lack_is_delisted() {
    for freshness in [Freshness::Delayed, Freshness::EndOfDay] {
        let (exchange, sam, order) = held(freshness).await;
        exchange.prices.fail_for("AAPL", gone("AAPL"));
        exchange.stocks().keep_listings(table_without("")).await.unwrap();
        exchange.at("2026-11-22T15:00:00Z");
        exchange.stocks().keep_listings(table_without("AAPL")).await.unwrap();
        exchange.stocks().keep_listings(table_without("AAPL")).await.unwrap();
        exchange.at("2026-11-23T13:00:00Z");
        exchange.work().await;
        assert_eq!((delisted_on(&exchange).await, days_of_evidence(&exchange).await), (None, 1));
        let case = &exchange.corporate_actions().delisting_cases().await.unwrap()[0];
        assert_eq!((case.status(), case.stock.listing.symbol.as_str()), ("pending", "AAPL"));
        // Another process continues.
        exchange.another_process().stocks().keep_listings(table_without("AAPL")).await.unwrap();
        exchange.at("2026-11-23T16:00:00Z");
        exchange.work().await;
        // The first session without a price: an end-of-day source had no close of Friday.
        let first = if freshness == Freshness::EndOfDay { "2026-11-20" } else { "2026-11-23" };
        assert_eq!(delisted_on(&exchange).await.as_deref(), Some(first), "{freshness:?}");
        assert_delisted(&exchange, sam, order).await;
        let stock = exchange.instruments().stored_stock(&symbol("AAPL")).await.unwrap();
        let reason =
            exchange.corporate_actions().delisting_of(&stock).await.unwrap().unwrap().reason.unwrap();
        assert_eq!(reason, "missing from the price source's table of listings since 2026-11-22");
        // Repeating it in another process changes nothing.
        let actions = exchange.stocks().corporate_actions(&symbol("AAPL")).await.unwrap().len();
        exchange.another_process().stocks().keep_listings(table_without("AAPL")).await.unwrap();
        exchange.at("2026-11-24T16:00:00Z");
        exchange.work().await;
        assert_eq!(exchange.stocks().corporate_actions(&symbol("AAPL")).await.unwrap().len(), actions);
    }
}

#[tokio::test]
async fn an_incomplete_table_is_not_evidence_and_is_not_searched() {
    let (exchange, _, _) = held(Freshness::Delayed).await;
    exchange.stocks().keep_listings(table_without("")).await.unwrap();
    for at in ["2026-11-22T15:00:00Z", "2026-11-23T15:00:00Z", "2026-11-24T15:00:00Z"] {
        exchange.at(at);
        let half: Vec<ListedStock> = table_without("AAPL").into_iter().take(120).collect();
        let outcome = exchange.stocks().keep_listings(half).await.unwrap();
        assert_eq!(outcome, "the table was rejected: it lacks 83 of 203 symbols that were listed");
        exchange.work().await;
        assert_eq!((delisted_on(&exchange).await, days_of_evidence(&exchange).await), (None, 0));
    }
    // A complete table replaces it.
    exchange.stocks().keep_listings(table_without("")).await.unwrap();
    assert_eq!(exchange.corporate_actions().delisting_cases().await.unwrap(), []);
}

#[tokio::test]
async fn evidence_ends_when_the_stock_is_listed_or_priced_again() {
    let (exchange, sam, order) = held(Freshness::Delayed).await;
    exchange.stocks().keep_listings(table_without("")).await.unwrap();
    exchange.at("2026-11-22T15:00:00Z");
    exchange.stocks().keep_listings(table_without("AAPL")).await.unwrap();
    exchange.at("2026-11-23T13:00:00Z");
    exchange.stocks().keep_listings(table_without("")).await.unwrap();
    assert_eq!(days_of_evidence(&exchange).await, 0);
    exchange.stocks().keep_listings(table_without("AAPL")).await.unwrap();
    // The stock is traded again.
    exchange.at("2026-11-24T16:00:00Z");
    exchange.work().await;
    exchange.at("2026-11-24T22:00:00Z");
    exchange.stocks().keep_listings(table_without("AAPL")).await.unwrap();
    exchange.work().await;
    assert_eq!(delisted_on(&exchange).await, None);
    assert_eq!(exchange.look(sam, order).await.status, OrderStatus::Accepted);
}

/// A process with tables of listings, limited like a free key.
fn with_tables(exchange: &Exchange) -> Services {
    let rules = Rules { min_gap: chrono::TimeDelta::zero(), ..Rules::ALPHA_VANTAGE_FREE };
    let prices = Arc::new(exchange.prices.clone());
    exchange.process_on_market(|store, clock| Market::limited(prices, rules, store, clock))
}

async fn work(process: &Services) {
    for run in process.jobs().due_runs().await.unwrap() {
        process.jobs().run_job(run.id, "worker").await.unwrap();
    }
}

#[tokio::test]
async fn tables_are_requested_daily_while_stocks_are_missing() {
    let (exchange, sam, order) = held(Freshness::EndOfDay).await;
    let process = with_tables(&exchange);
    exchange.prices.set_tables(table_without(""), Vec::new());
    work(&process).await;
    let tables = || exchange.prices.calls().tables;
    assert_eq!(tables(), 1);
    exchange.prices.set_tables(table_without("AAPL"), Vec::new());
    // At first one table is requested per week, then both tables daily.
    exchange.at("2026-11-21T20:00:00Z");
    work(&process).await;
    assert_eq!(tables(), 1);
    exchange.at("2026-11-22T20:00:00Z");
    work(&process).await;
    assert_eq!((tables(), days_of_evidence(&exchange).await), (3, 1));
    exchange.pass(chrono::TimeDelta::hours(1));
    work(&process).await;
    assert_eq!(tables(), 3);
    let former = |on| ListedStock { delisted_on: Some(day(on)), ..listed("AAPL", "Apple Inc") };
    // Another company had the symbol before.
    exchange.prices.fail_for("AAPL", gone("AAPL"));
    exchange.prices.set_tables(table_without("AAPL"), vec![former("2005-03-01"), former("2026-11-23")]);
    exchange.at("2026-11-23T20:00:00Z");
    work(&process).await;
    assert_eq!(tables(), 5);
    assert_eq!(delisted_on(&exchange).await.as_deref(), Some("2026-11-23"));
    let stock = exchange.instruments().stored_stock(&symbol("AAPL")).await.unwrap();
    let reason = exchange.corporate_actions().delisting_of(&stock).await.unwrap().unwrap().reason.unwrap();
    assert_eq!(reason, "listed by the price source as delisted on 2026-11-23");
    assert_delisted(&exchange, sam, order).await;
    // From then on, one table per week is requested again.
    exchange.at("2026-11-25T20:00:00Z");
    work(&process).await;
    assert_eq!(tables(), 5);
    assert!(exchange.keys(JobKind::RefreshListings).await.len() >= 3);
}

#[tokio::test]
async fn a_former_listing_of_another_company_is_not_evidence() {
    let (exchange, _, _) = held(Freshness::EndOfDay).await;
    let process = with_tables(&exchange);
    exchange.prices.set_tables(table_without(""), Vec::new());
    work(&process).await;
    let former = ListedStock { delisted_on: Some(day("2005-03-01")), ..listed("AAPL", "Apple Corps") };
    exchange.prices.set_tables(table_without("AAPL"), vec![former]);
    exchange.at("2026-11-22T20:00:00Z");
    work(&process).await;
    assert_eq!((delisted_on(&exchange).await, days_of_evidence(&exchange).await), (None, 2));
}

#[tokio::test]
async fn a_stock_that_is_not_found_on_three_session_days_is_delisted() {
    let (exchange, sam, order) = held(Freshness::Delayed).await;
    exchange.prices.fail_for("AAPL", gone("AAPL"));
    // Neither on a day without a session nor shortly after the opening, when a cached answer may be older.
    for at in ["2026-11-21T16:00:00Z", "2026-11-23T14:50:00Z"] {
        exchange.at(at);
        exchange.work().await;
        assert_eq!(days_of_evidence(&exchange).await, 0, "{at}");
    }
    for (at, days) in [
        ("2026-11-23T16:00:00Z", 1),
        ("2026-11-23T17:00:00Z", 1),
        ("2026-11-23T20:00:00Z", 1),
        ("2026-11-24T16:00:00Z", 2),
    ] {
        exchange.at(at);
        exchange.work().await;
        assert_eq!((delisted_on(&exchange).await, days_of_evidence(&exchange).await), (None, days), "{at}");
    }
    assert_eq!(exchange.look(sam, order).await.status, OrderStatus::Accepted);
    exchange.at("2026-11-25T16:00:00Z");
    exchange.work().await;
    assert_eq!(delisted_on(&exchange).await.as_deref(), Some("2026-11-23"));
    assert_delisted(&exchange, sam, order).await;
}

#[tokio::test]
async fn an_outage_is_not_evidence() {
    for failure in [gone("AAPL"), QuoteError::Unreachable, QuoteError::RateLimited { retry_at: None }] {
        let (exchange, sam, order) = held(Freshness::Delayed).await;
        exchange.prices.fail_for("AAPL", gone("AAPL"));
        exchange.prices.fail_with(failure.clone());
        for at in
            ["2026-11-23T16:00:00Z", "2026-11-24T16:00:00Z", "2026-11-25T16:00:00Z", "2026-11-27T16:00:00Z"]
        {
            exchange.at(at);
            exchange.work().await;
        }
        let seen = (delisted_on(&exchange).await, days_of_evidence(&exchange).await);
        assert_eq!(seen, (None, 0), "{failure:?}");
        assert_eq!(exchange.look(sam, order).await.status, OrderStatus::Accepted);
    }
}

#[tokio::test]
async fn a_source_that_knows_few_stocks_gives_no_evidence() {
    let (exchange, sam, _) = held(Freshness::Delayed).await;
    exchange.buy(sam, "JPM", "1").await.unwrap();
    exchange.buy(sam, "SPY", "1").await.unwrap();
    exchange.work().await;
    exchange.pass(chrono::TimeDelta::minutes(1));
    exchange.work().await;
    for of in ["AAPL", "MSFT", "JPM"] {
        exchange.prices.fail_for(of, gone(of));
    }
    for at in ["2026-11-23T16:00:00Z", "2026-11-24T16:00:00Z", "2026-11-25T16:00:00Z"] {
        exchange.at(at);
        exchange.work().await;
    }
    assert_eq!(exchange.corporate_actions().delisting_cases().await.unwrap(), []);
}

#[tokio::test]
async fn a_single_stock_is_delisted_if_the_source_knows_a_control_symbol() {
    let prices = FixedPrices::of(Freshness::Delayed, Calendar::Xnys);
    let exchange = Exchange::with(prices).await;
    let sam = exchange.investor("sam", "10000.00").await;
    exchange.buy(sam, "AAPL", "10").await.unwrap();
    exchange.work().await;
    exchange.prices.fail_for("AAPL", gone("AAPL"));
    exchange.prices.fail_for("SPY", QuoteError::Unreachable);
    exchange.at("2026-11-23T16:00:00Z");
    exchange.work().await;
    assert_eq!(days_of_evidence(&exchange).await, 0);
    exchange.prices.recover_for("SPY");
    for at in ["2026-11-24T16:00:00Z", "2026-11-25T16:00:00Z", "2026-11-27T16:00:00Z"] {
        exchange.at(at);
        exchange.work().await;
    }
    assert_eq!(delisted_on(&exchange).await.as_deref(), Some("2026-11-23"));
}

/// The stock is not found on three days and delisted.
async fn not_found_for_days() -> (Exchange, Investor, OrderId) {
    let (exchange, sam, order) = held(Freshness::Delayed).await;
    exchange.prices.fail_for("AAPL", gone("AAPL"));
    for at in ["2026-11-23T16:00:00Z", "2026-11-24T16:00:00Z", "2026-11-25T16:00:00Z"] {
        exchange.at(at);
        exchange.work().await;
    }
    assert_delisted(&exchange, sam, order).await;
    (exchange, sam, order)
}

#[tokio::test]
async fn a_delisting_is_withdrawn_when_the_company_has_a_price_again() {
    let (exchange, sam, order) = not_found_for_days().await;
    exchange.prices.recover_for("AAPL");
    exchange.prices.set("AAPL", "160.00");
    exchange.at("2026-11-27T16:00:00Z");
    exchange.work().await;
    assert_eq!((delisted_on(&exchange).await, days_of_evidence(&exchange).await), (None, 0));
    assert_eq!(exchange.look(sam, order).await.status, OrderStatus::Canceled, "it stays canceled");
    assert_eq!(exchange.stocks().quote(&symbol("AAPL")).await.unwrap().price, price("160.00"));
    exchange.sell(sam, "AAPL", "1").await.unwrap();
    exchange.assert_books_balance().await;
    // The stock can be delisted again by new evidence.
    exchange.prices.fail_for("AAPL", gone("AAPL"));
    for at in ["2026-11-30T16:00:00Z", "2026-12-01T16:00:00Z", "2026-12-02T16:00:00Z"] {
        exchange.at(at);
        exchange.work().await;
    }
    assert_eq!(delisted_on(&exchange).await.as_deref(), Some("2026-11-30"));
}

#[tokio::test]
async fn a_price_of_another_company_does_not_withdraw_a_delisting() {
    let (exchange, sam, _) = not_found_for_days().await;
    exchange.prices.recover_for("AAPL");
    exchange.prices.list("AAPL", "Orchard Growers Limited", "Food", "3.00");
    for at in ["2026-11-27T16:00:00Z", "2026-11-30T16:00:00Z"] {
        exchange.at(at);
        exchange.work().await;
        assert_eq!(delisted_on(&exchange).await.as_deref(), Some("2026-11-23"));
        let shown = exchange.stocks().quote_for(Some(sam.user), &symbol("AAPL")).await.unwrap();
        assert_eq!((shown.quote.price, shown.quote.stale), (price("150.00"), true));
        let why = shown.why_stale.unwrap().to_string();
        assert_eq!(why, "it was delisted on 2026-11-23: there are no newer prices");
        let valued = exchange.books().valuation(sam.reference()).await.unwrap().valuation;
        let holding =
            valued.holdings.iter().find(|holding| holding.listing.symbol == symbol("AAPL")).unwrap();
        assert_eq!(holding.market_value, money("1500.00"));
    }
}

#[tokio::test]
async fn an_administrator_refuses_evidence_until_the_stock_has_a_price() {
    let (exchange, sam, order) = held(Freshness::Delayed).await;
    let refuse = DelistingResolution::Refuse;
    let nothing = exchange
        .corporate_actions()
        .resolve_delisting(&symbol("AAPL"), refuse, "It is traded.", &Administrator::operator("ada"))
        .await;
    assert!(matches!(nothing, Err(Error::Invalid(_))), "{nothing:?}");
    exchange.prices.fail_for("AAPL", gone("AAPL"));
    exchange.at("2026-11-23T16:00:00Z");
    exchange.work().await;
    let unsaid = exchange
        .corporate_actions()
        .resolve_delisting(&symbol("AAPL"), refuse, " ", &Administrator::operator("ada"))
        .await;
    assert!(matches!(unsaid, Err(Error::Invalid(_))), "{unsaid:?}");
    exchange
        .corporate_actions()
        .resolve_delisting(&symbol("AAPL"), refuse, "It is traded.", &Administrator::operator("ada"))
        .await
        .unwrap();
    for at in ["2026-11-24T16:00:00Z", "2026-11-25T16:00:00Z", "2026-11-27T16:00:00Z"] {
        exchange.at(at);
        exchange.work().await;
    }
    assert_eq!(delisted_on(&exchange).await, None);
    let case = &exchange.corporate_actions().delisting_cases().await.unwrap()[0];
    assert_eq!(case.status(), "refused");
    let refusal = case.refusal.clone().unwrap();
    assert_eq!((refusal.administrator.as_str(), refusal.reason.as_str()), ("ada", "It is traded."));
    assert_eq!(exchange.look(sam, order).await.status, OrderStatus::Accepted);
    exchange.prices.recover_for("AAPL");
    exchange.at("2026-11-30T16:00:00Z");
    exchange.work().await;
    assert_eq!(exchange.corporate_actions().delisting_cases().await.unwrap(), []);
}

#[tokio::test]
async fn an_administrator_delists_a_stock_and_withdraws_the_delisting() {
    let (exchange, sam, order) = held(Freshness::Delayed).await;
    let confirm = |on: Option<&str>| DelistingResolution::Confirm { on: on.map(day) };
    let resolve = async |resolution, reason: &str| {
        exchange
            .corporate_actions()
            .resolve_delisting(&symbol("AAPL"), resolution, reason, &Administrator::operator("ada"))
            .await
    };
    exchange.at("2026-11-23T13:00:00Z");
    // The stock had a price on Friday, or the last day is too far in the future.
    for on in ["2026-11-20", "2020-01-01", "2027-06-01"] {
        let refused = resolve(confirm(Some(on)), "Merged.").await;
        assert!(
            matches!(&refused, Err(Error::Invalid(fields)) if fields[0].field == "on"),
            "{on}: {refused:?}"
        );
    }
    resolve(confirm(None), "Merged.").await.unwrap();
    // The delisting takes effect in the next session.
    assert_eq!(exchange.look(sam, order).await.status, OrderStatus::Accepted);
    assert_eq!(exchange.corporate_actions().delisting_cases().await.unwrap()[0].status(), "delisted");
    exchange.at("2026-11-23T16:00:00Z");
    exchange.work().await;
    assert_eq!(delisted_on(&exchange).await.as_deref(), Some("2026-11-23"));
    assert_delisted(&exchange, sam, order).await;
    let again = resolve(confirm(None), "Merged.").await;
    assert!(matches!(again, Err(Error::Invalid(_))), "{again:?}");
    // The source still provides prices, which does not override the administrator.
    for at in ["2026-11-24T16:00:00Z", "2026-11-27T16:00:00Z"] {
        exchange.at(at);
        exchange.work().await;
        for process in [&*exchange, &exchange.another_process()] {
            let refused = process.trading().place_order(sam.control(), order_of_one()).await;
            assert!(matches!(refused, Err(Error::NotTradable { .. })), "{refused:?}");
        }
    }
    resolve(DelistingResolution::Refuse, "It was a mistake.").await.unwrap();
    assert_eq!(delisted_on(&exchange).await, None);
    exchange.sell(sam, "AAPL", "1").await.unwrap();
    exchange.assert_books_balance().await;
}

fn order_of_one() -> domain::PlaceOrder {
    order(Side::Sell, "AAPL", shares("1"))
}

#[tokio::test]
async fn an_order_placed_during_a_delisting_does_not_stay_open() {
    let (exchange, sam, _) = held(Freshness::Delayed).await;
    let other = exchange.another_process();
    exchange.prices.set_as_of("AAPL", Some(moment("2026-11-20T20:40:00Z")));
    exchange.at("2026-11-23T16:00:00Z");
    let far = || gtc(Side::Buy, "AAPL", "1", limit("1.00"));
    // The other process has now read the stock and its actions, which it caches for a second.
    other.trading().place_order(sam.control(), far()).await.unwrap();
    let confirm = DelistingResolution::Confirm { on: None };
    exchange
        .corporate_actions()
        .resolve_delisting(&symbol("AAPL"), confirm, "Merged.", &Administrator::operator("ada"))
        .await
        .unwrap();
    let late = other.trading().place_order(sam.control(), far()).await;
    exchange.pass(chrono::TimeDelta::minutes(1));
    exchange.work().await;
    let open =
        exchange.all_orders(sam).await.into_iter().filter(|order| order.order.status.is_open()).count();
    assert_eq!(open, 0, "{late:?}");
    let refused = exchange.place(sam, far()).await;
    assert!(matches!(refused, Err(Error::NotTradable { .. })), "{refused:?}");
    exchange.assert_books_balance().await;
}

/// The order is placed by a process that did not know of the delisting, after the delisting was applied to the
/// portfolio.
#[tokio::test]
async fn an_order_that_is_open_after_a_delisting_was_applied_is_canceled() {
    let (exchange, sam, order) = held(Freshness::Delayed).await;
    exchange.prices.fail_for("AAPL", gone("AAPL"));
    exchange.at("2026-11-23T16:00:00Z");
    let (stock, now) =
        (exchange.instruments().stored_stock(&symbol("AAPL")).await.unwrap().id, exchange.now());
    let delisting = NewDelisting {
        stock_id: stock,
        symbol: symbol("AAPL"),
        on: day("2026-11-23"),
        effective_at: moment("2026-11-23T14:30:00Z"),
        reason: "Merged.".to_owned(),
        administrator: Some("ada".to_owned()),
    };
    exchange
        .write(move |tx| {
            delistings::note(tx, &delisting, now, now)?;
            stocks::delist(tx, stock, delisting.on)?;
            let noted = delistings::of_stock(tx, stock)?.unwrap();
            corporate_actions::set_applied(tx, noted.action_id, now)
        })
        .await;
    exchange.work().await;
    assert_delisted(&exchange, sam, order).await;
}

#[tokio::test]
async fn the_simulated_market_announces_its_delistings() {
    let exchange = Exchange::new().await;
    let confirm = DelistingResolution::Confirm { on: None };
    let refused = exchange
        .corporate_actions()
        .resolve_delisting(&symbol("AAPL"), confirm, "Merged.", &Administrator::operator("ada"))
        .await;
    assert!(
        matches!(&refused, Err(Error::Invalid(fields)) if fields[0].field == "resolution"),
        "{refused:?}"
    );
    let unknown = exchange
        .corporate_actions()
        .resolve_delisting(&symbol("NOSUCH"), confirm, "Merged.", &Administrator::operator("ada"))
        .await;
    assert!(matches!(unknown, Err(Error::UnknownSymbol(_))), "{unknown:?}");
}
