//! How many requests a client may send, and which address a client has behind proxies.
//!
//! Requests of signed-in users are charged to their account, all others to their address: people behind one address do
//! not share a budget once they have logged in. A session or token is charged to its account only after this process
//! has
//! accepted it once. A made-up one therefore never gets a budget of its own, and no request is looked up before it is
//! limited.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{HttpMessage, HttpRequest, HttpResponse};
use domain::UserId;
use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use ipnet::IpNet;
use sha2::{Digest, Sha256};

use crate::http::problem::Problem;
use crate::http::{extract, session};
use crate::{AppState, WebConfig};

/// The budgets, unless they are switched off.
pub struct Limits(Option<Budgets>);

struct Budgets {
    accounts: Limiter<UserId>,
    addresses: Limiter<String>,
    /// Registrations from an address: each costs a password hash and a permanent row.
    sign_ups: Limiter<String>,
    /// Style sheets, scripts, pictures and health checks, per address.
    files: Limiter<String>,
    accepted: Mutex<HashMap<Credential, UserId>>,
}

type Limiter<K> = DefaultKeyedRateLimiter<K, StateInformationMiddleware>;

/// The hash of a session key or of a token.
type Credential = [u8; 32];

/// The user whose session or token a handler has accepted, or `None` if it was refused. Stored in the request's
/// extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted(pub Option<UserId>);

/// A rate limit: a burst of requests, and how many of them are allowed again per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Policy {
    /// The name in the response headers.
    name: &'static str,
    per_second: u32,
    burst: u32,
}

const ACCOUNT: Policy = Policy { name: "account", per_second: 50, burst: 300 };
const ADDRESS: Policy = Policy { name: "address", per_second: 50, burst: 300 };
const SIGN_UPS: Policy = Policy { name: "registrations", per_second: 1, burst: 120 };
const FILES: Policy = Policy { name: "files", per_second: 500, burst: 3_000 };

impl Policy {
    const fn quota(self) -> Quota {
        match (NonZeroU32::new(self.per_second), NonZeroU32::new(self.burst)) {
            (Some(rate), Some(burst)) => Quota::per_second(rate).allow_burst(burst),
            _ => panic!("a quota is more than zero"),
        }
    }

    /// How many seconds it takes to refill a budget completely.
    const fn window_s(self) -> u32 {
        self.burst.div_ceil(self.per_second)
    }
}

/// A budget after a request was charged to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Charged {
    policy: Policy,
    /// How many more requests the budget allows at this moment.
    remaining: u32,
    /// How many seconds the client has to wait; `None` if the request is allowed.
    wait_s: Option<i64>,
}

/// All budgets that a request was charged to. Stored in the request's extensions.
struct Charges(Vec<Charged>);

pub const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
pub const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

fn list(charges: &[Charged], item: impl Fn(&Charged) -> String) -> String {
    charges.iter().map(item).collect::<Vec<_>>().join(", ")
}

/// Tells the client its budgets, in the header fields of draft-ietf-httpapi-ratelimit-headers-11: `"account";q=300;w=6` (a
/// quota of 300 requests comes back within 6 seconds) and `"account";r=299;t=1` (299 are left, and more come within a second).
pub fn announce<B>(response: &mut ServiceResponse<B>) {
    if !response.request().path().starts_with("/api/") {
        return;
    }
    let fields = response.request().extensions().get::<Charges>().map(|Charges(charges)| {
        let policies = list(charges, |Charged { policy, .. }| {
            format!("\"{}\";q={};w={}", policy.name, policy.burst, policy.window_s())
        });
        let left = list(charges, |Charged { policy, remaining, wait_s }| {
            format!("\"{}\";r={remaining};t={}", policy.name, wait_s.unwrap_or(1))
        });
        [(RATE_LIMIT_POLICY, policies), (RATE_LIMIT, left)]
    });
    for (name, value) in fields.into_iter().flatten() {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(name, value);
        }
    }
}

/// Above this number of keys, keys without recent requests are removed from memory.
const MAX_KEYS: usize = 10_000;

/// The budget that a request is charged to.
#[derive(Debug, PartialEq, Eq)]
enum Budget {
    Account(UserId),
    Address(String),
    SignUps(String),
    Files(String),
}

impl Limits {
    pub fn new(on: bool) -> Self {
        Self(on.then(|| Budgets {
            accounts: RateLimiter::keyed(ACCOUNT.quota()).with_middleware(),
            addresses: RateLimiter::keyed(ADDRESS.quota()).with_middleware(),
            sign_ups: RateLimiter::keyed(SIGN_UPS.quota()).with_middleware(),
            files: RateLimiter::keyed(FILES.quota()).with_middleware(),
            accepted: Mutex::default(),
        }))
    }
}

