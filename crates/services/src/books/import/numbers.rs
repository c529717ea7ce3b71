//! Numbers as files write them: with a decimal point or comma, and with thousands separators.

use super::issue::RowProblem;

/// The sign between whole numbers and decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DecimalMark {
    Point,
    Comma,
}

impl DecimalMark {
    fn sign(self) -> char {
        match self {
            Self::Point => '.',
            Self::Comma => ',',
        }
    }

    fn other(self) -> Self {
        match self {
            Self::Point => Self::Comma,
            Self::Comma => Self::Point,
        }
    }

    /// The mark that a number must have; `None` for numbers that can be read both ways, such as `1,234`.
    fn of_number(text: &str) -> Option<Self> {
        let (_, unsigned) = unsigned(text);
        let mut marks = unsigned.chars().filter_map(|sign| match sign {
            '.' => Some(Self::Point),
            ',' => Some(Self::Comma),
            _ => None,
        });
        let last = marks.next_back()?;
        match marks.next_back() {
            Some(before) if before == last => Some(last.other()),
            Some(_) => Some(last),
            None => {
                let (whole, decimals) = unsigned.split_once(last.sign())?;
                let is_group = decimals.len() == 3 && (1..=3).contains(&whole.len()) && whole != "0";
                (!is_group).then_some(last)
            }
        }
    }
}

/// How a file writes numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NumberFormat {
    mark: DecimalMark,
    /// Whether a number of the file shows the mark.
    is_certain: bool,
}

impl NumberFormat {
    /// The format that the numbers of a file have in common. Without a number that shows it, decimals have a point.
    pub fn detect<'a>(numbers: impl Iterator<Item = &'a str>) -> Self {
        let mut shown = numbers.filter_map(DecimalMark::of_number);
        match shown.next() {
            // A number with the other mark is a problem of its row.
            Some(mark) => Self { mark, is_certain: true },
            None => Self { mark: DecimalMark::Point, is_certain: false },
        }
    }

    /// A number in plain notation with a point; `None` for an empty field.
    ///
    /// # Errors
    /// [`RowProblem::Notation`], and [`RowProblem::TwoMeanings`] for `1,234` where nothing shows the mark.
    pub fn plain(self, text: &str) -> Result<Option<String>, RowProblem> {
        let (minus, number) = unsigned(text);
        if number.is_empty() && !minus {
            return Ok(None);
        }
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let (whole, decimals) = match number.split_once(self.mark.sign()) {
            Some((whole, decimals)) => (whole, Some(decimals)),
            None => (number, None),
        };
        let other = self.mark.other().sign();
        let is_grouped = whole.chars().any(|sign| !sign.is_ascii_digit());
        let ungrouped = if is_grouped { ungrouped(whole, other) } else { Some(whole.to_owned()) };
        let whole = ungrouped.filter(|whole| digits(whole) && decimals.is_none_or(digits));
        let Some(whole) = whole else {
            return Err(RowProblem::Notation { mark: self.mark.sign() });
        };
        if is_grouped && !self.is_certain && number.contains(other) {
            return Err(RowProblem::TwoMeanings { number: number.to_owned() });
        }
        let sign = if minus { "-" } else { "" };
        let decimals = decimals.map(|decimals| format!(".{decimals}")).unwrap_or_default();
        Ok(Some(format!("{sign}{whole}{decimals}")))
    }
}

/// A number without the separators of its thousands, which are all the same.
fn ungrouped(whole: &str, other_mark: char) -> Option<String> {
    let is_separator =
        |sign: char| sign == other_mark || matches!(sign, ' ' | '\u{a0}' | '\u{202f}' | '\'' | '’');
    let separator = whole.chars().find(|sign| !sign.is_ascii_digit()).filter(|sign| is_separator(*sign))?;
    let mut groups = whole.split(separator);
    let first = groups.next().filter(|first| (1..=3).contains(&first.len()))?;
    let rest: Vec<&str> = groups.collect();
    rest.iter().all(|group| group.len() == 3).then(|| format!("{first}{}", rest.concat()))
}

/// Whether a number has a minus, and the number without sign and dollars.
fn unsigned(text: &str) -> (bool, &str) {
    let text = text.trim();
    let text = text.strip_prefix('$').unwrap_or(text);
    let (minus, rest) = match text.strip_prefix(['-', '−']) {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    (minus, rest.strip_prefix('$').unwrap_or(rest).trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(numbers: &[&str]) -> Vec<String> {
        let format = NumberFormat::detect(numbers.iter().copied());
        let read = |number: &&str| match format.plain(number) {
            Ok(plain) => plain.unwrap_or_default(),
            Err(problem) => problem.to_string(),
        };
        numbers.iter().map(read).collect()
    }

    #[test]
    fn the_numbers_of_a_file_show_its_decimal_mark() {
        for (numbers, expected) in [
            (vec!["149.50", "1,234", "-$1,234,567.5", ""], vec!["149.50", "1234", "-1234567.5", ""]),
            (vec!["149,50", "1.234", "1.234,56", "1.234.567"], vec!["149.50", "1234", "1234.56", "1234567"]),
            (vec!["1 234,5", "1\u{202f}234", "12\u{a0}345"], vec!["1234.5", "1234", "12345"]),
            (vec!["1'234.50", "+7", "−7"], vec!["1234.50", "7", "-7"]),
            (vec!["0,125", "1,234"], vec!["0.125", "1.234"]),
            (vec!["1,234,567", "2.5"], vec!["1234567", "2.5"]),
            // Nothing shows a comma: decimals have a point.
            (vec!["1.234", "5"], vec!["1.234", "5"]),
        ] {
            assert_eq!(read(&numbers), expected, "{numbers:?}");
        }
    }

    #[test]
    fn a_number_with_two_meanings_is_refused() {
        let read = read(&["1,234", "5"]);
        assert!(read[0].contains("1,234 can mean 1234 or 1.234"), "{read:?}");
        assert_eq!(read[1], "5");
    }

    #[test]
    fn a_number_that_does_not_fit_the_others_is_refused() {
        for (numbers, refused) in [
            (vec!["149.50", "149,50"], 1),
            (vec!["149,50", "1,234.56"], 1),
            (vec!["1.5", "1,23,456"], 1),
            (vec!["1.5", "12 34"], 1),
            (vec!["1.5", "1,234 567"], 1),
            (vec!["1.5.5", "="], 0),
            (vec!["=1+1"], 0),
            (vec!["(5.00)"], 0),
            (vec!["1e5"], 0),
            (vec!["-"], 0),
            (vec!["."], 0),
            (vec!["５"], 0),
        ] {
            let read = read(&numbers);
            assert!(read[refused].starts_with("write a number"), "{numbers:?}: {read:?}");
        }
    }
}
