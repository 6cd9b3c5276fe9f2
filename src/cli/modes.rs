//! The modes that a demo shows, and starting one: for every command with `--demo`.

use super::with_hint;
use crate::kernel::module::is_there;
use crate::lab::{Lab, LabOptions, shop};
use crate::proxy::Engine;
use clap::ValueEnum;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum DemoMode {
    /// iptables mode in x_tables.
    #[value(alias = "iptables-legacy")]
    Iptables,
    /// iptables mode in nf_tables.
    IptablesNft,
    /// nftables mode.
    Nftables,
    /// ipvs mode (needs a kernel with IPVS).
    Ipvs,
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
        engine: match mode {
            DemoMode::Iptables => Engine::IptablesLegacy,
            DemoMode::IptablesNft => Engine::IptablesNft,
            DemoMode::Nftables => Engine::Nftables,
            DemoMode::Ipvs => Engine::Ipvs,
        },
        plan: shop::plan(&services, traffic),
        services,
    };
    Lab::start(&options).map_err(|e| with_hint(&e))
}
