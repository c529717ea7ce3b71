//! The commands other than `serve` and `worker`.

use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{Client, PASSWORD, Trader, amount, items};
use crate::installation::{Finished, Installation, Server};
use crate::process::eventually;

fn client_of(server: &Server) -> Client {
    Client::new(std::slice::from_ref(&server.url))
}

/// The same account at a restarted server.
fn again_at(server: &Server, sam: &Trader) -> Trader {
    Trader { client: client_of(server).with_token(&sam.token), ..sam.clone() }
}

async fn create_user(installation: &Installation, name: &str, password: &str, admin: bool) -> Finished {
    let email = format!("{name}@example.org");
    let mut arguments = vec!["user", "create", "--username", name, "--email", &email];
    if admin {
        arguments.push("--admin");
    }
    installation.run_with_input(&arguments, password).await
}

/// Logs in and returns a client with a token.
async fn log_in(server: &Server, name: &str) -> Client {
    let client = client_of(server);
    let body = json!({"name": "test", "username": name, "password": PASSWORD});
    let made = client.post("/api/v1/auth/tokens", &body).await.expect(201);
    client.with_token(made["token"].as_str().unwrap())
}

#[tokio::test]
async fn help_names_every_command() {
    let installation = Installation::embedded();
    let help = installation.run(&["--help"]).await;
    for command in [
        "serve",
        "worker",
        "migrate",
        "snapshot",
        "verify",
        "user",
        "providers",
        "backup",
        "restore",
        "demo",
        "openapi",
        "healthcheck",
    ] {
        assert!(help.succeeded().contains(&format!("\n  {command}")), "{}", help.stdout);
    }
    let version = installation.run(&["--version"]).await;
    assert!(version.succeeded().starts_with("stockyard "), "{}", version.stdout);
    for wrong in [
        &[][..],
        &["sell-everything"],
        &["snapshot", "--date", "2026-13-01"],
        &["backup"],
        &["restore"],
        &["user"],
    ] {
        let finished = installation.run(wrong).await;
        assert_eq!(finished.code, Some(2), "{finished:?}");
        assert!(finished.stderr.contains("--help"), "{finished:?}");
    }
    let files = std::fs::read_dir(installation.folder()).unwrap().count();
    assert_eq!(files, 0, "nothing was written");
}

#[tokio::test]
async fn migrate_needs_only_the_database_and_may_be_repeated() {
    let postgres = Installation::on_postgres().without("SECRET_KEY");
    for (installation, arguments, made) in [
        (postgres, &["migrate"][..], "Migrated "),
        (Installation::embedded(), &["migrate", "--create"], "Stockyard has created a new, empty database"),
    ] {
        let first = installation.run(arguments).await;
        assert!(first.succeeded().starts_with(made), "{}", first.stdout);
        let second = installation.run(&["migrate"]).await;
        assert!(second.succeeded().contains("up to date"), "{}", second.stdout);
    }
    // Several at once, as in a rolling deployment.
    let postgres = Installation::on_postgres();
    let (a, b) = tokio::join!(postgres.run(&["migrate"]), postgres.run(&["migrate"]));
    let told = format!("{}{}", a.succeeded(), b.succeeded());
    assert!(told.contains("Migrated ") && told.contains("up to date"), "{told}");
}

#[tokio::test]
async fn openapi_prints_the_description_that_the_server_returns() {
    let installation = Installation::embedded();
    let printed = installation.run(&["openapi"]).await;
    let printed: Value = serde_json::from_str(printed.succeeded()).unwrap();
    let server = installation.serve().await;
    assert_eq!(client_of(&server).get("/api/v1/openapi.json").await.expect(200), printed);
}

#[tokio::test]
async fn json_logs_are_machine_readable() {
    let installation = Installation::embedded().with("LOG_FORMAT", "json");
    let mut server = installation.serve().await;
    let answer = client_of(&server).get("/api/v1/portfolios?limit=7").await;
    answer.problem(401, "unauthorized");
    server.process.ends_well().await;
    let log = server.process.log();
    let (told, lines): (Vec<&str>, Vec<&str>) = log.lines().partition(|line| line.starts_with("Stockyard"));
    let file = installation.folder().canonicalize().unwrap().join("data/stockyard.db");
    let made = format!("Stockyard has created a new, empty database: {}", file.display());
    assert_eq!(told, [made, format!("Stockyard is at {}/", server.url)]);
    let events: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).expect(line)).collect();
    let id = answer.header("x-request-id").unwrap();
    let of_request = |event: &&Value| event.to_string().contains(id);
    let event = events.iter().find(of_request).expect("a line with the request's id");
    for part in ["/api/v1/portfolios", "401", "GET"] {
        assert!(event.to_string().contains(part), "{event}");
    }
    assert!(events.iter().all(|event| event["timestamp"].is_string() && event["level"].is_string()), "{log}");
}

