//! Whether a condition of iptables holds for a packet.

use super::interface_match::Side;
use super::match_result::MatchResult;
use super::packet_state::PacketState;
use super::ruleset_index::RTN_LOCAL;
use super::{CtState, Ingress, RulesetIndex};
use crate::ruleset::{
    ConntrackMatch, Hook, IpFamily, Match, MultiportMatch, PortRange, RecentMatch, Table, addr_type,
    address_number, ct_state, recent,
};
use crate::snapshot::MemoryList;
use std::net::IpAddr;

/// `XT_TCP_INV_*` and `XT_UDP_INV_*` (`linux/netfilter/xt_tcpudp.h`).
const INV_SOURCE: u8 = 1;

const INV_DESTINATION: u8 = 2;

const INV_FLAGS: u8 = 4;

/// `XT_SCTP_SRC_PORTS`, `XT_SCTP_DEST_PORTS` (`linux/netfilter/xt_sctp.h`).
const SCTP_SOURCE: u8 = 1;

const SCTP_DESTINATION: u8 = 2;

/// IP protocol numbers.
const TCP: u8 = 6;

const UDP: u8 = 17;

const SCTP: u8 = 132;

fn in_range(range: PortRange, port: u16, invert: bool) -> bool {
    (range.first..=range.last).contains(&port) != invert
}

