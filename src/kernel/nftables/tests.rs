//! Fuzzing: what the encoder writes, altered, through the decoder, the text and the Services.

use super::fuzzed::tables;
use super::{encode, message};
use crate::fuzz::{run, targets};
use crate::kernel::netlink::Request;

/// Attributes of every message of one kind that would make the tables, as [`targets::nf_tables`] takes them: behind a byte
/// that says what they are, and one that picks how they are read.
fn seeds(what: u8, kind: u8) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for table in tables() {
        let messages = encode::messages(table, &Default::default()).unwrap();
        let of_kind = |r: &&Request| r.kind() == u16::from(super::SUBSYSTEM) << 8 | u16::from(kind);
        for message in messages.iter().filter(of_kind) {
            let how = all.len() as u8;
            all.push([&[what, how], &message.payload()[4..]].concat());
        }
    }
    all
}

#[test]
fn fuzz_rules() {
    run("nft-rules", &seeds(0, message::NEWRULE), targets::nf_tables);
}

#[test]
fn fuzz_elements() {
    run("nft-elements", &seeds(1, message::NEWSETELEM), targets::nf_tables);
}

#[test]
fn fuzz_heads() {
    let kinds = [message::NEWTABLE, message::NEWCHAIN, message::NEWSET];
    let all: Vec<Vec<u8>> = kinds.into_iter().flat_map(|kind| seeds(2, kind)).collect();
    run("nft-heads", &all, targets::nf_tables);
}
