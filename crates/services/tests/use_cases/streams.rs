//! Streams: their first events, the events they send and to which users, the events that slow readers miss, and their
//! end.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use chrono::TimeDelta;
use domain::{Calendar, Freshness, Money, OrderId, ReplaceOrder, Side, UserId};
use market_data::QuoteError;
use persistence::users::{self, UserChanges};
use services::accounts::actor::Administrator;
use services::accounts::tokens::Scope;
use services::corporate_actions::delistings::DelistingResolution;
use services::events::Change;
use services::live::{Peers, Proof, StreamLimits, StreamRequest, Subscription, Update, event_id};
use services::testing::FixedPrices;
use services::{Error, NotFound, Result, Services, ServicesConfig};

use crate::harness::{Exchange, Investor, assert_not_found, gtc, limit, price, symbol};

/// A stream that a test reads.
struct Reader(Subscription);

impl Reader {
    /// The events since the last call, one line each; `end` when the stream has ended.
    fn read(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        let told = |update: Update<'_>| {
            lines.push(match update {
                Update::Quote(quote) => {
                    let stale = if quote.value.stale { " stale" } else { "" };
                    format!("{} {}{stale}", quote.value.symbol, quote.value.price)
                }
                Update::Order(changed) => {
                    let order = &changed.value.order;
                    let legs = order.legs.iter().map(|leg| format!(", {}", leg.order.status));
                    format!("{} {}{}", order.order.symbol, order.order.status, legs.collect::<String>())
                }
                Update::Valuation(valued) => format!("worth {}", valued.value.valuation.total_value),
                Update::Heartbeat(_) => "alive".to_owned(),
                Update::Reset(_) => "reset".to_owned(),
            });
        };
        match self.0.poll_updates(&mut Context::from_waker(Waker::noop()), told) {
            Poll::Ready(true) => assert_ne!(lines, Vec::<String>::new(), "it is ready with nothing"),
            Poll::Ready(false) => lines.push("end".to_owned()),
            Poll::Pending => assert_eq!(lines, Vec::<String>::new(), "it told, and is to be waited for"),
        }
        lines
    }
}

async fn token(services: &Services, user: UserId) -> String {
    services.accounts().create_token(user, "test", Scope::Read, None).await.unwrap().1
}

fn following(symbols: &[&str]) -> StreamRequest {
    StreamRequest { symbols: symbols.iter().map(|text| symbol(text)).collect(), ..StreamRequest::default() }
}

fn valuing(who: Investor) -> StreamRequest {
    StreamRequest { portfolios: vec![who.portfolio], ..StreamRequest::default() }
}

/// Opens a stream with its own token.
async fn open(services: &Services, user: UserId, wanted: StreamRequest) -> Result<Reader> {
    let proof = Proof::token(&token(services, user).await);
    services.live().follow(user, proof, wanted).await.map(Reader)
}

/// Opens a stream and reads its first events.
async fn listen(services: &Services, user: UserId, wanted: StreamRequest) -> Reader {
    let mut reader = open(services, user, wanted).await.unwrap();
    assert_eq!(reader.read().last().map(String::as_str), Some("alive"));
    reader
}

async fn next_second(exchange: &Exchange) {
    exchange.pass(TimeDelta::seconds(1));
    exchange.live().tick_streams().await;
}

#[tokio::test]
async fn a_stream_begins_with_the_newest_prices() {
    let exchange = Exchange::new().await;
    let sam = exchange.user("sam").await;
    let mut reader = open(&exchange, sam, following(&["MSFT", "AAPL", "AAPL"])).await.unwrap();
    assert_eq!(reader.read(), ["AAPL 150.00", "MSFT 400.00", "alive"]);
    assert_eq!(reader.read(), Vec::<String>::new());
}

#[tokio::test]
async fn prices_are_requested_once_and_sent_to_their_followers() {
    let exchange = Exchange::new().await;
    let sam = exchange.user("sam").await;
    let mut apple = listen(&exchange, sam, following(&["AAPL"])).await;
    let mut both = listen(&exchange, sam, following(&["AAPL", "MSFT"])).await;
    let before = exchange.prices.calls().quotes;
    exchange.prices.set("AAPL", "151.00");
    next_second(&exchange).await;
    assert_eq!(exchange.prices.calls().quotes, before + 1);
    assert_eq!(apple.read(), ["AAPL 151.00"]);
    assert_eq!(both.read(), ["AAPL 151.00", "MSFT 400.00"]);
    drop((apple, both));
    next_second(&exchange).await;
    assert_eq!(exchange.prices.calls().quotes, before + 1, "nobody listens any more");
}

