//! Random secrets that are shown once and kept as hashes.

use sha2::{Digest, Sha256};

/// 32 random bytes in hex.
pub(crate) fn random() -> String {
    random_hex::<32>()
}

/// `BYTES` random bytes in hex, two characters each.
pub(crate) fn random_hex<const BYTES: usize>() -> String {
    let mut bytes = [0; BYTES];
    bytes.fill_with(rand::random);
    hex(&bytes)
}

/// Hex SHA-256: enough for secrets of 256 random bits, which no dictionary holds.
pub(crate) fn hash(secret: &str) -> String {
    hex(&Sha256::digest(secret.as_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_kept_as_hex_of_its_sha_256() {
        // The test vector of FIPS 180-2 for "abc".
        assert_eq!(hash("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(random().len(), 64);
    }
}
