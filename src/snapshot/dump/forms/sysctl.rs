//! `sysctl -a`, sysctl.conf, and files of `/proc/sys/net` that were saved one by one.

use crate::kernel::conntrack::Limits;
use crate::kernel::sysctl;
use crate::snapshot::SourceId;
use crate::snapshot::dump::glance::Glance;
use crate::snapshot::dump::reader::{Form, Found, Reader};
use std::sync::Arc;

pub(super) static FORM: Form =
    Form { words: "sysctl -a", source: SourceId::Sysctls, repeats: true, is, read };

/// Directories of `/proc/sys`.
const ROOTS: [&str; 10] = ["net", "kernel", "vm", "fs", "abi", "dev", "user", "debug", "sunrpc", "crypto"];

/// With dots between its parts (sysctl.d(5): what begins with a slash between them has dots in names).
fn dotted(key: &str) -> String {
    let swaps = key.find(['.', '/']).is_some_and(|i| key.as_bytes()[i] == b'/');
    if swaps { sysctl::swapped(key) } else { key.to_string() }
}

/// `net.ipv4.ip_forward = 1`, `net.ipv4.ip_forward=1`
fn pair(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once('=')?;
    let key = key.trim();
    let root = key.split(['.', '/']).next().filter(|r| r.len() < key.len())?;
    (ROOTS.contains(&root) && !key.contains(' ')).then_some((key, value.trim()))
}

fn is(g: &Glance<'_>) -> bool {
    g.any(5, |l| pair(l).is_some())
}

fn read(to: &mut Reader, f: &Found) -> Result<(), String> {
    to.unused_but(f, |l| l.starts_with(['#', ';']) || l.starts_with("sysctl: ") || pair(l).is_some());
    let text: String =
        f.text.lines().filter_map(pair).map(|(k, v)| format!("{} = {v}\n", dotted(k))).collect();
    // What a file of configuration holds is what should be, and of what is only a few.
    if !f.text.contains(" = ") {
        to.say("taken for the kernel's settings, though a file of configuration says what they should be");
    }
    let (sysctls, all) = sysctl::of_text(&text);
    Arc::make_mut(&mut to.snapshot.sysctls).extend(sysctls);
    let n = |name: &str| all.get(&format!("net/netfilter/nf_conntrack_{name}"))?.parse::<u64>().ok();
    let known = &mut to.limits;
    *known = Limits {
        count: n("count").or(known.count),
        max: n("max").or(known.max),
        buckets: n("buckets").or(known.buckets),
        accounting: n("acct").map(|n| n != 0).or(known.accounting),
        timestamps: n("timestamp").map(|n| n != 0).or(known.timestamps),
    };
    let node = Arc::make_mut(&mut to.snapshot.node);
    let named = |key: &str| all.get(key).cloned();
    node.hostname = node.hostname.take().or_else(|| named("kernel/hostname"));
    node.kernel = node.kernel.take().or_else(|| named("kernel/osrelease"));
    Ok(())
}