#[tokio::test]
async fn healthcheck_requests_the_configured_server() {
    let installation = Installation::embedded();
    let mut server = installation.serve().await;
    let installation = installation.with("PORT", &server.port.to_string());
    assert_eq!(installation.run(&["healthcheck"]).await.succeeded(), "ready\n");
    let on_all = installation.with("HOST", "0.0.0.0");
    assert_eq!(on_all.run(&["healthcheck"]).await.succeeded(), "ready\n");
    server.process.kill();
    assert!(on_all.run(&["healthcheck"]).await.failed().contains("no server answers"));
}

#[tokio::test]
async fn an_administrator_created_by_command_can_read_everything() {
    let installation = Installation::embedded();
    let server = installation.serve().await;
    // The command works while the server runs.
    let made = create_user(&installation, "root", &format!("{PASSWORD}\n"), true).await;
    assert!(made.succeeded().contains("root, an administrator"), "{}", made.stdout);
    create_user(&installation, "mara", PASSWORD, false).await.succeeded();
    let taken = create_user(&installation, "Root", PASSWORD, false).await;
    assert!(taken.failed().contains("username"), "{taken:?}");
    let short = create_user(&installation, "short", "short", false).await;
    assert!(short.failed().contains("password"), "{short:?}");
    assert!(create_user(&installation, "none", "", false).await.failed().contains("password"));

    let mara = log_in(&server, "mara").await;
    let keyboard = client_of(&server);
    keyboard.log_in("root", PASSWORD).await.expect(200);
    let body = json!({"name": "cron", "scope": "admin", "current_password": PASSWORD});
    let made = keyboard.post("/api/v1/auth/tokens", &body).await.expect(201);
    let root = client_of(&server).with_token(made["token"].as_str().unwrap());
    mara.post("/api/v1/portfolios", &json!({"name": "Growth"})).await.expect(201);
    mara.get("/api/v1/admin/users").await.problem(404, "not_found");

    let users = root.get("/api/v1/admin/users?limit=1").await.expect(200);
    assert_eq!((&items(&users)[0]["username"], &items(&users)[0]["portfolios"]), (&json!("mara"), &json!(1)));
    let rest = format!("/api/v1/admin/users?cursor={}", users["next_cursor"].as_str().unwrap());
    assert_eq!(items(&root.get(&rest).await.expect(200))[0]["is_admin"], true);
    let stocks = root.get("/api/v1/admin/stocks?search=apple").await.expect(200);
    assert_eq!(items(&stocks)[0]["symbol"], "AAPL");

    // A trading token has no administrator rights, even if it belongs to an administrator.
    let job = json!({"kind": "snapshot_portfolios"});
    let trading = log_in(&server, "root").await;
    trading.post("/api/v1/admin/jobs", &job).await.problem(403, "admin_token_required");
    root.post("/api/v1/admin/jobs", &json!({"kind": "make_tea"})).await.problem(422, "invalid_fields");
    root.post("/api/v1/admin/jobs", &job).await.expect(202);
    eventually("the job is done", Duration::from_secs(30), async || {
        let runs = root.get("/api/v1/admin/jobs").await.expect(200);
        let run = items(&runs).iter().find(|run| run["kind"] == "provisional_snapshots")?.clone();
        assert_ne!(run["status"], "failed", "{run}");
        (run["status"] == "done").then_some(())
    })
    .await;
    let portfolios = mara.get("/api/v1/portfolios").await.expect(200);
    let path = format!("/api/v1/portfolios/{}/snapshots", items(&portfolios)[0]["id"]);
    let snapshots = mara.get(&path).await.expect(200);
    assert_eq!((items(&snapshots).len(), &items(&snapshots)[0]["provisional"]), (1, &json!(true)));

    // A closed account has no access any more, and the last administrator cannot be removed.
    let id = items(&users)[0]["id"].as_i64().unwrap();
    let path = format!("/api/v1/admin/users/{id}");
    keyboard.patch(&path, &json!({"is_active": false})).await.expect(200);
    mara.get("/api/v1/users/me").await.problem(401, "unauthorized");
    client_of(&server).log_in("mara", PASSWORD).await.problem(401, "bad_credentials");
    let me = root.get("/api/v1/users/me").await.expect(200)["id"].as_i64().unwrap();
    let own = format!("/api/v1/admin/users/{me}");
    keyboard.patch(&own, &json!({"is_admin": false})).await.problem(409, "last_admin");
    keyboard.delete(&own).await.problem(409, "last_admin");
    keyboard.delete(&path).await.expect(204);
    root.get(&path).await.problem(404, "not_found");
}

