//! What SQLite itself finds wrong with a database file.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::Text;

/// More damage than this is not listed: the file is to be replaced anyway.
const MOST_LINES: usize = 100;

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    line: String,
}

/// Reads the whole file and returns what is wrong with it, one line for each fault: pages, indexes, constraints and
/// references between rows. Empty when the file is sound. A file that cannot be read is damaged too. Has its own
/// connection, because it may take minutes; others read and write meanwhile.
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
    damage.truncate(MOST_LINES);
    damage
}

const PREPARE: &str = "PRAGMA query_only = ON; PRAGMA busy_timeout = 10000";
const PAGES: &str =
    "SELECT integrity_check AS line FROM pragma_integrity_check WHERE integrity_check <> 'ok'";
const REFERENCES: &str = "SELECT 'row ' || coalesce(rowid, '?') || ' of ' || \"table\" || ' refers to a missing row of ' \
     || parent AS line FROM pragma_foreign_key_check LIMIT 100";
