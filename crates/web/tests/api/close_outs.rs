//! Close-outs of delisted stocks: in the API, on the administrators' page, and as holders see them.

use domain::{Calendar, Freshness};
use insta::assert_json_snapshot;
use market_data::QuoteError;
use serde_json::{Value, json};
use services::testing::FixedPrices;

use super::harness::{Caller, Person, TestApp, csrf_token};

const CLOSE_OUTS: &str = "/api/v1/admin/close-outs";

/// Mara holds 10 AAPL, which is delisted on Monday, and 1 MSFT.
pub async fn delisted() -> (TestApp, Person, i64, Caller) {
    let prices = FixedPrices::of(Freshness::Delayed, Calendar::Xnys);
    let app = TestApp::spawn_on(prices, |_| ()).await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("10000.00").await;
    mara.buy(portfolio, "AAPL", "10").await.is(201);
    mara.buy(portfolio, "MSFT", "1").await.is(201);
    app.work().await;
    app.prices.fail_for("AAPL", QuoteError::UnknownSymbol("AAPL".parse().unwrap()));
    app.at("2026-11-23T16:00:00Z");
    let ada = app.admin().await;
    let confirm = json!({"symbol": "AAPL", "resolution": "confirm", "reason": "Merged."});
    ada.post("/api/v1/admin/delistings", confirm).await.is(204);
    (app, mara, portfolio, ada)
}

async fn cash(mara: &Caller, portfolio: i64) -> Value {
    mara.get(&format!("/api/v1/portfolios/{portfolio}")).await.is(200).json()["cash_balance"].clone()
}

