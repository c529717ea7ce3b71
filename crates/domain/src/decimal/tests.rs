use super::*;
use bigdecimal::num_bigint::BigInt;
use proptest::prelude::*;
use std::collections::hash_map::DefaultHasher;
use std::str::FromStr;

const MODES: [RoundingMode; 7] = [
    RoundingMode::Up,
    RoundingMode::Down,
    RoundingMode::Ceiling,
    RoundingMode::Floor,
    RoundingMode::HalfUp,
    RoundingMode::HalfDown,
    RoundingMode::HalfEven,
];

/// Mantissas that fit, that do not fit, at the limits, and with many trailing zeros.
fn mantissas() -> impl Strategy<Value = BigInt> {
    prop_oneof![
        any::<i64>().prop_map(BigInt::from),
        (-200_i64..200).prop_map(BigInt::from),
        any::<i128>().prop_map(BigInt::from),
        (any::<i128>(), 1_u32..9).prop_map(|(part, power)| BigInt::from(part).pow(power)),
        (any::<bool>(), -3_i64..=3)
            .prop_map(|(upper, off)| { BigInt::from(if upper { i128::MAX } else { i128::MIN }) + off }),
        (-200_i64..200, 0_u32..45).prop_map(|(part, zeros)| BigInt::from(part) * BigInt::from(10).pow(zeros)),
    ]
}

fn decimals() -> impl Strategy<Value = BigDecimal> {
    let scale = prop_oneof![4 => 0_i64..12, 1 => -5_i64..50];
    (mantissas(), scale).prop_map(|(mantissa, scale)| BigDecimal::new(mantissa, scale))
}

/// Halves and their neighbors, which rounding treats differently.
fn ties() -> impl Strategy<Value = BigDecimal> {
    (any::<i32>(), 2_i64..9, -1_i64..=1).prop_map(|(whole, scale, off)| {
        let tie = (i64::from(whole) * 10 + 5) * 10_i64.pow(u32::try_from(scale).unwrap() - 1) + off;
        BigDecimal::new(tie.into(), scale)
    })
}

/// Pairs of values. The second is often the first with more decimals, or its neighbor.
fn pairs() -> impl Strategy<Value = (BigDecimal, BigDecimal)> {
    let near = (decimals(), 0_i64..45, -1_i64..=1).prop_map(|(value, more, off)| {
        let (mantissa, scale) =
            value.with_scale(value.fractional_digit_count() + more).into_bigint_and_scale();
        (value, BigDecimal::new(mantissa + off, scale))
    });
    prop_oneof![(decimals(), decimals()), near]
}

fn decimal(value: &BigDecimal) -> Decimal {
    value.clone().into()
}

fn hash(value: &Decimal) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Asserts equal values, and that a value that fits is stored inline.
fn equal(ours: &Decimal, plain: &BigDecimal) {
    assert_eq!(ours.big().as_ref(), plain);
    if let Big(big) = ours {
        assert_eq!(big.as_bigint_and_scale().0.to_i128(), None, "{big} would fit");
    }
}

/// Asserts equal digits and equal numbers of decimals.
fn same(ours: &Decimal, plain: &BigDecimal) {
    equal(ours, plain);
    assert_eq!(ours.scale(), plain.fractional_digit_count());
    assert_eq!(ours.big().to_string(), plain.to_string());
}

proptest! {
    #[test]
    fn arithmetic_is_that_of_big_decimals((a, b) in pairs()) {
        let (x, y) = (decimal(&a), decimal(&b));
        same(&x, &a);
        same(&-&x, &-&a);
        same(&x.abs(), &a.abs());
        same(&x.normalized(), &a.normalized());
        equal(&(&x + &y), &(&a + &b));
        equal(&(&x - &y), &(&a - &b));
        equal(&(&x * &y), &(&a * &b));
        let (mut sum, mut rest) = (x.clone(), x.clone());
        sum += &y;
        rest -= &y;
        equal(&sum, &(&a + &b));
        equal(&rest, &(&a - &b));
        let signs = [x.is_negative(), x.is_zero(), x.is_positive()];
        prop_assert_eq!(signs, [a < 0, a == 0, a > 0]);
        prop_assert_eq!(x.to_u64(), a.with_scale(0).to_u64());
    }

    #[test]
    fn order_and_equality_are_those_of_big_decimals((a, b) in pairs()) {
        let (x, y) = (decimal(&a), decimal(&b));
        prop_assert_eq!(x.cmp(&y), a.cmp(&b));
        prop_assert_eq!(y.cmp(&x), b.cmp(&a));
        prop_assert_eq!(x == y, a == b);
        if a == b {
            prop_assert_eq!(hash(&x), hash(&y));
        }
    }

    #[test]
    fn the_same_number_with_more_decimals_is_the_same(value in decimals(), more in 0_i64..45) {
        let longer = value.with_scale(value.fractional_digit_count() + more);
        let (x, y) = (decimal(&value), decimal(&longer));
        same(&x.with_scale(longer.fractional_digit_count()), &longer);
        prop_assert_eq!(&x, &y);
        prop_assert_eq!(hash(&x), hash(&y));
        same(&y.normalized(), &x.normalized().big());
    }

    #[test]
    fn rounding_is_that_of_big_decimals(
        value in prop_oneof![decimals(), ties()],
        other in prop_oneof![decimals(), ties()],
        scale in 0_i64..10,
    ) {
        let (ours, divisor) = (decimal(&value), decimal(&other));
        same(&ours.half_even(scale), &value.with_scale_round(scale, RoundingMode::HalfEven));
        same(&ours.with_scale(scale), &value.with_scale(scale));
        for mode in MODES {
            same(&ours.rounded(scale, mode), &value.with_scale_round(scale, mode));
            if other != 0 {
                let plain = (&value / &other).with_scale_round(scale, mode);
                same(&ours.quotient(&divisor, scale, mode), &plain);
            }
        }
    }

    #[test]
    fn writing_is_that_of_big_decimals(value in decimals(), scale in 0_i64..12) {
        let ours = decimal(&value);
        let plain = |value: &BigDecimal, scale| value.with_scale(scale).to_plain_string();
        prop_assert_eq!(fixed(&ours, scale), plain(&value, scale));
        let normalized = value.normalized();
        let expected = plain(&normalized, normalized.fractional_digit_count().max(scale));
        prop_assert_eq!(shortest(&ours, scale), expected);
        let decimals = value.fractional_digit_count();
        let written = fixed(&ours, decimals.max(0));
        same(&BigDecimal::from_str(&written).unwrap().into(), &value.with_scale(decimals.max(0)));
    }

    #[test]
    fn the_nearest_binary_number_is_that_of_the_text(value in prop_oneof![decimals(), ties()]) {
        let expected: f64 = value.to_plain_string().parse().unwrap();
        prop_assert_eq!(decimal(&value).to_f64().to_bits(), expected.to_bits());
    }

    #[test]
    fn a_ratio_is_that_of_the_text(a in any::<i64>(), cut in 0_u32..18, b in 1_i64..1 << 53, scale in 0_i64..9) {
        let (a, b) = (BigDecimal::new((a / 10_i64.pow(cut)).into(), 2), BigDecimal::new(b.into(), scale));
        let expected: f64 = (&a / &b).to_plain_string().parse().unwrap();
        prop_assert_eq!(decimal(&a).ratio(&decimal(&b)), expected);
    }
}

