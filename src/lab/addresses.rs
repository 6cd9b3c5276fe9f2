//! Addresses of the lab, and what sets them up needs.

use crate::kernel::{Error, Result};
use crate::ruleset::IpNet;
use std::fs;
use std::net::IpAddr;

/// Pods of all nodes. Those that serve live in one namespace, those that only ask in another: an answer must
/// come back through the node.
pub const POD_CIDR: &str = "10.244.0.0/16";

/// The same for IPv6.
pub const POD_CIDR6: &str = "fd00:10:244::/48";

/// The node's address on the outside network.
pub const NODE_IP: &str = "192.168.50.10";

/// The same for IPv6.
pub const NODE_IP6: &str = "fd00:50::10";

/// The outside client.
pub const CLIENT_IP: &str = "192.168.50.1";

/// Another address of the outside client, within the source ranges of the shop's load balancer.
pub const FRIEND_IP: &str = "203.0.113.9";

pub(super) fn parse(address: &str) -> Result<IpAddr> {
    address.parse().map_err(|_| Error::protocol("the lab's network", format!("{address} is no address")))
}

pub(super) fn net(text: &str) -> Result<IpNet> {
    text.parse().map_err(|e| Error::protocol("the lab's network", format!("{text}: {e}")))
}

/// Sets a sysctl of the calling thread's namespace. Those that the kernel does not have are left out.
pub(super) fn sysctl(name: &str, value: &str) -> Result<()> {
    let path = format!("/proc/sys/net/{name}");
    match fs::write(&path, value) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(|e| Error::io(format!("setting {path}"), e)),
    }
}
