//! Accounts: registration, profile, password, deletion. Logging in is in `logins.rs`.

use domain::{Timestamp, UserId};
use email_address::EmailAddress;
use persistence::users::{NewUser, User, UserChanges};
use persistence::{sessions, tokens, users};
use secrecy::SecretString;
use unicode_normalization::UnicodeNormalization;

use crate::accounts::Accounts;
use crate::accounts::actor::Administrator;
use crate::accounts::logins::LoginClient;
use crate::accounts::{password, secret};
use crate::error::{Error, FieldError, Fields, NotFound, Result};
use crate::log_target::SECURITY;

/// A user without the password hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub id: UserId,
    pub username: String,
    pub email: String,
    pub first_name: String,
    pub last_name: String,
    pub date_joined: Timestamp,
    pub is_active: bool,
    pub is_admin: bool,
}

impl From<User> for Account {
    fn from(user: User) -> Self {
        Self {
            id: user.id,
            username: user.username,
            email: user.email,
            first_name: user.first_name,
            last_name: user.last_name,
            date_joined: user.date_joined,
            is_active: user.is_active,
            is_admin: user.is_admin,
        }
    }
}

#[derive(Debug, Clone)]
pub struct Registration {
    pub username: String,
    pub email: String,
    pub password: SecretString,
    pub first_name: String,
    pub last_name: String,
}

/// Changes to a profile; a field that is `None` stays as it is.
#[derive(Debug, Clone, Default)]
pub struct ProfileChanges {
    pub username: Option<String>,
    pub email: Option<String>,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
}

fn check_username(fields: &mut Fields, username: &str) {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    fields.check("username", (3..=32).contains(&username.chars().count()), "use 3 to 32 characters");
    fields.check(
        "username",
        username.chars().all(allowed),
        "use letters, digits, dots, hyphens and underscores",
    );
}

fn check_email(fields: &mut Fields, email: &str) {
    let valid = email.len() <= 254 && EmailAddress::is_valid(email);
    fields.check("email", valid, "write an e-mail address like sam@example.org");
}

/// The stored form of an e-mail address: as typed, but in NFC, and with letters beyond ASCII in lower case, because the
/// databases' `lower` may not convert such letters.
fn normalized_email(email: &str) -> String {
    // Composed first: the base letter of a decomposed letter is ASCII and would stay in upper case.
    let lower = email.trim().nfc().fold(String::new(), |mut lower, letter| {
        match letter.is_ascii() {
            true => lower.push(letter),
            false => lower.extend(letter.to_lowercase()),
        }
        lower
    });
    lower.nfc().collect()
}

/// The form in which user names and e-mail addresses are compared and counted, in lower case.
pub(crate) fn normalized_login(login: &str) -> String {
    normalized_email(login).to_ascii_lowercase()
}

fn check_name(fields: &mut Fields, field: &'static str, name: &str) {
    let ok = name.chars().count() <= 80 && !name.chars().any(char::is_control);
    fields.check(field, ok, "use 80 characters at most, on one line");
}

fn taken(name: bool, address: bool) -> Result<()> {
    let mut errors = Vec::new();
    if name {
        errors.push(FieldError::new("username", "this name is taken: choose another one"));
    }
    if address {
        errors.push(FieldError::new(
            "email",
            "an account with this address exists: log in, or use another one",
        ));
    }
    if errors.is_empty() { Ok(()) } else { Err(Error::Taken(errors)) }
}

/// A new password, with the current one to confirm the change.
#[derive(Debug)]
pub struct PasswordChange {
    pub current: SecretString,
    pub new: SecretString,
}

impl Accounts {
    /// Creates an account.
    ///
    /// # Errors
    /// [`Error::Invalid`] with all invalid fields, [`Error::Taken`], [`Error::PasswordChecksBusy`].
    pub async fn register(&self, registration: Registration) -> Result<Account> {
        self.create_user(registration, false).await
    }

    /// Creates an account, which may be an administrator's.
    ///
    /// # Errors
    /// The same as [`Accounts::register`].
    pub async fn create_user(&self, registration: Registration, is_admin: bool) -> Result<Account> {
        let Registration { username, email, password, first_name, last_name } = registration;
        let (username, email) = (username.trim().to_owned(), normalized_email(&email));
        let (first_name, last_name) = (first_name.trim().to_owned(), last_name.trim().to_owned());
        let mut fields = Fields::default();
        check_username(&mut fields, &username);
        check_email(&mut fields, &email);
        check_name(&mut fields, "first_name", &first_name);
        check_name(&mut fields, "last_name", &last_name);
        password::check(&mut fields, "password", &password);
        fields.done()?;

        let password_hash = self.hasher.hash(password).await?;
        let now = self.clock.wall();
        let account: Account = self
            .store
            .write(move |tx| {
                let (name, address) = users::taken(tx, &username, &email, None)?;
                taken(name, address)?;
                let user = users::insert(
                    tx,
                    NewUser {
                        username,
                        email,
                        password_hash,
                        first_name,
                        last_name,
                        date_joined: now,
                        is_active: true,
                        is_admin,
                        password_changed_at: now,
                    },
                )?;
                Ok(user.into())
            })
            .await
            .map_err(taken_meanwhile)?;
        tracing::info!(
            target: SECURITY, event = "account_created", account_id = account.id.0, is_admin, "account created"
        );
        Ok(account)
    }

