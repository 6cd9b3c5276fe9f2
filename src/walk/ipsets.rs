//! Whether a packet is in an ipset (`net/netfilter/ipset/ip_set_*.c`).

use super::RulesetIndex;
use super::match_result::MatchResult;
use super::packet_state::PacketState;
use crate::ruleset::{IpNet, set_flags};
use crate::snapshot::facts::{Ipset, Member};
use std::net::IpAddr;

/// A packet's side of one dimension.
#[derive(Clone, Copy)]
struct Side {
    source: bool,
}

/// `IPPROTO_SCTP` and its kin carry ports.
fn has_ports(protocol: u8) -> bool {
    matches!(protocol, 6 | 17 | 132 | 136)
}

impl RulesetIndex<'_> {
    pub(super) fn in_ipset(&self, name: &str, dimensions: u8, flags: u8, t: &PacketState) -> MatchResult {
        let sets = self.snapshot().ipsets.as_ref();
        let Some((index, set)) = sets.and_then(|s| s.value.iter().enumerate().find(|s| s.1.name == name))
        else {
            return MatchResult::either(format!("the packet is in the ipset {name}, which was not read"));
        };
        t.count_lookup();
        let sides: Vec<Side> =
            (0..dimensions).map(|d| Side { source: flags & (set_flags::DIM_ONE_SRC << d) != 0 }).collect();
        let unknown = sides.iter().any(|s| match s.source {
            true => t.masked_source || t.unsure.source_port,
            false => t.unsure.destination || t.unsure.destination_port,
        });
        if unknown {
            return MatchResult::either(format!("the packet is in the ipset {name}{}", t.version()));
        }
        match self.found((index, set), &sides, t) {
            Some(found) => MatchResult::from(found != (flags & set_flags::INVERT != 0)),
            None => MatchResult::either(format!("the packet is in the ipset {name} ({})", set.kind)),
        }
    }

    /// `None` for kinds of sets that are not understood here, and sets whose members were not read.
    fn found(&self, (index, set): (usize, &Ipset), sides: &[Side], t: &PacketState) -> Option<bool> {
        let members = set.members.as_ref()?;
        let index = self.members(index, set);
        if index.in_doubt {
            return None;
        }
        let (_, fields) = set.kind.split_once(':')?;
        let fields: Vec<&str> = fields.split(',').collect();
        if fields.len() > sides.len() || fields.iter().any(|f| !matches!(*f, "ip" | "net" | "port")) {
            return None;
        }
        if fields.contains(&"net") {
            // Of networks the longest decides; `nomatch` takes out.
            let length = |m: &Member| m.prefix.unwrap_or(0).max(m.prefix2.unwrap_or(0));
            let best = members.iter().filter(|m| fits(m, &fields, sides, t)).max_by_key(|m| length(m));
            return Some(best.is_some_and(|m| !m.except));
        }
        if fields[0] == "ip" {
            let p = &t.packet;
            let first = if sides[0].source { p.source } else { p.destination };
            let mine = index.by_address.get(&first).into_iter().flatten();
            return Some(mine.filter_map(|i| members.get(*i as usize)).any(|m| fits(m, &fields, sides, t)));
        }
        Some(members.iter().any(|m| fits(m, &fields, sides, t)))
    }
}

fn fits(m: &Member, fields: &[&str], sides: &[Side], t: &PacketState) -> bool {
    let p = &t.packet;
    let address = |side: Side| if side.source { p.source } else { p.destination };
    let inside = |addr: Option<IpAddr>, prefix: Option<u8>, real: IpAddr| {
        addr.is_some_and(|a| match prefix {
            Some(prefix) => IpNet { addr: a, prefix }.contains(real),
            None => a == real,
        })
    };
    let mut first = true;
    fields.iter().zip(sides).all(|(field, side)| match *field {
        "port" => {
            let port = if side.source { p.source_port } else { p.destination_port };
            has_ports(p.protocol) && m.protocol.is_none_or(|n| n == p.protocol) && m.port == Some(port)
        }
        _ if first => {
            first = false;
            inside(m.address, m.prefix, address(*side))
        }
        _ => inside(m.address2, m.prefix2, address(*side)),
    })
}
