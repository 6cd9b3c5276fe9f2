//! What a rule does: statements on the way, and its end.

use super::translation::{amount, flags_text, limit, nat};
use super::values::{ICMP_CODES, ICMP6_CODES, ICMPX_CODES, Kind, named, side_value, value};
use super::words::{duration, family_word, verdict};
use super::writer::Writer;
use crate::UNREAD;
use crate::iptables_text::write_target;
use crate::{DnatTo, Target, nat_flags};
use crate::{Family, IpFamily, reject};
use crate::{Field, Load, Op, Statement, Terminal};
use std::fmt::{self, Write as _};
use std::net::IpAddr;

impl Writer<'_> {
    pub(super) fn statement(&mut self, out: &mut String, s: &Statement) -> fmt::Result {
        match s {
            Statement::SetMeta { key, value: v } => {
                let kind = self.field(out, &Load::new(Field::Meta(*key), 4));
                out.push_str(" set ");
                self.assigned(out, v, kind);
                Ok(())
            }
            Statement::SetCt { key, direction, value: v } => {
                let kind = self.field(out, &Load::new(Field::Ct { key: *key, direction: *direction }, 4));
                out.push_str(" set ");
                self.assigned(out, v, kind);
                Ok(())
            }
            Statement::Dynset { op, set, key, data, timeout_ms, carries, does, .. } => {
                let verb = ["add", "update", "delete"].get(*op as usize).unwrap_or(&"add");
                write!(out, "{verb} @{} {{ ", self.table.str(self.table.set(*set).name))?;
                self.key(out, key);
                if let Some(ms) = timeout_ms {
                    out.push_str(" timeout ");
                    duration(out, *ms);
                }
                for (i, c) in carries.iter().enumerate() {
                    out.push(' ');
                    match does.get(i) {
                        Some(s) => self.statement(out, s)?,
                        None => out.push_str(self.table.str(c.name)),
                    }
                }
                if !data.is_empty() {
                    out.push_str(" : ");
                    self.key(out, data);
                }
                out.write_str(" }")
            }
            Statement::Limit { rate, seconds, burst, bytes, over } => {
                limit(out, self.table.dialect, *rate, *seconds, *burst, *bytes, *over)
            }
            Statement::Quota { bytes, over } => {
                write!(out, "quota {}", if *over { "over " } else { "" })?;
                amount(out, *bytes)
            }
            Statement::Connlimit { count, over } => {
                write!(out, "ct count {}{count}", if *over { "over " } else { "" })
            }
            Statement::Log { prefix, group, level, rest: [snaplen, threshold, flags] } => {
                out.push_str("log");
                if let Some(prefix) = prefix {
                    write!(out, " prefix \"{}\"", self.table.str(*prefix))?;
                }
                if let Some(group) = group {
                    write!(out, " group {group}")?;
                    for (word, n) in [("snaplen", snaplen), ("queue-threshold", threshold)] {
                        if let Some(n) = n.filter(|n| *n > 0) {
                            write!(out, " {word} {n}")?;
                        }
                    }
                }
                const LEVELS: [&str; 9] =
                    ["emerg", "alert", "crit", "err", "warn", "notice", "info", "debug", "audit"];
                match level {
                    // The default is not printed.
                    Some(l) if *l != 4 && group.is_none() => {
                        write!(out, " level {}", LEVELS.get(*l as usize).unwrap_or(&"?"))?;
                    }
                    _ => {}
                }
                log_flags(out, flags.unwrap_or(0));
                Ok(())
            }
            Statement::Object { kind, name } => {
                let name = self.table.str(*name);
                match kind {
                    1 => write!(out, "counter name \"{name}\""),
                    2 => write!(out, "quota name \"{name}\""),
                    3 => write!(out, "ct helper set \"{name}\""),
                    4 => write!(out, "limit name \"{name}\""),
                    7 => write!(out, "ct timeout set \"{name}\""),
                    8 => write!(out, "meta secmark set \"{name}\""),
                    9 => write!(out, "ct expectation set \"{name}\""),
                    10 => write!(out, "synproxy name \"{name}\""),
                    _ => write!(out, "[object {kind} \"{name}\"]"),
                }
            }
            Statement::Notrack => out.write_str("notrack"),
            Statement::SetPayload { base, offset, len, value: v, .. } => {
                if let Some(()) = self.set_bits(out, *base, *offset, *len, v) {
                    return Ok(());
                }
                let field = Field::Payload { base: *base, offset: *offset, len: *len };
                let kind = self.field(out, &Load::new(field, *len));
                out.push_str(" set ");
                self.assigned(out, v, kind);
                Ok(())
            }
            Statement::SetExthdr { op, kind, offset, len, value: v } => {
                let of = self.exthdr(out, *op, *kind, *offset, *len, false);
                out.push_str(" set ");
                self.assigned(out, v, of);
                Ok(())
            }
            Statement::ResetExthdr { op, kind } => {
                out.push_str("reset ");
                let _ = self.exthdr(out, *op, *kind, 0, 0, true);
                Ok(())
            }
            Statement::ObjectMap { key, set } => {
                // What kind of object the map holds, nft knows from the map's own declaration.
                let kind = match self.table.set(*set).data_type {
                    2 => "quota",
                    4 => "limit",
                    3 => "ct helper",
                    _ => "counter",
                };
                write!(out, "{kind} name ")?;
                let sides = self.key(out, key);
                out.push_str(" map ");
                self.set(out, *set, sides);
                Ok(())
            }
            Statement::Tproxy { family, addr, port } => {
                out.push_str("tproxy");
                match family {
                    2 => out.push_str(" ip"),
                    10 => out.push_str(" ip6"),
                    _ => {}
                }
                out.push_str(" to ");
                if let Some(addr) = addr {
                    self.nat_operand(out, addr, *family);
                }
                if let Some(port) = port {
                    out.push(':');
                    self.nat_operand(out, port, 0);
                }
                Ok(())
            }
            Statement::Dup { addr, device } => {
                out.push_str("dup to ");
                match (addr, device) {
                    (Some(addr), device) => {
                        self.nat_operand(out, addr, if addr.len == 16 { 10 } else { 2 });
                        if let Some(device) = device {
                            out.push_str(" device ");
                            self.assigned(out, device, Kind::Interface);
                        }
                    }
                    (None, Some(device)) => self.assigned(out, device, Kind::InterfaceIndex),
                    (None, None) => {}
                }
                Ok(())
            }
            Statement::FlowAdd(name) => write!(out, "flow add @{}", self.table.str(*name)),
            Statement::Last => out.write_str("last"),
            // Out of a text that was not understood: as it was there.
            Statement::Unknown(u) if self.table.str(u.name) == UNREAD => {
                out.write_str(&String::from_utf8_lossy(&u.bytes))
            }
            Statement::Unknown(u) => write!(out, "[{}, {} bytes]", self.table.str(u.name), u.bytes.len()),
            Statement::Target(t) => {
                let mut text = String::new();
                self.target(&mut text, t)?;
                out.write_str(text.trim_start())
            }
        }
    }

    /// A write of some bits of a header: the field that they are, where they are one.
    fn set_bits(&self, out: &mut String, base: u8, offset: u32, len: u32, v: &Load) -> Option<()> {
        let same = Field::Payload { base, offset, len };
        let ([Op::Bitwise { mask, xor }], true) = (&v.ops[..], v.field == same) else { return None };
        if mask.len() > 16 || mask.len() != xor.len() {
            return None;
        }
        let written: Box<[u8]> = mask.iter().map(|b| !b).collect();
        let ops = vec![Op::Bitwise { mask: written, xor: vec![0; mask.len()].into() }];
        let (name, side) = self.bits(&Load { field: same, len, ops })?;
        let _ = write!(out, "{name} set ");
        side_value(out, side, xor);
        Some(())
    }

    fn assigned(&self, out: &mut String, load: &Load, kind: Kind) {
        match &load.field {
            Field::Value(bytes) if load.ops.is_empty() => value(out, kind, bytes),
            _ => {
                self.load(out, load);
            }
        }
    }

    pub(super) fn target(&mut self, out: &mut String, target: &Target) -> fmt::Result {
        let inet = self.table.family == Family::Inet;
        match target {
            Target::None => Ok(()),
            Target::Verdict(v) => {
                out.push(' ');
                verdict(out, self.table, *v)
            }
            Target::DnatTo4 { .. } | Target::DnatTo6(_) => {
                let Some(DnatTo { addr, port, .. }) = target.as_dnat_to() else { return Ok(()) };
                let l3 = if inet { family_word(addr) } else { "" };
                match addr {
                    IpAddr::V4(a) => write!(out, " dnat {l3}to {a}:{port}"),
                    IpAddr::V6(a) => write!(out, " dnat {l3}to [{a}]:{port}"),
                }
            }
            Target::Dnat(r) => nat(out, "dnat", inet, r),
            Target::Snat(r) => nat(out, "snat", inet, r),
            Target::Masquerade(r) => nat(out, "masquerade", false, r),
            Target::Redirect(r) => nat(out, "redirect", false, r),
            Target::Reject { with } => {
                let (kind, code) = reject::from_iptables(self.table.family, *with);
                self.reject(out, kind, code)
            }
            Target::Native(t) => self.terminal(out, t),
            other => write_target(out, self.table, other),
        }
    }

    fn terminal(&mut self, out: &mut String, t: &Terminal) -> fmt::Result {
        match t {
            Terminal::VerdictMap { key, set } => {
                out.push(' ');
                let sides = self.key(out, key);
                out.push_str(" vmap ");
                self.set(out, *set, sides);
                Ok(())
            }
            Terminal::Nat { destination, family, addr, port, flags } => {
                let verb = if *destination { "dnat" } else { "snat" };
                write!(out, " {verb}")?;
                // Address and port out of one map.
                let joined = matches!((addr, port), (Some((a, _)), Some((p, _)))
                    if matches!((&a.field, &p.field), (Field::Mapped(x), Field::Mapped(y)) if x.set == y.set));
                if joined || self.table.family == Family::Inet {
                    out.push_str(if *family == 10 { " ip6" } else { " ip" });
                }
                // `NF_NAT_RANGE_NETMAP`: networks for networks, both ends out of one map.
                let networks = flags & nat_flags::NETMAP != 0;
                out.push_str(if networks { " prefix to " } else { " to " });
                if let Some((from, to)) = addr {
                    self.nat_operand(out, from, *family);
                    if to != from && !networks {
                        out.push('-');
                        self.nat_operand(out, to, *family);
                    }
                }
                if let (Some((from, to)), false) = (port, joined) {
                    out.push(':');
                    self.nat_operand(out, from, 0);
                    if to != from {
                        out.push('-');
                        self.nat_operand(out, to, 0);
                    }
                }
                flags_text(out, *flags);
                Ok(())
            }
            Terminal::Reject { kind, code } => self.reject(out, *kind, *code),
            Terminal::QueueBy { value, flags } => {
                queue(out, *flags)?;
                out.push_str(" to ");
                self.load(out, value);
                Ok(())
            }
            Terminal::Forward { device, addr, family } => {
                out.push_str(" fwd ");
                if let Some(addr) = addr {
                    out.push_str(if *family == 10 { "ip6 to " } else { "ip to " });
                    self.nat_operand(out, addr, *family);
                    out.push_str(" device ");
                } else {
                    out.push_str("to ");
                }
                self.assigned(out, device, Kind::InterfaceIndex);
                Ok(())
            }
            Terminal::Synproxy { mss, wscale, flags } => {
                out.push_str(" synproxy");
                if flags & 1 != 0 {
                    write!(out, " mss {mss}")?;
                }
                if flags & 2 != 0 {
                    write!(out, " wscale {wscale}")?;
                }
                for (bit, word) in [(8, " timestamp"), (4, " sack-perm")] {
                    if flags & bit != 0 {
                        out.push_str(word);
                    }
                }
                Ok(())
            }
            Terminal::Queue { from, total, flags } => {
                queue(out, *flags)?;
                write!(out, " to {from}")?;
                if *total > 1 { write!(out, "-{}", u32::from(*from) + u32::from(*total) - 1) } else { Ok(()) }
            }
        }
    }

    /// "Port unreachable" is what nft does not print, where no other answer is asked for by the family.
    fn reject(&self, out: &mut String, kind: u32, code: u8) -> fmt::Result {
        let (answer, names, default) = match (kind, self.l3) {
            (reject::TCP_RESET, _) => return out.write_str(" reject with tcp reset"),
            (reject::ICMPX, _) => ("icmpx", ICMPX_CODES, Some(1)),
            (_, Some(IpFamily::V6)) => {
                ("icmpv6", ICMP6_CODES, (self.table.family == Family::Ip6).then_some(4))
            }
            _ => ("icmp", ICMP_CODES, (self.table.family == Family::Ip).then_some(3)),
        };
        out.push_str(" reject");
        if default == Some(code) {
            return Ok(());
        }
        write!(out, " with {answer} ")?;
        named(out, names, code)
    }

    fn nat_operand(&self, out: &mut String, load: &Load, family: u8) {
        let kind = match family {
            2 => Kind::Ipv4,
            10 => Kind::Ipv6,
            _ => Kind::Port,
        };
        self.assigned(out, load, kind);
    }
}

/// `queue` with its flags.
fn queue(out: &mut String, flags: u16) -> fmt::Result {
    out.push_str(" queue");
    for (i, (_, word)) in [(1, "bypass"), (2, "fanout")].iter().filter(|f| flags & f.0 != 0).enumerate() {
        write!(out, "{}{word}", if i > 0 { "," } else { " flags " })?;
    }
    Ok(())
}

/// `flags tcp sequence,options flags ip options` (`NF_LOG_*`, `linux/netfilter/nf_log.h`).
fn log_flags(out: &mut String, flags: u32) {
    const ALL: u32 = 0x2f;
    if flags & ALL == ALL {
        out.push_str(" flags all");
        return;
    }
    match flags & 3 {
        1 => out.push_str(" flags tcp sequence"),
        2 => out.push_str(" flags tcp options"),
        3 => out.push_str(" flags tcp sequence,options"),
        _ => {}
    }
    for (bit, text) in [(4, " flags ip options"), (8, " flags skuid"), (0x20, " flags ether")] {
        if flags & bit != 0 {
            out.push_str(text);
        }
    }
}
