//! The node answers ARP for load balancers' addresses on `kube-ipvs0` by every interface, unless `arp_ignore` and
//! `arp_announce` forbid it (kube-proxy `--ipvs-strict-arp`): with MetalLB in layer 2, or an address that lives elsewhere in the
//! same network, clients then reach the wrong node.

use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::{Finding, Severity};
use crate::proxy::{FrontendKind, Mode};
use crate::snapshot::SourceId;

pub(super) const CHECK: Check = Check {
    id: "ipvs_arp",
    about: "the node answers ARP for load balancer IPs",
    needs: &[SourceId::Ipvs],
    looks_at: SourceId::RULES,
    readings: 1,
    run,
};

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    if !cx.active(Mode::Ipvs) {
        return Ok(());
    }
    let external = [FrontendKind::LoadBalancerIp, FrontendKind::ExternalIp];
    let addresses: Vec<String> = cx
        .active_services()
        .filter(|(_, s)| s.engine.mode() == Mode::Ipvs)
        .flat_map(|(_, s)| &s.frontends)
        .filter(|f| f.kind.is_some_and(|k| external.contains(&k)))
        .filter_map(|f| f.address.filter(std::net::IpAddr::is_ipv4))
        .map(|a| a.to_string())
        .collect();
    // Without sets the kinds of addresses are not known.
    let unknown = || {
        let mut all = cx.active_services().filter(|(_, s)| s.engine.mode() == Mode::Ipvs);
        all.any(|(_, s)| s.frontends.iter().any(|f| f.kind.is_none()))
    };
    if addresses.is_empty() && !unknown() {
        return Ok(());
    }
    cx.need(SourceId::Sysctls)?;
    if addresses.is_empty() {
        let why = "which addresses are load balancers' the ipsets say, and they were not read";
        return Err(NotChecked::new(SourceId::Ipsets, why));
    }
    let ignore = cx.must_sysctl("net/ipv4/conf/all/arp_ignore")?;
    let announce = cx.must_sysctl("net/ipv4/conf/all/arp_announce")?;
    let number = |text: &str| text.parse::<i64>().unwrap_or(0);
    if number(ignore) >= 1 && number(announce) >= 2 {
        return Ok(());
    }
    found.push(
        Finding::node("ipvs_arp", Severity::Info, "ARP", "the node answers for load balancers' addresses on every interface")
            .proved_by(format!("net.ipv4.conf.all.arp_ignore = {ignore} (strict: 1), arp_announce = {announce} (strict: 2)"))
            .proved_by(format!("{} such addresses, {} among them", addresses.len(), addresses[0]))
            .advise("where they are in this node's own network (MetalLB in layer 2): kube-proxy --ipvs-strict-arp; else it does no harm"),
    );
    Ok(())
}
