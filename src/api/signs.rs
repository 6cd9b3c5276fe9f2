//! Signs of life of the API server: when it was heard last, and which watches it opened.

use jiff::Timestamp;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What a watch is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Services,
    Slices,
    Node,
}

impl Kind {
    /// For people.
    pub(super) fn words(self) -> &'static str {
        match self {
            Kind::Services => "Services",
            Kind::Slices => "EndpointSlices",
            Kind::Node => "this Node",
        }
    }

    /// The end of the path where it is watched.
    fn of_path(path: &str) -> Option<Kind> {
        match path.rsplit('/').next()? {
            "services" => Some(Kind::Services),
            "endpointslices" => Some(Kind::Slices),
            "nodes" => Some(Kind::Node),
            _ => None,
        }
    }
}

/// What the client saw of the server.
#[derive(Debug, Default)]
pub(super) struct Signs {
    heard: Mutex<Option<(Instant, Timestamp)>>,
    opened: [AtomicU64; 3],
}

impl Signs {
    fn lock(&self) -> MutexGuard<'_, Option<(Instant, Timestamp)>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It sent something.
    pub(super) fn hear(&self) {
        *self.lock() = Some((Instant::now(), Timestamp::now()));
    }

    /// When it was heard last.
    pub(super) fn heard_at(&self) -> Option<Timestamp> {
        self.lock().map(|h| h.1)
    }

    /// For how long it has been silent; `None` where it was never heard.
    pub(super) fn silence(&self) -> Option<Duration> {
        self.lock().map(|h| h.0.elapsed())
    }

    /// It opened a watch.
    pub(super) fn open(&self, path: &str) {
        if let Some(kind) = Kind::of_path(path) {
            self.opened[kind as usize].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many watches of a kind it opened so far.
    pub(super) fn opened(&self, kind: Kind) -> u64 {
        self.opened[kind as usize].load(Ordering::Relaxed)
    }
}
