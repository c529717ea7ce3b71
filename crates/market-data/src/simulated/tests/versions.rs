//! Properties of `sim-v2` in both views.

use super::*;

const NEW: [SimulatedModel; 2] = [SimulatedModel::V2, SimulatedModel::V2Xnys];

fn market(model: SimulatedModel) -> Simulated {
    Simulated::with_seed(model, DEFAULT_SEED)
}

fn session(model: SimulatedModel, date: NaiveDate) -> domain::Session {
    model.calendar().session(date).unwrap()
}

/// Days of different kinds: after a split, at the ends of daylight saving time, after results, and with an early close.
fn days(model: SimulatedModel) -> [(&'static str, &'static str); 4] {
    match model.calendar() {
        Calendar::AroundTheClock => {
            [("NVDA", "2024-06-10"), ("XPENY", "2026-03-08"), ("SPY", "2026-11-01"), ("KO", "2026-12-24")]
        }
        Calendar::Xnys => {
            [("NVDA", "2024-06-10"), ("XPENY", "2026-03-09"), ("SPY", "2026-11-02"), ("KO", "2026-11-27")]
        }
    }
}

const MICROSECOND: TimeDelta = TimeDelta::microseconds(1);

#[tokio::test]
async fn released_versions_are_unchanged() {
    // Like the test of the first version: an intended change after a release requires a new version.
    const EXPECTED: [[u64; 4]; 2] = [
        [
            4_366_706_499_082_879_162,
            8_281_691_228_747_641_802,
            8_930_580_861_537_666_469,
            12_402_387_700_849_980_453,
        ],
        [
            14_084_274_713_020_881_170,
            11_966_287_015_396_359_716,
            313_633_726_574_000_422,
            12_319_851_913_845_704_535,
        ],
    ];
    let mut found_digests = Vec::new();
    for model in NEW {
        let market = market(model);
        let (mut quotes, mut all_bars, mut all_moves, mut all_actions) = (vec![], vec![], vec![], vec![]);
        for (number, row) in (0_u32..).zip(INSTRUMENTS) {
            for step in 0..60 {
                let seconds = TimeDelta::seconds(45_000_000 * step + 1_234_567 * i64::from(number));
                let at = instant("1980-01-02T14:30:00Z") + seconds;
                quotes.push(quote_text(&quote(&market, row.symbol, at).await.unwrap()));
            }
            let date = day("1980-01-01") + Days::new(u64::from(number) * 499);
            let [first, last, later] =
                [date, date + Days::new(6), date + Days::new(1000)].map(|d| d.to_string());
            all_bars.extend(bars(&market, row.symbol, &first, &last).await.iter().map(bar_text));
            let after = instant("2026-12-07T15:00:00Z") + TimeDelta::minutes(number.into());
            for PriceMove { quote, volume } in
                moves(&market, row.symbol, after, after + TimeDelta::minutes(2)).await
            {
                all_moves.push(format!("{volume:?} {}", quote_text(&quote)));
            }
            let found = actions(&market, row.symbol, [&first, &later], "2069-09-17T12:00:00Z").await;
            all_actions.extend(found.iter().map(action_text));
        }
        let digests = [digest(quotes), digest(all_bars), digest(all_moves), digest(all_actions)];
        found_digests.push(digests);
    }
    assert_eq!(found_digests, EXPECTED);
}

#[tokio::test]
async fn a_quote_contains_its_version_and_lies_between_bid_and_ask() {
    for model in NEW {
        let market = market(model);
        for row in INSTRUMENTS {
            for hours in 0..40 {
                let at = instant("2026-11-20T15:30:00Z") + TimeDelta::minutes(97 * hours);
                let quote = quote(&market, row.symbol, at).await.unwrap();
                assert_eq!(quote.source.as_str(), model.name());
                assert!(
                    quote.bid.unwrap() < quote.price && quote.price < quote.ask.unwrap(),
                    "{}",
                    row.symbol
                );
                assert!(!quote.stale && quote.as_of <= at);
            }
        }
    }
}

