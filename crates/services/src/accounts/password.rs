//! Password rules and hashing.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use passwords::analyzer::is_common_password;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{AcquireError, Semaphore};
use unicode_normalization::UnicodeNormalization;

use crate::error::{Error, Fields, Result};

/// Hashes passwords outside the async threads, a few at a time: each hash takes 47 MiB and about 50 ms of one core.
#[derive(Clone)]
pub(crate) struct Hasher {
    permits: Arc<Semaphore>,
    /// Low-priority checks use at most one permit.
    low_priority: Arc<Semaphore>,
    /// How long a caller waits for a permit.
    timeout: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Priority {
    Normal,
    Low,
}

/// The form of the password that a hash was computed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Prepared,
    /// The password as typed. Older versions of the program stored such hashes; they should be replaced.
    AsTyped,
}

/// argon2id with 47 MiB, one pass and one lane: OWASP's first choice.
static ARGON2: LazyLock<Argon2<'static>> = LazyLock::new(|| {
    let params = Params::new(47 * 1024, 1, 1, None).expect("parameters within argon2's bounds");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
});

/// Limits the memory for concurrent hashes to less than 200 MB.
const MAX_AT_ONCE: usize = 4;

/// A hash that is checked for an unknown name, so that the check takes as long as for a known one.
static DUMMY_HASH: LazyLock<String> =
    LazyLock::new(|| hash_now("nobody has this password").unwrap_or_default());

impl Hasher {
    pub fn new(timeout: Duration) -> Self {
        let processors = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            permits: Arc::new(Semaphore::new(processors.clamp(2, MAX_AT_ONCE))),
            low_priority: Arc::new(Semaphore::new(1)),
            timeout,
        }
    }

    /// Hashes a password.
    ///
    /// # Errors
    /// [`Error::PasswordChecksBusy`]; otherwise only if memory or randomness is unavailable.
    pub async fn hash(&self, password: SecretString) -> Result<String> {
        self.run(Priority::Normal, move || hash_now(&prepare(password.expose_secret()))).await?
    }

    /// Returns the form of the password that the hash was computed from, or `None` if the password is wrong. Without a
    /// hash, every password is wrong, and the check takes the same time.
    ///
    /// # Errors
    /// [`Error::PasswordChecksBusy`].
    pub async fn verify(
        &self,
        password: SecretString,
        hash: Option<String>,
        priority: Priority,
    ) -> Result<Option<Form>> {
        self.run(priority, move || {
            let known = hash.is_some();
            let hash = hash.unwrap_or_else(|| DUMMY_HASH.clone());
            let hash = PasswordHash::new(&hash).ok()?;
            let is_of = |password: &str| ARGON2.verify_password(password.as_bytes(), &hash).is_ok();
            let typed = password.expose_secret();
            let prepared = prepare(typed);
            let form = match is_of(&prepared) {
                true => Some(Form::Prepared),
                false if prepared != typed && is_of(typed) => Some(Form::AsTyped),
                false => None,
            };
            form.filter(|_| known)
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        priority: Priority,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        let permits = async {
            let low = match priority {
                Priority::Normal => None,
                Priority::Low => Some(self.low_priority.clone().acquire_owned().await?),
            };
            Ok::<_, AcquireError>((self.permits.clone().acquire_owned().await?, low))
        };
        let permits = tokio::time::timeout(self.timeout, permits)
            .await
            .map_err(|_| Error::PasswordChecksBusy)?
            .map_err(Error::internal)?;
        tokio::task::spawn_blocking(move || {
            let result = work();
            drop(permits);
            result
        })
        .await
        .map_err(Error::internal)
    }
}

/// The prepared form of a password, which is hashed and compared: the OpaqueString profile of RFC 8265 (section 4.2),
/// with every space as an ASCII space and in NFC, so that the same password matches from any keyboard.
///
/// Characters that the profile forbids stay unchanged: its tables lag behind Unicode and would reject emoji.
pub(crate) fn prepare(password: &str) -> String {
    let is_space = |c: char| c.is_whitespace() && !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}');
    password.chars().map(|c| if is_space(c) { ' ' } else { c }).nfc().collect()
}

pub(crate) fn hash_now(password: &str) -> Result<String> {
    ARGON2
        .hash_password(password.as_bytes())
        .map(|hash| hash.to_string())
        .map_err(|error| Error::internal(error.to_string()))
}

