//! Customers trade while the database and the workers fail repeatedly in all ways. Nothing acknowledged is lost, and
//! nothing is done twice.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::bank::{Bank, Prices, soaking};
use crate::installation::{Installation, setting};
use crate::postgres::Postgres;
use crate::process::Process;
use crate::proxy::Proxy;
use crate::stack::Stack;

/// How long to wait until the bank works again. Much longer than it takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many requests in a row have to succeed for an outage to be over.
const SERVED: usize = 5;
/// The maximum time from the end of an outage to the last failed request, if no other program uses the machine.
const HEALED_WITHIN: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    /// `pg_ctl restart -m fast`
    Restart,
    /// `pg_ctl restart -m immediate`, as after a crash
    Crash,
    /// `pg_terminate_backend` of all sessions
    Terminated,
    /// The network breaks all connections.
    Cut,
    /// The server does not answer for a while.
    Frozen,
    /// Existing connections stay open but transfer nothing.
    HalfOpen,
    /// `kill -9` of a worker
    WorkerKilled,
}

const FAULTS: [Fault; 7] = [
    Fault::Terminated,
    Fault::HalfOpen,
    Fault::Crash,
    Fault::WorkerKilled,
    Fault::Frozen,
    Fault::Cut,
    Fault::Restart,
];

struct Deployment {
    postgres: Postgres,
    proxy: Proxy,
    stack: Stack,
}

impl Deployment {
    /// Causes a fault, and returns when it is over.
    async fn suffers(&mut self, fault: Fault, lasting: Duration) {
        match fault {
            Fault::Restart => self.restart("INT", lasting).await,
            Fault::Crash => self.restart("QUIT", lasting).await,
            Fault::Terminated => self.postgres.terminate_backends(),
            Fault::Cut => {
                self.proxy.let_in(false);
                self.proxy.cut();
                tokio::time::sleep(lasting).await;
                self.proxy.let_in(true);
            }
            Fault::Frozen => {
                self.postgres.freeze();
                tokio::time::sleep(lasting).await;
                self.postgres.thaw();
            }
            Fault::HalfOpen => self.proxy.silence(),
            Fault::WorkerKilled => {
                self.stack.workers[0].kill();
                tokio::time::sleep(lasting).await;
                let worker: Process = self.stack.installation().worker().await;
                self.stack.workers[0] = worker;
            }
        }
    }

    async fn restart(&mut self, signal: &str, lasting: Duration) {
        self.postgres.stop(signal).await;
        tokio::time::sleep(lasting).await;
        self.postgres.resume().await;
    }
}

/// The time from the end of an outage to the last failed request.
async fn recovery(bank: &Bank) -> Duration {
    let over = Instant::now();
    let (mut last_failure, mut served) = (Duration::ZERO, 0);
    while served < SERVED {
        if bank.is_served().await {
            served += 1;
        } else {
            (last_failure, served) = (over.elapsed(), 0);
        }
        assert!(over.elapsed() < PATIENCE, "still not served after {:?}", over.elapsed());
    }
    last_failure
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_while_database_and_workers_fail() {
    let rounds: usize = setting("STOCKYARD_SOAK_ROUNDS").map_or(if soaking() { 100 } else { 3 }, |text| {
        text.parse().expect("STOCKYARD_SOAK_ROUNDS is a number")
    });
    let timeout = if soaking() { "3000" } else { "1000" };
    let postgres = Postgres::start().await;
    let proxy = Proxy::to(postgres.address());
    let installation = Installation::at(&postgres.url_at(proxy.port))
        .with_redis()
        .with("DATABASE_TIMEOUT_MS", timeout)
        .with("CLOCK_START", "2026-03-02T15:00:00Z")
        .with_all(&Prices::Move.settings());
    let stack = Stack::of(installation, 2, 1).await;
    let mut bank = Bank::open(stack.trader().await, 3).await.enduring_outages();
    let mut deployment = Deployment { postgres, proxy, stack };
    let mut by_kind: BTreeMap<Fault, (usize, Duration)> = BTreeMap::new();
    // The short version of the test begins with a random fault.
    let first = if soaking() { 0 } else { rand::random_range(0..FAULTS.len()) };
    for fault in FAULTS.iter().cycle().skip(first).take(rounds) {
        bank = bank.reconnected();
        let forever = Instant::now() + PATIENCE * 10;
        let customers = bank.customers(4, Prices::Move, forever);
        tokio::time::sleep(Duration::from_millis(rand::random_range(200..1500))).await;
        deployment.suffers(*fault, Duration::from_millis(rand::random_range(0..3000))).await;
        let took = recovery(&bank).await;
        bank.close();
        let answered = customers.join_all().await;
        assert!(answered.into_iter().all(|always| always), "a request was not answered");
        let (count, slowest) = by_kind.entry(*fault).or_default();
        *count += 1;
        *slowest = took.max(*slowest);
        // Closes frozen connections, so that their delayed data does not arrive during the check below.
        deployment.proxy.cut();
        deployment.proxy.speak();
        recovery(&bank).await;
        bank.reconnected().orders_are_there().await;
    }
    eprintln!("{} orders in {rounds} rounds", bank.acknowledged());
    for (fault, (count, slowest)) in &by_kind {
        eprintln!("{fault:?}: {count} times, the last failure {slowest:?} after its end");
    }
    let slowest = by_kind.values().map(|(_, slowest)| *slowest).max().unwrap_or_default();
    eprintln!("slowest recovery: {slowest:?}");
    assert!(!soaking() || slowest < HEALED_WITHIN, "the slowest recovery took {slowest:?}");
    deployment.stack.restart(&Prices::Stand.settings()).await;
    bank.reconnected().audit().await;
    deployment.stack.ends_well().await;
}
