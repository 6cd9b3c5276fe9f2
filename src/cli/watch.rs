//! `kptop watch`

use super::demo_of::DemoFlag;
use super::execute::{Execute, Needs};
use super::globals::Globals;
use super::print::{TextOrJson, print, print_as};
use super::source::Source;
use super::source::need_rules;
use crate::observe::Observer;
use crate::output;
use crate::snapshot::live::{Waker, Wanted};
use clap::Args;
use std::process::ExitCode;
use std::time::{Duration, Instant};

#[derive(Debug, Args)]
pub(super) struct WatchArgs {
    /// Seconds between readings; notices of nf_tables wake it earlier.
    #[arg(long, value_name = "SECONDS", default_value = "1", allow_negative_numbers = true, value_parser = super::values::parse_interval)]
    every: Duration,
    /// End after so many seconds.
    #[arg(long = "for", value_name = "SECONDS", allow_negative_numbers = true, value_parser = super::values::parse_span)]
    span: Option<Duration>,
    #[command(flatten)]
    demo: DemoFlag,
    /// How to print: a line is a change.
    #[arg(short, long, value_enum, default_value = "text")]
    output: TextOrJson,
}

impl Execute for WatchArgs {
    fn needs(&self) -> Needs {
        Needs::reading(self.demo.is_given())
    }

    fn run(&self, globals: &Globals) -> Result<ExitCode, String> {
        let (source, args) = (&globals.source, self);
        let names = source.names()?;
        let mut source = Source::open(source, args.demo.quiet(), Duration::MAX)?;
        let wanted = Wanted { flows: false, ..Wanted::ALL };
        let mut observer = Observer::new(names);
        let mut waker = Waker::open();
        let view = observer.observe(source.snapshot(wanted)?);
        need_rules(&view.snapshot)?;
        if args.output == TextOrJson::Text {
            let time = crate::format::time_of_day(view.snapshot.taken_at);
            let services = crate::format::plural(view.model.services.len() as u64, "Service");
            print(|out| {
                writeln!(out, "{time}  watching {services}; a line is a change (+ came, - went, ~ changed)")
            })?;
        }
        // From here on sources that cost much are read less often.
        let mut source = source.paced();
        let began = Instant::now();
        let mut reported = 0;
        while args.span.is_none_or(|s| began.elapsed() < s) {
            let left = args.span.map_or(args.every, |s| s.saturating_sub(began.elapsed()).min(args.every));
            if source.is_live() {
                waker.wait(left);
            } else if !source.pass(Duration::ZERO) {
                break; // a recording at its end
            }
            let view = observer.observe(source.snapshot(wanted)?);
            let fresh = (view.changes.seen() - reported) as usize;
            reported = view.changes.seen();
            print_as(args.output.form(), |out| match args.output {
                TextOrJson::Text => {
                    output::write_changes(view.changes.newest(fresh), crate::format::time_of_day, out)
                }
                TextOrJson::Json => output::write_changes_json(view.changes.newest(fresh), out),
            })?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
