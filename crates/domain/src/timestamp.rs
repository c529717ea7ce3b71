//! An instant as it is stored in the books.

use std::fmt;
use std::ops::{Add, Range, Sub};

use chrono::{DateTime, Datelike, SecondsFormat, SubsecRound, TimeDelta, Timelike, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An instant in UTC, to the microsecond, so that all databases store it exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "diesel", derive(diesel::AsExpression, diesel::FromSqlRow))]
#[cfg_attr(feature = "diesel", diesel(sql_type = crate::sql::Moment))]
pub struct Timestamp(DateTime<Utc>);

impl Timestamp {
    /// Cuts off fractions of a microsecond.
    pub fn new(at: DateTime<Utc>) -> Self {
        Self(at.trunc_subsecs(6))
    }

    pub fn utc(self) -> DateTime<Utc> {
        self.0
    }

    pub fn to_rfc3339(self) -> String {
        self.written(str::to_owned)
    }

    /// RFC 3339 with as many decimals as needed: none, three, or six.
    fn written<R>(self, take: impl FnOnce(&str) -> R) -> R {
        let Some(mut text) = self.digits() else {
            return take(&self.0.to_rfc3339_opts(SecondsFormat::AutoSi, true));
        };
        let length = match &text[20..26] {
            b"000000" => 20,
            [.., b'0', b'0', b'0'] => 24,
            _ => 27,
        };
        text[length - 1] = b'Z';
        take(std::str::from_utf8(&text[..length]).expect("Invariant: all bytes are ASCII"))
    }

    /// RFC 3339 with six decimals, for years of four digits. Responses contain many times, and chrono's formatting is
    /// several times slower.
    pub(crate) fn digits(self) -> Option<[u8; 27]> {
        let (at, micros) = (self.0.naive_utc(), self.0.timestamp_subsec_micros());
        let year = u32::try_from(at.year()).ok().filter(|year| *year < 10_000)?;
        if micros >= 1_000_000 {
            return None;
        }
        let mut text = *b"0000-00-00T00:00:00.000000Z";
        let mut put = |mut number: u32, places: Range<usize>| {
            for place in places.rev() {
                text[place] = b"0123456789"[number as usize % 10];
                number /= 10;
            }
        };
        put(year, 0..4);
        put(at.month(), 5..7);
        put(at.day(), 8..10);
        put(at.hour(), 11..13);
        put(at.minute(), 14..16);
        put(at.second(), 17..19);
        put(micros, 20..26);
        Some(text)
    }
}

impl From<DateTime<Utc>> for Timestamp {
    fn from(at: DateTime<Utc>) -> Self {
        Self::new(at)
    }
}

impl Add<TimeDelta> for Timestamp {
    type Output = Self;
    fn add(self, span: TimeDelta) -> Self {
        Self::new(self.0 + span)
    }
}

impl Sub<TimeDelta> for Timestamp {
    type Output = Self;
    fn sub(self, span: TimeDelta) -> Self {
        Self::new(self.0 - span)
    }
}

impl Sub for Timestamp {
    type Output = TimeDelta;
    fn sub(self, earlier: Self) -> TimeDelta {
        self.0 - earlier.0
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.written(|text| f.write_str(text))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.written(|text| serializer.serialize_str(text))
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        DateTime::<Utc>::deserialize(deserializer).map(Self::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn instants_are_written_as_chrono_writes_them(
            micros in prop_oneof![-70_000_000_000_000_000_i64..260_000_000_000_000_000, any::<i32>().prop_map(i64::from)],
            unit in prop_oneof![Just(1), Just(1_000), Just(1_000_000)],
        ) {
            let at = DateTime::from_timestamp_micros(micros / unit * unit).unwrap();
            let expected = at.to_rfc3339_opts(SecondsFormat::AutoSi, true);
            prop_assert_eq!(Timestamp::from(at).to_rfc3339(), expected.as_str());
            prop_assert_eq!(serde_json::to_value(Timestamp::from(at)).unwrap(), expected);
            if let Some(text) = Timestamp::from(at).digits() {
                let expected = at.to_rfc3339_opts(SecondsFormat::Micros, true);
                prop_assert_eq!(std::str::from_utf8(&text).unwrap(), expected);
            }
        }
    }
}
