//! On a real kernel, in network namespaces made for it, checked against the node's own tools.

mod cli;
mod conntrack;
mod faults;
mod faults_vm;
mod flow_events;
mod guest;
mod health;
mod ipvs;
mod lab;
mod maps;
mod memory;
mod nftables;
mod stories;
mod syscalls;
mod terminal;
mod two_nodes;
mod walk;
mod xtables;
