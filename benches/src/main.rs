//! Benchmarks: compares Stockyard with plain database transactions, one per order, and with its own other
//! configurations.
//!
//! `scripts/bench` starts the services and this program, which prints figures and their ratios. It fails only if a
//! request is refused or fails.

mod books;
mod cpu;
mod desk;
mod load;
mod opponent;
mod process;
mod quotes;
mod report;
mod server;
mod snapshots;
mod streams;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use tokio::runtime::Runtime;

use books::Books;
use load::Target;
use opponent::{Opponent, Script};
use report::Report;
use server::Server;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Orders on PostgreSQL, over HTTP and without it, compared with pgbench
    Orders,
    /// Valuations and transactions on PostgreSQL, compared with pgbench
    Reads,
    /// Performance over one and five years on PostgreSQL, compared with pgbench
    Series,
    /// Quotes during searches, on PostgreSQL
    Prices,
    /// Time until the first response, and memory, on SQLite with the worker inside
    Start,
    /// Snapshots of all portfolios on PostgreSQL, compared with one INSERT … SELECT
    Snapshots,
    /// Orders on SQLite
    Sqlite,
    /// The simulated market's quotes and daily bars
    Quotes,
    /// Event streams that follow prices
    Stream,
    /// Orders, reads and `verify` with growing books on PostgreSQL; measured only when it is named
    Growth,
}

/// Compares Stockyard with PostgreSQL's pgbench.
#[derive(Parser)]
struct Args {
    /// What to measure; default: everything
    parts: Vec<Part>,
    /// One short round, to check that everything works; its figures mean little
    #[arg(long)]
    quick: bool,
    /// How often each measurement is repeated; the medians are reported
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// The duration of each measurement, in seconds
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// How many event streams there are
    #[arg(long, default_value_t = 15000)]
    clients: usize,
    /// The numbers of portfolios for `growth`
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 100_000])]
    portfolios: Vec<i64>,
    /// The number of filled orders of each of them
    #[arg(long, default_value_t = 10)]
    fills: i64,
    /// The PostgreSQL server: the URL of a superuser, ending in the name of a database
    #[arg(long)]
    postgres: String,
    /// A Redis, so that the servers do not run jobs during a measurement
    #[arg(long)]
    redis: String,
}

/// Values of `ORDER_BATCH`: the default, and one order per transaction.
const BATCHING: &str = "256";
const ONE_BY_ONE: &str = "1";
const PGBENCH_CLIENTS: [usize; 2] = [16, 32];
const READERS: usize = 32;

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(refused) => {
            eprintln!("bench: {refused} requests were refused or failed, see above");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut args: Args) -> Result<u64> {
    if args.quick {
        (args.rounds, args.seconds) = (1, 2);
    }
    let bench = Bench {
        runtime: Runtime::new()?,
        // Both binaries are built into the same folder.
        stockyard: std::env::current_exe()?.with_file_name("stockyard"),
        time: Duration::from_secs(args.seconds),
        report: Report::new(&args.postgres)?,
        args,
    };
    bench.run()
}

struct Bench {
    args: Args,
    /// Runs the order desk, and fills the database. HTTP load has its own runtime.
    runtime: Runtime,
    stockyard: PathBuf,
    time: Duration,
    report: Report,
}

impl Bench {
    fn wants(&self, part: Part) -> bool {
        self.args.parts.is_empty() || self.args.parts.contains(&part)
    }

    fn run(mut self) -> Result<u64> {
        println!("{}", opponent::conditions(&self.args.postgres)?);
        if self.wants(Part::Quotes) {
            quotes::measure(self.args.rounds)?;
        }
        if self.wants(Part::Stream) {
            self.streams().context("with event streams")?;
        }
        if self.wants(Part::Start) {
            self.start().context("starting")?;
        }
        let on_postgres = [Part::Orders, Part::Reads, Part::Series, Part::Prices, Part::Snapshots];
        if on_postgres.into_iter().any(|part| self.wants(part)) {
            self.on_postgres().context("on PostgreSQL")?;
        }
        if self.wants(Part::Sqlite) {
            self.on_sqlite().context("on SQLite")?;
        }
        if self.args.parts.contains(&Part::Growth) {
            self.growth().context("with growing books")?;
        }
        print!("{}", self.report);
        Ok(self.report.refused)
    }

    fn streams(&mut self) -> Result<()> {
        let clients = if self.args.quick { self.args.clients.min(200) } else { self.args.clients };
        for round in 1..=self.args.rounds {
            eprintln!("round {round} of {} with event streams", self.args.rounds);
            let url = opponent::create_database(&self.args.postgres, "streams")?;
            let redis = &self.args.redis;
            self.report.refused += streams::measure(&self.stockyard, &url, redis, clients, self.time)?;
        }
        Ok(())
    }

