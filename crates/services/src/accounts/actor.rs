//! The rights with which a use case is executed.

use std::sync::Arc;

use domain::{PortfolioId, PortfolioRef, UserId};
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

/// Why an actor may not trade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NotTrader {
    #[error("the token may only read")]
    ReadOnlyToken,
    #[error("the token is for administration")]
    AdminToken,
}

impl Actor {
    /// The right to change what belongs to the user: given in a session, and by a token with the scope `trade`.
    ///
    /// # Errors
    /// For all other tokens.
    pub fn trader(&self) -> Result<Trader, NotTrader> {
        match self.credential {
            Credential::Session | Credential::Token(Scope::Trade) => Ok(Trader { user: self.account.id }),
            Credential::Token(Scope::Read) => Err(NotTrader::ReadOnlyToken),
            Credential::Token(Scope::Admin) => Err(NotTrader::AdminToken),
        }
    }

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

/// The right to change what belongs to a user: portfolios, orders and watchlists. Use cases that change them take it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trader {
    user: UserId,
}

impl Trader {
    /// For programs that act for a user without a request. Requests get the right from [`Actor::trader`] or a session.
    pub fn on_behalf_of(user: UserId) -> Self {
        Self { user }
    }

    /// For a session, in which a user may do everything.
    pub fn in_session(account: &Account) -> Self {
        Self { user: account.id }
    }

    pub fn user(self) -> UserId {
        self.user
    }

    /// The right to change one of the user's portfolios.
    pub fn portfolio(self, portfolio: PortfolioId) -> PortfolioControl {
        PortfolioControl(PortfolioRef::new(self.user, portfolio))
    }
}

/// The right to change one portfolio. The use case checks that it belongs to the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortfolioControl(PortfolioRef);

impl PortfolioControl {
    /// The portfolio, to read it.
    pub fn reference(self) -> PortfolioRef {
        self.0
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
    fn only_sessions_and_tokens_for_trading_can_trade() {
        for is_admin in [false, true] {
            let right = |credential| actor(is_admin, credential).trader();
            for credential in [Credential::Session, Credential::Token(Scope::Trade)] {
                assert_eq!(right(credential).map(Trader::user), Ok(UserId(7)), "{credential:?}");
            }
            assert_eq!(right(Credential::Token(Scope::Read)), Err(NotTrader::ReadOnlyToken));
            assert_eq!(right(Credential::Token(Scope::Admin)), Err(NotTrader::AdminToken));
        }
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
