//! What the lookup of each Service costs on this node, as its rules are.

use super::prices::{Prices, PricesFrom};
use crate::proxy::{Engine, Model, Service, any_pod, node_address};
use crate::reach::{Reach, ServiceReach};
use crate::ruleset::{Dialect, IpFamily, TableBackend};
use crate::snapshot::Snapshot;
use crate::walk::{Ingress, Options, Packet};
use std::net::IpAddr;

/// The lookup of one Service: the first packet of a flow from a pod to its first frontend, over all of its ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lookup {
    /// Fewest rules evaluated.
    pub min: u32,
    /// Mean over the ends, by their probability.
    pub mean: f64,
    /// Most.
    pub max: u32,
    /// Nanoseconds of the mean; `None` where no price is known for its mode.
    pub ns: Option<f64>,
    /// Whose prices.
    pub from: PricesFrom,
}

/// Rules of each engine and family: what prices go by.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sizes {
    rules: [[u64; 3]; 2],
}

impl Sizes {
    pub(super) fn of(snapshot: &Snapshot) -> Sizes {
        let mut sizes = Sizes::default();
        for t in &snapshot.tables {
            let kind = match (t.backend, t.table.dialect) {
                (TableBackend::XTables, _) => 0,
                (_, Dialect::Iptables) => 1,
                _ => 2,
            };
            for family in [IpFamily::V4, IpFamily::V6] {
                if t.family.ip().is_none_or(|f| f == family) {
                    sizes.rules[family as usize][kind] += t.table.rules.len() as u64;
                }
            }
        }
        sizes
    }

    pub(super) fn rules(&self, engine: Engine, family: IpFamily) -> u64 {
        let of = &self.rules[family as usize];
        match engine {
            Engine::IptablesLegacy | Engine::UserspaceLegacy => of[0],
            Engine::IptablesNft | Engine::UserspaceNft => of[1],
            Engine::Ipvs => of[0] + of[1],
            Engine::Nftables | Engine::OvnKubernetes => of[2],
            Engine::Cilium | Engine::CalicoEbpf | Engine::Kernelspace => 0,
        }
    }
}

/// Addresses from which lookups are asked: a pod of each family.
#[derive(Clone, Copy, Debug)]
pub(super) struct ProbeSources {
    pod: [IpAddr; 2],
    node: [Option<IpAddr>; 2],
}

impl ProbeSources {
    pub(super) fn new(snapshot: &Snapshot) -> ProbeSources {
        ProbeSources {
            pod: [any_pod(snapshot, IpFamily::V4), any_pod(snapshot, IpFamily::V6)],
            node: [node_address(snapshot, IpFamily::V4), node_address(snapshot, IpFamily::V6)],
        }
    }

    /// The packet that looks a Service up: to its first frontend, from a pod.
    pub(super) fn packet(&self, service: &Service) -> Option<Packet> {
        let f =
            service.frontends.first().filter(|f| !f.kind.is_some_and(crate::proxy::FrontendKind::is_mark))?;
        let to = f.address.or(self.node[service.family as usize])?;
        let from = (self.pod[service.family as usize], 40_000);
        let entrance = Ingress::Interface(Some(POD_LINK.into()));
        Some(Packet::new(from, (to, f.port), service.protocol.number(), entrance))
    }
}

/// A link that no rule names: rules for interfaces do not match.
const POD_LINK: &str = "kptop-pod";

/// How walks for figures are made: of a client that is new, without steps.
pub(super) const FIGURES: Options = Options { new_client: true, steps: false, most_outcomes: 20_000 };

/// The lookups of all Services, in the model's order; `None` where nothing leads to one.
pub fn lookups(snapshot: &Snapshot, model: &Model, reach: &Reach, prices: &Prices) -> Vec<Option<Lookup>> {
    let sizes = Sizes::of(snapshot);
    let lookup = |(s, r): (&Service, &ServiceReach)| {
        let cost = r.cost?;
        let priced = prices.calibration.engine(s.engine).map(|p| (s.engine, p));
        Some(Lookup {
            min: cost.min,
            mean: cost.mean,
            max: cost.max,
            ns: priced.and_then(|(e, p)| p.first_packet_ns(sizes.rules(e, s.family), cost.mean)),
            from: priced.map_or(prices.from, |(e, _)| prices.source(e)),
        })
    };
    model.services.iter().zip(reach.iter()).map(lookup).collect()
}
