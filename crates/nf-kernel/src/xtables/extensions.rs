//! Matches and targets: the structures of `linux/netfilter/xt_*.h`, both ways.
//!
//! Sizes are those of a 64-bit kernel, aligned to 8. What has another size or revision is kept as `Unknown`.

use super::layout::{EXT_HEADER, align, c_str, ip, u16_at, u32_at};
use nf_ruleset::{
    ConntrackMatch, DnatTo, IpFamily, IpvsMatch, Match, MultiportMatch, NatRange, PhysdevMatch, PortRange,
    RecentMatch, Strings, Table, Target, Unknown, nat_flags,
};
use std::net::IpAddr;

/// `XT_STATISTIC_MODE_*`
const STATISTIC_RANDOM: u16 = 0;
const STATISTIC_NTH: u16 = 1;
/// `XT_CONNTRACK_STATE`, `XT_CONNTRACK_STATE_ALIAS`
const CONNTRACK_STATE: u16 = 1 << 0;
const CONNTRACK_STATE_ALIAS: u16 = 1 << 13;
/// `XT_SCTP_SRC_PORTS | XT_SCTP_DEST_PORTS`
const SCTP_PORTS: u32 = 3;
/// `flag_info[4]` as libxt_sctp initialises it: no chunk type.
const SCTP_NO_FLAGS: [u8; 12] = [0xff, 0, 0, 0xff, 0, 0, 0xff, 0, 0, 0xff, 0, 0];

fn be16(bytes: &[u8], at: usize) -> u16 {
    u16_at(bytes, at).to_be()
}

fn range(bytes: &[u8], at: usize) -> PortRange {
    PortRange { first: u16_at(bytes, at), last: u16_at(bytes, at + 2) }
}

fn unknown(strings: &mut Strings, name: &str, revision: u8, data: &[u8]) -> Box<Unknown> {
    Box::new(Unknown { name: strings.intern(name), revision, bytes: data.into() })
}

/// Decodes the data behind a match's header.
pub(crate) fn decode_match(
    strings: &mut Strings,
    family: IpFamily,
    name: &str,
    revision: u8,
    data: &[u8],
    set_name: &mut dyn FnMut(u16) -> Option<String>,
) -> Match {
    known_match(strings, family, name, revision, data, set_name)
        .unwrap_or_else(|| Match::Unknown(unknown(strings, name, revision, data)))
}

