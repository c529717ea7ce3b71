//! Password checks: at login, and again before a sensitive action.
//!
//! Attempts at one account are checked one at a time. `login_throttle` decides whether an attempt comes too soon after
//! failures; the hasher's queue limits the total cost of all checks.

use std::time::Duration;

use domain::{Timestamp, UserId};
use persistence::users::{self, User, UserChanges};
use secrecy::SecretString;

use crate::accounts::Accounts;
use crate::accounts::login_throttle;
use crate::accounts::login_throttle::{ADDRESS_FAILURES, Admitted, Attempt};
use crate::accounts::password::{Form, Priority};
use crate::accounts::register::{Account, normalized_login};
use crate::accounts::secret;
use crate::error::{Error, Result};
use crate::log_target::SECURITY;

/// The longest wait in the queue of an address with many failures. It is long, so that users are not rejected because
/// of the failures of others at the same address.
const ADDRESS_WAIT: Duration = Duration::from_secs(30);
/// The pause after a wrong password from an address with many failures: four guesses per second.
const ADDRESS_PAUSE: Duration = Duration::from_millis(250);

/// The client that sent a password.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoginClient {
    /// The client's network address as text.
    pub address: String,
    /// The accounts that this browser has logged in to before. The caller has verified the signatures.
    pub devices: Vec<KnownDevice>,
}

/// Proof that a browser has logged in to an account before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownDevice {
    pub user: UserId,
    /// A random value that distinguishes the browsers of one user.
    pub nonce: String,
    pub issued_at: Timestamp,
}

impl LoginClient {
    /// A client without known devices.
    pub fn at(address: impl Into<String>) -> Self {
        Self { address: address.into(), devices: Vec::new() }
    }
}

impl Accounts {
    /// The failed logins that currently count for an address.
    ///
    /// # Errors
    /// Only if the database fails.
    #[cfg(feature = "testing")]
    pub async fn address_failures(&self, address: &str) -> Result<i32> {
        let attempt = Attempt::new(None, "", &LoginClient::at(address), self.clock.wall());
        let now = self.clock.wall();
        self.store.read(move |tx| Ok(login_throttle::address_failures(tx, attempt.address(), now)?.0)).await
    }

    /// Logs in with a user name or an e-mail address.
    ///
    /// # Errors
    /// [`Error::BadCredentials`], after the same time whether or not the account exists; [`Error::TooManyAttempts`],
    /// without checking the password; [`Error::PasswordChecksBusy`].
    pub async fn authenticate(
        &self,
        login: &str,
        password: SecretString,
        client: &LoginClient,
    ) -> Result<Account> {
        let name = normalized_login(login);
        let (wanted, typed) = (name.clone(), login.trim().to_owned());
        let found = self
            .store
            .read(move |tx| {
                // Login names contain no control characters, and PostgreSQL cannot store NUL in a text.
                if wanted.chars().any(char::is_control) {
                    return Ok(None);
                }
                match users::by_login(tx, &wanted)? {
                    // The address may have been stored before addresses were normalized.
                    None if typed != wanted => users::by_login(tx, &typed),
                    found => Ok(found),
                }
                .map_err(Error::from)
            })
            .await?;
        let attempt = Attempt::new(found.as_ref(), &name, client, self.clock.wall());
        let id = found.map(|user| user.id);
        let checked = self.check_password(&attempt, id, password).await;
        // The name itself is never logged: users sometimes type a password into the wrong field.
        let name_hash = &secret::hash(&name)[..16];
        let (user_id, address) = (id.map(|id| id.0), &client.address);
        match checked {
            Ok((Some(user), admitted)) => {
                tracing::info!(
                    target: SECURITY, event = "login_succeeded", user_id = user.id.0, client_address = address,
                    known_device = admitted.from_known_device, "login succeeded"
                );
                Ok(user.into())
            }
            Ok((None, admitted)) => {
                tracing::warn!(
                    target: SECURITY, event = "login_failed", user_id, name_hash, client_address = address,
                    known_device = admitted.from_known_device, "login failed"
                );
                Err(Error::BadCredentials)
            }
            Err(error) => {
                if let Error::TooManyAttempts { retry_after } = &error {
                    tracing::warn!(
                        target: SECURITY, event = "login_throttled", user_id, name_hash, client_address = address,
                        retry_after_s = retry_after.num_seconds(), "login refused: too many failed attempts"
                    );
                }
                Err(error)
            }
        }
    }

