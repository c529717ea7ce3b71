//! Test services on a fresh database, with a clock and prices that the test controls.

use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use chrono::{NaiveDate, TimeDelta};
use domain::share_basis::session_basis;
use domain::{
    AsTraded, Bar, Calendar, CorporateAction, Currency, Freshness, Listing, Price, PriceMove, PriceSource,
    Quote, Session, SplitHistory, Symbol, Timestamp,
};
use market_data::{
    Catalogue, DEFAULT_SEED, DailySeries, FeatureState, ListedStock, Payer, QuoteError, QuoteSource, Rules,
    Simulated,
};
use persistence::Store;
use persistence::testing::TestStore;

use crate::{Clock, Market, Services, ServicesConfig};

pub struct TestServices {
    pub services: Services,
    pub clock: Clock,
    pub store: TestStore,
}

/// Friday, 20 November 2026, 14:12 in New York.
pub fn friday_afternoon() -> Timestamp {
    chrono::DateTime::from_timestamp(1_795_201_920, 0).expect("an instant").into()
}

/// The hash of a password in the form that older versions stored: of the text as typed.
///
/// # Panics
/// If there is not enough memory.
pub fn hash_as_typed(password: &str) -> String {
    crate::accounts::password::hash_now(password).expect("a hash")
}

impl TestServices {
    /// Services on the simulated market, on a Friday afternoon.
    pub async fn new() -> Self {
        Self::with(Arc::new(Simulated::new(DEFAULT_SEED)), ServicesConfig::default()).await
    }

    pub async fn with(source: Arc<dyn QuoteSource>, config: ServicesConfig) -> Self {
        Self::on(config, |_, clock| Market::new(source, clock)).await
    }

    /// Services with the limits of a provider.
    pub async fn limited(source: Arc<dyn QuoteSource>, rules: Rules, config: ServicesConfig) -> Self {
        Self::on(config, |store, clock| Market::limited(source, rules, store, clock)).await
    }

    async fn on(config: ServicesConfig, market: impl FnOnce(&Store, Clock) -> Market) -> Self {
        let store = TestStore::new().await;
        let clock = Clock::manual(friday_afternoon());
        let market = market(&store.store, clock.clone());
        let services = Services::new(store.store.clone(), market, config);
        services.stocks().import_catalogue().await.expect("import the catalogue");
        Self { services, clock, store }
    }
}

impl TestServices {
    /// The services of another process on the same database and clock.
    pub fn another_process(&self, source: Arc<dyn QuoteSource>, config: ServicesConfig) -> Services {
        let store = persistence::testing::open(self.store.url.clone(), 8);
        Services::new(store, Market::new(source, self.clock.clone()), config)
    }
}

/// A source whose prices do not change until the test sets others. Clones share everything.
///
/// It lists AAPL at 150.00, MSFT at 400.00, JPM at 200.00 and SPY at 500.00. It has no bid, ask or bars until they are
/// set, and answers only for symbols it lists.
#[derive(Clone)]
pub struct FixedPrices {
    freshness: Freshness,
    calendar: Calendar,
    /// The prices per call to the provider; `None` if there is no provider and calls are not counted.
    prices_per_call: Option<usize>,
    /// The features for which the key is configured.
    features: Vec<FeatureState>,
    state: Arc<Mutex<State>>,
}

/// How often a source was called.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Calls {
    /// Calls for prices, for any number of symbols.
    pub quotes: usize,
    pub searches: usize,
    pub listings: usize,
    pub bars: usize,
    /// Calls for the tables of listed and of formerly listed stocks.
    pub tables: usize,
}

type Meanwhile = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

