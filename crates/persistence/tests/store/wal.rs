//! The size of SQLite's log.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use persistence::{DatabaseUrl, Store, StoreError, installation};

const MIB: u64 = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(60);

/// A file system of 24 MiB, which is removed with the test. Needs the right to mount.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(folder: &Path) -> Option<Self> {
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

async fn open(folder: &Path) -> (Store, PathBuf) {
    let file = folder.join("test.db");
    let store = Store::open(DatabaseUrl::Sqlite(file.display().to_string()), 4).unwrap();
    store.migrate().await.unwrap();
    (store, folder.join("test.db-wal"))
}

/// Overwrites a value of half a mebibyte: the log grows by that, the file does not.
async fn overwrite(store: &Store, number: usize) -> Result<(), StoreError> {
    let text = char::from(b'a' + u8::try_from(number % 26).unwrap()).to_string().repeat(1 << 19);
    store.write(move |tx| installation::set(tx, "ballast", &text)).await
}

fn bytes(log: &Path) -> u64 {
    std::fs::metadata(log).map_or(0, |metadata| metadata.len())
}

/// The largest size of the log while 200 MiB are written.
async fn longest_log(store: &Store, log: &Path) -> u64 {
    let mut longest = 0;
    for number in 0..400 {
        overwrite(store, number).await.unwrap();
        longest = longest.max(bytes(log));
    }
    longest
}

/// SQLite's own checkpoints come every 32 MiB, too late for such a disk. If no disk can be mounted, the limit for large
/// disks is tested.
#[tokio::test]
async fn the_log_leaves_space_on_a_small_disk() {
    let folder = tempfile::tempdir().unwrap();
    let disk = SmallDisk::mount(folder.path());
    let (store, log) = open(folder.path()).await;
    let longest = longest_log(&store, &log).await;
    let bound = if disk.is_some() { 20 * MIB } else { 100 * MIB };
    assert!(longest < bound, "the log has reached {longest} bytes");
    drop((store, disk));
}

/// While a reader uses an old state, the log cannot be emptied; afterwards it is emptied.
#[tokio::test]
async fn a_long_log_is_emptied_when_its_reader_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let (store, log) = open(folder.path()).await;
    let (begun, has_begun) = tokio::sync::oneshot::channel();
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let reader = store.clone();
    let reading = tokio::spawn(async move {
        let read: Result<(), StoreError> = reader
            .read(move |tx| {
                installation::get(tx, "ballast")?;
                begun.send(()).unwrap();
                ended.recv().unwrap();
                Ok(())
            })
            .await;
        read.unwrap();
    });
    has_begun.await.unwrap();
    for number in 0..150 {
        overwrite(&store, number).await.unwrap();
    }
    assert!(bytes(&log) > 70 * MIB, "{}", bytes(&log));
    end.send(()).unwrap();
    reading.await.unwrap();
    let deadline = Instant::now() + PATIENCE;
    while bytes(&log) > MIB {
        assert!(Instant::now() < deadline, "the log still has {} bytes", bytes(&log));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    overwrite(&store, 0).await.unwrap();
}
