//! Waits for the next reading, and not longer than until something changes in nf_tables.

use crate::kernel::nftables::Events;
use std::time::{Duration, Instant};

/// After a change more follow: a restore makes thousands of notices. So long they are waited for.
const SETTLE: Duration = Duration::from_millis(150);

/// See above. Where the kernel has no nf_tables, or says nothing, only time passes.
#[derive(Debug)]
pub struct Waker {
    events: Option<Events>,
}

impl Waker {
    /// Begins to listen, in the calling thread's namespace.
    pub fn open() -> Waker {
        Waker { events: Events::open().ok() }
    }

    /// True where the kernel reports changes.
    pub fn is_listening(&self) -> bool {
        self.events.is_some()
    }

    /// Waits so long at most; `true` where a change ended it.
    pub fn wait(&mut self, time: Duration) -> bool {
        let Some(events) = &mut self.events else {
            std::thread::sleep(time);
            return false;
        };
        let began = Instant::now();
        match events.wait(time) {
            Ok(true) => {
                // Until it is quiet, or twice as long as usual.
                while began.elapsed() < time + SETTLE * 2 && events.wait(SETTLE).unwrap_or(false) {}
                true
            }
            Ok(false) => {
                // A signal may have ended it early.
                std::thread::sleep(time.saturating_sub(began.elapsed()));
                false
            }
            Err(_) => {
                self.events = None;
                std::thread::sleep(time.saturating_sub(began.elapsed()));
                false
            }
        }
    }
}
