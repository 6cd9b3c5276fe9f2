//! `kptop bench`: HTTP through a Service among many, under each mode of kube-proxy, in private namespaces.

use super::demo_of::become_root;
use super::execute::Execute;
use super::globals::Globals;
use super::print::{print_as, say, with_hint};
use crate::bench::{Connections, Run};
use crate::lab::http::Stage;
use crate::output::{self, BenchSetup};
use crate::proxy::Engine;
use crate::snapshot::facts::{ipvs_version, read_node};
use clap::{Args, ValueEnum};
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum BenchFormat {
    /// For people.
    Text,
    /// The contract for scripts.
    Json,
    /// For spreadsheets.
    Csv,
    /// For reports.
    Markdown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    Iptables,
    IptablesNft,
    Ipvs,
    Nftables,
}

#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    /// Numbers of Services, the one that is asked among them.
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "100,1000", value_parser = clap::value_parser!(u32).range(1..=20_000))]
    services: Vec<u32>,
    /// Modes [default: all four].
    #[arg(long, value_enum, value_name = "MODE,…", value_delimiter = ',')]
    modes: Vec<Mode>,
    /// Rounds: in each, every mode has its turn, so that what else the machine does meets all alike.
    #[arg(long, value_name = "N", default_value = "5", value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Seconds of each run in a round.
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = parse_seconds)]
    seconds: f64,
    /// Clients that ask at once.
    #[arg(long, value_name = "N", default_value = "4", value_parser = clap::value_parser!(u32).range(1..=256))]
    clients: u32,
    /// How to print.
    #[arg(short, long, value_enum, default_value = "text")]
    output: BenchFormat,
}

fn parse_seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(n) if (0.1..=60.0).contains(&n) => Ok(n),
        _ => Err("choose a number of seconds between 0.1 and 60".into()),
    }
}

impl Execute for BenchArgs {
    fn run(&self, globals: &Globals) -> Result<ExitCode, String> {
        globals.source.need_live("measuring")?;
        let args = self;
        become_root()?; // before the first thread
        let on_terminal = io::stderr().is_terminal();
        let say = |text: &str| {
            if on_terminal {
                say(text);
            }
        };
        say(
            "loading an HTTP server in private network namespaces; this node's own rules and traffic are not touched",
        );
        let engines: Vec<Engine> = match args.modes.is_empty() {
            true => Engine::COMPARED.to_vec(),
            false => args
                .modes
                .iter()
                .map(|m| match m {
                    Mode::Iptables => Engine::IptablesLegacy,
                    Mode::IptablesNft => Engine::IptablesNft,
                    Mode::Ipvs => Engine::Ipvs,
                    Mode::Nftables => Engine::Nftables,
                })
                .collect(),
        };
        let mut runs: Vec<Run> = Vec::new();
        // Sizes one after the other, modes in turns: a node rarely has many sizes' memory to spare.
        for services in args.services.iter().map(|n| *n as usize) {
            let mut stages: Vec<(Stage, usize)> = Vec::new();
            for engine in &engines {
                let at = runs.len();
                runs.extend(Connections::ALL.map(|c| Run::new(*engine, services, c)));
                match Stage::build(*engine, services) {
                    Ok(stage) => stages.push((stage, at)),
                    Err(e) => runs[at..].iter_mut().for_each(|r| r.missing = Some(e.to_string())),
                }
            }
            for round in 0..args.rounds {
                say(&format!("{services} Services: round {} of {}", round + 1, args.rounds));
                // Another begins each round: whoever follows an expensive one finds colder caches.
                let n = stages.len().max(1);
                stages.rotate_left(round as usize % n);
                for (stage, at) in &stages {
                    for (i, connections) in Connections::ALL.into_iter().enumerate() {
                        let span = Duration::from_secs_f64(args.seconds);
                        let (times, took) =
                            stage.ask(connections, args.clients as usize, span).map_err(|e| with_hint(&e))?;
                        let run = &mut runs[at + i];
                        run.per_second.push(times.answered() as f64 / took.as_secs_f64());
                        run.times.add(&times);
                    }
                }
            }
        }
        let node = read_node();
        let emulated = node.cpu_model.as_deref().is_some_and(|m| m.contains("TCG"));
        let setup = BenchSetup {
            node,
            ipvs_version: ipvs_version(),
            clients: args.clients as usize,
            rounds: args.rounds as usize,
            seconds: args.seconds,
            emulated,
        };
        let indented = io::stdout().is_terminal();
        let form = match args.output {
            BenchFormat::Text | BenchFormat::Markdown => output::Form::Text,
            BenchFormat::Csv => output::Form::Csv,
            BenchFormat::Json => output::Form::Json,
        };
        print_as(form, |out| match args.output {
            BenchFormat::Text => output::write_bench(&setup, &runs, out),
            BenchFormat::Markdown => output::write_bench_markdown(&setup, &runs, out),
            BenchFormat::Csv => output::write_bench_csv(&runs, out),
            BenchFormat::Json => output::write_bench_json(&setup, &runs, indented, out),
        })?;
        let answered = runs.iter().any(|r| r.times.answered() > 0);
        match answered {
            true => Ok(ExitCode::SUCCESS),
            false => Err("no request was answered in any mode".into()),
        }
    }
}
