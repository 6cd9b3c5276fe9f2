//! `kptop diff`

use super::execute::{Execute, Needs};
use super::fetch::{Access, AccessArgs, Server, fetch};
use super::globals::Globals;
use super::print::{TextOrJson, print_as};
use super::source::{Source, SourceArgs, files, need_rules};
use crate::exit::FINDINGS;
use crate::nodes::{NodeState, compare};
use crate::observe::Observer;
use crate::output;
use crate::snapshot::Snapshot;
use crate::snapshot::live::Wanted;
use clap::Args;
use std::collections::HashMap;
use std::io::{self, IsTerminal, Read};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Bytes that show whether a file may be JSON.
const BEGIN: u64 = 64;
/// A `kptop serve` on another node.
const SERVE: Server = Server {
    port: 9756,
    when_refused: "is `kptop serve --snapshot FILE` running there?",
    when_missing: "kptop serve --snapshot FILE opens it there",
};
/// This node.
const HERE: &str = "here";

#[derive(Debug, Args)]
pub(super) struct DiffArgs {
    /// A node each: a recording, a snapshot (`kptop snapshot -o json`), a folder or archive of other tools' output, the address of
    /// a `kptop serve --snapshot` (http://10.0.0.5:9756), or `here` for this node. A file, or `-` for standard input, may hold snapshots of
    /// several nodes, one after the other.
    #[arg(value_name = "NODE", required = true, num_args = 1..)]
    nodes: Vec<String>,
    /// Show every line of a node that differs, not only the first 20.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    access: AccessArgs,
    /// How to print.
    #[arg(short, long, value_enum, default_value = "text")]
    output: TextOrJson,
}

impl Execute for DiffArgs {
    fn needs(&self) -> Needs {
        Needs { reads_only: self.nodes.iter().any(|n| n == HERE), ..Needs::default() }
    }

    fn run(&self, globals: &Globals) -> Result<ExitCode, String> {
        let source = &globals.source;
        if !source.from.is_empty() {
            return Err("diff takes its nodes as arguments, without --from\n  -> kptop diff A B".into());
        }
        let access = self.access.access(SERVE)?;
        let mut nodes: Vec<NodeState> = self.load(source, &access)?.into_iter().flatten().collect();
        if nodes.len() < 2 {
            return Err(
                "diff needs at least two nodes\n  -> kptop diff A B, or `kptop diff here B` for this node"
                    .into(),
            );
        }
        tell_apart(&mut nodes);
        let found = compare(&mut nodes);
        let indented = io::stdout().is_terminal();
        print_as(self.output.form(), |out| match self.output {
            TextOrJson::Text => output::write_diff(&nodes, &found, self.all, out),
            TextOrJson::Json => output::write_diff_json(&nodes, &found, indented, out),
        })?;
        Ok(if found.differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FINDINGS) })
    }
}

/// What an argument is, by its place, or why it could not be read.
type Loaded = (usize, Result<Vec<NodeState>, String>);

impl DiffArgs {
    /// Reads all of them, as many at once as there are cores: each is understood for itself.
    fn load(&self, source: &SourceArgs, access: &Access) -> Result<Vec<Vec<NodeState>>, String> {
        let next = AtomicUsize::new(0);
        let found: Mutex<Vec<Loaded>> = Mutex::default();
        let work = || {
            loop {
                let i = next.fetch_add(1, Ordering::Relaxed);
                let Some(from) = self.nodes.get(i) else { return };
                let state = load(from, source, access);
                let is_wrong = state.is_err();
                found.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((i, state));
                if is_wrong {
                    next.store(self.nodes.len(), Ordering::Relaxed);
                }
            }
        };
        let workers = std::thread::available_parallelism().map_or(1, usize::from).min(self.nodes.len());
        // This node is read by this thread: namespaces and privileges belong to threads.
        if self.nodes.iter().any(|n| n == HERE) || workers < 2 {
            work();
        } else {
            std::thread::scope(|s| (0..workers).for_each(|_| drop(s.spawn(work))));
        }
        let mut found = found.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        found.sort_by_key(|f| f.0);
        found.into_iter().map(|f| f.1).collect()
    }
}

