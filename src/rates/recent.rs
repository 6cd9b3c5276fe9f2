//! The last readings of a figure, for a line of blocks.

/// Readings that are kept: at one a second, two minutes.
pub const HISTORY: usize = 120;

/// The last readings of a figure, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Recent {
    /// Number of the first one, over the whole session.
    first: u64,
    /// Not a number where nothing new was read.
    values: Vec<f32>,
}

impl Recent {
    /// Readings of which the first has this number.
    pub fn of(first: u64, values: Vec<f32>) -> Recent {
        Recent { first, values }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// The newest, where something was read.
    pub fn newest(&self) -> Option<f32> {
        self.values.last().copied().filter(|v| !v.is_nan())
    }

    /// True before the first.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// At most `width` figures, oldest first: means of as many readings each as it takes to show all of them. Which
    /// readings are together never changes, so that a line moves only when one more is full.
    pub fn cells(&self, width: usize) -> Vec<f32> {
        if width == 0 {
            return Vec::new();
        }
        // One more than fits exactly: the first and the last cell may be half full, and are not shown then.
        let mut size = 1;
        while self.values.len().div_ceil(size) + usize::from(size > 1) > width && size < HISTORY {
            size += 1;
        }
        /// A cell: its number, sum and number of values, and how many readings it represents.
        struct Cell(u64, f32, u32, usize);
        let mut cells: Vec<Cell> = Vec::with_capacity(width);
        for (i, v) in (self.first..).zip(&self.values) {
            let cell = i / size as u64;
            if cells.last().is_none_or(|c| c.0 != cell) {
                cells.push(Cell(cell, 0.0, 0, 0));
            }
            let Some(last) = cells.last_mut() else { continue };
            last.3 += 1;
            if !v.is_nan() {
                last.1 += v;
                last.2 += 1;
            }
        }
        // What is half gone or half there would change with each reading: on a slow line that costs.
        let whole = cells.len() < 2 || cells.first().is_none_or(|c| c.3 == size || c.0 == 0);
        if cells.len() > 1 && size > 1 && cells.last().is_some_and(|c| c.3 < size) {
            cells.pop();
        }
        let from = cells.len().saturating_sub(width).max(usize::from(!whole && cells.len() > 1));
        cells[from..].iter().filter(|c| c.2 > 0).map(|c| c.1 / c.2 as f32).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn last(n: usize, value: impl Fn(usize) -> f32) -> Recent {
        let first = n.saturating_sub(HISTORY);
        Recent::of(first as u64, (first..n).map(value).collect())
    }

    #[test]
    fn cells_stay_what_they_are() {
        let (mut moved, mut before) = (0, Vec::new());
        for i in 0..2000 {
            let r = last(i + 1, |i| (i % 53) as f32);
            let now = r.cells(25);
            if i >= 1000 {
                let n = before.len().min(now.len()).saturating_sub(1); // the last one is not full yet
                moved += usize::from(before[..n] != now[..n]);
                assert_eq!(r.len(), HISTORY);
            }
            before = now;
        }
        // 120 readings on 25 cells: five each.
        assert!((195..=205).contains(&moved), "{moved} moves in 1000 readings");
    }

    #[test]
    fn a_young_history_has_a_cell_for_each_reading() {
        let r = Recent::of(0, vec![3.0, 0.0, 5.0]);
        assert_eq!(r.cells(16), [3.0, 0.0, 5.0]);
        assert_eq!(r.cells(0), [0.0; 0]);
        assert_eq!(Recent::of(0, vec![3.0, f32::NAN, 5.0]).cells(16), [3.0, 5.0], "nothing new is no 0");
    }

    proptest! {
        #[test]
        fn cells_fit(n in 0usize..400, width in 0usize..200) {
            let cells = last(n, |i| i as f32).cells(width);
            prop_assert!(cells.len() <= width);
            prop_assert!(width == 0 || n == 0 || !cells.is_empty());
        }
    }
}
