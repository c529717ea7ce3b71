//! CSV tables: they contain the same values as the JSON, in both formats.

use chrono::TimeDelta;
use domain::PortfolioId;
use services::accounts::actor::Trader;
use services::books::portfolios::CashDirection;

use crate::harness::{Caller, TestApp, line};

/// A portfolio with two positions and snapshots of three days.
async fn traded(app: &TestApp) -> (Caller, i64) {
    app.register("mara").await;
    let mara = app.log_in("mara").await;
    let portfolio = mara.open("10000").await;
    mara.buy(portfolio, "AAPL", "10").await.is(201);
    mara.buy(portfolio, "MSFT", "2.5").await.is(201);
    for (day, aapl, msft) in [
        ("2026-11-20", "151.10", "399.00"),
        ("2026-11-21", "140.05", "410.25"),
        ("2026-11-22", "155.55", "401.5"),
    ] {
        app.close("AAPL", day, aapl);
        app.close("MSFT", day, msft);
        app.pass(TimeDelta::days(1));
        app.work().await;
    }
    (mara, portfolio)
}

fn rows(table: &str, delimiter: u8) -> Vec<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(table.as_bytes());
    reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect()
}

/// Normalizes numbers in a text: JSON writes 0.0 and 1e-7.
fn of_numbers(words: &str) -> String {
    let number =
        |word: &str| word.parse::<f64>().map_or_else(|_| word.to_owned(), |number| number.to_string());
    words.split(' ').map(number).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn each_table_contains_what_the_json_contains() {
    let app = TestApp::spawn().await;
    let (mara, portfolio) = traded(&app).await;
    let own = format!("/api/v1/portfolios/{portfolio}");
    for (table, json, list, members) in [
        (
            "snapshots",
            "snapshots",
            "items",
            &[
                "date",
                "total_value",
                "cash_balance",
                "positions_value",
                "dividends_receivable",
                "net_flow",
                "provisional",
            ][..],
        ),
        ("performance", "performance", "series", &["date", "total_value", "net_flow", "twr"]),
        ("performance", "performance?period=1W", "series", &["date", "total_value", "net_flow", "twr"]),
        (
            "positions",
            "positions",
            "items",
            &["symbol", "company_name", "sector", "quantity", "average_buy_price", "cost_basis"],
        ),
    ] {
        let query = json.split_once('?').map_or("", |(_, query)| query);
        let answer = mara.get(&format!("{own}/{table}.csv?{query}")).await.is(200);
        assert_eq!(answer.header("content-type"), Some("text/csv; charset=utf-8"));
        let name = format!("attachment; filename=\"{table}-{portfolio}.csv\"");
        assert_eq!(answer.header("content-disposition"), Some(&*name));
        assert!(answer.header("content-length").is_none(), "{table} is not streamed");
        let written: Vec<String> = rows(&answer.text(), b',')
            .iter()
            .map(|row| of_numbers(&row[..members.len()].join(" ")))
            .collect();
        let document = mara.get(&format!("{own}/{json}")).await.is(200).json();
        let told: Vec<String> =
            document[list].as_array().unwrap().iter().map(|item| of_numbers(&line(item, members))).collect();
        assert!(told.len() >= 2, "{table}: {told:?}");
        assert_eq!(written, told, "{table}");
        let page = mara.get(&format!("/portfolios/{portfolio}/{table}.csv?{query}")).await.is(200);
        assert_eq!(page.text(), answer.text(), "the page's table is the API's");
    }
}

#[tokio::test]
async fn tables_for_spreadsheets_contain_the_same_with_decimal_commas() {
    let app = TestApp::spawn().await;
    let (mara, portfolio) = traded(&app).await;
    for table in ["transactions", "snapshots", "performance", "positions"] {
        let path = format!("/api/v1/portfolios/{portfolio}/{table}.csv");
        let standard = mara.get(&path).await.is(200).text();
        let sheet = mara.get(&format!("{path}?format=spreadsheet")).await.is(200).text();
        let sheet = sheet.strip_prefix('\u{feff}').expect("a byte order mark");
        assert!(standard.lines().count() > 2 && standard.ends_with("\r\n"), "{standard}");
        let (rows, with_commas) = (rows(&standard, b','), rows(sheet, b';'));
        let converted: Vec<Vec<String>> = rows
            .iter()
            .map(|row| {
                let field = |field: &String| match field.parse::<f64>() {
                    Ok(_) => field.replace('.', ","),
                    Err(_) => field.clone(),
                };
                row.iter().map(field).collect()
            })
            .collect();
        assert_eq!(with_commas, converted, "{table}");
        assert!(with_commas.iter().flatten().any(|field| field.contains(',')), "{table}");
        mara.get(&format!("{path}?format=excel")).await.is_about("format");
        mara.get(&format!("/portfolios/{portfolio}/{table}.csv?format=excel")).await.is(422);
    }
}

#[tokio::test]
async fn a_long_journal_is_exported_completely() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("0").await;
    for n in 1..=2_050 {
        let amount = n.to_string().parse().unwrap();
        let id = PortfolioId(portfolio);
        app.services
            .books()
            .move_cash(Trader::on_behalf_of(mara.id).portfolio(id), CashDirection::Deposit, amount)
            .await
            .unwrap();
    }
    let table = mara.get(&format!("/api/v1/portfolios/{portfolio}/transactions.csv")).await.is(200).text();
    let amounts: Vec<String> = rows(&table, b',').into_iter().map(|row| row[7].clone()).collect();
    let expected: Vec<String> = (1..=2_050).rev().map(|n| format!("{n}.00")).collect();
    assert_eq!(amounts, expected);
}
