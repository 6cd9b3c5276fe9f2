//! Proxies that hold Services in eBPF maps: maps -> Services and back. Maps carry no names: the API gives them.

pub mod calico;
pub mod cilium;
mod parts;
