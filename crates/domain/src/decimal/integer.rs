//! Checked arithmetic with the `i128` mantissas of decimals.

use bigdecimal::RoundingMode;

const POWERS_OF_TEN: [i128; 39] = {
    let mut powers = [1; 39];
    let mut at = 1;
    while at < powers.len() {
        powers[at] = powers[at - 1] * 10;
        at += 1;
    }
    powers
};

pub(super) fn power_of_ten(exponent: u64) -> Option<i128> {
    POWERS_OF_TEN.get(usize::try_from(exponent).ok()?).copied()
}

/// `mantissa × 10^exponent`; `None` if it does not fit.
pub(super) fn raised(mantissa: i128, exponent: u64) -> Option<i128> {
    if mantissa == 0 { Some(0) } else { times(mantissa, power_of_ten(exponent)?) }
}

/// `a × b`; `None` if it does not fit. Most values fit 64 bits and need no check.
pub(super) fn times(a: i128, b: i128) -> Option<i128> {
    match (i64::try_from(a), i64::try_from(b)) {
        (Ok(a), Ok(b)) => Some(i128::from(a) * i128::from(b)),
        _ => a.checked_mul(b),
    }
}

/// `numerator / denominator`, rounded to an integer; `None` if it does not fit.
pub(super) fn divided(numerator: i128, denominator: i128, mode: RoundingMode) -> Option<i128> {
    let (quotient, rest) = match (i64::try_from(numerator), i64::try_from(denominator)) {
        // 128-bit division is slow, and most values fit 64 bits.
        (Ok(numerator), Ok(denominator)) if denominator > 0 => {
            (i128::from(numerator / denominator), i128::from(numerator % denominator))
        }
        _ => (numerator.checked_div(denominator)?, numerator.checked_rem(denominator)?),
    };
    if rest == 0 {
        return Some(quotient);
    }
    let positive = (rest < 0) == (denominator < 0);
    let half = (rest.unsigned_abs() * 2).cmp(&denominator.unsigned_abs());
    let away = match mode {
        RoundingMode::Up => true,
        RoundingMode::Down => false,
        RoundingMode::Ceiling => positive,
        RoundingMode::Floor => !positive,
        RoundingMode::HalfUp => half.is_ge(),
        RoundingMode::HalfDown => half.is_gt(),
        RoundingMode::HalfEven => half.is_gt() || half.is_eq() && quotient % 2 != 0,
    };
    match (away, positive) {
        (false, _) => Some(quotient),
        (true, true) => quotient.checked_add(1),
        (true, false) => quotient.checked_sub(1),
    }
}

/// Removes trailing zeros while there are more than `least` decimals. Zero has no decimals.
pub(super) fn without_zeros(mut mantissa: i128, mut scale: i64, least: i64) -> (i128, i64) {
    if mantissa == 0 {
        return (0, 0);
    }
    while scale > least {
        // 128-bit division is slow, and most values fit 64 bits.
        let (shorter, digit) = match i64::try_from(mantissa) {
            Ok(mantissa) => (i128::from(mantissa / 10), i128::from(mantissa % 10)),
            Err(_) => (mantissa / 10, mantissa % 10),
        };
        if digit != 0 {
            break;
        }
        (mantissa, scale) = (shorter, scale - 1);
    }
    (mantissa, scale)
}

/// The mantissa as an `f64`; `None` if the conversion would not be exact.
pub(super) fn exact_f64(mantissa: i128) -> Option<f64> {
    const EXACT: u64 = 1 << 53;
    let mantissa = i64::try_from(mantissa).ok().filter(|mantissa| mantissa.unsigned_abs() <= EXACT)?;
    #[expect(clippy::cast_precision_loss, reason = "it is exact")]
    Some(mantissa as f64)
}
