//! Users and their accounts.

use diesel::prelude::*;
use domain::{PortfolioId, Timestamp, UserId};

use crate::connection::Locked;
use crate::schema::{portfolios, users};
use crate::{StoreError, Tx};

diesel::define_sql_function! {
    /// The database's `lower`, used on both sides of a comparison: SQLite changes only the case of ASCII letters.
    fn lower(text: diesel::sql_types::Text) -> diesel::sql_types::Text;
}

#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = users)]
pub struct User {
    pub id: UserId,
    pub username: String,
    pub email: String,
    /// The hash as a PHC string.
    pub password_hash: String,
    pub first_name: String,
    pub last_name: String,
    pub date_joined: Timestamp,
    pub is_active: bool,
    pub is_admin: bool,
    pub password_changed_at: Timestamp,
}

#[derive(Debug, Clone, Insertable)]
#[diesel(table_name = users)]
pub struct NewUser {
    pub username: String,
    pub email: String,
    pub password_hash: String,
    pub first_name: String,
    pub last_name: String,
    pub date_joined: Timestamp,
    pub is_active: bool,
    pub is_admin: bool,
    pub password_changed_at: Timestamp,
}

/// The columns to change; `None` leaves a column as it is.
#[derive(Debug, Clone, Default, AsChangeset)]
#[diesel(table_name = users)]
pub struct UserChanges {
    pub username: Option<String>,
    pub email: Option<String>,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub password_hash: Option<String>,
    pub password_changed_at: Option<Timestamp>,
    pub is_active: Option<bool>,
    pub is_admin: Option<bool>,
}

pub fn insert(tx: &mut Tx<'_>, new: NewUser) -> Result<User, StoreError> {
    Ok(diesel::insert_into(users::table).values(new).returning(users::all_columns).get_result(tx.conn)?)
}

pub fn by_id(tx: &mut Tx<'_>, id: UserId) -> Result<Option<User>, StoreError> {
    Ok(users::table.find(id).select(User::as_select()).first(tx.conn).optional()?)
}

/// Finds a user by user name or e-mail address, in upper or lower case.
pub fn by_login(tx: &mut Tx<'_>, login: &str) -> Result<Option<User>, StoreError> {
    Ok(users::table
        .filter(lower(users::username).eq(lower(login)).or(lower(users::email).eq(lower(login))))
        .order(users::id)
        .select(User::as_select())
        .first(tx.conn)
        .optional()?)
}

/// Whether a user other than `except` has that name or that address, as (name taken, address taken).
pub fn taken(
    tx: &mut Tx<'_>,
    username: &str,
    email: &str,
    except: Option<UserId>,
) -> Result<(bool, bool), StoreError> {
    let same_name = || lower(users::username).eq(lower(username));
    let same_address = || lower(users::email).eq(lower(email));
    let found: Vec<(UserId, bool, bool)> = users::table
        .filter(same_name().or(same_address()))
        .order(users::id)
        .select((users::id, same_name(), same_address()))
        .load(tx.conn)?;
    let others = || found.iter().filter(|(id, ..)| Some(*id) != except);
    Ok((others().any(|(_, name, _)| *name), others().any(|(.., address)| *address)))
}

pub fn update(tx: &mut Tx<'_>, id: UserId, changes: UserChanges) -> Result<Option<User>, StoreError> {
    let changed =
        diesel::update(users::table.find(id)).set(&changes).returning(users::all_columns).get_result(tx.conn);
    match changed.optional() {
        // If there are no changes, diesel returns an error.
        Err(diesel::result::Error::QueryBuilderError(_)) => by_id(tx, id),
        other => Ok(other?),
    }
}

/// Deletes the user and all their data.
pub fn delete(tx: &mut Tx<'_>, id: UserId) -> Result<bool, StoreError> {
    // In the order in which all transactions lock portfolios, and before the user's row, to which a new portfolio
    // refers, to avoid deadlocks.
    let owned: Vec<PortfolioId> = portfolios::table
        .filter(portfolios::user_id.eq(id))
        .order(portfolios::id)
        .select(portfolios::id)
        .load(tx.conn)?;
    for portfolio in owned {
        diesel::delete(portfolios::table.find(portfolio)).execute(tx.conn)?;
    }
    Ok(diesel::delete(users::table.find(id)).execute(tx.conn)? > 0)
}

/// The number of active administrators. Their rows are locked, so that the last two administrators cannot both leave at
/// the same time.
pub fn lock_admins(tx: &mut Tx<'_>) -> Result<usize, StoreError> {
    let admins =
        users::table.filter(users::is_admin.and(users::is_active)).order(users::id).select(users::id);
    Ok(Locked(admins).load::<UserId>(tx.conn)?.len())
}

pub fn count(tx: &mut Tx<'_>) -> Result<i64, StoreError> {
    Ok(users::table.count().get_result(tx.conn)?)
}

/// Returns users with the number of their portfolios, newest first; `search` is a part of a name or an address.
pub fn page(
    tx: &mut Tx<'_>,
    search: &str,
    before: Option<UserId>,
    limit: i64,
) -> Result<Vec<(User, i64)>, StoreError> {
    let mut query = users::table.select(User::as_select()).into_boxed();
    if !search.is_empty() {
        let pattern = crate::stocks::containing(search);
        query = query.filter(
            lower(users::username)
                .like(lower(pattern.clone()))
                .escape('\\')
                .or(lower(users::email).like(lower(pattern)).escape('\\')),
        );
    }
    if let Some(before) = before {
        query = query.filter(users::id.lt(before));
    }
    let found: Vec<User> = query.order(users::id.desc()).limit(limit).load(tx.conn)?;
    with_portfolios(tx, found)
}

/// Users, each with the number of their portfolios.
pub fn with_portfolios(tx: &mut Tx<'_>, found: Vec<User>) -> Result<Vec<(User, i64)>, StoreError> {
    let ids: Vec<UserId> = found.iter().map(|user| user.id).collect();
    let counts: Vec<(UserId, i64)> = portfolios::table
        .filter(portfolios::user_id.eq_any(ids))
        .group_by(portfolios::user_id)
        .select((portfolios::user_id, diesel::dsl::count_star()))
        .load(tx.conn)?;
    let count = |id| counts.iter().find(|(user, _)| *user == id).map_or(0, |(_, count)| *count);
    Ok(found.into_iter().map(|user| (count(user.id), user)).map(|(count, user)| (user, count)).collect())
}
