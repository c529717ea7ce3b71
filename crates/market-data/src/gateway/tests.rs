use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use domain::Currency;
use tokio::sync::Semaphore;

use super::*;
use crate::{DEFAULT_SEED, DailySeries, Simulated};

/// A source that answers with the last close before its own time, and counts calls.
struct Counting {
    calls: AtomicUsize,
    /// Each call takes one permit; without permits, calls hang.
    permits: Semaphore,
    refusal: Mutex<Option<QuoteError>>,
}

impl Counting {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            calls: AtomicUsize::new(0),
            permits: Semaphore::new(1_000_000),
            refusal: Mutex::new(None),
        })
    }

    fn refuse(&self, error: Option<QuoteError>) {
        *self.refusal.lock().unwrap() = error;
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    async fn count(&self) -> Result<(), QuoteError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.permits.acquire().await.unwrap().forget();
        self.refusal.lock().unwrap().clone().map_or(Ok(()), Err)
    }
}

#[async_trait]
impl QuoteSource for Counting {
    fn source(&self) -> PriceSource {
        PriceSource::from("counting")
    }

    fn freshness(&self) -> Freshness {
        Freshness::EndOfDay
    }

    fn calendar(&self) -> Calendar {
        Calendar::Xnys
    }

    fn catalogue(&self, _: Timestamp) -> Catalogue {
        Catalogue::OnDemand
    }

    async fn quotes(&self, symbols: &[Symbol], at: Timestamp, _: &Payer) -> Vec<Result<Quote, QuoteError>> {
        let mut answers = Vec::new();
        for symbol in symbols {
            let quote = self.count().await.map(|()| Quote {
                symbol: symbol.clone(),
                price: "100".parse().unwrap(),
                bid: None,
                ask: None,
                previous_close: None,
                volume: None,
                as_of: Calendar::Xnys.last_closed(at).closes_at,
                source: self.source(),
                freshness: Freshness::EndOfDay,
                stale: false,
            });
            answers.push(quote);
        }
        answers
    }

    async fn search(&self, _: &str, _: usize, _: Timestamp, _: &Payer) -> Result<Vec<Listing>, QuoteError> {
        Ok(Vec::new())
    }

    async fn listing(&self, symbol: &Symbol, _: Timestamp, _: &Payer) -> Result<Listing, QuoteError> {
        Ok(Listing {
            symbol: symbol.clone(),
            company_name: String::new(),
            exchange: String::new(),
            sector: String::new(),
            currency: Currency::Usd,
        })
    }

