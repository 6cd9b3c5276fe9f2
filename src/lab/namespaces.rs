//! The namespaces of a demo, and what runs in them.

use super::addresses::{CLIENT_IP, NODE_IP, NODE_IP6, net, parse, sysctl};
use super::install::{put, put_ipvs_mode, written};
use super::traffic::{Counts, Origin, Plan, Stream};
use crate::kernel::maps::make::Bpffs;
use crate::kernel::netns::{Netns, enter_user_namespace};
use crate::kernel::{Error, Result};
use crate::proxy::{Engine, Mode, Service, ebpf};
use crate::snapshot::facts::{BpfMap, Cluster};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

/// What to build.
#[derive(Clone, Debug)]
pub struct LabOptions {
    /// What to install.
    pub engine: Engine,
    /// The Services.
    pub services: Vec<Service>,
    /// Traffic to send; none where empty.
    pub plan: Plan,
}

/// A running lab. Ends when dropped.
#[derive(Debug)]
pub struct Lab {
    pub(super) node: Arc<Netns>,
    pub(super) pods: Arc<Netns>,
    pub(super) apps: Arc<Netns>,
    client: Arc<Netns>,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) clients: Vec<JoinHandle<()>>,
    servers: Vec<JoinHandle<()>>,
    counts: Counts,
    objects: Option<Arc<Cluster>>,
    /// Maps of a proxy that holds Services in them, in a bpffs that is mounted nowhere.
    bpffs: OnceLock<Bpffs>,
}

/// Becomes root of a user namespace where the caller is an ordinary user. To be called before the first thread.
pub fn become_root_if_needed() -> Result<()> {
    if nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    enter_user_namespace().map_err(|e| {
        Error::missing(
            "making private network namespaces",
            format!(
                "neither root, nor does this kernel let an ordinary user make a user namespace ({})",
                e.kind
            ),
            Some(
                "run it with sudo, or: sysctl kernel.unprivileged_userns_clone=1 \
                  kernel.apparmor_restrict_unprivileged_userns=0 (where the kernel has them)",
            ),
        )
    })
}

/// Runs `f` on a thread of its own inside a namespace.
pub fn inside<T: Send + 'static>(
    ns: &Arc<Netns>,
    f: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let ns = ns.clone();
    let thread = std::thread::spawn(move || {
        ns.enter()?;
        f()
    });
    thread
        .join()
        .unwrap_or_else(|_| Err(Error::protocol("working in a namespace of the lab", "a thread died")))
}

pub(super) fn new_netns() -> Result<Arc<Netns>> {
    let thread = std::thread::spawn(|| {
        let ns = Netns::create()?;
        // Addresses are ours alone: no need to wait until IPv6 is sure of it.
        sysctl("ipv6/conf/default/accept_dad", "0")?;
        sysctl("ipv6/conf/default/dad_transmits", "0")?;
        Ok(ns)
    });
    let made = thread
        .join()
        .unwrap_or_else(|_| Err(Error::protocol("making a network namespace", "a thread died")))?;
    Ok(Arc::new(made))
}

impl Lab {
    /// Builds the namespaces and nothing in them.
    pub fn bare() -> Result<Lab> {
        let (node, pods) = (new_netns()?, new_netns()?);
        let (apps, client) = (new_netns()?, new_netns()?);
        build_network(&node, &pods, &apps, &client)?;
        Ok(Lab {
            node,
            pods,
            apps,
            client,
            stop: Arc::new(AtomicBool::new(false)),
            clients: Vec::new(),
            servers: Vec::new(),
            counts: Counts::default(),
            objects: None,
            bpffs: OnceLock::new(),
        })
    }

    /// Builds the namespaces, installs the rules and starts servers and traffic.
    pub fn start(options: &LabOptions) -> Result<Lab> {
        let mut lab = Lab::bare()?;
        lab.install(options.engine, &options.services)?;
        if options.engine == Engine::Ipvs || options.engine.mode().keeps_no_rules() {
            lab.objects = Some(Arc::new(super::objects::objects(&options.services)?));
        }
        if !options.plan.streams.is_empty() {
            lab.serve(&options.services)?;
            lab.send(&options.plan)?;
        }
        Ok(lab)
    }

