//! A packet under way: as it is at one rule, and what is not known of it.

use super::assumption::{Answer, Assumption, Question};
use super::packet::{CtState, Ingress, Options, Packet};
use super::trace::{Place, Tally};
use crate::ruleset::{ChainId, Field, Hook, RuleId, Table};
use std::cell::{Cell, RefCell};
use std::net::IpAddr;

/// A place in a chain.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) chain: ChainId,
    /// Chains that `goto` left for it.
    pub(super) left: Vec<ChainId>,
    /// The next rule, and the first behind the chain.
    pub(super) next: u32,
    pub(super) end: u32,
}

/// Rules that did not match and are not written down yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Passed {
    pub(super) place: Place,
    pub(super) first: RuleId,
    pub(super) count: u32,
}

/// A packet on its way.
#[derive(Clone, Debug)]
pub(super) struct PacketState {
    /// As it is now.
    pub(super) packet: Packet,
    /// As it came.
    pub(super) first: Packet,
    /// True where it was for this node when it came.
    pub(super) first_is_local: bool,
    pub(super) hook: Hook,
    /// Which of the hook's entries is next.
    pub(super) entry: usize,
    pub(super) table: usize,
    pub(super) frames: Vec<Frame>,
    pub(super) tracked: bool,
    pub(super) notrack: bool,
    pub(super) destination_done: bool,
    pub(super) source_done: bool,
    pub(super) translated_destination: bool,
    pub(super) translated_source: bool,
    /// True where masquerading chose the source, which is not known.
    pub(super) masked_source: bool,
    pub(super) flow_mark: u32,
    pub(super) unsure: Unsure,
    /// Whether routing found that it is for this node, where its destination does not say any more.
    pub(super) local: Option<bool>,
    pub(super) via_ipvs: bool,
    /// True on the way in again over `lo`.
    pub(super) looped: bool,
    pub(super) new_client: bool,
    /// A random number, for the rule that asked for it.
    pub(super) drawn: Option<u32>,
    /// How many conditions of the present rule are done.
    pub(super) done: usize,
    /// Chains that were entered.
    pub(super) entered: u32,
    pub(super) backend: Option<(IpAddr, u16)>,
    pub(super) probability: f64,
    pub(super) branch_probability: Option<f64>,
    pub(super) assuming: Vec<Assumption>,
    /// The interface that was assumed, and of the one by which it leaves where to.
    pub(super) arrives: Option<String>,
    pub(super) leaves: Option<(String, IpAddr)>,
    pub(super) tally: Tally,
    pub(super) lookups: Cell<u32>,
    pub(super) counted: bool,
    pub(super) passed: Option<Passed>,
    pub(super) last: Option<u32>,
}

/// A byte of a header that a rule wrote; `None` where it is not known which.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Written {
    pub(super) base: u8,
    pub(super) at: usize,
    pub(super) byte: Option<u8>,
}

/// What is not known of a packet.
#[derive(Clone, Debug, Default)]
pub(super) struct Unsure {
    /// True where the destination may be another.
    pub(super) destination: bool,
    /// The same of the ports.
    pub(super) source_port: bool,
    pub(super) destination_port: bool,
    /// Bits of the packet's mark, and of the flow's.
    pub(super) mark: u32,
    pub(super) flow_mark: u32,
    /// True where the checksum of the header is wrong: a rule wrote into it and did not mend that.
    pub(super) broken: bool,
    /// True where it may be wrong: a rule may have written what was there before.
    pub(super) perhaps_broken: bool,
    /// How often something was written that is not known: conditions on it before and after are different questions.
    pub(super) writes: u32,
    pub(super) written: Vec<Written>,
    /// Keys of `meta` that rules set; `None` where the value is not known.
    pub(super) meta: Vec<(u32, Option<Vec<u8>>)>,
    /// Hashes of this packet: the same question has the same answer.
    pub(super) hashes: RefCell<Vec<(Field, u32)>>,
}

