//! Addresses of virtual servers live on `kube-ipvs0` (kube-router: `kube-dummy-if`): without it packets are routed away and never reach IPVS. One that was left
//! over makes the node answer for an address that is no Service's any more (`syncService`, `cleanLegacyBindAddr`,
//! `pkg/proxy/ipvs/proxier.go`).

use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::{Finding, Severity};
use crate::proxy::{Mode, ipvs_interface, is_kube_routers};
use crate::snapshot::SourceId;
use std::collections::BTreeSet;
use std::net::IpAddr;

pub(super) const CHECK: Check = Check {
    id: "ipvs_addresses",
    about: "Services' addresses are missing on the dummy interface",
    needs: &[SourceId::Ipvs],
    looks_at: SourceId::RULES,
    readings: 1,
    run,
};

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    let interface = ipvs_interface(cx.snapshot);
    let writer = if is_kube_routers(cx.snapshot) { "kube-router" } else { "kube-proxy" };
    let on_dummy: BTreeSet<IpAddr> = cx
        .snapshot
        .addresses
        .iter()
        .filter(|a| a.interface == interface && !is_link_local(a.address))
        .map(|a| a.address)
        .collect();
    let services = || cx.active_services().filter(|(_, s)| s.engine.mode() == Mode::Ipvs);
    if services().next().is_some() {
        cx.need(SourceId::Addresses)?;
    }
    let mut known = BTreeSet::new();
    for (i, s) in services() {
        for a in s.frontends.iter().filter_map(|f| f.address) {
            if known.insert(a) && !cx.is_own(a) && !a.is_loopback() {
                found.push(
                    cx.service(
                        "ipvs_addresses",
                        Severity::Critical,
                        i,
                        format!("{a} is not on {interface}: packets to it never reach IPVS"),
                    )
                    .proved_by(format!("{interface} holds {} addresses, not this one", on_dummy.len()))
                    .advise(format!(
                        "restart {writer}: it adds what is missing; what removed it (a network manager)?"
                    ))
                    .advise(format!("until then: ip addr add {a} dev {interface}")),
                );
            }
        }
    }
    let left: Vec<String> = on_dummy.difference(&known).map(ToString::to_string).collect();
    // Without any virtual server the whole interface was left behind: that is another cause's.
    if !left.is_empty() && !known.is_empty() {
        found.push(
            Finding::node(
                "ipvs_addresses",
                Severity::Warning,
                interface,
                format!(
                    "{} stale: the node answers for {}",
                    if left.len() == 1 {
                        "an address is".into()
                    } else {
                        format!("{} addresses are", left.len())
                    },
                    if left.len() == 1 { "it" } else { "them" }
                ),
            )
            .proved_by(format!("no virtual server has {}", left[..left.len().min(12)].join(", ")))
            .advise(format!(
                "ip addr del {} dev {interface}; {writer} removes them at its next full sync",
                left[0]
            )),
        );
    }
    Ok(())
}

fn is_link_local(a: IpAddr) -> bool {
    matches!(a, IpAddr::V6(a) if a.is_unicast_link_local())
}
