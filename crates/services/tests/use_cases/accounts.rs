use chrono::TimeDelta;
use domain::UserId;
use persistence::{order_list, portfolios, snapshots, transactions, users};
use services::accounts::actor::Administrator;
use services::accounts::logins::LoginClient;
use services::accounts::register::{Account, PasswordChange, ProfileChanges, Registration};
use services::accounts::tokens::Scope;
use services::books::snapshots::IdRange;
use services::{Error, Result, Services};

use crate::harness::{Exchange, fields, symbol};

const PASSWORD: &str = "mara-mara-mara";

fn home() -> LoginClient {
    LoginClient::at("192.0.2.1")
}

fn registration(username: &str, email: &str) -> Registration {
    Registration {
        username: username.into(),
        email: email.into(),
        password: PASSWORD.to_owned().into(),
        first_name: "Sam".into(),
        last_name: "Miller".into(),
    }
}

async fn sam(exchange: &Exchange) -> Account {
    exchange.accounts().register(registration("Sam", "Sam@example.org")).await.unwrap()
}

async fn log_in(services: &Services, login: &str, password: &str) -> Result<Account> {
    services.accounts().authenticate(login, password.to_owned().into(), &home()).await
}

fn is_bad(refused: &Result<Account>) -> bool {
    matches!(refused, Err(Error::BadCredentials))
}

#[tokio::test]
async fn registering_opens_an_account() {
    let exchange = Exchange::new().await;
    let account = exchange
        .accounts()
        .register(Registration {
            first_name: " Sam ".into(),
            last_name: String::new(),
            ..registration(" Sam ", " Sam@example.org ")
        })
        .await
        .unwrap();
    assert_eq!((account.username.as_str(), account.email.as_str()), ("Sam", "Sam@example.org"));
    assert_eq!((account.first_name.as_str(), account.last_name.as_str()), ("Sam", ""));
    assert_eq!(account.date_joined, exchange.clock.wall());
    assert!(account.is_active && !account.is_admin);
    assert_eq!(exchange.accounts().account(account.id).await.unwrap(), Some(account));
}

#[tokio::test]
async fn registering_reports_all_invalid_fields_together() {
    let exchange = Exchange::new().await;
    let refused = exchange
        .accounts()
        .register(Registration {
            username: "a!".into(),
            email: "nobody".into(),
            password: "short".to_owned().into(),
            first_name: "x".repeat(81),
            last_name: "two\nlines".into(),
        })
        .await;
    assert_eq!(fields(refused), ["username", "username", "email", "first_name", "last_name", "password"]);
    assert_eq!(exchange.read(users::count).await, 0);
}

#[tokio::test]
async fn common_passwords_are_rejected() {
    let exchange = Exchange::new().await;
    for common in ["password1", "QwertyUiop"] {
        let refused =
            Registration { password: common.to_owned().into(), ..registration("sam", "sam@example.org") };
        assert_eq!(fields(exchange.accounts().register(refused).await), ["password"], "{common}");
    }
}

#[tokio::test]
async fn names_and_addresses_are_taken_in_any_case() {
    let exchange = Exchange::new().await;
    let sam = sam(&exchange).await;
    let refused = async |name, address| exchange.accounts().register(registration(name, address)).await;
    assert_eq!(fields(refused("SAM", "sam@EXAMPLE.org").await), ["username", "email"]);
    assert_eq!(fields(refused("sAm", "other@example.org").await), ["username"]);
    assert_eq!(fields(refused("other", "SAM@example.org").await), ["email"]);
    exchange.accounts().remove_user(&Administrator::operator("ada"), sam.id).await.unwrap();
    assert!(refused("sam", "sam@example.org").await.is_ok());
}

#[tokio::test]
async fn only_one_of_two_simultaneous_registrations_gets_a_name() {
    let exchange = Exchange::new().await;
    let other = exchange.another_process();
    let (one, two) = tokio::join!(
        exchange.accounts().register(registration("sam", "sam@example.org")),
        other.accounts().register(registration("Sam", "other@example.org")),
    );
    let refused = if one.is_ok() { two } else { one };
    assert!(fields(refused).contains(&"username"));
    assert_eq!(exchange.read(users::count).await, 1);
}

#[tokio::test]
async fn a_login_accepts_the_name_or_the_address_in_any_case() {
    let exchange = Exchange::new().await;
    let sam = sam(&exchange).await;
    for login in ["Sam", " sam ", "sam@example.org", "SAM@EXAMPLE.ORG"] {
        assert_eq!(log_in(&exchange, login, PASSWORD).await.unwrap(), sam, "{login}");
    }
}

