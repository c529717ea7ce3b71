//! Formats of numbers and times on pages: thousands separators, a typographic minus, signed gains, times in New York.

use std::fmt::Display;

use chrono::{DateTime, Datelike, NaiveDate, SecondsFormat, TimeDelta};
use chrono_tz::Tz;
use domain::calendar::{EXCHANGE_ZONE, exchange_date};
use domain::money::{AveragePrice, PriceChange};
use domain::{Money, Price, Quantity, Timestamp};
use serde::Serialize;

/// The text for an unknown value.
pub const UNKNOWN: &str = "—";
const MINUS: char = '\u{2212}';

/// A gain or a loss: the sign is in the text, the arrow and the color come from the class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Delta {
    pub text: String,
    /// `up`, `down`, or empty for zero.
    pub tone: &'static str,
}

/// A large number whose cents are shown smaller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Figure {
    pub whole: String,
    /// With the decimal point: `.77`.
    pub cents: String,
}

/// An instant as text for users and in a machine-readable form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Moment {
    pub iso: String,
    pub text: String,
}

/// Adds thousands separators and a typographic minus to a plain decimal.
fn grouped(plain: &str) -> String {
    let (negative, digits) = match plain.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, plain),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let mut text = String::with_capacity(plain.len() + plain.len() / 3);
    if negative {
        text.push(MINUS);
    }
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if !fraction.is_empty() {
        text.push('.');
        text.push_str(fraction);
    }
    text
}

