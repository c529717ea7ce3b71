//! The rights with which a use case is executed.

use std::sync::Arc;

use domain::UserId;
use thiserror::Error;

use crate::accounts::register::Account;
use crate::accounts::tokens::Scope;

/// How a request was authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credential {
    /// The session of a browser.
    Session,
    /// An API token, with its scope.
    Token(Scope),
}

/// A user with the rights of the credential.
#[derive(Debug, Clone)]
pub struct Actor {
    pub account: Arc<Account>,
    pub credential: Credential,
}

/// Why an actor is not an administrator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NotAdministrator {
    #[error("the user is not an administrator")]
    Account,
    #[error("the token has no administrator rights")]
    Token,
}

impl Actor {
    /// The right to administer. An administrator has it when logged in, or with a token of the scope `admin`.
    ///
    /// # Errors
    /// For all other users and tokens.
    pub fn administrator(&self) -> Result<Administrator, NotAdministrator> {
        match self.credential {
            _ if !self.account.is_admin => Err(NotAdministrator::Account),
            Credential::Session | Credential::Token(Scope::Admin) => {
                Ok(Administrator { name: self.account.username.clone(), user: Some(self.account.id) })
            }
            Credential::Token(Scope::Trade | Scope::Read) => Err(NotAdministrator::Token),
        }
    }
}

/// The right to administer. Use cases that need this right take a reference to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Administrator {
    name: String,
    user: Option<UserId>,
}

impl Administrator {
    /// The operator of the machine, who administers by commands and without an account. `name` is stored with
    /// decisions.
    pub fn operator(name: &str) -> Self {
        Self { name: name.to_owned(), user: None }
    }

    /// The name that is stored with decisions: for an account, its user name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `None` for the operator of the machine.
    pub fn user(&self) -> Option<UserId> {
        self.user
    }
}

#[cfg(test)]
mod tests {
    use domain::Timestamp;

    use super::*;

    fn actor(is_admin: bool, credential: Credential) -> Actor {
        let account = Account {
            id: UserId(7),
            username: "ada".to_owned(),
            email: "ada@example.com".to_owned(),
            first_name: String::new(),
            last_name: String::new(),
            date_joined: Timestamp::from(chrono::DateTime::UNIX_EPOCH),
            is_active: true,
            is_admin,
        };
        Actor { account: Arc::new(account), credential }
    }

    #[test]
    fn administrators_need_a_session_or_a_token_with_the_admin_scope() {
        let all = [Scope::Trade, Scope::Read, Scope::Admin].map(Credential::Token);
        for credential in all.into_iter().chain([Credential::Session]) {
            assert_eq!(actor(false, credential).administrator(), Err(NotAdministrator::Account));
            let right = actor(true, credential).administrator();
            match credential {
                Credential::Session | Credential::Token(Scope::Admin) => {
                    let right = right.unwrap();
                    assert_eq!((right.name(), right.user()), ("ada", Some(UserId(7))));
                }
                Credential::Token(Scope::Trade | Scope::Read) => {
                    assert_eq!(right, Err(NotAdministrator::Token), "{credential:?}");
                }
            }
        }
    }
}