    fn on_postgres(&mut self) -> Result<()> {
        eprintln!("filling two databases");
        let opponent = Opponent::fill(&self.args.postgres)?;
        let url = opponent::create_database(&self.args.postgres, "stockyard")?;
        let books = Arc::new(Books::on_postgres(&self.runtime, &url)?);
        opponent::settle(&[&opponent.url, &url])?;
        let redis = Some(self.args.redis.as_str());
        let batching = Server::start(&self.stockyard, &url, redis, BATCHING)?;
        let one_by_one = Server::start(&self.stockyard, &url, redis, ONE_BY_ONE)?;
        for round in 1..=self.args.rounds {
            eprintln!("round {round} of {} on PostgreSQL", self.args.rounds);
            if self.wants(Part::Orders) {
                self.orders(&opponent, &books, &batching, &one_by_one)?;
            }
            if self.wants(Part::Reads) {
                self.reads(&opponent, &books, &batching)?;
            }
            if self.wants(Part::Series) {
                self.series(&opponent, &books, &batching)?;
            }
            if self.wants(Part::Prices) {
                self.prices(&books, &batching)?;
            }
            if self.wants(Part::Snapshots) {
                self.snapshots(&opponent, &url, &books, &batching)?;
            }
        }
        let after_minute = "MiB a minute after the load";
        if !self.args.quick {
            std::thread::sleep(Duration::from_secs(60));
            self.report.note(after_minute, batching.memory_mib()?.0, "within 20 of idle");
        }
        Ok(())
    }

    fn orders(
        &mut self,
        opponent: &Opponent,
        books: &Arc<Books>,
        batching: &Server,
        one_by_one: &Server,
    ) -> Result<()> {
        let time = self.time;
        self.pgbench(report::PGBENCH, opponent, Script::Order, time)?;
        self.load(report::ORDERS, batching, books, &[1, 8, 32, 128], Target::Spread)?;
        self.load(report::ONE_PORTFOLIO, batching, books, &[128], Target::OnePortfolio)?;
        self.pgbench(report::PGBENCH_ONE_ROW, opponent, Script::OrderOnOneRow, time)?;
        self.load(report::UNBATCHED, one_by_one, books, &[1, 128], Target::Spread)?;
        self.report.measure(report::DESK, desk::IN_FLIGHT, || desk::run(&self.runtime, books, time))
    }

    fn reads(&mut self, opponent: &Opponent, books: &Books, server: &Server) -> Result<()> {
        // This measurement is steady, so half the time is enough.
        let time = self.time / 2;
        self.pgbench(report::PGBENCH_POSITIONS, opponent, Script::Positions, time)?;
        self.load(report::VALUATION, server, books, &[READERS], Target::Valuation)?;
        self.pgbench(report::PGBENCH_TRANSACTIONS, opponent, Script::Transactions, time)?;
        self.load(report::TRANSACTIONS, server, books, &[READERS], Target::Transactions)
    }

    fn series(&mut self, opponent: &Opponent, books: &Books, server: &Server) -> Result<()> {
        let time = self.time / 2;
        self.pgbench(report::PGBENCH_ONE_YEAR, opponent, Script::HistoryOneYear, time)?;
        self.load(report::ONE_YEAR, server, books, &[READERS], Target::Performance { years: 1 })?;
        self.pgbench(report::PGBENCH_FIVE_YEARS, opponent, Script::HistoryFiveYears, time)?;
        self.load(report::FIVE_YEARS, server, books, &[READERS], Target::Performance { years: 5 })?;
        self.report.note("MiB after performance", server.memory_mib()?.0, "at most 100");
        Ok(())
    }

    fn prices(&mut self, books: &Books, server: &Server) -> Result<()> {
        self.load(report::SEARCH, server, books, &[READERS], Target::Search)?;
        self.load(report::QUOTE, server, books, &[READERS], Target::Quote)?;
        self.report.note("MiB after quotes", server.memory_mib()?.0, "at most 100");
        Ok(())
    }

