//! A user with portfolios that hold a stock, and workers to take their snapshots.

use std::sync::Arc;
use std::time::Duration;

use chrono::{NaiveDate, TimeDelta};
use domain::{Attached, OrderSize, OrderTerms, PlaceOrder, PortfolioId, Side, Snapshot, TimeInForce, UserId};
use services::accounts::register::Registration;
use services::books::portfolios::OpenPortfolio;
use services::jobs::{JobKind, JobRun, RunStatus};
use services::testing::{TestServices, friday_afternoon};
use services::{Services, ServicesConfig};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use worker::{WorkerConfig, WorkerError};

use crate::source::{Gate, gated_market};

/// The session that is under way when a firm opens.
pub const FRIDAY: NaiveDate = NaiveDate::from_ymd_opt(2026, 11, 20).unwrap();
/// A running job that is silent for as long counts as abandoned. By the clock of the test, which stands still.
const SILENCE: TimeDelta = TimeDelta::seconds(30);
/// Much longer than anything takes; only a failing test waits that long.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Firm {
    pub gate: Arc<Gate>,
    test: TestServices,
    owner: UserId,
    portfolios: Vec<PortfolioId>,
}

impl Firm {
    /// On a Friday afternoon; each portfolio holds a share.
    pub async fn open() -> Self {
        let (source, gate) = gated_market();
        let config = ServicesConfig { job_silence: SILENCE, ..ServicesConfig::default() };
        let test = TestServices::with(source, config).await;
        let registration = Registration {
            username: "sam".to_owned(),
            email: "sam@example.org".to_owned(),
            password: "a long enough secret".into(),
            first_name: String::new(),
            last_name: String::new(),
        };
        let owner = test.services.accounts().register(registration).await.unwrap().id;
        let mut portfolios = Vec::new();
        for name in ["Growth", "Income", "Savings"] {
            let command =
                OpenPortfolio { name: name.to_owned(), description: String::new(), cash_balance: None };
            let id = test.services.books().open_portfolio(owner, command).await.unwrap().id;
            let order = PlaceOrder {
                symbol: "AAPL".parse().unwrap(),
                side: Side::Buy,
                size: OrderSize::Quantity("1".parse().unwrap()),
                terms: OrderTerms::Market,
                time_in_force: TimeInForce::Day,
                attached: Attached::Nothing,
                client_order_id: None,
            };
            test.services.trading().place_order(owner, id, order).await.unwrap();
            portfolios.push(id);
        }
        Self { gate, test, owner, portfolios }
    }

    pub fn services(&self) -> Services {
        self.test.services.clone()
    }

    /// Moves the clock to the night after that many sessions have closed.
    pub fn close_sessions(&self, sessions: i64) {
        self.test.clock.set(friday_afternoon() + TimeDelta::days(sessions - 1) + TimeDelta::hours(11));
    }

    /// Until whoever shows no sign of life meanwhile counts as gone.
    pub fn let_silence_pass(&self) {
        self.let_pass(SILENCE + TimeDelta::seconds(1));
    }

    pub fn let_pass(&self, time: TimeDelta) {
        self.test.clock.set(self.test.clock.wall() + time);
    }

    /// All on record, in the order they became due.
    pub async fn runs(&self) -> Vec<JobRun> {
        let mut runs = self.test.services.jobs().job_runs(None, None, 200).await.unwrap().items;
        runs.reverse();
        runs
    }

    /// The oldest of that kind.
    pub async fn first_run(&self, kind: JobKind) -> Option<JobRun> {
        self.runs().await.into_iter().find(|run| run.kind == kind)
    }

    /// Whether the snapshots of that many sessions, and everything else that is due, are done.
    pub async fn is_done(&self, sessions: usize) -> bool {
        let runs = self.runs().await;
        let kind = JobKind::SnapshotPortfolios;
        runs.iter().filter(|run| run.kind == kind).count() == sessions
            && runs.iter().all(|run| run.status == RunStatus::Done)
    }

    /// Of each portfolio, oldest first.
    pub async fn snapshots(&self) -> Vec<Vec<Snapshot>> {
        let mut all = Vec::new();
        for id in &self.portfolios {
            all.push(self.test.services.books().snapshots(self.owner, *id, None, None).await.unwrap());
        }
        all
    }

    /// That each portfolio has one final row for each of so many sessions, Friday's first.
    pub async fn assert_snapshots(&self, sessions: usize) {
        let expected: Vec<NaiveDate> = FRIDAY.iter_days().take(sessions).collect();
        for rows in self.snapshots().await {
            assert_eq!(rows.iter().map(|row| row.date).collect::<Vec<_>>(), expected);
            assert!(rows.iter().all(|row| !row.provisional), "{rows:?}");
        }
    }

    pub fn start(&self, config: WorkerConfig) -> TestWorker {
        let (stop, stopped) = oneshot::channel();
        let work = worker::run(self.services(), config, async {
            let _ = stopped.await;
        });
        TestWorker { stop: Some(stop), task: tokio::spawn(work) }
    }
}

/// Looks every second and does one thing at a time.
pub fn embedded() -> WorkerConfig {
    WorkerConfig { tick: Duration::from_secs(1), concurrency: 1, ..WorkerConfig::default() }
}

/// On a queue of its own.
pub fn on_redis(url: &str) -> WorkerConfig {
    let queue = format!("test:{}", uuid::Uuid::now_v7());
    WorkerConfig { redis_url: Some(url.into()), queue, ..embedded() }
}

/// The Redis beside the tests.
pub fn redis_url() -> String {
    variable("TEST_REDIS_URL")
}

#[expect(clippy::disallowed_methods, reason = "the test command starts the services and names them here")]
pub fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: run the tests through `make test` or scripts/with-services")
    })
}

/// A worker that works until it is stopped; dropping it leaves nothing running but runs under way.
pub struct TestWorker {
    stop: Option<oneshot::Sender<()>>,
    pub task: JoinHandle<Result<(), WorkerError>>,
}

impl TestWorker {
    pub fn tell_to_stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }

    pub async fn stop(mut self) {
        self.tell_to_stop();
        (&mut self.task).await.unwrap().unwrap();
    }
}

impl Drop for TestWorker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Waits until `is_so`, looking again and again.
pub async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "waited for too long until {what}");
}
