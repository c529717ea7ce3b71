//! Reads the table of an import: our own CSV, or a broker's, into rows in the order in which they happened.

use std::collections::HashMap;

use csv::StringRecord;
use domain::{Money, Percent, Price, Quantity, Rounding, Side, Symbol, TransactionType};
use sha2::{Digest, Sha256};

use super::columns::Columns;
use super::dates::{DayOrder, RowTime, row_time};
use super::issue::{RowIssue, RowProblem};
use super::numbers::NumberFormat;

/// Rows of one file.
const MAX_ROWS: usize = 5_000;
/// Problems that are reported at once.
pub(super) const MAX_ISSUES: usize = 100;

/// A row that can be booked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ImportRow {
    /// Line of the file, from 1.
    pub line: usize,
    pub time: RowTime,
    pub kind: RowKind,
    /// Tells the row from the others of its portfolio.
    pub hash: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RowKind {
    /// Positive for both directions.
    Deposit(Money),
    Withdrawal(Money),
    Trade(Trade),
    /// A split or dividend, which this installation books by itself: the row is compared with what it has booked.
    Action(ActionRow),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ActionRow {
    pub transaction_type: TransactionType,
    pub symbol: Symbol,
    /// Zero for a split.
    pub amount: Money,
    /// The shares after a split, where the file tells them.
    pub shares: Option<Quantity>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trade {
    pub side: Side,
    pub symbol: Symbol,
    pub quantity: Quantity,
    pub price: Price,
    /// The shares, among these, that cost one tick more: of a trade whose price lies between two ticks.
    pub dearer: Option<(Quantity, Price)>,
    pub fee: Money,
    /// The effect on cash, where our own file tells it.
    pub amount: Option<Money>,
    /// Fills of one order have the same.
    pub order: Option<String>,
    pub rounding: Rounding,
}

impl Trade {
    /// The fills, whose amounts add up to that of the trade. A price between two ticks has two.
    pub fn fills(&self) -> Vec<(Quantity, Price)> {
        let (quantity, price) = (self.quantity.clone(), self.price.clone());
        match &self.dearer {
            Some((more, above)) => match quantity.checked_sub(more) {
                Some(rest) => vec![(rest, price), (more.clone(), above.clone())],
                None => vec![(quantity, price)],
            },
            None => vec![(quantity, price)],
        }
    }
}

impl RowKind {
    pub fn symbol(&self) -> Option<&Symbol> {
        match self {
            Self::Trade(trade) => Some(&trade.symbol),
            Self::Action(action) => Some(&action.symbol),
            Self::Deposit(_) | Self::Withdrawal(_) => None,
        }
    }

    /// The content in a form that is the same in every version and for every notation of the file.
    fn canonical(&self) -> String {
        match self {
            Self::Deposit(amount) => format!("deposit|{amount}"),
            Self::Withdrawal(amount) => format!("withdrawal|{amount}"),
            Self::Trade(trade) => {
                let Trade { side, symbol, quantity, price, dearer, fee, order, .. } = trade;
                let order = order.as_deref().unwrap_or_default();
                let dearer =
                    dearer.as_ref().map(|(more, above)| format!("|{more}|{above}")).unwrap_or_default();
                format!("{}|{symbol}|{quantity}|{price}|{fee}|{order}{dearer}", side.as_str())
            }
            Self::Action(ActionRow { transaction_type, symbol, amount, .. }) => {
                format!("{}|{symbol}|{amount}", transaction_type.as_str())
            }
        }
    }
}

/// What a file contains.
#[derive(Debug, Clone, Default)]
pub(super) struct ImportFile {
    /// Oldest first.
    pub rows: Vec<ImportRow>,
    pub issues: Vec<RowIssue>,
    /// Whether it is one of our own exports.
    pub is_own: bool,
}

/// Hex SHA-256 of a file.
pub(super) fn hash(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The text of a file in UTF-8, or in UTF-16 with a byte order mark. `None` for other encodings.
pub fn decode(bytes: Vec<u8>) -> Option<String> {
    let unit: fn([u8; 2]) -> u16 = match bytes.get(..2) {
        Some([0xff, 0xfe]) => u16::from_le_bytes,
        Some([0xfe, 0xff]) => u16::from_be_bytes,
        _ => return String::from_utf8(bytes).ok(),
    };
    let (units, rest) = bytes.as_chunks();
    let units: Vec<u16> = units.iter().skip(1).map(|pair| unit(*pair)).collect();
    if rest.is_empty() { String::from_utf16(&units).ok() } else { None }
}

/// Reads a file. Problems are collected, so that a person sees all of them at once.
pub(super) fn read(text: &str) -> ImportFile {
    read_table(text).unwrap_or_else(|issue| ImportFile { issues: vec![issue], ..ImportFile::default() })
}

fn read_table(text: &str) -> Result<ImportFile, RowIssue> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if let Some(line) = text.lines().position(|line| line.contains('\0')) {
        return Err(RowIssue::new(line + 1, None, RowProblem::NulByte));
    }
    let table = Table::of(text);
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(table.delimiter)
        .flexible(true)
        .from_reader(table.text.as_bytes());
    let header = reader.headers().map_err(|_| RowProblem::Header).and_then(Columns::find);
    let columns = header.map_err(|problem| RowIssue::new(1 + table.lines_before, None, problem))?;
    let records = records(&mut reader, &table)?;
    let mut file = ImportFile { is_own: columns.has("rounding"), ..ImportFile::default() };
    if records.is_empty() {
        return Err(RowIssue::new(1 + table.lines_before, None, RowProblem::NoRows));
    }
    let fields = |names: &'static [&str]| {
        let (columns, records) = (&columns, &records);
        let texts =
            records.iter().flat_map(move |(_, record)| names.iter().map(|name| columns.text(record, name)));
        texts.filter(|text| !text.is_empty())
    };
    let numbers = NumberFormat::detect(fields(&["quantity", "price", "fee", "amount"]));
    let day_order = DayOrder::detect(fields(&["date"]));
    let fields = Fields { is_own: file.is_own, numbers, day_order, columns };
    let mut rows: Vec<(i64, ImportRow)> = Vec::with_capacity(records.len());
    for (line, record) in &records {
        match fields.row(*line, record) {
            Ok(row) => rows.push((fields.id(record), row)),
            Err(issues) => file.issues.extend(issues),
        }
    }
    file.rows = in_order(rows);
    Ok(file)
}

/// The rows in the order in which they happened, with their hashes.
fn in_order(mut rows: Vec<(i64, ImportRow)>) -> Vec<ImportRow> {
    let is_newest_first =
        rows.first().zip(rows.last()).is_some_and(|((_, first), (_, last))| first.time.at > last.time.at);
    if is_newest_first {
        rows.reverse();
    }
    // Our own lines have ids in the order in which they were booked; others keep the order of the file.
    rows.sort_by_key(|(id, row)| (row.time.at, *id));
    let mut occurrences: HashMap<String, usize> = HashMap::new();
    for (_, row) in &mut rows {
        // Two rows may be the same; the second one of a file is the second one of each longer file.
        let content = format!("{}|{}", row.time.at, row.kind.canonical());
        let number = occurrences.entry(content.clone()).or_default();
        *number += 1;
        row.hash = hash(&format!("{content}|{number}"));
    }
    rows.into_iter().map(|(_, row)| row).collect()
}

/// The table of a file.
struct Table<'a> {
    text: &'a str,
    delimiter: u8,
    /// Lines of the file above `text`.
    lines_before: usize,
}

