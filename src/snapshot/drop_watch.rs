//! The drop monitor, listened to by a thread of its own, as long as a user asks for it.

use crate::kernel::drop_monitor::{self, DropMonitor, Dropped};
use crate::kernel::privileges::keep_reading_only;
use crate::kernel::{Error, Result};
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Packets that are kept until a user takes them; what comes beyond is counted.
const KEPT: usize = 20_000;

/// What came since it was last taken.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DropBatch {
    /// Packets, in their order.
    pub packets: Vec<Dropped>,
    /// Packets that came and were not kept, as nobody took them in time.
    pub overrun: u64,
    /// Packets that the kernel dropped and could not report, since the monitor is on.
    pub lost: u64,
    /// Since when it is on.
    pub span: Duration,
    /// True where another program had switched it on.
    pub shared: bool,
}

/// See above. Dropping it switches the monitor off.
#[derive(Debug)]
pub struct DropWatch {
    batch: Arc<Mutex<DropBatch>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    began: Instant,
    guard: Option<Guard>,
}

/// The hidden subcommand of the guard.
pub const GUARD: &str = "drop-monitor-guard";

impl DropWatch {
    /// Switches it on. To be called in the machine's own network namespace. With `guarded`, a second process of this program
    /// waits, and switches the monitor off where this one is killed and cannot.
    pub fn start(guarded: bool) -> Result<DropWatch> {
        let mut monitor = DropMonitor::start()?;
        let shared = monitor.is_shared();
        let guard = if guarded && !shared { Some(Guard::start(&monitor.before())?) } else { None };
        let batch = Arc::new(Mutex::new(DropBatch { shared, ..DropBatch::default() }));
        let stop = Arc::new(AtomicBool::new(false));
        let (to, until) = (batch.clone(), stop.clone());
        let thread = std::thread::Builder::new()
            .name("dropped packets".into())
            .spawn(move || {
                // It is on: switching it off needs no more than reading does.
                let _ = keep_reading_only();
                let mut asked = Instant::now();
                while !until.load(Ordering::Relaxed) {
                    let came = matches!(monitor.wait(Duration::from_millis(100)), Ok(true));
                    let mut fresh = Vec::new();
                    if came && monitor.receive(&mut |d| fresh.push(d)).is_err() {
                        break;
                    }
                    let lost = (asked.elapsed() > Duration::from_millis(500)).then(|| {
                        asked = Instant::now();
                        monitor.lost()
                    });
                    let mut batch = to.lock().unwrap_or_else(PoisonError::into_inner);
                    batch.lost = lost.unwrap_or(batch.lost);
                    let room = KEPT.saturating_sub(batch.packets.len());
                    batch.overrun += fresh.len().saturating_sub(room) as u64;
                    batch.packets.extend(fresh.into_iter().take(room));
                }
                // Here the monitor is switched off.
            })
            .map_err(|e| Error::io("starting a thread for dropped packets", e))?;
        Ok(DropWatch { batch, stop, thread: Some(thread), began: Instant::now(), guard })
    }

    /// Takes what came since the last call.
    pub fn take(&self) -> DropBatch {
        let mut batch = self.batch.lock().unwrap_or_else(PoisonError::into_inner);
        let packets = std::mem::take(&mut batch.packets);
        let overrun = std::mem::take(&mut batch.overrun);
        DropBatch { packets, overrun, span: self.began.elapsed(), ..batch.clone() }
    }
}

impl Drop for DropWatch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        if let Some(guard) = self.guard.take() {
            guard.release();
        }
    }
}

/// A process that waits for the end of this one.
#[derive(Debug)]
struct Guard {
    process: Child,
}

impl Guard {
    fn start(before: &str) -> Result<Guard> {
        let what = "starting the guard that switches the drop monitor off";
        let program = std::env::current_exe().map_err(|e| Error::io(what, e))?;
        let mut command = Command::new(program);
        command.args([GUARD, before]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // The terminal's signals are not for it.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let process = command.spawn().map_err(|e| Error::io(what, e))?;
        Ok(Guard { process })
    }

    /// Reports that its work is done already.
    fn release(mut self) {
        if let Some(mut pipe) = self.process.stdin.take() {
            let _ = pipe.write_all(b"done");
        }
        let _ = self.process.wait();
    }
}

/// What the guard does: waits until its input ends, and switches the monitor off unless it was reported that this was done.
pub fn guard(before: &str) -> Result<()> {
    let mut reported = Vec::new();
    let _ = std::io::stdin().read_to_end(&mut reported);
    if reported == b"done" { Ok(()) } else { drop_monitor::switch_off(before) }
}
