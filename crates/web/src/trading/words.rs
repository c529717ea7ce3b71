//! Words for the issues and warnings of orders: one renderer for the JSON API, which uses its field names and values,
//! and one for the pages, which use the labels of the ticket.
//!
//! Messages about fields have no capital and no period, like all [`services::FieldError`]s; forms make sentences of
//! them. Warnings are sentences.

pub mod api;
pub mod pages;

#[cfg(test)]
mod tests;
