//! What becomes of a packet to a Service or an address: the question as people ask it, the walk, and its answer in
//! lines that every face shows.

use crate::figures::{count, plural};
use crate::proxy::{
    Frontend, FrontendKind, Mode, Model, RuleRef, Service, chain_owner, endpoint_text, frontend_text,
};
use crate::ruleset::{Hook, IpFamily, IpNet, Match, protocol_name};
use crate::snapshot::Snapshot;
use crate::walk::{End, Entrance, Ground, Options, Outcome, Packet, Step, StepKind, Walk};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Who sends the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// A pod of this node.
    Pod,
    /// A client outside of the cluster.
    Outside,
    /// A process of the node itself.
    Node,
    /// Whoever has this address.
    Address(IpAddr),
}

impl std::str::FromStr for Sender {
    type Err = String;

    fn from_str(text: &str) -> Result<Sender, String> {
        match text {
            "pod" => Ok(Sender::Pod),
            "outside" => Ok(Sender::Outside),
            "node" => Ok(Sender::Node),
            _ => text
                .parse()
                .map(Sender::Address)
                .map_err(|_| format!("`{text}` is neither pod, outside, node nor an IP address")),
        }
    }
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sender::Pod => f.write_str("a pod of this node"),
            Sender::Outside => f.write_str("a client outside"),
            Sender::Node => f.write_str("the node itself"),
            Sender::Address(a) => write!(f, "{a}"),
        }
    }
}

/// Where a packet is sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Destination {
    /// Address.
    pub address: IpAddr,
    /// Port.
    pub port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// The Service that has it, by index in the model, and its frontend.
    pub service: Option<(usize, usize)>,
    /// What was not said in the question, and how it was filled in.
    pub filled_in: Vec<String>,
}

/// A source port that no Service has: what it is does not matter to kube-proxy's rules.
const SOURCE_PORT: u16 = 40_000;
/// Clients outside, of networks that are only for documents (RFC 5737, RFC 3849).
const OUTSIDE4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 200);
const OUTSIDE6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 0x200);

fn protocol(text: &str) -> Option<u8> {
    match text.to_ascii_lowercase().as_str() {
        "tcp" => Some(6),
        "udp" => Some(17),
        "sctp" => Some(132),
        _ => None,
    }
}

/// An address with or without port: `10.0.0.1`, `10.0.0.1:80`, `fd00::1`, `[fd00::1]:80`.
fn address(text: &str) -> Option<(IpAddr, Option<u16>)> {
    if let Ok(a) = text.parse::<IpAddr>() {
        return Some((a, None));
    }
    if let Some(inner) = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
        return inner.parse::<Ipv6Addr>().ok().map(|a| (a.into(), None));
    }
    text.parse::<std::net::SocketAddr>().ok().map(|s| (s.ip(), Some(s.port())))
}

/// The address of this node under which a node port is asked for.
pub fn node_address(snapshot: &Snapshot, family: IpFamily) -> Option<IpAddr> {
    let usable = |a: &&crate::snapshot::facts::InterfaceAddress| {
        let link_local = match a.address {
            IpAddr::V4(a) => a.is_link_local(),
            IpAddr::V6(a) => a.is_unicast_link_local(),
        };
        IpFamily::of(a.address) == family
            && !a.address.is_loopback()
            && !link_local
            && a.interface != crate::proxy::ipvs::DUMMY
    };
    // Bridges and tunnels of pods come after the node's own link, mostly; a link that a CNI made is its last choice.
    let pods = ["cni", "cbr", "docker", "flannel", "cali", "veth", "lxc", "cilium", "kube-"];
    let own =
        |a: &&crate::snapshot::facts::InterfaceAddress| !pods.iter().any(|p| a.interface.starts_with(p));
    let all = || snapshot.addresses.iter().filter(usable);
    all().find(own).or_else(|| all().next()).map(|a| a.address)
}

/// True where a frontend takes packets to this address.
fn takes(snapshot: &Snapshot, f: &Frontend, family: IpFamily, to: IpAddr) -> bool {
    match f.address {
        Some(a) => a == to,
        None => {
            IpFamily::of(to) == family
                && (to.is_loopback() || snapshot.addresses.iter().any(|a| a.address == to))
        }
    }
}

