//! Prices that differ too much from the last accepted one: they are held back, shown, and confirmed or not, by all
//! processes together.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use chrono::{NaiveDate, TimeDelta};
use domain::plausibility::{Doubt, UnconfirmedPrice};
use domain::{
    AsTraded, Bar, Calendar, CorporateAction, CorporateActionKind, Freshness, Listing, PriceSource, Quote,
    SplitHistory, Symbol, Timestamp,
};
use market_data::{
    BreakerRules, BudgetStore, Catalogue, DailySeries, Gateway, InMemoryBudget, Limits, Payer, Purpose,
    QuoteError, QuoteSource, Rules,
};

use super::{GatewayQuotes, day, instant, price, symbol};

/// 10:00 in New York on a Friday.
const MORNING: &str = "2026-11-20T15:00:00Z";

/// A live source that reports the prices set by the test. Clones share it.
#[derive(Clone, Default)]
struct Scripted(Arc<Mutex<Script>>);

#[derive(Default)]
struct Script {
    price: String,
    previous_close: Option<String>,
    /// The closes by session.
    closes: Vec<(&'static str, String)>,
    doubtful: Option<(&'static str, String)>,
    splits: Vec<(&'static str, u32, u32)>,
}

impl Scripted {
    fn tells(&self, price: &str) {
        self.0.lock().unwrap().price = price.to_owned();
    }

    fn script(&self) -> std::sync::MutexGuard<'_, Script> {
        self.0.lock().unwrap()
    }
}

fn bar((date, close): &(&'static str, String)) -> Bar {
    let close = price(close);
    let [open, high, low] = [&close; 3].map(Clone::clone);
    Bar { date: day(date), open, high, low, close, volume: 1 }
}

fn split((on, numerator, denominator): &(&'static str, u32, u32)) -> CorporateAction {
    let side = |side: u32| NonZeroU32::new(side).unwrap();
    let kind = CorporateActionKind::Split { numerator: side(*numerator), denominator: side(*denominator) };
    CorporateAction::new(symbol("AAPL"), day(on), kind)
}

#[async_trait]
impl QuoteSource for Scripted {
    fn source(&self) -> PriceSource {
        PriceSource::from("scripted")
    }

    fn freshness(&self) -> Freshness {
        Freshness::Realtime
    }

    fn calendar(&self) -> Calendar {
        Calendar::Xnys
    }

    fn catalogue(&self, _: Timestamp) -> Catalogue {
        Catalogue::OnDemand
    }

    async fn quotes(&self, symbols: &[Symbol], at: Timestamp, _: &Payer) -> Vec<Result<Quote, QuoteError>> {
        let script = self.script();
        let quote = |symbol: &Symbol| Quote {
            symbol: symbol.clone(),
            price: price(&script.price),
            bid: None,
            ask: None,
            previous_close: script.previous_close.as_deref().map(price),
            volume: None,
            as_of: at,
            source: self.source(),
            freshness: Freshness::Realtime,
            stale: false,
        };
        symbols.iter().map(|symbol| Ok(quote(symbol))).collect()
    }

    async fn search(&self, _: &str, _: usize, _: Timestamp, _: &Payer) -> Result<Vec<Listing>, QuoteError> {
        Ok(Vec::new())
    }

    async fn listing(&self, symbol: &Symbol, _: Timestamp, _: &Payer) -> Result<Listing, QuoteError> {
        Err(QuoteError::UnknownSymbol(symbol.clone()))
    }

    async fn daily_series(
        &self,
        _: &Symbol,
        first: NaiveDate,
        last: NaiveDate,
        _: Timestamp,
        _: &Payer,
    ) -> Result<DailySeries, QuoteError> {
        let script = self.script();
        let bars = script.closes.iter().map(bar).filter(|bar| (first..=last).contains(&bar.date)).collect();
        Ok(DailySeries { bars, doubtful: script.doubtful.as_ref().map(bar) })
    }

    async fn corporate_actions(
        &self,
        _: &Symbol,
        first: NaiveDate,
        last: NaiveDate,
        _: Timestamp,
        _: &Payer,
    ) -> Result<Vec<CorporateAction>, QuoteError> {
        let told = self.script().splits.iter().map(split).collect::<Vec<_>>();
        Ok(told.into_iter().filter(|action| (first..=last).contains(&action.ex_on)).collect())
    }
}

/// Two processes with one store and one clock.
struct Deployment {
    source: Scripted,
    store: Arc<InMemoryBudget>,
    processes: [Gateway; 2],
    seconds: AtomicUsize,
}

impl Deployment {
    /// A deployment in which the price of AAPL is 100.00 and accepted.
    async fn at_a_hundred() -> Self {
        let (source, store) = (Scripted::default(), Arc::<InMemoryBudget>::default());
        source.tells("100.00");
        let process = || {
            let rules = Rules { min_gap: TimeDelta::zero(), per_day: None, per_minute: None, ..Rules::YAHOO };
            let now = Arc::new(|| instant(MORNING).utc());
            let (name, breaker) = (source.source(), BreakerRules::SCARCE_CALLS);
            let limits = Limits::new(&name, rules, breaker, store.clone(), now);
            Gateway::with_limits(Arc::new(source.clone()), limits)
        };
        let processes = [process(), process()];
        let deployment = Self { source, store, processes, seconds: AtomicUsize::new(0) };
        deployment.price(0).await.unwrap();
        deployment
    }

    fn now(&self) -> Timestamp {
        let seconds = i64::try_from(self.seconds.load(Ordering::SeqCst)).unwrap();
        instant(MORNING) + TimeDelta::seconds(seconds)
    }

    fn pass(&self, seconds: usize) {
        self.seconds.fetch_add(seconds, Ordering::SeqCst);
    }

    /// The price of AAPL in a process now.
    async fn price(&self, process: usize) -> Result<String, QuoteError> {
        let aapl = [symbol("AAPL")];
        let mut told = self.processes[process].quotes_by_symbol(Purpose::Scheduled, &aapl, self.now()).await;
        told.remove(&aapl[0]).unwrap().map(|quote| quote.as_traded().price.to_string())
    }

    async fn doubt(&self, process: usize) -> Doubt {
        match self.price(process).await {
            Err(QuoteError::Unconfirmed(waiting)) => waiting.doubt,
            other => panic!("{other:?}"),
        }
    }

    async fn waiting(&self) -> Option<UnconfirmedPrice> {
        let aapl = [symbol("AAPL")];
        self.store.unconfirmed_quotes(&self.source.source(), &aapl).await.unwrap().remove(&aapl[0])
    }

    async fn accepted(&self) -> String {
        let aapl = [symbol("AAPL")];
        self.store.published(&aapl).await.unwrap()[&aapl[0]].quote.price.to_string()
    }
}

#[tokio::test]
async fn a_real_move_is_accepted_with_the_second_observation() {
    for moved in ["40.00", "10.50", "235.00", "150.00", "59.99"] {
        let deployment = Deployment::at_a_hundred().await;
        deployment.pass(3600);
        deployment.source.tells(moved);
        assert_eq!(deployment.doubt(0).await, Doubt::LargeMove, "{moved}");
        assert_eq!(deployment.accepted().await, "100.00");
        deployment.pass(59);
        assert_eq!(deployment.doubt(1).await, Doubt::LargeMove, "{moved}: another process sees it too early");
        deployment.pass(1);
        assert_eq!(deployment.price(0).await.as_deref(), Ok(moved));
        assert_eq!((deployment.accepted().await.as_str(), deployment.waiting().await), (moved, None));
        // The other process also accepts the price now.
        deployment.pass(59);
        assert_eq!(deployment.price(1).await.as_deref(), Ok(moved));
    }
}

#[tokio::test]
async fn a_move_of_forty_percent_is_accepted_immediately() {
    for moved in ["140.00", "60.00"] {
        let deployment = Deployment::at_a_hundred().await;
        deployment.pass(3600);
        deployment.source.tells(moved);
        assert_eq!(deployment.price(0).await.as_deref(), Ok(moved));
    }
}

#[tokio::test]
async fn a_price_that_reverts_is_never_used() {
    let deployment = Deployment::at_a_hundred().await;
    deployment.pass(3600);
    deployment.source.tells("500.00");
    assert_eq!(deployment.doubt(0).await, Doubt::LargeMove);
    let waiting = deployment.waiting().await.unwrap();
    assert_eq!((waiting.price, waiting.accepted), (price("500.00"), price("100.00")));
    deployment.pass(60);
    deployment.source.tells("101.00");
    assert_eq!(deployment.price(1).await.as_deref(), Ok("101.00"));
    assert_eq!(deployment.waiting().await, None);
    // A similar price later is held back again: the earlier one does not confirm it.
    deployment.pass(60);
    deployment.source.tells("500.00");
    assert_eq!(deployment.doubt(0).await, Doubt::LargeMove);
}

#[tokio::test]
async fn a_unit_slip_is_confirmed_only_by_the_other_endpoint() {
    for (slipped, series) in [("10000.00", "10010.00"), ("1000.00", "1002.00"), ("1.00", "1.01")] {
        let deployment = Deployment::at_a_hundred().await;
        deployment.source.script().closes = vec![("2026-11-19", "99.00".to_owned())];
        deployment.source.tells(slipped);
        for n in 0..180 {
            deployment.pass(60);
            assert_eq!(deployment.doubt(n % 2).await, Doubt::UnitSlip, "{slipped}");
        }
        deployment.source.script().closes = vec![("2026-11-19", series.to_owned())];
        for n in 0..60 {
            deployment.pass(60);
            let _ = deployment.price(n % 2).await;
        }
        assert_eq!(deployment.accepted().await, price(slipped).to_string(), "it is looked up once an hour");
    }
}

#[tokio::test]
async fn a_price_after_a_split_waits_for_the_books() {
    for (numerator, denominator, after) in [(10, 1, "10.10"), (3, 1, "33.00"), (1, 10, "1001.00")] {
        let deployment = Deployment::at_a_hundred().await;
        let on = ("2026-11-23", numerator, denominator);
        deployment.source.script().splits = vec![on];
        // Monday, 10:00 in New York: the price is in new shares.
        deployment.pass(3 * 86_400);
        deployment.source.tells(after);
        for _ in 0..5 {
            let _ = deployment.price(0).await;
            deployment.pass(60);
        }
        assert_eq!(deployment.doubt(1).await, Doubt::SplitNotBooked, "{after}");
        let history = SplitHistory::of_actions(&[split(&on)], Calendar::Xnys);
        let hundred = AsTraded::new(price("100.00"), instant(MORNING));
        assert_ne!(history.convert(hundred, deployment.now()), price("100.00"), "it is in effect");
        deployment.store.book_splits(&symbol("AAPL"), history);
        deployment.pass(60);
        assert_eq!(deployment.price(0).await.as_deref(), Ok(after));
        assert_eq!(deployment.waiting().await, None);
    }
}

#[tokio::test]
async fn a_price_that_contradicts_a_booked_split_is_passed_on() {
    for (numerator, denominator, told) in [(20, 1, "50.00"), (10, 1, "99.00"), (1, 10, "100.00")] {
        let deployment = Deployment::at_a_hundred().await;
        let history =
            SplitHistory::of_actions(&[split(&("2026-11-23", numerator, denominator))], Calendar::Xnys);
        deployment.store.book_splits(&symbol("AAPL"), history);
        deployment.pass(3 * 86_400);
        deployment.source.tells(told);
        assert_eq!(deployment.price(0).await.as_deref(), Ok(told));
        // The next price is compared with the accepted one.
        deployment.pass(60);
        deployment.source.tells("5000.00");
        assert!(deployment.price(1).await.is_err());
    }
}

#[tokio::test]
async fn a_first_price_is_compared_with_the_previous_close() {
    let (source, store) = (Scripted::default(), Arc::<InMemoryBudget>::default());
    source.tells("500.00");
    source.script().previous_close = Some("100.00".to_owned());
    let rules = Rules { min_gap: TimeDelta::zero(), per_day: None, ..Rules::YAHOO };
    let now = Arc::new(|| instant(MORNING).utc());
    let limits = Limits::new(&source.source(), rules, BreakerRules::SCARCE_CALLS, store, now);
    let gateway = Gateway::with_limits(Arc::new(source.clone()), limits);
    let aapl = symbol("AAPL");
    let first = gateway.quote(&aapl, instant(MORNING)).await;
    assert!(matches!(first, Err(QuoteError::Unconfirmed(_))), "{first:?}");
    let later = instant(MORNING) + TimeDelta::seconds(60);
    assert_eq!(gateway.quote(&aapl, later).await.unwrap().as_traded().price, price("500.00"));
    // Without any price to compare with, it is accepted.
    source.script().previous_close = None;
    assert!(gateway.quote(&symbol("MSFT"), instant(MORNING)).await.is_ok());
}

#[tokio::test]
async fn bars_that_contradict_an_accepted_price_are_rejected() {
    let deployment = Deployment::at_a_hundred().await;
    let bars = async || {
        let gateway = &deployment.processes[0];
        let (first, last) = (day("2026-11-18"), day("2026-11-20"));
        gateway.daily_bars(Purpose::Interactive, &symbol("AAPL"), first, last, deployment.now()).await
    };
    let series = |closes: [&str; 2]| {
        let closes = closes.map(str::to_owned);
        ["2026-11-19", "2026-11-20"].into_iter().zip(closes).collect::<Vec<_>>()
    };
    // The accepted price is from Friday morning.
    deployment.pass(8 * 3600);
    deployment.source.script().closes = series(["990.00", "1000.00"]);
    assert!(matches!(bars().await, Err(QuoteError::Unconfirmed(_))));
    deployment.pass(3 * 3600);
    deployment.source.script().closes = series(["99.00", "101.00"]);
    assert_eq!(bars().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_doubtful_close_is_accepted_if_the_price_of_its_session_was() {
    for (confirmed, count) in [(true, 2), (false, 1)] {
        let deployment = Deployment::at_a_hundred().await;
        if confirmed {
            deployment.source.tells("40.00");
            for _ in 0..3 {
                deployment.pass(60);
                let _ = deployment.price(0).await;
            }
        }
        deployment.source.script().closes = vec![("2026-11-19", "99.00".to_owned())];
        deployment.source.script().doubtful = Some(("2026-11-20", "39.00".to_owned()));
        deployment.pass(8 * 3600);
        let (first, last) = (day("2026-11-18"), day("2026-11-20"));
        let bars = deployment.processes[0]
            .daily_bars(Purpose::Interactive, &symbol("AAPL"), first, last, deployment.now())
            .await;
        assert_eq!(bars.unwrap().len(), count, "confirmed: {confirmed}");
    }
}
