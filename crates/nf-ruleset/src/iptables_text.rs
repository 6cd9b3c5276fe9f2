//! Matches and targets as `iptables -S` prints them (checked against iptables 1.8.9 in `tests/it/kernel/xtables.rs`).

use crate::{
    ConntrackMatch, DnatTo, Family, IpNet, IpvsMatch, Match, MultiportMatch, NatRange, PhysdevMatch,
    PortRange, RecentMatch, StrId, Table, Target, Verdict, addr_type, ct_state, mask_prefix, nat_flags,
    protocol_name, recent, set_flags,
};
use std::fmt::{self, Write as _};
use std::net::IpAddr;

/// A match, with a blank before it.
pub(crate) fn write_match(out: &mut String, table: &Table, m: &Match) -> fmt::Result {
    Writer { table }.write_match(out, m)
}

/// A match of iptables inside a native rule.
pub(crate) fn write_extension(out: &mut String, table: &Table, m: &Match) -> fmt::Result {
    let mut text = String::new();
    Writer { table }.write_match(&mut text, m)?;
    out.write_str(text.trim_start())
}

/// A target of iptables at the end of a native rule.
pub(crate) fn write_target(out: &mut String, table: &Table, target: &Target) -> fmt::Result {
    Writer { table }.write_target(out, target)
}

struct Writer<'a> {
    table: &'a Table,
}

fn bang(invert: bool) -> &'static str {
    if invert { " !" } else { "" }
}

fn ports(out: &mut String, name: &str, range: PortRange, invert: bool) -> fmt::Result {
    if range == PortRange::ANY && !invert {
        return Ok(());
    }
    match range.single() {
        Some(port) => write!(out, "{} {name} {port}", bang(invert)),
        None => write!(out, "{} {name} {}:{}", bang(invert), range.first, range.last),
    }
}

