//! The reading thread: snapshots, Services and rates, as fast as asked and no faster than the node bears.

use super::ScreenError;
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
    /// A word for the user.
    pub told: Option<String>,
}

impl Update {
    /// What is now.
    pub fn now(view: View, took: Duration, spacing: Duration) -> Update {
        Update { view, took, spacing, moment: None, before: None, told: None }
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

/// What the screen tells the reader.
#[derive(Clone, Debug, PartialEq)]
pub enum Order {
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
    /// What is read only while somebody looks at it; it is read at once.
    LookAt(LookedAt),
    /// Switch the drop monitor on or off. It is not the reader's: it belongs to the machine, not to a namespace.
    Monitor(bool),
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
    orders: Sender<Order>,
}

impl Reader {
    pub(super) async fn next(&mut self) -> Option<Update> {
        self.updates.recv().await
    }

    pub(super) fn order(&self, order: Order) {
        let _ = self.orders.send(order);
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
    let (orders, from_screen) = channel();
    let to_reader = orders.clone();
    let (opened, is_open) = oneshot::channel();
    let run = move || match input {
        Input::Live(open) => match open() {
            Ok(live) => {
                // What it took to enter a namespace is not needed any more.
                let _ = keep_reading_only();
                let _ = opened.send(Ok(()));
                wake(to_reader);
                read(live.paced(), &understanding, interval, &to_screen, &from_screen);
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
        Ok(Ok(())) => Ok(Reader { updates, orders }),
        Ok(Err(e)) => Err(e),
        Err(_) => Err(Error::protocol("starting the reading thread", "it ended at once").into()),
    }
}

/// What the player shows, for the screen.
fn shown(player: &mut Player, told: Option<String>) -> Update {
    let update = Update {
        moment: Some(player.moment()),
        before: player.before().cloned(),
        told,
        ..Update::now(player.view().clone(), Duration::ZERO, Duration::ZERO)
    };
    player.settle();
    update
}

/// Plays a recording until the screen goes.
fn replay(mut player: Player, to_screen: &mpsc::Sender<Update>, orders: &Receiver<Order>) {
    let mut told = None;
    loop {
        if to_screen.blocking_send(shown(&mut player, told.take())).is_err() {
            return;
        }
        told = loop {
            let order = match player.wait() {
                Some(wait) => orders.recv_timeout(wait),
                None => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match order {
                Ok(Order::Travel(how)) => break player.travel(how).unwrap_or_else(Some),
                Ok(Order::Save(_)) => break Some("this is a recording already".into()),
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
        // A directory that is somebody else's: the one for temporary files is everybody's.
        Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied && path.is_relative() => {
            save(ring, &std::env::temp_dir().join(path))
        }
        Err(e) => format!("{}: {e}", path.display()),
    }
}

/// Has the reader read where nf_tables changes. To be called in the namespace that is read; ends with the reader.
fn wake(reader: Sender<Order>) {
    let mut waker = Waker::open();
    if !waker.is_listening() {
        return;
    }
    let listen = move || {
        while waker.is_listening() {
            if waker.wait(Duration::from_secs(1)) && reader.send(Order::Changed).is_err() {
                return;
            }
        }
    };
    // Without it changes are seen at the next reading.
    let _ = std::thread::Builder::new().name("nf_tables".into()).spawn(listen);
}

/// What is younger need not be read again.
const FRESH: Duration = Duration::from_millis(100);

/// What is now, and what has just passed.
struct Session<'a> {
    understanding: &'a Understanding,
    ring: Ring,
    /// Where one went back to; reading goes on meanwhile.
    past: Option<Player>,
    told: Option<String>,
}

impl Session<'_> {
    /// Goes to another reading. What is now is left by going back, and reached by going beyond the last one.
    fn travel(&mut self, how: Travel) {
        let back = matches!(
            how,
            Travel::Step(..0)
                | Travel::Seconds(..0)
                | Travel::To(_)
                | Travel::Oldest
                | Travel::Finding(false)
        );
        let result = match &mut self.past {
            Some(player) => {
                let on = matches!(how, Travel::Step(1..) | Travel::Seconds(1..) | Travel::Play(true));
                if how == Travel::Newest || (on && player.is_at_end()) {
                    self.past = None;
                    return;
                }
                player.travel(how)
            }
            None if back && self.ring.len() > 1 => {
                let recording = self.ring.recording();
                // The last one is what is on the screen.
                let last = recording.len() - 1;
                self.understanding.player(recording, last, true).and_then(|mut player| {
                    let told = player.travel(how);
                    self.past = Some(player);
                    told
                })
            }
            None if back => Ok(Some("there is nothing to go back to yet".into())),
            None => Ok(Some("this is now".into())),
        };
        self.told = result.unwrap_or_else(Some);
    }
}

fn read(
    mut live: Live,
    understanding: &Understanding,
    mut interval: Duration,
    to_screen: &mpsc::Sender<Update>,
    orders: &Receiver<Order>,
) {
    let mut observer = understanding.observer();
    let ring = Ring::new(Head::new(interval, false), RING_BYTES, RING_TIME);
    let mut session = Session { understanding, ring, past: None, told: None };
    let mut paused = false;
    let mut spacing = Duration::ZERO;
    let mut watched: Vec<RuleRef> = Vec::new();
    loop {
        let (began, meter) = (Instant::now(), Meter::start());
        let snapshot = live.snapshot(Wanted::ALL);
        // Where no source was due, Services and rates are those of before.
        let view = match snapshot.costs.is_empty() {
            true => observer.again(snapshot),
            false => observer.observe(snapshot),
        };
        let snapshot = view.snapshot.clone();
        if view.changed {
            live.watch(by_table(&snapshot, &watched)); // tables are known by their structure
        }
        if let Err(e) = session.ring.push(&snapshot) {
            session.told = Some(format!("the last minutes are not kept: {e}"));
        }
        let cost = meter.stop();
        spacing = (spacing + cost.cpu.div_f64(BUDGET)) / 2;
        let now = Update::now(view, cost.wall, spacing);
        let mut fresh = true;
        let mut next = began + interval.max(spacing);
        loop {
            // What is now is not told while somebody looks at what was; how long ago that was is.
            let update = match &mut session.past {
                Some(player) => {
                    if fresh {
                        player.renew(session.ring.recording());
                    }
                    Some(shown(player, session.told.take()))
                }
                None => Some(Update { told: session.told.take(), ..now.clone() }),
            };
            if let Some(update) = update.filter(|u| fresh || u.moment.is_some() || u.told.is_some())
                && to_screen.blocking_send(update).is_err()
            {
                return;
            }
            fresh = false;
            let again = loop {
                let reading = (!paused).then(|| next.saturating_duration_since(Instant::now()));
                let playing = session.past.as_ref().and_then(Player::wait);
                let order = match reading.into_iter().chain(playing).min() {
                    Some(wait) => orders.recv_timeout(wait),
                    None => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
                };
                match order {
                    Ok(Order::Interval(new)) => {
                        interval = new;
                        next = began + interval.max(spacing);
                    }
                    Ok(Order::Pause(on)) => {
                        paused = on;
                        if !on {
                            break true;
                        }
                    }
                    Ok(Order::Monitor(_)) => {}
                    Ok(Order::Changed) if paused || began.elapsed() < spacing.max(FRESH) => {}
                    Ok(Order::Changed) => break true,
                    Ok(Order::Once) => break true,
                    Ok(Order::Watch(rules)) => {
                        if session.past.is_none() {
                            live.watch(by_table(&snapshot, &rules));
                            watched = rules;
                        }
                    }
                    Ok(Order::LookAt(what)) => {
                        let anything = what != LookedAt::default();
                        live.look_at(what);
                        if anything && !paused {
                            break true;
                        }
                    }
                    Ok(Order::Travel(how)) => {
                        session.travel(how);
                        // What is now comes at once.
                        fresh = session.past.is_none();
                        break false;
                    }
                    Ok(Order::Save(path)) => {
                        session.told = Some(save(&session.ring, &path));
                        break false;
                    }
                    Err(RecvTimeoutError::Timeout) => {
                        let due = session.past.as_ref().and_then(Player::wait) == Some(Duration::ZERO);
                        if let Some(player) = session.past.as_mut().filter(|_| due) {
                            match player.is_at_end() {
                                true => {
                                    session.past = None;
                                    fresh = true;
                                }
                                false => session.told = player.tick().err(),
                            }
                            break false;
                        }
                        break true;
                    }
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            };
            if again {
                break;
            }
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
