//! What rules do with a packet that matched, and on the way.

use super::End;
use super::Ground;
use super::held::Held;
use super::native::Loaded;
use super::travel::{Next, Traveller};
use crate::ruleset::{
    Data, Hook, IpFamily, Load, NatRange, Statement, Table, Target, Terminal, Verdict, ct, meta, nat_flags,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Targets of x_tables that only do something and let the packet go on (`net/netfilter/xt_*.c`: `XT_CONTINUE`).
const GOES_ON: [&str; 24] = [
    "LOG",
    "NFLOG",
    "TRACE",
    "CONNMARK",
    "TCPMSS",
    "CLASSIFY",
    "TOS",
    "DSCP",
    "TTL",
    "HL",
    "CHECKSUM",
    "AUDIT",
    "SECMARK",
    "CONNSECMARK",
    "SET",
    "IDLETIMER",
    "LED",
    "RATEEST",
    "TEE",
    "HMARK",
    "TCPOPTSTRIP",
    "ECN",
    "CT",
    "ULOG",
];
/// Of them, those after which the packet's mark may be another.
const MARKS: [&str; 2] = ["CONNMARK", "HMARK"];

impl Ground<'_> {
    /// What a native rule does on the way; it may also limit.
    pub(super) fn does(&self, table: &Table, t: &mut Traveller, statement: &Statement) -> Held {
        match statement {
            Statement::SetMeta { key, value } => {
                if *key == meta::MARK {
                    match self.load(table, t, value) {
                        Loaded::Bytes(b) => {
                            if let Some(word) = b.first_chunk::<4>() {
                                t.packet.mark = u32::from_ne_bytes(*word);
                            }
                        }
                        Loaded::Break => return Held::No,
                        Loaded::Draw(n) => return Held::Draw(n),
                        Loaded::Unknown(what) => {
                            t.assume(format!("the mark stays as it is, though it is set to {what}"));
                        }
                    }
                }
                Held::Yes
            }
            Statement::SetCt { key, value, .. } => {
                if *key == ct::MARK
                    && let Loaded::Bytes(b) = self.load(table, t, value)
                    && let Some(word) = b.first_chunk::<4>()
                {
                    t.flow_mark = u32::from_ne_bytes(*word);
                }
                Held::Yes
            }
            Statement::Limit { rate, seconds, over, .. } => {
                fork(*over, format!("the limit of {rate} in {seconds} s is reached"))
            }
            Statement::Quota { bytes, over } => fork(*over, format!("the quota of {bytes} bytes is used up")),
            Statement::Connlimit { count, over } => {
                fork(*over, format!("there are more than {count} connections"))
            }
            Statement::Notrack => {
                t.untrack();
                Held::Yes
            }
            Statement::Unknown(u) => {
                Held::either(format!("`{}`, which kptop does not know, lets it go on", table.str(u.name)))
            }
            Statement::Target(target) => match self.target(table, t, target) {
                Next::Rule => Held::Yes,
                _ => Held::either("a verdict in the middle of the rule lets it go on"),
            },
            // These may fail, but not stop the rule: a full set, a log nobody reads.
            Statement::Dynset { .. } | Statement::Log { .. } | Statement::Object { .. } => Held::Yes,
        }
    }

    pub(super) fn target(&self, table: &Table, t: &mut Traveller, target: &Target) -> Next {
        match target {
            Target::None => Next::Rule,
            Target::Verdict(v) => verdict(*v),
            Target::DnatTo4 { .. } | Target::DnatTo6(_) => match target.as_dnat_to() {
                Some(to) => {
                    let port = if to.port == 0 { t.packet.destination_port } else { to.port };
                    t.translate_destination(to.addr, port);
                    Next::Accept
                }
                None => Next::Rule,
            },
            Target::Dnat(range) => self.dnat(t, range),
            Target::Redirect(range) => {
                // `nf_nat_redirect`: the address of the interface by which it came; that of `lo` for the node's own.
                let loopback: IpAddr = match t.packet.family() {
                    IpFamily::V4 => Ipv4Addr::LOCALHOST.into(),
                    IpFamily::V6 => Ipv6Addr::LOCALHOST.into(),
                };
                if t.hook != Hook::Output {
                    t.assume("the packet came in by an interface that has an address".into());
                }
                let port = port_of(range, t);
                t.translate_destination(loopback, port);
                Next::Accept
            }
            Target::Snat(range) => {
                t.translate_source(range.addrs.filter(|a| a.0 == a.1).map(|a| a.0));
                Next::Accept
            }
            Target::Masquerade(_) => {
                t.translate_source(None);
                Next::Accept
            }
            Target::Mark { mark, mask } => {
                t.packet.mark = t.packet.mark & !mask ^ mark;
                Next::Rule
            }
            Target::Reject { .. } => Next::End(End::Rejected),
            Target::Native(terminal) => self.terminal(table, t, terminal),
            Target::Unknown(u) => {
                let name = table.str(u.name);
                if MARKS.contains(&name) {
                    t.assume(format!("{name} leaves the mark as it is"));
                }
                match GOES_ON.contains(&name) {
                    true => Next::Rule,
                    false => Next::Either(
                        format!("the target {name}, which kptop does not know, lets the packet go on"),
                        Box::new(Next::Rule),
                        Box::new(Next::End(End::Undecided)),
                    ),
                }
            }
        }
    }

    fn dnat(&self, t: &mut Traveller, range: &NatRange) -> Next {
        let port = port_of(range, t);
        match range.addrs {
            Some((first, last)) => {
                if first != last {
                    t.assume(format!("of {first}-{last} the first is taken"));
                }
                t.translate_destination(first, port);
            }
            None => {
                let same = t.packet.destination;
                t.translate_destination(same, port);
            }
        }
        Next::Accept
    }

    fn terminal(&self, table: &Table, t: &mut Traveller, terminal: &Terminal) -> Next {
        match terminal {
            Terminal::VerdictMap { key, set } => {
                let key = match self.key(table, t, key) {
                    Ok(key) => key,
                    Err(Held::Draw(n)) => return Next::Draw(n),
                    Err(Held::Either(what, _)) => {
                        return Next::Either(what, Box::new(Next::Rule), Box::new(Next::Break));
                    }
                    Err(_) => return Next::Break,
                };
                match self.find(table, t, *set, &key) {
                    Ok(Some(e)) => match e.data {
                        Data::Verdict(v) => verdict(v),
                        _ => Next::Break,
                    },
                    Ok(None) => Next::Break,
                    Err(Held::Either(what, _)) => {
                        Next::Either(what, Box::new(Next::Rule), Box::new(Next::Break))
                    }
                    Err(_) => Next::Break,
                }
            }
            Terminal::Nat { destination, addr, port, .. } => {
                let addr = match addr.as_ref().map(|a| self.load(table, t, &a.0)) {
                    None => None,
                    Some(Loaded::Bytes(b)) => crate::ruleset::address(t.packet.family(), &b),
                    Some(Loaded::Draw(n)) => return Next::Draw(n),
                    Some(Loaded::Break) => return Next::Break,
                    Some(Loaded::Unknown(what)) => {
                        t.assume(format!("the address does not change, though it is set to {what}"));
                        None
                    }
                };
                let port = match port.as_ref().map(|p| self.number(table, t, &p.0)) {
                    None => None,
                    Some(Ok(n)) => n,
                    Some(Err(next)) => return next,
                };
                if *destination {
                    let to = addr.unwrap_or(t.packet.destination);
                    let port = port.unwrap_or(t.packet.destination_port);
                    t.translate_destination(to, port);
                } else {
                    t.translate_source(addr);
                }
                Next::Accept
            }
            Terminal::Reject { .. } => Next::End(End::Rejected),
            Terminal::Queue { .. } => Next::End(End::Queued),
        }
    }

    /// A port out of a load.
    fn number(&self, table: &Table, t: &mut Traveller, load: &Load) -> Result<Option<u16>, Next> {
        match self.load(table, t, load) {
            Loaded::Bytes(b) => Ok(b.first_chunk::<2>().map(|p| u16::from_be_bytes(*p))),
            Loaded::Draw(n) => Err(Next::Draw(n)),
            Loaded::Break => Err(Next::Break),
            Loaded::Unknown(what) => {
                t.assume(format!("the port does not change, though it is set to {what}"));
                Ok(None)
            }
        }
    }
}

/// A limit that holds within, or beyond.
fn fork(over: bool, reached: String) -> Held {
    match over {
        true => Held::either(reached),
        false => Held::Either(format!("not: {reached}"), reached),
    }
}

fn verdict(v: Verdict) -> Next {
    match v {
        Verdict::Accept => Next::Accept,
        Verdict::Drop => Next::End(End::Dropped),
        Verdict::Queue => Next::End(End::Queued),
        Verdict::Return => Next::Return,
        Verdict::Continue => Next::Rule,
        Verdict::Jump(c) => Next::Jump(c),
        Verdict::Goto(c) => Next::Goto(c),
    }
}

/// The port that a range gives a packet.
fn port_of(range: &NatRange, t: &mut Traveller) -> u16 {
    let (first, last, _) = range.ports;
    if range.flags & nat_flags::PROTO_SPECIFIED == 0 || first == 0 {
        return t.packet.destination_port;
    }
    if first != last {
        t.assume(format!("of the ports {first}-{last} the first is taken"));
    }
    first
}
