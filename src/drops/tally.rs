//! Dropped packets, summed by reason, place and Service.

use crate::proxy::{Protocol, Services};
use crate::ruleset::L4Endpoint;
use crate::snapshot::facts::{DroppedPacket, PacketHeader};
use crate::snapshot::{DropBatch, Snapshot};
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// How a packet belongs to a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Role {
    /// It was sent to the Service, and is not translated yet.
    ToService,
    /// It was on its way to a backend.
    ToBackend,
    /// It came back from a backend.
    Answer,
}

impl Role {
    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Role::ToService => "to it",
            Role::ToBackend => "to a backend",
            Role::Answer => "an answer of a backend",
        }
    }

    /// As in JSON.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Whose a packet is: the Service's name with its protocol, and how.
pub type Owner = (String, Role);

/// The Service that a packet belongs to, by its place.
pub fn service_of(h: &PacketHeader, snapshot: &Snapshot, services: &Services) -> Option<(usize, Role)> {
    let (from, to) = h.ports?;
    let (from, to) =
        (L4Endpoint::new(h.protocol, h.source, from), L4Endpoint::new(h.protocol, h.destination, to));
    let reached = services.reached_at(to, &snapshot.addresses).map(|i| (i, Role::ToService));
    let backend = || services.with_backend(to).map(|i| (i, Role::ToBackend));
    let answer = || services.with_backend(from).map(|i| (i, Role::Answer));
    reached.or_else(backend).or_else(answer)
}

/// What dropped packets have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Group {
    /// The kernel's reason; `?` where it says none.
    pub reason: String,
    /// The function of the kernel that dropped it.
    pub place: String,
    /// Whose.
    pub owner: Option<Owner>,
}

/// What is known of a group.
#[derive(Clone, Debug, PartialEq)]
pub struct Tally {
    /// Packets.
    pub packets: u64,
    /// Since the monitor was on, when the last one came.
    pub last: Duration,
    /// One of them.
    pub example: DroppedPacket,
}

/// A packet of the live list.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// When, since the monitor was on.
    pub at: Duration,
    /// Packet.
    pub dropped: DroppedPacket,
    /// Whose.
    pub owner: Option<Owner>,
}

/// Functions of the kernel that free packets of connections which end: no loss, where no reason is given
/// (`kfree_skb` without a reason; later kernels call `consume_skb` there).
pub(super) const ENDINGS: [&str; 9] = [
    "icmpv6_rcv", // neighbour discovery, taken care of
    "tcp_v4_rcv",
    "tcp_v6_rcv",
    "tcp_v4_do_rcv",
    "tcp_v6_do_rcv",
    "tcp_rcv_state_process",
    "sk_stream_kill_queues",
    "__kfree_skb",
    "skb_queue_purge",
];

/// True for a packet that was lost, false for one that was only freed.
pub fn is_loss(d: &DroppedPacket) -> bool {
    let unspecified = d.reason.as_deref().is_none_or(|r| r == "NOT_SPECIFIED");
    !(unspecified && ENDINGS.contains(&function(d.symbol.as_deref()).as_str()))
}

/// Packets of the live list.
pub(super) const LISTED: usize = 500;

/// Groups that are kept.
pub(super) const GROUPS: usize = 5_000;

/// Dropped packets since the monitor was switched on.
#[derive(Clone, Debug, Default)]
pub struct Drops {
    groups: HashMap<Group, Tally>,
    /// The last packets, the newest last.
    pub recent: VecDeque<Seen>,
    /// All packets.
    pub total: u64,
    /// Those of Services.
    pub of_services: u64,
    /// Packets that were only freed: of connections that end, without a reason. They are in no other figure.
    pub freed: u64,
    /// Packets that could not be reported.
    pub lost: u64,
    /// For how long.
    pub span: Duration,
    /// True where another program had switched the monitor on.
    pub shared: bool,
}

/// `nf_hook_slow+0x71/0x10b` is in `nf_hook_slow`.
pub(super) fn function(symbol: Option<&str>) -> String {
    symbol.map_or("?", |s| s.split('+').next().unwrap_or(s)).to_string()
}

impl Drops {
    /// Counts what came.
    pub fn add(&mut self, batch: DropBatch, snapshot: &Snapshot, services: &Services) {
        self.span = batch.span;
        self.shared = batch.shared;
        self.lost = self.lost.max(batch.lost) + batch.overrun;
        for dropped in batch.packets {
            if !is_loss(&dropped) {
                self.freed += 1;
                continue;
            }
            let owner = dropped.packet.as_ref().and_then(|h| {
                let (i, role) = service_of(h, snapshot, services)?;
                let s = services.get(i)?;
                Some((format!("{} {}", s.label(), s.protocol.name()), role))
            });
            self.total += 1;
            self.of_services += u64::from(owner.is_some());
            let group = Group {
                reason: dropped.reason.clone().unwrap_or_else(|| "?".into()),
                place: function(dropped.symbol.as_deref()),
                owner: owner.clone(),
            };
            let full = self.groups.len() >= GROUPS;
            match self.groups.get_mut(&group) {
                Some(t) => {
                    t.packets += 1;
                    t.last = self.span;
                }
                None if !full => {
                    let tally = Tally { packets: 1, last: self.span, example: dropped.clone() };
                    self.groups.insert(group, tally);
                }
                None => {}
            }
            if self.recent.len() >= LISTED {
                self.recent.pop_front();
            }
            self.recent.push_back(Seen { at: self.span, dropped, owner });
        }
    }