impl<'a> Table<'a> {
    /// Spreadsheets write `sep=;` above a table.
    fn of(text: &'a str) -> Self {
        let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        if let Some(rest) = text.strip_prefix("sep=")
            && let Some((separator, text)) = rest.split_once('\n')
            && let [delimiter @ (b',' | b';' | b'\t')] = separator.trim_end_matches('\r').as_bytes()
        {
            return Self { text, delimiter: *delimiter, lines_before: 1 };
        }
        Self { text, delimiter: delimiter_of(first), lines_before: 0 }
    }
}

/// The rows that are not empty, with their lines.
fn records(
    reader: &mut csv::Reader<&[u8]>,
    table: &Table<'_>,
) -> Result<Vec<(usize, StringRecord)>, RowIssue> {
    let mut records = Vec::new();
    let (bytes, mut offset, mut line) = (table.text.as_bytes(), 0, 1 + table.lines_before);
    for record in reader.records() {
        let Ok(record) = record else {
            return Err(RowIssue::new(line + 1, None, RowProblem::Unreadable));
        };
        let start = record.position().and_then(|at| usize::try_from(at.byte()).ok()).unwrap_or(offset);
        // The reader's position may lie before the rest of a line end, and before empty lines.
        let ends =
            bytes.get(start..).unwrap_or_default().iter().take_while(|byte| matches!(byte, b'\r' | b'\n'));
        let start = start + ends.count();
        line += bytes.get(offset..start).unwrap_or_default().iter().filter(|byte| **byte == b'\n').count();
        offset = start;
        if record.iter().all(|field| field.trim().is_empty()) {
            continue;
        }
        if records.len() == MAX_ROWS {
            return Err(RowIssue::new(line, None, RowProblem::TooManyRows { most: MAX_ROWS }));
        }
        records.push((line, record));
    }
    Ok(records)
}