/// A frontend of a Service as a destination.
pub fn frontend_destination(
    snapshot: &Snapshot,
    model: &Model,
    service: usize,
    frontend: usize,
) -> Option<Destination> {
    let s = model.services.get(service)?;
    let f = s.frontends.get(frontend)?;
    Some(Destination {
        address: f.address.or_else(|| node_address(snapshot, s.family))?,
        port: f.port,
        protocol: s.protocol.number(),
        service: Some((service, frontend)),
        filled_in: Vec::new(),
    })
}

/// A text of the user's in a message: short, and without what a terminal would take for a command.
fn quoted(text: &str) -> String {
    crate::figures::clip_end(&text.escape_debug().to_string(), 80)
}

/// Every destination that a text may mean: an address, or a Service by name. The error says what is wrong with it.
pub fn destinations(snapshot: &Snapshot, model: &Model, text: &str) -> Result<Vec<Destination>, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("say where to: ADDRESS[:PORT][/PROTOCOL], or a Service by name".into());
    }
    let (rest, wanted) = match text.rsplit_once('/') {
        Some((rest, p)) if protocol(p).is_some() && (address(rest).is_some() || rest.contains('/')) => {
            (rest, protocol(p))
        }
        Some((rest, p)) if address(rest).is_some() => {
            return Err(format!("`{}` is no protocol that Services have: tcp, udp or sctp", quoted(p)));
        }
        _ => (text, None),
    };
    let Some((to, port)) = address(rest) else {
        // An address with something that is no port, or digits and dots that are no address.
        if let Some((host, port)) = rest.rsplit_once(':')
            && (host.parse::<Ipv4Addr>().is_ok() || host.starts_with('['))
        {
            return Err(format!("`{}` is no port: give 1 to 65535", quoted(port)));
        }
        if rest.bytes().all(|b| b.is_ascii_digit() || b"./:".contains(&b)) {
            return Err(format!("`{}` is no address, and no name of a Service", quoted(rest)));
        }
        return by_name(snapshot, model, rest, wanted);
    };
    let broadcast = to == IpAddr::V4(Ipv4Addr::BROADCAST);
    if to.is_unspecified() || to.is_multicast() || broadcast {
        return Err(format!("{to} is no address of one host: Services have none of that kind"));
    }
    if port == Some(0) {
        return Err("port 0 is none that a packet can be sent to: give 1 to 65535".into());
    }
    Ok(by_address(snapshot, model, to, port, wanted))
}

fn by_address(
    snapshot: &Snapshot,
    model: &Model,
    to: IpAddr,
    port: Option<u16>,
    wanted: Option<u8>,
) -> Vec<Destination> {
    let mut found = Vec::new();
    for (i, s) in model.services.iter().enumerate().filter(|(_, s)| !s.leftover) {
        for (j, f) in s.frontends.iter().enumerate() {
            let number = s.protocol.number();
            // A node port is meant only by its port.
            let named = f.address.is_some() || port.is_some();
            if named
                && takes(snapshot, f, s.family, to)
                && port.is_none_or(|p| p == f.port)
                && wanted.is_none_or(|w| w == number)
            {
                found.push(Destination {
                    address: to,
                    port: f.port,
                    protocol: number,
                    service: Some((i, j)),
                    filled_in: Vec::new(),
                });
            }
        }
    }
    if found.is_empty() {
        let mut filled_in = Vec::new();
        if port.is_none() {
            filled_in.push("no port was given: 80 is taken".to_string());
        }
        if wanted.is_none() {
            filled_in.push("no protocol was given: TCP is taken".to_string());
        }
        let (port, protocol) = (port.unwrap_or(80), wanted.unwrap_or(6));
        found.push(Destination { address: to, port, protocol, service: None, filled_in });
    }
    found
}

