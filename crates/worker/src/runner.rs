//! Distributes due runs, and executes them.

use std::sync::Arc;

use apalis::prelude::{AbortError, BoxDynError};
use futures::StreamExt;
use services::Services;
use tokio::sync::{Semaphore, watch};

use crate::queue::Queue;

/// The state of a worker. Clones share it.
#[derive(Clone)]
pub(crate) struct Runner(Arc<Shared>);

struct Shared {
    services: Services,
    /// The worker's name in the records of runs.
    name: String,
    concurrency: u16,
    /// One slot per simultaneous run.
    slots: Arc<Semaphore>,
    stopping: watch::Sender<bool>,
    queue: Option<Queue>,
}

impl Runner {
    pub(crate) fn new(services: Services, concurrency: u16, queue: Option<Queue>) -> Self {
        let slots = Arc::new(Semaphore::new(usize::from(concurrency)));
        let (name, stopping) = (unique_name(), watch::Sender::new(false));
        Self(Arc::new(Shared { services, name, concurrency, slots, stopping, queue }))
    }

    pub(crate) fn services(&self) -> &Services {
        &self.0.services
    }

    pub(crate) fn name(&self) -> &str {
        &self.0.name
    }

    /// Whether Redis distributes the runs.
    pub(crate) fn has_queue(&self) -> bool {
        self.0.queue.is_some()
    }

    /// Prevents new runs from starting.
    pub(crate) fn stop(&self) {
        self.0.stopping.send_replace(true);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        *self.0.stopping.borrow()
    }

    /// Returns when the worker should stop.
    pub(crate) async fn stopped(&self) {
        let _ = self.0.stopping.subscribe().wait_for(|stopping| *stopping).await;
    }

    /// Returns when no run is in progress.
    pub(crate) async fn idle(&self) {
        let _all = self.0.slots.acquire_many(u32::from(self.0.concurrency)).await;
    }

    /// Distributes the due runs to the queue, or executes them in this process one after the other.
    pub(crate) async fn tick(&self) -> Result<(), BoxDynError> {
        if self.is_stopping() {
            return Ok(());
        }
        let handed_out = match &self.0.queue {
            Some(queue) => self.enqueue_due_runs(queue).await,
            None => self.execute_due_runs().await,
        };
        if let Err(error) = &handed_out {
            tracing::warn!(
                error = &**error as &dyn std::error::Error,
                "due runs were not distributed; retrying at the next tick"
            );
        }
        handed_out
    }

    async fn enqueue_due_runs(&self, queue: &Queue) -> Result<(), BoxDynError> {
        // First, because it also tests Redis: a run that is marked as distributed but cannot be pushed has to wait
        // until it counts as lost.
        queue.forget_finished().await?;
        let due = self.0.services.jobs().due_runs().await?;
        if !due.is_empty() {
            queue.push(due.iter().map(|run| run.id)).await?;
        }
        Ok(())
    }

    async fn execute_due_runs(&self) -> Result<(), BoxDynError> {
        if self.0.slots.available_permits() == 0 {
            return Ok(());
        }
        let due = self.0.services.jobs().due_runs().await?;
        futures::stream::iter(due)
            .for_each_concurrent(usize::from(self.0.concurrency), async |run| {
                // The error is already logged and recorded.
                let _ = self.execute_run(run.id).await;
            })
            .await;
        Ok(())
    }

    /// Matches the working orders, unless another worker process does so.
    pub(crate) async fn match_orders(&self) -> services::Result<()> {
        self.0.services.trading().match_orders_as(&self.0.name).await.map(drop)
    }

    /// Releases the lease for matching and all unfinished runs at the end, so that others can continue at once.
    pub(crate) async fn release_work(&self) {
        let Shared { services, name, .. } = &*self.0;
        if let Err(error) = services.trading().release_matching_lease(name).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "other workers can match orders only after this worker's lease has expired"
            );
        }
        match services.jobs().requeue_unfinished_runs(name).await {
            Ok(0) => {}
            Ok(runs) => tracing::info!(runs, "unfinished runs were released for other workers"),
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "unfinished runs wait until this worker counts as dead"
                )
            }
        }
        services.operations().release_leases().await;
    }

    /// Executes a run in a task of its own, so that it finishes even if the connection to Redis and the apalis worker
    /// end earlier. For Redis a failure is final: the database decides about retries.
    pub(crate) async fn execute_run(&self, id: i64) -> Result<(), BoxDynError> {
        let slot = self.0.slots.clone().acquire_owned().await?;
        if self.is_stopping() {
            self.0.services.jobs().requeue_run(id).await?;
            return Err("the worker is stopping: another worker will do the run".into());
        }
        let shared = self.0.clone();
        let run = tokio::spawn(async move {
            let _slot = slot;
            shared.services.jobs().run_job(id, &shared.name).await
        });
        let error: BoxDynError = match run.await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => error.into(),
            Err(panic) => panic.into(),
        };
        tracing::warn!(job.id = id, error = &*error as &dyn std::error::Error, "job failed");
        Err(AbortError::new(error).into())
    }
}

/// A unique name of this worker: host, process, and a random part because two containers can have the same host name.
pub(crate) fn unique_name() -> String {
    let host = services::operations::host_name();
    format!("{host}-{}-{}", std::process::id(), uuid::Uuid::now_v7().simple())
}
