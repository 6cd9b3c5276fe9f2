//! Flows, counted while they stream by: by where they were sent and where they really go.

use crate::kernel::conntrack::{ASSURED, Flow, SEEN_REPLY};
use hashbrown::HashMap;
use std::net::IpAddr;

/// A destination before and after translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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

/// Figures of the flows of one [`FlowKey`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowFigures {
    /// Flows.
    pub flows: u32,
    /// Of them, without an answer yet.
    pub unreplied: u32,
    /// Of them, assured: seen in both directions for good.
    pub assured: u32,
    /// Packets that came; 0 with accounting off.
    pub in_packets: u64,
    /// Bytes that came.
    pub in_bytes: u64,
    /// Packets that went back.
    pub out_packets: u64,
    /// Bytes that went back.
    pub out_bytes: u64,
}

/// How many different keys are kept. A node has one for each pair of frontend and backend in use; what comes
/// beyond is counted in [`Flows::beyond`].
pub const MAX_GROUPS: usize = 112 * 1024;

/// Flows of one namespace. No flow is held: memory grows with the pairs in use, up to [`MAX_GROUPS`].
#[derive(Clone, Debug, Default)]
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
}

impl Flows {
    /// Counts one flow.
    pub fn add(&mut self, flow: &Flow) {
        self.total += 1;
        let unreplied = flow.status & SEEN_REPLY == 0;
        self.unreplied += u64::from(unreplied);
        self.accounting |= flow.traffic.is_some();
        if !flow.is_dnat() {
            self.untranslated += 1;
            return;
        }
        let key = FlowKey {
            protocol: flow.original.protocol,
            frontend: flow.original.destination,
            frontend_port: flow.original.destination_port,
            backend: flow.reply.source,
            backend_port: flow.reply.source_port,
        };
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
        figures.assured += u32::from(flow.status & ASSURED != 0);
        if let Some((sent, back)) = flow.traffic {
            figures.in_packets += sent.packets;
            figures.in_bytes += sent.bytes;
            figures.out_packets += back.packets;
            figures.out_bytes += back.bytes;
        }
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
        }
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
