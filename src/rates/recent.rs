//! The last readings of a figure, for a line of blocks.

use std::collections::VecDeque;

/// Readings that are kept: at one a second, two minutes.
pub const HISTORY: usize = 120;

/// The last readings of a figure.
#[derive(Clone, Debug, Default)]
pub struct Recent {
    values: VecDeque<f32>,
    /// Readings so far, those that were dropped too.
    total: u64,
}

impl Recent {
    /// Takes the next reading.
    pub fn push(&mut self, value: f32) {
        if self.values.len() == HISTORY {
            self.values.pop_front();
        }
        self.values.push_back(value);
        self.total += 1;
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// True before the first.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// At most `width` figures, oldest first: means of as many readings each as it takes to show all of them. Which
    /// readings stand together never changes, so that a line moves only when one more is full.
    pub fn cells(&self, width: usize) -> Vec<f32> {
        if width == 0 {
            return Vec::new();
        }
        // One more than fits exactly: the first and the last cell may be half full, and are not shown then.
        let mut size = 1;
        while self.values.len().div_ceil(size) + usize::from(size > 1) > width && size < HISTORY {
            size += 1;
        }
        let mut cells: Vec<(u64, f32, u32)> = Vec::with_capacity(width);
        let first = self.total - self.values.len() as u64;
        for (i, v) in self.values.iter().enumerate() {
            let cell = (first + i as u64) / size as u64;
            match cells.last_mut() {
                Some(last) if last.0 == cell => {
                    last.1 += v;
                    last.2 += 1;
                }
                _ => cells.push((cell, *v, 1)),
            }
        }
        // What is half gone or half there would change with each reading: on a slow line that costs.
        let whole = cells.len() < 2 || cells.first().is_none_or(|c| c.2 as usize == size || c.0 == 0);
        if cells.len() > 1 && size > 1 && cells.last().is_some_and(|c| (c.2 as usize) < size) {
            cells.pop();
        }
        let from = cells.len().saturating_sub(width).max(usize::from(!whole && cells.len() > 1));
        cells[from..].iter().map(|c| c.1 / c.2 as f32).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn cells_stay_what_they_are() {
        let mut r = Recent::default();
        let (mut moved, mut before) = (0, Vec::new());
        for i in 0..2000 {
            r.push((i % 53) as f32);
            let now = r.cells(25);
            if i >= 1000 {
                let n = before.len().min(now.len()).saturating_sub(1); // the last one is not full yet
                moved += usize::from(before[..n] != now[..n]);
            }
            before = now;
        }
        assert_eq!(r.len(), HISTORY);
        // 120 readings on 25 cells: five each.
        assert!((195..=205).contains(&moved), "{moved} moves in 1000 readings");
    }

    #[test]
    fn a_young_history_has_a_cell_for_each_reading() {
        let mut r = Recent::default();
        [3.0, 0.0, 5.0].into_iter().for_each(|v| r.push(v));
        assert_eq!(r.cells(16), [3.0, 0.0, 5.0]);
        assert_eq!(r.cells(0), [0.0; 0]);
    }

    proptest! {
        #[test]
        fn cells_fit(n in 0usize..400, width in 0usize..200) {
            let mut r = Recent::default();
            (0..n).for_each(|i| r.push(i as f32));
            let cells = r.cells(width);
            prop_assert!(cells.len() <= width);
            prop_assert!(width == 0 || n == 0 || !cells.is_empty());
        }
    }
}
