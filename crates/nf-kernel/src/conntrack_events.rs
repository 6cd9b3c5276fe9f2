//! Notices of conntrack: flows that began, were answered and ended, also those that live too short for a dump to see.

use super::conntrack::{ASSURED, Flow, SEEN_REPLY, SUBSYSTEM, parse_flow};
use super::netlink::{NETLINK_NETFILTER, attrs, be_uint};
use super::notices::Listener;
use super::steps::{Step, step};
use super::{Error, Result, linux, module};
use nf_ruleset::octets;
use std::fs;
use std::net::IpAddr;
use std::time::Duration;

/// `NFNLGRP_CONNTRACK_NEW`, `NFNLGRP_CONNTRACK_UPDATE`, `NFNLGRP_CONNTRACK_DESTROY` (`linux/netfilter/nfnetlink.h`)
const GROUP_NEW: u32 = 1;
const GROUP_UPDATE: u32 = 2;
const GROUP_DESTROY: u32 = 3;
/// `IPCTNL_MSG_CT_NEW`, `IPCTNL_MSG_CT_DELETE` (`linux/netfilter/nfnetlink_conntrack.h`)
const NEW: u16 = (SUBSYSTEM as u16) << 8;
const DELETE: u16 = (SUBSYSTEM as u16) << 8 | 2;
/// `NLM_F_CREATE | NLM_F_EXCL`: of the notices of one type, what is new (`ctnetlink_conntrack_event`).
const CREATED: u16 = 0x600;
/// `CTA_STATUS`, `CTA_ID`, `CTA_TIMESTAMP_EVENT` (Linux 6.14, with `nf_conntrack_timestamp`)
const CTA_STATUS: u16 = 3;
const CTA_ID: u16 = 12;
const CTA_TIMESTAMP_EVENT: u16 = 27;
/// `IPS_DST_NAT`: the destination was translated (`linux/netfilter/nf_conntrack_common.h`).
const DST_NAT: u32 = 1 << 5;

/// Room for what comes between two looks: some 60,000 notices.
const ROOM: usize = 64 * 1024 * 1024;

/// What happened to a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It began: its first packet left the node or was taken by it.
    New,
    /// Its first answer came.
    Answered,
    /// Its entry is gone.
    Ended,
}

/// A notice.
#[derive(Clone, Copy, Debug)]
pub struct Notice {
    /// What happened.
    pub event: Event,
    /// To which flow.
    pub flow: Flow,
    /// The flow's number in all of its notices; two flows seldom have the same at one time.
    pub id: u32,
    /// When it happened, in nanoseconds since 1970, where the kernel says it.
    pub at_ns: Option<u64>,
}

/// Which flows are listened to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Every one.
    All,
    /// Those that were sent to one of these addresses. More than 200 are not left out by the kernel, but are all told.
    To(Vec<IpAddr>),
    /// Those whose destination was translated.
    Translated,
}

/// Listens to flows of one network namespace.
#[derive(Debug)]
pub struct Events {
    listener: Listener,
    wanted: Wanted,
    /// One of two to the power of this is told.
    sampling: u32,
    answers: bool,
}

