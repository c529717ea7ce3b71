//! Compares reported prices with the last accepted ones and holds back unconfirmed prices.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{Days, TimeDelta};
use domain::calendar::exchange_date;
use domain::plausibility::{
    Doubt, Evidence, Observation, UnconfirmedPrice, doubt, is_near, is_same_close, is_unit_slip, judge,
};
use domain::{AsTraded, Bar, CorporateAction, Freshness, Price, Quote, SplitHistory, Symbol, Timestamp};

use crate::budget::{Published, Purpose, StoreFailed, UnconfirmedQuote};
use crate::limits::{Limits, Payer};
use crate::metrics::Endpoint;
use crate::source::{DailySeries, OTHER_COMPANY};
use crate::{QuoteError, QuoteSource};

/// How often another endpoint is called to check a unit slip, and how often news are requested about it.
const CHECKED_EVERY: TimeDelta = TimeDelta::hours(1);
/// The most symbols per answer that are checked at another endpoint. If more show a unit slip, the source is at fault.
const MAX_CHECKS: usize = 3;
/// The move, as a ratio, from which a price is checked if it is unknown which shares it is in.
const CHECKED_MOVE: f64 = 0.20;
/// The number of days of the series that is requested as a check.
const CHECKED_DAYS: Days = Days::new(14);

/// Judges the answer of one request.
pub(super) struct Judge<'a> {
    pub(super) source: &'a dyn QuoteSource,
    pub(super) limits: &'a Arc<Limits>,
    pub(super) purpose: Purpose,
    pub(super) at: Timestamp,
}

