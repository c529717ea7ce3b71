//! Users and their rights.

use actix_web::web::{Data, Path, Query};
use domain::UserId;
use serde::{Deserialize, Serialize};
use services::accounts::admin::AccountRow;
use services::accounts::register::Account;

use super::{ListQuery, PAGE, Tab, show, tabs};
use crate::AppState;
use crate::http::extract::{Admin, AdminForm};
use crate::shell::form::FormView;
use crate::shell::format;
use crate::shell::format::Moment;
use crate::shell::links::Choice;
use crate::shell::render::{PageResult, Shell};

#[derive(Serialize)]
pub(super) struct UserRow {
    pub(super) id: UserId,
    pub(super) username: String,
    email: String,
    pub(super) name: String,
    joined: Moment,
    pub(super) portfolios: String,
    active: bool,
    admin: bool,
}

impl UserRow {
    pub(super) fn new(account: Account, portfolios: String) -> Self {
        Self {
            id: account.id,
            name: format!("{} {}", account.first_name, account.last_name).trim().to_owned(),
            username: account.username,
            email: account.email,
            joined: format::day(account.date_joined),
            portfolios,
            active: account.is_active,
            admin: account.is_admin,
        }
    }
}

impl From<AccountRow> for UserRow {
    fn from(row: AccountRow) -> Self {
        Self::new(row.account, format::count(row.portfolios))
    }
}

pub async fn users(
    shell: Shell,
    Admin(admin): Admin,
    asked: Query<ListQuery>,
    state: Data<AppState>,
) -> PageResult {
    let before = asked.cursor()?.map(UserId);
    let page = state.services.accounts().all_users(&admin, &asked.search, before, PAGE).await?;
    let rows: Vec<UserRow> = page.items.into_iter().map(UserRow::from).collect();
    let next = page.next.map(|id| id.to_string());
    let view = asked.into_inner().view(Tab::Users, "/admin/users", rows, next);
    show(shell, "admin/users.html", "users", &view)
}

#[derive(Serialize)]
struct UserView {
    tabs: Vec<Choice>,
    user: UserRow,
    form: FormView,
    delete_hint: String,
}

impl UserView {
    pub(super) fn new(account: Account, shell: &Shell) -> Self {
        Self {
            tabs: tabs(Tab::Users),
            form: shell.form(FormView::new("remove")),
            delete_hint: format!(
                "Enter {} to confirm. This permanently deletes all portfolios of the account with their history.",
                account.username
            ),
            user: UserRow::new(account, String::new()),
        }
    }
}

pub async fn user(shell: Shell, Admin(admin): Admin, id: Path<UserId>, state: Data<AppState>) -> PageResult {
    let view = UserView::new(state.services.accounts().any_user(&admin, *id).await?, &shell);
    show(shell, "admin/user.html", &view.user.username, &view)
}

#[derive(Deserialize)]
pub struct Flags {
    is_active: Option<bool>,
    is_admin: Option<bool>,
}

pub async fn update_user(
    shell: Shell,
    Admin(admin): Admin,
    id: Path<UserId>,
    state: Data<AppState>,
    AdminForm(posted): AdminForm<Flags>,
) -> PageResult {
    let back = format!("/admin/users/{id}");
    match state.services.accounts().set_user_flags(&admin, *id, posted.is_active, posted.is_admin).await {
        Ok(account) => {
            let name = &account.username;
            let text = match (posted.is_active, posted.is_admin) {
                (Some(true), _) => format!("The account of {name} is open."),
                (Some(false), _) => format!("The account of {name} is closed."),
                (None, Some(true)) => format!("{name} is now an administrator."),
                (None, Some(false)) => format!("{name} is no longer an administrator."),
                (None, None) => "Nothing was changed.".to_owned(),
            };
            Ok(shell.redirect_with_success(back, text).await)
        }
        Err(error @ services::Error::LastAdmin) => {
            Ok(shell.redirect_with_error(back, format::sentence(&error.to_string())).await)
        }
        Err(error) => Err(error.into()),
    }
}

#[derive(Deserialize)]
pub struct Confirmation {
    #[serde(default)]
    confirm: String,
}

pub async fn delete_user(
    shell: Shell,
    Admin(admin): Admin,
    id: Path<UserId>,
    state: Data<AppState>,
    AdminForm(posted): AdminForm<Confirmation>,
) -> PageResult {
    let account = state.services.accounts().any_user(&admin, *id).await?;
    if posted.confirm.trim() != account.username {
        let text = format!("enter {} exactly as shown", account.username);
        let form = FormView::new("remove").with("confirm", posted.confirm).refused_at("confirm", text);
        return shell.refuse(format!("/admin/users/{id}#delete"), form).await;
    }
    match state.services.accounts().remove_user(&admin, *id).await {
        Ok(()) => {
            Ok(shell.redirect_with_success("/admin/users", format!("{} is deleted.", account.username)).await)
        }
        Err(error @ services::Error::LastAdmin) => {
            let back = format!("/admin/users/{id}");
            Ok(shell.redirect_with_error(back, format::sentence(&error.to_string())).await)
        }
        Err(error) => Err(error.into()),
    }
}