/// Neither the stock's page nor a portfolio that holds it causes a call to the source, whose answer may be about
/// another company.
#[tokio::test]
async fn a_delisted_stock_is_shown_at_its_last_price_without_a_call() {
    let exchange = Exchange::with(FixedPrices::of(Freshness::Realtime, Calendar::Xnys)).await;
    let sam = exchange.investor("sam", "1000.00").await;
    exchange.buy(sam, "AAPL", "2").await.unwrap();
    exchange.work().await;
    let confirm = DelistingResolution::Confirm { on: None };
    let apple = symbol("AAPL");
    exchange.at("2026-11-23T16:00:00Z");
    exchange
        .corporate_actions()
        .resolve_delisting(&apple, confirm, "Merged.", &Administrator::operator("ada"))
        .await
        .unwrap();
    exchange.prices.set("AAPL", "40.00");
    let before = exchange.prices.calls();
    let mut page = open(&exchange, sam.user, following(&["AAPL"])).await.unwrap();
    assert_eq!(page.read(), ["AAPL 150.00 stale", "alive"]);
    let mut portfolio = open(&exchange, sam.user, valuing(sam)).await.unwrap();
    assert_eq!(portfolio.read().first().map(String::as_str), Some("worth 1000.00"));
    for _ in 0..3 {
        next_second(&exchange).await;
        assert_eq!(page.read(), Vec::<String>::new());
    }
    assert_eq!(exchange.prices.calls(), before);
    let mut other = open(&exchange, sam.user, following(&["MSFT", "AAPL"])).await.unwrap();
    assert_eq!(other.read(), ["AAPL 150.00 stale", "MSFT 400.00", "alive"]);
}

#[tokio::test]
async fn an_unchanged_price_is_sent_once() {
    let exchange = Exchange::new().await;
    let sam = exchange.user("sam").await;
    exchange.prices.set_as_of("AAPL", Some(exchange.now()));
    let mut reader = listen(&exchange, sam, following(&["AAPL"])).await;
    next_second(&exchange).await;
    assert_eq!(reader.read(), Vec::<String>::new());
}

#[tokio::test]
async fn a_slow_reader_gets_only_the_newest_price() {
    let exchange = Exchange::new().await;
    let sam = exchange.user("sam").await;
    let mut slow = listen(&exchange, sam, following(&["AAPL", "MSFT"])).await;
    let mut quick = listen(&exchange, sam, following(&["AAPL"])).await;
    for newest in ["151.00", "152.00", "153.00"] {
        exchange.prices.set("AAPL", newest);
        next_second(&exchange).await;
        assert_eq!(quick.read(), [format!("AAPL {newest}")]);
    }
    assert_eq!(slow.read(), ["AAPL 153.00", "MSFT 400.00"]);
    assert_eq!(slow.read(), Vec::<String>::new());
}

#[tokio::test]
async fn a_price_that_becomes_stale_is_sent_once() {
    let exchange = Exchange::new().await;
    let sam = exchange.user("sam").await;
    let mut reader = listen(&exchange, sam, following(&["AAPL"])).await;
    exchange.prices.fail_with(QuoteError::Unreachable);
    next_second(&exchange).await;
    assert_eq!(reader.read(), ["AAPL 150.00 stale"]);
    next_second(&exchange).await;
    assert_eq!(reader.read(), Vec::<String>::new());
    exchange.prices.recover();
    next_second(&exchange).await;
    assert_eq!(reader.read(), ["AAPL 150.00"]);
}

