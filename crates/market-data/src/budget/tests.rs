use super::*;

fn instant(text: &str) -> Timestamp {
    text.parse::<DateTime<Utc>>().unwrap().into()
}

/// 10:00 in New York, on a Friday.
fn morning() -> Timestamp {
    instant("2026-11-20T15:00:00Z")
}

fn seconds(n: i64) -> TimeDelta {
    TimeDelta::seconds(n)
}

/// Rules without limits per minute and second, so that only the limit per day counts.
fn by_the_day() -> Rules {
    Rules { min_gap: TimeDelta::zero(), per_minute: None, ..Rules::ALPHA_VANTAGE_FREE }
}

fn budget(rules: Rules) -> Budget {
    Budget::new("alpha_vantage", rules, Arc::new(InMemoryBudget::default()))
}

fn retry_at(answer: Result<Timestamp, QuoteError>) -> Timestamp {
    match answer {
        Err(QuoteError::RateLimited { retry_at: Some(at) }) => at.into(),
        other => panic!("{other:?}"),
    }
}

const ANYBODY: Purpose = Purpose::FirstSight { user: None };

async fn granted(budget: &Budget, purpose: Purpose, now: Timestamp) -> usize {
    let mut granted = 0;
    for _ in 0..100 {
        granted += usize::from(budget.spend(purpose, now).await.is_ok());
    }
    granted
}

#[tokio::test]
async fn only_calls_for_users_take_from_the_reserve() {
    let budget = budget(by_the_day());
    assert_eq!(granted(&budget, Purpose::Scheduled, morning()).await, 15);
    assert_eq!(granted(&budget, ANYBODY, morning()).await, 10, "its own five, then the reserve");
    assert_eq!(granted(&budget, Purpose::Interactive, morning()).await, 0);
    assert_eq!(granted(&budget, Purpose::Scheduled, morning()).await, 0);
}

#[tokio::test]
async fn users_cannot_use_the_calls_for_jobs() {
    let budget = budget(by_the_day());
    assert_eq!(granted(&budget, Purpose::Interactive, morning()).await, 5);
    assert_eq!(granted(&budget, ANYBODY, morning()).await, 5);
    assert_eq!(granted(&budget, Purpose::Scheduled, morning()).await, 15);
}

#[tokio::test]
async fn the_twenty_sixth_call_of_a_day_is_rejected_in_all_processes() {
    let store = Arc::new(InMemoryBudget::default());
    let process = || Budget::new("alpha_vantage", by_the_day(), store.clone());
    let (one, other) = (process(), process());
    let mut sent = 0;
    for purpose in [Purpose::Scheduled, ANYBODY, Purpose::Interactive] {
        for _ in 0..20 {
            sent += usize::from(one.spend(purpose, morning()).await.is_ok());
            sent += usize::from(other.spend(purpose, morning()).await.is_ok());
        }
    }
    assert_eq!(sent, 25);
    let restarted = process();
    for purpose in [Purpose::Scheduled, ANYBODY, Purpose::Interactive] {
        assert_eq!(granted(&restarted, purpose, morning() + TimeDelta::hours(13)).await, 0);
    }
    let status = restarted.status(morning()).await.unwrap();
    assert_eq!(status.pots, [(Pot::Scheduled, 15, 15), (Pot::FirstSight, 5, 5), (Pot::Reserve, 5, 5)]);
    assert_eq!(status.left(), Some(0));
}

#[tokio::test]
async fn a_new_day_begins_at_midnight_in_new_york() {
    let budget = budget(by_the_day());
    assert_eq!(granted(&budget, Purpose::Interactive, morning()).await, 5);
    let refused = budget.spend(Purpose::Interactive, morning()).await;
    assert_eq!(retry_at(refused), instant("2026-11-21T05:05:00Z"));
    assert_eq!(granted(&budget, Purpose::Interactive, instant("2026-11-21T04:59:59Z")).await, 0);
    assert_eq!(granted(&budget, Purpose::Interactive, instant("2026-11-21T05:00:00Z")).await, 5);
    // In summer it is an hour earlier.
    let summer = new_day("2026-07-10T12:00:00Z".parse().unwrap());
    assert_eq!(summer.to_rfc3339(), "2026-07-11T04:05:00+00:00");
}

