//! Search texts of users.

use crate::error::{Error, Result};

/// The longest search text, in characters; no name is longer. Databases reject patterns of about ten thousand
/// characters.
const MAX_LETTERS: usize = 100;

/// Returns the text without surrounding spaces and without control characters: no name contains them, and PostgreSQL
/// cannot store NUL in a text.
///
/// # Errors
/// [`Error::Invalid`] for a text of more than 100 characters.
pub fn search_text(search: &str) -> Result<String> {
    let text: String = search.trim().chars().filter(|c| !c.is_control()).collect();
    match text.chars().count() {
        0..=MAX_LETTERS => Ok(text),
        _ => Err(Error::invalid("search", format!("use {MAX_LETTERS} characters at most"))),
    }
}
