//! Areas for weights: a squarified treemap (Bruls, Huizing, van Wijk, 2000).

use super::percent;

/// Where a cell lies in the frame.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Cell {
    pub x: String,
    pub y: String,
    pub width: String,
    pub height: String,
    /// Whether there is room for one line of text, and for three.
    pub roomy: bool,
    pub spacious: bool,
}

/// How the frame's width relates to its height on a wide screen.
const ASPECT: f64 = 2.4;

#[derive(Clone, Copy)]
struct Area {
    x: f64,
    y: f64,
    width: f64,
    height: f64,
}

/// One cell for each weight, in the same order. Weights are positive and largest first.
pub fn layout(weights: &[f64]) -> Vec<Cell> {
    let total: f64 = weights.iter().sum();
    if total <= 0.0 {
        return Vec::new();
    }
    let mut free = Area { x: 0.0, y: 0.0, width: ASPECT, height: 1.0 };
    let areas: Vec<f64> = weights.iter().map(|weight| weight / total * ASPECT).collect();
    let mut cells = Vec::with_capacity(weights.len());
    let mut rest = areas.as_slice();
    while !rest.is_empty() {
        let side = free.width.min(free.height);
        // A row grows as long as its cells become more like squares.
        let taken = (1..=rest.len())
            .take_while(|count| {
                *count == 1 || worst(&rest[..*count], side) <= worst(&rest[..count - 1], side)
            })
            .last()
            .unwrap_or(1);
        let (row, after) = rest.split_at(taken);
        free = place(row, free, &mut cells);
        rest = after;
    }
    cells.into_iter().map(Cell::from).collect()
}

/// The least square-like cell of a row along `side`.
fn worst(row: &[f64], side: f64) -> f64 {
    let sum: f64 = row.iter().sum();
    row.iter()
        .map(|area| {
            let ratio = (side * side * area) / (sum * sum);
            ratio.max(1.0 / ratio)
        })
        .fold(0.0, f64::max)
}

/// Puts a row along the shorter side and answers what stays free.
fn place(row: &[f64], free: Area, cells: &mut Vec<Area>) -> Area {
    let sum: f64 = row.iter().sum();
    let upright = free.width >= free.height;
    let thickness = sum / if upright { free.height } else { free.width };
    let mut offset = 0.0;
    for area in row {
        let length = area / thickness;
        cells.push(if upright {
            Area { x: free.x, y: free.y + offset, width: thickness, height: length }
        } else {
            Area { x: free.x + offset, y: free.y, width: length, height: thickness }
        });
        offset += length;
    }
    if upright {
        Area { x: free.x + thickness, width: free.width - thickness, ..free }
    } else {
        Area { y: free.y + thickness, height: free.height - thickness, ..free }
    }
}

impl From<Area> for Cell {
    fn from(area: Area) -> Self {
        let (width, height) = (area.width / ASPECT * 100.0, area.height * 100.0);
        Self {
            x: percent(area.x / ASPECT * 100.0),
            y: percent(area.y * 100.0),
            width: percent(width),
            height: percent(height),
            roomy: width > 7.0 && height > 9.0,
            spacious: width > 9.0 && height > 21.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> f64 {
        text.trim_end_matches('%').parse().unwrap()
    }

    #[test]
    fn cells_cover_the_frame_by_weight() {
        let weights = [0.4, 0.25, 0.15, 0.1, 0.06, 0.04];
        let cells = layout(&weights);
        assert_eq!(cells.len(), weights.len());
        let covered: f64 =
            cells.iter().map(|cell| number(&cell.width) * number(&cell.height) / 10_000.0).sum();
        assert!((covered - 1.0).abs() < 0.005, "{covered}");
        for (cell, weight) in cells.iter().zip(weights) {
            let area = number(&cell.width) * number(&cell.height) / 10_000.0;
            assert!((area - weight).abs() < 0.002, "{cell:?} {weight}");
            assert!(number(&cell.x) + number(&cell.width) <= 100.2);
            assert!(number(&cell.y) + number(&cell.height) <= 100.2);
        }
    }

    #[test]
    fn one_weight_takes_all_and_none_takes_nothing() {
        assert_eq!((layout(&[3.0])[0].width.as_str(), layout(&[3.0])[0].height.as_str()), ("100%", "100%"));
        assert!(layout(&[]).is_empty());
    }
}
