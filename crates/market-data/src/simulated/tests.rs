use chrono::{DateTime, Days, TimeDelta, Utc};
use domain::{CorporateActionKind, SplitHistory};

use super::clock::SESSIONS;
use super::*;

mod versions;

/// A payer that allows all calls.
static FREE: Payer = Payer::unlimited();

impl Simulated {
    async fn daily_bars(
        &self,
        symbol: &Symbol,
        first: NaiveDate,
        last: NaiveDate,
        at: Timestamp,
    ) -> Result<Vec<Bar>, QuoteError> {
        Ok(self.daily_series(symbol, first, last, at, &FREE).await?.bars)
    }
}

fn instant(text: &str) -> Timestamp {
    text.parse::<DateTime<Utc>>().unwrap().into()
}

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn symbol(text: &str) -> Symbol {
    text.parse().unwrap()
}

fn v1() -> Simulated {
    Simulated::with_seed(SimulatedModel::V1, DEFAULT_SEED)
}

async fn quote(market: &Simulated, of: &str, at: Timestamp) -> Result<Quote, QuoteError> {
    market.quotes(&[symbol(of)], at, &FREE).await.remove(0)
}

async fn price(market: &Simulated, of: &str, at: &str) -> String {
    quote(market, of, instant(at)).await.unwrap().price.to_string()
}

/// The tenths of a second after `begins` at which the price differs from the previous one.
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

/// The bars in the shares that exist at noon of that day.
fn split_adjusted(bars: Vec<Bar>, actions: &[CorporateAction], on: &str) -> Vec<Bar> {
    let history = SplitHistory::of_actions(actions, Calendar::AroundTheClock);
    let noon = Calendar::AroundTheClock.session(day(on)).unwrap().opens_at + TimeDelta::hours(12);
    history.convert_bars(bars, Calendar::AroundTheClock, noon)
}

#[tokio::test]
async fn prices_never_change() {
    // These prices were computed independently by a Python program.
    let market = v1();
    for (of, at, expected) in [
        ("AAPL", "2026-11-22T15:30:00Z", "243.42"),
        ("SPY", "2026-11-22T15:30:00Z", "580.35"),
        ("BRK.B", "2026-11-22T15:30:00.123456Z", "450.41"),
        ("XPENY", "2026-11-22T15:30:00Z", "0.3643"),
        ("QQQ", "2020-03-16T12:00:00Z", "425.94"),
        ("KO", "1985-07-04T00:00:00Z", "47.83"),
        ("TSLA", "2060-02-29T23:59:59Z", "0.9171"),
        ("XOM", "1980-01-01T05:00:00Z", "75.09"),
        ("AAPL", "2020-08-31T03:59:59Z", "603.54"),
        ("AAPL", "2020-08-31T04:00:00Z", "150.88"),
        ("NFLX", "2026-12-07T04:59:59.999999Z", "878.15"),
        ("NFLX", "2026-12-07T05:00:00Z", "87.81"),
        ("XWATT", "2069-09-18T03:59:59.999999Z", "57.72"),
    ] {
        assert_eq!(price(&market, of, at).await, expected, "{of} at {at}");
    }
    assert_ne!(
        price(&Simulated::with_seed(SimulatedModel::V1, 1), "AAPL", "2026-11-22T15:30:00Z").await,
        "243.42"
    );
}

/// FNV-1a, 64 bits.
fn digest(texts: impl IntoIterator<Item = String>) -> u64 {
    texts
        .into_iter()
        .flat_map(String::into_bytes)
        .fold(0xCBF2_9CE4_8422_2325, |key, byte| (key ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3))
}

fn quote_text(quote: &Quote) -> String {
    let Quote { symbol, price, bid, ask, previous_close, volume, as_of, stale, .. } = quote;
    format!("{symbol} {price} {bid:?} {ask:?} {previous_close:?} {volume:?} {as_of} {stale}\n")
}

