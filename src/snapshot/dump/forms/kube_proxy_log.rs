//! kube-proxy's log: of it kptop uses the lines that name its mode and its version.

use crate::snapshot::SourceId;
use crate::snapshot::dump::glance::Glance;
use crate::snapshot::dump::reader::{Form, Found, Reader};

pub(super) static FORM: Form =
    Form { words: "kube-proxy's log", source: SourceId::KubeProxy, repeats: true, is, read };

/// `I1129 10:00:00.000000       1 server_linux.go:132] "Using iptables proxy"` (klog)
fn is_klog(line: &str) -> bool {
    let b = line.as_bytes();
    b.len() > 20
        && b"IWEF".contains(&b[0])
        && b[1..5].iter().all(u8::is_ascii_digit)
        && b[5] == b' '
        && line.contains("] ")
}

fn is(g: &Glance<'_>) -> bool {
    let of_proxy = [
        "proxier",
        "kube-proxy",
        "Proxier",
        "server_linux.go",
        "server_others.go",
        "proxy mode",
        "iptables proxy",
    ];
    g.any(3, is_klog) && g.any(300, |l| of_proxy.iter().any(|w| l.contains(w)))
}

fn read(to: &mut Reader, f: &Found) -> Result<(), String> {
    let mut used = 0;
    for line in f.text.lines() {
        // `Using iptables Proxier.`, `"Using ipvs Proxier"`, `"Using nftables Proxier"`
        let mode = line.split_once("Using ").and_then(|(_, rest)| {
            let word = rest.split([' ', '"', '.']).next()?;
            (["iptables", "ipvs", "nftables", "userspace"].contains(&word)
                && rest.to_lowercase().contains("proxi"))
            .then_some(word)
        });
        // `"Version info" version="v1.31.0"`, `Version: v1.20.2`
        let version =
            line.split_once("\"Version info\" version=\"").or_else(|| line.split_once("] Version: "));
        let version = version.map(|(_, rest)| rest.split(['"', ' ']).next().unwrap_or_default().to_string());
        used += usize::from(mode.is_some() || version.is_some());
        let known = to.kube_proxy.get_or_insert_default();
        known.mode = mode.map(str::to_string).or(known.mode.take());
        known.logged_version = version.or(known.logged_version.take());
    }
    to.unused(f.text.lines().count() - used);
    to.say("of a log kptop uses the lines that name its mode and its version");
    Ok(())
}