#[derive(Default)]
struct State {
    listed: BTreeMap<Symbol, Listed>,
    /// Runs once before the next request about this symbol is answered.
    meanwhile: Option<(Symbol, Meanwhile)>,
    /// Prices with the time from which each is valid.
    path: BTreeMap<(Symbol, Timestamp), (Price, Option<u64>)>,
    closes: BTreeMap<(Symbol, NaiveDate), Price>,
    /// Corporate actions, each with the time from which it is reported.
    actions: Vec<(Timestamp, CorporateAction)>,
    failure: Option<QuoteError>,
    /// The errors of single symbols.
    failures: HashMap<Symbol, QuoteError>,
    /// The tables of listed and of formerly listed stocks; `None` without such a table.
    table: Option<Vec<ListedStock>>,
    former: Option<Vec<ListedStock>>,
    calls: Calls,
}

struct Listed {
    listing: Listing,
    price: Price,
    touch: Option<(Price, Price)>,
    as_of: Option<Timestamp>,
    company: Option<ListedStock>,
    volume: Option<u64>,
}

impl FixedPrices {
    /// A source like the simulated market: always open, with current prices.
    pub fn new() -> Self {
        Self::of(Freshness::Simulated, Calendar::AroundTheClock)
    }

    pub fn of(freshness: Freshness, calendar: Calendar) -> Self {
        let prices =
            Self { freshness, calendar, prices_per_call: None, features: Vec::new(), state: Arc::default() };
        prices.list("AAPL", "Apple Inc.", "Technology", "150.00");
        prices.list("MSFT", "Microsoft Corporation", "Technology", "400.00");
        prices.list("JPM", "JPMorgan Chase & Co.", "Financials", "200.00");
        prices.list("SPY", "SPDR S&P 500 ETF Trust", "Fund", "500.00");
        prices
    }

    /// Makes each request use calls that the limits must allow, one per `prices_per_call` prices.
    #[must_use]
    pub fn with_paid_calls(mut self, prices_per_call: usize) -> Self {
        self.prices_per_call = Some(prices_per_call);
        self
    }

    /// Sets the features for which the key is configured.
    #[must_use]
    pub fn with_features(mut self, features: Vec<FeatureState>) -> Self {
        self.features = features;
        self
    }

    async fn pay(&self, payer: &Payer) -> Result<(), QuoteError> {
        if self.prices_per_call.is_some() { payer.before_call().await } else { Ok(()) }
    }

    pub fn list(&self, symbol: &str, company_name: &str, sector: &str, price: &str) {
        let symbol = parse_symbol(symbol);
        let listing = Listing {
            symbol: symbol.clone(),
            company_name: company_name.to_owned(),
            exchange: "NASDAQ".to_owned(),
            sector: sector.to_owned(),
            currency: Currency::Usd,
        };
        let listed = Listed {
            listing,
            price: parse_price(price),
            touch: None,
            as_of: None,
            company: None,
            volume: None,
        };
        self.state().listed.insert(symbol, listed);
    }

    /// Sets the price, without bid and ask.
    pub fn set(&self, symbol: &str, price: &str) {
        self.change(symbol, |listed| (listed.price, listed.touch) = (parse_price(price), None));
    }

    pub fn set_bid_and_ask(&self, symbol: &str, bid: &str, ask: &str) {
        self.change(symbol, |listed| listed.touch = Some((parse_price(bid), parse_price(ask))));
    }

    /// Sets the price from this time on, until the next price.
    pub fn set_from(&self, at: Timestamp, symbol: &str, price: &str) {
        self.state().path.insert((parse_symbol(symbol), at), (parse_price(price), None));
    }

    /// Sets the price with the volume traded before it.
    pub fn trade(&self, at: Timestamp, symbol: &str, price: &str, volume: u64) {
        self.state().path.insert((parse_symbol(symbol), at), (parse_price(price), Some(volume)));
    }

    /// Sets the market time of the price; `None` for the newest that its freshness allows.
    pub fn set_as_of(&self, symbol: &str, as_of: Option<Timestamp>) {
        self.change(symbol, |listed| listed.as_of = as_of);
    }

    /// Sets the company in answers about the price.
    pub fn set_company(&self, symbol: &str, company_name: &str, listed_on: Option<NaiveDate>) {
        let company = ListedStock {
            symbol: parse_symbol(symbol),
            company_name: company_name.to_owned(),
            exchange: "NASDAQ".to_owned(),
            is_fund: false,
            listed_on,
            delisted_on: None,
        };
        self.change(symbol, |listed| listed.company = Some(company));
    }

