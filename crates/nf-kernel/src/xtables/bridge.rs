//! Tables of legacy ebtables (`linux/netfilter_bridge/ebtables.h`): counted, with what their rules took.
//!
//! No file lists them, and asking for one makes it. So only those are read whose functions hang on the bridge's
//! hooks.

use super::layout::{EXT_NAME, c_str, u32_at, u64_at};
use super::{Reading, TableCache, socket};
use crate::{Error, ErrorKind, Result, hooks};
use nf_ruleset::{
    BaseChain, ChainKind, Counter, Family, Hook, Match, Policy, RuleSpec, TableBackend, TableBuilder, Target,
    Unknown, Verdict,
};
use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

/// `NFPROTO_BRIDGE`, `NF_BR_NUMHOOKS`
const BRIDGE: u8 = 7;
const HOOKS: u32 = 6;
/// `sizeof(struct ebt_entries)`: the head of a chain, whose first word is 0.
const HEAD: usize = 48;
/// `sizeof(struct ebt_entry)`, and where its offsets to target and next entry are.
const ENTRY: usize = 112;
const TARGET_OFFSET: usize = 104;
const NEXT_OFFSET: usize = 108;
/// Data behind `struct ebt_entry_target`: name and revision, size.
const TARGET_DATA: usize = 40;
/// `EBT_ACCEPT` and so on.
const ACCEPT: i32 = -1;
const DROP: i32 = -2;
const CONTINUE: i32 = -3;
const RETURN: i32 = -4;

/// Reads the tables of legacy ebtables, and knows those of before.
#[derive(Debug, Default)]
pub struct BridgeReader {
    known: TableCache,
}

impl BridgeReader {
    /// All tables of the calling thread's namespace that are active.
    pub fn read(&mut self) -> Result<Vec<Reading>> {
        let functions = hooks::read(BRIDGE, HOOKS)?;
        let mut names: Vec<&str> = functions.iter().filter_map(table_of).collect();
        names.sort_unstable();
        names.dedup();
        names.into_iter().map(|n| self.table(n)).collect()
    }

    /// A table that is known to be there: asking for another one makes it.
    pub fn table(&mut self, name: &str) -> Result<Reading> {
        let what = || format!("reading the bridge table {name}");
        let socket = socket::BridgeSocket::open()?;
        for _ in 0..super::TRIES {
            let info = socket.info(name)?;
            let Some((entries, counters)) = socket.entries(name, info)? else { continue };
            let reading = decode(name, &entries, &counters).map_err(|why| Error::protocol(what(), why))?;
            let mut hasher = foldhash::fast::FixedState::default().build_hasher();
            hasher.write(&entries);
            let print = hasher.finish();
            return Ok(self.known.settle(name, print, reading));
        }
        Err(Error { what: what(), kind: ErrorKind::Interrupted { tries: super::TRIES } })
    }
}

/// The table that a function on a hook works for, by its priority (`enum nf_br_hook_priorities`,
/// `linux/netfilter_bridge.h`).
fn table_of(f: &hooks::Function) -> Option<&'static str> {
    if !f.name.starts_with("ebt_") && !f.module.starts_with("ebtable") {
        return None;
    }
    match f.priority {
        -200 | 200 => Some("filter"),
        -300 | 100 | 300 => Some("nat"),
        i32::MIN => Some("broute"),
        _ => None,
    }
}

fn base(name: &str, table: &str) -> Option<Hook> {
    match name {
        "BROUTING" if table == "broute" => Some(Hook::Prerouting),
        _ => Hook::from_chain_name(name),
    }
}

/// The length of what is at `at`: the head of a chain, or an entry.
fn length(bytes: &[u8], at: usize) -> std::result::Result<(usize, bool), String> {
    let broken = |why: &str| format!("entry at byte {at} of {}: {why}", bytes.len());
    if bytes.get(at..at + HEAD).is_none() {
        return Err(broken("cut off"));
    }
    if u32_at(bytes, at) == 0 {
        return Ok((HEAD, true));
    }
    let (target, next) =
        (u32_at(bytes, at + TARGET_OFFSET) as usize, u32_at(bytes, at + NEXT_OFFSET) as usize);
    if target < ENTRY || next < target + TARGET_DATA || bytes.len() - at < next {
        return Err(broken("offsets that cannot be"));
    }
    Ok((next, false))
}

