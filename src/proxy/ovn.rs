//! OVN-Kubernetes in kube-proxy's place: node ports, external addresses and load balancer addresses are in the nftables table
//! `inet ovn-kubernetes` (`go-controller/pkg/node/gateway_nftables.go`), which sends them to the cluster IP. Behind that is OVS, which kptop
//! does not read: endpoints, and Services that have a cluster IP alone, are not known.

use super::service::UnknownBackends;
use super::{Action, Engine, Frontend, FrontendKind, Protocol, Service, TrafficPolicy};
use crate::ruleset::{Data, Dialect, Element, IpFamily, Table};
use crate::snapshot::Snapshot;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Its table.
pub(super) const OVN_TABLE: &str = "ovn-kubernetes";

/// Where a frontend leads: the cluster IP with its port, and the protocol.
type Target = (IpAddr, u16, u8);

/// The fields of a key, each on multiples of four bytes.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn byte(&mut self) -> Option<u8> {
        self.take(4)?.first().copied()
    }

    fn port(&mut self) -> Option<u16> {
        self.take(4)?.first_chunk().map(|b| u16::from_be_bytes(*b))
    }

    fn address(&mut self, family: IpFamily) -> Option<IpAddr> {
        match family {
            IpFamily::V4 => self.take(4)?.first_chunk::<4>().map(|b| IpAddr::from(*b)),
            IpFamily::V6 => self.take(16)?.first_chunk::<16>().map(|b| IpAddr::from(*b)),
        }
    }

    fn take(&mut self, n: usize) -> Option<&[u8]> {
        // The last field may be without its padding.
        let n = n.min(self.0.len());
        let (now, rest) = self.0.split_at_checked(n).filter(|_| n > 0)?;
        self.0 = rest;
        Some(now)
    }
}

/// What the maps are: the beginning of their names, the kind of the frontends, and their policy.
const MAPS: [(&str, Option<FrontendKind>, TrafficPolicy); 4] = [
    ("nodeports-v", Some(FrontendKind::NodePort), TrafficPolicy::Cluster),
    ("nodeports-etp-local-v", Some(FrontendKind::NodePort), TrafficPolicy::Local),
    ("external-ips-v", None, TrafficPolicy::Cluster),
    ("external-ips-etp-local-v", None, TrafficPolicy::Local),
];

/// Reads its Services: each cluster IP that something leads to.
pub(super) fn read(snapshot: &Snapshot) -> Vec<Service> {
    let tables = snapshot.tables.iter().map(|t| &*t.table);
    let mut found: BTreeMap<Target, Vec<Frontend>> = BTreeMap::new();
    for t in tables.filter(|t| t.dialect == Dialect::Nft && t.name == OVN_TABLE) {
        take(t, &mut found);
    }
    let service = |((address, port, protocol), mut frontends): (Target, Vec<Frontend>)| {
        let protocol = Protocol::from_number(u16::from(protocol))?;
        let mut s = Service::new(protocol, IpFamily::of(address), Engine::OvnKubernetes);
        if !is_masquerade(address) {
            let mut first =
                Frontend::new(Some(FrontendKind::ClusterIp), Some(address), port, Action::Balance);
            first.traffic_policy = Some(TrafficPolicy::Cluster);
            frontends.insert(0, first);
        }
        s.frontends = frontends;
        s.unknown_backends = Some(UnknownBackends::InOvs);
        Some(s)
    };
    found.into_iter().filter_map(service).collect()
}

fn take(table: &Table, found: &mut BTreeMap<Target, Vec<Frontend>>) {
    let families = [("4", IpFamily::V4), ("6", IpFamily::V6)];
    for ((stem, kind, policy), (digit, family)) in MAPS.iter().flat_map(|m| families.map(|f| (*m, f))) {
        let name = format!("{stem}{digit}");
        let Some(id) = table.find_set(&name) else { continue };
        for e in table.set(id).elements.iter().flatten() {
            let Some((target, frontend)) = entry(e, kind, policy, family) else { continue };
            let place = |f: &Frontend| (f.address, f.port);
            // What has a local policy is there once more: it goes to a masqueraded address, from which OVS takes it to the endpoints of
            // this node, and not to the cluster IP.
            let known = found
                .iter_mut()
                .filter(|(t, _)| (t.2, t.0.is_ipv4()) == (target.2, target.0.is_ipv4()))
                .flat_map(|(_, all)| all)
                .find(|f| place(f) == place(&frontend));
            match known {
                Some(known) if policy == TrafficPolicy::Local => known.traffic_policy = Some(policy),
                Some(_) => {}
                None => found.entry(target).or_default().push(frontend),
            }
        }
    }
}

/// The addresses from which OVS takes what has a local policy (`HostETPLocalMasqueradeIP`, `go-controller/pkg/config/config.go`).
fn is_masquerade(a: IpAddr) -> bool {
    match a {
        IpAddr::V4(a) => a.octets()[..2] == [169, 254],
        IpAddr::V6(a) => a.segments()[..6] == [0xfd69, 0, 0, 0, 0, 0],
    }
}

/// `inet_proto . inet_service : addr . port` of node ports, `addr . inet_proto . inet_service : addr . port` of addresses.
fn entry(
    e: &Element,
    kind: Option<FrontendKind>,
    policy: TrafficPolicy,
    family: IpFamily,
) -> Option<(Target, Frontend)> {
    let mut key = Fields(&e.key);
    let address = match kind {
        Some(FrontendKind::NodePort) => None,
        _ => Some(key.address(family)?),
    };
    let (protocol, port) = (key.byte()?, key.port()?);
    let Data::Value(data) = &e.data else { return None };
    let mut data = Fields(data);
    let target = (data.address(family)?, data.port()?, protocol);
    let mut frontend = Frontend::new(kind, address, port, Action::Balance);
    frontend.traffic_policy = Some(policy);
    Some((target, frontend))
}
