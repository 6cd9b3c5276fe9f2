//! `kptop shot`: a picture of the screen.

use super::demo_of::SizedDemoFlag;
use super::execute::Execute;
use super::globals::{Globals, options};
use super::source::Source;
use crate::proxy::Names;
use crate::tui::{self, Shot};
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Debug, Args)]
pub(super) struct ShotArgs {
    /// Where the SVG goes.
    #[arg(value_name = "FILE.svg")]
    file: PathBuf,
    /// Columns and lines of the screen.
    #[arg(long, value_name = "COLUMNSxLINES", default_value = "124x36", value_parser = parse_size)]
    size: (u16, u16),
    /// Keys to press before, as on a keyboard: `2/cart<Enter><Enter>`.
    #[arg(long, value_name = "KEYS", default_value = "", value_parser = parse_keys)]
    keys: tui::Keys,
    /// Seconds to watch before.
    #[arg(long = "for", value_name = "SECONDS", default_value = "5", value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    #[command(flatten)]
    demo: SizedDemoFlag,
}

fn parse_size(text: &str) -> Result<(u16, u16), String> {
    let size = text.split_once('x').and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)));
    match size {
        Some((w, h)) if (60..=500).contains(&w) && (15..=200).contains(&h) => Ok((w, h)),
        _ => Err("give columns and lines, from 60x15 to 500x200: 124x36".into()),
    }
}

fn parse_keys(text: &str) -> Result<tui::Keys, String> {
    tui::Keys::parse(text)
}

impl Execute for ShotArgs {
    fn run(&self, globals: &Globals) -> Result<ExitCode, String> {
        let (source, args, options) = (&globals.source, self, options(globals)?);
        let names = if args.demo.is_given() { Names::default() } else { source.names()? };
        let demo = args.demo.busy();
        let mut source = Source::open(source, demo, Duration::MAX)?.counting_new_flows(source.new_flows);
        let shot =
            Shot { size: args.size, keys: args.keys.clone(), watch: Duration::from_secs(args.seconds) };
        source.wait_for_names();
        let picture = match &mut source {
            Source::Live { live, .. } => tui::shot(live, names, &options, &shot),
            Source::Recording { recording, .. } => {
                let snapshots = (0..recording.len()).filter_map(|i| recording.snapshot(i).ok()).collect();
                tui::shot_of(snapshots, names, &options, &shot)
            }
        };
        std::fs::write(&args.file, picture).map_err(|e| format!("writing {}: {e}", args.file.display()))?;
        Ok(ExitCode::SUCCESS)
    }
}