    /// Returns the account with this id; `None` if it is closed or does not exist.
    ///
    /// # Errors
    /// Only if the database fails.
    pub async fn account(&self, id: UserId) -> Result<Option<Account>> {
        let user = self.store.read(move |tx| users::by_id(tx, id).map_err(Error::from)).await?;
        Ok(user.filter(|user| user.is_active).map(Account::from))
    }

    /// Changes the profile of an account.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::Taken`].
    pub async fn update_profile(&self, id: UserId, changes: ProfileChanges) -> Result<Account> {
        let trimmed = |text: Option<String>| text.map(|text| text.trim().to_owned());
        let (username, email) = (trimmed(changes.username), changes.email.as_deref().map(normalized_email));
        let (first_name, last_name) = (trimmed(changes.first_name), trimmed(changes.last_name));
        let mut fields = Fields::default();
        username.iter().for_each(|name| check_username(&mut fields, name));
        email.iter().for_each(|address| check_email(&mut fields, address));
        first_name.iter().for_each(|name| check_name(&mut fields, "first_name", name));
        last_name.iter().for_each(|name| check_name(&mut fields, "last_name", name));
        fields.done()?;
        let changed = self
            .store
            .write(move |tx| {
                let current = users::by_id(tx, id)?.ok_or(Error::NotFound(NotFound::User))?;
                let name = username.as_deref().unwrap_or(&current.username);
                let address = email.as_deref().unwrap_or(&current.email);
                let (name, address) = users::taken(tx, name, address, Some(id))?;
                taken(name, address)?;
                let changes =
                    UserChanges { username, email, first_name, last_name, ..UserChanges::default() };
                users::update(tx, id, changes)?.map(Account::from).ok_or(Error::NotFound(NotFound::User))
            })
            .await
            .map_err(taken_meanwhile);
        self.token_cache.forget_user(id);
        changed
    }

    /// Sets a new password, and ends all other sessions and all API tokens. `session` is the key of the session that
    /// stays.
    ///
    /// # Errors
    /// [`Error::WrongPassword`], [`Error::TooManyAttempts`], or [`Error::Invalid`] for the new password.
    pub async fn change_password(
        &self,
        id: UserId,
        PasswordChange { current, new }: PasswordChange,
        session: Option<String>,
        client: &LoginClient,
    ) -> Result<()> {
        let mut fields = Fields::default();
        password::check(&mut fields, "new_password", &new);
        fields.done()?;
        self.confirm_password(id, current, client).await?;
        let password_hash = self.hasher.hash(new).await?;
        let now = self.clock.wall();
        let changed = self
            .store
            .write(move |tx| {
                let changes = UserChanges {
                    password_hash: Some(password_hash),
                    password_changed_at: Some(now),
                    ..UserChanges::default()
                };
                users::update(tx, id, changes)?.ok_or(Error::NotFound(NotFound::User))?;
                let keep = session.as_deref().map(secret::hash);
                sessions::delete_others(tx, id, keep.as_deref())?;
                tokens::delete_all(tx, id)?;
                Ok(())
            })
            .await;
        self.token_cache.forget_user(id);
        if changed.is_ok() {
            tracing::info!(
                target: SECURITY, event = "password_changed", user_id = id.0, client_address = &client.address,
                "password changed; all other sessions and all tokens ended"
            );
        }
        changed
    }

    /// Deletes the account with all its data.
    ///
    /// # Errors
    /// [`Error::WrongPassword`], [`Error::TooManyAttempts`], [`Error::LastAdmin`].
    pub async fn delete_account(
        &self,
        id: UserId,
        password: SecretString,
        client: &LoginClient,
    ) -> Result<()> {
        self.confirm_password(id, password, client).await?;
        self.remove(id).await
    }

    /// Deletes a user without asking for the user's password, for administrators.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::LastAdmin`].
    pub async fn remove_user(&self, _: &Administrator, id: UserId) -> Result<()> {
        self.remove(id).await
    }

    async fn remove(&self, id: UserId) -> Result<()> {
        let removed = self
            .store
            .write(move |tx| {
                let user = users::by_id(tx, id)?.ok_or(Error::NotFound(NotFound::User))?;
                if user.is_admin && user.is_active && users::lock_admins(tx)? <= 1 {
                    return Err(Error::LastAdmin);
                }
                users::delete(tx, id)?;
                Ok(())
            })
            .await;
        self.token_cache.forget_user(id);
        if removed.is_ok() {
            tracing::info!(target: SECURITY, event = "account_deleted", account_id = id.0, "an account was deleted");
        }
        removed
    }
}

/// The error when another request took the name between the check and the write.
fn taken_meanwhile(error: Error) -> Error {
    match error {
        Error::Store(persistence::StoreError::Duplicate(_)) => Error::Taken(vec![FieldError::new(
            "username",
            "this name or address is taken: choose another one",
        )]),
        other => other,
    }
}
