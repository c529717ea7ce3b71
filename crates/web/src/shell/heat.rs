//! Colors for gains and losses in tables and treemaps: nine steps around zero, as classes of the style sheet.

/// The class for a value that lies `steps` steps from zero.
pub fn class(steps: f64) -> &'static str {
    match steps {
        s if s >= 3.0 => "h-p4",
        s if s >= 2.0 => "h-p3",
        s if s >= 1.0 => "h-p2",
        s if s > 0.0 => "h-p1",
        s if s <= -3.0 => "h-n4",
        s if s <= -2.0 => "h-n3",
        s if s <= -1.0 => "h-n2",
        s if s < 0.0 => "h-n1",
        _ => "h-0",
    }
}

#[cfg(test)]
mod tests {
    use super::class;

    #[test]
    fn colors_deepen_with_distance_from_zero() {
        let classes = [-9.0, -2.5, -1.0, -0.1, 0.0, 0.1, 1.0, 2.9, 3.0].map(class);
        assert_eq!(classes, ["h-n4", "h-n3", "h-n2", "h-n1", "h-0", "h-p1", "h-p2", "h-p3", "h-p4"]);
    }
}
