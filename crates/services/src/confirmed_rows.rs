//! Rows in memory that the database confirms.
//!
//! The database decides. Once per second, and only while rows are used, one statement reads all rows in use again. A row
//! that is gone is removed, and one that was not read within two seconds does not count. So a change by any process shows
//! within two seconds, also if the database does not answer; on the process that made it, at once.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::TimeDelta;
use domain::Timestamp;
use tokio::sync::OwnedMutexGuard;

/// How long a cached row is valid after it was read.
const CACHE_TTL: TimeDelta = TimeDelta::seconds(2);
/// How often the rows in use are read again; the rest of the time is for the answer.
const READ_EVERY: TimeDelta = TimeDelta::seconds(1);
/// A row without a request for this time is removed.
const IN_USE: TimeDelta = TimeDelta::seconds(10);
/// The most bytes of one kind of rows.
pub(crate) const MAX_BYTES: usize = 8 << 20;

/// A row that is kept in memory.
pub(crate) trait ConfirmedRow: Clone {
    /// The bytes that the row and its key take.
    fn size(&self) -> usize;
}

struct Entry<V> {
    row: V,
    /// When the read began.
    read_at: Timestamp,
    used_at: Timestamp,
}

/// Rows of one kind, by what they are asked for.
pub(crate) struct ConfirmedRows<K, V> {
    rows: Mutex<Rows<K, V>>,
    reading: Arc<tokio::sync::Mutex<()>>,
}

struct Rows<K, V> {
    entries: HashMap<K, Entry<V>>,
    bytes: usize,
    /// When all rows in use were read last.
    read_at: Option<Timestamp>,
    /// Grows with every change that this process makes: what was read before one is outdated.
    changes: u64,
}

/// The beginning of a read: its result holds for this moment, and only if nothing has changed since.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReadStart {
    at: Timestamp,
    changes: u64,
}

/// The rows to be read again. While this exists there is no second such read.
pub(crate) struct DueRead<K> {
    pub keys: Vec<K>,
    start: ReadStart,
    _turn: OwnedMutexGuard<()>,
}

impl<K, V> Default for ConfirmedRows<K, V> {
    fn default() -> Self {
        let rows = Rows { entries: HashMap::new(), bytes: 0, read_at: None, changes: 0 };
        Self { rows: Mutex::new(rows), reading: Arc::default() }
    }
}

impl<K: Clone + Eq + Hash, V: ConfirmedRow> ConfirmedRows<K, V> {
    /// The row, if it was read within the last two seconds. `wall` is the wall time.
    pub fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q, wall: Timestamp) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let mut rows = self.rows();
        let entry = rows.entries.get_mut(key)?;
        if !is_within(CACHE_TTL, entry.read_at, wall) {
            return None;
        }
        entry.used_at = wall;
        Some(entry.row.clone())
    }

    /// To be called before the database is read for [`ConfirmedRows::insert`].
    pub fn start_read(&self, wall: Timestamp) -> ReadStart {
        ReadStart { at: wall, changes: self.rows().changes }
    }

    /// Adds a row, unless something has changed since the read began.
    pub fn insert(&self, key: K, row: V, start: ReadStart) {
        let mut rows = self.rows();
        if rows.changes != start.changes {
            return;
        }
        if rows.bytes + row.size() > MAX_BYTES {
            // Rows in use are read again one by one.
            rows.clear();
        }
        rows.bytes += row.size();
        let entry = Entry { row, read_at: start.at, used_at: start.at };
        if let Some(before) = rows.entries.insert(key, entry) {
            rows.bytes -= before.row.size();
        }
    }

    /// The read that is due now; `None` if none is.
    pub fn due_read(&self, wall: Timestamp) -> Option<DueRead<K>> {
        let mut rows = self.rows();
        if rows.read_at.is_some_and(|at| is_within(READ_EVERY, at, wall)) {
            return None;
        }
        let turn = self.reading.clone().try_lock_owned().ok()?;
        rows.read_at = Some(wall);
        rows.retain(|entry| is_within(IN_USE, entry.used_at, wall));
        let start = ReadStart { at: wall, changes: rows.changes };
        Some(DueRead { keys: rows.entries.keys().cloned().collect(), start, _turn: turn })
    }

    /// Replaces the rows that were read again, and removes those that were not found.
    pub fn renew(&self, read: DueRead<K>, mut found: HashMap<K, V>) {
        let DueRead { keys, start, _turn } = read;
        let mut rows = self.rows();
        if rows.changes != start.changes {
            return;
        }
        for key in keys {
            let Some(entry) = rows.entries.get_mut(&key) else { continue };
            let size_before = entry.row.size();
            match found.remove(&key) {
                // It may have been read separately, and later.
                _ if entry.read_at > start.at => {}
                Some(row) => {
                    let size = row.size();
                    (entry.row, entry.read_at) = (row, start.at);
                    rows.bytes = rows.bytes + size - size_before;
                }
                None => {
                    rows.entries.remove(&key);
                    rows.bytes -= size_before;
                }
            }
        }
    }

    /// Removes rows that this process has changed. Reads under way come too late.
    pub fn forget(&self, is_meant: impl Fn(&V) -> bool) {
        let mut rows = self.rows();
        rows.changes += 1;
        rows.retain(|entry| !is_meant(&entry.row));
    }

    /// Removes all rows if they are from before this number of changes.
    pub fn forget_before(&self, changes: u64) {
        let mut rows = self.rows();
        if rows.changes < changes {
            rows.clear();
            rows.changes = changes;
        }
    }

    pub fn len(&self) -> usize {
        self.rows().entries.len()
    }

    /// The bytes of all rows.
    pub fn bytes(&self) -> usize {
        self.rows().bytes
    }

    fn rows(&self) -> MutexGuard<'_, Rows<K, V>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash, V: ConfirmedRow> Rows<K, V> {
    fn clear(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }

    fn retain(&mut self, is_kept: impl Fn(&Entry<V>) -> bool) {
        self.entries.retain(|_, entry| is_kept(entry));
        self.bytes = self.entries.values().map(|entry| entry.row.size()).sum();
    }
}