impl Budgets {
    /// Charges a request to its budgets, up to the first one that is spent.
    fn charge(&self, budget: &Budget) -> Vec<Charged> {
        fn check<K: std::hash::Hash + Eq + Clone>(policy: Policy, limiter: &Limiter<K>, key: &K) -> Charged {
            if limiter.len() > MAX_KEYS {
                limiter.retain_recent();
            }
            match limiter.check_key(key) {
                Ok(state) => Charged { policy, remaining: state.remaining_burst_capacity(), wait_s: None },
                Err(refused) => {
                    let wait = refused.wait_time_from(DefaultClock::default().now());
                    let wait_s = i64::try_from(wait.as_secs()).unwrap_or(60) + 1;
                    Charged { policy, remaining: 0, wait_s: Some(wait_s) }
                }
            }
        }
        match budget {
            Budget::Account(user) => vec![check(ACCOUNT, &self.accounts, user)],
            Budget::Address(address) => vec![check(ADDRESS, &self.addresses, address)],
            // A registration is charged to the general budget of its address too.
            Budget::SignUps(address) => {
                let whole = check(ADDRESS, &self.addresses, address);
                match whole.wait_s {
                    None => vec![whole, check(SIGN_UPS, &self.sign_ups, address)],
                    Some(_) => vec![whole],
                }
            }
            Budget::Files(address) => vec![check(FILES, &self.files, address)],
        }
    }

    fn account_of(&self, credential: &Credential) -> Option<UserId> {
        self.accepted().get(credential).copied()
    }

    fn accept(&self, credential: Credential, user: UserId) {
        let mut accepted = self.accepted();
        if accepted.len() >= MAX_KEYS {
            // Credentials in use are added again by their next request.
            accepted.clear();
        }
        accepted.insert(credential, user);
    }

    fn forget(&self, credential: &Credential) {
        self.accepted().remove(credential);
    }

