//! Travelling in a recording: one reading after the other, back and forth, to a time, to where a fault begins.

use crate::cost::Prices;
use crate::doctor::Severity;
use crate::format::time_of_day;
use crate::observe::{Observer, View};
use crate::proxy::Names;
use crate::recording::Recording;
use crate::snapshot::Snapshot;
use jiff::Timestamp;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Where one is in a recording.
#[derive(Clone, Debug, PartialEq)]
pub struct Moment {
    /// Which reading, from 0.
    pub index: usize,
    /// How many there are.
    pub count: usize,
    /// When the first was taken.
    pub first: Timestamp,
    /// When the last was taken.
    pub last: Timestamp,
    /// How many times faster than it was; `None` while it is.
    pub speed: Option<f64>,
    /// True where the live session goes on behind it.
    pub live: bool,
    /// True where the reading before on the screen is not the one before in time: figures do not go on.
    pub jumped: bool,
}

/// A way to go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Travel {
    /// So many readings on; back where negative.
    Step(i64),
    /// So many seconds on; back where negative.
    Seconds(i64),
    /// To this time.
    To(Timestamp),
    /// To the last reading; in a live session: to what is now.
    Newest,
    /// To the first.
    Oldest,
    /// To where a finding begins: the next, or the one before.
    Finding(bool),
    /// Let time pass, or stop it.
    Play(bool),
    /// So many times faster.
    Speed(f64),
}

/// Readings that are understood again before a moment that was jumped to, so that it has rates and the doctor what to
/// compare with, which is up to 10 seconds old.
const BEFORE: Duration = Duration::from_secs(12);
const MOST_BEFORE: usize = 15;

/// How long a search for findings may take before it says how far it came.
const SEARCH: Duration = Duration::from_secs(8);

/// Pauses of a recording that are longer are not waited for.
const LONGEST_GAP: Duration = Duration::from_secs(5);

/// Plays a recording.
#[derive(Debug)]
pub struct Player {
    recording: Recording,
    names: Names,
    prices: Arc<Prices>,
    observer: Observer,
    index: usize,
    view: View,
    before: Option<Arc<Snapshot>>,
    playing: bool,
    speed: f64,
    jumped: bool,
    due: Instant,
    live: bool,
}

impl Player {
    /// At one of the readings. The error says what is wrong with it.
    pub fn new(
        mut recording: Recording,
        index: usize,
        live: bool,
        names: Names,
        prices: Arc<Prices>,
    ) -> Result<Player, String> {
        let (observer, view, before) = understand(&mut recording, index, &names, &prices)?;
        Ok(Player {
            recording,
            names,
            prices,
            observer,
            index,
            view,
            before,
            playing: false,
            speed: 1.0,
            jumped: true,
            due: Instant::now(),
            live,
        })
    }

    /// Goes on in the same recording, which has more readings by now: the last minutes of a live session. What was dropped
    /// from its beginning meanwhile stays until one goes elsewhere.
    pub fn renew(&mut self, recording: Recording) {
        let time = self.recording.time(self.index);
        let index = recording.at(time);
        if recording.time(index) == time {
            let earlier = std::mem::replace(&mut self.recording, recording);
            self.recording.keep(earlier);
            self.index = index;
        }
    }

    /// The reading was shown: showing it once more is no jump.
    pub fn settle(&mut self) {
        self.jumped = false;
        self.view.changed = false;
    }

    /// The reading before the one that was jumped to: what rates of single rules begin with.
    pub fn before(&self) -> Option<&Arc<Snapshot>> {
        self.before.as_ref().filter(|_| self.jumped)
    }

    /// The reading, understood.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Where one is.
    pub fn moment(&self) -> Moment {
        Moment {
            index: self.index,
            count: self.recording.len(),
            first: self.recording.time(0),
            last: self.recording.time(self.recording.len() - 1),
            speed: self.playing.then_some(self.speed),
            live: self.live,
            jumped: self.jumped,
        }
    }

