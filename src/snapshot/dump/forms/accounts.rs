//! `nfacct list`.

use crate::kernel::nfacct::Object;
use crate::ruleset::Counter;
use crate::snapshot::SourceId;
use crate::snapshot::dump::glance::Glance;
use crate::snapshot::dump::reader::{Form, Found, Reader};

pub(super) static FORM: Form =
    Form { words: "nfacct list", source: SourceId::Accounts, repeats: false, is, read };

fn is(g: &Glance<'_>) -> bool {
    g.first().starts_with("{ pkts =")
}

fn read(to: &mut Reader, f: &Found) -> Result<(), String> {
    to.accounts.extend(f.text.lines().filter_map(object));
    to.unused_but(f, |l| object(l).is_some());
    Ok(())
}

/// `{ pkts = 00000000000000000007, bytes = 00000000000000000900 } = ct_state_invalid_dropped_pkts;`
fn object(line: &str) -> Option<Object> {
    let (figures, name) = line.split_once("} =")?;
    let n = |key: &str| {
        let rest = figures.split_once(key)?.1.trim_start_matches([' ', '=']);
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    };
    Some(Object {
        name: name.trim().trim_end_matches(';').to_string(),
        counter: Counter { packets: n("pkts")?, bytes: n("bytes")? },
        references: 0,
    })
}
