//! Rules that are not kube-proxy's drop or reject Services' packets on their way (firewalld, Calico, Docker, the security table), or
//! drop packets of any traffic right now. The way of each Service's packet is walked through all tables of the node.

use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::{Finding, Severity};
use crate::doctor::losses::{Lost, Taken};
use crate::format::share_text;
use crate::proxy::{RuleRef, Service, enforces_policies, nftables};
use crate::reach::{ALL, SenderKind, Taker};
use crate::ruleset::{IpNet, Match, Target, Terminal, Verdict};
use crate::snapshot::SourceId;
use crate::walk::End;

pub(super) const CHECK: Check = Check {
    id: "foreign_drop",
    about: "another program's rule drops Services' traffic",
    needs: &[],
    looks_at: SourceId::RULES,
    readings: 1,
    run,
};

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    for t in cx.taken_as(CHECK.id) {
        let by = cx.taker_words(t.taker);
        let dropped = t.losses.iter().any(|l| l.part.end == End::Dropped);
        let verb = if dropped { "dropped" } else { "rejected" };
        let share = t.share();
        let from = t.senders_text();
        let title = match share {
            s if s > ALL => format!("packets from {from} are {verb} by {by}"),
            s => format!("{} of new flows from {from} are {verb} by {by}", share_text(Some(s))),
        };
        let rise = match t.taker {
            Taker::Policy(table, chain) => cx.policy_rise(*table, *chain),
            taker => taker.rule().and_then(|r| cx.rule_rise(r)),
        };
        let owner = t.taker.owner(cx.snapshot);
        let severity = severity(t, owner, rise.is_some());
        let mut f = super::shared::lossy(cx, CHECK.id, severity, title, t);
        f.lost_rate = rise.map(|r| r.per_second());
        if let Some(repair) = owner.and_then(repair) {
            f = f.advise(repair);
        } else if t.taker.rule().is_some() {
            f = f.advise("if it is not meant so: take the rule away, or accept the pods' and the Services' networks before it");
        }
        found.push(f.advise(super::shared::explain_hint(cx, t)));
    }
    if cx.facts.before.is_none() {
        return Ok(());
    }
    for rule in cx.all_rules() {
        let drops = match cx.target(rule) {
            Some(Target::Verdict(Verdict::Drop)) => "drops",
            Some(Target::Reject { .. }) => "rejects",
            Some(Target::Native(t)) if matches!(**t, Terminal::Reject { .. }) => "rejects",
            _ => continue,
        };
        let own = cx.owner(rule) == Some("kube-proxy")
            || cx.snapshot.tables[rule.table].table.name == nftables::TABLE;
        let reported = cx.taken.iter().any(|t| t.taker.rule() == Some(rule));
        if own || reported {
            continue;
        }
        let Some(rise) = cx.rule_rise(rule) else { continue };
        let whose = cx.owner(rule).map_or(String::new(), |o| format!(" of {o}"));
        let services = touched(cx, rule);
        let (severity, title) = match services.len() {
            0 => (Severity::Info, format!("a rule{whose} {drops} packets")),
            1 => (Severity::Warning, format!("a rule{whose} {drops} packets of a Service's addresses")),
            n => (Severity::Warning, format!("a rule{whose} {drops} packets of {n} Services' addresses")),
        };
        let mut f = cx.rule("foreign_drop", severity, rule, title).proved_by(format!(
            "{}: {}",
            cx.rule_text(rule),
            rise.text()
        ));
        f.services.clone_from(&services);
        f.lost_rate = Some(rise.per_second());
        if !services.is_empty() {
            let names: Vec<String> =
                services.iter().take(6).map(|i| super::shared::label(&cx.model.services[*i])).collect();
            f = f.proved_by(format!("its addresses are those of {}", names.join(", ")));
        }
        found.push(f.advise(match services.is_empty() {
            true => "the first packet of no Service's flow was seen to end there; is it traffic that should pass?",
            false => "a new flow may pass all the same: answers, later packets or some senders end there. Who made the rule, and what for?",
        }));
    }
    Ok(())
}

/// How much it matters: packets of pods, of the node or of other nodes that must die are worse than those from outside,
/// which may be shut out on purpose; so may be those that a network policy names.
fn severity(t: &Taken<'_>, owner: Option<&'static str>, now: bool) -> Severity {
    let inner = |l: &&Lost<'_>| l.loss.sender != SenderKind::Outside && l.part.share > ALL;
    match owner.is_some_and(enforces_policies) {
        true if now => Severity::Warning,
        true => Severity::Info,
        false if t.losses.iter().any(|l| inner(&l)) => Severity::Critical,
        false => Severity::Warning,
    }
}

/// How to have a program let pods and Services through.
fn repair(owner: &str) -> Option<&'static str> {
    Some(match owner {
        "firewalld" => {
            "firewall-cmd --permanent --zone=trusted --add-source=POD-NETWORK --add-source=SERVICE-NETWORK && firewall-cmd --reload"
        }
        "ufw" => "ufw route allow from POD-NETWORK, and the same with `to`",
        "Docker" => "iptables -I DOCKER-USER -s POD-NETWORK -j ACCEPT, and the same with -d",
        "Calico" | "Cilium" | "kube-router" | "Antrea" | "kube-network-policies" => {
            "a network policy may mean it: kubectl get networkpolicies -A"
        }
        _ => return None,
    })
}

/// Services some address of which a rule names, as where packets come from or go to.
fn touched(cx: &CheckContext<'_>, rule: RuleRef) -> Vec<usize> {
    let nets: Vec<_> = cx.matches(rule).iter().filter_map(Match::address).filter(|a| !a.invert).collect();
    if nets.is_empty() {
        return Vec::new();
    }
    // All of them: a packet is from one network and to another.
    let any = |s: &Service, net: &IpNet| {
        s.frontends.iter().filter_map(|f| f.address).any(|a| net.contains(a))
            || s.backends.iter().any(|b| net.contains(b.address))
    };
    let named = |s: &Service| nets.iter().any(|a| a.net.prefix > 0 && any(s, &a.net));
    cx.active_services().filter(|(_, s)| named(s)).map(|(i, _)| i).collect()
}
