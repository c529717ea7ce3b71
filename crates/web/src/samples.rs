//! Samples of every variant of an error or warning, for tests that each variant has a text.

/// A list with a sample of each variant. It does not compile if a variant is missing.
macro_rules! samples {
    ($name:ident { $($pattern:pat => $sample:expr),+ $(,)? }) => {{
        let _exhaustive = |reason: &$name| match reason {
            $($pattern => ()),+
        };
        let samples = vec![$($sample),+];
        let mut of_variant = samples.iter();
        $(assert!(matches!(of_variant.next(), Some($pattern)), "a sample of another variant than {}", stringify!($pattern));)+
        samples
    }};
}
pub(crate) use samples;

use std::fmt::Debug;

/// # Panics
/// If the text is not a sentence: an initial capital or symbol, and a final period.
#[track_caller]
pub fn assert_sentence(words: &str, reason: &impl Debug) {
    let begins = words.chars().next().is_some_and(|first| first.is_uppercase() || first.is_ascii_digit());
    let ends = words.ends_with('.') && !words.ends_with("..");
    assert!(begins && ends && words.split_whitespace().count() > 2, "{reason:?}: {words:?}");
}

/// # Panics
/// If the text is not a sentence without its initial capital and final period.
#[track_caller]
pub fn assert_fragment(words: &str, reason: &impl Debug) {
    assert!(!words.ends_with('.'), "{reason:?}: {words:?}");
    assert_sentence(&crate::shell::format::sentence(words), reason);
}
