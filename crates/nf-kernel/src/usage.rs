//! What a read cost: CPU time of the calling thread.

use nix::sys::time::TimeValLike;
use nix::time::{ClockId, clock_gettime};
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

/// CPU time that the calling thread has used.
pub fn thread_cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .map(|t| Duration::from_nanos(t.num_nanoseconds().max(0) as u64))
        .unwrap_or_default()
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
