//! The state of the installation on the administrators' page and in the API, and the health checks.

use chrono::TimeDelta;
use insta::assert_json_snapshot;
use serde_json::json;
use services::operations::{WorkerIdentity, WorkerMode};

use crate::harness::{TestApp, line};

const STATUS: &str = "/api/v1/admin/status";
const DEEP: &str = "/health/ready?deep=1";

async fn heartbeat(app: &TestApp, name: &str) {
    let worker =
        WorkerIdentity { name: name.to_owned(), mode: WorkerMode::Redis, started_at: app.clock.wall() };
    app.services.operations().worker_heartbeat(&worker).await.unwrap();
}

#[tokio::test]
async fn the_status_contains_workers_jobs_snapshots_database_and_backup() {
    let app = TestApp::spawn().await;
    let ada = app.admin().await;
    ada.open("1000").await;
    heartbeat(&app, "worker").await;
    let before = ada.get(STATUS).await.is(200).json();
    assert_eq!(before["last_final_snapshot"], serde_json::Value::Null);
    app.at("2026-11-21T06:00:00Z");
    app.work().await;
    let status = ada.get(STATUS).await.is(200);
    assert!(status.json()["database_bytes"].as_u64().unwrap() > 10_000);
    assert_json_snapshot!(status.json(), {
        ".workers[].host" => "[host]", ".workers[].process_id" => "[pid]", ".workers[].version" => "[version]",
        ".database_bytes" => "[bytes]", ".jobs" => "[jobs]",
    }, @r#"
    {
      "at": "2026-11-21T06:00:00Z",
      "database_bytes": "[bytes]",
      "jobs": "[jobs]",
      "last_backup_at": null,
      "last_final_snapshot": {
        "session": "2026-11-20",
        "taken_at": "2026-11-21T06:00:00Z"
      },
      "snapshot_sessions_behind": 0,
      "workers": [
        {
          "host": "[host]",
          "last_seen_at": "2026-11-20T19:12:00Z",
          "mode": "redis",
          "name": "worker",
          "process_id": "[pid]",
          "started_at": "2026-11-20T19:12:00Z",
          "status": "silent",
          "version": "[version]"
        }
      ]
    }
    "#);
    let jobs = status.json()["jobs"].as_array().unwrap().clone();
    let snapshots = jobs.iter().find(|job| job["kind"] == "snapshot_portfolios").unwrap();
    let members = ["queued", "running", "done", "failed", "overdue", "failed_last_day", "last_success_at"];
    assert_eq!(line(snapshots, &members), "0 0 1 0 0 0 2026-11-21T06:00:00Z");
    assert_eq!(jobs.len(), 6);
}

#[tokio::test]
async fn the_admin_page_shows_workers_and_problems() {
    let app = TestApp::spawn().await;
    let ada = app.admin().await;
    let page = ada.get("/admin").await.is(200).text();
    assert!(page.contains("No worker is alive"), "{page}");
    heartbeat(&app, "worker").await;
    let page = ada.get("/admin").await.is(200).text();
    assert!(page.contains("Alive") && !page.contains("No worker is alive"), "{page}");
    app.clock.set(app.clock.wall() + TimeDelta::minutes(2));
    let page = ada.get("/admin").await.is(200).text();
    assert!(page.contains("Silent") && page.contains("No worker is alive"), "{page}");
}

#[tokio::test]
async fn the_deep_check_lists_each_part_and_the_plain_one_does_not() {
    let app = TestApp::spawn().await;
    assert_eq!(app.anonymous().get("/health/ready").await.is(200).text(), r#"{"status":"ok"}"#);
    let failed = app.anonymous().get(DEEP).await.is_refused(503, "not_ready");
    assert_eq!(failed["detail"], "These checks failed: workers. See `checks` for the reasons.");
    assert_eq!(
        failed["checks"],
        json!([
            {"name": "database", "status": "ok"},
            {"name": "order_desk", "status": "ok"},
            {"name": "workers", "status": "failed", "reason": "no worker has sent a heartbeat within 20 s"},
        ])
    );
    heartbeat(&app, "worker").await;
    // The report is cached for a second.
    let mut answer = app.anonymous().get(DEEP).await;
    for _ in 0..100 {
        if answer.status == 200 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        answer = app.anonymous().get(DEEP).await;
    }
    let well = answer.is(200).json();
    assert_eq!(well["status"], "ok");
    assert!(well["checks"].as_array().unwrap().iter().all(|check| check["status"] == "ok"), "{}", *well);
}
