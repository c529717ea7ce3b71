//! The page with a portfolio's journal: filters, paging, receipts and links to CSV.

use actix_web::web::{Data, Query};
use domain::{Symbol, TransactionFilter, TransactionType};
use serde::Serialize;
use services::books::sharing::PortfolioAddress;
use services::books::transactions::NamedEntry;

use super::pages::Named;
use crate::AppState;
use crate::http::portfolio_access::PageAccess;
use crate::portfolios::transactions_api::{Wanted, cursor_text};
use crate::shell::form::FormView;
use crate::shell::format;
use crate::shell::format::{Delta, Moment};
use crate::shell::layout::Nav;
use crate::shell::links::{Paging, query};
use crate::shell::render::{PageResult, Shell};
use crate::stocks::corporate_actions::sentence;
use crate::trading::pages::order_text::{fill_sentence, provenance};

const PAGE: usize = 50;

#[derive(Serialize)]
struct TransactionsView {
    portfolio: Named,
    form: FormView,
    types: Vec<Kind>,
    filtered: bool,
    csv_href: String,
    /// The address of the CSV for spreadsheets with a decimal comma.
    sheet_href: String,
    rows: Vec<TransactionRow>,
    paging: Paging,
}

#[derive(Serialize)]
struct Kind {
    value: &'static str,
    label: String,
    current: bool,
}

#[derive(Serialize)]
struct TransactionRow {
    id: i64,
    at: Moment,
    kind: String,
    symbol: Option<Symbol>,
    quantity: String,
    price: String,
    commission: String,
    realized: Option<Delta>,
    amount: String,
    /// A sentence about a dividend, a split or another corporate action.
    action: Option<String>,
    /// The receipt of a fill as a sentence; empty for other entries.
    receipt: String,
    provenance: String,
    order_href: String,
}

fn row(portfolio: &PortfolioAddress, NamedEntry { entry, symbol }: &NamedEntry) -> TransactionRow {
    let text = symbol.as_ref().map_or("", Symbol::as_str);
    let receipt = if entry.receipt.is_some() { fill_sentence(entry, text) } else { String::new() };
    let action = sentence(entry);
    TransactionRow {
        id: entry.id.map_or(0, |id| id.0),
        at: format::day_and_minute(entry.timestamp),
        kind: format::label(entry.transaction_type.as_str()),
        symbol: symbol.clone(),
        action,
        quantity: entry.quantity.as_ref().map(format::quantity).unwrap_or_default(),
        price: entry.price.as_ref().map(format::price).unwrap_or_default(),
        commission: if entry.receipt.is_some() { format::money(&entry.commission) } else { String::new() },
        realized: entry.realized_pnl.as_ref().map(format::gain),
        amount: format::money(&entry.amount),
        receipt,
        provenance: provenance(entry),
        order_href: entry
            .order_id
            .map_or_else(String::new, |order| format!("/portfolios/{portfolio}/orders/{order}")),
    }
}

pub async fn list(
    shell: Shell,
    access: PageAccess,
    wanted: Query<Wanted>,
    state: Data<AppState>,
) -> PageResult {
    let services = &state.services;
    let portfolio = services.books().portfolio(access.portfolio).await?;
    let text = |field: &Option<String>| field.as_deref().unwrap_or_default().trim().to_owned();
    let (symbol, kind) = (text(&wanted.symbol), text(&wanted.r#type));
    let (from, to) = (text(&wanted.from), text(&wanted.to));
    let mut form = FormView::new("filter").with("symbol", &symbol).with("from", &from).with("to", &to);
    let read = wanted.filter().and_then(|filter| Ok((filter, wanted.page_cursor()?)));
    let (filter, before, refused) = match read {
        Ok((filter, before)) => (filter, before, None),
        Err(problem) => {
            form = form.refused(&problem);
            (TransactionFilter::default(), None, Some(problem))
        }
    };
    let page = match &refused {
        None => services.books().transactions(access.portfolio, filter, before, PAGE).await?,
        Some(_) => services::Page { items: Vec::new(), next: None },
    };
    let filters = |cursor: &str| {
        query(&[("symbol", &symbol), ("type", &kind), ("from", &from), ("to", &to), ("cursor", cursor)])
    };
    let base = format!("/portfolios/{}/transactions", access.address);
    let filtered = [&symbol, &kind, &from, &to].iter().any(|text| !text.is_empty());
    let view = TransactionsView {
        types: TransactionType::ALL
            .iter()
            .map(|one| Kind {
                value: one.as_str(),
                label: format::label(one.as_str()),
                current: one.as_str() == kind,
            })
            .collect(),
        filtered,
        csv_href: format!("{base}.csv{}", filters("")),
        sheet_href: format!(
            "{base}.csv{}",
            query(&[
                ("symbol", &symbol),
                ("type", &kind),
                ("from", &from),
                ("to", &to),
                ("format", "spreadsheet"),
            ])
        ),
        paging: Paging {
            shown: page.items.len(),
            older: page.next.map(|next| format!("{base}{}", filters(&cursor_text(next)))),
            newest: before.map(|_| format!("{base}{}", filters(""))),
        },
        rows: page.items.iter().map(|entry| row(&access.address, entry)).collect(),
        form,
        portfolio: Named::to_reader(&portfolio, &access),
    };
    let title = format!("Transactions of {}", view.portfolio.name);
    match refused {
        None => shell.show("transactions.html", Nav::Transactions, title, &view),
        Some(problem) => shell.show_refused(&problem, "transactions.html", Nav::Transactions, title, &view),
    }
}
