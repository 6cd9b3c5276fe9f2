//! `kptop collect`

use super::demo_of::DemoFlag;
use super::execute::Execute;
use super::globals::Globals;
use super::print::say;
use super::source::{Source, give_up, tell_unread};
use crate::format::{count, duration};
use crate::recording::{Head, Redactor, Ring};
use crate::snapshot::facts::{Flow, hostname, keep_reading, learn_names};
use crate::snapshot::live::Wanted;
use crate::tool_text::{self, flow_line};
use clap::Args;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[derive(Debug, Args)]
pub(super) struct CollectArgs {
    /// The archive; it must not be there [default: kptop-HOST-DATE.tar.gz].
    #[arg(value_name = "FILE.tar.gz")]
    file: Option<PathBuf>,
    /// For how long to look: what rises is seen between readings.
    #[arg(long, value_name = "SECONDS", default_value = "5", allow_negative_numbers = true, value_parser = super::values::parse_interval)]
    over: Duration,
    /// Write the same also as iptables-save, nft, ipvsadm, ipset, conntrack, ip, sysctl and kubectl print it.
    #[arg(long)]
    as_text: bool,
    /// Replace names and addresses, each always by the same.
    #[arg(long)]
    redact: bool,
    #[command(flatten)]
    demo: DemoFlag,
}

/// Flows that are written as text.
const MOST_FLOWS: usize = 200_000;

fn default_name(host: Option<&str>) -> PathBuf {
    let host = host.unwrap_or("node").replace(['/', ' '], "-");
    let now = jiff::Timestamp::now().strftime("%Y%m%d-%H%M%S");
    format!("kptop-{host}-{now}.tar.gz").into()
}

impl Execute for CollectArgs {
    fn run(&self, globals: &Globals) -> Result<ExitCode, String> {
        let (source, args) = (&globals.source, self);
        source.need_live("collecting")?;
        let host = hostname();
        let host = host.as_deref().filter(|_| !args.redact);
        let path = args.file.clone().unwrap_or_else(|| default_name(host));
        let wrong = |e: io::Error| match e.kind() {
            io::ErrorKind::AlreadyExists => {
                format!("{} is there already: it is left as it is\n  -> another name", path.display())
            }
            _ => format!("writing {}: {e}", path.display()),
        };
        let file = File::options().write(true).create_new(true).open(&path).map_err(wrong)?;
        // The file is there: from here on the node is read, and nothing else.
        if !args.demo.is_given() {
            learn_names();
            give_up(keep_reading(source.netns.is_some(), false));
        }
        match self.collect(globals, file, &path) {
            Ok(()) => Ok(ExitCode::SUCCESS),
            Err(why) => {
                let _ = std::fs::remove_file(&path); // it holds nothing that is whole
                Err(why)
            }
        }
    }
}

impl CollectArgs {
    fn collect(&self, globals: &Globals, file: File, path: &Path) -> Result<(), String> {
        let wrong = |e: io::Error| format!("writing {}: {e}", path.display());
        let args = &globals.source;
        let mut source =
            Source::open(args, self.demo.busy(), Duration::ZERO)?.counting_new_flows(args.new_flows);
        source.wait_for_names();
        let redactor = if self.redact { Some(Redactor::new()?) } else { None };
        let every = Duration::from_secs(1).min(self.over);
        let mut ring = Ring::new(Head::new(every, self.redact), usize::MAX, Duration::MAX);
        let mut last = None;
        let readings = (self.over.as_secs_f64() / every.as_secs_f64()).ceil() as u32 + 1;
        for i in 0..readings {
            if i > 0 {
                source.pass(every);
            }
            let mut snapshot = source.snapshot(Wanted::ALL)?;
            if i == 0 {
                tell_unread(&snapshot);
            }
            if let Some(r) = &redactor {
                r.redact(&mut snapshot);
            }
            ring.push(&snapshot).map_err(|e| format!("keeping what was read: {e}"))?;
            last = Some(snapshot);
        }
        let mut recording = Vec::new();
        ring.save(&mut recording).map_err(wrong)?;
        let mut archive = Archive::new(file);
        archive.add("kptop.rec", &recording).map_err(wrong)?;
        if let (true, Some(snapshot)) = (self.as_text, &last) {
            for f in tool_text::files(snapshot) {
                archive.add(f.name, f.text.as_bytes()).map_err(wrong)?;
            }
            let flows = flows(&mut source, redactor.as_ref());
            if !flows.is_empty() {
                archive.add("conntrack-L.txt", flows.as_bytes()).map_err(wrong)?;
            }
        }
        let size = archive.end().map_err(wrong)?;
        say(&format!(
            "{}: {} readings in {}, {} bytes: kptop --from {} shows it",
            path.display(),
            ring.len(),
            duration(self.over),
            count(size),
            path.display()
        ));
        Ok(())
    }
}

/// `conntrack -L`, up to a number of flows.
fn flows(source: &mut Source, redactor: Option<&Redactor>) -> String {
    let (mut out, mut n) = (String::new(), 0usize);
    let mut add = |f: &Flow| {
        n += 1;
        if n <= MOST_FLOWS {
            let mut f = *f;
            if let Some(r) = redactor {
                for t in [&mut f.original, &mut f.reply] {
                    (t.source, t.destination) = (r.address(t.source), r.address(t.destination));
                }
            }
            out.push_str(&flow_line(&f));
            out.push('\n');
        }
    };
    source.each_flow(&mut add);
    if n > MOST_FLOWS {
        say(&format!("{} flows of {} are in conntrack-L.txt", count(MOST_FLOWS as u64), count(n as u64)));
    }
    out
}

/// A tar.gz that is written.
struct Archive {
    tar: tar::Builder<flate2::write::GzEncoder<File>>,
}

impl Archive {
    fn new(file: File) -> Archive {
        Archive {
            tar: tar::Builder::new(flate2::write::GzEncoder::new(file, flate2::Compression::default())),
        }
    }

    fn add(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut head = tar::Header::new_gnu();
        head.set_size(bytes.len() as u64);
        head.set_mode(0o644);
        head.set_mtime(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs());
        head.set_cksum();
        self.tar.append_data(&mut head, name, bytes)
    }

    /// Ends it; gives its size.
    fn end(self) -> io::Result<u64> {
        let file = self.tar.into_inner()?.finish()?;
        file.sync_all()?;
        Ok(file.metadata()?.len())
    }
}
