//! `kptop explain`

use super::demo::DemoMode;
use super::source::DemoOf;
use super::{Source, SourceArgs, TextOrJson, need_rules, print};
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
    destination: String,
    /// Who sends: a pod of this node, a client outside, the node itself, or whoever has an address.
    #[arg(long, value_name = "pod|outside|node|ADDRESS", default_value = "pod")]
    from: Sender,
    /// The interface by which the packet comes in, for rules that ask for it.
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,
    /// Ask a demo of this mode instead of this node.
    #[arg(long, value_enum, value_name = "MODE")]
    demo: Option<DemoMode>,
    /// How to print.
    #[arg(short, long, value_enum, default_value = "text")]
    output: TextOrJson,
}

impl ExplainArgs {
    /// True where it looks at a demo.
    pub(super) fn is_demo(&self) -> bool {
        self.demo.is_some()
    }
}

pub(super) fn run(source: &SourceArgs, args: &ExplainArgs) -> Result<ExitCode, String> {
    let names = source.names()?;
    let mut source = Source::open(source, args.demo.map(DemoOf::quiet), Duration::ZERO)?;
    source.wait_for_names();
    let wanted = Wanted { flows: false, ..Wanted::ALL };
    let mut snapshot = source.snapshot(wanted)?;
    need_rules(&snapshot)?;
    let mut model = Model::read(&snapshot, &names);
    let found = destinations(&snapshot, &model, &args.destination)?;
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
                args.destination,
                many.len(),
                each.concat()
            ));
        }
    };
    let answer = explain(&snapshot, &model, destination, args.from, args.interface.as_deref())?;
    let on_terminal = io::stdout().is_terminal();
    let width = crossterm::terminal::size().ok().filter(|_| on_terminal).map(|s| usize::from(s.0));
    print(|out| match args.output {
        TextOrJson::Text => output::write_explanation(&answer.lines(&snapshot, &model, 0), width, out),
        TextOrJson::Json => output::write_explanation_json(&answer, &snapshot, &model, on_terminal, out),
    })?;
    Ok(if dies(&answer) { ExitCode::from(super::FINDINGS) } else { ExitCode::SUCCESS })
}

/// True where the packet arrives nowhere, whatever happens.
fn dies(answer: &Explanation) -> bool {
    let dead = |end: &End| matches!(end, End::Dropped | End::Rejected | End::Lost);
    !answer.walk.outcomes.is_empty() && answer.walk.outcomes.iter().all(|o| dead(&o.end))
}
