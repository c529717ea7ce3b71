//! Trading: the main workflow, and orders that are refused.

use std::time::Duration;

use bigdecimal::{BigDecimal, RoundingMode};
use serde_json::{Value, json};

use crate::client::{amount, items};
use crate::process::eventually;
use crate::stack::Stack;

fn cents(value: BigDecimal) -> BigDecimal {
    value.with_scale_round(2, RoundingMode::HalfEven)
}

fn decimal(text: &str) -> BigDecimal {
    text.parse().unwrap()
}

/// From registration to the first sell. The test recomputes every number.
pub async fn the_main_workflow_of_a_trader(stack: &Stack) {
    let sam = stack.trader().await;
    let opened = sam.client.post("/api/v1/portfolios", &json!({"name": "Growth"})).await;
    let portfolio = opened.expect(201);
    let id = portfolio["id"].as_i64().unwrap();
    assert_eq!(opened.header("location"), Some(format!("/api/v1/portfolios/{id}").as_str()));
    assert_eq!(portfolio["cash_balance"], "100000.00");

    let found = sam.client.get("/api/v1/stocks?search=app").await.expect(200);
    let apple = items(&found).iter().find(|stock| stock["symbol"] == "AAPL").expect("AAPL is found");
    assert!(apple["company_name"].as_str().unwrap().contains("Apple"), "{apple}");
    assert_eq!(apple["currency"], "USD");
    let quote = sam.client.get("/api/v1/stocks/AAPL/quote").await.expect(200);
    assert!(amount(&quote["bid"]) <= amount(&quote["price"]), "{quote}");
    assert!(amount(&quote["price"]) <= amount(&quote["ask"]), "{quote}");
    assert_eq!(quote["stale"], false);

    // A preview shows the result of an order and stores nothing.
    let body = json!({"symbol": "AAPL", "side": "buy", "quantity": "10", "type": "market"});
    let path = format!("/api/v1/portfolios/{id}/orders/preview");
    let preview = sam.client.post(&path, &body).await.expect(200);
    assert_eq!(amount(&preview["cash_after"]), decimal("100000") - amount(&preview["cost"]));
    assert_eq!(items(&sam.portfolio(id, "/orders").await).len(), 0);

    let placed = sam.order(id, &body).await;
    let first = placed.expect(201);
    let location = placed.header("location").unwrap().to_owned();
    assert_eq!(location, format!("/api/v1/portfolios/{id}/orders/{}", first["id"].as_str().unwrap()));
    assert_eq!(sam.client.get(&location).await.expect(200), first);
    assert_eq!((&first["status"], &first["type"]), (&json!("filled"), &json!("market")));
    assert_eq!(first["filled_quantity"], "10");
    assert_eq!(amount(&first["amount"]), -cents(amount(&first["filled_price"]) * 10));
    assert_eq!(first["receipt"]["rule"], "ask");

    let second = sam.buy(id, "AAPL", "2.5").await;
    let bought = -(amount(&first["amount"]) + amount(&second["amount"]));
    let position = sam.portfolio(id, "/positions/AAPL").await;
    assert_eq!((&position["quantity"], amount(&position["cost_basis"])), (&json!("12.5"), bought.clone()));
    let average = (&bought / decimal("12.5")).with_scale_round(6, RoundingMode::HalfEven);
    assert_eq!(amount(&position["average_buy_price"]), average);

    let body = json!({"symbol": "AAPL", "side": "sell", "quantity": "4", "type": "market"});
    let sold = sam.order(id, &body).await.expect(201);
    let cost = cents(&bought * 4 / decimal("12.5"));
    assert_eq!(amount(&sold["realized_pnl"]), amount(&sold["amount"]) - &cost);
    assert_eq!(sold["receipt"]["rule"], "bid");

    let by_money = json!({"symbol": "msft", "side": "buy", "notional": "1000.00", "type": "market"});
    let by_money = sam.order(id, &by_money).await.expect(201);
    assert_eq!(by_money["symbol"], "MSFT");
    let spent = -amount(&by_money["amount"]);
    assert!(spent > decimal("999.90") && spent <= decimal("1000"), "{by_money}");

    let orders = [&first, &second, &sold, &by_money];
    let cash = orders.iter().fold(decimal("100000"), |cash, order| cash + amount(&order["amount"]));
    assert_eq!(amount(&sam.portfolio(id, "").await["cash_balance"]), cash);
    valuation_adds_up(&sam.portfolio(id, "/valuation").await, &cash, &(bought - cost), &sold);

    let journal = sam.portfolio(id, "/transactions").await;
    let types: Vec<&str> =
        items(&journal).iter().map(|line| line["transaction_type"].as_str().unwrap()).collect();
    assert_eq!(types, ["buy", "sell", "buy", "buy", "deposit"]);
    assert_eq!(items(&journal)[1]["order_id"], sold["id"]);
    assert_eq!(items(&journal)[1]["quantity"], "4");
    assert_eq!(items(&journal)[4]["amount"], "100000.00");

    composition_adds_up(&sam.portfolio(id, "/composition").await);
    performance_adds_up(&sam.portfolio(id, "/performance?period=ALL").await);
    assert_eq!(sam.portfolio(id, "/snapshots").await["next_cursor"], Value::Null);
}

