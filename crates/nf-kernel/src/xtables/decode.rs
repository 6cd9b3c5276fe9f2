//! Blob -> rules.

use super::extensions;
use super::layout::{
    ERROR_TARGET, EXT_HEADER, EXT_NAME, FLAG_FRAGMENT, FLAG_PROTO_V6, INV_DSTIP, INV_FRAG, INV_PROTO,
    INV_SRCIP, INV_VIA_IN, INV_VIA_OUT, Layout, TableInfo, VERDICT_ACCEPT, VERDICT_DROP, VERDICT_QUEUE,
    VERDICT_RETURN, c_str, ip, u16_at, u32_at, u64_at,
};
use super::socket::give_back;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use nf_ruleset::{
    AddressMatch, BaseChain, Chain, ChainId, ChainKind, Counter, Hook, IpFamily, IpNet, MaskedAddress, Match,
    Policy, Rule, StrId, Strings, Table, TableBackend, TableCounters, Target, Unknown, Verdict,
    iptables_priority, mask_prefix,
};
use std::hash::{BuildHasher, Hasher};

/// What an entry of the blob is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryRole {
    /// The head of a chain, or the end of the table.
    Head,
    /// A rule.
    Rule,
    /// The policy of a base chain.
    Policy,
    /// The `RETURN` at the end of a chain.
    Tail,
}

/// A table out of a blob.
#[derive(Debug)]
pub struct Decoded {
    /// Structure.
    pub table: Table,
    /// Counters.
    pub counters: TableCounters,
    /// What each entry of the blob is, in order.
    pub roles: Vec<EntryRole>,
    /// Hash of everything but counters.
    pub fingerprint: u64,
}

/// Decodes a blob. `set_name` finds the name of an ipset by its index.
///
/// What cannot be understood of an extension is kept as [`Unknown`]; a blob that does not hold together is an
/// error that says where.
pub fn decode(
    family: IpFamily,
    info: &TableInfo,
    blob: &[u8],
    set_name: &mut dyn FnMut(u16) -> Option<String>,
) -> Result<Decoded, String> {
    let mut d = Decoder::new(Layout::of(family), info, set_name);
    let mut at = 0;
    while at < blob.len() {
        at += d.entry(blob, at)?;
    }
    d.finish()
}

/// The same for a blob that nobody needs any more: the memory of what was decoded is given back on the way, as a large table is
/// then never there twice. What is left in it is of no use.
pub(super) fn decode_last(
    family: IpFamily,
    info: &TableInfo,
    blob: &mut [u8],
    set_name: &mut dyn FnMut(u16) -> Option<String>,
) -> Result<Decoded, String> {
    const STEP: usize = 4 << 20;
    let mut d = Decoder::new(Layout::of(family), info, set_name);
    let (mut at, mut given_back) = (0, 0);
    while at < blob.len() {
        at += d.entry(blob, at)?;
        if at - given_back >= STEP {
            give_back(&mut blob[..at]);
            given_back = at;
        }
    }
    d.finish()
}

/// Reads counters and the fingerprint of the rest in one walk; `None` where the entries are not those that
/// `roles` was made from.
pub(super) fn scan(
    layout: &Layout,
    blob: &[u8],
    roles: &[EntryRole],
    rules: usize,
) -> Option<(u64, TableCounters)> {
    let mut hasher = FixedState::default().build_hasher();
    let mut counters = TableCounters { rules: Vec::with_capacity(rules), policies: Vec::new() };
    let mut at = 0;
    for role in roles {
        let head = blob.get(at..at + layout.entry)?;
        let next = usize::from(u16_at(head, layout.target_offset + 2));
        let entry = blob.get(at..at + next.max(layout.entry))?;
        let counter = mark(layout, entry, &mut hasher);
        match role {
            EntryRole::Rule => counters.rules.push(counter),
            EntryRole::Policy => counters.policies.push((ChainId(0), counter)),
            EntryRole::Head | EntryRole::Tail => {}
        }
        at += next.max(layout.entry);
    }
    (at == blob.len()).then(|| (hasher.finish(), counters))
}

