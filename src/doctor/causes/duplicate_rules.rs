//! The same jump twice in a base chain, or the same rule twice in `KUBE-SERVICES`: two kube-proxies, or a restore without flush.
//! Each packet pays for it twice.

use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::{Finding, Severity};
use crate::proxy::{RuleRef, chain as names};
use crate::ruleset::Match;
use crate::snapshot::SourceId;
use std::collections::HashMap;

pub(super) const CHECK: Check = Check {
    id: "duplicate_rules",
    about: "jumps or rules are there twice",
    needs: &[],
    looks_at: SourceId::RULES,
    readings: 1,
    run,
};

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    for (i, t) in cx.snapshot.tables.iter().enumerate() {
        for (c, chain) in t.table.chains.iter().enumerate() {
            let name = t.table.chain_name(crate::ruleset::ChainId(c as u32));
            let base = chain.base.is_some();
            if !base
                && ![names::SERVICES, names::NODEPORTS, names::POSTROUTING, names::FORWARD].contains(&name)
            {
                continue;
            }
            let mut seen: HashMap<_, Vec<u32>> = HashMap::new();
            let mut twice = Vec::new();
            for r in chain.rules.clone() {
                let rule = &t.table.rules[r as usize];
                let to = t.table.jump_of(rule).map(|c| t.table.chain_name(c));
                if base && !to.is_some_and(names::is_own) {
                    continue;
                }
                let matches = t.table.matches_of(rule);
                let addresses: Vec<_> =
                    matches.iter().filter_map(Match::address).map(|a| (a.net.addr, a.invert)).collect();
                let alike = seen.entry((t.table.jump_of(rule), addresses)).or_default();
                let same = |first: &&u32| {
                    let first = &t.table.rules[**first as usize];
                    first.target == rule.target && t.table.matches_of(first) == matches
                };
                if alike.iter().find(same).is_some() {
                    twice.push(r);
                } else {
                    alike.push(r);
                }
            }
            let Some(second) = twice.first().copied() else { continue };
            let rule = RuleRef { table: i, rule: crate::ruleset::RuleId(second) };
            let severity = Severity::Info;
            let title = format!(
                "{} in {name} {} there twice",
                if twice.len() == 1 { "a rule".into() } else { format!("{} rules", twice.len()) },
                if twice.len() == 1 { "is" } else { "are" }
            );
            let mut f = cx.rule("duplicate_rules", severity, rule, title);
            for r in twice.iter().take(4) {
                f = f.proved_by(cx.rule_text(RuleRef { table: i, rule: crate::ruleset::RuleId(*r) }));
            }
            found.push(f.advise("are there two kube-proxies, or does something restore rules without --noflush? iptables -D takes one of them away"));
        }
    }
    Ok(())
}