#[tokio::test]
async fn an_administrator_closes_a_stock_out_by_the_api() {
    let (_app, mara, portfolio, ada) = delisted().await;
    let terms = json!({"symbol": "AAPL", "kind": "exchange", "into": "MSFT", "ratio": "1:2", "cash": 1.5, "reason": "8-K"});
    let preview = ada.post(&format!("{CLOSE_OUTS}/preview"), terms.clone()).await.is(200);
    assert_json_snapshot!(preview.json(), @r#"
    {
      "cash": "15.00",
      "cost": "1500.00",
      "into": "MSFT",
      "on": "2026-11-23",
      "portfolios": 1,
      "realized_pnl": "0.00",
      "received": "5",
      "shares": "10",
      "symbol": "AAPL"
    }
    "#);
    for (body, status, field) in [
        (json!({"symbol": "?", "kind": "write_off", "reason": "x"}), 422, "symbol"),
        (json!({"symbol": "MSFT", "kind": "write_off", "reason": "x"}), 422, "symbol"),
        (json!({"symbol": "AAPL", "kind": "gift", "reason": "x"}), 422, "kind"),
        (json!({"symbol": "AAPL", "kind": "cash", "reason": "x"}), 422, "cash"),
        (json!({"symbol": "AAPL", "kind": "cash", "cash": "-1", "reason": "x"}), 422, "cash"),
        (json!({"symbol": "AAPL", "kind": "cash", "cash": 0, "reason": "x"}), 422, "cash"),
        (json!({"symbol": "AAPL", "kind": "cash", "cash": "1", "into": "MSFT", "reason": "x"}), 422, "into"),
        (
            json!({"symbol": "AAPL", "kind": "exchange", "into": "AAPL", "ratio": "1:1", "reason": "x"}),
            422,
            "into",
        ),
        (
            json!({"symbol": "AAPL", "kind": "exchange", "into": "MSFT", "ratio": "0:1", "reason": "x"}),
            422,
            "ratio",
        ),
        (json!({"symbol": "AAPL", "kind": "write_off", "on": "2036-01-01", "reason": "x"}), 422, "on"),
        (json!({"symbol": "AAPL", "kind": "write_off", "reason": ""}), 422, "reason"),
    ] {
        let refused = ada.post(CLOSE_OUTS, body.clone()).await;
        refused.is_refused(status, "invalid_fields");
        assert_eq!(refused.json()["errors"][0]["field"], field, "{body}");
    }
    ada.post(CLOSE_OUTS, json!({"symbol": "NOSUCH", "kind": "write_off", "reason": "x"})).await.is(404);
    mara.post(CLOSE_OUTS, terms.clone()).await.is_refused(404, "not_found");
    assert_eq!(cash(&mara, portfolio).await, "8100.00");

    let keyed = ada.with("idempotency-key", "close-1");
    let done = keyed.post(CLOSE_OUTS, terms.clone()).await.is(201);
    assert_eq!(done.json()["id"], "AAPL/2026-11-23/close_out");
    assert_eq!((&done.json()["kind"], &done.json()["cash"]), (&json!("exchange"), &json!("1.50")));
    let again = keyed.post(CLOSE_OUTS, terms.clone()).await.is(201);
    assert_eq!((again.header("idempotent-replayed"), again.json().0), (Some("true"), done.json().0));
    let other = json!({"symbol": "AAPL", "kind": "write_off", "reason": "8-K"});
    keyed.post(CLOSE_OUTS, other).await.is_refused(422, "idempotency_key_reused");
    ada.post(CLOSE_OUTS, terms).await.is_refused(422, "invalid_fields");

    assert_eq!(cash(&mara, portfolio).await, "8115.00");
    let lines =
        mara.get(&format!("/api/v1/portfolios/{portfolio}/transactions?limit=2")).await.is(200).items();
    assert_json_snapshot!(json!(lines.iter().map(|line| json!({
        "transaction_type": line["transaction_type"], "symbol": line["symbol"], "quantity": line["quantity"],
        "amount": line["amount"], "realized_pnl": line["realized_pnl"], "split_ratio": line["split_ratio"],
        "quantity_before": line["quantity_before"], "per_share": line["per_share"],
        "description": line["description"],
    })).collect::<Vec<_>>()), @r#"
    [
      {
        "amount": "-1485.00",
        "description": "Received for 10 shares of another stock, 1 for 2, at their cost.",
        "per_share": null,
        "quantity": "5",
        "quantity_before": "10",
        "realized_pnl": null,
        "split_ratio": "1:2",
        "symbol": "MSFT",
        "transaction_type": "exchange"
      },
      {
        "amount": "1500.00",
        "description": "Exchanged: 10 shares for those of another stock, 1 for 2, and 1.50 in cash for each. Their cost basis moves to the new shares.",
        "per_share": "1.50",
        "quantity": "10",
        "quantity_before": null,
        "realized_pnl": "0.00",
        "split_ratio": "1:2",
        "symbol": "AAPL",
        "transaction_type": "close_out"
      }
    ]
    "#);
    for kind in ["close_out", "exchange"] {
        let found = mara.get(&format!("/api/v1/portfolios/{portfolio}/transactions?type={kind}")).await;
        assert_eq!(found.is(200).items().len(), 1, "{kind}");
    }
    let csv = mara.get(&format!("/api/v1/portfolios/{portfolio}/transactions.csv")).await.is(200).text();
    assert!(csv.contains(",close_out,AAPL,10,,0.00,1500.00,0.00,"), "{csv}");
    let actions = mara.get("/api/v1/stocks/AAPL").await.is(200).json()["corporate_actions"].clone();
    assert_eq!(actions.as_array().unwrap().last().unwrap()["kind"], "close_out");
    let valued = mara.get(&format!("/api/v1/portfolios/{portfolio}/valuation")).await.is(200).json();
    assert!(!valued["holdings"].to_string().contains("AAPL"), "{}", valued.0);
}

#[tokio::test]
async fn an_administrator_closes_a_stock_out_on_its_page() {
    let (app, mara, portfolio, _) = delisted().await;
    app.register_admin("grace").await;
    let grace = app.log_in("grace").await;
    let (page, target) = ("/admin/stocks/AAPL", "/admin/stocks/AAPL/close-out");
    assert!(!grace.get("/admin/stocks/MSFT").await.is(200).text().contains("Close out"));
    assert!(grace.get(page).await.is(200).text().contains("Cash per share"));
    for (query, told) in [
        ("?kind=cash&cash=", "Enter US dollars per share"),
        ("?kind=gift", "must be cash, write_off or exchange"),
        ("?kind=exchange&into=NOSUCH&ratio=1:1", "no stock has the symbol NOSUCH"),
        ("?kind=write_off&on=2036-01-01", "is in the future"),
        ("?kind=%00&cash=%F0%9F%A6%80&ratio=::", "must be cash"),
    ] {
        let shown = grace.get(&format!("{page}{query}")).await.is(200).text();
        assert!(shown.to_lowercase().contains(&told.to_lowercase()), "{query}: {shown}");
        assert!(!shown.contains("cannot be undone"), "{query}");
    }
    let asked = format!("{page}?kind=cash&cash=54.20");
    let shown = grace.get(&asked).await.is(200).text();
    for part in ["542.00", "cannot be undone", "value=\"54.20\""] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let fields = |reason| [("kind", "cash"), ("cash", "54.20"), ("reason", reason)];
    grace.refused(&asked, target, &fields("")).await;
    grace.refused(&asked, target, &[("kind", "cash"), ("cash", "x"), ("reason", "8-K")]).await;
    assert_eq!(cash(&mara, portfolio).await, "8100.00");
    let done = grace.submit(&asked, target, &fields("8-K of today")).await.is(303);
    assert!(grace.follow(&done).await.text().contains("AAPL is closed out."));
    assert_eq!(cash(&mara, portfolio).await, "8642.00");
    let shown = grace.get(&asked).await.is(200).text();
    assert!(shown.contains("Closed out for 54.20 in cash for each share. grace: 8-K of today"), "{shown}");
    assert!(!shown.contains("Preview"), "{shown}");
    let token = csrf_token(&shown);
    let again = grace.post_form(target, &[&[("csrf", &*token)], &fields("again")[..]].concat()).await.is(303);
    assert!(grace.follow(&again).await.text().contains("AAPL is already closed out."));
    let journal =
        app.log_in("mara").await.get(&format!("/portfolios/{portfolio}/transactions")).await.is(200).text();
    for part in ["Close out", "Closed out: 10 shares for 54.20 in cash each."] {
        assert!(journal.contains(part), "{part}: {journal}");
    }
}
