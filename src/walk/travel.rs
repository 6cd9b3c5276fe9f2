//! The packet's way from hook to hook, and through the chains on each.

use super::assumption::{Answer, Question};
use super::match_result::MatchResult;
use super::packet_state::{Frame, PacketState, Passed};
use super::ruleset_index::Entry;
use super::{CtState, End, Ingress, Options, Outcome, Packet, Place, RulesetIndex, Step, StepKind, Trace};
use crate::ruleset::{ChainId, ChainKind, Dialect, Hook, Match, Policy, RuleId, Table, TableBackend};
use std::net::IpAddr;

/// What a rule says of the packet's way.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Next {
    /// On with the next rule.
    Rule,
    Jump(ChainId),
    Goto(ChainId),
    Return,
    /// This base chain is done with it.
    Accept,
    End(End),
    /// A random number below this is needed first.
    Draw(u32),
    /// The rule does not match after all.
    Break,
    /// The snapshot does not say: the first where the answer is yes, else the second.
    Either(Question, Box<Next>, Box<Next>),
}

impl Next {
    /// On with the next rule where the answer is the wanted one; else the rule does not match.
    pub(super) fn fork(question: Question, wanted: bool) -> Next {
        let (yes, no) = if wanted { (Next::Rule, Next::Break) } else { (Next::Break, Next::Rule) };
        Next::Either(question, Box::new(yes), Box::new(no))
    }
}

/// Chains that one way may enter until the walk is given up: rules can jump through more of them than anybody can wait for.
const MOST_ENTERED: u32 = 2_000;

/// The walk under way.
pub(super) struct Journey<'g, 'a> {
    pub(super) ruleset: &'g RulesetIndex<'a>,
    options: Options,
    walk: Trace,
    pub(super) waiting: Vec<PacketState>,
}

impl RulesetIndex<'_> {
    /// Every way that a packet may go.
    pub fn walk(&self, packet: &Packet, options: &Options) -> Trace {
        let mut journey = Journey {
            ruleset: self,
            options: *options,
            walk: Trace::default(),
            waiting: vec![PacketState::new(packet, options, self.is_local(packet.destination))],
        };
        while let Some(packet) = journey.waiting.pop() {
            if journey.walk.outcomes.len() >= options.most_outcomes {
                journey.walk.cut = true;
                break;
            }
            journey.run(packet);
        }
        let mut walk = journey.walk;
        walk.outcomes.sort_by(|a, b| {
            // Probability out of products of others differ by rounding.
            let probability = |o: &Outcome| -(o.probability * 1e6).round() as i64;
            let key = |o: &Outcome| (o.assuming.len(), probability(o), o.tally.rules());
            key(a).cmp(&key(b))
        });
        walk
    }
}

impl Journey<'_, '_> {
    /// Until the packet ends; other branches wait.
    fn run(&mut self, mut t: PacketState) {
        loop {
            if t.entered > MOST_ENTERED {
                let bound = format!("not decided: the way goes through more than {MOST_ENTERED} chains");
                self.note(&mut t, bound.clone());
                t.assume(bound);
                self.end(t, End::Undecided);
                return;
            }
            let end = if t.frames.is_empty() { self.next_entry(&mut t) } else { self.in_chain(&mut t) };
            if let Some(end) = end {
                self.end(t, end);
                return;
            }
        }
    }

    pub(super) fn end(&mut self, mut t: PacketState, end: End) {
        self.flush(&mut t);
        t.tally.lookups = t.lookups.get();
        self.walk.outcomes.push(Outcome {
            end,
            backend: t.backend,
            masquerade: t.translated_source,
            probability: t.probability,
            assuming: t.assuming,
            tally: t.tally,
            last: t.last,
        });
    }

    pub(super) fn step(&mut self, t: &mut PacketState, kind: StepKind, place: Option<Place>, counted: bool) {
        self.flush(t);
        if self.options.steps {
            let probability = t.branch_probability.take();
            self.walk.steps.push(Step { before: t.last, hook: t.hook, place, kind, counted, probability });
            t.last = Some(self.walk.steps.len() as u32 - 1);
        }
    }

    pub(super) fn note(&mut self, t: &mut PacketState, text: String) {
        self.step(t, StepKind::Note(text), None, false);
    }

