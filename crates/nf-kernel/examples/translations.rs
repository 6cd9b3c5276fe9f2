//! Prints where this network namespace sends packets elsewhere: every rule that translates a destination, with what it
//! counted, and the virtual servers of IPVS.
//!
//! ```text
//! sudo cargo run -p nf-kernel --example translations
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr)]

use nf_kernel::nftables::Client;
use nf_kernel::xtables::{Socket, TableReader, table_names};
use nf_kernel::{Error, ipvs};
use nf_ruleset::{ChainId, IpFamily, Table, TableCounters, Target, Terminal};

fn translates(target: &Target) -> bool {
    let native = |t: &Terminal| matches!(t, Terminal::Nat { destination: true, .. });
    match target {
        Target::DnatTo4 { .. } | Target::DnatTo6(_) | Target::Dnat(_) | Target::Redirect(_) => true,
        Target::Native(t) => native(t),
        _ => false,
    }
}

fn print(table: &Table, counters: &TableCounters) {
    for (i, chain) in table.chains.iter().enumerate() {
        for (id, rule) in table.rules_of(ChainId(i as u32)).filter(|(_, r)| translates(&r.target)) {
            let (at, chain) = (format!("{} {}", table.family, table.name), table.str(chain.name));
            let seen = counters.rules.get(id.0 as usize).map_or(0, |c| c.packets);
            println!("{at:<14} {chain:<32} {seen:>8}  {}", table.rule_text(rule));
        }
    }
}

/// What is not there is no error; what may not be read is.
fn unless_missing<T: Default>(read: Result<T, Error>) -> Result<T, Error> {
    match read {
        Err(e) if e.is_missing() => Ok(T::default()),
        other => other,
    }
}

fn read() -> Result<(), Error> {
    let mut buffer = Vec::new();
    for family in [IpFamily::V4, IpFamily::V6] {
        for name in unless_missing(table_names(family))? {
            let reading = TableReader::new(family, &name).read(&Socket::open(family)?, &mut buffer)?;
            print(&reading.table, &reading.counters);
        }
    }
    for reading in unless_missing(Client::open().and_then(|mut c| c.read()).map(|r| r.tables))? {
        print(&reading.table, &reading.counters);
    }
    for server in unless_missing(ipvs::Client::open().and_then(|mut c| c.read()).map(|i| i.servers))? {
        println!("ipvs           {:?} -> {} real servers", server.address, server.real_servers.len());
    }
    Ok(())
}

fn main() {
    if let Err(e) = read() {
        eprintln!("{e}");
        std::process::exit(2);
    }
}
