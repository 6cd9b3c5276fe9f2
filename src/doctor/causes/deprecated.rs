//! What a later Kubernetes takes away: ipvs mode (deprecated in 1.35, behind a feature gate from 1.40 on, gone with 1.43), and `externalIPs` of
//! Services (deprecated in 1.36, off from 1.40 on: KEP-5707).

use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::{Finding, Severity};
use crate::format::plural;
use crate::proxy::{Frontend, FrontendKind, Mode, frontend_text, is_kube_routers};
use crate::snapshot::SourceId;
use std::collections::HashSet;
use std::net::IpAddr;

pub(super) const CHECK: Check = Check {
    id: "deprecated",
    about: "what a later Kubernetes takes away",
    needs: &[],
    looks_at: SourceId::RULES,
    readings: 1,
    run,
};

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    // It is kube-proxy's mode that goes, and not IPVS.
    if cx.active(Mode::Ipvs) && !is_kube_routers(cx.snapshot) {
        let servers: u64 = cx
            .active_services()
            .filter(|(_, s)| s.engine.mode() == Mode::Ipvs)
            .map(|(_, s)| s.frontends.len() as u64)
            .sum();
        found.push(
            Finding::node(
                CHECK.id,
                Severity::Info,
                "ipvs mode",
                "ipvs mode is deprecated since Kubernetes 1.35",
            )
            .proved_by(format!("{} in ipvs mode here", plural(servers, "virtual server")))
            .advise(
                "from 1.40 on it is behind a feature gate and nftables is the default; 1.43 has it no more",
            )
            .advise("what a move costs and changes on this node: kptop compare --to nftables"),
        );
    }
    // nftables mode does not tell external IPs and load balancers apart: the API does.
    let services = cx.snapshot.cluster.iter().flat_map(|c| &c.services);
    let told: HashSet<IpAddr> = services.flat_map(|s| &s.external_ips).copied().collect();
    for (i, s) in cx.active_services() {
        let is_external = |f: &&Frontend| {
            f.kind == Some(FrontendKind::ExternalIp)
                || (f.kind.is_none() && f.address.is_some_and(|a| told.contains(&a)))
        };
        let at: Vec<String> = s.frontends.iter().filter(is_external).map(frontend_text).collect();
        if !at.is_empty() {
            let title = "externalIPs of Services are deprecated since Kubernetes 1.36, and off from 1.40 on";
            found.push(
                cx.service(CHECK.id, Severity::Info, i, title)
                    .proved_by(format!("reached at {}", at.join(", ")))
                    .advise("a load balancer that announces addresses (MetalLB and others), a Gateway or an Ingress does it with rights of its own; KEP-5707, CVE-2020-8554"),
            );
        }
    }
    Ok(())
}
