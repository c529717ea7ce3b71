//! The bank test: many customers trade at once, change and cancel orders, lose connections and retry, while others
//! read. No cent and no order may be lost or appear from nowhere.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bigdecimal::{BigDecimal, RoundingMode};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::client::{Answer, Trader, amount, items};
use crate::installation::{Installation, setting};
use crate::process::eventually;
use crate::stack::Stack;

/// The starting cash of each portfolio.
const START: &str = "100000.00";
/// The amount of every later deposit and withdrawal. It is large, so that each read can tell it from the results of
/// trading.
const PAYMENT: i64 = 1000;
/// With more open orders than this, customers only change or cancel orders.
const MAX_OPEN: usize = 100;
/// The maximum number of requests of all customers together.
const MAX_REQUESTS: usize = 500_000;
const READERS: usize = 3;

/// Whether `make soak` runs the long form of the tests.
pub fn soaking() -> bool {
    setting("STOCKYARD_SOAK").is_some()
}

/// How prices behave during the test.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Prices {
    /// Prices stand still. There are no costs and only whole shares, so that all amounts are exact.
    Stand,
    Move,
}

impl Prices {
    /// The settings of the installation.
    pub fn settings(self) -> [(&'static str, &'static str); 5] {
        let [speed, per_order, percent, slippage, liquidity] = match self {
            Self::Stand => ["0.000001", "", "", "", ""],
            Self::Move => ["60", "0.35", "0.02", "0.01", "0.1"],
        };
        [
            ("CLOCK_SPEED", speed),
            ("COMMISSION_PER_ORDER", per_order),
            ("COMMISSION_PERCENT", percent),
            ("SLIPPAGE_PERCENT", slippage),
            ("LIQUIDITY_PERCENT", liquidity),
        ]
    }
}

struct Quote {
    symbol: &'static str,
    last: BigDecimal,
    bid: BigDecimal,
    ask: BigDecimal,
}

#[derive(Clone)]
enum Wish {
    Place(Value),
    Replace(String, Value),
    Cancel(String),
    Pay(&'static str),
}

#[derive(Clone)]
struct Request {
    portfolio: i64,
    key: String,
    wish: Wish,
}

impl Request {
    fn method(&self) -> Method {
        match self.wish {
            Wish::Place(_) | Wish::Pay(_) => Method::POST,
            Wish::Replace(..) => Method::PATCH,
            Wish::Cancel(_) => Method::DELETE,
        }
    }

    fn path(&self) -> String {
        let portfolio = format!("/api/v1/portfolios/{}", self.portfolio);
        match &self.wish {
            Wish::Place(_) => format!("{portfolio}/orders"),
            Wish::Replace(order, _) | Wish::Cancel(order) => format!("{portfolio}/orders/{order}"),
            Wish::Pay(_) => format!("{portfolio}/cash"),
        }
    }

    fn body(&self) -> String {
        match &self.wish {
            Wish::Place(body) | Wish::Replace(_, body) => body.to_string(),
            Wish::Cancel(_) => String::new(),
            Wish::Pay(kind) => json!({"type": kind, "amount": PAYMENT.to_string()}).to_string(),
        }
    }

    /// Whether the request creates an order, which then has the request's key.
    fn makes_an_order(&self) -> bool {
        matches!(self.wish, Wish::Place(_) | Wish::Replace(..))
    }

