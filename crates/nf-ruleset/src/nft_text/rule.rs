//! Whole rules.

use super::writer::{Writer, is_tagged};
use crate::iptables_text::write_extension;
use crate::nft_text::words::{family_word, network, not, protocol};
use crate::{
    Comparison, Family, Field, IpNet, Load, MaskedAddress, Match, PortRange, Rule, Statement, StrId, Table,
    Target, Terminal, Test, meta, payload_base, reject,
};
use std::fmt::{self, Write as _};

/// Writes a whole rule.
pub(crate) fn rule(out: &mut String, table: &Table, rule: &Rule) -> fmt::Result {
    let matches = table.matches_of(rule);
    let mut w = Writer::new(table);
    let implied = implied(table, matches, &rule.target);
    let (mut comment, mut skip) = (None, false);
    for (i, m) in matches.iter().enumerate() {
        // The second half of a range.
        if std::mem::take(&mut skip) {
            continue;
        }
        if let Match::Comment(id) = m {
            comment = Some(table.str(*id));
            continue;
        }
        w.learn(m);
        if !implied.contains(&i) {
            out.push(' ');
            skip = w.two_ends(out, m, matches.get(i + 1));
            if !skip {
                w.one(out, m)?;
            }
        }
    }
    w.target(out, &rule.target)?;
    if let Some(comment) = comment {
        write!(out, " comment \"{comment}\"")?;
    }
    Ok(())
}

/// A match or statement of nf_tables inside a rule of iptables' dialect.
pub(crate) fn single(out: &mut String, table: &Table, m: &Match) -> fmt::Result {
    out.push(' ');
    Writer::new(table).one(out, m)
}

/// The end of a rule of iptables' dialect that only nf_tables has.
pub(crate) fn terminal(out: &mut String, table: &Table, target: &Target) -> fmt::Result {
    Writer::new(table).target(out, target)
}

/// The layers of a packet that loads look at: link, network, transport.
#[derive(Clone, Copy, Default)]
struct Layers([bool; 3]);
impl Layers {
    fn of(loads: &[Load]) -> Layers {
        let mut all = Layers::default();
        loads.iter().for_each(|l| all.add(&l.field));
        all
    }

    fn add(&mut self, field: &Field) {
        match field {
            Field::Payload { base, .. } => self.payload(*base),
            Field::Exthdr { op, .. } => self.exthdr(*op),
            Field::Hash { key, .. } => key.iter().for_each(|l| self.add(&l.field)),
            Field::Mapped(m) => m.key.iter().for_each(|l| self.add(&l.field)),
            _ => {}
        }
    }

    fn payload(&mut self, base: u8) {
        if let Some(layer) = self.0.get_mut(usize::from(base)) {
            *layer = true;
        }
    }

    /// Headers of IPv6 and options of IPv4 are the network's, the others the transport's.
    fn exthdr(&mut self, op: u8) {
        self.payload(if matches!(op, 0 | 2) { payload_base::NETWORK } else { payload_base::TRANSPORT });
    }

    fn of_match(m: &Match) -> Layers {
        let mut all = Layers::default();
        match m {
            Match::Address4 { .. } | Match::Address6(_) | Match::MaskedAddress(_) => {
                all.payload(payload_base::NETWORK);
            }
            Match::Tcp { .. } | Match::Udp { .. } | Match::Sctp { .. } => {
                all.payload(payload_base::TRANSPORT);
            }
            Match::Native(c) => return Layers::of(&c.key),
            Match::Does(s) => match &**s {
                Statement::Dynset { key, .. } | Statement::ObjectMap { key, .. } => return Layers::of(key),
                Statement::SetMeta { value, .. } | Statement::SetCt { value, .. } => all.add(&value.field),
                Statement::SetPayload { base, value, .. } => {
                    all.payload(*base);
                    all.add(&value.field);
                }
                Statement::SetExthdr { op, .. } | Statement::ResetExthdr { op, .. } => all.exthdr(*op),
                _ => {}
            },
            _ => {}
        }
        all
    }

    fn of_target(target: &Target) -> Layers {
        let mut all = Layers::default();
        if let Target::Native(t) = target {
            match &**t {
                Terminal::VerdictMap { key, .. } => return Layers::of(key),
                Terminal::Nat { addr, port, .. } => {
                    for (first, last) in addr.iter().chain(port) {
                        all.add(&first.field);
                        all.add(&last.field);
                    }
                }
                // The answer's protocol says the network layer; nft keeps the transport's (`meta l4proto tcp`).
                Terminal::Reject { kind, .. } => all.0[1] = *kind != reject::ICMPX,
                _ => {}
            }
        }
        all
    }
}

