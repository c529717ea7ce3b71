//! Records in the database that this worker is alive.

use std::time::Duration;

use services::Services;
use services::operations::{WorkerIdentity, WorkerMode};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::runner::Runner;

/// How long deleting the row may take. A process ends within ten seconds after a stop request.
const REMOVAL_TIMEOUT: Duration = Duration::from_millis(400);

pub(crate) struct Heartbeat {
    services: Services,
    name: String,
    /// Ends the task when dropped.
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Heartbeat {
    /// Records heartbeats until [`Heartbeat::end`].
    pub(crate) fn start(runner: &Runner) -> Self {
        let services = runner.services().clone();
        let worker = WorkerIdentity {
            name: runner.name().to_owned(),
            mode: if runner.has_queue() { WorkerMode::Redis } else { WorkerMode::Embedded },
            started_at: services.market().wall_time(),
        };
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(beat(services.clone(), worker, stopped));
        Self { services, name: runner.name().to_owned(), stop, task }
    }

    /// Deletes the worker's row. If that fails, the worker is shown as silent for an hour.
    pub(crate) async fn end(self) {
        drop(self.stop);
        let removal = async {
            // A concurrent heartbeat would insert the row again.
            let _ = self.task.await;
            self.services.operations().remove_worker(&self.name).await
        };
        match tokio::time::timeout(REMOVAL_TIMEOUT, removal).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the worker's row was not removed");
            }
            Err(_) => tracing::warn!("the worker's row was not removed in time"),
        }
    }
}

async fn beat(services: Services, worker: WorkerIdentity, mut stopped: oneshot::Receiver<()>) {
    let mut interval = tokio::time::interval(services.operations().health_config().heartbeat_interval());
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        tokio::select! {
            _ = interval.tick() => {}
            _ = &mut stopped => return,
        }
        match services.operations().worker_heartbeat(&worker).await {
            Ok(()) => failing = false,
            // Logged once per outage, not with each heartbeat.
            Err(error) if !failing => {
                failing = true;
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the worker's heartbeat was not recorded"
                );
            }
            Err(_) => {}
        }
    }
}
