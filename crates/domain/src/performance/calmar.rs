//! Calmar ratio: annualized return divided by maximum drawdown.

use crate::performance::{
    Figure, Formula, Series, UndefinedReason, Workings, annualized_return, max_drawdown,
};

pub(super) const FORMULA: Formula = Formula {
    words: "The annualized return divided by the size of the maximum drawdown.",
    symbols: "calmar = annualized_return / |max_drawdown|",
    source: "Young, Calmar ratio: a smoother tool, Futures, 1991; with the calendar days of the window",
};

/// Calmar ratio, a number: [`annualized_return`] by calendar days divided by the depth of [`max_drawdown`]. Negative
/// for a loss.
///
/// # Errors
/// The same as [`annualized_return`]; [`UndefinedReason::NoDrawdown`] when the index never fell.
pub fn calmar(series: &Series, work: &mut Workings) -> Figure {
    let annualized = annualized_return(series, work)?;
    work.ratio("annualized_return", "Annualized return", annualized);
    let depth = max_drawdown(series, work)?.depth;
    work.ratio("max_drawdown", "Maximum drawdown", depth);
    if depth == 0.0 {
        return Err(UndefinedReason::NoDrawdown);
    }
    Ok(annualized / depth.abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::performance::Close;

    fn measured(values: [&str; 3]) -> Figure {
        let days = ["2025-01-01", "2025-06-01", "2026-01-01"];
        let close = |(date, value): (&str, &str)| Close {
            date: date.parse().unwrap(),
            total_value: value.parse().unwrap(),
            net_flow: crate::Money::zero(),
        };
        let closes: Vec<Close> = days.into_iter().zip(values).map(close).collect();
        calmar(&Series::new(closes.first(), &closes[1..]), &mut Workings::off())
    }

    #[test]
    fn ten_percent_a_year_after_a_fall_of_a_fifth_is_one_half() {
        assert!((measured(["1000", "800", "1100"]).unwrap() - 0.5).abs() < 1e-12);
        assert!((measured(["1000", "800", "900"]).unwrap() + 0.5).abs() < 1e-12);
    }

    #[test]
    fn without_a_fall_it_is_undefined() {
        assert_eq!(measured(["1000", "1050", "1100"]), Err(UndefinedReason::NoDrawdown));
    }
}
