//! Stocks whose source knows only the new symbol.

use domain::{Calendar, Freshness, OrderId, OrderStatus, Side};
use market_data::QuoteError;
use services::Error;
use services::accounts::actor::Administrator;
use services::corporate_actions::close_outs::CloseOutTerms;
use services::corporate_actions::delistings::DelistingResolution;
use services::corporate_actions::renames::RenameRequest;
use services::idempotency::DecisionAuthor;
use services::testing::FixedPrices;

use super::harness::{Exchange, Investor, day, gtc, limit, order, shares, symbol};

/// Sam holds 10 FB that cost 1,500.00, and has an order to sell 4 at 200.00. From Monday on, the source knows only
/// META.
async fn renamed_on_monday() -> (Exchange, Investor, OrderId) {
    let prices = FixedPrices::of(Freshness::Delayed, Calendar::Xnys);
    prices.list("FB", "Facebook, Inc.", "Technology", "150.00");
    for of in ["FB", "META", "MSFT", "SPY"] {
        prices.set_close(of, day("2026-11-20"), "150.00");
    }
    let exchange = Exchange::with(prices).await;
    let sam = exchange.investor("sam", "10000.00").await;
    exchange.buy(sam, "FB", "10").await.unwrap();
    exchange.buy(sam, "MSFT", "1").await.unwrap();
    let id = exchange.accepted(sam, gtc(Side::Sell, "FB", "4", limit("200.00"))).await;
    exchange.work().await;
    exchange.prices.fail_for("FB", QuoteError::UnknownSymbol(symbol("FB")));
    exchange.prices.list("META", "Meta Platforms, Inc.", "Technology", "160.00");
    exchange.at("2026-11-23T16:00:00Z");
    exchange.work().await;
    (exchange, sam, id)
}

fn to(new: &str) -> RenameRequest {
    RenameRequest {
        symbol: symbol("FB"),
        to: symbol(new),
        company_name: None,
        on: Some(day("2026-11-23")),
        reason: "Press release.".to_owned(),
        administrator: Administrator::operator("ada"),
    }
}

