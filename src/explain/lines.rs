//! The answer in lines that every frontend shows.

use super::{Explanation, Sender};
use crate::by_hand;
use crate::format::{count, plural};
use crate::proxy::{Frontend, FrontendKind, Model, RuleRef, chain_owner, endpoint_text, frontend_text};
use crate::ruleset::{Hook, IpFamily, L4Endpoint, protocol_name};
use crate::snapshot::Snapshot;
use crate::walk::{Assumption, End, Outcome, Step, StepKind};

/// A line of the answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// What kind, for its colour.
    pub kind: LineKind,
    /// Where: table and chain, or probability.
    pub place: String,
    /// What.
    pub text: String,
    /// Its counter, or rules evaluated.
    pub figure: String,
    /// The rule that it is.
    pub rule: Option<RuleRef>,
    /// The end that it is, by its place among all.
    pub ending: Option<usize>,
}

/// Kinds of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineKind {
    /// A title.
    Head,
    /// The answer in one sentence.
    Answer,
    /// The answer, where the packet dies.
    Bad,
    /// A rule that matched.
    Step,
    /// Rules that did not.
    Passed,
    /// A possible end.
    Ending,
    /// A remark.
    Note,
    /// A command that shows it by other means.
    Command,
}

fn line(
    kind: LineKind,
    place: impl Into<String>,
    text: impl Into<String>,
    figure: impl Into<String>,
) -> Line {
    Line { kind, place: place.into(), text: text.into(), figure: figure.into(), rule: None, ending: None }
}

impl Explanation {
    /// Commands that show the same by other means, for a shell on the node.
    pub fn commands(&self, snapshot: &Snapshot, model: &Model) -> Vec<String> {
        if let Some((s, f)) = self.service(model)
            && f.address.is_some_and(|a| a == self.packet.destination)
        {
            return by_hand::of_service(snapshot, s, Some(f));
        }
        let p = &self.packet;
        let to = L4Endpoint { protocol: p.protocol, address: p.destination, port: p.destination_port };
        let mut backends: Vec<_> = self.walk.outcomes.iter().filter_map(|o| o.backend).collect();
        backends.sort_unstable();
        backends.dedup();
        by_hand::of_packets(snapshot, to, &backends)
    }

    /// An end in words.
    pub fn ending_text(&self, snapshot: &Snapshot, o: &Outcome) -> String {
        let masquerade = if o.masquerade { ", masqueraded" } else { "" };
        let by = || match self.last_step(o) {
            Some(Step { place: Some(p), kind, .. }) => {
                let t = &snapshot.tables[p.table].table;
                let chain = t.chain_name(p.chain);
                let owner = chain_owner(t, p.chain).map_or(String::new(), |o| format!(" ({o})"));
                let what = if *kind == StepKind::Policy { "the policy of" } else { "a rule of" };
                format!(" by {what} {} {} {chain}{owner}", t.family, t.name)
            }
            Some(Step { kind: StepKind::Ipvs(text) | StepKind::Note(text), .. }) => format!(": {text}"),
            _ => String::new(),
        };
        match (&o.end, o.backend) {
            (End::Sent | End::Delivered, Some((a, p))) => {
                let here = if o.end == End::Delivered { " on this node" } else { "" };
                format!("to {}{here}{masquerade}", endpoint_text(a, p))
            }
            (End::Sent, None) => format!("leaves the node as it is{masquerade}: no rule translates it"),
            (End::Delivered, None) => {
                "to a process of this node, if one listens there: no rule translates it".into()
            }
            (End::Dropped, _) => format!("dropped{}", by()),
            (End::Rejected, _) => format!("rejected{}", by()),
            (End::Queued, _) => format!("handed to a program in user space{}", by()),
            (End::Lost, _) => format!("lost{}", by()),
            (End::Undecided, _) => format!("decided by a target that kptop does not know{}", by()),
        }
    }

