//! A choice of one out of a list: a namespace, a mode, the column that sorts.

use super::outcome::{Outcome, step};
use super::popup::popup;
use crate::format::clip_end;
use crate::tui::list::List;
use crate::tui::request::Request;
use crate::tui::theme::Theme;
use crate::tui::widgets::{draw_list, put};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::Frame;
use ratatui::layout::Rect;
use unicode_width::UnicodeWidthStr;

/// One that can be chosen.
#[derive(Debug)]
pub(in crate::tui) struct Item {
    pub(in crate::tui) label: String,
    /// At the right: how many there are, say.
    pub(in crate::tui) note: String,
    pub(in crate::tui) request: Request,
}

#[derive(Debug)]
pub(in crate::tui) struct Menu {
    title: &'static str,
    all: Vec<Item>,
    /// What was typed to find one.
    typed: String,
    /// Those that have it, by index.
    found: Vec<usize>,
    list: List,
}

impl Menu {
    /// With the item that holds now chosen.
    pub(in crate::tui) fn new(title: &'static str, all: Vec<Item>, now: usize) -> Menu {
        let mut menu = Menu { title, all, typed: String::new(), found: Vec::new(), list: List::default() };
        menu.find();
        menu.list.chosen = now.min(menu.found.len().saturating_sub(1));
        menu
    }

    fn find(&mut self) {
        let typed = self.typed.to_lowercase();
        let has = |i: &usize| self.all[*i].label.to_lowercase().contains(&typed);
        self.found = (0..self.all.len()).filter(has).collect();
        self.list.go_to_top();
        self.list.len = self.found.len();
    }

    fn chosen(&self, row: usize) -> Outcome {
        match self.found.get(row) {
            Some(i) => Outcome::Go(self.all[*i].request.clone()),
            None => Outcome::Stay,
        }
    }

    pub(super) fn on_key(&mut self, event: KeyEvent) -> Outcome {
        match event.code {
            KeyCode::Esc => return Outcome::Close,
            KeyCode::Enter => return self.chosen(self.list.chosen),
            KeyCode::Backspace => {
                self.typed.pop();
                self.find();
            }
            KeyCode::Char(c) if !event.modifiers.contains(KeyModifiers::CONTROL) => {
                self.typed.push(c);
                self.find();
            }
            _ => self.list.step(step(event).unwrap_or(0)),
        }
        Outcome::Stay
    }

    pub(super) fn on_mouse(&mut self, x: u16, y: u16, wheel: Option<isize>) -> Outcome {
        match (wheel, self.list.at(x, y)) {
            (Some(by), _) => self.list.step(by),
            (None, Some(row)) => return self.chosen(row),
            (None, None) => return Outcome::Close,
        }
        Outcome::Stay
    }

    pub(super) fn draw(&mut self, frame: &mut Frame<'_>, theme: Theme, area: Rect) {
        let widest = self.all.iter().map(|i| i.label.width() + i.note.width() + 8).max().unwrap_or(0);
        let width = (widest as u16).clamp(44, 100);
        let keys = "type to find · Enter takes · Esc closes";
        let inner = popup(frame, theme, area, width, self.all.len() as u16 + 3, self.title, keys);
        let typed = Rect { height: inner.height.min(1), ..inner };
        put(frame, typed, &format!(" {}█", self.typed), theme.accent(), false);
        let rows = Rect { y: inner.y + 1, height: inner.height.saturating_sub(1), ..inner };
        self.list.fit(self.found.len(), rows);
        draw_list(frame, theme, &self.list, Some(true), |frame, i, place| {
            let item = &self.all[self.found[i]];
            let room = usize::from(place.width).saturating_sub(item.note.width() + 4);
            put(frame, place, &format!(" {}", clip_end(&item.label, room)), theme.text(), false);
            let at = Rect { width: place.width.saturating_sub(2), ..place };
            put(frame, at, &item.note, theme.dim(), true);
        });
        if self.found.is_empty() {
            put(frame, rows, " nothing is called so here", theme.warn(), false);
        }
    }
}