#[tokio::test]
async fn a_user_has_three_first_sights_per_day() {
    let budget = budget(by_the_day());
    let user = |id| Purpose::FirstSight { user: Some(UserId(id)) };
    assert_eq!(granted(&budget, user(1), morning()).await, 3);
    assert_eq!(retry_at(budget.spend(user(1), morning()).await), instant("2026-11-21T05:05:00Z"));
    assert_eq!(granted(&budget, user(2), morning()).await, 3);
    assert_eq!(budget.status(morning()).await.unwrap().left(), Some(19));
    assert_eq!(granted(&budget, user(1), morning() + TimeDelta::days(1)).await, 3);
}

#[tokio::test]
async fn calls_of_all_processes_keep_the_minimum_gap() {
    let store = Arc::new(InMemoryBudget::default());
    let rules = Rules { per_minute: None, ..Rules::ALPHA_VANTAGE_FREE };
    let process = || Budget::new("alpha_vantage", rules.clone(), store.clone());
    let (one, other) = (process(), process());
    let gap = TimeDelta::milliseconds(1500);
    for (place, budget) in [&one, &other, &one, &other].into_iter().enumerate() {
        let sends_at = budget.spend(Purpose::Scheduled, morning()).await.unwrap();
        assert_eq!(sends_at, morning() + gap * i32::try_from(place).unwrap());
    }
    let later = morning() + seconds(100);
    assert_eq!(one.spend(Purpose::Scheduled, later).await, Ok(later));
}

#[tokio::test]
async fn users_are_rejected_uncounted_instead_of_waiting_long() {
    let rules = Rules { min_gap: seconds(5), per_minute: None, ..Rules::ALPHA_VANTAGE_FREE };
    let budget = budget(rules);
    for place in [0, 5] {
        assert_eq!(budget.spend(Purpose::Interactive, morning()).await, Ok(morning() + seconds(place)));
    }
    let refused = budget.spend(Purpose::Interactive, morning()).await;
    assert_eq!(retry_at(refused), morning() + seconds(10));
    assert_eq!(budget.status(morning()).await.unwrap().left(), Some(23));
    assert!(budget.spend(Purpose::Scheduled, morning()).await.is_ok(), "a job waits longer");
}

#[tokio::test]
async fn each_minute_has_its_own_limit() {
    let rules = Rules { min_gap: TimeDelta::zero(), ..Rules::ALPHA_VANTAGE_FREE };
    let budget = budget(rules);
    let now = morning() + seconds(42);
    assert_eq!(granted(&budget, Purpose::Scheduled, now).await, 5);
    let refused = budget.spend(Purpose::Scheduled, now).await;
    assert_eq!(retry_at(refused), morning() + seconds(60));
    assert_eq!(granted(&budget, Purpose::Scheduled, morning() + seconds(60)).await, 5);
    assert_eq!(budget.status(now).await.unwrap().left(), Some(15), "refusals cost nothing of the day");
}

#[tokio::test]
async fn a_call_is_counted_in_the_minute_in_which_it_is_sent() {
    let rules = Rules { min_gap: seconds(4), per_minute: Some(1), ..Rules::ALPHA_VANTAGE_FREE };
    let budget = budget(rules);
    let now = morning() + seconds(58);
    assert_eq!(budget.spend(Purpose::Scheduled, now).await, Ok(now));
    // The call is sent four seconds later, in the next minute. A third call would fall into the same minute, so it is
    // rejected.
    assert_eq!(budget.spend(Purpose::Scheduled, now).await, Ok(morning() + seconds(62)));
    assert_eq!(retry_at(budget.spend(Purpose::Scheduled, now).await), morning() + seconds(120));
}