    /// The node's namespace: what kptop looks at.
    pub fn node(&self) -> &Arc<Netns> {
        &self.node
    }

    /// The namespace of the pods that serve.
    pub fn pods(&self) -> &Arc<Netns> {
        &self.pods
    }

    /// The namespace from which an origin sends.
    pub fn origin(&self, origin: Origin) -> &Arc<Netns> {
        match origin {
            Origin::Pod => &self.apps,
            Origin::Node => &self.node,
            Origin::Outside | Origin::Friend => &self.client,
        }
    }

    /// What the Kubernetes API would report of the Services, in ipvs mode: virtual servers have no names of their own.
    pub fn objects(&self) -> Option<Arc<Cluster>> {
        self.objects.clone()
    }

    /// Where the maps of a proxy are pinned that holds Services in them; `None` for every mode of kube-proxy.
    pub fn bpffs(&self) -> Option<PathBuf> {
        self.bpffs.get().map(Bpffs::path)
    }

    fn pin(&self, maps: &[BpfMap]) -> Result<()> {
        let refused = |e: Error| {
            Error::missing(
                "making eBPF maps",
                e.needs("CAP_SYS_ADMIN").kind.to_string(),
                Some("run it as root: a user namespace has no maps of its own"),
            )
        };
        let bpffs = Bpffs::new().map_err(refused)?;
        maps.iter().try_for_each(|m| bpffs.pin(m)).map_err(refused)?;
        self.bpffs.get_or_init(|| bpffs);
        Ok(())
    }

    /// What the servers have counted.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Puts Services into the node's kernel.
    pub fn install(&self, engine: Engine, services: &[Service]) -> Result<()> {
        let mode = engine.mode();
        match mode {
            Mode::Iptables | Mode::Nftables => {
                let tables = written(mode, services)?;
                inside(&self.node, move || {
                    if mode == Mode::Iptables {
                        // As kube-proxy sets it for node ports on localhost.
                        sysctl("ipv4/conf/all/route_localnet", "1")?;
                    }
                    put(engine, &tables)
                })
            }
            Mode::Ipvs => {
                let services = services.to_vec();
                inside(&self.node, move || put_ipvs_mode(&services))
            }
            Mode::Cilium => self.pin(&ebpf::cilium::write(services)),
            Mode::Calico => {
                let own = [parse(NODE_IP)?, parse(NODE_IP6)?];
                self.pin(&ebpf::calico::write(services, &own))
            }
            Mode::Kernelspace => Err(Error::missing(
                "installing kernelspace mode",
                "its load balancers are in a Windows kernel",
                Some("choose another --mode"),
            )),
            Mode::Ovn => Err(Error::missing(
                "installing OVN-Kubernetes",
                "its endpoints live in Open vSwitch, which the lab does not have",
                Some("choose another --mode"),
            )),
            Mode::Userspace => Err(Error::missing(
                "installing userspace mode",
                "its backends live in the kube-proxy process, which the lab does not have",
                Some("choose another --mode"),
            )),
        }
    }

    /// Starts the pods' servers on every target port of the Services.
    pub fn serve(&mut self, services: &[Service]) -> Result<()> {
        let (stop, counts) = (self.stop.clone(), self.counts.clone());
        let services = services.to_vec();
        self.servers = inside(&self.pods, move || super::traffic::serve(&services, &stop, &counts))?;
        Ok(())
    }

    /// Starts the traffic of a plan.
    pub fn send(&mut self, plan: &Plan) -> Result<()> {
        for (origin, ns) in [
            (Origin::Pod, &self.apps),
            (Origin::Node, &self.node),
            (Origin::Outside, &self.client),
            (Origin::Friend, &self.client),
        ] {
            let streams: Vec<Stream> = plan.streams.iter().filter(|s| s.origin == origin).cloned().collect();
            if streams.is_empty() {
                continue;
            }
            let (ns, stop, bounds) = (ns.clone(), self.stop.clone(), plan.bounds());
            self.clients.push(std::thread::spawn(move || {
                if ns.enter().is_ok() {
                    super::traffic::send(&streams, bounds, &stop);
                }
            }));
        }
        Ok(())
    }

