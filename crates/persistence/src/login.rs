//! Decides from a failed connection to the database server whether a retry can help.

use diesel::ConnectionError;

use crate::StoreError;

/// Texts of permanent failures. libpq describes a failed connection only by text: an SQLSTATE is available only for
/// statements. The server's part of the text is in the language of its `lc_messages`. A text that is not in this list
/// counts as temporary. A server with another language therefore delays the report of a permanent failure, but never
/// reports a temporary failure as permanent.
const REFUSALS: [&str; 19] = [
    "password authentication failed",
    "no password supplied",
    "does not exist",
    "no pg_hba.conf entry",
    "pg_hba.conf rejects connection",
    "is not permitted to log in",
    "permission denied for database",
    "certificate verify failed",
    "does not match host name",
    // Messages about files named in the URL, and about its values.
    "certificate file",
    "private key file",
    "certificate revocation list",
    "invalid port number",
    "invalid sslmode value",
    "invalid channel_binding value",
    "invalid integer value",
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
    // With several hosts in the URL, the text describes a failure for each host, some in several lines. If one of the
    // hosts may start later, waiting makes sense.
    let mut failures: Vec<String> = Vec::new();
    for line in text.lines() {
        match failures.last_mut() {
            Some(failure) if !line.starts_with("connection to server") => failure.push_str(line),
            _ => failures.push(line.into()),
        }
    }
    !failures.is_empty()
        && failures.iter().all(|failure| REFUSALS.iter().any(|refusal| failure.contains(refusal)))
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
            "connection to server at \"db\" (10.0.0.2), port 5432 failed: root certificate file \"x\" does not exist\nEither provide the file or change sslmode to disable server certificate verification.\n",
            "connection to server at \"a\", port 1 failed: could not load root certificate file \"x\": no certificate\nconnection to server at \"b\", port 1 failed: SSL error: certificate verify failed\n",
            "invalid URI query parameter: \"x\"\n",
            "invalid sslmode value: \"x\"\n",
            "invalid port number: \"0\"\n",
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
