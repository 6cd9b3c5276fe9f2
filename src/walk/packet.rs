//! The packet that a walk sends.

use crate::ruleset::IpFamily;
use std::net::IpAddr;

/// What conntrack says of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CtState {
    /// The first of a flow.
    New,
    /// Of a flow that has been answered.
    Established,
    /// Belongs to another flow: an ICMP error.
    Related,
    /// Of no flow that could be.
    Invalid,
    /// Not tracked.
    Untracked,
}

/// Where a packet enters the node's rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ingress {
    /// A process of the node sent it: it begins at OUTPUT.
    Node,
    /// It came in by an interface, whose name may not be known: it begins at PREROUTING.
    Interface(Option<String>),
}

/// A packet.
#[derive(Clone, Debug, PartialEq)]
pub struct Packet {
    /// Sender.
    pub source: IpAddr,
    /// Receiver.
    pub destination: IpAddr,
    /// IP protocol number.
    pub protocol: u8,
    /// Sender's port.
    pub source_port: u16,
    /// Receiver's port.
    pub destination_port: u16,
    /// Where it comes in.
    pub entrance: Ingress,
    /// Firewall mark.
    pub mark: u32,
    /// What conntrack says of it.
    pub state: CtState,
}

impl Packet {
    /// The first packet of a flow.
    pub fn new(from: (IpAddr, u16), to: (IpAddr, u16), protocol: u8, entrance: Ingress) -> Packet {
        Packet {
            source: from.0,
            destination: to.0,
            protocol,
            source_port: from.1,
            destination_port: to.1,
            entrance,
            mark: 0,
            state: CtState::New,
        }
    }

    /// IPv4 or IPv6.
    pub fn family(&self) -> IpFamily {
        IpFamily::of(self.destination)
    }
}

/// How to walk.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Clients that rules remember (session affinity) are taken for new ones where the snapshot does not say; else
    /// that is a fork.
    pub new_client: bool,
    /// Keep every step; without them only ends and figures are kept, and 10,000 rules that do not match cost little.
    pub steps: bool,
    /// Ends beyond which the walk is given up.
    pub most_outcomes: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options { new_client: false, steps: true, most_outcomes: 20_000 }
    }
}