impl Events {
    /// Begins to listen, in the calling thread's namespace; the kernel itself leaves out flows that are not wanted.
    ///
    /// # Errors
    /// The module is not loaded, `nf_conntrack_events` is 0, or a privilege is missing.
    pub fn open(wanted: Wanted) -> Result<Events> {
        let what = "listening to flows";
        if !module::is_there("nf_conntrack_netlink") {
            return Err(Error::missing(what, "module nf_conntrack_netlink is not loaded", None));
        }
        if fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_events").is_ok_and(|v| v.trim() == "0") {
            return Err(Error::missing(
                what,
                "net.netfilter.nf_conntrack_events is 0: the kernel reports no flow",
                Some("sysctl -w net.netfilter.nf_conntrack_events=1"),
            ));
        }
        let groups = [GROUP_NEW, GROUP_DESTROY];
        let listener = Listener::join_filtered(NETLINK_NETFILTER, &groups, ROOM, &program(&wanted, 0))?;
        Ok(Events { listener, wanted, sampling: 0, answers: false })
    }

    /// Has the kernel tell of first answers too, or not any more: each flow makes several notices more then, of which it
    /// leaves out all but one.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn tell_answers(&mut self, tell: bool) -> Result<()> {
        if self.answers != tell {
            self.listener.set_member(GROUP_UPDATE, tell)?;
            self.answers = tell;
        }
        Ok(())
    }

    /// True where first answers are told.
    pub fn tells_answers(&self) -> bool {
        self.answers
    }

    /// Has the kernel tell only of one flow in `2^sampling`, chosen by its number: of those everything.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn sample(&mut self, sampling: u32) -> Result<()> {
        if self.sampling != sampling {
            let mut steps = program(&self.wanted, sampling);
            if steps.is_empty() {
                steps.push(step(RETURN, 0, 0, u32::MAX));
            }
            self.listener.filter(&steps)?;
            self.sampling = sampling;
        }
        Ok(())
    }

    /// See [`Events::sample`].
    pub fn sampling(&self) -> u32 {
        self.sampling
    }

    /// Waits until something came; `false` where nothing did in that time.
    pub fn wait(&self, time: Duration) -> Result<bool> {
        self.listener.wait(time)
    }

    /// Takes what came.
    pub fn receive(&mut self, each: &mut dyn FnMut(&Notice)) -> Result<()> {
        let answers = self.answers;
        self.listener.receive(&mut |m| {
            let event = match m.kind {
                NEW if m.flags & CREATED != 0 => Event::New,
                NEW if answers => Event::Answered,
                DELETE => Event::Ended,
                _ => return,
            };
            if let Some(notice) = parse(event, m.payload) {
                each(&notice);
            }
        })
    }

    /// Notices that found no room.
    pub fn lost(&self) -> u64 {
        self.listener.lost()
    }
}

fn parse(event: Event, payload: &[u8]) -> Option<Notice> {
    let flow = parse_flow(payload)?;
    let (mut id, mut at_ns) = (0, None);
    for (kind, value) in attrs(payload.get(4..)?) {
        match kind {
            CTA_ID => id = be_uint(value)? as u32,
            CTA_TIMESTAMP_EVENT => at_ns = be_uint(value),
            _ => {}
        }
    }
    Some(Notice { event, flow, id, at_ns })
}

// Classic BPF (`linux/bpf_common.h`): load a word, half a word or a byte from an offset, or a word behind the index
// register; set the registers; compare; return.
const LOAD_WORD: u16 = 0x20;
const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE: u16 = 0x30;
const LOAD_WORD_BEHIND: u16 = 0x40;
const SET: u16 = 0x00;
const SET_INDEX: u16 = 0x01;
const TO_INDEX: u16 = 0x07;
const AND: u16 = 0x54;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_IF_SET: u16 = 0x45;
const RETURN: u16 = 0x06;
/// `SKF_AD_OFF + SKF_AD_NLATTR` (`linux/filter.h`): loads where the attribute of the type in the index register is, from the
/// place in the other register on; 0 where there is none.
const ATTRIBUTE: u32 = (-0x1000i32 + 12) as u32;
/// Where the type and the flags of a message are, and where its attributes begin: behind headers of 16 (`nlmsghdr`) and 4 bytes
/// (`nfgenmsg`).
const TYPE: u32 = 4;
const FLAGS: u32 = 6;
const ATTRIBUTES: u32 = 20;

/// Where the destination of a flow's first packet is in a notice: behind headers of 16 (`nlmsghdr`) and 4 bytes
/// (`nfgenmsg`), those of `CTA_TUPLE_ORIG` and `CTA_TUPLE_IP`, the attribute of the source, and its own header.
/// `ctnetlink_dump_tuples` always writes them first and in this order.
const DESTINATION_V4: u32 = 16 + 4 + 4 + 4 + 8 + 4;
const DESTINATION_V6: u32 = 16 + 4 + 4 + 4 + 20 + 4;
const FAMILY: u32 = 16;

