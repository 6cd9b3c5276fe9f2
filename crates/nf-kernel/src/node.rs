//! Facts of the node from procfs and plain files: no helper program is run.

#[cfg_attr(not(all(feature = "live", target_os = "linux")), path = "elsewhere/host.rs")]
mod host;

use super::Result;
pub use host::hostname;
use nf_ruleset::IpNet;
use serde::{Deserialize, Serialize};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

/// The node. What could not be found out is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Host name.
    pub hostname: Option<String>,
    /// Release of the kernel.
    pub kernel: Option<String>,
    /// `PRETTY_NAME` of `/etc/os-release`.
    pub distribution: Option<String>,
    /// CPUs that are on.
    pub cpus: Option<usize>,
    /// Model of the first CPU, as `/proc/cpuinfo` names it.
    pub cpu_model: Option<String>,
    /// Memory in bytes.
    pub memory_bytes: Option<u64>,
    /// Container runtime that runs, with its version where a package list says it.
    pub container_runtime: Option<String>,
    /// Version of the installed iptables and its variant, as `iptables --version` would print.
    pub iptables_version: Option<String>,
}

/// An address of an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceAddress {
    /// Interface.
    pub interface: String,
    /// Address.
    pub address: IpAddr,
    /// Length of the prefix of its network in bits; `None` where it was not said.
    #[serde(default)]
    pub prefix: Option<u8>,
}

/// Kernel release and CPU model: by these a calibration is known again.
pub fn identity() -> (Option<String>, Option<String>) {
    (host::kernel(), host::cpu_model())
}

/// Reads the node's facts. Never fails: each fact is on its own.
pub fn read() -> Node {
    Node {
        hostname: hostname(),
        kernel: host::kernel(),
        distribution: fs::read_to_string("/etc/os-release").ok().and_then(|t| os_release(&t)),
        cpus: host::cpus(),
        cpu_model: host::cpu_model(),
        memory_bytes: host::memory_bytes(),
        container_runtime: container_runtime(),
        iptables_version: iptables_version(),
    }
}

/// `PRETTY_NAME` of an `/etc/os-release`.
pub fn os_release(text: &str) -> Option<String> {
    let value = text.lines().find_map(|l| l.strip_prefix("PRETTY_NAME="))?;
    Some(value.trim_matches(['"', '\'']).to_string())
}

/// Processes that are container runtimes, with the package that holds them.
const RUNTIMES: [(&str, &str, &[&str]); 3] = [
    ("containerd", "containerd", &["containerd.io", "containerd"]),
    ("crio", "cri-o", &["cri-o"]),
    ("dockerd", "docker", &["docker-ce", "docker.io"]),
];

fn container_runtime() -> Option<String> {
    let running: Vec<String> = fs::read_dir("/proc")
        .ok()?
        .flatten()
        .filter(|e| e.file_name().to_string_lossy().bytes().all(|b| b.is_ascii_digit()))
        .filter_map(|e| fs::read_to_string(e.path().join("comm")).ok())
        .map(|c| c.trim().to_string())
        .collect();
    let (_, name, packages) = RUNTIMES.iter().find(|(comm, ..)| running.iter().any(|r| r == comm))?;
    match packages.iter().find_map(|p| package_version(p)) {
        Some(version) => Some(format!("{name} {version}")),
        None => Some((*name).to_string()),
    }
}

/// Upstream version of an installed Debian package.
fn package_version(package: &str) -> Option<String> {
    dpkg_version(&fs::read_to_string("/var/lib/dpkg/status").ok()?, package)
}

fn dpkg_version(status: &str, package: &str) -> Option<String> {
    let mut inside = false;
    for line in status.lines() {
        if let Some(name) = line.strip_prefix("Package: ") {
            inside = name == package;
        } else if inside && let Some(version) = line.strip_prefix("Version: ") {
            let version = version.split_once(':').map_or(version, |v| v.1);
            return Some(version.rsplit_once('-').map_or(version, |v| v.0).to_string());
        }
    }
    None
}

fn iptables_version() -> Option<String> {
    let target = ["/usr/sbin/iptables", "/sbin/iptables", "/usr/local/sbin/iptables"]
        .iter()
        .find_map(|p| fs::canonicalize(Path::new(p)).ok())?;
    let variant = match target.file_name()?.to_str()? {
        n if n.contains("nft") => "nf_tables",
        n if n.contains("legacy") => "legacy",
        _ => return None,
    };
    Some(match package_version("iptables") {
        Some(version) => format!("{version} ({variant})"),
        None => format!("({variant})"),
    })
}

/// Addresses of all interfaces in the calling thread's namespace.
pub fn addresses() -> Result<Vec<InterfaceAddress>> {
    let mut all = host::addresses()?;
    // The link by which the node reaches others holds its primary address.
    let routes = routes();
    all.sort_by_key(|a| !routes.iter().any(|r| r.is_default() && r.interface == a.interface));
    Ok(all)
}

