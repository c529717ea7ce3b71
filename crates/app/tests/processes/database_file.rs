//! The SQLite file: created only for a new installation, used by one server, readable only by its owner.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use crate::client::{Client, PASSWORD};
use crate::installation::{Installation, Server, free_port};
use crate::process::eventually;

/// Every command that uses a database and never creates one.
const USERS_OF_A_DATABASE: [&[&str]; 6] = [
    &["migrate"],
    &["snapshot"],
    &["verify"],
    &["user", "create", "--username", "sam", "--email", "sam@example.org"],
    &["backup", "copy.db"],
    &["providers", "check", "--yes"],
];

fn at(url_or_path: &Path) -> String {
    format!("sqlite://{}", url_or_path.display())
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    // The folder also has the output of processes.
    names.retain(|name| !name.ends_with(".log"));
    names.sort();
    names
}

fn mode(file: &Path) -> u32 {
    std::fs::metadata(file).unwrap_or_else(|error| panic!("{}: {error}", file.display())).permissions().mode()
        & 0o777
}

/// Configures a provider, so that `providers check` uses the database to count its calls.
fn with_provider(installation: Installation) -> Installation {
    installation
        .with("ALPHAVANTAGE_API_KEY", "none")
        .with("ALPHAVANTAGE_BASE_URL", &format!("http://127.0.0.1:{}", free_port()))
}

/// Runs `serve` on a free port; it has to refuse.
async fn serve_refuses(installation: &Installation, arguments: &[&str]) -> String {
    let finished = installation.run(&[&["serve"], arguments].concat()).await;
    finished.failed().to_owned()
}

async fn stopped(mut server: Server) {
    server.process.ends_well().await;
}

#[tokio::test]
async fn a_server_creates_a_database_in_a_missing_or_empty_data_folder_and_announces_it() {
    for prepare in [
        |_: &Path| {},
        |data: &Path| std::fs::create_dir(data).unwrap(),
        // The root of a volume.
        |data: &Path| std::fs::create_dir_all(data.join("lost+found")).unwrap(),
        // Files of an interrupted first start.
        |data: &Path| {
            std::fs::create_dir(data).unwrap();
            std::fs::write(data.join("stockyard.db.lock"), "1\n").unwrap();
            std::fs::write(data.join("stockyard.db.new"), "half").unwrap();
        },
    ] {
        let installation = Installation::embedded();
        let data = installation.folder().join("data");
        prepare(&data);
        let server = installation.serve().await;
        let file = data.canonicalize().unwrap().join("stockyard.db");
        let log = server.process.log();
        let path = file.to_str().unwrap();
        assert!(log.contains(&format!("Stockyard has created a new, empty database: {path}")), "{log}");
        assert!(log.contains("WARN") && log.matches(path).count() >= 2, "{log}");
        stopped(server).await;
        assert!(!data.join("stockyard.db.new").exists());

        // Announced only once.
        let server = installation.serve().await;
        let log = server.process.log();
        assert!(!log.contains("new, empty database"), "{log}");
    }
}

#[tokio::test]
async fn no_other_command_creates_a_database() {
    let installation = with_provider(Installation::embedded());
    let expected = installation.folder().canonicalize().unwrap().join("data/stockyard.db");
    let named = with_provider(Installation::embedded());
    let missing = named.folder().canonicalize().unwrap().join("missing.db");
    let named = named.with("DATABASE_URL", &at(&missing));
    for arguments in USERS_OF_A_DATABASE {
        for (installation, setting, path) in
            [(&installation, "DATA_DIR: ", &expected), (&named, "DATABASE_URL: ", &missing)]
        {
            let finished = installation.run_with_input(arguments, PASSWORD).await;
            let message = finished.failed();
            for part in [setting, path.to_str().unwrap(), "there is no database"] {
                assert!(message.contains(part), "{arguments:?}: {part:?} is not in {message}");
            }
            assert!(names_in(installation.folder()).is_empty(), "{:?}", names_in(installation.folder()));
        }
    }
}