    /// The problem codes with which the request may be refused.
    fn refusals(&self) -> &[&str] {
        match &self.wish {
            // The price may have passed one of the exits in the meantime.
            Wish::Place(order) if order["order_class"] == "bracket" => {
                &["insufficient_buying_power", "insufficient_shares", "invalid_fields"]
            }
            Wish::Place(_) => &["insufficient_buying_power", "insufficient_shares"],
            Wish::Replace(..) => {
                &["order_not_open", "insufficient_buying_power", "insufficient_shares", "invalid_fields"]
            }
            Wish::Cancel(_) => &["order_not_open"],
            Wish::Pay(_) => &["insufficient_cash"],
        }
    }
}

#[derive(Default)]
struct Payments {
    sent: i64,
    acknowledged: i64,
}

/// The requests of the customers, and the responses to them.
#[derive(Default)]
struct Ledger {
    requests: usize,
    /// Portfolio and last known status, by order id.
    orders: HashMap<String, (i64, String)>,
    /// The id of the order, by the key of the request.
    acknowledged: HashMap<String, String>,
    refused: HashSet<String>,
    /// Requests for orders whose outcome is not known.
    unheard: Vec<Request>,
    /// Open orders, which customers can change, with their portfolios.
    open: Vec<(i64, Value)>,
    payments: BTreeMap<(i64, &'static str), Payments>,
}

impl Ledger {
    /// Records a response. `sent_before` is true if the same request was sent before and may still be in progress.
    fn hear(&mut self, request: &Request, answer: &Answer, sent_before: bool) {
        if !matches!(answer.status, 200 | 201) {
            let code = answer.json()["code"].as_str().unwrap_or_default().to_owned();
            assert!(request.refusals().contains(&code.as_str()), "{}: {}", request.path(), answer.text);
            if let (Wish::Replace(order, _) | Wish::Cancel(order), "order_not_open") = (&request.wish, &*code)
            {
                self.open.retain(|(_, open)| open["id"] != json!(order));
            }
            match request.makes_an_order() {
                true if sent_before => self.unheard.push(request.clone()),
                true => drop(self.refused.insert(request.key.clone())),
                false => {}
            }
            return;
        }
        let told = answer.json();
        match &request.wish {
            Wish::Pay(kind) => {
                self.payments.entry((request.portfolio, kind)).or_default().acknowledged += 1;
            }
            Wish::Cancel(_) => assert_eq!(told["status"], "canceled", "{told}"),
            Wish::Place(_) | Wish::Replace(..) => {
                assert_eq!(told["client_order_id"], json!(request.key), "{told}");
                let id = told["id"].as_str().unwrap().to_owned();
                let known = self.acknowledged.entry(request.key.clone()).or_insert_with(|| id.clone());
                assert_eq!(*known, id, "one key, one order");
            }
        }
        if let Wish::Replace(old, _) = &request.wish {
            self.note(request.portfolio, &json!({"id": old, "status": "replaced", "legs": []}));
        }
        if !matches!(request.wish, Wish::Pay(_)) {
            self.note(request.portfolio, &told);
        }
    }

    /// Records the status of an order. Responses may arrive in another order than the changes, so an ended order stays
    /// ended.
    fn note(&mut self, portfolio: i64, order: &Value) {
        let (id, status) = (order["id"].as_str().unwrap(), order["status"].as_str().unwrap());
        let (_, known) = self.orders.entry(id.to_owned()).or_insert_with(|| (portfolio, status.to_owned()));
        match (is_open(known), is_open(status)) {
            (true, _) => status.clone_into(known),
            (false, true) => {}
            (false, false) => assert_eq!(known, status, "{order}"),
        }
        let open = is_open(known);
        self.open.retain(|(_, one)| one["id"] != order["id"]);
        if open {
            self.open.push((portfolio, order.clone()));
        }
        for leg in order["legs"].as_array().unwrap() {
            self.note(portfolio, leg);
        }
    }
}

fn is_open(status: &str) -> bool {
    matches!(status, "held" | "accepted" | "partially_filled")
}

fn may_have_become(told: &str, found: &str) -> bool {
    told == found
        || match told {
            "held" => true,
            "accepted" => found != "held",
            "partially_filled" => !matches!(found, "held" | "accepted"),
            _ => false,
        }
}

fn pick<T>(from: &[T]) -> &T {
    &from[rand::random_range(0..from.len())]
}

fn moved(price: &BigDecimal, cents: i64) -> String {
    (price + BigDecimal::new(cents.into(), 2)).to_plain_string()
}

fn quantity(prices: Prices) -> String {
    match prices {
        Prices::Stand => rand::random_range(1..=5).to_string(),
        Prices::Move => {
            let billionths: u64 = rand::random_range(10_000_000..4_000_000_000);
            format!("{}.{:09}", billionths / 1_000_000_000, billionths % 1_000_000_000)
        }
    }
}

/// Portfolios, and customers who share them. Clones share everything.
#[derive(Clone)]
pub struct Bank {
    trader: Trader,
    portfolios: Arc<[i64]>,
    quotes: Arc<[Quote]>,
    ledger: Arc<Mutex<Ledger>>,
    /// Whether the database may fail during the test: customers then get an error and continue.
    endures_outages: bool,
    /// Tells customers to finish their current request and stop.
    closed: Arc<AtomicBool>,
}

/// The problem codes of requests during an outage of the database.
const OUTAGES: [&str; 5] =
    ["database_unavailable", "database_busy", "database_read_only", "outcome_unknown", "busy"];
/// The pause of a customer after an outage. Real clients wait longer, as `Retry-After` says.
const AFTER_OUTAGE: Duration = Duration::from_millis(100);

fn is_outage(answer: &Answer) -> bool {
    answer.status == 503 && OUTAGES.contains(&answer.json()["code"].as_str().unwrap_or_default())
}

impl Bank {
    pub async fn open(trader: Trader, portfolios: usize) -> Self {
        let mut ids = Vec::new();
        for _ in 0..portfolios {
            ids.push(trader.open_portfolio(START).await);
        }
        let mut quotes = Vec::new();
        for symbol in ["AAPL", "MSFT", "KO"] {
            let quote = trader.client.get(&format!("/api/v1/stocks/{symbol}/quote")).await.expect(200);
            let [last, bid, ask] = ["price", "bid", "ask"].map(|price| amount(&quote[price]));
            quotes.push(Quote { symbol, last, bid, ask });
        }
        Self {
            trader,
            portfolios: ids.into(),
            quotes: quotes.into(),
            ledger: Arc::default(),
            endures_outages: false,
            closed: Arc::default(),
        }
    }

