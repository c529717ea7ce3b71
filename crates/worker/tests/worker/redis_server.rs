//! A Redis for one test, which the test can empty, kill and restart.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use crate::firm::eventually;

pub struct RedisServer {
    port: u16,
    folder: tempfile::TempDir,
    process: Option<Child>,
}

impl RedisServer {
    pub async fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = Self { port, folder: tempfile::tempdir().unwrap(), process: None };
        server.start_again().await;
        server
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Starts Redis again without data, because it stores nothing on disk.
    pub async fn start_again(&mut self) {
        let process = Command::new("redis-server")
            .args([
                "--bind",
                "127.0.0.1",
                "--port",
                &self.port.to_string(),
                "--save",
                "",
                "--appendonly",
                "no",
            ])
            .arg("--dir")
            .arg(self.folder.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is missing: `scripts/ensure redis` installs it");
        self.process = Some(process);
        eventually("Redis answers", async || connect(&self.url()).await.is_ok()).await;
    }

    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    pub async fn connect(&self) -> redis::aio::MultiplexedConnection {
        connect(&self.url()).await.unwrap()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

pub async fn connect(url: &str) -> redis::RedisResult<redis::aio::MultiplexedConnection> {
    let mut connection = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
    redis::cmd("PING").query_async::<()>(&mut connection).await?;
    Ok(connection)
}
