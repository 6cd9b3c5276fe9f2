//! `kptop demo`

use super::{Cli, Execute, Format, Needs, Source, explain, options, print_snapshot};
use crate::kernel::module::is_there;
use crate::lab::{Lab, LabOptions, become_root_if_needed, shop};
use crate::proxy::{Engine, Names};
use crate::snapshot::live::Live;
use crate::tui::Input;
use clap::{Args, ValueEnum};
use std::process::ExitCode;
use std::time::Duration;

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

#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// Mode of kube-proxy to show [default: iptables; nftables where the kernel has no x_tables loaded]
    #[arg(long, value_enum)]
    mode: Option<DemoMode>,
    /// Service ports in all; the shop has 31, more are made up.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=20_000))]
    services: Option<u32>,
    /// Backends of each made-up Service.
    #[arg(long, value_name = "M", default_value = "4", value_parser = clap::value_parser!(u32).range(0..=100))]
    backends: u32,
    /// Traffic, times the usual.
    #[arg(long, value_name = "FACTOR", default_value = "1", value_parser = parse_scale)]
    traffic: f32,
    /// Print a snapshot once the traffic has run for a while, instead of the live screen.
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    output: Option<Format>,
    /// With --output: seconds of traffic before the snapshot.
    #[arg(long = "for", value_name = "SECONDS", default_value = "3", value_parser = clap::value_parser!(u64).range(0..=3600))]
    seconds: u64,
}

/// What this kernel can show: nothing loads x_tables when it is asked for, while nf_tables comes by itself.
fn usual_mode() -> DemoMode {
    match is_there("ip_tables") && is_there("ip6_tables") {
        true => DemoMode::Iptables,
        false => DemoMode::Nftables,
    }
}

fn parse_scale(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(n) if (0.0..=10.0).contains(&n) => Ok(n),
        _ => Err("choose a number between 0 and 10".into()),
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
    Lab::start(&options).map_err(|e| explain(&e))
}

impl Execute for DemoArgs {
    fn needs(&self) -> Needs {
        Needs { starts_itself: true, ..Needs::default() }
    }

    fn run(&self, cli: &Cli) -> Result<ExitCode, String> {
        let s = &cli.source;
        if s.netns.is_some() || s.names.is_some() || !s.from.is_empty() {
            return Err(
                "the demo makes its own namespaces and names: --netns, --names and --from do not go with it"
                    .into(),
            );
        }
        let (args, options) = (self, options(cli)?);
        become_root_if_needed().map_err(|e| explain(&e))?; // before the first thread
        let services = args.services.map(|n| n as usize);
        let lab =
            start(args.mode.unwrap_or_else(usual_mode), services, args.backends as usize, args.traffic)?;
        let node = lab.node().clone();
        if let Some(format) = args.output {
            std::thread::sleep(Duration::from_secs(args.seconds));
            let live = Box::new(Live::enter(&node).map_err(|e| explain(&e))?);
            return print_snapshot(
                Source::Live { live, api: None, _lab: Some(lab) },
                Names::default(),
                format,
                None,
            );
        }
        super::top::show(Input::Live(Box::new(move || Live::enter(&node))), Names::default(), options)
    }
}
