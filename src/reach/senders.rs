//! Who sends the packets that are walked.

use crate::proxy::{any_pod, local_pod_network, node_address, outside_client, pod_network};
use crate::ruleset::IpFamily;
use crate::snapshot::Snapshot;
use crate::walk::{Ingress, RulesetIndex};
use std::net::IpAddr;

/// A kind of sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum SenderKind {
    /// A pod of this node.
    Pod,
    /// A process of the node itself.
    Node,
    /// Another node, which translated the packet already: it goes to a backend on this node.
    OtherNode,
    /// A client outside of the cluster.
    Outside,
}

impl SenderKind {
    /// As in JSON: `other_node`.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// For people: `a pod`.
    pub fn words(self) -> &'static str {
        match self {
            SenderKind::Pod => "a pod",
            SenderKind::Node => "the node itself",
            SenderKind::OtherNode => "another node",
            SenderKind::Outside => "a client outside",
        }
    }

    /// Several of them, for people: `pods`.
    pub fn plural(self) -> &'static str {
        match self {
            SenderKind::Pod => "pods",
            SenderKind::Node => "the node itself",
            SenderKind::OtherNode => "other nodes",
            SenderKind::Outside => "clients outside",
        }
    }
}

/// One address for each kind of sender of a family.
#[derive(Clone, Debug)]
pub struct Senders {
    /// A pod of this node.
    pub pod: IpAddr,
    /// By which interface its packets come in; `None` where that is not known.
    pub pod_interface: Option<String>,
    /// The node.
    pub node: Option<IpAddr>,
    /// A pod of another node.
    pub other: IpAddr,
    /// A client outside.
    pub outside: IpAddr,
}

impl Senders {
    /// Addresses that represent them.
    pub fn new(snapshot: &Snapshot, ruleset: &RulesetIndex<'_>, family: IpFamily) -> Senders {
        let pod = any_pod(snapshot, family);
        Senders {
            pod,
            pod_interface: ruleset.interface_to(pod).map(str::to_string),
            node: node_address(snapshot, family),
            other: other_pod(snapshot, family),
            outside: outside_client(family),
        }
    }

    /// How packets of a kind of sender come in.
    pub(super) fn entrance(&self, kind: SenderKind) -> Ingress {
        match kind {
            SenderKind::Node => Ingress::Node,
            SenderKind::Pod => Ingress::Interface(self.pod_interface.clone()),
            SenderKind::OtherNode | SenderKind::Outside => Ingress::Interface(None),
        }
    }

    /// The address from which a kind of sender sends.
    pub(super) fn address(&self, kind: SenderKind) -> Option<IpAddr> {
        match kind {
            SenderKind::Pod => Some(self.pod),
            SenderKind::Node => self.node,
            SenderKind::OtherNode => Some(self.other),
            SenderKind::Outside => Some(self.outside),
        }
    }
}

/// An address of the pods' network that is not in this node's part of it.
fn other_pod(snapshot: &Snapshot, family: IpFamily) -> IpAddr {
    let whole = pod_network(snapshot, family);
    let local = local_pod_network(snapshot, family).map(|l| l.0);
    let nth = |n: u32| match whole.map_or(any_pod(snapshot, family), |w| w.masked().addr) {
        IpAddr::V4(a) => IpAddr::V4(u32::from(a).wrapping_add(n << 8 | 253).into()),
        IpAddr::V6(a) => IpAddr::V6(u128::from(a).wrapping_add(u128::from(n) << 64 | 0xfffd).into()),
    };
    // Networks of nodes are /24 and /64 mostly; the last ones of a small cluster's are free.
    let fits = |a: &IpAddr| whole.is_none_or(|w| w.contains(*a)) && local.is_none_or(|l| !l.contains(*a));
    [251, 250, 15, 3, 1, 0].into_iter().map(nth).find(fits).unwrap_or_else(|| nth(0))
}