#[tokio::test]
async fn snapshots_are_taken_by_command() {
    let start = ("CLOCK_START", "2026-03-02T15:00:00Z");
    let postgres = Installation::on_postgres().with(start.0, start.1);
    postgres.migrate().await;
    for installation in [Installation::embedded().with(start.0, start.1), postgres] {
        snapshots_of(installation).await;
    }
}

async fn snapshots_of(installation: Installation) {
    let mut server = installation.serve().await;
    let sam = client_of(&server).register().await;
    let id = sam.open_portfolio("10000.00").await;
    sam.buy(id, "AAPL", "10").await;

    let told = installation.run(&["snapshot"]).await;
    assert_eq!(told.succeeded(), "1 snapshots of 2026-03-02, provisional.\n");
    // Standard error is no terminal here: plain lines instead of a bar.
    let lines: Vec<&str> = told.stderr.lines().filter(|line| line.contains("portfolios")).collect();
    assert_eq!(lines.len(), 1, "{told:?}");
    assert!(lines[0].starts_with("1 of 1 portfolios, ") && lines[0].ends_with(" per second"), "{told:?}");
    let snapshots = sam.portfolio(id, "/snapshots").await;
    let row = &items(&snapshots)[0];
    assert_eq!(
        (items(&snapshots).len(), &row["date"], &row["provisional"]),
        (1, &json!("2026-03-02"), &json!(true))
    );
    assert_eq!(amount(&row["total_value"]), amount(&row["cash_balance"]) + amount(&row["positions_value"]));
    let ahead = installation.run(&["snapshot", "--date", "2026-03-03"]).await;
    assert!(ahead.failed().contains("--date"), "{ahead:?}");

    // Two days later by the market's clock. Commands use the clock that the server has set.
    server.process.ends_well().await;
    let installation = installation.with("CLOCK_START", "2026-03-04T15:00:00Z");
    let server = installation.serve().await;
    for _ in 0..2 {
        let told = installation.run(&["snapshot", "--date", "2026-03-02"]).await;
        assert_eq!(told.succeeded(), "1 snapshots of 2026-03-02, final.\n");
    }
    installation.verify().await;
    let sam = again_at(&server, &sam);
    let closed = sam.portfolio(id, "/snapshots?to=2026-03-02").await;
    let row = &items(&closed)[0];
    assert_eq!((items(&closed).len(), &row["provisional"]), (1, &json!(false)));
    assert_eq!((&row["net_flow"], &row["date"]), (&json!("10000.00"), &json!("2026-03-02")));
    // The value at the closing price, to the cent.
    let bars = sam.client.get("/api/v1/stocks/AAPL/history?range=1W").await.expect(200);
    let close = items(&bars).iter().find(|bar| bar["date"] == "2026-03-02").expect("the session's bar");
    assert_eq!(amount(&row["positions_value"]), amount(&close["close"]) * 10);
}

#[tokio::test]
async fn verify_finds_differences_from_the_journal() {
    let postgres = Installation::on_postgres();
    postgres.migrate().await;
    for installation in [Installation::embedded(), postgres] {
        let server = installation.serve().await;
        let sam = client_of(&server).register().await;
        let (good, bad) = (sam.open_portfolio("1000.00").await, sam.open_portfolio("1000.00").await);
        sam.buy(bad, "AAPL", "1").await;
        let verified = installation.run(&["verify"]).await;
        assert!(verified.succeeded().starts_with("2 portfolios, 3 journal entries"), "{verified:?}");

        for (tampering, told) in [
            (format!("UPDATE portfolios SET cash_balance = '999.99' WHERE id = {good}"), good),
            (format!("UPDATE positions SET quantity = '2' WHERE portfolio_id = {bad}"), bad),
        ] {
            installation.books().execute(&tampering);
            let verified = installation.run(&["verify"]).await;
            assert_eq!(verified.code, Some(1), "{verified:?}");
            assert!(verified.stdout.contains(&format!("portfolio {told}: ")), "{verified:?}");
            assert!(verified.stdout.contains("difference"), "{verified:?}");
        }
    }
}