    /// Writes down the rules that did not match.
    fn flush(&mut self, t: &mut PacketState) {
        let Some(p) = t.passed.take() else { return };
        if self.options.steps {
            let kind = StepKind::Passed(p.first, p.count);
            let probability = t.branch_probability.take();
            let step = Step {
                before: t.last,
                hook: t.hook,
                place: Some(p.place),
                kind,
                counted: false,
                probability,
            };
            self.walk.steps.push(step);
            t.last = Some(self.walk.steps.len() as u32 - 1);
        }
    }

    fn pass(&mut self, t: &mut PacketState, first: RuleId, count: u32) {
        if count == 0 || !self.options.steps {
            return;
        }
        let place = t.here();
        match &mut t.passed {
            Some(p) if p.place == place && p.first.0 + p.count == first.0 => p.count += count,
            _ => {
                self.flush(t);
                t.passed = Some(Passed { place, first, count });
            }
        }
    }

    /// Sends a copy of the packet another way, with these probability.
    pub(super) fn branch(&mut self, t: &mut PacketState, probability: f64) -> Option<PacketState> {
        if probability <= 0.0 {
            return None;
        }
        self.flush(t);
        let mut other = t.clone();
        if probability < 1.0 {
            other.take_branch(probability);
        }
        Some(other)
    }

    /// On to the next thing on the hook, or to the next hook.
    fn next_entry(&mut self, t: &mut PacketState) -> Option<End> {
        let family = t.packet.family();
        let Some(entry) = self.ruleset.entry(family, t.hook, t.entry) else { return self.next_hook(t) };
        t.entry += 1;
        match entry {
            Entry::Conntrack => {
                if !t.tracked {
                    // The flow is what conntrack sees: rules before may have written into the packet.
                    let (p, f) = (&t.packet, &mut t.first);
                    (f.source, f.destination) = (p.source, p.destination);
                    (f.source_port, f.destination_port) = (p.source_port, p.destination_port);
                }
                t.tracked = true;
            }
            Entry::Ipvs if !t.via_ipvs => return self.ipvs(t),
            Entry::Ipvs => {}
            Entry::Chain { table, chain, kind } => {
                let destination = matches!(t.hook, Hook::Prerouting | Hook::Output);
                let done = if destination { t.destination_done } else { t.source_done };
                // Nat chains see the first packet of a flow, until one of them has translated it.
                if kind == ChainKind::Nat && (done || t.state() != CtState::New) {
                    return None;
                }
                t.table = table;
                t.tally.chains += 1;
                self.enter(t, chain, Vec::new());
            }
        }
        None
    }

    fn enter(&mut self, t: &mut PacketState, chain: ChainId, left: Vec<ChainId>) {
        t.entered += 1;
        let rules = self.ruleset.table(t.table).chains[chain.0 as usize].rules.clone();
        t.frames.push(Frame { chain, left, next: rules.start, end: rules.end });
    }

    /// A chain that is on the way already would be entered again and again. The kernel takes no such rules; a text may
    /// hold them.
    fn circle(&mut self, t: &mut PacketState, to: ChainId) -> Option<End> {
        let on_the_way = || t.frames.iter().flat_map(|f| f.left.iter().chain([&f.chain])).copied();
        let at = on_the_way().position(|c| c == to)?;
        let table = self.ruleset.table(t.table);
        let way: Vec<ChainId> = on_the_way().collect();
        let names: Vec<&str> = way[at..].iter().chain([&to]).map(|c| table.chain_name(*c)).collect();
        self.note(t, format!("chains lead in a circle: {}", names.join(" -> ")));
        Some(End::Lost)
    }

    fn go(&mut self, t: &mut PacketState, hook: Hook) {
        self.flush(t);
        t.hook = hook;
        t.entry = 0;
    }

