//! Pods on a Linux bridge, and bridged packets that do not pass iptables: the answer of a pod on the same bridge goes back
//! without being translated (`br_netfilter`, `net.bridge.bridge-nf-call-iptables`; kubeadm's preflight checks ask for 1).

use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::{Finding, Severity};
use crate::proxy::{Mode, node_addresses, pod_network};
use crate::ruleset::IpFamily;
use crate::snapshot::SourceId;

/// Names that CNIs give their bridges; others are known by an address in the pods' network.
const BRIDGES: [&str; 4] = ["cni", "cbr", "kube-bridge", "weave"];

pub(super) const CHECK: Check = Check {
    id: "bridge_netfilter",
    about: "bridged packets bypass iptables",
    needs: &[SourceId::Links, SourceId::Addresses],
    looks_at: &[],
    readings: 1,
    run,
};

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    let links = &cx.snapshot.links;
    let ports = |index: u32| links.iter().filter(|l| l.master == Some(index)).count();
    for (family, sysctl) in [
        (IpFamily::V4, "net/bridge/bridge-nf-call-iptables"),
        (IpFamily::V6, "net/bridge/bridge-nf-call-ip6tables"),
    ] {
        // Only a bridge on which the node itself is the pods' gateway, with two pods or more.
        let pods = pod_network(cx.snapshot, family);
        let bridge = links.iter().find(|l| {
            l.kind.as_deref() == Some("bridge")
                && l.up
                && ports(l.index) >= 2
                && node_addresses(cx.snapshot, family).any(|a| {
                    a.interface == l.name
                        && (pods.is_some_and(|n| n.contains(a.address))
                            || BRIDGES.iter().any(|b| l.name.starts_with(b)))
                })
        });
        let Some(bridge) = bridge else { continue };
        if !cx.any_active(family) || cx.active(Mode::Userspace) {
            continue;
        }
        cx.need(SourceId::Sysctls)?;
        let value = cx.sysctl(sysctl);
        if value == Some("1") {
            continue;
        }
        let name = sysctl.rsplit('/').next().unwrap_or(sysctl);
        // Files may hold some sysctls only; a node was asked for this one.
        if value.is_none() && cx.snapshot.netns.inode.is_none() {
            return Err(NotChecked::new(
                SourceId::Sysctls,
                format!("{name} is not among the sysctls that were given"),
            ));
        }
        let proof = match value {
            Some(v) => format!("{name} = {v}"),
            None => format!("{name} is not there: module br_netfilter is not loaded"),
        };
        found.push(
            Finding::node("bridge_netfilter", Severity::Warning, &bridge.name,
                format!("pods on one bridge cannot reach each other by {family} Services"))
            .proved_by(format!("{} is a bridge with {} ports and an address of the node", bridge.name, ports(bridge.index)))
            .proved_by(proof)
            .advise(format!("modprobe br_netfilter && sysctl -w net.bridge.{name}=1, and keep both in /etc/modules-load.d and /etc/sysctl.d")),
        );
    }
    Ok(())
}
