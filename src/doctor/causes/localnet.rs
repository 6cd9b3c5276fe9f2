//! Node ports on localhost and packets to 127.0.0.0/8. kube-proxy's `KUBE-FIREWALL` drops what others send to localhost
//! (CVE-2020-8558), and node ports on localhost work only while `route_localnet` is 1 (`--iptables-localhost-nodeports`).

use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::{Finding, Severity};
use crate::proxy::{FrontendKind, Mode, chain};
use crate::ruleset::{IpFamily, Target, Verdict};
use crate::snapshot::SourceId;
use crate::snapshot::facts::ANY_ROUTE_LOCALNET;

pub(super) const CHECK: Check = Check {
    id: "localnet",
    about: "packets to localhost from outside are dropped",
    needs: &[],
    looks_at: SourceId::RULES,
    readings: 1,
    run,
};

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    let rules = cx.chain_rules("filter", chain::FIREWALL);
    let drops = rules.iter().filter(|r| cx.target(**r) == Some(&Target::Verdict(Verdict::Drop)));
    for rule in drops.clone() {
        if let Some(rise) = cx.rule_rise(*rule) {
            found.push(
                cx.rule("localnet", Severity::Warning, *rule, "packets to localhost with a foreign address are dropped")
                    .proved_by(format!("{}: {}", cx.rule_text(*rule), rise.text()))
                    .advise("right for strangers; a client on the node that binds to another address than 127.0.0.1 needs the node's address instead"),
            );
        }
    }
    let node_ports = cx.frontends(FrontendKind::NodePort).any(|(_, s, _)| s.family == IpFamily::V4);
    // kube-proxy writes the rule where it serves node ports on localhost.
    let serves = cx.active(Mode::Iptables) && node_ports && drops.count() > 0;
    if serves {
        cx.need(SourceId::Sysctls)?;
    }
    if serves && cx.sysctl(ANY_ROUTE_LOCALNET) == Some("0") {
        found.push(
            Finding::node("localnet", Severity::Info, "node ports", "node ports do not answer on localhost")
                .proved_by("route_localnet = 0 on every interface, in iptables mode with node ports")
                .advise("sysctl -w net.ipv4.conf.all.route_localnet=1 (kube-proxy sets it unless started with --iptables-localhost-nodeports=false), or ask the node's address"),
        );
    }
    Ok(())
}
