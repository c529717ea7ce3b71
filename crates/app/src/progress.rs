//! Progress of a long command on standard error: a bar on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::telemetry;

const TICK: Duration = Duration::from_millis(100);

/// The progress of a command whose total is known approximately when it starts.
pub struct Progress {
    what: &'static str,
    total: usize,
    start: Instant,
    /// Only on a terminal.
    bar: Option<ProgressBar>,
    /// Completed tenths of the total that a line was written for.
    tenths_told: usize,
}

impl Progress {
    /// `what` is the plural of the things that are counted.
    pub fn start(what: &'static str, total: usize) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let template = "{spinner} [{bar:30}] {pos} of {len} {msg}, {per_sec}, {eta} to go";
            let style =
                ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
            let bar = ProgressBar::new(total as u64).with_style(style).with_message(what);
            bar.enable_steady_tick(TICK);
            bar
        });
        Self { what, total, start: Instant::now(), bar, tenths_told: 0 }
    }

    /// Shows how many are done. Without a terminal, writes one line for each tenth of the total.
    pub fn advance(&mut self, done: usize) {
        if let Some(bar) = &self.bar {
            bar.set_position(done as u64);
            return;
        }
        let tenths = tenths(done, self.total);
        if tenths > self.tenths_told {
            self.tenths_told = tenths;
            telemetry::print_error(&line(self.what, done, self.total, self.start.elapsed()));
        }
    }

    /// Removes the bar.
    pub fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

fn tenths(done: usize, total: usize) -> usize {
    (done * 10).checked_div(total).unwrap_or(0).min(10)
}

/// `total` may have been exceeded: more can be added while a command runs.
fn line(what: &str, done: usize, total: usize, elapsed: Duration) -> String {
    let total = total.max(done);
    let seconds = elapsed.as_secs_f64().max(1e-3);
    let rate = done as f64 / seconds;
    match total - done {
        0 => format!("{done} of {total} {what}, {rate:.0} per second"),
        left => format!("{done} of {total} {what}, {rate:.0} per second, {:.0} s to go", left as f64 / rate),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_shows_the_rate_and_the_remaining_time() {
        let at = |done, seconds| line("portfolios", done, 200_000, Duration::from_secs(seconds));
        assert_eq!(at(50_000, 2), "50000 of 200000 portfolios, 25000 per second, 6 s to go");
        assert_eq!(at(200_000, 8), "200000 of 200000 portfolios, 25000 per second");
        assert_eq!(at(200_001, 8), "200001 of 200001 portfolios, 25000 per second");
        let at_once = line("portfolios", 3, 3, Duration::ZERO);
        assert_eq!(at_once, "3 of 3 portfolios, 3000 per second");
    }

    #[test]
    fn each_tenth_is_told_once() {
        let told =
            |total: usize, steps: &[usize]| steps.iter().map(|done| tenths(*done, total)).collect::<Vec<_>>();
        assert_eq!(told(200_000, &[2_500, 20_000, 39_999, 200_000, 200_500]), [0, 1, 1, 10, 10]);
        assert_eq!(told(0, &[0, 1]), [0, 0]);
        assert_eq!(told(1, &[1]), [10]);
    }
}
