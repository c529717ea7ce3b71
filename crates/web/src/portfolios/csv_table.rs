//! Tables as CSV (RFC 4180), streamed.
//!
//! Spreadsheets read text that begins with certain characters as a formula, so an apostrophe is put before such text.

use std::fmt::Display;
use std::str::FromStr;

use actix_web::HttpResponse;
use actix_web::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use actix_web::web::Bytes;
use csv::Terminator;
use futures::{Stream, TryStreamExt, stream};

use crate::http::api::parse;
use crate::http::problem::Problem;

/// Characters with which a formula may begin.
const BEGIN_FORMULAS: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// The format of a table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TableFormat {
    /// Comma between fields, point in numbers, UTF-8.
    #[default]
    Standard,
    /// Semicolon between fields, comma in numbers, and a byte order mark, for spreadsheets in languages with a decimal
    /// comma.
    Spreadsheet,
}

/// A word that is not the name of a format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownFormat;

impl FromStr for TableFormat {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        match text {
            "standard" => Ok(Self::Standard),
            "spreadsheet" => Ok(Self::Spreadsheet),
            _ => Err(UnknownFormat),
        }
    }
}

/// A field of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    Text(String),
    /// A number in plain notation, with a point.
    Number(String),
    Empty,
}

impl Cell {
    pub fn text(value: impl Display) -> Self {
        Self::Text(value.to_string())
    }

    pub fn number(value: impl Display) -> Self {
        Self::Number(value.to_string())
    }

    pub fn text_of(value: Option<&impl Display>) -> Self {
        value.map_or(Self::Empty, Self::text)
    }

    pub fn number_of(value: Option<&impl Display>) -> Self {
        value.map_or(Self::Empty, Self::number)
    }
}

impl TableFormat {
    /// Reads the parameter `format` of the query.
    ///
    /// # Errors
    /// 422 for another word.
    pub fn from_query(format: Option<&str>) -> Result<Self, Problem> {
        Ok(parse("format", format, "must be standard or spreadsheet")?.unwrap_or_default())
    }

    fn field(self, cell: Cell) -> String {
        match (cell, self) {
            (Cell::Empty, _) => String::new(),
            (Cell::Text(text), _) if text.starts_with(BEGIN_FORMULAS) => format!("'{text}"),
            (Cell::Text(text), _) | (Cell::Number(text), Self::Standard) => text,
            (Cell::Number(text), Self::Spreadsheet) => text.replace('.', ","),
        }
    }

    /// The first part of a file: the names of the columns.
    ///
    /// # Errors
    /// Never for rows of one length.
    pub fn head(self, columns: &[&str]) -> Result<Bytes, Problem> {
        let mark: &[u8] = if self == Self::Spreadsheet { BYTE_ORDER_MARK } else { b"" };
        let row = columns.iter().map(Cell::text).collect();
        Ok([mark, &self.rows([row])?[..]].concat().into())
    }

    /// A later part of a file: some rows.
    ///
    /// # Errors
    /// Never for rows of one length.
    pub fn rows(self, rows: impl IntoIterator<Item = Vec<Cell>>) -> Result<Bytes, Problem> {
        let delimiter = if self == Self::Spreadsheet { b';' } else { b',' };
        let mut writer = csv::WriterBuilder::new()
            .delimiter(delimiter)
            .terminator(Terminator::CRLF)
            .from_writer(Vec::new());
        for row in rows {
            writer.write_record(row.into_iter().map(|cell| self.field(cell))).map_err(failed)?;
        }
        Ok(writer.into_inner().map_err(|error| failed(error.to_string()))?.into())
    }
}

fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Problem {
    services::Error::Internal(error.into()).into()
}

/// A response that browsers save as a file. An error after the first part breaks the connection, so that an incomplete
/// file is not mistaken for a complete one.
pub fn file(name: &str, parts: impl Stream<Item = Result<Bytes, Problem>> + 'static) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/csv; charset=utf-8"))
        .insert_header((CONTENT_DISPOSITION, format!("attachment; filename=\"{name}.csv\"")))
        .streaming(parts.map_err(|problem| std::io::Error::other(problem.detail().to_owned())))
}

/// A table whose rows are all in memory.
///
/// # Errors
/// Never for rows of one length.
pub fn whole(
    name: &str,
    columns: &[&str],
    rows: impl Iterator<Item = Vec<Cell>>,
    format: TableFormat,
) -> Result<HttpResponse, Problem> {
    let parts: [Result<Bytes, Problem>; 2] = [Ok(format.head(columns)?), Ok(format.rows(rows)?)];
    Ok(file(name, stream::iter(parts)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(format: TableFormat, row: Vec<Cell>) -> String {
        String::from_utf8(format.rows([row]).unwrap().to_vec()).unwrap()
    }

    #[test]
    fn fields_are_quoted_and_lines_end_as_in_rfc_4180() {
        let row =
            || vec![Cell::text("a \"b\", c; d"), Cell::number("-1.50"), Cell::Empty, Cell::text("x\ny")];
        assert_eq!(written(TableFormat::Standard, row()), "\"a \"\"b\"\", c; d\",-1.50,,\"x\ny\"\r\n");
        assert_eq!(written(TableFormat::Spreadsheet, row()), "\"a \"\"b\"\", c; d\";-1,50;;\"x\ny\"\r\n");
    }

    #[test]
    fn no_text_is_a_formula_and_numbers_stay_numbers() {
        for text in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"] {
            let field = written(TableFormat::Standard, vec![Cell::text(text)]);
            assert!(field.trim_start_matches('"').starts_with('\''), "{field}");
        }
        assert_eq!(written(TableFormat::Standard, vec![Cell::number("-1")]), "-1\r\n");
    }

    #[test]
    fn a_table_for_spreadsheets_begins_with_a_byte_order_mark() {
        assert_eq!(TableFormat::Spreadsheet.head(&["a", "b"]).unwrap(), b"\xEF\xBB\xBFa;b\r\n"[..]);
        assert_eq!(TableFormat::Standard.head(&["a", "b"]).unwrap(), b"a,b\r\n"[..]);
    }
}
