//! Backups under load: a backup that is made while users trade is restored elsewhere, and contains everything.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::client::{Client, Trader};
use crate::installation::{Installation, Server, new_postgres_database};
use crate::process::{Process, eventually};
use crate::readme::tested_block;

const PATIENCE: Duration = Duration::from_secs(60);
const TRADERS: usize = 4;

fn client_of(server: &Server) -> Client {
    Client::new(std::slice::from_ref(&server.url))
}

/// Users who buy without a pause.
struct Trading {
    sam: Trader,
    acknowledged: Arc<Mutex<Vec<(i64, Value)>>>,
    stop: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

impl Trading {
    async fn begin(server: &Server) -> Self {
        let sam = client_of(server).register().await;
        let mut trading =
            Self { sam, acknowledged: Arc::default(), stop: Arc::default(), tasks: JoinSet::new() };
        for _ in 0..TRADERS {
            let portfolio = trading.sam.open_portfolio("1000000.00").await;
            let (sam, acknowledged, stop) =
                (trading.sam.clone(), trading.acknowledged.clone(), trading.stop.clone());
            trading.tasks.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let order = sam.buy(portfolio, "AAPL", "1").await;
                    acknowledged.lock().unwrap().push((portfolio, order["id"].clone()));
                }
            });
        }
        trading.goes_on().await;
        trading
    }

    fn acknowledged(&self) -> Vec<(i64, Value)> {
        self.acknowledged.lock().unwrap().clone()
    }

    /// Waits until more orders have been acknowledged.
    async fn goes_on(&self) {
        let enough = self.acknowledged().len() + 20;
        eventually("orders are acknowledged", PATIENCE, async || {
            (self.acknowledged().len() >= enough).then_some(())
        })
        .await;
    }

    async fn end(mut self) -> Trader {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        self.sam
    }
}

