use super::*;

fn money(text: &str) -> Money {
    text.parse().unwrap()
}

#[test]
fn money_has_two_decimals_and_rejects_more() {
    assert_eq!(money("100000").to_string(), "100000.00");
    assert_eq!(money("0.10").to_string(), "0.10");
    assert_eq!(money("1.500").to_string(), "1.50");
    assert_eq!("0.001".parse::<Money>(), Err(DecimalError::TooPrecise { max: 2 }));
    assert_eq!("1e5".parse::<Money>(), Err(DecimalError::Malformed));
    assert!(matches!("1000000000000000.01".parse::<Money>(), Err(DecimalError::OutOfRange { .. })));
}

#[test]
fn a_price_off_its_tick_is_rejected() {
    assert_eq!("189.42".parse::<Price>().unwrap().to_string(), "189.42");
    assert_eq!("0.1234".parse::<Price>().unwrap().to_string(), "0.1234");
    assert_eq!("189.425".parse::<Price>(), Err(DecimalError::TooPrecise { max: 2 }));
    assert_eq!(Price::from_provider("205.35000610351").unwrap_err(), DecimalError::Malformed);
    assert_eq!(Price::from_provider("205.350006103").unwrap().to_string(), "205.35");
    assert!("0".parse::<Price>().is_err() && "-1".parse::<Price>().is_err());
}

#[test]
fn quantity_has_nine_decimals_and_plain_notation() {
    assert_eq!("0.000000001".parse::<Quantity>().unwrap().to_string(), "0.000000001");
    assert_eq!("1000000000".parse::<Quantity>().unwrap().to_string(), "1000000000");
    assert_eq!("10.500".parse::<Quantity>().unwrap().to_string(), "10.5");
    assert!("1000000000.1".parse::<Quantity>().is_err() && "0".parse::<Quantity>().is_err());
}

#[test]
fn amounts_round_half_to_even() {
    let price = |text: &str| text.parse::<Price>().unwrap();
    let quantity = |text: &str| text.parse::<Quantity>().unwrap();
    assert_eq!(price("1.25").times(&quantity("0.1")), money("0.12"));
    assert_eq!(price("1.35").times(&quantity("0.1")), money("0.14"));
    assert_eq!(money("100.00").prorate(&quantity("1"), &quantity("3")), money("33.33"));
    assert_eq!(money("100.00").buys(&price("3.00")).to_string(), "33.333333333");
}

#[test]
fn json_takes_quoted_and_bare_decimals_alike() {
    for text in ["\"12.34\"", "12.34"] {
        assert_eq!(serde_json::from_str::<Money>(text).unwrap(), money("12.34"));
    }
    assert_eq!(serde_json::from_str::<Money>("9007199254740.93").unwrap().to_string(), "9007199254740.93");
    assert_eq!(serde_json::to_string(&money("5")).unwrap(), "\"5.00\"");
}

#[test]
fn json_numbers_with_exponents_are_read_without_loss() {
    let quantity = |json: &str| serde_json::from_str::<Quantity>(json).map(|read| read.to_string());
    for (json, read) in [
        ("1e-05", "0.00001"),
        ("1E-9", "0.000000001"),
        ("1e+3", "1000"),
        ("12.5e1", "125"),
        ("123.456e-2", "1.23456"),
        ("0.001e3", "1"),
        ("1.500000000000e0", "1.5"),
        ("1e9", "1000000000"),
    ] {
        assert_eq!(quantity(json).unwrap(), read, "{json}");
    }
    let refused = |json: &str| quantity(json).unwrap_err().to_string();
    for json in ["0.30000000000000004", "1e-10", "1.5e-9", "1e-400", "1e-99999999999999999999"] {
        assert!(refused(json).contains("use at most 9 decimals"), "{json}: {}", refused(json));
    }
    for json in ["1e10", "1e400", "1e99999999999999999999", "-1e2", "0e5"] {
        assert!(refused(json).contains("must be between 0.000000001"), "{json}: {}", refused(json));
    }
    // A string is user input, so exponents are rejected.
    assert!(refused("\"1e-05\"").contains("without thousands separators or exponents"));
    assert_eq!(serde_json::from_str::<Money>("1e3").unwrap(), money("1000"));
    assert!(serde_json::from_str::<Money>("1e-3").unwrap_err().to_string().contains("at most 2 decimals"));
}

#[test]
fn too_many_digits_and_malformed_numbers_are_different_errors() {
    let refused = |text: &str| text.parse::<Quantity>().unwrap_err();
    assert_eq!(refused("0.0000000001"), DecimalError::TooPrecise { max: 9 });
    assert_eq!("0.0000000001".parse::<Price>().unwrap_err(), DecimalError::TooPrecise { max: 4 });
    assert!(matches!(refused("12345678901234567"), DecimalError::OutOfRange { .. }));
    for text in ["", "-", ".5", "5.", "1.2.3", "1,000", "1_000", "1e5", "0x1", " 1", "+1", "١"] {
        assert_eq!(refused(text), DecimalError::Malformed, "{text}");
    }
    assert_eq!("000000000000000000001.50000000000000".parse::<Quantity>().unwrap().to_string(), "1.5");
}

#[test]
fn money_in_cents() {
    for (text, cents) in
        [("0", 0), ("12.34", 1234), ("-0.05", -5), ("1000000000000000.00", 100_000_000_000_000_000)]
    {
        assert_eq!(money(text).to_cents(), Some(cents));
        assert_eq!(Money::from_cents(cents), money(text));
    }
    assert_eq!(Money::zero().to_cents(), Some(0));
    let much: Money = std::iter::repeat_n(money("1000000000000000"), 100).sum();
    assert_eq!(much.to_cents(), None);
}
