//! An installation of Stockyard: a folder, settings and a database, with methods that run commands and start processes.

use std::collections::BTreeMap;
use std::io::{Read, Seek, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use tempfile::TempDir;

use crate::books::Books;
use crate::process::{Process, eventually};

/// How long to wait until a process is ready or a command has ended. Much longer than it takes.
const PATIENCE: Duration = Duration::from_secs(30);
/// An origin in `CORS_ALLOWED_ORIGINS`.
pub const ALLOWED_ORIGIN: &str = "https://app.example.com";

/// The address of a service that the test command has started.
///
/// # Panics
/// If it is not set: without the service the test fails instead of being skipped.
pub fn service(variable: &str) -> String {
    setting(variable).unwrap_or_else(|| {
        panic!("{variable} is not set: run this through `make test` or scripts/with-services")
    })
}

/// A variable of the test's own environment.
pub fn setting(variable: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "the test command says here what there is to test with")]
    std::env::var(variable).ok().filter(|value| !value.is_empty())
}

pub struct Installation {
    folder: Arc<TempDir>,
    environment: BTreeMap<String, String>,
    binary: PathBuf,
    /// Options of the shell's `ulimit` with which processes are started.
    ulimit: Option<String>,
    started: AtomicU32,
}

impl Installation {
    /// SQLite in the folder, with the worker inside the server. Only settings that tests need are changed.
    pub fn embedded() -> Self {
        let installation = Self {
            folder: Arc::new(tempfile::tempdir().unwrap()),
            environment: BTreeMap::new(),
            binary: env!("CARGO_BIN_EXE_stockyard").into(),
            ulimit: None,
            started: AtomicU32::new(0),
        };
        installation
            .with("RATE_LIMITS", "off")
            .with("CORS_ALLOWED_ORIGINS", ALLOWED_ORIGIN)
            // The same prices in each run.
            .with("SIMULATION_SEED", "2026")
            // A slow machine must not look like an outage.
            .with("DATABASE_TIMEOUT_MS", "20000")
    }

    /// A new, empty database on the PostgreSQL server; the worker inside the server.
    pub fn on_postgres() -> Self {
        Self::at(&new_postgres_database())
    }

    /// A database on any server, which need not be the one of the tests.
    pub fn at(database_url: &str) -> Self {
        Self::embedded().with("DATABASE_URL", database_url).with("SECRET_KEY", &"k".repeat(64))
    }

    /// With the Redis of the tests.
    pub fn with_redis(self) -> Self {
        self.with("REDIS_URL", &empty_redis_database(&service("TEST_REDIS_URL")))
    }

    /// With PostgreSQL and Redis, for separate web and worker processes.
    pub fn full() -> Self {
        Self::on_postgres().with_redis()
    }

    pub fn with(mut self, variable: &str, value: &str) -> Self {
        self.set(variable, value);
        self
    }

    pub fn with_all(self, settings: &[(&str, &str)]) -> Self {
        settings.iter().fold(self, |it, (variable, value)| it.with(variable, value))
    }

    pub fn without(mut self, variable: &str) -> Self {
        self.environment.remove(variable);
        self
    }

    pub fn set(&mut self, variable: &str, value: &str) {
        self.environment.insert(variable.to_owned(), value.to_owned());
    }

    /// A copy with the same folder and settings, to change settings for another process.
    pub fn sharing_the_folder(&self) -> Self {
        Self {
            folder: self.folder.clone(),
            environment: self.environment.clone(),
            binary: self.binary.clone(),
            ulimit: self.ulimit.clone(),
            started: AtomicU32::new(1000),
        }
    }

    /// Uses another build of the program.
    pub fn with_binary(mut self, binary: &str) -> Self {
        self.binary = binary.into();
        self
    }

    /// The value of a variable that was set.
    pub fn setting(&self, variable: &str) -> String {
        self.environment.get(variable).unwrap_or_else(|| panic!("{variable} is not set")).clone()
    }

    /// Limits the files and connections that processes may open; they cannot raise the limit.
    pub fn with_open_files(self, most: u32) -> Self {
        Self { ulimit: Some(format!("-n {most}")), ..self }
    }

