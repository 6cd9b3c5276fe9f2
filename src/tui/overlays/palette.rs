//! Commands by name, and places: Services, addresses, ports, paths.

use super::outcome::{Outcome, step};
use super::popup::popup;
use crate::format::clip_end;
use crate::observe::View;
use crate::tui::keys::Action;
use crate::tui::list::List;
use crate::tui::palette::{matching, starts, words};
use crate::tui::places::{self, Target};
use crate::tui::theme::Theme;
use crate::tui::widgets::{draw_list, put};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::Frame;
use ratatui::layout::Rect;
use unicode_width::UnicodeWidthStr;

#[derive(Debug)]
pub(in crate::tui) struct Palette {
    typed: String,
    list: List,
    /// A row was chosen by the user.
    moved: bool,
    /// Where places are.
    view: Option<Box<View>>,
    found: Vec<Choice>,
}

#[derive(Debug)]
enum Choice {
    Go(Target),
    Run(Action),
}

impl Palette {
    pub(in crate::tui) fn new(view: Option<&View>) -> Palette {
        let mut palette = Palette {
            typed: String::new(),
            list: List::default(),
            moved: false,
            view: view.cloned().map(Box::new),
            found: Vec::new(),
        };
        palette.find();
        palette
    }

    /// Services have other places in another reading.
    pub(in crate::tui) fn look_at(&mut self, view: &View) {
        self.view = Some(Box::new(view.clone()));
        self.find();
    }

    /// Commands that begin so, places, and then what else has these words.
    fn find(&mut self) {
        let targets = self.view.iter().flat_map(|v| places::matching(v, &self.typed)).map(Choice::Go);
        let (first, other): (Vec<Action>, Vec<Action>) =
            matching(&self.typed).into_iter().partition(|a| starts(*a, &self.typed));
        let commands = first.len();
        self.found = first.into_iter().map(Choice::Run).chain(targets).collect();
        // What only has the letters somewhere is offered where nothing else is meant.
        let is_place = self.found.len() > commands;
        let typed = self.typed.to_lowercase();
        let has_words = |a: &Action| words(*a).0.to_lowercase().contains(typed.trim());
        self.found.extend(other.into_iter().filter(|a| !is_place || has_words(a)).map(Choice::Run));
        self.list.len = self.found.len();
        self.list.chosen = self.list.chosen.min(self.found.len().saturating_sub(1));
    }

    pub(super) fn on_key(&mut self, event: KeyEvent) -> Outcome {
        match event.code {
            KeyCode::Esc => return Outcome::Close,
            // Nothing that was not asked for is done, and nothing that was typed is lost.
            KeyCode::Enter if self.typed.trim().is_empty() && !self.moved => return Outcome::Stay,
            KeyCode::Enter => return self.run(self.list.chosen),
            KeyCode::Backspace => {
                self.typed.pop();
            }
            KeyCode::Char(c) if !event.modifiers.contains(KeyModifiers::CONTROL) => self.typed.push(c),
            _ => {
                self.moved = true;
                self.list.step(step(event).unwrap_or(0));
                return Outcome::Stay;
            }
        }
        self.list.go_to_top();
        self.find();
        Outcome::Stay
    }

    fn run(&self, row: usize) -> Outcome {
        match self.found.get(row) {
            Some(Choice::Run(action)) => Outcome::Run(*action),
            Some(Choice::Go(target)) => Outcome::Go(target.request.clone()),
            None => Outcome::Stay,
        }
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
        let height = self.found.len() as u16 + 3;
        let inner = popup(frame, theme, area, 96, height, "Go to, or do", "Enter goes · Esc closes");
        let line = Rect { height: 1, ..inner };
        if self.typed.is_empty() {
            let examples = "     cart · 10.96.2.9 · 30443 · ns shop · explain 203.0.113.9 30443";
            put(frame, line, &clip_end(examples, usize::from(line.width)), theme.dim(), false);
        }
        put(frame, line, &format!(" : {}█", self.typed), theme.accent(), false);
        let rows = Rect { y: inner.y + 1, height: inner.height.saturating_sub(1), ..inner };
        self.list.fit(self.found.len(), rows);
        draw_list(frame, theme, &self.list, Some(true), |frame, i, place| {
            let (name, keys) = match &self.found[i] {
                Choice::Run(action) => words(*action),
                Choice::Go(target) => (format!("→ {}", target.label), ""),
            };
            let room = usize::from(place.width).saturating_sub(keys.width() + 4);
            put(frame, place, &format!(" {}", clip_end(&name, room)), theme.text(), false);
            let at = Rect { width: place.width.saturating_sub(2), ..place };
            put(frame, at, keys, theme.key(), true);
        });
        if self.found.is_empty() {
            put(frame, rows, " no such place or command here", theme.warn(), false);
        }
    }
}
