//! A running server whose SQLite file is deleted, moved or replaced.

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::client::{Client, Trader};
use crate::installation::{Installation, Server};
use crate::process::eventually;

const PATIENCE: Duration = Duration::from_secs(30);

async fn trader(server: &Server) -> (Trader, i64) {
    let sam = Client::new(std::slice::from_ref(&server.url)).register().await;
    let id = sam.open_portfolio("1000.00").await;
    sam.buy(id, "AAPL", "1").await;
    (sam, id)
}

async fn is_refused(server: &Server, sam: &Trader, id: i64) {
    eventually("the server is not ready", PATIENCE, async || {
        (sam.client.get("/health/ready").await.status == 503).then_some(())
    })
    .await;
    let order = json!({"symbol": "AAPL", "side": "buy", "quantity": "0.1", "type": "market"});
    let cash = json!({"amount": "1.00", "type": "deposit"});
    for _ in 0..3 {
        for answer in [
            sam.order(id, &order).await,
            sam.client.post(&format!("/api/v1/portfolios/{id}/cash"), &cash).await,
            sam.client.post("/api/v1/portfolios", &json!({"name": "Second"})).await,
        ] {
            assert_eq!(answer.status, 503, "{}", answer.text);
            assert!(answer.header("retry-after").is_some(), "{}", answer.text);
        }
    }
    let log = server.process.log();
    assert_eq!(log.matches("database_file_lost").count(), 1, "{log}");
    assert!(log.contains("while it was in use"), "{log}");
}

fn rename(from: &Path, to: &Path) {
    std::fs::rename(from, to).unwrap();
}

#[tokio::test]
async fn nothing_is_accepted_after_the_database_file_is_gone() {
    for what in ["file", "file and log", "folder"] {
        let installation = Installation::embedded();
        let server = installation.serve().await;
        let (sam, id) = trader(&server).await;
        let (data, aside) = (installation.folder().join("data"), installation.folder().join("aside"));
        let files = ["stockyard.db", "stockyard.db-wal", "stockyard.db-shm"];
        let moved = match what {
            "file" => &files[..1],
            "file and log" => &files[..],
            _ => &[],
        };
        if moved.is_empty() {
            rename(&data, &aside);
        } else {
            std::fs::create_dir(&aside).unwrap();
            moved.iter().for_each(|file| rename(&data.join(file), &aside.join(file)));
        }
        is_refused(&server, &sam, id).await;
        assert!(!data.join("stockyard.db").exists(), "{what}: a new file was made");
        // The file is used again after it was moved back.
        if moved.is_empty() {
            rename(&aside, &data);
        } else {
            moved.iter().for_each(|file| rename(&aside.join(file), &data.join(file)));
        }
        sam.buy(id, "AAPL", "1").await;
        assert_eq!(sam.client.get("/health/ready").await.status, 200, "{what}");
        drop(server);
        installation.verify().await;
    }
}

#[tokio::test]
async fn nothing_is_accepted_after_the_database_file_was_replaced() {
    let installation = Installation::embedded();
    let mut server = installation.serve().await;
    let (sam, id) = trader(&server).await;
    let file = installation.folder().join("data/stockyard.db");
    let copy = installation.folder().join("copy.db");
    installation.run(&["backup", copy.to_str().unwrap()]).await.succeeded();
    rename(&copy, &file);
    is_refused(&server, &sam, id).await;
    server.process.kill();
}