#[tokio::test]
async fn after_a_refusal_for_the_day_no_call_is_sent_until_the_next_day() {
    let store = Arc::new(InMemoryBudget::default());
    let process = || Budget::new("alpha_vantage", by_the_day(), store.clone());
    let tomorrow = instant("2026-11-21T05:05:00Z");
    process().hold(tomorrow).await.unwrap();
    process().hold(morning()).await.unwrap();
    let other = process();
    for now in [morning(), instant("2026-11-21T04:59:00Z")] {
        for purpose in [Purpose::Scheduled, ANYBODY, Purpose::Interactive] {
            assert_eq!(retry_at(other.spend(purpose, now).await), tomorrow);
        }
    }
    let status = other.status(morning()).await.unwrap();
    assert_eq!((status.left(), status.held_until), (Some(25), Some(tomorrow)));
    assert!(other.spend(Purpose::Interactive, tomorrow).await.is_ok());
    assert_eq!(other.status(tomorrow).await.unwrap().held_until, None);
}

#[tokio::test]
async fn a_key_without_a_daily_limit_is_not_limited_per_day() {
    let paid = crate::AlphaVantagePlan { per_minute: Some(75), ..Default::default() };
    let budget = budget(Rules { min_gap: TimeDelta::zero(), ..Rules::alpha_vantage(paid) });
    assert_eq!(granted(&budget, Purpose::Interactive, morning()).await, 75);
    assert_eq!(granted(&budget, Purpose::Interactive, morning() + seconds(60)).await, 75);
    assert_eq!(budget.status(morning()).await.unwrap().left(), None);
}

#[tokio::test]
async fn a_lease_belongs_to_one_holder_until_it_ends() {
    let store = InMemoryBudget::default();
    let (now, end) = (morning(), morning() + seconds(30));
    assert!(store.try_lease("quote/AAPL", "one", now, end).await.unwrap());
    assert!(!store.try_lease("quote/AAPL", "other", now, end).await.unwrap());
    assert!(store.try_lease("quote/MSFT", "other", now, end).await.unwrap());
    store.release("quote/AAPL", "other").await.unwrap();
    assert!(!store.try_lease("quote/AAPL", "other", now, end).await.unwrap());
    assert!(store.try_lease("quote/AAPL", "other", end, end + seconds(30)).await.unwrap());
    store.release("quote/AAPL", "other").await.unwrap();
    assert!(store.try_lease("quote/AAPL", "one", now, end).await.unwrap());
    store.release_all("one").await.unwrap();
    assert!(store.try_lease("quote/AAPL", "other", now, end).await.unwrap());
    assert!(!store.try_lease("quote/MSFT", "one", now, end).await.unwrap());
}

/// A store that cannot be reached.
struct Away;

