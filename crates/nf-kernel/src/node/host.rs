//! What system calls and procfs say of the node.

use super::InterfaceAddress;
use crate::{Error, Result};
use procfs::Current;
use std::net::IpAddr;

/// The host's name.
pub fn hostname() -> Option<String> {
    nix::sys::utsname::uname().ok().map(|u| u.nodename().to_string_lossy().into_owned())
}

/// Release of the kernel.
pub(super) fn kernel() -> Option<String> {
    nix::sys::utsname::uname().ok().map(|u| u.release().to_string_lossy().into_owned())
}

pub(super) fn cpus() -> Option<usize> {
    procfs::CpuInfo::current().ok().map(|c| c.num_cores())
}

pub(super) fn memory_bytes() -> Option<u64> {
    procfs::Meminfo::current().ok().map(|m| m.mem_total)
}

pub(super) fn cpu_model() -> Option<String> {
    let info = procfs::CpuInfo::current().ok()?;
    info.model_name(0).map(str::to_string).or_else(|| Some(std::env::consts::ARCH.to_string()))
}

/// Addresses of all interfaces, in the kernel's order.
pub(super) fn addresses() -> Result<Vec<InterfaceAddress>> {
    let list = nix::ifaddrs::getifaddrs().map_err(|e| Error::io("reading the node's addresses", e.into()))?;
    let all = list
        .filter_map(|a| {
            let ip = |s: &nix::sys::socket::SockaddrStorage| {
                let v4 = s.as_sockaddr_in().map(|s| IpAddr::V4(s.ip()));
                v4.or_else(|| s.as_sockaddr_in6().map(|s| IpAddr::V6(s.ip())))
            };
            let address = ip(&a.address?)?;
            let prefix = a.netmask.as_ref().and_then(ip).map(|mask| match mask {
                IpAddr::V4(m) => m.to_bits().leading_ones() as u8,
                IpAddr::V6(m) => m.to_bits().leading_ones() as u8,
            });
            Some(InterfaceAddress { interface: a.interface_name, address, prefix })
        })
        .collect();
    Ok(all)
}