impl PacketState {
    pub(super) fn new(packet: &Packet, options: &Options, first_is_local: bool) -> PacketState {
        PacketState {
            packet: packet.clone(),
            first: packet.clone(),
            first_is_local,
            hook: if packet.entrance == Ingress::Node { Hook::Output } else { Hook::Prerouting },
            entry: 0,
            table: 0,
            frames: Vec::new(),
            // The kernel gives an error of a flow to it when it makes the error (`nf_ct_attach`).
            tracked: packet.state == CtState::Related,
            notrack: packet.state == CtState::Untracked,
            destination_done: false,
            source_done: false,
            translated_destination: false,
            translated_source: false,
            masked_source: false,
            flow_mark: 0,
            unsure: Unsure::default(),
            local: None,
            via_ipvs: false,
            looped: false,
            new_client: options.new_client,
            drawn: None,
            done: 0,
            entered: 0,
            backend: None,
            probability: 1.0,
            branch_probability: None,
            assuming: Vec::new(),
            arrives: None,
            leaves: None,
            tally: Tally::default(),
            lookups: Cell::new(0),
            counted: false,
            passed: None,
            last: None,
        }
    }

    /// A set, a map or an ipset is searched.
    pub(super) fn count_lookup(&self) {
        self.lookups.set(self.lookups.get() + 1);
    }

    pub(super) fn here(&self) -> Place {
        Place { table: self.table, chain: self.frames.last().map_or(ChainId(0), |f| f.chain) }
    }

    /// The rule that it is at: `FORWARD, rule 3`.
    pub(super) fn rule_place(&self, table: &Table) -> String {
        let Some(frame) = self.frames.last() else { return String::new() };
        let first = table.chains[frame.chain.0 as usize].rules.start;
        format!("{}, rule {}", table.chain_name(frame.chain), frame.next.saturating_sub(first) + 1)
    }

    /// What conntrack says of it here.
    pub(super) fn state(&self) -> CtState {
        match (self.tracked, self.notrack) {
            (_, true) => CtState::Untracked,
            (false, false) => CtState::Invalid, // no flow is attached yet
            (true, false) => self.packet.state,
        }
    }

    pub(super) fn untrack(&mut self) {
        if !self.tracked {
            self.notrack = true;
        }
    }

    /// Sends it on to another address; that ends translation of destinations.
    pub(super) fn translate_destination(&mut self, to: IpAddr, port: u16) {
        self.translated_destination |= (self.packet.destination, self.packet.destination_port) != (to, port);
        self.set_destination(to);
        self.packet.destination_port = port;
        self.unsure.hashes.get_mut().clear();
        self.backend = Some((to, port));
        self.destination_done = true;
        // The kernel looks for a new route (`ip_route_me_harder`).
        self.local = None;
    }

    /// True once routing has decided where the packet goes: a process sent it, or it has left PREROUTING.
    pub(super) fn is_routed(&self) -> bool {
        self.hook != Hook::Prerouting || self.looped
    }

    /// Gives it another source: a known one, or one that the node chooses.
    pub(super) fn translate_source(&mut self, from: Option<IpAddr>) {
        self.translated_source = true;
        self.source_done = true;
        self.unsure.hashes.get_mut().clear();
        match from {
            Some(a) => (self.packet.source, self.masked_source) = (a, false),
            None => self.masked_source = true,
        }
    }

    /// Takes a branch with these probability.
    pub(super) fn take_branch(&mut self, probability: f64) {
        self.probability *= probability;
        self.branch_probability = Some(self.branch_probability.unwrap_or(1.0) * probability);
    }

    /// Takes something for granted to which no other answer is followed.
    pub(super) fn assume(&mut self, what: String) {
        let taken = Assumption { question: Question::Other(what), answer: None };
        if !self.assuming.contains(&taken) {
            self.assuming.push(taken);
        }
    }

    /// How a question was answered on this path.
    pub(super) fn answer(&self, question: &Question) -> Option<Answer> {
        self.assuming.iter().find(|a| a.question == *question).and_then(|a| a.answer)
    }

    /// Goes on with an answer.
    pub(super) fn suppose(&mut self, question: Question, answer: Answer) {
        if answer == Answer::Yes {
            match &question {
                // A pattern leaves open which one it is.
                Question::Arrives(name) if !name.ends_with('+') => self.arrives = Some(name.clone()),
                Question::Leaves { interface, to, .. } if !interface.ends_with('+') => {
                    self.leaves = Some((interface.clone(), *to));
                }
                _ => {}
            }
        }
        self.assuming.push(Assumption { question, answer: Some(answer) });
    }
}
