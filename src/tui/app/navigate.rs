//! From one pane to another, and back.

use super::{App, Place};
use crate::config::PaneName;
use crate::tui::keys::Action;
use crate::tui::list::neighbour;
use crate::tui::pane::{Effect, Pane};
use crate::tui::request::Request;

impl App {
    /// Shows a pane; a Service that is open stays so until one goes to the list of Services.
    pub(super) fn show(&mut self, pane: PaneName) {
        self.kept_open = pane != PaneName::Services && (self.kept_open || self.place == Place::Service);
        self.came_from = None;
        for name in [self.tab(), pane] {
            if let Some(lower) = self.pane_of(name).0.lists().in_lower {
                *lower = false;
            }
        }
        self.place = Place::Pane(pane);
        self.cx.searching = false;
    }

    /// The next pane or the one before: with the Service that was open there.
    pub(super) fn show_beside(&mut self, by: isize) {
        let (kept, pane) = (self.kept_open, neighbour(PaneName::ALL, self.tab(), by));
        self.show(pane);
        if kept && pane == PaneName::Services {
            self.service.on_view(&self.cx, true);
            if self.service.is_there() {
                self.place = Place::Service;
            }
        }
    }

    /// Has the pane on the screen do something.
    pub(super) fn act(&mut self, action: Action) {
        let (pane, cx, _) = self.pane_mut();
        let effect = pane.on_action(action, cx);
        match (effect, action) {
            (Effect::Ignored, Action::Left) => self.back(),
            (Effect::Ignored, Action::Back) => self.request(PaneName::Services, &Request::ClearFilters),
            (Effect::Ignored, Action::Explain) => {
                self.message =
                    Some("choose a Service in the pane Services: e explains the path to it".into());
            }
            (Effect::Ignored, Action::NextFrontend) => {
                let text = "f goes through the frontends in the section Path of a Service";
                self.message = Some(text.into());
            }
            (effect, _) => self.take(effect),
        }
    }

    /// Has a pane do something, on the screen or not.
    pub(super) fn act_in(&mut self, name: PaneName, action: Action) {
        let (pane, cx) = self.pane_of(name);
        let effect = pane.on_action(action, cx);
        self.take(effect);
    }

    pub(super) fn request(&mut self, name: PaneName, request: &Request) {
        let (pane, cx) = self.pane_of(name);
        pane.on_request(request, cx);
    }

    /// Does what a pane asks for.
    pub(super) fn take(&mut self, effect: Effect) {
        match effect {
            Effect::Nothing | Effect::Ignored => {}
            Effect::Notice(text) => self.message = Some(text),
            Effect::Overlay(overlay) => self.overlay = Some(overlay),
            Effect::Show(pane) => self.show(pane),
            Effect::Go(request) => {
                let from = self.tab();
                self.go(&request);
                if self.tab() != from {
                    self.came_from = Some(from);
                }
            }
            Effect::Jump { back, to } => {
                self.jumps.push(back);
                self.go(&to);
            }
            Effect::Monitor(on) => {
                self.monitor = Some(on);
                if on {
                    self.show(PaneName::Drops);
                } else {
                    self.message = Some("the drop monitor is off again".into());
                }
            }
            Effect::Close => self.close(),
        }
    }

    pub(super) fn go(&mut self, request: &Request) {
        match request {
            Request::Service(..)
            | Request::Frontend(..)
            | Request::Backend(..)
            | Request::Path(..)
            | Request::SameService(..) => {
                self.show(PaneName::Services);
                self.request(PaneName::Services, request);
                self.place = Place::Service;
                self.service.on_request(request, &self.cx);
            }
            Request::Rule(_) | Request::Table(_) | Request::TableRow(..) => {
                self.show(PaneName::Rules);
                self.request(PaneName::Rules, request);
            }
            Request::Search(_) | Request::Namespace(_) | Request::Mode(_) | Request::SortBy(_) => {
                self.show(PaneName::Services);
                self.request(PaneName::Services, request);
            }
            Request::Columns(_) | Request::ClearFilters => self.request(PaneName::Services, request),
        }
    }

    /// Leaves the opened Service.
    pub(super) fn close(&mut self) {
        if self.place == Place::Service {
            self.place = Place::Pane(PaneName::Services);
            let (pane, cx) = self.pane_of(PaneName::Services);
            pane.on_chosen(cx);
        }
    }

    /// One step back: out of what was opened, then the search and all filters off.
    pub(super) fn back(&mut self) {
        let away = self.place == Place::Service || self.tab() == PaneName::Rules;
        match self.came_from.take().filter(|_| away) {
            Some(pane) => self.show(pane),
            None if self.has_jumped() => self.back_from_jump(),
            None => self.act(Action::Back),
        }
    }

    pub(super) fn back_from_jump(&mut self) {
        match self.jumps.pop() {
            Some(request) => self.go(&request),
            None if self.place == Place::Service || self.came_from.is_some() => self.back(),
            None => self.message = Some("no jump was followed".into()),
        }
    }

    /// True where a jump was followed: there is a way back.
    pub(in crate::tui) fn has_jumped(&self) -> bool {
        self.tab() == PaneName::Rules && !self.jumps.is_empty()
    }
}
