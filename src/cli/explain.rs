//! `kptop explain`

use super::demo_of::DemoFlag;
use super::execute::{Execute, Needs};
use super::globals::Globals;
use super::print::{TextOrJson, print_as};
use super::source::Source;
use super::source::{SourceArgs, need_rules};
use crate::exit::FINDINGS;
use crate::explain::{Explanation, Sender, destinations, explain};
use crate::output;
use crate::proxy::{Model, memory_lists};
use crate::snapshot::live::{LookedAt, Wanted};
use crate::walk::End;
use clap::Args;
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// Where to: ADDRESS[:PORT][/PROTOCOL], or a Service: [NAMESPACE/]NAME[:PORT][/PROTOCOL].
    #[arg(value_name = "DEST")]
    destination: Option<String>,
    /// Who sends it: pod (a pod of this node), node (the node itself), outside (a client outside), or whoever has an ADDRESS.
    #[arg(long, value_name = "pod|node|outside|ADDRESS", default_value = "pod")]
    client: Sender,
    /// The interface by which the packet comes in, for rules that ask for it.
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,
    #[command(flatten)]
    demo: DemoFlag,
    /// How to print.
    #[arg(short, long, value_enum, default_value = "text")]
    output: TextOrJson,
}

impl ExplainArgs {
    /// Where to. `--from` takes several files: what is behind it, and is none, is meant for this.
    fn destination(&self, source: &mut SourceArgs) -> Result<String, String> {
        if let Some(d) = &self.destination {
            return Ok(d.clone());
        }
        let last = source.from.last().filter(|last| source.from.len() > 1 && !last.exists());
        let Some(last) = last.map(|l| l.to_string_lossy().into_owned()) else {
            return Err(
                "where to? ADDRESS[:PORT][/PROTOCOL], or a Service: [NAMESPACE/]NAME[:PORT][/PROTOCOL]"
                    .into(),
            );
        };
        source.from.pop();
        Ok(last)
    }
}

impl Execute for ExplainArgs {
    fn needs(&self) -> Needs {
        Needs::reading(self.demo.is_given())
    }

    fn run(&self, globals: &Globals) -> Result<ExitCode, String> {
        let (source, args) = (&globals.source, self);
        let mut source = source.clone();
        let destination_text = args.destination(&mut source)?;
        let sender = args.client;
        // Before, --from named the sender, too.
        if let Some(word) =
            source.from.iter().find(|f| !f.exists() && f.to_string_lossy().parse::<Sender>().is_ok())
        {
            return Err(format!(
                "--from names files, and there is none of this name\n  -> --client {0} says who sends",
                word.display()
            ));
        }
        let source = &source;
        let names = source.names()?;
        let mut source = Source::open(source, args.demo.quiet(), Duration::ZERO)?;
        source.wait_for_names();
        let wanted = Wanted { flows: false, ..Wanted::ALL };
        let mut snapshot = source.snapshot(wanted)?;
        need_rules(&snapshot)?;
        let mut model = Model::read(&snapshot, &names);
        let found = destinations(&snapshot, &model, &destination_text)?;
        // Who is remembered decides where a client goes that came before.
        let mut memory = Vec::new();
        for (i, _) in found.iter().filter_map(|d| d.service) {
            memory.extend(memory_lists(&snapshot, &model.services[i]));
        }
        if !memory.is_empty() {
            source.look_at(LookedAt { memory, ..LookedAt::default() });
            snapshot = source.snapshot(wanted)?;
            model.update(&snapshot, &names);
        }
        let destination = match &found[..] {
            [one] => one,
            many => {
                let each: Vec<String> = many
                    .iter()
                    .take(20)
                    .map(|d| {
                        let to = crate::proxy::endpoint_text(d.address, d.port);
                        let protocol = crate::ruleset::protocol_name(u16::from(d.protocol)).unwrap_or("?");
                        let name = d.service.map_or(String::new(), |(i, _)| model.services[i].label());
                        format!("\n  {to}/{protocol}  {name}")
                    })
                    .collect();
                return Err(format!(
                    "`{}` may be any of {}: say which, by port and protocol{}",
                    destination_text,
                    many.len(),
                    each.concat()
                ));
            }
        };
        let answer = explain(&snapshot, &model, destination, sender, args.interface.as_deref())?;
        let on_terminal = io::stdout().is_terminal();
        let width = crate::window::width();
        print_as(args.output.form(), |out| match args.output {
            TextOrJson::Text => output::write_explanation(&answer.lines(&snapshot, &model, 0), width, out),
            TextOrJson::Json => output::write_explanation_json(&answer, &snapshot, &model, on_terminal, out),
        })?;
        Ok(if dies(&answer) { ExitCode::from(FINDINGS) } else { ExitCode::SUCCESS })
    }
}

/// True where the packet arrives nowhere, whatever happens.
fn dies(answer: &Explanation) -> bool {
    let dead = |end: &End| matches!(end, End::Dropped | End::Rejected | End::Lost);
    !answer.walk.outcomes.is_empty() && answer.walk.outcomes.iter().all(|o| dead(&o.end))
}
