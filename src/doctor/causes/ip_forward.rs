//! The node does not forward packets: everything between pods and Services of other nodes dies
//! (`Documentation/networking/ip-sysctl.rst`).

use super::{Case, Finding, Severity};
use crate::ruleset::IpFamily;

pub(super) fn find(case: &Case<'_>, found: &mut Vec<Finding>) -> Result<(), String> {
    case.need_rules()?;
    for (family, name) in
        [(IpFamily::V4, "net/ipv4/ip_forward"), (IpFamily::V6, "net/ipv6/conf/all/forwarding")]
    {
        let some = case.at_work().any(|(_, s)| s.family == family && !s.backends.is_empty());
        if some && case.sysctl(name) == Some("0") {
            let name = name.replace('/', ".");
            found.push(
                Finding::node("ip_forward", Severity::Critical, "forwarding", format!("the node forwards no {family} packets"))
                    .proved_by(format!("{name} = 0"))
                    .advise(format!("sysctl -w {name}=1; what set it back? look in /etc/sysctl.d and at tools that harden nodes")),
            );
        }
    }
    Ok(())
}
