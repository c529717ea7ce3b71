//! SQLite's check of a database file.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::Text;

/// The most faults that are listed; with more, the file must be replaced anyway.
const MAX_LINES: usize = 100;

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    line: String,
}

/// Checks the whole file and returns one line per fault in pages, indexes, constraints and references between rows.
/// Empty if the file is intact. An unreadable file is a fault too. Uses a separate connection, because the check may
/// take minutes; others can read and write during that time.
pub fn sqlite_damage(path: &str) -> Vec<String> {
    let mut conn = match SqliteConnection::establish(path) {
        Ok(conn) => conn,
        Err(error) => return vec![format!("the file cannot be opened: {error}")],
    };
    let mut damage = Vec::new();
    for check in [PREPARE, PAGES, REFERENCES] {
        let found: QueryResult<Vec<Line>> = match check {
            PREPARE => conn.batch_execute(PREPARE).map(|()| Vec::new()),
            query => diesel::sql_query(query).load(&mut conn),
        };
        match found {
            Ok(lines) => damage.extend(lines.into_iter().map(|line| line.line)),
            Err(error) => damage.push(format!("the file cannot be read: {error}")),
        }
        if !damage.is_empty() {
            break;
        }
    }
    damage.truncate(MAX_LINES);
    damage
}

const PREPARE: &str = "PRAGMA query_only = ON; PRAGMA busy_timeout = 10000";
const PAGES: &str =
    "SELECT integrity_check AS line FROM pragma_integrity_check WHERE integrity_check <> 'ok'";
const REFERENCES: &str = "SELECT 'row ' || coalesce(rowid, '?') || ' of ' || \"table\" || ' refers to a missing row of ' \
     || parent AS line FROM pragma_foreign_key_check LIMIT 100";