#[tokio::test]
async fn unknown_stocks_and_other_users_portfolios_cannot_be_followed() {
    let exchange = Exchange::new().await;
    let (sam, eve) = (exchange.investor("sam", "100.00").await, exchange.user("eve").await);
    let unknown = open(&exchange, eve, following(&["AAPL", "NOPE"])).await.err();
    assert!(matches!(unknown, Some(Error::UnknownSymbol(of)) if of == symbol("NOPE")));
    assert_not_found(NotFound::Portfolio, open(&exchange, eve, valuing(sam)).await.map(|_| ()));
    // The portfolio cannot be followed even while its owner follows it.
    let _own = listen(&exchange, sam.user, valuing(sam)).await;
    assert_not_found(NotFound::Portfolio, open(&exchange, eve, valuing(sam)).await.map(|_| ()));
    let many = StreamRequest {
        symbols: (0..201).map(|n| symbol(&format!("S{n}"))).collect(),
        ..StreamRequest::default()
    };
    assert!(matches!(open(&exchange, eve, many).await.err(), Some(Error::Invalid(_))));
}

#[tokio::test]
async fn all_changes_of_an_order_are_sent_only_to_its_owner() {
    let exchange = Exchange::new().await;
    let (sam, eve) = (exchange.investor("sam", "10000.00").await, exchange.user("eve").await);
    let mut own = listen(&exchange, sam.user, StreamRequest::default()).await;
    let mut strange = listen(&exchange, eve, StreamRequest::default()).await;
    exchange.buy(sam, "AAPL", "1").await.unwrap();
    exchange.live().read_news().await;
    assert_eq!(own.read(), ["AAPL filled"]);

    let waiting = exchange.accepted(sam, gtc(Side::Buy, "AAPL", "2", limit("149.00"))).await;
    let other = exchange.accepted(sam, gtc(Side::Buy, "MSFT", "1", limit("300.00"))).await;
    exchange.live().read_news().await;
    assert_eq!(own.read(), ["AAPL accepted", "MSFT accepted"]);
    exchange.trading().cancel_order(sam.control(), other).await.unwrap();
    let changes = ReplaceOrder { limit_price: Some(price("149.50")), ..ReplaceOrder::default() };
    exchange.trading().replace_order(sam.control(), waiting, changes).await.unwrap();
    exchange.live().read_news().await;
    assert_eq!(own.read(), ["AAPL replaced", "MSFT canceled", "AAPL accepted"]);

    exchange.trading().match_orders().await.unwrap();
    exchange.live().read_news().await;
    assert_eq!(own.read(), Vec::<String>::new(), "nothing has happened");
    exchange.prices.set("AAPL", "149.40");
    exchange.pass(TimeDelta::seconds(5));
    exchange.trading().match_orders().await.unwrap();
    exchange.live().read_news().await;
    assert_eq!(own.read(), ["AAPL filled"]);
    assert_eq!(strange.read(), Vec::<String>::new());
}

#[tokio::test]
async fn a_rejected_or_repeated_order_sends_no_event() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1000.00").await;
    let mut reader = listen(&exchange, sam.user, StreamRequest::default()).await;
    exchange.buy(sam, "AAPL", "100").await.unwrap_err();
    let command = crate::harness::called("one", gtc(Side::Buy, "AAPL", "1", limit("149.00")));
    exchange.place(sam, command.clone()).await.unwrap();
    exchange.live().read_news().await;
    assert_eq!(reader.read(), ["AAPL accepted"]);
    assert!(exchange.place(sam, command).await.unwrap().replayed);
    exchange.live().read_news().await;
    assert_eq!(reader.read(), Vec::<String>::new());
}

/// A buy of one share with exits at 170.00 and 130.00.
fn bracket() -> domain::PlaceOrder {
    let stop_loss = domain::StopLoss { stop: price("130.00"), limit: None };
    let attached = domain::Attached::Bracket { take_profit: price("170.00"), stop_loss };
    domain::PlaceOrder { attached, ..gtc(Side::Buy, "AAPL", "1", domain::OrderTerms::Market) }
}