impl RulesetIndex<'_> {
    /// A condition of iptables; those of nf_tables are in `native`.
    pub(super) fn holds(&self, table: &Table, t: &PacketState, m: &Match) -> MatchResult {
        let p = &t.packet;
        match m {
            Match::Address4 { .. } | Match::Address6(_) => match m.address() {
                Some(a) => {
                    if let Some(held) = self.address_in_doubt(table, t, m, a.destination) {
                        return held.invert(a.invert);
                    }
                    let addr = if a.destination { p.destination } else { p.source };
                    MatchResult::from(a.net.contains(addr) != a.invert)
                }
                None => MatchResult::No,
            },
            Match::MaskedAddress(a) => {
                if let Some(held) = self.address_in_doubt(table, t, m, a.destination) {
                    return held.invert(a.invert);
                }
                let addr = if a.destination { p.destination } else { p.source };
                let mask = address_number(a.mask);
                let same = IpFamily::of(addr) == IpFamily::of(a.addr)
                    && address_number(addr) & mask == address_number(a.addr) & mask;
                MatchResult::from(same != a.invert)
            }
            Match::InInterface { name, invert } => {
                self.has_interface(t, Side::In, table.str(*name)).invert(*invert)
            }
            Match::OutInterface { name, invert } => {
                self.has_interface(t, Side::Out, table.str(*name)).invert(*invert)
            }
            Match::Protocol { number, invert } => {
                MatchResult::from((*number == 0 || *number == u16::from(p.protocol)) != *invert)
            }
            Match::Fragment { invert } => MatchResult::from(*invert),
            Match::Comment(_) | Match::Nfacct { .. } | Match::Counter => MatchResult::Yes,
            Match::Tcp { source, destination, option, flag_mask, flag_set, invert } => {
                let ports = match p.protocol {
                    TCP => self.ports(table, t, m, *source, *destination, *invert),
                    _ => MatchResult::No,
                };
                if ports == MatchResult::No {
                    return MatchResult::No;
                }
                if (t.tcp_flags() & flag_mask == *flag_set) == (invert & INV_FLAGS != 0) {
                    return MatchResult::No;
                }
                match option {
                    0 => ports,
                    n => MatchResult::either(format!("the packet has TCP option {n}")),
                }
            }
            Match::Udp { source, destination, invert } => match p.protocol {
                UDP => self.ports(table, t, m, *source, *destination, *invert),
                _ => MatchResult::No,
            },
            Match::Sctp { source, destination, flags, invert } => {
                let side = |bit: u8, range: PortRange, port| {
                    flags & bit == 0 || in_range(range, port, invert & bit != 0)
                };
                if p.protocol == SCTP && (t.unsure.source_port || t.unsure.destination_port) {
                    return MatchResult::either(t.question(table, m, "the ports are not known"));
                }
                MatchResult::from(
                    p.protocol == SCTP
                        && side(SCTP_SOURCE, *source, p.source_port)
                        && side(SCTP_DESTINATION, *destination, p.destination_port),
                )
            }
            Match::StatisticRandom { probability, invert } => {
                MatchResult::Chance(f64::from(*probability) / f64::from(0x8000_0000_u32)).invert(*invert)
            }
            // One packet in so many, in turn: over many flows the same as chance.
            Match::StatisticNth { every, invert, .. } => {
                MatchResult::Chance(1.0 / (f64::from(*every) + 1.0)).invert(*invert)
            }
            Match::Recent(r) => self.remembers(table, t, r),
            Match::Mark { mark, mask, invert } => {
                let differs = (p.mark & mask) ^ mark;
                MatchResult::of_bits(differs, t.unsure.mark & mask, *invert, || {
                    t.question(table, m, "what the mark is, is not known")
                })
            }
            Match::Conntrack(c) => MatchResult::from(tracked(t, c)),
            Match::AddrType { source, destination, flags, .. } => {
                let limited = flags & (addr_type::LIMIT_IFACE_IN | addr_type::LIMIT_IFACE_OUT) != 0;
                if limited {
                    return MatchResult::either(t.question(table, m, "the packet's interface is not known"));
                }
                if (*source != 0 && t.masked_source) || (*destination != 0 && t.unsure.destination) {
                    return MatchResult::either(t.question(table, m, "the address is not known"));
                }
                if let (Some(question), true) = (self.in_doubt(p.destination), *destination != 0) {
                    let wants_local = destination & 1 << RTN_LOCAL != 0;
                    return MatchResult::Either(question, wants_local)
                        .invert(flags & addr_type::INVERT_DEST != 0);
                }
                let side = |wanted: u16, addr: IpAddr, inverted: bool| {
                    wanted == 0 || (wanted & 1 << self.address_type(addr) != 0) != inverted
                };
                MatchResult::from(
                    side(*source, p.source, flags & addr_type::INVERT_SOURCE != 0)
                        && side(*destination, p.destination, flags & addr_type::INVERT_DEST != 0),
                )
            }
            Match::Set { name, dimensions, flags, .. } => match name {
                Some(name) => self.in_ipset(table.str(*name), *dimensions, *flags, t),
                None => MatchResult::either("the packet is in an ipset whose name is not known"),
            },
            Match::Multiport(_) if t.unsure.source_port || t.unsure.destination_port => {
                MatchResult::either(t.question(table, m, "the ports are not known"))
            }
            Match::Multiport(m) => MatchResult::from(multiport(m, p.source_port, p.destination_port)),
            Match::Physdev(_) => {
                MatchResult::either(t.question(table, m, "the ports of bridges are not known"))
            }
            Match::Ipvs(i) if i.operations == 1 => MatchResult::from(t.via_ipvs != (i.invert & 1 != 0)),
            Match::Ipvs(_) if !t.via_ipvs => MatchResult::No,
            Match::Ipvs(_) => {
                MatchResult::either(t.question(table, m, "the connection of IPVS is not known"))
            }
            Match::Unknown(u) => {
                let (name, place) = (table.str(u.name), t.rule_place(table));
                MatchResult::either(format!("the match `{name}`, which kptop does not know, holds ({place})"))
            }
            Match::Native(c) => self.condition(table, t, c),
            Match::Does(_) => MatchResult::Yes, // done by the packet
        }
    }

    /// The fork where the source or destination is not known.
    fn address_in_doubt(
        &self,
        table: &Table,
        t: &PacketState,
        m: &Match,
        destination: bool,
    ) -> Option<MatchResult> {
        let unknown = if destination { t.unsure.destination } else { t.masked_source };
        unknown.then(|| {
            let what = if destination { "the destination" } else { "the source" };
            // The same question, whether a rule asks for it or for its opposite.
            let plain = match m.address() {
                Some(a) => Match::from(crate::ruleset::AddressMatch { invert: false, ..a }),
                None => m.clone(),
            };
            MatchResult::either(t.question(table, &plain, &format!("{what} is not known")))
        })
    }

    fn ports(
        &self,
        table: &Table,
        t: &PacketState,
        m: &Match,
        source: PortRange,
        destination: PortRange,
        invert: u8,
    ) -> MatchResult {
        let p = &t.packet;
        let sides = [
            (source, p.source_port, INV_SOURCE, t.unsure.source_port),
            (destination, p.destination_port, INV_DESTINATION, t.unsure.destination_port),
        ];
        let mut doubt = false;
        for (range, port, bit, unsure) in sides {
            let asked = range != PortRange::ANY || invert & bit != 0;
            if asked && unsure {
                doubt = true;
            } else if !in_range(range, port, invert & bit != 0) {
                return MatchResult::No;
            }
        }
        match doubt {
            true => MatchResult::either(t.question(table, m, "the port is not known")),
            false => MatchResult::Yes,
        }
    }

    fn remembers(&self, table: &Table, t: &PacketState, r: &RecentMatch) -> MatchResult {
        if r.check_set & recent::SET != 0 {
            return MatchResult::Yes.invert(r.invert);
        }
        let client = if r.side == 0 { t.packet.source } else { t.packet.destination };
        let name = table.str(r.name);
        self.memory(&MemoryList::Recent(name.to_string()), client, r.seconds, t).invert(r.invert)
    }

    /// Whether rules remember a client: as far as a snapshot says.
    pub(super) fn memory(
        &self,
        list: &MemoryList,
        client: IpAddr,
        seconds: u32,
        t: &PacketState,
    ) -> MatchResult {
        let lists = self.snapshot().remembered.iter().flat_map(|r| &r.value.lists);
        let known = lists.into_iter().find(|l| l.0 == *list);
        let name = match list {
            MemoryList::Recent(name) => name,
            MemoryList::Set(_, _, set) => set,
        };
        match known {
            Some((_, clients)) => match clients.iter().find(|c| c.address == client) {
                // xt_recent gives times in jiffies, which nothing here can be compared with.
                Some(c) if c.expires.is_none() && seconds > 0 => {
                    MatchResult::either(format!("{client}, which {name} remembers, came within {seconds} s"))
                }
                found => MatchResult::from(found.is_some()),
            },
            None if t.new_client => MatchResult::No,
            None => MatchResult::either(format!("{name} remembers {client}")),
        }
    }
}

