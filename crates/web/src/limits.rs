//! How often one address may ask, and what its address is behind proxies.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;

use actix_web::HttpResponse;
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::HeaderMap;
use actix_web::middleware::Next;
use actix_web::web::Data;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use ipnet::IpNet;

use crate::problem::Problem;
use crate::{AppState, WebConfig};

/// Two budgets per address: for everything, and a small one for what costs a password hash.
pub struct Limits(Option<Budgets>);

struct Budgets {
    all: DefaultKeyedRateLimiter<String>,
    passwords: DefaultKeyedRateLimiter<String>,
}

const fn per_second(rate: u32, burst: u32) -> Quota {
    match (NonZeroU32::new(rate), NonZeroU32::new(burst)) {
        (Some(rate), Some(burst)) => Quota::per_second(rate).allow_burst(burst),
        _ => panic!("a quota is more than zero"),
    }
}

const ALL: Quota = per_second(50, 300);
const PASSWORDS: Quota = per_second(1, 60);
/// When so many addresses are remembered, those that have been quiet are forgotten.
const REMEMBERED: usize = 10_000;

impl Limits {
    pub fn new(on: bool) -> Self {
        Self(on.then(|| Budgets { all: RateLimiter::keyed(ALL), passwords: RateLimiter::keyed(PASSWORDS) }))
    }

    /// The seconds to wait, when it was too often.
    fn check(&self, address: &String, costs_a_hash: bool) -> Option<i64> {
        let budgets = self.0.as_ref()?;
        let limiter = if costs_a_hash { &budgets.passwords } else { &budgets.all };
        if limiter.len() > REMEMBERED {
            limiter.retain_recent();
        }
        let refused = limiter.check_key(address).err()?;
        let wait = refused.wait_time_from(DefaultClock::default().now());
        Some(i64::try_from(wait.as_secs()).unwrap_or(60) + 1)
    }
}

fn costs_a_hash(method: &Method, path: &str) -> bool {
    *method == Method::POST
        && matches!(
            path,
            "/login"
                | "/register"
                | "/settings/password"
                | "/settings/delete"
                | "/api/v1/auth/login"
                | "/api/v1/auth/register"
                | "/api/v1/auth/tokens"
                | "/api/v1/users/me/password"
        )
}

/// Answers 429 to those who ask too often.
pub async fn limit(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let state =
        request.app_data::<Data<AppState>>().expect("Invariant: the state is part of every app").clone();
    let address = client_address(request.peer_addr(), request.headers(), &state.config);
    if let Some(seconds) =
        state.limits.check(&address, costs_a_hash(request.method(), request.match_info().as_str()))
    {
        let problem = Problem::too_many_requests(seconds);
        // With the error itself, out of which `shape_errors` makes a page where one is wanted.
        let response = HttpResponse::from_error(problem);
        let (request, _) = request.into_parts();
        return Ok(ServiceResponse::new(request, response));
    }
    Ok(next.call(request).await?.map_into_boxed_body())
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
        // From the right: each proxy added whom it saw. What stands beyond the first stranger, or beyond what is no
        // address, is the client's own invention.
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
        // What the client wrote itself stands further left and does not count.
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

    #[test]
    fn hashes_are_dearer_than_reads() {
        let limits = Limits::new(true);
        let address = "192.0.2.1".to_owned();
        let refused = (0..100).filter(|_| limits.check(&address, true).is_some()).count();
        assert!((30..=40).contains(&refused), "{refused}");
        assert_eq!(limits.check(&address, false), None);
        assert_eq!(Limits::new(false).check(&address, true), None);
    }
}
