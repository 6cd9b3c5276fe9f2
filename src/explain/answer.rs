//! The answer to a question.

use super::destination::Destination;
use crate::proxy::{
    Frontend, Mode, Model, Service, local_pod_network, node_address, outside_client, pod_network,
};
use crate::ruleset::{IpFamily, IpNet};
use crate::snapshot::facts::Hook;
use crate::snapshot::{Obstacle, Snapshot, obstacle, routes_beyond};
use crate::walk::{End, Ingress, Options, Outcome, Packet, Place, RulesetIndex, Step, StepKind, Trace};
use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Who sends the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// A pod of this node.
    Pod,
    /// A client outside of the cluster.
    Outside,
    /// A process of the node itself.
    Node,
    /// Whoever has this address.
    Address(IpAddr),
}

impl std::str::FromStr for Sender {
    type Err = String;

    fn from_str(text: &str) -> Result<Sender, String> {
        match text {
            "pod" => Ok(Sender::Pod),
            "outside" => Ok(Sender::Outside),
            "node" => Ok(Sender::Node),
            _ => text
                .parse()
                .map(Sender::Address)
                .map_err(|_| format!("`{text}` is neither pod, outside, node nor an IP address")),
        }
    }
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sender::Pod => f.write_str("a pod of this node"),
            Sender::Outside => f.write_str("a client outside"),
            Sender::Node => f.write_str("the node itself"),
            Sender::Address(a) => write!(f, "{a}"),
        }
    }
}

/// A source port that no Service has: what it is does not matter to kube-proxy's rules.
pub(super) const SOURCE_PORT: u16 = 40_000;

/// An address in a network that no endpoint here has.
pub(super) fn free_address(net: IpNet, model: &Model) -> IpAddr {
    let taken = |a: IpAddr| model.services.iter().flat_map(|s| &s.backends).any(|b| b.address == a);
    let at = |n: u32| -> IpAddr {
        match net.addr {
            IpAddr::V4(a) => Ipv4Addr::from(u32::from(a).wrapping_add(n)).into(),
            IpAddr::V6(a) => Ipv6Addr::from(u128::from(a).wrapping_add(u128::from(n))).into(),
        }
    };
    (200..65_000).map(at).find(|a| !taken(*a)).unwrap_or_else(|| at(200))
}

/// The answer.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// Where to.
    pub destination: Destination,
    /// The packet that was walked.
    pub packet: Packet,
    /// From whom.
    pub sender: Sender,
    /// What was filled in or assumed for all ways.
    pub notes: Vec<String>,
    /// Every way.
    pub walk: Trace,
}