    pub fn enduring_outages(self) -> Self {
        Self { endures_outages: true, ..self }
    }

    /// Reads a portfolio and places an order. Returns whether both succeeded.
    pub async fn is_served(&self) -> bool {
        let portfolio = *pick(&self.portfolios);
        let path = format!("/api/v1/portfolios/{portfolio}/valuation");
        let seen = self.trader.client.ask_once(Method::GET, &path, |request| request).await;
        let seen = seen.expect("an answer to a read");
        assert!(seen.status == 200 || is_outage(&seen), "{}", seen.text);
        let mut request = self.next_request(Prices::Stand);
        request.portfolio = portfolio;
        request.wish = Wish::Place(json!({
            "symbol": "KO", "side": "buy", "quantity": "0.01", "type": "market",
        }));
        let answer = self.ask(&request).await.expect("an answer to an order");
        let is_out = is_outage(&answer);
        match is_out {
            true => self.ledger().unheard.push(request),
            false => self.ledger().hear(&request, &answer, false),
        }
        seen.status == 200 && !is_out
    }

    /// The same bank with new connections.
    pub fn reconnected(&self) -> Self {
        let trader = Trader { client: self.trader.client.reconnected(), ..self.trader.clone() };
        Self { trader, closed: Arc::default(), ..self.clone() }
    }

    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// How many orders the customers know.
    pub fn acknowledged(&self) -> usize {
        self.ledger().acknowledged.len()
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // After the failure of one customer, a poisoned lock in the others would only hide the cause.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts customers who trade until `until`, or until a request gets no response. Each task returns whether every
    /// request got one.
    pub fn customers(&self, count: usize, prices: Prices, until: Instant) -> JoinSet<bool> {
        let mut customers = JoinSet::new();
        for _ in 0..count {
            let bank = self.clone();
            customers.spawn(async move { bank.customer(prices, until).await });
        }
        customers
    }

    async fn customer(&self, prices: Prices, until: Instant) -> bool {
        let is_open = || !self.closed.load(Ordering::Relaxed) && Instant::now() < until;
        while is_open() && self.ledger().requests < MAX_REQUESTS {
            let request = self.next_request(prices);
            let cut = rand::random_bool(0.2);
            if cut {
                let client = &self.trader.client;
                let connection =
                    client.send(&request.method(), &request.path(), &request.key, &request.body());
                if rand::random_bool(0.5) {
                    tokio::time::sleep(Duration::from_millis(rand::random_range(1..20))).await;
                }
                drop(connection);
                // Half of the customers retry at once, the others only at the end.
                if !request.makes_an_order() || rand::random_bool(0.5) {
                    if request.makes_an_order() {
                        self.ledger().unheard.push(request);
                    }
                    continue;
                }
            }
            let Some(answer) = self.ask(&request).await else {
                if request.makes_an_order() {
                    self.ledger().unheard.push(request);
                }
                return false;
            };
            if self.endures_outages && is_outage(&answer) {
                if request.makes_an_order() {
                    self.ledger().unheard.push(request);
                }
                tokio::time::sleep(AFTER_OUTAGE).await;
                continue;
            }
            self.ledger().hear(&request, &answer, cut);
            if answer.status == 201 && request.makes_an_order() && rand::random_bool(0.1) {
                let Some(again) = self.ask(&request).await else { return false };
                if self.endures_outages && is_outage(&again) {
                    continue;
                }
                assert_eq!(again.header("idempotent-replayed"), Some("true"), "{}", again.text);
                self.ledger().hear(&request, &again, false);
            }
        }
        true
    }

    async fn ask(&self, request: &Request) -> Option<Answer> {
        let path = request.path();
        let ask = self.trader.client.ask_once(request.method(), &path, |one| {
            one.header("Idempotency-Key", &request.key)
                .header("Content-Type", "application/json")
                .body(request.body())
        });
        ask.await
    }

    fn next_request(&self, prices: Prices) -> Request {
        let mut ledger = self.ledger();
        ledger.requests += 1;
        let key = format!("request-{}", ledger.requests);
        let dice = rand::random_range(0..100);
        if !ledger.open.is_empty() && (dice < 35 || ledger.open.len() > MAX_OPEN) {
            let (portfolio, order) = pick(&ledger.open).clone();
            let id = order["id"].as_str().unwrap().to_owned();
            let wish = match dice % 2 {
                0 => Wish::Cancel(id),
                _ => Wish::Replace(id, self.changes(&order, prices)),
            };
            return Request { portfolio, key, wish };
        }
        let portfolio = *pick(&self.portfolios);
        if dice < 45 {
            let kind = *pick(&["deposit", "withdrawal"]);
            ledger.payments.entry((portfolio, kind)).or_default().sent += 1;
            return Request { portfolio, key, wish: Wish::Pay(kind) };
        }
        Request { portfolio, key, wish: Wish::Place(self.new_order(prices)) }
    }

    fn changes(&self, order: &Value, prices: Prices) -> Value {
        let quote = self.quotes.iter().find(|quote| order["symbol"] == quote.symbol).unwrap();
        let away = rand::random_range(1..=100);
        match (order["type"].as_str(), order["side"].as_str()) {
            (Some("limit"), Some("buy")) if rand::random_bool(0.7) => {
                // One in five is at a price that fills at once.
                json!({"limit_price": moved(&quote.ask, if away > 80 { 5 } else { -away })})
            }
            (Some("limit"), Some("sell")) if rand::random_bool(0.7) => {
                json!({"limit_price": moved(&quote.bid, if away > 80 { -5 } else { away })})
            }
            _ => json!({"quantity": quantity(prices)}),
        }
    }

    fn new_order(&self, prices: Prices) -> Value {
        let Quote { symbol, last, bid, ask } = pick(&self.quotes);
        let buys = rand::random_bool(0.6);
        let (side, touch, toward) = if buys { ("buy", ask, 1) } else { ("sell", bid, -1) };
        let away = rand::random_range(1..=200);
        let mut order = match rand::random_range(0..16) {
            0 if prices == Prices::Move => {
                json!({"type": "market", "notional": format!("{}.{:02}", 1 + away, away % 100)})
            }
            // Larger than any position or cash can cover.
            1 => json!({"type": "market", "quantity": "1000000"}),
            0..=4 => json!({"type": "market"}),
            5 => {
                let time_in_force = pick(&["day", "gtc", "ioc", "fok"]);
                json!({"type": "limit", "limit_price": moved(touch, toward * 5), "time_in_force": time_in_force})
            }
            6 => {
                let limit = moved(touch, -toward * away);
                json!({"type": "limit", "limit_price": limit, "time_in_force": pick(&["ioc", "fok"])})
            }
            7..=10 => json!({"type": "limit", "limit_price": moved(touch, -toward * away)}),
            11 => json!({"type": "stop", "stop_price": moved(last, toward * away)}),
            12 => {
                let [stop, limit] = [away, away + 50].map(|cents| moved(last, toward * cents));
                json!({"type": "stop_limit", "stop_price": stop, "limit_price": limit})
            }
            13 => json!({"type": "trailing_stop", "trail_percent": "0.5"}),
            _ => {
                let (profit, loss) = (moved(ask, away), json!({"stop_price": moved(bid, -away)}));
                match buys {
                    true => json!({
                        "type": "market", "order_class": "bracket",
                        "take_profit": {"limit_price": profit}, "stop_loss": loss,
                    }),
                    false => json!({
                        "type": "limit", "limit_price": profit, "order_class": "oco", "stop_loss": loss,
                    }),
                }
            }
        };
        order["symbol"] = json!(symbol);
        order["side"] = json!(side);
        if order["notional"].is_null() && order["quantity"].is_null() {
            order["quantity"] = json!(quantity(prices));
        }
        if order["time_in_force"].is_null() {
            order["time_in_force"] = json!(pick(&["day", "gtc"]));
        }
        order.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        order
    }

    /// Checks what every read must satisfy: nothing is negative, all sums are right, and all payments are included.
    fn check(&self, id: i64, prices: Prices, seen: &Value) {
        let of = |name: &str| amount(&seen[name]);
        let zero = BigDecimal::from(0);
        assert!(of("cash_balance") >= of("buying_power") && of("buying_power") >= zero, "{seen}");
        let (mut value, mut cost) = (zero.clone(), zero.clone());
        for position in seen["positions"].as_array().unwrap() {
            let of = |name: &str| amount(&position[name]);
            let quantity = of("quantity");
            assert!(quantity > zero && of("cost_basis") >= zero, "{seen}");
            let worth = (&quantity * of("last_price")).with_scale_round(2, RoundingMode::HalfEven);
            assert_eq!(of("market_value"), worth, "{seen}");
            if prices == Prices::Stand {
                let quote = self.quotes.iter().find(|quote| position["symbol"] == quote.symbol).unwrap();
                assert_eq!(of("last_price"), quote.last, "{seen}");
                // Each share was bought at the ask, and there are no others.
                assert_eq!(of("cost_basis"), quantity * &quote.ask, "{seen}");
            }
            value += worth;
            cost += of("cost_basis");
        }
        assert_eq!(of("total_value"), of("cash_balance") + value, "{seen}");
        let traded = paid_in(seen, &cost) - amount(&json!(START));
        let ledger = self.ledger();
        let sent = |kind| ledger.payments.get(&(id, kind)).map_or(0, |payments| payments.sent * PAYMENT);
        let payments = -BigDecimal::from(sent("withdrawal"))..=BigDecimal::from(sent("deposit"));
        assert!(
            (&traded % BigDecimal::from(PAYMENT)) == zero && payments.contains(&traded),
            "{traded} is too much: {seen}"
        );
    }

    /// Reads one portfolio after the other.
    async fn reader(&self, prices: Prices, until: Instant) -> usize {
        let mut reads = 0;
        while Instant::now() < until {
            let id = *pick(&self.portfolios);
            let seen = self.trader.portfolio(id, "/valuation").await;
            self.check(id, prices, &seen);
            reads += 1;
        }
        reads
    }

    /// Runs customers and readers at the same time.
    async fn business(&self, customers: usize, prices: Prices, time: Duration) {
        let until = Instant::now() + time;
        let mut readers = JoinSet::new();
        for _ in 0..READERS {
            let bank = self.clone();
            readers.spawn(async move { bank.reader(prices, until).await });
        }
        let answered = self.customers(customers, prices, until).join_all().await;
        assert!(answered.into_iter().all(|always| always), "a request was not answered");
        let reads: usize = readers.join_all().await.into_iter().sum();
        let ledger = self.ledger();
        let mut by_status: BTreeMap<&str, usize> = BTreeMap::new();
        ledger.orders.values().for_each(|(_, status)| *by_status.entry(status).or_default() += 1);
        eprintln!(
            "{} requests, {} refused, {} unheard of; orders {by_status:?}; {reads} reads",
            ledger.requests,
            ledger.refused.len(),
            ledger.unheard.len(),
        );
    }

    /// Checks that every acknowledged order exists once, in the acknowledged state or a later one, and that refused
    /// ones do not exist. Returns the ids of all orders with a key, by key. No request may be in progress.
    pub async fn orders_are_there(&self) -> HashMap<String, String> {
        let (mut found, mut by_key) = (HashMap::new(), HashMap::new());
        for &portfolio in &*self.portfolios {
            for order in self.trader.all(portfolio, "/orders?status=all").await {
                let text = |name: &str| order[name].as_str().map(ToOwned::to_owned);
                let id = text("id").unwrap();
                if let Some(key) = text("client_order_id") {
                    assert_eq!(by_key.insert(key, id.clone()), None, "two orders of one request: {order}");
                }
                assert_eq!(found.insert(id, (portfolio, text("status").unwrap())), None, "{order}");
            }
        }
        let ledger = self.ledger();
        for (id, (portfolio, told)) in &ledger.orders {
            let (at, status) = found.get(id).unwrap_or_else(|| panic!("order {id} is lost"));
            assert!(at == portfolio && may_have_become(told, status), "{id} was {told} and is {status}");
        }
        for (key, id) in &ledger.acknowledged {
            assert_eq!(by_key.get(key), Some(id), "{key}");
        }
        let unheard: HashSet<&String> = ledger.unheard.iter().map(|request| &request.key).collect();
        for key in by_key.keys() {
            assert!(ledger.acknowledged.contains_key(key) || unheard.contains(key), "nobody knows {key}");
        }
        by_key
    }

    /// Checks that reservations match the open orders, and that cash matches the journal. Prices must not change, or no
    /// customer may trade meanwhile.
    async fn money_is_there(&self) {
        for &id in &*self.portfolios {
            let what = "the worker has let the orders meet the last prices";
            let (seen, open) = eventually(what, Duration::from_secs(60), async || {
                let before = self.trader.portfolio(id, "").await;
                let open = self.trader.all(id, "/orders?status=open").await;
                let seen = self.trader.portfolio(id, "/valuation").await;
                let same = |name| before[name] == seen[name];
                (same("cash_balance") && same("buying_power")).then_some((seen, open))
            })
            .await;
            let of = |name: &str| amount(&seen[name]);
            let reserved: BigDecimal = open.iter().map(|order| amount(&order["reserved_cash"])).sum();
            assert_eq!(of("cash_balance") - of("buying_power"), reserved, "portfolio {id}");
            let positions = seen["positions"].as_array().unwrap();
            for Quote { symbol, .. } in &*self.quotes {
                let of_symbol = |list: &[Value], name: &str| -> BigDecimal {
                    list.iter().filter(|one| one["symbol"] == *symbol).map(|one| amount(&one[name])).sum()
                };
                let (kept, held) = (of_symbol(&open, "reserved_quantity"), of_symbol(positions, "quantity"));
                assert!(kept <= held, "portfolio {id}: {kept} {symbol} kept of {held}");
            }
            let cost: BigDecimal = positions.iter().map(|one| amount(&one["cost_basis"])).sum();
            let mut paid = BigDecimal::from(0);
            for kind in ["deposit", "withdrawal"] {
                let journal = self.trader.all(id, &format!("/transactions?type={kind}")).await;
                paid += journal.iter().map(|one| amount(&one["amount"])).sum::<BigDecimal>();
                let later = i64::try_from(journal.len()).unwrap() - i64::from(kind == "deposit");
                let ledger = self.ledger();
                let known = ledger.payments.get(&(id, kind));
                let known = known.map_or(0..=0, |known| known.acknowledged..=known.sent);
                assert!(known.contains(&later), "portfolio {id}: {later} {kind}s of {known:?}");
            }
            assert_eq!(paid_in(&seen, &cost), paid, "portfolio {id}");
        }
    }

    /// Retries all orders without a response. Existing ones are returned, the others are placed or refused now.
    async fn ask_what_came_of_it(&self) {
        let found = Arc::new(self.orders_are_there().await);
        let mut unheard = std::mem::take(&mut self.ledger().unheard);
        let mut asking = JoinSet::new();
        while !unheard.is_empty() {
            let some = unheard.split_off(unheard.len().saturating_sub(1000));
            let (bank, found) = (self.clone(), found.clone());
            asking.spawn(async move {
                for request in some {
                    let answer = bank.ask(&request).await.expect("an answer");
                    let replayed = answer.header("idempotent-replayed") == Some("true");
                    assert_eq!(
                        replayed,
                        found.contains_key(&request.key),
                        "{}: {}",
                        request.key,
                        answer.text
                    );
                    if let (true, Some(id)) = (replayed, found.get(&request.key)) {
                        assert_eq!(answer.expect(201)["id"], json!(id));
                    }
                    bank.ledger().hear(&request, &answer, false);
                }
            });
        }
        asking.join_all().await;
        self.orders_are_there().await;
    }

    /// Checks that everything is as acknowledged, and that all cash and shares are free once all orders are canceled.
    pub async fn audit(&self) {
        self.money_is_there().await;
        self.ask_what_came_of_it().await;
        self.money_is_there().await;
        for &id in &*self.portfolios {
            for order in self.trader.all(id, "/orders?status=open").await {
                let path = format!("/api/v1/portfolios/{id}/orders/{}", order["id"].as_str().unwrap());
                let answer = self.trader.client.delete(&path).await;
                // It may have been canceled together with another one.
                assert!(answer.status == 200 || answer.json()["code"] == "order_not_open", "{}", answer.text);
            }
            for held in items(&self.trader.portfolio(id, "/positions").await) {
                let body = json!({
                    "symbol": held["symbol"], "side": "sell", "quantity": held["quantity"], "type": "market",
                });
                assert_eq!(self.trader.order(id, &body).await.expect(201)["status"], "filled");
            }
            let seen = self.trader.portfolio(id, "/valuation").await;
            assert_eq!(seen["positions"], json!([]));
            assert_eq!(seen["buying_power"], seen["cash_balance"]);
        }
        self.money_is_there().await;
    }
}

/// The payments into a portfolio, computed from its value and the results of trading.
fn paid_in(valuation: &Value, cost: &BigDecimal) -> BigDecimal {
    amount(&valuation["cash_balance"]) + cost - amount(&valuation["realized_pnl"])
}

async fn the_books_hold(installation: Installation, (servers, workers): (usize, usize), pool: &str) {
    let (customers, time): (usize, _) =
        if soaking() { (32, Duration::from_secs(60)) } else { (12, Duration::from_secs(2)) };
    let installation = installation.with("DATABASE_POOL", pool).with("CLOCK_START", "2026-03-02T15:00:00Z");
    let installation = installation.with_all(&Prices::Stand.settings());
    let mut stack = Stack::of(installation, servers, workers).await;
    let bank = Bank::open(stack.trader().await, customers.div_ceil(3)).await;
    bank.business(customers, Prices::Stand, time).await;
    stack.restart(&Prices::Move.settings()).await;
    bank.business(customers, Prices::Move, time / 2).await;
    stack.restart(&Prices::Stand.settings()).await;
    bank.audit().await;
    stack.ends_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_books_balance_on_sqlite_with_two_connections() {
    the_books_hold(Installation::embedded(), (1, 0), "2").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_books_balance_on_sqlite_with_twenty_connections() {
    the_books_hold(Installation::embedded(), (1, 0), "20").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_books_balance_on_postgres_with_two_connections() {
    the_books_hold(Installation::on_postgres(), (1, 0), "2").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_books_balance_on_postgres_with_twenty_connections() {
    the_books_hold(Installation::on_postgres(), (1, 0), "20").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_books_of_two_processes_balance_with_two_connections() {
    the_books_hold(Installation::full(), (2, 1), "2").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_books_of_two_processes_balance_with_twenty_connections() {
    the_books_hold(Installation::full(), (2, 1), "20").await;
}