    /// Sets the volume of each requested interval; `None` if the source does not report it.
    pub fn set_volume(&self, symbol: &str, volume: Option<u64>) {
        self.change(symbol, |listed| listed.volume = volume);
    }

    /// Sets the close of a session, available once the session is over.
    pub fn set_close(&self, symbol: &str, date: NaiveDate, close: &str) {
        self.state().closes.insert((parse_symbol(symbol), date), parse_price(close));
    }

    /// Reports a corporate action from that time on.
    pub fn announce(&self, from: Timestamp, action: CorporateAction) {
        self.state().actions.push((from, action));
    }

    /// Stops reporting the announced actions.
    pub fn retract_actions(&self) {
        self.state().actions.clear();
    }

    /// Answers every request with this error from now on.
    pub fn fail_with(&self, error: QuoteError) {
        self.state().failure = Some(error);
    }

    pub fn recover(&self) {
        self.state().failure = None;
    }

    /// Answers every request about that symbol with this error from now on.
    pub fn fail_for(&self, symbol: &str, error: QuoteError) {
        self.state().failures.insert(parse_symbol(symbol), error);
    }

    /// Answers requests about that symbol again.
    pub fn recover_for(&self, symbol: &str) {
        self.state().failures.remove(&parse_symbol(symbol));
    }

    /// Runs once between the next request about that symbol and its answer.
    pub fn meanwhile<F: Future<Output = ()> + Send + 'static>(
        &self,
        symbol: &str,
        happens: impl FnOnce() -> F + Send + 'static,
    ) {
        let happens: Meanwhile = Box::new(move || Box::pin(happens()));
        self.state().meanwhile = Some((parse_symbol(symbol), happens));
    }

    /// Whether the future given to [`FixedPrices::meanwhile`] has run.
    pub fn has_happened(&self) -> bool {
        self.state().meanwhile.is_none()
    }

    async fn pass_time(&self, symbols: &[Symbol]) {
        let happens = self.state().meanwhile.take_if(|(of, _)| symbols.contains(of));
        if let Some((_, happens)) = happens {
            happens().await;
        }
    }

    /// Removes the bars of the symbol.
    pub fn forget_closes(&self, symbol: &str) {
        let symbol = parse_symbol(symbol);
        self.state().closes.retain(|(of, _), _| *of != symbol);
    }

    /// Sets the tables of listed and of formerly listed stocks.
    pub fn set_tables(&self, table: Vec<ListedStock>, former: Vec<ListedStock>) {
        let mut state = self.state();
        (state.table, state.former) = (Some(table), Some(former));
    }

    pub fn calls(&self) -> Calls {
        self.state().calls
    }

    fn change(&self, symbol: &str, change: impl FnOnce(&mut Listed)) {
        change(self.state().listed.get_mut(&parse_symbol(symbol)).expect("the symbol is listed"));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call and returns the state, unless the source should fail.
    fn ask(&self, count: impl FnOnce(&mut Calls)) -> Result<MutexGuard<'_, State>, QuoteError> {
        let mut state = self.state();
        count(&mut state.calls);
        match state.failure.clone() {
            Some(error) => Err(error),
            None => Ok(state),
        }
    }

    fn quotes_now(&self, symbols: &[Symbol], at: Timestamp) -> Vec<Result<Quote, QuoteError>> {
        let state = match self.ask(|calls| calls.quotes += 1) {
            Ok(state) => state,
            Err(error) => return vec![Err(error); symbols.len()],
        };
        let quote = |symbol: &Symbol| {
            let listed = state.listed(symbol)?;
            let as_of = listed.as_of.unwrap_or_else(|| self.newest(at));
            let day_before = self.calendar.before(self.session_of(as_of).date).date;
            let step = state.path.range(..=(symbol.clone(), as_of)).next_back();
            let step = step.filter(|((of, _), _)| of == symbol).map(|(_, (price, _))| price.clone());
            let session = self.session_of(as_of).date;
            let quote = Quote {
                symbol: symbol.clone(),
                price: step.unwrap_or_else(|| listed.price.clone()),
                bid: listed.touch.as_ref().map(|(bid, _)| bid.clone()),
                ask: listed.touch.as_ref().map(|(_, ask)| ask.clone()),
                previous_close: state.closes.get(&(symbol.clone(), day_before)).cloned(),
                volume: None,
                as_of,
                source: self.source(),
                freshness: self.freshness,
                stale: false,
            };
            // The previous close is in the shares of the current session.
            let today = state.actions.iter().filter(|(_, action)| action.symbol == *symbol);
            let today = today.filter(|(_, action)| action.ex_on == session);
            let splits = SplitHistory::of_actions(today.map(|(_, action)| action), self.calendar);
            let day_before = session_basis(self.calendar, day_before);
            let previous_close =
                quote.previous_close.map(|close| splits.convert(AsTraded::new(close, day_before), as_of));
            Ok(Quote { previous_close, ..quote })
        };
        symbols.iter().map(quote).collect()
    }

    fn newest(&self, at: Timestamp) -> Timestamp {
        match self.freshness {
            Freshness::Simulated | Freshness::Realtime => at,
            Freshness::Delayed => at - TimeDelta::minutes(15),
            Freshness::EndOfDay => self.calendar.last_closed(at).closes_at,
        }
    }

    fn session_of(&self, as_of: Timestamp) -> Session {
        self.calendar.session_at(as_of).unwrap_or_else(|| self.calendar.last_closed(as_of))
    }
}

