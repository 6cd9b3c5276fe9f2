//! Rules that are not kube-proxy's drop or reject Services' packets on their way (firewalld, Calico, Docker, the security table), or
//! drop packets of any traffic right now. The way of each Service's packet is walked through all tables of the node.

use super::super::{DeadEnd, Subject};
use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::{Finding, Severity};
use crate::format::plural;
use crate::proxy::{RuleRef, Service, frontend_text, nftables};
use crate::ruleset::{IpNet, Match, Target, Terminal, Verdict};
use crate::snapshot::SourceId;
use crate::walk::End;

pub(super) const CHECK: Check =
    Check { id: "foreign_drop", needs: &[], looks_at: SourceId::RULES, readings: 1, run };

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    let mut reported = Vec::new();
    // Those of a policy of FORWARD have a name of their own.
    for d in cx.facts.dead_ends.iter().filter(|d| !super::forward_policy::is_policy(cx, d)) {
        // One rule that stops many Services is one fault.
        if let Some(known) = reported
            .iter()
            .position(|(rule, place, from, _)| (rule, place, from) == (&d.rule, &d.place, &d.from))
        {
            let entry: &mut (_, _, _, Vec<&DeadEnd>) = &mut reported[known];
            entry.3.push(d);
        } else {
            reported.push((d.rule, d.place.clone(), d.from, vec![d]));
        }
    }
    for (rule, place, from, ends) in reported {
        let first = ends[0];
        let s = &cx.model.services[first.service];
        let frontend = &s.frontends[first.frontend];
        let verb = if first.end == End::Dropped { "dropped" } else { "rejected" };
        let whose = first.owner.map_or("another program's rule".into(), |o| format!("a rule of {o}"));
        let by = if rule.is_some() { whose } else { "a policy".into() };
        let title = match ends.len() {
            1 => format!("packets from {from} are {verb} by {by}"),
            n => format!("packets from {from} to {n} Services are {verb} by {by}"),
        };
        // Node ports may be closed to the outside on purpose.
        let severity = if first.is_from_pod() { Severity::Critical } else { Severity::Warning };
        let mut f = cx.service("foreign_drop", severity, first.service, title);
        if ends.len() > 1 {
            f.about = place.clone();
            f.subject = rule.map_or(f.subject, Subject::Rule);
        }
        f = match rule {
            Some(rule) => {
                let t = &cx.snapshot.tables[rule.table];
                let counted = t.table.rules.get(rule.rule.0 as usize).is_some_and(|r| r.counted);
                let packets = match counted {
                    true => format!("{} so far", plural(t.counter(rule.rule).packets, "packet")),
                    false => "it counts nothing".into(),
                };
                f.proved_by(format!("{place}: {}, {packets}", cx.rule_text(rule)))
            }
            None => f.proved_by(format!("{place}: its policy")),
        };
        let names: Vec<String> =
            ends.iter().take(6).map(|d| super::shared::label(&cx.model.services[d.service])).collect();
        f = f.proved_by(format!("Services: {}{}", names.join(", "), if ends.len() > 6 { ", …" } else { "" }));
        if let Some(repair) = first.owner.and_then(repair) {
            f = f.advise(repair);
        } else if rule.is_some() {
            f = f.advise("if it is not meant so: take the rule away, or accept the pods' and the Services' networks before it");
        }
        found.push(f.advise(format!(
            "see the whole way: kptop explain {}/{} --client {}",
            frontend_text(frontend).replace("*:", "NODE:"),
            s.protocol.lower(),
            first.source
        )));
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
        let reported = cx.facts.dead_ends.iter().any(|d| d.rule == Some(rule));
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
