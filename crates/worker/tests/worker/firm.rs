//! A user whose portfolios hold a stock, and workers that take their snapshots.

use services::accounts::actor::Trader;
use std::sync::Arc;
use std::time::Duration;

use chrono::{NaiveDate, TimeDelta};
use domain::{
    Attached, OrderSize, OrderTerms, PlaceOrder, PortfolioId, PortfolioRef, Side, Snapshot, TimeInForce,
    UserId,
};
use services::accounts::register::Registration;
use services::books::portfolios::OpenPortfolio;
use services::jobs::{JobKind, JobRun, RunStatus};
use services::testing::{TestServices, friday_afternoon};
use services::{Services, ServicesConfig};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use worker::{WorkerConfig, WorkerError};

use crate::source::{Gate, gated_market};

/// The session in progress when the test begins.
pub const FRIDAY: NaiveDate = NaiveDate::from_ymd_opt(2026, 11, 20).unwrap();
/// A run without a heartbeat for this long counts as abandoned. The test's clock stands still unless the test moves it.
const SILENCE: TimeDelta = TimeDelta::seconds(30);
/// Much longer than anything in these tests takes; only a failing test waits that long.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Firm {
    pub gate: Arc<Gate>,
    test: TestServices,
    owner: UserId,
    portfolios: Vec<PortfolioId>,
}

impl Firm {
    /// Starts on a Friday afternoon; each portfolio holds one share.
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
            let id =
                test.services.books().open_portfolio(Trader::on_behalf_of(owner), command).await.unwrap().id;
            let order = PlaceOrder {
                symbol: "AAPL".parse().unwrap(),
                side: Side::Buy,
                size: OrderSize::Quantity("1".parse().unwrap()),
                terms: OrderTerms::Market,
                time_in_force: TimeInForce::Day,
                attached: Attached::Nothing,
                client_order_id: None,
            };
            test.services
                .trading()
                .place_order(Trader::on_behalf_of(owner).portfolio(id), order)
                .await
                .unwrap();
            portfolios.push(id);
        }
        Self { gate, test, owner, portfolios }
    }

    pub fn services(&self) -> Services {
        self.test.services.clone()
    }

    /// Moves the clock to the night after this many sessions have closed.
    pub fn close_sessions(&self, sessions: i64) {
        self.test.clock.set(friday_afternoon() + TimeDelta::days(sessions - 1) + TimeDelta::hours(11));
    }

    /// Moves the clock until a worker without heartbeats counts as dead.
    pub fn let_silence_pass(&self) {
        self.let_pass(SILENCE + TimeDelta::seconds(1));
    }

    pub fn let_pass(&self, time: TimeDelta) {
        self.test.clock.set(self.test.clock.wall() + time);
    }

    /// All recorded runs, in the order in which they became due.
    pub async fn runs(&self) -> Vec<JobRun> {
        let mut runs = self.test.services.jobs().job_runs(None, None, 200).await.unwrap().items;
        runs.reverse();
        runs
    }

    /// The oldest run of this kind.
    pub async fn first_run(&self, kind: JobKind) -> Option<JobRun> {
        self.runs().await.into_iter().find(|run| run.kind == kind)
    }

    /// Whether the snapshots of this many sessions, and all other due runs, are done.
    pub async fn is_done(&self, sessions: usize) -> bool {
        let runs = self.runs().await;
        let kind = JobKind::SnapshotPortfolios;
        runs.iter().filter(|run| run.kind == kind).count() == sessions
            && runs.iter().all(|run| run.status == RunStatus::Done)
    }

    /// The snapshots of each portfolio, oldest first.
    pub async fn snapshots(&self) -> Vec<Vec<Snapshot>> {
        let mut all = Vec::new();
        for id in &self.portfolios {
            all.push(
                self.test
                    .services
                    .books()
                    .snapshots(PortfolioRef::new(self.owner, *id), None, None)
                    .await
                    .unwrap(),
            );
        }
        all
    }

    /// Checks that each portfolio has one final snapshot for each of this many sessions, from Friday on.
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

/// An embedded worker that looks for due runs every second and executes one at a time.
pub fn embedded() -> WorkerConfig {
    WorkerConfig { tick: Duration::from_secs(1), concurrency: 1, ..WorkerConfig::default() }
}

/// A worker with a queue of its own in this Redis.
pub fn on_redis(url: &str) -> WorkerConfig {
    let queue = format!("test:{}", uuid::Uuid::now_v7());
    WorkerConfig { redis_url: Some(url.into()), queue, ..embedded() }
}

/// The URL of the Redis that `scripts/with-services` has started.
pub fn redis_url() -> String {
    variable("TEST_REDIS_URL")
}

#[expect(clippy::disallowed_methods, reason = "the test command starts the services and names them here")]
pub fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: run the tests through `make test` or scripts/with-services")
    })
}

/// A worker that runs until it is stopped. Dropping it stops it; only runs in progress continue.
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

/// Waits until `is_so` returns true.
pub async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "waited for too long until {what}");
}
