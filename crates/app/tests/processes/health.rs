//! A killed worker is reported by everything that operators watch.

use std::time::Duration;

use crate::client::Client;
use crate::installation::Installation;
use crate::process::eventually;

const PATIENCE: Duration = Duration::from_secs(60);

async fn until_deep_health_is(client: &Client, status: u16) {
    eventually(&format!("the deep check answers {status}"), PATIENCE, async || {
        let answer = client.get("/health/ready?deep=1").await;
        (answer.status == status).then_some(())
    })
    .await;
}

async fn until_metrics_have(client: &Client, sample: &str) {
    eventually(sample, PATIENCE, async || {
        let answer = client.get("/metrics").await;
        answer.text.lines().any(|line| line == sample).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_is_reported_by_deep_health_metrics_and_health_checks() {
    let mut installation = Installation::full().with("WORKER_TIMEOUT_S", "3");
    installation.migrate().await;
    let mut server = installation.serve().await;
    let client = Client::new(std::slice::from_ref(&server.url));
    installation.set("PORT", &server.port.to_string());
    until_deep_health_is(&client, 503).await;
    assert!(installation.run(&["healthcheck", "--worker"]).await.failed().is_empty());

    let mut worker = installation.worker().await;
    until_deep_health_is(&client, 200).await;
    until_metrics_have(&client, "stockyard_workers{state=\"alive\"} 1.0").await;
    assert_eq!(installation.run(&["healthcheck", "--worker"]).await.succeeded(), "alive\n");
    assert_eq!(installation.run(&["healthcheck", "--deep"]).await.succeeded(), "ready\n");

    worker.kill();
    until_deep_health_is(&client, 503).await;
    until_metrics_have(&client, "stockyard_workers{state=\"silent\"} 1.0").await;
    until_metrics_have(&client, "stockyard_health_check_up{check=\"workers\"} 0.0").await;
    let deep = installation.run(&["healthcheck", "--deep"]).await;
    assert!(deep.stdout.contains("workers: no worker has sent a heartbeat"), "{deep:?}");
    assert_eq!(deep.code, Some(1));
    // The plain check is for load balancers, and does not depend on workers.
    assert_eq!(installation.run(&["healthcheck"]).await.succeeded(), "ready\n");

    let mut worker = installation.worker().await;
    until_deep_health_is(&client, 200).await;
    worker.ends_well().await;
    until_deep_health_is(&client, 503).await;
    server.process.ends_well().await;
}
