//! Native rules and elements as `nft list` prints them (checked against nftables 1.0.6 in `tests/it/kernel/nftables.rs`).

mod conditions;
mod elements;
pub(crate) mod fields;
mod rule;
mod statements;
mod translation;
pub(crate) mod values;
mod words;
mod writer;

pub(crate) use elements::{ElementText, element_texts};
pub(crate) use rule::{rule, single, terminal};
