//! Fuzzing: what the encoder writes, altered, through the decoder, the text and the Services.

use super::fuzzed::{elements, head, rule, tables};
use super::{encode, message};
use crate::fuzz;
use crate::kernel::netlink::Request;

/// Attributes of every message of one kind that would make the tables, behind a byte that picks how they are read.
fn seeds(kind: u8) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for table in tables() {
        let messages = encode::messages(table, &Default::default()).unwrap();
        let of_kind = |r: &&Request| r.kind() == u16::from(super::SUBSYSTEM) << 8 | u16::from(kind);
        for message in messages.iter().filter(of_kind) {
            let how = all.len() as u8;
            all.push([&[how], &message.payload()[4..]].concat());
        }
    }
    all
}

/// Splits the byte off that picks.
fn picked(bytes: &[u8]) -> (u8, &[u8]) {
    bytes.split_first().map_or((0, bytes), |(how, rest)| (*how, rest))
}

#[test]
fn fuzz_rules() {
    fuzz::run("nft-rules", &seeds(message::NEWRULE), |bytes| {
        let (how, bytes) = picked(bytes);
        rule(how, bytes);
    });
}

#[test]
fn fuzz_heads() {
    let kinds = [message::NEWTABLE, message::NEWCHAIN, message::NEWSET];
    let all: Vec<Vec<u8>> = kinds.into_iter().flat_map(seeds).collect();
    fuzz::run("nft-heads", &all, |bytes| head(picked(bytes).1));
}

#[test]
fn fuzz_elements() {
    fuzz::run("nft-elements", &seeds(message::NEWSETELEM), |bytes| {
        let (how, bytes) = picked(bytes);
        elements(how, bytes);
    });
}
