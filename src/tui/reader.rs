//! The reading thread: snapshots, Services and rates, as fast as asked and no faster than the node bears.

use crate::observe::{Observer, View};
use crate::proxy::RuleRef;
use crate::ruleset::{RuleId, Table};
use crate::snapshot::facts::Meter;
use crate::snapshot::live::{Live, LookedAt, Waker, Wanted};
use crate::snapshot::{Error, Snapshot};
use std::ops::Deref;
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
}

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

pub(super) async fn start(
    open: impl FnOnce() -> Result<Live, Error> + Send + 'static,
    observer: Observer,
    interval: Duration,
) -> Result<Reader, Error> {
    let (to_screen, updates) = mpsc::channel(1);
    let (orders, from_screen) = channel();
    let to_reader = orders.clone();
    let (opened, is_open) = oneshot::channel();
    std::thread::Builder::new()
        .name("reader".into())
        .spawn(move || match open() {
            Ok(live) => {
                let _ = opened.send(Ok(()));
                wake(to_reader);
                read(live.paced(), observer, interval, &to_screen, &from_screen);
            }
            Err(e) => {
                let _ = opened.send(Err(e));
            }
        })
        .map_err(|e| Error::io("starting the reading thread", e))?;
    match is_open.await {
        Ok(Ok(())) => Ok(Reader { updates, orders }),
        Ok(Err(e)) => Err(e),
        Err(_) => Err(Error::protocol("starting the reading thread", "it ended at once")),
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

fn read(
    mut live: Live,
    mut observer: Observer,
    mut interval: Duration,
    to_screen: &mpsc::Sender<Update>,
    orders: &Receiver<Order>,
) {
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
        let cost = meter.stop();
        spacing = (spacing + cost.cpu.div_f64(BUDGET)) / 2;
        if to_screen.blocking_send(Update { view, took: cost.wall, spacing }).is_err() {
            return;
        }
        let mut next = began + interval.max(spacing);
        loop {
            let wait = next.saturating_duration_since(Instant::now());
            let order = if paused {
                orders.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                orders.recv_timeout(wait)
            };
            match order {
                Ok(Order::Interval(new)) => {
                    interval = new;
                    next = began + interval.max(spacing);
                }
                Ok(Order::Pause(on)) => {
                    paused = on;
                    if !on {
                        break;
                    }
                }
                Ok(Order::Monitor(_)) => {}
                Ok(Order::Changed) if paused || began.elapsed() < spacing.max(FRESH) => {}
                Ok(Order::Changed) => break,
                Ok(Order::Once) => break,
                Ok(Order::Watch(rules)) => {
                    live.watch(by_table(&snapshot, &rules));
                    watched = rules;
                }
                Ok(Order::LookAt(what)) => {
                    let anything = what != LookedAt::default();
                    live.look_at(what);
                    if anything && !paused {
                        break;
                    }
                }
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return,
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
