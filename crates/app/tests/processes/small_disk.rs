//! A disk that is too small: filled by other files, or by the log of the database itself.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::client::{Client, Trader};
use crate::installation::{Installation, Server};
use crate::process::eventually;

/// Long, because the tests run debug builds on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A small file system, which is removed with the test. It needs the right to mount, which tests in a container and in
/// CI have; otherwise the tests limit the size of files instead.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(folder: &Path) -> Option<Self> {
        std::fs::create_dir_all(folder).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=24m,mode=0700", "tmpfs"]).arg(folder);
        let mounted = mount.output().is_ok_and(|output| output.status.success());
        mounted.then(|| Self(folder.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// The cause of the lack of space: other files on the disk, or a limit on the size of files.
enum Squeeze {
    Disk {
        _disk: SmallDisk,
        ballast: PathBuf,
    },
    /// The server may not write files larger than its log is now.
    FileSize {
        log: PathBuf,
    },
}

impl Squeeze {
    /// Uses up all space.
    fn fill(&self, server: &Server) {
        match self {
            Self::Disk { ballast, .. } => {
                let mut file = File::create(ballast).unwrap();
                let block = [1; 4096];
                while file.write_all(&block).is_ok() {}
            }
            Self::FileSize { log } => {
                let bytes = std::fs::metadata(log).map_or(0, |metadata| metadata.len());
                limit_files(server, &bytes.to_string());
            }
        }
    }

    fn free(&self, server: Option<&Server>) {
        match (self, server) {
            (Self::Disk { ballast, .. }, _) => std::fs::remove_file(ballast).unwrap(),
            (Self::FileSize { .. }, Some(server)) => limit_files(server, "unlimited"),
            (Self::FileSize { .. }, None) => {}
        }
    }
}

/// A script that ignores SIGXFSZ, so that writing beyond the limit is an error as on a full disk, and no signal.
fn without_signal(installation: Installation) -> Installation {
    let script = installation.folder().join("stockyard.sh");
    let program = env!("CARGO_BIN_EXE_stockyard");
    std::fs::write(&script, format!("#!/bin/sh\ntrap '' XFSZ\nexec '{program}' \"$@\"\n")).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    installation.with_binary(script.to_str().unwrap())
}

fn limit_files(server: &Server, bytes: &str) {
    let pid = server.process.id().to_string();
    let limit = format!("--fsize={bytes}:unlimited");
    let set = Command::new("prlimit").args(["--pid", &pid, &limit]).status().unwrap();
    assert!(set.success(), "prlimit {limit}");
}

fn order() -> serde_json::Value {
    json!({"symbol": "AAPL", "side": "buy", "quantity": "0.001", "type": "market"})
}

async fn trader(server: &Server) -> (Trader, i64) {
    let sam = Client::new(std::slice::from_ref(&server.url)).register().await;
    let id = sam.open_portfolio("100000.00").await;
    (sam, id)
}

/// Places orders until one is refused, and returns how many were accepted.
async fn until_refused(sam: &Trader, id: i64) -> usize {
    for taken in 0..20_000 {
        let answer = sam.order(id, &order()).await;
        if answer.status != 201 {
            assert!(matches!(answer.status, 503 | 507), "{}: {}", answer.status, answer.text);
            return taken;
        }
    }
    panic!("the disk is never full");
}

async fn accepted_again(sam: &Trader, id: i64) {
    eventually("orders are taken in again", PATIENCE, async || {
        (sam.order(id, &order()).await.status == 201).then_some(())
    })
    .await;
}

async fn recovers(installation: Installation, squeeze: Squeeze) {
    let mut server = installation.serve().await;
    let (sam, id) = trader(&server).await;
    sam.buy(id, "AAPL", "1").await;
    squeeze.fill(&server);
    let mut taken = 1 + until_refused(&sam, id).await;
    // Free space is used without a restart.
    squeeze.free(Some(&server));
    accepted_again(&sam, id).await;
    taken += 1;
    // The same after a restart during the lack of space.
    squeeze.fill(&server);
    taken += until_refused(&sam, id).await;
    server.process.kill();
    squeeze.free(None);
    let mut server = installation.serve_on(server.port).await;
    let sam = Trader { client: Client::new(std::slice::from_ref(&server.url)).with_token(&sam.token), ..sam };
    accepted_again(&sam, id).await;
    taken += 1;
    let there = sam.all(id, "/orders?status=all").await.len();
    assert!(there >= taken, "{taken} orders were acknowledged, {there} are there");
    server.process.ends_well().await;
    installation.verify().await;
}

#[tokio::test]
async fn orders_are_accepted_again_after_a_full_disk_is_freed() {
    let installation = Installation::embedded();
    let data = installation.folder().join("data");
    let squeeze = match SmallDisk::mount(&data) {
        Some(disk) => Squeeze::Disk { ballast: data.join("ballast"), _disk: disk },
        None => Squeeze::FileSize { log: data.join("stockyard.db-wal") },
    };
    recovers(without_signal(installation), squeeze).await;
}

/// The limit on the size of files, which needs no rights.
#[tokio::test]
async fn orders_are_accepted_again_after_a_limit_on_file_sizes_is_lifted() {
    let installation = Installation::embedded();
    let log = installation.folder().join("data/stockyard.db-wal");
    recovers(without_signal(installation), Squeeze::FileSize { log }).await;
}