fn known_match(
    strings: &mut Strings,
    family: IpFamily,
    name: &str,
    revision: u8,
    d: &[u8],
    set_name: &mut dyn FnMut(u16) -> Option<String>,
) -> Option<Match> {
    let n = d.len();
    Some(match (name, revision, n) {
        ("comment", 0, 256) => Match::Comment(strings.intern(c_str(d)?)),
        // struct xt_tcp: spts[2], dpts[2], option, flg_mask, flg_cmp, invflags
        ("tcp", 0, 16) => Match::Tcp {
            source: range(d, 0),
            destination: range(d, 4),
            option: d[8],
            flag_mask: d[9],
            flag_set: d[10],
            invert: d[11],
        },
        // struct xt_udp: spts[2], dpts[2], invflags
        ("udp", 0, 16) => Match::Udp { source: range(d, 0), destination: range(d, 4), invert: d[8] },
        // struct xt_sctp_info: dpts[2], spts[2], chunkmap[64], …, flags, invflags
        ("sctp", 0, 296)
            if u32_at(d, 284) & !SCTP_PORTS == 0
                && u32_at(d, 288) & !SCTP_PORTS == 0
                && d[8..268].iter().all(|b| *b == 0)
                && d[268..280] == SCTP_NO_FLAGS =>
        {
            // sctp's structure begins with the destination.
            let (flags, invert) = (u32_at(d, 284) as u8, u32_at(d, 288) as u8);
            // SRC_PORTS is bit 0 and DEST_PORTS bit 1.
            Match::Sctp { source: range(d, 4), destination: range(d, 0), flags, invert }
        }
        // struct xt_statistic_info: mode, flags, then a union
        ("statistic", 0, 24) => {
            let invert = u16_at(d, 2) & 1 != 0;
            match u16_at(d, 0) {
                STATISTIC_RANDOM => Match::StatisticRandom { probability: u32_at(d, 4), invert },
                STATISTIC_NTH if u32_at(d, 12) == 0 => {
                    Match::StatisticNth { every: u32_at(d, 4), packet: u32_at(d, 8), invert }
                }
                _ => return None,
            }
        }
        // struct xt_recent_mtinfo(_v1)
        ("recent", 0, 216) | ("recent", 1, 232) => Match::Recent(Box::new(RecentMatch {
            seconds: u32_at(d, 0),
            hit_count: u32_at(d, 4),
            check_set: d[8],
            invert: d[9] != 0,
            name: strings.intern(c_str(&d[10..210])?),
            side: d[210],
            mask: match (revision, family) {
                (1, IpFamily::V4) => ip(&d[212..216]),
                (1, IpFamily::V6) => ip(&d[212..228]),
                (_, IpFamily::V4) => ip(&[0xff; 4]),
                (_, IpFamily::V6) => ip(&[0xff; 16]),
            },
            revision,
        })),
        // struct xt_mark_mtinfo1
        ("mark", 1, 16) => Match::Mark { mark: u32_at(d, 0), mask: u32_at(d, 4), invert: d[8] != 0 },
        // struct xt_conntrack_mtinfo2, …3
        ("conntrack", 2 | 3, 160 | 168) => {
            let (flags, invert) = (u16_at(d, 146), u16_at(d, 148));
            if flags & !CONNTRACK_STATE_ALIAS != CONNTRACK_STATE || invert & !CONNTRACK_STATE != 0 {
                return None;
            }
            Match::Conntrack(ConntrackMatch {
                states: u16_at(d, 150),
                invert: invert & CONNTRACK_STATE != 0,
                state_alias: flags & CONNTRACK_STATE_ALIAS != 0,
                revision,
            })
        }
        // struct xt_addrtype_info_v1: source, dest, flags
        ("addrtype", 1, 8) => Match::AddrType {
            source: u16_at(d, 0),
            destination: u16_at(d, 2),
            flags: u32_at(d, 4) as u8,
            revision,
        },
        // struct xt_nfacct_match_info(_v1): name, and a pointer that the kernel hides
        ("nfacct", 0 | 1, 40) => Match::Nfacct { name: strings.intern(c_str(&d[..32])?), revision },
        // struct xt_set_info_match_v1, …v3, …v4: index, dim, flags, then counters
        ("set", 1, 8) | ("set", 3 | 4, _) if n == 8 || d[4..].iter().all(|b| *b == 0) => {
            let index = u16_at(d, 0);
            Match::Set {
                name: set_name(index).map(|n| strings.intern(&n)),
                index,
                dimensions: d[2],
                flags: d[3],
                revision,
            }
        }
        // struct xt_multiport_v1
        ("multiport", 1, 48) if d[1] <= 15 => Match::Multiport(Box::new(MultiportMatch {
            side: d[0],
            ports: (0..usize::from(d[1])).map(|i| (u16_at(d, 2 + 2 * i), d[32 + i] != 0)).collect(),
            invert: d[47] != 0,
        })),
        // struct xt_physdev_info
        ("physdev", 0, 72) => {
            let mut name = |at: usize| -> Option<Option<nf_ruleset::StrId>> {
                let text = c_str(&d[at..at + 16])?;
                let masked = d[at + 16..at + 32].iter().take_while(|b| **b == 0xff).count();
                if text.is_empty() && masked == 0 {
                    return Some(None);
                }
                // Only whole names: a `+` inside leaves it to Unknown.
                (masked > text.len() || text.ends_with('+')).then(|| Some(strings.intern(text)))
            };
            Match::Physdev(Box::new(PhysdevMatch {
                input: name(0)?,
                output: name(32)?,
                invert: d[64],
                operations: d[65],
            }))
        }
        // struct xt_ipvs_mtinfo
        ("ipvs", 0, 40) => {
            let width = usize::from(family.bits() / 8);
            Match::Ipvs(Box::new(IpvsMatch {
                address: ip(&d[..width]),
                mask: ip(&d[16..16 + width]),
                port: be16(d, 32),
                protocol: d[34],
                method: d[35],
                control_port: be16(d, 36),
                invert: d[38],
                operations: d[39],
            }))
        }
        _ => return None,
    })
}

