//! The last minutes as one line: where new flows were lost, what changed, what was found, and where one is.

use super::keys::Action;
use super::pane::Clicks;
use super::reader::Update;
use super::theme::Theme;
use super::widgets::put;
use crate::doctor::Severity;
use crate::format::{duration, time_of_day};
use crate::health::HealthState;
use jiff::Timestamp;
use ratatui::Frame;
use ratatui::layout::Rect;
use std::collections::BTreeMap;
use std::time::Duration;

/// As long as the live session is kept.
const LIVE: Duration = Duration::from_secs(15 * 60);

/// What a second had; the gravest is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Mark {
    /// It was read, and nothing was wrong.
    #[default]
    Fine,
    /// New flows of Services were lost.
    Loss,
    /// Something changed.
    Change,
    /// A finding began.
    Finding,
}

/// Steps into which a click divides the strip.
const PARTS: u16 = 1000;

/// What is remembered of each second.
#[derive(Debug, Default)]
pub(super) struct Strip {
    seconds: BTreeMap<i64, Mark>,
    changes: usize,
}

impl Strip {
    /// Takes a reading, of now or of the past.
    pub(super) fn on_update(&mut self, u: &Update) {
        let at = u.snapshot.taken_at.as_second();
        // A Service without endpoints mostly is so all the time: what one looks for is what dies on its way.
        let bad = u.health.count(HealthState::Failing) + u.health.count(HealthState::Degraded) > 0;
        self.mark(at, if bad { Mark::Loss } else { Mark::Fine });
        let changes = u.changes.all();
        // Of a long list only what is new.
        let new = changes.len().saturating_sub(self.changes);
        self.changes = changes.len();
        for c in u.changes.all().rev().take(new.max(1)) {
            self.mark(c.seen_at.as_second(), Mark::Change);
        }
        let alarms = u.examination.findings.iter().filter(|f| f.severity != Severity::Info);
        for since in alarms.filter_map(|f| f.since) {
            self.mark(since.as_second(), Mark::Finding);
        }
        // A recording may be of any length; what is live is kept for so long.
        if u.moment.is_none() {
            self.seconds = self.seconds.split_off(&(at - LIVE.as_secs() as i64));
        }
    }

    fn mark(&mut self, second: i64, mark: Mark) {
        let known = self.seconds.entry(second).or_default();
        *known = mark.max(*known);
    }

    /// From when to when the strip goes, where one is on it, and whether that is now.
    fn span(u: &Update) -> (i64, i64, i64) {
        let at = u.snapshot.taken_at.as_second();
        match &u.moment {
            Some(m) => (m.first.as_second(), m.last.as_second().max(m.first.as_second() + 1), at),
            None => (at - LIVE.as_secs() as i64, at, at),
        }
    }

    /// The time of a place on the strip.
    pub(super) fn time_at(u: &Update, part: u16) -> Option<Timestamp> {
        let (first, last, _) = Strip::span(u);
        let into = (last - first) * i64::from(part.min(PARTS)) / i64::from(PARTS);
        Timestamp::from_second(first + into).ok()
    }

    pub(super) fn draw(
        &self,
        frame: &mut Frame<'_>,
        theme: Theme,
        area: Rect,
        u: &Update,
        clicks: &mut Clicks,
    ) {
        let (first, last, at) = Strip::span(u);
        let ago = |s: i64| duration(Duration::from_secs(s.max(0) as u64));
        let (left, right) = match &u.moment {
            Some(m) if !m.live => (time_of_day(m.first), time_of_day(m.last)),
            _ => (format!("-{}", ago(last - first)), "now".to_string()),
        };
        put(frame, Rect { x: area.x + 1, width: 9, ..area }, &left, theme.dim(), false);
        let end = area.right().saturating_sub(9);
        put(frame, Rect { x: end, width: 8, ..area }, &right, theme.dim(), false);
        let line = Rect { x: area.x + 10, width: end.saturating_sub(area.x + 11), ..area };
        if line.width < 2 || last <= first {
            return;
        }
        let second = |cell: u16| first + (last - first) * i64::from(cell) / i64::from(line.width);
        let here =
            (i64::from(line.width - 1) * (at - first) / (last - first)).clamp(0, i64::from(line.width - 1));
        for cell in 0..line.width {
            let place = Rect { x: line.x + cell, width: 1, ..line };
            let within = self.seconds.range(second(cell)..=second(cell + 1).max(second(cell)));
            let mark = within.map(|(_, m)| *m).max();
            let (text, style) = match mark {
                _ if i64::from(cell) == here => ("▲", theme.on()),
                Some(Mark::Finding) => ("✗", theme.bad()),
                Some(Mark::Change) => ("◆", theme.accent()),
                Some(Mark::Loss) => ("━", theme.bad()),
                Some(Mark::Fine) => ("─", theme.good()),
                None => ("·", theme.dim()),
            };
            put(frame, place, text, style, false);
            let part = u32::from(cell) * u32::from(PARTS) / u32::from(line.width);
            clicks.push((place, Action::ToPart(part as u16)));
        }
    }
}
