//! API tokens. Only the hash of a token is stored.

use diesel::prelude::*;
use domain::{Timestamp, TokenId, UserId};

use crate::schema::{api_tokens, users};
use crate::users::User;
use crate::{Statement, StoreError, Tx};

#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = api_tokens)]
pub struct Token {
    pub id: TokenId,
    pub user_id: UserId,
    pub name: String,
    /// Hex SHA-256 of the token.
    pub token_hash: String,
    /// `trade`, `read` or `admin`.
    pub scope: String,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
}

pub fn insert(tx: &mut Tx<'_>, token: Token) -> Result<(), StoreError> {
    diesel::insert_into(api_tokens::table).values(token).execute(tx.conn)?;
    Ok(())
}

/// The tokens with these hashes and their owners, including expired tokens. At most 30,000 hashes, SQLite's limit for
/// one statement.
pub fn by_hashes(statement: Statement<'_>, hashes: &[String]) -> Result<Vec<(Token, User)>, StoreError> {
    Ok(api_tokens::table
        .inner_join(users::table)
        .filter(api_tokens::token_hash.eq_any(hashes))
        .order(api_tokens::id)
        .select((Token::as_select(), User::as_select()))
        .load(statement.conn)?)
}

/// A user's tokens, newest first, including expired ones.
pub fn of_user(tx: &mut Tx<'_>, user: UserId) -> Result<Vec<Token>, StoreError> {
    Ok(api_tokens::table
        .filter(api_tokens::user_id.eq(user))
        .order(api_tokens::id.desc())
        .select(Token::as_select())
        .load(tx.conn)?)
}

pub fn delete(tx: &mut Tx<'_>, user: UserId, id: TokenId) -> Result<bool, StoreError> {
    let own = api_tokens::table.filter(api_tokens::user_id.eq(user).and(api_tokens::id.eq(id)));
    Ok(diesel::delete(own).execute(tx.conn)? > 0)
}

/// Deletes the user's tokens of that scope.
pub fn delete_scope(tx: &mut Tx<'_>, user: UserId, scope: &str) -> Result<usize, StoreError> {
    let own = api_tokens::table.filter(api_tokens::user_id.eq(user).and(api_tokens::scope.eq(scope)));
    Ok(diesel::delete(own).execute(tx.conn)?)
}

pub fn delete_all(tx: &mut Tx<'_>, user: UserId) -> Result<usize, StoreError> {
    Ok(diesel::delete(api_tokens::table.filter(api_tokens::user_id.eq(user))).execute(tx.conn)?)
}
