//! The reading thread: snapshots, Services and rates, as fast as asked and no faster than the node bears.

use super::error::ScreenError;
use crate::cost::Prices;
use crate::observe::{Observer, View};
use crate::proxy::Names;
use crate::proxy::RuleRef;
use crate::recording::{Head, Recording, Ring};
use crate::replay::{Moment, Player, Travel};
use crate::ruleset::{RuleId, Table};
use crate::snapshot::facts::{Meter, keep_reading_only};
use crate::snapshot::live::{Live, LookedAt, Waker, Wanted};
use crate::snapshot::{Error, Snapshot};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// One reading, understood, and what it cost.
#[derive(Clone, Debug)]
pub struct Update {
    /// What was read.
    pub view: View,
    /// From the begin of the reading to its end.
    pub took: Duration,
    /// Time between readings that spares the node; only longer than what was asked for where it matters.
    pub spacing: Duration,
    /// Where one is in a recording, or in the last minutes of a live session; `None` for what is now.
    pub moment: Option<Moment>,
    /// The reading before one that was jumped to.
    pub before: Option<Arc<Snapshot>>,
    /// A line for the user.
    pub notice: Option<String>,
}

impl Update {
    /// What is now.
    pub fn now(view: View, took: Duration, spacing: Duration) -> Update {
        Update { view, took, spacing, moment: None, before: None, notice: None }
    }

    /// Where charts of the session end: `now`, or in the past the time of the reading.
    pub(super) fn end_words(&self) -> String {
        match self.moment {
            None => "now".into(),
            Some(_) => crate::format::time_of_day(self.view.snapshot.taken_at),
        }
    }
}

impl Deref for Update {
    type Target = View;

    fn deref(&self) -> &View {
        &self.view
    }
}

/// The part of one core that reading and understanding may take together.
const BUDGET: f64 = 0.05;

/// What the screen asks of the reader.
#[derive(Clone, Debug, PartialEq)]
pub enum ReaderCommand {
    /// Read this often.
    Interval(Duration),
    /// Stop reading, or go on.
    Pause(bool),
    /// Read once now.
    Once,
    /// The kernel said that something changed.
    Changed,
    /// The rules whose counters are on the screen: they are read each time, also when all of them together
    /// would cost too much. They mean the tables of the update that was shown last.
    Watch(Vec<RuleRef>),
    /// What is read only while a user looks at it; it is read at once.
    LookAt(LookedAt),
    /// Go to another reading.
    Travel(Travel),
    /// Write the last minutes into this file.
    Save(PathBuf),
}

/// What the screen shows.
pub enum Input {
    /// A namespace, opened on the reading thread, which then stays in it.
    Live(Box<dyn FnOnce() -> Result<Live, Error> + Send>),
    /// A recording, or files, from this reading on.
    Recording(Box<Recording>, usize),
}

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Input::Live(_) => "Live",
            Input::Recording(..) => "Recording",
        })
    }
}

/// Memory for the last minutes of a live session, and how many.
const RING_BYTES: usize = 24 << 20;
const RING_TIME: Duration = Duration::from_secs(15 * 60);

/// The other end of the reading thread.
pub(super) struct Reader {
    updates: mpsc::Receiver<Update>,
    commands: Sender<ReaderCommand>,
}

impl Reader {
    pub(super) async fn next(&mut self) -> Option<Update> {
        self.updates.recv().await
    }

    pub(super) fn send(&self, command: ReaderCommand) {
        let _ = self.commands.send(command);
    }
}

/// How a reading is understood.
#[derive(Clone, Debug)]
pub(super) struct Understanding {
    pub(super) names: Names,
    pub(super) prices: Arc<Prices>,
}

impl Understanding {
    fn observer(&self) -> Observer {
        Observer::new(self.names.clone()).priced(self.prices.clone())
    }

    fn player(&self, recording: Recording, index: usize, live: bool) -> Result<Player, String> {
        Player::new(recording, index, live, self.names.clone(), self.prices.clone())
    }
}