/// Decodes the data behind a target's header.
pub(crate) fn decode_target(
    strings: &mut Strings,
    family: IpFamily,
    name: &str,
    revision: u8,
    data: &[u8],
) -> Target {
    known_target(family, name, revision, data)
        .unwrap_or_else(|| Target::Unknown(unknown(strings, name, revision, data)))
}

fn known_target(family: IpFamily, name: &str, revision: u8, d: &[u8]) -> Option<Target> {
    Some(match (name, revision, d.len()) {
        ("MARK", 2, 8) => Target::Mark { mark: u32_at(d, 0), mask: u32_at(d, 4) },
        ("REJECT", 0, 8) => Target::Reject { with: d[0] },
        ("DNAT", _, _) => {
            let r = nat_range(family, revision, d)?;
            match r.addrs {
                Some((first, last))
                    if first == last
                        && r.ports.0 == r.ports.1
                        && r.ports.2 == 0
                        && r.flags == nat_flags::MAP_IPS | nat_flags::PROTO_SPECIFIED =>
                {
                    Target::dnat_to(first, r.ports.0, revision)
                }
                _ => Target::Dnat(Box::new(r)),
            }
        }
        ("SNAT", _, _) => Target::Snat(Box::new(nat_range(family, revision, d)?)),
        ("MASQUERADE", 0, _) => Target::Masquerade(Box::new(nat_range(family, revision, d)?)),
        ("REDIRECT", 0, _) => Target::Redirect(Box::new(nat_range(family, revision, d)?)),
        _ => return None,
    })
}

/// `struct nf_nat_range2` (revision 2), `nf_nat_range` (IPv6 before) or `nf_nat_ipv4_multi_range_compat`.
fn nat_range(family: IpFamily, revision: u8, d: &[u8]) -> Option<NatRange> {
    let width = usize::from(family.bits() / 8);
    let addrs = |flags: u32, first: &[u8], last: &[u8]| {
        (flags & nat_flags::MAP_IPS != 0).then(|| (ip(first), ip(last)))
    };
    match (family, revision, d.len()) {
        (IpFamily::V4, 0, 24) if u32_at(d, 0) == 1 => {
            let flags = u32_at(d, 4);
            Some(NatRange {
                flags,
                addrs: addrs(flags, &d[8..12], &d[12..16]),
                ports: (be16(d, 16), be16(d, 18), 0),
                revision,
            })
        }
        (_, 2, 48) => {
            let flags = u32_at(d, 0);
            Some(NatRange {
                flags,
                addrs: addrs(flags, &d[4..4 + width], &d[20..20 + width]),
                ports: (be16(d, 36), be16(d, 38), be16(d, 40)),
                revision,
            })
        }
        (IpFamily::V6, 0 | 1, 40) => {
            let flags = u32_at(d, 0);
            Some(NatRange {
                flags,
                addrs: addrs(flags, &d[4..20], &d[20..36]),
                ports: (be16(d, 36), be16(d, 38), 0),
                revision,
            })
        }
        _ => None,
    }
}

const NATIVE: &str = "only nf_tables can hold it";

/// An extension's data under construction.
struct Data(Vec<u8>);

impl Data {
    fn new(size: usize) -> Data {
        Data(vec![0; align(size)])
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn u16(&mut self, at: usize, v: u16) {
        self.put(at, &v.to_ne_bytes());
    }

    fn be16(&mut self, at: usize, v: u16) {
        self.put(at, &v.to_be_bytes());
    }

    fn u32(&mut self, at: usize, v: u32) {
        self.put(at, &v.to_ne_bytes());
    }

    fn range(&mut self, at: usize, r: PortRange) {
        self.u16(at, r.first);
        self.u16(at + 2, r.last);
    }

    fn addr(&mut self, at: usize, a: IpAddr) {
        match a {
            IpAddr::V4(a) => self.put(at, &a.octets()),
            IpAddr::V6(a) => self.put(at, &a.octets()),
        }
    }

    fn text(&mut self, at: usize, room: usize, s: &str) -> Result<(), String> {
        if s.len() >= room {
            return Err(format!("`{s}` is longer than the {} bytes that the kernel takes", room - 1));
        }
        self.put(at, s.as_bytes());
        Ok(())
    }
}

/// An extension with its header, as it is in a blob.
fn extension(name: &str, revision: u8, data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; EXT_HEADER];
    let size = (EXT_HEADER + data.len()) as u16;
    bytes[..2].copy_from_slice(&size.to_ne_bytes());
    let name = &name.as_bytes()[..name.len().min(28)];
    bytes[2..2 + name.len()].copy_from_slice(name);
    bytes[EXT_HEADER - 1] = revision;
    bytes.extend_from_slice(data);
    bytes
}

