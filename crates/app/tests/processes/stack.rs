//! The processes that answer requests: one or several of an installation, or a deployment elsewhere.

use crate::client::{Client, PASSWORD, Trader};
use crate::installation::{ALLOWED_ORIGIN, Installation, Server, setting};
use crate::process::Process;

/// The prefix of every API token.
const TOKEN_PREFIX: &str = "sy_";

pub struct Stack {
    pub urls: Vec<String>,
    /// An origin whose scripts may use the API, if one is configured.
    pub allowed_origin: Option<String>,
    /// The processes that were started here. They are dropped before the folder that they write to.
    pub servers: Vec<Server>,
    pub workers: Vec<Process>,
    installation: Option<Installation>,
}

impl Stack {
    /// One process with everything inside.
    pub async fn embedded() -> Self {
        Self::of(Installation::embedded(), 1, 0).await
    }

    /// PostgreSQL and Redis, with two web processes and a worker.
    pub async fn full() -> Self {
        Self::of(Installation::full(), 2, 1).await
    }

    pub async fn of(mut installation: Installation, servers: usize, workers: usize) -> Self {
        if installation.is_on_postgres() {
            installation.migrate().await;
        }
        let mut stack = Self {
            urls: Vec::new(),
            allowed_origin: Some(ALLOWED_ORIGIN.to_owned()),
            servers: Vec::new(),
            workers: Vec::new(),
            installation: None,
        };
        for _ in 0..servers {
            let server = installation.serve().await;
            // Browsers use one address for all processes.
            if stack.urls.is_empty() && servers > 1 {
                installation.set("PUBLIC_URL", &server.url);
            }
            stack.urls.push(server.url.clone());
            stack.servers.push(server);
        }
        for _ in 0..workers {
            stack.workers.push(installation.worker().await);
        }
        stack.installation = Some(installation);
        stack
    }

    /// A deployment that is already running, configured by this test's environment.
    pub fn at(url: &str) -> Self {
        let origins = setting("CORS_ALLOWED_ORIGINS");
        let allowed_origin = origins.and_then(|list| Some(list.split(',').next()?.trim().to_owned()));
        let (servers, workers) = (Vec::new(), Vec::new());
        let urls = vec![url.trim_end_matches('/').to_owned()];
        Self { urls, allowed_origin, servers, workers, installation: None }
    }

    pub fn installation(&self) -> &Installation {
        self.installation.as_ref().expect("a stack that was started here")
    }

    /// A client without an account, with a cookie jar.
    pub fn visitor(&self) -> Client {
        Client::new(&self.urls)
    }

    /// Registers a user and creates a token.
    pub async fn trader(&self) -> Trader {
        self.visitor().register().await
    }

    /// Ends all processes, and starts the same number at the same addresses with other settings.
    pub async fn restart(&mut self, settings: &[(&str, &str)]) {
        self.end().await;
        let installation = self.installation.as_mut().expect("a stack that was started here");
        for (variable, value) in settings {
            installation.set(variable, value);
        }
        for server in &mut self.servers {
            *server = installation.serve_on(server.port).await;
        }
        for worker in &mut self.workers {
            *worker = installation.worker().await;
        }
    }

    /// Restarts a web process that has ended, at the same address.
    pub async fn restarted(&mut self, process: usize) {
        let port = self.servers[process].port;
        self.servers[process] = self.installation().serve_on(port).await;
    }

    /// Ends all processes like a supervisor. Checks that they end well, that their logs have no errors and no secrets,
    /// and that the books balance.
    pub async fn ends_well(mut self) {
        self.end().await;
        self.installation().verify().await;
    }

    /// Ends all processes like a supervisor, and checks their logs.
    pub async fn end(&mut self) {
        for process in self.servers.iter_mut().map(|server| &mut server.process).chain(&mut self.workers) {
            process.ends_well().await;
            for line in process.log().lines() {
                let reveals = [PASSWORD, TOKEN_PREFIX].iter().any(|secret| line.contains(secret));
                assert!(!reveals && !line.contains(" ERROR "), "{line}");
            }
        }
    }
}