#[tokio::test]
async fn a_configured_database_is_created_only_with_the_option() {
    let installation = Installation::embedded();
    let folder = installation.folder().canonicalize().unwrap();
    let installation = installation.with("DATABASE_URL", "sqlite://books.db");
    let message = serve_refuses(&installation, &[]).await;
    for part in ["DATABASE_URL: ", folder.join("books.db").to_str().unwrap(), "--create", "stockyard restore"]
    {
        assert!(message.contains(part), "{part:?} is not in {message}");
    }
    assert!(names_in(&folder).is_empty(), "{:?}", names_in(&folder));

    let server = installation.serve_with(free_port(), &["--create"]).await;
    assert!(server.process.log().contains("has created a new, empty database"), "{}", server.process.log());
    stopped(server).await;
    let server = installation.serve().await;
    stopped(server).await;

    // No folders are created for a mistyped path, even if the database should be created.
    for command in ["serve", "migrate"] {
        let lost = Installation::embedded();
        let message = lost.folder().join("srv/stokyard/stockyard.db");
        let lost = lost.with("DATABASE_URL", &at(&message));
        let finished = lost.run(&[command, "--create"]).await;
        let (message, part) = (finished.failed(), "srv/stokyard does not exist");
        assert!(message.contains("DATABASE_URL: ") && message.contains(part), "{message}");
        assert!(names_in(lost.folder()).is_empty(), "{:?}", names_in(lost.folder()));
    }
}

#[tokio::test]
async fn a_missing_database_is_not_replaced_by_an_empty_one() {
    let installation = Installation::embedded();
    stopped(installation.serve().await).await;
    let data = installation.folder().join("data");
    std::fs::rename(data.join("stockyard.db"), installation.folder().join("elsewhere.db")).unwrap();
    let before = names_in(&data);

    let message = serve_refuses(&installation, &[]).await;
    for part in ["DATA_DIR: ", "secret_key", "stockyard restore", "--create"] {
        assert!(message.contains(part), "{part:?} is not in {message}");
    }
    assert_eq!(names_in(&data), before);

    std::fs::write(data.join("stockyard.db"), "").unwrap();
    let message = serve_refuses(&installation, &[]).await;
    for part in ["DATA_DIR: ", "stockyard.db is empty", "stockyard restore", "--create"] {
        assert!(message.contains(part), "{part:?} is not in {message}");
    }
    for arguments in [&["verify"][..], &["migrate"]] {
        let finished = installation.run(arguments).await;
        assert!(finished.failed().contains("is empty"), "{finished:?}");
    }
    assert_eq!(std::fs::metadata(data.join("stockyard.db")).unwrap().len(), 0);

    let server = installation.serve_with(free_port(), &["--create"]).await;
    stopped(server).await;
}

#[tokio::test]
async fn a_folder_with_other_files_is_not_used_as_data_folder() {
    let installation = Installation::embedded();
    let data = installation.folder().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("notes.txt"), "notes").unwrap();
    let message = serve_refuses(&installation, &[]).await;
    assert!(message.contains("DATA_DIR: ") && message.contains("is not empty"), "{message}");
    assert_eq!(names_in(&data), ["notes.txt"]);
}

#[tokio::test]
async fn a_path_that_is_not_a_database_is_described_in_the_error() {
    let installation = Installation::embedded();
    let folder = installation.folder().canonicalize().unwrap();
    std::fs::write(folder.join("notes.txt"), "This is no database. ".repeat(1000)).unwrap();
    std::fs::create_dir(folder.join("folder")).unwrap();
    symlink("nowhere.db", folder.join("link.db")).unwrap();
    let mut other = diesel_connection(&folder.join("other.db"));
    other.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY)");
    drop(other);
    let mut empty = diesel_connection(&folder.join("no-tables.db"));
    empty.execute("CREATE TABLE gone (id INTEGER); DROP TABLE gone;");
    drop(empty);
    for (path, expected) in [
        ("notes.txt", "is not a SQLite database"),
        ("folder", "is a folder"),
        ("link.db", "symbolic link to nowhere.db"),
        ("notes.txt/stockyard.db", "is not a folder"),
        ("other.db", "tables of another program"),
    ] {
        let installation = Installation::embedded().with("DATABASE_URL", &at(&folder.join(path)));
        for arguments in [&["serve"][..], &["serve", "--create"], &["verify"], &["migrate"]] {
            let finished = installation.run(arguments).await;
            let message = finished.failed();
            assert!(message.contains("DATABASE_URL: "), "{arguments:?}: {message}");
            assert!(message.contains(expected), "{arguments:?}: {expected:?} is not in {message}");
            assert!(message.contains(folder.to_str().unwrap()), "{arguments:?}: {message}");
        }
    }
    assert!(std::fs::read_to_string(folder.join("notes.txt")).unwrap().starts_with("This is no database."));
    let on_device = Installation::embedded().with("DATABASE_URL", "sqlite:///dev/null");
    assert!(serve_refuses(&on_device, &["--create"]).await.contains("not a regular file"));
    // A file without tables, as after an interrupted first start of an earlier version.
    let none = Installation::embedded().with("DATABASE_URL", &at(&folder.join("no-tables.db")));
    assert!(none.run(&["verify"]).await.failed().contains("`stockyard migrate`"));
    for arguments in [&["migrate"][..], &["serve"]] {
        let finished = none.run(arguments).await;
        assert!(finished.failed().contains("is empty"), "{finished:?}");
    }
    none.run(&["migrate", "--create"]).await.succeeded();
}

