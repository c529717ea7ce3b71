//! The direction of a list.

/// Whether the largest or newest item of a list comes first, or the smallest or oldest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SortDirection {
    #[default]
    Descending,
    Ascending,
}
