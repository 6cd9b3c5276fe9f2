//! What a read cost: CPU time of the calling thread.

#[cfg_attr(not(all(feature = "live", target_os = "linux")), path = "elsewhere/cpu.rs")]
mod cpu;

pub use cpu::thread_cpu;
use std::time::{Duration, Instant};

/// Wall clock and CPU time of one read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// From begin to end.
    pub wall: Duration,
    /// CPU time of this thread, in kernel and program.
    pub cpu: Duration,
}

/// A running measurement.
#[derive(Debug)]
pub struct Meter {
    wall: Instant,
    cpu: Duration,
}

impl Meter {
    /// Begins.
    pub fn start() -> Meter {
        Meter { wall: Instant::now(), cpu: thread_cpu() }
    }

    /// Ends.
    pub fn stop(&self) -> Cost {
        Cost { wall: self.wall.elapsed(), cpu: thread_cpu().saturating_sub(self.cpu) }
    }
}
