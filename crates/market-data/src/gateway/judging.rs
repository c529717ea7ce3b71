//! Compares what a source tells with the last accepted prices, and keeps apart what is not believed.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{Days, TimeDelta};
use domain::calendar::exchange_date;
use domain::plausibility::{Doubt, Evidence, Observation, UnconfirmedPrice, doubt, is_near, judge};
use domain::{AsTraded, Bar, Freshness, Price, Quote, SplitHistory, Symbol, Timestamp};

use crate::budget::{HeldBack, Published, Purpose, StoreFailed};
use crate::limits::Limits;
use crate::metrics::Endpoint;
use crate::source::DailySeries;
use crate::{QuoteError, QuoteSource};

/// How often a unit slip is looked up at another endpoint, and the news are asked about it.
const CHECKED_EVERY: TimeDelta = TimeDelta::hours(1);
/// Symbols of one answer that are looked up at another endpoint: when more have slipped, the source is at fault.
const MOST_CHECKS: usize = 3;
/// Days of a series that another endpoint is asked for.
const CHECKED_DAYS: Days = Days::new(14);

/// Judges the answers to one question.
pub(super) struct Judge<'a> {
    pub(super) source: &'a dyn QuoteSource,
    pub(super) limits: &'a Arc<Limits>,
    pub(super) purpose: Purpose,
    pub(super) at: Timestamp,
}