/// A program that lets pass what is wanted, and of that one flow in `2^sampling`; nothing where all of it is.
fn program(wanted: &Wanted, sampling: u32) -> Vec<Step> {
    let mut steps = match wanted {
        Wanted::All => Vec::new(),
        Wanted::To(addresses) => return to(addresses),
        Wanted::Translated => translated(),
    };
    if sampling > 0 {
        // Bits of the flow's number: a hash, or in kernels before 5.3 an address in steps of 256 and more.
        let mask = ((1u32 << sampling.min(16)) - 1) << 9;
        steps.extend([
            step(SET, 0, 0, ATTRIBUTES),
            step(SET_INDEX, 0, 0, CTA_ID.into()),
            step(LOAD_WORD, 0, 0, ATTRIBUTE),
            step(JUMP_EQUAL, 4, 0, 0),
            step(TO_INDEX, 0, 0, 0),
            step(LOAD_WORD_BEHIND, 0, 0, 4),
            step(JUMP_IF_SET, 0, 1, mask),
            step(RETURN, 0, 0, 0),
        ]);
    }
    if !steps.is_empty() {
        steps.push(step(RETURN, 0, 0, u32::MAX));
    }
    steps
}

/// Steps that let pass notices of translated flows: that they begin, that they are answered for the first time, and that they
/// end. The others end the program.
fn translated() -> Vec<Step> {
    // Words of the header are in host order, and loads take them as network order.
    let host = |n: u16| u32::from(u16::from_be_bytes(n.to_ne_bytes()));
    vec![
        step(SET, 0, 0, ATTRIBUTES),
        step(SET_INDEX, 0, 0, CTA_STATUS.into()),
        step(LOAD_WORD, 0, 0, ATTRIBUTE),
        // One without a status is judged by who reads it.
        step(JUMP_EQUAL, 11, 0, 0),
        step(TO_INDEX, 0, 0, 0),
        step(LOAD_WORD_BEHIND, 0, 0, 4),
        step(JUMP_IF_SET, 1, 0, DST_NAT),
        step(RETURN, 0, 0, 0),
        // Of updates only the first answer.
        step(AND, 0, 0, SEEN_REPLY | ASSURED),
        step(JUMP_EQUAL, 5, 0, SEEN_REPLY),
        step(LOAD_HALF, 0, 0, FLAGS),
        step(JUMP_IF_SET, 3, 0, host(CREATED)),
        step(LOAD_HALF, 0, 0, TYPE),
        step(JUMP_EQUAL, 0, 1, host(NEW)),
        step(RETURN, 0, 0, 0),
    ]
}

