//! API tokens: shown once, stored as hashes.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;

use chrono::Datelike;
use domain::{Timestamp, TokenId, UserId};
use persistence::tokens::{self, Token};
use persistence::users::{self, User};
use secrecy::SecretString;

use crate::accounts::Accounts;
use crate::accounts::logins::LoginClient;
use crate::accounts::register::Account;
use crate::accounts::secret;
use crate::accounts::token_cache::KnownToken;
use crate::error::{Error, Fields, NotFound, Result};
use crate::log_target::SECURITY;

/// The permissions of a token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Scope {
    /// Everything except account security and administration.
    #[default]
    Trade,
    Read,
    /// Administration and reading. Only administrators can have such a token.
    Admin,
}

impl Scope {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trade => "trade",
            Self::Read => "read",
            Self::Admin => "admin",
        }
    }
}

impl FromStr for Scope {
    type Err = String;
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "trade" => Ok(Self::Trade),
            "read" => Ok(Self::Read),
            "admin" => Ok(Self::Admin),
            _ => Err("must be trade, read or admin".into()),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenInfo {
    pub id: TokenId,
    pub name: String,
    pub scope: Scope,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
}

impl From<Token> for TokenInfo {
    fn from(token: Token) -> Self {
        Self {
            id: token.id,
            name: token.name,
            // A constraint of the table allows only known scopes; an unknown one would grant the fewest rights.
            scope: token.scope.parse().unwrap_or(Scope::Read),
            created_at: token.created_at,
            expires_at: token.expires_at,
        }
    }
}

/// Marks a text as a Stockyard token, for users and for scanners of leaked secrets.
const PREFIX: &str = "sy_";

impl Accounts {
    /// Creates a token for trading or reading. Returns it with its secret, which is not stored.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an empty or long name, an expiry in the past, or the scope of administrators.
    pub async fn create_token(
        &self,
        user: UserId,
        name: &str,
        scope: Scope,
        expires_at: Option<Timestamp>,
    ) -> Result<(TokenInfo, String)> {
        if scope == Scope::Admin {
            return Err(Error::invalid("scope", "a token with the scope admin needs the current password"));
        }
        self.make_token(user, name, scope, expires_at).await
    }

    /// Creates a token with the scope of administrators. Because it has more rights than any other token, its owner
    /// must confirm the password.
    ///
    /// # Errors
    /// [`Error::WrongPassword`], [`Error::TooManyAttempts`]; [`Error::Invalid`] for a user who is not an administrator,
    /// and as in [`Accounts::create_token`].
    pub async fn create_admin_token(
        &self,
        user: UserId,
        name: &str,
        expires_at: Option<Timestamp>,
        current_password: SecretString,
        client: &LoginClient,
    ) -> Result<(TokenInfo, String)> {
        self.confirm_password(user, current_password, client).await?;
        self.make_token(user, name, Scope::Admin, expires_at).await
    }

    async fn make_token(
        &self,
        user: UserId,
        name: &str,
        scope: Scope,
        expires_at: Option<Timestamp>,
    ) -> Result<(TokenInfo, String)> {
        let now = self.clock.wall();
        let name = name.trim().to_owned();
        let mut fields = Fields::default();
        fields.check("name", (1..=80).contains(&name.chars().count()), "use 1 to 80 characters");
        fields.check("name", !name.chars().any(char::is_control), "use one line");
        fields.check(
            "expires_at",
            expires_at.is_none_or(|at| at.utc().year() < 9999),
            "must be before the year 9999",
        );
        fields.check("expires_at", expires_at.is_none_or(|at| at > now), "must be in the future");
        fields.done()?;
        let text = format!("{PREFIX}{}", secret::random());
        let token = Token {
            id: TokenId(self.clock.new_id()),
            user_id: user,
            name,
            token_hash: secret::hash(&text),
            scope: scope.as_str().to_owned(),
            created_at: now,
            expires_at,
        };
        let info = TokenInfo::from(token.clone());
        self.store
            .write(move |tx| {
                if scope == Scope::Admin {
                    // The lock keeps a user who is losing the administrator rights at this moment from getting such a
                    // token.
                    users::lock_admins(tx)?;
                }
                if scope == Scope::Admin && !users::by_id(tx, user)?.is_some_and(|user| user.is_admin) {
                    return Err(Error::invalid(
                        "scope",
                        "only administrators have tokens with the scope admin",
                    ));
                }
                tokens::insert(tx, token).map_err(Error::from)
            })
            .await?;
        tracing::info!(
            target: SECURITY, event = "token_created", user_id = user.0, token_id = %info.id,
            scope = info.scope.as_str(), "API token created"
        );
        Ok((info, text))
    }