impl Judge<'_> {
    /// Turns quotes that are not believed into [`QuoteError::Unconfirmed`]. A store that fails lets none through that is
    /// not near the last accepted price.
    pub(super) async fn quotes(
        &self,
        mut answers: HashMap<Symbol, Result<Quote, QuoteError>>,
    ) -> HashMap<Symbol, Result<Quote, QuoteError>> {
        let told: Vec<Symbol> =
            answers.iter().filter(|(_, answer)| answer.is_ok()).map(|(symbol, _)| symbol.clone()).collect();
        if told.is_empty() {
            return answers;
        }
        let known = match self.known(&told).await {
            Ok(known) => known,
            Err(error) => {
                for answer in answers.values_mut().filter(|answer| answer.is_ok()) {
                    *answer = Err(error.clone().into());
                }
                return answers;
            }
        };
        let (mut held, mut settled, mut checks) = (Vec::new(), Vec::new(), 0);
        for symbol in told {
            let Some(Ok(quote)) = answers.get(&symbol) else { continue };
            let before = known.held.get(&symbol);
            match self.quote(quote, known.accepted.get(&symbol), before, &mut checks).await {
                Ok(()) if before.is_some() => settled.push(symbol),
                Ok(()) => {}
                Err(Verdict::Held(unconfirmed)) => {
                    held.push(self.held_back(&symbol, quote.freshness, &unconfirmed));
                    answers.insert(symbol, Err(QuoteError::Unconfirmed(unconfirmed)));
                }
                Err(Verdict::Failed(error)) => _ = answers.insert(symbol, Err(error.into())),
            }
        }
        self.note(&held, &settled).await;
        answers
    }

    async fn quote(
        &self,
        quote: &Quote,
        own: Option<&Quote>,
        before: Option<&UnconfirmedPrice>,
        checks: &mut usize,
    ) -> Result<(), Verdict> {
        // Without a price of our own there is only what the source says of the session before.
        let accepted = match own {
            Some(own) => Some(self.in_shares_of(own, quote).await?),
            None => quote.previous_close.clone(),
        };
        if is_first_after_split(own, accepted.as_ref()) {
            return Ok(());
        }
        let observed = Observation {
            price: &quote.price,
            as_of: quote.as_of,
            seen_at: self.at,
            freshness: quote.freshness,
        };
        let first = Evidence { before, ..Evidence::default() };
        let verdict = judge(accepted.as_ref(), observed, first);
        let Some(doubt) = accepted.as_ref().and_then(|accepted| doubt(accepted, &quote.price)) else {
            return Ok(());
        };
        // More is asked before a move counts as confirmed, while a split waits, and of a unit slip now and then.
        let is_check_due = is_check_due(before, self.at);
        let waits_for_split = before.is_some_and(|before| before.doubt == Doubt::SplitNotBooked);
        let is_due = match (&verdict, doubt) {
            (Ok(()), _) => true,
            (Err(_), _) if waits_for_split => true,
            (Err(_), Doubt::UnitSlip) => *checks < MOST_CHECKS && is_check_due,
            (Err(_), Doubt::LargeMove | Doubt::SplitNotBooked) => false,
        };
        if !is_due {
            return verdict.map_err(Verdict::Held);
        }
        *checks += 1;
        let after_news = match own {
            Some(own) => self.after_news(own, quote).await,
            None => None,
        };
        let second_endpoint = match doubt {
            Doubt::UnitSlip if is_check_due => self.newest_close(&quote.symbol, quote.as_of).await,
            _ => None,
        };
        let evidence =
            Evidence { before, second_endpoint: second_endpoint.as_ref(), after_news: after_news.as_ref() };
        judge(accepted.as_ref(), observed, evidence).map_err(Verdict::Held)
    }

    /// The bars of a series that are believed, for a source whose newest prices come as quotes: a doubtful last one is, if
    /// it agrees with the accepted price of its day.
    ///
    /// # Errors
    /// [`QuoteError::Unconfirmed`] when the series contradicts the accepted price of a day that it has.
    pub(super) async fn bars(&self, symbol: &Symbol, series: DailySeries) -> Result<Vec<Bar>, QuoteError> {
        let known = self.known(std::slice::from_ref(symbol)).await?;
        let own = known.accepted.get(symbol);
        if let Some(contradiction) = self.contradiction(own, &series.bars) {
            tracing::warn!(%symbol, price = %contradiction.price, accepted = %contradiction.accepted, "held back a series");
            return Err(QuoteError::Unconfirmed(contradiction));
        }
        let mut bars = series.bars;
        let is_borne_out = |bar: &Bar| {
            own.is_some_and(|own| exchange_date(own.as_of) == bar.date && is_near(&own.price, &bar.close))
        };
        bars.extend(series.doubtful.filter(is_borne_out));
        Ok(bars)
    }

    /// The bars of a series that are believed, for a source whose prices come with them. What is held back is kept for
    /// people to see.
    ///
    /// # Errors
    /// As [`Judge::bars`].
    pub(super) async fn series(&self, symbol: &Symbol, series: DailySeries) -> Result<Vec<Bar>, QuoteError> {
        let known = self.known(std::slice::from_ref(symbol)).await?;
        let (own, before) = (known.accepted.get(symbol), known.held.get(symbol));
        let DailySeries { mut bars, doubtful } = series;
        if let Some(contradiction) = self.contradiction(own, &bars) {
            let told = bars.last().map(|bar| bar.close.clone());
            let other = match is_check_due(before, self.at) {
                true => self.newest_quote(symbol).await,
                false => None,
            };
            if !told.zip(other).is_some_and(|(told, other)| is_near(&told, &other)) {
                let first_seen_at = before.map_or(self.at, |before| before.first_seen_at);
                let unconfirmed = Box::new(UnconfirmedPrice { first_seen_at, ..*contradiction });
                self.note(&[self.held_back(symbol, Freshness::EndOfDay, &unconfirmed)], &[]).await;
                return Err(QuoteError::Unconfirmed(unconfirmed));
            }
        }
        let Some((bar, as_of)) =
            doubtful.and_then(|bar| Some((bar.clone(), self.source.calendar().session(bar.date)?.closes_at)))
        else {
            if before.is_some() {
                self.note(&[], std::slice::from_ref(symbol)).await;
            }
            return Ok(bars);
        };
        let newest = close_of(symbol, &bar, as_of, self.source);
        let accepted = match own {
            Some(own) => Some(self.in_shares_of(own, &newest).await?),
            None => bars.last().map(|bar| bar.close.clone()),
        };
        let freshness = Freshness::EndOfDay;
        let observed = Observation { price: &bar.close, as_of, seen_at: self.at, freshness };
        let mut verdict = judge(accepted.as_ref(), observed, Evidence { before, ..Evidence::default() });
        if is_first_after_split(own, accepted.as_ref()) {
            verdict = Ok(());
        }
        if verdict.as_ref().is_err_and(|held| held.doubt == Doubt::UnitSlip) && is_check_due(before, self.at)
        {
            let other = self.newest_quote(symbol).await;
            let evidence = Evidence { before, second_endpoint: other.as_ref(), ..Evidence::default() };
            verdict = judge(accepted.as_ref(), observed, evidence);
        }
        match verdict {
            Ok(()) => {
                bars.push(bar);
                self.note(&[], std::slice::from_ref(symbol)).await;
            }
            Err(held) => self.note(&[self.held_back(symbol, freshness, &held)], &[]).await,
        }
        Ok(bars)
    }

    /// That a series says something else of the session of the accepted price, if it does.
    fn contradiction(&self, own: Option<&Quote>, bars: &[Bar]) -> Option<Box<UnconfirmedPrice>> {
        let (own, newest) = (own?, bars.last()?);
        let date = exchange_date(own.as_of);
        let same_day = bars.iter().rev().find(|bar| bar.date == date)?;
        if is_near(&own.price, &same_day.close) {
            return None;
        }
        let as_of = self.source.calendar().session(newest.date).map_or(self.at, |session| session.closes_at);
        Some(Box::new(UnconfirmedPrice {
            price: newest.close.clone(),
            as_of,
            first_seen_at: self.at,
            last_seen_at: self.at,
            doubt: doubt(&own.price, &same_day.close).unwrap_or(Doubt::LargeMove),
            accepted: own.price.clone(),
        }))
    }

    async fn known(&self, symbols: &[Symbol]) -> Result<Known, StoreFailed> {
        let source = self.source.source();
        let published = self.limits.store.published(symbols).await?;
        let accepted = published.into_iter().filter(|(_, Published { quote, .. })| quote.source == source);
        let held = self.limits.store.held_back(&source, symbols).await?;
        Ok(Known { accepted: accepted.map(|(symbol, published)| (symbol, published.quote)).collect(), held })
    }

    /// The accepted price in the shares of a newer quote, by the splits that the books have.
    async fn in_shares_of(&self, own: &Quote, newer: &Quote) -> Result<Price, StoreFailed> {
        let traded = AsTraded::new(own.price.clone(), own.as_of);
        if is_near(&own.price, &newer.price) {
            return Ok(traded.into_as_traded());
        }
        Ok(self.limits.store.splits(&newer.symbol).await?.convert(traded, newer.as_of))
    }

    /// The accepted price in the shares of a newer quote, by the splits that the source announces. `None` where it tells of
    /// none, or cannot be asked.
    async fn after_news(&self, own: &Quote, newer: &Quote) -> Option<Price> {
        let (first, last) = (exchange_date(own.as_of), exchange_date(newer.as_of));
        let question = self.source.corporate_actions(&newer.symbol, first, last, self.at);
        let endpoint = Endpoint::CorporateActions;
        let told = self.limits.ask(endpoint, self.purpose, Some(&newer.symbol), question).await.ok()?;
        let news = SplitHistory::of_actions(&told.answer.ok()?, self.source.calendar());
        let traded = || AsTraded::new(own.price.clone(), own.as_of);
        let converted = news.convert(traded(), newer.as_of);
        (converted != own.price).then_some(converted)
    }

    /// The newest close up to that time, by the endpoint for series.
    async fn newest_close(&self, symbol: &Symbol, as_of: Timestamp) -> Option<Price> {
        let last = exchange_date(as_of);
        let question = self.source.daily_series(symbol, last - CHECKED_DAYS, last, self.at);
        let told = self.limits.ask(Endpoint::DailyBars, self.purpose, Some(symbol), question).await.ok()?;
        let DailySeries { bars, doubtful } = told.answer.ok()?;
        doubtful.as_ref().or(bars.last()).map(|bar| bar.close.clone())
    }

    /// The newest price, by the endpoint for quotes.
    async fn newest_quote(&self, symbol: &Symbol) -> Option<Price> {
        let question = self.source.quotes(std::slice::from_ref(symbol), self.at);
        let told = self.limits.ask(Endpoint::Quotes, self.purpose, Some(symbol), question).await.ok()?;
        let mut answers = told.answer;
        answers.remove(symbol)?.ok().map(|quote| quote.price)
    }

    fn held_back(&self, symbol: &Symbol, freshness: Freshness, price: &UnconfirmedPrice) -> HeldBack {
        tracing::warn!(
            %symbol,
            price = %price.price,
            accepted = %price.accepted,
            doubt = price.doubt.as_str(),
            "held back a price that is not confirmed"
        );
        HeldBack {
            symbol: symbol.clone(),
            source: self.source.source(),
            freshness,
            seen_at: self.at,
            price: price.clone(),
        }
    }

    async fn note(&self, held: &[HeldBack], settled: &[Symbol]) {
        if held.is_empty() && settled.is_empty() {
            return;
        }
        if let Err(error) = self.limits.store.note_held_back(held, settled).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "which prices are not confirmed is not on record"
            );
        }
    }
}

