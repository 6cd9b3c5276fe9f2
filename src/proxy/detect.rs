//! Who programs Services on this node, by what each of them leaves where others can see it.

use super::ipvs::{DUMMY, KUBE_ROUTER_DUMMY};
use super::ovn::OVN_TABLE;
use super::{Engine, Model, State};
use crate::ruleset::{Dialect, Table};
use crate::snapshot::Snapshot;

/// A program that serves Services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, strum::IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Proxy {
    /// kube-proxy.
    KubeProxy,
    /// kube-router's service proxy: IPVS.
    KubeRouter,
    /// Cilium: eBPF.
    Cilium,
    /// Calico's eBPF data plane.
    Calico,
    /// OVN-Kubernetes: OVS, and nftables for node ports.
    OvnKubernetes,
    /// Antrea's AntreaProxy: OVS.
    Antrea,
}

impl Proxy {
    /// As in JSON.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Proxy::KubeProxy => "kube-proxy",
            Proxy::KubeRouter => "kube-router",
            Proxy::Cilium => "Cilium",
            Proxy::Calico => "Calico (eBPF)",
            Proxy::OvnKubernetes => "OVN-Kubernetes",
            Proxy::Antrea => "Antrea",
        }
    }

    /// What shows its Services beside kptop, or what kptop does not read of them.
    pub fn beside(self) -> &'static str {
        match self {
            Proxy::KubeProxy => "",
            Proxy::KubeRouter => "ipvsadm -Ln shows its virtual servers",
            Proxy::Cilium => {
                "cilium-dbg bpf lb list shows its maps, cilium-dbg service list the names, hubble observe the flows"
            }
            Proxy::Calico => {
                "calico-node -bpf nat dump shows its maps, calico-node -bpf conntrack dump the flows"
            }
            Proxy::OvnKubernetes => {
                "ovn-nbctl lb-list shows the load balancers that are in OVS, which kptop does not read"
            }
            Proxy::Antrea => {
                "antctl get ovsflows -S NAMESPACE/SERVICE shows them: they are in OVS, which kptop does not read"
            }
        }
    }
}

/// A program that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detected {
    /// Which.
    pub proxy: Proxy,
    /// What shows that.
    pub evidence: Vec<String>,
    /// True where it holds Services here, as far as kptop reads them; false where only its traces are.
    pub serves: bool,
}

/// Interfaces that only one of them makes.
const INTERFACES: [(&str, Proxy); 9] = [
    (DUMMY, Proxy::KubeProxy),
    (KUBE_ROUTER_DUMMY, Proxy::KubeRouter),
    ("cilium_host", Proxy::Cilium),
    ("cilium_net", Proxy::Cilium),
    ("cilium_vxlan", Proxy::Cilium),
    ("bpfin.cali", Proxy::Calico),
    ("bpfout.cali", Proxy::Calico),
    ("ovn-k8s-mp0", Proxy::OvnKubernetes),
    ("antrea-gw0", Proxy::Antrea),
];

/// kube-router's chains and ipsets (pkg/controllers/proxy/network_services_controller.go, pkg/utils/ipset.go).
const KUBE_ROUTER_CHAINS: [&str; 2] = ["KUBE-ROUTER-SERVICES", "KUBE-ROUTER-HAIRPIN"];
const KUBE_ROUTER_SETS: [&str; 2] = ["kube-router-svip", "inet6:kube-router-svip"];

/// True where IPVS is kube-router's: its interface is here, or its ipsets, and kube-proxy's interface is not.
pub fn is_kube_routers(snapshot: &Snapshot) -> bool {
    let has = |name: &str| {
        snapshot.links.iter().any(|l| l.name == name)
            || snapshot.addresses.iter().any(|a| a.interface == name)
    };
    !has(DUMMY) && (has(KUBE_ROUTER_DUMMY) || kube_router_sets(snapshot).next().is_some())
}

