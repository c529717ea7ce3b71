//! Password guessing is slow, and neither owners nor others at the same address are rejected because of it.

use std::collections::HashMap;
use std::time::Duration;

use chrono::TimeDelta;
use domain::UserId;
use persistence::login_attempts;
use services::accounts::logins::{KnownDevice, LoginClient};
use services::accounts::register::{Account, PasswordChange, Registration};
use services::testing::FixedPrices;
use services::{Error, Result, Services, ServicesConfig};
use tokio::task::JoinSet;

use crate::harness::Exchange;

const PASSWORD: &str = "mara-mara-mara";
const WRONG: &str = "a wrong one";

/// A machine that is busy with other tests checks passwords slowly; only the tests of the queue timeout use a short
/// one.
async fn patient() -> Exchange {
    waiting(Duration::from_secs(120)).await
}

async fn waiting(password_queue_timeout: Duration) -> Exchange {
    let config = ServicesConfig { password_queue_timeout, ..ServicesConfig::default() };
    Exchange::configured(FixedPrices::new(), config).await
}

async fn register(exchange: &Exchange, name: &str) -> Account {
    let registration = Registration {
        username: name.into(),
        email: format!("{name}@example.org"),
        password: PASSWORD.into(),
        first_name: String::new(),
        last_name: String::new(),
    };
    exchange.accounts().register(registration).await.unwrap()
}

fn at(number: usize) -> LoginClient {
    LoginClient::at(format!("192.0.2.{number}"))
}

/// A browser at this address that has logged in to the account before.
fn device(exchange: &Exchange, user: UserId, number: usize) -> LoginClient {
    let device = KnownDevice { user, nonce: format!("nonce {number}"), issued_at: exchange.clock.wall() };
    LoginClient { devices: vec![device], ..at(number) }
}

async fn log_in(services: &Services, login: &str, password: &str, client: &LoginClient) -> Result<Account> {
    services.accounts().authenticate(login, password.into(), client).await
}

async fn fail(services: &Services, login: &str, client: &LoginClient, times: usize) {
    for _ in 0..times {
        let refused = log_in(services, login, WRONG, client).await;
        assert!(matches!(refused, Err(Error::BadCredentials)), "{login}: {refused:?}");
    }
}

#[track_caller]
fn wait_s<T: std::fmt::Debug>(refused: Result<T>) -> i64 {
    match refused {
        Err(Error::TooManyAttempts { retry_after }) => retry_after.num_seconds(),
        other => panic!("not throttled: {other:?}"),
    }
}

fn passwords(current: &str, new: &str) -> PasswordChange {
    PasswordChange { current: current.into(), new: new.into() }
}

#[tokio::test]
async fn guesses_at_an_account_wait_longer_each_time_from_any_address() {
    let exchange = patient().await;
    register(&exchange, "sam").await;
    // By name and by e-mail address, each time from another address.
    for number in 0..5 {
        let login = if number % 2 == 0 { "SAM" } else { "sam@Example.org" };
        fail(&exchange, login, &at(number), 1).await;
    }
    // During the wait, the right password is not checked either.
    assert_eq!(wait_s(log_in(&exchange, "sam", PASSWORD, &at(50)).await), 1);
    exchange.pass(TimeDelta::seconds(1));
    fail(&exchange, "sam@example.org", &at(51), 1).await;
    let restarted = exchange.another_process();
    assert_eq!(wait_s(log_in(&restarted, "sam", PASSWORD, &at(52)).await), 2);
    exchange.pass(TimeDelta::seconds(2));
    fail(&restarted, "sam", &at(53), 1).await;
    assert_eq!(wait_s(log_in(&exchange, "sam", PASSWORD, &at(54)).await), 4);
    exchange.pass(TimeDelta::seconds(4));
    assert!(log_in(&exchange, "sam", PASSWORD, &at(55)).await.is_ok());
}

#[tokio::test]
async fn an_hour_allows_few_guesses_at_one_account() {
    let exchange = patient().await;
    register(&exchange, "sam").await;
    let (mut guesses, mut seconds) = (0, 0);
    while seconds < 3_600 {
        match log_in(&exchange, "sam", WRONG, &at(guesses % 50)).await {
            Err(Error::TooManyAttempts { retry_after }) => {
                exchange.pass(retry_after);
                seconds += retry_after.num_seconds();
            }
            _ => guesses += 1,
        }
    }
    assert_eq!(guesses, 24, "in the first hour, and 12 in each later one");
}