/// Walks a packet. The error says what must be given.
pub fn explain(
    snapshot: &Snapshot,
    model: &Model,
    destination: &Destination,
    sender: Sender,
    interface: Option<&str>,
) -> Result<Explanation, String> {
    let family = IpFamily::of(destination.address);
    let mut notes = destination.filled_in.clone();
    let source = match sender {
        Sender::Address(a) if IpFamily::of(a) != family => {
            return Err(format!("{a} cannot send to {}: one is IPv4, the other IPv6", destination.address));
        }
        Sender::Address(a) => a,
        Sender::Node if destination.address.is_loopback() => destination.address,
        Sender::Node => node_address(snapshot, family)
            .ok_or_else(|| format!("this node has no {family} address: give --from ADDRESS"))?,
        Sender::Outside => outside_client(family),
        Sender::Pod => {
            match local_pod_network(snapshot, family).map(|l| l.0).or(pod_network(snapshot, family)) {
                Some(net) => {
                    let address = free_address(net, model);
                    notes.push(format!("{address} represents any pod of {net} that is no endpoint"));
                    address
                }
                None => {
                    let near = model
                        .services
                        .iter()
                        .flat_map(|s| &s.backends)
                        .map(|b| b.address)
                        .find(|a| IpFamily::of(*a) == family);
                    let near = near.ok_or(match model.services.modes.is_empty() {
                    true => "no mode of kube-proxy holds a Service here, so nothing shows the pods' network: give --from ADDRESS",
                    false => "the rules do not show the pods' network: give --from ADDRESS",
                })?;
                    let prefix = if family == IpFamily::V4 { 24 } else { 64 };
                    let cut = match near {
                        IpAddr::V4(a) => IpAddr::V4((u32::from(a) & !0xff).into()),
                        IpAddr::V6(a) => IpAddr::V6((u128::from(a) >> 64 << 64).into()),
                    };
                    let address = free_address(IpNet { addr: cut, prefix }, model);
                    notes.push(format!(
                    "the rules do not show the pods' network: {address}, beside an endpoint, represents a pod"
                ));
                    address
                }
            }
        }
    };
    // A node port is asked for at an address of which nobody knows whether it is the node's.
    let of_node =
        |(i, j): (usize, usize)| model.services.get(i)?.frontends.get(j).map(|f| f.address.is_none());
    let in_doubt = snapshot.addresses.is_empty() && destination.service.and_then(of_node) == Some(true);
    let own = source.is_loopback() || snapshot.addresses.iter().any(|a| a.address == source);
    let entrance = match (own, interface) {
        (true, None) => Ingress::Node,
        (_, interface) => Ingress::Interface(interface.map(str::to_string)),
    };
    let to = (destination.address, destination.port);
    let packet = Packet::new((source, SOURCE_PORT), to, destination.protocol, entrance);
    let ruleset = RulesetIndex::new(snapshot).doubting(Some(packet.destination).filter(|_| in_doubt));
    let mut packet = packet;
    // Who comes from a network that is connected to the node, or from where a route leads, comes in by that interface.
    if let (Ingress::Interface(named), Some(known)) = (&mut packet.entrance, ruleset.interface_to(source))
        && named.is_none()
        && !own
    {
        notes.push(format!("it comes in by {known}, which leads to {source}"));
        *named = Some(known.to_string());
    }
    let meant = destination.service.and_then(|(i, j)| {
        let s = model.services.get(i)?;
        Some((s, s.frontends.get(j)?))
    });
    let walk = match meant.filter(|(s, _)| s.engine.mode().keeps_no_rules()) {
        Some((s, f)) => super::by_maps::trace(s, f, matches!(sender, Sender::Pod | Sender::Node)),
        None => ruleset.walk(&packet, &Options::default()),
    };
    // Rules send it on; whether a way leads there is another matter.
    let sent = walk.outcomes.iter().filter(|o| o.end == End::Sent).filter_map(|o| o.backend);
    let to: BTreeSet<IpAddr> = sent.map(|b| b.0).collect();
    let lost = to.into_iter().filter_map(|a| Some((a, obstacle(snapshot, a)?)));
    let no_way = lost.filter(|(_, o)| *o != Obstacle::NoRoute || routes_beyond(snapshot, family));
    notes.extend(no_way.map(|(a, o)| format!("packets to {a} are lost behind the rules: {}", o.words())));
    notes.extend(ahead(snapshot, sender, family));
    Ok(Explanation { destination: destination.clone(), packet, sender, notes, walk })
}

/// Programs that may translate the address at the socket, before there is a packet: not for who is outside.
fn ahead(snapshot: &Snapshot, sender: Sender, family: IpFamily) -> Option<String> {
    let of_family = |h: Hook| match family {
        IpFamily::V4 => matches!(h, Hook::Connect4 | Hook::SendMsg4),
        IpFamily::V6 => matches!(h, Hook::Connect6 | Hook::SendMsg6),
    };
    let mut all = snapshot.ebpf.iter().flat_map(|e| &e.programs);
    let p = all.find(|p| of_family(p.hook)).filter(|_| sender != Sender::Outside)?;
    Some(format!(
        "an eBPF program at {} of cgroup {} ({}) may translate the address before there is a packet: these rules do not see it then",
        p.hook,
        p.place,
        p.label(),
    ))
}

/// How an end is called in JSON.
pub fn verdict(o: &Outcome) -> &'static str {
    match (&o.end, o.backend) {
        (End::Delivered | End::Sent, Some(_)) => "dnat",
        (End::Delivered | End::Sent, None) if o.masquerade => "masquerade",
        (End::Delivered | End::Sent, None) => "accept",
        (End::Dropped, _) => "drop",
        (End::Rejected, _) => "reject",
        (End::Queued, _) => "queue",
        (End::Lost, _) => "lost",
        (End::Undecided, _) => "undecided",
    }
}