impl Default for FixedPrices {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl QuoteSource for FixedPrices {
    fn source(&self) -> PriceSource {
        PriceSource::from("fixed")
    }

    fn freshness(&self) -> Freshness {
        self.freshness
    }

    fn calendar(&self) -> Calendar {
        self.calendar
    }

    /// A complete catalog like the simulated market's; for other kinds of sources, stocks must be requested.
    fn catalogue(&self, _: Timestamp) -> Catalogue {
        match self.freshness {
            Freshness::Simulated => {
                Catalogue::Complete(self.state().listed.values().map(|row| row.listing.clone()).collect())
            }
            _ => Catalogue::OnDemand,
        }
    }

    fn features(&self) -> Vec<FeatureState> {
        self.features.clone()
    }

    fn quotes_at_once(&self) -> usize {
        self.prices_per_call.unwrap_or(1)
    }

    async fn listed(&self, _: &Payer) -> Result<Option<Vec<ListedStock>>, QuoteError> {
        Ok(self.ask(|calls| calls.tables += 1)?.table.clone())
    }

    async fn delisted(&self, _: &Payer) -> Result<Option<Vec<ListedStock>>, QuoteError> {
        Ok(self.ask(|calls| calls.tables += 1)?.former.clone())
    }

    async fn quotes(
        &self,
        symbols: &[Symbol],
        at: Timestamp,
        payer: &Payer,
    ) -> Vec<Result<Quote, QuoteError>> {
        let Some(prices_per_call) = self.prices_per_call else {
            let answers = self.quotes_now(symbols, at);
            self.pass_time(symbols).await;
            return answers;
        };
        let mut answers = Vec::with_capacity(symbols.len());
        for together in symbols.chunks(prices_per_call) {
            match self.pay(payer).await {
                Ok(()) => answers.extend(self.quotes_now(together, at)),
                Err(error) => answers.extend(vec![Err(error); together.len()]),
            }
        }
        answers
    }