/// The character that separates the names of the columns.
fn delimiter_of(header: &str) -> u8 {
    let counts = [b'\t', b';', b','].map(|one| (header.bytes().filter(|byte| *byte == one).count(), one));
    counts.into_iter().max_by_key(|(count, _)| *count).map_or(b',', |(_, one)| one)
}

/// The value of a row's action.
#[derive(Debug, Clone, Copy)]
enum Action {
    Trade(Side),
    Deposit,
    Withdrawal,
    Booked(TransactionType),
}

fn action(text: &str) -> Result<Action, RowProblem> {
    let only_there = |kind| Err(RowProblem::OnlyThere { kind });
    match text.to_lowercase().as_str() {
        "buy" | "bought" | "purchase" | "b" => Ok(Action::Trade(Side::Buy)),
        "sell" | "sold" | "sale" | "s" => Ok(Action::Trade(Side::Sell)),
        "deposit" | "cash in" | "contribution" => Ok(Action::Deposit),
        "withdrawal" | "withdraw" | "cash out" => Ok(Action::Withdrawal),
        "dividend" => Ok(Action::Booked(TransactionType::Dividend)),
        "split" => Ok(Action::Booked(TransactionType::Split)),
        "close_out" => only_there("close-out"),
        "exchange" => only_there("share exchange"),
        "reversal" => only_there("reversal"),
        _ => Err(RowProblem::Action { action: text.chars().take(40).collect() }),
    }
}

/// How the fields of a file are read.
struct Fields {
    columns: Columns,
    /// Whether the file is one of our own exports: no broker has a version of rounding.
    is_own: bool,
    numbers: NumberFormat,
    day_order: Option<DayOrder>,
}

impl Fields {
    /// The order of our own lines; the same for all of other files.
    fn id(&self, record: &StringRecord) -> i64 {
        if self.is_own { self.columns.text(record, "id").parse().unwrap_or(0) } else { 0 }
    }

    fn row(&self, line: usize, record: &StringRecord) -> Result<ImportRow, Vec<RowIssue>> {
        let mut reading = RowReading { fields: self, record, line, issues: Vec::new() };
        let time = reading.time();
        let kind = reading.kind();
        reading.check_currency();
        match (time, kind) {
            (Some(time), Some(kind)) if reading.issues.is_empty() => {
                Ok(ImportRow { line, time, kind, hash: String::new() })
            }
            _ => Err(reading.issues),
        }
    }
}

/// The tick below a price with more decimals than prices have here, how far the price is on the way to the next one in
/// percent, and the next one. `None` for other texts.
fn between_ticks(text: &str) -> Option<(Price, Percent, Price)> {
    let (whole, decimals) = text.split_once('.')?;
    let is_below_one = whole.bytes().all(|byte| byte == b'0');
    let (decimals_of_tick, tick) = if is_below_one { (4, "0.0001") } else { (2, "0.01") };
    let (kept, rest) = decimals.split_at_checked(decimals_of_tick)?;
    if rest.bytes().all(|byte| byte == b'0') {
        return None;
    }
    let rest = format!("{rest:0<3}");
    let (percent, parts) = rest.split_at_checked(2)?;
    let below: Price = format!("{whole}.{kept}").parse().ok()?;
    let above = below.plus(&tick.parse().ok()?);
    Some((below, format!("{percent}.{parts}").parse().ok()?, above))
}

/// One row while it is read.
struct RowReading<'a> {
    fields: &'a Fields,
    record: &'a StringRecord,
    line: usize,
    issues: Vec<RowIssue>,
}

