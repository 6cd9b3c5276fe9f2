//! Faults that the demo shows on demand: each is one that people found on real nodes, made as it comes about there.

use super::addresses::sysctl;
use super::install::{install_table, put, written};
use super::{Lab, inside};
use crate::kernel::netns::Netns;
use crate::kernel::{Error, Result, nftables};
use crate::proxy::{Engine, Mode, Protocol, Service, Variant};
use crate::ruleset::{
    BaseChain, ChainKind, Counter, Dialect, Family, Hook, IpFamily, Match, Policy, RuleSpec, Table,
    TableBackend, TableBuilder, TableCounters, Target, Verdict,
};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A firewall's rule drops what goes to one of four backends of shop/cart.
    ForeignDrop,
    /// The pods of monitoring/statsd are replaced, and a client's datagrams still go to one that is gone.
    StaleUdp,
    /// kube-proxy's rules are flushed.
    Wiped,
    /// The node's own connections may take the ports of Services.
    NodePortTaken,
    /// kube-proxy takes connections and answers nothing.
    KubeProxyStuck,
}

/// The Service whose pods are replaced.
const REPLACED: &str = "monitoring/statsd:udp";
/// The Service that loses a part.
const DROPPED: &str = "shop/cart";
/// kube-proxy's metrics and its health (`pkg/proxy/apis/config/v1alpha1/defaults.go`).
const PORTS: [u16; 2] = [10249, 10256];
/// A pod of this node that no other traffic has.
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 244, 128, 9);

/// True after this time; false where the lab ends before.
fn wait(time: Duration, stop: &AtomicBool) -> bool {
    let began = Instant::now();
    while began.elapsed() < time {
        if stop.load(Ordering::Relaxed) {
            return false;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    true
}

fn service<'a>(services: &'a [Service], label: &str) -> Result<&'a Service> {
    let found = services.iter().find(|s| s.label() == label && s.family == IpFamily::V4);
    found.ok_or_else(|| Error::protocol("making a fault", format!("the shop has no {label}")))
}

/// A table of a program that is not kube-proxy: one chain, and a rule for each address that drops what goes there.
fn dropping(name: &str, chain: (&str, Hook, i32), to: &[Ipv4Addr], counted: bool) -> (Table, TableCounters) {
    let mut b = TableBuilder::new(Family::Inet, TableBackend::NfTables, name);
    b.dialect = Dialect::Nft;
    let id = b.chain(chain.0);
    let base =
        BaseChain { hook: chain.1, kind: ChainKind::Filter, priority: chain.2, policy: Policy::Accept };
    b.base(id, base, Counter::default());
    for addr in to {
        let mut matches = vec![Match::Address4 { addr: *addr, prefix: 32, destination: true, invert: false }];
        matches.extend(counted.then_some(Match::Counter));
        let target = Target::Verdict(Verdict::Drop);
        b.push(id, RuleSpec { matches, target, counter: Counter::default() });
    }
    b.finish()
}

/// A table as a firewall writes it, with one rule.
fn quarantine(services: &[Service]) -> Result<(Table, TableCounters)> {
    let address = service(services, DROPPED)?.backends.get(1).map(|b| b.address);
    let Some(IpAddr::V4(addr)) = address else {
        return Err(Error::protocol("making a fault", format!("{DROPPED} has too few backends")));
    };
    Ok(dropping("quarantine", ("forward", Hook::Forward, 10), &[addr], true))
}

/// What `iptables -F; iptables -X` leaves, or `nft delete table`.
fn wipe(engine: Engine, services: &[Service]) -> Result<()> {
    for (table, _) in written(engine.mode(), services)? {
        let family = table.family.ip().unwrap_or(IpFamily::V4);
        let legacy = table.dialect == Dialect::Iptables && engine.variant() == Some(Variant::Legacy);
        let gone = if legacy {
            let mut b = TableBuilder::new(table.family, TableBackend::XTables, &table.name);
            for c in table.chains.iter().filter(|c| c.base.is_some()) {
                let chain = b.chain(table.str(c.name));
                if let Some(base) = c.base {
                    b.base(chain, base, Counter::default());
                }
            }
            install_table(family, &b.finish().0)
        } else {
            nftables::delete(table.family, &table.name)
        };
        // A kernel without IPv6 had nothing there.
        if family == IpFamily::V4 {
            gone?;
        }
    }
    Ok(())
}

