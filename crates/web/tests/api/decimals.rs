//! Decimals in JSON: strings in plain notation; numbers are accepted by the same rules, and no digit is lost.

use crate::harness::TestApp;

#[tokio::test]
async fn a_json_number_is_accepted_as_a_decimal_without_losing_digits() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    // The large number has more digits than an `f64` can represent.
    for (sent, kept) in [
        ("12.5", "12.50"),
        ("7", "7.00"),
        ("0.10", "0.10"),
        ("0.1", "0.10"),
        ("\"0.1\"", "0.10"),
        ("900719925474099.91", "900719925474099.91"),
        ("1000000000000000", "1000000000000000.00"),
        ("\"999999999999999.99\"", "999999999999999.99"),
    ] {
        let body = format!(r#"{{"name": "Growth", "cash_balance": {sent}}}"#);
        let opened = mara.post_text("/api/v1/portfolios", &body).await.is(201).json();
        assert_eq!(opened["cash_balance"], kept, "{sent}");
    }
}

#[tokio::test]
async fn only_plain_decimals_are_accepted() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("10000").await;
    let path = format!("/api/v1/portfolios/{portfolio}/orders");
    let order = |quantity: &str| {
        format!(r#"{{"symbol": "AAPL", "side": "buy", "type": "market", "quantity": {quantity}}}"#)
    };
    for quantity in [
        "\"1e3\"",
        "\"NaN\"",
        "\"Infinity\"",
        "\"1_000\"",
        "\"1,000\"",
        "\"+1\"",
        "\" 1\"",
        "\"0x10\"",
        "\".5\"",
        "\"5.\"",
        "\"\"",
        "\"١\"",
    ] {
        let fields = mara.post_text(&path, &order(quantity)).await.fields();
        let said = "quantity: write a plain decimal like 1250.50, without thousands separators or exponents";
        assert_eq!(fields, [said], "{quantity}");
    }
    for quantity in ["0.0000000001", "\"1.1234567891\"", "0.30000000000000004", "1e-10"] {
        let fields = mara.post_text(&path, &order(quantity)).await.fields();
        assert_eq!(fields, ["quantity: use at most 9 decimals"], "{quantity}");
    }
    for quantity in ["-1", "0", "-0", "\"-1\"", "\"0.000000000\"", "1000000000.000000001", "1e10", "-1e0"] {
        let fields = mara.post_text(&path, &order(quantity)).await.fields();
        assert_eq!(fields, ["quantity: must be between 0.000000001 and 1000000000"], "{quantity}");
    }
    for quantity in ["true", "[]", "{}"] {
        mara.post_text(&path, &order(quantity)).await.is_about("quantity");
    }
    // These bodies are not valid JSON.
    for quantity in ["NaN", "Infinity", "+1", ".5", "01", "1_000", "0x10"] {
        mara.post_text(&path, &order(quantity)).await.is_refused(400, "malformed_json");
    }
    assert_eq!(mara.cash(portfolio).await, "10000.00");
}

#[tokio::test]
async fn money_has_two_decimals() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let path = format!("/api/v1/portfolios/{}/cash", mara.open("0").await);
    let movement = |amount: &str| format!(r#"{{"type": "deposit", "amount": {amount}}}"#);
    for amount in ["0.001", "\"10.005\"", "1.234"] {
        let fields = mara.post_text(&path, &movement(amount)).await.fields();
        assert_eq!(fields, ["amount: use at most 2 decimals"], "{amount}");
    }
    // Trailing zeros are accepted.
    let moved = mara.post_text(&path, &movement("10.5000")).await.is(201).json();
    assert_eq!(moved["amount"], "10.50");
}
