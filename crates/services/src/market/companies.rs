//! Compares the company that a source reports under a symbol with the company of the stock in the books.

use domain::company::{ToldCompany, is_another_company};
use market_data::ListedStock;
use persistence::{StoreError, Tx, reused_symbols};

pub(crate) fn company_of(told: &ListedStock) -> ToldCompany {
    ToldCompany { name: told.company_name.clone(), is_fund: told.is_fund, listed_on: told.listed_on }
}

/// The result of comparing a reported company with that of the stock with its symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compared {
    Another,
    /// The company is the same, or there is no stock with the symbol.
    Same,
    /// The company is the same, and its listing date is not stored yet.
    SameWithoutDate,
}

pub(crate) fn compared(tx: &mut Tx<'_>, told: &ListedStock) -> Result<Compared, StoreError> {
    let known = reused_symbols::companies(tx, std::slice::from_ref(&told.symbol))?;
    Ok(match known.get(&told.symbol) {
        Some((_, company)) if is_another_company(company, &company_of(told)) => Compared::Another,
        Some((_, company)) if company.listed_on.is_none() && told.listed_on.is_some() => {
            Compared::SameWithoutDate
        }
        Some(_) | None => Compared::Same,
    })
}

/// Stores the listing date of the company of a symbol, if there is none yet.
pub(crate) fn keep_date(tx: &mut Tx<'_>, told: &ListedStock) -> Result<(), StoreError> {
    let known = reused_symbols::companies(tx, std::slice::from_ref(&told.symbol))?;
    match (known.get(&told.symbol), told.listed_on) {
        (Some((id, _)), Some(listed_on)) => reused_symbols::keep_listed_on(tx, *id, listed_on),
        _ => Ok(()),
    }
}