    /// Returns all price steps, and the newest price.
    async fn moves(
        &self,
        symbol: &Symbol,
        after: Timestamp,
        until: Timestamp,
        payer: &Payer,
    ) -> Result<Vec<PriceMove>, QuoteError> {
        let steady = self.state().listed.get(symbol).and_then(|listed| listed.volume);
        let steps: BTreeMap<Timestamp, Option<u64>> = {
            let state = self.state();
            let traded = state.path.iter().any(|((of, _), (_, volume))| of == symbol && volume.is_some());
            let steps = state.path.range((symbol.clone(), after)..=(symbol.clone(), until));
            let steps = steps.map(|((_, at), (_, volume))| (*at, *volume));
            [(until, traded.then_some(0))].into_iter().chain(steps).collect()
        };
        let mut moves = Vec::new();
        for (at, volume) in steps {
            let mut answer = self.quotes(std::slice::from_ref(symbol), at, payer).await;
            let quote = answer.pop().unwrap_or(Err(QuoteError::Unreachable))?;
            if after < quote.as_of && quote.as_of <= until {
                moves.push(PriceMove { quote, volume: volume.or(steady) });
            }
        }
        Ok(moves)
    }

    async fn search(
        &self,
        query: &str,
        limit: usize,
        _: Timestamp,
        _: &Payer,
    ) -> Result<Vec<Listing>, QuoteError> {
        let query = query.to_lowercase();
        let fits = |listing: &Listing| {
            [listing.symbol.as_str(), &listing.company_name]
                .iter()
                .any(|text| text.to_lowercase().starts_with(&query))
        };
        let state = self.ask(|calls| calls.searches += 1)?;
        let listings = state.listed.values().map(|row| row.listing.clone());
        Ok(listings.filter(fits).take(limit).collect())
    }

    async fn listing(&self, symbol: &Symbol, _: Timestamp, _: &Payer) -> Result<Listing, QuoteError> {
        let found = {
            let state = self.ask(|calls| calls.listings += 1)?;
            state.listed(symbol).map(|row| row.listing.clone())
        };
        self.pass_time(std::slice::from_ref(symbol)).await;
        found
    }

    async fn daily_series(
        &self,
        symbol: &Symbol,
        first: NaiveDate,
        last: NaiveDate,
        at: Timestamp,
        payer: &Payer,
    ) -> Result<DailySeries, QuoteError> {
        self.pay(payer).await?;
        let bars: Vec<Bar> = {
            let state = self.ask(|calls| calls.bars += 1)?;
            state.listed(symbol)?;
            let sessions = self.calendar.sessions(first, last).take_while(|session| session.closes_at <= at);
            let bar = |session: Session| {
                let close = state.closes.get(&(symbol.clone(), session.date))?.clone();
                let (open, high, low) = (close.clone(), close.clone(), close.clone());
                Some(Bar { date: session.date, open, high, low, close, volume: 1000 })
            };
            sessions.filter_map(bar).collect()
        };
        self.pass_time(std::slice::from_ref(symbol)).await;
        Ok(bars.into())
    }

    fn observed_company(&self, symbol: &Symbol) -> Option<ListedStock> {
        self.state().listed.get(symbol).and_then(|listed| listed.company.clone())
    }

    async fn corporate_actions(
        &self,
        symbol: &Symbol,
        first: NaiveDate,
        last: NaiveDate,
        at: Timestamp,
        payer: &Payer,
    ) -> Result<Vec<CorporateAction>, QuoteError> {
        self.pay(payer).await?;
        let told = {
            let state = self.ask(|_| ())?;
            let told = state.actions.iter().filter(|(from, action)| {
                *from <= at && action.symbol == *symbol && (first..=last).contains(&action.ex_on)
            });
            told.map(|(_, action)| action.clone()).collect()
        };
        self.pass_time(std::slice::from_ref(symbol)).await;
        Ok(told)
    }
}

impl State {
    fn listed(&self, symbol: &Symbol) -> Result<&Listed, QuoteError> {
        if let Some(failure) = self.failures.get(symbol) {
            return Err(failure.clone());
        }
        self.listed.get(symbol).ok_or_else(|| QuoteError::UnknownSymbol(symbol.clone()))
    }
}

fn parse_symbol(text: &str) -> Symbol {
    text.parse().expect("a symbol")
}

fn parse_price(text: &str) -> Price {
    text.parse().expect("a price")
}