/// Whether `then` is less than `span` ago. A time in the future is not: the clock was set back.
fn is_within(span: TimeDelta, then: Timestamp, now: Timestamp) -> bool {
    (TimeDelta::zero()..span).contains(&(now - then))
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    type TestRows = ConfirmedRows<u32, &'static str>;

    impl ConfirmedRow for &'static str {
        fn size(&self) -> usize {
            self.len()
        }
    }

    fn at(milliseconds: i64) -> Timestamp {
        DateTime::from_timestamp_millis(1_795_201_920_000 + milliseconds).unwrap().into()
    }

    fn with(keys: impl IntoIterator<Item = u32>) -> TestRows {
        let rows = TestRows::default();
        for key in keys {
            rows.insert(key, "first", rows.start_read(at(0)));
        }
        rows
    }

    #[test]
    fn a_row_counts_for_less_than_two_seconds() {
        let rows = with([1]);
        assert_eq!(rows.get(&2, at(0)), None);
        for (milliseconds, counts) in [(0, true), (1_999, true), (2_000, false), (-1, false)] {
            assert_eq!(rows.get(&1, at(milliseconds)).is_some(), counts, "{milliseconds}");
        }
    }

    #[test]
    fn a_read_is_due_once_per_second_and_never_twice_at_once() {
        let rows = with([1]);
        let first = rows.due_read(at(0)).unwrap();
        assert!(rows.due_read(at(999)).is_none() && rows.due_read(at(1_000)).is_none());
        drop(first);
        assert!(rows.due_read(at(1_000)).is_some());
        // The clock was set back.
        assert!(rows.due_read(at(0)).is_some());
    }

    #[test]
    fn a_read_renews_changes_and_removes_rows() {
        let rows = with([1, 2, 3]);
        let read = rows.due_read(at(1_000)).unwrap();
        assert_eq!(read.keys.len(), 3);
        rows.renew(read, HashMap::from([(1, "first"), (2, "second row")]));
        assert_eq!([1, 2, 3].map(|key| rows.get(&key, at(2_999))), [Some("first"), Some("second row"), None]);
        assert_eq!((rows.len(), rows.bytes()), (2, 15));
        assert!(rows.get(&1, at(3_000)).is_none());
    }

    #[test]
    fn rows_without_requests_are_not_read_again() {
        let rows = with([1, 2]);
        for second in 1..10 {
            let read = rows.due_read(at(second * 1_000)).unwrap();
            assert_eq!(read.keys.len(), 2, "{second}");
            rows.renew(read, HashMap::from([(1, "first"), (2, "first")]));
            rows.get(&1, at(second * 1_000)).unwrap();
        }
        assert_eq!(rows.due_read(at(10_000)).unwrap().keys, [1]);
        assert_eq!((rows.len(), rows.bytes()), (1, 5));
    }

    #[test]
    fn a_change_of_this_process_counts_at_once_and_against_reads_under_way() {
        let is_first = |row: &&'static str| *row == "first";
        let ways: [fn(&TestRows); 2] =
            [|rows| rows.forget(|row| *row == "first"), |rows| rows.forget_before(1)];
        for forget in ways {
            let rows = with([1]);
            let (start, read) = (rows.start_read(at(500)), rows.due_read(at(1_000)).unwrap());
            forget(&rows);
            assert_eq!((rows.get(&1, at(1_000)), rows.bytes()), (None, 0));
            rows.insert(1, "first", start);
            assert_eq!(rows.get(&1, at(1_000)), None);
            rows.insert(1, "second", rows.start_read(at(1_000)));
            rows.renew(read, HashMap::from([(1, "first")]));
            assert!(rows.get(&1, at(1_000)).is_some_and(|row| !is_first(&row)));
            // An older count changes nothing.
            rows.forget_before(1);
            assert_eq!(rows.len(), 1);
        }
    }

    #[test]
    fn a_row_that_was_read_later_stays() {
        let rows = with([1]);
        let read = rows.due_read(at(1_000)).unwrap();
        rows.insert(1, "later", rows.start_read(at(1_500)));
        rows.renew(read, HashMap::new());
        assert_eq!(rows.get(&1, at(3_499)), Some("later"));
        assert_eq!(rows.bytes(), 5);
    }

    #[test]
    fn memory_is_bounded_by_bytes() {
        const KILOBYTE: &str = match std::str::from_utf8(&[b'x'; 1024]) {
            Ok(text) => text,
            Err(_) => "",
        };
        let rows = TestRows::default();
        let most = u32::try_from(MAX_BYTES / 1024).unwrap();
        for key in 0..most + 5 {
            rows.insert(key, KILOBYTE, rows.start_read(at(0)));
            assert!(rows.bytes() <= MAX_BYTES);
        }
        assert_eq!((rows.len(), rows.bytes()), (5, 5 * 1024));
        assert!(rows.get(&(most + 4), at(0)).is_some());
    }
}
