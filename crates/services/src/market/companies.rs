//! Compares the company that a source reports under a symbol with the company of the stock in the books.

use domain::company::{ReportedCompany, is_another_company};
use market_data::ListedStock;
use persistence::{StoreError, Tx, reused_symbols};

pub(crate) fn company_of(reported: &ListedStock) -> ReportedCompany {
    ReportedCompany {
        name: reported.company_name.clone(),
        is_fund: reported.is_fund,
        listed_on: reported.listed_on,
    }
}

/// The result of comparing a reported company with that of the stock with its symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CompanyComparison {
    Another,
    /// The company is the same, or there is no stock with the symbol.
    Same,
    /// The company is the same, and its listing date is not stored yet.
    SameWithoutDate,
}

pub(crate) fn compare_company(
    tx: &mut Tx<'_>,
    reported: &ListedStock,
) -> Result<CompanyComparison, StoreError> {
    let known = reused_symbols::companies(tx, std::slice::from_ref(&reported.symbol))?;
    Ok(match known.get(&reported.symbol) {
        Some((_, company)) if is_another_company(company, &company_of(reported)) => {
            CompanyComparison::Another
        }
        Some((_, company)) if company.listed_on.is_none() && reported.listed_on.is_some() => {
            CompanyComparison::SameWithoutDate
        }
        Some(_) | None => CompanyComparison::Same,
    })
}

/// Stores the listing date of the company of a symbol, if there is none yet.
pub(crate) fn keep_date(tx: &mut Tx<'_>, reported: &ListedStock) -> Result<(), StoreError> {
    let known = reused_symbols::companies(tx, std::slice::from_ref(&reported.symbol))?;
    match (known.get(&reported.symbol), reported.listed_on) {
        (Some((id, _)), Some(listed_on)) => reused_symbols::keep_listed_on(tx, *id, listed_on),
        _ => Ok(()),
    }
}
