//! Reads Linux's packet filters, connection tracking and IPVS from the kernel itself: no `iptables`, `nft`, `ipvsadm`,
//! `ipset` or `conntrack` is run, and no library of theirs is linked.
//!
//! What is read comes as plain Rust values. Tables of x_tables and nf_tables are [`nf_ruleset::Table`]s, which print
//! themselves as `iptables -S` or `nft list` would.
//!
//! # Reading x_tables: what `iptables-legacy-save -c` reads
//!
//! Three steps: which tables there are, a socket, a reader for each table.
//!
//! ```no_run
//! use nf_kernel::xtables::{Socket, TableReader, table_names};
//! use nf_ruleset::IpFamily;
//!
//! let family = IpFamily::V4;
//! let socket = Socket::open(family)?;
//! let mut buffer = Vec::new(); // holds the table's bytes; keep it, and the next reading allocates nothing
//! for name in table_names(family)? {
//!     let mut reader = TableReader::new(family, &name);
//!     let reading = reader.read(&socket, &mut buffer)?;
//!     let table = &reading.table;
//!     for (i, chain) in table.chains.iter().enumerate() {
//!         for (id, rule) in table.rules_of(nf_ruleset::ChainId(i as u32)) {
//!             let seen = reading.counters.rules[id.0 as usize];
//!             println!("[{}:{}] -A {} {}", seen.packets, seen.bytes, table.str(chain.name), table.rule_text(rule));
//!         }
//!     }
//! }
//! # Ok::<(), nf_kernel::Error>(())
//! ```
//!
//! Keep a [`TableReader`](xtables::TableReader) to read its table again: while only counters changed, `reading.table` is
//! the same `Arc`, and 100,000 rules take some milliseconds beside the kernel's own 0.1 to 0.2 s; while nothing was counted,
//! `reading.counters` is the same, too.
//!
//! # Reading nf_tables: what `nft list ruleset` and `iptables-nft-save` read
//!
//! ```no_run
//! let mut client = nf_kernel::nftables::Client::open()?;
//! let ruleset = client.read()?; // one generation of the rules: never half of a change
//! for reading in &ruleset.tables {
//!     println!("{} {}: {} rules", reading.table.family, reading.table.name, reading.table.rules.len());
//! }
//! # Ok::<(), nf_kernel::Error>(())
//! ```
//!
//! # The rest
//!
//! | module | reads | as |
//! |---|---|---|
//! | [`xtables`] | tables of ip, ip6, arp and bridge | `iptables-legacy-save`, `arptables-legacy-save`, `ebtables-legacy-save` |
//! | [`nftables`] | tables, chains, rules, sets, maps; waits for changes | `nft list ruleset`, `nft monitor` |
//! | [`conntrack`], [`conntrack_events`] | flows, statistics, limits; flows as they begin and end | `conntrack -L`, `-S`, `-E` |
//! | [`ipvs`] | virtual and real servers with their counters | `ipvsadm -Ln --stats` |
//! | [`ipset`], [`nfacct`], [`recent`] | sets, named counters, clients that `-m recent` remembers | `ipset list`, `nfacct list` |
//! | [`drop_monitor`] | packets as they are dropped, with the kernel's reason | `dropwatch` |
//! | [`links`], [`node`], [`counters`], [`sysctl`], [`hooks`] | interfaces, addresses, `/proc/net`, settings, who is on a hook | `ip`, `nstat`, `sysctl` |
//! | [`ebpf`] | eBPF programs that Service packets meet before the rules | `bpftool net`, `bpftool cgroup` |
//! | [`netns`] | another network namespace, by name, path or process | `ip netns exec` |
//! | [`privileges`] | gives up what is not needed, once all is open | |
//!
//! # Rights
//!
//! Rules and flows need `CAP_NET_ADMIN` in the network namespace that is read; lists of x_tables' tables are files of root.
//! [`Error`] says what was tried, and [`Error::hint`] what to do next; [`Error::is_missing`] is true where the kernel does
//! not have what was asked for, which is not the same as an empty table. Nothing here makes the kernel load a module.
//!
//! # Without Linux
//!
//! The feature `live`, which is on unless it is switched off, is what makes system calls. Without it, and on other systems,
//! shapes and what takes bytes apart are the same, and each read fails with [`ErrorKind::Elsewhere`]: so programs that look at
//! what was read on a node build anywhere. [`LIVE`] says which it is.
//!
//! # It reads, and nothing else
//!
//! All requests that can be sent are one list, [`reads::READS`]; any other is refused before it is sent. Requests that write
//! are behind the feature `write`, for tests and demos in network namespaces that the process made itself; without it they
//! are not in the program. The only `unsafe` code is around system calls that no crate wraps, each with its reason.

// What only sockets use is of no use without them.
#![cfg_attr(not(all(feature = "live", target_os = "linux")), allow(dead_code))]

pub mod conntrack;
pub mod conntrack_events;
mod conntrack_stats;
pub mod counters;
pub mod drop_monitor;
pub mod ebpf;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
#[cfg_attr(not(all(feature = "live", target_os = "linux")), path = "elsewhere/generic.rs")]
pub mod generic;
pub mod hooks;
pub mod ipset;
pub mod ipvs;
#[cfg_attr(not(all(feature = "live", target_os = "linux")), path = "elsewhere/job.rs")]
pub mod job;
pub mod links;
mod linux;
pub mod maps;
pub mod module;
pub mod netlink;
#[cfg_attr(not(all(feature = "live", target_os = "linux")), path = "elsewhere/netns.rs")]
pub mod netns;
pub mod nfacct;
pub mod nftables;
pub mod node;
#[cfg_attr(not(all(feature = "live", target_os = "linux")), path = "elsewhere/notices.rs")]
pub mod notices;
#[cfg_attr(not(all(feature = "live", target_os = "linux")), path = "elsewhere/privileges.rs")]
pub mod privileges;
#[cfg_attr(not(all(feature = "live", target_os = "linux")), path = "elsewhere/procfs.rs")]
mod procfs;
pub mod reads;
pub mod recent;
mod steps;
pub mod sysctl;
pub mod usage;
pub mod ways;
pub mod xtables;

pub use error::{Error, ErrorKind, Result};
pub use procfs::procfs_is_there;
pub use steps::Step;

/// True where this program can read a kernel: it was built for Linux, with the feature `live`.
pub const LIVE: bool = cfg!(all(feature = "live", target_os = "linux"));
