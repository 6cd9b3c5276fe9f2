//! Another program or a person wiped kube-proxy's rules, or the jumps to them (firewalld's reload, `nftables.service`, `iptables -F`): Services are
//! not reached although their rules may be. kube-proxy keeps an empty chain `KUBE-PROXY-CANARY` in three tables
//! (`pkg/util/iptables`, `Monitor`, since 1.18), and writes all again within a sync period where that of mangle is gone. nat
//! or filter flushed alone it does not see.

use super::super::Subject;
use super::wiped_tables as tables;
use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::{Finding, Severity};
use crate::doctor::losses::Taken;
use crate::proxy::{FrontendKind, Mode, State, Variant, chain as names, nftables};
use crate::reach::Taker;
use crate::ruleset::{BaseChain, ChainId, ChainKind, Family, Hook, IpFamily, Table, TableBackend};
use crate::snapshot::SourceId;
use std::collections::HashSet;

/// Table, base chain, hook, chain: jumps without which nothing works (`iptablesJumpChains`; 1.20 has these, too).
const JUMPS: [(&str, Hook, &str, &str); 4] = [
    ("nat", Hook::Prerouting, names::SERVICES, "packets from pods and outside are not translated"),
    ("nat", Hook::Output, names::SERVICES, "packets from the node itself are not translated"),
    ("nat", Hook::Postrouting, names::POSTROUTING, "nothing is masqueraded: answers go astray"),
    ("filter", Hook::Forward, names::FORWARD, "packets to backends are not accepted for forwarding"),
];

use names::CANARY;

pub(super) const CHECK: Check = Check {
    id: "wiped",
    about: "kube-proxy's rules are gone, in part or all",
    needs: &[],
    looks_at: SourceId::RULES,
    readings: 1,
    run,
};

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    let first = found.len();
    // What leads to chains is not known from a listing of them alone.
    if let Some(u) = cx.snapshot.unread.iter().find(|u| u.source == SourceId::BaseChains && u.leaves_open()) {
        return Err(NotChecked::new(u.source, format!("{}: {}", u.what, u.why)));
    }
    let mut open = None;
    for family in [IpFamily::V4, IpFamily::V6] {
        let of_family = found.len();
        for backend in [TableBackend::XTables, TableBackend::NfTables] {
            jumps(cx, backend, family, found);
            emptied(cx, backend, family, found);
            let flushed = tables::iptables(cx, backend, family, found);
            canaries(cx, backend, family, &flushed, found);
        }
        nftables_mode(cx, family, found);
        unreached(cx, family, found);
        if cx.any_active(family) {
            continue;
        }
        if family == IpFamily::V4 {
            tables::nftables_table(cx, found);
        }
        // What says least about how it came to be comes last.
        for look in [tables::gone, tables::api, tables::flows] {
            if found.len() == of_family {
                open = look(cx, family, found).err().or(open);
            }
        }
    }
    if found.len() == first {
        tables::kube_proxy(cx, found);
    }
    let known = found.iter().any(|f| f.id == "wiped");
    let lost = |t: &&Taken<'_>| *t.taker == Taker::Untranslated;
    let of_rules =
        |t: &Taken<'_>| t.losses.iter().any(|l| cx.model.services[l.service].engine.mode() != Mode::Ipvs);
    if let (Some(t), false) = (cx.taken.iter().find(lost).filter(|t| of_rules(t)), known) {
        let title =
            format!("packets from {} are not translated: no rule on their path does it", t.senders_text());
        found.push(
            super::shared::lossy(cx, "wiped", Severity::Critical, title, t)
                .advise("restart kube-proxy: it writes all rules again")
                .advise(super::shared::explain_hint(cx, t)),
        );
    }
    if let Some(by) = cx.last_writer() {
        found[first..].iter_mut().for_each(|f| f.evidence.push(by.clone()));
    }
    open.filter(|_| found.len() == first).map_or(Ok(()), Err)
}

/// Prefixes and names of chains that are never empty where something jumps to them: `KUBE-MARK-DROP` and those for checks may be.
const NEVER_EMPTY: [&str; 7] =
    [names::SVC, names::SVL, names::EXT, names::XLB, names::SEP, names::MARK_MASQ, names::POSTROUTING];