/// Takes everything of an entry but its counter into a fingerprint; gives the counter.
fn mark(layout: &Layout, entry: &[u8], fingerprint: &mut impl Hasher) -> Counter {
    fingerprint.write(&entry[..layout.counters]);
    fingerprint.write(&entry[layout.counters + 16..]);
    Counter { packets: u64_at(entry, layout.counters), bytes: u64_at(entry, layout.counters + 8) }
}

/// Puts the chains to the policies, which are in the order of the base chains.
pub(super) fn name_policies(counters: &mut TableCounters, table: &Table) {
    let base = table.chains.iter().enumerate().filter(|(_, c)| c.base.is_some());
    for (policy, (i, _)) in counters.policies.iter_mut().zip(base) {
        policy.0 = ChainId(i as u32);
    }
}

struct Decoder<'a> {
    layout: &'static Layout,
    info: &'a TableInfo,
    table: Table,
    counters: TableCounters,
    roles: Vec<EntryRole>,
    /// Of everything but counters, as [`scan`] makes it.
    fingerprint: <FixedState as BuildHasher>::Hasher,
    /// First entry of each chain by its offset.
    starts: HashMap<u32, ChainId, FixedState>,
    /// The last RETURN or policy may be the chain's end: known when the next chain begins.
    pending_tail: bool,
    set_name: &'a mut dyn FnMut(u16) -> Option<String>,
    /// Offset and first rule of the chain that is read.
    open: Option<(Hook, u32)>,
}

impl<'a> Decoder<'a> {
    fn new(
        layout: &'static Layout,
        info: &'a TableInfo,
        set_name: &'a mut dyn FnMut(u16) -> Option<String>,
    ) -> Self {
        let entries = (info.num_entries as usize).min(info.size as usize / layout.entry);
        // kube-proxy's tables hold a chain for every five entries, and as many comments.
        let mut strings = Strings::default();
        strings.reserve(entries * 2 / 5);
        let table = Table {
            chains: Vec::with_capacity(entries / 4),
            rules: Vec::with_capacity(entries * 3 / 5),
            matches: Vec::with_capacity(entries * 7 / 5),
            strings,
            ..Table::new(layout.family.into(), TableBackend::XTables, &info.name)
        };
        Decoder {
            layout,
            info,
            table,
            counters: TableCounters { rules: Vec::with_capacity(entries * 3 / 5), policies: Vec::new() },
            roles: Vec::with_capacity(entries),
            fingerprint: FixedState::default().build_hasher(),
            starts: HashMap::default(),
            pending_tail: false,
            set_name,
            open: None,
        }
    }

    fn entry(&mut self, blob: &[u8], at: usize) -> Result<usize, String> {
        let l = self.layout;
        let broken = |why: &str| format!("entry at byte {at} of {}: {why}", blob.len());
        let head = blob.get(at..at + l.entry).ok_or_else(|| broken("cut off"))?;
        let target_at = usize::from(u16_at(head, l.target_offset));
        let next = usize::from(u16_at(head, l.target_offset + 2));
        if target_at < l.entry || next < target_at + EXT_HEADER || next % 8 != 0 {
            return Err(broken("offsets that cannot be"));
        }
        let entry = blob.get(at..at + next).ok_or_else(|| broken("cut off"))?;
        let counter = mark(self.layout, entry, &mut self.fingerprint);
        let target = &entry[target_at..];
        let target_name = c_str(&target[2..2 + EXT_NAME]).unwrap_or("");

        // Base chains begin where the hooks say.
        for hook in self.info.hooks() {
            if self.info.hook_entry[hook as usize] as usize == at {
                self.open_chain(at as u32, hook.chain_name(), Some(hook));
            }
        }
        if target_name == ERROR_TARGET && target_at == l.entry {
            let name = c_str(target.get(EXT_HEADER..).unwrap_or(&[])).unwrap_or("");
            self.close_chain();
            if at + next < blob.len() {
                let name = name.to_string();
                self.open_chain((at + next) as u32, &name, None);
            }
            self.roles.push(EntryRole::Head);
            return Ok(next);
        }
        if self.table.chains.is_empty() {
            return Err(broken("a rule before the first chain"));
        }
        if let Some((hook, _)) = self.open
            && self.info.underflow[hook as usize] as usize == at
        {
            let policy =
                if u32_at(target, EXT_HEADER) as i32 == VERDICT_DROP { Policy::Drop } else { Policy::Accept };
            if let Some(base) = self.table.chains.last_mut().and_then(|c| c.base.as_mut()) {
                base.policy = policy;
            }
            self.roles.push(EntryRole::Policy);
            self.counters.policies.push((ChainId(0), counter));
            return Ok(next);
        }
        self.rule(entry, target_at, target_name, at, next);
        self.counters.rules.push(counter);
        Ok(next)
    }