fn by_name(
    snapshot: &Snapshot,
    model: &Model,
    text: &str,
    wanted: Option<u8>,
) -> Result<Vec<Destination>, String> {
    let lower = text.to_lowercase();
    let (name, port) = match lower.rsplit_once(':') {
        Some((name, port)) => (name.to_string(), Some(port)),
        None => (lower.clone(), None),
    };
    // As DNS has it: name.namespace.svc.cluster.local
    let name = match name.split_once(".svc").filter(|d| d.1.is_empty() || d.1.starts_with('.')) {
        Some((short, _)) => short.split_once('.').map_or(name.clone(), |(n, ns)| format!("{ns}/{n}")),
        None => name,
    };
    let mut found = Vec::new();
    let (mut similar, mut has) = (Vec::new(), Vec::new());
    for (i, s) in model.services.iter().enumerate().filter(|(_, s)| !s.leftover) {
        let Some(n) = &s.name else { continue };
        let full = format!("{}/{}", n.namespace, n.name);
        if full != name && n.name != name {
            if full.contains(name.rsplit('/').next().unwrap_or(&name)) && !similar.contains(&full) {
                similar.push(full);
            }
            continue;
        }
        let number = s.protocol.number();
        let of_port = |f: &Frontend| match port {
            None => true,
            Some(p) => p == n.port || p.parse() == Ok(f.port),
        };
        for f in &s.frontends {
            let port = format!("{}/{}", f.port, s.protocol.lower());
            if !has.contains(&port) {
                has.push(port);
            }
        }
        if wanted.is_some_and(|w| w != number) {
            continue;
        }
        // Its cluster IP; another frontend only where its own port was asked for.
        let by_number = port.is_some_and(|p| p != n.port);
        let chosen =
            s.frontends.iter().enumerate().filter(|(_, f)| of_port(f)).filter(|(_, f)| {
                by_number || f.kind == Some(FrontendKind::ClusterIp) || s.frontends.len() == 1
            });
        for (j, _) in chosen {
            found.extend(frontend_destination(snapshot, model, i, j));
        }
    }
    if found.is_empty() {
        let hint = match (has.is_empty(), similar.len()) {
            (false, _) => {
                return Err(format!("{} has no such port: it has {}", quoted(&name), has.join(", ")));
            }
            (true, 0) if model.services.iter().all(|s| s.name.is_none()) && !model.services.is_empty() => {
                "; the rules here carry no names: ask by address".to_string()
            }
            (true, 0) => String::new(),
            (true, _) => format!("; there is {}", similar[..similar.len().min(5)].join(", ")),
        };
        return Err(format!("no Service `{}` in the rules of this node{hint}", quoted(text)));
    }
    // An address of each family answers the same question: the first that is known is taken.
    if let Some(first) = found.iter().map(|d| IpFamily::of(d.address)).min() {
        let names = |d: &Destination| {
            d.service.and_then(|(i, _)| model.services[i].name.clone()).map(|n| (n, d.protocol))
        };
        let of_first: Vec<_> = found.iter().filter(|d| IpFamily::of(d.address) == first).map(names).collect();
        found.retain(|d| IpFamily::of(d.address) == first || !of_first.contains(&names(d)));
    }
    Ok(found)
}

/// The network of the cluster's pods, as the rules that masquerade everything else say it.
pub fn pod_network(snapshot: &Snapshot, family: IpFamily) -> Option<IpNet> {
    for t in &snapshot.tables {
        if t.family.ip() != Some(family) {
            continue;
        }
        for (i, rule) in t.table.rules.iter().enumerate() {
            let matches = t.table.matches_of(rule);
            let outside = matches.iter().filter_map(Match::address).find(|a| a.invert && !a.destination);
            let Some(outside) = outside else { continue };
            let chain = t.table.chain_of(crate::ruleset::RuleId(i as u32));
            let chain = chain.map_or("", |c| t.table.chain_name(c));
            let to = t.table.jump_of(rule).map_or("", |c| t.table.chain_name(c));
            let own = t.table.name == crate::proxy::nftables::TABLE && chain == "services";
            if to == "KUBE-MARK-MASQ" || own {
                return Some(outside.net);
            }
        }
    }
    None
}

/// An address in a network that no endpoint here has.
fn free_address(net: IpNet, model: &Model) -> IpAddr {
    let taken = |a: IpAddr| model.services.iter().flat_map(|s| &s.backends).any(|b| b.address == a);
    let at = |n: u32| -> IpAddr {
        match net.addr {
            IpAddr::V4(a) => Ipv4Addr::from(u32::from(a).wrapping_add(n)).into(),
            IpAddr::V6(a) => Ipv6Addr::from(u128::from(a).wrapping_add(u128::from(n))).into(),
        }
    };
    (200..65_000).map(at).find(|a| !taken(*a)).unwrap_or_else(|| at(200))
}

