//! A running process, which ends with the test.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The pause between two checks of a condition.
const LOOK: Duration = Duration::from_millis(50);
/// How many lines of a log are shown when a test fails.
const LAST_LINES: usize = 40;

/// Calls `look` repeatedly until it returns a value.
///
/// # Panics
/// If it still returns none after `within`.
#[track_caller]
pub fn eventually<T>(
    what: &str,
    within: Duration,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> impl Future<Output = T> {
    let caller = std::panic::Location::caller();
    async move {
        let deadline = Instant::now() + within;
        loop {
            if let Some(found) = look().await {
                return found;
            }
            assert!(Instant::now() < deadline, "{caller}: not within {within:?}: {what}");
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// A process whose output is written to a file. Dropping it ends the process.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a process with its log in `folder`.
    pub fn start(name: &str, folder: &Path, mut command: Command) -> Self {
        let file =
            File::options().create(true).append(true).open(folder.join(format!("{name}.log"))).unwrap();
        command.stdout(file.try_clone().unwrap()).stderr(file);
        Self::spawn(name, folder, command)
    }

    /// Starts a process with the standard streams of the command.
    pub fn spawn(name: &str, folder: &Path, mut command: Command) -> Self {
        let log = folder.join(format!("{name}.log"));
        let child = command
            .stdin(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"));
        Self { name: name.to_owned(), child, log }
    }

    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Sends SIGKILL, so that the process cannot do anything more.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends SIGTERM, as a supervisor does.
    pub fn terminate(&self) {
        let told = self.signal("TERM").unwrap();
        assert!(told.success(), "{} (process {}) is not there any more", self.name, self.child.id());
    }

    /// Sends any signal, by its name.
    pub fn send(&self, name: &str) {
        assert!(self.signal(name).unwrap().success(), "{} takes no signal", self.name);
    }

    pub fn signal(&self, name: &str) -> std::io::Result<ExitStatus> {
        let pid = self.child.id().to_string();
        Command::new("sh").args(["-c", "kill -s \"$0\" \"$1\"", name, &pid]).status()
    }

    /// The memory in use (resident set), as reported by the kernel.
    pub fn resident_kib(&self) -> u64 {
        self.memory_kib("VmRSS:")
    }

    /// The memory in use that does not belong to files, such as heap and stacks, as reported by the kernel.
    pub fn anonymous_kib(&self) -> u64 {
        self.memory_kib("RssAnon:")
    }

    fn memory_kib(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// The number of open files and connections.
    pub fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// The soft and the hard limit on open files.
    pub fn open_files_limit(&self) -> (u64, u64) {
        let mut limit = (0, 0);
        let pid = self.child.id().try_into().unwrap();
        rlimit::prlimit(pid, rlimit::Resource::NOFILE, None, Some((&mut limit.0, &mut limit.1))).unwrap();
        limit
    }

    pub fn set_open_files_limit(&self, limit: (u64, u64)) {
        let pid = self.child.id().try_into().unwrap();
        rlimit::prlimit(pid, rlimit::Resource::NOFILE, Some(limit), None).unwrap();
    }

    /// Sends SIGTERM and checks that the process ends within ten seconds with status 0. Returns how long it took.
    pub async fn ends_well(&mut self) -> Duration {
        let start = Instant::now();
        self.terminate();
        let what = format!("{} ends after SIGTERM", self.name);
        let status = eventually(&what, Duration::from_secs(10), async || self.has_ended()).await;
        assert!(status.success(), "{} ended with {status}", self.name);
        start.elapsed()
    }
}

impl Drop for Process {
    /// Sends SIGTERM first, because chromedriver, for example, has to end its browser too.
    fn drop(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(3);
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.signal("TERM");
        }
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(LOOK);
        }
        // The process may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
            eprintln!("--- last lines of {}\n{}", self.name, last.join("\n"));
        }
    }
}
