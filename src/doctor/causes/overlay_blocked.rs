//! INPUT drops the node's own tunnel: packets of pods on other nodes arrive inside UDP packets for the node (vxlan, geneve) or
//! as another protocol (IPIP), and a host firewall that lets in SSH and the API only takes them (k3s-io/k3s#1719).

use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::{Finding, Severity};
use crate::proxy::node_addresses;
use crate::ruleset::{IpFamily, IpNet, Match, Target, Verdict};
use crate::snapshot::SourceId;
use crate::walk::{End, Ingress, Options, Packet, RulesetIndex};
use std::net::IpAddr;

pub(super) const CHECK: Check = Check {
    id: "overlay_blocked",
    about: "the firewall drops the node's own tunnel",
    needs: &[SourceId::Links, SourceId::Addresses],
    looks_at: SourceId::RULES,
    readings: 1,
    run,
};

/// IP protocol numbers: UDP, IP in IP.
const UDP: u8 = 17;
const IPIP: u8 = 4;

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    let tunnels = cx.snapshot.links.iter().filter(|l| l.up).filter_map(|l| {
        let (protocol, port) = match l.kind.as_deref()? {
            "vxlan" | "geneve" => (UDP, l.tunnel_port?),
            // The kernel's own first one is there wherever the module is.
            "ipip" if l.name != "tunl0" || cx.snapshot.addresses.iter().any(|a| a.interface == l.name) => {
                (IPIP, 0)
            }
            _ => return None,
        };
        Some((l, protocol, port))
    });
    let mut index = None;
    for (link, protocol, port) in tunnels {
        // The node's own address, and another one of its network.
        let mut own = node_addresses(cx.snapshot, IpFamily::V4);
        let own = own.find(|a| a.interface != link.name && a.prefix.is_some_and(|p| p < 31));
        let Some((to, prefix)) = own.and_then(|a| Some((a.address, a.prefix?))) else { continue };
        let from = neighbour(to, prefix);
        let ruleset = index.get_or_insert_with(|| RulesetIndex::new(cx.snapshot));
        let entrance = Ingress::Interface(ruleset.interface_to(from).map(str::to_string));
        let packet = Packet::new((from, 40_000), (to, port), protocol, entrance);
        let walk = ruleset.walk(&packet, &Options { new_client: true, ..Options::default() });
        let dies = !walk.outcomes.is_empty()
            && walk.outcomes.iter().all(|o| matches!(o.end, End::Dropped | End::Rejected));
        // Rules for single senders may let the other nodes in, and not the one that was thought of.
        if !dies || (protocol == UDP && lets_some_in(cx, port)) {
            continue;
        }
        let kind = link.kind.as_deref().unwrap_or("tunnel");
        let what = match protocol {
            UDP => format!("UDP port {port}"),
            _ => "IP protocol 4".into(),
        };
        let last = walk.outcomes[0].last.and_then(|l| walk.steps.get(l as usize));
        let place = last.and_then(|s| s.place).and_then(|p| {
            let t = cx.snapshot.tables.get(p.table)?;
            Some(format!("{} {} {}", t.family, t.table.name, t.table.chain_name(p.chain)))
        });
        let accept = match protocol {
            UDP => format!("-p udp --dport {port}"),
            _ => format!("-p {IPIP}"),
        };
        let f = Finding::node(
            "overlay_blocked",
            Severity::Critical,
            &link.name,
            format!("the node's firewall drops its own {kind}: packets of pods on other nodes never arrive"),
        )
        .proved_by(format!("{} is a {kind} device, and takes its packets at {what}", link.name))
        .proved_by(format!(
            "a packet from {from} to {to}, {what}, is dropped in {}",
            place.unwrap_or_else(|| "the rules".into())
        ));
        found.push(f.advise(format!("let the other nodes in: iptables -I INPUT {accept} -s NODE-NETWORK -j ACCEPT, and so in the firewall's own configuration")));
    }
    Ok(())
}

/// Another address of the same network.
fn neighbour(own: IpAddr, prefix: u8) -> IpAddr {
    let net = IpNet { addr: own, prefix };
    let IpAddr::V4(a) = own else { return own };
    let other = |n: u32| IpAddr::V4((u32::from(a) ^ n).into());
    [3, 1, 2, 5].into_iter().map(other).find(|o| net.contains(*o) && *o != own).unwrap_or(own)
}

/// True where a rule accepts packets to this port from certain senders.
fn lets_some_in(cx: &CheckContext<'_>, port: u16) -> bool {
    cx.all_rules().any(|r| {
        let accepts = cx.target(r) == Some(&Target::Verdict(Verdict::Accept));
        let wants = cx.matches(r);
        let to_port =
            wants.iter().any(|m| matches!(m, Match::Udp { destination, .. } if destination.first == port));
        let from = wants.iter().filter_map(Match::address).any(|a| !a.destination && a.net.prefix > 0);
        accepts && to_port && from
    })
}
