//! `top` for Kubernetes Services on one node.

use std::process::ExitCode;

fn main() -> ExitCode {
    kptop::cli::run()
}
