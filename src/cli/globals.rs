//! Flags that every command has.

use super::config_file::load;
use super::prices::prices;
use super::source::SourceArgs;
use super::values;
use crate::config::{PaneName, ThemeName};
use crate::tui::Options;
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Args)]
pub(super) struct Globals {
    #[command(flatten)]
    pub(super) source: SourceArgs,
    /// Seconds between readings [default: 1, or the config file's].
    #[arg(long, short = 'd', global = true, value_name = "SECONDS", value_parser = values::parse_interval)]
    pub(super) interval: Option<Duration>,
    /// Colours [default: dark, or the config file's]; NO_COLOR wins.
    #[arg(long, global = true, value_enum, value_name = "THEME")]
    pub(super) theme: Option<ThemeName>,
    /// The pane that is shown first [default: services, or the config file's].
    #[arg(long, global = true, value_enum, value_name = "PANE")]
    pub(super) pane: Option<PaneName>,
    /// Config file [default: ~/.config/kptop/config.toml].
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
}

/// Flags over the config file.
pub(super) fn options(globals: &Globals) -> Result<Options, String> {
    let mut config = load(globals.config.as_deref())?;
    config.theme = globals.theme.or(config.theme);
    config.pane = globals.pane.or(config.pane);
    let interval = globals.interval.or(config.interval).unwrap_or(Duration::from_secs(1));
    Ok(Options { interval, config, prices: prices(), open: None })
}
