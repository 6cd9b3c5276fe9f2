//! `kptop completions` and `kptop man`: both are made from the one definition of the command line.

use super::print::print_as;
use clap::Args;
use clap_complete::{Shell, generate};
use std::fs;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// Shell: put the output where it looks for completions, as /etc/bash_completion.d/kptop.
    #[arg(value_enum)]
    shell: Shell,
}

impl CompletionsArgs {
    pub(super) fn print(&self, mut command: clap::Command) -> Result<(), String> {
        let mut bytes = Vec::new();
        generate(self.shell, &mut command, "kptop", &mut bytes);
        print_as(crate::output::Form::Own, |out| out.write_all(&bytes))
    }
}

#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// Write kptop.1 and a page for each subcommand into this directory instead of printing the first.
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
}

impl ManArgs {
    pub(super) fn print(&self, mut command: clap::Command) -> Result<(), String> {
        command.build();
        let page = |command: &clap::Command, title: &str| {
            let mut bytes = Vec::new();
            clap_mangen::Man::new(command.clone())
                .title(title)
                .section("1")
                .manual("kptop")
                .source(concat!("kptop ", env!("CARGO_PKG_VERSION")))
                .render(&mut bytes)
                .map(|()| bytes)
                .map_err(|e| format!("making the man page: {e}"))
        };
        let Some(directory) = &self.directory else {
            let bytes = page(&command, "kptop")?;
            return print_as(crate::output::Form::Own, |out| out.write_all(&bytes));
        };
        let subcommands = command.get_subcommands().filter(|c| !c.is_hide_set() && c.get_name() != "help");
        let mut pages = vec![("kptop".to_string(), page(&command, "kptop")?)];
        for c in subcommands {
            let name = format!("kptop-{}", c.get_name());
            let bytes = page(c, &name)?;
            pages.push((name, bytes));
        }
        for (name, bytes) in pages {
            let path = directory.join(format!("{name}.1"));
            fs::write(&path, bytes).map_err(|e| format!("writing {}: {e}", path.display()))?;
        }
        Ok(())
    }
}