    async fn daily_series(
        &self,
        _: &Symbol,
        first: NaiveDate,
        last: NaiveDate,
        at: Timestamp,
        _: &Payer,
    ) -> Result<DailySeries, QuoteError> {
        self.count().await?;
        let price = |text: &str| text.parse().unwrap();
        let bars: Vec<Bar> = Calendar::Xnys
            .sessions(first.max(day("2026-11-01")), last)
            .filter(|session| session.closes_at <= at)
            .map(|session| Bar {
                date: session.date,
                open: price("1"),
                high: price("1"),
                low: price("1"),
                close: price("1"),
                volume: 1,
            })
            .collect();
        Ok(bars.into())
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

const FRIDAY_MORNING: &str = "2026-11-20T15:00:00Z";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_callers_for_an_uncached_symbol_share_one_call() {
    let source = Counting::new();
    source.permits.forget_permits(1_000_000);
    let gateway = Arc::new(Gateway::new(source.clone()));
    let ask = |at: Timestamp| {
        let gateway = Arc::clone(&gateway);
        tokio::spawn(async move { gateway.quote(&symbol("AAPL"), at).await })
    };
    // First the cache is empty, then its entry has expired.
    for (calls, at) in [(1, instant(FRIDAY_MORNING)), (2, instant("2026-11-24T15:00:00Z"))] {
        let asking: Vec<_> = (0..50).map(|_| ask(at)).collect();
        while source.calls() < calls {
            tokio::task::yield_now().await;
        }
        source.permits.add_permits(1);
        for answer in asking {
            assert!(answer.await.unwrap().is_ok());
        }
        assert_eq!(source.calls(), calls);
    }
}

#[tokio::test]
async fn a_call_continues_after_its_caller_gave_up() {
    let source = Counting::new();
    source.permits.forget_permits(1_000_000);
    let gateway = Gateway::new(source.clone());
    let (aapl, at) = (symbol("AAPL"), instant(FRIDAY_MORNING));
    {
        let impatient = gateway.quote(&aapl, at);
        tokio::pin!(impatient);
        while source.calls() == 0 {
            tokio::select! {
                biased;
                _ = &mut impatient => panic!("nothing has answered yet"),
                () = tokio::task::yield_now() => {}
            }
        }
    }
    source.permits.add_permits(1);
    assert!(gateway.quote(&aapl, at).await.is_ok());
    assert_eq!(source.calls(), 1);
}

#[tokio::test]
async fn a_close_is_requested_once_per_session() {
    let source = Counting::new();
    let gateway = Gateway::new(source.clone());
    let aapl = symbol("AAPL");
    for (at, calls) in [
        (FRIDAY_MORNING, 1),
        ("2026-11-20T21:29:59Z", 1),
        ("2026-11-20T21:30:00Z", 2),
        ("2026-11-22T12:00:00Z", 2),
        ("2026-11-23T21:29:00Z", 2),
        ("2026-11-23T21:31:00Z", 3),
    ] {
        assert!(!gateway.quote(&aapl, instant(at)).await.unwrap().as_traded().stale);
        assert_eq!(source.calls(), calls, "{at}");
    }
}

#[tokio::test]
async fn each_symbol_has_an_answer_and_cached_ones_are_not_requested() {
    let source = Counting::new();
    let gateway = Gateway::new(source.clone());
    let at = instant(FRIDAY_MORNING);
    gateway.quote(&symbol("AAPL"), at).await.unwrap();
    let asked = [symbol("AAPL"), symbol("MSFT"), symbol("MSFT"), symbol("IBM")];
    let answers = gateway.quotes(Purpose::Interactive, &asked, at).await;
    assert!(answers.len() == 4 && answers.iter().all(Result::is_ok));
    assert_eq!(source.calls(), 3);
}

#[tokio::test]
async fn errors_are_cached_for_a_while() {
    let source = Counting::new();
    let gateway = Gateway::new(source.clone());
    let (aapl, at) = (symbol("AAPL"), instant(FRIDAY_MORNING));
    source.refuse(Some(QuoteError::Unreachable));
    assert_eq!(gateway.quote(&aapl, at).await, Err(QuoteError::Unreachable));
    source.refuse(None);
    assert_eq!(gateway.quote(&aapl, at + TimeDelta::seconds(29)).await, Err(QuoteError::Unreachable));
    assert_eq!(source.calls(), 1);
    assert!(gateway.quote(&aapl, at + TimeDelta::seconds(30)).await.is_ok());

    let unknown = QuoteError::UnknownSymbol(symbol("NOSUCH"));
    source.refuse(Some(unknown.clone()));
    assert_eq!(gateway.quote(&symbol("NOSUCH"), at).await, Err(unknown.clone()));
    let hours = |hours| at + TimeDelta::hours(hours);
    assert_eq!(gateway.quote(&symbol("NOSUCH"), hours(23)).await, Err(unknown));
    assert_eq!(source.calls(), 3);
    source.refuse(None);
    assert!(gateway.quote(&symbol("NOSUCH"), hours(24)).await.is_ok());
}

#[tokio::test]
async fn no_more_symbols_are_requested_after_a_rate_limit() {
    let source = Counting::new();
    let gateway = Gateway::new(source.clone());
    let at = instant(FRIDAY_MORNING);
    gateway.quote(&symbol("KO"), at).await.unwrap();
    let limit = QuoteError::RateLimited { retry_at: Some((at + TimeDelta::seconds(2)).utc()) };
    source.refuse(Some(limit.clone()));
    let asked = [symbol("AAPL"), symbol("KO"), symbol("MSFT")];
    let answers = gateway.quotes(Purpose::Interactive, &asked, at).await;
    assert_eq!(source.calls(), 2);
    assert!(answers[1].is_ok());
    assert_eq!([&answers[0], &answers[2]], [&Err(limit.clone()), &Err(limit)]);
    source.refuse(None);
    let later = at + TimeDelta::seconds(2);
    assert!(gateway.quotes(Purpose::Interactive, &asked, later).await.iter().all(Result::is_ok));
}

#[tokio::test]
async fn one_call_serves_charts_of_any_length() {
    let source = Counting::new();
    let gateway = Gateway::new(source.clone());
    let (ko, at) = (symbol("KO"), instant(FRIDAY_MORNING));
    let count = async |first, last| {
        gateway.daily_bars(Purpose::Interactive, &ko, day(first), day(last), at).await.unwrap().len()
    };
    assert_eq!(count("2026-11-16", "2026-11-20").await, 4);
    assert_eq!(count("2026-11-02", "2026-11-30").await, 14);
    assert_eq!(count("2026-11-21", "2026-11-22").await, 0);
    assert_eq!(source.calls(), 1);
    let next = instant("2026-11-20T21:31:00Z");
    assert_eq!(
        gateway
            .daily_bars(Purpose::Interactive, &ko, day("2026-11-16"), day("2026-11-20"), next)
            .await
            .unwrap()
            .len(),
        5
    );
    assert_eq!(source.calls(), 2);
}

#[tokio::test]
async fn a_cached_price_is_a_move_of_its_interval() {
    let source = Counting::new();
    let gateway = Gateway::new(source.clone());
    let aapl = symbol("AAPL");
    let close = instant("2026-11-19T21:00:00Z");
    let before = close - TimeDelta::microseconds(1);
    let moves = async |after, until| gateway.moves(&aapl, after, instant(until)).await.unwrap();
    let quote = gateway.quote(&aapl, instant(FRIDAY_MORNING)).await.unwrap().into_as_traded();
    assert_eq!(moves(before, FRIDAY_MORNING).await, [PriceMove { quote, volume: None }.into()]);
    assert_eq!(moves(close, FRIDAY_MORNING).await, []);
    assert_eq!(source.calls(), 1);
    // The source's own method returns the same as the gateway's cache.
    assert_eq!(
        source.moves(&aapl, before, instant(FRIDAY_MORNING), &Payer::unlimited()).await.unwrap().len(),
        1
    );
    assert_eq!(source.moves(&aapl, close, instant(FRIDAY_MORNING), &Payer::unlimited()).await.unwrap(), []);
    source.refuse(Some(QuoteError::Unreachable));
    assert_eq!(source.moves(&aapl, before, close, &Payer::unlimited()).await, Err(QuoteError::Unreachable));
}

#[tokio::test]
async fn the_simulated_market_is_called_each_time() {
    let gateway = Gateway::new(Arc::new(Simulated::new(DEFAULT_SEED)));
    let quote = async |at| gateway.quote(&symbol("AAPL"), instant(at)).await.unwrap().into_as_traded();
    let (morning, noon) = (quote("2026-11-20T15:00:00Z").await, quote("2026-11-20T17:00:00Z").await);
    assert_ne!(morning.price, noon.price);
    assert_eq!((gateway.freshness(), gateway.calendar()), (Freshness::Simulated, Calendar::AroundTheClock));
    assert!(matches!(gateway.catalogue(instant(FRIDAY_MORNING)), Catalogue::Complete(_)));
    let (after, until) = (instant("2026-11-20T15:00:00Z"), instant("2026-11-20T15:10:00Z"));
    assert!(gateway.moves(&symbol("AAPL"), after, until).await.unwrap().len() > 100);
}
