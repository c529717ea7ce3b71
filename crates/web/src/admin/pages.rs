//! The pages for administrators: users, portfolios, stocks, transactions, snapshots, jobs.

mod jobs;
mod lists;
mod overview;
mod providers;
mod users;

use serde::{Deserialize, Serialize};

use crate::http::problem::Problem;
use crate::shell::layout::Nav;
use crate::shell::links::{Choice, Paging, query};
use crate::shell::render::{PageResult, Shell};
pub use jobs::{jobs, run_job};
pub use lists::{portfolios, snapshots, stocks, transactions};
pub use overview::overview;
pub use providers::{confirm_price, providers};
pub use users::{delete_user, update_user, user, users};

const PAGE: usize = 50;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tab {
    Overview,
    Users,
    Portfolios,
    Stocks,
    Transactions,
    Snapshots,
    Jobs,
    Providers,
}

pub(crate) fn tabs(current: Tab) -> Vec<Choice> {
    [
        (Tab::Overview, "Overview", "/admin"),
        (Tab::Users, "Users", "/admin/users"),
        (Tab::Portfolios, "Portfolios", "/admin/portfolios"),
        (Tab::Stocks, "Stocks", "/admin/stocks"),
        (Tab::Transactions, "Transactions", "/admin/transactions"),
        (Tab::Snapshots, "Snapshots", "/admin/snapshots"),
        (Tab::Jobs, "Jobs", "/admin/jobs"),
        (Tab::Providers, "Prices", "/admin/providers"),
    ]
    .into_iter()
    .map(|(tab, label, href)| Choice {
        label: label.to_owned(),
        href: href.to_owned(),
        current: tab == current,
    })
    .collect()
}

/// A section of the administration with its rows.
#[derive(Serialize)]
struct ListView<R> {
    tabs: Vec<Choice>,
    query: String,
    rows: Vec<R>,
    paging: Paging,
}

/// The page of a list, and the search text.
#[derive(Debug, Default, Deserialize)]
pub struct ListQuery {
    #[serde(default)]
    search: String,
    #[serde(default)]
    cursor: String,
}

impl ListQuery {
    fn cursor<T: std::str::FromStr>(&self) -> Result<Option<T>, Problem> {
        match self.cursor.as_str() {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| Problem::not_found()),
        }
    }

    fn view<R>(self, tab: Tab, path: &str, rows: Vec<R>, next: Option<String>) -> ListView<R> {
        let search = self.search.trim().to_owned();
        let page = |cursor: &str| format!("{path}{}", query(&[("search", &search), ("cursor", cursor)]));
        ListView {
            tabs: tabs(tab),
            paging: Paging {
                shown: rows.len(),
                older: next.map(|next| page(&next)),
                newest: (!self.cursor.is_empty()).then(|| page("")),
            },
            query: search,
            rows,
        }
    }
}

fn show(shell: Shell, template: &str, title: &str, view: &impl Serialize) -> PageResult {
    shell.show(template, Nav::Admin, format!("Admin: {title}"), view)
}

#[cfg(test)]
mod tests {
    use super::overview::worker_name;

    #[test]
    fn workers_are_shown_by_host_and_process() {
        assert_eq!(worker_name("vm-1435-01a204d09c73749caab9d9b45fea7f88"), "vm-1435");
        assert_eq!(worker_name("worker-2"), "worker-2");
    }
}
