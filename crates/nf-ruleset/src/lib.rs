//! The vocabulary that every packet filter of Linux shares: tables of chains of rules, their sets, and their counters;
//! and the text of `iptables` and `nft`, in both directions.
//!
//! One shape serves x_tables (`iptables-legacy`) and nf_tables (`nft`, `iptables-nft`). A [`Table`] is an arena: chains
//! are ranges into one vector of rules, rules are ranges into one vector of matches, and strings are interned, so that
//! 100,000 rules take few allocations. Counters are beside the structure ([`TableCounters`]), as they change with every
//! packet and the structure seldom does. What is not known is kept as [`Unknown`], never left out.
//!
//! Nothing here reads a kernel: `nf-kernel` fills these types, and so does text.
//!
//! # Reading text
//!
//! ```
//! use nf_ruleset::{IpFamily, Target, Verdict, parse_save};
//!
//! let text = "*nat\n:PREROUTING ACCEPT [7:420]\n:SHOP - [0:0]\n\
//!     -A PREROUTING -d 10.96.2.9/32 -p tcp -m tcp --dport 80 -j SHOP\n\
//!     -A SHOP -j DNAT --to-destination 10.244.0.5:8080\nCOMMIT\n";
//! let saved = parse_save(text, IpFamily::V4)?;
//! let table = &saved[0].table;
//! let prerouting = table.chain("PREROUTING").unwrap();
//! for (id, rule) in table.rules_of(prerouting) {
//!     // The text of a rule, as `iptables -S` prints it, and where it leads.
//!     assert_eq!(table.rule_text(rule).to_string(), "-d 10.96.2.9/32 -p tcp -m tcp --dport 80 -j SHOP");
//!     let Target::Verdict(Verdict::Jump(to)) = rule.target else { panic!() };
//!     assert_eq!(table.chain_name(to), "SHOP");
//!     assert_eq!(table.matches_of(rule).len(), 3);
//!     assert_eq!(saved[0].counters.rules[id.0 as usize].packets, 0);
//! }
//! # Ok::<(), nf_ruleset::ParseError>(())
//! ```
//!
//! [`parse_nft`] and [`parse_nft_json`] do the same for `nft list ruleset`. Their rules have matches of two kinds: where
//! iptables has a match for what a rule asks, it is that ([`Match::Tcp`], [`Match::InInterface`]); else it is the
//! condition as the kernel has it ([`Match::Native`]): fields that are loaded, and what they are compared with.
//!
//! # Building a table
//!
//! ```
//! use nf_ruleset::{Counter, Family, Match, RuleSpec, TableBackend, TableBuilder, Target, Verdict};
//!
//! let mut b = TableBuilder::new(Family::Ip, TableBackend::NfTables, "filter");
//! let chain = b.chain("FORWARD");
//! b.push(chain, RuleSpec {
//!     matches: vec![Match::Protocol { number: 17, invert: false }],
//!     target: Target::Verdict(Verdict::Drop),
//!     counter: Counter::default(),
//! });
//! let (table, _counters) = b.finish();
//! assert_eq!(table.rules.len(), 1);
//! ```

#![forbid(unsafe_code)]

mod address;
mod build;
mod counter;
mod display;
mod endpoint;
mod extensions;
mod family;
mod fields;
mod hook;
mod ids;
mod iptables_text;
pub mod lower;
mod nft_read;
mod nft_text;
mod protocols;
mod recorded;
mod recorded_ids;
pub mod reject;
mod rewrite;
mod save;
mod saved;
mod sets;
mod statements;
mod strings;
mod table;
mod verdict;
mod whole;

pub use address::{IpNet, address, address_number, mask_prefix, octets};
pub use build::{RuleSpec, TableBuilder};
pub use counter::Counter;
pub use endpoint::L4Endpoint;
pub use extensions::{
    AddressMatch, ConntrackMatch, DnatTo, IpvsMatch, MaskedAddress, MultiportMatch, NatRange, PhysdevMatch,
    PortRange, RecentMatch, addr_type, ct_state, nat_flags, recent, set_flags,
};
pub use family::{Family, IpFamily, TableBackend};
pub use fields::{Comparison, Condition, Field, Load, Mapped, Op, Test, ct, meta, payload_base};
pub use hook::{BaseChain, ChainKind, Hook, Policy, iptables_priority};
pub use ids::{ChainId, RuleId, SetId};
pub use nft_read::{LenientNft, parse_nft, parse_nft_json, parse_nft_lenient};
pub use protocols::{protocol_name, protocol_number};
pub use rewrite::Rewrite;
pub use save::{LenientSave, UNREAD_RULE, parse_save, parse_save_lenient};
pub use saved::{ParseError, SavedTable};
pub use sets::{Data, Element, Set, VERDICT_DATA, data_type, field_types, set_flag, with_last_keys};
pub use statements::{Match, Statement, Target, Terminal};
pub use strings::{StrId, Strings};
pub use table::{Chain, Dialect, NfTable, Rule, TABLE_DORMANT, Table, TableCounters};
pub use verdict::{UNREAD, Unknown, Verdict};
