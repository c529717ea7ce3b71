//! Texts for the errors and warnings of orders: one renderer for the JSON API, which uses its field names and values,
//! and one for the pages, which use the labels of the ticket.
//!
//! Messages about fields have no capital and no period, like every [`services::FieldError`]; forms turn them into
//! sentences. Warnings are sentences.

pub mod api;
pub mod pages;

#[cfg(test)]
mod tests;