    /// Returns the owner and the scope of a token; `None` if the token is unknown or expired, or its account is closed.
    /// Changes by other processes take effect within two seconds, changes by this process immediately.
    ///
    /// # Errors
    /// Only if the database fails.
    pub async fn token_owner(&self, token: &str) -> Result<Option<(Arc<Account>, Scope)>> {
        if !token.starts_with(PREFIX) {
            return Ok(None);
        }
        let (hash, now) = (secret::hash(token), self.clock.wall());
        if let Some(known) = self.token_cache.live(&hash, now) {
            self.confirm_tokens(now);
            return Ok(Some((known.account, known.scope)));
        }
        let start = self.token_cache.start_read(now);
        let Some((hash, known)) = self.read_tokens(vec![hash]).await?.into_iter().next() else {
            return Ok(None);
        };
        self.token_cache.insert(hash, known.clone(), start);
        Ok(known.lives_at(now).then_some((known.account, known.scope)))
    }

    /// Starts the confirmation of the tokens in use if it is due. Requests do not wait for it.
    fn confirm_tokens(&self, now: Timestamp) {
        let Some(read) = self.token_cache.due_read(now) else { return };
        let accounts = self.clone();
        tokio::spawn(async move {
            match accounts.read_tokens(read.keys.clone()).await {
                Ok(found) => accounts.token_cache.renew(read, found),
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "tokens cannot be confirmed");
                }
            }
        });
    }

    /// Reads the owners of the live tokens with these hashes from the database.
    pub(crate) async fn token_owners(&self, hashes: Vec<String>) -> Result<HashMap<String, UserId>> {
        if hashes.is_empty() {
            return Ok(HashMap::new());
        }
        let now = self.clock.wall();
        let found = self.read_tokens(hashes).await?.into_iter();
        Ok(found
            .filter(|(_, known)| known.lives_at(now))
            .map(|(hash, known)| (hash, known.account.id))
            .collect())
    }

    async fn read_tokens(&self, hashes: Vec<String>) -> Result<HashMap<String, KnownToken>> {
        let found = self
            .store
            .query(move |statement| tokens::by_hashes(statement, &hashes).map_err(Error::from))
            .await?;
        Ok(found.into_iter().filter_map(known).collect())
    }

    /// A user's tokens, newest first.
    ///
    /// # Errors
    /// Only if the database fails.
    pub async fn tokens(&self, user: UserId) -> Result<Vec<TokenInfo>> {
        let found = self.store.read(move |tx| tokens::of_user(tx, user).map_err(Error::from)).await?;
        Ok(found.into_iter().map(TokenInfo::from).collect())
    }

    /// Revokes a token.
    ///
    /// # Errors
    /// [`Error::NotFound`], also for another user's token.
    pub async fn revoke_token(&self, user: UserId, id: TokenId) -> Result<()> {
        let found = self.store.write(move |tx| tokens::delete(tx, user, id).map_err(Error::from)).await?;
        self.token_cache.forget_token(id);
        if !found {
            return Err(Error::NotFound(NotFound::Token));
        }
        tracing::info!(
            target: SECURITY, event = "token_revoked", user_id = user.0, token_id = %id, "API token revoked"
        );
        Ok(())
    }
}

/// A token's data for the cache, by its hash; `None` for a closed account.
fn known((token, user): (Token, User)) -> Option<(String, KnownToken)> {
    if !user.is_active {
        return None;
    }
    let hash = token.token_hash.clone();
    let info = TokenInfo::from(token);
    let account = Arc::new(Account::from(user));
    Some((hash, KnownToken { id: info.id, account, scope: info.scope, expires_at: info.expires_at }))
}