fn bar_text(Bar { date, open, high, low, close, volume }: &Bar) -> String {
    format!("{date} {open} {high} {low} {close} {volume}\n")
}

fn action_text(CorporateAction { id, kind, .. }: &CorporateAction) -> String {
    let what = match kind {
        CorporateActionKind::Split { numerator, denominator } => format!("{numerator}:{denominator}"),
        CorporateActionKind::CashDividend { amount, pays_on } => format!("{amount} on {pays_on}"),
        CorporateActionKind::SymbolChange { to } => to.to_string(),
        CorporateActionKind::Delisting | CorporateActionKind::CloseOut(_) => String::new(),
    };
    format!("{id} {what}\n")
}

#[tokio::test]
async fn the_first_version_is_unchanged() {
    // Digests of every instrument over all of time. An intended change of these digests requires a new version in the
    // name of the source.
    let market = v1();
    let (mut quotes, mut all_bars, mut all_moves, mut all_actions) = (vec![], vec![], vec![], vec![]);
    for (number, row) in (0_u32..).zip(INSTRUMENTS) {
        for step in 0..60 {
            let seconds = TimeDelta::seconds(45_000_000 * step + 1_234_567 * i64::from(number));
            let at = instant("1980-01-01T05:00:00Z") + seconds;
            quotes.push(quote_text(&quote(&market, row.symbol, at).await.unwrap()));
        }
        let date = day("1980-01-01") + Days::new(u64::from(number) * 499);
        let [first, last, later] = [date, date + Days::new(3), date + Days::new(1000)].map(|d| d.to_string());
        all_bars.extend(bars(&market, row.symbol, &first, &last).await.iter().map(bar_text));
        let after = instant("2026-12-06T05:00:00Z") + TimeDelta::hours(number.into());
        for PriceMove { quote, volume } in
            moves(&market, row.symbol, after, after + TimeDelta::minutes(5)).await
        {
            all_moves.push(format!("{volume:?} {}", quote_text(&quote)));
        }
        let found = actions(&market, row.symbol, [&first, &later], "2069-09-17T12:00:00Z").await;
        all_actions.extend(found.iter().map(action_text));
    }
    let digests = [digest(quotes), digest(all_bars), digest(all_moves), digest(all_actions)];
    assert_eq!(
        digests,
        [
            11_909_814_243_746_172_567,
            4_281_349_040_003_433_726,
            10_725_315_734_995_943_880,
            8_860_248_340_136_385_919,
        ]
    );
}