#[tokio::test]
async fn a_leg_that_is_filled_or_canceled_has_an_event_of_its_own() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "10000.00").await;
    let mut reader = listen(&exchange, sam.user, StreamRequest::default()).await;
    let placed = exchange.place(sam, bracket()).await.unwrap().order;
    exchange.live().read_news().await;
    assert_eq!(reader.read(), ["AAPL filled, accepted, accepted"], "new legs come with their order");
    // Canceling one exit cancels the other.
    exchange.trading().cancel_order(sam.control(), placed.legs[0].order.id).await.unwrap();
    exchange.live().read_news().await;
    assert_eq!(reader.read(), ["AAPL filled, canceled, canceled", "AAPL canceled", "AAPL canceled"]);

    exchange.place(sam, bracket()).await.unwrap();
    exchange.live().read_news().await;
    reader.read();
    exchange.prices.set("AAPL", "171.00");
    exchange.pass(TimeDelta::seconds(5));
    exchange.trading().match_orders().await.unwrap();
    exchange.live().read_news().await;
    assert_eq!(reader.read(), ["AAPL filled, filled, canceled", "AAPL filled", "AAPL canceled"]);

    // A reader who reconnects gets the same events.
    let last_event_id = Some(event_id(exchange.now() - TimeDelta::seconds(1)).to_string());
    let mut back =
        open(&exchange, sam.user, StreamRequest { last_event_id, ..StreamRequest::default() }).await.unwrap();
    let told = back.read();
    let count = |line: &str| told.iter().filter(|told| *told == line).count();
    assert_eq!((count("AAPL filled, filled, canceled"), count("AAPL canceled")), (1, 3), "{told:?}");
}

#[tokio::test]
async fn resetting_a_portfolio_sends_the_canceled_legs() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "10000.00").await;
    exchange.place(sam, bracket()).await.unwrap();
    let mut reader = listen(&exchange, sam.user, StreamRequest::default()).await;
    exchange.pass(TimeDelta::seconds(1));
    exchange.books().reset_portfolio(sam.control(), None).await.unwrap();
    exchange.live().read_news().await;
    assert_eq!(reader.read(), ["AAPL filled, canceled, canceled", "AAPL canceled", "AAPL canceled"]);
}

#[tokio::test]
async fn a_stream_of_some_portfolios_sends_only_their_orders() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1000.00").await;
    let other = Investor { portfolio: exchange.open(sam.user, "1000.00").await, ..sam };
    let mut one = listen(&exchange, sam.user, valuing(other)).await;
    let mut all = listen(&exchange, sam.user, StreamRequest::default()).await;
    for (who, ticker) in [(sam, "AAPL"), (other, "JPM")] {
        exchange.accepted(who, gtc(Side::Buy, ticker, "1", limit("1.00"))).await;
    }
    exchange.live().read_news().await;
    assert_eq!(one.read(), ["JPM accepted"]);
    assert_eq!(all.read(), ["AAPL accepted", "JPM accepted"]);
}

#[tokio::test]
async fn resetting_a_portfolio_sends_the_canceled_orders() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1000.00").await;
    exchange.accepted(sam, gtc(Side::Buy, "AAPL", "1", limit("1.00"))).await;
    let mut reader = listen(&exchange, sam.user, StreamRequest::default()).await;
    exchange.books().reset_portfolio(sam.control(), None).await.unwrap();
    exchange.live().read_news().await;
    assert_eq!(reader.read(), ["AAPL canceled"]);
    // An archived portfolio can still be followed.
    let mut archived = open(&exchange, sam.user, valuing(sam)).await.unwrap();
    assert_eq!(archived.read(), ["worth 1000.00", "alive"]);
}

#[tokio::test]
async fn a_reader_with_too_many_queued_orders_is_told_to_reload() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "100000.00").await;
    let mut slow = listen(&exchange, sam.user, StreamRequest::default()).await;
    let mut quick = listen(&exchange, sam.user, StreamRequest::default()).await;
    for _ in 0..101 {
        exchange.accepted(sam, gtc(Side::Buy, "AAPL", "1", limit("1.00"))).await;
        exchange.live().read_news().await;
        assert_eq!(quick.read(), ["AAPL accepted"]);
    }
    assert_eq!(slow.read(), ["reset"]);
    exchange.accepted(sam, gtc(Side::Buy, "JPM", "1", limit("1.00"))).await;
    exchange.live().read_news().await;
    assert_eq!(slow.read(), ["JPM accepted"]);
}

