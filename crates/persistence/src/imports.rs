//! Files that wait to be imported, and the rows of those that were.

use diesel::prelude::*;
use domain::{PortfolioId, Timestamp};

use crate::connection::each;
use crate::schema::{import_files, imported_rows};
use crate::{StoreError, Tx};

/// The hashes of the rows that were imported into a portfolio.
pub fn known_rows(tx: &mut Tx<'_>, portfolio: PortfolioId) -> Result<Vec<String>, StoreError> {
    Ok(imported_rows::table
        .filter(imported_rows::portfolio_id.eq(portfolio))
        .order(imported_rows::row_hash)
        .select(imported_rows::row_hash)
        .load(tx.conn)?)
}

/// Records rows, each as its hash and its line in the file. [`StoreError::Duplicate`] when one was imported before.
pub fn insert(
    tx: &mut Tx<'_>,
    portfolio: PortfolioId,
    file_hash: &str,
    now: Timestamp,
    rows: &[(&str, usize)],
) -> Result<(), StoreError> {
    for (hash, line) in rows {
        let line = i64::try_from(*line).unwrap_or(i64::MAX);
        diesel::insert_into(imported_rows::table)
            .values((
                imported_rows::portfolio_id.eq(portfolio),
                imported_rows::row_hash.eq(hash),
                imported_rows::file_hash.eq(file_hash),
                imported_rows::line.eq(line),
                imported_rows::imported_at.eq(now),
            ))
            .execute(tx.conn)?;
    }
    Ok(())
}

/// Keeps an uploaded file until it is imported. A portfolio has one: a new one replaces it.
pub fn keep_file(
    tx: &mut Tx<'_>,
    portfolio: PortfolioId,
    file_hash: &str,
    content: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let values = (
        import_files::portfolio_id.eq(portfolio),
        import_files::file_hash.eq(file_hash),
        import_files::content.eq(content),
        import_files::uploaded_at.eq(now),
    );
    let changes = (
        import_files::file_hash.eq(file_hash),
        import_files::content.eq(content),
        import_files::uploaded_at.eq(now),
    );
    each!(&mut *tx.conn, c => diesel::insert_into(import_files::table)
        .values(values)
        .on_conflict(import_files::portfolio_id)
        .do_update()
        .set(changes)
        .execute(c))?;
    Ok(())
}

/// The content of the file that waits, if it is the one with that hash.
pub fn file(tx: &mut Tx<'_>, portfolio: PortfolioId, file_hash: &str) -> Result<Option<String>, StoreError> {
    Ok(import_files::table
        .filter(import_files::portfolio_id.eq(portfolio).and(import_files::file_hash.eq(file_hash)))
        .select(import_files::content)
        .first(tx.conn)
        .optional()?)
}

/// Deletes the files that were uploaded before `until`; answers how many.
pub fn delete_files_before(tx: &mut Tx<'_>, until: Timestamp) -> Result<usize, StoreError> {
    let old = import_files::table.filter(import_files::uploaded_at.lt(until));
    Ok(diesel::delete(old).execute(tx.conn)?)
}

/// Deletes the file of a portfolio.
pub fn delete_file(tx: &mut Tx<'_>, portfolio: PortfolioId) -> Result<(), StoreError> {
    diesel::delete(import_files::table.find(portfolio)).execute(tx.conn)?;
    Ok(())
}