/// Entries and their counters -> rules. What a rule compares is kept as bytes; what it does with a frame is
/// understood.
pub(super) fn decode(name: &str, bytes: &[u8], counters: &[u8]) -> std::result::Result<Reading, String> {
    let mut b = TableBuilder::new(Family::Bridge, TableBackend::XTables, name);
    // First the chains, as jumps may lead forward.
    let (mut at, mut chains) = (0, HashMap::new());
    while at < bytes.len() {
        let (len, is_head) = length(bytes, at)?;
        if is_head {
            let chain = c_str(&bytes[at + 4..at + 36]).unwrap_or("?");
            let id = b.chain(chain);
            if let Some(hook) = base(chain, name) {
                let policy =
                    if u32_at(bytes, at + 40) as i32 == DROP { Policy::Drop } else { Policy::Accept };
                let base = BaseChain { hook, kind: ChainKind::Filter, priority: 0, policy };
                b.base(id, base, Counter::default());
            }
            chains.insert(at, id);
        }
        at += len;
    }
    let (mut at, mut chain, mut n) = (0, None, 0);
    while at < bytes.len() {
        let (len, is_head) = length(bytes, at)?;
        if is_head {
            chain = chains.get(&at).copied();
            at += len;
            continue;
        }
        let entry = &bytes[at..at + len];
        let target = &entry[u32_at(entry, TARGET_OFFSET) as usize..];
        // struct ebt_counter: packets, bytes
        let counter = Counter { packets: u64_at(counters, 16 * n), bytes: u64_at(counters, 16 * n + 8) };
        n += 1;
        let mut matches = Vec::new();
        // EBT_NOPROTO alone: any frame. Else keep what it asks.
        if u32_at(entry, 0) != 3 || u32_at(entry, TARGET_OFFSET) as usize > ENTRY {
            let name = b.strings.intern("ebt");
            let asked = entry[..u32_at(entry, TARGET_OFFSET) as usize].into();
            matches.push(Match::Unknown(Box::new(Unknown { name, revision: 0, bytes: asked })));
        }
        let target_name = c_str(&target[..EXT_NAME]).unwrap_or("?");
        let verdict = u32_at(target, TARGET_DATA) as i32;
        let target = match (target_name, verdict) {
            ("standard", ACCEPT) => Target::Verdict(Verdict::Accept),
            ("standard", DROP) => Target::Verdict(Verdict::Drop),
            ("standard", CONTINUE) => Target::None,
            ("standard", RETURN) => Target::Verdict(Verdict::Return),
            ("standard", v) => match chains.get(&(v.max(0) as usize)) {
                Some(to) => Target::Verdict(Verdict::Jump(*to)),
                None => return Err(format!("a jump to byte {v}, where no chain begins")),
            },
            (other, _) => Target::Unknown(Box::new(Unknown {
                name: b.strings.intern(other),
                revision: target[31],
                bytes: target[TARGET_DATA..].into(),
            })),
        };
        let Some(id) = chain else { return Err(format!("a rule at byte {at}, before the first chain")) };
        b.push(id, RuleSpec { matches, target, counter });
        at += len;
    }
    let (table, mut counters) = b.finish();
    // Policies of ebtables count nothing.
    counters.policies.clear();
    Ok(Reading { table: Arc::new(table), counters: Arc::new(counters), bytes: bytes.len() as u64 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(name: &str, policy: i32) -> Vec<u8> {
        let mut h = vec![0u8; HEAD];
        h[4..4 + name.len()].copy_from_slice(name.as_bytes());
        h[40..44].copy_from_slice(&policy.to_ne_bytes());
        h
    }

    fn entry(verdict: i32) -> Vec<u8> {
        let mut e = vec![0u8; ENTRY + TARGET_DATA + 8];
        e[0] = 3;
        e[TARGET_OFFSET..TARGET_OFFSET + 4].copy_from_slice(&(ENTRY as u32).to_ne_bytes());
        let next = e.len() as u32;
        e[NEXT_OFFSET..NEXT_OFFSET + 4].copy_from_slice(&next.to_ne_bytes());
        e[ENTRY..ENTRY + 8].copy_from_slice(b"standard");
        e[ENTRY + TARGET_DATA..ENTRY + TARGET_DATA + 4].copy_from_slice(&verdict.to_ne_bytes());
        e
    }

    #[test]
    fn fuzz_bridge() {
        let first = [head("INPUT", ACCEPT), entry(DROP), head("FORWARD", DROP)].concat();
        let mine = first.len() as i32 + entry(0).len() as i32;
        let blob = [first, entry(mine), head("mine", ACCEPT), entry(CONTINUE)].concat();
        let counters: Vec<u8> = (1..=6u64).flat_map(u64::to_ne_bytes).collect();
        let reading = decode("filter", &blob, &counters).unwrap();
        let chains: Vec<(&str, usize, bool)> = reading
            .table
            .chains
            .iter()
            .map(|c| (reading.table.str(c.name), c.rules.len(), c.base.is_some()))
            .collect();
        assert_eq!(chains, [("INPUT", 1, true), ("FORWARD", 1, true), ("mine", 1, false)]);
        assert_eq!(reading.counters.rules[2], Counter { packets: 5, bytes: 6 });
        crate::fuzz::run("bridge", &[blob], |bytes| {
            if let Ok(reading) = decode("filter", bytes, &counters) {
                for rule in &reading.table.rules {
                    let _ = reading.table.rule_text(rule).to_string();
                }
            }
        });
    }
}
