//! Commands by name.

use super::outcome::{Outcome, step};
use super::popup::popup;
use crate::format::clip_end;
use crate::tui::list::List;
use crate::tui::palette::{matching, words};
use crate::tui::theme::Theme;
use crate::tui::widgets::{draw_list, put};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::Frame;
use ratatui::layout::Rect;
use unicode_width::UnicodeWidthStr;

#[derive(Debug, Default)]
pub(in crate::tui) struct Palette {
    typed: String,
    list: List,
}

impl Palette {
    pub(super) fn on_key(&mut self, event: KeyEvent) -> Outcome {
        self.list.len = matching(&self.typed).len();
        match event.code {
            KeyCode::Esc => return Outcome::Close,
            KeyCode::Enter => return self.run(self.list.chosen),
            KeyCode::Backspace => {
                self.typed.pop();
                self.list.go_to_top();
            }
            KeyCode::Char(c) if !event.modifiers.contains(KeyModifiers::CONTROL) => {
                self.typed.push(c);
                self.list.go_to_top();
            }
            _ => self.list.step(step(event).unwrap_or(0)),
        }
        Outcome::Stay
    }

    fn run(&self, row: usize) -> Outcome {
        matching(&self.typed).get(row).map_or(Outcome::Close, |action| Outcome::Run(*action))
    }

    pub(super) fn on_mouse(&mut self, x: u16, y: u16, wheel: Option<isize>) -> Outcome {
        match (wheel, self.list.at(x, y)) {
            (Some(by), _) => self.list.step(by),
            (None, Some(row)) => return self.run(row),
            (None, None) => return Outcome::Close,
        }
        Outcome::Stay
    }

    pub(super) fn draw(&mut self, frame: &mut Frame<'_>, theme: Theme, area: Rect) {
        let found = matching(&self.typed);
        let height = found.len() as u16 + 3;
        let inner = popup(frame, theme, area, 96, height, "Commands", "Enter runs · Esc closes");
        let typed = format!(" : {}█", self.typed);
        put(frame, Rect { height: 1, ..inner }, &typed, theme.accent(), false);
        let rows = Rect { y: inner.y + 1, height: inner.height.saturating_sub(1), ..inner };
        self.list.fit(found.len(), rows);
        draw_list(frame, theme, &self.list, Some(true), |frame, i, place| {
            let (name, keys) = words(found[i]);
            let room = usize::from(place.width).saturating_sub(keys.width() + 4);
            put(frame, place, &format!(" {}", clip_end(&name, room)), theme.text(), false);
            let at = Rect { width: place.width.saturating_sub(1), ..place };
            put(frame, at, keys, theme.key(), true);
        });
        if found.is_empty() {
            put(frame, rows, " no such command", theme.dim(), false);
        }
    }
}
