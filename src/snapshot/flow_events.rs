//! Flows counted as they begin and end, by a thread of its own: short ones are not lost between two dumps.

use super::FlowKey;
use crate::kernel::Result;
use crate::kernel::conntrack::{Flow, SEEN_REPLY};
use crate::kernel::conntrack_events::{Event, Events};
use crate::ruleset::L4Endpoint;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What happened to the flows between a frontend and a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowTurnover {
    /// Flows that began.
    pub began: u64,
    /// Flows that ended.
    pub ended: u64,
    /// Of these, those that were never answered.
    pub ended_unanswered: u64,
    /// Packets of those that ended, both ways; 0 with accounting off.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What happened since listening began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowEvents {
    /// By frontend and backend.
    pub pairs: BTreeMap<FlowKey, FlowTurnover>,
    /// Flows that were not translated, by destination: began, and ended.
    pub untranslated: BTreeMap<L4Endpoint, FlowTurnover>,
    /// Notices that found no room: so many flows more began or ended.
    pub lost: u64,
    /// For how long.
    pub span: Duration,
}

/// Pairs and destinations that are kept.
const MOST: usize = 100_000;

impl FlowEvents {
    /// Counts one notice.
    pub fn add(&mut self, event: Event, flow: &Flow) {
        let turnover = if flow.is_dnat() {
            let key = FlowKey::of(flow);
            if self.pairs.len() >= MOST && !self.pairs.contains_key(&key) {
                return;
            }
            self.pairs.entry(key).or_default()
        } else {
            let to = flow.original.to();
            if self.untranslated.len() >= MOST && !self.untranslated.contains_key(&to) {
                return;
            }
            self.untranslated.entry(to).or_default()
        };
        match event {
            Event::New => turnover.began += 1,
            Event::Ended => {
                turnover.ended += 1;
                turnover.ended_unanswered += u64::from(flow.status & SEEN_REPLY == 0);
                if let Some((a, b)) = flow.traffic {
                    turnover.packets += a.packets + b.packets;
                    turnover.bytes += a.bytes + b.bytes;
                }
            }
        }
    }
}

/// Listens as long as it lives.
#[derive(Debug)]
pub struct FlowWatch {
    counted: Arc<Mutex<FlowEvents>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    began: Instant,
}

impl FlowWatch {
    /// Begins to listen, in the calling thread's namespace, to flows that are sent to these addresses (all without any).
    pub fn start(only: &[IpAddr]) -> Result<FlowWatch> {
        let mut events = Events::open(only)?;
        let counted = Arc::new(Mutex::new(FlowEvents::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let (to, until) = (counted.clone(), stop.clone());
        let thread = std::thread::Builder::new()
            .name("flow events".into())
            .spawn(move || {
                while !until.load(Ordering::Relaxed) {
                    if !matches!(events.wait(Duration::from_millis(200)), Ok(true)) {
                        continue;
                    }
                    // Counted apart, so that who reads does not keep the queue waiting.
                    let mut fresh = Vec::new();
                    if events.receive(&mut |e, f| fresh.push((e, *f))).is_err() {
                        return;
                    }
                    let mut all = to.lock().unwrap_or_else(PoisonError::into_inner);
                    fresh.iter().for_each(|(e, f)| all.add(*e, f));
                    all.lost = events.lost();
                }
            })
            .map_err(|e| crate::kernel::Error::io("starting a thread for flow events", e))?;
        Ok(FlowWatch { counted, stop, thread: Some(thread), began: Instant::now() })
    }

    /// What was counted so far.
    pub fn get(&self) -> FlowEvents {
        let mut events = self.counted.lock().unwrap_or_else(PoisonError::into_inner).clone();
        events.span = self.began.elapsed();
        events
    }
}

impl Drop for FlowWatch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
