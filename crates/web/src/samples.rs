//! Samples of every variant of a reason, for tests that all have words.

/// A sample of each variant. A variant without one does not compile.
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
/// When the words are not a sentence: a capital or a symbol at the beginning, a stop at the end.
#[track_caller]
pub fn assert_sentence(words: &str, reason: &impl Debug) {
    let begins = words.chars().next().is_some_and(|first| first.is_uppercase() || first.is_ascii_digit());
    let ends = words.ends_with('.') && !words.ends_with("..");
    assert!(begins && ends && words.split_whitespace().count() > 2, "{reason:?}: {words:?}");
}

/// # Panics
/// When the words are not a sentence without its capital and its stop.
#[track_caller]
pub fn assert_fragment(words: &str, reason: &impl Debug) {
    assert!(!words.ends_with('.'), "{reason:?}: {words:?}");
    assert_sentence(&crate::shell::format::sentence(words), reason);
}
