use domain::{
    OrderField, OrderIssue, OrderRejected, OrderStatus, OrderType, OrderWarning, TimeInForce, TradingHold,
};

use super::{api, pages};
use crate::http::problem::Problem;
use crate::samples;
use crate::samples::samples;
use crate::shell::format;
use crate::trading::order_fields::OrderTextIssue;

fn issues() -> Vec<OrderIssue> {
    let price = |text: &str| text.parse().unwrap();
    samples!(OrderIssue {
        OrderIssue::StopTimeInForce(_) => OrderIssue::StopTimeInForce(TimeInForce::Ioc),
        OrderIssue::StopByNotional => OrderIssue::StopByNotional,
        OrderIssue::LinkedTimeInForce(_) => OrderIssue::LinkedTimeInForce(TimeInForce::Fok),
        OrderIssue::LinkedByNotional => OrderIssue::LinkedByNotional,
        OrderIssue::BuyByPartOfPosition => OrderIssue::BuyByPartOfPosition,
        OrderIssue::BuyOco => OrderIssue::BuyOco,
        OrderIssue::OcoWithoutLimit(_) => OrderIssue::OcoWithoutLimit(OrderType::Market),
        OrderIssue::SellWithEntryExits => OrderIssue::SellWithEntryExits,
        OrderIssue::ExitsCrossed { .. } => OrderIssue::ExitsCrossed {
            field: OrderField::StopLoss,
            take_profit: price("1711.01"),
            stop_loss: price("1722.02"),
        },
        OrderIssue::TakeProfitNotAboveEntry { .. } => {
            OrderIssue::TakeProfitNotAboveEntry { take_profit: price("1711.01"), entry: price("1722.02") }
        },
        OrderIssue::StopLossNotBelowEntry { .. } => {
            OrderIssue::StopLossNotBelowEntry { stop_loss: price("1722.02"), entry: price("1711.01") }
        },
        OrderIssue::EntryOutsideExits { .. } => {
            OrderIssue::EntryOutsideExits { field: OrderField::LimitPrice, entry: price("1711.01") }
        },
        OrderIssue::NoOpeningPrices => OrderIssue::NoOpeningPrices,
        OrderIssue::NoLimitToChange(_) => OrderIssue::NoLimitToChange(OrderType::Stop),
        OrderIssue::NoStopToChange(_) => OrderIssue::NoStopToChange(OrderType::Limit),
        OrderIssue::NoTrailToChange(_) => OrderIssue::NoTrailToChange(OrderType::Limit),
        OrderIssue::HeldExitQuantity => OrderIssue::HeldExitQuantity,
        OrderIssue::LinkedTimeInForceChanged { .. } => {
            OrderIssue::LinkedTimeInForceChanged { ends: TimeInForce::Gtc }
        },
    })
}

/// The values of a variant as the API writes them and as pages write them.
fn values(issue: &OrderIssue) -> Vec<(String, String)> {
    let price = |price: &domain::Price| (price.to_string(), format::price(price));
    let time = |time: &TimeInForce| (time.to_string(), pages::good(*time).to_owned());
    let kind = |kind: &OrderType| (kind.to_string(), pages::type_name(*kind).to_owned());
    match issue {
        OrderIssue::StopTimeInForce(one)
        | OrderIssue::LinkedTimeInForce(one)
        | OrderIssue::LinkedTimeInForceChanged { ends: one } => vec![time(one)],
        OrderIssue::OcoWithoutLimit(one)
        | OrderIssue::NoLimitToChange(one)
        | OrderIssue::NoStopToChange(one)
        | OrderIssue::NoTrailToChange(one) => vec![kind(one)],
        OrderIssue::ExitsCrossed { take_profit: one, stop_loss: other, .. }
        | OrderIssue::TakeProfitNotAboveEntry { take_profit: one, entry: other }
        | OrderIssue::StopLossNotBelowEntry { stop_loss: one, entry: other } => {
            vec![price(one), price(other)]
        }
        OrderIssue::EntryOutsideExits { entry, .. } => vec![price(entry)],
        OrderIssue::StopByNotional
        | OrderIssue::LinkedByNotional
        | OrderIssue::BuyByPartOfPosition
        | OrderIssue::BuyOco
        | OrderIssue::SellWithEntryExits
        | OrderIssue::NoOpeningPrices
        | OrderIssue::HeldExitQuantity => vec![],
    }
}

#[test]
fn every_order_issue_has_words_with_its_values_in_the_api_and_on_pages() {
    for issue in issues() {
        let (api, page) = (api::issue(&issue), pages::issue(&issue));
        samples::assert_fragment(&api, &issue);
        samples::assert_fragment(&page, &issue);
        for (in_api, on_page) in values(&issue) {
            assert!(api.contains(&in_api), "{issue:?}: {api}");
            assert!(page.contains(&on_page), "{issue:?}: {page}");
        }
        assert_speaks_of_the_ticket(&page);
    }
}

