//! `kptop drops`

use super::demo_of::{DemoFlag, become_root};
use super::execute::{Execute, Needs};
use super::globals::Globals;
use super::print::{TextOrJson, print, print_as};
use super::source::Source;
use super::source::need_rules;
use crate::drops::{Drops, counted};
use crate::exit::FINDINGS;
use crate::observe::Observer;
use crate::output;
use crate::proxy::{Mode, State};
use crate::rates::CauseKind;
use crate::snapshot::live::Wanted;
use crate::snapshot::{DropBatch, DropWatch};
use clap::Args;
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::{Duration, Instant};

#[derive(Debug, Args)]
pub(super) struct DropsArgs {
    /// Seconds to watch.
    #[arg(long = "for", value_name = "SECONDS", default_value = "10", allow_negative_numbers = true, value_parser = super::values::parse_span)]
    span: Duration,
    /// Only counters: leave the kernel's drop monitor off.
    #[arg(long)]
    counters: bool,
    #[command(flatten)]
    demo: DemoFlag,
    /// How to print: text has a line for each packet of a Service as it comes, then sums.
    #[arg(short, long, value_enum, default_value = "text")]
    output: TextOrJson,
}

impl DropsArgs {
    /// True where it switches the monitor on.
    pub(super) fn monitors(&self) -> bool {
        !self.counters
    }
}

/// Lines of single packets, at most: the sums say the rest.
const LINES: usize = 200;

impl Execute for DropsArgs {
    fn needs(&self) -> Needs {
        Needs { monitor: self.monitors(), ..Needs::reading(self.demo.is_given()) }
    }

    fn run(&self, globals: &Globals) -> Result<ExitCode, String> {
        let (source, args) = (&globals.source, self);
        source.need_live("watching packets die")?;
        if args.demo.is_given() {
            become_root()?; // before the first thread
        }
        // In the machine's own namespace, before this thread enters another.
        let watch = match args.counters {
            true => Err("left off, as asked".to_string()),
            false => DropWatch::start(true).map_err(|e| match e.hint() {
                Some(hint) => format!("{} (-> {hint})", e.kind),
                None => e.to_string(),
            }),
        };
        let names = source.names()?;
        let mut source = Source::open(source, args.demo.busy(), Duration::ZERO)?;
        let mut observer = Observer::new(names);
        let first = observer.observe(source.snapshot(Wanted::ALL)?);
        let mut drops = Drops::default();
        let text = args.output == TextOrJson::Text;
        if text {
            print(|out| output::write_drops_head(watch.as_ref().err().map(String::as_str), args.span, out))?;
        }
        // What died while all this was set up is not asked for.
        let offset = watch.as_ref().map_or(Duration::ZERO, |w| w.take().span);
        let take = |watch: &DropWatch| {
            let batch = watch.take();
            DropBatch { span: batch.span.saturating_sub(offset), ..batch }
        };
        let (began, mut reported) = (Instant::now(), 0);
        while began.elapsed() < args.span {
            std::thread::sleep(Duration::from_millis(200).min(args.span.saturating_sub(began.elapsed())));
            let Ok(watch) = &watch else { continue };
            let seen = drops.total;
            drops.add(take(watch), &first.snapshot, &first.model.services);
            let fresh = ((drops.total - seen) as usize).min(drops.recent.len());
            if text && reported < LINES {
                let new = drops.recent.iter().skip(drops.recent.len() - fresh).filter(|s| s.owner.is_some());
                let new: Vec<_> = new.take(LINES - reported).collect();
                reported += new.len();
                print(|out| output::write_drops_lines(&new, out))?;
            }
        }
        if let Ok(watch) = &watch {
            drops.add(take(watch), &first.snapshot, &first.model.services);
        }
        let why = watch.as_ref().err().cloned();
        drop(watch); // off again, before anything is printed
        let last = observer.observe(source.snapshot(Wanted { flows: false, ..Wanted::ALL })?);
        let counters = counted((&first.snapshot, &first.node), (&last.snapshot, &last.node));
        let on_terminal = io::stdout().is_terminal();
        print_as(args.output.form(), |out| match args.output {
            TextOrJson::Text => {
                output::write_drops(&drops, why.is_none(), &counters, out)?;
                for u in last.snapshot.failed() {
                    let line = format!("not read: {}: {}", u.what, u.why);
                    writeln!(out, "  {}", output::one_line(&line))?;
                }
                if last
                    .model
                    .services
                    .modes
                    .iter()
                    .any(|m| m.engine.mode() == Mode::Nftables && m.state == State::Active)
                {
                    writeln!(
                        out,
                        "  (kube-proxy's rules of nftables mode count nothing: what they refuse is known for the node alone)"
                    )?;
                }
                Ok(())
            }
            TextOrJson::Json => output::write_drops_json(&drops, why.as_deref(), &counters, on_terminal, out),
        })?;
        if why.is_some() {
            // Counters are all there is, and they could not be read.
            need_rules(&last.snapshot)?;
        }
        let refused =
            last.node.causes.iter().filter(|c| matches!(c.kind, CauseKind::Rejected | CauseKind::Dropped));
        let died =
            refused.map(|c| counters.iter().find(|n| n.name == c.name).map_or(0, |n| n.by)).sum::<u64>();
        let found = drops.of_services > 0 || died > 0;
        Ok(if found { ExitCode::from(FINDINGS) } else { ExitCode::SUCCESS })
    }
}
