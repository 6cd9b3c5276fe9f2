//! Rules -> blob.

use super::extensions::{encode_match, encode_target, interface_mask};
use super::layout::{
    ERROR_NAME, ERROR_TARGET, EXT_HEADER, FLAG_FRAGMENT, FLAG_PROTO_V6, INV_DSTIP, INV_FRAG, INV_PROTO,
    INV_SRCIP, INV_VIA_IN, INV_VIA_OUT, Layout, VERDICT_ACCEPT, VERDICT_DROP, VERDICT_QUEUE, VERDICT_RETURN,
    align,
};
use nf_ruleset::{AddressMatch, ChainId, Hook, IpFamily, Match, Policy, Rule, Table, Target, Verdict};
use std::net::{IpAddr, Ipv6Addr};

/// A table as the kernel takes it (`struct ipt_replace`).
#[derive(Clone, Debug)]
pub struct EncodedTable {
    /// Its name.
    pub name: String,
    /// Bit for each hook.
    pub valid_hooks: u32,
    /// Offset of each hook's first entry.
    pub hook_entry: [u32; 5],
    /// Offset of each hook's policy.
    pub underflow: [u32; 5],
    /// Number of entries.
    pub num_entries: u32,
    /// The entries.
    pub blob: Vec<u8>,
}

/// The hooks on which iptables' tables hang (`net/ipv4/netfilter/iptable_*.c`).
fn hooks_of(table: &str) -> &'static [Hook] {
    match table {
        "filter" | "security" => &[Hook::Input, Hook::Forward, Hook::Output],
        "nat" => &[Hook::Prerouting, Hook::Input, Hook::Output, Hook::Postrouting],
        "raw" => &[Hook::Prerouting, Hook::Output],
        _ => &Hook::ALL,
    }
}

/// Size of a jump or verdict: header, int, padding.
const STANDARD: usize = EXT_HEADER + 8;

/// Bytes that a table takes in the kernel, once for all CPUs; `None` where it cannot be laid out.
pub fn blob_size(table: &Table) -> Option<u64> {
    encode(table).ok().map(|e| e.blob.len() as u64)
}

/// Lays a table out as a blob. Base chains that it lacks are added, empty and with policy ACCEPT; its user
/// chains keep their order. Counters are 0: the kernel counts again.
pub fn encode(table: &Table) -> Result<EncodedTable, String> {
    let family = table.family.ip().ok_or_else(|| format!("x_tables has no family {}", table.family))?;
    let mut e = Encoder { layout: Layout::of(family), table, blob: Vec::new(), count: 0, jumps: Vec::new() };
    let mut out = EncodedTable {
        name: table.name.clone(),
        valid_hooks: 0,
        hook_entry: [0; 5],
        underflow: [0; 5],
        num_entries: 0,
        blob: Vec::new(),
    };
    let mut starts = vec![0u32; table.chains.len()];
    for hook in hooks_of(&table.name) {
        let i = *hook as usize;
        out.valid_hooks |= 1 << i;
        out.hook_entry[i] = e.blob.len() as u32;
        let chain = table.chains.iter().position(|c| c.base.is_some_and(|b| b.hook == *hook));
        let mut verdict = VERDICT_ACCEPT;
        if let Some(c) = chain {
            starts[c] = e.blob.len() as u32;
            e.rules(ChainId(c as u32))?;
            if table.chains[c].base.is_some_and(|b| b.policy == Policy::Drop) {
                verdict = VERDICT_DROP;
            }
        }
        out.underflow[i] = e.blob.len() as u32;
        e.bare(verdict);
    }
    for (i, chain) in table.chains.iter().enumerate() {
        if chain.base.is_some() {
            continue;
        }
        e.head(table.str(chain.name))?;
        starts[i] = e.blob.len() as u32;
        e.rules(ChainId(i as u32))?;
        e.bare(VERDICT_RETURN);
    }
    e.head(ERROR_TARGET)?;
    for (at, chain) in &e.jumps {
        e.blob[*at..*at + 4].copy_from_slice(&starts[chain.0 as usize].to_ne_bytes());
    }
    out.num_entries = e.count;
    out.blob = e.blob;
    Ok(out)
}

struct Encoder<'a> {
    layout: &'static Layout,
    table: &'a Table,
    blob: Vec<u8>,
    count: u32,
    /// Where the offset of a chain is to be written.
    jumps: Vec<(usize, ChainId)>,
}

