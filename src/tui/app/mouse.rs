//! What the mouse does.

use super::commands::matching;
use super::{App, AppEvent, Click, Overlay};
use crate::config::PaneName;
use crossterm::event::{MouseButton, MouseEvent, MouseEventKind};

impl App {
    /// The mouse.
    pub fn on_mouse(&mut self, event: MouseEvent) -> AppEvent {
        let (x, y) = (event.column, event.row);
        let wheel = match event.kind {
            MouseEventKind::ScrollDown => Some(3),
            MouseEventKind::ScrollUp => Some(-3),
            MouseEventKind::Down(MouseButton::Left) => None,
            _ => return AppEvent::Nothing,
        };
        if let Some(overlay) = self.overlay.take() {
            return self.on_overlay_mouse(overlay, x, y, wheel);
        }
        if let Some(by) = wheel {
            let (_, lower) = self.lists();
            let over = lower.is_some_and(|l| l.area.contains((x, y).into()));
            self.lower = over && self.opened.is_none();
            self.move_by(by);
            return AppEvent::Draw;
        }
        let at = (x, y).into();
        if let Some((_, click)) = self.clicks.iter().find(|c| c.0.contains(at)).copied() {
            match click {
                Click::Pane(pane) => self.show(pane),
                Click::Section(section) => self.show_section(section),
                Click::Sort(column) => self.sort_by(column),
            }
            return AppEvent::Draw;
        }
        let (upper, lower) = self.lists();
        let (row, in_lower) = match (upper.at(x, y), lower.and_then(|l| l.at(x, y))) {
            (Some(row), _) => (row, false),
            (None, Some(row)) => (row, true),
            (None, None) => return AppEvent::Nothing,
        };
        self.lower = in_lower;
        let Some(list) = self.list() else { return AppEvent::Nothing };
        // A second click on what is chosen opens it.
        let again = list.chosen == row;
        list.chosen = row;
        if again {
            return self.do_it(crate::tui::keys::Ask::Enter);
        }
        if !in_lower && self.opened.is_none() {
            self.chosen_anew();
        }
        AppEvent::Draw
    }

    /// The lists on the screen: upper and lower.
    fn lists(&self) -> (super::List, Option<super::List>) {
        match self.pane {
            PaneName::Services if self.opened.is_some() => (self.below, None),
            PaneName::Services => (self.services, Some(self.below)),
            PaneName::Rules => (self.tables, Some(self.rules)),
            PaneName::Conntrack => (self.conntrack, None),
            PaneName::Findings => (self.findings, None),
            PaneName::Changes => (self.changes, None),
            PaneName::Drops => (self.drops, None),
            PaneName::Overview | PaneName::Compare => (super::List::default(), None),
        }
    }

    fn on_overlay_mouse(&mut self, overlay: Overlay, x: u16, y: u16, wheel: Option<isize>) -> AppEvent {
        match overlay {
            Overlay::Help(page) => {
                if wheel.is_some() {
                    self.overlay = Some(Overlay::Help(page));
                }
            }
            Overlay::Palette { typed, mut list } => {
                if let (None, Some(row)) = (wheel, list.at(x, y)) {
                    return match matching(&typed).get(row) {
                        Some(command) => self.run(*command),
                        None => AppEvent::Draw,
                    };
                }
                list.step(wheel.unwrap_or(0));
                self.overlay = wheel.map(|_| Overlay::Palette { typed, list });
            }
            Overlay::Columns { mut all, mut list } => {
                let row = list.at(x, y);
                if let (None, Some(row)) = (wheel, row) {
                    list.chosen = row;
                    all[row].1 = !all[row].1;
                    self.take_columns(&all);
                }
                list.step(wheel.unwrap_or(0));
                self.overlay = (wheel.is_some() || row.is_some()).then_some(Overlay::Columns { all, list });
            }
        }
        AppEvent::Draw
    }
}