fn load(from: &str, source: &SourceArgs, access: &Access) -> Result<Vec<NodeState>, String> {
    if from == HERE {
        let mut live = Source::open(source, None, Duration::ZERO)?;
        live.wait_for_names();
        let snapshot = live.snapshot(Wanted::ALL)?;
        need_rules(&snapshot)?;
        return Ok(vec![understood(vec![snapshot], source, HERE)?]);
    }
    if from.starts_with("http://") || from.starts_with("https://") {
        let text = fetch(from, "/snapshot", access, source.max_input)?;
        return NodeState::of_json(&text, from);
    }
    if from == "-" {
        let mut text = String::new();
        let most = source.max_input;
        io::stdin()
            .take(most + 1)
            .read_to_string(&mut text)
            .map_err(|e| format!("reading standard input: {e}"))?;
        if text.len() as u64 > most {
            return Err("standard input is larger than --max-input allows".into());
        }
        return NodeState::of_json(&text, "standard input");
    }
    let path = Path::new(from);
    if let Some(text) = document(path, source.max_input)? {
        return NodeState::of_json(&text, from);
    }
    if !path.exists() {
        return Err(format!(
            "there is no {from}\n  -> a recording, a snapshot, a folder, an address (http://…), or `here`"
        ));
    }
    let of = SourceArgs { from: vec![path.to_path_buf()], ..source.clone() };
    let mut recording = files(&of)?;
    super::source::tell_cut(&recording);
    // Two readings say what rises.
    let last = recording.len() - 1;
    let first = last.saturating_sub(1);
    let first = if recording.session(first) == recording.session(last) { first } else { last };
    let snapshots: Result<Vec<Snapshot>, String> = (first..=last).map(|i| recording.snapshot(i)).collect();
    Ok(vec![understood(snapshots.map_err(|e| format!("{from}: {e}"))?, source, from)?])
}

fn understood(snapshots: Vec<Snapshot>, source: &SourceArgs, from: &str) -> Result<NodeState, String> {
    let mut observer = Observer::new(source.names()?).at_once();
    let mut view = Default::default();
    for s in snapshots {
        view = observer.observe(s);
    }
    Ok(NodeState::of_view(&view, from))
}

/// The text of a file that is a document of kptop's in JSON, whatever printed it again; `None` for another file.
fn document(path: &Path, most: u64) -> Result<Option<String>, String> {
    if !path.is_file() {
        return Ok(None);
    }
    let wrong = |e: io::Error| format!("reading {}: {e}", path.display());
    let mut file = crate::input::open(path).map_err(wrong)?;
    let mut bytes = Vec::new();
    (&mut file).take(BEGIN).read_to_end(&mut bytes).map_err(wrong)?;
    if !String::from_utf8_lossy(&bytes).trim_start().starts_with('{') {
        return Ok(None);
    }
    file.take((most + 1).saturating_sub(BEGIN)).read_to_end(&mut bytes).map_err(wrong)?;
    if bytes.len() as u64 > most {
        return Err(format!("{} is larger than --max-input allows", path.display()));
    }
    let Ok(text) = String::from_utf8(bytes) else { return Ok(None) };
    Ok((text.contains("\"schema\"") && text.contains("\"kptop.")).then_some(text))
}

/// Nodes of one name have what they were read from beside it.
fn tell_apart(nodes: &mut [NodeState]) {
    let mut seen: HashMap<String, usize> = HashMap::new();
    nodes.iter().for_each(|n| *seen.entry(n.name.clone()).or_default() += 1);
    for n in nodes.iter_mut().filter(|n| seen[&n.name] > 1 && n.name != n.source) {
        let file =
            Path::new(&n.source).file_name().map_or(n.source.clone(), |f| f.to_string_lossy().into_owned());
        n.name = format!("{} ({file})", n.name);
    }
}
