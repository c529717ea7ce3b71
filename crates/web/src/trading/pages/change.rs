//! The form that replaces an open order.

use actix_web::http::StatusCode;
use domain::{Order, OrderSize, OrderStatus, OrderTerms, PortfolioId, ReplaceOrder, Trail};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::http::problem::Problem;
use crate::shell::form::{FormView, typed_number};
use crate::trading::order_fields::{OrderTextIssue, ReplaceFields, UnreadField};
use crate::trading::ticket::{Entry, time_in_force_options};
use crate::trading::words::pages as words;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ChangeFields {
    quantity: String,
    limit_price: String,
    stop_price: String,
    trail: String,
    trail_unit: String,
    time_in_force: String,
    /// Prevents a second order if the form is sent twice.
    client_order_id: String,
}

impl ChangeFields {
    /// The form, filled in with these values.
    pub fn form(&self) -> FormView {
        FormView::new(CHANGE)
            .with("quantity", self.quantity.trim())
            .with("limit_price", self.limit_price.trim())
            .with("stop_price", self.stop_price.trim())
            .with("trail", self.trail.trim())
            .with("trail_unit", self.trail_unit.trim())
            .with("time_in_force", self.time_in_force.trim())
    }

    /// Reads how the fields differ from the current order.
    ///
    /// # Errors
    /// All problems of the fields, or that nothing was changed.
    pub fn read(&self, order: &Order) -> Result<ReplaceOrder, Problem> {
        let given = |text: &str| Some(typed_number(text)).filter(|text| !text.is_empty());
        let (quantity, trail) = (given(&self.quantity), given(&self.trail));
        let (limit, stop) = (given(&self.limit_price), given(&self.stop_price));
        let percent = self.trail_unit == "percent";
        let mut changes = ReplaceFields {
            quantity: quantity.as_deref(),
            limit_price: limit.as_deref(),
            stop_price: stop.as_deref(),
            trail_price: trail.as_deref().filter(|_| !percent),
            trail_percent: trail.as_deref().filter(|_| percent),
            time_in_force: Some(self.time_in_force.trim()).filter(|text| !text.is_empty()),
            client_order_id: Some(self.client_order_id.as_str()).filter(|text| !text.is_empty()),
        }
        .read()
        .map_err(|fields| match fields.as_slice() {
            [UnreadField { issue: OrderTextIssue::NothingToChange, .. }] => nothing_is_different(),
            fields => words::unread(fields),
        })?;
        // The form contains the current values. They are not sent as changes, because a new stop would have to be
        // reached again.
        if matches!(order.size, OrderSize::Quantity(_)) && changes.quantity == Some(order.unfilled()) {
            changes.quantity = None;
        }
        if changes.limit_price.as_ref() == order.terms.limit_price() {
            changes.limit_price = None;
        }
        if changes.stop_price.as_ref() == order.terms.stop_price() {
            changes.stop_price = None;
        }
        if changes.trail.as_ref() == order.terms.trail() {
            changes.trail = None;
        }
        if changes.time_in_force == Some(order.time_in_force) {
            changes.time_in_force = None;
        }
        let only_named =
            ReplaceOrder { client_order_id: changes.client_order_id.clone(), ..Default::default() };
        if changes == only_named { Err(nothing_is_different()) } else { Ok(changes) }
    }
}

fn nothing_is_different() -> Problem {
    let text = "change at least one field";
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "nothing_changed", "Nothing changed", text)
}

/// The id of the form.
pub const CHANGE: &str = "change";

#[derive(Serialize)]
pub struct ChangeView {
    form: FormView,
    action: String,
    quantity: bool,
    limit: bool,
    stop: bool,
    trail: bool,
    trail_unit: &'static str,
    /// Empty if the time in force cannot be changed.
    goods: Vec<Entry>,
    key: String,
}

impl ChangeView {
    /// The form of an open order with its current values, or as it was refused. `None` if the order is not open.
    pub fn for_order(portfolio: PortfolioId, order: &Order, refused: Option<FormView>) -> Option<Self> {
        if !order.status.is_open() {
            return None;
        }
        // Linked orders end together, and a held exit sells the shares that its entry buys, so some fields are fixed.
        let alone = order.order_class == domain::OrderClass::Simple;
        let quantity = matches!(order.size, OrderSize::Quantity(_)) && order.status != OrderStatus::Held;
        let text = |price: Option<&domain::Price>| price.map(ToString::to_string).unwrap_or_default();
        let (trail, unit) = match order.terms.trail() {
            Some(Trail::Price(price)) => (price.to_string(), "amount"),
            Some(Trail::Percent(percent)) => (percent.to_string(), "percent"),
            None => (String::new(), "amount"),
        };
        let own = ChangeFields {
            quantity: if quantity { order.unfilled().to_string() } else { String::new() },
            limit_price: text(order.terms.limit_price()),
            stop_price: text(order.terms.stop_price()),
            trail,
            trail_unit: unit.to_owned(),
            time_in_force: order.time_in_force.as_str().to_owned(),
            client_order_id: String::new(),
        };
        let form = refused.unwrap_or_else(|| own.form());
        let chosen = form.value("time_in_force").parse().unwrap_or(order.time_in_force);
        Some(Self {
            action: format!("/portfolios/{portfolio}/orders/{}/replace", order.id),
            quantity,
            limit: order.terms.limit_price().is_some(),
            stop: order.terms.stop_price().is_some(),
            trail: matches!(order.terms, OrderTerms::TrailingStop { .. }),
            trail_unit: if form.value("trail_unit") == "percent" { "percent" } else { "amount" },
            goods: if alone { time_in_force_options(chosen) } else { Vec::new() },
            form,
            key: Uuid::now_v7().to_string(),
        })
    }
}
