//! The columns of a file, by any of the names that files give them.

use std::collections::HashMap;

use csv::StringRecord;

use super::issue::RowProblem;

/// What a column contains, its usual name first.
const COLUMNS: [(&str, &[&str]); 11] = [
    ("date", &["date", "timestamp", "trade date", "datetime", "date/time", "run date"]),
    ("action", &["action", "transaction_type", "type", "transaction", "transaction type"]),
    ("symbol", &["symbol", "ticker"]),
    ("quantity", &["quantity", "shares", "qty"]),
    ("price", &["price", "price per share", "unit price"]),
    ("fee", &["fee", "commission", "fees", "commissions", "fees & comm"]),
    ("amount", &["amount", "total", "net amount"]),
    ("currency", &["currency"]),
    ("order", &["order_id"]),
    ("rounding", &["rounding_version"]),
    ("id", &["id"]),
];

/// Where the columns are.
#[derive(Debug, Clone, Default)]
pub(super) struct Columns(HashMap<&'static str, usize>);

impl Columns {
    /// Finds the columns by their names, in any case.
    ///
    /// # Errors
    /// [`RowProblem::Header`] without a date and an action; [`RowProblem::SameColumns`] when two columns contain the same.
    pub fn find(header: &StringRecord) -> Result<Self, RowProblem> {
        let mut found = HashMap::new();
        for (at, text) in header.iter().enumerate() {
            let name = text.trim().to_lowercase();
            let Some((column, _)) = COLUMNS.iter().find(|(_, names)| names.contains(&name.as_str())) else {
                continue;
            };
            if let Some(before) = found.insert(*column, at) {
                let one = header.get(before).unwrap_or_default().trim().to_owned();
                return Err(RowProblem::SameColumns { column, one, other: text.trim().to_owned() });
            }
        }
        match found.contains_key("date") && found.contains_key("action") {
            true => Ok(Self(found)),
            false => Err(RowProblem::Header),
        }
    }

    pub fn has(&self, column: &str) -> bool {
        self.0.contains_key(column)
    }

    /// A field without the apostrophe that an export puts before what a spreadsheet would take for a formula.
    pub fn text<'r>(&self, record: &'r StringRecord, column: &str) -> &'r str {
        let text = self.0.get(column).and_then(|at| record.get(*at)).unwrap_or_default().trim();
        match text.strip_prefix('\'') {
            Some(rest) if rest.starts_with(['=', '+', '-', '@']) => rest,
            _ => text,
        }
    }
}
