//! Every fuzz target in one program; `KPTOP_FUZZ_TARGET` says which.

#![no_main]

use kptop::fuzz::targets;
use libfuzzer_sys::fuzz_target;
use std::sync::OnceLock;

const TARGETS: [(&str, fn(&[u8])); 7] = [
    ("files", targets::files),
    ("nf-tables", targets::nf_tables),
    ("x-tables", targets::x_tables),
    ("messages", targets::messages),
    ("recording", targets::recording),
    ("objects", targets::objects),
    ("words", targets::words),
];

fn target() -> fn(&[u8]) {
    static CHOSEN: OnceLock<fn(&[u8])> = OnceLock::new();
    *CHOSEN.get_or_init(|| {
        let wanted = std::env::var("KPTOP_FUZZ_TARGET").unwrap_or_default();
        match TARGETS.iter().find(|t| t.0 == wanted) {
            Some((_, target)) => *target,
            None => panic!("KPTOP_FUZZ_TARGET is `{wanted}`: choose one of {:?}", TARGETS.map(|t| t.0)),
        }
    })
}

fuzz_target!(|bytes: &[u8]| target()(bytes));
