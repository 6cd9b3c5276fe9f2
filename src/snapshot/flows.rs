//! Flows, counted while they stream by: by where they were sent and where they really go.

use crate::kernel::conntrack::{ASSURED, Flow, SEEN_REPLY};
use crate::ruleset::L4Endpoint;
use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// A destination before and after translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FlowKey {
    /// IP protocol number.
    pub protocol: u8,
    /// Where the first packet was sent.
    pub frontend: IpAddr,
    /// Its port.
    pub frontend_port: u16,
    /// Where it went.
    pub backend: IpAddr,
    /// Its port.
    pub backend_port: u16,
}

impl FlowKey {
    /// Of a flow whose destination was translated.
    pub fn of(flow: &Flow) -> FlowKey {
        FlowKey {
            protocol: flow.original.protocol,
            frontend: flow.original.destination,
            frontend_port: flow.original.destination_port,
            backend: flow.reply.source,
            backend_port: flow.reply.source_port,
        }
    }

    /// Where it was sent.
    pub fn frontend(&self) -> L4Endpoint {
        L4Endpoint::new(self.protocol, self.frontend, self.frontend_port)
    }

    /// Where it went.
    pub fn backend(&self) -> L4Endpoint {
        L4Endpoint::new(self.protocol, self.backend, self.backend_port)
    }
}

/// Figures of the flows of one [`FlowKey`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowFigures {
    /// Flows.
    pub flows: u32,
    /// Of them, without an answer yet.
    pub unreplied: u32,
    /// Of them, assured: seen in both directions for good.
    pub assured: u32,
    /// Of them, TCP connections that open: no handshake yet.
    pub opening: u32,
    /// Of these, those whose client has sent again, without an answer; 0 with accounting off.
    pub retrying: u32,
    /// Of them, TCP connections that are established.
    pub established: u32,
    /// Of them, TCP connections that close or are closed.
    pub closing: u32,
    /// Of them, those whose source was translated too.
    pub masqueraded: u32,
    /// The most seconds that any of them has left: little less than the timeout where packets still come.
    pub longest_left_s: u32,
    /// When the oldest began, in nanoseconds since 1970; `None` with `nf_conntrack_timestamp` off.
    pub oldest_ns: Option<u64>,
    /// Packets that came; 0 with accounting off.
    pub in_packets: u64,
    /// Bytes that came.
    pub in_bytes: u64,
    /// Packets that went back.
    pub out_packets: u64,
    /// Bytes that went back.
    pub out_bytes: u64,
}

impl FlowFigures {
    /// Adds those of another group.
    pub fn add(&mut self, other: &FlowFigures) {
        self.flows += other.flows;
        self.unreplied += other.unreplied;
        self.assured += other.assured;
        self.opening += other.opening;
        self.retrying += other.retrying;
        self.established += other.established;
        self.closing += other.closing;
        self.masqueraded += other.masqueraded;
        self.longest_left_s = self.longest_left_s.max(other.longest_left_s);
        self.oldest_ns = earlier(self.oldest_ns, other.oldest_ns);
        self.in_packets += other.in_packets;
        self.in_bytes += other.in_bytes;
        self.out_packets += other.out_packets;
        self.out_bytes += other.out_bytes;
    }
}

fn earlier(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// Flows of one IP protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProtocolFigures {
    /// Flows.
    pub flows: u64,
    /// Of them, without an answer yet.
    pub unreplied: u64,
}

/// Flows of a client are counted for so many clients; the rest is [`Flows::other_sources`].
pub const MAX_SOURCES: usize = 16 * 1024;

/// Flows that are kept one by one, where a user asked for those of a destination.
pub const MAX_FOLLOWED: usize = 500;

/// The same of a file.
pub(super) const MAX_KEPT: usize = 20_000;

/// A destination whose flows are kept one by one: protocol number, address (`None`: any that the flow's packets were
/// translated from), port.
pub type Followed = (u8, Option<IpAddr>, u16);