#[tokio::test]
async fn a_quote_has_both_sides_volume_and_the_close_before() {
    let market = v1();
    let at = instant("2026-11-22T15:30:00.000001Z");
    let quote = quote(&market, "AAPL", at).await.unwrap();
    assert_eq!(
        (quote.as_of, quote.freshness, quote.stale, quote.source.as_str()),
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
    let market = v1();
    for (of, date) in [("NVDA", "2024-06-10"), ("XPENY", "2026-03-08"), ("SPY", "2026-11-01")] {
        let bar = bars(&market, of, date, date).await.remove(0);
        let session = Calendar::AroundTheClock.session(day(date)).unwrap();
        let (mut seen, mut volume) = (Vec::new(), 0);
        let mut at = session.opens_at;
        while at < session.closes_at {
            let quote = quote(&market, of, at).await.unwrap();
            assert!(quote.volume.unwrap() >= volume);
            volume = quote.volume.unwrap();
            seen.push(quote.price);
            // This is shorter than the shortest time for which a price stays the same.
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
async fn the_price_of_a_liquid_stock_changes_every_few_seconds() {
    let market = v1();
    // One hour in which the exchanges are open, and one at night.
    for begins in ["2026-11-20T15:00:00Z", "2026-11-20T07:00:00Z"] {
        for of in ["AAPL", "NVDA", "SPY"] {
            let changes = changes_in_ten_minutes(&market, of, begins).await.len();
            assert!((20..300).contains(&changes), "{of} changes {changes} times from {begins}");
        }
    }
}

#[tokio::test]
async fn prices_do_not_all_change_at_the_same_instants() {
    let market = v1();
    let begins = "2026-11-20T15:00:00Z";
    let aapl = changes_in_ten_minutes(&market, "AAPL", begins).await;
    let msft = changes_in_ten_minutes(&market, "MSFT", begins).await;
    assert!(!msft.is_empty() && !aapl.iter().any(|tenth| msft.contains(tenth)), "{aapl:?} and {msft:?}");
}

async fn moves(market: &Simulated, of: &str, after: Timestamp, until: Timestamp) -> Vec<PriceMove> {
    market.moves(&symbol(of), after, until, &FREE).await.unwrap()
}

#[tokio::test]
async fn moves_are_the_quotes_at_each_change_of_the_price() {
    let market = v1();
    // At noon, over midnight, and over the end of daylight saving time.
    for begins in ["2026-11-20T17:00:00Z", "2026-11-21T04:45:00Z", "2026-11-01T05:50:00Z"] {
        for of in ["AAPL", "XPENY", "SPY", "XLAST"] {
            let (after, until) = (instant(begins), instant(begins) + TimeDelta::minutes(30));
            let moves = moves(&market, of, after, until).await;
            assert!((300..1300).contains(&moves.len()), "{} moves of {of} from {begins}", moves.len());
            for PriceMove { quote: moved, .. } in &moves {
                assert!(after < moved.as_of && moved.as_of <= until);
                assert_eq!(moved, &quote(&market, of, moved.as_of).await.unwrap());
            }
            // The price of a move stays valid until the next move.
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
async fn moves_are_the_same_in_one_request_or_several() {
    let market = v1();
    let (after, until) = (instant("2026-11-21T03:00:00.5Z"), instant("2026-11-21T06:00:00Z"));
    let at_once = moves(&market, "NVDA", after, until).await;
    let a_move = at_once[1000].quote.as_of;
    for parts in [
        vec![instant("2026-11-21T05:00:00Z")],
        vec![a_move - TimeDelta::microseconds(1), a_move, a_move + TimeDelta::microseconds(1)],
        (1..1000).map(|i| after + TimeDelta::microseconds(10_777_777 * i)).collect(),
    ] {
        // A new market has an empty cache, like another process.
        let market = v1();
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
    let market = v1();
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
    let market = v1();
    let session = Calendar::AroundTheClock.session(day("2026-11-20")).unwrap();
    let moves = moves(&market, "KO", session.opens_at, session.closes_at).await;
    let total: u64 = moves.iter().map(|moved| moved.volume.unwrap()).sum();
    assert_eq!(total, bars(&market, "KO", "2026-11-20", "2026-11-20").await[0].volume);
    let largest = moves.iter().map(|moved| moved.volume.unwrap()).max().unwrap();
    assert!(largest < total / 10_000, "{largest} of {total} in one move");
    // The volume of a quote is that of all moves since the open.
    let half: u64 = moves[..16_000].iter().map(|moved| moved.volume.unwrap()).sum();
    assert_eq!(Some(half), moves[15_999].quote.volume);
}

#[tokio::test]
async fn an_empty_interval_has_no_moves() {
    let market = v1();
    let aapl = symbol("AAPL");
    let ask = |after: Timestamp, until: Timestamp| market.moves(&aapl, after, until, &FREE);
    let noon = instant("2026-11-20T17:00:00Z");
    let (least, most) = (DateTime::<Utc>::MIN_UTC.into(), DateTime::<Utc>::MAX_UTC.into());
    for (after, until) in [(noon, noon), (noon, noon - TimeDelta::hours(1)), (most, least)] {
        assert_eq!(ask(after, until).await, Ok(Vec::new()));
    }
    // There are no moves before the market began, and none after its end.
    let opening = instant("1980-01-01T05:00:00Z");
    let early = ask(opening - TimeDelta::hours(30), opening + TimeDelta::seconds(10)).await.unwrap();
    assert_eq!((early[0].quote.as_of, early[0].volume), (opening, Some(0)));
    let outside = ask(instant("2069-09-18T03:00:00Z"), instant("2069-09-18T04:00:00Z")).await;
    assert!(matches!(outside, Err(QuoteError::Upstream(why)) if why.contains("1980-01-01 to 2069-09-17")));
    for (after, until) in [(least, noon), (least, most), (noon, most), (noon - TimeDelta::days(8), noon)] {
        assert!(matches!(ask(after, until).await, Err(QuoteError::Upstream(why)) if why.contains("7 days")));
    }
    assert_eq!(
        market.moves(&symbol("NOSUCH"), noon, noon + TimeDelta::hours(1), &FREE).await,
        Err(QuoteError::UnknownSymbol(symbol("NOSUCH")))
    );
}

#[tokio::test]
async fn the_order_of_requests_does_not_matter() {
    let instants = ["2026-11-22T15:30:00Z", "1985-01-02T09:00:00Z", "2026-11-21T04:00:00Z"];
    let one = v1();
    let mut forwards = Vec::new();
    for at in instants {
        forwards.push(price(&one, "MSFT", at).await);
    }
    bars(&one, "ORCL", "2026-10-01", "2026-11-22").await;
    let other = v1();
    bars(&other, "MSFT", "2026-10-01", "2026-11-22").await;
    for (at, expected) in instants.into_iter().zip(forwards).rev() {
        assert_eq!(price(&other, "MSFT", at).await, expected);
        assert_eq!(price(&one, "MSFT", at).await, expected);
    }
}

#[tokio::test]
async fn history_reaches_from_1980_to_2069_and_no_further() {
    let market = v1();
    assert_eq!(market.model.sessions().on(LAST_DATE), Some(SESSIONS - 1));
    assert_eq!(market.model.sessions().on(ANCHOR_DATE), Some(17_106));
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
async fn a_day_has_a_bar_after_its_close() {
    let market = v1();
    let spy = symbol("SPY");
    let until = |at| market.daily_bars(&spy, day("2026-11-20"), day("2026-12-31"), at);
    assert_eq!(until(instant("2026-11-23T04:59:59Z")).await.unwrap().len(), 2);
    assert_eq!(until(instant("2026-11-23T05:00:00Z")).await.unwrap().len(), 3);
}

#[tokio::test]
async fn prices_at_the_anchor_are_those_of_the_catalog() {
    let market = Simulated::with_seed(SimulatedModel::V1, 77);
    for row in INSTRUMENTS {
        assert_eq!(
            price(&market, row.symbol, "2026-11-01T04:00:00Z").await,
            price::on_tick(row.price).to_string()
        );
    }
}

async fn actions(market: &Simulated, of: &str, [first, last]: [&str; 2], at: &str) -> Vec<CorporateAction> {
    market.corporate_actions(&symbol(of), day(first), day(last), instant(at), &FREE).await.unwrap()
}

#[tokio::test]
async fn the_price_falls_by_a_dividend_when_its_session_opens() {
    let market = v1();
    let year = ["2026-11-01", "2027-10-31"];
    let found = actions(&market, "KO", year, "2027-11-01T12:00:00Z").await;
    let reported: Vec<_> =
        found.iter().map(|action| (action.id.as_str(), action.ex_on.to_string())).collect();
    let expected = ["2026-11-16", "2027-02-16", "2027-05-16", "2027-08-16"];
    assert_eq!(reported.len(), expected.len());
    for (action, ex_on) in found.iter().zip(expected) {
        assert_eq!(action.id.as_str(), format!("KO/{ex_on}/cash_dividend"));
        let CorporateActionKind::CashDividend { amount, pays_on } = &action.kind else {
            panic!("{action:?}")
        };
        assert_eq!(*pays_on, day(ex_on) + Days::new(15));
        let opens_at = Calendar::AroundTheClock.session(day(ex_on)).unwrap().opens_at;
        let before = quote(&market, "KO", opens_at - TimeDelta::microseconds(1)).await.unwrap();
        let after = quote(&market, "KO", opens_at).await.unwrap();
        let fallen = before.price.to_f64() - after.price.to_f64();
        assert!((fallen - amount.to_f64()).abs() <= 0.01, "{fallen} for {amount}");
        // A quarter of 3.1 %.
        assert!((amount.to_f64() / before.price.to_f64() - 0.00775).abs() < 0.0002, "{amount}");
        assert_eq!(after.previous_close, Some(before.price));
    }
    assert_eq!(actions(&market, "NVDA", year, "2027-11-01T12:00:00Z").await, []);
}

#[tokio::test]
async fn reinvested_dividends_make_up_the_total_return() {
    let market = v1();
    let (first, last) = ("2006-11-01", "2026-10-31");
    for of in ["KO", "F", "WMT", "GE", "SPY"] {
        let (mut shares, mut ex_dates) = (1.0, 0);
        for action in actions(&market, of, [first, last], "2026-11-01T12:00:00Z").await {
            let before = action.ex_on.pred_opt().unwrap().to_string();
            match &action.kind {
                CorporateActionKind::Split { numerator, denominator } => {
                    shares *= f64::from(numerator.get()) / f64::from(denominator.get());
                }
                CorporateActionKind::CashDividend { amount, .. } => {
                    ex_dates += 1;
                    let open =
                        bars(&market, of, &before, &before).await.remove(0).close.to_f64() - amount.to_f64();
                    shares *= 1.0 + amount.to_f64() / open;
                }
                other => panic!("{of}: {other:?}"),
            }
        }
        assert_eq!(ex_dates, 80, "{of}");
        let price = async |date| bars(&market, of, date, date).await.remove(0).open.to_f64();
        let reinvested = shares * price(last).await / price(first).await;
        let index = market.index(&symbol(of), 0).unwrap();
        let [begin, end] = [first, last].map(|date| market.model.sessions().on(day(date)).unwrap());
        let total = market.paths.total_return(index, begin, end);
        assert!((reinvested / total - 1.0).abs() < 0.005, "{of}: {reinvested} instead of {total}");
    }
}

#[tokio::test]
async fn a_split_divides_the_price_and_multiplies_the_volume() {
    let market = v1();
    let opens_at = instant("2026-12-07T05:00:00Z");
    let before = quote(&market, "NFLX", opens_at - TimeDelta::microseconds(1)).await.unwrap();
    let after = quote(&market, "NFLX", opens_at).await.unwrap();
    assert_eq!(
        (before.price.to_string(), after.price.to_string()),
        ("878.15".to_owned(), "87.81".to_owned())
    );
    // The previous close is in new shares, so that the change of the day is that of the market.
    assert_eq!(after.previous_close, Some(after.price));
    let raw = bars(&market, "NFLX", "2026-11-23", "2026-12-20").await;
    let volume = |bars: &[Bar]| bars.iter().map(|bar| bar.volume).sum::<u64>() / bars.len() as u64;
    let ratio = volume(&raw[14..]) as f64 / volume(&raw[..14]) as f64;
    assert!((5.0..20.0).contains(&ratio), "{ratio}");

    let found = actions(&market, "NFLX", ["2026-11-01", "2026-12-31"], "2026-12-31T12:00:00Z").await;
    assert_eq!(found.iter().map(|action| action.id.as_str()).collect::<Vec<_>>(), ["NFLX/2026-12-07/split"]);
    let adjusted = split_adjusted(raw, &found, "2026-12-20");
    for pair in adjusted.windows(2) {
        let gap = pair[0].close.to_f64() - pair[1].open.to_f64();
        assert!(gap.abs() < 0.011, "{} after {}", pair[1].open, pair[0].close);
    }
}

#[tokio::test]
async fn past_prices_are_in_the_shares_before_all_later_splits() {
    let market = v1();
    let found = actions(&market, "AAPL", ["2014-01-01", "2021-12-31"], "2026-11-01T12:00:00Z").await;
    let splits: Vec<CorporateAction> =
        found.into_iter().filter(|action| matches!(action.kind, CorporateActionKind::Split { .. })).collect();
    assert_eq!(
        splits.iter().map(|action| action.id.as_str()).collect::<Vec<_>>(),
        ["AAPL/2014-06-09/split", "AAPL/2020-08-31/split"]
    );
    let raw = bars(&market, "AAPL", "2014-06-08", "2014-06-08").await;
    let adjusted = split_adjusted(raw.clone(), &splits, "2026-11-01");
    let ratio = raw[0].close.to_f64() / adjusted[0].close.to_f64();
    assert!((ratio - 28.0).abs() < 0.05, "{ratio}");
}

#[tokio::test]
async fn a_new_symbol_is_valid_from_its_first_session_and_the_old_one_finds_it() {
    let market = v1();
    let (old, new) = (symbol("XCOAX"), symbol("XFIBR"));
    let (eve, morning) = (instant("2026-12-14T04:59:59Z"), instant("2026-12-14T05:00:00Z"));
    let asked = [old.clone(), new.clone()];
    let before = market.quotes(&asked, eve, &FREE).await;
    assert_eq!(before[0].as_ref().unwrap().symbol, old);
    assert_eq!(before[1], Err(QuoteError::UnknownSymbol(new.clone())));
    let after = market.quotes(&asked, morning, &FREE).await;
    assert_eq!(after[0].as_ref().unwrap(), after[1].as_ref().unwrap());
    assert_eq!(after[1].as_ref().unwrap().symbol, new);
    // The history of the stock covers both symbols.
    let history = |of, at| market.daily_bars(of, day("2026-12-01"), day("2026-12-13"), at);
    assert_eq!(history(&new, morning).await.unwrap(), history(&old, morning).await.unwrap());
    assert_eq!(history(&new, morning).await.unwrap().len(), 13);
    assert!(history(&new, eve).await.is_err());
    let symbols =
        |moves: Vec<PriceMove>| moves.into_iter().map(|moved| moved.quote.symbol).collect::<Vec<_>>();
    let night = [eve - TimeDelta::minutes(1), morning + TimeDelta::minutes(1)];
    let mut names = symbols(market.moves(&new, night[0], night[1], &FREE).await.unwrap());
    names.dedup();
    assert_eq!(names, asked);

    let names =
        async |of: &Symbol, at| market.listing(of, at, &FREE).await.map(|listing| listing.company_name);
    assert_eq!(names(&old, eve).await.unwrap(), "Coaxial Games (invented)");
    assert_eq!(names(&old, morning).await.unwrap(), "Fibre Optic Games (invented)");
    assert_eq!(market.search("fibre optic", 5, morning, &FREE).await.unwrap()[0].symbol, new);
    assert_eq!(market.search("fibre optic", 5, eve, &FREE).await.unwrap(), []);

    let reported = actions(&market, "XFIBR", ["2026-12-10", "2026-12-20"], "2026-12-20T12:00:00Z").await;
    let change = CorporateActionKind::SymbolChange { to: new.clone() };
    assert_eq!(reported, [CorporateAction::new(old.clone(), day("2026-12-14"), change)]);
    assert_eq!(
        reported,
        actions(&market, "XCOAX", ["2026-12-10", "2026-12-20"], "2026-12-20T12:00:00Z").await
    );
}

#[tokio::test]
async fn a_delisted_stock_keeps_its_last_price() {
    let market = v1();
    let ends_at = instant("2027-01-11T05:00:00Z");
    let last_instant = ends_at - TimeDelta::microseconds(1);
    let last = quote(&market, "XLAST", last_instant).await.unwrap();
    assert!(!last.stale && last.bid.is_some());
    for later in [ends_at, ends_at + TimeDelta::days(10_000)] {
        let quote = quote(&market, "XLAST", later).await.unwrap();
        assert_eq!((quote.price, quote.as_of, quote.stale), (last.price.clone(), last_instant, true));
        assert_eq!((quote.bid, quote.ask), (None, None));
    }
    let days = bars(&market, "XLAST", "2027-01-08", "2027-02-01").await;
    assert_eq!(
        days.iter().map(|bar| bar.date).collect::<Vec<_>>(),
        ["2027-01-08", "2027-01-09", "2027-01-10"].map(day)
    );
    assert_eq!(days[2].close, last.price);
    let moved = moves(&market, "XLAST", ends_at - TimeDelta::minutes(5), ends_at + TimeDelta::days(1)).await;
    assert_eq!(moved.last().unwrap().quote.price, last.price);
    assert!(moved.last().unwrap().quote.as_of < ends_at && moved.len() > 50);

    let listed = async |at| {
        let Catalogue::Complete(all) = market.catalogue(at) else { panic!("the catalogue is complete") };
        all.iter().any(|listing| listing.symbol == symbol("XLAST"))
    };
    assert!(listed(last_instant).await && !listed(ends_at).await);
    assert!(matches!(
        market.listing(&symbol("XLAST"), ends_at, &FREE).await,
        Err(QuoteError::NotTradable { .. })
    ));
    assert_eq!(market.search("XLAST", 5, ends_at, &FREE).await.unwrap(), []);
    let reported = actions(&market, "XLAST", ["2027-01-01", "2069-01-01"], "2068-12-20T12:00:00Z").await;
    assert_eq!(
        reported,
        [CorporateAction::new(symbol("XLAST"), day("2027-01-11"), CorporateActionKind::Delisting)]
    );
}

#[tokio::test]
async fn splits_are_announced_two_weeks_ahead_and_dividends_are_not() {
    let market = v1();
    let year = ["2026-11-01", "2027-10-31"];
    let reported = async |of, at| actions(&market, of, year, at).await.len();
    assert_eq!(reported("NFLX", "2026-11-23T04:59:59Z").await, 0);
    assert_eq!(reported("NFLX", "2026-11-23T05:00:00Z").await, 1);
    // The amount would reveal tomorrow's price.
    assert_eq!(reported("KO", "2026-11-16T04:59:59Z").await, 0);
    assert_eq!(reported("KO", "2026-11-16T05:00:00Z").await, 1);
}

#[tokio::test]
async fn unknown_symbols_are_distinguished_from_known_ones() {
    let market = v1();
    let asked = [symbol("AAPL"), symbol("NOSUCH")];
    let answers = market.quotes(&asked, instant("2026-11-22T12:00:00Z"), &FREE).await;
    assert!(answers[0].is_ok());
    assert_eq!(answers[1], Err(QuoteError::UnknownSymbol(asked[1].clone())));
    let at = instant("2026-11-22T12:00:00Z");
    assert!(market.listing(&asked[1], at, &FREE).await.is_err());
    assert!(
        market.corporate_actions(&asked[1], day("2026-01-01"), day("2026-02-01"), at, &FREE).await.is_err()
    );
    let nothing =
        market.daily_bars(&asked[1], day("2026-01-01"), day("2026-02-01"), instant("2026-11-22T12:00:00Z"));
    assert!(nothing.await.is_err());
}

#[tokio::test]
async fn a_search_for_app_finds_apple_first() {
    let market = v1();
    let at = instant("2026-11-22T12:00:00Z");
    let found = market.search("app", 5, at, &FREE).await.unwrap();
    assert_eq!(found[0].symbol, symbol("AAPL"));
    assert_eq!(found[0], market.listing(&symbol("AAPL"), at, &FREE).await.unwrap());
    let Catalogue::Complete(all) = market.catalogue(at) else { panic!("the catalogue is complete") };
    assert_eq!(all.len(), INSTRUMENTS.len());
}