/// Verifies the books, serves them, and checks that each order exists.
async fn all_is_there(restored: &Installation, sam: &Trader, before: &[(i64, Value)]) {
    restored.verify().await;
    let server = restored.serve().await;
    let sam = Trader { client: client_of(&server).with_token(&sam.token), ..sam.clone() };
    for (portfolio, order) in before {
        let found = sam.portfolio(*portfolio, &format!("/orders/{}", order.as_str().unwrap())).await;
        assert_eq!(found["status"], json!("filled"), "{found}");
    }
    // Trading continues.
    sam.buy(before[0].0, "AAPL", "1").await;
    drop(server);
    restored.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sqlite_backup_made_under_load_is_restored_elsewhere() {
    let installation = Installation::embedded();
    let server = installation.serve().await;
    let trading = Trading::begin(&server).await;
    let before = trading.acknowledged();
    let file = installation.folder().join("backup.db");
    installation.run(&["backup", "backup.db"]).await.succeeded();
    trading.goes_on().await;
    let recorded =
        installation.books().count("installation WHERE key = 'last_backup_at' AND value LIKE '20%Z'");
    assert_eq!(recorded, 1, "the time of the backup is recorded");
    let sam = trading.end().await;

    let elsewhere = Installation::embedded();
    let restored = elsewhere.run(&["restore", file.to_str().unwrap()]).await;
    let path = elsewhere.folder().canonicalize().unwrap().join("data/stockyard.db");
    assert!(restored.succeeded().contains(path.to_str().unwrap()), "{restored:?}");
    all_is_there(&elsewhere, &sam, &before).await;

    // The backup is unchanged and can be restored again; the database in place is renamed and stays complete.
    let again = elsewhere.run(&["restore", file.to_str().unwrap()]).await;
    assert!(again.failed().contains("--replace"), "{again:?}");
    let again = elsewhere.run(&["restore", "--replace", file.to_str().unwrap()]).await;
    let kept = again.succeeded().lines().find_map(|line| line.split(" is now ").nth(1)).unwrap();
    let kept = kept.trim_end_matches('.').to_owned();
    all_is_there(&elsewhere, &sam, &before).await;
    let kept = Installation::embedded().with("DATABASE_URL", &format!("sqlite://{kept}"));
    all_is_there(&kept, &sam, &before).await;
    drop(server);
}

/// Runs a command exactly as the documentation page shows it.
async fn run_documented(block: &str, database: &str, folder: &Path) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/deployment.md");
    let page = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let script = tested_block(&page, block);
    let mut command = Command::new("bash");
    command.args(["-euo", "pipefail", "-c", &script]).current_dir(folder).env("DATABASE_URL", database);
    let mut shell = Process::start("documented", folder, command);
    let status = eventually("the documented commands end", PATIENCE, async || shell.has_ended()).await;
    assert!(status.success(), "{script}\n{}", shell.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_backup_made_under_load_is_restored_elsewhere() {
    let installation = Installation::on_postgres();
    installation.migrate().await;
    let server = installation.serve().await;
    let trading = Trading::begin(&server).await;
    let before = trading.acknowledged();
    run_documented("back up PostgreSQL", &installation.setting("DATABASE_URL"), installation.folder()).await;
    trading.goes_on().await;
    let sam = trading.end().await;

    let database = new_postgres_database();
    run_documented("restore PostgreSQL", &database, installation.folder()).await;
    let elsewhere = installation.sharing_the_folder().with("DATABASE_URL", &database);
    assert!(elsewhere.run(&["migrate"]).await.succeeded().contains("up to date"));
    all_is_there(&elsewhere, &sam, &before).await;
    drop(server);

    // The SQLite commands name the commands for PostgreSQL.
    for (arguments, program) in [(["backup", "copy.db"], "pg_dump"), (["restore", "copy.db"], "pg_restore")] {
        assert!(installation.run(&arguments).await.failed().contains(program));
    }
}

#[tokio::test]
async fn only_an_intact_backup_of_a_known_version_is_restored() {
    let installation = Installation::embedded();
    installation.serve().await.process.ends_well().await;
    let folder = installation.folder().to_owned();
    let good = folder.join("good.db");
    installation.run(&["backup", "good.db"]).await.succeeded();
    let bytes = std::fs::read(&good).unwrap();

    let mut damaged = bytes.clone();
    let middle = damaged.len() / 8192 * 4096;
    damaged[middle..middle + 4096].fill(0xa5);
    std::fs::write(folder.join("damaged.db"), &damaged).unwrap();
    std::fs::write(folder.join("cut.db"), &bytes[..bytes.len() / 2]).unwrap();
    std::fs::write(folder.join("empty.db"), "").unwrap();
    std::fs::write(folder.join("dump.sql"), "PGDMP").unwrap();
    std::fs::copy(&good, folder.join("newer.db")).unwrap();
    let mut newer = crate::books::Books::sqlite(&folder.join("newer.db"));
    newer.execute("INSERT INTO __diesel_schema_migrations (version) VALUES ('20990101000000')");
    drop(newer);
    let mut other = crate::books::Books::sqlite(&folder.join("other.db"));
    other.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY)");
    drop(other);

    let data = installation.folder().join("data");
    let before = std::fs::read(data.join("stockyard.db")).unwrap();
    for (file, expected) in [
        ("damaged.db", "damaged.db cannot be restored"),
        ("cut.db", "cut.db cannot be restored"),
        ("empty.db", "not a SQLite database"),
        ("dump.sql", "pg_restore"),
        ("newer.db", "newer Stockyard"),
        ("other.db", "tables of another program"),
        ("missing.db", "missing.db cannot be read"),
        ("data", "is not a file"),
        ("data/stockyard.db", "is the database itself"),
    ] {
        let finished = installation.run(&["restore", "--replace", file]).await;
        assert!(finished.failed().contains(expected), "{file}: {expected:?} is not in {finished:?}");
        assert_eq!(std::fs::read(data.join("stockyard.db")).unwrap(), before, "{file}");
        let left: Vec<_> =
            std::fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(left.iter().all(|name| !name.to_string_lossy().starts_with('.')), "{file}: {left:?}");
    }
    // A backup with a log beside it, as from a manual copy, is restored with its log and stays unchanged.
    let server = installation.serve().await;
    let sam = client_of(&server).register().await;
    for suffix in ["", "-wal"] {
        let name = |name: &str| folder.join(format!("{name}{suffix}"));
        std::fs::copy(name("data/stockyard.db"), name("by-hand.db")).unwrap();
    }
    let logged = std::fs::read(folder.join("by-hand.db-wal")).unwrap();
    assert!(!logged.is_empty());
    drop(server);
    installation.run(&["restore", "--replace", "by-hand.db"]).await.succeeded();
    assert_eq!(std::fs::read(folder.join("by-hand.db-wal")).unwrap(), logged);
    assert_eq!(installation.books().count(&format!("users WHERE username = '{}'", sam.username)), 1);
    installation.verify().await;
}

/// A restore has to work if the current database cannot be opened any more.
#[tokio::test]
async fn a_damaged_database_is_replaced_and_kept() {
    let installation = Installation::embedded();
    let mut server = installation.serve().await;
    let sam = client_of(&server).register().await;
    installation.run(&["backup", "good.db"]).await.succeeded();
    server.process.kill();
    let data = installation.folder().join("data");
    // The log of the old database is beside it, and must not be applied to the new one.
    let log = std::fs::read(data.join("stockyard.db-wal")).unwrap();
    assert!(!log.is_empty());
    let file = data.join("stockyard.db");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[100..].fill(0xa5);
    std::fs::write(&file, bytes).unwrap();
    installation.run(&["serve"]).await.failed();
    installation.run(&["restore", "--replace", "good.db"]).await.succeeded();
    installation.verify().await;
    assert_eq!(installation.books().count(&format!("users WHERE username = '{}'", sam.username)), 1);
    let kept: Vec<String> = std::fs::read_dir(&data)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains(".replaced-"))
        .collect();
    assert!(kept.iter().any(|name| name.ends_with('Z')), "{kept:?}");
    // A file that is not a database could be anything, so a mistyped path does not move it away.
    std::fs::write(&file, "notes".repeat(1000)).unwrap();
    let refused = installation.run(&["restore", "--replace", "good.db"]).await;
    assert!(refused.failed().contains("is not a SQLite database"), "{refused:?}");
    std::fs::remove_file(&file).unwrap();
    // The log of a deleted database must not be applied to the restored file.
    std::fs::write(data.join("stockyard.db-wal"), &log).unwrap();
    installation.run(&["restore", "good.db"]).await.succeeded();
    assert!(!data.join("stockyard.db-wal").exists());
    installation.verify().await;
}

#[tokio::test]
async fn a_full_disk_leaves_no_incomplete_copy() {
    let installation = Installation::embedded();
    installation.serve().await.process.ends_well().await;
    installation.run(&["backup", "good.db"]).await.succeeded();
    let elsewhere = Installation::embedded();
    let good = installation.folder().join("good.db");
    assert!(std::fs::metadata(&good).unwrap().len() > 200_000);
    // Files may grow to 100 kB only: writing more fails as on a full disk.
    let full = "ulimit -f 200; trap '' XFSZ";
    let finished = installation.run_after(full, &["backup", "copy.db"]).await;
    assert!(finished.failed().contains("could not be written to copy.db"), "{finished:?}");
    let finished = elsewhere.run_after(full, &["restore", good.to_str().unwrap()]).await;
    assert!(finished.failed().contains("could not be copied"), "{finished:?}");
    for folder in [installation.folder().to_owned(), elsewhere.folder().join("data")] {
        for entry in std::fs::read_dir(folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let is_partial = name == "copy.db" || name == "stockyard.db" || name.starts_with('.');
            assert!(!is_partial, "{name}");
        }
    }
    elsewhere.run(&["restore", good.to_str().unwrap()]).await.succeeded();
    elsewhere.verify().await;
}