pub(super) async fn start(
    input: Input,
    understanding: Understanding,
    interval: Duration,
) -> Result<Reader, ScreenError> {
    let (to_screen, updates) = mpsc::channel(1);
    let (commands, from_screen) = channel();
    let to_reader = commands.clone();
    let (opened, is_open) = oneshot::channel();
    let run = move || match input {
        Input::Live(open) => match open() {
            Ok(live) => {
                // What it took to enter a namespace is not needed any more.
                let _ = keep_reading_only();
                let _ = opened.send(Ok(()));
                wake(to_reader);
                LiveReader::new(live.paced(), understanding, interval).run(&to_screen, &from_screen);
            }
            Err(e) => {
                let _ = opened.send(Err(e.into()));
            }
        },
        Input::Recording(recording, index) => match understanding.player(*recording, index, false) {
            Ok(player) => {
                let _ = opened.send(Ok(()));
                replay(player, &to_screen, &from_screen);
            }
            Err(e) => {
                let _ = opened.send(Err(ScreenError::Recording(e)));
            }
        },
    };
    std::thread::Builder::new()
        .name("reader".into())
        .spawn(run)
        .map_err(|e| Error::io("starting the reading thread", e))?;
    match is_open.await {
        Ok(Ok(())) => Ok(Reader { updates, commands }),
        Ok(Err(e)) => Err(e),
        Err(_) => Err(Error::protocol("starting the reading thread", "it ended at once").into()),
    }
}

/// What the player shows, for the screen.
fn shown(player: &mut Player, notice: Option<String>) -> Update {
    let update = Update {
        moment: Some(player.moment()),
        before: player.before().cloned(),
        notice,
        ..Update::now(player.view().clone(), Duration::ZERO, Duration::ZERO)
    };
    player.settle();
    update
}

/// Waits for a command, for so long or for ever.
fn wait_for(
    commands: &Receiver<ReaderCommand>,
    wait: Option<Duration>,
) -> Result<ReaderCommand, RecvTimeoutError> {
    match wait {
        Some(wait) => commands.recv_timeout(wait),
        None => commands.recv().map_err(|_| RecvTimeoutError::Disconnected),
    }
}

