//! `nft list ruleset`, whole or single tables and chains, with handles or without (`-a`, `-n`, `-nn`, `-s`, `-t`); and its JSON.

use crate::ruleset::{parse_nft_json, parse_nft_lenient};
use crate::snapshot::dump::glance::{Glance, without_handles};
use crate::snapshot::dump::json;
use crate::snapshot::dump::reader::{Form, Found, Reader};
use crate::snapshot::{SourceId, UnreadKind};

pub(super) static FORM: Form =
    Form { words: "nft list ruleset", source: SourceId::NfTables, repeats: true, is, read };

pub(super) static JSON: Form = Form {
    words: "nft -j list ruleset",
    source: SourceId::NfTables,
    repeats: false,
    is: is_json,
    read: read_json,
};

fn is(g: &Glance<'_>) -> bool {
    g.any(20, |l| l.starts_with("table ") && without_handles(l).trim_end().ends_with('{'))
}

fn read(to: &mut Reader, f: &Found) -> Result<(), String> {
    let read = parse_nft_lenient(&without_handles(&f.text));
    if read.tables.is_empty() {
        let why =
            read.cut.as_ref().or(read.errors.first()).map_or("it has no table".into(), ToString::to_string);
        return Err(why);
    }
    if let Some(why) = &read.cut {
        to.unread(f, SourceId::NfTables, UnreadKind::Failed, why.to_string());
    }
    // What is left out may be a rule; what is kept as text is there.
    to.lines_lost(f, &read.errors, (SourceId::NfTables, UnreadKind::Failed), " not understood");
    to.lines_lost(f, &read.kept, (SourceId::Other, UnreadKind::Missing), " not understood");
    to.take_nft(f, read.tables);
    Ok(())
}

fn is_json(g: &Glance<'_>) -> bool {
    g.json().contains("\"nftables\"")
}

fn read_json(to: &mut Reader, f: &Found) -> Result<(), String> {
    let tables = match parse_nft_json(&f.text) {
        Ok(tables) => tables,
        Err(first) => {
            let (value, why) = json::read(&f.text)?;
            let why = why.unwrap_or_else(|| first.to_string());
            to.unread(f, SourceId::NfTables, UnreadKind::Failed, why);
            parse_nft_json(&value.to_string()).map_err(|e| e.to_string())?
        }
    };
    to.take_nft(f, tables);
    Ok(())
}