    fn next_hook(&mut self, t: &mut PacketState) -> Option<End> {
        // What was not translated here stays as it is.
        if t.tracked {
            match t.hook {
                Hook::Prerouting | Hook::Output => t.destination_done = true,
                Hook::Input | Hook::Postrouting => t.source_done = true,
                _ => {}
            }
        }
        let asked = matches!(t.hook, Hook::Output | Hook::Prerouting | Hook::Postrouting);
        let local = asked && self.is_for_node(t);
        match t.hook {
            // `__mkroute_output` (net/ipv4/route.c): nothing is sent from 127.0.0.0/8 to another host without it.
            Hook::Output
                if !local && t.packet.source.is_loopback() && self.ruleset.keeps_loopback(&t.packet) =>
            {
                self.note(t, "route_localnet is 0: nothing from a loopback address leaves the node".into());
                return Some(End::Lost);
            }
            Hook::Output => self.go(t, Hook::Postrouting),
            // `ip_route_input_slow`: martian destination.
            Hook::Prerouting
                if !t.looped
                    && t.packet.destination.is_loopback()
                    && self.ruleset.keeps_loopback(&t.packet) =>
            {
                self.note(t, "a packet to a loopback address may not come in by an interface".into());
                return Some(End::Lost);
            }
            Hook::Prerouting if local || t.packet.destination.is_multicast() => {
                // Conntrack translates what comes in over `lo` once more. Where that changes a destination that a rule wrote
                // after the first time, the route is looked for again (`nf_nat_ipv4_pre_routing`), and a source of
                // this node's own is refused (`fib_validate_source`, without accept_local).
                let written = |to: IpAddr| t.unsure.destination || t.packet.destination != to;
                if t.looped && !t.via_ipvs && t.backend.is_some_and(|b| written(b.0)) {
                    self.lost_unless(
                        t,
                        "what a rule wrote over the translated destination is what was there",
                        "a packet from this node's own address is not routed again",
                    );
                }
                self.go(t, Hook::Input);
            }
            Hook::Prerouting => {
                if !self.ruleset.forwards(t.packet.family()) {
                    self.note(t, "this node does not forward packets (ip_forward is 0)".into());
                    return Some(End::Lost);
                }
                self.go(t, Hook::Forward);
            }
            Hook::Forward => self.go(t, Hook::Postrouting),
            // `ip_rcv_core` looks at the checksum of what comes in.
            Hook::Postrouting
                if local && t.first.entrance == Ingress::Node && !t.looped && t.unsure.broken =>
            {
                self.note(
                    t,
                    "its checksum is wrong: a rule wrote into the header and did not mend it".into(),
                );
                return Some(End::Lost);
            }
            Hook::Postrouting if local && t.first.entrance == Ingress::Node && !t.looped => {
                if t.unsure.perhaps_broken {
                    self.lost_unless(
                        t,
                        "what a rule wrote into the header without mending its checksum is what was there",
                        "its checksum is wrong",
                    );
                }
                t.looped = true;
                // Its route is known: none is looked for again (`skb_valid_dst` in `ip_rcv_finish_core`).
                t.local = Some(true);
                self.go(t, Hook::Prerouting);
            }
            Hook::Postrouting => return Some(End::Sent),
            _ => return Some(End::Delivered),
        }
        None
    }

    /// The packet goes on if `what` is so; if not, it is lost, and `why` says by what.
    fn lost_unless(&mut self, t: &mut PacketState, what: &str, why: &str) {
        if let Some(mut other) = self.branch(t, 1.0) {
            other.suppose(Question::Other(what.into()), Answer::No);
            self.note(&mut other, why.into());
            self.end(other, End::Lost);
            t.suppose(Question::Other(what.into()), Answer::Yes);
        }
    }

    /// Whether routing brings the packet to a process of this node; both ways are gone where that is not known.
    fn is_for_node(&mut self, t: &mut PacketState) -> bool {
        if let Some(known) = t.local {
            return known;
        }
        // `rt6_need_strict`: the route of ::1 leads over `lo` only.
        let apart = t.packet.destination.is_ipv6() && t.packet.destination.is_loopback();
        if !t.unsure.destination {
            let from_outside = t.hook == Hook::Prerouting && !t.looped;
            let Some(question) = self.ruleset.in_doubt(t.packet.destination) else {
                return self.ruleset.is_local(t.packet.destination) && !(apart && from_outside);
            };
            return self.ask(t, question);
        }
        let question = Question::Other(format!("the packet is for an address of this node{}", t.version()));
        self.ask(t, question)
    }

