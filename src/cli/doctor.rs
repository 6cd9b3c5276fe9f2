//! `kptop doctor`

use super::demo_of::DemoFlag;
use super::execute::{Execute, Needs};
use super::globals::Globals;
use super::print::{TextOrJson, print, print_as};
use super::source::{Source, need_rules};
use crate::doctor::{Examination, Finding};
use crate::exit::FINDINGS;
use crate::observe::{Observer, View};
use crate::output;
use crate::snapshot::live::{CountFlows, Wanted};
use clap::Args;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Bytes of a message that node-problem-detector keeps (`max_output_length`).
const LINE: usize = 80;

#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// Seconds between the two readings: counters that rise in them say what happens now.
    #[arg(long, value_name = "SECONDS", default_value = "2", allow_negative_numbers = true, value_parser = super::values::parse_interval)]
    over: Duration,
    /// Go on, and say what comes and what heals, with the time.
    #[arg(long)]
    watch: bool,
    /// With --watch: end after so many seconds.
    #[arg(long = "for", value_name = "SECONDS", requires = "watch", allow_negative_numbers = true, value_parser = super::values::parse_span)]
    span: Option<Duration>,
    /// Name every Service of a finding, not only those that lose most.
    #[arg(long)]
    all: bool,
    /// Print one line of at most 80 bytes: for plugins of monitors (node-problem-detector), with the exit code.
    #[arg(long, conflicts_with_all = ["watch", "all", "output"])]
    line: bool,
    #[command(flatten)]
    demo: DemoFlag,
    /// How to print.
    #[arg(short, long, value_enum, default_value = "text")]
    output: TextOrJson,
}

impl Execute for DoctorArgs {
    fn needs(&self) -> Needs {
        Needs::reading(self.demo.is_given())
    }

    fn run(&self, globals: &Globals) -> Result<ExitCode, String> {
        let (source, args) = (&globals.source, self);
        let names = source.names()?;
        // Of a recording the end, or with --watch all of it.
        let back = if args.watch { Duration::MAX } else { args.over };
        // Who refuses and who is silent only notices tell, in every mode.
        let count_flows = match source.new_flows {
            CountFlows::Never => CountFlows::Never,
            _ => CountFlows::Always,
        };
        let mut source = Source::open(source, args.demo.busy(), back)?.counting_new_flows(count_flows);
        source.wait_for_names();
        let mut observer = Observer::new(names);
        if !args.watch {
            observer = observer.at_once();
        }
        let mut view = observer.observe(source.snapshot(Wanted::ALL)?);
        if let Err(why) = need_rules(&view.snapshot) {
            // Scripts still get their document: nothing was looked for.
            if args.output == TextOrJson::Json {
                write(&view, args)?;
            }
            return Err(why);
        }
        let later = if args.watch { source.pass(args.over) } else { source.pass_to_end(args.over) };
        if later {
            view = observer.observe(source.snapshot(Wanted::ALL)?);
        }
        write(&view, args)?;
        let mut alarming = view.examination.is_alarming();
        if args.watch {
            alarming |= watch(&mut observer, &mut source, view, args)?;
        }
        Ok(if alarming { ExitCode::from(FINDINGS) } else { ExitCode::SUCCESS })
    }
}

fn write(view: &View, args: &DoctorArgs) -> Result<(), String> {
    if args.line {
        return print(|out| writeln!(out, "{}", output::examination_line(&view.examination, LINE)));
    }
    let on_terminal = io::stdout().is_terminal();
    let width = crate::window::width();
    print_as(args.output.form(), |out| match args.output {
        TextOrJson::Text => {
            output::write_examination(&view.examination, (&view.snapshot, &view.model), args.all, width, out)
        }
        TextOrJson::Json => {
            // While it watches, a line is a document.
            let indented = on_terminal && !args.watch;
            output::write_examination_json(
                &view.examination,
                &view.model,
                view.snapshot.taken_at,
                indented,
                out,
            )
        }
    })
}

/// What a finding is known by from one reading to the next.
fn key(f: &Finding) -> (&'static str, &str) {
    // How many Services it is about may change.
    (f.id, if f.count() > 1 { "Services" } else { &f.about })
}

fn watch(
    observer: &mut Observer,
    source: &mut Source,
    first: View,
    args: &DoctorArgs,
) -> Result<bool, String> {
    let began = Instant::now();
    let mut lost_api = api_trouble(&first);
    let mut last = first.examination;
    let mut alarming = false;
    while args.span.is_none_or(|s| began.elapsed() < s) {
        if !source.pass(args.over) {
            break; // a recording at its end
        }
        let view = observer.observe(source.snapshot(Wanted::ALL)?);
        let now = view.examination.clone();
        alarming |= now.is_alarming();
        let missing = |a: &Examination, b: &Examination| -> Vec<Finding> {
            let missing = a.findings.iter().filter(|f| !b.findings.iter().any(|o| key(o) == key(f)));
            missing.cloned().collect()
        };
        let mut come = missing(&now, &last);
        let gone = missing(&last, &now);
        // What is worse than before is reported again; what is better only when it is over.
        let worse = |f: &&Finding| last.findings.iter().any(|o| key(o) == key(f) && f.severity < o.severity);
        come.extend(now.findings.iter().filter(worse).cloned());
        let api = api_trouble(&view);
        let api_differs = api.is_some() != lost_api.is_some();
        if !come.is_empty() || !gone.is_empty() || api_differs {
            match args.output {
                TextOrJson::Json => write(&view, args)?,
                TextOrJson::Text => {
                    let news = api_differs.then(|| api.as_deref().map_or(Api::Back, Api::Lost));
                    say(&view, &come, &gone, news)?;
                }
            }
        }
        (last, lost_api) = (now, api);
    }
    Ok(alarming)
}

/// What became of the Kubernetes API.
#[derive(Clone, Copy)]
enum Api<'a> {
    Lost(&'a str),
    Back,
}

/// What is wrong with the Kubernetes API; the finding `kube_proxy_behind` depends on it.
fn api_trouble(view: &View) -> Option<String> {
    Some(view.snapshot.cluster.as_ref()?.state.trouble.as_ref()?.what.clone())
}

/// What is new: findings, findings that are over, and the API, that was lost for a reason or is back.
fn say(view: &View, come: &[Finding], gone: &[Finding], api: Option<Api<'_>>) -> Result<(), String> {
    let time = crate::format::time_of_day(view.snapshot.taken_at);
    print(|out: &mut dyn Write| {
        match api {
            Some(Api::Lost(why)) => {
                writeln!(out, "\n{time}  Kubernetes API  {}", output::one_line(why))?;
                if view.snapshot.cluster.as_ref().is_some_and(|c| c.state.outdated) {
                    writeln!(out, "          kube_proxy_behind is not checked until it is back")?;
                }
            }
            Some(Api::Back) => writeln!(out, "\n{time}  ✓ over      the Kubernetes API answers again")?,
            None => {}
        }
        for f in come {
            write!(out, "\n{time}  ")?;
            output::write_finding(f, None, out)?;
        }
        for f in gone {
            let over = format!("{}: {} [{}]", f.about, f.title, f.id);
            writeln!(out, "\n{time}  ✓ over      {}", output::one_line(&over))?;
        }
        Ok(())
    })
}
