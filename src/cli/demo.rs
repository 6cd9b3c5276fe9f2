//! `kptop demo`

use super::demo_of::{DemoMode, become_root, start, usual_mode};
use super::execute::{Execute, Needs};
use super::globals::{Globals, options};
use super::print::{Format, with_hint};
use super::snapshot::print_snapshot;
use super::source::Source;
use super::top::show;
use crate::lab::{Fault, shop};
use crate::proxy::Names;
use crate::snapshot::live::Live;
use crate::tui::Input;
use clap::{Args, ValueEnum};
use std::process::ExitCode;
use std::time::Duration;

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
    /// Make a fault, as it comes about on real nodes; its story is in the manual.
    #[arg(long, value_enum, value_name = "NAME")]
    fault: Option<DemoFault>,
    /// With --fault: seconds until it comes.
    #[arg(long, value_name = "SECONDS", default_value = "10", requires = "fault", value_parser = clap::value_parser!(u64).range(0..=3600))]
    after: u64,
    /// Print a snapshot once the traffic has run for a while, instead of the live screen.
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    output: Option<Format>,
    /// With --output: seconds of traffic before the snapshot.
    #[arg(long = "for", value_name = "SECONDS", default_value = "3", value_parser = clap::value_parser!(u64).range(0..=3600))]
    seconds: u64,
}

/// Faults, each with a story in the manual.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum DemoFault {
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

impl DemoFault {
    fn of_lab(self) -> Fault {
        match self {
            DemoFault::ForeignDrop => Fault::ForeignDrop,
            DemoFault::StaleUdp => Fault::StaleUdp,
            DemoFault::Wiped => Fault::Wiped,
            DemoFault::NodePortTaken => Fault::NodePortTaken,
            DemoFault::KubeProxyStuck => Fault::KubeProxyStuck,
        }
    }
}

fn parse_scale(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(n) if (0.0..=10.0).contains(&n) => Ok(n),
        _ => Err("choose a number between 0 and 10".into()),
    }
}

impl Execute for DemoArgs {
    fn needs(&self) -> Needs {
        Needs { starts_itself: true, ..Needs::default() }
    }

    fn run(&self, globals: &Globals) -> Result<ExitCode, String> {
        let s = &globals.source;
        if s.netns.is_some() || s.names.is_some() || !s.from.is_empty() {
            return Err(
                "the demo makes its own namespaces and names: --netns, --names and --from do not go with it"
                    .into(),
            );
        }
        let (args, options) = (self, options(globals)?);
        become_root()?; // before the first thread
        let services = args.services.map(|n| n as usize);
        let mode = args.mode.unwrap_or_else(usual_mode);
        let mut lab = start(mode, services, args.backends as usize, args.traffic)?;
        if let Some(fault) = args.fault {
            let services = shop::services(services, args.backends as usize);
            let after = Duration::from_secs(args.after);
            lab.fault(fault.of_lab(), after, mode.engine(), &services).map_err(|e| with_hint(&e))?;
        }
        // One of the faults is kube-proxy's own: it is asked as on a node.
        let ask = args.fault == Some(DemoFault::KubeProxyStuck);
        let (node, objects, bpffs) = (lab.node().clone(), lab.objects(), lab.bpffs());
        let count_flows = globals.source.new_flows;
        if let Some(format) = args.output {
            std::thread::sleep(Duration::from_secs(args.seconds));
            let live = Live::enter(&node).map_err(|e| with_hint(&e))?;
            let live = Box::new(live.with_objects(objects).with_maps(bpffs).asking_kube_proxy(ask));
            return print_snapshot(
                Source::Live { live, api: None, _demo: Some(lab) },
                Names::default(),
                format,
                None,
            );
        }
        show(
            Input::Live(Box::new(move || {
                let live = Live::enter(&node)?.with_objects(objects.clone()).with_maps(bpffs.clone());
                Ok(live.asking_kube_proxy(ask).counting_new_flows(count_flows))
            })),
            Names::default(),
            options,
        )
    }
}
