//! Password rules and hashing.

use std::sync::{Arc, LazyLock};

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use passwords::analyzer::is_common_password;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;

use crate::error::{Error, Fields, Result};

/// Hashes off the async threads, two at a time: each takes 47 MiB.
#[derive(Clone)]
pub(crate) struct Hasher {
    permits: Arc<Semaphore>,
}

/// argon2id with 47 MiB, one pass and one lane: OWASP's first choice.
static ARGON2: LazyLock<Argon2<'static>> = LazyLock::new(|| {
    let params = Params::new(47 * 1024, 1, 1, None).expect("parameters within argon2's bounds");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
});

/// What an unknown name is checked against, so that it takes as long as a known one.
static NOBODY: LazyLock<String> = LazyLock::new(|| hash_now("nobody has this password").unwrap_or_default());

impl Hasher {
    pub fn new() -> Self {
        Self { permits: Arc::new(Semaphore::new(2)) }
    }

    /// # Errors
    /// Only when the machine cannot give memory or randomness.
    pub async fn hash(&self, password: SecretString) -> Result<String> {
        self.run(move || hash_now(password.expose_secret())).await?
    }

    /// Whether the password belongs to the hash. Without a hash the answer is no, after the same time.
    pub async fn verify(&self, password: SecretString, hash: Option<String>) -> Result<bool> {
        self.run(move || {
            let known = hash.is_some();
            let hash = hash.unwrap_or_else(|| NOBODY.clone());
            let matches = PasswordHash::new(&hash)
                .is_ok_and(|hash| ARGON2.verify_password(password.expose_secret().as_bytes(), &hash).is_ok());
            known && matches
        })
        .await
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let permit = self.permits.clone().acquire_owned().await.map_err(Error::internal)?;
        tokio::task::spawn_blocking(move || {
            let result = work();
            drop(permit);
            result
        })
        .await
        .map_err(Error::internal)
    }
}

fn hash_now(password: &str) -> Result<String> {
    ARGON2
        .hash_password(password.as_bytes())
        .map(|hash| hash.to_string())
        .map_err(|error| Error::internal(error.to_string()))
}

/// 8 to 256 characters and on no list of common passwords; no other rule.
pub(crate) fn check(fields: &mut Fields, field: &'static str, password: &SecretString) {
    let password = password.expose_secret();
    let length = password.chars().count();
    fields.check(field, length >= 8, "use 8 characters or more");
    fields.check(field, length <= 256, "use 256 characters at most");
    if length >= 8 {
        let common = is_common_password(password) || is_common_password(password.to_lowercase());
        fields.check(field, !common, "that is one of the passwords tried first by everybody: choose another");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(password: &str) -> usize {
        let mut fields = Fields::default();
        check(&mut fields, "password", &password.to_owned().into());
        fields.0.len()
    }

    #[test]
    fn only_short_long_and_common_passwords_are_refused() {
        for bad in ["", "1234567", "password", "Password1", "12345678", &"x".repeat(257)] {
            assert_eq!(complaints(bad), 1, "{bad}");
        }
        for good in ["mara-mara-mara", "ein Satz mit Leerzeichen", "zwölf Zeichen", &"ab".repeat(128)] {
            assert_eq!(complaints(good), 0, "{good}");
        }
    }

    #[tokio::test]
    async fn a_hash_knows_its_password_and_nobody_has_one() {
        let hasher = Hasher::new();
        let hash = hasher.hash("correct horse".to_owned().into()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=48128,t=1,p=1$"));
        assert!(hasher.verify("correct horse".to_owned().into(), Some(hash.clone())).await.unwrap());
        assert!(!hasher.verify("wrong horse".to_owned().into(), Some(hash)).await.unwrap());
        assert!(!hasher.verify("nobody has this password".to_owned().into(), None).await.unwrap());
    }
}