/// The answer.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// Where to.
    pub destination: Destination,
    /// The packet that was walked.
    pub packet: Packet,
    /// From whom.
    pub sender: Sender,
    /// What was filled in or assumed for all ways.
    pub notes: Vec<String>,
    /// Every way.
    pub walk: Walk,
}

/// Walks a packet. The error says what must be given.
pub fn explain(
    snapshot: &Snapshot,
    model: &Model,
    destination: &Destination,
    sender: Sender,
    interface: Option<&str>,
) -> Result<Explanation, String> {
    let family = IpFamily::of(destination.address);
    let mut notes = destination.filled_in.clone();
    let source = match sender {
        Sender::Address(a) if IpFamily::of(a) != family => {
            return Err(format!("{a} cannot send to {}: one is IPv4, the other IPv6", destination.address));
        }
        Sender::Address(a) => a,
        Sender::Node if destination.address.is_loopback() => destination.address,
        Sender::Node => node_address(snapshot, family)
            .ok_or_else(|| format!("this node has no {family} address: give --from ADDRESS"))?,
        Sender::Outside => match family {
            IpFamily::V4 => OUTSIDE4.into(),
            IpFamily::V6 => OUTSIDE6.into(),
        },
        Sender::Pod => match pod_network(snapshot, family) {
            Some(net) => {
                let address = free_address(net, model);
                notes.push(format!("{address} stands for any pod of {net} that is no endpoint"));
                address
            }
            None => {
                let near = model
                    .services
                    .iter()
                    .flat_map(|s| &s.backends)
                    .map(|b| b.address)
                    .find(|a| IpFamily::of(*a) == family);
                let near = near.ok_or(match model.modes.is_empty() {
                    true => "no mode of kube-proxy holds a Service here, so nothing tells the pods' network: give --from ADDRESS",
                    false => "the rules do not tell the pods' network: give --from ADDRESS",
                })?;
                let prefix = if family == IpFamily::V4 { 24 } else { 64 };
                let cut = match near {
                    IpAddr::V4(a) => IpAddr::V4((u32::from(a) & !0xff).into()),
                    IpAddr::V6(a) => IpAddr::V6((u128::from(a) >> 64 << 64).into()),
                };
                let address = free_address(IpNet { addr: cut, prefix }, model);
                notes.push(format!(
                    "the rules do not tell the pods' network: {address}, beside an endpoint, stands for a pod"
                ));
                address
            }
        },
    };
    let own = source.is_loopback() || snapshot.addresses.iter().any(|a| a.address == source);
    let entrance = match (own, interface) {
        (true, None) => Entrance::Node,
        (_, interface) => Entrance::Interface(interface.map(str::to_string)),
    };
    let to = (destination.address, destination.port);
    let packet = Packet::new((source, SOURCE_PORT), to, destination.protocol, entrance);
    let walk = Ground::new(snapshot).walk(&packet, &Options::default());
    Ok(Explanation { destination: destination.clone(), packet, sender, notes, walk })
}

/// How an end is called in JSON.
pub fn verdict(o: &Outcome) -> &'static str {
    match (&o.end, o.backend) {
        (End::Delivered | End::Sent, Some(_)) => "dnat",
        (End::Delivered | End::Sent, None) if o.masquerade => "masquerade",
        (End::Delivered | End::Sent, None) => "accept",
        (End::Dropped, _) => "drop",
        (End::Rejected, _) => "reject",
        (End::Queued, _) => "queue",
        (End::Lost, _) => "lost",
        (End::Undecided, _) => "undecided",
    }
}

/// Ends that differ only in how many rules they take, as one.
#[derive(Clone, Debug)]
pub struct Ending<'a> {
    /// One of them.
    pub outcome: &'a Outcome,
    /// The odds of all of them.
    pub probability: f64,
    /// Fewest and most rules evaluated.
    pub rules: (u32, u32),
}

