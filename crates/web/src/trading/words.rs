//! Words for what is wrong with an order and for what its owner should know: one renderer for the JSON API, which names
//! fields and values as it takes them, and one for the pages, which name what the ticket shows.
//!
//! Messages about fields are written without capital and stop, as all of [`services::FieldError`] are; forms make
//! sentences of them. Warnings are sentences.

pub mod api;
pub mod pages;

#[cfg(test)]
mod tests;
