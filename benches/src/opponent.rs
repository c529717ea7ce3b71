//! The opponent: pgbench, which executes one order per transaction on plain tables of the same server.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use diesel::connection::SimpleConnection;
use diesel::sql_types::{BigInt, Text};
use diesel::{Connection, PgConnection, RunQueryDsl};

use crate::books::{HISTORIES, PORTFOLIOS, READERS, SIZES, with_sizes};
use crate::report::Run;

const TABLES: &str = include_str!("../sql/opponent.sql");

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Script {
    Order,
    OrderOnOneRow,
    /// The positions of one portfolio.
    Positions,
    /// The newest transactions of one portfolio.
    Transactions,
    /// The daily rows of one portfolio for a year.
    HistoryOneYear,
    /// The daily rows of one portfolio for five years.
    HistoryFiveYears,
}

/// A database with the opponent's tables.
pub struct Opponent {
    pub url: String,
    scripts: tempfile::TempDir,
}

impl Opponent {
    pub fn fill(server: &str) -> Result<Self> {
        let url = create_database(server, "opponent")?;
        PgConnection::establish(&url)?.batch_execute(&with_sizes(TABLES))?;
        let scripts = tempfile::tempdir()?;
        for (name, text) in [
            ("order", include_str!("../pgbench/order.sql")),
            ("positions", include_str!("../pgbench/positions.sql")),
            ("transactions", include_str!("../pgbench/transactions.sql")),
            ("history_1y", include_str!("../pgbench/history_1y.sql")),
            ("history_5y", include_str!("../pgbench/history_5y.sql")),
        ] {
            std::fs::write(scripts.path().join(name), text)?;
        }
        Ok(Self { url, scripts })
    }

    /// Measures one statement that writes today's snapshot of each portfolio from its positions.
    pub fn snapshots(&self) -> Result<Duration> {
        let mut conn = PgConnection::establish(&self.url)?;
        conn.batch_execute("DROP TABLE IF EXISTS daily; CREATE TABLE daily (LIKE snapshot INCLUDING ALL)")?;
        let start = Instant::now();
        conn.batch_execute(include_str!("../sql/snapshots.sql"))?;
        Ok(start.elapsed())
    }

    pub fn pgbench(&self, script: Script, clients: usize, time: Duration) -> Result<Run> {
        let readers = (PORTFOLIOS + 1, PORTFOLIOS + READERS);
        let histories = (PORTFOLIOS + 1, PORTFOLIOS + HISTORIES);
        let (name, (first, last)) = match script {
            Script::Order => ("order", (1, PORTFOLIOS)),
            Script::OrderOnOneRow => ("order", (1, 1)),
            Script::Positions => ("positions", readers),
            Script::Transactions => ("transactions", readers),
            Script::HistoryOneYear => ("history_1y", histories),
            Script::HistoryFiveYears => ("history_5y", histories),
        };
        let output = Command::new("pgbench")
            .args(["-n", "-M", "prepared", "-j", "2", "-c", &clients.to_string()])
            .args(["-T", &time.as_secs().max(1).to_string()])
            .args(SIZES.iter().flat_map(|(name, size)| ["-D".to_owned(), format!("{name}={size}")]))
            .args(["-D", &format!("first={first}"), "-D", &format!("last={last}")])
            .arg("-f")
            .arg(self.scripts.path().join(name))
            // pgbench's libpq would encrypt the connection if the server can; Stockyard's build cannot, so both run
            // without.
            .arg(format!("{}?sslmode=disable", self.url))
            .output()
            .context("pgbench cannot be run: `scripts/ensure pgbench` installs it")?;
        let told = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "pgbench failed: {told}{}", String::from_utf8_lossy(&output.stderr));
        read_figures(&told).with_context(|| format!("pgbench printed no figures: {told}"))
    }
}

fn read_figures(told: &str) -> Option<Run> {
    let figure = |label| {
        let (_, value) = told.lines().find(|line| line.starts_with(label))?.split_once(" = ")?;
        value.split_whitespace().next()?.parse().ok()
    };
    Some(Run { rate: figure("tps")?, mean_ms: figure("latency average")?, ..Run::default() })
}

/// A new database on the server, and its URL.
pub fn create_database(server: &str, name: &str) -> Result<String> {
    let (base, _) = server.rsplit_once('/').context("the server's URL ends in no database's name")?;
    let mut conn = PgConnection::establish(server)?;
    conn.batch_execute(&format!("DROP DATABASE IF EXISTS {name}"))?;
    conn.batch_execute(&format!("CREATE DATABASE {name}"))?;
    Ok(format!("{base}/{name}"))
}

/// Deletes today's snapshots, so that the next run writes new rows as every day's first one.
pub fn forget_snapshots(url: &str) -> Result<()> {
    let mut conn = PgConnection::establish(url)?;
    conn.batch_execute("DELETE FROM portfolio_snapshots WHERE provisional")?;
    conn.batch_execute("VACUUM portfolio_snapshots")?;
    Ok(conn.batch_execute("CHECKPOINT")?)
}

#[derive(diesel::QueryableByName)]
struct Bytes {
    #[diesel(sql_type = BigInt)]
    bytes: i64,
}

/// The size of a database with its indexes.
pub fn size_mib(url: &str) -> Result<f64> {
    let query = diesel::sql_query("SELECT pg_database_size(current_database()) AS bytes");
    let found: Bytes = query.get_result(&mut PgConnection::establish(url)?)?;
    Ok(found.bytes as f64 / 1024.0 / 1024.0)
}

/// Vacuums and analyzes the databases, so that the first measurement is not slowed down by the filling.
pub fn settle(databases: &[&str]) -> Result<()> {
    for url in databases {
        let mut conn = PgConnection::establish(url)?;
        conn.batch_execute("VACUUM ANALYZE")?;
        conn.batch_execute("CHECKPOINT")?;
    }
    Ok(())
}

#[derive(diesel::QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    line: String,
}

/// The server's version and all its settings that differ from the defaults, except addresses and languages.
pub fn conditions(server: &str) -> Result<String> {
    let lines: Vec<Line> = diesel::sql_query(
        "SELECT split_part(version(), ' on ', 1) || ', fsync ' || current_setting('fsync') AS line
         UNION ALL
         SELECT '  ' || name || ' = ' || setting || ', by default ' || boot_val FROM pg_settings
         WHERE source = 'configuration file' AND setting IS DISTINCT FROM boot_val
             AND category !~ '(Connection Settings|SSL|Locale and Formatting|What to Log)$' OR name = 'max_connections'",
    )
    .load(&mut PgConnection::establish(server)?)?;
    Ok(lines.into_iter().map(|line| line.line).collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_parsed_from_the_output_of_pgbench() {
        let told = "number of transactions actually processed: 31004\nlatency average = 5.161 ms\n\
                    initial connection time = 31.912 ms\ntps = 3099.871 (without initial connection time)\n";
        let run = read_figures(told).unwrap();
        assert_eq!((run.rate, run.mean_ms), (3099.871, 5.161));
    }
}