/// How many different keys are kept. A node has one for each pair of frontend and backend in use; what comes
/// beyond is counted in [`Flows::beyond`].
pub const MAX_GROUPS: usize = 112 * 1024;

/// Destinations of unanswered, untranslated flows that are kept.
pub const MAX_ASTRAY: usize = 8 * 1024;

/// Flows to a destination that nobody translated and nobody answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UntranslatedFlow {
    /// Flows.
    pub flows: u32,
    /// The most seconds that any of them has left.
    pub longest_left_s: u32,
    /// One of those who sent: its address and port.
    pub from: Option<(IpAddr, u16)>,
}

/// Where the flows of one source go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFlows {
    /// How many flows it sent to each destination, up to 4,096 of them.
    pub to: HashMap<L4Endpoint, u32, foldhash::fast::FixedState>,
    /// Flows to more destinations.
    pub beyond: u64,
}

/// Destinations of one source that are counted each.
const MAX_DESTINATIONS: usize = 4096;

/// Flows of one namespace. No flow is held: memory grows with the pairs in use, up to [`MAX_GROUPS`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Flows {
    /// Flows whose destination was translated.
    pub groups: HashMap<FlowKey, FlowFigures, foldhash::fast::FixedState>,
    /// All flows.
    pub total: u64,
    /// Flows to where they were sent, untranslated.
    pub untranslated: u64,
    /// Translated flows that found no room among the groups.
    pub beyond: u64,
    /// Flows without an answer.
    pub unreplied: u64,
    /// True where the kernel counts packets and bytes.
    pub accounting: bool,
    /// By IP protocol number.
    pub protocols: BTreeMap<u8, ProtocolFigures>,
    /// TCP flows by `enum tcp_conntrack`.
    pub tcp_states: [u64; TCP_STATES.len()],
    /// Flows by who began them.
    pub sources: HashMap<IpAddr, u32, foldhash::fast::FixedState>,
    /// Flows of sources beyond [`MAX_SOURCES`].
    pub other_sources: u64,
    /// Unanswered flows to where nobody translates, by destination, up to [`MAX_ASTRAY`].
    pub astray: HashMap<L4Endpoint, UntranslatedFlow, foldhash::fast::FixedState>,
    /// Unanswered flows that come back to who sent them with their own address as the source, by backend, up to
    /// [`MAX_ASTRAY`].
    pub hairpins: HashMap<L4Endpoint, u32, foldhash::fast::FixedState>,
    /// Flows that [`Flows::follow`] asked for, up to [`MAX_FOLLOWED`].
    pub followed: Vec<Flow>,
    /// Flows that it asked for, all of them.
    pub followed_count: u64,
    /// True where flows of every destination are kept one by one, as many as there is room for: those of a file.
    pub all_kept: bool,
    wanted: Vec<Followed>,
    /// Where the flows of those sources go that [`Flows::look_at_sources`] asked for.
    #[serde(skip_serializing_if = "HashMap::is_empty")]
    pub of_sources: HashMap<IpAddr, SourceFlows, foldhash::fast::FixedState>,
}

/// Names of `enum tcp_conntrack` (`linux/netfilter/nf_conntrack_tcp.h`), as `conntrack -L` prints them.
pub const TCP_STATES: [&str; 10] = [
    "NONE",
    "SYN_SENT",
    "SYN_RECV",
    "ESTABLISHED",
    "FIN_WAIT",
    "CLOSE_WAIT",
    "LAST_ACK",
    "TIME_WAIT",
    "CLOSE",
    "SYN_SENT2",
];

impl Flows {
    /// Keeps the flows to these destinations one by one.
    pub fn follow(&mut self, wanted: Vec<Followed>) {
        self.wanted = wanted;
    }

    /// Counts where the flows of these sources go.
    pub fn look_at_sources(&mut self, sources: &[IpAddr]) {
        self.of_sources = sources.iter().map(|s| (*s, SourceFlows::default())).collect();
    }