    /// The whole answer, line by line, with the way to one of its ends.
    pub fn lines(&self, snapshot: &Snapshot, model: &Model, shown: usize) -> Vec<Line> {
        use LineKind::{Answer, Bad, Ending as End_, Head, Note};
        let mut lines = Vec::new();
        let to = endpoint_text(self.packet.destination, self.packet.destination_port);
        let protocol = protocol_name(u16::from(self.packet.protocol))
            .map_or_else(|| self.packet.protocol.to_string(), str::to_string);
        let what = match self.service(model) {
            Some((s, f)) => {
                let kind = f.kind.map_or("frontend", |k| k.words());
                let variant = s.engine.variant().map_or(String::new(), |v| format!(" ({})", v.name()));
                format!("{}, {kind}, {} mode{variant}", s.label(), s.engine.mode().name())
            }
            None => "no Service of kube-proxy has this address, port and protocol".into(),
        };
        lines.push(line(Head, "", format!("{to}/{protocol}: {what}"), ""));
        let source = self.packet.source;
        let from = match self.sender {
            Sender::Address(_) => self.sender.to_string(),
            _ => format!("{} ({source})", self.sender),
        };
        lines.push(line(Note, "", format!("first packet of a flow from {from}"), ""));
        if self.destination.service.is_none() {
            lines.extend(self.unknown(snapshot, model));
        }
        lines.extend(self.notes.iter().map(|n| line(Note, "", n.clone(), "")));
        let endings = self.endings();
        lines.push(line(Note, "", "", ""));
        lines.push(line(Head, "", "The outcome", ""));
        let mut assumed: &[Assumption] = &[];
        for (i, e) in endings.iter().enumerate() {
            // Ends under the same assumptions are together; their probability are given these.
            if e.outcome.assuming != assumed {
                assumed = &e.outcome.assuming;
                lines.push(line(
                    Note,
                    "",
                    format!(
                        "if {}:",
                        assumed.iter().map(ToString::to_string).collect::<Vec<_>>().join(", and ")
                    ),
                    "",
                ));
            }
            let lives = matches!(e.outcome.end, End::Sent | End::Delivered);
            let probability = percent(e.probability);
            let rules = match e.rules {
                (a, b) if a == b => plural(u64::from(a), "rule"),
                (a, b) => format!("{}-{} rules", count(u64::from(a)), count(u64::from(b))),
            };
            let kind = match (lives, endings.len()) {
                (false, _) => Bad,
                (true, 1) => Answer,
                (true, _) => End_,
            };
            let text = self.ending_text(snapshot, e.outcome);
            lines.push(Line { ending: Some(i), ..line(kind, probability, text, rules) });
        }
        if self.walk.cut {
            lines.push(line(Note, "", "… and more ends than could be followed", ""));
        }
        if let Some(e) = endings.get(shown).or(endings.first()) {
            lines.push(line(Note, "", "", ""));
            let title = match endings.len() {
                1 => "Its way".to_string(),
                _ => format!("The way {}", self.ending_text(snapshot, e.outcome)),
            };
            lines.push(line(Head, "", title, ""));
            lines.extend(self.way(snapshot, e.outcome));
        }
        lines.push(line(Note, "", "", ""));
        lines.push(line(Head, "", "By other means", ""));
        lines.extend(
            self.commands(snapshot, model)
                .into_iter()
                .map(|c| line(LineKind::Command, "", format!("$ {c}"), "")),
        );
        lines
    }