#[tokio::test]
async fn an_administrator_resolves_a_split_by_a_command() {
    let postgres = Installation::on_postgres();
    postgres.migrate().await;
    for installation in [Installation::embedded(), postgres] {
        drop(installation.serve().await);
        let resolve = async |rest: &[&str]| {
            let command = ["stock", "resolve-split", "--symbol", "AAPL", "--reason", "There was none."];
            installation.run(&[&command, rest].concat()).await
        };
        assert!(resolve(&["--resolution", "undo"]).await.failed().contains("--resolution: must be confirm"));
        assert!(resolve(&["--resolution", "correct"]).await.failed().contains("--ratio: enter new and old"));
        assert!(resolve(&["--resolution", "withdraw"]).await.failed().contains("no split of AAPL"));
        installation.books().execute(
            "INSERT INTO corporate_actions (stock_id, action_key, kind, symbol, ex_on, effective_at, split_ratio, known_at, \
             confirmation) SELECT id, 'AAPL/2026-03-02/split', 'split', 'AAPL', '2026-03-02', \
             '2020-01-01T00:00:00.000000Z', '20:1', '2020-01-01T00:00:00.000000Z', 'suspended' FROM stocks \
             WHERE symbol = 'AAPL'",
        );
        let resolved = resolve(&["--resolution", "withdraw"]).await;
        assert!(resolved.succeeded().contains("The split of AAPL is resolved"), "{resolved:?}");
        assert!(resolve(&["--resolution", "withdraw"]).await.failed().contains("no split of AAPL"));
    }
}

#[tokio::test]
async fn an_administrator_decides_on_a_delisting_by_a_command() {
    let postgres = Installation::on_postgres();
    postgres.migrate().await;
    for installation in [Installation::embedded(), postgres] {
        drop(installation.serve().await);
        let resolve = async |symbol: &str, rest: &[&str]| {
            let command = ["stock", "resolve-delisting", "--symbol", symbol, "--reason", "Merged."];
            installation.run(&[&command, rest].concat()).await
        };
        assert!(
            resolve("AAPL", &["--resolution", "undo"])
                .await
                .failed()
                .contains("--resolution: must be confirm")
        );
        let bad_day = resolve("AAPL", &["--resolution", "confirm", "--on", "soon"]).await;
        assert!(bad_day.failed().contains("--on: enter a day"), "{bad_day:?}");
        let simulated = resolve("AAPL", &["--resolution", "confirm"]).await;
        assert!(simulated.failed().contains("the simulated market delists"), "{simulated:?}");
        installation.books().execute(
            "INSERT INTO delisting_evidence (stock_id, kind, seen_on, seen_at, source) SELECT stocks.id, 'not_found', \
             '2020-01-02', '2020-01-02T15:00:00.000000Z', installation.value FROM stocks, installation \
             WHERE symbol = 'AAPL' AND installation.key = 'price_source'",
        );
        let refused = resolve("AAPL", &["--resolution", "refuse"]).await;
        assert!(refused.succeeded().contains("AAPL is marked as listed."), "{refused:?}");
        let nothing = resolve("MSFT", &["--resolution", "refuse"]).await;
        assert!(nothing.failed().contains("there is no evidence that MSFT is delisted"), "{nothing:?}");
    }
}

