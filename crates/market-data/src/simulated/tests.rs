use chrono::{DateTime, TimeDelta, Utc};

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

async fn moves(market: &Simulated, of: &str, after: Timestamp, until: Timestamp) -> Vec<PriceMove> {
    market.moves(&symbol(of), after, until).await.unwrap()
}

#[tokio::test]
async fn moves_are_the_quotes_at_the_instants_at_which_a_price_begins_to_hold() {
    let market = Simulated::new(DEFAULT_SEED);
    // At noon, over midnight, and over the night in which the clocks change.
    for begins in ["2026-11-20T17:00:00Z", "2026-11-21T04:45:00Z", "2026-11-01T05:50:00Z"] {
        for of in ["AAPL", "XPENY", "SPY"] {
            let (after, until) = (instant(begins), instant(begins) + TimeDelta::minutes(30));
            let moves = moves(&market, of, after, until).await;
            assert!((300..1300).contains(&moves.len()), "{} moves of {of} from {begins}", moves.len());
            for PriceMove { quote: moved, .. } in &moves {
                assert!(after < moved.as_of && moved.as_of <= until);
                assert_eq!(moved, &quote(&market, of, moved.as_of).await.unwrap());
            }
            // Until the next one begins, the price of a move holds.
            for pair in moves.windows(2) {
                let last = pair[1].quote.as_of - TimeDelta::microseconds(1);
                assert!(pair[0].quote.as_of < last);
                assert_eq!(pair[0].quote.price, quote(&market, of, last).await.unwrap().price);
            }
            let first = quote(&market, of, moves[0].quote.as_of - TimeDelta::microseconds(1)).await.unwrap();
            assert_eq!(first.price, quote(&market, of, after).await.unwrap().price);
            let last = &moves[moves.len() - 1].quote.price;
            assert_eq!(last, &quote(&market, of, until).await.unwrap().price);
        }
    }
}

#[tokio::test]
async fn moves_are_the_same_whether_asked_for_at_once_or_in_parts() {
    let market = Simulated::new(DEFAULT_SEED);
    let (after, until) = (instant("2026-11-21T03:00:00.5Z"), instant("2026-11-21T06:00:00Z"));
    let at_once = moves(&market, "NVDA", after, until).await;
    let a_move = at_once[1000].quote.as_of;
    for parts in [
        vec![instant("2026-11-21T05:00:00Z")],
        vec![a_move - TimeDelta::microseconds(1), a_move, a_move + TimeDelta::microseconds(1)],
        (1..1000).map(|i| after + TimeDelta::microseconds(10_777_777 * i)).collect(),
    ] {
        // As another process would, which has computed nothing before.
        let market = Simulated::new(DEFAULT_SEED);
        let (mut in_parts, mut begins) = (Vec::new(), after);
        for ends in parts.into_iter().chain([until]) {
            in_parts.extend(moves(&market, "NVDA", begins, ends).await);
            begins = ends;
        }
        assert_eq!(in_parts, at_once);
    }
}

#[tokio::test]
async fn the_moves_of_a_session_are_in_its_bar() {
    let market = Simulated::new(DEFAULT_SEED);
    for (of, date) in [("NVDA", "2026-11-20"), ("XPENY", "2026-03-08"), ("SPY", "2026-11-01")] {
        let bar = bars(&market, of, date, date).await.remove(0);
        let session = Calendar::AroundTheClock.session(day(date)).unwrap();
        let last_instant = session.closes_at - TimeDelta::microseconds(1);
        let moves = moves(&market, of, session.opens_at - TimeDelta::microseconds(1), last_instant).await;
        assert_eq!(moves.len(), 32_769);
        let prices = || moves.iter().map(|moved| &moved.quote.price);
        assert_eq!((prices().next(), prices().next_back()), (Some(&bar.open), Some(&bar.close)));
        assert_eq!((prices().max(), prices().min()), (Some(&bar.high), Some(&bar.low)), "{of} {date}");
    }
}

#[tokio::test]
async fn the_volume_of_moves_adds_up_to_that_of_the_session() {
    let market = Simulated::new(DEFAULT_SEED);
    let session = Calendar::AroundTheClock.session(day("2026-11-20")).unwrap();
    let moves = moves(&market, "KO", session.opens_at, session.closes_at).await;
    let total: u64 = moves.iter().map(|moved| moved.volume.unwrap()).sum();
    assert_eq!(total, bars(&market, "KO", "2026-11-20", "2026-11-20").await[0].volume);
    let largest = moves.iter().map(|moved| moved.volume.unwrap()).max().unwrap();
    assert!(largest < total / 10_000, "{largest} of {total} in one move");
    // In the session, what a quote says is what has moved since the open.
    let half: u64 = moves[..16_000].iter().map(|moved| moved.volume.unwrap()).sum();
    assert_eq!(Some(half), moves[15_999].quote.volume);
}

#[tokio::test]
async fn there_are_no_moves_where_there_is_no_time() {
    let market = Simulated::new(DEFAULT_SEED);
    let aapl = symbol("AAPL");
    let ask = |after: Timestamp, until: Timestamp| market.moves(&aapl, after, until);
    let noon = instant("2026-11-20T17:00:00Z");
    let (least, most) = (DateTime::<Utc>::MIN_UTC.into(), DateTime::<Utc>::MAX_UTC.into());
    for (after, until) in [(noon, noon), (noon, noon - TimeDelta::hours(1)), (most, least)] {
        assert_eq!(ask(after, until).await, Ok(Vec::new()));
    }
    // Nor before the market began, and none can be told after its end.
    let opening = instant("1980-01-01T05:00:00Z");
    let early = ask(opening - TimeDelta::hours(30), opening + TimeDelta::seconds(10)).await.unwrap();
    assert_eq!((early[0].quote.as_of, early[0].volume), (opening, Some(0)));
    let outside = ask(instant("2069-09-18T03:00:00Z"), instant("2069-09-18T04:00:00Z")).await;
    assert!(matches!(outside, Err(QuoteError::Upstream(why)) if why.contains("1980-01-01 to 2069-09-17")));
    for (after, until) in [(least, noon), (least, most), (noon, most), (noon - TimeDelta::days(8), noon)] {
        assert!(matches!(ask(after, until).await, Err(QuoteError::Upstream(why)) if why.contains("7 days")));
    }
    assert_eq!(
        market.moves(&symbol("NOSUCH"), noon, noon + TimeDelta::hours(1)).await,
        Err(QuoteError::UnknownSymbol(symbol("NOSUCH")))
    );
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
    assert_eq!(day::session_on(LAST_DATE), Some(clock::SESSIONS - 1));
    assert_eq!(day::session_on(day("2026-11-01")), Some(ANCHOR_SESSION));
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
