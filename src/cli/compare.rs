//! `kptop compare`

use super::modes::DemoMode;
use super::source::DemoOf;
use super::{Cli, Execute, Needs, Source, TextOrJson, need_rules, prices, print_as};
use crate::cost::{moving, under};
use crate::observe::Observer;
use crate::output;
use crate::proxy::Mode;
use crate::snapshot::live::Wanted;
use clap::{Args, ValueEnum};
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

/// A mode to move to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Target {
    Nftables,
    Iptables,
    Ipvs,
}

#[derive(Debug, Args)]
pub(super) struct CompareArgs {
    /// Also list what would behave differently on this node after a move to this mode; exit code 1 where something would.
    #[arg(long, value_enum, value_name = "MODE")]
    to: Option<Target>,
    /// Seconds over which new flows are counted, to say whether the difference matters.
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = super::values::parse_interval)]
    over: Duration,
    /// Compare for a demo of this mode instead of this node.
    #[arg(long, value_enum, value_name = "MODE")]
    pub(super) demo: Option<DemoMode>,
    /// With --demo: Service ports in all; the shop has 31, more are made up with 4 backends each.
    #[arg(long, value_name = "N", requires = "demo", value_parser = clap::value_parser!(u32).range(1..=20_000))]
    services: Option<u32>,
    /// How to print.
    #[arg(short, long, value_enum, default_value = "text")]
    output: TextOrJson,
}

impl Execute for CompareArgs {
    fn needs(&self) -> Needs {
        Needs::reading(self.demo)
    }

    fn run(&self, cli: &Cli) -> Result<ExitCode, String> {
        let (source, args) = (&cli.source, self);
        let names = source.names()?;
        let demo = args.demo.map(|mode| DemoOf { services: args.services, ..DemoOf::quiet(mode) });
        let mut source = Source::open(source, demo, args.over)?;
        let prices = prices();
        let mut observer = Observer::new(names).priced(prices.clone());
        let mut view = observer.observe(source.snapshot(Wanted::ALL)?);
        if source.pass_to_end(args.over) {
            view = observer.observe(source.snapshot(Wanted::ALL)?);
        }
        need_rules(&view.snapshot)?;
        if view.model.services.is_empty() {
            return Err("no mode of kube-proxy holds a Service here: there is nothing to compare\n  -> kptop compare --demo \
                        iptables shows what it looks like"
                .into());
        }
        let comparison = under(&view.snapshot, &view.model, &prices);
        let flows = view.node.flows;
        let (to, word) = match args.to {
            Some(Target::Nftables) => (Some(Mode::Nftables), "nftables"),
            Some(Target::Iptables) => (Some(Mode::Iptables), "iptables"),
            Some(Target::Ipvs) => (Some(Mode::Ipvs), "ipvs"),
            None => (None, ""),
        };
        let differences = to.map(|to| moving(&view.snapshot, &view.model, to));
        let indented = io::stdout().is_terminal();
        print_as(args.output.form(), |out| match args.output {
            TextOrJson::Json => output::write_comparison_json(
                &comparison,
                &prices,
                flows,
                differences.as_deref(),
                indented,
                out,
            ),
            TextOrJson::Text => match &differences {
                Some(all) => output::write_moving(all, word, out),
                None => output::write_comparison(&comparison, &prices, flows, out),
            },
        })?;
        let found = differences.is_some_and(|d| !d.is_empty());
        Ok(if found { ExitCode::from(super::FINDINGS) } else { ExitCode::SUCCESS })
    }
}
