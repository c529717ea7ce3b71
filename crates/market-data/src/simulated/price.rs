//! Converts the logarithm of a price to quoted amounts.

use domain::Price;

/// The smallest price.
pub(super) const FLOOR: f64 = 0.0001;
/// The largest price in the books.
pub(super) const CEILING: f64 = 10_000_000.0;
/// Half spreads of the most and the least traded instruments, in basis points of the price. In between, the spread
/// follows the logarithm of the turnover.
const HALF_SPREAD_BPS: (f64, f64) = (1.0, 8.0);
/// The decimal logarithms of the turnover, in dollars per day, that belong to the two half spreads.
const LOG_TURNOVER: (f64, f64) = (10.0, 7.0);

/// Rounds half-even to the tick: 0.01 from 1.00 upwards, 0.0001 below. The result is limited to 0.0001 to 10^7.
pub(super) fn on_tick(price: f64) -> Price {
    let price = price.clamp(FLOOR, CEILING);
    let (scale, ticks_per_dollar) = if price < 1.0 { (4, 10_000.0) } else { (2, 100.0) };
    #[expect(clippy::cast_possible_truncation, reason = "a whole number up to 10^9")]
    let ticks = libm::rint(price * ticks_per_dollar) as i64;
    Price::from_scaled(ticks, scale)
}

/// Half the distance from bid to ask as a ratio of the price, for a stock of about this price and volume per day.
pub(super) fn half_spread_ratio(price: f64, average_volume: u32) -> f64 {
    let (tight, wide) = HALF_SPREAD_BPS;
    let (busy, quiet) = LOG_TURNOVER;
    let log_turnover = libm::log10(price * f64::from(average_volume)).clamp(quiet, busy);
    (tight + (wide - tight) * (busy - log_turnover) / (busy - quiet)) / 10_000.0
}

/// Bid and ask around a price: at least one tick on either side, except at the smallest and the largest price.
pub(super) fn bid_and_ask(price: &Price, half_spread_ratio: f64) -> (Price, Price) {
    let price = price.to_f64();
    let tick = if price < 1.0 { 0.0001 } else { 0.01 };
    let half_spread = (price * half_spread_ratio).max(tick);
    (on_tick(price - half_spread), on_tick(price + half_spread))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_rounded_half_even_to_their_tick() {
        for (exact, shown) in [
            (245.004, "245.00"),
            (0.125, "0.1250"),
            (1.125, "1.12"),
            (1.375, "1.38"),
            (0.42317, "0.4232"),
            (0.99997, "1.00"),
            (0.0, "0.0001"),
            (f64::INFINITY, "10000000.00"),
        ] {
            assert_eq!(on_tick(exact).to_string(), shown, "{exact}");
        }
    }

    #[test]
    fn in_the_range_of_the_newest_version_a_price_lies_between_bid_and_ask() {
        let (least, most) = super::super::model::SimulatedModel::V2.price_range();
        let logs = (0..=20_000).map(|i| f64::from(i) / 20_000.0);
        let inside = logs.map(|share| least * (most / least).powf(share));
        for exact in inside.chain([least, most, 0.9999, 0.99995, 1.0, 1.0049, 1.005]) {
            for ratio in [0.0001, 0.00045, 0.0008] {
                let price = on_tick(exact.clamp(least, most));
                let (bid, ask) = bid_and_ask(&price, ratio);
                assert!(bid < price && price < ask, "{bid} {price} {ask}");
            }
        }
    }

    #[test]
    fn spreads_are_a_tick_or_some_basis_points() {
        let sides = |price: f64, volume| {
            let (bid, ask) = bid_and_ask(&on_tick(price), half_spread_ratio(price, volume));
            (bid.to_string(), ask.to_string())
        };
        assert_eq!(sides(20.0, 80_000_000), ("19.99".to_owned(), "20.01".to_owned()));
        assert_eq!(sides(500.0, 40_000_000), ("499.95".to_owned(), "500.05".to_owned()));
        assert_eq!(sides(100.0, 10_000), ("99.92".to_owned(), "100.08".to_owned()));
        assert_eq!(sides(0.42, 900_000), ("0.4197".to_owned(), "0.4203".to_owned()));
        assert_eq!(sides(0.0001, 1), ("0.0001".to_owned(), "0.0002".to_owned()));
        assert_eq!(sides(1.0, 1_000_000), ("0.9900".to_owned(), "1.01".to_owned()));
    }
}