#[tokio::test]
async fn addresses_with_letters_beyond_ascii_are_found_in_any_case() {
    let exchange = Exchange::new().await;
    let jorg = exchange.accounts().register(registration("jorg", "JÖRG@example.org")).await.unwrap();
    // The letters are composed or decomposed.
    for login in
        ["JÖRG@example.org", "jörg@EXAMPLE.org", "JO\u{308}RG@example.org", "jo\u{308}rg@example.org"]
    {
        assert_eq!(log_in(&exchange, login, PASSWORD).await.unwrap(), jorg, "{login}");
    }
    for taken in ["jörg@example.org", "jo\u{308}rg@example.org"] {
        assert_eq!(fields(exchange.accounts().register(registration("other", taken)).await), ["email"]);
    }
}

#[tokio::test]
async fn an_unknown_name_a_wrong_password_and_a_closed_account_look_the_same() {
    let exchange = Exchange::new().await;
    let sam = sam(&exchange).await;
    assert!(is_bad(&log_in(&exchange, "sam", "mara-mara-marb").await));
    assert!(is_bad(&log_in(&exchange, "nobody", PASSWORD).await));
    assert!(is_bad(&log_in(&exchange, "", "").await));
    exchange
        .accounts()
        .set_user_flags(&Administrator::operator("ada"), sam.id, Some(false), None)
        .await
        .unwrap();
    assert!(is_bad(&log_in(&exchange, "sam", PASSWORD).await));
    exchange
        .accounts()
        .set_user_flags(&Administrator::operator("ada"), sam.id, Some(true), None)
        .await
        .unwrap();
    assert!(log_in(&exchange, "sam", PASSWORD).await.is_ok());
}

#[tokio::test]
async fn a_new_password_ends_other_sessions_and_all_tokens() {
    let exchange = Exchange::new().await;
    let sam = sam(&exchange).await;
    let hour = TimeDelta::hours(1);
    let here = exchange.accounts().create_session(Some(sam.id), "{}".into(), hour).await.unwrap();
    let there = exchange.accounts().create_session(Some(sam.id), "{}".into(), hour).await.unwrap();
    let stranger = exchange.accounts().create_session(None, "{}".into(), hour).await.unwrap();
    let (_, token) = exchange.accounts().create_token(sam.id, "laptop", Scope::Trade, None).await.unwrap();

    let change = async |current: &str, new: &str| {
        let (current, new) = (current.to_owned().into(), new.to_owned().into());
        exchange
            .accounts()
            .change_password(sam.id, PasswordChange { current, new }, Some(here.clone()), &home())
            .await
    };
    assert!(matches!(change("a wrong one", "lara-lara-lara").await, Err(Error::WrongPassword)));
    assert_eq!(fields(change(PASSWORD, "password").await), ["new_password"]);
    assert!(exchange.accounts().load_session(&there).await.unwrap().is_some());
    assert!(exchange.accounts().token_owner(&token).await.unwrap().is_some());

    change(PASSWORD, "lara-lara-lara").await.unwrap();
    assert!(exchange.accounts().load_session(&here).await.unwrap().is_some());
    assert!(exchange.accounts().load_session(&stranger).await.unwrap().is_some());
    assert_eq!(exchange.accounts().load_session(&there).await.unwrap(), None);
    assert_eq!(exchange.accounts().token_owner(&token).await.unwrap(), None);
    assert!(is_bad(&log_in(&exchange, "sam", PASSWORD).await));
    assert!(log_in(&exchange, "sam", "lara-lara-lara").await.is_ok());
}

