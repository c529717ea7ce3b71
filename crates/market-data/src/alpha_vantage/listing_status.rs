//! The table of all listings, which allows local searches.

use chrono::NaiveDate;
use domain::Symbol;

use super::ticker;
use super::wire::{known, parse_date};
use crate::QuoteError;
use crate::plausible::unusable;

/// The state of the listings in a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListingState {
    Active,
    Delisted,
}

impl ListingState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Delisted => "delisted",
        }
    }
}

/// A row of the table: a stock or an exchange-traded fund of the United States, traded in dollars.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedStock {
    pub symbol: Symbol,
    /// The company's name; the symbol if the table has no name.
    pub company_name: String,
    /// `NASDAQ`, `NYSE`, `NYSE ARCA`, …
    pub exchange: String,
    pub is_fund: bool,
    pub listed_on: Option<NaiveDate>,
    /// The delisting day; `None` while the stock is listed. Symbols are reused: the same symbol can be in both tables,
    /// and several times among the delisted stocks.
    pub delisted_on: Option<NaiveDate>,
}

const COLUMNS: [&str; 7] = ["symbol", "name", "exchange", "assetType", "ipoDate", "delistingDate", "status"];

/// Parses a `LISTING_STATUS` table. Invalid rows are skipped; the table is unusable if more than a tenth of its rows
/// are invalid or none is valid.
pub(super) fn listings(table: &[u8], state: ListingState) -> Result<Vec<ListedStock>, QuoteError> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(table);
    let headers = reader.byte_headers().map_err(|_| unusable("a table without a heading"))?;
    let is_as_expected = headers.len() == COLUMNS.len()
        && headers.iter().zip(COLUMNS).all(|(found, expected)| found.trim_ascii() == expected.as_bytes());
    if !is_as_expected {
        return Err(unusable("a table with another heading"));
    }
    let (mut listings, mut left_out) = (Vec::new(), 0_usize);
    for record in reader.byte_records() {
        let listing = record.ok().and_then(|record| listing(&record, state));
        match listing {
            Some(listing) => listings.push(listing),
            None => left_out += 1,
        }
    }
    if left_out > 0 {
        tracing::warn!(left_out, read = listings.len(), "skipped invalid rows of the table of listings");
    }
    if listings.is_empty() || left_out > listings.len() / 10 + 1 {
        return Err(unusable("a table of listings without enough usable rows"));
    }
    Ok(listings)
}

fn listing(record: &csv::ByteRecord, state: ListingState) -> Option<ListedStock> {
    if record.len() != COLUMNS.len() {
        return None;
    }
    let field = |at: usize| String::from_utf8_lossy(&record[at]).trim().to_owned();
    if !field(6).eq_ignore_ascii_case(state.as_str()) {
        return None;
    }
    let symbol = ticker::symbol_of(&field(0))?;
    let is_fund = match field(3).as_str() {
        "Stock" => false,
        "ETF" => true,
        _ => return None,
    };
    let date = |at: usize| known(field(at)).map_or(Some(None), |text| parse_date(&text).ok().map(Some));
    Some(ListedStock {
        company_name: known(field(1)).unwrap_or_else(|| symbol.to_string()),
        exchange: known(field(2)).unwrap_or_default(),
        is_fund,
        listed_on: date(4)?,
        delisted_on: date(5)?,
        symbol,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADING: &str = "symbol,name,exchange,assetType,ipoDate,delistingDate,status\r\n";

    fn active(rows: &str) -> Result<Vec<ListedStock>, QuoteError> {
        listings(format!("{HEADING}{rows}").as_bytes(), ListingState::Active)
    }

    #[test]
    fn names_may_have_commas_and_lines_end_either_way() {
        let rows = "A,\"Agilent, Technologies \"\"Inc\"\"\",NYSE,Stock,1999-11-18,null,Active\r\n\
                    BRK-B,Berkshire,NYSE,Stock,null,null,Active\n";
        let found = active(rows).unwrap();
        assert_eq!(found[0].company_name, "Agilent, Technologies \"Inc\"");
        assert_eq!(found[0].listed_on, "1999-11-18".parse().ok());
        assert_eq!((found[1].symbol.as_str(), found[1].listed_on), ("BRK.B", None));
    }

    #[test]
    fn invalid_rows_are_skipped() {
        let good = "A,Agilent,NYSE,Stock,1999-11-18,null,Active\n";
        for bad in [
            "A B,Blank,NYSE,Stock,1999-11-18,null,Active\n",
            "B,Barnes,NYSE,Stock,1999-13-18,null,Active\n",
            "B,Barnes,NYSE,Warrant,1999-11-18,null,Active\n",
            "B,Barnes,NYSE,Stock,1999-11-18,2020-01-01,Delisted\n",
            "B,Barnes,NYSE,St",
        ] {
            assert_eq!(active(&format!("{good}{bad}")).unwrap().len(), 1, "{bad}");
        }
    }

    #[test]
    fn an_unusable_table_is_an_error() {
        let bad_rows = "B,Barnes,NYSE,Stock\n".repeat(3);
        for table in [
            String::new(),
            HEADING.to_owned(),
            "symbol,name\nA,Agilent\n".to_owned(),
            format!("{HEADING}A,Agilent,NYSE,Stock,1999-11-18,null,Active\n{bad_rows}"),
        ] {
            assert!(listings(table.as_bytes(), ListingState::Active).is_err(), "{table}");
        }
        assert!(listings(&[0xFF, 0xFE, b'\n', 0xFF], ListingState::Active).is_err());
    }
}