#[async_trait::async_trait]
impl BudgetStore for Away {
    async fn try_spend(&self, _: &Window, _: u32) -> Result<bool, StoreFailed> {
        Err(StoreFailed("away".to_owned()))
    }
    async fn spent(&self, _: &Window) -> Result<u32, StoreFailed> {
        Err(StoreFailed("away".to_owned()))
    }
    async fn take_slot(
        &self,
        _: &str,
        now: Timestamp,
        _: TimeDelta,
        _: Timestamp,
    ) -> Result<Slot, StoreFailed> {
        Ok(Slot::At(now))
    }
    async fn next_slot(&self, _: &str) -> Result<Option<Timestamp>, StoreFailed> {
        Err(StoreFailed("away".to_owned()))
    }
    async fn hold(&self, _: &str, _: Timestamp) -> Result<(), StoreFailed> {
        Err(StoreFailed("away".to_owned()))
    }
    async fn note(&self, _: &str, _: Timestamp, _: Option<&QuoteError>) -> Result<(), StoreFailed> {
        Err(StoreFailed("away".to_owned()))
    }
    async fn keep_series(&self, _: &Series) -> Result<(), StoreFailed> {
        Err(StoreFailed("away".to_owned()))
    }
    async fn try_lease(&self, _: &str, _: &str, _: Timestamp, _: Timestamp) -> Result<bool, StoreFailed> {
        Err(StoreFailed("away".to_owned()))
    }
    async fn release(&self, _: &str, _: &str) -> Result<(), StoreFailed> {
        Err(StoreFailed("away".to_owned()))
    }
    async fn release_all(&self, _: &str) -> Result<(), StoreFailed> {
        Err(StoreFailed("away".to_owned()))
    }
    async fn publish(&self, _: &[Published]) -> Result<(), StoreFailed> {
        Err(StoreFailed("away".to_owned()))
    }
    async fn unconfirmed_quotes(
        &self,
        _: &domain::PriceSource,
        _: &[domain::Symbol],
    ) -> Result<HashMap<domain::Symbol, domain::plausibility::UnconfirmedPrice>, StoreFailed> {
        Err(StoreFailed("away".to_owned()))
    }
    async fn record_unconfirmed_quotes(
        &self,
        _: &[UnconfirmedQuote],
        _: &[domain::Symbol],
    ) -> Result<(), StoreFailed> {
        Err(StoreFailed("away".to_owned()))
    }
    async fn splits(&self, _: &domain::Symbol) -> Result<domain::SplitHistory, StoreFailed> {
        Err(StoreFailed("away".to_owned()))
    }
    async fn split_days(&self, _: &domain::Symbol) -> Result<Vec<chrono::NaiveDate>, StoreFailed> {
        Err(StoreFailed("away".to_owned()))
    }
    async fn stocks_in_use(&self) -> Result<u32, StoreFailed> {
        Err(StoreFailed("away".to_owned()))
    }

    async fn published(
        &self,
        _: &[domain::Symbol],
    ) -> Result<HashMap<domain::Symbol, Published>, StoreFailed> {
        Err(StoreFailed("away".to_owned()))
    }
}

#[tokio::test]
async fn no_call_is_sent_if_the_store_fails() {
    let budget = Budget::new("alpha_vantage", by_the_day(), Arc::new(Away));
    let refused = budget.spend(Purpose::Interactive, morning()).await;
    assert!(matches!(refused, Err(QuoteError::Upstream(_))), "{refused:?}");
}

/// A budget with Yahoo's 600 scheduled calls, without limits per second.
fn yahoo(store: &Arc<InMemoryBudget>) -> Budget {
    Budget::new("yahoo", Rules { min_gap: TimeDelta::zero(), ..Rules::YAHOO }, store.clone())
}

/// The number of calls granted per hour to a job that wants `wanted` calls per minute, from 9:30 to 16:16 in New York.
async fn granted_by_hour(budget: &Budget, from: &str, wanted: usize) -> Vec<usize> {
    let (mut now, mut hours) = (instant(from), vec![0; 7]);
    while now < instant("2026-11-20T21:16:00Z") {
        for _ in 0..wanted {
            let hour = (now - instant("2026-11-20T14:30:00Z")).num_hours();
            hours[usize::try_from(hour).unwrap()] +=
                usize::from(budget.spend(Purpose::Scheduled, now).await.is_ok());
        }
        now = now + TimeDelta::minutes(1);
    }
    hours
}

#[tokio::test]
async fn paced_calls_last_for_the_session_with_a_reserve_for_closes() {
    let store = Arc::new(InMemoryBudget::default());
    store.use_stocks(30);
    let budget = yahoo(&store);
    let hours = granted_by_hour(&budget, "2026-11-20T14:30:00Z", 30).await;
    // 450 calls in 406 minutes are 66 per hour; the last "hour" has 46 minutes.
    assert!(hours[..6].iter().all(|calls| (60..=75).contains(calls)), "{hours:?}");
    let sent: usize = hours.iter().sum();
    assert!((445..=450).contains(&sent), "{hours:?}");
    // The reserve is used after the session, and for closes and news at any time.
    let evening = instant("2026-11-20T21:30:00Z");
    let mut last_prices = 0;
    while budget.spend(Purpose::Scheduled, evening).await.is_ok() {
        last_prices += 1;
    }
    assert!((120..=125).contains(&last_prices), "one for each stock stays: {last_prices}");
    let mut kept = 0;
    while budget.spend(Purpose::CloseOrNews, evening).await.is_ok() {
        kept += 1;
    }
    assert_eq!((sent + last_prices + kept, kept), (600, 30));
}