/// A program that lets pass what was sent to one of these addresses; nothing where there are none.
fn to(only: &[IpAddr]) -> Vec<Step> {
    // One that has no room for more is no filter: then all pass, and what is counted is chosen later.
    if only.is_empty() || only.len() > 200 {
        return Vec::new();
    }
    let mut steps = Vec::new();
    for address in only {
        let family = if address.is_ipv4() { linux::AF_INET } else { linux::AF_INET6 };
        let offset = if address.is_ipv4() { DESTINATION_V4 } else { DESTINATION_V6 };
        let words: Vec<u32> =
            octets(*address).chunks_exact(4).map(|c| u32::from_be_bytes([c[0], c[1], c[2], c[3]])).collect();
        // What does not match goes on behind this address's steps: two for each word, and the return.
        let len = 2 + 2 * words.len() as u8 + 1;
        steps.push(step(LOAD_BYTE, 0, 0, FAMILY));
        steps.push(step(JUMP_EQUAL, 0, len - 2, family as u32));
        for (i, word) in words.iter().enumerate() {
            let done = 2 + 2 * i as u8 + 2;
            steps.push(step(LOAD_WORD, 0, 0, offset + 4 * i as u32));
            steps.push(step(JUMP_EQUAL, 0, len - done, *word));
        }
        steps.push(step(RETURN, 0, 0, u32::MAX));
    }
    steps.push(step(RETURN, 0, 0, 0));
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a program over a message, as the kernel would.
    fn passes(program: &[Step], message: &[u8]) -> bool {
        let (mut at, mut a, mut x) = (0usize, 0u32, 0u32);
        let load = |k: u32, n: usize| {
            let bytes = message.get(k as usize..k as usize + n)?;
            Some(bytes.iter().fold(0u32, |all, b| all << 8 | u32::from(*b)))
        };
        loop {
            let s = program[at];
            at += 1;
            let loaded = match s.code {
                LOAD_WORD if s.k == ATTRIBUTE => {
                    let mut from = a as usize;
                    let found = loop {
                        let Some(head) = message.get(from..from + 4) else { break 0 };
                        let len = usize::from(u16::from_ne_bytes([head[0], head[1]]));
                        if u32::from(u16::from_ne_bytes([head[2], head[3]]) & 0x3fff) == x {
                            break from as u32;
                        }
                        from += len.max(4).next_multiple_of(4);
                    };
                    Some(found)
                }
                LOAD_WORD => load(s.k, 4),
                LOAD_HALF => load(s.k, 2),
                LOAD_BYTE => load(s.k, 1),
                LOAD_WORD_BEHIND => load(x + s.k, 4),
                SET => Some(s.k),
                AND => Some(a & s.k),
                _ => Some(a),
            };
            let Some(loaded) = loaded else { return false };
            a = loaded;
            match s.code {
                SET_INDEX => x = s.k,
                TO_INDEX => x = a,
                JUMP_EQUAL => at += usize::from(if a == s.k { s.jt } else { s.jf }),
                JUMP_IF_SET => at += usize::from(if a & s.k != 0 { s.jt } else { s.jf }),
                RETURN => return s.k != 0,
                _ => {}
            }
        }
    }

    #[test]
    fn programs_let_their_addresses_pass_and_no_others() {
        let v4: IpAddr = "10.96.0.10".parse().unwrap();
        let v6: IpAddr = "fd00:10:96::a".parse().unwrap();
        let other: IpAddr = "10.96.0.11".parse().unwrap();
        let message = |to: IpAddr| {
            let mut bytes = vec![0u8; 80];
            let (family, at) = if to.is_ipv4() {
                (linux::AF_INET, DESTINATION_V4)
            } else {
                (linux::AF_INET6, DESTINATION_V6)
            };
            bytes[FAMILY as usize] = family as u8;
            let o = octets(to);
            bytes[at as usize..at as usize + o.len()].copy_from_slice(&o);
            bytes
        };
        let p = program(&Wanted::To(vec![v4, v6]), 0);
        assert!(passes(&p, &message(v4)) && passes(&p, &message(v6)) && !passes(&p, &message(other)));
        assert!(program(&Wanted::To(Vec::new()), 0).is_empty() && program(&Wanted::All, 0).is_empty());
    }

    /// A notice with a status and a number, behind another attribute.
    fn notice(kind: u16, flags: u16, status: u32, id: u32) -> Vec<u8> {
        let mut bytes = vec![0u8; 20];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        for (kind, value) in
            [(1u16, [7; 6].as_slice()), (CTA_STATUS, &status.to_be_bytes()), (CTA_ID, &id.to_be_bytes())]
        {
            bytes.extend_from_slice(&(value.len() as u16 + 4).to_ne_bytes());
            bytes.extend_from_slice(&kind.to_ne_bytes());
            bytes.extend_from_slice(value);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes
    }

    #[test]
    fn of_translated_flows_the_begin_the_first_answer_and_the_end_pass() {
        let p = program(&Wanted::Translated, 0);
        let nat = DST_NAT | 0x8;
        for (kind, flags, status, wanted) in [
            (NEW, CREATED, nat, true),
            (NEW, CREATED, 0x8, false), // not translated
            (NEW, 0, nat | SEEN_REPLY, true),
            (NEW, 0, 0x8 | SEEN_REPLY, false),
            (NEW, 0, nat | SEEN_REPLY | ASSURED, false), // a later change
            (NEW, 0, nat, false),                        // the client sends again
            (DELETE, 0, nat | SEEN_REPLY | ASSURED, true),
            (DELETE, 0, nat, true),
            (DELETE, 0, 0x8, false),
        ] {
            assert_eq!(passes(&p, &notice(kind, flags, status, 1)), wanted, "{kind:x} {flags:x} {status:x}");
        }
    }

    #[test]
    fn a_sample_is_the_same_flows_in_all_notices() {
        for sampling in [1, 2, 5] {
            let p = program(&Wanted::Translated, sampling);
            let mut passed = 0;
            for i in 0..4096u32 {
                let id = i.wrapping_mul(0x9e37_79b9);
                let begin = passes(&p, &notice(NEW, CREATED, DST_NAT, id));
                assert_eq!(begin, passes(&p, &notice(DELETE, 0, DST_NAT, id)));
                passed += u32::from(begin);
            }
            let expected = 4096 >> sampling;
            assert!(passed.abs_diff(expected) < 60, "{passed} of {expected}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
            let _ = parse(Event::New, &bytes);
        }
    }
}
