//! Going back in time, and on again.

use super::{App, AppEvent};
use crate::format::moment;
use crate::replay::Travel;
use crate::tui::reader::ReaderCommand;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use std::time::Duration;

/// Intervals that `+` and `-` go through, in milliseconds.
const INTERVALS: [u64; 8] = [250, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000];

impl App {
    pub(super) fn travel(&mut self, how: Travel) {
        self.commands.push(ReaderCommand::Travel(how));
    }

    /// Stops reading, or goes on; in the past it is time that stops.
    pub(super) fn pause(&mut self) {
        match self.cx.moment() {
            Some(m) => {
                let on = m.speed.is_none();
                self.travel(Travel::Play(on));
            }
            None => {
                self.paused = !self.paused;
                self.commands.push(ReaderCommand::Pause(self.paused));
            }
        }
    }

    /// Reads more or less often; in a recording, plays twice or half as fast.
    pub(super) fn faster(&mut self, faster: bool) {
        if self.cx.moment().is_some() {
            let now = self.speed;
            self.speed = (if faster { now * 2.0 } else { now / 2.0 }).clamp(0.125, 64.0);
            self.travel(Travel::Speed(self.speed));
            self.message = Some(format!("{} times as fast as it was", self.speed));
            return;
        }
        let now = self.interval.as_millis() as u64;
        let at = INTERVALS.iter().position(|i| *i >= now).unwrap_or(INTERVALS.len() - 1);
        let next = at.saturating_add_signed(if faster { -1 } else { 1 }).min(INTERVALS.len() - 1);
        self.interval = Duration::from_millis(INTERVALS[next]);
        self.commands.push(ReaderCommand::Interval(self.interval));
    }

    pub(super) fn on_time_key(&mut self, mut typed: String, event: KeyEvent) -> AppEvent {
        match event.code {
            KeyCode::Esc => return AppEvent::Draw,
            KeyCode::Enter => {
                let Some(u) = &self.cx.update else { return AppEvent::Draw };
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
        let Some(u) = &self.cx.update else { return };
        let host = u.snapshot.node.hostname.as_deref().unwrap_or("node");
        let time = crate::format::for_file_name(u.snapshot.taken_at);
        self.commands.push(ReaderCommand::Save(format!("kptop-{host}-{time}.rec").into()));
    }
}