#[tokio::test]
async fn an_administrator_closes_a_stock_out_by_a_command() {
    let postgres = Installation::on_postgres();
    postgres.migrate().await;
    for installation in [Installation::embedded(), postgres] {
        let server = installation.serve().await;
        let sam = client_of(&server).register().await;
        let id = sam.open_portfolio("1000.00").await;
        sam.buy(id, "AAPL", "1").await;
        drop(server);
        let close_out = async |rest: &[&str]| {
            let command = ["stock", "close-out", "--symbol", "AAPL", "--reason", "Merged."];
            installation.run(&[&command, rest].concat()).await
        };
        assert!(
            close_out(&["--kind", "gift"])
                .await
                .failed()
                .contains("kind: must be cash, write_off or exchange")
        );
        assert!(close_out(&["--kind", "cash", "--cash", "0"]).await.failed().contains("cash:"));
        let traded = close_out(&["--kind", "write_off"]).await;
        assert!(traded.failed().contains("AAPL is traded: confirm its delisting first"), "{traded:?}");
        installation.books().execute("UPDATE stocks SET delisted_on = '2020-01-02' WHERE symbol = 'AAPL'");
        let previewed = close_out(&["--kind", "cash", "--cash", "54.20"]).await.succeeded().to_owned();
        assert!(previewed.contains("Portfolios: 1. Given: 1 shares of AAPL"), "{previewed}");
        assert!(
            previewed.contains("Received: 54.20 in cash.") && previewed.contains("nothing was changed."),
            "{previewed}"
        );
        let done = close_out(&["--kind", "cash", "--cash", "54.20", "--yes"]).await;
        assert!(done.succeeded().contains("AAPL is closed out."), "{done:?}");
        assert!(close_out(&["--kind", "write_off", "--yes"]).await.failed().contains("already closed out"));
        installation.verify().await;
    }
}

#[tokio::test]
async fn a_rename_by_a_command_is_refused_in_the_simulated_market() {
    let installation = Installation::embedded();
    drop(installation.serve().await);
    let command = ["stock", "rename", "--symbol", "AAPL", "--to", "APPL", "--reason", "It is called so."];
    let refused = installation.run(&command).await;
    assert!(refused.failed().contains("the simulated market renames its stocks itself"), "{refused:?}");
    let soon = installation.run(&[&command[..], &["--on", "soon"]].concat()).await;
    // An invalid day is an error of the command line, which has the status 2.
    assert!(soon.code == Some(2) && soon.stderr.contains("--on"), "{soon:?}");
}

#[tokio::test]
async fn a_backup_of_a_running_server_can_be_served() {
    let installation = Installation::embedded();
    let server = installation.serve().await;
    let sam = client_of(&server).register().await;
    let id = sam.open_portfolio("1000.00").await;
    sam.buy(id, "AAPL", "1").await;
    let copy = installation.folder().join("copy.db");
    let copy = copy.to_str().unwrap();
    assert!(installation.run(&["backup", copy]).await.succeeded().contains(copy));
    let before = sam.portfolio(id, "/transactions").await;
    // A backup does not contain later orders, and is not overwritten.
    sam.buy(id, "AAPL", "1").await;
    assert!(installation.run(&["backup", copy]).await.failed().contains("exists already"));
    let nowhere = installation.run(&["backup", "no/such/folder/copy.db"]).await;
    assert!(nowhere.failed().contains("could not be written"), "{nowhere:?}");

    let restored = Installation::embedded().with("DATABASE_URL", &format!("sqlite://{copy}"));
    restored.verify().await;
    let server = restored.serve().await;
    assert_eq!(again_at(&server, &sam).portfolio(id, "/transactions").await, before);

    let postgres = Installation::on_postgres();
    assert!(postgres.run(&["backup", "copy.db"]).await.failed().contains("pg_dump"));
}

/// After the server stops, the file alone may be copied or moved.
#[tokio::test]
async fn after_the_server_stops_the_database_is_a_single_file() {
    let installation = Installation::embedded();
    let mut server = installation.serve().await;
    let sam = client_of(&server).register().await;
    let id = sam.open_portfolio("1000.00").await;
    sam.buy(id, "AAPL", "1").await;
    let before = sam.portfolio(id, "/transactions").await;
    server.process.ends_well().await;
    let copy = installation.folder().join("moved.db");
    std::fs::copy(installation.folder().join("data/stockyard.db"), &copy).unwrap();

    let moved = Installation::embedded().with("DATABASE_URL", &format!("sqlite://{}", copy.display()));
    moved.verify().await;
    let server = moved.serve().await;
    assert_eq!(again_at(&server, &sam).portfolio(id, "/transactions").await, before);
}

