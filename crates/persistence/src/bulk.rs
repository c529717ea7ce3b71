//! Statements over many rows for PostgreSQL, where a round trip costs more than a row. SQLite runs in the same
//! process, where a prepared statement per row is as fast.

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::serialize::ToSql;
use diesel::sql_types::{Array, HasSqlType, SingleValue};
use diesel::sqlite::Sqlite;
use std::marker::PhantomData;

/// The statement `before unnest($1, $2, …) after`, whose rows come from one array per column. The text does not depend
/// on the number of rows, so the database plans it only once per connection. `ST` is the SQL type of the result, `()`
/// for none.
pub struct Unnest<'a, ST> {
    before: &'static str,
    columns: Vec<Box<dyn Column + 'a>>,
    after: &'static str,
    answers: PhantomData<ST>,
}

impl<'a, ST> Unnest<'a, ST> {
    pub fn new(before: &'static str, after: &'static str) -> Self {
        Self { before, columns: Vec::new(), after, answers: PhantomData }
    }

    /// Adds a column of SQL type `S`, which may be `Nullable`.
    pub fn column<S, T>(mut self, values: impl Iterator<Item = T>) -> Self
    where
        S: SingleValue + 'static,
        Pg: HasSqlType<Array<S>>,
        T: 'a,
        Vec<T>: ToSql<Array<S>, Pg>,
    {
        self.columns.push(Box::new(Values::<S, T> { values: values.collect(), sql_type: PhantomData }));
        self
    }
}

trait Column {
    fn bind<'b>(&'b self, pass: AstPass<'_, 'b, Pg>) -> QueryResult<()>;
}

struct Values<S, T> {
    values: Vec<T>,
    sql_type: PhantomData<S>,
}

impl<S, T> Column for Values<S, T>
where
    S: SingleValue,
    Pg: HasSqlType<Array<S>>,
    Vec<T>: ToSql<Array<S>, Pg>,
{
    fn bind<'b>(&'b self, mut pass: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        pass.push_bind_param::<Array<S>, Vec<T>>(&self.values)
    }
}

impl<ST> QueryFragment<Pg> for Unnest<'_, ST> {
    fn walk_ast<'b>(&'b self, mut pass: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        pass.push_sql(self.before);
        pass.push_sql(" unnest(");
        for (index, column) in self.columns.iter().enumerate() {
            if index > 0 {
                pass.push_sql(", ");
            }
            column.bind(pass.reborrow())?;
        }
        pass.push_sql(") ");
        pass.push_sql(self.after);
        Ok(())
    }
}

/// Several writes as one statement, in one round trip: `WITH w0 AS (first), … last`. Returns the result of `last`. All
/// parts see the tables as they were before the statement, so no part may depend on another.
pub struct CombinedWrites<'a, ST> {
    pub first: Vec<Unnest<'a, ()>>,
    pub last: Unnest<'a, ST>,
}

impl<ST> QueryFragment<Pg> for CombinedWrites<'_, ST> {
    fn walk_ast<'b>(&'b self, mut pass: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        for (index, write) in self.first.iter().enumerate() {
            pass.push_sql(if index == 0 { "WITH " } else { ", " });
            pass.push_sql(&format!("w{index} AS ("));
            write.walk_ast(pass.reborrow())?;
            pass.push_sql(") ");
        }
        self.last.walk_ast(pass)
    }
}

impl<ST> QueryId for CombinedWrites<'_, ST> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<ST> Query for CombinedWrites<'_, ST> {
    type SqlType = ST;
}

impl<ST> RunQueryDsl<PgConnection> for CombinedWrites<'_, ST> {}

impl<ST> QueryId for Unnest<'_, ST> {
    type QueryId = ();
    // The statement is identified by its text.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<ST> Query for Unnest<'_, ST> {
    type SqlType = ST;
}

impl<ST> RunQueryDsl<PgConnection> for Unnest<'_, ST> {}

/// A SQLite statement with `?` for its values. Its text is constant, so each connection prepares it only once; diesel
/// prepares updates again for each row, which takes as long as executing them.
pub struct PerRow<'a> {
    text: &'static str,
    values: Vec<Box<dyn Bind + 'a>>,
}

impl<'a> PerRow<'a> {
    pub fn new(text: &'static str) -> Self {
        Self { text, values: Vec::new() }
    }

    /// Adds a value of SQL type `S`.
    pub fn value<S, T>(mut self, value: T) -> Self
    where
        S: SingleValue + 'static,
        Sqlite: HasSqlType<S>,
        T: ToSql<S, Sqlite> + 'a,
    {
        self.values.push(Box::new(Value::<S, T> { value, sql_type: PhantomData }));
        self
    }
}

trait Bind {
    fn bind<'b>(&'b self, pass: AstPass<'_, 'b, Sqlite>) -> QueryResult<()>;
}

struct Value<S, T> {
    value: T,
    sql_type: PhantomData<S>,
}

impl<S: SingleValue, T: ToSql<S, Sqlite>> Bind for Value<S, T>
where
    Sqlite: HasSqlType<S>,
{
    fn bind<'b>(&'b self, mut pass: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        pass.push_bind_param::<S, T>(&self.value)
    }
}

impl QueryFragment<Sqlite> for PerRow<'_> {
    fn walk_ast<'b>(&'b self, mut pass: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        let mut values = self.values.iter();
        for (index, part) in self.text.split('?').enumerate() {
            if index > 0 {
                values.next().expect("Invariant: a value for each `?`").bind(pass.reborrow())?;
            }
            pass.push_sql(part);
        }
        Ok(())
    }
}

impl QueryId for PerRow<'_> {
    type QueryId = ();
    // The statement is identified by its text.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl RunQueryDsl<SqliteConnection> for PerRow<'_> {}