    /// How long until the next reading is due, where time passes.
    pub fn wait(&self) -> Option<Duration> {
        self.playing.then(|| self.due.saturating_duration_since(Instant::now()))
    }

    /// True at the last reading.
    pub fn is_at_end(&self) -> bool {
        self.index + 1 >= self.recording.len()
    }

    /// Time has passed: the next reading. At the end it is.
    pub fn tick(&mut self) -> Result<(), String> {
        if self.is_at_end() {
            self.playing = false;
            return Ok(());
        }
        self.on()?;
        self.plan();
        Ok(())
    }

    fn plan(&mut self) {
        let (now, next) = (self.index, self.index + 1);
        if next >= self.recording.len() {
            self.playing = false;
            return;
        }
        let gap = self.recording.time(next).duration_since(self.recording.time(now));
        let gap = Duration::try_from(gap).unwrap_or_default().min(LONGEST_GAP);
        self.due = Instant::now() + gap.div_f64(self.speed);
    }

    /// The next reading; it is the next in time of the same session, or everything begins again.
    fn on(&mut self) -> Result<(), String> {
        let next = self.index + 1;
        if self.recording.session(next) != self.recording.session(self.index) {
            return self.jump(next);
        }
        self.index = next; // a damaged reading is skipped by the next step
        let snapshot = self.recording.snapshot(next)?;
        self.view = self.observer.observe(snapshot);
        self.jumped = false;
        Ok(())
    }

    fn jump(&mut self, index: usize) -> Result<(), String> {
        self.index = index;
        self.jumped = true;
        (self.observer, self.view, self.before) =
            understand(&mut self.recording, index, &self.names, &self.prices)?;
        Ok(())
    }

    fn go_to(&mut self, index: usize) -> Result<(), String> {
        let index = index.min(self.recording.len() - 1);
        match index {
            same if same == self.index => Ok(()),
            next if next == self.index + 1 => self.on(),
            other => self.jump(other),
        }
    }

    /// Goes there. Gives what is to be said; the error says what is wrong with the reading.
    pub fn travel(&mut self, how: Travel) -> Result<Option<String>, String> {
        let last = self.recording.len() - 1;
        let reported = match how {
            Travel::Step(n) => {
                let to = self.index.saturating_add_signed(n as isize);
                let at_edge = (n > 0 && self.index == last) || (n < 0 && self.index == 0);
                self.playing = false;
                self.go_to(to)?;
                at_edge.then(|| {
                    if n > 0 { "this is the last reading" } else { "this is the first reading" }.into()
                })
            }
            Travel::Seconds(n) => {
                let now = self.recording.time(self.index);
                let to = now.checked_add(jiff::SignedDuration::from_secs(n)).unwrap_or(now);
                let mut index = self.recording.at(to);
                // Never stay: a step of a second moves also where readings are minutes apart.
                if index == self.index {
                    index = index.saturating_add_signed(n.signum() as isize);
                }
                self.go_to(index)?;
                None
            }
            Travel::To(time) => {
                let index = self.recording.at(time);
                self.go_to(index)?;
                let (first, end) = (self.recording.time(0), self.recording.time(last));
                match () {
                    () if time < first => Some("it begins later: this is the first reading".into()),
                    () if time > end => Some("it ended before: this is the last reading".into()),
                    () => None,
                }
            }
            Travel::Newest => {
                self.go_to(last)?;
                None
            }
            Travel::Oldest => {
                self.go_to(0)?;
                None
            }
            Travel::Finding(forward) => {
                self.playing = false;
                Some(if forward { self.next_finding()? } else { self.last_finding()? })
            }
            Travel::Play(on) => {
                if on && self.is_at_end() && !self.live {
                    self.go_to(0)?; // as players do: once more from the beginning
                }
                self.playing = on;
                None
            }
            Travel::Speed(factor) => {
                self.speed = factor.clamp(0.125, 64.0);
                None
            }
        };
        if self.playing {
            self.plan();
        }
        Ok(reported)
    }

