//! Tables that came, went or were rewritten; policies; rules of other programs; counters that began again.

use super::{About, Found, What, pairs};
use crate::format::{count, plural};
use crate::proxy::chain::has_services;
use crate::proxy::{Model, chain_owner};
use crate::rates::TableDelta;
use crate::ruleset::{ChainId, RuleId, set_flag};
use crate::snapshot::{Snapshot, TableState};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Rules of one table beyond which its changes are reported as numbers only: comparing their texts costs too much.
const MANY: usize = 20_000;

/// Rules of other programs of one table that are reported one by one.
const MOST_TOLD: usize = 20;

fn name(t: &TableState) -> String {
    format!("{} {} ({})", t.family, t.table.name, t.backend.name())
}

pub(super) fn compare(before: (&Snapshot, &Model), now: (&Snapshot, &Model), found: &mut Found) {
    fn by_name(s: &Snapshot) -> BTreeMap<String, &TableState> {
        s.tables.iter().map(|t| (name(t), t)).collect()
    }
    let (old, new) = (by_name(before.0), by_name(now.0));
    let rules = |t: &TableState| plural(t.table.rules.len() as u64, "rule");
    let about = |t: &TableState| About::Table(t.backend, t.family, t.table.name.clone());
    for (name, t) in &old {
        found.about = about(t);
        if !new.contains_key(name) {
            found.push(What::Rules, format!("table {name}"), Some(rules(t)), None);
        }
    }
    for (name, t) in &new {
        found.about = about(t);
        match old.get(name) {
            None => found.push(What::Rules, format!("table {name}"), None, Some(rules(t))),
            Some(was) if Arc::ptr_eq(&was.table, &t.table) => counters(name, was, t, found),
            Some(was) => rewritten(name, was, t, found),
        }
    }
    found.about = About::Node;
}

/// The same rules: do counters are below what they were?
fn counters(name: &str, before: &TableState, now: &TableState, found: &mut Found) {
    let reset = TableDelta::new(before, now).map_or(0, |d| d.resets());
    if reset > 0 {
        let was = format!("{} counted", plural(reset as u64, "rule"));
        found.push(What::Counters, format!("table {name}"), Some(was), Some("began again".into()));
    }
}

fn rewritten(name: &str, before: &TableState, now: &TableState, found: &mut Found) {
    let (b, n) = (&before.table, &now.table);
    pairs(&policies(before), &policies(now), |chain, was, is| {
        found.push(What::Rules, format!("{name} {chain}"), was.cloned(), is.cloned());
    });
    if b.name != crate::proxy::nftables::TABLE {
        pairs(&elements(before), &elements(now), |set, was, is| {
            found.push(What::Rules, format!("{name} set {set}"), was.cloned(), is.cloned());
        });
    }
    if b.rules.len().max(n.rules.len()) > MANY {
        let text = |t: &crate::ruleset::Table| {
            format!("{} rules in {} chains", count(t.rules.len() as u64), count(t.chains.len() as u64))
        };
        // As many as before: what changed in Services is reported there, and mere order is no change.
        found.push(What::Rules, format!("table {name}"), Some(text(b)), Some(text(n)));
        return;
    }
    // Rules of kube-proxy's chains are reported as Services; their number alone is reported here.
    let (mut own, mut others) = ((0i64, 0i64), (Vec::new(), Vec::new()));
    let (old, new) = (texts(before), texts(now));
    for (key, times) in &old {
        let left = *times - new.get(key).copied().unwrap_or(0);
        if left > 0 {
            match key.0 {
                true => own.1 += left,
                false => others.1.push(key),
            }
        }
    }
    for (key, times) in &new {
        let more = *times - old.get(key).copied().unwrap_or(0);
        if more > 0 {
            match key.0 {
                true => own.0 += more,
                false => others.0.push(key),
            }
        }
    }
    let (came, went) = others;
    for (_, chain, text) in came.iter().take(MOST_TOLD) {
        found.push(What::Rules, format!("{name} {chain}"), None, Some(text.clone()));
    }
    for (_, chain, text) in went.iter().take(MOST_TOLD) {
        found.push(What::Rules, format!("{name} {chain}"), Some(text.clone()), None);
    }
    let more = came.len().saturating_sub(MOST_TOLD) + went.len().saturating_sub(MOST_TOLD);
    if more > 0 {
        let text = format!("{more} more rules of other programs came or went");
        found.push(What::Rules, format!("table {name}"), Some(String::new()), Some(text));
    }
    let rules = |t: &TableState| plural(t.table.rules.len() as u64, "rule");
    let subject = format!("kube-proxy in {name}");
    match own {
        // The same in another order is no change: a full sync of iptables mode draws the order again.
        (0, 0) => {}
        (more, less) => {
            let text = format!("{} ({more} came, {less} went)", rules(now));
            found.push(What::Rules, subject, Some(rules(before)), Some(text));
        }
    }
}

fn policies(t: &TableState) -> BTreeMap<String, String> {
    let chains = t.table.chains.iter().enumerate();
    chains
        .filter_map(|(i, c)| {
            let base = c.base?;
            Some((
                t.table.chain_name(ChainId(i as u32)).to_string(),
                format!("policy {}", base.policy.name()),
            ))
        })
        .collect()
}

/// How many elements the named sets of a table have, where the kernel says it.
fn elements(t: &TableState) -> BTreeMap<String, String> {
    let named = t.table.sets.iter().filter(|s| s.flags & set_flag::ANONYMOUS == 0);
    named.filter_map(|s| Some((t.table.str(s.name).to_string(), plural(s.count?, "element")))).collect()
}

/// True for a chain of kube-proxy's whose rules come and go with Services.
fn is_services(chain: &str) -> bool {
    // nftables mode's (`pkg/proxy/nftables/proxier.go`).
    const PARTS: [&str; 5] = ["service-", "local-", "external-", "endpoint-", "firewall-"];
    // `firewall-check` is nobody's.
    chain != "firewall-check" && (has_services(chain) || PARTS.iter().any(|p| chain.starts_with(p)))
}

/// Rules by whose they are, chain and text, with how often they are there.
fn texts(t: &TableState) -> BTreeMap<(bool, String, String), i64> {
    let mut all = BTreeMap::new();
    for (i, chain) in t.table.chains.iter().enumerate() {
        let id = ChainId(i as u32);
        let name = t.table.chain_name(id);
        // Rules that Services are made of are reported as these; a jump from a base chain or a rule that all share is reported itself.
        let own_chain = chain_owner(&t.table, id) == Some("kube-proxy") && is_services(name);
        for r in chain.rules.clone() {
            let rule = &t.table.rules[RuleId(r).0 as usize];
            *all.entry((own_chain, name.to_string(), t.table.rule_text(rule).to_string())).or_insert(0) += 1;
        }
    }
    all
}