/// Ends that differ only in how many rules they take, as one.
#[derive(Clone, Debug)]
pub struct Ending<'a> {
    /// One of them.
    pub outcome: &'a Outcome,
    /// The probability of all of them.
    pub probability: f64,
    /// Fewest and most rules evaluated.
    pub rules: (u32, u32),
}

impl Explanation {
    /// The Service that is meant.
    pub fn service<'m>(&self, model: &'m Model) -> Option<(&'m Service, &'m Frontend)> {
        let (i, j) = self.destination.service?;
        let service = model.services.get(i)?;
        Some((service, service.frontends.get(j)?))
    }

    /// Who takes the packet: the mode that translated or refused it, where that is kube-proxy's doing.
    pub fn mode(&self, model: &Model) -> Option<Mode> {
        self.service(model).map(|s| s.0.engine.mode())
    }

    /// Ends by what comes of them, the likeliest first.
    pub fn endings(&self) -> Vec<Ending<'_>> {
        let mut all: Vec<Ending<'_>> = Vec::new();
        for o in &self.walk.outcomes {
            let same = |e: &&mut Ending<'_>| {
                let x = e.outcome;
                (&x.end, x.backend, x.masquerade, &x.assuming)
                    == (&o.end, o.backend, o.masquerade, &o.assuming)
                    && self.last_place(x) == self.last_place(o)
            };
            let rules = o.tally.rules();
            match all.iter_mut().find(same) {
                Some(e) => {
                    e.probability += o.probability;
                    e.rules = (e.rules.0.min(rules), e.rules.1.max(rules));
                }
                None => all.push(Ending { outcome: o, probability: o.probability, rules: (rules, rules) }),
            }
        }
        // Those that assume the same are together, in the order in which they came.
        let first = |e: &Ending<'_>| {
            self.walk.outcomes.iter().position(|o| o.assuming == e.outcome.assuming).unwrap_or(usize::MAX)
        };
        all.sort_by_key(first);
        all
    }

    /// What ended a packet that died, and where: paths of several kinds lead there.
    fn last_place(&self, o: &Outcome) -> Option<(&StepKind, Option<Place>)> {
        self.last_step(o).map(|s| (&s.kind, s.place))
    }

    /// The step that ended a packet that died.
    pub(super) fn last_step(&self, o: &Outcome) -> Option<&Step> {
        match o.end {
            End::Delivered | End::Sent => None,
            _ => self.walk.steps.get(o.last? as usize),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::destinations;
    use crate::lab::shop;
    use crate::proxy::{Names, iptables};
    use crate::snapshot::TableState;
    use std::sync::Arc;
    use std::time::Duration;

    /// A node port at an address of which nobody knows whether it is the node's: both are followed.
    #[test]
    fn a_node_port_without_the_nodes_addresses_is_a_fork() {
        let tables = iptables::write(&shop::services(None, 4), IpFamily::V4, &Default::default());
        let state = |(t, c)| TableState::new(Duration::ZERO, Arc::new(t), Arc::new(c));
        let snapshot = Snapshot { tables: tables.into_iter().map(state).collect(), ..Snapshot::default() };
        let model = Model::read(&snapshot, &Names::default());
        let to = destinations(&snapshot, &model, "192.0.2.10:30080/tcp").unwrap().remove(0);
        let answer = explain(&snapshot, &model, &to, Sender::Outside, None).unwrap();
        let text = |o: &Outcome| o.assuming.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let (here, elsewhere): (Vec<_>, Vec<_>) =
            answer.walk.outcomes.iter().partition(|o| o.backend.is_some());
        assert!(!here.is_empty() && here.iter().all(|o| text(o) == "192.0.2.10 is an address of this node"));
        assert!(elsewhere.iter().all(|o| text(o) == "not: 192.0.2.10 is an address of this node"));
        assert_eq!(answer.endings().len(), here.len() + 1);
        // With them it is decided.
        let address = crate::snapshot::facts::InterfaceAddress {
            interface: "eth0".into(),
            address: "192.0.2.10".parse().unwrap(),
            prefix: Some(24),
        };
        let snapshot = Snapshot { addresses: Arc::new(vec![address]), ..snapshot };
        let answer = explain(&snapshot, &model, &to, Sender::Outside, None).unwrap();
        assert!(answer.walk.outcomes.iter().all(|o| o.backend.is_some() && o.assuming.is_empty()));
    }
}