impl Judge<'_> {
    /// Replaces quotes that are not accepted by [`QuoteError::Unconfirmed`]. If the store fails, only quotes near the
    /// last accepted price are accepted.
    pub(super) async fn quotes(
        &self,
        mut answers: HashMap<Symbol, Result<Quote, QuoteError>>,
    ) -> HashMap<Symbol, Result<Quote, QuoteError>> {
        let reported: Vec<Symbol> =
            answers.iter().filter(|(_, answer)| answer.is_ok()).map(|(symbol, _)| symbol.clone()).collect();
        if reported.is_empty() {
            return answers;
        }
        let known = match self.known(&reported).await {
            Ok(known) => known,
            Err(error) => {
                for answer in answers.values_mut().filter(|answer| answer.is_ok()) {
                    *answer = Err(error.clone().into());
                }
                return answers;
            }
        };
        let (mut held, mut settled, mut checks) = (Vec::new(), Vec::new(), 0);
        for symbol in reported {
            let Some(Ok(quote)) = answers.get(&symbol) else { continue };
            if let Err(error) = self.check_company(&symbol).await {
                answers.insert(symbol, Err(error));
                continue;
            }
            let before = known.held.get(&symbol);
            match self.quote(quote, known.accepted.get(&symbol), before, &mut checks).await {
                Ok(()) if before.is_some() => settled.push(symbol),
                Ok(()) => {}
                Err(Verdict::Held(unconfirmed)) => {
                    held.push(self.unconfirmed_quote(&symbol, quote.freshness, &unconfirmed));
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
        // Without an accepted price, only the source's previous close is available for comparison.
        let Some(own) = own else { return self.first_quote(quote, before).await };
        let accepted = self.in_shares_of(own, quote).await?;
        if is_first_after_split(own, quote, &accepted) {
            return Ok(());
        }
        let observed = Observation {
            price: &quote.price,
            as_of: quote.as_of,
            seen_at: self.at,
            freshness: quote.freshness,
        };
        let is_live = quote.freshness != Freshness::EndOfDay;
        let reported = self.reported_close(own, quote).filter(|_| is_live);
        // A price that may be in other shares stays in doubt until it is explained or returns to the accepted price.
        let was_possible = before.is_some_and(|before| {
            before.doubt == Doubt::PossibleSplit && is_near(&before.price, &quote.price)
        });
        let reported_close = match was_possible {
            true => Some((&quote.price, &accepted)),
            false => reported.as_ref().map(|reported| (reported, &accepted)),
        };
        let is_later_session = exchange_date(quote.as_of) > exchange_date(own.as_of);
        let seen_news = self.after_observed_news(own, quote).await?;
        let first = Evidence {
            before,
            after_news: seen_news.as_ref(),
            is_later_session,
            reported_close,
            ..Evidence::default()
        };
        let verdict = judge(Some(&accepted), observed, first);
        // A large move is checked before it is confirmed; a unit slip or a possible split once per hour.
        let is_check_due = is_check_due(before, self.at);
        let waits_for_split = before.is_some_and(|before| before.doubt == Doubt::SplitNotBooked);
        // If a price has moved since a session before the last one, it is unknown which shares it is in.
        let change = quote.price.change_ratio(&accepted).unwrap_or(0.0);
        let is_unexplained = is_live && is_later_session && reported.is_none() && change.abs() > CHECKED_MOVE;
        let is_due = match &verdict {
            Ok(()) => is_unexplained || doubt(&accepted, &quote.price).is_some(),
            Err(_) if seen_news.is_some() => false,
            Err(held) => match held.doubt {
                Doubt::UnitSlip | Doubt::PossibleSplit => *checks < MAX_CHECKS && is_check_due,
                Doubt::LargeMove | Doubt::SplitNotBooked => waits_for_split,
            },
        };
        if !is_due && !waits_for_split {
            return verdict.map_err(Verdict::Held);
        }
        let mut news = seen_news.clone();
        if news.is_none() {
            news = match waits_for_split && !is_check_due {
                // The reported split will be in the books soon; if not, the news are requested again within the hour.
                true => {
                    before.filter(|before| is_near(&before.price, &quote.price)).map(|_| accepted.clone())
                }
                false => {
                    *checks += 1;
                    self.after_news(own, quote).await?
                }
            };
        }
        let mut evidence = Evidence { after_news: news.as_ref(), ..first };
        let is_slip = is_unit_slip(&accepted, &quote.price);
        let has_asked_series = news.is_none() && ((is_slip && is_check_due) || is_later_session) && is_live;
        let series = match has_asked_series || (is_slip && is_check_due) {
            true => self.closes(own, quote).await,
            false => None,
        };
        let (newest, own_day) = series.unzip();
        if is_slip && is_check_due {
            evidence.second_endpoint = newest.as_ref();
        }
        if let Some(Some(own_day)) = &own_day
            && is_live
        {
            // Both prices are as traded on the day of the accepted price.
            let is_same = match self.is_close(own) {
                true => is_same_close(own_day, &own.price),
                false => is_near(own_day, &own.price),
            };
            let first_seen = before.map_or(self.at, |before| before.first_seen_at);
            evidence.close_stands = is_same && exchange_date(first_seen) < exchange_date(quote.as_of);
            if !is_same {
                evidence.reported_close = Some((own_day, &own.price));
            } else if !was_possible || evidence.close_stands {
                evidence.reported_close = None;
            }
        }
        judge(Some(&accepted), observed, evidence).map_err(Verdict::Held)
    }

    /// Checks that the answer is about the company that is known by this symbol.
    ///
    /// # Errors
    /// [`QuoteError::NotTradable`] if it is about another company: its prices are unrelated to the stock.
    pub(super) async fn check_company(&self, symbol: &Symbol) -> Result<(), QuoteError> {
        let Some(reported) = self.source.observed_company(symbol) else { return Ok(()) };
        if !self.limits.store.is_another_company(&reported).await? {
            return Ok(());
        }
        tracing::warn!(%symbol, company = reported.company_name, "refused a price: the symbol belongs to another company now");
        Err(QuoteError::NotTradable { symbol: symbol.clone(), reason: OTHER_COMPANY })
    }

    /// Judges the first price of a symbol by the source's previous close.
    async fn first_quote(&self, quote: &Quote, before: Option<&UnconfirmedPrice>) -> Result<(), Verdict> {
        let observed = Observation {
            price: &quote.price,
            as_of: quote.as_of,
            seen_at: self.at,
            freshness: quote.freshness,
        };
        // It is unknown in which shares a close before a reported split is.
        let calendar = self.source.calendar();
        let next_day = exchange_date(quote.as_of) + Days::new(1);
        let next_opening = calendar.sessions(next_day, next_day + CHECKED_DAYS).next();
        let seen = self.source.observed_actions(&quote.symbol);
        let is_before_split = next_opening.is_some_and(|session| {
            let splits = seen.iter().flat_map(|seen| &seen.actions).filter(|action| action.ratio().is_some());
            splits.into_iter().any(|split| split.effective_at(calendar) == session.opens_at)
        });
        if is_before_split {
            let news = Evidence { before, after_news: Some(&quote.price), ..Evidence::default() };
            return judge(Some(&quote.price), observed, news).map_err(Verdict::Held);
        }
        let accepted = quote.previous_close.as_ref();
        judge(accepted, observed, Evidence { before, ..Evidence::default() }).map_err(Verdict::Held)
    }

    /// Returns the accepted bars of a series, for a source whose newest prices are quotes. A doubtful last bar is
    /// accepted if it agrees with the accepted price of its day.
    ///
    /// # Errors
    /// [`QuoteError::Unconfirmed`] if the series contradicts the accepted price of one of its days.
    pub(super) async fn bars(&self, symbol: &Symbol, series: DailySeries) -> Result<Vec<Bar>, QuoteError> {
        self.check_company(symbol).await?;
        let known = self.known(std::slice::from_ref(symbol)).await?;
        let own = known.accepted.get(symbol);
        let series = self.with_unreported_splits(symbol, series).await?;
        if let Some(contradiction) = self.contradiction(own, &series.bars, true) {
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

    /// Converts a series to the shares of its own days. Needed if the source reports old prices in today's shares but
    /// does not report splits that are in the books.
    async fn with_unreported_splits(
        &self,
        symbol: &Symbol,
        series: DailySeries,
    ) -> Result<DailySeries, QuoteError> {
        let Some(seen) = self.source.observed_actions(symbol) else { return Ok(series) };
        let calendar = self.source.calendar();
        let reported = SplitHistory::of_actions(&seen.actions, calendar);
        let unreported = self.limits.store.splits(symbol).await?.without(&reported);
        Ok(DailySeries { bars: unreported.in_traded_shares(series.bars, calendar), ..series })
    }

    /// Returns the accepted bars of a series, for a source whose newest prices are bars. Bars that are not accepted are
    /// stored for the pages.
    ///
    /// # Errors
    /// The same as [`Judge::bars`].
    pub(super) async fn series(&self, symbol: &Symbol, series: DailySeries) -> Result<Vec<Bar>, QuoteError> {
        let known = self.known(std::slice::from_ref(symbol)).await?;
        let (own, before) = (known.accepted.get(symbol), known.held.get(symbol));
        let DailySeries { mut bars, doubtful } = series;
        if let Some(contradiction) = self.contradiction(own, &bars, false) {
            let reported = bars.last().map(|bar| bar.close.clone());
            let other = match is_check_due(before, self.at) {
                true => self.newest_quote(symbol).await,
                false => None,
            };
            if !reported.zip(other).is_some_and(|(reported, other)| is_near(&reported, &other)) {
                let first_seen_at = before.map_or(self.at, |before| before.first_seen_at);
                let unconfirmed = Box::new(UnconfirmedPrice { first_seen_at, ..*contradiction });
                self.note(&[self.unconfirmed_quote(symbol, Freshness::EndOfDay, &unconfirmed)], &[]).await;
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
        if own
            .zip(accepted.as_ref())
            .is_some_and(|(own, accepted)| is_first_after_split(own, &newest, accepted))
        {
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
            Err(held) => self.note(&[self.unconfirmed_quote(symbol, freshness, &held)], &[]).await,
        }
        Ok(bars)
    }

    /// Returns the contradiction between a series and the accepted price of its session, if there is one. For a live
    /// source the accepted price may be a close, which the series must contain.
    fn contradiction(
        &self,
        own: Option<&Quote>,
        bars: &[Bar],
        is_live: bool,
    ) -> Option<Box<UnconfirmedPrice>> {
        let (own, newest) = (own?, bars.last()?);
        let date = exchange_date(own.as_of);
        let same_day = bars.iter().rev().find(|bar| bar.date == date)?;
        let is_same = match is_live && self.is_close(own) {
            true => is_same_close(&own.price, &same_day.close),
            false => is_near(&own.price, &same_day.close),
        };
        if is_same {
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

    async fn known(&self, symbols: &[Symbol]) -> Result<KnownPrices, StoreFailed> {
        let source = self.source.source();
        let published = self.limits.store.published(symbols).await?;
        let accepted = published.into_iter().filter(|(_, Published { quote, .. })| quote.source == source);
        let held = self.limits.store.unconfirmed_quotes(&source, symbols).await?;
        Ok(KnownPrices {
            accepted: accepted.map(|(symbol, published)| (symbol, published.quote)).collect(),
            held,
        })
    }

    /// Converts the accepted price to the shares of another quote, by the splits in the books.
    async fn in_shares_of(&self, own: &Quote, other: &Quote) -> Result<Price, StoreFailed> {
        let traded = AsTraded::new(own.price.clone(), own.as_of);
        // Splits take effect at openings.
        if exchange_date(own.as_of) == exchange_date(other.as_of) {
            return Ok(traded.into_as_traded());
        }
        Ok(self.limits.store.splits(&other.symbol).await?.convert(traded, other.as_of))
    }

    /// Whether a quote is the close of its session.
    fn is_close(&self, quote: &Quote) -> bool {
        let session = self.source.calendar().session(exchange_date(quote.as_of));
        session.is_some_and(|session| session.closes_at <= quote.as_of)
    }

    /// The close that a quote reports for the session of the accepted price, if the accepted price is a close: a quote
    /// of that session is the close, and a quote of the next session contains it as its previous close.
    fn reported_close(&self, own: &Quote, quote: &Quote) -> Option<Price> {
        let (own_day, day) = (exchange_date(own.as_of), exchange_date(quote.as_of));
        if !self.is_close(own) {
            None
        } else if day == own_day {
            Some(quote.price.clone())
        } else {
            quote.previous_close.clone().filter(|_| self.source.calendar().before(day).date == own_day)
        }
    }

    /// Like [`Judge::after_news`], with the actions that were contained in answers about prices; makes no call.
    async fn after_observed_news(&self, own: &Quote, newer: &Quote) -> Result<Option<Price>, StoreFailed> {
        match self.source.observed_actions(&newer.symbol) {
            Some(seen) => self.after_actions(own, newer, seen.actions).await,
            None => Ok(None),
        }
    }

    /// Converts the accepted price to the shares of a newer quote, by splits that the source announces and that are not
    /// in the books. `None` if there are none, or the source cannot be called.
    async fn after_news(&self, own: &Quote, newer: &Quote) -> Result<Option<Price>, StoreFailed> {
        let (first, last) = (exchange_date(own.as_of), exchange_date(newer.as_of));
        let seen = self.source.observed_actions(&newer.symbol);
        if seen.is_some_and(|seen| seen.covers((first + Days::new(1)).min(last), self.at)) {
            // These splits have already been considered.
            return Ok(None);
        }
        let Some(payer) = self.payer(Endpoint::CorporateActions, &newer.symbol) else { return Ok(None) };
        let reported = self.source.corporate_actions(&newer.symbol, first, last, self.at, &payer).await;
        match payer.settle(reported).await.answer {
            Ok(actions) => self.after_actions(own, newer, actions).await,
            Err(_) => Ok(None),
        }
    }

    async fn after_actions(
        &self,
        own: &Quote,
        newer: &Quote,
        mut reported: Vec<CorporateAction>,
    ) -> Result<Option<Price>, StoreFailed> {
        let calendar = self.source.calendar();
        reported.retain(|action| {
            let effective_at = action.effective_at(calendar);
            action.ratio().is_some() && own.as_of < effective_at && effective_at <= newer.as_of
        });
        if reported.is_empty() {
            return Ok(None);
        }
        let known = self.limits.store.split_days(&newer.symbol).await?;
        reported.retain(|action| !known.contains(&action.ex_on));
        if reported.is_empty() {
            return Ok(None);
        }
        let traded = AsTraded::new(own.price.clone(), own.as_of);
        Ok(Some(SplitHistory::of_actions(&reported, calendar).convert(traded, newer.as_of)))
    }

    /// Requests two prices from the endpoint for series: the newest close up to the time of a quote, and the close of
    /// the session of the accepted price.
    async fn closes(&self, own: &Quote, quote: &Quote) -> Option<(Price, Option<Price>)> {
        let (first, last) = (exchange_date(own.as_of), exchange_date(quote.as_of));
        let payer = self.payer(Endpoint::DailyBars, &quote.symbol)?;
        let since = first.min(last - CHECKED_DAYS);
        let reported = self.source.daily_series(&quote.symbol, since, last, self.at, &payer).await;
        let DailySeries { bars, doubtful } = payer.settle(reported).await.answer.ok()?;
        let newest = doubtful.as_ref().or(bars.last()).map(|bar| bar.close.clone())?;
        Some((newest, bars.into_iter().find(|bar| bar.date == first).map(|bar| bar.close)))
    }

    /// Requests the newest price from the endpoint for quotes.
    async fn newest_quote(&self, symbol: &Symbol) -> Option<Price> {
        let payer = self.payer(Endpoint::Quotes, symbol)?;
        let reported = self.source.quotes(std::slice::from_ref(symbol), self.at, &payer).await;
        payer.settle(reported).await.answer.pop()?.ok().map(|quote| quote.price)
    }

    /// Returns a payer for the call; `None` while the circuit is open.
    fn payer(&self, endpoint: Endpoint, about: &Symbol) -> Option<Payer> {
        Payer::new(Some(self.limits), endpoint, self.purpose, Some(about)).ok()
    }

    fn unconfirmed_quote(
        &self,
        symbol: &Symbol,
        freshness: Freshness,
        price: &UnconfirmedPrice,
    ) -> UnconfirmedQuote {
        tracing::warn!(
            %symbol,
            price = %price.price,
            accepted = %price.accepted,
            doubt = price.doubt.as_str(),
            "held back a price that is not confirmed"
        );
        UnconfirmedQuote {
            symbol: symbol.clone(),
            source: self.source.source(),
            freshness,
            seen_at: self.at,
            price: price.clone(),
        }
    }

    async fn note(&self, held: &[UnconfirmedQuote], settled: &[Symbol]) {
        if held.is_empty() && settled.is_empty() {
            return;
        }
        if let Err(error) = self.limits.store.record_unconfirmed_quotes(held, settled).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "cannot store unconfirmed prices");
        }
    }
}

struct KnownPrices {
    accepted: HashMap<Symbol, Quote>,
    held: HashMap<Symbol, UnconfirmedPrice>,
}

/// Why a quote is held back.
enum Verdict {
    Held(Box<UnconfirmedPrice>),
    Failed(StoreFailed),
}

impl From<StoreFailed> for Verdict {
    fn from(error: StoreFailed) -> Self {
        Self::Failed(error)
    }
}

/// Whether a split in the books has taken effect since the accepted price. Then the new price is accepted, whatever it
/// is: it confirms or contradicts the split, and orders do not fill until that is decided.
fn is_first_after_split(own: &Quote, newer: &Quote, converted: &Price) -> bool {
    own.as_of < newer.as_of && own.price != *converted
}

/// Whether to check an unconfirmed price at another endpoint: when it is first reported, and once per hour after that.
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
