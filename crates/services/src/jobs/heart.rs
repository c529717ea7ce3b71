//! The heartbeat of a run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::TimeDelta;
use persistence::jobs;

use super::Jobs;
use crate::error::Error;

/// Sends heartbeats for a run until it is dropped.
pub(super) struct Heart {
    beating: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Heart {
    pub(super) fn start(own: Jobs, id: i64, worker: String, silence: TimeDelta) -> Self {
        let beating = Arc::new(AtomicBool::new(true));
        let shared = beating.clone();
        let pause = (silence / 3).to_std().unwrap_or(std::time::Duration::from_secs(1));
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(pause).await;
                let (name, clock) = (worker.clone(), own.market.clock.clone());
                let still_mine = own
                    .store
                    .write(move |tx| jobs::heartbeat(tx, id, &name, clock.wall()).map_err(Error::from))
                    .await;
                // A failed write does not mean that another worker has the run: the next write may succeed.
                if matches!(still_mine, Ok(false)) {
                    shared.store(false, Ordering::Relaxed);
                    return;
                }
            }
        });
        Self { beating, task }
    }

    /// Whether the run still belongs to this worker.
    pub(super) fn beats(&self) -> bool {
        self.beating.load(Ordering::Relaxed)
    }
}

impl Drop for Heart {
    fn drop(&mut self) {
        self.task.abort();
    }
}