#[tokio::test]
async fn a_valuation_is_sent_when_a_price_or_the_books_have_changed() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1000.00").await;
    exchange.buy(sam, "AAPL", "2").await.unwrap();
    let mut one = open(&exchange, sam.user, valuing(sam)).await.unwrap();
    let mut two = listen(&exchange, sam.user, valuing(sam)).await;
    assert_eq!(one.read(), ["worth 1000.00", "alive"]);

    exchange.prices.set("AAPL", "151.00");
    let before = exchange.statements();
    next_second(&exchange).await;
    assert_eq!([one.read(), two.read()], [["worth 1002.00"], ["worth 1002.00"]]);
    let asked = exchange.statements() - before;
    assert!(asked <= 1, "the books are known; the splits of all stocks may be read once a second: {asked}");

    exchange.deposit(sam, "500.00").await.unwrap();
    exchange.buy(sam, "JPM", "1").await.unwrap();
    exchange.live().read_news().await;
    assert_eq!(one.read(), ["JPM filled"]);
    exchange.prices.set("JPM", "210.00");
    next_second(&exchange).await;
    assert_eq!(one.read(), ["worth 1512.00"]);
    assert_eq!(two.read(), ["JPM filled", "worth 1512.00"]);
}

#[tokio::test]
async fn an_unchanged_value_is_not_sent_again() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1000.00").await;
    let mut reader = listen(&exchange, sam.user, valuing(sam)).await;
    for _ in 0..3 {
        next_second(&exchange).await;
    }
    assert_eq!(reader.read(), Vec::<String>::new());
}

#[tokio::test]
async fn the_day_change_starts_over_with_the_next_session() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1000.00").await;
    exchange.prices.set_close("AAPL", crate::harness::day("2026-11-20"), "160.00");
    exchange.buy(sam, "AAPL", "1").await.unwrap();
    let wanted = valuing(sam);
    let gain = |update: &Update<'_>| match update {
        Update::Valuation(valued) => Some(valued.value.valuation.day_change.clone()),
        _ => None,
    };
    let mut stream = exchange
        .live()
        .follow(sam.user, Proof::token(&token(&exchange, sam.user).await), wanted)
        .await
        .unwrap();
    let mut read = || {
        let mut gains: Vec<Money> = Vec::new();
        let _ = stream
            .poll_updates(&mut Context::from_waker(Waker::noop()), |update| gains.extend(gain(&update)));
        gains.into_iter().map(|gain| gain.to_string()).collect::<Vec<_>>()
    };
    exchange.prices.set("AAPL", "155.00");
    next_second(&exchange).await;
    assert_eq!(read(), ["5.00"]);
    exchange.at("2026-11-21T06:00:00Z");
    exchange.live().read_news().await;
    next_second(&exchange).await;
    assert_eq!(read(), ["-5.00"]);
}

#[tokio::test]
async fn followers_of_a_deleted_portfolio_are_told_to_reload() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1000.00").await;
    exchange.buy(sam, "AAPL", "1").await.unwrap();
    let mut reader = listen(&exchange, sam.user, valuing(sam)).await;
    exchange.books().delete_portfolio(sam.control()).await.unwrap();
    exchange.live().read_news().await;
    exchange.prices.set("AAPL", "160.00");
    next_second(&exchange).await;
    assert_eq!(reader.read(), ["reset"]);
}

#[tokio::test]
async fn a_source_that_publishes_daily_is_called_once_per_minute() {
    let prices = FixedPrices::of(domain::Freshness::EndOfDay, domain::Calendar::Xnys);
    let exchange = Exchange::with(prices).await;
    let sam = exchange.user("sam").await;
    let mut reader = listen(&exchange, sam, following(&["AAPL"])).await;
    // The price of the stock has changed, and every request returns the new price immediately.
    exchange.at("2026-11-20T23:00:00Z");
    exchange.prices.set("AAPL", "155.00");
    for _ in 0..59 {
        exchange.live().beat_streams();
        exchange.live().tick_streams().await;
    }
    let quotes = |lines: Vec<String>| lines.into_iter().filter(|line| line != "alive").collect::<Vec<_>>();
    assert_eq!(quotes(reader.read()), Vec::<String>::new());
    exchange.live().beat_streams();
    exchange.live().tick_streams().await;
    assert_eq!(quotes(reader.read()), ["AAPL 155.00"]);
}