    /// Goes on with yes; the path on which the answer is no waits.
    fn ask(&mut self, t: &mut PacketState, question: Question) -> bool {
        if let Some(known) = t.answer(&question) {
            return known == Answer::Yes;
        }
        if let Some(mut other) = self.branch(t, 1.0) {
            other.suppose(question.clone(), Answer::No);
            self.waiting.push(other);
        }
        t.suppose(question, Answer::Yes);
        true
    }

    /// One rule, or the end of the chain.
    fn in_chain(&mut self, t: &mut PacketState) -> Option<End> {
        let table = self.ruleset.table(t.table);
        let &Frame { chain, next, end, .. } = t.frames.last()?;
        // Which addresses rules want does not help where the packet's own is not known.
        let index = match t.unsure.destination {
            true => None,
            false => self.ruleset.chain_index(t.table, chain),
        };
        let at = match index {
            Some(index) => index.next(t.packet.destination, next).unwrap_or(end).min(end),
            None => next,
        };
        if t.done == 0 && at > next {
            let skipped = at - next;
            count(t, table, skipped);
            self.pass(t, RuleId(next), skipped);
            if let Some(f) = t.frames.last_mut() {
                f.next = at;
            }
        }
        if at >= end {
            t.frames.pop();
            return if t.frames.is_empty() { self.policy(t, chain) } else { None };
        }
        self.rule(t, table, RuleId(at))
    }

    fn policy(&mut self, t: &mut PacketState, chain: ChainId) -> Option<End> {
        let table = self.ruleset.table(t.table);
        let base = table.chains[chain.0 as usize].base?;
        if base.policy == Policy::Drop {
            let place = Place { table: t.table, chain };
            self.step(t, StepKind::Policy, Some(place), true);
            return Some(End::Dropped);
        }
        None
    }

    /// Moves behind the present rule.
    fn leave_rule(t: &mut PacketState, id: RuleId) {
        (t.done, t.counted, t.drawn) = (0, false, None);
        if let Some(f) = t.frames.last_mut() {
            f.next = id.0 + 1;
        }
    }

    /// The present rule does not match.
    fn miss(&mut self, t: &mut PacketState, id: RuleId) {
        if t.counted {
            let place = t.here();
            self.step(t, StepKind::Counted(id), Some(place), true);
        } else {
            self.pass(t, id, 1);
        }
        Self::leave_rule(t, id);
    }

