//! What packets cost in this kernel: courses of rules in private namespaces, and the time that the first packet of a flow
//! and later ones take through them. Packets begin at OUTPUT and end in a link that leads nowhere, so that the whole way is
//! gone in the system call that sends them.

use super::packets::{Sender, encode};
use super::{inside, links, new_netns, parse, put, put_ipvs, shop, sysctl, written};
use crate::kernel::conntrack::{Client, Tuple};
use crate::kernel::netns::Netns;
use crate::kernel::{Error, Result};
use crate::proxy::{Engine, Mode, Protocol, Service};
use crate::ruleset::{IpFamily, IpNet};
use crate::snapshot::facts::{InterfaceAddress, Ipvs};
use crate::snapshot::{Reading, Snapshot, TableState};
use crate::walk::{Ingress, Options, Packet, RulesetIndex};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Sends the packets; its neighbours are nobody.
const SOURCE: &str = "192.168.60.1";
/// Backends of each Service of a course.
const BACKENDS: usize = 4;

/// A place in a course: the Service that packets are sent to.
#[derive(Clone, Debug)]
pub struct Stop {
    /// Its place among the Services, from 0.
    pub position: usize,
    /// Rules that its first packet meets in the mean, by the walk.
    pub evaluated: f64,
    /// Measured first packets, in nanoseconds.
    pub first_ns: Vec<f64>,
    /// Measured later packets.
    pub later_ns: Vec<f64>,
    to: (IpAddr, u16),
    answered: bool,
}

/// Rules of one mode for a number of Services, in a namespace of its own.
#[derive(Debug)]
pub struct Course {
    /// What finds the Services; `None` for no rules at all.
    pub engine: Option<Engine>,
    /// How many Services.
    pub services: usize,
    /// Rules in the tables of IPv4.
    pub rules: u64,
    /// First, middle and last Service.
    pub stops: Vec<Stop>,
    /// How long it took to install.
    pub installed_in: Duration,
    ns: Arc<Netns>,
    _end: Arc<Netns>,
    sender: Sender,
    conntrack: Option<Client>,
    port: u16,
}

/// The Services of a course: as the shop's made-up ones, over UDP.
fn services(count: usize) -> Vec<Service> {
    let mut all = shop::services(Some(31 + count), BACKENDS);
    let mut own = all.split_off(all.len() - count);
    for s in &mut own {
        s.protocol = Protocol::Udp;
    }
    own
}

