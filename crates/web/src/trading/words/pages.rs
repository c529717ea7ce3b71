//! The texts of the order ticket, of the form that changes an order, and of the preview.

use domain::{OrderField, OrderIssue, OrderRejected, OrderType, OrderWarning, TimeInForce};
use services::FieldError;

use crate::http::problem::Problem;
use crate::shell::format;
use crate::trading::order_fields::{OrderTextIssue, UnreadField};

pub fn type_name(order_type: OrderType) -> &'static str {
    match order_type {
        OrderType::Market => "Market",
        OrderType::Limit => "Limit",
        OrderType::Stop => "Stop",
        OrderType::StopLimit => "Stop limit",
        OrderType::TrailingStop => "Trailing stop",
    }
}

/// The label of a time in force on the ticket.
pub fn good(time_in_force: TimeInForce) -> &'static str {
    match time_in_force {
        TimeInForce::Day => "Day",
        TimeInForce::Gtc => "Good till canceled",
        TimeInForce::Ioc => "Immediate or cancel",
        TimeInForce::Fok => "Fill or kill",
        TimeInForce::Opg => "At the open",
        TimeInForce::Cls => "At the close",
    }
}

/// The name of the form's field for a field of the order.
fn field_of_form(field: &'static str) -> &'static str {
    match field {
        "notional" => "quantity",
        "trail_price" | "trail_percent" => "trail",
        other => other,
    }
}

/// The problem of a form whose order breaks trading rules.
pub fn unfit(issues: &[OrderIssue]) -> Problem {
    let errors = issues.iter().map(|found| {
        let field = field_of_form(found.field().as_str());
        FieldError::new(field, issue(found))
    });
    Problem::invalid(errors.collect())
}

/// The problem of a form with unreadable fields.
pub fn unread(fields: &[UnreadField]) -> Problem {
    let errors =
        fields.iter().map(|unread| FieldError::new(field_of_form(unread.field), text_issue(&unread.issue)));
    Problem::invalid(errors.collect())
}

/// The problem of a form whose order was rejected, at the form's field.
pub fn rejected(reason: &OrderRejected) -> Problem {
    let at = |field: OrderField, text: String| {
        Problem::invalid(vec![FieldError::new(field_of_form(field.as_str()), text)])
    };
    match reason {
        OrderRejected::Unfit(issues) => unfit(issues),
        OrderRejected::InsufficientBuyingPower { required, available } => {
            let missing = required.clone() - available;
            let [required, available, missing] = [required, available, &missing].map(format::money);
            let text = format!(
                "the order costs {required} and your buying power is {available}: {missing} is missing"
            );
            at(OrderField::Quantity, text)
        }
        OrderRejected::InsufficientShares { required, available } => {
            let (most, asked) = (format::quantity(available), format::quantity(required));
            at(OrderField::Quantity, format!("you can sell {most}, and the order sells {asked}"))
        }
        OrderRejected::NothingHeld => {
            Problem::invalid(vec![FieldError::new("symbol", "you hold no shares of this stock")])
        }
        OrderRejected::TooSmall | OrderRejected::TooLarge => at(OrderField::Quantity, reason.to_string()),
        OrderRejected::NoFreshPrice { as_of } => {
            let at = format::day_and_minute(*as_of).text;
            let text = format!(
                "the newest price is from {at}, too old to trade on: try again when there is a newer price"
            );
            Problem::invalid(vec![FieldError::new("symbol", text)])
        }
        OrderRejected::TrailTooWide => at(OrderField::TrailPrice, reason.to_string()),
        OrderRejected::NotOpen { .. }
        | OrderRejected::PriceFromFuture { .. }
        | OrderRejected::Transition(_) => Problem::from(services::Error::from(reason.clone())),
    }
}

pub(crate) fn issue(issue: &OrderIssue) -> String {
    match issue {
        OrderIssue::StopTimeInForce(time) => {
            let chosen = good(*time);
            format!(
                "a stop order waits for its price and cannot be {chosen}: choose Day or Good till canceled"
            )
        }
        OrderIssue::StopByNotional => "a stop order is sized in shares: choose Shares".to_owned(),
        OrderIssue::LinkedTimeInForce(time) => {
            let chosen = good(*time);
            format!("an order with exits cannot be {chosen}: choose Day or Good till canceled")
        }
        OrderIssue::LinkedByNotional => "an order with exits is sized in shares: choose Shares".to_owned(),
        OrderIssue::BuyByPartOfPosition => {
            "only a sell can be for all shares: enter how many shares to buy".to_owned()
        }
        OrderIssue::BuyOco => {
            "a take-profit and stop-loss pair sells shares that you hold: choose Sell".to_owned()
        }
        OrderIssue::OcoWithoutLimit(order_type) => format!(
            "a sell with a stop-loss is the take-profit itself and cannot be of type {}: choose Limit",
            type_name(*order_type)
        ),
        OrderIssue::SellWithEntryExits => {
            "a take-profit beside a stop-loss belongs to a buy: choose Buy, or leave out the take-profit"
                .to_owned()
        }
        OrderIssue::ExitsCrossed { take_profit, stop_loss, .. } => {
            let [take_profit, stop_loss] = [take_profit, stop_loss].map(format::price);
            format!("the stop-loss of {stop_loss} must be below the take-profit of {take_profit}")
        }
        OrderIssue::TakeProfitNotAboveEntry { take_profit, entry } => {
            let [take_profit, entry] = [take_profit, entry].map(format::price);
            format!(
                "the take-profit of {take_profit} must be above {entry}, the price at which the order buys"
            )
        }
        OrderIssue::StopLossNotBelowEntry { stop_loss, entry } => {
            let [stop_loss, entry] = [stop_loss, entry].map(format::price);
            format!("the stop-loss of {stop_loss} must be below {entry}, the price at which the order buys")
        }
        OrderIssue::EntryOutsideExits { entry, .. } => {
            format!("the entry of {} must be between its stop-loss and its take-profit", format::price(entry))
        }
        OrderIssue::NoOpeningPrices => {
            "the price source publishes closing prices only: choose At the close, Day or Good till canceled"
                .to_owned()
        }
        OrderIssue::NoLimitToChange(order_type) => none_to_change(*order_type, "limit price"),
        OrderIssue::NoStopToChange(order_type) => none_to_change(*order_type, "stop price"),
        OrderIssue::NoTrailToChange(order_type) => none_to_change(*order_type, "trail"),
        OrderIssue::HeldExitQuantity => {
            "the quantity of a held exit follows its entry: change the entry instead".to_owned()
        }
        OrderIssue::LinkedTimeInForceChanged { ends } => {
            let ends = good(*ends);
            format!("linked orders have the same time in force, {ends}: cancel them and place new ones")
        }
    }
}

fn none_to_change(order_type: OrderType, what: &str) -> String {
    format!("an order of type {} has no {what}: leave it empty", type_name(order_type))
}

pub(crate) fn text_issue(issue: &OrderTextIssue) -> String {
    match issue {
        OrderTextIssue::Word(_) => "choose one of the options".to_owned(),
        OrderTextIssue::Symbol(cause) => cause.to_string(),
        OrderTextIssue::Decimal(cause) => cause.to_string(),
        OrderTextIssue::NotionalNotPositive => "must be more than zero".to_owned(),
        OrderTextIssue::NoSize => "enter how much to trade, in shares or in USD".to_owned(),
        OrderTextIssue::TwoSizes => "choose Shares or USD".to_owned(),
        OrderTextIssue::NoLimitPrice => "enter a limit price".to_owned(),
        OrderTextIssue::NoStopPrice => "enter a stop price".to_owned(),
        OrderTextIssue::NoTrail => "enter how far the stop trails the market".to_owned(),
        OrderTextIssue::TwoTrails => "enter the trail as an amount or in percent".to_owned(),
        OrderTextIssue::NotOfType(order_type) => {
            format!("an order of type {} has no such field: leave it empty", type_name(*order_type))
        }
        OrderTextIssue::TakeProfitOfSimple | OrderTextIssue::StopLossOfSimple => {
            "this order has no exits: leave it empty".to_owned()
        }
        OrderTextIssue::IncompleteBracket => "enter a take-profit and a stop-loss".to_owned(),
        OrderTextIssue::TakeProfitOfOco => {
            "the limit of the sell is the take-profit: leave it empty".to_owned()
        }
        OrderTextIssue::OcoWithoutStopLoss => "enter a stop-loss beside the limit".to_owned(),
        OrderTextIssue::OtoWithBothExits => "enter one exit".to_owned(),
        OrderTextIssue::OtoWithoutExit => "enter a take-profit or a stop-loss".to_owned(),
        OrderTextIssue::NothingToChange => "enter what to change".to_owned(),
    }
}

/// A note under the preview; `None` if the preview's sentences already say it.
pub fn warning(warning: &OrderWarning) -> Option<String> {
    Some(match warning {
        OrderWarning::FillsInPart { .. } | OrderWarning::RestCanceled => return None,
        OrderWarning::Concentrated { symbol, weight } => {
            format!("{symbol} would be {:.0}% of the portfolio.", weight * 100.0)
        }
        OrderWarning::SellsWholePosition { symbol } => format!("This sells all shares of {symbol}."),
        OrderWarning::LimitReached => {
            "The market is at the limit or better already: the order fills at once.".to_owned()
        }
        OrderWarning::StopReached => {
            "The market has reached the stop already: the order is triggered at once.".to_owned()
        }
        OrderWarning::OnHold { symbol, hold } => format!("{symbol}: {hold}."),
        OrderWarning::ExchangeClosed => {
            "The exchange is closed: the order waits for its next session.".to_owned()
        }
        OrderWarning::PastClose { session } => {
            format!("The price is the close of {}, not a live price.", format::date(*session))
        }
        OrderWarning::NoBidAndAsk => {
            "The price source gives no bid and ask; orders fill at its last price.".to_owned()
        }
        OrderWarning::ExitReached { exit } => {
            let exit = if *exit == OrderType::Limit { "take-profit" } else { "stop-loss" };
            format!("The market has passed the price of the {exit} already: it would sell at once.")
        }
    })
}
