//! Direct access to the database, to inspect and change it without the program.

use std::path::Path;

use chrono::NaiveDate;
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Text};

pub enum Books {
    Postgres(PgConnection),
    Sqlite(SqliteConnection),
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    number: i64,
}

#[derive(QueryableByName)]
struct Words {
    #[diesel(sql_type = Text)]
    text: String,
}

impl Books {
    pub fn at(url: &str) -> Self {
        Self::Postgres(PgConnection::establish(url).expect("the database of the installation answers"))
    }

    pub fn sqlite(file: &Path) -> Self {
        let mut connection = SqliteConnection::establish(file.to_str().unwrap()).unwrap();
        connection.batch_execute("PRAGMA busy_timeout = 10000").unwrap();
        Self::Sqlite(connection)
    }

    pub fn execute(&mut self, statements: &str) {
        match self {
            Self::Postgres(connection) => connection.batch_execute(statements).unwrap(),
            Self::Sqlite(connection) => connection.batch_execute(statements).unwrap(),
        }
    }

    /// The number of rows. `rows` is a table, optionally followed by a condition.
    pub fn count(&mut self, rows: &str) -> i64 {
        let query = sql_query(format!("SELECT count(*) AS number FROM {rows}"));
        let found: Number = match self {
            Self::Postgres(connection) => query.get_result(connection).unwrap(),
            Self::Sqlite(connection) => query.get_result(connection).unwrap(),
        };
        found.number
    }

    /// The text that a query returns in the column `text`.
    pub fn text(&mut self, query: &str) -> String {
        let query = sql_query(query);
        let found: Words = match self {
            Self::Postgres(connection) => query.get_result(connection).unwrap(),
            Self::Sqlite(connection) => query.get_result(connection).unwrap(),
        };
        found.text
    }

    pub fn snapshots(&mut self, date: NaiveDate) -> i64 {
        self.count(&format!("portfolio_snapshots WHERE date = '{date}'"))
    }

    /// The number of runs of this session's snapshot that have this status.
    pub fn snapshot_runs(&mut self, date: NaiveDate, status: &str) -> i64 {
        self.count(&format!(
            "job_runs WHERE kind = 'snapshot_portfolios' AND key = '{date}' AND status = '{status}'"
        ))
    }
}
