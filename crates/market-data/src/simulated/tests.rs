use chrono::{DateTime, Utc};

use super::*;

fn instant(text: &str) -> Timestamp {
    text.parse::<DateTime<Utc>>().unwrap().into()
}

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn symbol(text: &str) -> Symbol {
    text.parse().unwrap()
}

async fn quote(market: &Simulated, of: &str, at: Timestamp) -> Result<Quote, QuoteError> {
    market.quotes(&[symbol(of)], at).await.remove(&symbol(of)).unwrap()
}

async fn price(market: &Simulated, of: &str, at: &str) -> String {
    quote(market, of, instant(at)).await.unwrap().price.to_string()
}

/// The tenths of a second, from some instant on, at which the price is another than one before.
async fn changes_in_ten_minutes(market: &Simulated, of: &str, begins: &str) -> Vec<i64> {
    let mut last = quote(market, of, instant(begins)).await.unwrap().price;
    let mut changes = Vec::new();
    for tenth in 1..=6000 {
        let at = instant(begins) + TimeDelta::milliseconds(100 * tenth);
        let price = quote(market, of, at).await.unwrap().price;
        if price != last {
            changes.push(tenth);
            last = price;
        }
    }
    changes
}

async fn bars(market: &Simulated, of: &str, first: &str, last: &str) -> Vec<Bar> {
    let at = instant("2069-09-18T12:00:00Z");
    market.daily_bars(&symbol(of), day(first), day(last), at).await.unwrap()
}

#[tokio::test]
async fn prices_are_the_same_for_ever() {
    // Computed a second time by a separate program, in Python with its own mathematics.
    let market = Simulated::new(DEFAULT_SEED);
    for (of, at, expected) in [
        ("AAPL", "2026-11-22T15:30:00Z", "243.60"),
        ("SPY", "2026-11-22T15:30:00Z", "581.68"),
        ("BRK.B", "2026-11-22T15:30:00.123456Z", "450.41"),
        ("XPENY", "2026-11-22T15:30:00Z", "0.3643"),
        ("QQQ", "2020-03-16T12:00:00Z", "425.64"),
        ("KO", "1985-07-04T00:00:00Z", "47.99"),
        ("TSLA", "2060-02-29T23:59:59Z", "0.9171"),
        ("XOM", "1980-01-01T05:00:00Z", "75.41"),
        ("XWATT", "2069-09-18T03:59:59.999999Z", "86.06"),
    ] {
        assert_eq!(price(&market, of, at).await, expected, "{of} at {at}");
    }
    assert_ne!(price(&Simulated::new(1), "AAPL", "2026-11-22T15:30:00Z").await, "243.60");
}

#[tokio::test]
async fn a_quote_has_both_sides_volume_and_the_close_before() {
    let market = Simulated::new(DEFAULT_SEED);
    let at = instant("2026-11-22T15:30:00.000001Z");
    let quote = quote(&market, "AAPL", at).await.unwrap();
    assert_eq!(
        (quote.as_of, quote.freshness, quote.stale, quote.source.0.as_str()),
        (at, Freshness::Simulated, false, "simulated/sim-v1")
    );
    assert!(quote.bid.unwrap() < quote.price && quote.price < quote.ask.unwrap());
    let yesterday = bars(&market, "AAPL", "2026-11-21", "2026-11-21").await.remove(0);
    assert_eq!(quote.previous_close, Some(yesterday.close));
    let today = bars(&market, "AAPL", "2026-11-22", "2026-11-22").await.remove(0);
    assert!((1..today.volume).contains(&quote.volume.unwrap()));
}

#[tokio::test]
async fn bars_agree_with_the_quotes_of_their_day() {
    let market = Simulated::new(DEFAULT_SEED);
    for (of, date) in [("NVDA", "2026-11-20"), ("XPENY", "2026-03-08"), ("SPY", "2026-11-01")] {
        let bar = bars(&market, of, date, date).await.remove(0);
        let session = Calendar::AroundTheClock.session(day(date)).unwrap();
        let (mut seen, mut volume) = (Vec::new(), 0);
        let mut at = session.opens_at;
        while at < session.closes_at {
            let quote = quote(&market, of, at).await.unwrap();
            assert!(quote.volume.unwrap() >= volume);
            volume = quote.volume.unwrap();
            seen.push(quote.price);
            // Less than the shortest time for which a price holds.
            at = at + TimeDelta::milliseconds(1400);
        }
        let last = quote(&market, of, session.closes_at - TimeDelta::microseconds(1)).await.unwrap();
        assert_eq!((seen.first(), &last.price), (Some(&bar.open), &bar.close), "{of} {date}");
        assert_eq!((seen.iter().max(), seen.iter().min()), (Some(&bar.high), Some(&bar.low)), "{of} {date}");
        assert!(volume <= bar.volume && bar.volume - volume < bar.volume / 100, "{of} {date}");
        assert_eq!(quote(&market, of, session.closes_at).await.unwrap().previous_close, Some(bar.close));
    }
}