/// Rounds a plain decimal half away from zero to `places`, for display only.
fn rounded(plain: &str, places: usize) -> String {
    let (sign, digits) = plain.strip_prefix('-').map_or(("", plain), |digits| ("-", digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if fraction.len() <= places {
        let zeros = "0".repeat(places - fraction.len());
        let point = if places > 0 { "." } else { "" };
        return format!("{sign}{whole}{point}{fraction}{zeros}");
    }
    let up = fraction.as_bytes()[places] >= b'5';
    let mut kept: Vec<u8> = whole.bytes().chain(fraction.bytes().take(places)).collect();
    if up {
        let mut at = kept.len();
        loop {
            if at == 0 {
                kept.insert(0, b'1');
                break;
            }
            at -= 1;
            if kept[at] == b'9' {
                kept[at] = b'0';
            } else {
                kept[at] += 1;
                break;
            }
        }
    }
    let split = kept.len() - places;
    let text = |digits: &[u8]| digits.iter().copied().map(char::from).collect::<String>();
    let point = if places > 0 { "." } else { "" };
    format!("{sign}{}{point}{}", text(&kept[..split]), text(&kept[split..]))
}

fn is_zero(plain: &str) -> bool {
    plain.chars().all(|c| matches!(c, '0' | '.' | '-' | '%'))
}

/// Signs a plain decimal, with a suffix such as `%`.
fn signed(plain: &str, suffix: &str) -> Delta {
    if is_zero(plain) {
        return Delta { text: format!("{}{suffix}", grouped(plain.trim_start_matches('-'))), tone: "" };
    }
    match plain.starts_with('-') {
        true => Delta { text: format!("{}{suffix}", grouped(plain)), tone: "down" },
        false => Delta { text: format!("+{}{suffix}", grouped(plain)), tone: "up" },
    }
}

/// Formats an amount of money: `1,234.50`, `−0.01`.
pub fn money(amount: &Money) -> String {
    grouped(&amount.to_string())
}

pub fn price(price: &Price) -> String {
    grouped(&price.to_string())
}

/// Formats a quantity with up to nine decimals, without trailing zeros.
pub fn quantity(quantity: &Quantity) -> String {
    grouped(&quantity.to_string())
}

/// Formats an average price like a price: with two decimals, or four below 1.00.
pub fn average(price: &AveragePrice) -> String {
    let text = price.to_string();
    let places = if text.starts_with("0.") { 4 } else { 2 };
    grouped(&rounded(&text, places))
}

/// Formats an average price with all its decimals, at least two and without trailing zeros.
pub fn average_exact(price: &AveragePrice) -> String {
    let text = price.to_string();
    let shortest = text.trim_end_matches('0');
    let decimals = shortest.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    grouped(&rounded(&text, decimals.max(2)))
}

pub fn count(number: impl Display) -> String {
    grouped(&number.to_string())
}

pub fn gain(amount: &Money) -> Delta {
    signed(&amount.to_string(), "")
}

pub fn change(change: &PriceChange) -> Delta {
    signed(&change.to_string(), "")
}

/// Formats a ratio as a percentage: `0.0036` becomes `0.36%`.
pub fn percent(ratio: f64) -> String {
    let plain = format!("{:.2}", ratio * 100.0);
    let plain = if is_zero(&plain) { plain.trim_start_matches('-') } else { &plain };
    format!("{}%", grouped(plain))
}

pub fn percent_gain(ratio: f64) -> Delta {
    signed(&format!("{:.2}", ratio * 100.0), "%")
}

/// Like [`percent_gain`], with one decimal, for tables with little space.
pub fn percent_gain_in_tenths(ratio: f64) -> Delta {
    signed(&format!("{:.1}", ratio * 100.0), "%")
}

/// Formats tenths of a percent: `186` becomes `18.6%`.
pub fn weight(tenths: i64) -> String {
    format!("{}.{}%", tenths / 10, tenths % 10)
}

/// Formats a ratio as a percentage with one decimal. The results of several ratios may not add up to 100 %.
pub fn share(ratio: f64) -> String {
    format!("{:.1}%", ratio * 100.0)
}

/// Separates the cents of an amount or a price.
pub fn figure(amount: &impl Display) -> Figure {
    let text = grouped(&amount.to_string());
    let (whole, cents) = text.split_once('.').unwrap_or((&text, "00"));
    Figure { whole: whole.to_owned(), cents: format!(".{cents}") }
}

fn new_york(at: Timestamp) -> DateTime<Tz> {
    at.utc().with_timezone(&EXCHANGE_ZONE)
}

fn moment(at: Timestamp, pattern: &str) -> Moment {
    let local = new_york(at);
    Moment { iso: local.to_rfc3339_opts(SecondsFormat::Secs, false), text: local.format(pattern).to_string() }
}

/// Formats an instant as `14:12 New York`.
pub fn minute(at: Timestamp) -> Moment {
    moment(at, "%H:%M New York")
}

/// Formats an instant as `14:12:07 New York`.
fn second(at: Timestamp) -> Moment {
    moment(at, "%H:%M:%S New York")
}

/// Like [`second`], with the day if it is not today.
pub fn second_seen_at(at: Timestamp, now: Timestamp) -> Moment {
    if exchange_date(at) == exchange_date(now) {
        second(at)
    } else {
        moment(at, "%-d %b %Y, %H:%M:%S New York")
    }
}

/// Formats an instant for use in a sentence: `at 14:12:07 New York`, or `on 20 Nov 2026, 14:12:07 New York` if it is
/// not today.
pub fn at_second(at: Timestamp, now: Timestamp) -> String {
    let word = if exchange_date(at) == exchange_date(now) { "at" } else { "on" };
    format!("{word} {}", second_seen_at(at, now).text)
}

/// Formats the day of an instant as `20 Nov 2026`.
pub fn day(at: Timestamp) -> Moment {
    moment(at, "%-d %b %Y")
}

/// Formats an instant as `20 Nov 2026, 14:12`.
pub fn day_and_minute(at: Timestamp) -> Moment {
    moment(at, "%-d %b %Y, %H:%M")
}

/// Formats an instant as `20 Nov 2026, 14:12:07`.
pub fn day_and_second(at: Timestamp) -> Moment {
    moment(at, "%-d %b %Y, %H:%M:%S")
}

/// Formats the time of an instant as `14:12`.
pub fn time_of_day(at: Timestamp) -> String {
    new_york(at).format("%H:%M").to_string()
}

/// Formats the time at which a session closes. Midnight is `24:00` of the day that ends.
pub fn closing_time(at: Timestamp) -> String {
    match time_of_day(at) {
        midnight if midnight == "00:00" => "24:00".to_owned(),
        time => time,
    }
}

/// Formats a day as `20 Nov 2026`.
pub fn date(date: NaiveDate) -> String {
    date.format("%-d %b %Y").to_string()
}

/// Formats the day of an instant as `Friday, 20 November 2026`.
pub fn dateline(at: Timestamp) -> Moment {
    moment(at, "%A, %-d %B %Y")
}

/// Formats a day as `Mon, 23 Nov`, with the year if it is not the year of `today`.
pub fn weekday(date: NaiveDate, today: NaiveDate) -> String {
    let pattern = if date.year() == today.year() { "%a, %-d %b" } else { "%a, %-d %b %Y" };
    date.format(pattern).to_string()
}

/// Formats a future instant: `09:30 today`, `09:30 on Mon, 23 Nov`.
pub fn instant_ahead(at: Timestamp, now: Timestamp) -> String {
    ahead(&time_of_day(at), exchange_date(at), exchange_date(now))
}

/// Formats the close of a session: `24:00 today`.
pub fn close_ahead(at: Timestamp, now: Timestamp) -> String {
    ahead(&closing_time(at), closing_day(at), exchange_date(now))
}

/// Formats the day of a session that closes at `closes_at`: `today`, `Mon, 23 Nov`.
pub fn session_ahead(closes_at: Timestamp, now: Timestamp) -> String {
    let (day, today) = (closing_day(closes_at), exchange_date(now));
    if day == today { "today".to_owned() } else { weekday(day, today) }
}

/// The day of a session that closes at `at`. Midnight belongs to the day that ends.
fn closing_day(at: Timestamp) -> NaiveDate {
    exchange_date(at - TimeDelta::microseconds(1))
}

fn ahead(time: &str, day: NaiveDate, today: NaiveDate) -> String {
    if day == today { format!("{time} today") } else { format!("{time} on {}", weekday(day, today)) }
}

/// Formats an age: `0.8 s`, `42 s`, `5 min`, `3 h`, `2 days`.
pub fn age(span: TimeDelta) -> String {
    let tenths = (span.num_milliseconds().max(0) + 50) / 100;
    let (seconds, minutes, hours) = (span.num_seconds(), span.num_minutes(), span.num_hours());
    match seconds {
        ..10 => format!("{}.{} s", tenths / 10, tenths % 10),
        10..120 => format!("{seconds} s"),
        120..7200 => format!("{minutes} min"),
        7200..172_800 => format!("{hours} h"),
        _ => format!("{} days", span.num_days()),
    }
}

/// Formats a number of bytes: `512 B`, `1.5 KiB`, `12.0 MiB`.
pub fn bytes(number: u64) -> String {
    if number < 1024 {
        return format!("{number} B");
    }
    let (mut whole, mut rest, mut unit) = (number, 0, "");
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if whole < 1024 {
            break;
        }
        (whole, rest, unit) = (whole / 1024, whole % 1024, larger);
    }
    format!("{}.{} {unit}", count(whole), rest * 10 / 1024)
}

/// Formats a number with the noun `one` or `many`: `1 position`, `9 positions`.
pub fn plural(number: usize, one: &str, many: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{} {many}", count(number)) }
}

/// Makes a sentence of the text of an error: with a capital first letter and a final period.
pub fn sentence(text: &str) -> String {
    stopped(&capitalized(text))
}

/// Adds a final period if the text has no final punctuation mark.
pub fn stopped(text: &str) -> String {
    if text.ends_with(['.', '!', '?']) { text.to_owned() } else { format!("{text}.") }
}

/// Converts a value of the API to a label for pages: `close_out` becomes "Close out".
pub fn label(word: &str) -> String {
    capitalized(&word.replace('_', " "))
}

pub fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_in_the_largest_unit_below_them() {
        for (number, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (12 << 20, "12.0 MiB"),
            (5 << 30, "5.0 GiB"),
            (2000 << 40, "2,000.0 TiB"),
        ] {
            assert_eq!(bytes(number), shown);
        }
    }
    use chrono::Utc;

    fn amount(text: &str) -> Money {
        text.parse().unwrap()
    }

    fn instant(text: &str) -> Timestamp {
        text.parse::<DateTime<Utc>>().unwrap().into()
    }

    #[test]
    fn amounts_have_separators_and_a_real_minus() {
        for (plain, shown) in [
            ("0", "0.00"),
            ("999.9", "999.90"),
            ("1000", "1,000.00"),
            ("-1234567.89", "−1,234,567.89"),
            ("999999999999999.99", "999,999,999,999,999.99"),
        ] {
            assert_eq!(money(&amount(plain)), shown);
        }
        assert_eq!(price(&"0.0123".parse().unwrap()), "0.0123");
        assert_eq!(quantity(&"1234.500000000".parse().unwrap()), "1,234.5");
        assert_eq!(count(12_481), "12,481");
    }

    #[test]
    fn the_sign_of_a_gain_is_in_the_text_and_zero_has_no_tone() {
        let delta = |text: &str, tone| Delta { text: text.into(), tone };
        assert_eq!(gain(&amount("439.17")), delta("+439.17", "up"));
        assert_eq!(gain(&amount("-2681.34")), delta("−2,681.34", "down"));
        assert_eq!(gain(&amount("0")), delta("0.00", ""));
        assert_eq!(percent_gain(0.0036), delta("+0.36%", "up"));
        assert_eq!(percent_gain(-0.00001), delta("0.00%", ""));
        assert_eq!(percent_gain(12.5), delta("+1,250.00%", "up"));
        assert_eq!(percent(-0.088), "−8.80%");
        assert_eq!(percent(-0.000001), "0.00%");
    }

    #[test]
    fn a_change_of_a_price_is_signed() {
        let price = |text: &str| text.parse::<Price>().unwrap();
        assert_eq!(change(&price("1.50").minus(&price("1.25"))).text, "+0.25");
        assert_eq!(change(&price("0.9050").minus(&price("1.00"))).text, "−0.095");
    }

    #[test]
    fn a_figure_separates_the_cents() {
        assert_eq!(figure(&amount("121353.77")), Figure { whole: "121,353".into(), cents: ".77".into() });
        assert_eq!(figure(&"0.1234".parse::<Price>().unwrap()).cents, ".1234");
    }

    #[test]
    fn averages_are_rounded_for_tables_and_whole_beside_the_position() {
        let average_of = |cost: &str, quantity: &str| {
            domain::money::average_price(&amount(cost), &quantity.parse().unwrap()).unwrap()
        };
        assert_eq!(average(&average_of("2001.99", "7")), "286.00");
        assert_eq!(average_exact(&average_of("2001.99", "7")), "285.998571");
        assert_eq!(average(&average_of("999.99", "1")), "999.99");
        assert_eq!(average(&average_of("1", "3")), "0.3333");
        assert_eq!(average_exact(&average_of("10", "4")), "2.50");
    }

    #[test]
    fn rounding_up_carries_into_the_next_digit() {
        assert_eq!(rounded("9.996", 2), "10.00");
        assert_eq!(rounded("-0.995", 2), "-1.00");
        assert_eq!(rounded("12", 2), "12.00");
        assert_eq!(rounded("12.5", 0), "13");
    }

    #[test]
    fn times_are_in_new_york() {
        let at = instant("2026-11-20T19:12:07Z");
        assert_eq!(
            second(at),
            Moment { iso: "2026-11-20T14:12:07-05:00".into(), text: "14:12:07 New York".into() }
        );
        assert_eq!(day_and_minute(at).text, "20 Nov 2026, 14:12");
        assert_eq!(minute(instant("2026-07-01T12:00:00Z")).text, "08:00 New York");
        assert_eq!(closing_time(instant("2026-11-21T05:00:00Z")), "24:00");
        assert_eq!(closing_time(instant("2026-11-20T21:00:00Z")), "16:00");
        assert_eq!(
            second_seen_at(at, instant("2026-11-21T19:12:07Z")).text,
            "20 Nov 2026, 14:12:07 New York"
        );
    }

    #[test]
    fn future_instants_name_their_day() {
        let now = instant("2026-11-20T19:12:07Z");
        assert_eq!(instant_ahead(instant("2026-11-23T14:30:00Z"), now), "09:30 on Mon, 23 Nov");
        assert_eq!(instant_ahead(instant("2026-11-20T21:00:00Z"), now), "16:00 today");
        // Midnight in New York: the end of November 20.
        assert_eq!(close_ahead(instant("2026-11-21T05:00:00Z"), now), "24:00 today");
        assert_eq!(close_ahead(instant("2026-11-22T05:00:00Z"), now), "24:00 on Sat, 21 Nov");
        assert_eq!(session_ahead(instant("2026-11-21T05:00:00Z"), now), "today");
        assert_eq!(at_second(now, now), "at 14:12:07 New York");
        assert_eq!(at_second(now, instant("2026-11-21T19:00:00Z")), "on 20 Nov 2026, 14:12:07 New York");
    }

    #[test]
    fn older_ages_are_shown_in_coarser_units() {
        for (ms, shown) in [
            (-5, "0.0 s"),
            (840, "0.8 s"),
            (9_940, "9.9 s"),
            (42_000, "42 s"),
            (300_000, "5 min"),
            (10_800_000, "3 h"),
            (260_000_000, "3 days"),
        ] {
            assert_eq!(age(TimeDelta::milliseconds(ms)), shown);
        }
    }

    #[test]
    fn errors_become_sentences() {
        assert_eq!(sentence("use 3 to 32 characters"), "Use 3 to 32 characters.");
        assert_eq!(plural(1, "position", "positions"), "1 position");
        assert_eq!(plural(0, "position", "positions"), "0 positions");
    }
}
