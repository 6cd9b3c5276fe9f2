//! Walks to every frontend, from every kind of sender.

use super::certain::least_loss;
use super::loss::{Loss, LossPart, Taker};
use super::senders::{SenderKind, Senders};
use crate::proxy::{
    Action, Backend, Frontend, FrontendKind, Mode, Model, RuleRef, Service, UnknownBackends,
    cluster_endpoint, is_local, node_address, node_addresses, pod_networks,
};
use crate::ruleset::{IpFamily, IpNet, RuleId, Target, Terminal};
use crate::snapshot::{Snapshot, SourceId, Unread};
use crate::walk::{
    End, Ingress, Options, Outcome, Packet, RulesetIndex, StepKind, Trace, takes_out_of_tracking,
};
use std::net::IpAddr;

/// Rules that the first packet of a flow from a pod to a Service's first frontend meets, over all of its ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PathCost {
    /// Fewest rules evaluated.
    pub min: u32,
    /// Mean over the ends, by their probability.
    pub mean: f64,
    /// Most.
    pub max: u32,
}

/// What of the rules walks did not have, what matters most first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Missing {
    /// Chains on hooks: a listing of some chains does not say what leads to them.
    BaseChains,
    /// The filter table.
    Filter,
    /// Others.
    Rules,
    /// What leads to its endpoints.
    Endpoints(UnknownBackends),
}

impl Missing {
    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Missing::Endpoints(why) => why.words(),
            Missing::BaseChains => "the chains on hooks were not given: what leads to Services is not known",
            Missing::Filter => "the table filter was not given: what it drops is not known",
            Missing::Rules => "not all rules were read",
        }
    }
}

/// What walks to one Service found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServiceReach {
    /// What its lookup meets; `None` where nothing leads to it.
    pub cost: Option<PathCost>,
    /// What is lost, whatever the answers to open questions are.
    pub losses: Vec<Loss>,
    /// What was not read, so that walks which lose nothing do not say that nothing is lost.
    pub missing: Option<Missing>,
}

/// What walks found, of each Service in the model's order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reach {
    services: Vec<ServiceReach>,
}

impl std::ops::Deref for Reach {
    type Target = [ServiceReach];

    fn deref(&self) -> &[ServiceReach] {
        &self.services
    }
}

/// A source port that no Service has: which one it is does not matter to kube-proxy's rules.
const SOURCE_PORT: u16 = 40_000;

/// Of a client that is new, and no steps: 10,000 rules that do not match cost little.
const QUICK: Options = Options { new_client: true, steps: false, most_outcomes: 20_000 };

/// An address that stands for the node's, where those are not known (RFC 5737, RFC 3849).
fn some_node(family: IpFamily) -> IpAddr {
    match family {
        IpFamily::V4 => [192, 0, 2, 254].into(),
        IpFamily::V6 => [0x2001, 0xdb8, 0xfffe, 0, 0, 0, 0, 0x254].into(),
    }
}

/// Walks to every frontend of every Service.
pub fn survey(snapshot: &Snapshot, model: &Model) -> Reach {
    let families = [IpFamily::V4, IpFamily::V6];
    let node = families.map(|f| node_address(snapshot, f));
    let mut ruleset = RulesetIndex::new(snapshot);
    for (family, known) in families.into_iter().zip(node) {
        if known.is_none() {
            ruleset = ruleset.with_local(some_node(family));
        }
    }
    let senders = families.map(|f| Senders::new(snapshot, &ruleset, f));
    let mut surveyor = Surveyor {
        snapshot,
        ruleset,
        senders,
        targets: [0, 1].map(|i| node[i].unwrap_or_else(|| some_node(families[i]))),
        local: families.map(|f| local_networks(snapshot, f)),
        missing: None,
    };
    surveyor.missing = surveyor.missing();
    Reach { services: model.services.iter().map(|s| surveyor.service(s)).collect() }
}

/// Where backends of this node are: its own addresses, and the network of its pods.
fn local_networks(snapshot: &Snapshot, family: IpFamily) -> Vec<IpNet> {
    let own = node_addresses(snapshot, family).map(|a| IpNet::host(a.address));
    own.chain(pod_networks(snapshot, family)).collect()
}

struct Surveyor<'a> {
    snapshot: &'a Snapshot,
    ruleset: RulesetIndex<'a>,
    senders: [Senders; 2],
    /// Where node ports are asked for.
    targets: [IpAddr; 2],
    local: [Vec<IpNet>; 2],
    missing: Option<Missing>,
}