    /// The destinations whose flows are kept.
    pub fn wanted(&self) -> &[Followed] {
        &self.wanted
    }

    /// Keeps flows one by one wherever they go, as those of a file that nobody reads again.
    pub fn keep_all(&mut self) {
        self.all_kept = true;
    }

    /// Counts one flow.
    pub fn add(&mut self, flow: &Flow) {
        self.total += 1;
        let unreplied = flow.status & SEEN_REPLY == 0;
        self.unreplied += u64::from(unreplied);
        self.accounting |= flow.traffic.is_some();
        let protocol = self.protocols.entry(flow.original.protocol).or_default();
        protocol.flows += 1;
        protocol.unreplied += u64::from(unreplied);
        if let Some(state) = flow.tcp_state.and_then(|s| self.tcp_states.get_mut(usize::from(s))) {
            *state += 1;
        }
        let room = self.sources.len() < MAX_SOURCES;
        match self.sources.get_mut(&flow.original.source) {
            Some(n) => *n += 1,
            None if room => drop(self.sources.insert(flow.original.source, 1)),
            None => self.other_sources += 1,
        }
        // Most often there are none, and then nothing is looked up.
        if let Some(of) = self.of_sources.get_mut(&flow.original.source) {
            let o = &flow.original;
            let to = L4Endpoint::new(o.protocol, o.destination, o.destination_port);
            let room = of.to.len() < MAX_DESTINATIONS;
            match of.to.get_mut(&to) {
                Some(n) => *n += 1,
                None if room => drop(of.to.insert(to, 1)),
                None => of.beyond += 1,
            }
        }
        let most = if self.all_kept { MAX_KEPT } else { MAX_FOLLOWED };
        if self.all_kept || self.wanted.iter().any(|w| is_to(flow, w)) {
            self.followed_count += 1;
            if self.followed.len() < most {
                self.followed.push(*flow);
            }
        }
        if !flow.is_dnat() {
            self.untranslated += 1;
            if unreplied {
                self.add_astray(flow);
            }
            return;
        }
        let key = FlowKey::of(flow);
        let full = self.groups.len() >= MAX_GROUPS;
        let figures = match self.groups.get_mut(&key) {
            Some(f) => f,
            None if full => {
                self.beyond += 1;
                return;
            }
            None => self.groups.entry(key).or_default(),
        };
        figures.flows += 1;
        figures.unreplied += u32::from(unreplied);
        figures.masqueraded += u32::from(flow.reply.destination != flow.original.source);
        figures.longest_left_s = figures.longest_left_s.max(flow.timeout);
        if unreplied
            && flow.original.source == flow.reply.source
            && flow.reply.destination == flow.original.source
            && self.hairpins.len() < MAX_ASTRAY
        {
            *self.hairpins.entry(key.backend()).or_default() += 1;
        }
        figures.assured += u32::from(flow.status & ASSURED != 0);
        match flow.tcp_state {
            Some(1 | 2 | 9) => {
                figures.opening += 1;
                figures.retrying +=
                    u32::from(unreplied && flow.traffic.is_some_and(|(sent, _)| sent.packets > 1));
            }
            Some(3) => figures.established += 1,
            Some(4..=8) => figures.closing += 1,
            _ => {}
        }
        figures.oldest_ns = earlier(figures.oldest_ns, flow.began_ns);
        if let Some((sent, back)) = flow.traffic {
            figures.in_packets += sent.packets;
            figures.in_bytes += sent.bytes;
            figures.out_packets += back.packets;
            figures.out_bytes += back.bytes;
        }
    }
}

impl Flows {
    fn add_astray(&mut self, flow: &Flow) {
        let to = flow.original.to();
        if self.astray.len() >= MAX_ASTRAY && !self.astray.contains_key(&to) {
            return;
        }
        let astray = self.astray.entry(to).or_default();
        astray.flows += 1;
        astray.longest_left_s = astray.longest_left_s.max(flow.timeout);
        astray.from = Some((flow.original.source, flow.original.source_port));
    }
}

