//! `kptop record` and `kptop replay`

use super::demo_of::SizedDemoFlag;
use super::execute::{Execute, Needs};
use super::globals::{Globals, options};
use super::print::print;
use super::source::Source;
use super::source::{give_up, tell_cut, tell_unread};
use super::top;
use super::values::{parse_interval, parse_size, parse_span};
use crate::format::{count, duration, plural};
use crate::proxy::{Model, Names};
use crate::recording::{FileWriter, Head, Recording, Redactor};
use crate::snapshot::facts::keep_reading;
use crate::snapshot::live::Wanted;
use crate::tui::Input;
use clap::Args;
use jiff::Timestamp;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

#[derive(Debug, Args)]
pub(super) struct RecordArgs {
    /// Where the recording goes: a new file.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Seconds between readings.
    #[arg(long, value_name = "SECONDS", default_value = "1", allow_negative_numbers = true, value_parser = parse_interval)]
    every: Duration,
    /// End after this time: seconds, or 10m, 2h [default: with Ctrl-C].
    #[arg(long = "for", value_name = "TIME", allow_negative_numbers = true, value_parser = parse_span)]
    span: Option<Duration>,
    /// End before the file is larger than this: 500M, 2G [default: 1G].
    #[arg(long, value_name = "BYTES", default_value = "1G", value_parser = parse_size)]
    max_size: u64,
    /// Replace names and addresses, each always by the same.
    #[arg(long)]
    redact: bool,
    /// Go on at the end of a recording that is there.
    #[arg(long)]
    append: bool,
    #[command(flatten)]
    demo: SizedDemoFlag,
}

#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    /// The recording.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Begin at this time of day (14:03, 14:03:20) or time (2026-11-23T14:03:20Z), or so long after the beginning (+90s, +5m);
    /// -30s is before the end.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    at: Option<String>,
    /// Print what is in it, and what is missing, and end.
    #[arg(long)]
    info: bool,
}

