//! Going back in time, and on again.

use super::{App, AppEvent};
use crate::format::moment;
use crate::replay::{Moment, Travel};
use crate::tui::reader::Order;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

impl App {
    /// Where one is in time; `None` for now.
    pub(in crate::tui) fn moment(&self) -> Option<&Moment> {
        self.update.as_ref()?.moment.as_ref()
    }

    /// What figures "since …" and changes go back to.
    pub(in crate::tui) fn beginning(&self) -> &'static str {
        match self.moment() {
            Some(m) if !m.live => "since the recording began",
            _ => "since kptop began",
        }
    }

    pub(super) fn travel(&mut self, how: Travel) {
        self.orders.push(Order::Travel(how));
    }

    /// Stops reading, or goes on; in the past it is time that stops.
    pub(super) fn pause(&mut self) {
        match self.moment() {
            Some(m) => {
                let on = m.speed.is_none();
                self.travel(Travel::Play(on));
            }
            None => {
                self.paused = !self.paused;
                self.orders.push(Order::Pause(self.paused));
            }
        }
    }

    /// Twice or half as fast.
    pub(super) fn change_speed(&mut self, faster: bool) {
        let now = self.speed;
        self.speed = (if faster { now * 2.0 } else { now / 2.0 }).clamp(0.125, 64.0);
        self.travel(Travel::Speed(self.speed));
        self.message = Some(format!("{} times as fast as it was", self.speed));
    }

    pub(super) fn on_time_key(&mut self, mut typed: String, event: KeyEvent) -> AppEvent {
        match event.code {
            KeyCode::Esc => return AppEvent::Draw,
            KeyCode::Enter => {
                let Some(u) = &self.update else { return AppEvent::Draw };
                let (first, last) = match &u.moment {
                    Some(m) => (m.first, m.last),
                    None => (u.snapshot.taken_at, u.snapshot.taken_at),
                };
                match moment(&typed, first, last) {
                    Ok(time) => self.travel(Travel::To(time)),
                    Err(why) => self.message = Some(why),
                }
                return AppEvent::Draw;
            }
            KeyCode::Backspace => drop(typed.pop()),
            KeyCode::Char('u' | 'w') if event.modifiers.contains(KeyModifiers::CONTROL) => typed.clear(),
            KeyCode::Char(c) if !event.modifiers.contains(KeyModifiers::CONTROL) => typed.push(c),
            _ => {}
        }
        self.going_to = Some(typed);
        AppEvent::Draw
    }

    /// Has the last minutes written into a file of the directory that kptop was started in.
    pub(super) fn save(&mut self) {
        let Some(u) = &self.update else { return };
        let host = u.snapshot.node.hostname.as_deref().unwrap_or("node");
        let time = crate::format::for_file_name(u.snapshot.taken_at);
        self.orders.push(Order::Save(format!("kptop-{host}-{time}.rec").into()));
    }
}