fn valuation_adds_up(valuation: &Value, cash: &BigDecimal, apple_cost: &BigDecimal, sold: &Value) {
    let positions = valuation["positions"].as_array().unwrap();
    let mut positions_value = decimal("0");
    for position in positions {
        let market_value = amount(&position["market_value"]);
        assert_eq!(market_value, cents(amount(&position["quantity"]) * amount(&position["last_price"])));
        assert_eq!(amount(&position["unrealized_pnl"]), &market_value - amount(&position["cost_basis"]));
        positions_value += market_value;
    }
    let apple = positions.iter().find(|position| position["symbol"] == "AAPL").unwrap();
    assert_eq!((&apple["quantity"], amount(&apple["cost_basis"])), (&json!("8.5"), apple_cost.clone()));
    assert_eq!(amount(&valuation["cash_balance"]), *cash);
    assert_eq!(amount(&valuation["positions_value"]), positions_value);
    assert_eq!(amount(&valuation["total_value"]), cash + &positions_value);
    assert_eq!(valuation["realized_pnl"], sold["realized_pnl"]);
    // The total gain is the current value less the deposits.
    let gained = amount(&valuation["realized_pnl"]) + amount(&valuation["unrealized_pnl"]);
    assert_eq!(amount(&valuation["total_value"]) - decimal("100000"), gained);
}

fn composition_adds_up(composition: &Value) {
    let slices = |of: &str| composition[of].as_array().unwrap().clone();
    for parts in [slices("stocks"), slices("sectors")] {
        let weights: f64 = parts.iter().map(|part| part["weight"].as_f64().unwrap()).sum();
        let whole = weights + composition["cash"]["weight"].as_f64().unwrap();
        assert!((whole - 1.0).abs() < 1e-9, "{composition}");
        let values = parts.iter().map(|part| amount(&part["market_value"]));
        let sum = values.fold(amount(&composition["cash"]["market_value"]), |sum, value| sum + value);
        assert_eq!(sum, amount(&composition["total_value"]));
    }
    assert_eq!(slices("stocks").len(), 2);
    assert!(slices("sectors").iter().any(|sector| sector["sector"] == "Technology"), "{composition}");
}

fn performance_adds_up(performance: &Value) {
    let series = performance["series"].as_array().unwrap();
    let last = series.last().expect("the moment itself is a point");
    let gain =
        amount(&last["total_value"]) - amount(&performance["start_value"]) - amount(&performance["net_flow"]);
    assert_eq!(amount(&performance["gain"]), gain);
    assert_eq!(performance["net_flow"], "100000.00");
    let twr = performance["twr"].as_f64().unwrap();
    assert!(twr.abs() < 0.5, "{performance}");
    assert!(performance["max_drawdown"].as_f64().unwrap() <= 0.0, "{performance}");
}

/// In calm periods of the market a single price can stand still for a minute, but not several prices.
pub async fn prices_move(stack: &Stack) {
    let sam = stack.trader().await;
    let made = sam.client.post("/api/v1/watchlists", &json!({"name": "Lively"})).await.expect(201);
    let path = format!("/api/v1/watchlists/{}", made["id"]);
    for symbol in ["AAPL", "COST", "LLY", "META", "MSFT", "NVDA", "TSLA"] {
        sam.client.put(&format!("{path}/items/{symbol}")).await.expect(204);
    }
    let quotes = async || items(&sam.client.get(&path).await.expect(200)).to_vec();
    let before = quotes().await;
    eventually("another price", Duration::from_secs(30), async || {
        let now = quotes().await;
        let moved =
            |part: &str| before.iter().zip(&now).any(|(then, now)| then["quote"][part] != now["quote"][part]);
        (moved("as_of") && moved("price")).then_some(())
    })
    .await;
}

