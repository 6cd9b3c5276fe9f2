//! One snapshot understood: Services, rates and findings. The live screen, a recording and a server all look at
//! this.

use crate::changes::{Changes, compare};
use crate::columns::{BackendRow, ServiceRow, lost_share};
use crate::cost::{Lookup, Prices, lookups};
use crate::doctor::{self, Before, Examination, Facts, Had, Steady};
use crate::health::{self, Health, ServiceHealth};
use crate::proxy::{Model, Names, State, cluster_endpoint};
use crate::rates::{History, Losses, NodeRates, Rates, Tracker, service_key};
use crate::reach::{BackendWays, Reach, survey};
use crate::snapshot::Snapshot;
use crate::snapshot::facts::{InterfaceAddress, Ipset, Link, Route, Sysctls};
use jiff::Timestamp;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// One instant, understood. Cheap to copy.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Facts.
    pub snapshot: Arc<Snapshot>,
    /// Services, and what they counted.
    pub model: Model,
    /// True where the structure is another than in the view before.
    pub changed: bool,
    /// Rates of each Service, in the model's order.
    pub rates: Arc<Rates>,
    /// What the lookup of each Service costs, in the model's order.
    pub lookups: Arc<Vec<Option<Lookup>>>,
    /// Prices of lookups.
    pub prices: Arc<Prices>,
    /// Rates of the node.
    pub node: Arc<NodeRates>,
    /// What changed since the first reading.
    pub changes: Arc<Changes>,
    /// What walks to each Service found, in the model's order.
    pub reach: Arc<Reach>,
    /// What is wrong.
    pub examination: Arc<Examination>,
    /// How each Service is, in the model's order.
    pub health: Health,
    /// What Services did until now.
    pub history: Arc<History>,
    /// New flows that Services lost until now.
    pub losses: Arc<Losses>,
}

impl View {
    /// A Service with everything that is known of it, by its place.
    pub fn row(&self, place: usize) -> Option<ServiceRow<'_>> {
        Some(ServiceRow {
            place,
            service: self.model.services.get(place)?,
            figures: self.model.figures(place),
            rates: self.rates.get(place),
            health: self.health.get(place).unwrap_or(&UNKNOWN),
            lookup: self.lookups.get(place).and_then(Option::as_ref),
        })
    }

    /// Every Service, in the model's order.
    pub fn rows(&self) -> impl Iterator<Item = ServiceRow<'_>> {
        (0..self.model.services.len()).filter_map(|i| self.row(i))
    }

    /// A backend of a Service with everything that is known of it.
    pub fn backend_row(&self, service: usize, backend: usize) -> Option<BackendRow<'_>> {
        let row = self.row(service)?;
        let known = row.service.backends.get(backend)?;
        let cluster = self.snapshot.cluster.as_deref();
        Some(BackendRow {
            service: row.service,
            backend: known,
            figures: row.figures.backend(backend),
            latencies: row.figures.latencies(backend),
            real_share: row.figures.real_share(backend),
            lost: row.health.lost_backend(backend),
            rates: self.rates.backend(&self.model.services, service, backend),
            endpoint: cluster.and_then(|c| cluster_endpoint(c, row.service, known.address, known.port)),
        })
    }
}

/// The health of a Service of which nothing is known.
static UNKNOWN: ServiceHealth = ServiceHealth::UNKNOWN;

/// What walks look at beside the rules.
#[derive(Clone, Debug, Default, PartialEq)]
struct Ground {
    addresses: Arc<Vec<InterfaceAddress>>,
    links: Arc<Vec<Link>>,
    routes: Arc<Vec<Route>>,
    sysctls: Arc<Sysctls>,
    ipsets: Option<Arc<Vec<Ipset>>>,
    unread: usize,
}

impl Ground {
    fn of(s: &Snapshot) -> Ground {
        Ground {
            addresses: s.addresses.clone(),
            links: s.links.clone(),
            routes: s.routes.clone(),
            sysctls: s.sysctls.clone(),
            ipsets: s.ipsets.as_ref().map(|r| r.value.clone()),
            unread: s.unread.iter().filter(|u| u.leaves_open()).count(),
        }
    }
}

/// Makes views out of snapshots, one after the other.
#[derive(Debug)]
pub struct Observer {
    names: Names,
    prices: Arc<Prices>,
    lookups: Arc<Vec<Option<Lookup>>>,
    ground: Ground,
    reach: Arc<Reach>,
    ways: BackendWays,
    written: Arc<Vec<ServiceHealth>>,
    steady: Option<Steady>,
    changes: Arc<Changes>,
    earlier: VecDeque<(Arc<Snapshot>, Model)>,
    /// The last mode that held Services, of each family.
    had: Vec<Had>,
    /// The first reading with the structure of now; the epoch where no reading had another.
    same_since: Timestamp,
    model: Model,
    tracker: Tracker,
    history: Arc<History>,
    losses: Arc<Losses>,
    last: Option<View>,
}

