//! Finding the config file.

use crate::config::Config;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

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
