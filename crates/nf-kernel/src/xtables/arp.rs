//! Tables of legacy arptables (`linux/netfilter_arp/arp_tables.h`): counted, with what their rules took. Few nodes
//! have any, and none of Kubernetes' own rules are there.

use super::layout::{
    ArpInfo, ERROR_TARGET, EXT_HEADER, EXT_NAME, VERDICT_ACCEPT, VERDICT_DROP, VERDICT_QUEUE, VERDICT_RETURN,
    align, c_str, u16_at, u32_at, u64_at,
};
use super::{Reading, TableCache, socket};
use crate::{Error, ErrorKind, Result};
use nf_ruleset::{
    BaseChain, ChainKind, Counter, Dialect, Family, Hook, Match, Policy, RuleSpec, TableBackend,
    TableBuilder, Target, Unknown, Verdict,
};
use std::collections::HashMap;
use std::fs;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

/// `struct arpt_entry`: its size, and where `target_offset`, `next_offset` and the counters are.
const ENTRY: usize = 192;
const TARGET_OFFSET: usize = 164;
const COUNTERS: usize = 176;
/// Bytes of `struct arpt_arp`: what a packet is compared with.
const ARP: usize = 162;
/// `NF_ARP_IN`, `NF_ARP_OUT`, `NF_ARP_FORWARD`
const HOOKS: [Hook; 3] = [Hook::Input, Hook::Output, Hook::Forward];

/// Reads the tables of legacy arptables, and knows those of before.
#[derive(Debug, Default)]
pub struct ArpReader {
    known: TableCache,
}

impl ArpReader {
    /// All tables of the calling thread's namespace. As in [`super::table_names`], none is made.
    pub fn read(&mut self) -> Result<Vec<Reading>> {
        const FILE: &str = "/proc/thread-self/net/arp_tables_names";
        const WHAT: &str = "reading the list of arp tables";
        let names = match fs::read_to_string(FILE) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                let known = crate::procfs_is_there();
                return if known { Ok(Vec::new()) } else { Err(Error::hidden(WHAT, FILE)) };
            }
            Err(e) => return Err(Error::io(WHAT, e).needs(super::LISTS)),
        };
        let mut names: Vec<&str> = names.lines().collect();
        names.sort_unstable();
        names.dedup();
        names.into_iter().map(|n| self.table(n)).collect()
    }

    fn table(&mut self, name: &str) -> Result<Reading> {
        let what = || format!("reading the arp table {name}");
        let socket = socket::ArpSocket::open()?;
        for _ in 0..super::TRIES {
            let info = socket.info(name)?;
            let Some(blob) = socket.entries(name, &info)? else { continue };
            if socket.info(name)? != info {
                continue;
            }
            let reading = decode(name, &info, &blob).map_err(|why| Error::protocol(what(), why))?;
            let print = fingerprint(&info, &blob);
            return Ok(self.known.settle(name, print, reading));
        }
        Err(Error { what: what(), kind: ErrorKind::Interrupted { tries: super::TRIES } })
    }
}

fn fingerprint(info: &ArpInfo, blob: &[u8]) -> u64 {
    let mut hasher = foldhash::fast::FixedState::default().build_hasher();
    for n in info.hook_entry.iter().chain(&info.underflow) {
        hasher.write_u32(*n);
    }
    let mut at = 0;
    while let Some(next) = next_offset(blob, at) {
        hasher.write(&blob[at..at + COUNTERS]);
        hasher.write(&blob[at + COUNTERS + 16..at + next]);
        at += next;
    }
    hasher.finish()
}

/// Length of the entry at `at`, where it holds together.
fn next_offset(blob: &[u8], at: usize) -> Option<usize> {
    let head = blob.get(at..at + ENTRY)?;
    let target = usize::from(u16_at(head, TARGET_OFFSET));
    let next = usize::from(u16_at(head, TARGET_OFFSET + 2));
    (target >= ENTRY && next >= target + EXT_HEADER && next % 8 == 0 && at + next <= blob.len())
        .then_some(next)
}