    /// Waits until a bounded plan has sent everything.
    pub fn wait(&mut self) {
        for thread in self.clients.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.wait();
        for thread in self.servers.drain(..) {
            let _ = thread.join();
        }
    }
}

/// node --pods0/eth0-- pods, node --apps0/eth0-- apps, node --ext0/eth0-- client
pub(super) fn build_network(
    node: &Arc<Netns>,
    pods: &Arc<Netns>,
    apps: &Arc<Netns>,
    client: &Arc<Netns>,
) -> Result<()> {
    let (pods_end, apps_end, client_end) = (pods.clone(), apps.clone(), client.clone());
    inside(node, move || {
        super::links::up("lo")?;
        super::links::add_veth("pods0", &pods_end)?;
        super::links::add_veth("apps0", &apps_end)?;
        super::links::add_veth("ext0", &client_end)?;
        sysctl("ipv4/ip_forward", "1")?;
        sysctl("ipv6/conf/all/forwarding", "1")?;
        sysctl("ipv4/conf/all/rp_filter", "0")?;
        for (link, addr) in [
            ("pods0", "192.168.60.1/30"),
            ("pods0", "fd00:60::1/64"),
            ("apps0", "192.168.61.1/30"),
            ("apps0", "fd00:61::1/64"),
            ("ext0", "192.168.50.10/24"),
            ("ext0", "fd00:50::10/64"),
        ] {
            super::links::add_address(link, net(addr)?)?;
        }
        for link in ["pods0", "apps0", "ext0"] {
            super::links::up(link)?;
        }
        for (to, via) in [
            (SERVERS, "192.168.60.2"),
            (APPS, "192.168.61.2"),
            ("0.0.0.0/0", CLIENT_IP),
            (SERVERS6, "fd00:60::2"),
            (APPS6, "fd00:61::2"),
            ("::/0", "fd00:50::1"),
        ] {
            super::links::add_route(net(to)?, parse(via)?)?;
        }
        Ok(())
    })?;
    // Every pod address of a network is there: one server a port serves all of them.
    pod_network(pods, 60, SERVERS, SERVERS6)?;
    pod_network(apps, 61, APPS, APPS6)?;
    // IPv6 lets a socket have only addresses that an interface has.
    inside(apps, || super::links::add_address("eth0", net("fd00:10:244:8000::2/128")?))?;
    inside(client, || {
        super::links::up("lo")?;
        super::links::up("eth0")?;
        super::links::add_address("eth0", net("192.168.50.1/24")?)?;
        super::links::add_address("eth0", net("203.0.113.9/32")?)?;
        super::links::add_address("eth0", net("fd00:50::1/64")?)?;
        super::links::add_route(net("198.51.100.0/24")?, parse(NODE_IP)?)
    })?;
    for (ns, ends) in
        [(node, &["pods0", "apps0", "ext0"][..]), (pods, &["eth0"]), (apps, &["eth0"]), (client, &["eth0"])]
    {
        inside(ns, move || {
            ends.iter().for_each(|link| super::links::wait_for_neighbours(link));
            Ok(())
        })?;
    }
    Ok(())
}

/// Pods that serve: the lower half of the pod network.
pub(super) const SERVERS: &str = "10.244.0.0/17";

pub(super) const SERVERS6: &str = "fd00:10:244::/49";

/// Pods that only ask.
pub(super) const APPS: &str = "10.244.128.0/28";

pub(super) const APPS6: &str = "fd00:10:244:8000::/124";

pub(super) fn pod_network(ns: &Arc<Netns>, n: u8, cidr: &'static str, cidr6: &'static str) -> Result<()> {
    inside(ns, move || {
        super::links::up("lo")?;
        super::links::up("eth0")?;
        super::links::add_address("eth0", net(&format!("192.168.{n}.2/30"))?)?;
        super::links::add_address("eth0", net(&format!("fd00:{n}::2/64"))?)?;
        super::links::add_local_route(net(cidr)?)?;
        super::links::add_local_route(net(cidr6)?)?;
        super::links::add_route(net("0.0.0.0/0")?, parse(&format!("192.168.{n}.1"))?)?;
        super::links::add_route(net("::/0")?, parse(&format!("fd00:{n}::1"))?)
    })
}