pub async fn refused_orders_change_nothing(stack: &Stack) {
    let sam = stack.trader().await;
    let id = sam.open_portfolio("1000.00").await;
    let order = |side: &str, symbol: &str, quantity: &str| {
        let body = json!({"symbol": symbol, "side": side, "quantity": quantity, "type": "market"});
        let sam = sam.clone();
        async move { sam.order(id, &body).await }
    };
    sam.buy(id, "AAPL", "0.5").await;
    let before = sam.portfolio(id, "").await;

    let refused = order("buy", "AAPL", "1000").await.problem(422, "insufficient_buying_power");
    assert_eq!(refused["available"], before["cash_balance"]);
    assert!(amount(&refused["required"]) > amount(&refused["available"]));
    let refused = order("sell", "AAPL", "0.500000001").await.problem(422, "insufficient_shares");
    assert_eq!((&refused["required"], &refused["available"]), (&json!("0.500000001"), &json!("0.5")));
    order("sell", "MSFT", "1").await.problem(422, "insufficient_shares");
    order("buy", "AAPL", "0.000000001").await.problem(422, "order_too_small");
    order("buy", "NOSUCH", "1").await.problem(404, "unknown_symbol");

    let fields = async |body: Value| sam.order(id, &body).await.refused_fields(422, "invalid_fields");
    assert_eq!(
        fields(json!({"symbol": "", "side": "hold", "quantity": "-1", "type": "guess"})).await,
        ["symbol", "side", "quantity", "type"]
    );
    let both =
        json!({"symbol": "AAPL", "side": "buy", "quantity": "1", "notional": "5.00", "type": "market"});
    assert_eq!(fields(both).await, ["notional"]);
    assert_eq!(fields(json!({"symbol": "AAPL", "side": "buy", "type": "market"})).await, ["quantity"]);
    for quantity in ["0", "1e3", "1_000", "0.0000000001", "1000000001", "NaN", " 1", "+1", "1,5", ""] {
        let body = json!({"symbol": "AAPL", "side": "buy", "quantity": quantity, "type": "market"});
        assert_eq!(fields(body).await, ["quantity"], "{quantity:?}");
    }

    assert_eq!(sam.portfolio(id, "").await["cash_balance"], before["cash_balance"]);
    assert_eq!(items(&sam.portfolio(id, "/orders").await).len(), 1);
    assert_eq!(items(&sam.portfolio(id, "/transactions").await).len(), 2);
    assert_eq!(sam.portfolio(id, "/positions/AAPL").await["quantity"], "0.5");
}

pub async fn a_repeated_order_is_placed_once(stack: &Stack) {
    let sam = stack.trader().await;
    let id = sam.open_portfolio("10000.00").await;
    let path = format!("/api/v1/portfolios/{id}/orders");
    let with_key = async |key: &str, body: &Value| {
        sam.client
            .ask(reqwest::Method::POST, &path, |request| request.header("Idempotency-Key", key).json(body))
            .await
    };
    let body = json!({"symbol": "AAPL", "side": "buy", "quantity": "1", "type": "market"});
    let first = with_key("one", &body).await;
    assert_eq!(first.header("idempotent-replayed"), None);
    let order = first.expect(201);
    assert_eq!(order["client_order_id"], "one");

    // Once per process, with the same order in another notation.
    let same =
        json!({"type": "market", "quantity": 1.0, "side": "buy", "symbol": "aapl", "time_in_force": "day"});
    for body in [&body, &body, &body, &same] {
        let again = with_key("one", body).await;
        assert_eq!(again.expect(201), order);
        assert_eq!(again.header("idempotent-replayed"), Some("true"));
        assert_eq!(again.header("location"), first.header("location"));
    }
    let in_the_body =
        json!({"symbol": "AAPL", "side": "buy", "quantity": "1", "type": "market", "client_order_id": "one"});
    assert_eq!(sam.order(id, &in_the_body).await.expect(201), order);
    assert_eq!(
        with_key("two", &in_the_body).await.refused_fields(422, "invalid_fields"),
        ["client_order_id"]
    );
    let other = json!({"symbol": "AAPL", "side": "buy", "quantity": "2", "type": "market"});
    with_key("one", &other).await.problem(422, "client_order_id_reused");

    // A refused order is not remembered, and another portfolio has its own keys.
    let too_much = json!({"symbol": "AAPL", "side": "buy", "quantity": "1000", "type": "market"});
    with_key("three", &too_much).await.problem(422, "insufficient_buying_power");
    let third = with_key("three", &body).await;
    assert_eq!((third.status, third.header("idempotent-replayed")), (201, None));
    let elsewhere = sam.open_portfolio("10000.00").await;
    assert_ne!(sam.order(elsewhere, &in_the_body).await.expect(201)["id"], order["id"]);
    assert_eq!(items(&sam.portfolio(id, "/orders").await).len(), 2);
}

