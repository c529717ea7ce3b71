//! Why a connection to the database server could not be made: whether trying again can help.

use diesel::ConnectionError;

use crate::StoreError;

/// libpq describes a failed connection by text alone: an SQLSTATE is available only for statements. The server's part of
/// the text is in the language of its `lc_messages`. A text that is not in this list counts as temporary, so that a
/// server that speaks another language delays a refusal and never causes one.
const REFUSALS: [&str; 12] = [
    "password authentication failed",
    "no password supplied",
    "does not exist",
    "no pg_hba.conf entry",
    "pg_hba.conf rejects connection",
    "is not permitted to log in",
    "permission denied for database",
    "certificate verify failed",
    "does not match host name",
    "does not support SSL",
    "invalid URI",
    "invalid connection option",
];

pub(crate) fn connect_error(error: ConnectionError) -> StoreError {
    let is_refusal = match &error {
        ConnectionError::BadConnection(text) => is_refusal(text),
        _ => false,
    };
    match is_refusal {
        true => StoreError::LoginRefused(Box::new(error)),
        false => StoreError::Unavailable(Box::new(error)),
    }
}

fn is_refusal(text: &str) -> bool {
    // With several hosts in the URL the text has a line for each; one that may come up is worth waiting for.
    let mut lines = text.lines().filter(|line| !line.trim().is_empty()).peekable();
    lines.peek().is_some() && lines.all(|line| REFUSALS.iter().any(|refusal| line.contains(refusal)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_refusals_are_permanent() {
        for text in [
            "connection to server at \"127.0.0.1\", port 5432 failed: FATAL:  password authentication failed for user \"sam\"\n",
            "connection to server at \"db\" (10.0.0.2), port 5432 failed: FATAL:  database \"x\" does not exist\n",
            "connection to server at \"db\" (10.0.0.2), port 5432 failed: FATAL:  role \"sam\" does not exist\n",
            "connection to server at \"db\" (10.0.0.2), port 5432 failed: fe_sendauth: no password supplied\n",
            "invalid URI query parameter: \"x\"\n",
        ] {
            assert!(is_refusal(text), "{text}");
        }
        for text in [
            "",
            "connection to server at \"127.0.0.1\", port 1 failed: Connection refused\n\tIs the server running on that host and accepting TCP/IP connections?\n",
            "connection to server at \"127.0.0.1\", port 5432 failed: FATAL:  the database system is starting up\n",
            "connection to server at \"127.0.0.1\", port 5432 failed: FATAL:  sorry, too many clients already\n",
            "could not translate host name \"db\" to address: Name or service not known\n",
            "connection to server at \"a\", port 1 failed: Connection refused\nconnection to server at \"b\", port 1 failed: FATAL:  database \"x\" does not exist\n",
        ] {
            assert!(!is_refusal(text), "{text}");
        }
    }
}
