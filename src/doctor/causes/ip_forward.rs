//! The node does not forward packets: everything between pods and Services of other nodes dies
//! (`Documentation/networking/ip-sysctl.rst`).

use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::{Finding, Severity};
use crate::reach::Taker;
use crate::ruleset::IpFamily;
use crate::snapshot::SourceId;
use crate::snapshot::facts::NOT_FORWARDING;

pub(super) const CHECK: Check = Check {
    id: "ip_forward",
    about: "the node does not forward packets",
    needs: &[SourceId::Sysctls],
    looks_at: SourceId::RULES,
    readings: 1,
    run,
};

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    for (family, name) in
        [(IpFamily::V4, "net/ipv4/ip_forward"), (IpFamily::V6, "net/ipv6/conf/all/forwarding")]
    {
        let some = cx.active_services().any(|(_, s)| s.family == family && !s.backends.is_empty());
        if some && cx.sysctl(name) == Some("0") {
            let name = name.replace('/', ".");
            let title = format!("the node forwards no {family} packets");
            let mut f = Finding::node("ip_forward", Severity::Critical, "forwarding", title);
            let lost = cx.taken.iter().filter(|t| matches!(t.taker, Taker::Kernel(_)));
            for t in lost {
                let mine = t.services().into_iter().filter(|i| cx.model.services[*i].family == family);
                f.services.extend(mine);
                f.lost_share = Some(t.share());
            }
            found.push(f.proved_by(format!("{name} = 0")).advise(format!(
                "sysctl -w {name}=1; what set it back? look in /etc/sysctl.d and at tools that harden nodes"
            )));
        }
    }
    // Forwarding on the whole, and off where packets come in: they count as sent to a wrong address.
    let off = cx.sysctl(NOT_FORWARDING).unwrap_or("");
    if cx.sysctl("net/ipv4/ip_forward") == Some("1")
        && !off.is_empty()
        && let Some(rise) = cx.counter_rise("Ip.InAddrErrors")
    {
        let names: Vec<&str> = off.split(' ').collect();
        found.push(
            Finding::node(
                "ip_forward",
                Severity::Critical,
                "forwarding",
                format!(
                    "packets that come in by {} are not forwarded",
                    names[..names.len().min(4)].join(", ")
                ),
            )
            .proved_by(format!("net.ipv4.conf.{}.forwarding = 0", names[0]))
            .proved_by(format!("InAddrErrors: {}", rise.text()))
            .advise(format!("sysctl -w net.ipv4.conf.{}.forwarding=1", names[0])),
        );
    }
    Ok(())
}
