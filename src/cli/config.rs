//! `kptop config`, and finding the config file.

use super::{Cli, Execute, print_as};
use crate::config::{Config, commented_default};
use clap::Args;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Prints the commented default.
/// No choices.
#[derive(Debug, Args)]
pub(super) struct ConfigArgs;

impl Execute for ConfigArgs {
    fn run(&self, _: &Cli) -> Result<ExitCode, String> {
        print_as(crate::output::Form::Own, |out| out.write_all(commented_default().as_bytes()))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn usual_place() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let base = set("XDG_CONFIG_HOME").or_else(|| Some(set("HOME")?.join(".config")))?;
    Some(base.join("kptop/config.toml"))
}

/// The user's choices: of the file that was named, or of the usual one where it is there.
pub(super) fn load(named: Option<&Path>) -> Result<Config, String> {
    let Some(path) = named.map(Path::to_path_buf).or_else(usual_place) else { return Ok(Config::default()) };
    match crate::input::small_text(&path) {
        Ok(text) => Config::parse(&text).map_err(|e| {
            format!("{}: {e}\n  -> kptop config prints what a config file may hold", path.display())
        }),
        // HOME may still be that of the user whom sudo or su came from.
        Err(e)
            if named.is_none()
                && matches!(
                    e.kind(),
                    ErrorKind::NotFound | ErrorKind::PermissionDenied | ErrorKind::NotADirectory
                ) =>
        {
            Ok(Config::default())
        }
        Err(e) => Err(format!("reading {}: {e}", path.display())),
    }
}
