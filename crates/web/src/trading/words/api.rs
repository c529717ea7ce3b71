//! The texts of the JSON API.

use domain::{OrderIssue, OrderWarning};
use services::FieldError;

use crate::http::problem::Problem;
use crate::trading::order_fields::{OrderTextIssue, UnreadField};

/// The problem document for an order that breaks trading rules.
pub fn unfit(issues: &[OrderIssue]) -> Problem {
    let errors = issues.iter().map(|found| FieldError::new(found.field().as_str(), issue(found)));
    Problem::invalid(errors.collect())
}

/// The problem document for an order with unreadable fields.
pub fn unread(fields: &[UnreadField]) -> Problem {
    let errors = fields.iter().map(|unread| {
        // In JSON the limit is a member of the stop-loss.
        let field = if unread.field == "stop_loss_limit" { "stop_loss" } else { unread.field };
        FieldError::new(field, text_issue(&unread.issue))
    });
    Problem::invalid(errors.collect())
}

pub(crate) fn issue(issue: &OrderIssue) -> String {
    match issue {
        OrderIssue::StopTimeInForce(time) => {
            format!("a stop order waits for its price and cannot be {time}: use day or gtc")
        }
        OrderIssue::StopByNotional => "a stop order is sized in shares: use quantity".to_owned(),
        OrderIssue::LinkedTimeInForce(time) => {
            format!("an order with exits cannot be {time}: use day or gtc")
        }
        OrderIssue::LinkedByNotional => "an order with exits is sized in shares: use quantity".to_owned(),
        OrderIssue::BuyByPartOfPosition => {
            "only a sell can be for a part of a position: enter how many shares to buy".to_owned()
        }
        OrderIssue::BuyOco => "an oco order sells shares that you hold: use sell".to_owned(),
        OrderIssue::OcoWithoutLimit(order_type) => {
            format!("the order of an oco is its take-profit and cannot be {order_type}: use limit")
        }
        OrderIssue::SellWithEntryExits => {
            "a bracket or an oto opens a position: use buy, or order_class oco to sell".to_owned()
        }
        OrderIssue::ExitsCrossed { take_profit, stop_loss, .. } => {
            format!("the stop-loss of {stop_loss} must be below the take-profit of {take_profit}")
        }
        OrderIssue::TakeProfitNotAboveEntry { take_profit, entry } => {
            format!(
                "the take-profit of {take_profit} must be above {entry}, the price at which the order buys"
            )
        }
        OrderIssue::StopLossNotBelowEntry { stop_loss, entry } => {
            format!("the stop-loss of {stop_loss} must be below {entry}, the price at which the order buys")
        }
        OrderIssue::EntryOutsideExits { entry, .. } => {
            format!("the entry of {entry} must be between its stop-loss and its take-profit")
        }
        OrderIssue::NoOpeningPrices => {
            "the price source publishes closing prices only: use cls, day or gtc".to_owned()
        }
        OrderIssue::NoLimitToChange(order_type) => {
            format!("a {order_type} order has no limit price: leave it out")
        }
        OrderIssue::NoStopToChange(order_type) => {
            format!("a {order_type} order has no stop price: leave it out")
        }
        OrderIssue::NoTrailToChange(order_type) => format!("a {order_type} order has no trail: leave it out"),
        OrderIssue::HeldExitQuantity => {
            "the quantity of a held exit follows its entry: replace the entry instead".to_owned()
        }
        OrderIssue::LinkedTimeInForceChanged { ends } => {
            format!("linked orders have the same time in force, {ends}: cancel them and place new ones")
        }
    }
}

pub(crate) fn text_issue(issue: &OrderTextIssue) -> String {
    match issue {
        OrderTextIssue::Word(cause) => cause.to_string(),
        OrderTextIssue::Symbol(cause) => cause.to_string(),
        OrderTextIssue::Decimal(cause) => cause.to_string(),
        OrderTextIssue::NotionalNotPositive => "must be more than zero".to_owned(),
        OrderTextIssue::NoSize => "enter quantity, in shares, or notional, in dollars".to_owned(),
        OrderTextIssue::TwoSizes => "send quantity or notional, not both".to_owned(),
        OrderTextIssue::NoLimitPrice => "enter a limit price".to_owned(),
        OrderTextIssue::NoStopPrice => "enter a stop price".to_owned(),
        OrderTextIssue::NoTrail => "enter trail_price or trail_percent".to_owned(),
        OrderTextIssue::TwoTrails => "send trail_price or trail_percent, not both".to_owned(),
        OrderTextIssue::NotOfType(order_type) => {
            format!("a {order_type} order has no such field: leave it out")
        }
        OrderTextIssue::TakeProfitOfSimple => "needs order_class bracket or oto".to_owned(),
        OrderTextIssue::StopLossOfSimple => "needs order_class bracket, oco or oto".to_owned(),
        OrderTextIssue::IncompleteBracket => "a bracket has a take_profit and a stop_loss".to_owned(),
        OrderTextIssue::TakeProfitOfOco => {
            "the limit order of an oco is its take-profit: leave it out".to_owned()
        }
        OrderTextIssue::OcoWithoutStopLoss => "an oco has a stop_loss beside its limit order".to_owned(),
        OrderTextIssue::OtoWithBothExits => "an oto has one exit: use bracket for both".to_owned(),
        OrderTextIssue::OtoWithoutExit => "an oto has a take_profit or a stop_loss".to_owned(),
        OrderTextIssue::NothingToChange => {
            "enter what to change: quantity, a price or time_in_force".to_owned()
        }
    }
}

/// The text of a warning in a preview.
pub fn warning(warning: &OrderWarning) -> String {
    match warning {
        OrderWarning::Concentrated { symbol, weight } => {
            format!("{symbol} would be {:.0} % of the portfolio.", weight * 100.0)
        }
        OrderWarning::SellsWholePosition { symbol } => format!("This sells all shares of {symbol}."),
        OrderWarning::LimitReached => {
            "The market is at the limit or better already: the order fills at once.".to_owned()
        }
        OrderWarning::StopReached => {
            "The market has reached the stop already: the order is triggered at once.".to_owned()
        }
        OrderWarning::FillsInPart { filled } => {
            format!("Shares that fill at once: {filled}. The rest waits until more is traded.")
        }
        OrderWarning::RestCanceled => {
            "Nothing more would fill at the newest price: the rest would be canceled.".to_owned()
        }
        OrderWarning::OnHold { symbol, hold } => format!("{symbol}: {hold}."),
        OrderWarning::ExchangeClosed => {
            "The exchange is closed: the order waits for its next session.".to_owned()
        }
        OrderWarning::PastClose { session } => {
            format!("The price is the close of {session}, not a live price.")
        }
        OrderWarning::NoBidAndAsk => {
            "The price source gives no bid and ask; orders fill at its last price.".to_owned()
        }
        OrderWarning::ExitReached { exit } => {
            format!("The market has passed the price of the {exit} exit already: it would sell at once.")
        }
    }
}