fn is_to(flow: &Flow, (protocol, address, port): &Followed) -> bool {
    let to = &flow.original;
    to.protocol == *protocol
        && to.destination_port == *port
        && match address {
            Some(a) => to.destination == *a,
            None => flow.is_dnat(),
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::conntrack::Tuple;

    fn flow(to: u32, backend: u32) -> Flow {
        let (client, to, backend) =
            (IpAddr::from([10, 0, 0, 1]), IpAddr::V4(to.into()), IpAddr::V4(backend.into()));
        let tuple = |source, destination| Tuple {
            source,
            destination,
            protocol: 6,
            source_port: 1,
            destination_port: 1,
        };
        Flow {
            original: tuple(client, to),
            reply: tuple(backend, client),
            status: 0,
            tcp_state: None,
            timeout: 9,
            traffic: None,
            began_ns: Some(5),
        }
    }

    #[test]
    fn the_flows_of_one_source_are_counted_by_destination() {
        let mut flows = Flows::default();
        flows.look_at_sources(&[IpAddr::V4(9.into())]);
        let tuple = |source: u32, port: u16| Tuple {
            source: IpAddr::V4(source.into()),
            destination: IpAddr::V4(7.into()),
            protocol: 6,
            source_port: 1000,
            destination_port: port,
        };
        for (source, port) in [(9, 80), (9, 80), (9, 443), (8, 80)] {
            let original = tuple(source, port);
            let flow = Flow {
                original,
                reply: original,
                status: 0,
                tcp_state: None,
                timeout: 9,
                traffic: None,
                began_ns: None,
            };
            flows.add(&flow);
        }
        let of = &flows.of_sources[&IpAddr::V4(9.into())];
        let to = |port| of.to.get(&L4Endpoint::new(6, IpAddr::V4(7.into()), port)).copied();
        assert_eq!((to(80), to(443), of.to.len(), of.beyond), (Some(2), Some(1), 2, 0));
    }

    #[test]
    fn flows_are_counted_by_what_they_are() {
        let mut flows = Flows::default();
        flows.follow(vec![(6, Some(IpAddr::V4(7.into())), 1)]);
        for i in 0..MAX_FOLLOWED as u32 + 3 {
            let tcp_state = Some(if i % 2 == 0 { 3 } else { 7 });
            flows.add(&Flow { tcp_state, ..flow(7, 1000) });
        }
        flows.add(&flow(8, 1000));
        assert_eq!((flows.followed.len(), flows.followed_count), (MAX_FOLLOWED, MAX_FOLLOWED as u64 + 3));
        assert_eq!((flows.tcp_states[3], flows.tcp_states[7]), (252, 251));
        let figures = flows.groups.values().find(|f| f.flows > 1).unwrap();
        assert_eq!((figures.established, figures.closing, figures.oldest_ns), (252, 251, Some(5)));
        assert_eq!(flows.protocols[&6].flows, MAX_FOLLOWED as u64 + 4);
        assert_eq!(flows.sources.values().sum::<u32>(), MAX_FOLLOWED as u32 + 4);
    }

    #[test]
    fn memory_is_bounded_and_nothing_is_lost() {
        let mut flows = Flows::default();
        let n = MAX_GROUPS as u32 + 10;
        for i in 0..n {
            flows.add(&flow(7, 1000 + i));
            flows.add(&flow(i, i));
        }
        assert_eq!(flows.groups.len(), MAX_GROUPS);
        assert_eq!(flows.total, 2 * u64::from(n));
        assert_eq!(flows.untranslated, u64::from(n));
        assert_eq!(flows.beyond, 10);
        flows.add(&flow(7, 1000));
        assert_eq!(flows.beyond, 10); // a known pair still counts
    }
}