    /// What is near a destination that no Service has.
    fn unknown(&self, snapshot: &Snapshot, model: &Model) -> Vec<Line> {
        let (to, port) = (self.packet.destination, self.packet.destination_port);
        let mut found = Vec::new();
        for s in model.services.iter() {
            for f in s.frontends.iter().filter(|f| f.address == Some(to)) {
                found.push(format!("{} has {}/{}", s.label(), frontend_text(f), s.protocol.lower()));
            }
            for b in s.backends.iter().filter(|b| b.address == to && b.port == port) {
                found.push(format!("{} is a backend of {}", endpoint_text(b.address, b.port), s.label()));
            }
        }
        for s in model.services.iter() {
            let here = |f: &&Frontend| f.kind == Some(FrontendKind::NodePort) && f.port == port;
            for f in s.frontends.iter().filter(here) {
                if let Some(only) = f.address.filter(|a| *a != to && IpFamily::of(*a) == IpFamily::of(to)) {
                    let protocol = s.protocol.lower();
                    found.push(format!(
                        "{port}/{protocol} is the node port of {}, served on {only} only",
                        s.label()
                    ));
                }
            }
        }
        if found.is_empty() && snapshot.addresses.iter().any(|a| a.address == to) {
            found.push(format!("{to} is this node's own address, and no node port is {port}"));
        }
        found.truncate(6);
        found.into_iter().map(|text| line(LineKind::Note, "", text, "")).collect()
    }

    /// The steps to an end.
    pub fn way(&self, snapshot: &Snapshot, outcome: &Outcome) -> Vec<Line> {
        let mut lines: Vec<Line> = Vec::new();
        let mut hook: Option<Hook> = None;
        let mut steps: Vec<Step> = Vec::new();
        for step in self.walk.path(outcome) {
            // Rules that did not match, one branch after the other, are one line.
            if let (Some(last), StepKind::Passed(_, more)) = (steps.last_mut(), &step.kind)
                && let StepKind::Passed(_, n) = &mut last.kind
                && (last.place, last.hook) == (step.place, step.hook)
            {
                *n += more;
                last.probability = match (last.probability, step.probability) {
                    (Some(a), Some(b)) => Some(a * b),
                    (a, b) => a.or(b),
                };
                continue;
            }
            steps.push(step.clone());
        }
        for step in &steps {
            if hook != Some(step.hook) {
                lines.push(line(LineKind::Head, "", step.hook.chain_name(), ""));
                hook = Some(step.hook);
            }
            lines.push(step_line(snapshot, step));
        }
        lines
    }
}

/// A probability for people.
pub fn percent(p: f64) -> String {
    match p * 100.0 {
        p if p >= 99.95 => "100 %".into(),
        p if p >= 0.1 => format!("{p:.1} %"),
        p => format!("{p:.3} %"),
    }
}

/// A step as `iptables -S` or `nft list` write it, with its counter.
fn step_line(snapshot: &Snapshot, step: &Step) -> Line {
    let probability = step.probability.map_or(String::new(), |p| format!("  [probability {}]", percent(p)));
    let place = step.place.map_or(String::new(), |p| {
        let t = &snapshot.tables[p.table].table;
        format!("{} {}", t.name, t.chain_name(p.chain))
    });
    match (&step.kind, step.place) {
        (StepKind::Matched(id) | StepKind::Counted(id), Some(p)) => {
            let state = &snapshot.tables[p.table];
            let rule = state.table.rule(*id);
            let figure = match rule.counted {
                true => plural(state.counter(*id).packets, "packet"),
                false => String::new(),
            };
            let text = state.table.rule_text(rule).to_string();
            let matched = matches!(step.kind, StepKind::Matched(_));
            let kind = if matched { LineKind::Step } else { LineKind::Passed };
            let rule = Some(RuleRef { table: p.table, rule: *id });
            Line { rule, ..line(kind, place, format!("{text}{probability}"), figure) }
        }
        (StepKind::Passed(id, n), at) => {
            let text = format!("{} checked, no match{probability}", plural(u64::from(*n), "rule"));
            let rule = at.map(|p| RuleRef { table: p.table, rule: *id });
            Line { rule, ..line(LineKind::Passed, place, text, "") }
        }
        (StepKind::Policy, _) => line(LineKind::Step, place, "policy DROP", ""),
        (StepKind::Ipvs(text), _) => line(LineKind::Step, "IPVS", format!("{text}{probability}"), ""),
        (StepKind::Note(text), _) => line(LineKind::Note, "", text.clone(), ""),
        _ => line(LineKind::Note, place, "", ""),
    }
}