async fn market_time(sam: &Trader, id: i64) -> chrono::DateTime<chrono::Utc> {
    sam.portfolio(id, "/valuation").await["valued_at"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn the_clock_continues_after_a_restart_and_is_the_same_in_all_processes() {
    let start: chrono::DateTime<chrono::Utc> = "2031-06-02T14:30:00Z".parse().unwrap();
    let installation =
        Installation::on_postgres().with("CLOCK_START", "2031-06-02T14:30:00Z").with("CLOCK_SPEED", "3600");
    installation.migrate().await;
    let mut server = installation.serve().await;
    let sam = client_of(&server).register().await;
    let id = sam.open_portfolio("1000.00").await;
    let first = market_time(&sam, id).await;
    assert!(first > start, "{first}");
    eventually("an hour passes", Duration::from_secs(20), async || {
        (market_time(&sam, id).await > first + chrono::TimeDelta::hours(1)).then_some(())
    })
    .await;
    let before = market_time(&sam, id).await;
    server.process.ends_well().await;

    let servers = [installation.serve().await, installation.serve().await];
    let [here, there] = servers.each_ref().map(|server| again_at(server, &sam));
    let mut last = before;
    for trader in [&here, &there, &here, &there] {
        let now = market_time(trader, id).await;
        assert!(now > last, "{now} after {last}");
        last = now;
    }
    assert!(last < start + chrono::TimeDelta::days(90), "{last}");
    drop(servers);
    // Market time never goes back: without the settings it continues from the latest entry of the books.
    let installation = installation.without("CLOCK_START").without("CLOCK_SPEED");
    let server = installation.serve().await;
    let now = market_time(&again_at(&server, &sam), id).await;
    assert!(now > last && now < start + chrono::TimeDelta::days(90), "{now} after {last}");
    drop(server);
    let back = installation.with("CLOCK_START", "2031-06-02T14:30:01Z").run(&["serve"]).await;
    assert!(back.failed().contains("CLOCK_START"), "{back:?}");
}

#[tokio::test]
async fn daily_snapshots_are_taken_automatically() {
    // A day takes less than nine seconds, and the first session ends in less than two.
    let installation =
        Installation::embedded().with("CLOCK_START", "2026-03-03T00:00:00Z").with("CLOCK_SPEED", "10000");
    let mut server = installation.serve().await;
    let sam = client_of(&server).register().await;
    let id = sam.open_portfolio("10000.00").await;
    sam.buy(id, "AAPL", "10").await;
    let days = eventually("two final snapshots", Duration::from_secs(60), async || {
        let snapshots = sam.portfolio(id, "/snapshots").await;
        let done = items(&snapshots).iter().filter(|row| row["provisional"] == false);
        let days: Vec<String> = done.map(|row| row["date"].as_str().unwrap().to_owned()).collect();
        (days.len() >= 2).then_some(days)
    })
    .await;
    assert!(days.is_sorted(), "{days:?}");
    let series = sam.portfolio(id, "/performance").await["series"].as_array().unwrap().clone();
    assert!(series.len() >= 3, "{series:?}");
    assert_eq!(series[0]["net_flow"], "10000.00");
    assert!(series[1..].iter().all(|point| point["net_flow"] == "0.00"), "{series:?}");
    // Trading works at that speed.
    let sold = json!({"symbol": "AAPL", "side": "sell", "quantity": "10", "type": "market"});
    sam.order(id, &sold).await.expect(201);
    server.process.ends_well().await;
    installation.verify().await;
}

/// The exit handlers of libraries must not change the exit status.
#[tokio::test]
async fn exit_handlers_of_libraries_do_not_change_the_status() {
    let installation = Installation::embedded();
    let (source, library) = (installation.folder().join("ending.c"), installation.folder().join("ending.so"));
    let ending = "#include <stdlib.h>\n__attribute__((destructor)) static void ending(void) { abort(); }\n";
    std::fs::write(&source, ending).unwrap();
    let mut compiler = std::process::Command::new("cc");
    let compiled = compiler.args(["-shared", "-fPIC", "-o"]).args([&library, &source]).status().unwrap();
    assert!(compiled.success());

    let installation = installation.with("LD_PRELOAD", library.to_str().unwrap());
    let migrated = installation.run(&["migrate", "--create"]).await;
    assert!(migrated.succeeded().contains("up to date"), "{migrated:?}");
    let unknown = installation.run(&["user", "create", "--username", "x y", "--email", "nobody"]).await;
    assert_eq!(unknown.code, Some(1), "{unknown:?}");
    installation.serve().await.process.ends_well().await;
}