impl Course {
    /// Makes the namespace and installs the rules. An error where this kernel lacks the mode.
    pub fn build(engine: Option<Engine>, count: usize) -> Result<Course> {
        let (ns, end) = (new_netns()?, new_netns()?);
        let services = services(count);
        let began = Instant::now();
        let mut snapshot = Snapshot::default();
        let source: IpAddr = parse(SOURCE)?;
        let address = InterfaceAddress { interface: "sink0".into(), address: source, prefix: None };
        snapshot.addresses = Arc::new(vec![address]);
        let mode = engine.map(Engine::mode);
        // Only IPv4 is measured: tables of IPv6 would cost time and hold nothing.
        let tables = match mode {
            Some(Mode::Iptables | Mode::Nftables) => {
                let all = written(mode.unwrap_or(Mode::Iptables), &services)?;
                all.into_iter().filter(|t| t.0.family.ip() == Some(IpFamily::V4)).collect()
            }
            _ => Vec::new(),
        };
        let installed = services.clone();
        let nobody = end.clone();
        let (tables, opened) = inside(&ns, move || {
            links::up("lo")?;
            links::add_veth("sink0", &nobody)?;
            links::add_address("sink0", IpNet { addr: parse(SOURCE)?, prefix: 24 })?;
            links::up_without_neighbours("sink0")?;
            links::add_link_route(IpNet { addr: parse("0.0.0.0")?, prefix: 0 }, "sink0")?;
            sysctl("ipv4/ip_forward", "1")?;
            match mode {
                Some(Mode::Ipvs) => {
                    put_ipvs(&installed)?;
                    // IPVS works with conntrack, and conntrack begins with the first rule that needs it.
                    let all = written(Mode::Iptables, &[])?;
                    let own: Vec<_> =
                        all.into_iter().filter(|t| t.0.family.ip() == Some(IpFamily::V4)).collect();
                    if put(Engine::IptablesLegacy, &own).is_err() {
                        put(Engine::IptablesNft, &own)?;
                    }
                    Ok((own, (Sender::open()?, Client::open().ok())))
                }
                _ => {
                    put(engine.unwrap_or(Engine::IptablesLegacy), &tables)?;
                    Ok((tables, (Sender::open()?, Client::open().ok())))
                }
            }
        })?;
        inside(&end, || links::up("eth0"))?;
        let installed_in = began.elapsed();
        let rules = tables.iter().map(|t| t.0.rules.len() as u64).sum();
        snapshot.tables =
            tables.into_iter().map(|(t, c)| TableState::new(Duration::ZERO, t.into(), c.into())).collect();
        if mode == Some(Mode::Ipvs) {
            let servers = crate::proxy::ipvs::write(&services, &[]);
            let value = Arc::new(Ipvs { servers, ..Ipvs::default() });
            snapshot.ipvs = Some(Reading { at: Duration::ZERO, value });
        }
        let ruleset = RulesetIndex::new(&snapshot);
        let options = Options { new_client: true, steps: false, ..Options::default() };
        let mut positions = vec![0, count / 2, count.saturating_sub(1)];
        positions.dedup();
        let stops = positions
            .into_iter()
            .filter_map(|position| {
                let f = services.get(position)?.frontends.first()?;
                let to = (f.address?, f.port);
                let packet = Packet::new((source, 1), to, 17, Ingress::Node);
                let evaluated = ruleset.walk(&packet, &options).mean_rules().unwrap_or(0.0);
                Some(Stop {
                    position,
                    evaluated,
                    first_ns: Vec::new(),
                    later_ns: Vec::new(),
                    to,
                    answered: false,
                })
            })
            .collect();
        let (sender, conntrack) = opened;
        Ok(Course {
            engine,
            services: count,
            rules,
            stops,
            installed_in,
            ns,
            _end: end,
            sender,
            conntrack,
            port: 1024,
        })
    }

    /// The namespace, to look at.
    pub fn netns(&self) -> &Arc<Netns> {
        &self.ns
    }

    /// Sends `n` first packets to each stop, one stop after the other so that none has the caches to itself, and as many
    /// later ones.
    pub fn round(&mut self, n: u16) -> Result<()> {
        let source: IpAddr = parse(SOURCE)?;
        for _ in 0..n {
            // A port of its own for each flow.
            self.port = if self.port == u16::MAX { 1025 } else { self.port + 1 };
            for stop in &mut self.stops {
                let packet = Packet::new((source, self.port), stop.to, 17, Ingress::Node);
                stop.first_ns.push(time(&self.sender, &packet)?);
            }
        }
        for stop in &mut self.stops {
            let packet = Packet::new((source, 1000), stop.to, 17, Ingress::Node);
            if !stop.answered {
                self.sender.send(&packet)?;
                if let Some(conntrack) = self.conntrack.as_mut().filter(|_| self.engine.is_some()) {
                    conntrack.set_replied(Tuple {
                        source,
                        destination: stop.to.0,
                        protocol: 17,
                        source_port: 1000,
                        destination_port: stop.to.1,
                    })?;
                }
                stop.answered = true;
            }
            for _ in 0..n {
                stop.later_ns.push(time(&self.sender, &packet)?);
            }
        }
        Ok(())
    }
}

/// Nanoseconds of the system call that sends a packet.
fn time(sender: &Sender, packet: &Packet) -> Result<f64> {
    let bytes = encode(packet);
    let began = Instant::now();
    sender.send_bytes(packet.destination, &bytes)?;
    Ok(began.elapsed().as_nanos() as f64)
}

/// The middle of figures; they are sorted by it.
pub fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(0.0)
}

/// Keeps the calling thread on the CPU on which it runs: a packet's way is measured with the caches of one.
pub fn stay_on_this_cpu() -> Result<()> {
    let what = "staying on one CPU";
    let cpu = nix::sched::sched_getcpu().map_err(|e| Error::io(what, e.into()))?;
    let mut set = nix::sched::CpuSet::new();
    set.set(cpu).map_err(|e| Error::io(what, e.into()))?;
    nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &set).map_err(|e| Error::io(what, e.into()))
}
