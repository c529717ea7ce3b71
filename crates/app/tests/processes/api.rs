//! The API from outside. The same suite runs against one process on SQLite, against several processes on PostgreSQL and
//! Redis, and against the deployment at `STOCKYARD_URL`.

mod accounts;
mod books;
mod http;
mod ownership;
mod trading;

use std::time::{Duration, Instant};

use crate::installation::setting;
use crate::process::eventually;
use crate::stack::Stack;

/// Runs the whole suite on one stack.
async fn suite(stack: &Stack) {
    macro_rules! run {
        ($($subject:ident::$name:ident),+ $(,)?) => {$(
            let start = Instant::now();
            eprintln!("{}: {}", stringify!($subject), stringify!($name).replace('_', " "));
            $subject::$name(stack).await;
            eprintln!("    {} ms", start.elapsed().as_millis());
        )+};
    }
    run![
        trading::the_main_workflow_of_a_trader,
        trading::prices_move,
        trading::refused_orders_change_nothing,
        trading::a_repeated_order_is_placed_once,
        trading::cash_is_deposited_and_withdrawn,
        trading::watchlists_show_prices,
        trading::portfolios_are_renamed_and_deleted,
        books::the_journal_is_filtered_paged_and_exported,
        books::lists_come_in_pages,
        books::histories_have_daily_bars,
        accounts::registration_refuses_invalid_fields,
        accounts::a_browser_logs_in_and_out,
        accounts::other_sites_cannot_use_a_browsers_login,
        accounts::tokens_are_shown_once_and_revoked,
        accounts::a_read_token_only_reads,
        accounts::a_new_password_ends_other_logins_and_tokens,
        accounts::a_deleted_account_is_gone,
        ownership::objects_of_other_users_are_not_found,
        ownership::requests_without_credentials_are_refused,
        ownership::admin_addresses_are_not_found_for_other_users,
        http::errors_are_problem_documents,
        http::unknown_fields_are_refused,
        http::amounts_are_plain_decimals,
        http::only_listed_origins_have_access,
        http::every_answer_has_security_headers,
        http::the_api_describes_itself,
    ];
}

#[tokio::test]
async fn embedded_on_sqlite() {
    let stack = Stack::embedded().await;
    suite(&stack).await;
    stack.ends_well().await;
}

#[tokio::test]
async fn two_web_processes_and_a_worker_on_postgres_and_redis() {
    let stack = Stack::full().await;
    suite(&stack).await;
    let mut books = stack.installation().books();
    eventually("the worker has done a job", Duration::from_secs(30), async || {
        (books.count("job_runs WHERE status = 'done' AND worker IS NOT NULL") > 0).then_some(())
    })
    .await;
    assert!(!stack.installation().folder().join("data").exists(), "full mode writes no files");
    stack.ends_well().await;
}

/// Runs against `STOCKYARD_URL` if it is set, as by `scripts/compose-as-processes`.
#[tokio::test]
async fn against_url() {
    let own = match setting("STOCKYARD_URL") {
        Some(_) => None,
        None => Some(Stack::embedded().await),
    };
    let url = setting("STOCKYARD_URL").or_else(|| Some(own.as_ref()?.urls[0].clone())).unwrap();
    let mut stack = Stack::at(&url);
    if let Some(own) = &own {
        stack.allowed_origin.clone_from(&own.allowed_origin);
    }
    suite(&stack).await;
}
