//! What answers requests: one or several web processes over one installation, or a deployment elsewhere.

use crate::client::{Client, PASSWORD, Trader};
use crate::installation::{ALLOWED_ORIGIN, Installation, Server, setting};
use crate::process::Process;

/// What every API token begins with.
const TOKEN_PREFIX: &str = "sy_";

pub struct Stack {
    pub urls: Vec<String>,
    /// An origin whose scripts may use the API, where one is known to be configured.
    pub allowed_origin: Option<String>,
    /// Of the processes started here. They go before the folder that they write to.
    pub servers: Vec<Server>,
    pub workers: Vec<Process>,
    installation: Option<Installation>,
}

impl Stack {
    /// One process with everything in it.
    pub async fn embedded() -> Self {
        Self::of(Installation::embedded(), 1, 0).await
    }

    /// PostgreSQL and Redis, two web processes and a worker.
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
            // One address for browsers, whichever process answers.
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

    /// A deployment that somebody else has started, with the variables of this test's environment.
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

    /// Somebody without an account, with a cookie jar.
    pub fn visitor(&self) -> Client {
        Client::new(&self.urls)
    }

    /// Somebody with a new account and a token.
    pub async fn trader(&self) -> Trader {
        self.visitor().register().await
    }

    /// Ends all processes and starts as many again at the same addresses, with other settings.
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

    /// Starts a web process that has ended again, at the same address.
    pub async fn restarted(&mut self, process: usize) {
        let port = self.servers[process].port;
        self.servers[process] = self.installation().serve_on(port).await;
    }

    /// Ends all processes as a supervisor does, and checks that they end well, that their logs tell of no error of
    /// theirs and no secret, and that the books balance.
    pub async fn ends_well(mut self) {
        self.end().await;
        self.installation().verify().await;
    }

    /// Ends all processes as a supervisor does, and looks at their logs.
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