#[tokio::test]
async fn streams_are_limited_per_user_and_in_total() {
    let streams = StreamLimits { per_user: 2, in_all: 3 };
    let config = ServicesConfig { streams, ..ServicesConfig::default() };
    let exchange = Exchange::configured(FixedPrices::new(), config).await;
    let (sam, eve) = (exchange.user("sam").await, exchange.user("eve").await);
    let first = listen(&exchange, sam, following(&["AAPL"])).await;
    let _second = listen(&exchange, sam, following(&["AAPL"])).await;
    let refused = |opened: Result<Reader>| opened.err().map(|error| error.to_string()).unwrap();
    let third = open(&exchange, sam, following(&["AAPL"])).await;
    assert!(matches!(third.err(), Some(Error::TooManyStreams(2))));
    // A rejected stream takes no place.
    assert!(open(&exchange, eve, following(&["NOPE"])).await.is_err());
    let _hers = listen(&exchange, eve, following(&["MSFT"])).await;
    let full = open(&exchange, eve, following(&["MSFT"])).await;
    assert_eq!(refused(full), "no more streams can be opened at the moment");
    drop(first);
    assert_eq!(exchange.live().open_streams(), 2);
    listen(&exchange, sam, following(&["AAPL"])).await;
}

#[tokio::test]
async fn a_stream_ends_with_its_session_token_or_account() {
    let exchange = Exchange::new().await;
    let sam = exchange.user("sam").await;
    let session = async || {
        let key =
            exchange.accounts().create_session(Some(sam), "{}".into(), TimeDelta::days(1)).await.unwrap();
        let stream = exchange.live().follow(sam, Proof::session(&key), following(&["AAPL"])).await.unwrap();
        (key, Reader(stream))
    };
    let (key, mut logged_out) = session().await;
    let (_kept, mut kept) = session().await;
    let (info, text) = exchange.accounts().create_token(sam, "one", Scope::Read, None).await.unwrap();
    let mut revoked =
        Reader(exchange.live().follow(sam, Proof::token(&text), following(&["AAPL"])).await.unwrap());
    let ends_at = exchange.now() + TimeDelta::minutes(1);
    let (_, text) = exchange.accounts().create_token(sam, "two", Scope::Read, Some(ends_at)).await.unwrap();
    let mut expired =
        Reader(exchange.live().follow(sam, Proof::token(&text), following(&["AAPL"])).await.unwrap());
    for reader in [&mut logged_out, &mut kept, &mut revoked, &mut expired] {
        reader.read();
    }
    exchange.live().confirm_streams().await;
    for reader in [&mut logged_out, &mut kept, &mut revoked, &mut expired] {
        assert_eq!(reader.read(), Vec::<String>::new());
    }

    let elsewhere = exchange.another_process();
    elsewhere.accounts().end_session(&key).await.unwrap();
    elsewhere.accounts().revoke_token(sam, info.id).await.unwrap();
    exchange.pass(TimeDelta::minutes(1));
    exchange.live().confirm_streams().await;
    for reader in [&mut logged_out, &mut revoked, &mut expired] {
        assert_eq!(reader.read(), ["end"]);
    }
    assert_eq!(kept.read(), Vec::<String>::new());

    let closed = UserChanges { is_active: Some(false), ..UserChanges::default() };
    exchange.write(move |tx| users::update(tx, sam, closed)).await.unwrap();
    exchange.live().confirm_streams().await;
    assert_eq!(kept.read(), ["end"]);
}

#[tokio::test]
async fn heartbeats_come_every_fifteen_seconds() {
    let exchange = Exchange::new().await;
    let sam = exchange.user("sam").await;
    let mut reader = listen(&exchange, sam, StreamRequest::default()).await;
    let mut beats = 0;
    for _ in 0..45 {
        exchange.live().beat_streams();
        beats += reader.read().len();
    }
    assert_eq!(beats, 3);
}

async fn return_with(exchange: &Exchange, who: Investor, last_event_id: &str) -> Vec<String> {
    let wanted = StreamRequest { last_event_id: Some(last_event_id.to_owned()), ..StreamRequest::default() };
    open(exchange, who.user, wanted).await.unwrap().read()
}

