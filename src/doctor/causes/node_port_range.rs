//! Node ports inside `ip_local_port_range`: a connection that the node itself opens may take such a port, and its answers are
//! translated to the Service instead (kubernetes.io: "Avoid assigning node ports in the ephemeral range").

use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::{Finding, Severity};
use crate::proxy::FrontendKind;
use crate::snapshot::SourceId;

pub(super) const CHECK: Check = Check {
    id: "node_port_range",
    about: "node ports lie in the range of local ports",
    needs: &[SourceId::Sysctls],
    looks_at: SourceId::RULES,
    readings: 1,
    run,
};

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    let range = cx.must_sysctl("net/ipv4/ip_local_port_range")?;
    let mut ends = range.split_whitespace().filter_map(|w| w.parse::<u16>().ok());
    let (Some(low), Some(high)) = (ends.next(), ends.next()) else {
        return Err(NotChecked::new(SourceId::Sysctls, format!("ip_local_port_range is {range}")));
    };
    let mut inside: Vec<(u16, String)> = cx
        .frontends(FrontendKind::NodePort)
        .filter(|(_, _, f)| (low..=high).contains(&f.port))
        .map(|(_, s, f)| (f.port, s.label()))
        .collect();
    inside.sort();
    inside.dedup();
    if inside.is_empty() {
        return Ok(());
    }
    let some: Vec<String> = inside.iter().take(6).map(|(p, s)| format!("{p} ({s})")).collect();
    let n = inside.len();
    found.push(
        Finding::node("node_port_range", Severity::Warning, "node ports", format!("{n} node port{} may be taken by the node's own connections", if n == 1 { "" } else { "s" }))
            .proved_by(format!(
                "ip_local_port_range = {low} {high}, node ports in it: {}{}",
                some.join(", "),
                if n > some.len() { ", …" } else { "" }
            ))
            .advise("sysctl -w net.ipv4.ip_local_port_range='32768 60999' (the default, above the default node ports 30000-32767), or --service-node-port-range of the API server"),
    );
    Ok(())
}