    /// Starts processes with this soft limit, which they may raise.
    pub fn with_soft_open_files(self, most: u32) -> Self {
        Self { ulimit: Some(format!("-Sn {most}")), ..self }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The URL of its PostgreSQL database.
    pub fn database_url(&self) -> String {
        self.environment.get("DATABASE_URL").expect("an installation on PostgreSQL").clone()
    }

    pub fn has_redis(&self) -> bool {
        self.environment.contains_key("REDIS_URL")
    }

    pub fn is_on_postgres(&self) -> bool {
        self.environment.get("DATABASE_URL").is_some_and(|url| url.starts_with("postgres"))
    }

    /// Direct access to the database.
    pub fn books(&self) -> Books {
        match self.environment.get("DATABASE_URL") {
            None => Books::sqlite(&self.folder().join("data/stockyard.db")),
            Some(url) => Books::at(url),
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = match &self.ulimit {
            None => Command::new(&self.binary),
            Some(ulimit) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &format!("ulimit {ulimit} && exec \"$0\" \"$@\"")]).arg(&self.binary);
                shell
            }
        };
        command.args(arguments).env_clear().envs(&self.environment).current_dir(self.folder());
        command
    }

    /// Runs a command until it ends.
    pub async fn run(&self, arguments: &[&str]) -> Finished {
        self.run_with_input(arguments, "").await
    }

    pub async fn run_with_input(&self, arguments: &[&str], input: &str) -> Finished {
        self.run_command(self.command(arguments), arguments, input).await
    }

    /// Runs a command in a shell after other commands, such as `umask 000`.
    pub async fn run_after(&self, shell: &str, arguments: &[&str]) -> Finished {
        self.run_command(self.command_after(shell, arguments), arguments, "").await
    }

    fn command_after(&self, shell: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{shell}; exec \"$0\" \"$@\"")]).arg(&self.binary).args(arguments);
        command.env_clear().envs(&self.environment).current_dir(self.folder());
        command
    }

    async fn run_command(&self, mut command: Command, arguments: &[&str], input: &str) -> Finished {
        let file = || tempfile::tempfile_in(self.folder()).unwrap();
        let (mut given, mut stdout, mut stderr) = (file(), file(), file());
        given.write_all(input.as_bytes()).unwrap();
        given.rewind().unwrap();
        command
            .stdin(Stdio::from(given))
            .stdout(stdout.try_clone().unwrap())
            .stderr(stderr.try_clone().unwrap());
        let mut child = KilledOnDrop(command.spawn().unwrap());
        let what = format!("`stockyard {}` ends", arguments.join(" "));
        let status = eventually(&what, PATIENCE, async || child.0.try_wait().unwrap()).await;
        let text = |file: &mut std::fs::File| {
            let mut text = String::new();
            file.rewind().unwrap();
            file.read_to_string(&mut text).unwrap();
            text
        };
        let command = format!("stockyard {}", arguments.join(" "));
        Finished { command, code: status.code(), stdout: text(&mut stdout), stderr: text(&mut stderr) }
    }

    /// Runs a command with another standard output than a file.
    pub async fn run_into(&self, arguments: &[&str], stdout: Stdio) -> Finished {
        let command = format!("stockyard {}", arguments.join(" "));
        let finished = tokio::task::spawn_blocking({
            let mut command = self.command(arguments);
            command.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped());
            move || command.output()
        });
        let finished = tokio::time::timeout(PATIENCE, finished).await.unwrap().unwrap().unwrap();
        let stderr = String::from_utf8_lossy(&finished.stderr).into_owned();
        Finished { command, code: finished.status.code(), stdout: String::new(), stderr }
    }

    /// Runs PostgreSQL's migrations.
    pub async fn migrate(&self) {
        self.run(&["migrate"]).await.succeeded();
    }

    /// Verifies the books.
    ///
    /// # Panics
    /// If a difference is found.
    pub async fn verify(&self) {
        let verified = self.run(&["verify"]).await;
        assert!(verified.succeeded().contains("the books balance"), "{verified:?}");
    }

    /// Starts a server on a free port, and returns when it is ready.
    pub async fn serve(&self) -> Server {
        let port = free_port();
        self.serve_on(port).await
    }

    pub async fn serve_on(&self, port: u16) -> Server {
        self.serve_with(port, &[]).await
    }

    /// Starts a server with additional arguments.
    pub async fn serve_with(&self, port: u16, arguments: &[&str]) -> Server {
        let mut command = self.command(&[&["serve"], arguments].concat());
        command.env("PORT", port.to_string());
        let process = Process::start(&self.next_name("serve"), self.folder(), command);
        Self::ready(process, port).await
    }

    /// Starts a server with other standard streams than a log file.
    pub async fn serve_into(&self, stdout: Stdio, stderr: Stdio) -> Server {
        let port = free_port();
        let mut command = self.command(&["serve"]);
        command.env("PORT", port.to_string()).stdout(stdout).stderr(stderr);
        let process = Process::spawn(&self.next_name("serve"), self.folder(), command);
        Self::ready(process, port).await
    }

    async fn ready(mut process: Process, port: u16) -> Server {
        let url = format!("http://127.0.0.1:{port}");
        eventually("the server is ready", PATIENCE, async || {
            if let Some(status) = process.has_ended() {
                panic!("`stockyard serve` ended with {status}");
            }
            is_ready(port).then_some(())
        })
        .await;
        Server { process, url, port }
    }

    /// Starts a process without waiting until it is ready.
    pub fn start(&self, arguments: &[&str]) -> Process {
        Process::start(&self.next_name(arguments[0]), self.folder(), self.command(arguments))
    }

    /// Like [`Self::start`], in a shell after other commands.
    pub fn start_after(&self, shell: &str, arguments: &[&str]) -> Process {
        let command = self.command_after(shell, arguments);
        Process::start(&self.next_name(arguments[0]), self.folder(), command)
    }

    /// Starts a worker process, and returns when it is ready.
    pub async fn worker(&self) -> Process {
        let mut process = Process::start(&self.next_name("worker"), self.folder(), self.command(&["worker"]));
        eventually("the worker has started", PATIENCE, async || {
            if let Some(status) = process.has_ended() {
                panic!("`stockyard worker` ended with {status}");
            }
            process.log().contains("worker started").then_some(())
        })
        .await;
        process
    }

    /// Starts a worker process with other standard streams than a log file. Without the log it cannot wait until the
    /// worker is ready.
    pub fn worker_into(&self, stdout: Stdio, stderr: Stdio) -> Process {
        let mut command = self.command(&["worker"]);
        command.stdout(stdout).stderr(stderr);
        Process::spawn(&self.next_name("worker"), self.folder(), command)
    }

    fn next_name(&self, command: &str) -> String {
        format!("{command}-{}", self.started.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

struct KilledOnDrop(std::process::Child);

impl Drop for KilledOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The result of a command.
#[derive(Debug)]
pub struct Finished {
    command: String,
    /// `None` if a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    /// Checks that it succeeded, and returns its standard output.
    #[track_caller]
    pub fn succeeded(&self) -> &str {
        assert_eq!(self.code, Some(0), "{}\n{}{}", self.command, self.stdout, self.stderr);
        &self.stdout
    }

    /// Checks that it failed, and returns its standard error.
    #[track_caller]
    pub fn failed(&self) -> &str {
        assert_eq!(self.code, Some(1), "{}\n{}{}", self.command, self.stdout, self.stderr);
        &self.stderr
    }
}

pub struct Server {
    pub process: Process,
    pub url: String,
    pub port: u16,
}

/// Sends a single request without a client library.
pub fn is_ready(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let request = b"GET /health/ready HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
    let mut answer = String::new();
    stream.write_all(request).is_ok()
        && stream.read_to_string(&mut answer).is_ok()
        && answer.starts_with("HTTP/1.1 200")
}

/// A free port on the loopback address, outside the range that the system uses for outgoing connections. Each test
/// process begins its search at another port.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 900).unwrap_or(0) * 10;
    loop {
        let port = 10_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 9000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Creates a database on the tests' PostgreSQL server and returns its URL.
pub fn new_postgres_database() -> String {
    let server = service("TEST_DATABASE_URL");
    let name = format!("processes_{:016x}", rand::random::<u64>());
    let mut connection =
        PgConnection::establish(&server).expect("the PostgreSQL of TEST_DATABASE_URL answers");
    connection.batch_execute(&format!("CREATE DATABASE {name}")).unwrap();
    on_database(&server, &name)
}

/// The URL of another database on the same server.
pub fn on_database(server: &str, name: &str) -> String {
    let (address, parameters) = server.split_once('?').unwrap_or((server, ""));
    let (base, _) = address.rsplit_once('/').expect("a database URL ends in a database's name");
    match parameters {
        "" => format!("{base}/{name}"),
        parameters => format!("{base}/{name}?{parameters}"),
    }
}

/// The name of the database in a URL.
pub fn database_name(url: &str) -> &str {
    let address = url.split('?').next().unwrap_or(url);
    address.rsplit('/').next().unwrap_or(address)
}

/// Clears and returns a numbered Redis database. Stockyard's queue has a fixed name, so installations that share a
/// Redis need different databases. Concurrent tests have different slots, see `.config/nextest.toml`.
pub fn empty_redis_database(server: &str) -> String {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let slot: u16 = setting("NEXTEST_TEST_GROUP_SLOT").and_then(|slot| slot.parse().ok()).unwrap_or(0);
    let number = 1 + (slot * 5 + NEXT.fetch_add(1, Ordering::Relaxed) % 5) % 15;
    let answer = ask_redis(number, "FLUSHDB");
    assert!(answer.starts_with("+OK\r\n+OK"), "{answer}");
    format!("{server}/{number}")
}

/// Sends a command to a numbered database of the tests' Redis.
fn ask_redis(number: u16, command: &str) -> String {
    let plain = service("TEST_REDIS_URL");
    let address = plain.strip_prefix("redis://").expect("TEST_REDIS_URL begins with redis://");
    let mut stream = TcpStream::connect(address).expect("the Redis of TEST_REDIS_URL answers");
    stream.write_all(format!("SELECT {number}\r\n{command}\r\nQUIT\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Sends a command to the Redis of an installation.
pub fn redis_of(installation: &Installation, command: &str) {
    let url = installation.environment.get("REDIS_URL").expect("an installation with Redis");
    let number = url.rsplit('/').next().and_then(|number| number.parse().ok()).unwrap_or(0);
    let answer = ask_redis(number, command);
    assert!(!answer.contains("-ERR"), "{command}: {answer}");
}