    /// Groups: those of Services first, then by the number of packets.
    pub fn groups(&self) -> Vec<(&Group, &Tally)> {
        let mut all: Vec<(&Group, &Tally)> = self.groups.iter().collect();
        all.sort_by(|a, b| {
            (a.0.owner.is_none(), std::cmp::Reverse(a.1.packets), a.0).cmp(&(
                b.0.owner.is_none(),
                std::cmp::Reverse(b.1.packets),
                b.0,
            ))
        });
        all
    }
}

/// `10.244.0.5:4711 -> 10.96.0.10:53 UDP`
pub fn packet_text(d: &DroppedPacket) -> String {
    use crate::proxy::endpoint_text;
    let Some(h) = &d.packet else { return "no IP packet, or its headers were not reported".into() };
    let name = Protocol::from_number(u16::from(h.protocol)).map(|p| p.name().to_string());
    let protocol =
        name.or_else(|| crate::ruleset::protocol_name(u16::from(h.protocol)).map(str::to_uppercase));
    let protocol = protocol.unwrap_or_else(|| format!("protocol {}", h.protocol));
    let flags = h.tcp_flags.map_or(String::new(), |f| {
        let names = [(2, "SYN"), (16, "ACK"), (1, "FIN"), (4, "RST")];
        let set: Vec<&str> = names.iter().filter(|n| f & n.0 != 0).map(|n| n.1).collect();
        if set.is_empty() { String::new() } else { format!(" {}", set.join("+")) }
    });
    match h.ports {
        Some((a, b)) => {
            format!("{} -> {} {protocol}{flags}", endpoint_text(h.source, a), endpoint_text(h.destination, b))
        }
        None => format!("{} -> {} {protocol}", h.source, h.destination),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::shop;
    use crate::proxy::{Model, Names, iptables};
    use crate::ruleset::IpFamily;
    use crate::snapshot::TableState;
    use std::net::IpAddr;
    use std::sync::Arc;

    #[test]
    fn packets_find_their_services_before_and_after_translation() {
        let services = shop::services(None, 4);
        let tables = iptables::write(&services, IpFamily::V4, &iptables::WriteOptions::default());
        let tables =
            tables.into_iter().map(|(t, c)| TableState::new(Duration::ZERO, Arc::new(t), Arc::new(c)));
        let snapshot = Snapshot { tables: tables.collect(), ..Snapshot::default() };
        let model = Model::read(&snapshot, &Names::default());
        let cart = model.services.iter().find(|s| s.label() == "shop/cart").unwrap();
        let (vip, pod) = (cart.frontends[0].address.unwrap(), cart.backends[0].address);
        let client: IpAddr = "10.244.9.9".parse().unwrap();
        let packet = |source, sport, destination, dport| DroppedPacket {
            packet: Some(PacketHeader {
                source,
                destination,
                protocol: 6,
                ports: Some((sport, dport)),
                tcp_flags: Some(2),
            }),
            reason: Some("NETFILTER_DROP".into()),
            symbol: Some("nf_hook_slow+0x71/0x10b".into()),
            ..DroppedPacket::default()
        };
        let mut drops = Drops::default();
        let packets = vec![
            packet(client, 999, vip, 8080),
            packet(client, 999, pod, 8080),
            packet(client, 998, pod, 8080),
            packet(pod, 8080, client, 999),
            packet(client, 999, client, 1),
        ];
        drops.add(DropBatch { packets, ..DropBatch::default() }, &snapshot, &model.services);
        let reported: Vec<(u64, Option<Role>)> =
            drops.groups().iter().map(|(g, t)| (t.packets, g.owner.as_ref().map(|o| o.1))).collect();
        assert_eq!(
            reported,
            [(2, Some(Role::ToBackend)), (1, Some(Role::ToService)), (1, Some(Role::Answer)), (1, None)]
        );
        assert_eq!((drops.total, drops.of_services), (5, 4));
        assert!(drops.groups()[0].0.place == "nf_hook_slow");
        assert_eq!(packet_text(&drops.recent[0].dropped), format!("10.244.9.9:999 -> {vip}:8080 TCP SYN"));
    }
}