fn tracked(t: &PacketState, c: &ConntrackMatch) -> bool {
    let mut bits = match t.state() {
        CtState::New => ct_state::NEW,
        CtState::Established => ct_state::ESTABLISHED,
        CtState::Related => ct_state::RELATED,
        CtState::Invalid => ct_state::INVALID,
        CtState::Untracked => ct_state::UNTRACKED,
    };
    if t.translated_source {
        bits |= ct_state::SNAT;
    }
    if t.translated_destination {
        bits |= ct_state::DNAT;
    }
    (bits & c.states != 0) != c.invert
}

fn multiport(m: &MultiportMatch, source: u16, destination: u16) -> bool {
    let fits = |port: u16| {
        let mut ports = m.ports.iter();
        while let Some((first, range)) = ports.next() {
            let last = if *range { ports.next().map_or(*first, |p| p.0) } else { *first };
            if (*first..=last).contains(&port) {
                return true;
            }
        }
        false
    };
    let found = match m.side {
        0 => fits(source),
        1 => fits(destination),
        _ => fits(source) || fits(destination),
    };
    found != m.invert
}

impl PacketState {
    /// A condition that cannot be answered, as a question: why, and what the rule asks.
    pub(super) fn question(&self, table: &Table, m: &Match, why: &str) -> String {
        format!("`{}` ({why}{})", table.match_text(m), self.version())
    }

    /// The flags of the packet: a first one asks for a connection.
    pub(super) fn tcp_flags(&self) -> u8 {
        match self.packet.state {
            CtState::New => 0x02,
            _ => 0x10,
        }
    }

    /// True where the packet is for this node: as routing decided, or as its destination says.
    pub(super) fn is_here(&self, ruleset: &RulesetIndex<'_>) -> bool {
        self.local.unwrap_or_else(|| ruleset.is_local(self.packet.destination))
    }

    /// The interface by which the packet came; empty where there is none, `None` where it is not known.
    pub(super) fn in_interface(&self) -> Option<&str> {
        match (self.hook, &self.packet.entrance) {
            (Hook::Output, _) => Some(""),
            _ if self.sender_has_device() => None,
            // POSTROUTING knows it since Linux 5.7 (`indev` in `ip_output`).
            _ if self.looped => Some("lo"),
            (_, Ingress::Interface(name)) => name.as_deref().or(self.arrives.as_deref()),
            (_, Ingress::Node) => Some(""),
        }
    }

    /// True where a packet of the node itself may have an interface by which it comes: some senders set the one by which
    /// it leaves (raw sockets, `raw_send_hdrinc`), others none.
    pub(super) fn sender_has_device(&self) -> bool {
        self.hook == Hook::Postrouting && self.packet.entrance == Ingress::Node && !self.looped
    }

    /// The same of the interface by which it leaves.
    pub(super) fn out_interface<'a>(&'a self, ruleset: &'a RulesetIndex<'_>) -> Option<&'a str> {
        match self.hook {
            Hook::Prerouting | Hook::Input => Some(""),
            // As routing found before the first rule: another destination counts from POSTROUTING on.
            Hook::Output if self.first_is_local => Some("lo"),
            Hook::Output => {
                let assumed = self.leaves.as_ref().filter(|l| l.1 == self.first.destination);
                ruleset.interface_to(self.first.destination).or(assumed.map(|l| l.0.as_str()))
            }
            _ if self.unsure.destination && self.local.is_none() => None,
            _ if self.is_here(ruleset) => Some("lo"),
            _ if self.unsure.destination => None,
            _ => {
                let to = self.packet.destination;
                let assumed = self.leaves.as_ref().filter(|l| l.1 == to).map(|l| l.0.as_str());
                ruleset.interface_to(to).or(assumed)
            }
        }
    }
}