/// A value in the quotes that `xtables_save_string` would put (libxtables/xtables.c).
fn quoted(out: &mut String, value: &str) {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !value.is_empty() && value.chars().all(plain) {
        out.push(' ');
        out.push_str(value);
        return;
    }
    out.push_str(" \"");
    for c in value.chars() {
        if matches!(c, '"' | '\\' | '\'') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
}

const CT_STATES: &[(u16, &str)] = &[
    (ct_state::INVALID, "INVALID"),
    (ct_state::NEW, "NEW"),
    (ct_state::RELATED, "RELATED"),
    (ct_state::ESTABLISHED, "ESTABLISHED"),
    (ct_state::UNTRACKED, "UNTRACKED"),
    (ct_state::SNAT, "SNAT"),
    (ct_state::DNAT, "DNAT"),
];

/// Bits of address types with their names, in the order of `extensions/libxt_addrtype.c`.
pub(super) const ADDR_TYPES: &[&str] = &[
    "UNSPEC",
    "UNICAST",
    "LOCAL",
    "BROADCAST",
    "ANYCAST",
    "MULTICAST",
    "BLACKHOLE",
    "UNREACHABLE",
    "PROHIBIT",
    "THROW",
    "NAT",
    "XRESOLVE",
];

/// Answers of REJECT in IPv4 (`enum ipt_reject_with`, linux/netfilter_ipv4/ipt_REJECT.h).
pub(super) const REJECT4: &[(u8, &str)] = &[
    (0, "icmp-net-unreachable"),
    (1, "icmp-host-unreachable"),
    (2, "icmp-proto-unreachable"),
    (3, "icmp-port-unreachable"),
    (5, "icmp-net-prohibited"),
    (6, "icmp-host-prohibited"),
    (7, "tcp-reset"),
    (8, "icmp-admin-prohibited"),
];

/// Answers of REJECT in IPv6 (`enum ip6t_reject_with`, linux/netfilter_ipv6/ip6t_REJECT.h).
pub(super) const REJECT6: &[(u8, &str)] = &[
    (0, "icmp6-no-route"),
    (1, "icmp6-adm-prohibited"),
    (3, "icmp6-addr-unreachable"),
    (4, "icmp6-port-unreachable"),
    (6, "tcp-reset"),
    (7, "icmp6-policy-fail"),
    (8, "icmp6-reject-route"),
];

impl Writer<'_> {
    fn str(&self, id: StrId) -> &str {
        self.table.str(id)
    }

    fn write_match(&self, out: &mut String, m: &Match) -> fmt::Result {
        match m {
            Match::Address4 { .. } | Match::Address6(_) => match m.address() {
                Some(a) => address(out, if a.destination { "-d" } else { "-s" }, a.net, a.invert),
                None => Ok(()),
            },
            Match::MaskedAddress(a) => {
                let flag = if a.destination { "-d" } else { "-s" };
                write!(out, "{} {flag} {}/{}", bang(a.invert), a.addr, a.mask)
            }
            Match::InInterface { name, invert } => write!(out, "{} -i {}", bang(*invert), self.str(*name)),
            Match::OutInterface { name, invert } => write!(out, "{} -o {}", bang(*invert), self.str(*name)),
            Match::Protocol { number, invert } => match protocol_name(*number) {
                Some(name) => write!(out, "{} -p {name}", bang(*invert)),
                None => write!(out, "{} -p {number}", bang(*invert)),
            },
            Match::Fragment { invert } => write!(out, "{} -f", bang(*invert)),
            Match::Comment(id) => {
                out.push_str(" -m comment --comment");
                quoted(out, self.str(*id));
                Ok(())
            }
            Match::Tcp { source, destination, option, flag_mask, flag_set, invert } => {
                out.push_str(" -m tcp");
                ports(out, "--sport", *source, invert & 1 != 0)?;
                ports(out, "--dport", *destination, invert & 2 != 0)?;
                if *option != 0 || invert & 8 != 0 {
                    write!(out, "{} --tcp-option {option}", bang(invert & 8 != 0))?;
                }
                if *flag_mask != 0 || invert & 4 != 0 {
                    write!(out, "{} --tcp-flags ", bang(invert & 4 != 0))?;
                    tcp_flags(out, *flag_mask);
                    out.push(' ');
                    tcp_flags(out, *flag_set);
                }
                Ok(())
            }
            Match::Udp { source, destination, invert } => {
                out.push_str(" -m udp");
                ports(out, "--sport", *source, invert & 1 != 0)?;
                ports(out, "--dport", *destination, invert & 2 != 0)
            }
            Match::Sctp { source, destination, flags, invert } => {
                out.push_str(" -m sctp");
                if flags & 1 != 0 {
                    ports(out, "--sport", *source, invert & 1 != 0)?;
                }
                if flags & 2 != 0 {
                    ports(out, "--dport", *destination, invert & 2 != 0)?;
                }
                Ok(())
            }
            Match::StatisticRandom { probability, invert } => {
                let p = f64::from(*probability) / f64::from(0x8000_0000_u32);
                write!(out, " -m statistic --mode random{} --probability {p:.11}", bang(*invert))
            }
            Match::StatisticNth { every, packet, invert } => write!(
                out,
                " -m statistic --mode nth{} --every {} --packet {packet}",
                bang(*invert),
                u64::from(*every) + 1
            ),
            Match::Recent(r) => self.recent(out, r),
            Match::Mark { mark, mask, invert } => {
                write!(out, " -m mark{} --mark {mark:#x}", bang(*invert))?;
                if *mask == u32::MAX { Ok(()) } else { write!(out, "/{mask:#x}") }
            }
            Match::Conntrack(ConntrackMatch { states, invert, state_alias, .. }) => {
                let (module, option) =
                    if *state_alias { ("state", "--state") } else { ("conntrack", "--ctstate") };
                write!(out, " -m {module}{} {option} ", bang(*invert))?;
                list(out, CT_STATES.iter().filter(|s| states & s.0 != 0).map(|s| s.1));
                Ok(())
            }
            Match::AddrType { source, destination, flags, .. } => {
                out.push_str(" -m addrtype");
                for (types, option, inverted) in [
                    (*source, "--src-type", addr_type::INVERT_SOURCE),
                    (*destination, "--dst-type", addr_type::INVERT_DEST),
                ] {
                    if types != 0 {
                        write!(out, "{} {option} ", bang(flags & inverted != 0))?;
                        let names = ADDR_TYPES.iter().enumerate().filter(|(i, _)| types & (1 << i) != 0);
                        list(out, names.map(|(_, n)| *n));
                    }
                }
                if flags & addr_type::LIMIT_IFACE_IN != 0 {
                    out.push_str(" --limit-iface-in");
                }
                if flags & addr_type::LIMIT_IFACE_OUT != 0 {
                    out.push_str(" --limit-iface-out");
                }
                Ok(())
            }
            // Two blanks, as libxt_nfacct.c prints it.
            Match::Nfacct { name, .. } => write!(out, " -m nfacct --nfacct-name  {}", self.str(*name)),
            Match::Set { name, index, dimensions, flags, .. } => {
                write!(out, " -m set{} --match-set ", bang(flags & set_flags::INVERT != 0))?;
                match name {
                    Some(name) => out.push_str(self.str(*name)),
                    None => write!(out, "#{index}")?,
                }
                out.push(' ');
                list(
                    out,
                    (0..*dimensions)
                        .map(|d| if flags & (set_flags::DIM_ONE_SRC << d) != 0 { "src" } else { "dst" }),
                );
                Ok(())
            }
            Match::Multiport(m) => multiport(out, m),
            Match::Physdev(p) => self.physdev(out, p),
            Match::Ipvs(i) => ipvs(out, i),
            // These are no words of iptables.
            Match::Native(_) | Match::Does(_) => Ok(()),
            Match::Counter => Ok(()),
            Match::Unknown(u) => {
                write!(out, " -m {} [revision {}, {} bytes]", self.str(u.name), u.revision, u.bytes.len())
            }
        }
    }

    fn recent(&self, out: &mut String, r: &RecentMatch) -> fmt::Result {
        write!(out, " -m recent{}", bang(r.invert))?;
        for (bit, text) in [
            (recent::SET, " --set"),
            (recent::CHECK, " --rcheck"),
            (recent::UPDATE, " --update"),
            (recent::REMOVE, " --remove"),
        ] {
            if r.check_set & bit != 0 {
                out.push_str(text);
            }
        }
        if r.seconds != 0 {
            write!(out, " --seconds {}", r.seconds)?;
        }
        if r.check_set & recent::REAP != 0 {
            out.push_str(" --reap");
        }
        if r.hit_count != 0 {
            write!(out, " --hitcount {}", r.hit_count)?;
        }
        if r.check_set & recent::TTL != 0 {
            out.push_str(" --rttl");
        }
        write!(out, " --name {}", self.str(r.name))?;
        if r.revision >= 1 {
            write!(out, " --mask {}", r.mask)?;
        }
        out.push_str(if r.side == 0 { " --rsource" } else { " --rdest" });
        Ok(())
    }

    fn physdev(&self, out: &mut String, p: &PhysdevMatch) -> fmt::Result {
        out.push_str(" -m physdev");
        for (bit, text, name) in [
            (8u8, "--physdev-is-in", None),
            (1, "--physdev-in", p.input),
            (16, "--physdev-is-out", None),
            (2, "--physdev-out", p.output),
            (4, "--physdev-is-bridged", None),
        ] {
            if p.operations & bit != 0 {
                write!(out, "{} {text}", bang(p.invert & bit != 0))?;
                if let Some(name) = name {
                    write!(out, " {}", self.str(name))?;
                }
            }
        }
        Ok(())
    }

    fn write_target(&self, out: &mut String, target: &Target) -> fmt::Result {
        match target {
            Target::None => Ok(()),
            Target::Verdict(v) => match v {
                Verdict::Accept => out.write_str(" -j ACCEPT"),
                Verdict::Drop => out.write_str(" -j DROP"),
                Verdict::Queue => out.write_str(" -j QUEUE"),
                Verdict::Return => out.write_str(" -j RETURN"),
                Verdict::Continue => Ok(()),
                Verdict::Jump(c) => write!(out, " -j {}", self.table.chain_name(*c)),
                Verdict::Goto(c) => write!(out, " -g {}", self.table.chain_name(*c)),
            },
            Target::DnatTo4 { .. } | Target::DnatTo6(_) => match target.as_dnat_to() {
                Some(DnatTo { addr: IpAddr::V4(a), port, .. }) => {
                    write!(out, " -j DNAT --to-destination {a}:{port}")
                }
                Some(DnatTo { addr: IpAddr::V6(a), port, .. }) => {
                    write!(out, " -j DNAT --to-destination [{a}]:{port}")
                }
                None => Ok(()),
            },
            Target::Dnat(r) => nat(out, "DNAT", Some("--to-destination"), r),
            Target::Snat(r) => nat(out, "SNAT", Some("--to-source"), r),
            Target::Masquerade(r) => nat(out, "MASQUERADE", None, r),
            Target::Redirect(r) => nat(out, "REDIRECT", None, r),
            Target::Mark { mark, mask } => write!(out, " -j MARK --set-xmark {mark:#x}/{mask:#x}"),
            Target::Reject { with } => {
                let names = if self.table.family == Family::Ip6 { REJECT6 } else { REJECT4 };
                match names.iter().find(|n| n.0 == *with) {
                    Some((_, name)) => write!(out, " -j REJECT --reject-with {name}"),
                    None => write!(out, " -j REJECT --reject-with {with}"),
                }
            }
            Target::Native(_) => Ok(()),
            Target::Unknown(u) => {
                write!(out, " -j {} [revision {}, {} bytes]", self.str(u.name), u.revision, u.bytes.len())
            }
        }
    }
}

