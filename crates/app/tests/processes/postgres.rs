//! A PostgreSQL server for one test, which can be stopped, frozen and started again.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use tempfile::TempDir;

use crate::installation::free_port;
use crate::process::{Process, eventually};

const PATIENCE: Duration = Duration::from_secs(60);

pub struct Postgres {
    port: u16,
    data: PathBuf,
    server: Option<Process>,
    started: usize,
    folder: TempDir,
}

impl Postgres {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // PostgreSQL refuses to run as root; its user needs access to the files.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        let data = folder.path().join("data");
        let mut initdb = as_database_user(&["initdb", "-U", "postgres", "-A", "trust", "--no-sync", "-D"]);
        initdb.arg(&data).current_dir(folder.path()).stdout(Stdio::null());
        assert!(initdb.status().expect("initdb is installed").success());
        let mut postgres = Self { port: free_port(), data, server: None, started: 0, folder };
        postgres.resume().await;
        postgres
    }

    pub fn url(&self) -> String {
        self.url_at(self.port)
    }

    /// The URL through a proxy on another port.
    pub fn url_at(&self, port: u16) -> String {
        format!("postgres://postgres@127.0.0.1:{port}/postgres")
    }

    pub fn terminate_backends(&self) {
        let mut connection = PgConnection::establish(&self.url()).unwrap();
        connection
            .batch_execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()",
            )
            .unwrap();
    }

    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// Starts the server, and returns when it answers.
    pub async fn resume(&mut self) {
        self.started += 1;
        let mut command = as_database_user(&["postgres", "-D"]);
        command.arg(&self.data).current_dir(self.folder.path()).args(["-k", ""]);
        let port = format!("port={}", self.port);
        for setting in [port.as_str(), "listen_addresses=127.0.0.1", "fsync=off", "max_connections=300"] {
            command.args(["-c", setting]);
        }
        let name = format!("postgres-{}", self.started);
        self.server = Some(Process::start(&name, self.folder.path(), command));
        eventually("PostgreSQL answers", PATIENCE, async || PgConnection::establish(&self.url()).ok()).await;
    }

    /// Stops the server like `pg_ctl stop`: QUIT stops it at once, as in a crash; INT lets it end its sessions first.
    pub async fn stop(&mut self, signal: &str) {
        let mut server = self.server.take().expect("a server that runs");
        server.signal(signal).unwrap();
        eventually("PostgreSQL ends", PATIENCE, async || server.has_ended()).await;
    }

    /// Sends SIGSTOP to all processes of the server: connections stay open, but nothing answers.
    pub fn freeze(&self) {
        self.signal_all("STOP");
    }

    pub fn thaw(&self) {
        self.signal_all("CONT");
    }

    fn signal_all(&self, signal: &str) {
        let Some(server) = &self.server else { return };
        // The postmaster comes first, so that it does not start others in the meantime.
        server.signal(signal).unwrap();
        let children = children_of(server.id());
        if !children.is_empty() {
            let script = "signal=$0; kill -s \"$signal\" \"$@\" 2>/dev/null";
            let _ = Command::new("sh").args(["-c", script, signal]).args(children).status();
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.thaw();
        if let Some(server) = &self.server {
            let _ = server.signal("QUIT");
        }
    }
}

fn children_of(parent: u32) -> Vec<String> {
    let is_child = |pid: &str| {
        let stat = std::fs::read_to_string(Path::new("/proc").join(pid).join("stat")).ok()?;
        // The fields after the name, which is in parentheses, are the state and the parent.
        let parent_of = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse::<u32>().ok()?;
        (parent_of == parent).then_some(())
    };
    let processes =
        std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    processes.filter(|pid| is_child(pid).is_some()).collect()
}

/// Runs a command as the database user, like `scripts/with-services`.
fn as_database_user(command: &[&str]) -> Command {
    let id = |arguments: &[&str]| {
        let output = Command::new("id").args(arguments).output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap().trim().to_owned())
    };
    let (program, arguments) = command.split_first().expect("a command");
    if id(&["-u"]).as_deref() != Some("0") {
        let mut command = Command::new(program);
        command.args(arguments);
        return command;
    }
    let user = if id(&["-u", "postgres"]).is_some() { "postgres" } else { "nobody" };
    let group = id(&["-g", user]).expect("the user has a group");
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={user}"), &format!("--regid={group}"), "--init-groups", "--", program]);
    command.args(arguments);
    command
}