#[tokio::test]
async fn a_reconnected_reader_gets_the_orders_changed_since() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "10000.00").await;
    let quiet = Investor { portfolio: exchange.open(sam.user, "10.00").await, ..sam };
    let place = async |ticker: &str, at: &str| -> OrderId {
        exchange.accepted(sam, gtc(Side::Buy, ticker, "1", limit(at))).await
    };
    place("SPY", "1.00").await;
    let (filling, canceled) = (place("AAPL", "140.00").await, place("MSFT", "1.00").await);
    let replaced = place("JPM", "1.00").await;
    exchange.buy(sam, "SPY", "1").await.unwrap();
    exchange.pass(TimeDelta::minutes(1));
    let last = event_id(exchange.now()).to_string();
    exchange.pass(TimeDelta::minutes(1));
    assert_eq!(return_with(&exchange, sam, &last).await, ["alive"]);

    exchange.trading().cancel_order(sam.control(), canceled).await.unwrap();
    let changes = ReplaceOrder { limit_price: Some(price("2.00")), ..ReplaceOrder::default() };
    exchange.trading().replace_order(sam.control(), replaced, changes).await.unwrap();
    exchange.prices.set("AAPL", "139.00");
    exchange.pass(TimeDelta::seconds(1));
    exchange.trading().match_orders().await.unwrap();
    assert_eq!(exchange.look(sam, filling).await.status, domain::OrderStatus::Filled);
    exchange.pass(TimeDelta::minutes(30));
    let expected = ["AAPL filled", "MSFT canceled", "JPM replaced", "JPM accepted", "alive"];
    assert_eq!(return_with(&exchange, sam, &last).await, expected);
    let wanted = StreamRequest { last_event_id: Some(last.clone()), ..valuing(quiet) };
    let mut other = open(&exchange, sam.user, wanted).await.unwrap();
    assert_eq!(other.read(), ["worth 10.00", "alive"]);

    exchange.pass(TimeDelta::minutes(30));
    for late in [last.as_str(), "", "yesterday", "-1", "9000000000000000"] {
        assert_eq!(return_with(&exchange, sam, late).await, ["reset", "alive"], "{late}");
    }
}

#[tokio::test]
async fn an_order_committed_after_a_later_one_is_sent_too() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "10000.00").await;
    exchange.buy(sam, "AAPL", "1").await.unwrap();
    exchange.pass(TimeDelta::seconds(9));
    let last = event_id(exchange.now()).to_string();
    assert_eq!(return_with(&exchange, sam, &last).await, ["AAPL filled", "alive"]);
}

#[tokio::test]
async fn a_reader_that_missed_too_many_orders_is_told_to_reload() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "10000.00").await;
    let last = event_id(exchange.now()).to_string();
    for count in 1..=101 {
        exchange.accepted(sam, gtc(Side::Buy, "AAPL", "1", limit("1.00"))).await;
        if count == 100 {
            assert_eq!(return_with(&exchange, sam, &last).await.len(), 101);
        }
    }
    assert_eq!(return_with(&exchange, sam, &last).await, ["reset", "alive"]);
}

#[tokio::test]
async fn ended_exits_are_sent_with_their_order_and_separately() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "10000.00").await;
    let mut reader = listen(&exchange, sam.user, StreamRequest::default()).await;
    let bracket = domain::PlaceOrder {
        attached: domain::Attached::Bracket {
            take_profit: price("160.00"),
            stop_loss: domain::StopLoss { stop: price("140.00"), limit: None },
        },
        ..gtc(Side::Buy, "AAPL", "1", domain::OrderTerms::Market)
    };
    exchange.place(sam, bracket).await.unwrap();
    exchange.live().read_news().await;
    assert_eq!(reader.read(), ["AAPL filled, accepted, accepted"]);
    let last = event_id(exchange.now()).to_string();
    exchange.prices.set("AAPL", "161.00");
    exchange.pass(TimeDelta::seconds(5));
    exchange.trading().match_orders().await.unwrap();
    exchange.live().read_news().await;
    let told = ["AAPL filled, filled, canceled", "AAPL filled", "AAPL canceled"];
    assert_eq!(reader.read(), told);
    assert_eq!(return_with(&exchange, sam, &last).await, [&told[..], &["alive"]].concat());
}

/// Connects to another process without a network.
struct Wire(Services);

impl Peers for Wire {
    fn send_changes(&self, changes: Vec<Change>) {
        self.0.live().receive_changes(&changes);
    }
}

