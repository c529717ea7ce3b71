//! Orders without HTTP: calls the use case directly.

use services::accounts::actor::Trader;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::books::Books;
use crate::report::Sample;

/// How many orders are in flight at any moment.
pub const IN_FLIGHT: usize = 256;

pub fn run(runtime: &Runtime, books: &Arc<Books>, time: Duration) -> Result<Sample> {
    runtime.block_on(async {
        let start = Instant::now();
        let mut sum = Sample::new()?;
        let mut tasks = JoinSet::new();
        for _ in 0..IN_FLIGHT {
            tasks.spawn(one_after_the_other(books.clone(), start + time));
        }
        while let Some(sample) = tasks.join_next().await {
            sum.add(&sample??)?;
        }
        sum.took = start.elapsed();
        Ok(sum)
    })
}

async fn one_after_the_other(books: Arc<Books>, end: Instant) -> Result<Sample> {
    let mut sample = Sample::new()?;
    while Instant::now() < end {
        let portfolio = books.random_portfolio();
        let order = books.random_order(portfolio);
        let sent = Instant::now();
        match books
            .services
            .trading()
            .place_order(Trader::on_behalf_of(Books::owner(portfolio)).portfolio(portfolio), order)
            .await
        {
            Ok(_) => sample.record(sent.elapsed()),
            Err(error) => sample.refuse(|| error.to_string()),
        }
    }
    Ok(sample)
}