impl Surveyor<'_> {
    fn service(&self, s: &Service) -> ServiceReach {
        let mut found = ServiceReach::default();
        if s.stale {
            return found;
        }
        if let Some(why) = s.unknown_backends {
            // Nobody can say which ends are its own.
            found.missing = Some(Missing::Endpoints(why));
            return found;
        }
        // No rule leads to it: what its program does with packets is not followed.
        if s.engine.mode().keeps_no_rules() {
            return found;
        }
        found.missing = self.missing;
        let walked = self.missing != Some(Missing::BaseChains) && s.engine.mode() != Mode::Userspace;
        for (i, f) in s.frontends.iter().enumerate() {
            let balances = f.action == Action::Balance && walked;
            // What a lookup costs is known of every first frontend.
            if !balances && i > 0 {
                continue;
            }
            for kind in [SenderKind::Pod, SenderKind::Node, SenderKind::Outside] {
                let costs = kind == SenderKind::Pod && i == 0;
                let Some(packet) = self.packet(s, f, kind, costs && !balances) else { continue };
                let walk = self.ruleset.walk(&packet, &QUICK);
                if costs {
                    found.cost = cost(&walk);
                }
                if balances {
                    found.losses.extend(self.loss(s, Some(i), kind, &packet, &walk));
                }
            }
        }
        if walked {
            found.losses.extend(self.lost_of_other_nodes(s));
        }
        found
    }

    /// What of the rules was not read.
    fn missing(&self) -> Option<Missing> {
        let open = |u: &&Unread| u.leaves_open() && SourceId::RULES.contains(&u.source);
        let missing = self.snapshot.unread.iter().filter(open).map(|u| match u.source {
            SourceId::BaseChains => Missing::BaseChains,
            SourceId::FilterTable => Missing::Filter,
            _ => Missing::Rules,
        });
        missing.min()
    }

    /// The first packet of a flow; `None` where such a sender does not send there, or nobody knows from where.
    fn packet(&self, s: &Service, f: &Frontend, kind: SenderKind, always: bool) -> Option<Packet> {
        if f.kind.is_some_and(FrontendKind::is_mark) {
            return None;
        }
        let senders = &self.senders[s.family as usize];
        let mut source = senders.address(kind)?;
        match (&f.source_ranges, kind) {
            // Within the ranges; the others are refused by design.
            (Some(ranges), SenderKind::Outside) => source = within(ranges.first()?)?,
            (Some(_), _) if !always => return None,
            _ => {}
        }
        if kind == SenderKind::Outside && f.kind.is_none_or(|k| k == FrontendKind::ClusterIp) {
            return None;
        }
        let to = f.address.unwrap_or(self.targets[s.family as usize]);
        Some(Packet::new((source, SOURCE_PORT), (to, f.port), s.protocol.number(), senders.entrance(kind)))
    }

    /// What is lost of the packets of a walk.
    fn loss(
        &self,
        s: &Service,
        frontend: Option<usize>,
        sender: SenderKind,
        packet: &Packet,
        quick: &Trace,
    ) -> Option<Loss> {
        // A node port may be meant for some of the node's addresses only, and external addresses for all but the node
        // itself (kube-proxy until 1.21: `--src-type LOCAL`). Another node translated already.
        let translated = frontend.is_none_or(|i| match (s.frontends[i].kind, s.frontends[i].address) {
            (Some(FrontendKind::NodePort), _) | (_, None) => true,
            (kind, _) => sender == SenderKind::Node && kind != Some(FrontendKind::ClusterIp),
        });
        let is_lost = |o: &Outcome| match o.end {
            End::Dropped | End::Rejected | End::Lost => true,
            End::Delivered | End::Sent => match o.backend {
                Some(to) => backend_at(s, to).is_none(),
                None => !translated,
            },
            End::Queued | End::Undecided => false,
        };
        if quick.cut || least_loss(&quick.outcomes, &is_lost)?.0 <= 0.0 {
            return None;
        }
        let walk = self.ruleset.walk(packet, &Options { steps: true, ..QUICK });
        let (share, lost) = least_loss(&walk.outcomes, &is_lost)?;
        let mut parts: Vec<LossPart> = Vec::new();
        for o in lost {
            let taker = self.taker(&walk, o);
            let backend = o.backend.and_then(|to| backend_at(s, to));
            let part = match parts.iter_mut().find(|p| p.taker == taker && p.end == o.end) {
                Some(part) => part,
                None => {
                    parts.push(LossPart { taker, end: o.end, share: 0.0, backends: Vec::new() });
                    parts.last_mut()?
                }
            };
            part.share += o.probability;
            part.backends.extend(backend.filter(|b| !part.backends.contains(b)));
        }
        parts.sort_by(|a, b| b.share.total_cmp(&a.share));
        Some(Loss { sender, source: packet.source, frontend, share, parts })
    }

    /// What took a packet that is lost.
    fn taker(&self, walk: &Trace, o: &Outcome) -> Taker {
        let path = walk.path(o);
        let rule_of = |s: &crate::walk::Step| match (&s.kind, s.place) {
            (StepKind::Matched(rule) | StepKind::Counted(rule), Some(p)) => {
                Some(RuleRef { table: p.table, rule: *rule })
            }
            _ => None,
        };
        match (o.end, o.backend) {
            // A rule that lost its target sends packets to no address at all.
            (End::Delivered | End::Sent | End::Lost, Some(to))
                if o.end != End::Lost || to.0.is_unspecified() =>
            {
                let mut rules = path.iter().rev().filter_map(|s| rule_of(s));
                Taker::Elsewhere { to, rule: rules.find(|r| self.translates(*r)) }
            }
            (end @ (End::Delivered | End::Sent), None) => {
                let untracks = |r: &RuleRef| {
                    let t = self.snapshot.tables.get(r.table);
                    t.is_some_and(|t| takes_out_of_tracking(&t.table, r.rule))
                };
                match path.iter().filter_map(|s| rule_of(s)).find(untracks) {
                    Some(rule) => Taker::Untracked { rule, here: end == End::Delivered },
                    None => Taker::Untranslated,
                }
            }
            _ => match path.last() {
                // kube-proxy itself refuses what none of its rules translated (nftables mode: `cluster-ips-check`).
                Some(step) if o.backend.is_none() && self.refuses_untranslated(rule_of(step)) => {
                    Taker::Untranslated
                }
                Some(step) => match (&step.kind, step.place, rule_of(step)) {
                    (StepKind::Policy, Some(p), _) => Taker::Policy(p.table, p.chain),
                    (_, _, Some(rule)) => Taker::Rule(rule),
                    (StepKind::Note(why) | StepKind::Ipvs(why), ..) => Taker::Kernel(why.clone()),
                    _ => Taker::Kernel(String::new()),
                },
                None => Taker::Kernel(String::new()),
            },
        }
    }

    /// True for a rule of kube-proxy's nftables mode.
    fn refuses_untranslated(&self, rule: Option<RuleRef>) -> bool {
        let t = rule.and_then(|r| self.snapshot.tables.get(r.table));
        t.is_some_and(|t| t.table.name == crate::proxy::nftables::TABLE)
    }

    /// True for a rule that gives a packet another destination.
    fn translates(&self, r: RuleRef) -> bool {
        let Some(t) = self.snapshot.tables.get(r.table) else { return false };
        let RuleId(at) = r.rule;
        match t.table.rules.get(at as usize).map(|r| &r.target) {
            Some(Target::Dnat(_) | Target::Redirect(_) | Target::DnatTo4 { .. } | Target::DnatTo6(_)) => true,
            Some(Target::Native(n)) => matches!(**n, Terminal::Nat { destination: true, .. }),
            _ => false,
        }
    }

    /// Whether a backend is on this node, where the Kubernetes API says it.
    fn by_api(&self, s: &Service, b: &Backend) -> Option<bool> {
        let cluster = self.snapshot.cluster.as_deref()?;
        is_local(cluster, cluster_endpoint(cluster, s, b.address, b.port)?)
    }

    /// Packets that another node translated to a backend of this one.
    fn lost_of_other_nodes(&self, s: &Service) -> Option<Loss> {
        let (senders, local) = (&self.senders[s.family as usize], &self.local[s.family as usize]);
        let here = s.backends.iter().enumerate().filter(|(_, b)| {
            b.local
                .or_else(|| self.by_api(s, b))
                .unwrap_or_else(|| local.iter().any(|n| n.contains(b.address)))
                && b.weight != Some(0)
        });
        let (mut all, mut share, mut parts) = (0, 0.0, Vec::<LossPart>::new());
        for (i, b) in here {
            all += 1;
            let packet = Packet::new(
                (senders.other, SOURCE_PORT),
                (b.address, b.port),
                s.protocol.number(),
                Ingress::Interface(None),
            );
            let walk = self.ruleset.walk(&packet, &QUICK);
            let Some(loss) = self.loss(s, None, SenderKind::OtherNode, &packet, &walk) else { continue };
            share += loss.share;
            for part in loss.parts {
                match parts.iter_mut().find(|p| p.taker == part.taker && p.end == part.end) {
                    Some(known) => {
                        known.share += part.share;
                        known.backends.push(i);
                    }
                    None => parts.push(LossPart { backends: vec![i], ..part }),
                }
            }
        }
        let all = f64::from(all);
        parts.iter_mut().for_each(|p| p.share /= all);
        let loss = Loss {
            sender: SenderKind::OtherNode,
            source: senders.other,
            frontend: None,
            share: share / all,
            parts,
        };
        (share > 0.0).then_some(loss)
    }
}

fn cost(walk: &Trace) -> Option<PathCost> {
    let rules = || walk.outcomes.iter().map(|o| o.tally.rules());
    Some(PathCost { min: rules().min()?, mean: walk.mean_rules()?, max: rules().max()? })
}

/// The place of a Service's backend. A real server without a port of its own takes any.
fn backend_at(s: &Service, (address, port): (IpAddr, u16)) -> Option<usize> {
    s.backends.iter().position(|b| b.address == address && (b.port == port || b.port == 0))
}

/// A client in a network: not its first address, which no host has.
fn within(net: &IpNet) -> Option<IpAddr> {
    let net = net.masked();
    Some(match net.addr {
        IpAddr::V4(a) if net.prefix < 31 => IpAddr::V4((u32::from(a) + 1).into()),
        IpAddr::V6(a) if net.prefix < 127 => IpAddr::V6((u128::from(a) + 1).into()),
        addr => addr,
    })
}
