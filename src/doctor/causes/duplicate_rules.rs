//! The same jump twice in a base chain, or the same rule twice in `KUBE-SERVICES`: two kube-proxies, or a restore without flush.
//! Each packet pays for it twice.

use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::{Finding, Severity};
use crate::proxy::{RuleRef, chain as names};
use crate::ruleset::Match;
use crate::snapshot::SourceId;
use foldhash::fast::FixedState;
use std::hash::{BuildHasher, Hash, Hasher};

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
            let jump = |r: &u32| t.table.jump_of(&t.table.rules[*r as usize]);
            let matches = |r: u32| t.table.matches_of(&t.table.rules[r as usize]);
            let own = |r: &u32| jump(r).is_some_and(|to| names::is_own(t.table.chain_name(to)));
            // What is the same of both is hashed: at each reading, of up to some 10,000 rules.
            let key = |r: u32| {
                let mut hasher = FixedState::default().build_hasher();
                jump(&r).hash(&mut hasher);
                let addresses = matches(r).iter().filter_map(Match::address);
                addresses.for_each(|a| (a.net.addr, a.invert).hash(&mut hasher));
                (hasher.finish(), r)
            };
            let mut keyed: Vec<(u64, u32)> =
                chain.rules.clone().filter(|r| !base || own(r)).map(key).collect();
            keyed.sort_unstable();
            let mut twice = Vec::new();
            for alike in keyed.chunk_by(|a, b| a.0 == b.0).filter(|alike| alike.len() > 1) {
                let same = |a: u32, b: u32| {
                    t.table.rules[a as usize].target == t.table.rules[b as usize].target
                        && matches(a) == matches(b)
                };
                let again = |i: &usize| alike[..*i].iter().any(|first| same(first.1, alike[*i].1));
                twice.extend((1..alike.len()).filter(again).map(|i| alike[i].1));
            }
            twice.sort_unstable();
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