    fn rule(&mut self, t: &mut PacketState, table: &Table, id: RuleId) -> Option<End> {
        let rule = table.rule(id);
        if t.done == 0 && t.drawn.is_none() {
            count(t, table, 1);
        }
        for (i, m) in table.matches_of(rule).iter().enumerate().skip(t.done) {
            t.counted |= matches!(m, Match::Counter);
            let held = match m {
                Match::Does(statement) => self.ruleset.does(table, t, statement),
                _ => self.ruleset.holds(table, t, m),
            };
            match held {
                MatchResult::Yes => (t.done, t.drawn) = (i + 1, None),
                MatchResult::No => {
                    self.miss(t, id);
                    return None;
                }
                MatchResult::Chance(p) if p <= 0.0 => {
                    self.miss(t, id);
                    return None;
                }
                MatchResult::Chance(p) if p >= 1.0 => (t.done, t.drawn) = (i + 1, None),
                MatchResult::Chance(p) => {
                    // The branch in which it does not hold waits.
                    if let Some(mut other) = self.branch(t, 1.0 - p) {
                        self.miss(&mut other, id);
                        self.waiting.push(other);
                    }
                    t.take_branch(p);
                    (t.done, t.drawn) = (i + 1, None);
                }
                MatchResult::Either(question, wanted) => {
                    let (holds, misses) =
                        if wanted { (Answer::Yes, Answer::No) } else { (Answer::No, Answer::Yes) };
                    match t.answer(&question) {
                        Some(known) if known != holds => {
                            self.miss(t, id);
                            return None;
                        }
                        Some(_) => {}
                        None => {
                            if let Some(mut other) = self.branch(t, 1.0) {
                                other.suppose(question.clone(), misses);
                                self.miss(&mut other, id);
                                self.waiting.push(other);
                            }
                            t.suppose(question, holds);
                        }
                    }
                    (t.done, t.drawn) = (i + 1, None);
                }
                MatchResult::Draw(n) => return self.draw(t, n),
                MatchResult::Decides(what, end) => {
                    // What is not understood may end the packet, not match, or let it go on.
                    let question = Question::Other(what);
                    if let Some(mut other) = self.branch(t, 1.0) {
                        other.suppose(question.clone(), Answer::Decides);
                        let place = other.here();
                        self.step(&mut other, StepKind::Matched(id), Some(place), t.counted);
                        self.end(other, end);
                    }
                    if let Some(mut other) = self.branch(t, 1.0) {
                        other.suppose(question.clone(), Answer::Misses);
                        self.miss(&mut other, id);
                        self.waiting.push(other);
                    }
                    t.suppose(question, Answer::Passes);
                    (t.done, t.drawn) = (i + 1, None);
                }
            }
        }
        let counted = t.counted || table.dialect == Dialect::Iptables;
        let mut next = self.ruleset.target(table, t, &rule.target);
        if let Next::Either(question, yes, no) = next {
            next = match t.answer(&question) {
                Some(Answer::Yes) => *yes,
                Some(_) => *no,
                None => {
                    if let Some(mut other) = self.branch(t, 1.0) {
                        other.suppose(question.clone(), Answer::No);
                        match *no {
                            Next::End(end) => {
                                let place = other.here();
                                self.step(&mut other, StepKind::Matched(id), Some(place), counted);
                                self.end(other, end);
                            }
                            Next::Rule => {
                                let place = other.here();
                                self.step(&mut other, StepKind::Matched(id), Some(place), counted);
                                Self::leave_rule(&mut other, id);
                                self.waiting.push(other);
                            }
                            _ => {
                                self.miss(&mut other, id);
                                self.waiting.push(other);
                            }
                        }
                    }
                    t.suppose(question, Answer::Yes);
                    *yes
                }
            };
        }
        match next {
            Next::Draw(n) => return self.draw(t, n),
            Next::Break => {
                self.miss(t, id);
                return None;
            }
            _ => {}
        }
        let place = t.here();
        self.step(t, StepKind::Matched(id), Some(place), counted);
        Self::leave_rule(t, id);
        if let Next::Jump(chain) | Next::Goto(chain) = next
            && let Some(end) = self.circle(t, chain)
        {
            return Some(end);
        }
        match next {
            Next::Jump(chain) => self.enter(t, chain, Vec::new()),
            Next::Goto(chain) => {
                let mut left = t.frames.pop().map(|f| f.left).unwrap_or_default();
                let base = t.frames.is_empty();
                left.push(place.chain);
                self.enter(t, chain, left);
                // The policy that waits behind is that of the chain that was left.
                if base {
                    let waiting = Frame { chain: place.chain, left: Vec::new(), next: 0, end: 0 };
                    t.frames.insert(0, waiting);
                }
            }
            Next::Return => {
                t.frames.pop();
                if t.frames.is_empty() {
                    return self.policy(t, place.chain);
                }
            }
            Next::Accept => t.frames.clear(),
            Next::End(end) => return Some(end),
            _ => {}
        }
        None
    }

    /// One packet for each number that may be drawn.
    fn draw(&mut self, t: &mut PacketState, below: u32) -> Option<End> {
        let below = below.max(1);
        for n in (1..below).rev() {
            if let Some(mut other) = self.branch(t, 1.0 / f64::from(below)) {
                other.drawn = Some(n);
                self.waiting.push(other);
            }
            if self.waiting.len() > self.options.most_outcomes {
                self.walk.cut = true;
                break;
            }
        }
        if below > 1 {
            self.flush(t);
            t.take_branch(1.0 / f64::from(below));
        }
        t.drawn = Some(0);
        None
    }
}

/// Counts rules that were evaluated.
fn count(t: &mut PacketState, table: &Table, n: u32) {
    match (table.backend, table.dialect) {
        (TableBackend::XTables, _) => t.tally.xtables += n,
        (_, Dialect::Iptables) => t.tally.compat += n,
        _ => t.tally.native += n,
    }
}