#[tokio::test]
async fn a_profile_update_changes_only_the_given_fields() {
    let exchange = Exchange::new().await;
    let sam = sam(&exchange).await;
    let changes = ProfileChanges { last_name: Some(" Moss ".into()), ..ProfileChanges::default() };
    let changed = exchange.accounts().update_profile(sam.id, changes).await.unwrap();
    assert_eq!(changed, Account { last_name: "Moss".into(), ..sam.clone() });
    assert_eq!(exchange.accounts().update_profile(sam.id, ProfileChanges::default()).await.unwrap(), changed);

    // The user's own name in another case is not taken.
    let changes = ProfileChanges { username: Some("SAM".into()), ..ProfileChanges::default() };
    assert_eq!(exchange.accounts().update_profile(sam.id, changes).await.unwrap().username, "SAM");

    exchange.user("mia").await;
    let refused = ProfileChanges {
        username: Some("Mia".into()),
        email: Some("MIA@example.org".into()),
        ..ProfileChanges::default()
    };
    assert_eq!(fields(exchange.accounts().update_profile(sam.id, refused).await), ["username", "email"]);
    let refused = ProfileChanges {
        username: Some("m".into()),
        email: Some("mia@".into()),
        first_name: Some("x".repeat(81)),
        last_name: Some("\t\u{7}".into()),
    };
    assert_eq!(
        fields(exchange.accounts().update_profile(sam.id, refused).await),
        ["username", "email", "first_name", "last_name"]
    );
    assert!(matches!(
        exchange.accounts().update_profile(UserId(99), ProfileChanges::default()).await,
        Err(Error::NotFound(services::NotFound::User))
    ));
}