/// Plays a recording until the screen goes.
fn replay(mut player: Player, to_screen: &mpsc::Sender<Update>, commands: &Receiver<ReaderCommand>) {
    let mut notice = None;
    loop {
        if to_screen.blocking_send(shown(&mut player, notice.take())).is_err() {
            return;
        }
        notice = loop {
            match wait_for(commands, player.wait()) {
                Ok(ReaderCommand::Travel(how)) => break player.travel(how).unwrap_or_else(Some),
                Ok(ReaderCommand::Save(_)) => break Some("this is a recording already".into()),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => break player.tick().err(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        };
    }
}

fn save(ring: &Ring, path: &Path) -> String {
    let written = std::fs::File::options().write(true).create_new(true).open(path).and_then(|mut file| {
        ring.save(&mut file)?;
        file.metadata()
    });
    match written {
        Ok(m) => format!(
            "{} readings, {} bytes, in {}: kptop replay shows them",
            ring.len(),
            crate::format::count(m.len()),
            path.display()
        ),
        // The same moment once more.
        Err(e)
            if e.kind() == std::io::ErrorKind::AlreadyExists
                && path.extension().is_some_and(|x| x == "rec") =>
        {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let (front, n) = match stem.rsplit_once('_').map(|(f, n)| (f, n.parse::<u32>())) {
                Some((front, Ok(n))) if n < 1000 => (front.to_string(), n + 1),
                Some((_, Ok(_))) => return format!("{} is there already", path.display()),
                _ => (stem, 2),
            };
            save(ring, &path.with_file_name(format!("{front}_{n}.rec")))
        }
        // Another user's directory: the one for temporary files is everybody's.
        Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied && path.is_relative() => {
            save(ring, &std::env::temp_dir().join(path))
        }
        Err(e) => format!("{}: {e}", path.display()),
    }
}

/// Has the reader read where nf_tables changes. To be called in the namespace that is read; ends with the reader.
fn wake(reader: Sender<ReaderCommand>) {
    let mut waker = Waker::open();
    if !waker.is_listening() {
        return;
    }
    let listen = move || {
        while waker.is_listening() {
            if waker.wait(Duration::from_secs(1)) && reader.send(ReaderCommand::Changed).is_err() {
                return;
            }
        }
    };
    // Without it changes are seen at the next reading.
    let _ = std::thread::Builder::new().name("nf_tables".into()).spawn(listen);
}

/// What is younger need not be read again.
const FRESH: Duration = Duration::from_millis(100);

/// What the reader does after a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// Waits for the next command, or until a reading is due.
    Wait,
    /// Shows what it has: another reading of the past, or a notice.
    Show,
    /// Reads the node.
    Read,
}

/// Reads a node, and keeps what has just passed.
struct LiveReader {
    live: Live,
    understanding: Understanding,
    observer: Observer,
    ring: Ring,
    /// Where one went back to; reading goes on meanwhile.
    past: Option<Player>,
    notice: Option<String>,
    interval: Duration,
    paused: bool,
    /// Time between readings that spares the node.
    spacing: Duration,
    began: Instant,
    watched: Vec<RuleRef>,
    /// What was read last; `None` before the first reading.
    now: Option<Update>,
    /// The last reading was not shown yet.
    fresh: bool,
}

impl LiveReader {
    fn new(live: Live, understanding: Understanding, interval: Duration) -> LiveReader {
        LiveReader {
            live,
            observer: understanding.observer(),
            understanding,
            ring: Ring::new(Head::new(interval, false), RING_BYTES, RING_TIME),
            past: None,
            notice: None,
            interval,
            paused: false,
            spacing: Duration::ZERO,
            began: Instant::now(),
            watched: Vec::new(),
            now: None,
            fresh: false,
        }
    }

    /// Reads and shows until the screen goes.
    fn run(mut self, to_screen: &mpsc::Sender<Update>, commands: &Receiver<ReaderCommand>) {
        let mut next = Next::Read;
        let meter = Meter::start();
        if let Some(outline) = self.live.outline() {
            // By an observer of its own: what comes with the whole reading is no change.
            let view = self.understanding.observer().observe(outline);
            let update = Update::now(view, meter.stop().wall, Duration::ZERO);
            if to_screen.blocking_send(update).is_err() {
                return;
            }
        }
        loop {
            if next == Next::Read {
                self.read();
            }
            if next != Next::Wait
                && let Some(update) = self.shown()
                && to_screen.blocking_send(update).is_err()
            {
                return;
            }
            next = match wait_for(commands, self.wait()) {
                Ok(command) => self.on_command(command),
                Err(RecvTimeoutError::Timeout) => self.on_time(),
                Err(RecvTimeoutError::Disconnected) => return,
            };
        }
    }

    fn read(&mut self) {
        self.began = Instant::now();
        let meter = Meter::start();
        let snapshot = self.live.snapshot(Wanted::ALL);
        // Where no source was due, Services and rates are those of before.
        let view = match snapshot.costs.is_empty() {
            true => self.observer.again(snapshot),
            false => self.observer.observe(snapshot),
        };
        self.live.new_flows_are_counted(view.model.new_flows_are_counted());
        if view.changed {
            self.live.watch(by_table(&view.snapshot, &self.watched)); // tables are known by their structure
        }
        if let Err(e) = self.ring.push(&view.snapshot) {
            self.notice = Some(format!("the last minutes are not kept: {e}"));
        }
        let cost = meter.stop();
        self.spacing = (self.spacing + cost.cpu.div_f64(BUDGET)) / 2;
        if let Some(player) = &mut self.past {
            player.renew(self.ring.recording());
        }
        self.now = Some(Update::now(view, cost.wall, self.spacing));
        self.fresh = true;
    }

    /// What the screen should show, where that is something else than before. While a user looks at what was, that is
    /// shown once more: how long ago it was has changed.
    fn shown(&mut self) -> Option<Update> {
        let fresh = std::mem::take(&mut self.fresh);
        let notice = self.notice.take();
        match &mut self.past {
            Some(player) => Some(shown(player, notice)),
            None if fresh || notice.is_some() => Some(Update { notice, ..self.now.clone()? }),
            None => None,
        }
    }

    /// How long to wait for a command; `None` for ever.
    fn wait(&self) -> Option<Duration> {
        let due = self.began + self.interval.max(self.spacing);
        let reading = (!self.paused).then(|| due.saturating_duration_since(Instant::now()));
        let playing = self.past.as_ref().and_then(Player::wait);
        reading.into_iter().chain(playing).min()
    }

    fn on_command(&mut self, command: ReaderCommand) -> Next {
        match command {
            ReaderCommand::Interval(new) => self.interval = new,
            ReaderCommand::Pause(on) => {
                self.paused = on;
                return if on { Next::Wait } else { Next::Read };
            }
            ReaderCommand::Changed if self.paused || self.began.elapsed() < self.spacing.max(FRESH) => {}
            ReaderCommand::Changed | ReaderCommand::Once => return Next::Read,
            // What is asked for in the past is not for what is now.
            ReaderCommand::Watch(rules) => {
                if let (None, Some(now)) = (&self.past, &self.now) {
                    self.live.watch(by_table(&now.snapshot, &rules));
                    self.watched = rules;
                }
            }
            ReaderCommand::LookAt(what) => {
                let anything = what != LookedAt::default();
                self.live.look_at(what);
                if anything && !self.paused {
                    return Next::Read;
                }
            }
            ReaderCommand::Travel(how) => {
                self.notice = self.travel(how).unwrap_or_else(Some);
                // What is now comes at once.
                self.fresh = self.past.is_none();
                return Next::Show;
            }
            ReaderCommand::Save(path) => {
                self.notice = Some(save(&self.ring, &path));
                return Next::Show;
            }
        }
        Next::Wait
    }

    /// The time to wait is over: of a recording that plays, or of the node.
    fn on_time(&mut self) -> Next {
        let playing = |p: &&mut Player| p.wait() == Some(Duration::ZERO);
        let Some(player) = self.past.as_mut().filter(playing) else { return Next::Read };
        match player.is_at_end() {
            true => {
                self.past = None;
                self.fresh = true;
            }
            false => self.notice = player.tick().err(),
        }
        Next::Show
    }

    /// Goes to another reading. What is now is left by going back, and reached by going beyond the last one.
    fn travel(&mut self, how: Travel) -> Result<Option<String>, String> {
        let back = matches!(
            how,
            Travel::Step(..0)
                | Travel::Seconds(..0)
                | Travel::To(_)
                | Travel::Oldest
                | Travel::Finding(false)
        );
        match &mut self.past {
            Some(player) => {
                let on = matches!(how, Travel::Step(1..) | Travel::Seconds(1..) | Travel::Play(true));
                if how == Travel::Newest || (on && player.is_at_end()) {
                    self.past = None;
                    return Ok(None);
                }
                player.travel(how)
            }
            None if back && self.ring.len() > 1 => {
                let recording = self.ring.recording();
                // The last one is what is on the screen.
                let last = recording.len() - 1;
                let mut player = self.understanding.player(recording, last, true)?;
                let notice = player.travel(how);
                // Nothing was found there: what is now stays on the screen.
                if how == Travel::Finding(false) && player.moment().index == last {
                    return notice;
                }
                self.past = Some(player);
                notice
            }
            None if back => Ok(Some("there is nothing to go back to yet".into())),
            None => Ok(Some("this is now".into())),
        }
    }
}

/// The rules of each table, by its structure.
pub(super) fn by_table(snapshot: &Snapshot, rules: &[RuleRef]) -> Vec<(Arc<Table>, Vec<RuleId>)> {
    let mut tables: Vec<(Arc<Table>, Vec<RuleId>)> = Vec::new();
    for r in rules {
        let Some(state) = snapshot.tables.get(r.table) else { continue };
        match tables.iter_mut().find(|t| Arc::ptr_eq(&t.0, &state.table)) {
            Some((_, list)) => list.push(r.rule),
            None => tables.push((state.table.clone(), vec![r.rule])),
        }
    }
    tables
}
