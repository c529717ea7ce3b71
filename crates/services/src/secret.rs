//! Random secrets that are shown once and kept as hashes.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

/// 32 random bytes in hex.
pub(crate) fn random() -> String {
    hex(&rand::random::<[u8; 32]>())
}

/// Hex SHA-256: enough for secrets of 256 random bits, which no dictionary holds.
pub(crate) fn hash(secret: &str) -> String {
    hex(&Sha256::digest(secret.as_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