/// A match as it is in a blob; `None` for those of the entry's header.
pub(crate) fn encode_match(table: &Table, family: IpFamily, m: &Match) -> Result<Option<Vec<u8>>, String> {
    let (name, revision, data) = match m {
        Match::Address4 { .. }
        | Match::Address6(_)
        | Match::MaskedAddress(_)
        | Match::InInterface { .. }
        | Match::OutInterface { .. }
        | Match::Protocol { .. }
        | Match::Fragment { .. } => return Ok(None),
        Match::Comment(id) => {
            let mut d = Data::new(256);
            d.text(0, 256, table.str(*id))?;
            ("comment", 0, d)
        }
        Match::Tcp { source, destination, option, flag_mask, flag_set, invert } => {
            let mut d = Data::new(12);
            d.range(0, *source);
            d.range(4, *destination);
            d.put(8, &[*option, *flag_mask, *flag_set, *invert]);
            ("tcp", 0, d)
        }
        Match::Udp { source, destination, invert } => {
            let mut d = Data::new(10);
            d.range(0, *source);
            d.range(4, *destination);
            d.put(8, &[*invert]);
            ("udp", 0, d)
        }
        Match::Sctp { source, destination, flags, invert } => {
            let mut d = Data::new(292);
            d.range(0, *destination);
            d.range(4, *source);
            d.put(268, &SCTP_NO_FLAGS);
            d.u32(284, u32::from(*flags));
            d.u32(288, u32::from(*invert));
            ("sctp", 0, d)
        }
        Match::StatisticRandom { probability, invert } => {
            let mut d = Data::new(24);
            d.u16(0, STATISTIC_RANDOM);
            d.u16(2, u16::from(*invert));
            d.u32(4, *probability);
            ("statistic", 0, d)
        }
        Match::StatisticNth { every, packet, invert } => {
            let mut d = Data::new(24);
            d.u16(0, STATISTIC_NTH);
            d.u16(2, u16::from(*invert));
            d.u32(4, *every);
            d.u32(8, *packet);
            ("statistic", 0, d)
        }
        Match::Recent(r) => {
            let mut d = Data::new(if r.revision >= 1 { 228 } else { 211 });
            d.u32(0, r.seconds);
            d.u32(4, r.hit_count);
            d.put(8, &[r.check_set, u8::from(r.invert)]);
            d.text(10, 200, table.str(r.name))?;
            d.put(210, &[r.side]);
            if r.revision >= 1 {
                d.addr(212, r.mask);
            }
            ("recent", r.revision, d)
        }
        Match::Mark { mark, mask, invert } => {
            let mut d = Data::new(12);
            d.u32(0, *mark);
            d.u32(4, *mask);
            d.put(8, &[u8::from(*invert)]);
            ("mark", 1, d)
        }
        Match::Conntrack(c) => {
            let mut d = Data::new(if c.revision >= 3 { 164 } else { 156 });
            let alias = if c.state_alias { CONNTRACK_STATE_ALIAS } else { 0 };
            d.u16(146, CONNTRACK_STATE | alias);
            d.u16(148, if c.invert { CONNTRACK_STATE } else { 0 });
            d.u16(150, c.states);
            ("conntrack", c.revision, d)
        }
        Match::AddrType { source, destination, flags, revision } => {
            let mut d = Data::new(8);
            d.u16(0, *source);
            d.u16(2, *destination);
            d.u32(4, u32::from(*flags));
            ("addrtype", *revision, d)
        }
        Match::Nfacct { name, revision } => {
            let mut d = Data::new(40);
            d.text(0, 32, table.str(*name))?;
            ("nfacct", *revision, d)
        }
        Match::Set { index, dimensions, flags, revision, .. } => {
            let mut d = Data::new(match revision {
                1 => 4,
                3 => 32,
                _ => 44,
            });
            d.u16(0, *index);
            d.put(2, &[*dimensions, *flags]);
            ("set", *revision, d)
        }
        Match::Multiport(m) => {
            let mut d = Data::new(48);
            d.put(0, &[m.side, m.ports.len() as u8]);
            for (i, (port, range)) in m.ports.iter().enumerate().take(15) {
                d.u16(2 + 2 * i, *port);
                d.put(32 + i, &[u8::from(*range)]);
            }
            d.put(47, &[u8::from(m.invert)]);
            ("multiport", 1, d)
        }
        Match::Physdev(p) => {
            let mut d = Data::new(66);
            for (at, name) in [(0, p.input), (32, p.output)] {
                if let Some(id) = name {
                    let name = table.str(id);
                    d.text(at, 16, name)?;
                    d.put(at + 16, &interface_mask(name));
                }
            }
            d.put(64, &[p.invert, p.operations]);
            ("physdev", 0, d)
        }
        Match::Ipvs(i) => {
            let mut d = Data::new(40);
            d.addr(0, i.address);
            d.addr(16, i.mask);
            d.be16(32, i.port);
            d.put(34, &[i.protocol, i.method]);
            d.be16(36, i.control_port);
            d.put(38, &[i.invert, i.operations]);
            ("ipvs", 0, d)
        }
        Match::Unknown(u) => (table.str(u.name), u.revision, Data(u.bytes.to_vec())),
        Match::Native(_) | Match::Does(_) | Match::Counter => return Err(NATIVE.into()),
    };
    if name == "header" {
        return Err(format!("flags of the {family} header that kptop does not write"));
    }
    Ok(Some(extension(name, revision, &data.0)))
}