fn kube_router_sets(snapshot: &Snapshot) -> impl Iterator<Item = &str> {
    let sets = snapshot.ipsets.iter().flat_map(|s| s.value.iter());
    sets.map(|s| s.name.as_str()).filter(|n| KUBE_ROUTER_SETS.iter().any(|s| n.starts_with(s)))
}

/// Finds them, those that hold Services first.
pub fn detect(snapshot: &Snapshot, model: &Model) -> Vec<Detected> {
    let mut found: Vec<Detected> = Vec::new();
    let mut add =
        |proxy: Proxy, serves: bool, evidence: String| match found.iter_mut().find(|d| d.proxy == proxy) {
            Some(d) => {
                d.serves |= serves;
                if !d.evidence.contains(&evidence) {
                    d.evidence.push(evidence);
                }
            }
            None => found.push(Detected { proxy, evidence: vec![evidence], serves }),
        };
    let routers = is_kube_routers(snapshot);
    for m in model.services.modes.iter().filter(|m| m.state == State::Active) {
        let (proxy, what) = match m.engine {
            Engine::Cilium => (Proxy::Cilium, "eBPF maps".to_string()),
            Engine::CalicoEbpf => (Proxy::Calico, "eBPF maps".to_string()),
            Engine::OvnKubernetes => (Proxy::OvnKubernetes, "nftables".to_string()),
            Engine::Ipvs if routers => (Proxy::KubeRouter, "ipvs".to_string()),
            engine => (Proxy::KubeProxy, engine.mode().name().to_string()),
        };
        add(proxy, true, format!("{what} of {}: {} Services", m.family.name(), m.services));
    }
    if snapshot.kube_proxy.as_deref().is_some_and(crate::snapshot::facts::KubeProxy::answers) {
        add(Proxy::KubeProxy, false, "it answers on 127.0.0.1:10249 or 10256".into());
    }
    for t in &snapshot.tables {
        let t = &*t.table;
        if t.dialect == Dialect::Nft && t.name == OVN_TABLE {
            let held = ovn_frontends(t);
            add(Proxy::OvnKubernetes, held > 0, format!("the nftables table {}: {held} frontends", t.name));
        }
        for name in KUBE_ROUTER_CHAINS.iter().filter(|n| t.chain(n).is_some()) {
            add(Proxy::KubeRouter, false, format!("the chain {name}"));
        }
    }
    for name in kube_router_sets(snapshot) {
        add(Proxy::KubeRouter, false, format!("the ipset {name}"));
    }
    for (name, proxy) in INTERFACES {
        if snapshot.links.iter().any(|l| l.name == name) {
            add(proxy, false, format!("the interface {name}"));
        }
    }
    // What has Services comes first, and of those what sees packets first.
    let rank = |p: Proxy| match p {
        Proxy::Cilium => 0,
        Proxy::Calico => 1,
        _ => 2,
    };
    found.sort_by_key(|d| (!d.serves, rank(d.proxy), d.proxy));
    found
}

/// Frontends in OVN-Kubernetes' maps for node ports and external addresses.
fn ovn_frontends(table: &Table) -> usize {
    let maps = table.sets.iter().filter(|s| {
        let name = table.str(s.name);
        name.starts_with("nodeports-v") || name.starts_with("external-ips-v")
    });
    maps.filter_map(|s| s.elements.as_ref()).map(Vec::len).sum()
}

/// Two that serve Services side by side, where two do: the one whose tables come first, first.
pub fn two_proxies(snapshot: &Snapshot, model: &Model) -> Option<(Detected, Detected)> {
    let mut serving = detect(snapshot, model).into_iter().filter(|d| d.serves);
    Some((serving.next()?, serving.next()?))
}

/// The interface that holds the addresses of IPVS's Services.
pub fn ipvs_interface(snapshot: &Snapshot) -> &'static str {
    if is_kube_routers(snapshot) { KUBE_ROUTER_DUMMY } else { DUMMY }
}