    fn open_chain(&mut self, start: u32, name: &str, hook: Option<Hook>) {
        self.close_chain();
        let id = ChainId(self.table.chains.len() as u32);
        let first = self.table.rules.len() as u32;
        let base = hook.map(|hook| BaseChain {
            hook,
            kind: ChainKind::of_iptables(&self.info.name, hook),
            priority: iptables_priority(&self.info.name, hook),
            policy: Policy::Accept,
        });
        let name = self.table.strings.intern(name);
        self.table.chains.push(Chain { name, base, rules: first..first });
        self.starts.insert(start, id);
        self.open = hook.map(|h| (h, first));
    }

    /// Ends the chain that is read: its last rule, an unconditional RETURN, is the kernel's, not the user's.
    fn close_chain(&mut self) {
        let Some(chain) = self.table.chains.last_mut() else { return };
        if self.pending_tail && chain.base.is_none() {
            self.table.rules.pop();
            self.counters.rules.pop();
            if let Some(role) = self.roles.last_mut() {
                *role = EntryRole::Tail;
            }
        }
        chain.rules.end = chain.rules.end.max(self.table.rules.len() as u32);
        self.pending_tail = false;
    }

    fn rule(&mut self, entry: &[u8], target_at: usize, target_name: &str, at: usize, next: usize) {
        let l = self.layout;
        let first_match = self.table.matches.len() as u32;
        self.header(entry);
        let mut m = l.entry;
        while m + EXT_HEADER <= target_at {
            let size = usize::from(u16_at(entry, m));
            if size < EXT_HEADER || m + size > target_at {
                break;
            }
            let ext = &entry[m..m + size];
            let name = c_str(&ext[2..2 + EXT_NAME]).unwrap_or("?");
            let found = extensions::decode_match(
                &mut self.table.strings,
                l.family,
                name,
                ext[EXT_HEADER - 1],
                &ext[EXT_HEADER..],
                self.set_name,
            );
            self.table.matches.push(found);
            m += size;
        }
        let target = &entry[target_at..];
        let data = &target[EXT_HEADER..];
        let goto = entry[l.flags] & l.goto != 0;
        let no_match = self.table.matches.len() as u32 == first_match;
        let target = if target_name.is_empty() {
            standard(u32_at(data, 0) as i32, at + next, goto)
        } else {
            extensions::decode_target(
                &mut self.table.strings,
                l.family,
                target_name,
                target[EXT_HEADER - 1],
                data,
            )
        };
        self.pending_tail = no_match && target == Target::Verdict(Verdict::Return);
        self.table.rules.push(Rule {
            first_match,
            match_count: (self.table.matches.len() as u32 - first_match).min(u32::from(u16::MAX)) as u16,
            counted: true,
            target,
        });
        self.roles.push(EntryRole::Rule);
    }

