//! Lists of xt_recent from procfs (`net/netfilter/xt_recent.c`): clients that a rule remembers.

use super::{Error, Result};
use std::fs;
use std::net::IpAddr;

/// A client in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecentEntry {
    /// Its address.
    pub address: IpAddr,
    /// Packets that the list noted since it began, up to what it keeps. When they came is reported in jiffies, which
    /// nothing else here can be compared with.
    pub packets: u32,
}

/// Reads a list by name, in the calling thread's namespace. A list that is not there is empty: the rule that owns it
/// makes it.
pub fn read(name: &str) -> Result<Vec<RecentEntry>> {
    let what = "reading a list of xt_recent";
    if name.contains('/') || name.starts_with('.') {
        return Err(Error::protocol(what, "a name that is no file's"));
    }
    match fs::read_to_string(format!("/proc/thread-self/net/xt_recent/{name}")) {
        Ok(text) => Ok(text.lines().filter_map(parse).collect()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(Error::io(what, e)),
    }
}

/// `src=10.0.0.1 ttl: 64 last_seen: 4295 oldest_pkt: 2 4294, 4295`
pub fn parse(line: &str) -> Option<RecentEntry> {
    let address = line.split_whitespace().find_map(|w| w.strip_prefix("src="))?.parse().ok()?;
    let (_, rest) = line.split_once("oldest_pkt:")?;
    // The number of the next place among those that are kept, then their times.
    let packets = rest.split_whitespace().skip(1).count() as u32;
    Some(RecentEntry { address, packets })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_are_read_as_the_kernel_writes_them() {
        // cat /proc/net/xt_recent/KUBE-SEP-… after two connections
        let c = parse("src=10.1.0.2 ttl: 64 last_seen: 4296069523 oldest_pkt: 2 4296069400, 4296069523");
        assert_eq!(c, Some(RecentEntry { address: "10.1.0.2".parse().unwrap(), packets: 2 }));
        let c = parse("src=fd00:0000:0000:0000:0000:0000:0000:0005 ttl: 63 last_seen: 1 oldest_pkt: 1 1")
            .unwrap();
        assert_eq!(c.address, "fd00::5".parse::<IpAddr>().unwrap());
        assert!(read("../tcp").is_err());
    }

    proptest! {
        #[test]
        fn any_line_is_survived(line in "\\PC{0,80}") {
            let _ = parse(&line);
        }
    }
}
