//! The simulated market behind a gate, so that a test controls how long a snapshot takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use chrono::NaiveDate;
use domain::{Calendar, Freshness, Listing, PriceSource, Quote, Symbol, Timestamp};
use market_data::{Catalogue, DEFAULT_SEED, DailySeries, Payer, QuoteError, QuoteSource, Simulated};
use tokio::sync::watch;

/// Closing prices are returned only while the gate is open.
pub struct Gate {
    open: watch::Sender<bool>,
    somebody_waits: watch::Sender<bool>,
    trapped: AtomicBool,
}

impl Gate {
    pub fn open(&self) {
        self.open.send_replace(true);
    }

    pub fn close(&self) {
        self.open.send_replace(false);
    }

    /// Makes the next call that passes the gate panic.
    pub fn set_trap(&self) {
        self.trapped.store(true, Ordering::SeqCst);
    }

    /// Returns when a snapshot waits at the gate.
    pub async fn reached(&self) {
        self.somebody_waits.subscribe().wait_for(|waits| *waits).await.unwrap();
    }

    async fn pass(&self) {
        if !*self.open.borrow() {
            self.somebody_waits.send_replace(true);
            self.open.subscribe().wait_for(|open| *open).await.unwrap();
        }
        assert!(!self.trapped.swap(false, Ordering::SeqCst), "the trap that the test has set");
    }
}

pub struct GatedSource {
    market: Simulated,
    gate: Arc<Gate>,
}

/// The market and its gate, which is open.
pub fn gated_market() -> (Arc<GatedSource>, Arc<Gate>) {
    let gate = Arc::new(Gate {
        open: watch::Sender::new(true),
        somebody_waits: watch::Sender::new(false),
        trapped: AtomicBool::new(false),
    });
    (Arc::new(GatedSource { market: Simulated::new(DEFAULT_SEED), gate: gate.clone() }), gate)
}

#[async_trait]
impl QuoteSource for GatedSource {
    fn source(&self) -> PriceSource {
        self.market.source()
    }

    fn freshness(&self) -> Freshness {
        self.market.freshness()
    }

    fn calendar(&self) -> Calendar {
        self.market.calendar()
    }

    fn catalogue(&self, at: Timestamp) -> Catalogue {
        self.market.catalogue(at)
    }

    async fn quotes(
        &self,
        symbols: &[Symbol],
        at: Timestamp,
        payer: &Payer,
    ) -> Vec<Result<Quote, QuoteError>> {
        self.market.quotes(symbols, at, payer).await
    }

    async fn search(
        &self,
        query: &str,
        limit: usize,
        at: Timestamp,
        payer: &Payer,
    ) -> Result<Vec<Listing>, QuoteError> {
        self.market.search(query, limit, at, payer).await
    }

    async fn listing(&self, symbol: &Symbol, at: Timestamp, payer: &Payer) -> Result<Listing, QuoteError> {
        self.market.listing(symbol, at, payer).await
    }

    async fn daily_series(
        &self,
        symbol: &Symbol,
        first: NaiveDate,
        last: NaiveDate,
        at: Timestamp,
        payer: &Payer,
    ) -> Result<DailySeries, QuoteError> {
        self.gate.pass().await;
        self.market.daily_series(symbol, first, last, at, payer).await
    }
}