impl Observer {
    /// With names for rules whose comments kube-proxy left off.
    pub fn new(names: Names) -> Observer {
        Observer {
            names,
            prices: Arc::default(),
            lookups: Arc::default(),
            ground: Ground::default(),
            reach: Arc::default(),
            ways: BackendWays::default(),
            written: Arc::default(),
            steady: Some(Steady::default()),
            changes: Arc::default(),
            earlier: VecDeque::new(),
            had: Vec::new(),
            same_since: Timestamp::UNIX_EPOCH,
            model: Model::default(),
            tracker: Tracker::default(),
            history: Arc::default(),
            losses: Arc::default(),
            last: None,
        }
    }

    /// With this node's own prices of lookups.
    pub fn priced(mut self, prices: Arc<Prices>) -> Observer {
        self.prices = prices;
        self
    }

    /// With findings as each reading shows them: nothing stays after its cause is gone.
    pub fn at_once(mut self) -> Observer {
        self.steady = None;
        self
    }

    /// Understands the next snapshot.
    pub fn observe(&mut self, snapshot: Snapshot) -> View {
        self.model.update(&snapshot, &self.names);
        if self.model.changed && self.last.is_some() {
            self.same_since = snapshot.taken_at;
        }
        let rates = self.tracker.update(&snapshot, &self.model);
        let node = self.tracker.node(&snapshot, &self.model, &rates);
        self.history = Arc::new(self.tracker.history());
        let ground = Ground::of(&snapshot);
        if self.model.changed || self.ground != ground {
            self.ground = ground;
            self.reach = Arc::new(survey(&snapshot, &self.model));
            self.lookups = Arc::new(lookups(&snapshot, &self.model, &self.reach, &self.prices));
            self.written = Arc::new(health::written(&snapshot, &self.model, &self.reach));
        }
        self.ways.update(&snapshot, &self.model.services);
        let (snapshot, model) = (Arc::new(snapshot), self.model.clone());
        let before = self.earlier.front().map(|(snapshot, model)| Before { snapshot, model });
        let facts = Facts {
            snapshot: &snapshot,
            model: &model,
            rates: &rates,
            node: &node,
            before,
            last: self.last.as_ref().map(|v| Before { snapshot: &v.snapshot, model: &v.model }),
            reach: &self.reach,
            ways: &self.ways,
            had: &self.had,
            same_since: self.same_since,
        };
        let mut examination = doctor::examine(&facts);
        if let Some(steady) = &mut self.steady {
            let found = std::mem::take(&mut examination.findings);
            examination.findings = steady.settle(snapshot.taken_at, found, &model, model.changed);
        }
        let examination = examination.ordered(&model).with_commands(&snapshot, &model);
        let health = Health::judge(&self.written, &examination);
        let lost = (0..).zip(health.iter()).filter_map(|(i, h): (usize, _)| {
            let share = lost_share(h).filter(|s| *s > 0.0)?;
            Some((service_key(model.services.get(i)?), rates.get(i)?.flows.ok()? * share))
        });
        Arc::make_mut(&mut self.losses).push(&self.history, lost);
        self.remember(&snapshot, &model);
        for mode in model.services.modes.iter().filter(|m| m.state == State::Active && m.services > 0) {
            self.had.retain(|h| h.mode.family != mode.family);
            self.had.push(Had { mode: mode.clone(), at: snapshot.taken_at });
        }
        if let Some(last) = &self.last {
            let mut found =
                health::changed((&last.model, &last.health), (&model, &health), snapshot.taken_at);
            found.extend(compare((&last.snapshot, &last.model), (&snapshot, &model)));
            if !found.is_empty() {
                Arc::make_mut(&mut self.changes).add(found, snapshot.taken_at);
            }
        }
        let view = View {
            changed: self.model.changed,
            model,
            rates,
            lookups: self.lookups.clone(),
            prices: self.prices.clone(),
            node: Arc::new(node),
            changes: self.changes.clone(),
            reach: self.reach.clone(),
            examination: Arc::new(examination),
            health,
            history: self.history.clone(),
            losses: self.losses.clone(),
            snapshot,
        };
        self.last = Some(view.clone());
        view
    }

    /// Keeps what the doctor compares with: one reading that is 5 to 10 seconds old, and one that will be.
    fn remember(&mut self, snapshot: &Arc<Snapshot>, model: &Model) {
        const APART: Duration = Duration::from_secs(5);
        let since = |old: &Snapshot| {
            let passed = snapshot.taken_at.duration_since(old.taken_at);
            Duration::try_from(passed).unwrap_or_default()
        };
        if self.earlier.back().is_none_or(|(last, _)| since(last) >= APART) {
            self.earlier.push_back((snapshot.clone(), model.clone()));
        }
        if self.earlier.len() > 2 {
            self.earlier.pop_front();
        }
    }

    /// The view of a snapshot for which nothing was read again: all but the snapshot is that of before.
    pub fn again(&mut self, snapshot: Snapshot) -> View {
        match &self.last {
            Some(last) => View { snapshot: Arc::new(snapshot), changed: false, ..last.clone() },
            None => self.observe(snapshot),
        }
    }
}
