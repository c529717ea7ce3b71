//! Random secrets. They are shown once and stored as hashes.

use sha2::{Digest, Sha256};

/// Returns 32 random bytes in hex.
pub(crate) fn random() -> String {
    random_hex::<32>()
}

/// Returns `BYTES` random bytes in hex, two characters each.
pub(crate) fn random_hex<const BYTES: usize>() -> String {
    let mut bytes = [0; BYTES];
    bytes.fill_with(rand::random);
    hex(&bytes)
}

/// The SHA-256 in hex. Secrets of 256 random bits need no slower hash, because no dictionary contains them.
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
    fn a_secret_is_stored_as_its_sha_256_in_hex() {
        // The test vector of FIPS 180-2 for "abc".
        assert_eq!(hash("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(random().len(), 64);
    }
}
