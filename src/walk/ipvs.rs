//! IPVS: where a packet is taken from the hooks, and sent on (`net/netfilter/ipvs/ip_vs_core.c`, `ip_vs_xmit.c`).

use super::packet_state::PacketState;
use super::travel::Journey;
use super::{End, StepKind};
use crate::ruleset::Hook;
use crate::snapshot::facts::{Forwarding, RealServer};

impl Journey<'_, '_> {
    /// IPVS: a virtual server for the packet, and one of its real servers (`ip_vs_in`, `ip_vs_schedule`).
    pub(super) fn ipvs(&mut self, t: &mut PacketState) -> Option<End> {
        let to = (t.packet.destination, t.packet.destination_port);
        let server = self.ruleset.virtual_server(t.packet.mark, t.packet.protocol, to)?;
        t.tally.ipvs += 1;
        let label = format!("{} {}", crate::proxy::endpoint_text(to.0, to.1), server.scheduler);
        let shares = crate::proxy::ipvs::shares(server);
        let takers: Vec<(&RealServer, Option<f64>)> =
            server.real_servers.iter().zip(shares).filter(|(r, _)| r.weight > 0).collect();
        if takers.is_empty() {
            self.step(t, StepKind::Ipvs(format!("{label}: no real server takes it")), None, false);
            return Some(End::Rejected);
        }
        let unknown = takers.iter().any(|r| r.1.is_none());
        if unknown {
            t.assume(format!("the scheduler {} spreads evenly", server.scheduler));
        }
        let even = 1.0 / takers.len() as f64;
        for (i, (real, share)) in takers.iter().enumerate().rev() {
            let probability = if unknown { even } else { share.unwrap_or(even) };
            let Some(mut other) = self.branch(t, probability) else { continue };
            let way = crate::proxy::endpoint_text(real.address, real.port);
            self.step(&mut other, StepKind::Ipvs(format!("{label} -> {way}")), None, false);
            other.via_ipvs = true;
            other.backend = Some((real.address, real.port));
            let away = !self.ruleset.is_local(real.address);
            if away && other.packet.source.is_loopback() && real.forwarding != Forwarding::Local {
                // `crosses_local_route_boundary` (net/netfilter/ipvs/ip_vs_xmit.c).
                self.note(&mut other, "IPVS sends nothing from a loopback address to another host".into());
                if i == 0 {
                    *t = other;
                    return Some(End::Lost);
                }
                self.end(other, End::Lost);
                continue;
            }
            match real.forwarding {
                Forwarding::Masquerade => {
                    other.packet.destination = real.address;
                    other.packet.destination_port = if real.port == 0 { to.1 } else { real.port };
                    // Without vs.conntrack the packet is of no flow from here on (`ip_vs_notrack`).
                    if self.ruleset.sysctl("net/ipv4/vs/conntrack") == Some("0") {
                        other.notrack = true;
                    } else {
                        other.translated_destination = true;
                    }
                    (other.destination_done, other.tracked) = (true, true);
                    if away {
                        other.hook = Hook::Output;
                        other.entry = 0;
                    }
                }
                Forwarding::Local => {}
                // Sent as it is, or inside another packet: the rest is the link's.
                _ => {
                    other.hook = Hook::Postrouting;
                    other.entry = usize::MAX;
                    other.looped = true;
                }
            }
            if i == 0 {
                *t = other;
            } else {
                self.waiting.push(other);
            }
        }
        None
    }
}