#[tokio::test]
async fn a_liquid_stock_changes_every_few_seconds_and_holds_between() {
    let market = Simulated::new(DEFAULT_SEED);
    // Once in an hour in which the exchanges are open, once in the dead of night.
    for begins in ["2026-11-20T15:00:00Z", "2026-11-20T07:00:00Z"] {
        for of in ["AAPL", "NVDA", "SPY"] {
            let changes = changes_in_ten_minutes(&market, of, begins).await.len();
            assert!((20..300).contains(&changes), "{of} changes {changes} times from {begins}");
        }
    }
}

#[tokio::test]
async fn prices_do_not_all_change_at_the_same_instants() {
    let market = Simulated::new(DEFAULT_SEED);
    let begins = "2026-11-20T15:00:00Z";
    let aapl = changes_in_ten_minutes(&market, "AAPL", begins).await;
    let msft = changes_in_ten_minutes(&market, "MSFT", begins).await;
    assert!(!msft.is_empty() && !aapl.iter().any(|tenth| msft.contains(tenth)), "{aapl:?} and {msft:?}");
}

#[tokio::test]
async fn order_of_asking_does_not_matter() {
    let instants = ["2026-11-22T15:30:00Z", "1985-01-02T09:00:00Z", "2026-11-21T04:00:00Z"];
    let one = Simulated::new(DEFAULT_SEED);
    let mut forwards = Vec::new();
    for at in instants {
        forwards.push(price(&one, "MSFT", at).await);
    }
    bars(&one, "ORCL", "2026-10-01", "2026-11-22").await;
    let other = Simulated::new(DEFAULT_SEED);
    bars(&other, "MSFT", "2026-10-01", "2026-11-22").await;
    for (at, expected) in instants.into_iter().zip(forwards).rev() {
        assert_eq!(price(&other, "MSFT", at).await, expected);
        assert_eq!(price(&one, "MSFT", at).await, expected);
    }
}

#[tokio::test]
async fn history_reaches_from_1980_to_2069_and_no_further() {
    let market = Simulated::new(DEFAULT_SEED);
    assert_eq!(session_on(LAST_DATE), Some(clock::SESSIONS - 1));
    assert_eq!(session_on(day("2026-11-01")), Some(ANCHOR_SESSION));
    for outside in [
        instant("1980-01-01T04:59:59Z"),
        instant("2069-09-18T04:00:00Z"),
        DateTime::<Utc>::MIN_UTC.into(),
        DateTime::<Utc>::MAX_UTC.into(),
    ] {
        let answer = quote(&market, "AAPL", outside).await;
        assert!(matches!(answer, Err(QuoteError::Upstream(why)) if why.contains("1980-01-01 to 2069-09-17")));
    }
    let first = bars(&market, "AAPL", "1975-01-01", "1980-01-02").await;
    assert_eq!(first.iter().map(|bar| bar.date).collect::<Vec<_>>(), [day("1980-01-01"), day("1980-01-02")]);
    let (least, most) = (NaiveDate::MIN, NaiveDate::MAX);
    let at = instant("1980-01-04T05:00:00Z");
    assert_eq!(market.daily_bars(&symbol("KO"), least, most, at).await.unwrap().len(), 3);
    assert_eq!(market.daily_bars(&symbol("KO"), most, least, at).await.unwrap(), []);
}

#[tokio::test]
async fn a_day_has_its_bar_when_it_is_over() {
    let market = Simulated::new(DEFAULT_SEED);
    let spy = symbol("SPY");
    let until = |at| market.daily_bars(&spy, day("2026-11-20"), day("2026-12-31"), at);
    assert_eq!(until(instant("2026-11-23T04:59:59Z")).await.unwrap().len(), 2);
    assert_eq!(until(instant("2026-11-23T05:00:00Z")).await.unwrap().len(), 3);
}

#[tokio::test]
async fn catalogue_prices_hold_at_the_anchor() {
    let market = Simulated::new(77);
    for row in INSTRUMENTS {
        assert_eq!(
            price(&market, row.symbol, "2026-11-01T04:00:00Z").await,
            price::on_tick(row.price).to_string()
        );
    }
}

#[tokio::test]
async fn unknown_symbols_are_told_from_known_ones() {
    let market = Simulated::new(DEFAULT_SEED);
    let asked = [symbol("AAPL"), symbol("NOSUCH")];
    let answers = market.quotes(&asked, instant("2026-11-22T12:00:00Z")).await;
    assert!(answers[&asked[0]].is_ok());
    assert_eq!(answers[&asked[1]], Err(QuoteError::UnknownSymbol(asked[1].clone())));
    assert!(market.listing(&asked[1]).await.is_err());
    let nothing =
        market.daily_bars(&asked[1], day("2026-01-01"), day("2026-02-01"), instant("2026-11-22T12:00:00Z"));
    assert!(nothing.await.is_err());
}

#[tokio::test]
async fn typing_app_finds_apple_first() {
    let market = Simulated::new(DEFAULT_SEED);
    let found = market.search("app", 5).await.unwrap();
    assert_eq!(found[0].symbol, symbol("AAPL"));
    assert_eq!(found[0], market.listing(&symbol("AAPL")).await.unwrap());
    let Catalogue::Complete(all) = market.catalogue() else { panic!("the catalogue is complete") };
    assert_eq!(all.len(), INSTRUMENTS.len());
}