    /// What is in the entry itself.
    fn header(&mut self, entry: &[u8]) {
        let l = self.layout;
        let (flags, invert) = (entry[l.flags], entry[l.invert]);
        let n = l.address;
        for (destination, addr_at, bit) in [(false, 0, INV_SRCIP), (true, n, INV_DSTIP)] {
            let (addr, mask) = (&entry[addr_at..addr_at + n], &entry[addr_at + 2 * n..addr_at + 3 * n]);
            let invert = invert & bit != 0;
            if mask.iter().all(|b| *b == 0) && !invert {
                continue;
            }
            let (addr, mask) = (ip(addr), ip(mask));
            self.table.matches.push(match mask_prefix(mask) {
                Some(prefix) => {
                    let net = IpNet { addr, prefix };
                    AddressMatch { net, destination, invert }.into()
                }
                None => Match::MaskedAddress(Box::new(MaskedAddress { destination, addr, mask, invert })),
            });
        }
        for (i, bit) in [(0, INV_VIA_IN), (1, INV_VIA_OUT)] {
            let name_at = l.interfaces + 16 * i;
            let mask_at = l.interfaces + 32 + 16 * i;
            if let Some(name) = interface(&entry[name_at..name_at + 16], &entry[mask_at..mask_at + 16]) {
                let name = self.table.strings.intern(&name);
                let invert = invert & bit != 0;
                self.table.matches.push(if i == 0 {
                    Match::InInterface { name, invert }
                } else {
                    Match::OutInterface { name, invert }
                });
            }
        }
        let protocol = u16_at(entry, l.protocol);
        if protocol != 0 {
            self.table.matches.push(Match::Protocol { number: protocol, invert: invert & INV_PROTO != 0 });
        }
        let known_flags = l.goto
            | match l.family {
                IpFamily::V4 => FLAG_FRAGMENT,
                IpFamily::V6 => FLAG_PROTO_V6,
            };
        if l.family == IpFamily::V4 && flags & FLAG_FRAGMENT != 0 {
            self.table.matches.push(Match::Fragment { invert: invert & INV_FRAG != 0 });
        }
        if flags & !known_flags != 0 {
            // The traffic class of IPv6, or something newer than this program.
            let name: StrId = self.table.strings.intern("header");
            self.table.matches.push(Match::Unknown(Box::new(Unknown {
                name,
                revision: 0,
                bytes: entry[l.protocol..l.invert + 1].into(),
            })));
        }
    }

    fn finish(mut self) -> Result<Decoded, String> {
        // Until now jumps hold offsets into the blob.
        for rule in &mut self.table.rules {
            if let Target::Verdict(Verdict::Jump(to) | Verdict::Goto(to)) = &mut rule.target {
                *to = *self
                    .starts
                    .get(&to.0)
                    .ok_or_else(|| format!("a jump to byte {}, where no chain begins", to.0))?;
            }
        }
        self.table.rules.shrink_to_fit();
        self.table.matches.shrink_to_fit();
        self.table.strings.shrink_to_fit();
        self.counters.rules.shrink_to_fit();
        name_policies(&mut self.counters, &self.table);
        Ok(Decoded {
            table: self.table,
            counters: self.counters,
            roles: self.roles,
            fingerprint: self.fingerprint.finish(),
        })
    }
}

fn standard(verdict: i32, next: usize, goto: bool) -> Target {
    match verdict {
        VERDICT_ACCEPT => Target::Verdict(Verdict::Accept),
        VERDICT_DROP => Target::Verdict(Verdict::Drop),
        VERDICT_QUEUE => Target::Verdict(Verdict::Queue),
        VERDICT_RETURN => Target::Verdict(Verdict::Return),
        v if v >= 0 && v as usize == next => Target::None,
        v if goto => Target::Verdict(Verdict::Goto(ChainId(v.max(0) as u32))),
        v => Target::Verdict(Verdict::Jump(ChainId(v.max(0) as u32))),
    }
}