    /// Measures each size on a new database. It is the last one that stays.
    fn growth(&mut self) -> Result<()> {
        for portfolios in self.args.portfolios.clone() {
            eprintln!("filling {portfolios} portfolios");
            let url = opponent::create_database(&self.args.postgres, "growth")?;
            let books = Books::of_size(&self.runtime, &url, portfolios, self.args.fills)?;
            opponent::settle(&[&url])?;
            let size = format!("{portfolios} portfolios");
            let verified = process::run(&self.stockyard, &url, &["verify"])?;
            self.report.note(&format!("{size}: seconds of verify"), verified.took.as_secs_f64(), "");
            self.report.note(&format!("{size}: MiB of verify"), verified.most_mib, "");
            self.report.note(&format!("{size}: MiB of the database"), opponent::size_mib(&url)?, "");
            let server = Server::start(&self.stockyard, &url, Some(&self.args.redis), BATCHING)?;
            for (what, target) in [
                ("orders", Target::Spread),
                ("valuation", Target::Valuation),
                ("transactions", Target::Transactions),
            ] {
                self.load(&format!("{what}, {size}"), &server, &books, &[READERS], target)?;
            }
        }
        Ok(())
    }

    /// Starts servers on new SQLite files.
    fn start(&mut self) -> Result<()> {
        for round in 1..=self.args.rounds {
            eprintln!("round {round} of {} of starting", self.args.rounds);
            let folder = tempfile::tempdir()?;
            let url = format!("sqlite://{}", folder.path().join("start.db").display());
            server::create_database(&self.stockyard, &url)?;
            // The first start also stores the stocks, so the second one is measured.
            drop(Server::start(&self.stockyard, &url, None, BATCHING)?);
            let server = Server::start(&self.stockyard, &url, None, BATCHING)?;
            self.report.note(
                "ms until the first answer",
                server.started_in.as_secs_f64() * 1e3,
                "at most 60",
            );
            std::thread::sleep(Duration::from_secs(10));
            self.report.note("MiB idle, embedded", server.memory_mib()?.0, "at most 40");
        }
        Ok(())
    }

    fn snapshots(&mut self, opponent: &Opponent, url: &str, books: &Books, server: &Server) -> Result<()> {
        let theirs = opponent.snapshots()?;
        opponent::forget_snapshots(url)?;
        let ours = snapshots::take(&self.stockyard, url, None)?;
        self.report.note("seconds for one INSERT … SELECT of all snapshots", theirs.as_secs_f64(), "");
        self.report.note("seconds for the snapshots of all portfolios", ours.took.as_secs_f64(), "");
        let ratio = ours.took.as_secs_f64() / theirs.as_secs_f64();
        self.report.note("snapshots / INSERT … SELECT", ratio, "at most 1.5");
        self.report.note("MiB of the process that takes snapshots", ours.most_mib, "at most 100");
        let busy = snapshots::take(&self.stockyard, url, Some(books.last_closed()))?;
        self.report.note("MiB with 150,000 lines since that close", busy.most_mib, "at most 100");

        self.load(report::ORDERS_ALONE, server, books, &[READERS], Target::Spread)?;
        let stockyard = self.stockyard.clone();
        snapshots::take_during(&stockyard, url, || {
            self.load(report::ORDERS_DURING_SNAPSHOTS, server, books, &[READERS], Target::Spread)
        })
    }

    fn on_sqlite(&mut self) -> Result<()> {
        eprintln!("filling a SQLite file");
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("bench.db").display().to_string();
        let books = Books::on_sqlite(&self.runtime, &path)?;
        let url = format!("sqlite://{path}");
        for round in 1..=self.args.rounds {
            eprintln!("round {round} of {} on SQLite", self.args.rounds);
            // One target after the other, because a SQLite file has one writer.
            let server = Server::start(&self.stockyard, &url, None, BATCHING)?;
            self.load(report::SQLITE, &server, &books, &[1, 8, 32, 128], Target::Spread)?;
            self.load(report::SQLITE_ONE_PORTFOLIO, &server, &books, &[128], Target::OnePortfolio)?;
            drop(server);
            let server = Server::start(&self.stockyard, &url, None, ONE_BY_ONE)?;
            self.load(report::SQLITE_UNBATCHED, &server, &books, &[1, 128], Target::Spread)?;
            let one_portfolio = report::SQLITE_UNBATCHED_ONE_PORTFOLIO;
            self.load(one_portfolio, &server, &books, &[128], Target::OnePortfolio)?;
        }
        Ok(())
    }

    fn pgbench(&mut self, what: &str, opponent: &Opponent, script: Script, time: Duration) -> Result<()> {
        PGBENCH_CLIENTS.into_iter().try_for_each(|clients| {
            self.report.measure(what, clients, || opponent.pgbench(script, clients, time))
        })
    }

    fn load(
        &mut self,
        what: &str,
        server: &Server,
        books: &Books,
        connections: &[usize],
        target: Target,
    ) -> Result<()> {
        let time = self.time;
        connections.iter().try_for_each(|count| {
            self.report.measure(what, *count, || load::run(server.address, *count, time, books, target))
        })
    }
}
