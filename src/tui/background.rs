//! Work on the Services of a view that takes long where they are many: done once for each structure of the rules,
//! beside the screen.

use crate::observe::View;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Up to so many Services it is done before anyone notices.
const AT_ONCE: usize = 300;
/// How often a large one is done again while rules keep changing.
const PAUSE: Duration = Duration::from_secs(15);

/// What is known.
#[derive(Debug)]
pub(super) struct Background<T> {
    last: Option<Arc<T>>,
    outdated: bool,
    made: Option<Instant>,
    under_way: Option<Receiver<T>>,
}

impl<T> Default for Background<T> {
    fn default() -> Background<T> {
        Background { last: None, outdated: false, made: None, under_way: None }
    }
}

impl<T: Send + 'static> Background<T> {
    /// The rules have changed.
    pub(super) fn outdate(&mut self) {
        self.outdated = true;
    }

    /// What `work` gives for what is on the screen: the last result while a newer is worked out, `None` before the first.
    pub(super) fn get(
        &mut self,
        view: &View,
        work: impl FnOnce(&View) -> T + Send + 'static,
    ) -> Option<Arc<T>> {
        if let Some(done) = self.under_way.as_ref().and_then(|r| r.try_recv().ok()) {
            self.last = Some(Arc::new(done));
            self.under_way = None;
        }
        let due = self.made.is_none_or(|m| m.elapsed() > PAUSE);
        if (self.last.is_none() || self.outdated) && self.under_way.is_none() {
            if view.model.services.len() <= AT_ONCE {
                self.outdated = false;
                self.last = Some(Arc::new(work(view)));
            } else if due {
                self.outdated = false;
                self.made = Some(Instant::now());
                let (done, under_way) = channel();
                let view = view.clone();
                let work = move || drop(done.send(work(&view)));
                // Without a thread there is no result, and nothing else is worse for it.
                if std::thread::Builder::new().name("background".into()).spawn(work).is_ok() {
                    self.under_way = Some(under_way);
                }
            }
        }
        self.last.clone()
    }
}