/// The name of an interface as iptables writes it, with `+` where its mask leaves the end open.
fn interface(name: &[u8], mask: &[u8]) -> Option<String> {
    let masked = mask.iter().take_while(|b| **b == 0xff).count();
    if masked == 0 && name[0] == 0 {
        return None;
    }
    let text = c_str(name).unwrap_or("?").to_string();
    if masked > text.len() || text.ends_with('+') { Some(text) } else { Some(format!("{text}+")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn info(size: usize, hooks: [u32; 5]) -> TableInfo {
        TableInfo {
            name: "nat".into(),
            valid_hooks: 0x1b,
            hook_entry: hooks,
            underflow: hooks,
            num_entries: 9,
            size: size as u32,
        }
    }

    proptest! {
        #[test]
        fn any_blob_is_survived(bytes in proptest::collection::vec(any::<u8>(), 0..600), v6: bool) {
            let family = if v6 { IpFamily::V6 } else { IpFamily::V4 };
            let _ = decode(family, &info(bytes.len(), [0; 5]), &bytes, &mut |_| None);
        }

        /// Entries whose offsets hold, with anything inside.
        #[test]
        fn any_entries_are_survived(
            entries in proptest::collection::vec(
                (proptest::collection::vec(any::<u8>(), 112..113), proptest::collection::vec(any::<u8>(), 40..120)), 1..4),
            hooks: [u8; 5],
        ) {
            let mut blob = Vec::new();
            for (head, tail) in &entries {
                let tail = &tail[..tail.len() / 8 * 8];
                let mut head = head.clone();
                head[88..90].copy_from_slice(&((112 + tail.len() - 40) as u16 / 8 * 8).to_ne_bytes());
                head[90..92].copy_from_slice(&((112 + tail.len()) as u16).to_ne_bytes());
                blob.extend_from_slice(&head);
                blob.extend_from_slice(tail);
            }
            let hooks = hooks.map(|h| u32::from(h) / 128 * 112);
            let _ = decode(IpFamily::V4, &info(blob.len(), hooks), &blob, &mut |_| None);
        }
    }

    #[test]
    fn a_large_blob_is_given_back_on_the_way() {
        let l = Layout::of(IpFamily::V4);
        let (target, next) = (l.entry, l.entry + 40);
        let mut blob = Vec::new();
        for packets in 0..(40u64 << 20) / next as u64 {
            let mut entry = vec![0; next];
            entry[l.target_offset..][..2].copy_from_slice(&(target as u16).to_ne_bytes());
            entry[l.target_offset + 2..][..2].copy_from_slice(&(next as u16).to_ne_bytes());
            entry[l.counters..][..8].copy_from_slice(&packets.to_ne_bytes());
            entry[target..][..2].copy_from_slice(&40u16.to_ne_bytes());
            entry[target + EXT_HEADER..][..4].copy_from_slice(&VERDICT_ACCEPT.to_ne_bytes());
            blob.extend(entry);
        }
        let hooks = [0, u32::MAX, u32::MAX, u32::MAX, u32::MAX];
        let info = TableInfo { valid_hooks: 1, num_entries: 300_000, ..info(blob.len(), hooks) };
        let info = TableInfo { underflow: [u32::MAX; 5], ..info };
        let kept = decode(IpFamily::V4, &info, &blob, &mut |_| None).unwrap();
        let scanned = scan(l, &blob, &kept.roles, kept.table.rules.len()).unwrap();
        assert_eq!((kept.fingerprint, &kept.counters), (scanned.0, &scanned.1));
        assert!(kept.counters.rules.len() > 200_000 && kept.counters.rules[777].packets == 777);
        let last = decode_last(IpFamily::V4, &info, &mut blob, &mut |_| None).unwrap();
        assert_eq!((last.fingerprint, last.roles), (kept.fingerprint, kept.roles));
        assert_eq!((last.counters, last.table.rules), (kept.counters, kept.table.rules));
        let is_given_back = blob[4 << 20..24 << 20].iter().all(|b| *b == 0);
        assert_eq!(is_given_back, cfg!(all(feature = "live", target_os = "linux")));
    }
}