#[tokio::test]
async fn changes_of_another_process_are_sent() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1000.00").await;
    let elsewhere = exchange.another_process();
    elsewhere.live().connect_peers(Arc::new(Wire((*exchange).clone())));
    let mut reader = listen(&exchange, sam.user, valuing(sam)).await;
    let order = crate::harness::order(Side::Buy, "AAPL", crate::harness::shares("1"));
    elsewhere.trading().place_order(sam.control(), order).await.unwrap();
    exchange.live().read_news().await;
    assert_eq!(reader.read(), ["AAPL filled"]);
    exchange.prices.set("AAPL", "160.00");
    next_second(&exchange).await;
    assert_eq!(reader.read(), ["worth 1010.00"]);
}

#[tokio::test]
async fn all_readers_are_told_to_reload_after_lost_messages() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1000.00").await;
    let mut reader = listen(&exchange, sam.user, valuing(sam)).await;
    let elsewhere = exchange.another_process();
    let deposit = services::books::portfolios::CashDirection::Deposit;
    let amount = crate::harness::money("5.00");
    elsewhere.books().move_cash(sam.control(), deposit, amount).await.unwrap();
    exchange.live().read_news().await;
    next_second(&exchange).await;
    assert_eq!(reader.read(), Vec::<String>::new());
    exchange.live().missed_changes();
    exchange.live().read_news().await;
    next_second(&exchange).await;
    assert_eq!(reader.read(), ["reset", "worth 1005.00"]);
}

#[tokio::test]
async fn an_unannounced_change_reaches_streams_by_its_version() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1000.00").await;
    let mut reader = listen(&exchange, sam.user, valuing(sam)).await;
    let elsewhere = exchange.another_process();
    let second = async || {
        exchange.live().compare_books().await;
        exchange.live().read_news().await;
        next_second(&exchange).await;
    };
    second().await;
    assert_eq!(reader.read(), Vec::<String>::new());
    let order = crate::harness::order(Side::Buy, "AAPL", crate::harness::shares("1"));
    elsewhere.trading().place_order(sam.control(), order).await.unwrap();
    exchange.prices.set("AAPL", "160.00");
    second().await;
    assert_eq!(reader.read(), ["worth 1010.00"]);
    second().await;
    assert_eq!(reader.read(), ["reset", "worth 1010.00"], "its orders are not known");
    second().await;
    assert_eq!(reader.read(), ["worth 1010.00"]);

    // A message that comes a little later makes the reset unnecessary.
    let wire = Wire((*exchange).clone());
    let amount = crate::harness::money("5.00");
    let deposit = services::books::portfolios::CashDirection::Deposit;
    elsewhere.books().move_cash(sam.control(), deposit, amount).await.unwrap();
    second().await;
    assert_eq!(reader.read(), ["worth 1015.00"]);
    wire.send_changes(vec![Change { user: sam.user, portfolio: sam.portfolio, orders: Vec::new() }]);
    second().await;
    assert_eq!(reader.read(), ["worth 1015.00"]);

    elsewhere.books().delete_portfolio(sam.control()).await.unwrap();
    second().await;
    assert_eq!(reader.read(), ["reset"]);
}

#[tokio::test]
async fn books_are_read_again_every_half_minute_without_a_message() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1000.00").await;
    let mut reader = listen(&exchange, sam.user, valuing(sam)).await;
    let elsewhere = exchange.another_process();
    let deposit = services::books::portfolios::CashDirection::Deposit;
    let amount = crate::harness::money("5.00");
    elsewhere.books().move_cash(sam.control(), deposit, amount).await.unwrap();
    (0..30).for_each(|_| exchange.live().beat_streams());
    exchange.live().read_news().await;
    next_second(&exchange).await;
    assert_eq!(reader.read(), ["worth 1005.00", "alive"]);
}

#[tokio::test]
async fn a_process_that_shuts_down_ends_its_streams() {
    let exchange = Exchange::new().await;
    let sam = exchange.user("sam").await;
    let mut reader = listen(&exchange, sam, following(&["AAPL"])).await;
    exchange.live().end_streams();
    assert_eq!(reader.read(), ["end"]);
    let refused = open(&exchange, sam, following(&["AAPL"])).await;
    assert!(matches!(refused.err(), Some(Error::StreamsFull)));
}