impl Encoder<'_> {
    /// An entry from its header, matches and target.
    fn entry(&mut self, mut head: Vec<u8>, matches: &[u8], target: &[u8]) {
        let l = self.layout;
        let target_offset = (l.entry + matches.len()) as u16;
        let next = target_offset + target.len() as u16;
        head[l.target_offset..l.target_offset + 2].copy_from_slice(&target_offset.to_ne_bytes());
        head[l.target_offset + 2..l.target_offset + 4].copy_from_slice(&next.to_ne_bytes());
        self.blob.extend_from_slice(&head);
        self.blob.extend_from_slice(matches);
        self.blob.extend_from_slice(target);
        self.count += 1;
    }

    fn standard(verdict: i32) -> Vec<u8> {
        let mut target = vec![0; STANDARD];
        target[..2].copy_from_slice(&(STANDARD as u16).to_ne_bytes());
        target[EXT_HEADER..EXT_HEADER + 4].copy_from_slice(&verdict.to_ne_bytes());
        target
    }

    /// A verdict without conditions: a policy or the end of a chain.
    fn bare(&mut self, verdict: i32) {
        self.entry(vec![0; self.layout.entry], &[], &Self::standard(verdict));
    }

    /// The head of a chain, or the end of the table.
    fn head(&mut self, name: &str) -> Result<(), String> {
        if name.len() >= ERROR_NAME - 1 {
            return Err(format!("chain name {name} is longer than 28 bytes"));
        }
        let size = EXT_HEADER + align(ERROR_NAME);
        let mut target = vec![0; size];
        target[..2].copy_from_slice(&(size as u16).to_ne_bytes());
        target[2..2 + ERROR_TARGET.len()].copy_from_slice(ERROR_TARGET.as_bytes());
        target[EXT_HEADER..EXT_HEADER + name.len()].copy_from_slice(name.as_bytes());
        self.entry(vec![0; self.layout.entry], &[], &target);
        Ok(())
    }

    fn rules(&mut self, chain: ChainId) -> Result<(), String> {
        let table = self.table;
        for (_, rule) in table.rules_of(chain) {
            self.rule(rule).map_err(|why| {
                format!("rule `{}` in chain {}: {why}", table.rule_text(rule), table.chain_name(chain))
            })?;
        }
        Ok(())
    }

    fn rule(&mut self, rule: &Rule) -> Result<(), String> {
        let l = self.layout;
        let mut head = vec![0; l.entry];
        let mut matches = Vec::new();
        for m in self.table.matches_of(rule) {
            match encode_match(self.table, l.family, m)? {
                Some(bytes) => matches.extend_from_slice(&bytes),
                None => self.header(&mut head, m)?,
            }
        }
        let at = self.blob.len() + l.entry + matches.len() + EXT_HEADER;
        let target = match &rule.target {
            Target::None | Target::Verdict(Verdict::Continue) => {
                // "Go on": a jump to the entry that follows.
                Self::standard((at + STANDARD - EXT_HEADER) as i32)
            }
            Target::Verdict(v) => Self::standard(match v {
                Verdict::Accept => VERDICT_ACCEPT,
                Verdict::Drop => VERDICT_DROP,
                Verdict::Queue => VERDICT_QUEUE,
                Verdict::Return | Verdict::Continue => VERDICT_RETURN,
                Verdict::Jump(c) | Verdict::Goto(c) => {
                    if matches!(v, Verdict::Goto(_)) {
                        head[l.flags] |= l.goto;
                    }
                    self.jumps.push((at, *c));
                    0
                }
            }),
            other => encode_target(self.table, l.family, other)?,
        };
        self.entry(head, &matches, &target);
        Ok(())
    }

    fn header(&self, head: &mut [u8], m: &Match) -> Result<(), String> {
        let l = self.layout;
        let n = l.address;
        let mut address =
            |destination: bool, addr: IpAddr, mask: IpAddr, invert: bool| -> Result<(), String> {
                let at = if destination { n } else { 0 };
                let (addr, mask) = (bytes_of(addr), bytes_of(mask));
                if addr.len() != n {
                    return Err(format!("an address of another family than the table's, {}", l.family));
                }
                head[at..at + n].copy_from_slice(&addr);
                head[at + 2 * n..at + 3 * n].copy_from_slice(&mask);
                if invert {
                    head[l.invert] |= if destination { INV_DSTIP } else { INV_SRCIP };
                }
                Ok(())
            };
        if let Some(AddressMatch { net, destination, invert }) = m.address() {
            return address(destination, net.addr, prefix_mask(net.addr, net.prefix), invert);
        }
        match m {
            Match::MaskedAddress(a) => address(a.destination, a.addr, a.mask, a.invert)?,
            Match::InInterface { name, invert } | Match::OutInterface { name, invert } => {
                let out = matches!(m, Match::OutInterface { .. });
                let text = self.table.str(*name);
                if text.len() >= 16 {
                    return Err(format!("interface name {text} is longer than 15 bytes"));
                }
                let at = l.interfaces + if out { 16 } else { 0 };
                head[at..at + text.len()].copy_from_slice(text.as_bytes());
                head[at + 32..at + 48].copy_from_slice(&interface_mask(text));
                if *invert {
                    head[l.invert] |= if out { INV_VIA_OUT } else { INV_VIA_IN };
                }
            }
            Match::Protocol { number, invert } => {
                head[l.protocol..l.protocol + 2].copy_from_slice(&number.to_ne_bytes());
                if l.family == IpFamily::V6 {
                    head[l.flags] |= FLAG_PROTO_V6;
                }
                if *invert {
                    head[l.invert] |= INV_PROTO;
                }
            }
            Match::Fragment { invert } => {
                head[l.flags] |= FLAG_FRAGMENT;
                if *invert {
                    head[l.invert] |= INV_FRAG;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

fn bytes_of(addr: IpAddr) -> Vec<u8> {
    match addr {
        IpAddr::V4(a) => a.octets().to_vec(),
        IpAddr::V6(a) => a.octets().to_vec(),
    }
}

fn prefix_mask(addr: IpAddr, prefix: u8) -> IpAddr {
    match addr {
        IpAddr::V4(_) => IpAddr::V4(u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0).into()),
        IpAddr::V6(_) => {
            IpAddr::V6(Ipv6Addr::from(u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0)))
        }
    }
}