/// Checks a new password: 8 to 256 characters in the prepared form, no control characters, not a common password.
pub(crate) fn check(fields: &mut Fields, field: &'static str, password: &SecretString) {
    let password = prepare(password.expose_secret());
    let length = password.chars().count();
    fields.check(field, length >= 8, "use 8 characters or more");
    fields.check(field, length <= 256, "use 256 characters at most");
    fields.check(field, !password.chars().any(char::is_control), "remove tabs and line breaks");
    if length >= 8 {
        let common = is_common_password(&password) || is_common_password(password.to_lowercase());
        fields.check(field, !common, "this password is on lists of common passwords: choose another one");
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
    fn only_short_long_and_common_passwords_are_rejected() {
        for bad in ["", "1234567", "password", "Password1", "12345678", &"x".repeat(257)] {
            assert_eq!(complaints(bad), 1, "{bad}");
        }
        for good in ["mara-mara-mara", "ein Satz mit Leerzeichen", "zwölf Zeichen", &"ab".repeat(128)] {
            assert_eq!(complaints(good), 0, "{good}");
        }
    }

    #[test]
    fn a_password_is_measured_in_its_prepared_form() {
        // Seven characters, one of which is typed as two code points.
        assert_eq!(complaints("zwo\u{308}lf 7"), 1);
        assert_eq!(complaints("zwo\u{308}lf 78"), 0);
        assert_eq!(complaints("pass\tword with a tab"), 1);
    }

    #[test]
    fn passwords_are_prepared_by_rfc_8265() {
        for (typed, prepared) in [
            ("pa\u{308}sswo\u{308}rter", "p\u{e4}ssw\u{f6}rter"),
            ("p\u{e4}ssw\u{f6}rter", "p\u{e4}ssw\u{f6}rter"),
            // U+212B ANGSTROM SIGN; Hangul from its parts.
            ("\u{212b}", "\u{c5}"),
            ("\u{1112}\u{1161}\u{11ab}", "\u{d55c}"),
            ("no\u{a0}break\u{2003}em\u{3000}wide", "no break em wide"),
            // Case, width, compatibility forms and emoji sequences are unchanged.
            ("Correct Horse", "Correct Horse"),
            ("\u{ff41}\u{fb01}", "\u{ff41}\u{fb01}"),
            ("\u{2764}\u{fe0f}\u{1f468}\u{200d}\u{1f469}", "\u{2764}\u{fe0f}\u{1f468}\u{200d}\u{1f469}"),
            ("tab\tline\u{2028}", "tab\tline\u{2028}"),
            ("", ""),
        ] {
            assert_eq!(prepare(typed), prepared, "{typed:?}");
        }
    }

    async fn verify(hasher: &Hasher, password: &str, hash: Option<String>) -> Option<Form> {
        hasher.verify(password.to_owned().into(), hash, Priority::Normal).await.unwrap()
    }

    #[tokio::test]
    async fn a_hash_matches_one_password_and_a_missing_hash_matches_none() {
        let hasher = Hasher::new(Duration::from_secs(60));
        let hash = hasher.hash("correct horse".to_owned().into()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=48128,t=1,p=1$"));
        assert_eq!(verify(&hasher, "correct horse", Some(hash.clone())).await, Some(Form::Prepared));
        assert_eq!(verify(&hasher, "correct\u{a0}horse", Some(hash.clone())).await, Some(Form::Prepared));
        assert_eq!(verify(&hasher, "wrong horse", Some(hash)).await, None);
        assert_eq!(verify(&hasher, "nobody has this password", None).await, None);
    }

    #[tokio::test]
    async fn hashes_of_unprepared_passwords_still_match() {
        let hasher = Hasher::new(Duration::from_secs(60));
        let typed = "pa\u{308}ssw\u{f6}rter";
        let old = hash_now(typed).unwrap();
        assert_eq!(verify(&hasher, typed, Some(old.clone())).await, Some(Form::AsTyped));
        assert_eq!(verify(&hasher, "p\u{e4}sswo\u{308}rtex", Some(old)).await, None);
    }

    #[tokio::test]
    async fn a_check_that_waits_too_long_is_rejected() {
        let hasher = Hasher::new(Duration::from_millis(10));
        let all = u32::try_from(hasher.permits.available_permits()).unwrap();
        let taken = hasher.permits.clone().acquire_many_owned(all).await.unwrap();
        let refused = hasher.hash("correct horse".to_owned().into()).await;
        assert!(matches!(refused, Err(Error::PasswordChecksBusy)));
        drop(taken);
        // One low-priority check leaves the other permits to checks with normal priority.
        let low = hasher.low_priority.clone().acquire_owned().await.unwrap();
        let refused = hasher.verify("correct horse".to_owned().into(), None, Priority::Low).await;
        assert!(matches!(refused, Err(Error::PasswordChecksBusy)));
        assert_eq!(verify(&hasher, "correct horse", None).await, None);
        drop(low);
    }
}