    /// Checks the password of a logged-in user before a sensitive action.
    ///
    /// # Errors
    /// [`Error::WrongPassword`], [`Error::TooManyAttempts`], [`Error::PasswordChecksBusy`].
    pub(crate) async fn confirm_password(
        &self,
        id: UserId,
        password: SecretString,
        client: &LoginClient,
    ) -> Result<()> {
        let user = self.store.read(move |tx| users::by_id(tx, id).map_err(Error::from)).await?;
        let attempt = Attempt::new(user.as_ref(), "", client, self.clock.wall());
        let refused = match self.check_password(&attempt, Some(id), password).await {
            Ok((Some(_), _)) => return Ok(()),
            Ok((None, _)) => Error::WrongPassword,
            Err(error) => error,
        };
        if matches!(refused, Error::WrongPassword | Error::TooManyAttempts { .. }) {
            tracing::warn!(
                target: SECURITY, event = "reauthentication_failed", user_id = id.0,
                client_address = &client.address, reason = %refused, "re-authentication failed"
            );
        }
        Err(refused)
    }

    /// Returns the user if the password is right and the account is open.
    async fn check_password(
        &self,
        attempt: &Attempt,
        id: Option<UserId>,
        password: SecretString,
    ) -> Result<(Option<User>, Admitted)> {
        let wait = self.password_queue_timeout;
        let place = self.login_queues.accounts.join(attempt.queue());
        let _turn = place.turn(wait).await.ok_or(Error::PasswordChecksBusy)?;

        let (asked, clock) = (attempt.clone(), self.clock.clone());
        let (admitted, user) = self
            .store
            .write(move |tx| {
                let admitted = login_throttle::admit(tx, &asked, clock.wall())?;
                // The user is read after the wait, because the password may have changed in the meantime.
                let user = id.map(|id| users::by_id(tx, id)).transpose()?.flatten();
                Ok::<_, Error>((admitted, user.filter(|user| user.is_active)))
            })
            .await?;
        let admitted = admitted.map_err(|retry_after| Error::TooManyAttempts { retry_after })?;
        let hash = user.as_ref().map(|user| user.password_hash.clone());
        let matched = self.match_in_turn(attempt, &admitted, password.clone(), hash.clone()).await;
        let renewed = match &matched {
            Ok(Some(Form::AsTyped)) => self.hasher.hash(password).await.ok(),
            _ => None,
        };

        let right = matches!(matched, Ok(Some(_)));
        let (counted, taken, clock) = (attempt.clone(), admitted.clone(), self.clock.clone());
        let wrong = matches!(matched, Ok(None));
        self.store
            .write(move |tx| {
                let now = clock.wall();
                if wrong {
                    return Ok(login_throttle::count_for_address(tx, &counted, &taken, now)?);
                }
                login_throttle::remove_failure(tx, &taken, right, now)?;
                let current = id.map(|id| users::by_id(tx, id)).transpose()?.flatten();
                if let (Some(renewed), Some(current)) = (renewed, current)
                    && Some(&current.password_hash) == hash.as_ref()
                {
                    let changes = UserChanges { password_hash: Some(renewed), ..UserChanges::default() };
                    users::update(tx, current.id, changes)?;
                }
                Ok::<_, Error>(())
            })
            .await?;
        let matched = matched?;
        Ok((user.filter(|_| matched.is_some()), admitted))
    }

    /// Checks the password. If the address has many failures, earlier attempts from it are checked first.
    async fn match_in_turn(
        &self,
        attempt: &Attempt,
        admitted: &Admitted,
        password: SecretString,
        hash: Option<String>,
    ) -> Result<Option<Form>> {
        if admitted.from_known_device {
            return self.hasher.verify(password, hash, Priority::Normal).await;
        }
        let place = self.login_queues.addresses.join(attempt.address());
        let under_way = i32::try_from(place.others()).unwrap_or(i32::MAX);
        if admitted.address_failures.saturating_add(under_way) < ADDRESS_FAILURES {
            // `place` is kept during the check, so that later attempts count this one.
            let matched = self.hasher.verify(password, hash, Priority::Normal).await;
            drop(place);
            return matched;
        }
        let turn = place.turn(ADDRESS_WAIT).await.ok_or(Error::PasswordChecksBusy)?;
        let matched = self.hasher.verify(password, hash, Priority::Low).await?;
        if matched.is_none() {
            // The response does not wait for the pause, but the next attempt does.
            tokio::spawn(async move {
                tokio::time::sleep(ADDRESS_PAUSE).await;
                drop(turn);
            });
        }
        Ok(matched)
    }
}