impl Execute for RecordArgs {
    fn run(&self, globals: &Globals) -> Result<ExitCode, String> {
        let (source, args) = (&globals.source, self);
        let file = &args.file;
        let wrong = |e: io::Error| match e.kind() {
            io::ErrorKind::AlreadyExists => format!(
                "{} is there already: it is left as it is\n  -> another name, or --append to go on at its end",
                file.display()
            ),
            _ => format!("writing {}: {e}", file.display()),
        };
        let demo = args.demo.busy();
        let head = Head::new(args.every, args.redact);
        let mut writer = match args.append && file.exists() {
            true => {
                let before = Recording::open(file)?;
                tell_cut(&before);
                let is = before.head(before.len() - 1).redacted;
                if is != args.redact {
                    let (is, hint) = match is {
                        true => (
                            "is redacted, and what would be added is not",
                            "add --redact, or record into another file",
                        ),
                        false => ("is not redacted, and what would be added is", "record into another file"),
                    };
                    return Err(format!("{} {is}\n  -> {hint}", file.display()));
                }
                FileWriter::append(file, &head, before.end()).map_err(wrong)?
            }
            false => FileWriter::create(file, &head).map_err(wrong)?,
        };
        // The file is there: from here on the node is read, and nothing else.
        if demo.is_none() {
            give_up(keep_reading(source.netns.is_some(), false));
        }
        let mut source = match Source::open(source, demo, Duration::MAX) {
            Ok(s) => s.counting_new_flows(source.new_flows),
            Err(e) => {
                if !args.append {
                    let _ = std::fs::remove_file(file); // it holds nothing
                }
                return Err(e);
            }
        };
        let redactor = if args.redact { Some(Redactor::new()?) } else { None };
        let stop = stop_signal()?;
        let (began, mut reported) = (Instant::now(), Instant::now());
        let on_terminal = io::stderr().is_terminal();
        let end = loop {
            let reading = Instant::now();
            let mut snapshot = source.snapshot(Wanted::ALL)?;
            if let Some(r) = &redactor {
                r.redact(&mut snapshot);
            }
            // What one more reading takes is not known before: the largest so far is a guess that holds.
            if !writer.fits(args.max_size) {
                break format!("--max-size {} is reached", count(args.max_size));
            }
            if writer.readings() == 0 {
                tell_unread(&snapshot);
                source
                    .new_flows_are_counted(Model::read(&snapshot, &Names::default()).new_flows_are_counted());
            }
            writer.write(&snapshot).map_err(wrong)?;
            if on_terminal && reported.elapsed() > Duration::from_millis(500) {
                reported = Instant::now();
                let _ = write!(io::stderr(), "\r{} \x1b[K", summary(&writer, began));
            }
            if !source.is_live() {
                if !source.pass(Duration::ZERO) {
                    break "the end of what was read".into();
                }
                continue;
            }
            let left = args.span.map(|s| s.saturating_sub(began.elapsed()));
            if left.is_some_and(|l| l.is_zero()) {
                break "the time is over".into();
            }
            let wait = args.every.saturating_sub(reading.elapsed());
            match stop.recv_timeout(left.map_or(wait, |l| l.min(wait))) {
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                _ => break "stopped".into(),
            }
        };
        writer.sync().map_err(wrong)?;
        if on_terminal {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
        let name = file.display();
        print(|out| {
            writeln!(out, "{}, {end}", summary(&writer, began))?;
            writeln!(
                out,
                "kptop replay {name}    shows it; kptop doctor --from {name} and the other commands read it, too"
            )
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

fn summary(writer: &FileWriter, began: Instant) -> String {
    let readings = plural(writer.readings(), "reading");
    format!("{readings} in {}, {} bytes", duration(began.elapsed()), count(writer.written()))
}

/// Says when SIGINT, SIGTERM or SIGHUP asked for the end: the reading that is on is finished first.
fn stop_signal() -> Result<mpsc::Receiver<()>, String> {
    use crate::signals::{SignalKind, signal};
    let (say, stop) = mpsc::channel();
    let ready = Arc::new(AtomicBool::new(false));
    let is_ready = ready.clone();
    let (up, is_up) = mpsc::channel();
    let listen = move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async {
            let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
            let [Ok(mut a), Ok(mut b), Ok(mut c)] = kinds.map(signal) else { return };
            is_ready.store(true, Ordering::Release);
            let _ = up.send(());
            tokio::select! { _ = a.recv() => {}, _ = b.recv() => {}, _ = c.recv() => {} }
            let _ = say.send(());
        });
    };
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(listen)
        .map_err(|e| format!("starting the thread that waits for signals: {e}"))?;
    let _ = is_up.recv();
    match ready.load(Ordering::Acquire) {
        true => Ok(stop),
        false => Err("signals cannot be waited for".into()),
    }
}

impl Execute for ReplayArgs {
    fn needs(&self) -> Needs {
        Needs::reading(false)
    }

    fn run(&self, globals: &Globals) -> Result<ExitCode, String> {
        let (args, options) = (self, options(globals)?);
        let mut recording = Recording::open(&args.file)?;
        let index = match &args.at {
            Some(text) => find(&recording, text)?,
            None => 0,
        };
        if args.info {
            print(|out| info(&mut recording, out))?;
            return Ok(ExitCode::SUCCESS);
        }
        top::show(Input::Recording(Box::new(recording), index), Default::default(), options)
    }
}

fn find(recording: &Recording, text: &str) -> Result<usize, String> {
    let (first, last) = (recording.time(0), recording.time(recording.len() - 1));
    crate::format::moment(text, first, last).map(|time| recording.at(time))
}

fn info(recording: &mut Recording, out: &mut dyn Write) -> io::Result<()> {
    let last = recording.len() - 1;
    let time = |t: Timestamp| crate::format::date_and_time(t);
    let mut session = None;
    for i in 0..=last {
        if session == Some(recording.session(i)) {
            continue;
        }
        session = Some(recording.session(i));
        let end = (i..=last).take_while(|j| Some(recording.session(*j)) == session).last().unwrap_or(i);
        let head = recording.head(i).clone();
        let span =
            Duration::try_from(recording.time(end).duration_since(recording.time(i))).unwrap_or_default();
        let every = match head.every_ms {
            0 => String::new(),
            ms => format!(", asked for every {}", duration(Duration::from_millis(ms))),
        };
        writeln!(
            out,
            "{} to {} ({}): {}{every}, by kptop {}{}",
            time(recording.time(i)),
            time(recording.time(end)),
            duration(span),
            plural((end - i + 1) as u64, "reading"),
            head.written_by,
            if head.redacted { ", redacted" } else { "" },
        )?;
        if let Ok(s) = recording.snapshot(i) {
            let model = Model::read(&s, &Names::default());
            let modes: Vec<&str> = model.services.modes.iter().map(|m| m.engine.mode().name()).collect();
            let node = s.node.hostname.as_deref().unwrap_or("a node without a name");
            let services = plural(model.services.len() as u64, "Service");
            let node = crate::output::one_line(node);
            writeln!(out, "  {node}: {services}, {}", modes.first().unwrap_or(&"no mode of kube-proxy"))?;
            for u in s.failed() {
                let line = format!("not read: {}: {}", u.what, u.why);
                writeln!(out, "  {}", crate::output::one_line(&line))?;
            }
        }
    }
    let damaged: Vec<String> = (0..=last)
        .filter_map(|i| {
            recording.snapshot(i).err().map(|e| format!("reading {} cannot be shown: {e}", i + 1))
        })
        .collect();
    for d in damaged.iter().take(10) {
        writeln!(out, "{d}")?;
    }
    writeln!(out, "{} bytes", count(recording.end()))?;
    match recording.cut() {
        Some(cut) => writeln!(out, "ends early: {cut}"),
        None if damaged.is_empty() => writeln!(out, "whole"),
        None => writeln!(out, "{} of {} readings are damaged", damaged.len(), last + 1),
    }
}
