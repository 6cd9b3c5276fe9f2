//! What `kptop --version` says beside the number: the commit, and for what it was built.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=.git/HEAD");
    println!("cargo::rerun-if-changed=.git/logs/HEAD");
    println!("cargo::rerun-if-env-changed=KPTOP_COMMIT");
    // Packagers build from archives without a history.
    let commit =
        std::env::var("KPTOP_COMMIT").ok().or_else(commit).unwrap_or_else(|| "commit unknown".into());
    let target = std::env::var("TARGET").unwrap_or_default();
    let features = std::env::var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
    let linked = if features.split(',').any(|f| f == "crt-static") { "static" } else { "dynamic" };
    println!("cargo::rustc-env=KPTOP_BUILD={commit}, {target}, {linked}");
}

/// The commit, with a `+` where the tree has changes of its own.
fn commit() -> Option<String> {
    let git = |args: &[&str]| {
        let out = Command::new("git").args(args).output().ok().filter(|o| o.status.success())?;
        Some(String::from_utf8_lossy(&out.stdout).trim().to_string())
    };
    let hash = git(&["rev-parse", "--short=10", "HEAD"])?;
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|s| !s.is_empty());
    Some(format!("{hash}{}", if changed { "+" } else { "" }))
}