/// Fails if the text uses a name from the API for something that has another label on the ticket.
fn assert_speaks_of_the_ticket(page: &str) {
    let words = |c: char| !c.is_ascii_alphanumeric() && c != '_';
    for word in page.split(words) {
        let is_of_the_api =
            ["gtc", "ioc", "fok", "opg", "cls", "oco", "oto", "notional", "use"].contains(&word);
        assert!(!is_of_the_api && !word.contains('_'), "{page}");
    }
}

#[test]
fn every_order_issue_is_at_a_field_of_the_ticket() {
    let fields =
        ["side", "type", "quantity", "time_in_force", "limit_price", "stop_price", "trail", "take_profit"];
    for issue in issues() {
        let problem = pages::unfit(std::slice::from_ref(&issue));
        let field = problem.fields()[0].field;
        assert!(fields.contains(&field) || field == "stop_loss", "{issue:?}: {field}");
        assert_eq!(api::unfit(std::slice::from_ref(&issue)).fields()[0].field, issue.field().as_str());
    }
}

#[test]
fn every_unreadable_text_has_words_in_the_api_and_on_pages() {
    let word = "x".parse::<OrderType>().unwrap_err();
    let symbol = "A B".parse::<domain::Symbol>().unwrap_err();
    let decimal = "x".parse::<domain::Money>().unwrap_err();
    let issues = samples!(OrderTextIssue {
        OrderTextIssue::Word(_) => OrderTextIssue::Word(word),
        OrderTextIssue::Symbol(_) => OrderTextIssue::Symbol(symbol),
        OrderTextIssue::Decimal(_) => OrderTextIssue::Decimal(decimal),
        OrderTextIssue::NotionalNotPositive => OrderTextIssue::NotionalNotPositive,
        OrderTextIssue::NoSize => OrderTextIssue::NoSize,
        OrderTextIssue::TwoSizes => OrderTextIssue::TwoSizes,
        OrderTextIssue::NoLimitPrice => OrderTextIssue::NoLimitPrice,
        OrderTextIssue::NoStopPrice => OrderTextIssue::NoStopPrice,
        OrderTextIssue::NoTrail => OrderTextIssue::NoTrail,
        OrderTextIssue::TwoTrails => OrderTextIssue::TwoTrails,
        OrderTextIssue::NotOfType(_) => OrderTextIssue::NotOfType(OrderType::Market),
        OrderTextIssue::TakeProfitOfSimple => OrderTextIssue::TakeProfitOfSimple,
        OrderTextIssue::StopLossOfSimple => OrderTextIssue::StopLossOfSimple,
        OrderTextIssue::IncompleteBracket => OrderTextIssue::IncompleteBracket,
        OrderTextIssue::TakeProfitOfOco => OrderTextIssue::TakeProfitOfOco,
        OrderTextIssue::OcoWithoutStopLoss => OrderTextIssue::OcoWithoutStopLoss,
        OrderTextIssue::OtoWithBothExits => OrderTextIssue::OtoWithBothExits,
        OrderTextIssue::OtoWithoutExit => OrderTextIssue::OtoWithoutExit,
        OrderTextIssue::NothingToChange => OrderTextIssue::NothingToChange,
    });
    for issue in issues {
        samples::assert_fragment(&api::text_issue(&issue), &issue);
        let page = pages::text_issue(&issue);
        samples::assert_fragment(&page, &issue);
        // The messages about symbols and decimals do not name a field.
        if !matches!(issue, OrderTextIssue::Symbol(_) | OrderTextIssue::Decimal(_)) {
            assert_speaks_of_the_ticket(&page);
        }
    }
    assert!(api::text_issue(&OrderTextIssue::NotOfType(OrderType::StopLimit)).contains("stop_limit"));
    assert!(pages::text_issue(&OrderTextIssue::NotOfType(OrderType::StopLimit)).contains("Stop limit"));
}