#[tokio::test]
async fn deleting_an_account_deletes_only_the_data_of_its_owner() {
    let exchange = Exchange::new().await;
    let sam = sam(&exchange).await.id;
    let mia = exchange.investor("mia", "1000.00").await;
    let own = crate::harness::Investor { user: sam, portfolio: exchange.open(sam, "1000.00").await };
    let mut lists = Vec::new();
    for who in [own, mia] {
        exchange.pass(TimeDelta::seconds(1));
        exchange.buy(who, "AAPL", "1").await.unwrap();
        exchange.accounts().create_session(Some(who.user), "{}".into(), TimeDelta::hours(1)).await.unwrap();
        exchange.accounts().create_token(who.user, "laptop", Scope::Read, None).await.unwrap();
        let list = exchange.watchlists().create_watchlist(who.trader(), "Later").await.unwrap().id;
        exchange.watchlists().watch(who.trader(), list, &symbol("MSFT")).await.unwrap();
        lists.push(list);
    }
    exchange.pass(TimeDelta::seconds(1));
    let today = domain::calendar::exchange_date(exchange.now());
    exchange.books().take_snapshots(today, IdRange::ALL, |_| true).await.unwrap();

    let deleted = exchange.accounts().delete_account(sam, "a wrong one".to_owned().into(), &home()).await;
    assert!(matches!(deleted, Err(Error::WrongPassword)));
    assert_eq!(exchange.read(users::count).await, 2);
    exchange.accounts().delete_account(sam, PASSWORD.to_owned().into(), &home()).await.unwrap();

    assert_eq!(exchange.accounts().account(sam).await.unwrap(), None);
    assert!(is_bad(&log_in(&exchange, "sam", PASSWORD).await));
    assert_eq!(exchange.read(users::count).await, 1);
    assert_eq!(exchange.read(portfolios::count).await, 1);
    assert_eq!(exchange.read(transactions::count).await, 2);
    assert_eq!(exchange.read(snapshots::count).await, 1);
    let orders = exchange
        .read(move |tx| order_list::page(tx, own.portfolio, &domain::OrderFilter::default(), None, 10))
        .await;
    assert_eq!(orders, []);
    assert_eq!(exchange.accounts().sessions(sam, None).await.unwrap(), []);
    assert_eq!(exchange.accounts().tokens(sam).await.unwrap(), []);
    assert_eq!(exchange.watchlists().all(sam).await.unwrap(), []);
    let items = exchange.read(move |tx| persistence::watchlists::items(tx, lists[0])).await;
    assert_eq!(items, []);

    assert_eq!(exchange.cash(mia).await, "850.00");
    assert_eq!(exchange.accounts().sessions(mia.user, None).await.unwrap().len(), 1);
    assert_eq!(exchange.accounts().tokens(mia.user).await.unwrap().len(), 1);
    assert_eq!(exchange.watchlists().all(mia.user).await.unwrap()[0].items.len(), 1);
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn the_last_administrator_cannot_leave() {
    let exchange = Exchange::new().await;
    let boss = exchange.accounts().create_user(registration("boss", "boss@example.org"), true).await.unwrap();
    let other = exchange.user("other").await;
    let closed = exchange.user("closed").await;
    exchange
        .accounts()
        .set_user_flags(&Administrator::operator("ada"), closed, Some(false), Some(true))
        .await
        .unwrap();

    let password = || PASSWORD.to_owned().into();
    assert!(matches!(
        exchange.accounts().delete_account(boss.id, password(), &home()).await,
        Err(Error::LastAdmin)
    ));
    assert!(matches!(
        exchange.accounts().remove_user(&Administrator::operator("ada"), boss.id).await,
        Err(Error::LastAdmin)
    ));
    assert!(matches!(
        exchange.accounts().set_user_flags(&Administrator::operator("ada"), boss.id, Some(false), None).await,
        Err(Error::LastAdmin)
    ));
    assert!(matches!(
        exchange.accounts().set_user_flags(&Administrator::operator("ada"), boss.id, None, Some(false)).await,
        Err(Error::LastAdmin)
    ));
    assert_eq!(exchange.accounts().any_user(&Administrator::operator("ada"), boss.id).await.unwrap(), boss);
    // The administrator rights of a closed account do not count, so the account may be deleted.
    exchange.accounts().remove_user(&Administrator::operator("ada"), closed).await.unwrap();

    exchange
        .accounts()
        .set_user_flags(&Administrator::operator("ada"), other, None, Some(true))
        .await
        .unwrap();
    exchange.accounts().delete_account(boss.id, password(), &home()).await.unwrap();
    assert!(matches!(
        exchange.accounts().remove_user(&Administrator::operator("ada"), other).await,
        Err(Error::LastAdmin)
    ));
    assert!(matches!(
        exchange.accounts().remove_user(&Administrator::operator("ada"), boss.id).await,
        Err(Error::NotFound(services::NotFound::User))
    ));
}

#[tokio::test]
async fn closing_an_account_ends_its_sessions_and_tokens_and_can_be_undone() {
    let exchange = Exchange::new().await;
    let sam = exchange.user("sam").await;
    let session =
        exchange.accounts().create_session(Some(sam), "{}".into(), TimeDelta::hours(1)).await.unwrap();
    let (_, token) = exchange.accounts().create_token(sam, "laptop", Scope::Trade, None).await.unwrap();
    assert!(
        !exchange
            .accounts()
            .set_user_flags(&Administrator::operator("ada"), sam, Some(false), None)
            .await
            .unwrap()
            .is_active
    );
    assert_eq!(exchange.accounts().account(sam).await.unwrap(), None);
    assert_eq!(exchange.accounts().load_session(&session).await.unwrap(), None);
    assert_eq!(exchange.accounts().token_owner(&token).await.unwrap(), None);
    exchange.accounts().set_user_flags(&Administrator::operator("ada"), sam, Some(true), None).await.unwrap();
    assert!(exchange.accounts().account(sam).await.unwrap().is_some());
    assert_eq!(exchange.accounts().load_session(&session).await.unwrap(), None);
}

#[tokio::test]
async fn a_password_matches_in_every_form_of_typing() {
    let exchange = Exchange::new().await;
    let composed = "p\u{e4}ssw\u{f6}rter-f\u{fc}r-alle";
    let decomposed = "pa\u{308}sswo\u{308}rter-fu\u{308}r-alle";
    for (name, chosen) in [("composed", composed), ("decomposed", decomposed)] {
        let registration =
            Registration { password: chosen.into(), ..registration(name, &format!("{name}@example.org")) };
        let user = exchange.accounts().register(registration).await.unwrap();
        for typed in [composed, decomposed] {
            assert_eq!(log_in(&exchange, name, typed).await.unwrap(), user, "{name}: {typed}");
        }
        assert!(is_bad(&log_in(&exchange, name, "passworter-fur-alle").await));
        let changed = exchange
            .accounts()
            .change_password(
                user.id,
                PasswordChange { current: decomposed.into(), new: composed.into() },
                None,
                &home(),
            )
            .await;
        assert!(changed.is_ok(), "{changed:?}");
    }
}

#[tokio::test]
async fn a_hash_of_an_unprepared_password_matches_and_is_replaced() {
    let exchange = Exchange::new().await;
    let sam = sam(&exchange).await;
    let (composed, decomposed) = ("z\u{e4}h und sicher", "za\u{308}h und sicher");
    // The hash as an older version stored it.
    let old = services::testing::hash_as_typed(decomposed);
    exchange
        .write(move |tx| {
            let changes = users::UserChanges { password_hash: Some(old), ..users::UserChanges::default() };
            users::update(tx, sam.id, changes)
        })
        .await;
    assert!(is_bad(&log_in(&exchange, "sam", composed).await));
    assert!(log_in(&exchange, "sam", decomposed).await.is_ok());
    // From now on the stored hash is of the prepared form.
    assert!(log_in(&exchange, "sam", composed).await.is_ok());
    assert!(log_in(&exchange, "sam", decomposed).await.is_ok());
}