/// A route of the main table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Where to.
    pub net: IpNet,
    /// The interface by which packets leave.
    pub interface: String,
    /// True where they go to a gateway; else the network is connected to the interface.
    pub by_gateway: bool,
}

impl Route {
    /// True for a default route.
    pub fn is_default(&self) -> bool {
        self.net.prefix == 0
    }
}

/// `RTF_UP`, `RTF_GATEWAY`, `RTF_REJECT` (`linux/route.h`), `RTF_LOCAL` (`linux/ipv6_route.h`).
const RTF_UP: u32 = 1;
const RTF_GATEWAY: u32 = 2;
const RTF_REJECT: u32 = 0x200;
const RTF_LOCAL: u32 = 0x8000_0000;

/// Routes of the main table in the calling thread's namespace, as procfs shows them: none of other tables, which rules of
/// policy routing may ask first. Those that reject packets, and those to the node's own addresses, are left out.
pub fn routes() -> Vec<Route> {
    let read = |file: &str| fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap_or_default();
    parse_routes(&read("route"), &read("ipv6_route"))
}

/// Reads `/proc/net/route` and `/proc/net/ipv6_route`.
fn parse_routes(v4: &str, v6: &str) -> Vec<Route> {
    // Iface Destination Gateway Flags RefCnt Use Metric Mask
    let v4 = v4.lines().skip(1).filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |i: usize| u32::from_str_radix(words.get(i)?, 16).ok();
        // The kernel prints addresses as numbers of its own order.
        let address = |n: u32| Ipv4Addr::from(n.to_ne_bytes());
        let flags = number(3)?;
        let prefix = address(number(7)?).to_bits().leading_ones() as u8;
        (flags & RTF_UP != 0 && flags & RTF_REJECT == 0).then(|| {
            Some(Route {
                net: IpNet { addr: address(number(1)?).into(), prefix },
                interface: (*words.first()?).to_string(),
                by_gateway: flags & RTF_GATEWAY != 0,
            })
        })?
    });
    // destination, its prefix length, source, its, gateway, metric, references, uses, flags, link
    let v6 = v6.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let flags = u32::from_str_radix(words.get(8)?, 16).ok()?;
        let usable = flags & RTF_UP != 0 && flags & (RTF_REJECT | RTF_LOCAL) == 0;
        let interface = (*words.get(9)?).to_string();
        (usable && interface != "lo").then(|| {
            Some(Route {
                net: IpNet {
                    addr: Ipv6Addr::from(u128::from_str_radix(words.first()?, 16).ok()?).into(),
                    prefix: u8::from_str_radix(words.get(1)?, 16).ok()?,
                },
                interface,
                by_gateway: flags & RTF_GATEWAY != 0,
            })
        })?
    });
    v4.chain(v6).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_as_they_are() {
        assert_eq!(
            os_release("ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 12\"\n").as_deref(),
            Some("Debian GNU/Linux 12")
        );
        let status = "Package: a\nVersion: 9\n\nPackage: iptables\nStatus: x\nVersion: 1.8.9-2\n\nPackage: z\nVersion: 1:2~3-4\n";
        assert_eq!(dpkg_version(status, "iptables").as_deref(), Some("1.8.9"));
        assert_eq!(dpkg_version(status, "z").as_deref(), Some("2~3"));
        assert_eq!(dpkg_version(status, "nope"), None);
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn routes_are_read_as_procfs_prints_them() {
        let v4 = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n\
                  cni0\t0000F40A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
                  *\t0001F40A\t00000000\t0201\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
                  eth1\t00000000\t0132A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n";
        let zero = "0".repeat(32);
        let v6 = format!(
            "{zero} 00 {zero} 00 fd000050000000000000000000000001 00000400 1 0 00000003     eth2\n\
             {zero} 00 {zero} 00 {zero} ffffffff 1 0 00200200       lo\n"
        );
        let route = |net: &str, interface: &str, by_gateway| Route {
            net: net.parse().unwrap(),
            interface: interface.into(),
            by_gateway,
        };
        let all = parse_routes(v4, &v6);
        assert_eq!(
            all,
            [
                route("10.244.0.0/24", "cni0", false),
                route("0.0.0.0/0", "eth1", true),
                route("::/0", "eth2", true)
            ]
        );
        assert!(all[1].is_default() && parse_routes("", "").is_empty());
    }

    proptest::proptest! {
        #[test]
        fn any_routes_are_survived(v4 in "[\\t\\n0-9A-Fa-z ]{0,200}", v6 in "[\\n0-9a-z ]{0,200}") {
            let _ = parse_routes(&v4, &v6);
        }
    }

    #[test]
    fn this_node_has_a_kernel_and_loopback() {
        assert!(read().kernel.is_some());
        let loopback = addresses().unwrap().into_iter().find(|a| a.interface == "lo" && a.address.is_ipv4());
        assert_eq!(loopback.unwrap().prefix, Some(8));
    }
}