#[test]
fn every_warning_has_a_sentence_in_the_api_and_on_pages_unless_the_preview_says_it() {
    let symbol: domain::Symbol = "AAPL".parse().unwrap();
    let session = chrono::NaiveDate::from_ymd_opt(2026, 11, 20).unwrap();
    let hold = TradingHold::AwaitingSplit { ratio: "10:1".parse().unwrap() };
    let warnings = samples!(OrderWarning {
        OrderWarning::Concentrated { .. } => OrderWarning::Concentrated { symbol: symbol.clone(), weight: 0.625 },
        OrderWarning::SellsWholePosition { .. } => OrderWarning::SellsWholePosition { symbol: symbol.clone() },
        OrderWarning::LimitReached => OrderWarning::LimitReached,
        OrderWarning::StopReached => OrderWarning::StopReached,
        OrderWarning::FillsInPart { .. } => OrderWarning::FillsInPart { filled: "2.5".parse().unwrap() },
        OrderWarning::RestCanceled => OrderWarning::RestCanceled,
        OrderWarning::OnHold { .. } => OrderWarning::OnHold { symbol: symbol.clone(), hold: hold.clone() },
        OrderWarning::ExchangeClosed => OrderWarning::ExchangeClosed,
        OrderWarning::PastClose { .. } => OrderWarning::PastClose { session },
        OrderWarning::NoBidAndAsk => OrderWarning::NoBidAndAsk,
        OrderWarning::ExitReached { .. } => OrderWarning::ExitReached { exit: OrderType::Stop },
    });
    for warning in warnings {
        let values: &[&str] = match &warning {
            OrderWarning::Concentrated { .. } => &["AAPL", "62"],
            OrderWarning::SellsWholePosition { .. } => &["AAPL"],
            OrderWarning::FillsInPart { .. } => &["2.5"],
            OrderWarning::OnHold { .. } => &["AAPL", "10:1"],
            OrderWarning::PastClose { .. } => &["20"],
            OrderWarning::ExitReached { .. } => &["stop"],
            OrderWarning::LimitReached
            | OrderWarning::StopReached
            | OrderWarning::RestCanceled
            | OrderWarning::ExchangeClosed
            | OrderWarning::NoBidAndAsk => &[],
        };
        let said_above = matches!(warning, OrderWarning::FillsInPart { .. } | OrderWarning::RestCanceled);
        let page = pages::warning(&warning);
        assert_eq!(page.is_none(), said_above, "{warning:?}");
        for text in [Some(api::warning(&warning)), page].into_iter().flatten() {
            samples::assert_sentence(&text, &warning);
            assert!(values.iter().all(|value| text.contains(value)), "{warning:?}: {text}");
        }
    }
}

#[test]
fn every_rejection_has_words_with_its_values_in_the_api_and_on_pages() {
    let at: domain::Timestamp =
        "2026-11-20T19:10:00Z".parse::<chrono::DateTime<chrono::Utc>>().unwrap().into();
    let transition = domain::order::IllegalTransition { from: OrderStatus::Filled, to: OrderStatus::Held };
    let rejections = samples!(OrderRejected {
        OrderRejected::InsufficientBuyingPower { .. } => OrderRejected::InsufficientBuyingPower {
            required: "1711.01".parse().unwrap(),
            available: "1622.02".parse().unwrap(),
        },
        OrderRejected::InsufficientShares { .. } => OrderRejected::InsufficientShares {
            required: "17.5".parse().unwrap(),
            available: "16.25".parse().unwrap(),
        },
        OrderRejected::NothingHeld => OrderRejected::NothingHeld,
        OrderRejected::TooSmall => OrderRejected::TooSmall,
        OrderRejected::TooLarge => OrderRejected::TooLarge,
        OrderRejected::NoFreshPrice { .. } => OrderRejected::NoFreshPrice { as_of: at },
        OrderRejected::PriceFromFuture { .. } => OrderRejected::PriceFromFuture {
            as_of: at + chrono::TimeDelta::minutes(7),
            requested_at: at,
        },
        OrderRejected::TrailTooWide => OrderRejected::TrailTooWide,
        OrderRejected::NotOpen { .. } => OrderRejected::NotOpen { status: OrderStatus::Filled },
        OrderRejected::Unfit(_) => OrderRejected::Unfit(vec![OrderIssue::StopByNotional]),
        OrderRejected::Transition(_) => OrderRejected::Transition(transition.clone()),
    });
    for rejected in rejections {
        let (in_api, on_page): (&[&str], &[&str]) = match &rejected {
            OrderRejected::InsufficientBuyingPower { .. } => {
                (&["1711.01", "1622.02"], &["1,711.01", "1,622.02", "88.99"])
            }
            OrderRejected::InsufficientShares { .. } => (&["17.5", "16.25"], &["17.5", "16.25"]),
            OrderRejected::NoFreshPrice { .. } => (&["2026-11-20T19:10:00Z"], &["20 Nov 2026, 14:10"]),
            OrderRejected::PriceFromFuture { .. } => (&["7 minutes"], &["7 minutes"]),
            OrderRejected::NotOpen { .. } => (&["filled"], &["filled"]),
            OrderRejected::NothingHeld
            | OrderRejected::TooSmall
            | OrderRejected::TooLarge
            | OrderRejected::TrailTooWide
            | OrderRejected::Unfit(_)
            | OrderRejected::Transition(_) => (&[], &[]),
        };
        let api = Problem::from(services::Error::OrderRejected(rejected.clone()));
        if !matches!(rejected, OrderRejected::Unfit(_)) {
            samples::assert_sentence(api.detail(), &rejected);
        }
        assert!(in_api.iter().all(|value| api.detail().contains(value)), "{rejected:?}: {}", api.detail());
        let page = pages::rejected(&rejected);
        let text = page.fields().first().map_or(page.detail(), |error| &error.message);
        samples::assert_sentence(&format::sentence(text), &rejected);
        assert!(on_page.iter().all(|value| text.contains(value)), "{rejected:?}: {text}");
    }
}