#[tokio::test]
async fn unused_calls_of_the_morning_speed_up_the_afternoon() {
    let store = Arc::new(InMemoryBudget::default());
    let budget = yahoo(&store);
    let hours = granted_by_hour(&budget, "2026-11-20T17:30:00Z", 30).await;
    assert!(hours[3..6].iter().all(|calls| (140..=175).contains(calls)), "{hours:?}");
    assert!(hours.iter().sum::<usize>() >= 590, "{hours:?}");
}

#[tokio::test]
async fn two_processes_share_one_pace() {
    let store = Arc::new(InMemoryBudget::default());
    let (one, other) = (yahoo(&store), yahoo(&store));
    let mut sent = 0;
    for second in 0..600 {
        let now = morning() + seconds(second);
        for budget in [&one, &other] {
            sent += usize::from(budget.spend(Purpose::Scheduled, now).await.is_ok());
        }
    }
    // 600 calls in 376 minutes are 1.6 per minute: ten minutes, plus five minutes that calls may be ahead.
    assert!((20..=26).contains(&sent), "{sent}");
}

#[tokio::test]
async fn news_and_closes_are_not_paced() {
    let store = Arc::new(InMemoryBudget::default());
    store.use_stocks(30);
    let budget = yahoo(&store);
    let before = budget.pace(morning()).await.unwrap().unwrap();
    assert_eq!((before.calls_left, before.kept), (Some(450), 150));
    for _ in 0..60 {
        budget.spend(Purpose::CloseOrNews, morning()).await.unwrap();
    }
    let after = budget.pace(morning()).await.unwrap().unwrap();
    assert_eq!((after.calls_left, after.kept), (Some(450), 90));
    assert!((before.calls_per_minute - after.calls_per_minute).abs() < 1e-9);
}

#[tokio::test]
async fn a_tenth_of_the_calls_may_be_sent_before_the_opening() {
    let store = Arc::new(InMemoryBudget::default());
    let budget = yahoo(&store);
    let early = instant("2026-11-20T12:00:00Z");
    assert_eq!(granted(&budget, Purpose::Scheduled, early).await, 60);
    assert_eq!(retry_at(budget.spend(Purpose::Scheduled, early).await), instant("2026-11-20T14:30:00Z"));
    assert_eq!(granted(&budget, Purpose::Scheduled, instant("2026-11-21T15:00:00Z")).await, 100);
}

#[tokio::test]
async fn the_pace_contains_the_number_of_ready_calls() {
    let store = Arc::new(InMemoryBudget::default());
    let budget = yahoo(&store);
    for _ in 0..20 {
        let ready = budget.pace(morning()).await.unwrap().unwrap().ready.unwrap();
        let sent = budget.spend(Purpose::Scheduled, morning()).await.is_ok();
        assert_eq!(sent, ready > 0, "{ready}");
    }
    // A key without a limit per day reserves four of five calls per minute for jobs.
    let rules =
        Rules { per_day: None, per_minute: Some(75), min_gap: TimeDelta::milliseconds(800), ..Rules::YAHOO };
    let pace = Budget::new("paid", rules, store).pace(morning()).await.unwrap().unwrap();
    assert_eq!((pace.ready, pace.calls_left), (None, None));
    assert!((pace.calls_per_minute - 60.0).abs() < 1e-9);
    // A source with one price per session has no pace.
    assert_eq!(self::budget(by_the_day()).pace(morning()).await.unwrap(), None);
}
