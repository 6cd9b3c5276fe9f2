//! The modes side by side: worked out once for each structure of the rules, beside the screen where it takes long.

use crate::cost::{Comparison, compare_modes};
use crate::observe::View;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Up to so many Services a comparison is done before anyone notices.
const AT_ONCE: usize = 300;
/// How often a large one is done again while rules keep changing.
const PAUSE: Duration = Duration::from_secs(15);

/// What is known.
#[derive(Debug, Default)]
pub(super) struct Latest {
    last: Option<Arc<Comparison>>,
    outdated: bool,
    made: Option<Instant>,
    under_way: Option<Receiver<Comparison>>,
}

impl Latest {
    /// The rules have changed.
    pub(super) fn outdate(&mut self) {
        self.outdated = true;
    }

    /// The comparison for what is on the screen: the last one while a newer is worked out, `None` before the first.
    pub(super) fn get(&mut self, view: &View) -> Option<Arc<Comparison>> {
        if let Some(done) = self.under_way.as_ref().and_then(|r| r.try_recv().ok()) {
            self.last = Some(Arc::new(done));
            self.under_way = None;
        }
        let due = self.made.is_none_or(|m| m.elapsed() > PAUSE);
        if (self.last.is_none() || self.outdated) && self.under_way.is_none() {
            if view.model.services.len() <= AT_ONCE {
                self.outdated = false;
                self.last = Some(Arc::new(compare_modes(&view.snapshot, &view.model, &view.prices)));
            } else if due {
                self.outdated = false;
                self.made = Some(Instant::now());
                let (done, under_way) = channel();
                let view = view.clone();
                let work = move || drop(done.send(compare_modes(&view.snapshot, &view.model, &view.prices)));
                // Without a thread there is no comparison, and nothing else is worse for it.
                if std::thread::Builder::new().name("compare".into()).spawn(work).is_ok() {
                    self.under_way = Some(under_way);
                }
            }
        }
        self.last.clone()
    }
}
