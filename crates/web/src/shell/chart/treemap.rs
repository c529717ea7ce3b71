//! A squarified treemap, which shows weights as areas (Bruls, Huizing, van Wijk, 2000).

use super::percent;

/// The approximate size of a treemap and of its text, in CSS pixels. The exact sizes are in the style sheet.
#[derive(Debug, Clone, Copy)]
pub struct Frame {
    pub width: f64,
    pub height: f64,
    /// The width of a letter of a name, in bold.
    letter: f64,
    /// The width of a weight or a change such as `+12.34%`.
    figure: f64,
}

pub const WIDE: Frame = Frame { width: 845.0, height: 352.0, letter: 9.5, figure: 62.0 };
pub const PHONE: Frame = Frame { width: 350.0, height: 420.0, letter: 8.2, figure: 52.0 };

/// The place of a cell in the frame.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Cell {
    pub x: String,
    pub y: String,
    pub width: String,
    pub height: String,
    /// In pixels of the frame.
    #[serde(skip)]
    size: (f64, f64),
    #[serde(skip)]
    frame: Frame,
}

/// The height of the first line and of each further line, in CSS pixels.
const FIRST_LINE: f64 = 28.0;
const NEXT_LINE: f64 = 18.0;
/// The left and the right margin together, in CSS pixels.
const MARGIN: f64 = 12.0;

impl Cell {
    /// How many of three lines fit into the cell: the name, the weight, the change.
    pub fn lines(&self, name: &str) -> usize {
        let (width, height) = self.size;
        let letters = name.chars().fold(0.0, |sum, _| sum + self.frame.letter);
        if width < letters + MARGIN || height < FIRST_LINE {
            return 0;
        }
        match height {
            _ if width < self.frame.figure => 1,
            height if height >= FIRST_LINE + 2.0 * NEXT_LINE => 3,
            height if height >= FIRST_LINE + NEXT_LINE => 2,
            _ => 1,
        }
    }
}

#[derive(Clone, Copy)]
struct Area {
    x: f64,
    y: f64,
    width: f64,
    height: f64,
}

/// Arranges one cell per weight, in the same order. The weights have to be positive and in descending order.
pub fn layout(weights: &[f64], frame: Frame) -> Vec<Cell> {
    let total: f64 = weights.iter().sum();
    if total <= 0.0 {
        return Vec::new();
    }
    let aspect = frame.width / frame.height;
    let mut free = Area { x: 0.0, y: 0.0, width: aspect, height: 1.0 };
    let areas: Vec<f64> = weights.iter().map(|weight| weight / total * aspect).collect();
    let mut cells = Vec::with_capacity(weights.len());
    let mut rest = areas.as_slice();
    while !rest.is_empty() {
        let side = free.width.min(free.height);
        // A row gets more cells as long as they become more square.
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
    cells.into_iter().map(|area| cell(area, frame)).collect()
}

/// The worst aspect ratio among the cells of a row along `side`.
fn worst(row: &[f64], side: f64) -> f64 {
    let sum: f64 = row.iter().sum();
    row.iter()
        .map(|area| {
            let ratio = (side * side * area) / (sum * sum);
            ratio.max(1.0 / ratio)
        })
        .fold(0.0, f64::max)
}

/// Places a row along the shorter side and returns the remaining area.
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

fn cell(area: Area, frame: Frame) -> Cell {
    let aspect = frame.width / frame.height;
    Cell {
        x: percent(area.x / aspect * 100.0),
        y: percent(area.y * 100.0),
        width: percent(area.width / aspect * 100.0),
        height: percent(area.height * 100.0),
        size: (area.width * frame.height, area.height * frame.height),
        frame,
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
        for frame in [WIDE, PHONE] {
            assert_covers(&layout(&weights, frame), &weights);
        }
    }

    fn assert_covers(cells: &[Cell], weights: &[f64]) {
        assert_eq!(cells.len(), weights.len());
        let covered: f64 =
            cells.iter().map(|cell| number(&cell.width) * number(&cell.height) / 10_000.0).sum();
        assert!((covered - 1.0).abs() < 0.005, "{covered}");
        for (cell, weight) in cells.iter().zip(weights) {
            let area = number(&cell.width) * number(&cell.height) / 10_000.0;
            assert!((area - *weight).abs() < 0.002, "{cell:?} {weight}");
            assert!(number(&cell.x) + number(&cell.width) <= 100.2);
            assert!(number(&cell.y) + number(&cell.height) <= 100.2);
        }
    }

    #[test]
    fn one_weight_takes_all_and_none_takes_nothing() {
        let all = &layout(&[3.0], WIDE)[0];
        assert_eq!((all.width.as_str(), all.height.as_str()), ("100%", "100%"));
        assert!(layout(&[], WIDE).is_empty());
    }

    #[test]
    fn twenty_equal_holdings_are_named_with_their_weights_on_a_phone() {
        for (frame, lines) in [(WIDE, 3), (PHONE, 3)] {
            let named = layout(&[0.05; 20], frame).iter().filter(|cell| cell.lines("BRK.B") >= lines).count();
            assert_eq!(named, 20, "{frame:?}");
        }
    }

    #[test]
    fn text_stays_within_its_cell() {
        let cell = |width, height| Cell { size: (width, height), ..layout(&[1.0], WIDE)[0].clone() };
        assert_eq!(cell(50.0, 100.0).lines("AAPL"), 1, "no room for a figure");
        assert_eq!(cell(49.0, 100.0).lines("AAPL"), 0);
        assert_eq!([27.0, 28.0, 46.0, 64.0].map(|height| cell(90.0, height).lines("AAPL")), [0, 1, 2, 3]);
        assert_eq!(cell(90.0, 100.0).lines("Dividends receivable"), 0);
    }
}
