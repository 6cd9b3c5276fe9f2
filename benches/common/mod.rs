//! What the benchmarks share.
#![allow(dead_code)] // each takes a part

use kptop::kernel::netns::Netns;
use std::process::Command;

/// Runs `f` in a network namespace of its own.
pub(crate) fn in_netns(f: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(|| {
        let _ns = Netns::create().expect("network namespaces need root");
        let up = Command::new("ip").args(["link", "set", "lo", "up"]).status();
        assert!(up.is_ok_and(|s| s.success()), "ip link set lo up");
        f();
    });
    thread.join().expect("a bench");
}

/// The middle one.
pub(crate) fn median(mut v: Vec<f64>) -> f64 {
    v.sort_by(f64::total_cmp);
    v[v.len() / 2]
}