#[test]
fn zero_and_the_limits_are_written_and_rounded_too() {
    for (mantissa, scale, decimals, written) in [
        (0, 0, 0, "0"),
        (0, 5, 2, "0.00"),
        (-5, 3, 3, "-0.005"),
        (-5, 3, 2, "0.00"),
        (i128::MAX, 0, 0, "170141183460469231731687303715884105727"),
        (i128::MIN, 39, 39, "-0.170141183460469231731687303715884105728"),
        (1, 45, 45, "0.000000000000000000000000000000000000000000001"),
        (12, -3, 0, "12000"),
    ] {
        assert_eq!(fixed(&Decimal::new(mantissa, scale), decimals), written);
    }
    let value = |text: &str| BigDecimal::from_str(text).unwrap();
    for (exact, rounded) in [
        ("0.125", "0.12"),
        ("0.135", "0.14"),
        ("-0.125", "-0.12"),
        ("-0.1250001", "-0.13"),
        ("-0.001", "0.00"),
        ("7", "7.00"),
        ("1e3", "1000.00"),
    ] {
        same(&decimal(&value(exact)).half_even(2), &value(rounded));
    }
    let limit = BigDecimal::new(i128::MIN.into(), 1);
    same(&decimal(&limit).half_even(0), &limit.with_scale_round(0, RoundingMode::HalfEven));
}

#[test]
fn values_change_their_representation_at_the_limits() {
    let (most, one) = (Decimal::whole(i128::MAX), Decimal::whole(1));
    let beyond = &most + &one;
    assert!(matches!(beyond, Big(_)) && beyond > most);
    assert!(matches!(&beyond - &one, Small { .. }) && &beyond - &one == most);
    let least = Decimal::whole(i128::MIN);
    assert!(-&least == beyond && matches!(-&beyond, Small { .. }) && least.abs() == beyond);
    // A value with very many decimals is not large.
    let (tiny, huge) = (Decimal::new(1, i64::MAX), Decimal::new(1, i64::MIN));
    assert!(tiny < huge && tiny > Decimal::ZERO && tiny != huge && -&huge < -&tiny);
    assert!(Decimal::new(0, i64::MAX) == Decimal::ZERO);
}

#[test]
fn a_decimal_is_two_words_and_a_scale() {
    assert_eq!(size_of::<Decimal>(), 32);
}

#[test]
#[should_panic(expected = "ivi")]
fn nothing_is_divided_by_zero() {
    Decimal::whole(1).quotient(&Decimal::ZERO, 2, RoundingMode::HalfEven);
}

#[test]
fn stored_decimals_are_read_in_plain_notation() {
    for text in ["0", "-0.01", "0.00", "007", "123456789012345.67", "999999999.999999999", "1000000000000000"]
    {
        same(&Decimal::plain(text).unwrap(), &BigDecimal::from_str(text).unwrap());
    }
    for text in ["", "-", ".5", "5.", "1e3", "1_0", "+1", "1.2.3", "--1", &"9".repeat(37)] {
        assert_eq!(Decimal::plain(text), None, "{text}");
    }
}

#[test]
fn only_plain_notation_is_read() {
    for good in ["0", "1", "-1.5", "9999999999999999.999999999", "0.000000001"] {
        assert!(Decimal::parse(good).is_ok(), "{good}");
    }
    for bad in
        ["", "-", ".5", "5.", "1e3", "1_000", "1,000", "+1", " 1", "٣", "0.0000000001", "12345678901234567"]
    {
        assert!(Decimal::parse(bad).is_err(), "{bad}");
    }
}