/// A line of the answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// What kind, for its colour.
    pub kind: LineKind,
    /// Where: table and chain, or odds.
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
    /// The Service that is meant.
    pub fn service<'m>(&self, model: &'m Model) -> Option<(&'m Service, &'m Frontend)> {
        let (i, j) = self.destination.service?;
        let service = model.services.get(i)?;
        Some((service, service.frontends.get(j)?))
    }

    /// Who takes the packet: the mode that translated or refused it, where that is kube-proxy's doing.
    pub fn mode(&self, model: &Model) -> Option<Mode> {
        self.service(model).map(|s| s.0.mode)
    }

    /// Ends by what comes of them, the likeliest first.
    pub fn endings(&self) -> Vec<Ending<'_>> {
        let mut all: Vec<Ending<'_>> = Vec::new();
        for o in &self.walk.outcomes {
            let same = |e: &&mut Ending<'_>| {
                let x = e.outcome;
                (&x.end, x.backend, x.masquerade, &x.assuming)
                    == (&o.end, o.backend, o.masquerade, &o.assuming)
                    && self.last_rule(x) == self.last_rule(o)
            };
            let rules = o.tally.rules();
            match all.iter_mut().find(same) {
                Some(e) => {
                    e.probability += o.probability;
                    e.rules = (e.rules.0.min(rules), e.rules.1.max(rules));
                }
                None => all.push(Ending { outcome: o, probability: o.probability, rules: (rules, rules) }),
            }
        }
        // Those that assume the same stand together, in the order in which they came.
        let first = |e: &Ending<'_>| {
            self.walk.outcomes.iter().position(|o| o.assuming == e.outcome.assuming).unwrap_or(usize::MAX)
        };
        all.sort_by_key(first);
        all
    }

    /// The step that ended a packet that died.
    fn last_rule(&self, o: &Outcome) -> Option<&Step> {
        match o.end {
            End::Delivered | End::Sent => None,
            _ => self.walk.steps.get(o.last? as usize),
        }
    }

    /// An end in words.
    pub fn ending_text(&self, snapshot: &Snapshot, o: &Outcome) -> String {
        let masquerade = if o.masquerade { ", masqueraded" } else { "" };
        let by = || match self.last_rule(o) {
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
                let variant = s.variant.map_or(String::new(), |v| format!(" ({})", v.name()));
                format!("{}, {kind}, {} mode{variant}", s.label(), s.mode.name())
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
        lines.push(line(Head, "", "What becomes of it", ""));
        let mut assumed: &[String] = &[];
        for (i, e) in endings.iter().enumerate() {
            // Ends under the same assumptions stand together; their odds are given these.
            if e.outcome.assuming != assumed {
                assumed = &e.outcome.assuming;
                lines.push(line(Note, "", format!("if {}:", assumed.join(", and ")), ""));
            }
            let lives = matches!(e.outcome.end, End::Sent | End::Delivered);
            let odds = percent(e.probability);
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
            lines.push(Line { ending: Some(i), ..line(kind, odds, text, rules) });
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
        lines
    }

    /// What is near a destination that no Service has.
    fn unknown(&self, snapshot: &Snapshot, model: &Model) -> Vec<Line> {
        let (to, port) = (self.packet.destination, self.packet.destination_port);
        let mut found = Vec::new();
        for s in &model.services {
            for f in s.frontends.iter().filter(|f| f.address == Some(to)) {
                found.push(format!("{} has {}/{}", s.label(), frontend_text(f), s.protocol.lower()));
            }
            for b in s.backends.iter().filter(|b| b.address == to && b.port == port) {
                found.push(format!("{} is a backend of {}", endpoint_text(b.address, b.port), s.label()));
            }
        }
        for s in &model.services {
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
            // Rules that were passed over one branch after the other are one line.
            if let (Some(last), StepKind::Passed(_, more)) = (steps.last_mut(), &step.kind)
                && let StepKind::Passed(_, n) = &mut last.kind
                && (last.place, last.hook) == (step.place, step.hook)
            {
                *n += more;
                last.odds = match (last.odds, step.odds) {
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
    let odds = step.odds.map_or(String::new(), |p| format!("  [odds {}]", percent(p)));
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
            Line { rule, ..line(kind, place, format!("{text}{odds}"), figure) }
        }
        (StepKind::Passed(id, n), at) => {
            let text = format!("{} passed over{odds}", plural(u64::from(*n), "rule"));
            let rule = at.map(|p| RuleRef { table: p.table, rule: *id });
            Line { rule, ..line(LineKind::Passed, place, text, "") }
        }
        (StepKind::Policy, _) => line(LineKind::Step, place, "policy DROP", ""),
        (StepKind::Ipvs(text), _) => line(LineKind::Step, "IPVS", format!("{text}{odds}"), ""),
        (StepKind::Note(text), _) => line(LineKind::Note, "", text.clone(), ""),
        _ => line(LineKind::Note, place, "", ""),
    }
}