fn diesel_connection(file: &Path) -> crate::books::Books {
    crate::books::Books::sqlite(file)
}

/// Runs as a user without rights, because root, as which the tests may run, can read every file.
#[tokio::test]
async fn missing_permissions_are_reported() {
    let installation = Installation::embedded();
    stopped(installation.serve().await).await;
    let folder = installation.folder().canonicalize().unwrap();
    let (data, file) = (folder.join("data"), folder.join("data/stockyard.db"));
    let is_root = std::process::Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    let shell = match is_root {
        true => "exec setpriv --reuid=65534 --regid=65534 --clear-groups \"$0\" \"$@\"",
        false => ":",
    };
    let set = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    set(&folder, 0o755);
    // In these cases other users have no access; the cases below also take the owner's rights away.
    for (of_folder, of_file, expected) in [
        (0o555, 0o000, "stockyard.db cannot be read"),
        (0o555, 0o444, "stockyard.db cannot be written"),
        (0o555, 0o666, "data cannot be written"),
        (0o000, 0o666, "stockyard.db cannot be read"),
    ] {
        set(&file, of_file);
        set(&data, of_folder);
        for command in ["serve", "verify"] {
            let finished = installation.run_after(shell, &[command]).await;
            let message = finished.failed();
            assert!(message.contains("DATA_DIR: ") && message.contains(expected), "{command}: {message}");
        }
        set(&data, 0o700);
    }
    set(&file, 0o600);
    installation.verify().await;
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused_by_every_command() {
    let postgres = Installation::full();
    postgres.migrate().await;
    let embedded = Installation::embedded();
    stopped(embedded.serve().await).await;
    for installation in [embedded, postgres] {
        installation
            .books()
            .execute("INSERT INTO __diesel_schema_migrations (version) VALUES ('20990101000000')");
        let installation = with_provider(installation);
        let mut commands = USERS_OF_A_DATABASE.to_vec();
        commands.push(&["serve"]);
        if installation.is_on_postgres() {
            commands.push(&["worker"]);
            commands.retain(|arguments| arguments[0] != "backup");
        }
        for arguments in commands {
            let finished = installation.run_with_input(arguments, PASSWORD).await;
            let message = finished.failed();
            for part in
                ["DATABASE_URL", "newer Stockyard", "20990101000000", "install that version", "backup"]
            {
                assert!(message.contains(part), "{arguments:?}: {part:?} is not in {message}");
            }
            assert!(!finished.stdout.contains("up to date"), "{finished:?}");
        }
        assert!(!installation.folder().join("copy.db").exists());
    }
}

/// Beside a server of an older version, other commands would change the tables that it uses.
#[tokio::test]
async fn only_serve_and_migrate_change_the_tables() {
    let installation = Installation::embedded();
    let server = installation.serve().await;
    // As if this version of the program had one more migration.
    let newest = "(SELECT max(version) FROM __diesel_schema_migrations)";
    installation.books().execute(&format!("DELETE FROM __diesel_schema_migrations WHERE version = {newest}"));
    for arguments in [&["verify"][..], &["snapshot"]] {
        let finished = installation.run(arguments).await;
        assert!(finished.failed().contains("`stockyard migrate`"), "{finished:?}");
    }
    let migrated = installation.run(&["migrate"]).await;
    assert!(migrated.failed().contains("in use by another Stockyard"), "{migrated:?}");
    // A backup before an upgrade must work.
    installation.run(&["backup", "before.db"]).await.succeeded();
    drop(server);
}

#[tokio::test]
async fn two_servers_do_not_share_a_sqlite_file() {
    let installation = Installation::embedded();
    let mut server = installation.serve().await;
    let folder = installation.folder().canonicalize().unwrap();
    let file = folder.join("data/stockyard.db");
    let elsewhere = tempfile::tempdir().unwrap();
    symlink(&file, elsewhere.path().join("link.db")).unwrap();
    symlink(folder.join("data"), elsewhere.path().join("folder")).unwrap();
    for url in [
        at(&file),
        "sqlite://data/stockyard.db".to_owned(),
        "sqlite://data/../data/./stockyard.db".to_owned(),
        at(&elsewhere.path().join("link.db")),
        at(&elsewhere.path().join("folder/stockyard.db")),
    ] {
        let second = installation.sharing_the_folder().with("DATABASE_URL", &url);
        let message = serve_refuses(&second, &[]).await;
        let process = format!("(process {})", server.process.id());
        for part in ["DATABASE_URL: ", "in use by another Stockyard", &process] {
            assert!(message.contains(part), "{url}: {part:?} is not in {message}");
        }
    }
    // Other commands work while a server runs.
    installation.run_with_input(USERS_OF_A_DATABASE[3], PASSWORD).await.succeeded();
    for arguments in [&["verify"][..], &["snapshot"], &["backup", "copy.db"], &["migrate"]] {
        installation.run(arguments).await.succeeded();
    }
    let restored = installation.run(&["restore", "--replace", "copy.db"]).await;
    assert!(restored.failed().contains("in use by another Stockyard"), "{restored:?}");

    // A new server starts, no matter how the previous one ended.
    for signal in ["KILL", "ABRT", "TERM"] {
        server.process.send(signal);
        eventually("the server has ended", Duration::from_secs(20), async || server.process.has_ended())
            .await;
        server = installation.serve().await;
    }
}

#[tokio::test]
async fn files_are_private_whatever_the_umask() {
    for umask in ["umask 000", "umask 022", "umask 0777"] {
        let installation = Installation::embedded();
        let port = free_port();
        let installation = installation.with("PORT", &port.to_string());
        // With umask 777 a new folder would have no rights for its owner, so it is created before.
        let data = installation.folder().join("data");
        std::fs::create_dir(&data).unwrap();
        let mut process = installation.start_after(umask, &["serve"]);
        eventually("the server is ready", Duration::from_secs(30), async || {
            assert!(process.has_ended().is_none(), "{}", process.log());
            crate::installation::is_ready(port).then_some(())
        })
        .await;
        for name in ["stockyard.db", "stockyard.db-wal", "stockyard.db-shm", "secret_key"] {
            assert_eq!(mode(&data.join(name)), 0o600, "{umask}: {name}");
        }
        assert_eq!(mode(&data.join("stockyard.db.lock")) & 0o177, 0, "{umask}");
        let copy = installation.folder().join("copy.db");
        installation.run_after(umask, &["backup", "copy.db"]).await.succeeded();
        assert_eq!(mode(&copy), 0o600, "{umask}");
        process.ends_well().await;
        installation.run_after(umask, &["restore", "--replace", "copy.db"]).await.succeeded();
        assert_eq!(mode(&data.join("stockyard.db")), 0o600, "{umask}");
    }
}

#[tokio::test]
async fn files_of_earlier_versions_are_made_private() {
    let installation = Installation::embedded();
    let mut server = installation.serve().await;
    Client::new(std::slice::from_ref(&server.url)).register().await;
    server.process.kill();
    let data = installation.folder().join("data");
    let files = ["stockyard.db", "stockyard.db-wal", "stockyard.db-shm", "secret_key"];
    for name in files {
        std::fs::set_permissions(data.join(name), PermissionsExt::from_mode(0o644)).unwrap();
    }
    let server = installation.serve().await;
    let log = server.process.log();
    for name in files {
        assert_eq!(mode(&data.join(name)), 0o600, "{name}");
        let told = log.lines().any(|line| line.contains("file made private") && line.contains(name));
        assert!(told, "{name} is not in {log}");
    }
    stopped(server).await;
    let server = installation.serve().await;
    assert!(!server.process.log().contains("file made private"), "{}", server.process.log());
}
