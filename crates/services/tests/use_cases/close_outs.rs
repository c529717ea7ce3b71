//! Close-outs of delisted stocks, and their effects on shares, cost, cash, orders and snapshots.

use domain::corporate_action::{CorporateAction, CorporateActionKind};
use domain::{Calendar, CloseOut, Freshness, OrderStatus, PerShare, Side, TransactionType};
use market_data::QuoteError;
use persistence::close_outs::{self, NewCloseOut};
use services::Error;
use services::accounts::actor::{Actor, Administrator, Credential};
use services::accounts::register::Account;
use services::corporate_actions::close_outs::{CloseOutFields, CloseOutTerms};
use services::corporate_actions::delistings::DelistingResolution;
use services::idempotency::DecisionAuthor;
use services::idempotency::Once;
use services::testing::FixedPrices;

use super::harness::{Exchange, Investor, amounts, day, gtc, limit, moment, money, order, shares, symbol};

const SYMBOLS: [&str; 4] = ["AAPL", "MSFT", "JPM", "SPY"];

/// Monday, 23 November 2026, 11:00 in New York. Sam holds 10 AAPL that cost 1,500.00 and 1 MSFT that cost 400.00; Eve
/// has bought 4 AAPL and holds 3. The source no longer knows AAPL, and an administrator has delisted it.
async fn delisted() -> (Exchange, Investor, Investor) {
    let prices = FixedPrices::of(Freshness::Delayed, Calendar::Xnys);
    for date in ["2026-11-19", "2026-11-20"] {
        for of in SYMBOLS {
            prices.set_close(of, day(date), if of == "AAPL" { "150.00" } else { "400.00" });
        }
    }
    prices.announce(moment("2026-11-18T00:00:00Z"), dividend());
    let exchange = Exchange::with(prices).await;
    let (sam, eve) = (exchange.investor("sam", "10000.00").await, exchange.investor("eve", "1000.00").await);
    exchange.buy(sam, "AAPL", "10").await.unwrap();
    exchange.buy(sam, "MSFT", "1").await.unwrap();
    exchange.buy(eve, "AAPL", "4").await.unwrap();
    exchange.sell(eve, "AAPL", "1").await.unwrap();
    exchange.work().await;
    exchange.prices.fail_for("AAPL", QuoteError::UnknownSymbol(symbol("AAPL")));
    exchange.at("2026-11-23T16:00:00Z");
    let confirm = DelistingResolution::Confirm { on: None };
    exchange
        .corporate_actions()
        .resolve_delisting(&symbol("AAPL"), confirm, "Merged.", &Administrator::operator("ada"))
        .await
        .unwrap();
    exchange.work().await;
    assert_eq!(
        exchange.instruments().stored_stock(&symbol("AAPL")).await.unwrap().delisted_on,
        Some(day("2026-11-23"))
    );
    (exchange, sam, eve)
}

/// A dividend of one dollar per MSFT, owed from Monday on.
fn dividend() -> CorporateAction {
    let amount = PerShare::from_scaled(1, 0).unwrap();
    let kind = CorporateActionKind::CashDividend { amount, pays_on: day("2026-12-01") };
    CorporateAction::new(symbol("MSFT"), day("2026-11-23"), kind)
}

fn cash(text: &str) -> CloseOutTerms {
    CloseOutTerms::Cash { per_share: text.parse().unwrap() }
}

fn into(of: &str, ratio: &str, cash: Option<&str>) -> CloseOutTerms {
    let cash = cash.map(|cash| cash.parse().unwrap());
    CloseOutTerms::Exchange { into: symbol(of), ratio: ratio.parse().unwrap(), cash }
}

fn ada() -> DecisionAuthor {
    DecisionAuthor { administrator: Administrator::operator("ada"), key: None }
}

async fn close_out(exchange: &Exchange, terms: &CloseOutTerms, on: Option<&str>) -> Result<(), Error> {
    let done = exchange
        .corporate_actions()
        .close_out(&symbol("AAPL"), terms, on.map(day), "The filing says so.", ada())
        .await;
    done.map(|_| ())
}

/// Shares, cost and realized result of a position.
async fn position(exchange: &Exchange, who: Investor, of: &str) -> Option<[String; 3]> {
    let valued = exchange.books().valuation(who.reference()).await.unwrap().valuation;
    let holding = valued.holdings.iter().find(|holding| holding.listing.symbol == symbol(of))?;
    let position = &holding.position;
    Some([&position.cost_basis, &position.realized_pnl].map(ToString::to_string))
        .map(|[cost, realized]| [position.quantity.to_string(), cost, realized])
}

