//! The statement that inserts orders on PostgreSQL.

use diesel::sql_types::{BigInt, Nullable, Text};
use domain::Order;
use domain::sql::{Exact, Moment};

use super::OrderRow;
use crate::bulk::Unnest;

impl OrderRow {
    /// Whether the columns that most market orders do not need are all NULL.
    fn is_plain(&self) -> bool {
        self.notional.is_none()
            && self.parent_order_id.is_none()
            && self.replaces.is_none()
            && self.limit_price.is_none()
            && self.stop_price.is_none()
            && self.trail_price.is_none()
            && self.trail_percent.is_none()
            && self.triggered_at.is_none()
            && self.high_water_price.is_none()
            && self.canceled_at.is_none()
            && self.reject_reason.is_none()
    }
}

/// The statement that inserts `rows`, which were made from `new`.
pub(crate) fn insertion<'a>(rows: &'a [OrderRow], new: &'a [(&Order, &str)]) -> Unnest<'a, ()> {
    // PostgreSQL takes half a microsecond for each three values that it unnests.
    let is_plain = rows.iter().all(OrderRow::is_plain);
    let into = if is_plain {
        "INSERT INTO orders (id, portfolio_id, stock_id, client_order_id, request, side, order_type, time_in_force, \
         quantity, status, filled_quantity, filled_price, submitted_at, filled_at, order_class, reserved_cash, \
         reserved_quantity, filled_amount, commission, last_matched_at, expires_at) SELECT * FROM"
    } else {
        "INSERT INTO orders (id, portfolio_id, stock_id, client_order_id, request, side, order_type, time_in_force, \
         quantity, status, filled_quantity, filled_price, submitted_at, filled_at, order_class, reserved_cash, \
         reserved_quantity, filled_amount, commission, last_matched_at, expires_at, notional, parent_order_id, replaces, \
         limit_price, stop_price, trail_price, trail_percent, triggered_at, high_water_price, canceled_at, reject_reason) \
         SELECT * FROM"
    };
    let statement = Unnest::<()>::new(into, "")
        .column::<Text, _>(rows.iter().map(|row| row.id))
        .column::<BigInt, _>(rows.iter().map(|row| row.portfolio_id))
        .column::<BigInt, _>(rows.iter().map(|row| row.stock_id))
        .column::<Nullable<Text>, _>(rows.iter().map(|row| row.client_order_id.as_deref()))
        .column::<Text, _>(new.iter().map(|(_, request)| *request))
        .column::<Text, _>(rows.iter().map(|row| row.side))
        .column::<Text, _>(rows.iter().map(|row| row.order_type))
        .column::<Text, _>(rows.iter().map(|row| row.time_in_force))
        .column::<Nullable<Exact>, _>(rows.iter().map(|row| row.quantity.as_ref()))
        .column::<Text, _>(rows.iter().map(|row| row.status))
        .column::<Exact, _>(rows.iter().map(|row| &row.filled_quantity))
        .column::<Nullable<Exact>, _>(rows.iter().map(|row| row.filled_price.as_ref()))
        .column::<Moment, _>(rows.iter().map(|row| row.submitted_at))
        .column::<Nullable<Moment>, _>(rows.iter().map(|row| row.filled_at))
        .column::<Text, _>(rows.iter().map(|row| row.order_class))
        .column::<Exact, _>(rows.iter().map(|row| &row.reserved_cash))
        .column::<Exact, _>(rows.iter().map(|row| &row.reserved_quantity))
        .column::<Exact, _>(rows.iter().map(|row| &row.filled_amount))
        .column::<Exact, _>(rows.iter().map(|row| &row.commission))
        .column::<Moment, _>(rows.iter().map(|row| row.last_matched_at))
        .column::<Nullable<Moment>, _>(rows.iter().map(|row| row.expires_at));
    if is_plain {
        return statement;
    }
    statement
        .column::<Nullable<Exact>, _>(rows.iter().map(|row| row.notional.as_ref()))
        .column::<Nullable<Text>, _>(rows.iter().map(|row| row.parent_order_id))
        .column::<Nullable<Text>, _>(rows.iter().map(|row| row.replaces))
        .column::<Nullable<Exact>, _>(rows.iter().map(|row| row.limit_price.as_ref()))
        .column::<Nullable<Exact>, _>(rows.iter().map(|row| row.stop_price.as_ref()))
        .column::<Nullable<Exact>, _>(rows.iter().map(|row| row.trail_price.as_ref()))
        .column::<Nullable<Exact>, _>(rows.iter().map(|row| row.trail_percent.as_ref()))
        .column::<Nullable<Moment>, _>(rows.iter().map(|row| row.triggered_at))
        .column::<Nullable<Exact>, _>(rows.iter().map(|row| row.high_water_price.as_ref()))
        .column::<Nullable<Moment>, _>(rows.iter().map(|row| row.canceled_at))
        .column::<Nullable<Text>, _>(rows.iter().map(|row| row.reject_reason.as_deref()))
}
