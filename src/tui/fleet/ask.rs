//! The thread that asks the store: no answer ever holds up a key.

use crate::fleet::{Fleet, Scope, ServiceKey, ServiceOnNode, Store, gather, service_on_nodes};
use std::io;
use std::sync::{Arc, mpsc};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// What the screen asks.
#[derive(Clone, Debug)]
pub enum FleetQuestion {
    /// Everything again, now.
    All,
    /// How one Service is on each node of a fleet.
    Service(Arc<Fleet>, ServiceKey),
}

/// What comes back.
#[derive(Clone, Debug)]
pub enum FleetAnswer {
    /// All nodes and Services, and how long it took.
    All(Result<Arc<Fleet>, String>, Duration),
    /// One Service on each node of that fleet.
    Service(Arc<Fleet>, ServiceKey, Result<Vec<ServiceOnNode>, String>),
}

/// Asks for everything each `every`, and what else the screen wants in between.
pub(super) fn start(
    mut store: Box<dyn Store + Send>,
    scope: Scope,
    every: Duration,
) -> io::Result<(mpsc::Sender<FleetQuestion>, UnboundedReceiver<FleetAnswer>)> {
    let (ask, asked) = mpsc::channel();
    let (answers, got) = unbounded_channel();
    let work = move || work(&mut *store, &scope, every, &asked, &answers);
    std::thread::Builder::new().name("store".into()).spawn(work)?;
    Ok((ask, got))
}

fn work(
    store: &mut dyn Store,
    scope: &Scope,
    every: Duration,
    asked: &mpsc::Receiver<FleetQuestion>,
    answers: &UnboundedSender<FleetAnswer>,
) {
    let mut next = FleetQuestion::All;
    let mut due = std::time::Instant::now();
    loop {
        let answer = match next {
            FleetQuestion::All => {
                let began = std::time::Instant::now();
                let all = gather(store, scope).map(Arc::new);
                due = std::time::Instant::now() + every;
                FleetAnswer::All(all, began.elapsed())
            }
            FleetQuestion::Service(fleet, key) => {
                let found = match fleet.services.iter().find(|s| s.key == key) {
                    Some(service) => service_on_nodes(store, scope, &fleet, service),
                    None => Err(format!("{} is gone", key.label())),
                };
                FleetAnswer::Service(fleet, key, found)
            }
        };
        if answers.send(answer).is_err() {
            return;
        }
        next = match asked.recv_timeout(due.saturating_duration_since(std::time::Instant::now())) {
            Ok(question) => question,
            Err(mpsc::RecvTimeoutError::Timeout) => FleetQuestion::All,
            Err(mpsc::RecvTimeoutError::Disconnected) => return,
        };
    }
}