#[tokio::test]
async fn an_unknown_name_waits_like_a_known_one() {
    let exchange = patient().await;
    register(&exchange, "sam").await;
    for login in ["sam", "unknown"] {
        fail(&exchange, login, &at(1), 5).await;
        assert_eq!(wait_s(log_in(&exchange, &login.to_uppercase(), WRONG, &at(2)).await), 1, "{login}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn simultaneous_guesses_are_all_counted() {
    let exchange = patient().await;
    register(&exchange, "sam").await;
    let mut tasks = JoinSet::new();
    let processes = [(*exchange).clone(), exchange.another_process()];
    for (number, services) in processes.into_iter().cycle().take(100).enumerate() {
        let login = if number % 2 == 0 { "sam" } else { "sam@example.org" };
        tasks.spawn(async move { log_in(&services, login, WRONG, &at(number)).await });
    }
    let results = tasks.join_all().await;
    let checked = results.iter().filter(|result| matches!(result, Err(Error::BadCredentials))).count();
    assert_eq!(checked, 5, "{results:?}");
    let refused =
        results.iter().filter(|result| matches!(result, Err(Error::TooManyAttempts { .. }))).count();
    assert_eq!(refused, 95);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_password_sent_many_times_at_once_is_never_rejected() {
    let exchange = patient().await;
    register(&exchange, "sam").await;
    fail(&exchange, "sam", &at(1), 4).await;
    let mut tasks = JoinSet::new();
    for number in 0..20 {
        let services = (*exchange).clone();
        tasks.spawn(async move { log_in(&services, "sam", PASSWORD, &at(number)).await });
    }
    assert!(tasks.join_all().await.iter().all(Result::is_ok));
    // These logins do not give an attacker new free attempts.
    fail(&exchange, "sam", &at(1), 1).await;
    assert_eq!(wait_s(log_in(&exchange, "sam", PASSWORD, &at(2)).await), 1);
}

#[tokio::test]
async fn an_owner_on_a_known_device_does_not_wait_for_guesses_of_others() {
    let exchange = patient().await;
    let sam = register(&exchange, "sam").await.id;
    let mia = register(&exchange, "mia").await.id;
    fail(&exchange, "sam", &at(1), 5).await;
    assert_eq!(wait_s(log_in(&exchange, "sam", PASSWORD, &at(2)).await), 1, "an unknown device waits");
    let own = device(&exchange, sam, 3);
    assert!(log_in(&exchange, "sam", PASSWORD, &own).await.is_ok());
    let foreign = device(&exchange, mia, 4);
    assert_eq!(wait_s(log_in(&exchange, "sam", PASSWORD, &foreign).await), 1, "known for another account");

    // Failures of a known device count only for the device, until its user logs in.
    fail(&exchange, "sam", &own, 4).await;
    assert!(log_in(&exchange, "sam", PASSWORD, &own).await.is_ok());
    fail(&exchange, "sam", &own, 5).await;
    assert_eq!(wait_s(log_in(&exchange, "sam", PASSWORD, &own).await), 1);
    assert!(log_in(&exchange, "sam", PASSWORD, &device(&exchange, sam, 5)).await.is_ok());
}

#[tokio::test]
async fn a_device_with_many_failures_counts_as_unknown() {
    let exchange = patient().await;
    let sam = register(&exchange, "sam").await.id;
    let stolen = device(&exchange, sam, 1);
    for _ in 0..10 {
        exchange.pass(TimeDelta::seconds(60));
        fail(&exchange, "sam", &stolen, 1).await;
    }
    // From now on, the guesses of the device count for the account.
    exchange.pass(TimeDelta::hours(1));
    fail(&exchange, "sam", &stolen, 5).await;
    assert_eq!(wait_s(log_in(&exchange, "sam", WRONG, &stolen).await), 1);
    assert_eq!(wait_s(log_in(&exchange, "sam", WRONG, &at(2)).await), 1);
    assert!(log_in(&exchange, "sam", PASSWORD, &device(&exchange, sam, 3)).await.is_ok());
}

#[tokio::test]
async fn a_device_is_known_for_a_year_and_until_the_password_changes() {
    let exchange = patient().await;
    let sam = register(&exchange, "sam").await.id;
    let (old, year_old) = (device(&exchange, sam, 1), device(&exchange, sam, 2));
    exchange.pass(TimeDelta::days(365));
    fail(&exchange, "sam", &at(1), 5).await;
    assert_eq!(wait_s(log_in(&exchange, "sam", PASSWORD, &year_old).await), 1);

    let before = device(&exchange, sam, 3);
    exchange.pass(TimeDelta::seconds(10));
    let new = "lara-lara-lara";
    exchange.accounts().change_password(sam, passwords(PASSWORD, new), None, &before).await.unwrap();
    fail(&exchange, "sam", &at(1), 1).await;
    for known_no_more in [&old, &before] {
        assert_eq!(wait_s(log_in(&exchange, "sam", new, known_no_more).await), 2);
    }
    assert!(log_in(&exchange, "sam", new, &device(&exchange, sam, 4)).await.is_ok());
}

#[tokio::test]
async fn wrong_current_passwords_count_like_wrong_logins() {
    let exchange = patient().await;
    let change = async |user, current: &str, client: &LoginClient| {
        exchange.accounts().change_password(user, passwords(current, "lara-lara-lara"), None, client).await
    };
    for (name, client) in [("sam", at(1)), ("mia", LoginClient::default())] {
        let user = register(&exchange, name).await.id;
        for guess in 0..5 {
            let refused = match guess % 2 {
                0 => change(user, WRONG, &client).await,
                _ => exchange.accounts().delete_account(user, WRONG.into(), &client).await,
            };
            assert!(matches!(refused, Err(Error::WrongPassword)), "{refused:?}");
        }
        assert_eq!(wait_s(change(user, PASSWORD, &client).await), 1);
        assert_eq!(wait_s(exchange.accounts().delete_account(user, PASSWORD.into(), &client).await), 1);
        assert_eq!(wait_s(log_in(&exchange, name, PASSWORD, &at(9)).await), 1);
        // On a known device, the owner can still change the password.
        assert!(change(user, PASSWORD, &device(&exchange, user, 8)).await.is_ok());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_at_the_same_address_do_not_reject_a_right_password() {
    let exchange = patient().await;
    for number in 0..20 {
        register(&exchange, &format!("pupil{number}")).await;
    }
    let mut tasks = JoinSet::new();
    for number in 0..60 {
        let services = (*exchange).clone();
        tasks.spawn(async move {
            let refused = log_in(&services, &format!("name{number}"), WRONG, &at(1)).await;
            assert!(matches!(refused, Err(Error::BadCredentials)), "{refused:?}");
        });
    }
    for number in 0..20 {
        let services = (*exchange).clone();
        tasks.spawn(async move {
            log_in(&services, &format!("pupil{number}"), PASSWORD, &at(1)).await.unwrap();
        });
    }
    tasks.join_all().await;
    assert!(log_in(&exchange, "pupil1", PASSWORD, &at(1)).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_of_an_address_that_guesses_at_many_accounts_are_queued() {
    let exchange = patient().await;
    let failures = async |address: &'static str| {
        exchange.read(move |tx| login_attempts::get(tx, address)).await.map_or(0, |(failures, _)| failures)
    };
    for number in 0..30 {
        fail(&exchange, &format!("name{number}"), &at(1), 1).await;
    }
    assert_eq!(failures("address 192.0.2.1").await, 30);
    // Each wrong password of that address now delays the next one by a quarter of a second.
    let start = tokio::time::Instant::now();
    let mut tasks = JoinSet::new();
    for number in 0..5 {
        let services = (*exchange).clone();
        tasks.spawn(async move { fail(&services, &format!("other{number}"), &at(1), 1).await });
    }
    tasks.join_all().await;
    assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
    // Two hours later the failures are forgiven.
    exchange.pass(TimeDelta::hours(2));
    fail(&exchange, "name0", &at(1), 1).await;
    assert_eq!(failures("address 192.0.2.1").await, 1);
}

#[tokio::test]
async fn failures_expire_after_a_day_and_few_after_an_hour() {
    let exchange = patient().await;
    register(&exchange, "sam").await;
    fail(&exchange, "sam", &at(1), 4).await;
    exchange.pass(TimeDelta::hours(1));
    fail(&exchange, "sam", &at(1), 5).await;
    assert_eq!(wait_s(log_in(&exchange, "sam", PASSWORD, &at(1)).await), 1);
    exchange.pass(TimeDelta::hours(23));
    fail(&exchange, "sam", &at(1), 1).await;
    assert_eq!(wait_s(log_in(&exchange, "sam", PASSWORD, &at(1)).await), 2);
    exchange.pass(TimeDelta::days(1));
    fail(&exchange, "sam", &at(1), 5).await;
}

#[tokio::test]
async fn a_clock_that_was_set_back_locks_no_account_out() {
    let exchange = patient().await;
    register(&exchange, "sam").await;
    fail(&exchange, "sam", &at(1), 5).await;
    exchange.clock.set(exchange.clock.wall() - TimeDelta::days(40));
    assert!(log_in(&exchange, "sam", PASSWORD, &at(1)).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_cannot_be_checked_in_time_is_rejected_and_not_counted() {
    // More simultaneous checks than the machine allows, and none may wait.
    let exchange = waiting(Duration::ZERO).await;
    let mut users = Vec::new();
    for number in 0..12 {
        users.push(register(&exchange, &format!("pupil{number}")).await);
    }
    let mut tasks = JoinSet::new();
    for (number, user) in users.into_iter().enumerate() {
        let services = (*exchange).clone();
        tasks.spawn(async move { (user.id, log_in(&services, &user.username, WRONG, &at(number)).await) });
    }
    let results = tasks.join_all().await;
    let busy: Vec<UserId> = results
        .iter()
        .filter(|(_, result)| matches!(result, Err(Error::PasswordChecksBusy)))
        .map(|(user, _)| *user)
        .collect();
    assert!(!busy.is_empty() && busy.len() < 12, "{results:?}");
    for user in busy {
        let key = format!("account {user}");
        assert_eq!(exchange.read(move |tx| login_attempts::get(tx, &key)).await, None);
    }
}

#[tokio::test]
async fn successful_logins_leave_no_rows() {
    let exchange = patient().await;
    let mut users = HashMap::new();
    for name in ["sam", "mia"] {
        users.insert(name, register(&exchange, name).await.id);
        assert!(log_in(&exchange, name, PASSWORD, &at(1)).await.is_ok());
    }
    for user in users.values() {
        let key = format!("account {user}");
        assert_eq!(exchange.read(move |tx| login_attempts::get(tx, &key)).await, None);
    }
    assert_eq!(exchange.read(|tx| login_attempts::get(tx, "address 192.0.2.1")).await, None);
}
