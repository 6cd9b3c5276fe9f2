//! All Services that were found, and the modes that hold them.

use super::{CounterSource, Engine, Service};
use crate::ruleset::{IpFamily, L4Endpoint};
use crate::snapshot::facts::InterfaceAddress;
use foldhash::fast::FixedState;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::OnceLock;

/// Whether a mode's rules are active.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::IntoStaticStr)]
pub enum State {
    /// They are.
    #[strum(serialize = "active")]
    Active,
    /// Another mode took over and left them.
    #[strum(serialize = "leftover")]
    Stale,
}

impl State {
    /// As in JSON.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// A mode that holds Services, in one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModeState {
    /// What holds them.
    pub engine: Engine,
    /// Family.
    pub family: IpFamily,
    /// At work or left behind.
    pub state: State,
    /// Service ports that it holds.
    pub services: usize,
    /// Rules in kube-proxy's chains, and those that jump there.
    pub rules: usize,
}

/// The structure of the Services of one namespace: what rules, sets and endpoints say. It does not change; another one
/// takes its place.
#[derive(Debug, Default)]
pub struct Services {
    /// By namespace, name, port, protocol and family; unnamed ones last, by address.
    all: Vec<Service>,
    objects: usize,
    /// Modes that hold Services.
    pub modes: Vec<ModeState>,
    /// Where each Service's frontends and backends begin among those of all.
    pub(super) first: Vec<(u32, u32)>,
    /// The virtual server of each frontend, in IPVS's order; `NO_SERVER` for those of other modes.
    pub(super) servers: Vec<u32>,
    /// What counts each Service's backends; `None` where not all are counted by the same.
    pub(super) sources: Vec<Option<CounterSource>>,
    /// Services of which a frontend refuses new flows for want of endpoints: few, and asked for at each reading.
    lacking: Vec<u32>,
    frontends: usize,
    pub(super) backends: usize,
    /// Where those in use are reached. A node port is reached by every address of the node: a key without an address.
    at: HashMap<(u8, Option<IpAddr>, u16), u32, FixedState>,
    /// Their backends; made for the first who asks.
    behind: OnceLock<HashMap<L4Endpoint, u32, FixedState>>,
}

/// No virtual server.
pub(super) const NO_SERVER: u32 = u32::MAX;

impl std::ops::Deref for Services {
    type Target = [Service];

    fn deref(&self) -> &[Service] {
        &self.all
    }
}

impl Services {
    /// Services in their order, each with the virtual servers of its frontends, where it has any.
    pub(super) fn new(all: Vec<(Service, Vec<u32>)>, modes: Vec<ModeState>) -> Services {
        let mut servers = Vec::new();
        let place = |(s, mine): (Service, Vec<u32>)| {
            servers.extend((0..s.frontends.len()).map(|i| mine.get(i).copied().unwrap_or(NO_SERVER)));
            s
        };
        let all: Vec<Service> = all.into_iter().map(place).collect();
        let (mut frontends, mut backends) = (0, 0);
        let first = all.iter().map(|s| {
            let here = (frontends as u32, backends as u32);
            frontends += s.frontends.len();
            backends += s.backends.len();
            here
        });
        let first = first.collect();
        let sources = all.iter().map(|s| {
            let first = s.backends.first()?.source;
            s.backends.iter().all(|b| b.source == first).then_some(first)
        });
        let sources = sources.collect();
        let lacks = |s: &Service| s.frontends.iter().any(|f| f.lack().is_some());
        let lacking = (0..).zip(&all).filter(|(_, s)| lacks(s)).map(|(i, _)| i).collect();
        let mut at = HashMap::default();
        for (i, s) in (0..).zip(&all).filter(|(_, s)| !s.stale) {
            let by_address = s.frontends.iter().filter(|f| !f.kind.is_some_and(super::FrontendKind::is_mark));
            at.extend(by_address.map(|f| ((s.protocol.number(), f.address, f.port), i)));
        }
        let used = || all.iter().filter(|s| !s.stale);
        let names: HashSet<(&str, &str)> =
            used().filter_map(|s| s.name.as_ref()).map(|n| (&*n.namespace, &*n.name)).collect();
        let objects = names.len() + used().filter(|s| s.name.is_none()).count();
        Services {
            objects,
            all,
            modes,
            first,
            servers,
            sources,
            lacking,
            frontends,
            backends,
            at,
            behind: OnceLock::new(),
        }
    }

    /// How many Services the API would list: ports and families of one are counted once, one without a name each by itself.
    pub fn objects(&self) -> usize {
        self.objects
    }

    /// Services of which a frontend refuses new flows for want of endpoints, by their place.
    pub fn lacking(&self) -> impl Iterator<Item = (usize, &Service)> {
        self.lacking.iter().map(|i| (*i as usize, &self.all[*i as usize]))
    }

    /// The Service in use that is reached here; `own` are the node's addresses.
    pub fn reached_at(&self, to: L4Endpoint, own: &[InterfaceAddress]) -> Option<usize> {
        let at = |address| self.at.get(&(to.protocol, address, to.port)).map(|i| *i as usize);
        at(Some(to.address)).or_else(|| at(None).filter(|_| own.iter().any(|a| a.address == to.address)))
    }

    /// A Service in use that has this backend.
    pub fn with_backend(&self, backend: L4Endpoint) -> Option<usize> {
        let behind = self.behind.get_or_init(|| {
            let mut all = HashMap::default();
            for (i, s) in (0..).zip(&self.all).filter(|(_, s)| !s.stale) {
                for b in &s.backends {
                    all.entry(L4Endpoint::new(s.protocol.number(), b.address, b.port)).or_insert(i);
                }
            }
            all
        });
        behind.get(&backend).map(|i| *i as usize)
    }

    /// The places of a Service's backends among those of all.
    pub fn backends_of(&self, service: usize) -> std::ops::Range<usize> {
        let first = self.first[service].1 as usize;
        first..first + self.all[service].backends.len()
    }

    /// The places of a Service's frontends among those of all.
    pub(super) fn frontends_of(&self, service: usize) -> std::ops::Range<usize> {
        let first = self.first[service].0 as usize;
        first..first + self.all[service].frontends.len()
    }

    /// The Service that has the backend of this place among those of all.
    pub(super) fn with_place(&self, backend: usize) -> Option<usize> {
        // Of those that begin here, all but the last have no backend.
        self.first.partition_point(|first| first.1 as usize <= backend).checked_sub(1)
    }

    /// How many frontends and backends all of them have together.
    pub(super) fn sizes(&self) -> (usize, usize) {
        (self.frontends, self.backends)
    }
}