fn address(out: &mut String, flag: &str, net: IpNet, invert: bool) -> fmt::Result {
    write!(out, "{} {flag} {net}", bang(invert))
}

fn list<'a>(out: &mut String, items: impl Iterator<Item = &'a str>) {
    for (i, item) in items.enumerate() {
        if i > 0 {
            out.push(',');
        }
        out.push_str(item);
    }
}

fn tcp_flags(out: &mut String, bits: u8) {
    const FLAGS: [&str; 6] = ["FIN", "SYN", "RST", "PSH", "ACK", "URG"];
    if bits == 0 {
        out.push_str("NONE");
    } else {
        list(out, FLAGS.iter().enumerate().filter(|(i, _)| bits & (1 << i) != 0).map(|(_, n)| *n));
    }
}

fn multiport(out: &mut String, m: &MultiportMatch) -> fmt::Result {
    let side = ["--sports", "--dports", "--ports"].get(usize::from(m.side)).unwrap_or(&"--ports");
    write!(out, " -m multiport{} {side} ", bang(m.invert))?;
    let mut in_range = false;
    for (i, (port, range)) in m.ports.iter().enumerate() {
        if in_range {
            out.push(':');
        } else if i > 0 {
            out.push(',');
        }
        write!(out, "{port}")?;
        in_range = *range;
    }
    Ok(())
}

