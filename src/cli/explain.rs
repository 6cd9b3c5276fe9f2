//! `kptop explain`

use super::demo::DemoMode;
use super::source::DemoOf;
use super::{Source, SourceArgs, TextOrJson, need_rules, print_as};
use crate::explain::{Explanation, Sender, destinations, explain};
use crate::output;
use crate::proxy::{Model, memory_lists};
use crate::snapshot::live::{LookedAt, Wanted};
use crate::walk::End;
use clap::Args;
use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

#[derive(Debug, Args)]
#[command(
    after_help = "--from also says who sends: pod (a pod of this node; if nothing is said), outside (a client outside), node (the node \
itself), or whoever has an ADDRESS: kptop explain 198.51.100.20:443 --from outside"
)]
pub(super) struct ExplainArgs {
    /// Where to: ADDRESS[:PORT][/PROTOCOL], or a Service: [NAMESPACE/]NAME[:PORT][/PROTOCOL].
    #[arg(value_name = "DEST")]
    destination: Option<String>,
    /// The interface by which the packet comes in, for rules that ask for it.
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,
    /// Ask a demo of this mode instead of this node.
    #[arg(long, value_enum, value_name = "MODE")]
    pub(super) demo: Option<DemoMode>,
    /// How to print.
    #[arg(short, long, value_enum, default_value = "text")]
    output: TextOrJson,
}

/// `kptop --from FILE explain …`: the flag's values go behind the subcommand's name. clap would let a `--from outside` behind
/// it take their place.
pub(super) fn with_files_behind(mut args: Vec<OsString>) -> Vec<OsString> {
    let Some(at) = args.iter().position(|a| a == "explain") else { return args };
    let Some(flag) = args[..at].iter().position(|a| a == "--from") else { return args };
    let end = args[flag + 1..at].iter().position(|a| a.to_string_lossy().starts_with('-'));
    let end = end.map_or(at, |n| flag + 1 + n);
    let moved: Vec<OsString> = args.drain(flag..end).collect();
    let behind = at - moved.len() + 1;
    // With `=` each takes one value, and what stands behind is left alone.
    let each = moved.into_iter().skip(1).map(|value| {
        let mut flag = OsString::from("--from=");
        flag.push(value);
        flag
    });
    args.splice(behind..behind, each.collect::<Vec<_>>());
    args
}

/// What was asked: where to, and who sends. `--from` names files everywhere; here also the sender. As it takes several
/// values, one that stands behind it without being meant for it is the destination.
fn asked(source: &mut SourceArgs, destination: Option<&str>) -> Result<(String, Sender), String> {
    let mut given = std::mem::take(&mut source.from);
    let destination = match destination {
        Some(d) => d.to_string(),
        None => {
            let last = given.pop().ok_or(
                "where to? ADDRESS[:PORT][/PROTOCOL], or a Service: [NAMESPACE/]NAME[:PORT][/PROTOCOL]",
            )?;
            last.to_string_lossy().into_owned()
        }
    };
    let mut sender = None;
    for value in given {
        let parsed = value.to_string_lossy().parse::<Sender>();
        match parsed {
            Ok(s) if sender.is_none() => sender = Some(s),
            Ok(_) => return Err("--from names two senders".into()),
            Err(_) if value.exists() => source.from.push(value),
            Err(e) => return Err(format!("{e}, and no file")),
        }
    }
    if !source.from.is_empty() && source.netns.is_some() {
        return Err("--netns and files do not go together".into());
    }
    Ok((destination, sender.unwrap_or(Sender::Pod)))
}

pub(super) fn run(source: &SourceArgs, args: &ExplainArgs) -> Result<ExitCode, String> {
    let mut source = source.clone();
    let (destination_text, sender) = asked(&mut source, args.destination.as_deref())?;
    let source = &source;
    let names = source.names()?;
    let mut source = Source::open(source, args.demo.map(DemoOf::quiet), Duration::ZERO)?;
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
    Ok(if dies(&answer) { ExitCode::from(super::FINDINGS) } else { ExitCode::SUCCESS })
}

/// True where the packet arrives nowhere, whatever happens.
fn dies(answer: &Explanation) -> bool {
    let dead = |end: &End| matches!(end, End::Dropped | End::Rejected | End::Lost);
    !answer.walk.outcomes.is_empty() && answer.walk.outcomes.iter().all(|o| dead(&o.end))
}