    fn accepted(&self) -> MutexGuard<'_, HashMap<Credential, UserId>> {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The hash of the request's token or session key. `None` for a cookie that was not encrypted with our key.
fn credential(request: &HttpRequest, config: &WebConfig) -> Option<Credential> {
    let secret = match request.headers().contains_key(actix_web::http::header::AUTHORIZATION) {
        true => extract::bearer(request.headers())?.to_owned(),
        false => session::key(request, config)?,
    };
    Some(Sha256::digest(secret.as_bytes()).into())
}

fn budget(request: &ServiceRequest, account: Option<UserId>, config: &WebConfig) -> Budget {
    let address = || client_address(request.peer_addr(), request.headers(), config);
    let path = request.match_info().as_str();
    match account {
        // A proxy or supervisor may share its address with clients; a refused health check would look like an outage.
        _ if path.starts_with("/static/") || path.starts_with("/health/") => Budget::Files(address()),
        _ if *request.method() == Method::POST && matches!(path, "/register" | "/api/v1/auth/register") => {
            Budget::SignUps(address())
        }
        Some(user) => Budget::Account(user),
        None => Budget::Address(address()),
    }
}

/// Answers 429 when the request's budget is spent.
pub async fn limit(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let state =
        request.app_data::<Data<AppState>>().expect("Invariant: the state is part of every app").clone();
    let Some(budgets) = &state.limits.0 else { return Ok(next.call(request).await?.map_into_boxed_body()) };
    let credential = credential(request.request(), &state.config);
    let account = credential.as_ref().and_then(|credential| budgets.account_of(credential));
    let charges = budgets.charge(&budget(&request, account, &state.config));
    let wait_s = charges.iter().find_map(|charged| charged.wait_s);
    request.extensions_mut().insert(Charges(charges));
    if let Some(seconds) = wait_s {
        let problem = Problem::too_many_requests(seconds);
        // The error stays part of the response, so that `shape_errors` can turn it into a page.
        let response = HttpResponse::from_error(problem);
        let (request, _) = request.into_parts();
        return Ok(ServiceResponse::new(request, response));
    }
    let answered = next.call(request).await?.map_into_boxed_body();
    let accepted = answered.request().extensions().get::<Accepted>().copied();
    match (accepted, credential) {
        (Some(Accepted(Some(user))), credential) if account != Some(user) => {
            // A login creates its session in the response.
            let begun = session::new_key(answered.response(), &state.config);
            let begun = begun.map(|key| Sha256::digest(key.as_bytes()).into());
            begun.or(credential).into_iter().for_each(|credential| budgets.accept(credential, user));
        }
        (Some(Accepted(None)), Some(credential)) => budgets.forget(&credential),
        _ => {}
    }
    Ok(answered)
}

/// The client's address as limits count it: an IPv6 network of 64 bits counts as one address.
pub fn client_address(peer: Option<SocketAddr>, headers: &HeaderMap, config: &WebConfig) -> String {
    match client_ip(peer, headers, config) {
        None => "unknown".into(),
        Some(client @ IpAddr::V6(_)) => {
            IpNet::new(client, 64).map_or_else(|_| client.to_string(), |network| network.trunc().to_string())
        }
        Some(client) => client.to_string(),
    }
}

/// The peer's address, or behind trusted proxies the client's: the last address of `X-Forwarded-For` that is not a
/// trusted proxy itself.
pub fn client_ip(peer: Option<SocketAddr>, headers: &HeaderMap, config: &WebConfig) -> Option<IpAddr> {
    let peer = peer?.ip();
    let trusted = |address: &IpAddr| config.trusted_proxies.iter().any(|network| network.contains(address));
    let mut client = peer;
    if trusted(&peer) {
        let values: Vec<&str> =
            headers.get_all("x-forwarded-for").filter_map(|value| value.to_str().ok()).collect();
        // From right to left: each proxy appended the address that it saw. Everything to the left of the first
        // untrusted or invalid address was written by the client.
        for hop in values.iter().flat_map(|value| value.split(',')).collect::<Vec<_>>().into_iter().rev() {
            let Ok(hop) = hop.trim().parse::<IpAddr>() else { break };
            client = hop;
            if !trusted(&hop) {
                break;
            }
        }
    }
    Some(client.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::{HeaderName, HeaderValue};

    fn address(peer: &str, forwarded: &[&str], trusted: &[&str]) -> String {
        let config = WebConfig {
            public_url: "http://localhost".parse().unwrap(),
            secret_key: "x".repeat(64).into(),
            cors_allowed_origins: Vec::new(),
            trusted_proxies: trusted.iter().map(|network| network.parse().unwrap()).collect(),
            rate_limits: true,
            metrics_token: None,
            connections: crate::ConnectionLimits::default(),
            dropped_log_lines: Default::default(),
        };
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(HeaderName::from_static("x-forwarded-for"), HeaderValue::from_str(value).unwrap());
        }
        client_address(Some(peer.parse().unwrap()), &headers, &config)
    }

    #[test]
    fn forwarded_addresses_count_only_from_trusted_proxies() {
        assert_eq!(address("192.0.2.1:9", &["198.51.100.7"], &[]), "192.0.2.1");
        assert_eq!(address("10.0.0.1:9", &["198.51.100.7"], &["10.0.0.0/8"]), "198.51.100.7");
        // Addresses further left are written by the client and do not count.
        assert_eq!(
            address("10.0.0.1:9", &["1.2.3.4, 198.51.100.7, 10.0.0.9"], &["10.0.0.0/8"]),
            "198.51.100.7"
        );
        assert_eq!(address("10.0.0.1:9", &["1.2.3.4", "198.51.100.7"], &["10.0.0.0/8"]), "198.51.100.7");
        assert_eq!(address("10.0.0.1:9", &["10.0.0.3, 10.0.0.2"], &["10.0.0.0/8"]), "10.0.0.3");
        assert_eq!(address("10.0.0.1:9", &["6.6.6.6, x, 198.51.100.7"], &["10.0.0.0/8"]), "198.51.100.7");
        assert_eq!(address("10.0.0.1:9", &["nonsense"], &["10.0.0.0/8"]), "10.0.0.1");
        assert_eq!(address("[2001:db8:1:2:3::4]:9", &[], &[]), "2001:db8:1:2::/64");
    }

    fn refused(budgets: &Budgets, budget: &Budget, requests: usize) -> usize {
        let is_refused = |_: &usize| budgets.charge(budget).iter().any(|charged| charged.wait_s.is_some());
        (0..requests).filter(is_refused).count()
    }

    #[test]
    fn each_account_and_each_address_has_a_budget() {
        let budgets = Limits::new(true).0.unwrap();
        let home = || "192.0.2.1".to_owned();
        assert!(refused(&budgets, &Budget::Address(home()), 1_000) > 500);
        assert_eq!(refused(&budgets, &Budget::Address("192.0.2.2".into()), 300), 0);
        // Logged-in users and files behind the same address are not affected.
        assert_eq!(refused(&budgets, &Budget::Account(UserId(1)), 300), 0);
        assert!(refused(&budgets, &Budget::Account(UserId(1)), 700) > 500);
        assert_eq!(refused(&budgets, &Budget::Account(UserId(2)), 300), 0);
        assert_eq!(refused(&budgets, &Budget::Files(home()), 3_000), 0);
    }

    #[test]
    fn registrations_have_the_smallest_budget() {
        let budgets = Limits::new(true).0.unwrap();
        let address = || "192.0.2.1".to_owned();
        let refused = refused(&budgets, &Budget::SignUps(address()), 200);
        assert!((70..=80).contains(&refused), "{refused}");
        let charged = budgets.charge(&Budget::Address(address()));
        assert!(charged.iter().all(|charged| charged.wait_s.is_none()), "{charged:?}");
        assert!(Limits::new(false).0.is_none());
    }

    #[test]
    fn accepted_credentials_are_remembered_within_bounds() {
        let budgets = Limits::new(true).0.unwrap();
        for number in 0..=MAX_KEYS {
            budgets.accept(Sha256::digest(number.to_string()).into(), UserId(1));
        }
        assert!(budgets.accepted().len() <= MAX_KEYS);
        let newest = Sha256::digest(MAX_KEYS.to_string()).into();
        assert_eq!(budgets.account_of(&newest), Some(UserId(1)));
        budgets.forget(&newest);
        assert_eq!(budgets.account_of(&newest), None);
    }
}
