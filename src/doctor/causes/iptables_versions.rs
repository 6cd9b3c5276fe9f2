//! Two versions of iptables wrote one table, and one lost what it did not understand: the DROP of `KUBE-FIREWALL` without
//! its mark match takes every packet (kubernetes/kubernetes#112477), a DNAT without its target sends packets to 0.0.0.0
//! (kubernetes/kubernetes#114537).

use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::{Finding, Severity};
use crate::proxy::Service;
use crate::reach::Taker;
use crate::ruleset::Target;
use crate::snapshot::SourceId;

pub(super) const CHECK: Check = Check {
    id: "iptables_versions",
    about: "two versions of iptables wrote one table",
    needs: &[],
    looks_at: SourceId::RULES,
    readings: 1,
    run,
};

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    for t in cx.taken_as(CHECK.id) {
        let title = match t.taker {
            Taker::Elsewhere { .. } => "a DNAT rule lost its target: packets are sent to 0.0.0.0",
            _ => "KUBE-FIREWALL drops packets of Services: its rule lost the match for marked packets",
        };
        found.push(
            super::shared::lossy(cx, CHECK.id, Severity::Critical, title.into(), t)
                .advise("the host and a container wrote one table with different versions of iptables: use one, or the same variant")
                .advise("then restart kube-proxy (and a kubelet until 1.27): they write their rules again")
                .advise(super::shared::explain_hint(cx, t)),
        );
    }
    // An iptables that is older than who wrote the rules prints `[unsupported revision]`, and its save and restore loses them.
    let mut unsupported = Vec::new();
    for rule in cx.all_rules() {
        let Some(Target::Unknown(u)) = cx.target(rule) else { continue };
        let t = &cx.snapshot.tables[rule.table].table;
        if ["DNAT", "SNAT", "MASQUERADE", "REDIRECT", "MARK", "REJECT"].contains(&t.str(u.name))
            && cx.owner(rule) == Some("kube-proxy")
        {
            unsupported.push(rule);
        }
    }
    if let Some(first) = unsupported.first() {
        let comments: Vec<&str> = unsupported
            .iter()
            .filter_map(|r| {
                let t = &cx.snapshot.tables[r.table].table;
                t.comment_of(t.rules.get(r.rule.0 as usize)?)
            })
            .collect();
        let named = |s: &Service| comments.iter().any(|c| *c == s.label());
        let title = "iptables is older than what wrote the rules: it does not know their targets";
        let mut f = cx.rule(CHECK.id, Severity::Warning, *first, title);
        f.services = cx.active_services().filter(|(_, s)| named(s)).map(|(i, _)| i).collect();
        found.push(
            f.proved_by(format!("{} such rules, {} among them", unsupported.len(), cx.rule_text(*first)))
                .proved_by("`[unsupported revision]` stands in place of the target's options")
                .advise("read the rules with the iptables that wrote them (in the container of kube-proxy or the CNI), and never save and restore them with this one"),
        );
    }
    Ok(())
}
