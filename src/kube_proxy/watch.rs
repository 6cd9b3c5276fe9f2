//! Asking kube-proxy from a thread of its own: nothing else ever waits for it.

use super::ask::ask;
use super::parse;
use super::process::{self, Process};
use super::report::{Answer, KubeProxy, Metrics};
use jiff::Timestamp;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Its `--metrics-bind-address` and `--healthz-bind-address` where nobody set them.
const METRICS: u16 = 10249;
const HEALTH: u16 = 10256;

/// Time between questions while somebody looks.
const EVERY: Duration = Duration::from_secs(5);

/// Asks until it is dropped.
#[derive(Debug)]
pub struct KubeProxyWatch {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    now: Mutex<Option<Arc<KubeProxy>>>,
    changed: Condvar,
    /// Whether somebody looked since it was asked.
    looked_at: AtomicBool,
    stop: AtomicBool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Option<Arc<KubeProxy>>> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KubeProxyWatch {
    /// Begins to ask in the calling thread's network namespace. Never blocks.
    pub fn start() -> Option<KubeProxyWatch> {
        let shared = Arc::new(Shared { looked_at: AtomicBool::new(true), ..Shared::default() });
        let to = shared.clone();
        let run = move || {
            // It asks loopback: rules and flows are none of its business.
            let _ = crate::kernel::privileges::keep_files_only();
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
                return;
            };
            runtime.block_on(follow(&to));
        };
        // Without the thread kube-proxy is not asked, and nothing else is missed.
        std::thread::Builder::new().name("kube-proxy".into()).spawn(run).ok()?;
        Some(KubeProxyWatch { shared })
    }

    /// What it answered last; `None` before it was asked.
    pub fn get(&self) -> Option<Arc<KubeProxy>> {
        self.shared.looked_at.store(true, Ordering::Relaxed);
        self.shared.lock().clone()
    }

    /// Waits for the first answers, but no longer than this.
    pub fn wait(&self, most: Duration) {
        let end = Instant::now() + most;
        let mut now = self.shared.lock();
        while now.is_none() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            now = self.shared.changed.wait_timeout(now, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for KubeProxyWatch {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

async fn follow(shared: &Shared) {
    let in_first_netns = process::in_first_netns();
    let mut last: Option<Arc<KubeProxy>> = None;
    while !shared.stop.load(Ordering::Relaxed) {
        if shared.looked_at.swap(false, Ordering::Relaxed) {
            let now = Arc::new(round(last.as_deref(), in_first_netns).await);
            last = Some(now.clone());
            *shared.lock() = Some(now);
            shared.changed.notify_all();
        }
        let until = Instant::now() + EVERY;
        while Instant::now() < until && !shared.stop.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }
}

/// One round of questions.
async fn round(last: Option<&KubeProxy>, in_first_netns: bool) -> KubeProxy {
    let asked_at = Timestamp::now();
    let (own, health) =
        tokio::join!(ask(METRICS, &["/metrics", "/configz", "/proxyMode"]), ask(HEALTH, &["/healthz"]),);
    let mut own = own.into_iter();
    let mut next = || own.next().unwrap_or_default();
    let (metrics, config, mode) = (next(), next(), next());
    let metrics = read(metrics, |_, text| parse::metrics(text));
    let health = read(health.into_iter().next().unwrap_or_default(), parse::health);
    let well = |a: Answer<(u16, String)>| match a {
        Answer::Given((200, text)) => Some(text),
        _ => None,
    };
    let mut now = KubeProxy {
        logged_version: None,
        asked_at,
        before: last.and_then(|l| earlier(l, &metrics)),
        config: well(config).and_then(|c| parse::config(&c)).or_else(|| last.and_then(|l| l.config.clone())),
        mode: well(mode)
            .map(|m| m.trim().chars().take(20).collect())
            .or_else(|| last.and_then(|l| l.mode.clone())),
        metrics,
        health,
        answered_at: last.and_then(|l| l.answered_at),
        process: Process::NotLookedFor,
        in_first_netns,
    };
    match now.answers() {
        true => now.answered_at = Some(asked_at),
        false => now.process = process::look(),
    }
    now
}

/// The metrics of the time before. Those of another process say nothing of this one.
fn earlier(last: &KubeProxy, now: &Answer<Metrics>) -> Option<(Timestamp, Metrics)> {
    let before = match &last.metrics {
        Answer::Given(m) => Some((last.asked_at, m.clone())),
        _ => last.before.clone(),
    }?;
    let fell = |now: &Metrics| {
        now.failures() < before.1.failures()
            || now.syncs.iter().map(|s| s.count).sum::<u64>() < before.1.syncs.iter().map(|s| s.count).sum()
    };
    (!now.given().is_some_and(fell)).then_some(before)
}

fn read<T>(answer: Answer<(u16, String)>, parse: impl FnOnce(u16, &str) -> Option<T>) -> Answer<T> {
    match answer {
        Answer::Given((status, text)) => match parse(status, &text) {
            Some(x) => Answer::Given(x),
            None => Answer::Failed(format!("what answers is not kube-proxy (status {status})")),
        },
        Answer::NotAsked => Answer::NotAsked,
        Answer::Refused => Answer::Refused,
        Answer::Silent => Answer::Silent,
        Answer::Failed(why) => Answer::Failed(why),
    }
}
