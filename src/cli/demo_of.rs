//! Looking at a demo instead of a node.

use super::print::with_hint;
use crate::kernel::module::is_there;
use crate::lab::{Lab, LabOptions, Plan, become_root_if_needed, shop};
use crate::proxy::Engine;
use crate::snapshot::live::Live;
use clap::{Args, ValueEnum};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum DemoMode {
    /// iptables mode in x_tables.
    #[value(alias = "iptables-legacy")]
    Iptables,
    /// iptables mode in nf_tables.
    IptablesNft,
    /// nftables mode.
    Nftables,
    /// ipvs mode (needs a kernel with IPVS and ipset).
    Ipvs,
    /// Cilium in kube-proxy's place: its eBPF maps, without traffic (needs root).
    Cilium,
    /// Calico's eBPF data plane in kube-proxy's place: its maps, without traffic (needs root).
    Calico,
}

impl DemoMode {
    /// What holds its Services.
    pub(super) fn engine(self) -> Engine {
        match self {
            DemoMode::Iptables => Engine::IptablesLegacy,
            DemoMode::IptablesNft => Engine::IptablesNft,
            DemoMode::Nftables => Engine::Nftables,
            DemoMode::Ipvs => Engine::Ipvs,
            DemoMode::Cilium => Engine::Cilium,
            DemoMode::Calico => Engine::CalicoEbpf,
        }
    }

    /// False for modes whose traffic only their own programs could carry.
    pub(super) fn has_traffic(self) -> bool {
        !matches!(self, DemoMode::Cilium | DemoMode::Calico)
    }
}

/// `--demo`, of commands that look at a node.
#[derive(Clone, Debug, Args)]
pub(super) struct DemoFlag {
    /// Look at a demo of this mode, in network namespaces of its own, instead of this node.
    #[arg(long, value_enum, value_name = "MODE")]
    demo: Option<DemoMode>,
}

impl DemoFlag {
    pub(super) fn is_given(&self) -> bool {
        self.demo.is_some()
    }

    /// The shop without traffic.
    pub(super) fn quiet(&self) -> Option<DemoOf> {
        self.demo.map(|mode| DemoOf { mode, services: None, traffic: 0.0 })
    }

    /// The shop with its usual traffic.
    pub(super) fn busy(&self) -> Option<DemoOf> {
        self.demo.map(|mode| DemoOf { mode, services: None, traffic: 1.0 })
    }
}

/// `--demo` and `--services`.
#[derive(Clone, Debug, Args)]
pub(super) struct SizedDemoFlag {
    #[command(flatten)]
    flag: DemoFlag,
    /// With --demo: Service ports in all; the shop has 31, more are made up with 4 backends each.
    #[arg(long, value_name = "N", requires = "demo", value_parser = clap::value_parser!(u32).range(1..=20_000))]
    services: Option<u32>,
}

impl SizedDemoFlag {
    pub(super) fn is_given(&self) -> bool {
        self.flag.is_given()
    }

    /// The shop without traffic.
    pub(super) fn quiet(&self) -> Option<DemoOf> {
        self.flag.quiet().map(|demo| DemoOf { services: self.services, ..demo })
    }

    /// The shop with its usual traffic.
    pub(super) fn busy(&self) -> Option<DemoOf> {
        self.flag.busy().map(|demo| DemoOf { services: self.services, ..demo })
    }
}

/// A demo that runs; it ends with this value.
pub(super) type Running = Lab;

/// How much of a demo is wanted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct DemoOf {
    mode: DemoMode,
    services: Option<u32>,
    traffic: f32,
}

impl DemoOf {
    /// Starts it, and enters its node.
    pub(super) fn open(self) -> Result<(Live, Running), String> {
        become_root()?;
        let lab = start(self.mode, self.services.map(|n| n as usize), 4, self.traffic)?;
        let live = Live::enter(lab.node()).map_err(|e| with_hint(&e))?;
        let live = live.with_objects(lab.objects()).with_maps(lab.bpffs());
        Ok((live, lab))
    }
}

/// Gets the right to make network namespaces. To be called before the first thread.
pub(super) fn become_root() -> Result<(), String> {
    become_root_if_needed().map_err(|e| with_hint(&e))
}

/// What this kernel can show: nothing loads x_tables when it is asked for, while nf_tables comes by itself.
pub(super) fn usual_mode() -> DemoMode {
    match is_there("ip_tables") && is_there("ip6_tables") {
        true => DemoMode::Iptables,
        false => DemoMode::Nftables,
    }
}

/// Starts the lab: the shop, as kube-proxy in this mode would hold it, and its traffic.
pub(super) fn start(
    mode: DemoMode,
    services: Option<usize>,
    backends: usize,
    traffic: f32,
) -> Result<Lab, String> {
    let services = shop::services(services, backends);
    let options = LabOptions {
        engine: mode.engine(),
        // Nothing in the lab translates by maps.
        plan: if mode.has_traffic() { shop::plan(&services, traffic) } else { Plan::default() },
        services,
    };
    Lab::start(&options).map_err(|e| with_hint(&e))
}
