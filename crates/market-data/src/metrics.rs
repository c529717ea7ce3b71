//! Metrics of the calls to a provider of real prices.

use std::sync::LazyLock;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// The kind of a request, as a label of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    Quotes,
    Search,
    Listing,
    DailyBars,
    Listings,
    CorporateActions,
    /// A request of `stockyard providers check`.
    Check,
}

impl Endpoint {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Quotes => "quotes",
            Self::Search => "search",
            Self::Listing => "listing",
            Self::DailyBars => "daily_bars",
            Self::Listings => "listings",
            Self::CorporateActions => "corporate_actions",
            Self::Check => "check",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    endpoint: &'static str,
    result: &'static str,
}

static REQUESTS: LazyLock<Family<RequestLabels, Counter>> = LazyLock::new(Family::default);

/// Counts a request. `result` is `answered`, `failed`, `unusable` or `refused` by the provider; or `not_sent` if the
/// budget or the circuit breaker held it back.
pub(crate) fn count(endpoint: Endpoint, result: &'static str) {
    REQUESTS.get_or_create(&RequestLabels { endpoint: endpoint.as_str(), result }).inc();
}

/// Registers the metrics of this process.
pub fn register(registry: &mut Registry) {
    registry.register(
        "stockyard_provider_requests",
        "Requests to the provider of real prices, by endpoint and result",
        REQUESTS.clone(),
    );
}