/// Conditions that nft leaves out, as what follows cannot be asked without them (`payload_dependency_kill` in
/// nftables' `src/payload.c`).
fn implied(table: &Table, matches: &[Match], target: &Target) -> Vec<usize> {
    let mut dead = Vec::new();
    // What asked for the link's kind, a tag of a VLAN, the network layer, the transport.
    let (mut link, mut tag): (Option<usize>, Option<usize>) = (None, None);
    let (mut network, mut transport): (Option<usize>, Option<usize>) = (None, None);
    let mut icmp = false;
    let all = matches.iter().map(Layers::of_match).chain([Layers::of_target(target)]);
    for (i, Layers([l, n, t])) in all.enumerate() {
        if l {
            dead.extend(link.take());
            if matches.get(i).is_some_and(is_in_tag) {
                dead.extend(tag.take());
            }
        }
        if n || (t && icmp) {
            dead.extend(network.take());
        }
        if t {
            dead.extend(transport.take());
        }
        match matches.get(i) {
            Some(Match::Protocol { number, invert: false }) => {
                transport = Some(i);
                icmp = matches!(number, 1 | 58);
            }
            Some(Match::Native(c)) => {
                let eq = matches!(c.test, Test::Compare { op: Comparison::Equal, .. });
                let key = c.key.first().map(|l| &l.field);
                let l3 = match table.family {
                    Family::Inet => key == Some(&Field::Meta(meta::NFPROTO)),
                    Family::Bridge | Family::Netdev => key == Some(&Field::Meta(meta::PROTOCOL)),
                    _ => false,
                };
                if eq && l3 {
                    network = Some(i);
                }
                if eq && key == Some(&Field::Meta(meta::IIFTYPE)) {
                    link = Some(i);
                }
                if eq && is_tagged(c) {
                    tag = Some(i);
                }
            }
            _ => {}
        }
    }
    dead
}

impl Writer<'_> {
    fn one(&mut self, out: &mut String, m: &Match) -> fmt::Result {
        match m {
            Match::Address4 { .. } | Match::Address6(_) => match m.address() {
                Some(a) => address(out, if a.destination { "daddr" } else { "saddr" }, a.net, a.invert),
                None => Ok(()),
            },
            Match::MaskedAddress(a) => {
                let MaskedAddress { destination, addr, mask, invert } = **a;
                let l3 = if addr.is_ipv4() { "ip" } else { "ip6" };
                let side = if destination { "daddr" } else { "saddr" };
                write!(out, "{l3} {side} & {mask} {} {addr}", if invert { "!=" } else { "==" })
            }
            Match::InInterface { name, invert } => self.interface(out, "iifname", *name, *invert),
            Match::OutInterface { name, invert } => self.interface(out, "oifname", *name, *invert),
            Match::Protocol { number, invert } => {
                write!(out, "meta l4proto {}", not(*invert))?;
                protocol(out, *number)
            }
            Match::Mark { mark, mask, invert } if *mask == u32::MAX => {
                write!(out, "meta mark {}{mark:#010x}", not(*invert))
            }
            Match::Mark { mark, mask, invert } => {
                let op = if *invert { "!=" } else { "==" };
                write!(out, "meta mark & {mask:#010x} {op} {mark:#010x}")
            }
            Match::Tcp { source, destination, invert, .. } => {
                ports(out, "tcp", *source, *destination, *invert)
            }
            Match::Udp { source, destination, invert } => ports(out, "udp", *source, *destination, *invert),
            Match::Sctp { source, destination, invert, .. } => {
                ports(out, "sctp", *source, *destination, *invert)
            }
            Match::Counter => out.write_str("counter"),
            Match::Native(c) => self.condition(out, c),
            Match::Does(s) => self.statement(out, s),
            // Extensions of x_tables in a table that is none of iptables'.
            other => write_extension(out, self.table, other),
        }
    }

    fn interface(&self, out: &mut String, key: &str, name: StrId, invert: bool) -> fmt::Result {
        let name = self.table.str(name);
        match name.strip_suffix('+') {
            Some(head) => write!(out, "{key} {}\"{head}*\"", not(invert)),
            None => write!(out, "{key} {}\"{name}\"", not(invert)),
        }
    }
}

/// A field of the tag that a VLAN puts behind the link's header.
fn is_in_tag(m: &Match) -> bool {
    let inside =
        |l: &Load| matches!(l.field, Field::Payload { base: payload_base::LINK, offset, .. } if offset >= 14);
    matches!(m, Match::Native(c) if c.key.iter().any(inside))
}

fn address(out: &mut String, side: &str, net: IpNet, invert: bool) -> fmt::Result {
    write!(out, "{}{side} {}", family_word(net.addr), not(invert))?;
    network(out, net)
}

fn ports(out: &mut String, l4: &str, source: PortRange, destination: PortRange, invert: u8) -> fmt::Result {
    let mut first = true;
    for (range, name, bit) in [(source, "sport", 1), (destination, "dport", 2)] {
        if range == PortRange::ANY && invert & bit == 0 {
            continue;
        }
        write!(out, "{}{l4} {name} {}", if first { "" } else { " " }, not(invert & bit != 0))?;
        first = false;
        match range.single() {
            Some(port) => write!(out, "{port}")?,
            None => write!(out, "{}-{}", range.first, range.last)?,
        }
    }
    Ok(())
}
