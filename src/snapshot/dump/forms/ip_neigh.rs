//! `ip neigh`: neighbours that do not answer.

use crate::snapshot::SourceId;
use crate::snapshot::dump::glance::Glance;
use crate::snapshot::dump::reader::{Form, Found, Reader};
use std::net::IpAddr;

pub(super) static FORM: Form = Form { words: "ip neigh", source: SourceId::Routes, repeats: true, is, read };

const STATES: [&str; 8] =
    ["REACHABLE", "STALE", "DELAY", "PROBE", "FAILED", "PERMANENT", "INCOMPLETE", "NOARP"];

/// `10.0.0.7 dev eth0 lladdr 02:00:00:00:00:07 REACHABLE`, `10.0.0.9 dev eth0  FAILED`
fn neighbour(line: &str) -> Option<(IpAddr, &str, &str)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [address, "dev", link, ref rest @ ..] = words[..] else { return None };
    let state = rest.iter().find(|w| STATES.contains(w))?;
    Some((address.parse().ok()?, link, state))
}

fn is(g: &Glance<'_>) -> bool {
    g.any(3, |l| neighbour(l).is_some())
}

fn read(to: &mut Reader, f: &Found) -> Result<(), String> {
    to.unused_but(f, |l| neighbour(l).is_some());
    let failed = f.text.lines().filter_map(neighbour).filter(|n| n.2 == "FAILED");
    to.deaf.extend(failed.map(|(a, link, _)| (a, link.to_string())));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_read_as_ip_prints_them() {
        let failed = neighbour("10.0.0.9 dev eth0  FAILED").unwrap();
        assert_eq!((failed.1, failed.2), ("eth0", "FAILED"));
        assert_eq!(neighbour("fe80::1 dev eth0 lladdr 02:00:00:00:00:07 router STALE").unwrap().2, "STALE");
        assert_eq!(neighbour("10.0.0.0/8 dev x scope link"), None);
    }
}