/// The rules once more, with other pods behind one Service. kube-proxy would clean conntrack up: this is when it does not.
fn replace(engine: Engine, services: &[Service]) -> Result<()> {
    let mut services = services.to_vec();
    for s in services.iter_mut().filter(|s| s.label() == REPLACED) {
        for (n, b) in s.backends.iter_mut().enumerate() {
            b.address = IpAddr::V4(Ipv4Addr::new(10, 244, 2, 200 + n as u8));
        }
    }
    let tables = written(engine.mode(), &services)?;
    if engine.variant() != Some(Variant::Legacy) {
        for (table, _) in &tables {
            nftables::delete(table.family, &table.name)?;
        }
    }
    put(engine, &tables)
}

/// A client that sends from one port, as a client of statsd does.
fn ask_forever(ns: &Arc<Netns>, to: SocketAddr, stop: &AtomicBool) {
    let socket = ns.enter().ok().and_then(|()| UdpSocket::bind((CLIENT, 0)).ok());
    let Some(socket) = socket else { return };
    while wait(Duration::from_millis(300), stop) {
        let _ = socket.send_to(b"orders:1|c\n", to);
    }
}

impl Lab {
    /// Makes a fault after some time, and keeps it up until the lab ends.
    ///
    /// # Errors
    /// The mode cannot have it.
    pub fn fault(
        &mut self,
        fault: Fault,
        after: Duration,
        engine: Engine,
        services: &[Service],
    ) -> Result<()> {
        let cannot = |why: &str| Err(Error::missing("making this fault", why, Some("choose another --mode")));
        match (fault, engine.mode()) {
            (Fault::StaleUdp | Fault::Wiped, Mode::Ipvs) => {
                return cannot("the lab makes it in iptables and nftables mode alone");
            }
            (_, Mode::Iptables | Mode::Nftables | Mode::Ipvs) => {}
            _ => return cannot("it is one of kube-proxy's rules, and another program serves here"),
        }
        if fault == Fault::StaleUdp {
            let s = service(services, REPLACED)?;
            debug_assert_eq!(s.protocol, Protocol::Udp);
            let to = s.frontends.first().and_then(|f| Some(SocketAddr::new(f.address?, f.port)));
            let to =
                to.ok_or_else(|| Error::protocol("making a fault", format!("{REPLACED} has no address")))?;
            let (ns, stop) = (self.apps.clone(), self.stop.clone());
            self.clients.push(std::thread::spawn(move || ask_forever(&ns, to, &stop)));
        }
        let (node, pods, stop) = (self.node.clone(), self.pods.clone(), self.stop.clone());
        let services = services.to_vec();
        self.clients.push(std::thread::spawn(move || {
            if !wait(after, &stop) || node.enter().is_err() {
                return;
            }
            let mut held = Vec::new();
            let made = match fault {
                Fault::ForeignDrop => quarantine(&services).and_then(|(t, c)| nftables::create(&t, &c)),
                Fault::Wiped => wipe(engine, &services),
                // The pods that went answer no more.
                Fault::StaleUdp => replace(engine, &services).and_then(|()| silence(&pods, &services)),
                Fault::NodePortTaken => sysctl("ipv4/ip_local_port_range", "30000 60999"),
                Fault::KubeProxyStuck => PORTS.iter().try_for_each(|port| {
                    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, *port));
                    held.push(socket.map_err(|e| Error::io("opening kube-proxy's ports in the lab", e))?);
                    Ok(())
                }),
            };
            // The screen has the terminal: what went wrong is seen there as a fault that does not come.
            if made.is_ok() {
                while wait(Duration::from_secs(1), &stop) {}
            }
        }));
        Ok(())
    }
}

/// Drops what comes to the replaced pods, in the pods' namespace: they are gone.
fn silence(pods: &Arc<Netns>, services: &[Service]) -> Result<()> {
    let v4 = |a: IpAddr| match a {
        IpAddr::V4(a) => Some(a),
        IpAddr::V6(_) => None,
    };
    let gone: Vec<Ipv4Addr> =
        service(services, REPLACED)?.backends.iter().filter_map(|b| v4(b.address)).collect();
    inside(pods, move || {
        let (table, counters) = dropping("gone", ("input", Hook::Input, 0), &gone, false);
        nftables::create(&table, &counters)
    })
}
