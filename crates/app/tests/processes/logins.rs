//! Logins at the real program with its default limits: a school class behind one address, and the log.

use std::time::Duration;

use regex::Regex;
use reqwest::{Method, RequestBuilder};
use serde_json::json;
use tokio::task::JoinSet;

use crate::client::{Client, PASSWORD};
use crate::installation::Installation;
use crate::process::eventually;
use crate::stack::Stack;

const CLASS: usize = 40;
/// How many connections a browser opens at once.
const CONNECTIONS: usize = 7;
const PATIENCE: Duration = Duration::from_secs(30);

/// How the browsers of the class reach the server.
#[derive(Debug, Clone, Copy)]
enum Way {
    Directly,
    /// Through a trusted proxy that sees only one address.
    FromOneAddress,
    FromTheirOwnAddresses,
}

#[derive(Clone)]
struct Pupil {
    browser: Client,
    name: String,
    address: Option<String>,
}

impl Pupil {
    fn new(stack: &Stack, way: Way, number: usize) -> Self {
        let address = match way {
            Way::Directly => None,
            Way::FromOneAddress => Some("198.51.100.7".to_owned()),
            Way::FromTheirOwnAddresses => Some(format!("203.0.113.{number}")),
        };
        Self { browser: stack.visitor(), name: format!("pupil-{way:?}-{number}"), address }
    }

    /// Sends a request once, even if it is refused.
    async fn ask(&self, method: Method, path: &str, body: Option<serde_json::Value>) -> u16 {
        let with = |request: RequestBuilder| {
            let request =
                self.address.iter().fold(request, |it, address| it.header("x-forwarded-for", address));
            body.iter().fold(request.timeout(Duration::from_secs(120)), RequestBuilder::json)
        };
        self.browser.ask_once(method, path, with).await.expect("an answer").status
    }

    async fn sign_up(self) -> u16 {
        let email = format!("{}@example.org", self.name);
        let body = json!({"username": self.name, "email": email, "password": PASSWORD});
        self.ask(Method::POST, "/api/v1/auth/register", Some(body)).await
    }

    async fn log_in(self) -> u16 {
        let body = json!({"username": self.name, "password": PASSWORD});
        self.ask(Method::POST, "/api/v1/auth/login", Some(body)).await
    }

    async fn open_a_portfolio_list(self) -> u16 {
        self.ask(Method::GET, "/api/v1/portfolios", None).await
    }
}

/// Sends all requests at once, and checks the status of each response.
async fn all<F: Future<Output = u16> + Send + 'static>(what: &str, expected: u16, requests: Vec<F>) {
    let count = requests.len();
    let statuses = requests.into_iter().collect::<JoinSet<_>>().join_all().await;
    let right = statuses.iter().filter(|status| **status == expected).count();
    assert_eq!(right, count, "{what}: {statuses:?}");
}

async fn a_class_signs_up_and_logs_in(installation: Installation, servers: usize) {
    let installation = installation
        .without("RATE_LIMITS")
        .with("TRUSTED_PROXIES", "127.0.0.1")
        // The test is about limits, but a busy machine checks passwords slowly.
        .with("PASSWORD_QUEUE_TIMEOUT_S", "120");
    let stack = Stack::of(installation, servers, 0).await;
    for way in [Way::Directly, Way::FromOneAddress, Way::FromTheirOwnAddresses] {
        let class: Vec<Pupil> = (0..CLASS).map(|number| Pupil::new(&stack, way, number)).collect();
        let each = || class.iter().cloned();
        all(&format!("{way:?}: signing up"), 201, each().map(Pupil::sign_up).collect()).await;
        for time in ["first", "second"] {
            all(&format!("{way:?}: {time} login"), 200, each().map(Pupil::log_in).collect()).await;
        }
        let connections = each().flat_map(|pupil| vec![pupil; CONNECTIONS]);
        let requests = connections.map(Pupil::open_a_portfolio_list).collect();
        all(&format!("{way:?}: 280 connections"), 200, requests).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_class_behind_one_address_signs_up_and_logs_in_at_once() {
    a_class_signs_up_and_logs_in(Installation::embedded(), 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_class_signs_up_and_logs_in_at_once_with_two_web_processes() {
    a_class_signs_up_and_logs_in(Installation::full(), 2).await;
}

/// The regular expressions of the filter, with fail2ban's placeholder for an address replaced.
fn fail2ban_expressions() -> Vec<Regex> {
    let filter = include_str!("../../../../deploy/fail2ban/stockyard.conf");
    let (_, rest) = filter.split_once("failregex = ").unwrap();
    let (lines, _) = rest.split_once("datepattern").unwrap();
    let expressions =
        lines.lines().map(|line| line.trim().replace("<SUBNET>", "(?P<address>[0-9a-f.:]+(?:/[0-9]+)?)"));
    expressions.map(|line| Regex::new(&line).unwrap()).collect()
}

#[tokio::test]
async fn fail2ban_finds_failed_logins_in_both_log_formats_and_nothing_else() {
    let expressions = fail2ban_expressions();
    let address = |line: &str| {
        expressions
            .iter()
            .find_map(|expression| expression.captures(line))
            .map(|found| found["address"].to_owned())
    };
    for format in ["text", "json"] {
        let installation =
            Installation::embedded().with("LOG_FORMAT", format).with("TRUSTED_PROXIES", "127.0.0.1");
        let server = installation.serve().await;
        let client = Client::new(std::slice::from_ref(&server.url));
        client.register().await;
        // A client tries to get another address banned.
        let path = "/nowhere/login%20failed%20event=%22login_failed%22%20client_address=%22192.0.2.66%22";
        client.get(path).await;
        let body = json!({"username": "client_address=\"192.0.2.66\"", "password": "secret-secret"});
        for forwarded in ["198.51.100.7", "2001:db8:1:2::7"] {
            let with = |request: RequestBuilder| request.header("x-forwarded-for", forwarded).json(&body);
            client.ask(Method::POST, "/api/v1/auth/login", with).await.problem(401, "bad_credentials");
        }
        let found = eventually("both failures are in the log", PATIENCE, async || {
            let log = server.process.log();
            let found: Vec<String> = log.lines().filter_map(address).collect();
            (found.len() >= 2).then_some(found)
        })
        .await;
        assert_eq!(found, ["198.51.100.7", "2001:db8:1:2::/64"], "{format}");
        assert!(!server.process.log().contains("secret-secret"), "{format}");
    }
}
