//! Somebody wiped kube-proxy's rules, or the jumps to them (firewalld's reload, `nftables.service`, `iptables -F`): Services are
//! not reached although their rules may stand. kube-proxy keeps an empty chain `KUBE-PROXY-CANARY` in three tables to see that by
//! itself (`pkg/util/iptables/monitor`, since 1.18), and writes all anew within a sync period.

use super::super::Subject;
use super::{Case, Finding, Severity};
use crate::proxy::{Mode, State};
use crate::ruleset::{ChainKind, Family, Hook, IpFamily, TableBackend};

/// Table, base chain, hook, chain: jumps without which nothing works (`iptablesJumpChains`; 1.20 has these, too).
const JUMPS: [(&str, Hook, &str, &str); 4] = [
    ("nat", Hook::Prerouting, "KUBE-SERVICES", "packets from pods and outside are not translated"),
    ("nat", Hook::Output, "KUBE-SERVICES", "packets from the node itself are not translated"),
    ("nat", Hook::Postrouting, "KUBE-POSTROUTING", "nothing is masqueraded: answers go astray"),
    ("filter", Hook::Forward, "KUBE-FORWARD", "packets to backends are not accepted for forwarding"),
];

const CANARY: &str = "KUBE-PROXY-CANARY";

pub(super) fn find(case: &Case<'_>, found: &mut Vec<Finding>) -> Result<(), String> {
    case.need_rules()?;
    let before = case.facts.before;
    for family in [IpFamily::V4, IpFamily::V6] {
        for backend in [TableBackend::XTables, TableBackend::NfTables] {
            jumps(case, backend, family, found);
            canaries(case, backend, family, found);
        }
        nftables(case, family, found);
        // Gone altogether.
        let was = before.and_then(|b| {
            b.model.modes.iter().find(|m| m.family == family && m.state == State::Active && m.services > 0)
        });
        if let (Some(was), false) = (was, case.any_active(family)) {
            found.push(
                Finding::node("wiped", Severity::Critical, &format!("{} mode {family}", was.mode.name()), "kube-proxy's rules are gone: no Service is reached")
                    .proved_by(format!("{} Services in {} rules a moment ago, none now", was.services, was.rules))
                    .advise("who wiped them: journalctl -u firewalld -u nftables -u ufw; kube-proxy writes them again within its sync period (30 s), or restart it"),
            );
        }
    }
    Ok(())
}

fn jumps(case: &Case<'_>, backend: TableBackend, family: IpFamily, found: &mut Vec<Finding>) {
    let with_services = |mode| {
        case.at_work().any(|(_, s)| {
            s.mode == mode
                && s.family == family
                && s.variant.is_none_or(|v| {
                    (v == crate::proxy::Variant::Legacy) == (backend == TableBackend::XTables)
                })
        })
    };
    let (rules, ipvs) = (with_services(Mode::Iptables), with_services(Mode::Ipvs));
    for (table, hook, to, means) in JUMPS {
        let Some(i) = case.iptables(backend, family, table) else { continue };
        let t = &case.snapshot.tables[i].table;
        // Only where the chain that should be reached is there, and belongs to what is at work.
        let Some(chain) = t.chain(to) else { continue };
        if !(rules || ipvs) || t.rules_of(chain).count() == 0 {
            continue;
        }
        let reached = t
            .chains
            .iter()
            .filter(|c| c.base.is_some_and(|b| b.hook == hook))
            .any(|c| c.rules.clone().any(|r| t.jump_of(&t.rules[r as usize]) == Some(chain)));
        if reached {
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

fn canaries(case: &Case<'_>, backend: TableBackend, family: IpFamily, found: &mut Vec<Finding>) {
    let has = |table: &str| {
        let i = case.iptables(backend, family, table)?;
        Some((i, case.snapshot.tables[i].table.chain(CANARY).is_some()))
    };
    let all = ["mangle", "nat", "filter"].map(|t| (t, has(t)));
    if !all.iter().any(|(_, h)| h.is_some_and(|h| h.1)) {
        return; // a mode or version without them
    }
    let gone: Vec<&str> = all.iter().filter(|(_, h)| !h.is_some_and(|h| h.1)).map(|a| a.0).collect();
    if !gone.is_empty() {
        found.push(
            Finding::node("wiped", Severity::Warning, &format!("iptables {family}"), format!("the canary of kube-proxy is gone in {}: somebody wiped it", gone.join(" and ")))
                .proved_by(format!("{CANARY} stands in {}, not in {}", all.iter().filter(|(_, h)| h.is_some_and(|h| h.1)).map(|a| a.0).collect::<Vec<_>>().join(" and "), gone.join(" and ")))
                .advise("kube-proxy sees that within its sync period and writes all rules anew; if this stays, it does not run: look at its log"),
        );
    }
}

/// nftables mode: base chains that lead to `services` and `masquerading`.
fn nftables(case: &Case<'_>, family: IpFamily, found: &mut Vec<Finding>) {
    let table = case.snapshot.tables.iter().position(|t| {
        t.backend == TableBackend::NfTables && t.family.ip() == Some(family) && t.table.name == "kube-proxy"
    });
    let Some(i) = table else { return };
    let t = &case.snapshot.tables[i].table;
    let Some(services) = t
        .chain("services")
        .filter(|_| case.at_work().any(|(_, s)| s.mode == Mode::Nftables && s.family == family))
    else {
        return;
    };
    for hook in [Hook::Prerouting, Hook::Output] {
        let reached = t
            .chains
            .iter()
            .filter(|c| c.base.is_some_and(|b| b.hook == hook && b.kind == ChainKind::Nat))
            .any(|c| c.rules.clone().any(|r| t.jump_of(&t.rules[r as usize]) == Some(services)));
        if !reached {
            let mut f = Finding::node(
                "wiped",
                Severity::Critical,
                &format!("{family} kube-proxy"),
                format!("no jump to `services` at {hook:?}: new flows are not translated"),
            );
            f.subject = Subject::Table(i);
            found.push(
                f.proved_by("the table stands, and no nat chain of this hook leads to `services`")
                    .advise("restart kube-proxy: it writes the table anew"),
            );
        }
    }
}