/// Blob -> rules. What a rule compares is kept as bytes; what it does with a packet is understood.
pub(super) fn decode(name: &str, info: &ArpInfo, blob: &[u8]) -> std::result::Result<Reading, String> {
    let mut b = TableBuilder::new(Family::Arp, TableBackend::XTables, name);
    b.dialect = Dialect::Iptables;
    // First the chains, as jumps may lead forward.
    let mut starts = HashMap::new();
    let mut at = 0;
    while at < blob.len() {
        let next = next_offset(blob, at)
            .ok_or_else(|| format!("entry at byte {at} of {}: offsets that cannot be", blob.len()))?;
        for (i, hook) in HOOKS.iter().enumerate() {
            if info.valid_hooks & (1 << i) != 0 && info.hook_entry[i] as usize == at {
                let id = b.chain(hook.chain_name());
                starts.insert(at, id);
            }
        }
        let target = &blob[at + usize::from(u16_at(&blob[at..], TARGET_OFFSET))..at + next];
        if c_str(&target[2..2 + EXT_NAME]) == Some(ERROR_TARGET) && at + next < blob.len() {
            let text = c_str(target.get(EXT_HEADER..).unwrap_or(&[])).unwrap_or("?");
            starts.insert(at + next, b.chain(text));
        }
        at += next;
    }
    let mut chain = None;
    at = 0;
    while let Some(next) = next_offset(blob, at).filter(|_| at < blob.len()) {
        if let Some(id) = starts.get(&at) {
            chain = Some(*id);
        }
        let entry = &blob[at..at + next];
        let target = &entry[usize::from(u16_at(entry, TARGET_OFFSET))..];
        let target_name = c_str(&target[2..2 + EXT_NAME]).unwrap_or("?");
        let counter = Counter { packets: u64_at(entry, COUNTERS), bytes: u64_at(entry, COUNTERS + 8) };
        let verdict = u32_at(target, EXT_HEADER) as i32;
        let policy = HOOKS
            .iter()
            .enumerate()
            .find(|(i, _)| info.valid_hooks & (1 << i) != 0 && info.underflow[*i] as usize == at);
        match (chain, policy) {
            _ if target_name == ERROR_TARGET => {}
            (Some(id), Some((_, hook))) => {
                let policy = if verdict == VERDICT_DROP { Policy::Drop } else { Policy::Accept };
                b.base(id, BaseChain { hook: *hook, kind: ChainKind::Filter, priority: 0, policy }, counter);
            }
            (Some(id), None) => {
                let bytes = &entry[..ARP];
                let mut matches = Vec::new();
                if bytes.iter().any(|x| *x != 0) {
                    let name = b.strings.intern("arp");
                    matches.push(Match::Unknown(Box::new(Unknown {
                        name,
                        revision: 0,
                        bytes: bytes.into(),
                    })));
                }
                // The RETURN at the end of a chain is the kernel's, not the user's.
                let last = starts.contains_key(&(at + next)) || is_head(blob, at + next);
                if !(matches.is_empty() && last && target_name.is_empty() && verdict == VERDICT_RETURN) {
                    let target = match (target_name, verdict) {
                        ("", VERDICT_ACCEPT) => Target::Verdict(Verdict::Accept),
                        ("", VERDICT_DROP) => Target::Verdict(Verdict::Drop),
                        ("", VERDICT_QUEUE) => Target::Verdict(Verdict::Queue),
                        ("", VERDICT_RETURN) => Target::Verdict(Verdict::Return),
                        ("", v) if v as usize == at + next => Target::None,
                        ("", v) => match starts.get(&(v.max(0) as usize)) {
                            Some(to) => Target::Verdict(Verdict::Jump(*to)),
                            None => return Err(format!("a jump to byte {v}, where no chain begins")),
                        },
                        (name, _) => Target::Unknown(Box::new(Unknown {
                            name: b.strings.intern(name),
                            revision: target[EXT_HEADER - 1],
                            bytes: target[EXT_HEADER..].into(),
                        })),
                    };
                    b.push(id, RuleSpec { matches, target, counter });
                }
            }
            (None, _) => return Err(format!("a rule at byte {at}, before the first chain")),
        }
        at += next;
    }
    let (table, counters) = b.finish();
    Ok(Reading { table: Arc::new(table), counters: Arc::new(counters), bytes: align(blob.len()) as u64 })
}

