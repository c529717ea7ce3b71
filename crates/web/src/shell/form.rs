//! Forms with their entered values and errors.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use services::FieldError;

use crate::http::problem::{PageError, Problem};
use crate::shell::format;

/// A form with its entered values and errors.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FormView {
    /// Identifies the form among several forms of a page.
    pub id: String,
    /// The entered values by field, without passwords.
    pub values: BTreeMap<String, String>,
    /// The errors by field.
    pub errors: BTreeMap<String, String>,
    /// The lines of the summary above the form.
    pub summary: Vec<SummaryLine>,
    pub heading: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SummaryLine {
    /// `None` for an error of the whole form.
    pub field: Option<String>,
    pub text: String,
}

impl FormView {
    pub fn new(id: &str) -> Self {
        Self { id: id.to_owned(), ..Self::default() }
    }

    pub fn with(mut self, field: &'static str, value: impl Into<String>) -> Self {
        self.values.insert(field.to_owned(), value.into());
        self
    }

    /// The entered value; empty if there is none.
    pub fn value(&self, field: &str) -> &str {
        self.values.get(field).map_or("", String::as_str)
    }

    /// Marks the invalid fields of a problem.
    pub fn refused(self, problem: &Problem) -> Self {
        match problem.fields() {
            [] => self.refused_as_a_whole(problem.detail()),
            fields => self.refused_fields(fields),
        }
    }

    pub fn refused_as_a_whole(mut self, text: &str) -> Self {
        self.heading = "This was not accepted".to_owned();
        self.summary.push(SummaryLine { field: None, text: format::sentence(text) });
        self
    }

    /// Marks one field.
    pub fn refused_at(self, field: &'static str, message: impl Into<String>) -> Self {
        self.refused_fields(&[FieldError::new(field, message)])
    }

    pub fn refused_fields(mut self, fields: &[FieldError]) -> Self {
        for FieldError { field, message } in fields {
            let message = format::sentence(message);
            self.summary.push(SummaryLine {
                field: Some((*field).to_owned()),
                text: format!("{}: {}", label(field), message.trim_end_matches('.')),
            });
            let told = self.errors.entry((*field).to_owned()).or_default();
            if !told.is_empty() {
                told.push(' ');
            }
            told.push_str(&message);
        }
        self.heading = match self.summary.len() {
            1 => "Please correct one field".to_owned(),
            number => format!("Please correct {number} fields"),
        };
        self
    }
}

/// The label of a field on the pages.
fn label(field: &str) -> String {
    match field {
        "email" => "E-mail".to_owned(),
        "cash_balance" => "Starting cash".to_owned(),
        "confirm" => "Confirmation".to_owned(),
        "current_password" => "Current password".to_owned(),
        "expires_at" | "expires_on" => "Expires on".to_owned(),
        "stop_loss" => "Stop-loss".to_owned(),
        "stop_loss_limit" => "Stop-loss limit".to_owned(),
        "take_profit" => "Take-profit".to_owned(),
        other => format::capitalized(&other.replace('_', " ")),
    }
}

/// Converts an amount as users type it: removes commas between thousands and surrounding spaces.
pub fn typed_number(text: &str) -> String {
    let text = text.trim();
    let whole = text.split('.').next().unwrap_or_default();
    let mut groups = whole.split(',');
    let first = groups.next().unwrap_or_default();
    let grouped =
        whole.contains(',') && (1..=3).contains(&first.len()) && groups.all(|group| group.len() == 3);
    if grouped { text.replace(',', "") } else { text.to_owned() }
}

/// The problem of an error that the form can show. Any other error gets its own page.
///
/// # Errors
/// The error page.
pub fn refusal(error: services::Error) -> Result<Problem, PageError> {
    let problem = Problem::from(error);
    if problem.is_refusal() { Ok(problem) } else { Err(problem.into()) }
}

/// A form without fields.
#[derive(Deserialize)]
pub struct EmptyForm {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_may_be_separated() {
        for (typed, read) in [
            (" 100,000.00 ", "100000.00"),
            ("1,234,567", "1234567"),
            ("10,5", "10,5"),
            ("1,0000", "1,0000"),
            (",100", ",100"),
            ("12.50", "12.50"),
        ] {
            assert_eq!(typed_number(typed), read);
        }
    }

    #[test]
    fn a_refused_form_keeps_its_values_and_names_its_fields() {
        let fields = [
            FieldError::new("email", "write an e-mail address like sam@example.org"),
            FieldError::new("username", "use 3 to 32 characters"),
        ];
        let form = FormView::new("register").with("email", "sam").refused_fields(&fields);
        assert_eq!(form.values["email"], "sam");
        assert_eq!(form.errors["username"], "Use 3 to 32 characters.");
        assert_eq!(form.heading, "Please correct 2 fields");
        assert_eq!(form.summary[0].text, "E-mail: Write an e-mail address like sam@example.org");
    }
}