fn ipvs(out: &mut String, i: &IpvsMatch) -> fmt::Result {
    out.push_str(" -m ipvs");
    let inverted = |bit: u8| bang(i.invert & bit != 0);
    // libxt_ipvs prints the general switch only where nothing finer is asked for.
    if i.operations == 1 {
        write!(out, "{} --ipvs", inverted(1))?;
    }
    if i.operations & 2 != 0 {
        write!(out, "{} --vproto {}", inverted(2), i.protocol)?;
    }
    if i.operations & 4 != 0 {
        write!(out, "{} --vaddr {}", inverted(4), i.address)?;
        if let Some(prefix) = mask_prefix(i.mask).filter(|p| *p != crate::IpFamily::of(i.mask).bits()) {
            write!(out, "/{prefix}")?;
        }
    }
    if i.operations & 8 != 0 {
        write!(out, "{} --vport {}", inverted(8), i.port)?;
    }
    if i.operations & 16 != 0 {
        out.push_str(if i.invert & 16 != 0 { " --vdir REPLY" } else { " --vdir ORIGINAL" });
    }
    if i.operations & 32 != 0 {
        let method = match i.method {
            0 => "MASQ",
            2 => "IPIP",
            3 => "GATE",
            _ => "UNKNOWN",
        };
        write!(out, "{} --vmethod {method}", inverted(32))?;
    }
    if i.operations & 64 != 0 {
        write!(out, "{} --vportctl {}", inverted(64), i.control_port)?;
    }
    Ok(())
}

fn nat(out: &mut String, target: &str, option: Option<&str>, r: &NatRange) -> fmt::Result {
    write!(out, " -j {target}")?;
    let has_ports = r.flags & nat_flags::PROTO_SPECIFIED != 0;
    let port_text = |out: &mut String| -> fmt::Result {
        write!(out, "{}", r.ports.0)?;
        if r.ports.1 != r.ports.0 { write!(out, "-{}", r.ports.1) } else { Ok(()) }
    };
    match option {
        Some(option) => {
            write!(out, " {option} ")?;
            if let Some((first, last)) = r.addrs {
                let brackets = has_ports && first.is_ipv6();
                if brackets {
                    out.push('[');
                }
                write!(out, "{first}")?;
                if last != first {
                    write!(out, "-{last}")?;
                }
                if brackets {
                    out.push(']');
                }
            }
            if has_ports {
                out.push(':');
                port_text(out)?;
            }
        }
        None if has_ports => {
            out.push_str(" --to-ports ");
            port_text(out)?;
        }
        None => {}
    }
    for (bit, text) in [
        (nat_flags::PROTO_RANDOM_FULLY, " --random-fully"),
        (nat_flags::PROTO_RANDOM, " --random"),
        (nat_flags::PERSISTENT, " --persistent"),
    ] {
        if r.flags & bit != 0 {
            out.push_str(text);
        }
    }
    Ok(())
}
