//! Notices of conntrack: flows that began and ended, also those that live too short for a dump to see.

use super::conntrack::{Flow, SUBSYSTEM, parse_flow};
use super::netlink::NETLINK_NETFILTER;
use super::notices::Listener;
use super::{Error, Result, module};
use nf_ruleset::octets;
use std::fs;
use std::net::IpAddr;
use std::time::Duration;

/// `NFNLGRP_CONNTRACK_NEW`, `NFNLGRP_CONNTRACK_DESTROY` (`linux/netfilter/nfnetlink.h`)
const GROUPS: [u32; 2] = [1, 3];
/// `IPCTNL_MSG_CT_NEW`, `IPCTNL_MSG_CT_DELETE` (`linux/netfilter/nfnetlink_conntrack.h`)
const NEW: u16 = (SUBSYSTEM as u16) << 8;
const DELETE: u16 = (SUBSYSTEM as u16) << 8 | 2;

/// Room for what comes between two looks: some 60,000 notices.
const ROOM: usize = 64 * 1024 * 1024;

/// What happened to a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It began: its first packet left the node or was taken by it.
    New,
    /// Its entry is gone.
    Ended,
}

/// Listens to flows of one network namespace.
#[derive(Debug)]
pub struct Events {
    listener: Listener,
}

impl Events {
    /// Begins to listen, in the calling thread's namespace, to flows that were sent to one of these addresses (to all where
    /// there are none): the kernel itself leaves out the others.
    pub fn open(only: &[IpAddr]) -> Result<Events> {
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
        let listener = Listener::join_filtered(NETLINK_NETFILTER, &GROUPS, ROOM, &program(only))?;
        Ok(Events { listener })
    }

    /// Waits until something came; `false` where nothing did in that time.
    pub fn wait(&self, time: Duration) -> Result<bool> {
        self.listener.wait(time)
    }

    /// Takes what came.
    pub fn receive(&mut self, each: &mut dyn FnMut(Event, &Flow)) -> Result<()> {
        self.listener.receive(&mut |m| {
            let event = match m.kind {
                NEW => Event::New,
                DELETE => Event::Ended,
                _ => return,
            };
            if let Some(flow) = parse_flow(m.payload) {
                each(event, &flow);
            }
        })
    }

    /// Notices that found no room.
    pub fn lost(&self) -> u64 {
        self.listener.lost()
    }
}

// Classic BPF (`linux/bpf_common.h`): load a word or byte from an offset, compare, return.
const LOAD_WORD: u16 = 0x20;
const LOAD_BYTE: u16 = 0x30;
const JUMP_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;

/// Where the destination of a flow's first packet is in a notice: behind headers of 16 (`nlmsghdr`) and 4 bytes
/// (`nfgenmsg`), those of `CTA_TUPLE_ORIG` and `CTA_TUPLE_IP`, the attribute of the source, and its own header.
/// `ctnetlink_dump_tuples` always writes them first and in this order.
const DESTINATION_V4: u32 = 16 + 4 + 4 + 4 + 8 + 4;
const DESTINATION_V6: u32 = 16 + 4 + 4 + 4 + 20 + 4;
const FAMILY: u32 = 16;

/// A program that lets pass what was sent to one of these addresses; nothing where there are none.
fn program(only: &[IpAddr]) -> Vec<libc::sock_filter> {
    // One that has no room for more is no filter: then all pass, and what is counted is chosen later.
    if only.is_empty() || only.len() > 200 {
        return Vec::new();
    }
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut steps = Vec::new();
    for address in only {
        let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
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
    fn passes(program: &[libc::sock_filter], message: &[u8]) -> bool {
        let (mut at, mut a) = (0usize, 0u32);
        loop {
            let s = program[at];
            at += 1;
            match s.code {
                LOAD_WORD => {
                    let k = s.k as usize;
                    let Some(bytes) = message.get(k..k + 4) else { return false };
                    a = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
                }
                LOAD_BYTE => a = u32::from(message[s.k as usize]),
                JUMP_EQUAL => at += usize::from(if a == s.k { s.jt } else { s.jf }),
                _ => return s.k != 0,
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
            let (family, at) =
                if to.is_ipv4() { (libc::AF_INET, DESTINATION_V4) } else { (libc::AF_INET6, DESTINATION_V6) };
            bytes[FAMILY as usize] = family as u8;
            let o = octets(to);
            bytes[at as usize..at as usize + o.len()].copy_from_slice(&o);
            bytes
        };
        let p = program(&[v4, v6]);
        assert!(passes(&p, &message(v4)) && passes(&p, &message(v6)) && !passes(&p, &message(other)));
        assert!(program(&[]).is_empty());
    }
}
