//! `kptop compare`

use super::demo_of::SizedDemoFlag;
use super::execute::{Execute, Needs};
use super::globals::Globals;
use super::prices::prices;
use super::print::{TextOrJson, print_as};
use super::source::Source;
use super::source::need_rules;
use crate::cost::{compare_modes, moving};
use crate::exit::FINDINGS;
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
    #[command(flatten)]
    demo: SizedDemoFlag,
    /// How to print.
    #[arg(short, long, value_enum, default_value = "text")]
    output: TextOrJson,
}

impl Execute for CompareArgs {
    fn needs(&self) -> Needs {
        Needs::reading(self.demo.is_given())
    }

    fn run(&self, globals: &Globals) -> Result<ExitCode, String> {
        let (source, args) = (&globals.source, self);
        let names = source.names()?;
        let demo = args.demo.quiet();
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
        let comparison = compare_modes(&view.snapshot, &view.model, &prices);
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
        Ok(if found { ExitCode::from(FINDINGS) } else { ExitCode::SUCCESS })
    }
}
