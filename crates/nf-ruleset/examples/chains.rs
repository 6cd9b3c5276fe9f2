//! Reads what `iptables-save` or `nft list ruleset` prints from standard input, and lists the chains with how many rules
//! each has and which chains it leads to.
//!
//! ```text
//! cargo run -p nf-ruleset --example chains < tests/rules/1.36.2/nftables/small/nft-list-ruleset.txt
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr)]

use nf_ruleset::{ChainId, IpFamily, parse_nft, parse_save};
use std::io::Read;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let is_nft = text.lines().any(|l| l.starts_with("table "));
    let tables = if is_nft { parse_nft(&text)? } else { parse_save(&text, IpFamily::V4)? };
    for saved in &tables {
        let table = &saved.table;
        println!("{} {}", table.family, table.name);
        for (i, chain) in table.chains.iter().enumerate() {
            let rules = table.rules_of(ChainId(i as u32));
            let mut leads: Vec<&str> =
                rules.filter_map(|(_, r)| table.jump_of(r)).map(|c| table.chain_name(c)).collect();
            leads.dedup();
            println!("  {} {} rules -> {}", table.str(chain.name), chain.rules.len(), leads.join(" "));
        }
    }
    Ok(())
}
