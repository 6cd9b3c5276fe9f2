//! A list with a chosen row that stays in view.

use ratatui::layout::Rect;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct List {
    pub(super) chosen: usize,
    pub(super) top: usize,
    pub(super) len: usize,
    /// Rows that fit; set while drawing.
    pub(super) height: usize,
    /// Where its rows are on the screen.
    pub(super) area: Rect,
}

impl List {
    pub(super) fn step(&mut self, by: isize) {
        let last = self.len.saturating_sub(1);
        self.chosen = self.chosen.saturating_add_signed(by).min(last);
    }

    pub(super) fn go_to_top(&mut self) {
        self.chosen = 0;
        self.top = 0;
    }

    /// Brings the chosen row into view.
    pub(super) fn fit(&mut self, len: usize, area: Rect) {
        self.len = len;
        self.area = area;
        self.height = usize::from(area.height);
        self.chosen = self.chosen.min(len.saturating_sub(1));
        if self.chosen < self.top {
            self.top = self.chosen;
        }
        if self.height > 0 && self.chosen >= self.top + self.height {
            self.top = self.chosen + 1 - self.height;
        }
        self.top = self.top.min(len.saturating_sub(self.height.max(1)));
    }

    /// The same of lines that are read, not chosen: what is chosen is the first that is shown.
    pub(super) fn fit_lines(&mut self, len: usize, area: Rect) {
        self.fit(len, area);
        self.chosen = self.chosen.min(len.saturating_sub(self.height));
        self.top = self.chosen;
    }

    /// Which rows are on the screen: `1-29 of 34`, or how many there are.
    pub(super) fn position(&self) -> String {
        let last = self.len.min(self.top + self.height);
        match self.height > 0 && self.len > self.height {
            true => format!("{}-{last} of {}", self.top + 1, self.len),
            false => self.len.to_string(),
        }
    }

    /// True where not all of it is on the screen.
    pub(super) fn is_cut(&self) -> bool {
        self.len > self.height
    }

    /// Not on the screen.
    pub(super) fn hide(&mut self) {
        self.area = Rect::default();
        self.height = 0;
    }

    /// The row at a place of the screen.
    pub(super) fn at(&self, x: u16, y: u16) -> Option<usize> {
        let inside = self.area.contains((x, y).into());
        let row = self.top + usize::from(y.saturating_sub(self.area.y));
        (inside && row < self.len).then_some(row)
    }

    /// The rows that are on the screen, with their places.
    pub(super) fn shown(&self) -> impl Iterator<Item = (usize, Rect)> + use<> {
        let (top, area) = (self.top, self.area);
        (top..self.len.min(top + self.height))
            .map(move |i| (i, Rect { y: area.y + (i - top) as u16, height: 1, ..area }))
    }
}

/// The next or the last of a list; after the last comes the first.
pub(super) fn neighbour<T: Copy + PartialEq>(all: &[T], now: T, by: isize) -> T {
    let at = all.iter().position(|x| *x == now).unwrap_or(0) as isize;
    all.get((at + by).rem_euclid(all.len().max(1) as isize) as usize).copied().unwrap_or(now)
}