fn is_head(blob: &[u8], at: usize) -> bool {
    next_offset(blob, at).is_some_and(|next| {
        let target = &blob[at + usize::from(u16_at(&blob[at..], TARGET_OFFSET))..at + next];
        c_str(&target[2..2 + EXT_NAME]) == Some(ERROR_TARGET)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A blob as arptables 0.0.5 leaves it: three base chains with a rule and a policy each, a chain of its
    /// own, and the end of the table.
    fn seed() -> (ArpInfo, Vec<u8>) {
        let entry = |name: &str, data: &[u8], source: u8| {
            let mut e = vec![0u8; ENTRY + EXT_HEADER + data.len()];
            e[0] = source;
            e[TARGET_OFFSET..TARGET_OFFSET + 2].copy_from_slice(&(ENTRY as u16).to_ne_bytes());
            let next = e.len() as u16;
            e[TARGET_OFFSET + 2..TARGET_OFFSET + 4].copy_from_slice(&next.to_ne_bytes());
            e[ENTRY + 2..ENTRY + 2 + name.len()].copy_from_slice(name.as_bytes());
            e[ENTRY + EXT_HEADER..].copy_from_slice(data);
            e
        };
        let verdict = |v: i32| [v.to_ne_bytes(), [0; 4]].concat();
        let mut blob = Vec::new();
        let mut info = ArpInfo { valid_hooks: 7, ..ArpInfo::default() };
        for i in 0..3 {
            info.hook_entry[i] = blob.len() as u32;
            blob.extend(entry("", &verdict(VERDICT_DROP), 10));
            info.underflow[i] = blob.len() as u32;
            blob.extend(entry("", &verdict(VERDICT_ACCEPT), 0));
        }
        let mut name = [0u8; 32];
        name[..4].copy_from_slice(b"mine");
        blob.extend(entry(ERROR_TARGET, &name, 0));
        blob.extend(entry("mangle", &[7; 24], 9));
        blob.extend(entry("", &verdict(VERDICT_RETURN), 0));
        name[..6].copy_from_slice(b"ERROR\0");
        blob.extend(entry(ERROR_TARGET, &name, 0));
        (info, blob)
    }

    #[test]
    fn fuzz_arp() {
        let (info, blob) = seed();
        let table = decode("filter", &info, &blob).unwrap().table;
        let chains: Vec<(&str, usize)> =
            table.chains.iter().map(|c| (table.str(c.name), c.rules.len())).collect();
        assert_eq!(chains, [("INPUT", 1), ("OUTPUT", 1), ("FORWARD", 1), ("mine", 1)]);
        crate::fuzz::run("arp", &[blob], |bytes| {
            if let Ok(reading) = decode("filter", &info, bytes) {
                for rule in &reading.table.rules {
                    let _ = reading.table.rule_text(rule).to_string();
                }
            }
            let _ = fingerprint(&info, bytes);
        });
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(
            mut blob in proptest::collection::vec(any::<u8>(), 0..900),
            offsets: bool,
            hooks: [u32; 3],
        ) {
            if offsets {
                // Entries that hold together, with anything inside.
                for at in (0..blob.len()).step_by(ENTRY + 40) {
                    if let Some(head) = blob.get_mut(at + TARGET_OFFSET..at + TARGET_OFFSET + 4) {
                        head.copy_from_slice(&[192, 0, 232, 0]);
                    }
                }
            }
            let info = ArpInfo { valid_hooks: 7, hook_entry: hooks.map(|h| h % 3 * 232), underflow: hooks, ..ArpInfo::default() };
            let _ = decode("filter", &info, &blob);
            let _ = fingerprint(&info, &blob);
        }
    }
}
