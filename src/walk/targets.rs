//! What rules do with a packet that matched, and on the way.

use super::CtState;
use super::End;
use super::RulesetIndex;
use super::assumption::Question;
use super::match_result::MatchResult;
use super::native::{Loaded, may_have};
use super::packet_state::PacketState;
use super::travel::Next;
use crate::ruleset::{
    Data, Hook, IpFamily, Load, Match, NatRange, RuleId, Statement, Table, Target, Terminal, UNREAD, Verdict,
    ct, meta, nat_flags,
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
/// True for a target that takes packets out of connection tracking: `NOTRACK`, and `CT --notrack` as the kernel keeps it
/// (`struct xt_ct_target_info` begins with flags, of which the first is `XT_CT_NOTRACK`; linux/netfilter/xt_CT.h), or as text.
fn untracks(name: &str, bytes: &[u8]) -> bool {
    const OPTION: &[u8] = b"--notrack";
    let as_text = || bytes.windows(OPTION.len()).any(|w| w == OPTION);
    let flags = || bytes.first_chunk().map_or(0, |b| u16::from_ne_bytes(*b));
    match name {
        "NOTRACK" => true,
        "CT" if bytes.starts_with(b"-") => as_text(),
        "CT" => flags() & 1 != 0,
        _ => false,
    }
}

/// True for a rule's target that takes packets out of connection tracking.
pub fn takes_out_of_tracking(table: &Table, rule: RuleId) -> bool {
    let Some(rule) = table.rules.get(rule.0 as usize) else { return false };
    let by_target = match &rule.target {
        Target::Unknown(u) => untracks(table.str(u.name), &u.bytes),
        _ => false,
    };
    by_target
        || table.matches_of(rule).iter().any(|m| matches!(m, Match::Does(s) if **s == Statement::Notrack))
}

/// Of them, those after which the packet's mark may be another.
const MARKS: [&str; 2] = ["CONNMARK", "HMARK"];

/// True where a text of nft that is not understood holds a word that ends a packet's way or translates it.
fn may_end(text: &str) -> bool {
    let mut words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-'));
    const ENDS: [&str; 15] = [
        "accept",
        "drop",
        "reject",
        "queue",
        "jump",
        "goto",
        "return",
        "vmap",
        "dnat",
        "snat",
        "masquerade",
        "redirect",
        "fwd",
        "synproxy",
        "xt",
    ];
    words.any(|w| ENDS.contains(&w))
}

/// A mark that is set to what was loaded, and which of its bits are not known.
fn set_mark(t: &mut PacketState, loaded: &Loaded) -> (u32, u32) {
    let word = |b: &[u8]| {
        let mut word = [0; 4];
        let len = b.len().min(4);
        word[..len].copy_from_slice(&b[..len]);
        u32::from_ne_bytes(word)
    };
    match loaded {
        Loaded::Bytes(b) => (word(b), 0),
        Loaded::Partly(b, unknown, _) => {
            t.unsure.writes += 1;
            (word(b), word(unknown))
        }
        _ => {
            t.unsure.writes += 1;
            (0, u32::MAX)
        }
    }
}

impl RulesetIndex<'_> {
    /// Something of which not even the kind is known: it may end the packet, and write what it likes.
    fn not_understood(&self, table: &Table, t: &mut PacketState, what: &str, end: End) -> MatchResult {
        let held = MatchResult::Decides(format!("{what} ({})", t.rule_place(table)), end);
        self.may_write(t);
        held
    }

    /// Whatever can be written may be another from here on.
    fn may_write(&self, t: &mut PacketState) {
        t.doubt_everything(t.is_here(self));
    }

    /// What a native rule does on the way; it may also limit.
    pub(super) fn does(&self, table: &Table, t: &mut PacketState, statement: &Statement) -> MatchResult {
        match statement {
            Statement::SetMeta { key: meta::MARK, value } => {
                match self.load(table, t, value) {
                    Loaded::Break => return MatchResult::No,
                    Loaded::Draw(n) => return MatchResult::Draw(n),
                    loaded => (t.packet.mark, t.unsure.mark) = set_mark(t, &loaded),
                }
                MatchResult::Yes
            }
            Statement::SetMeta { key, value } => {
                let bytes = match self.load(table, t, value) {
                    Loaded::Break => return MatchResult::No,
                    Loaded::Draw(n) => return MatchResult::Draw(n),
                    Loaded::Bytes(b) => Some(b),
                    Loaded::Partly(..) | Loaded::Unknown(_) => None,
                };
                t.unsure.writes += u32::from(bytes.is_none());
                t.unsure.meta.retain(|m| m.0 != *key);
                t.unsure.meta.push((*key, bytes));
                MatchResult::Yes
            }
            Statement::SetCt { key: ct::MARK, value, .. } => {
                match self.load(table, t, value) {
                    Loaded::Break => return MatchResult::No,
                    Loaded::Draw(n) => return MatchResult::Draw(n),
                    // Without a flow nothing is written (`nft_ct_set_eval`).
                    _ if matches!(t.state(), CtState::Untracked | CtState::Invalid) => {}
                    loaded => (t.flow_mark, t.unsure.flow_mark) = set_mark(t, &loaded),
                }
                MatchResult::Yes
            }
            // What else is kept with the flow: what conditions on it find is not known before either.
            Statement::SetCt { value, .. } => match self.load(table, t, value) {
                Loaded::Break => MatchResult::No,
                Loaded::Draw(n) => MatchResult::Draw(n),
                _ => {
                    t.unsure.writes += 1;
                    MatchResult::Yes
                }
            },
            Statement::SetPayload { base, offset, len, checksum, value } => {
                let mut bytes = match self.load(table, t, value) {
                    Loaded::Break => return MatchResult::No,
                    Loaded::Draw(n) => return MatchResult::Draw(n),
                    Loaded::Bytes(b) => b.into_iter().map(Some).collect(),
                    Loaded::Partly(b, unknown, _) => {
                        b.into_iter().zip(unknown).map(|(b, u)| (u == 0).then_some(b)).collect()
                    }
                    Loaded::Unknown(_) => Vec::new(),
                };
                bytes.resize(*len as usize, None);
                // `NFT_PAYLOAD_CSUM_NONE`
                let mends = checksum.0 != 0;
                t.write_header(*base, *offset as usize, bytes, mends, t.is_here(self));
                MatchResult::Yes
            }
            // Only what a packet has can be written or taken out (`nft_exthdr_tcp_set_eval`); what it has is not known.
            Statement::SetExthdr { op, .. } | Statement::ResetExthdr { op, .. }
                if !may_have(t.packet.protocol, t.packet.family(), *op) =>
            {
                MatchResult::No
            }
            Statement::SetExthdr { .. } | Statement::ResetExthdr { .. } => {
                t.unsure.writes += 1;
                MatchResult::Yes
            }
            Statement::Limit { rate, seconds, over, .. } => fork(
                *over,
                format!("the limit of {rate} in {seconds} s is reached ({})", t.rule_place(table)),
            ),
            Statement::Quota { bytes, over } => {
                fork(*over, format!("the quota of {bytes} bytes is used up ({})", t.rule_place(table)))
            }
            Statement::Connlimit { count, over } => {
                fork(*over, format!("there are more than {count} connections ({})", t.rule_place(table)))
            }
            Statement::Notrack => {
                t.untrack();
                MatchResult::Yes
            }
            Statement::Tproxy { .. } => {
                MatchResult::either(format!("a socket takes the packet by tproxy ({})", t.rule_place(table)))
            }
            Statement::Unknown(u) if table.str(u.name) == UNREAD => {
                let text = String::from_utf8_lossy(&u.bytes);
                let what = format!("`{text}`, which kptop does not understand,");
                if may_end(&text) {
                    return self.not_understood(table, t, &what, End::Undecided);
                }
                let held = MatchResult::either(format!("{what} lets it go on ({})", t.rule_place(table)));
                self.may_write(t);
                held
            }
            Statement::Unknown(u) => {
                let what = format!("`{}`, which kptop does not know,", table.str(u.name));
                self.not_understood(table, t, &what, End::Undecided)
            }
            Statement::Target(target) => match self.target(table, t, target) {
                Next::Rule => MatchResult::Yes,
                _ => MatchResult::either(format!(
                    "a verdict in the middle of the rule lets it go on ({})",
                    t.rule_place(table)
                )),
            },
            // `NFT_OBJECT_QUOTA`, `NFT_OBJECT_LIMIT`: they hold or not. The others count, or do something to the flow.
            Statement::Object { kind: kind @ (2 | 4), name } => {
                let kind = if *kind == 2 { "quota" } else { "limit" };
                MatchResult::either(format!(
                    "the {kind} {} holds ({})",
                    table.str(*name),
                    t.rule_place(table)
                ))
            }
            Statement::ObjectMap { key, set } => match self.key(table, t, key) {
                Err(held) => held,
                Ok(key) => match self.find(table, t, *set, &key) {
                    Ok(found) => MatchResult::from(found.is_some()),
                    Err(held) => held,
                },
            },
            // What elements carry may hold or not, as a limit for each client does.
            Statement::Dynset { carries, set, .. }
                if carries.iter().any(|c| table.str(c.name) != "counter") =>
            {
                let name = table.str(table.set(*set).name);
                MatchResult::either(format!(
                    "what @{name} keeps for the packet holds ({})",
                    t.rule_place(table)
                ))
            }
            // A set that is full takes no more, and the rule does not match (`nft_dynset_eval`).
            Statement::Dynset { op: 0 | 1, set, .. }
                if table.set(*set).size.is_some_and(|s| table.set(*set).count >= Some(u64::from(s))) =>
            {
                let name = table.str(table.set(*set).name);
                MatchResult::either(format!(
                    "@{name}, which is full, has the packet ({})",
                    t.rule_place(table)
                ))
            }
            // These do not stop the rule: a log nobody reads, a copy, a flow that may go around the rules later.
            Statement::Dup { .. } | Statement::FlowAdd(_) | Statement::Last => MatchResult::Yes,
            Statement::Dynset { .. } | Statement::Log { .. } | Statement::Object { .. } => MatchResult::Yes,
        }
    }

    pub(super) fn target(&self, table: &Table, t: &mut PacketState, target: &Target) -> Next {
        // In tables of both families a translation of the other one does nothing (`nft_nat_inet_eval`).
        if family_of(target).is_some_and(|f| f != t.packet.family()) {
            return Next::Rule;
        }
        match target {
            Target::None => Next::Rule,
            Target::Verdict(v) => verdict(*v),
            Target::DnatTo4 { .. } | Target::DnatTo6(_) => match target.as_dnat_to() {
                Some(to) => {
                    let port = if to.port == 0 { t.packet.destination_port } else { to.port };
                    t.translate_destination(to.addr, port);
                    // Nothing is routed there: what two versions of iptables made of a rule.
                    if to.addr.is_unspecified() { Next::End(End::Lost) } else { Next::Accept }
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
                if t.hook != Hook::Output {
                    (t.unsure.destination, t.local) = (true, Some(true));
                }
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
                t.unsure.mark &= !mask;
                Next::Rule
            }
            Target::Reject { .. } => Next::End(End::Rejected),
            Target::Native(terminal) => self.terminal(table, t, terminal),
            Target::Unknown(u) => {
                let name = table.str(u.name);
                if untracks(name, &u.bytes) {
                    t.untrack();
                    return Next::Rule;
                }
                if MARKS.contains(&name) {
                    t.unsure.writes += 1;
                    t.unsure.mark = u32::MAX;
                    t.unsure.flow_mark = u32::MAX;
                }
                match GOES_ON.contains(&name) {
                    true => Next::Rule,
                    false => Next::Either(
                        Question::Other(format!(
                            "the target {name}, which kptop does not know, lets the packet go on ({})",
                            t.rule_place(table)
                        )),
                        Box::new(Next::Rule),
                        Box::new(Next::End(End::Undecided)),
                    ),
                }
            }
        }
    }

    fn dnat(&self, t: &mut PacketState, range: &NatRange) -> Next {
        let port = port_of(range, t);
        match range.addrs {
            Some((first, last)) => {
                if first != last {
                    t.assume(format!("of {first}-{last} the first is taken"));
                }
                t.translate_destination(first, port);
                if first.is_unspecified() && first == last {
                    return Next::End(End::Lost);
                }
                if first != last {
                    t.unsure.destination = true;
                    let here = self.is_local(first);
                    t.local = (here == self.is_local(last)).then_some(here);
                }
            }
            None => {
                let same = t.packet.destination;
                t.translate_destination(same, port);
            }
        }
        Next::Accept
    }

    fn terminal(&self, table: &Table, t: &mut PacketState, terminal: &Terminal) -> Next {
        match terminal {
            Terminal::VerdictMap { key, set } => {
                let key = match self.key(table, t, key) {
                    Ok(key) => key,
                    Err(MatchResult::Draw(n)) => return Next::Draw(n),
                    Err(MatchResult::Either(what, wanted)) => return Next::fork(what, wanted),
                    Err(_) => return Next::Break,
                };
                match self.find(table, t, *set, &key) {
                    Ok(Some(e)) => match e.data {
                        Data::Verdict(v) => verdict(v),
                        _ => Next::Break,
                    },
                    Ok(None) => Next::Break,
                    Err(MatchResult::Either(what, wanted)) => Next::fork(what, wanted),
                    Err(_) => Next::Break,
                }
            }
            Terminal::Nat { destination, addr, port, .. } => {
                let mut unknown = addr.as_ref().is_some_and(|a| a.0 != a.1);
                let addr = match addr.as_ref().map(|a| self.load(table, t, &a.0)) {
                    None => None,
                    Some(Loaded::Bytes(b)) => crate::ruleset::address(t.packet.family(), &b),
                    Some(Loaded::Draw(n)) => return Next::Draw(n),
                    Some(Loaded::Break) => return Next::Break,
                    Some(Loaded::Partly(_, _, what) | Loaded::Unknown(what)) => {
                        t.assume(format!("the address is another, as {what} says ({})", t.rule_place(table)));
                        unknown = true;
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
                    t.unsure.destination |= unknown;
                } else {
                    t.translate_source(addr.filter(|_| !unknown));
                }
                Next::Accept
            }
            Terminal::QueueBy { .. } => Next::End(End::Queued),
            Terminal::Forward { .. } => Next::End(End::Sent),
            // `nft_synproxy_do_eval`: only TCP is answered.
            Terminal::Synproxy { .. } if t.packet.protocol != 6 => Next::Break,
            Terminal::Synproxy { .. } => Next::End(End::Undecided),
            Terminal::Reject { .. } => Next::End(End::Rejected),
            Terminal::Queue { .. } => Next::End(End::Queued),
        }
    }

    /// A port out of a load.
    fn number(&self, table: &Table, t: &mut PacketState, load: &Load) -> Result<Option<u16>, Next> {
        match self.load(table, t, load) {
            Loaded::Bytes(b) => Ok(b.first_chunk::<2>().map(|p| u16::from_be_bytes(*p))),
            Loaded::Draw(n) => Err(Next::Draw(n)),
            Loaded::Break => Err(Next::Break),
            Loaded::Partly(_, _, what) | Loaded::Unknown(what) => {
                t.assume(format!("the port is another, as {what} says ({})", t.rule_place(table)));
                t.unsure.destination_port = true;
                Ok(None)
            }
        }
    }
}

/// The family of packets that a translation is for, where its addresses say.
fn family_of(target: &Target) -> Option<IpFamily> {
    match target {
        Target::DnatTo4 { .. } | Target::DnatTo6(_) => target.as_dnat_to().map(|to| IpFamily::of(to.addr)),
        Target::Dnat(r) | Target::Snat(r) => r.addrs.map(|a| IpFamily::of(a.0)),
        Target::Native(n) => match **n {
            Terminal::Nat { family: 2, .. } => Some(IpFamily::V4),
            Terminal::Nat { family: 10, .. } => Some(IpFamily::V6),
            _ => None,
        },
        _ => None,
    }
}

/// A limit that holds within, or beyond.
fn fork(over: bool, reached: String) -> MatchResult {
    match over {
        true => MatchResult::either(reached),
        false => MatchResult::either(reached).invert(true),
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
fn port_of(range: &NatRange, t: &mut PacketState) -> u16 {
    let (first, last, _) = range.ports;
    if range.flags & nat_flags::PROTO_SPECIFIED == 0 || first == 0 {
        return t.packet.destination_port;
    }
    if first != last {
        t.assume(format!("of the ports {first}-{last} the first is taken"));
        t.unsure.destination_port = true;
    }
    first
}
