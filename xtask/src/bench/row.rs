//! A row of the table, and the arithmetic behind it.

use serde::Serialize;

/// One comparison.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    /// Name of the bench.
    pub(super) bench: &'static str,
    /// What was done.
    pub(super) work: String,
    /// Against what, and its figure.
    pub(super) peer: String,
    /// Ours.
    pub(super) ours: String,
    /// How many times better than the peer: the median of the rounds.
    pub(super) ratio: Option<f64>,
    /// What was promised.
    pub(super) bar: String,
    /// Whether it is kept; `None` where nothing was promised.
    pub(super) held: Option<bool>,
}

impl Row {
    /// For people.
    pub(super) fn line(&self) -> String {
        let ratio = self.ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2} ×"));
        let held = match self.held {
            Some(true) => "held",
            Some(false) => "MISSED",
            None => "reported",
        };
        format!(
            "{:8} {:44} {:28} {:22} {ratio:>9}  {:14} {held}",
            self.bench, self.work, self.peer, self.ours, self.bar
        )
    }
}

/// The middle value.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_is_the_middle() {
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(vec![4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
    }
}
