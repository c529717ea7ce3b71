use persistence::StoreError;
use persistence::users::{self, User, UserChanges};

use crate::harness::{Db, moment, new_portfolio, new_user};

#[tokio::test]
async fn a_user_is_read_as_stored() {
    let db = Db::new().await;
    let sam = db.user("sam").await;
    assert_eq!(
        (sam.username.as_str(), sam.email.as_str(), sam.is_active, sam.is_admin, sam.date_joined),
        ("sam", "sam@example.com", true, false, moment(0))
    );
    let id = sam.id;
    assert_eq!(db.read(move |tx| users::by_id(tx, id)).await, Some(sam));
    assert_eq!(db.read(move |tx| users::by_id(tx, domain::UserId(id.0 + 1))).await, None);
}

#[tokio::test]
async fn names_and_addresses_are_unique_in_any_case() {
    let db = Db::new().await;
    db.user("Sam").await;
    for (name, email) in [("sAM", "other@example.com"), ("other", "SAM@Example.Com")] {
        let second = db.try_write(move |tx| users::insert(tx, new_user(name, email))).await;
        assert!(matches!(second, Err(StoreError::Duplicate(_))), "{name}: {second:?}");
    }
    assert_eq!(db.read(users::count).await, 1);
}

#[tokio::test]
async fn a_login_is_a_name_or_an_address_in_any_case() {
    let db = Db::new().await;
    let sam = db.user("Sam").await;
    for login in ["Sam", "sam", "SAM", "sam@example.com", "SAM@EXAMPLE.COM"] {
        assert_eq!(db.read(move |tx| users::by_login(tx, login)).await.as_ref(), Some(&sam), "{login}");
    }
    for login in ["", "sa", "sam@example", "%"] {
        assert_eq!(db.read(move |tx| users::by_login(tx, login)).await, None, "{login}");
    }
}

#[tokio::test]
async fn names_with_letters_beyond_ascii_are_found_as_written() {
    let db = Db::new().await;
    let zoe = db.write(|tx| users::insert(tx, new_user("Zoë ÅNGSTRÖM", "ÅSA@example.com"))).await;
    for login in ["Zoë ÅNGSTRÖM", "ÅSA@example.com"] {
        assert_eq!(db.read(move |tx| users::by_login(tx, login)).await.as_ref(), Some(&zoe), "{login}");
    }
    let taken = db.read(|tx| users::taken(tx, "Zoë ÅNGSTRÖM", "ÅSA@example.com", None)).await;
    assert_eq!(taken, (true, true));
    assert_eq!(db.read(|tx| users::page(tx, "ÅNGSTRÖM", None, 10)).await.len(), 1);
}

#[tokio::test]
async fn taken_distinguishes_name_and_address_and_ignores_the_user() {
    let db = Db::new().await;
    let sam = db.user("Sam").await.id;
    db.user("Eve").await;
    let taken = |name: &'static str, email: &'static str, except| {
        db.read(move |tx| users::taken(tx, name, email, except))
    };
    assert_eq!(taken("sam", "new@example.com", None).await, (true, false));
    assert_eq!(taken("new", "SAM@example.com", None).await, (false, true));
    assert_eq!(taken("sam", "eve@example.com", None).await, (true, true));
    assert_eq!(taken("sam", "sam@example.com", Some(sam)).await, (false, false));
    assert_eq!(taken("eve", "sam@example.com", Some(sam)).await, (true, false));
}

#[tokio::test]
async fn an_update_changes_only_the_given_fields() {
    let db = Db::new().await;
    let sam = db.user("sam").await;
    let id = sam.id;
    let changes =
        UserChanges { last_name: Some(String::new()), is_admin: Some(true), ..UserChanges::default() };
    let changed = db.write(move |tx| users::update(tx, id, changes)).await;
    assert_eq!(changed, Some(User { last_name: String::new(), is_admin: true, ..sam }));
}

#[tokio::test]
async fn an_update_without_changes_returns_the_user() {
    let db = Db::new().await;
    let sam = db.user("sam").await;
    let id = sam.id;
    assert_eq!(db.write(move |tx| users::update(tx, id, UserChanges::default())).await, Some(sam));
    let nobody = domain::UserId(id.0 + 1);
    assert_eq!(db.write(move |tx| users::update(tx, nobody, UserChanges::default())).await, None);
}

#[tokio::test]
async fn an_update_to_a_taken_name_is_rejected() {
    let db = Db::new().await;
    db.user("sam").await;
    let eve = db.user("eve").await.id;
    let changes = UserChanges { username: Some("SAM".into()), ..UserChanges::default() };
    let refused = db.try_write(move |tx| users::update(tx, eve, changes)).await;
    assert!(matches!(refused, Err(StoreError::Duplicate(_))), "{refused:?}");
}

#[tokio::test]
async fn only_active_administrators_count() {
    let db = Db::new().await;
    db.user("nobody").await;
    for (name, is_active) in [("boss", true), ("retired", false)] {
        let id = db.user(name).await.id;
        let changes =
            UserChanges { is_admin: Some(true), is_active: Some(is_active), ..UserChanges::default() };
        db.write(move |tx| users::update(tx, id, changes)).await;
    }
    assert_eq!(db.write(users::lock_admins).await, 1);
}

#[tokio::test]
async fn pages_go_newest_first_with_the_number_of_portfolios() {
    let db = Db::new().await;
    let mut ids = Vec::new();
    for name in ["ann", "bob", "cid", "dan", "eve"] {
        ids.push(db.user(name).await.id);
    }
    for (owner, name) in [(ids[1], "one"), (ids[1], "two"), (ids[4], "three")] {
        db.write(move |tx| persistence::portfolios::insert(tx, new_portfolio(owner, name, "0"))).await;
    }
    let mut seen = Vec::new();
    let mut before = None;
    loop {
        let page = db.read(move |tx| users::page(tx, "", before, 2)).await;
        let Some((last, _)) = page.last() else { break };
        before = Some(last.id);
        seen.extend(page.into_iter().map(|(user, portfolios)| (user.username, portfolios)));
    }
    let names = seen.iter().map(|(name, count)| (name.as_str(), *count)).collect::<Vec<_>>();
    assert_eq!(names, [("eve", 1), ("dan", 0), ("cid", 0), ("bob", 2), ("ann", 0)]);
}

#[tokio::test]
async fn a_search_takes_wildcards_literally_and_ignores_case() {
    let db = Db::new().await;
    for (name, email) in
        [("per%cent", "a@example.com"), ("under_score", "b@example.com"), (r"back\slash", "Cee@example.com")]
    {
        db.write(move |tx| users::insert(tx, new_user(name, email))).await;
    }
    let found = |search: &'static str| db.read(move |tx| users::page(tx, search, None, 10));
    for (search, name) in
        [("%", "per%cent"), ("_", "under_score"), ("\\", r"back\slash"), ("CEE@", r"back\slash")]
    {
        let names: Vec<String> = found(search).await.into_iter().map(|(user, _)| user.username).collect();
        assert_eq!(names, [name], "{search}");
    }
    assert!(found("r%c_nt").await.is_empty());
    assert_eq!(found("example.com").await.len(), 3);
}
