//! The choice of columns of the list of Services.

use super::outcome::{Outcome, step};
use super::popup::popup;
use crate::columns::SERVICES;
use crate::format::clip_end;
use crate::tui::keys::Action;
use crate::tui::list::List;
use crate::tui::theme::Theme;
use crate::tui::widgets::{draw_list, put};
use crossterm::event::{KeyCode, KeyEvent};
use ratatui::Frame;
use ratatui::layout::Rect;

#[derive(Debug)]
pub(in crate::tui) struct Columns {
    /// Index in [`SERVICES`], and whether it is shown.
    all: Vec<(usize, bool)>,
    /// The columns that are shown where the user chose none.
    default: Vec<usize>,
    list: List,
}

/// Columns that are shown, in their order, then the others.
fn ordered(shown: &[usize]) -> Vec<(usize, bool)> {
    let rest = (0..SERVICES.len()).filter(|i| !shown.contains(i)).map(|i| (i, false));
    shown.iter().map(|i| (*i, true)).chain(rest).collect()
}

impl Columns {
    pub(in crate::tui) fn new(shown: &[usize], default: Vec<usize>) -> Columns {
        Columns { all: ordered(shown), default, list: List::default() }
    }

    pub(super) fn on_key(&mut self, event: KeyEvent, action: Option<Action>) -> Outcome {
        self.list.len = self.all.len();
        let at = self.list.chosen;
        match (event.code, action) {
            (KeyCode::Esc | KeyCode::Enter | KeyCode::Char('q' | 'c'), _) => return Outcome::Close,
            (KeyCode::Char(' '), _) => self.all[at].1 = !self.all[at].1,
            (KeyCode::Char('J') | KeyCode::Right, _) if at + 1 < self.all.len() => {
                self.all.swap(at, at + 1);
                self.list.step(1);
            }
            (KeyCode::Char('K') | KeyCode::Left, _) if at > 0 => {
                self.all.swap(at, at - 1);
                self.list.step(-1);
            }
            (KeyCode::Char('d'), _) => {
                self.all = ordered(&self.default);
                self.list = List::default();
                return Outcome::Columns(None);
            }
            (_, Some(Action::Down)) => self.list.step(1),
            (_, Some(Action::Up)) => self.list.step(-1),
            _ => self.list.step(step(event).unwrap_or(0)),
        }
        match event.code {
            KeyCode::Char(_) | KeyCode::Left | KeyCode::Right => self.chosen(),
            _ => Outcome::Stay,
        }
    }

    /// The columns that are chosen; without any there would be nothing to look at.
    fn chosen(&self) -> Outcome {
        let chosen: Vec<usize> = self.all.iter().filter(|c| c.1).map(|c| c.0).collect();
        if chosen.is_empty() { Outcome::Stay } else { Outcome::Columns(Some(chosen)) }
    }

    pub(super) fn on_mouse(&mut self, x: u16, y: u16, wheel: Option<isize>) -> Outcome {
        match (wheel, self.list.at(x, y)) {
            (Some(by), _) => self.list.step(by),
            (None, Some(row)) => {
                self.list.chosen = row;
                self.all[row].1 = !self.all[row].1;
                return self.chosen();
            }
            (None, None) => return Outcome::Close,
        }
        Outcome::Stay
    }

    pub(super) fn draw(&mut self, frame: &mut Frame<'_>, theme: Theme, area: Rect) {
        let keys = "space shows or hides · J K move · d default · Esc closes";
        let height = self.all.len() as u16 + 2;
        let inner = popup(frame, theme, area, 100, height, "Columns of Services", keys);
        self.list.fit(self.all.len(), inner);
        draw_list(frame, theme, &self.list, Some(true), |frame, i, place| {
            let (column, shown) = self.all[i];
            let c = &SERVICES[column];
            let mark = if shown { "[x]" } else { "[ ]" };
            let text = format!(" {mark} {:<13} {}", c.key, c.meaning());
            let style = if shown { theme.text() } else { theme.dim() };
            put(frame, place, &clip_end(&text, usize::from(place.width)), style, false);
        });
    }
}
