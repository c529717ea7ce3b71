//! Search texts of users.

use crate::error::{Error, Result};

/// Longer than any name; databases reject patterns of about ten thousand letters.
const MOST_LETTERS: usize = 100;

/// The text without surrounding blanks and control characters: no name has any, and PostgreSQL's texts cannot contain
/// NUL.
///
/// # Errors
/// [`Error::Invalid`] for a text of more than 100 characters.
pub fn search_text(search: &str) -> Result<String> {
    let text: String = search.trim().chars().filter(|c| !c.is_control()).collect();
    match text.chars().count() {
        0..=MOST_LETTERS => Ok(text),
        _ => Err(Error::invalid("search", format!("use {MOST_LETTERS} characters at most"))),
    }
}