/// Chains that rules lead to, and that have no rule: packets go through them untouched.
fn emptied(cx: &CheckContext<'_>, backend: TableBackend, family: IpFamily, found: &mut Vec<Finding>) {
    let Some(i) = cx.snapshot.table(backend, family.into(), "nat") else { return };
    let t = &cx.snapshot.tables[i].table;
    let own = |name: &str| NEVER_EMPTY.iter().any(|p| name.starts_with(p));
    let candidates: Vec<ChainId> = (0..t.chains.len() as u32)
        .map(ChainId)
        .filter(|c| t.chains[c.0 as usize].rules.is_empty() && own(t.chain_name(*c)))
        .collect();
    if candidates.is_empty() {
        return;
    }
    let reached: HashSet<u32> = t.rules.iter().filter_map(|r| t.jump_of(r)).map(|c| c.0).collect();
    let empty: Vec<&str> =
        candidates.iter().filter(|c| reached.contains(&c.0)).map(|c| t.chain_name(*c)).collect();
    let Some(first) = empty.first() else { return };
    let means = match *first {
        names::POSTROUTING | names::MARK_MASQ => "nothing is masqueraded: answers go astray",
        _ => "packets to their Services are not translated",
    };
    let title = match empty.len() {
        1 => format!("{first} is empty: {means}"),
        n => format!("{n} chains are empty: {means}"),
    };
    let mut f = Finding::node("wiped", Severity::Critical, &format!("{} nat", Family::from(family)), title);
    f.subject = Subject::Table(i);
    let whose: Vec<String> = empty
        .iter()
        .filter_map(|name| {
            let hash = name.rsplit('-').next()?;
            let s = cx.active_services().find(|(_, s)| s.chain_hash.as_deref() == Some(hash))?;
            Some(super::shared::label(s.1))
        })
        .collect();
    f = f.proved_by(format!(
        "rules lead to {} and find no rule there",
        empty[..empty.len().min(6)].join(", ")
    ));
    if !whose.is_empty() {
        f = f.proved_by(format!("Services: {}", whose[..whose.len().min(6)].join(", ")));
    }
    found.push(f.advise("who emptied it: journalctl -u firewalld -u nftables -u ufw; restart kube-proxy: it writes all chains again"));
}

/// Services whose chains or backends are there, and which no rule or map element leads to any more: `KUBE-SERVICES` or
/// `service-ips` was emptied. A few are normal: large clusters delete chains later.
fn unreached(cx: &CheckContext<'_>, family: IpFamily, found: &mut Vec<Finding>) {
    let of: Vec<_> = cx
        .model
        .services
        .iter()
        .filter(|s| {
            s.family == family
                && matches!(s.engine.mode(), Mode::Iptables | Mode::Nftables)
                && !s.backends.is_empty()
        })
        .collect();
    let lost: Vec<_> = of.iter().filter(|s| s.frontends.is_empty()).collect();
    // Those that have lost all but their node port: their cluster IP is gone.
    let half = of.iter().filter(|s| {
        !s.frontends.is_empty() && s.frontends.iter().all(|f| f.kind == Some(FrontendKind::NodePort))
    });
    let half = half.count();
    if lost.len() + half < 2 || (lost.len() + half) * 4 < of.len() {
        return;
    }
    let nftables = of.iter().any(|s| s.engine.mode() == Mode::Nftables);
    let place = if nftables { "the map service-ips" } else { names::SERVICES };
    let names: Vec<String> = lost.iter().take(6).map(|s| super::shared::label(s)).collect();
    found.push(
        Finding::node("wiped", Severity::Critical, &format!("{family} {place}"), format!("nothing leads to {} of {} Services any more: {place} was emptied", lost.len() + half, of.len()))
            .proved_by(format!("their chains are, with backends, and {place} has nothing for them: {}{}", names.join(", "), if lost.len() > 6 { ", …" } else { "" }))
            .advise("who emptied it: journalctl -u firewalld -u nftables -u ufw; restart kube-proxy: it writes all rules again"),
    );
}