/// The mask that iptables puts beside an interface's name: over its NUL, or up to a `+`.
pub(super) fn interface_mask(name: &str) -> [u8; 16] {
    let covered = if name.ends_with('+') { name.len() - 1 } else { name.len() + 1 };
    std::array::from_fn(|i| if i < covered { 0xff } else { 0 })
}

/// A target as it is in a blob. Standard verdicts are the caller's, who knows the offsets.
pub(crate) fn encode_target(table: &Table, family: IpFamily, target: &Target) -> Result<Vec<u8>, String> {
    let single = |to: DnatTo| NatRange {
        flags: nat_flags::MAP_IPS | nat_flags::PROTO_SPECIFIED,
        addrs: Some((to.addr, to.addr)),
        ports: (to.port, to.port, 0),
        revision: to.revision,
    };
    Ok(match target {
        Target::None | Target::Verdict(_) => return Err("a standard verdict is no extension".into()),
        Target::DnatTo4 { .. } | Target::DnatTo6(_) => match target.as_dnat_to() {
            Some(to) => extension("DNAT", to.revision, &nat_data(family, &single(to))),
            None => return Err("no translation".into()),
        },
        Target::Dnat(r) => extension("DNAT", r.revision, &nat_data(family, r)),
        Target::Snat(r) => extension("SNAT", r.revision, &nat_data(family, r)),
        Target::Masquerade(r) => extension("MASQUERADE", r.revision, &nat_data(family, r)),
        Target::Redirect(r) => extension("REDIRECT", r.revision, &nat_data(family, r)),
        Target::Mark { mark, mask } => {
            let mut d = Data::new(8);
            d.u32(0, *mark);
            d.u32(4, *mask);
            extension("MARK", 2, &d.0)
        }
        Target::Reject { with } => {
            let mut d = Data::new(4);
            d.u32(0, u32::from(*with));
            extension("REJECT", 0, &d.0)
        }
        Target::Unknown(u) => extension(table.str(u.name), u.revision, &u.bytes),
        Target::Native(_) => return Err(NATIVE.into()),
    })
}

fn nat_data(family: IpFamily, r: &NatRange) -> Vec<u8> {
    // Size, then where flags, first and last address, and ports are.
    let (size, flags, first, last, ports) = match (family, r.revision) {
        (_, 2) => (42, 0, 4, 20, 36),
        (IpFamily::V6, _) => (40, 0, 4, 20, 36),
        (IpFamily::V4, _) => (20, 4, 8, 12, 16),
    };
    let mut d = Data::new(size);
    d.u32(flags, r.flags);
    if flags > 0 {
        d.u32(0, 1); // rangesize
    }
    if let Some((from, to)) = r.addrs {
        d.addr(first, from);
        d.addr(last, to);
    }
    d.be16(ports, r.ports.0);
    d.be16(ports + 2, r.ports.1);
    if r.revision == 2 {
        d.be16(ports + 4, r.ports.2);
    }
    d.0
}