/// Type, symbol, quantity, amount and result of the journal lines of close-outs, oldest first.
async fn lines(exchange: &Exchange, who: Investor) -> Vec<String> {
    let page = exchange.books().transactions(who.reference(), Default::default(), None, 100).await.unwrap();
    let mut lines: Vec<String> = page
        .items
        .into_iter()
        .filter(|line| {
            matches!(line.entry.transaction_type, TransactionType::CloseOut | TransactionType::Exchange)
        })
        .map(|line| {
            let entry = line.entry;
            let realized = entry.realized_pnl.map_or_else(|| "-".to_owned(), |pnl| pnl.to_string());
            let (symbol, quantity) = (line.symbol.unwrap(), entry.quantity.unwrap());
            format!("{} {symbol} {quantity} {} {realized}", entry.transaction_type, entry.amount)
        })
        .collect();
    lines.reverse();
    lines
}

#[tokio::test]
async fn a_close_out_for_cash_pays_every_holder_once() {
    let (exchange, sam, eve) = delisted().await;
    let preview =
        exchange.corporate_actions().preview_close_out(&symbol("AAPL"), &cash("54.205"), None).await.unwrap();
    assert_eq!((preview.portfolios, preview.shares.to_string()), (2, "13".to_owned()));
    // 542.05 and 162.615, each rounded half-even.
    assert_eq!(
        [&preview.cash, &preview.cost, &preview.realized].map(ToString::to_string),
        ["704.67", "1950.00", "-1245.33"]
    );
    assert_eq!(exchange.cash(sam).await, "8100.00", "a preview changes nothing");
    let before = exchange.books().valuation(sam.reference()).await.unwrap().valuation.total_value;
    close_out(&exchange, &cash("54.205"), None).await.unwrap();
    assert_eq!(exchange.cash(sam).await, "8642.05");
    assert_eq!(lines(&exchange, sam).await, ["close_out AAPL 10 542.05 -957.95"]);
    assert_eq!(lines(&exchange, eve).await, ["close_out AAPL 3 162.62 -287.38"]);
    assert_eq!(position(&exchange, sam, "AAPL").await, None);
    let after = exchange.books().valuation(sam.reference()).await.unwrap().valuation;
    // The holding was valued at 150.00 per share.
    assert_eq!(after.total_value.clone() - &before, money("-957.95"));
    assert_eq!(after.realized_pnl, money("-957.95"));
    exchange.assert_books_balance().await;
    // Running everything again changes nothing.
    let again = close_out(&exchange, &cash("54.205"), None).await;
    assert!(matches!(&again, Err(Error::Invalid(fields)) if fields[0].field == "symbol"), "{again:?}");
    for process in [&*exchange, &exchange.another_process()] {
        process.corporate_actions().apply_corporate_actions().await.unwrap();
    }
    assert_eq!((exchange.cash(sam).await, lines(&exchange, sam).await.len()), ("8642.05".to_owned(), 1));
    // The other stock's dividend is still paid.
    exchange.at("2026-12-01T16:00:00Z");
    exchange.work().await;
    assert_eq!(exchange.cash(sam).await, "8643.05");
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn a_write_off_realizes_the_whole_cost_as_a_loss() {
    let (exchange, sam, eve) = delisted().await;
    close_out(&exchange, &CloseOutTerms::WriteOff, None).await.unwrap();
    assert_eq!(lines(&exchange, sam).await, ["close_out AAPL 10 0.00 -1500.00"]);
    assert_eq!(lines(&exchange, eve).await, ["close_out AAPL 3 0.00 -450.00"]);
    assert_eq!(exchange.cash(eve).await, "550.00");
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn an_exchange_carries_the_cost_over_to_the_new_shares() {
    for (terms, sams, eves, msft) in [
        (
            into("MSFT", "1:2", None),
            ["close_out AAPL 10 1500.00 0.00", "exchange MSFT 5 -1500.00 -"],
            ["close_out AAPL 3 450.00 0.00", "exchange MSFT 1.5 -450.00 -"],
            ["6", "1900.00", "0.00"],
        ),
        (
            into("MSFT", "1:2", Some("10")),
            ["close_out AAPL 10 1500.00 0.00", "exchange MSFT 5 -1400.00 -"],
            ["close_out AAPL 3 450.00 0.00", "exchange MSFT 1.5 -420.00 -"],
            ["6", "1800.00", "0.00"],
        ),
        // More cash than the cost of the shares, and a ratio that leaves a fraction.
        (
            into("MSFT", "1:3", Some("200.5")),
            ["close_out AAPL 10 2005.00 505.00", "exchange MSFT 3.333333333 0.00 -"],
            ["close_out AAPL 3 601.50 151.50", "exchange MSFT 1 0.00 -"],
            ["4.333333333", "400.00", "0.00"],
        ),
    ] {
        let (exchange, sam, eve) = delisted().await;
        let before = money(&exchange.cash(sam).await);
        let preview =
            exchange.corporate_actions().preview_close_out(&symbol("AAPL"), &terms, None).await.unwrap();
        close_out(&exchange, &terms, None).await.unwrap();
        assert_eq!(lines(&exchange, sam).await, sams);
        assert_eq!(lines(&exchange, eve).await, eves);
        assert_eq!(position(&exchange, sam, "MSFT").await.unwrap(), msft);
        assert_eq!(position(&exchange, sam, "AAPL").await, None);
        let (_, received) = preview.received.unwrap();
        let shown = exchange.books().valuation(eve.reference()).await.unwrap().valuation.holdings;
        let of_eve = shown.iter().find(|holding| holding.listing.symbol == symbol("MSFT")).unwrap();
        let new_of_sam = exchange.books().valuation(sam.reference()).await.unwrap().valuation.holdings;
        let of_sam = new_of_sam.iter().find(|holding| holding.listing.symbol == symbol("MSFT")).unwrap();
        let all = of_eve.position.quantity.clone() + &of_sam.position.quantity;
        assert_eq!(all.checked_sub(&received).unwrap().to_string(), "1", "{terms:?}");
        assert!(money(&exchange.cash(sam).await) >= before);
        exchange.assert_books_balance().await;
        // The new shares are sold like any others.
        exchange.sell(eve, "MSFT", "1").await.unwrap();
        exchange.assert_books_balance().await;
    }
}

#[tokio::test]
async fn impossible_close_outs_are_rejected() {
    let (exchange, sam, _) = delisted().await;
    let refused = async |of: &str, terms: CloseOutTerms, on: Option<&str>, field: &str| {
        let preview = exchange.corporate_actions().preview_close_out(&symbol(of), &terms, on.map(day)).await;
        let done =
            exchange.corporate_actions().close_out(&symbol(of), &terms, on.map(day), "Because.", ada()).await;
        for error in [preview.unwrap_err(), done.unwrap_err()] {
            assert!(
                matches!(&error, Error::Invalid(fields) if fields[0].field == field),
                "{of} {field}: {error:?}"
            );
        }
    };
    refused("MSFT", cash("1"), None, "symbol").await;
    refused("AAPL", into("AAPL", "1:1", None), None, "into").await;
    refused("AAPL", into("NOSUCH", "1:1", None), None, "into").await;
    refused("AAPL", cash("1"), Some("2026-11-24"), "on").await;
    refused("AAPL", cash("1"), Some("2026-11-20"), "on").await;
    let unsaid = exchange.corporate_actions().close_out(&symbol("AAPL"), &cash("1"), None, " ", ada()).await;
    assert!(matches!(&unsaid, Err(Error::Invalid(fields)) if fields[0].field == "reason"), "{unsaid:?}");
    assert_eq!(lines(&exchange, sam).await, Vec::<String>::new());
    // The delisting below a close-out stays.
    close_out(&exchange, &cash("1"), None).await.unwrap();
    let back = DelistingResolution::Refuse;
    let refused = exchange
        .corporate_actions()
        .resolve_delisting(&symbol("AAPL"), back, "It trades.", &Administrator::operator("ada"))
        .await;
    assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    exchange.prices.recover_for("AAPL");
    exchange.at("2026-11-24T16:00:00Z");
    exchange.work().await;
    assert!(exchange.instruments().stored_stock(&symbol("AAPL")).await.unwrap().delisted_on.is_some());
}

#[test]
fn terms_are_parsed_and_errors_reported_by_field() {
    let fields = |kind, cash, into, ratio, on| CloseOutFields { kind, cash, into, ratio, on };
    let read = CloseOutTerms::parse(fields(
        "exchange",
        Some(" 1.5 "),
        Some("meta"),
        Some("1:2"),
        Some("2026-11-23"),
    ));
    assert_eq!(read.unwrap(), (into("META", "1:2", Some("1.5")), Some(day("2026-11-23"))));
    assert_eq!(
        CloseOutTerms::parse(fields("cash", Some("54.20"), Some(""), None, None)).unwrap(),
        (cash("54.20"), None)
    );
    for (wrong, expected) in [
        (fields("gift", None, None, None, None), vec!["kind"]),
        (fields("cash", None, None, None, None), vec!["cash"]),
        (fields("cash", Some("0"), None, None, None), vec!["cash"]),
        (
            fields("cash", Some("-5"), Some("META"), Some("1:2"), Some("soon")),
            vec!["on", "cash", "into", "ratio"],
        ),
        (fields("write_off", Some("5"), None, None, None), vec!["cash"]),
        (fields("exchange", None, None, None, None), vec!["into", "ratio"]),
        (fields("exchange", Some("x"), Some("META"), Some("0:1"), None), vec!["cash", "ratio"]),
    ] {
        let errors = CloseOutTerms::parse(wrong).unwrap_err();
        assert_eq!(errors.iter().map(|error| error.field).collect::<Vec<_>>(), expected, "{wrong:?}");
    }
}

#[tokio::test]
async fn a_repeated_request_with_the_same_key_is_executed_once() {
    let (exchange, sam, _) = delisted().await;
    let account = exchange.accounts().account(sam.user).await.unwrap().unwrap();
    let account = Account { username: "ada".to_owned(), is_admin: true, ..account }.into();
    let administrator = Actor { account, credential: Credential::Session }.administrator().unwrap();
    let author =
        |key: &str| DecisionAuthor { administrator: administrator.clone(), key: Some(key.parse().unwrap()) };
    let (aapl, terms) = (symbol("AAPL"), cash("54.20"));
    let other = exchange.another_process();
    let ask = async |process: &services::Services, terms: &CloseOutTerms| {
        process.corporate_actions().close_out(&aapl, terms, None, "The filing says so.", author("k1")).await
    };
    let (one, two) = tokio::join!(ask(&exchange, &terms), ask(&other, &terms));
    let replayed = |answer: &Result<Once<_>, Error>| answer.as_ref().map(|once| once.replayed).ok();
    assert!([replayed(&one), replayed(&two)].contains(&Some(false)), "{one:?} {two:?}");
    let again = ask(&exchange, &terms).await.unwrap();
    assert!(again.replayed);
    assert_eq!(again.value.administrator.as_deref(), Some("ada"));
    let reused = ask(&exchange, &cash("54.21")).await;
    assert!(matches!(reused, Err(Error::IdempotencyKeyReused)), "{reused:?}");
    assert_eq!(lines(&exchange, sam).await, ["close_out AAPL 10 542.00 -958.00"]);
    exchange.assert_books_balance().await;
}

/// A close-out that is stored but not applied to any portfolio, as when the process ends immediately afterwards.
async fn note(exchange: &Exchange, terms: CloseOut) {
    let (stock, now) =
        (exchange.instruments().stored_stock(&symbol("AAPL")).await.unwrap().id, exchange.now());
    let new = NewCloseOut {
        stock_id: stock,
        symbol: symbol("AAPL"),
        terms,
        on: day("2026-11-23"),
        effective_at: moment("2026-11-23T14:30:00Z"),
        reason: "Merged.".to_owned(),
        administrator: "ada".to_owned(),
    };
    exchange.write(move |tx| close_outs::note(tx, &new, now, now)).await.unwrap();
}

#[tokio::test]
async fn orders_meet_the_books_after_a_close_out_that_was_interrupted() {
    let (exchange, sam, eve) = delisted().await;
    note(&exchange, CloseOut::Cash { per_share: "500".parse().unwrap() }).await;
    let other = exchange.another_process();
    // 8,100.00 in cash, and 5,000.00 for the shares.
    other.trading().place_order(sam.control(), order(Side::Buy, "MSFT", shares("30"))).await.unwrap();
    assert_eq!(lines(&exchange, sam).await, ["close_out AAPL 10 5000.00 3500.00"]);
    assert_eq!(lines(&exchange, eve).await, Vec::<String>::new());
    exchange.pass(chrono::TimeDelta::minutes(1));
    exchange.work().await;
    exchange.another_process().corporate_actions().apply_corporate_actions().await.unwrap();
    assert_eq!(lines(&exchange, sam).await.len(), 1);
    assert_eq!(lines(&exchange, eve).await, ["close_out AAPL 3 1500.00 1050.00"]);
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn orders_during_a_close_out_neither_sell_shares_twice_nor_stay_open() {
    let (exchange, sam, _) = delisted().await;
    let other = exchange.another_process();
    let sell = || other.trading().place_order(sam.control(), order(Side::Sell, "AAPL", shares("10")));
    let wait = || exchange.place(sam, gtc(Side::Sell, "AAPL", "10", limit("500.00")));
    let buy = || exchange.place(sam, order(Side::Buy, "MSFT", shares("1")));
    let terms = into("MSFT", "1:1", None);
    let (done, sold, waiting, bought) =
        tokio::join!(close_out(&exchange, &terms, None), sell(), wait(), buy());
    done.unwrap();
    bought.unwrap();
    for refused in [sold, waiting] {
        assert!(matches!(refused, Err(Error::NotTradable { .. })), "{refused:?}");
    }
    let open =
        exchange.all_orders(sam).await.into_iter().filter(|order| order.order.status.is_open()).count();
    assert_eq!(open, 0);
    assert_eq!(position(&exchange, sam, "MSFT").await.unwrap()[0], "12");
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn remaining_open_orders_are_canceled_with_the_reason() {
    let prices = FixedPrices::of(Freshness::Delayed, Calendar::Xnys);
    let exchange = Exchange::with(prices).await;
    let sam = exchange.investor("sam", "10000.00").await;
    exchange.buy(sam, "AAPL", "10").await.unwrap();
    let id = exchange.accepted(sam, gtc(Side::Sell, "AAPL", "4", limit("200.00"))).await;
    exchange.at("2026-11-23T16:00:00Z");
    note(&exchange, CloseOut::WriteOff).await;
    exchange.corporate_actions().apply_corporate_actions().await.unwrap();
    let canceled = exchange.look(sam, id).await;
    assert_eq!(canceled.status, OrderStatus::Canceled);
    assert!(canceled.reject_reason.unwrap().contains("closed out"));
    assert_eq!(lines(&exchange, sam).await, ["close_out AAPL 10 0.00 -1500.00"]);
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn a_close_out_on_an_earlier_day_revalues_its_sessions() {
    let (exchange, sam, _) = delisted().await;
    for date in ["2026-11-23", "2026-11-24"] {
        for of in ["MSFT", "JPM", "SPY"] {
            exchange.prices.set_close(of, day(date), "400.00");
        }
    }
    exchange.at("2026-11-25T13:00:00Z");
    exchange.work().await;
    let rows = exchange.rows(sam).await;
    // Cash, ten shares at their last price, MSFT and its dividend.
    assert_eq!(amounts(rows.last().unwrap())[..3], ["10001.00", "8100.00", "1900.00"]);
    close_out(&exchange, &cash("54.20"), Some("2026-11-24")).await.unwrap();
    exchange.at("2026-11-25T16:00:00Z");
    exchange.work().await;
    let rows = exchange.rows(sam).await;
    let of = |date: &str| amounts(rows.iter().find(|row| row.date == day(date)).unwrap());
    assert_eq!(of("2026-11-23")[..3], ["10001.00", "8100.00", "1900.00"]);
    assert_eq!(of("2026-11-24")[..3], ["9043.00", "8642.00", "400.00"]);
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn verify_detects_a_changed_close_out() {
    for (tampering, told) in [
        ("UPDATE corporate_actions SET cash_per_share = '55' WHERE kind = 'close_out'", "is not what"),
        ("UPDATE portfolio_actions SET quantity = '9' WHERE quantity = '10'", "is not what"),
        ("UPDATE positions SET quantity = '1', cost_basis = '1.00' WHERE quantity = '0'", "quantity"),
    ] {
        let (exchange, _, _) = delisted().await;
        close_out(&exchange, &cash("54.20"), None).await.unwrap();
        exchange.assert_books_balance().await;
        exchange.database().sql(tampering).unwrap();
        let found = exchange.books().verify(|_, _| ()).await.unwrap().differences;
        assert!(found.iter().any(|difference| difference.what.contains(told)), "{tampering}: {found:?}");
    }
}