fn jumps(cx: &CheckContext<'_>, backend: TableBackend, family: IpFamily, found: &mut Vec<Finding>) {
    let with_services = |mode| {
        cx.model.services.modes.iter().any(|m| {
            m.state == State::Active
                && m.engine.mode() == mode
                && m.family == family
                && m.engine
                    .variant()
                    .is_none_or(|v| (v == Variant::Legacy) == (backend == TableBackend::XTables))
        })
    };
    let (rules, ipvs) = (with_services(Mode::Iptables), with_services(Mode::Ipvs));
    for (table, hook, to, means) in JUMPS {
        let Some(i) = cx.snapshot.table(backend, family.into(), table) else { continue };
        let t = &cx.snapshot.tables[i].table;
        // Only where the chain that should be reached is there, and belongs to what is active.
        let Some(chain) = t.chain(to) else { continue };
        if !(rules || ipvs) || t.rules_of(chain).count() == 0 {
            continue;
        }
        if leads_to(t, |b| b.hook == hook, chain) {
            continue;
        }
        let mut f = Finding::node(
            "wiped",
            Severity::Critical,
            &format!("{} {table} {}", Family::from(family), hook.chain_name()),
            format!("no jump to {to}: {means}"),
        );
        f.subject = Subject::Table(i);
        found.push(
            f.proved_by(format!("{to} has {} rules, and no rule of {} leads there", t.rules_of(chain).count(), hook.chain_name()))
                .advise("who wiped it: journalctl -u firewalld -u nftables -u ufw; restart kube-proxy to have the jumps back at once"),
        );
    }
}

/// Canaries that are gone, but for tables that are known to be flushed.
fn canaries(
    cx: &CheckContext<'_>,
    backend: TableBackend,
    family: IpFamily,
    flushed: &[&str],
    found: &mut Vec<Finding>,
) {
    let table = |name: &str| cx.snapshot.table(backend, family.into(), name);
    let has = |name: &&str| table(name).is_some_and(|i| cx.snapshot.tables[i].table.chain(CANARY).is_some());
    // Files may hold one table alone.
    let there = ["mangle", "nat", "filter"].into_iter().filter(|name| table(name).is_some());
    let (is, gone): (Vec<&str>, Vec<&str>) = there.partition(has);
    let gone: Vec<&str> = gone.into_iter().filter(|name| !flushed.contains(name)).collect();
    // Without any it is a mode or version that has none.
    if !is.is_empty() && !gone.is_empty() {
        found.push(
            Finding::node("wiped", Severity::Warning, &format!("iptables {family}"), format!("the canary of kube-proxy is gone in {}: another program or a person wiped it", gone.join(" and ")))
                .proved_by(format!("{CANARY} is in {}, not in {}", is.join(" and "), gone.join(" and ")))
                .advise(match gone.contains(&"mangle") {
                    true => "kube-proxy sees that within its sync period and writes all rules again; if this stays, it does not run: look at its log",
                    false => "kube-proxy does not see that: restart it, and it writes all rules again",
                }),
        );
    }
}

/// True where a rule of such a base chain jumps to a chain.
fn leads_to(t: &Table, from: impl Fn(&BaseChain) -> bool, to: ChainId) -> bool {
    let mut bases = t.chains.iter().filter(|c| c.base.as_ref().is_some_and(&from));
    bases.any(|c| c.rules.clone().any(|r| t.jump_of(&t.rules[r as usize]) == Some(to)))
}

/// nftables mode: base chains that lead to `services` and `masquerading`.
fn nftables_mode(cx: &CheckContext<'_>, family: IpFamily, found: &mut Vec<Finding>) {
    let table = cx.snapshot.table(TableBackend::NfTables, family.into(), nftables::TABLE);
    let Some(i) = table else { return };
    let t = &cx.snapshot.tables[i].table;
    let Some(services) = t.chain("services").filter(|_| {
        cx.model.services.iter().any(|s| s.engine.mode() == Mode::Nftables && s.family == family)
    }) else {
        return;
    };
    // kube-proxy flushes and fills a chain in one transaction: one that is seen empty was emptied by another program.
    for (name, means) in [("services", "translated"), ("masquerading", "masqueraded")] {
        if t.chain(name).is_some_and(|c| t.chains[c.0 as usize].rules.is_empty()) {
            let title = format!("the chain `{name}` is empty: packets are not {means}");
            let mut f = Finding::node("wiped", Severity::Critical, &format!("{family} kube-proxy"), title);
            f.subject = Subject::Table(i);
            found.push(
                f.proved_by(format!("`{name}` has no rule, and the table is"))
                    .advise("restart kube-proxy: it writes the table again"),
            );
        }
    }
    for hook in [Hook::Prerouting, Hook::Output] {
        if !leads_to(t, |b| b.hook == hook && b.kind == ChainKind::Nat, services) {
            let mut f = Finding::node(
                "wiped",
                Severity::Critical,
                &format!("{family} kube-proxy"),
                format!("no jump to `services` at {hook:?}: new flows are not translated"),
            );
            f.subject = Subject::Table(i);
            found.push(
                f.proved_by("the table is, and no nat chain of this hook leads to `services`")
                    .advise("restart kube-proxy: it writes the table again"),
            );
        }
    }
}