pub async fn cash_is_deposited_and_withdrawn(stack: &Stack) {
    let sam = stack.trader().await;
    let id = sam.open_portfolio("100.00").await;
    let path = format!("/api/v1/portfolios/{id}/cash");
    let cash = async |kind: &str, amount: &str| {
        sam.client.post(&path, &json!({"type": kind, "amount": amount})).await
    };
    let paid_in = cash("deposit", "50.25").await.expect(201);
    assert_eq!((&paid_in["transaction_type"], &paid_in["amount"]), (&json!("deposit"), &json!("50.25")));
    let paid_out = cash("withdrawal", "150.00").await.expect(201);
    assert_eq!(paid_out["amount"], "-150.00");
    let refused = cash("withdrawal", "0.26").await.problem(422, "insufficient_cash");
    assert_eq!((&refused["required"], &refused["available"]), (&json!("0.26"), &json!("0.25")));
    for bad in ["0", "-5.00", "1.001", "1e2", "2000000000000000"] {
        assert_eq!(cash("deposit", bad).await.refused_fields(422, "invalid_fields"), ["amount"], "{bad}");
    }
    assert_eq!(cash("buy", "1.00").await.refused_fields(422, "invalid_fields"), ["type"]);
    assert_eq!(sam.portfolio(id, "").await["cash_balance"], "0.25");
    let performance = sam.portfolio(id, "/performance").await;
    assert_eq!((&performance["net_flow"], &performance["gain"]), (&json!("0.25"), &json!("0.00")));
}

pub async fn watchlists_show_prices(stack: &Stack) {
    let sam = stack.trader().await;
    let made = sam.client.post("/api/v1/watchlists", &json!({"name": "Tech"})).await;
    let path = made.header("location").unwrap().to_owned();
    let list = made.expect(201);
    assert_eq!(path, format!("/api/v1/watchlists/{}", list["id"]));
    for symbol in ["MSFT", "AAPL", "MSFT"] {
        sam.client.put(&format!("{path}/items/{symbol}")).await.expect(204);
    }
    sam.client.put(&format!("{path}/items/NOSUCH")).await.problem(404, "unknown_symbol");
    let list = sam.client.get(&path).await.expect(200);
    let symbols: Vec<&str> = items(&list).iter().map(|item| item["symbol"].as_str().unwrap()).collect();
    assert_eq!(symbols, ["MSFT", "AAPL"]);
    assert!(items(&list).iter().all(|item| amount(&item["quote"]["price"]) > decimal("0")), "{list}");

    sam.client.patch(&path, &json!({"name": "Large"})).await.expect(200);
    sam.client.delete(&format!("{path}/items/MSFT")).await.expect(204);
    let lists = sam.client.get("/api/v1/watchlists").await.expect(200);
    assert_eq!(items(&lists).len(), 1);
    assert_eq!((&items(&lists)[0]["name"], items(&items(&lists)[0]).len()), (&json!("Large"), 1));
    sam.client.delete(&path).await.expect(204);
    sam.client.get(&path).await.problem(404, "not_found");
    assert_eq!(sam.client.post("/api/v1/watchlists", &json!({"name": ""})).await.status, 422);
}

pub async fn portfolios_are_renamed_and_deleted(stack: &Stack) {
    let sam = stack.trader().await;
    let id = sam.open_portfolio("500.00").await;
    sam.buy(id, "AAPL", "0.1").await;
    let path = format!("/api/v1/portfolios/{id}");
    let changed = sam.client.patch(&path, &json!({"description": "For later"})).await.expect(200);
    assert_eq!((&changed["name"], &changed["description"]), (&json!("Growth"), &json!("For later")));
    let changed = sam.client.patch(&path, &json!({"name": "Ruhestand 🏖"})).await.expect(200);
    assert_eq!((&changed["name"], &changed["description"]), (&json!("Ruhestand 🏖"), &json!("For later")));
    assert_eq!(sam.client.patch(&path, &json!({"name": " "})).await.status, 422);
    let negative = json!({"name": "Debt", "cash_balance": "-1.00"});
    let refused = sam.client.post("/api/v1/portfolios", &negative).await;
    assert_eq!(refused.refused_fields(422, "invalid_fields"), ["cash_balance"]);

    sam.client.delete(&path).await.expect(204);
    sam.client.get(&path).await.problem(404, "not_found");
    sam.client.delete(&path).await.problem(404, "not_found");
    assert_eq!(items(&sam.client.get("/api/v1/portfolios").await.expect(200)).len(), 0);
}
