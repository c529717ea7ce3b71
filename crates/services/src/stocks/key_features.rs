//! Features that a provider refused for the API key, shown to administrators by every process.

use std::collections::BTreeMap;

use domain::Timestamp;
use persistence::{Tx, installation};

use crate::error::{Error, Result};
use crate::stocks::Stocks;

/// The prefix of the key in `installation`; the source's name follows.
const REFUSED: &str = "refused_features";

/// A feature that the source is configured to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFeatureState {
    /// `delayed_prices`, `realtime_prices`, `bulk_quotes` or `full_history`.
    pub name: &'static str,
    /// Until when the feature is not tried again, because the provider refused it. The source works without it until
    /// then.
    pub refused_until: Option<Timestamp>,
}

/// The names of refused features, and when each is tried again.
type Refused = BTreeMap<String, Timestamp>;

fn key(source: &str) -> String {
    format!("{REFUSED}/{source}")
}

/// Reads the refused features. An unreadable value counts as none.
fn refused(tx: &mut Tx<'_>, source: &str) -> Result<Refused> {
    let text = installation::get(tx, &key(source))?;
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
}

impl Stocks {
    /// The features that the source is configured to use, with refusals received by any process.
    pub(crate) async fn features(&self) -> Result<Vec<KeyFeatureState>> {
        let features = self.market.quotes.features();
        if features.is_empty() {
            return Ok(Vec::new());
        }
        let (source, now) = (self.market.quotes.source(), self.market.clock.wall());
        let noted = self.store.read(move |tx| refused(tx, source.as_str())).await?;
        let merged = features.into_iter().map(|state| {
            let elsewhere = noted.get(state.feature.as_str()).copied().filter(|until| *until > now);
            let here = state.refused_until.map(Timestamp::from);
            KeyFeatureState { name: state.feature.as_str(), refused_until: here.max(elsewhere) }
        });
        Ok(merged.collect())
    }

    /// Stores the refusals that this process received. Writes only if there is a new one.
    pub(crate) async fn note_refused_features(&self) -> Result<()> {
        let features = self.market.quotes.features();
        let (source, now) = (self.market.quotes.source(), self.market.clock.wall());
        let mine: Refused = features
            .into_iter()
            .filter_map(|state| Some((state.feature.as_str().to_owned(), state.refused_until?.into())))
            .collect();
        if mine.is_empty() {
            return Ok(());
        }
        let wanted = mine.clone();
        let name = source.clone();
        let noted = self.store.read(move |tx| refused(tx, name.as_str())).await?;
        if wanted.iter().all(|(feature, until)| noted.get(feature) == Some(until)) {
            return Ok(());
        }
        self.store
            .write(move |tx| {
                installation::lock(tx)?;
                let mut noted = refused(tx, source.as_str())?;
                noted.retain(|_, until| *until > now);
                noted.extend(mine);
                let text = serde_json::to_string(&noted).map_err(Error::internal)?;
                installation::set(tx, &key(source.as_str()), &text).map_err(Error::from)
            })
            .await
    }
}