#[tokio::test]
async fn a_price_lies_between_bid_and_ask_in_all_of_time() {
    for model in NEW {
        for seed in 1..=5 {
            let market = Simulated::with_seed(model, seed);
            for row in INSTRUMENTS {
                for year in 1980..=2068 {
                    let date =
                        market.model.calendar().before(NaiveDate::from_ymd_opt(year, 6, 1).unwrap()).date;
                    let at = session(model, date.max(day("1980-01-02"))).opens_at + TimeDelta::minutes(17);
                    let quote = quote(&market, row.symbol, at).await.unwrap();
                    let Some((bid, ask)) = quote.bid.zip(quote.ask) else {
                        assert!(quote.stale, "{}", row.symbol);
                        continue;
                    };
                    assert!(
                        bid < quote.price && quote.price < ask,
                        "{bid} {} {ask}: {} in {year}, seed {seed}",
                        quote.price,
                        row.symbol
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn a_bar_is_made_of_the_quotes_of_its_session() {
    for model in NEW {
        let market = market(model);
        for (of, date) in days(model) {
            let bar = bars(&market, of, date, date).await.remove(0);
            let session = session(model, day(date));
            // This is shorter than the shortest time for which a price stays the same.
            let step = (session.closes_at - session.opens_at) / 65_000;
            let (mut seen, mut volume, mut at) = (Vec::new(), 0, session.opens_at);
            while at < session.closes_at {
                let quote = quote(&market, of, at).await.unwrap();
                assert!(quote.volume.unwrap() >= volume);
                volume = quote.volume.unwrap();
                seen.push(quote.price);
                at = at + step;
            }
            let last = quote(&market, of, session.closes_at - MICROSECOND).await.unwrap();
            assert_eq!((seen.first(), &last.price), (Some(&bar.open), &bar.close), "{of} {date}");
            assert!(seen.iter().all(|price| (&bar.low..=&bar.high).contains(&price)), "{of} {date}");
            // The highest and the lowest price stay the same until the next tick, which is longer than a step.
            assert_eq!(
                (seen.iter().max(), seen.iter().min()),
                (Some(&bar.high), Some(&bar.low)),
                "{of} {date}"
            );
            assert!(volume <= bar.volume && bar.volume - volume < bar.volume / 100, "{of} {date}");
            let next = model.calendar().next_open(session.closes_at - MICROSECOND);
            let opening = quote(&market, of, next.opens_at).await.unwrap();
            assert_eq!(opening.previous_close, Some(bar.close), "{of} {date}");
        }
    }
}

#[tokio::test]
async fn moves_are_the_quotes_of_a_session_in_parts_or_at_once() {
    for model in NEW {
        let market = market(model);
        for (of, date) in days(model) {
            let session = session(model, day(date));
            let bar = bars(&market, of, date, date).await.remove(0);
            let before = session.opens_at - MICROSECOND;
            let at_once = moves(&market, of, before, session.closes_at - MICROSECOND).await;
            assert_eq!(at_once.len(), 32_769);
            let prices = || at_once.iter().map(|moved| &moved.quote.price);
            assert_eq!((prices().next(), prices().next_back()), (Some(&bar.open), Some(&bar.close)));
            assert_eq!((prices().max(), prices().min()), (Some(&bar.high), Some(&bar.low)), "{of} {date}");
            for moved in at_once.iter().step_by(97) {
                let quoted = quote(&market, of, moved.quote.as_of).await.unwrap();
                assert_eq!(moved.quote, quoted, "{of} {date}");
            }
            // A new market has an empty cache, like another process.
            let other = self::market(model);
            let (mut in_parts, mut begins) = (Vec::new(), before);
            for part in 1..=50 {
                let ends =
                    session.opens_at + (session.closes_at - session.opens_at) / 50 * part - MICROSECOND;
                in_parts.extend(moves(&other, of, begins, ends).await);
                begins = ends;
            }
            assert!(in_parts == at_once, "{of} {date}");
        }
    }
}

#[tokio::test]
async fn the_exchange_view_has_neither_prices_nor_bars_of_closed_days() {
    let model = SimulatedModel::V2Xnys;
    let market = market(model);
    // Thanksgiving of 2026, the day with an early close after it, and the weekend.
    let found = bars(&market, "AAPL", "2026-11-23", "2026-12-01").await;
    let dates: Vec<String> = found.iter().map(|bar| bar.date.to_string()).collect();
    assert_eq!(dates, ["2026-11-23", "2026-11-24", "2026-11-25", "2026-11-27", "2026-11-30", "2026-12-01"]);
    let year = bars(&market, "AAPL", "2025-01-01", "2025-12-31").await;
    assert_eq!(year.len(), 250);
    assert!(year.iter().all(|bar| Calendar::Xnys.session(bar.date).is_some()));
    // The early close on Friday.
    let closes_at = instant("2026-11-27T18:00:00Z");
    for closed in ["2026-11-27T18:00:00Z", "2026-11-28T17:00:00Z", "2026-11-30T14:29:59.999999Z"] {
        let quote = quote(&market, "AAPL", instant(closed)).await.unwrap();
        assert_eq!(quote.as_of, closes_at - MICROSECOND, "{closed}");
        assert_eq!((&quote.price, quote.stale), (&found[3].close, false), "{closed}");
        assert_eq!(quote.previous_close.as_ref(), Some(&found[2].close), "{closed}");
        assert_eq!(quote.volume, Some(found[3].volume), "{closed}");
    }
    assert_eq!(moves(&market, "AAPL", closes_at - MICROSECOND, instant("2026-11-30T14:29:59Z")).await, []);
    let opening = moves(&market, "AAPL", closes_at, instant("2026-11-30T14:30:00Z")).await;
    assert_eq!(opening.len(), 1);
    assert_eq!(
        (&opening[0].quote.price, opening[0].quote.as_of),
        (&found[4].open, instant("2026-11-30T14:30:00Z"))
    );
    assert_ne!(found[4].open, found[3].close, "a session opens with a gap");
    // A session has a bar from its close on.
    let apple = symbol("AAPL");
    let until = |at| market.daily_bars(&apple, day("2026-11-27"), day("2026-11-30"), at);
    assert_eq!(until(closes_at - MICROSECOND).await.unwrap().len(), 0);
    assert_eq!(until(closes_at).await.unwrap().len(), 1);
}

#[tokio::test]
async fn prices_at_the_opening_of_the_anchor_are_those_of_the_catalog() {
    for (model, opens_at) in
        [(SimulatedModel::V2, "2026-11-01T04:00:00Z"), (SimulatedModel::V2Xnys, "2026-11-02T14:30:00Z")]
    {
        let market = Simulated::with_seed(model, 77);
        for row in INSTRUMENTS {
            assert_eq!(price(&market, row.symbol, opens_at).await, price::on_tick(row.price).to_string());
        }
    }
}

#[tokio::test]
async fn events_happen_at_the_open_of_sessions() {
    for model in NEW {
        let market = market(model);
        for row in INSTRUMENTS {
            for action in
                actions(&market, row.symbol, ["2010-01-01", "2028-12-31"], "2028-12-31T22:00:00Z").await
            {
                let opens_at = session(model, action.ex_on).opens_at;
                let before = quote(&market, row.symbol, opens_at - MICROSECOND).await.unwrap();
                let after = quote(&market, row.symbol, opens_at).await.unwrap();
                match action.kind {
                    CorporateActionKind::Split { numerator, denominator } => {
                        let close =
                            before.price.to_f64() * f64::from(denominator.get()) / f64::from(numerator.get());
                        let reported = after.previous_close.unwrap().to_f64();
                        assert!(
                            (reported / close - 1.0).abs() < 0.005,
                            "{}: {reported} for {close}",
                            row.symbol
                        );
                    }
                    CorporateActionKind::CashDividend { amount, pays_on } => {
                        assert!(model.calendar().session(pays_on).is_some() && pays_on > action.ex_on);
                        // Rounding removes up to half a cent of the price and half a hundredth of a cent of the
                        // amount.
                        let expected = before.price.to_f64() * row.dividend_yield_percent / 400.0;
                        let difference = (amount.to_f64() - expected).abs();
                        assert!(
                            difference < 0.0002 + 0.01 * expected,
                            "{}: {amount} for {expected}",
                            row.symbol
                        );
                        assert_eq!(after.previous_close, Some(before.price));
                    }
                    CorporateActionKind::SymbolChange { to } => {
                        assert_eq!((before.symbol.as_str(), after.symbol), (row.symbol, to));
                    }
                    CorporateActionKind::Delisting | CorporateActionKind::CloseOut(_) => {
                        assert!(!before.stale && after.stale && after.price == before.price);
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn reinvested_dividends_make_up_the_total_return_in_both_views() {
    for model in NEW {
        let market = market(model);
        let sessions = model.sessions();
        let [begin, end] = [day("2006-11-01"), day("2026-10-30")].map(|date| sessions.from(date).unwrap());
        let [first, last] = [begin, end].map(|session| sessions.date(session - 1).to_string());
        for of in ["KO", "F", "SPY", "WMT"] {
            let mut shares = 1.0;
            let found =
                actions(&market, of, [&sessions.date(begin).to_string(), &last], "2026-11-01T12:00:00Z")
                    .await;
            for action in found {
                match &action.kind {
                    CorporateActionKind::Split { numerator, denominator } => {
                        shares *= f64::from(numerator.get()) / f64::from(denominator.get());
                    }
                    CorporateActionKind::CashDividend { amount, .. } => {
                        let before = model.calendar().before(action.ex_on).date.to_string();
                        let close = bars(&market, of, &before, &before).await.remove(0).close.to_f64();
                        // Dividends are reinvested at the close without the dividend.
                        shares *= close / (close - amount.to_f64());
                    }
                    other => panic!("{of}: {other:?}"),
                }
            }
            let close = async |date: &str| bars(&market, of, date, date).await.remove(0).close.to_f64();
            let reinvested = shares * close(&last).await / close(&first).await;
            let total = market.paths.total_return(market.index(&symbol(of), 0).unwrap(), begin, end);
            assert!(
                (reinvested / total - 1.0).abs() < 0.005,
                "{model:?} {of}: {reinvested} instead of {total}"
            );
        }
    }
}

#[tokio::test]
async fn results_move_the_open_more_than_other_mornings() {
    for model in NEW {
        let (mut after_results, mut others) = (Vec::new(), Vec::new());
        for row in ["AAPL", "NFLX", "KO", "JPM", "TSLA", "PFE", "CAT", "XOM"] {
            let market = market(model);
            let [first, last] = [day("2007-01-01"), day("2026-12-31")];
            let dates: Vec<NaiveDate> = results::dates(row, first, last)
                .map(|date| model.sessions().date(model.sessions().from(date).unwrap()))
                .collect();
            assert_eq!(dates.len(), 80);
            let index = market.index(&symbol(row), 0).unwrap();
            let volatility = INSTRUMENTS[index].volatility / model.sessions_per_year().sqrt();
            let from = model.sessions().from(first).unwrap();
            for number in from..from + 4900 {
                let date = model.sessions().date(number);
                let [before, open] = [
                    market.paths.log_in(index, number, |ends| ends.before, number - 1),
                    market.paths.log_in(index, number, |ends| ends.open, number),
                ];
                let gap = (open - before) / volatility;
                if dates.contains(&date) { after_results.push(gap) } else { others.push(gap) }
            }
        }
        let deviation =
            |gaps: &[f64]| (gaps.iter().map(|gap| gap * gap).sum::<f64>() / gaps.len() as f64).sqrt();
        let (wide, usual) = (deviation(&after_results), deviation(&others));
        // 7 % of a year's variance is in four jumps.
        assert!((1.7..3.5).contains(&wide), "{model:?}: {wide} standard deviations of a session");
        match model.calendar() {
            Calendar::AroundTheClock => assert!(usual < 1e-9, "there is no night: {usual}"),
            Calendar::Xnys => assert!((0.4..0.6).contains(&usual), "{usual}"),
        }
    }
}

#[tokio::test]
async fn the_exchange_view_has_an_end_and_a_beginning() {
    let model = SimulatedModel::V2Xnys;
    let market = market(model);
    for outside in ["1980-01-02T14:29:59Z", "1979-01-01T00:00:00Z", "2069-09-18T04:00:00Z"] {
        let answer = quote(&market, "KO", instant(outside)).await;
        assert!(matches!(answer, Err(QuoteError::Upstream(why)) if why.contains("1980-01-01 to 2069-09-17")));
    }
    assert!(quote(&market, "KO", instant("1980-01-02T14:30:00Z")).await.is_ok());
    let (coke, at) = (symbol("KO"), instant("1980-01-04T21:00:00Z"));
    let all = market.daily_bars(&coke, NaiveDate::MIN, NaiveDate::MAX, at);
    assert_eq!(all.await.unwrap().len(), 3);
    let early = moves(&market, "KO", instant("1980-01-01T14:00:00Z"), instant("1980-01-02T14:30:01Z")).await;
    assert_eq!((early[0].quote.as_of, early[0].volume), (instant("1980-01-02T14:30:00Z"), Some(0)));
}

#[tokio::test]
async fn the_next_results_are_known_beforehand_and_move_the_open_of_their_session() {
    for model in NEW {
        let market = market(model);
        let apple = symbol("AAPL");
        let mut at = instant("2026-11-20T17:00:00Z");
        for _ in 0..8 {
            let on = market.next_results_on(&apple, at).unwrap();
            let opens_at = session(model, on).opens_at;
            assert!(at < opens_at && opens_at - at < TimeDelta::days(100), "{on}");
            // Another seed, or the last moment before the results, gives the same day.
            assert_eq!(market.next_results_on(&apple, opens_at - MICROSECOND), Some(on));
            assert_eq!(Simulated::with_seed(model, 1).next_results_on(&apple, at), Some(on));
            let (before, after) = (
                quote(&market, "AAPL", opens_at - MICROSECOND).await.unwrap(),
                quote(&market, "AAPL", opens_at).await.unwrap(),
            );
            assert_ne!(before.price, after.price, "{on}");
            at = opens_at;
        }
        let unknown = ["SPY", "NOSUCH"].map(|of| market.next_results_on(&symbol(of), at));
        assert_eq!(unknown, [None, None]);
        assert_eq!(market.next_results_on(&symbol("XLAST"), instant("2027-01-10T12:00:00Z")), None);
        assert_eq!(v1().next_results_on(&apple, at), None);
    }
}
