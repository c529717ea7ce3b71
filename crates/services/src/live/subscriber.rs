//! One stream: its contents, its queued events, and its end.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use domain::{PortfolioId, Quote, Timestamp, UserId};
use futures::task::AtomicWaker;

use super::followed::Followed;
use super::shared::{Shared, Slot};
use super::{Hub, OrderChanged, Proof, StreamPlace};
use crate::books::valuation::ValuedPortfolio;

/// The most orders queued for a slow reader. With more, the reader gets a `Reset`.
const MAX_QUEUED_ORDERS: usize = 100;

/// An event of a stream.
#[derive(Debug)]
pub enum Update<'a> {
    /// Events were missed: the client must reload.
    Reset(&'a Shared<Timestamp>),
    Order(&'a Shared<OrderChanged>),
    Valuation(&'a Shared<ValuedPortfolio>),
    Quote(&'a Shared<Quote>),
    /// The stream is alive. All orders of the user that changed before this market time have been sent.
    Heartbeat(&'a Shared<Timestamp>),
}

/// The part of a stream that the loops write to.
pub(super) struct Subscriber {
    pub id: u64,
    pub user: UserId,
    pub proof: Proof,
    /// The second (since the process started) in which the credential was last confirmed.
    pub confirmed_at: AtomicU64,
    /// The portfolios whose orders are sent; `None` for all portfolios of the user.
    pub portfolios: Option<Box<[PortfolioId]>>,
    pub quotes: Box<[Arc<Slot<Quote>>]>,
    pub valuations: Box<[Arc<Followed>]>,
    inbox: Mutex<Inbox>,
    ended: AtomicBool,
    waker: AtomicWaker,
}

/// The parts of a subscription.
pub(super) struct Feeds {
    /// The portfolios whose orders are followed; all of the user's if `None`.
    pub portfolios: Option<Box<[PortfolioId]>>,
    pub quotes: Box<[Arc<Slot<Quote>>]>,
    pub valuations: Box<[Arc<Followed>]>,
}

#[derive(Default)]
struct Inbox {
    orders: VecDeque<Arc<Shared<OrderChanged>>>,
    reset: Option<Arc<Shared<Timestamp>>>,
    heartbeat: Option<Arc<Shared<Timestamp>>>,
}

impl Subscriber {
    pub fn new(id: u64, (user, proof): (UserId, Proof), feeds: Feeds, second: u64) -> Self {
        let Feeds { portfolios, quotes, valuations } = feeds;
        Self {
            id,
            user,
            proof,
            confirmed_at: AtomicU64::new(second),
            portfolios,
            quotes,
            valuations,
            inbox: Mutex::default(),
            ended: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        }
    }

    /// Whether a followed price or value is newer than `version`.
    pub fn is_behind(&self, version: u64) -> bool {
        self.quotes.iter().any(|slot| slot.version() > version)
            || self.valuations.iter().any(|followed| followed.value.version() > version)
    }

    pub fn follows_orders_of(&self, portfolio: PortfolioId) -> bool {
        self.portfolios.as_ref().is_none_or(|only| only.contains(&portfolio))
    }

    pub fn values(&self, portfolio: PortfolioId) -> bool {
        self.valuations.iter().any(|followed| followed.portfolio.id == portfolio)
    }

    pub fn push_order(&self, order: Arc<Shared<OrderChanged>>) {
        let mut inbox = self.inbox();
        if inbox.reset.is_some() {
            // The client will reload everything anyway.
            return;
        }
        if inbox.orders.len() >= MAX_QUEUED_ORDERS {
            inbox.orders = VecDeque::new();
            inbox.reset = Some(Arc::new(Shared::new(order.value.at)));
        } else {
            inbox.orders.push_back(order);
        }
        drop(inbox);
        self.waker.wake();
    }

    pub fn reset(&self, at: &Arc<Shared<Timestamp>>) {
        let mut inbox = self.inbox();
        inbox.orders = VecDeque::new();
        inbox.reset = Some(at.clone());
        drop(inbox);
        self.waker.wake();
    }

    pub fn beat(&self, at: &Arc<Shared<Timestamp>>) {
        self.inbox().heartbeat = Some(at.clone());
        self.waker.wake();
    }

    /// Ends the stream. Queued events are not sent.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.waker.wake();
    }

    pub fn wake(&self) {
        self.waker.wake();
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The reader's side of a stream. Dropping it ends the stream.
pub struct Subscription {
    pub(super) live: Arc<Hub>,
    pub(super) subscriber: Arc<Subscriber>,
    /// The versions that were sent: first of the quotes, then of the valuations.
    seen: Box<[u64]>,
    _place: StreamPlace,
}

impl Subscription {
    pub(super) fn new(live: Arc<Hub>, subscriber: Arc<Subscriber>, place: StreamPlace) -> Self {
        let followed = subscriber.quotes.len() + subscriber.valuations.len();
        Self { live, subscriber, seen: vec![0; followed].into(), _place: place }
    }

    /// Passes all new events to `tell`; for prices and values only the newest. `Ready(false)` means that the stream has
    /// ended.
    pub fn poll_updates(
        &mut self,
        context: &mut Context<'_>,
        mut tell: impl FnMut(Update<'_>),
    ) -> Poll<bool> {
        let subscriber = &self.subscriber;
        // The waker is registered first, so that no value is missed between the check and the sleep.
        subscriber.waker.register(context.waker());
        if subscriber.ended.load(Ordering::Acquire) {
            return Poll::Ready(false);
        }
        let mut told = false;
        let mut tell = |update: Update<'_>| {
            told = true;
            tell(update);
        };
        let inbox = std::mem::take(&mut *subscriber.inbox());
        inbox.reset.iter().for_each(|at| tell(Update::Reset(at)));
        inbox.orders.iter().for_each(|order| tell(Update::Order(order)));
        let (quotes, valuations) = self.seen.split_at_mut(subscriber.quotes.len());
        for (followed, seen) in subscriber.valuations.iter().zip(valuations) {
            if let Some(valued) = followed.value.newer_than(seen) {
                tell(Update::Valuation(&valued));
            }
        }
        for (slot, seen) in subscriber.quotes.iter().zip(quotes) {
            if let Some(quote) = slot.newer_than(seen) {
                tell(Update::Quote(&quote));
            }
        }
        inbox.heartbeat.iter().for_each(|at| tell(Update::Heartbeat(at)));
        if told { Poll::Ready(true) } else { Poll::Pending }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.live.forget(&self.subscriber);
    }
}
