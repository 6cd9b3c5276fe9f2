//! Where packets to each backend go on from this node.

use crate::proxy::Services;
use crate::snapshot::facts::{InterfaceAddress, Link, Ways};
use crate::snapshot::{Snapshot, leaves_by, obstacle};
use foldhash::fast::FixedState;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

/// What becomes of packets to a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BackendWay {
    /// Nothing is in their way, or nothing says so.
    #[default]
    Clear,
    /// They leave the node by its default route: wrong for a backend that is here.
    Outward,
    /// Something is: [`obstacle`] says what.
    Blocked,
}

impl BackendWay {
    fn of(snapshot: &Snapshot, to: IpAddr) -> BackendWay {
        if obstacle(snapshot, to).is_some() {
            BackendWay::Blocked
        } else if leaves_by(snapshot, to).is_some() {
            BackendWay::Outward
        } else {
            BackendWay::Clear
        }
    }
}

/// That of every backend. Of tens of thousands hardly one changes from reading to reading: it is found again only where the Services,
/// routes, neighbours, interfaces or addresses are others.
#[derive(Clone, Debug, Default)]
pub struct BackendWays {
    services: Arc<Services>,
    ways: Option<Arc<Ways>>,
    links: Arc<Vec<Link>>,
    addresses: Arc<Vec<InterfaceAddress>>,
    found: Vec<BackendWay>,
}

impl BackendWays {
    /// Brings it up to date.
    pub fn update(&mut self, snapshot: &Snapshot, services: &Arc<Services>) {
        let same = Arc::ptr_eq(&self.services, services)
            && self.ways == snapshot.ways
            && self.links == snapshot.links
            && self.addresses == snapshot.addresses;
        if same {
            return;
        }
        let mut known: HashMap<IpAddr, BackendWay, FixedState> = HashMap::default();
        let backends = services.iter().flat_map(|s| &s.backends);
        let ways =
            backends.map(|b| *known.entry(b.address).or_insert_with(|| BackendWay::of(snapshot, b.address)));
        self.found = ways.collect();
        self.services = services.clone();
        self.ways.clone_from(&snapshot.ways);
        self.links = snapshot.links.clone();
        self.addresses = snapshot.addresses.clone();
    }

    /// That of a backend, by its place among those of all Services.
    pub fn get(&self, place: usize) -> BackendWay {
        self.found.get(place).copied().unwrap_or_default()
    }
}