struct Known {
    accepted: HashMap<Symbol, Quote>,
    held: HashMap<Symbol, UnconfirmedPrice>,
}

/// Why a quote is not passed on.
enum Verdict {
    Held(Box<UnconfirmedPrice>),
    Failed(StoreFailed),
}

impl From<StoreFailed> for Verdict {
    fn from(error: StoreFailed) -> Self {
        Self::Failed(error)
    }
}

/// Whether a split that the books have took effect after the accepted price. Then the new price is passed on, whatever it is:
/// it confirms or contradicts the split, and nothing fills in the stock until that is decided.
fn is_first_after_split(own: Option<&Quote>, converted: Option<&Price>) -> bool {
    own.zip(converted).is_some_and(|(own, converted)| own.price != *converted)
}

/// Whether an unconfirmed price is to be looked up elsewhere: when it is first seen, and once an hour after that.
fn is_check_due(before: Option<&UnconfirmedPrice>, at: Timestamp) -> bool {
    before.is_none_or(|before| {
        let hours = |at: Timestamp| (at - before.first_seen_at).num_seconds() / CHECKED_EVERY.num_seconds();
        hours(at) > hours(before.last_seen_at)
    })
}

fn close_of(symbol: &Symbol, bar: &Bar, as_of: Timestamp, source: &dyn QuoteSource) -> Quote {
    Quote {
        symbol: symbol.clone(),
        price: bar.close.clone(),
        bid: None,
        ask: None,
        previous_close: None,
        volume: Some(bar.volume),
        as_of,
        source: source.source(),
        freshness: Freshness::EndOfDay,
        stale: false,
    }
}
