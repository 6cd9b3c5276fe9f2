//! What keys and the mouse do.

use super::{App, AppEvent, Place};
use crate::config::PaneName;
use crate::replay::Travel;
use crate::tui::keys::{Action, action};
use crate::tui::overlays::{Help, Outcome, Overlay, Palette};
use crate::tui::pane::Effect;
use crate::tui::reader::ReaderCommand;
use crate::tui::request::Request;
use crate::tui::section::Section;
use crate::tui::strip::Strip;
use crossterm::event::{
    KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};

impl App {
    /// A key.
    pub fn on_key(&mut self, event: KeyEvent) -> AppEvent {
        if event.kind == KeyEventKind::Release {
            return AppEvent::Nothing;
        }
        self.message = None;
        let asked = action(event);
        let ctrl = event.modifiers.contains(KeyModifiers::CONTROL);
        if ctrl && asked == Some(Action::Quit) {
            return AppEvent::Quit;
        }
        if asked == Some(Action::Stop) {
            return AppEvent::Stop;
        }
        if let Some(mut overlay) = self.overlay.take() {
            let outcome = overlay.on_key(event);
            return self.after_overlay(overlay, outcome);
        }
        if let Some(typed) = self.going_to.take() {
            return self.on_time_key(typed, event);
        }
        if self.cx.searching
            && let Some(event) = self.on_search_key(event)
        {
            return event;
        }
        asked.map_or(AppEvent::Nothing, |action| self.apply(action))
    }

    fn on_search_key(&mut self, event: KeyEvent) -> Option<AppEvent> {
        let mut text = self.search()?.text;
        match event.code {
            KeyCode::Char(c) if !event.modifiers.contains(KeyModifiers::CONTROL) => text.push(c),
            KeyCode::Char('w' | 'u') => text.clear(),
            KeyCode::Backspace => {
                text.pop();
            }
            KeyCode::Enter => self.cx.searching = false,
            KeyCode::Esc => {
                self.cx.searching = false;
                text.clear();
            }
            _ => return None, // arrows and the rest work as ever
        }
        self.type_search(text);
        Some(AppEvent::Draw)
    }

    fn type_search(&mut self, text: String) {
        let (pane, cx, _) = self.pane_mut();
        pane.set_search(text, cx);
    }

    fn after_overlay(&mut self, overlay: Overlay, outcome: Outcome) -> AppEvent {
        match outcome {
            Outcome::Stay => self.overlay = Some(overlay),
            Outcome::Close => {}
            Outcome::Run(action) => return self.apply(action),
            Outcome::Go(request) => self.take(Effect::Go(request)),
            Outcome::Columns(columns) => {
                self.overlay = Some(overlay);
                self.request(PaneName::Services, &Request::Columns(columns));
            }
        }
        AppEvent::Draw
    }

    pub(super) fn apply(&mut self, action: Action) -> AppEvent {
        match action {
            Action::Quit => return AppEvent::Quit,
            Action::Stop => return AppEvent::Stop,
            Action::Redraw => return AppEvent::Redraw,
            Action::UseTheme(name) => {
                self.cx.theme.name = name;
                return AppEvent::Redraw;
            }
            Action::Theme => {
                self.cx.theme = self.cx.theme.next();
                self.message = Some(format!("theme {}", self.cx.theme.name.name()));
                return AppEvent::Redraw;
            }
            Action::Help => self.overlay = Some(Overlay::Help(Help::new(self.pane().hints()))),
            Action::Palette => {
                let view = self.cx.update.as_ref().map(|u| &u.view);
                self.overlay = Some(Overlay::Palette(Palette::new(view)));
            }
            Action::Down => self.move_by(1),
            Action::Up => self.move_by(-1),
            Action::PageDown => self.move_by_page(1),
            Action::PageUp => self.move_by_page(-1),
            Action::First => self.move_by(isize::MIN / 2),
            Action::Last => self.move_by(isize::MAX / 2),
            Action::NextPane => self.show_beside(1),
            Action::LastPane => self.show_beside(-1),
            Action::Show(pane) => self.show(pane),
            Action::Back => self.back(),
            Action::Left => self.act(action),
            Action::BackFromJump => self.back_from_jump(),
            Action::Copy => self.copy(),
            Action::Search => {
                // Search where there is something to search; from elsewhere it is for a Service.
                let here = self.tab();
                self.show(if self.search().is_some() { here } else { PaneName::Services });
                self.cx.searching = true;
                self.type_search(String::new());
            }
            Action::SortNext | Action::SortBack | Action::Reverse => self.act_in(PaneName::Services, action),
            Action::Problems
            | Action::ProblemsFirst
            | Action::Sort
            | Action::Namespace
            | Action::Mode
            | Action::Columns
            | Action::Heat
            | Action::Fold
            | Action::Pin
            | Action::SortBy(_)
            | Action::Filter(_) => {
                self.show(PaneName::Services);
                self.act_in(PaneName::Services, action);
            }
            Action::Section(section) => self.show_section(section),
            Action::Monitor => self.act_in(PaneName::Drops, action),
            Action::Enter
            | Action::Focus
            | Action::NextSection
            | Action::LastSection
            | Action::Explain
            | Action::NextFrontend => self.act(action),
            Action::Pause => self.pause(),
            Action::StepBack => self.travel(Travel::Step(-1)),
            Action::StepOn => self.travel(Travel::Step(1)),
            Action::MinuteBack => self.travel(Travel::Seconds(-60)),
            Action::MinuteOn => self.travel(Travel::Seconds(60)),
            Action::FindingBack => self.travel(Travel::Finding(false)),
            Action::FindingOn => self.travel(Travel::Finding(true)),
            Action::Newest => self.travel(Travel::Newest),
            Action::ToPart(part) => {
                let to = self.cx.update.as_ref().and_then(|u| Strip::time_at(u, part));
                if let Some(time) = to {
                    self.travel(Travel::To(time));
                }
            }
            Action::GoTo => self.going_to = Some(String::new()),
            Action::Save => self.save(),
            Action::Once => self.commands.push(ReaderCommand::Once),
            Action::Faster => self.faster(true),
            Action::Slower => self.faster(false),
        }
        AppEvent::Draw
    }