async fn assert_renamed(exchange: &Exchange, sam: Investor) {
    for of in ["FB", "META"] {
        let stock = exchange.instruments().stored_stock(&symbol(of)).await.unwrap();
        let listing = &stock.listing;
        assert_eq!((listing.symbol.as_str(), &*listing.company_name), ("META", "Meta Platforms, Inc."));
        assert_eq!(stock.delisted_on, None);
    }
    let valued = exchange.books().valuation(sam.reference()).await.unwrap().valuation;
    let holding = valued.holdings.iter().find(|holding| holding.listing.symbol == symbol("META")).unwrap();
    assert_eq!(
        (holding.position.quantity.to_string(), holding.average_buy_price().unwrap().to_string()),
        ("10".to_owned(), "150.000000".to_owned())
    );
    assert_eq!(holding.quote.price.to_string(), "160.00");
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn a_renamed_stock_keeps_holdings_average_price_and_orders() {
    let (exchange, sam, id) = renamed_on_monday().await;
    let stock = exchange.corporate_actions().rename_stock(to("META")).await.unwrap();
    assert_eq!(stock.listing.symbol, symbol("META"));
    assert_renamed(&exchange, sam).await;
    let kept = exchange.look(sam, id).await;
    assert_eq!((kept.status, kept.symbol.as_str()), (OrderStatus::Accepted, "META"));
    // The old symbol finds the stock, in other processes too.
    let other = exchange.another_process();
    for of in ["FB", "META"] {
        other.trading().place_order(sam.control(), order(Side::Buy, of, shares("1"))).await.unwrap();
    }
    exchange.prices.set("META", "210.00");
    exchange.pass(chrono::TimeDelta::minutes(20));
    exchange.work().await;
    exchange.trading().match_orders().await.unwrap();
    assert_eq!(exchange.look(sam, id).await.status, OrderStatus::Filled);
    let actions = exchange.stocks().corporate_actions(&symbol("META")).await.unwrap();
    assert_eq!(actions.last().unwrap().id.as_str(), "FB/2026-11-23/symbol_change");
    exchange.at("2026-11-24T13:00:00Z");
    exchange.prices.set_close("META", day("2026-11-23"), "210.00");
    exchange.work().await;
    exchange.assert_books_balance().await;
    let again = exchange.corporate_actions().rename_stock(to("META")).await;
    assert!(matches!(&again, Err(Error::Invalid(fields)) if fields[0].field == "to"), "{again:?}");
}

#[tokio::test]
async fn a_rename_withdraws_a_delisting_by_evidence() {
    let (exchange, sam, id) = renamed_on_monday().await;
    for at in ["2026-11-24T16:00:00Z", "2026-11-25T16:00:00Z"] {
        exchange.at(at);
        exchange.work().await;
    }
    assert!(exchange.instruments().stored_stock(&symbol("FB")).await.unwrap().delisted_on.is_some());
    assert_eq!(exchange.look(sam, id).await.status, OrderStatus::Canceled);
    exchange.corporate_actions().rename_stock(to("META")).await.unwrap();
    assert_renamed(&exchange, sam).await;
    exchange.sell(sam, "META", "1").await.unwrap();
    exchange.at("2026-11-27T16:00:00Z");
    exchange.work().await;
    assert_eq!(exchange.corporate_actions().delisting_cases().await.unwrap(), []);
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn a_rename_replaces_an_unused_stock_but_not_one_in_use() {
    let (exchange, sam, _) = renamed_on_monday().await;
    // A user has looked the new symbol up, and its bars are stored.
    exchange.stocks().quote_for(Some(sam.user), &symbol("META")).await.unwrap();
    exchange.stocks().history(&symbol("META"), domain::HistoryRange::Month).await.unwrap();
    exchange.corporate_actions().rename_stock(to("META")).await.unwrap();
    assert_renamed(&exchange, sam).await;

    let (exchange, sam, id) = renamed_on_monday().await;
    exchange.buy(sam, "META", "2").await.unwrap();
    let refused = exchange.corporate_actions().rename_stock(to("META")).await;
    assert!(matches!(&refused, Err(Error::Invalid(fields)) if fields[0].field == "to"), "{refused:?}");
    assert_eq!(exchange.look(sam, id).await.symbol, symbol("FB"));
    exchange.assert_books_balance().await;
}

/// Following the advice in the error merges the stocks: every holder has all shares at their cost as shares of the
/// other stock.
#[tokio::test]
async fn two_stocks_in_use_are_merged_as_the_error_advises() {
    let (exchange, sam, id) = renamed_on_monday().await;
    exchange.buy(sam, "META", "2").await.unwrap();
    let told = match exchange.corporate_actions().rename_stock(to("META")).await {
        Err(Error::Invalid(errors)) => errors[0].message.clone(),
        other => panic!("not refused: {other:?}"),
    };
    assert_eq!(
        told,
        "META is another stock, which users hold, held or ordered. To merge the two, confirm the delisting of FB, then close \
         it out: in an exchange into META at 1:1, all holders keep their shares and cost basis"
    );
    let confirm = DelistingResolution::Confirm { on: None };
    exchange
        .corporate_actions()
        .resolve_delisting(&symbol("FB"), confirm, "It is META now.", &Administrator::operator("ada"))
        .await
        .unwrap();
    let told = match exchange.corporate_actions().rename_stock(to("META")).await {
        Err(Error::Invalid(errors)) => errors[0].message.clone(),
        other => panic!("not refused: {other:?}"),
    };
    assert!(told.contains("To merge the two, close FB out: in an exchange into META at 1:1"), "{told}");
    let terms = CloseOutTerms::Exchange { into: symbol("META"), ratio: "1:1".parse().unwrap(), cash: None };
    let author = DecisionAuthor { administrator: Administrator::operator("ada"), key: None };
    exchange
        .corporate_actions()
        .close_out(&symbol("FB"), &terms, None, "It is META now.", author)
        .await
        .unwrap();
    let valued = exchange.books().valuation(sam.reference()).await.unwrap().valuation;
    let held: Vec<_> = valued
        .holdings
        .iter()
        .map(|holding| {
            let position = &holding.position;
            format!("{} {} {}", holding.listing.symbol, position.quantity, position.cost_basis)
        })
        .collect();
    // 10 shares at 150.00 and 2 at 160.00.
    assert!(held.contains(&"META 12 1820.00".to_owned()), "{held:?}");
    assert!(held.iter().all(|line| !line.starts_with("FB ")), "{held:?}");
    assert_eq!(exchange.look(sam, id).await.status, OrderStatus::Canceled);
    exchange.assert_books_balance().await;
}

/// Watchlists and former symbols of the removed stock point to the renamed one.
#[tokio::test]
async fn watchlists_with_the_new_symbol_contain_the_renamed_stock() {
    let (exchange, sam, _) = renamed_on_monday().await;
    let eve = exchange.investor("eve", "100").await;
    let list = exchange.watchlists().create_watchlist(eve.trader(), "Both").await.unwrap().id;
    let one = exchange.watchlists().create_watchlist(eve.trader(), "One").await.unwrap().id;
    exchange.prices.recover_for("FB");
    for (list, of) in [(list, "FB"), (list, "META"), (one, "META")] {
        exchange.watchlists().watch(eve.trader(), list, &symbol(of)).await.unwrap();
    }
    let renamed = exchange.corporate_actions().rename_stock(to("META")).await.unwrap();
    for list in [list, one] {
        let items = exchange.watchlists().watchlist(eve.user, list).await.unwrap().items;
        let ids: Vec<_> = items.iter().map(|item| item.stock.id).collect();
        assert_eq!(ids, [renamed.id]);
    }
    assert_renamed(&exchange, sam).await;
}

#[tokio::test]
async fn an_impossible_rename_is_rejected() {
    let (exchange, _, _) = renamed_on_monday().await;
    for (request, field) in [
        (RenameRequest { on: Some(day("2026-11-24")), ..to("META") }, "on"),
        (to("FB"), "to"),
        (to("NOSUCH"), "to"),
        (RenameRequest { reason: " ".to_owned(), ..to("META") }, "reason"),
        (RenameRequest { company_name: Some("x".repeat(201)), ..to("META") }, "company_name"),
    ] {
        let refused = exchange.corporate_actions().rename_stock(request.clone()).await;
        assert!(
            matches!(&refused, Err(Error::Invalid(fields)) if fields[0].field == field),
            "{request:?}: {refused:?}"
        );
    }
    let unknown = exchange
        .corporate_actions()
        .rename_stock(RenameRequest { symbol: symbol("NOSUCH"), ..to("META") })
        .await;
    assert!(matches!(unknown, Err(Error::UnknownSymbol(_))), "{unknown:?}");
    let simulated = Exchange::new().await;
    let request = RenameRequest { symbol: symbol("AAPL"), ..to("META") };
    let refused = simulated.corporate_actions().rename_stock(request).await;
    assert!(matches!(&refused, Err(Error::Invalid(fields)) if fields[0].field == "symbol"), "{refused:?}");
}