impl RowReading<'_> {
    fn text(&self, column: &str) -> &str {
        self.fields.columns.text(self.record, column)
    }

    /// The value, or `None` and a note of the problem.
    fn noted<T>(&mut self, column: &'static str, read: Result<T, RowProblem>) -> Option<T> {
        read.map_err(|problem| self.issues.push(RowIssue::new(self.line, Some(column), problem))).ok()
    }

    fn time(&mut self) -> Option<RowTime> {
        let read = row_time(self.text("date"), self.fields.day_order);
        self.noted("date", read)
    }

    fn check_currency(&mut self) {
        let currency = self.text("currency");
        if !currency.is_empty() && !currency.eq_ignore_ascii_case("usd") {
            let currency = currency.chars().take(10).collect();
            self.noted::<()>("currency", Err(RowProblem::Currency { currency }));
        }
    }

    fn kind(&mut self) -> Option<RowKind> {
        let read = action(self.text("action"));
        match self.noted("action", read)? {
            Action::Deposit => self.cash(false).map(RowKind::Deposit),
            Action::Withdrawal => self.cash(true).map(RowKind::Withdrawal),
            Action::Booked(transaction_type) => self.booked(transaction_type).map(RowKind::Action),
            Action::Trade(side) => self.trade(side).map(RowKind::Trade),
        }
    }

    /// The amount of a deposit or a withdrawal, above zero. Brokers write it into the column of amounts, or as a quantity
    /// of dollars.
    fn cash(&mut self, may_be_negative: bool) -> Option<Money> {
        let symbol = self.text("symbol");
        if !(symbol.is_empty() || symbol.eq_ignore_ascii_case("usd") || symbol.eq_ignore_ascii_case("cash")) {
            return self.noted("symbol", Err(RowProblem::CashOnly));
        }
        if self.number::<Money>("fee")?.is_some_and(|fee| !fee.is_zero()) {
            return self.noted("fee", Err(RowProblem::FeeOfCash));
        }
        let column = if self.text("amount").is_empty() { "quantity" } else { "amount" };
        let amount = self.number::<Money>(column)?;
        match amount
            .map(|amount| if may_be_negative { amount.abs() } else { amount })
            .filter(Money::is_positive)
        {
            Some(amount) => Some(amount),
            None => self.noted("amount", Err(RowProblem::Missing)),
        }
    }

    fn booked(&mut self, transaction_type: TransactionType) -> Option<ActionRow> {
        let symbol = self.symbol();
        let amount = self.number::<Money>("amount");
        let shares = match transaction_type {
            TransactionType::Split => self.number::<Quantity>("quantity")?,
            _ => None,
        };
        let amount = amount?.unwrap_or_else(Money::zero);
        Some(ActionRow { transaction_type, symbol: symbol?, amount, shares })
    }

    fn trade(&mut self, side: Side) -> Option<Trade> {
        let symbol = self.symbol();
        // Brokers write the shares of sells as negative numbers.
        let quantity = self.required::<Quantity>("quantity", side == Side::Sell);
        let price = self.price();
        let fee = self.number::<Money>("fee");
        // The amounts of other files are rounded in ways of their own.
        let amount = if self.fields.is_own { self.number::<Money>("amount") } else { Some(None) };
        let order = Some(self.text("order")).filter(|order| !order.is_empty()).map(str::to_owned);
        let rounding = Rounding::of_version(match self.text("rounding") {
            "1" => Some(1),
            _ => Some(Rounding::Cumulative.version()),
        });
        let fee = fee?.unwrap_or_else(Money::zero).abs();
        let (quantity, (price, dearer)) = (quantity?, price?);
        Some(Trade {
            side,
            symbol: symbol?,
            dearer: dearer
                .map(|(percent, above)| (quantity.part(&percent), above))
                .filter(|(more, _)| !more.is_zero()),
            quantity,
            price,
            fee,
            amount: amount?,
            order,
            rounding,
        })
    }

    /// A price; between two ticks the lower one, with the percentage of the shares that cost a tick more, and its price.
    fn price(&mut self) -> Option<(Price, Option<(Percent, Price)>)> {
        let text = self.plain("price")?.filter(|text| !self.fields.is_own && !text.starts_with('-'));
        match text.as_deref().and_then(between_ticks) {
            Some((below, percent, above)) => Some((below, Some((percent, above)))),
            None => self.required::<Price>("price", false).map(|price| (price, None)),
        }
    }

    fn symbol(&mut self) -> Option<Symbol> {
        let read = self.text("symbol").parse().map_err(|_| RowProblem::Symbol);
        self.noted("symbol", read)
    }

    /// A number above zero, or one whose minus is left out.
    fn required<T: std::str::FromStr>(&mut self, column: &'static str, may_be_negative: bool) -> Option<T>
    where
        RowProblem: From<T::Err>,
    {
        let plain = self.plain(column)?;
        let plain = match may_be_negative {
            true => plain.map(|text| text.trim_start_matches('-').to_owned()),
            false => plain.filter(|text| !text.starts_with('-')),
        };
        match plain.filter(|text| text.bytes().any(|byte| (b'1'..=b'9').contains(&byte))) {
            Some(text) => {
                let read = text.parse::<T>().map_err(RowProblem::from);
                self.noted(column, read)
            }
            None => self.noted(column, Err(RowProblem::Missing)),
        }
    }

    /// A number, or `Some(None)` for an empty field.
    fn number<T: std::str::FromStr>(&mut self, column: &'static str) -> Option<Option<T>>
    where
        RowProblem: From<T::Err>,
    {
        match self.plain(column)? {
            None => Some(None),
            Some(text) => {
                let read = text.parse::<T>().map_err(RowProblem::from);
                self.noted(column, read).map(Some)
            }
        }
    }

    /// A number in plain notation, with a point. `Some(None)` for an empty field.
    fn plain(&mut self, column: &'static str) -> Option<Option<String>> {
        let read = self.fields.numbers.plain(self.text(column));
        self.noted(column, read)
    }
}