    fn next_finding(&mut self) -> Result<String, String> {
        let from = self.index;
        let reported = self.search_on();
        if self.index != from {
            // Readings in between were not shown.
            (self.jumped, self.view.changed) = (true, true);
        }
        reported
    }

    fn search_on(&mut self) -> Result<String, String> {
        let began = Instant::now();
        let mut known = alarms(&self.view);
        while !self.is_at_end() {
            let last = self.view.snapshot.clone();
            // What cannot be read is skipped.
            if self.on().is_err() {
                continue;
            }
            if !self.jumped {
                self.before = Some(last);
            }
            let now = alarms(&self.view);
            if let Some(new) = now.iter().find(|a| !known.contains_key(a.0)) {
                return Ok(new.1.clone());
            }
            known = now;
            if began.elapsed() > SEARCH {
                return Ok("nothing new up to here; once more to go on".into());
            }
        }
        Ok("no new warning or critical finding up to the last reading".into())
    }

    fn last_finding(&mut self) -> Result<String, String> {
        let (began, here) = (Instant::now(), self.index);
        let mut found: Option<(usize, String)> = None;
        // What cannot be read is skipped.
        if !(0..here).any(|i| self.jump(i).is_ok()) {
            return self.jump(here).map(|()| "no warning and no critical finding began before".into());
        }
        let mut known = HashMap::new();
        let mut up_to = None;
        loop {
            let now = alarms(&self.view);
            if let Some(new) = now.iter().find(|a| !known.contains_key(a.0)) {
                found = Some((self.index, new.1.clone()));
            }
            known = now;
            if self.index + 1 >= here {
                break;
            }
            if began.elapsed() > SEARCH {
                up_to = Some(self.view.snapshot.taken_at);
                break;
            }
            let _ = self.on();
        }
        let (to, words) =
            found.unwrap_or_else(|| (here, "no warning and no critical finding began before".into()));
        let how_far = up_to.map_or(String::new(), |t| {
            format!(
                " (looked at no more than the readings up to {}: the rest takes too long)",
                time_of_day(t)
            )
        });
        self.jump(to).map(|()| words + &how_far)
    }
}

/// Findings that one would be called for, with what they are for people.
fn alarms(view: &View) -> HashMap<(&'static str, String), String> {
    let found = view.examination.findings.iter().filter(|f| f.severity <= Severity::Warning);
    found.map(|f| ((f.id, f.about.clone()), format!("{}: {}", f.about, f.title))).collect()
}

/// Understands a reading, with those shortly before it.
fn understand(
    recording: &mut Recording,
    index: usize,
    names: &Names,
    prices: &Arc<Prices>,
) -> Result<(Observer, View, Option<Arc<Snapshot>>), String> {
    let mut observer = Observer::new(names.clone()).priced(prices.clone());
    let (time, session) = (recording.time(index), recording.session(index));
    let is_near = |i: usize| {
        let age = Duration::try_from(time.duration_since(recording.time(i))).unwrap_or_default();
        recording.session(i) == session && age <= BEFORE
    };
    let near = (0..index).rev().take_while(|i| is_near(*i)).take(200).count();
    // Of many, a few spread over the time do.
    let step = near.div_ceil(MOST_BEFORE).max(1);
    let mut before: Vec<usize> = (index - near..index).step_by(step).collect();
    before.extend((index > 0 && near > 0).then(|| index - 1).filter(|i| !before.contains(i)));
    let mut last = None;
    for i in before {
        if let Ok(snapshot) = recording.snapshot(i) {
            last = Some(observer.observe(snapshot).snapshot);
        }
    }
    let snapshot = recording.snapshot(index)?;
    let mut view = observer.observe(snapshot);
    view.changed = true;
    Ok((observer, view, last))
}