    fn show_section(&mut self, section: Section) {
        if Section::OF_CONNTRACK.contains(&section) {
            if self.tab() != PaneName::Conntrack {
                self.show(PaneName::Conntrack);
            }
        } else if self.place != Place::Service {
            self.show(PaneName::Services);
        }
        self.act(Action::Section(section));
    }

    fn move_by_page(&mut self, sign: isize) {
        let page = self.pane_mut().0.lists().with_keys().map_or(1, |l| l.height.max(2) as isize - 1);
        self.move_by(sign * page);
    }

    fn move_by(&mut self, by: isize) {
        let (pane, cx, _) = self.pane_mut();
        let upper = !pane.lists().is_lower();
        let Some(list) = pane.lists().with_keys() else { return };
        list.step(by);
        if upper {
            pane.on_chosen(cx);
        }
    }

    /// The mouse.
    pub fn on_mouse(&mut self, event: MouseEvent) -> AppEvent {
        let (x, y) = (event.column, event.row);
        let wheel = match event.kind {
            MouseEventKind::ScrollDown => Some(3),
            MouseEventKind::ScrollUp => Some(-3),
            MouseEventKind::Down(MouseButton::Left) => None,
            _ => return AppEvent::Nothing,
        };
        if let Some(mut overlay) = self.overlay.take() {
            let outcome = overlay.on_mouse(x, y, wheel);
            return self.after_overlay(overlay, outcome);
        }
        if let Some(by) = wheel {
            let lists = self.pane_mut().0.lists();
            if let (Some(lower), Some(in_lower)) = (lists.lower, lists.in_lower) {
                *in_lower = lower.area.contains((x, y).into());
            }
            self.move_by(by);
            return AppEvent::Draw;
        }
        let clicked = self.clicks.iter().find(|c| c.0.contains((x, y).into()));
        if let Some((_, action)) = clicked.copied() {
            return self.apply(action);
        }
        self.click_row(x, y)
    }

    fn click_row(&mut self, x: u16, y: u16) -> AppEvent {
        let (pane, cx, _) = self.pane_mut();
        let lists = pane.lists();
        let at = |list: &Option<&mut crate::tui::list::List>| list.as_ref().and_then(|l| l.at(x, y));
        let (row, below) = match (at(&lists.upper), at(&lists.lower)) {
            (Some(row), _) => (row, false),
            (None, Some(row)) => (row, true),
            (None, None) => return AppEvent::Nothing,
        };
        if let Some(lower) = lists.in_lower {
            *lower = below;
        }
        let list = if below { lists.lower } else { lists.upper };
        let Some(list) = list else { return AppEvent::Nothing };
        // A second click on what is chosen opens it.
        if list.chosen == row {
            return self.apply(Action::Enter);
        }
        list.chosen = row;
        if !below {
            pane.on_chosen(cx);
        }
        AppEvent::Draw
    }
}
