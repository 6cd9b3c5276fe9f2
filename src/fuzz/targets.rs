//! What is fuzzed: one function for each kind of bytes that come from outside. None of them may panic, run for
//! seconds, or take more than some hundred megabytes.

use super::nf_tables;
use crate::columns::Filter;
use crate::config::Config;
use crate::explain::{Sender, destinations, explain, frontend_destination};
pub use crate::kernel::fuzz::messages;
use crate::kernel::xtables::{TableInfo, decode};
use crate::observe::Observer;
use crate::output;
use crate::proxy::Names;
use crate::recording::Recording;
use crate::ruleset::IpFamily;
use crate::snapshot::{Snapshot, dump};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

/// Splits the first byte off, which picks what is done with the rest.
fn picked(bytes: &[u8]) -> (u8, &[u8]) {
    bytes.split_first().map_or((0, bytes), |(how, rest)| (*how, rest))
}

/// Begins a file in [`files`]; the rest of its line is the file's name.
pub const FILE: &str = "#### ";

/// Text files that people send each other, several in one input: read, judged, walked and printed in every form.
pub fn files(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let texts = text.split(FILE).filter(|t| !t.is_empty()).map(|file| {
        let (name, text) = file.split_once('\n').unwrap_or(("", file));
        (name.to_string(), text.to_string())
    });
    if let Ok(snapshot) = dump::of_texts(texts) {
        let mut observer = Observer::new(Names::default());
        show(&mut observer, snapshot);
    }
}

/// Everything that is said of a snapshot, thrown away.
fn show(observer: &mut Observer, snapshot: Snapshot) {
    let view = observer.observe(snapshot);
    let mut out = std::io::sink();
    let _ = output::write_snapshot_json(&view, false, &mut out);
    let _ = output::write_snapshot_csv(&view, &mut out);
    let _ = output::write_snapshot_table(&view, true, Some(80), &mut out);
    let (examination, services) = (&view.examination, view.model.services.len());
    let _ = output::write_examination(examination, (&view.snapshot, &view.model), true, Some(80), &mut out);
    let all = output::Cardinality { node_name: None, services: 9, backends: 9, namespaces: Vec::new() };
    let samples = output::samples(&view, Duration::ZERO, Duration::ZERO, &all);
    let _ = output::open_metrics(samples).map(|text| output::prometheus_text(&text));
    for service in 0..services.min(3) {
        let Some(to) = frontend_destination(&view.snapshot, &view.model, service, 0) else { continue };
        for sender in [Sender::Node, Sender::Outside, Sender::Pod] {
            if let Ok(answer) = explain(&view.snapshot, &view.model, &to, sender, None) {
                let lines = answer.lines(&view.snapshot, &view.model, 20);
                let _ = output::write_explanation(&lines, Some(80), &mut out);
                let _ = output::write_explanation_json(&answer, &view.snapshot, &view.model, false, &mut out);
            }
        }
    }
}

/// Attributes of nf_tables' messages, behind a byte that says which and one that says how they are read.
pub fn nf_tables(bytes: &[u8]) {
    let (what, bytes) = picked(bytes);
    let (how, bytes) = picked(bytes);
    match what % 3 {
        0 => nf_tables::rule(how, bytes),
        1 => nf_tables::elements(how, bytes),
        _ => nf_kernel::nftables::fuzzed::head(bytes),
    }
}

/// A table of x_tables as the kernel gives it: a byte for the family, where the hooks and their policies are (ten
/// numbers of 16 bits, in units of 8 bytes), and the entries.
pub fn x_tables(bytes: &[u8]) {
    let Some((head, blob)) = bytes.split_at_checked(21) else { return };
    let family = if head[0] & 1 == 0 { IpFamily::V4 } else { IpFamily::V6 };
    let at = |i: usize| u32::from(u16::from_le_bytes([head[1 + 2 * i], head[2 + 2 * i]])) * 8;
    let info = TableInfo {
        name: if head[0] & 2 == 0 { "nat" } else { "filter" }.into(),
        valid_hooks: 0x1f,
        hook_entry: std::array::from_fn(at),
        underflow: std::array::from_fn(|i| at(5 + i)),
        num_entries: 0,
        size: blob.len() as u32,
    };
    if let Ok(decoded) = decode(family, &info, blob, &mut |i| (i % 2 == 0).then(|| format!("set{i}"))) {
        for rule in &decoded.table.rules {
            let _ = decoded.table.rule_text(rule).to_string();
        }
    }
}

/// A recording, from its index to what is shown of its readings.
pub fn recording(bytes: &[u8]) {
    // It is read from its end, too: it must be a file.
    let path = std::env::temp_dir().join(format!("kptop-fuzz-{}.rec", std::process::id()));
    let written = std::fs::File::create(&path).and_then(|mut f| f.write_all(bytes));
    if written.is_ok() {
        read_recording(&path);
    }
    let _ = std::fs::remove_file(&path);
}

fn read_recording(path: &Path) {
    let Ok(mut recording) = Recording::open(path) else { return };
    let mut observer = Observer::new(Names::default());
    for i in 0..recording.len().min(3) {
        if let Ok(snapshot) = recording.snapshot(i) {
            show(&mut observer, snapshot);
        }
    }
}

/// Lists of objects as `kubectl get -o json` prints them.
pub fn objects(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(value) = serde_json::from_str(&text) {
        let _ = crate::api::read_list([("fuzzed".to_string(), value)]);
    }
}

/// What people type: filters, the config file, destinations, names of Services.
pub fn words(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = Filter::parse(&text);
    let _ = Config::parse(&text);
    let _ = Names::parse(&text);
    let _ = destinations(&Snapshot::default(), &Default::default(), &text);
}

#[cfg(test)]
mod tests {
    use super::super::run;
    use super::*;
    use crate::kernel::xtables::encode;
    use std::fs;
    use std::path::PathBuf;

    /// A text of `tests`, unpacked.
    fn text_of(path: &Path) -> String {
        let bytes = fs::read(path).unwrap();
        let mut text = String::new();
        match path.extension().is_some_and(|e| e == "gz") {
            true => {
                let mut unpacked = flate2::read::GzDecoder::new(&bytes[..]);
                std::io::Read::read_to_string(&mut unpacked, &mut text).unwrap();
            }
            false => text = String::from_utf8(bytes).unwrap(),
        }
        text
    }

    fn sets() -> Vec<PathBuf> {
        let mut all = Vec::new();
        for version in ["1.20.2", "1.30.5", "1.36.2"] {
            let modes = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rules").join(version));
            all.extend(modes.unwrap().map(|m| m.unwrap().path().join("small")).filter(|p| p.is_dir()));
        }
        all.sort();
        assert!(all.len() > 3, "{all:?}");
        all
    }

    fn files_of(dir: &Path) -> Vec<(String, String)> {
        let mut all = Vec::new();
        for entry in fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_file()) {
            let name = entry.file_name().unwrap().to_string_lossy().replace(".gz", "");
            all.push((name.replace(".txt", ""), text_of(&entry)));
        }
        all.sort();
        all
    }

    #[test]
    fn fuzz_files() {
        // Each file cut short, so that a run takes little time, and some together.
        let (mut all, mut together) = (Vec::new(), Vec::new());
        for set in sets() {
            for (name, text) in files_of(&set) {
                let end = text.floor_char_boundary(6_000);
                let end = text[..end].rfind('\n').unwrap_or(end);
                let whole_json = name.ends_with("json") && text.len() > 6_000;
                let mut cut = format!("{FILE}{name}\n{}", if whole_json { "" } else { &text[..end] });
                if name.contains("tables-save") && !cut.ends_with("COMMIT") {
                    cut.push_str("\nCOMMIT\n");
                }
                together.extend(cut.bytes().take(4_000));
                all.push(cut.into_bytes());
            }
            all.push(std::mem::take(&mut together));
        }
        run("files", &all, files);
    }

    #[test]
    fn fuzz_xtables() {
        let mut seeds = Vec::new();
        for family in [IpFamily::V4, IpFamily::V6] {
            let services = crate::lab::shop::services(None, 2);
            for (table, _) in crate::proxy::iptables::write(&services[..4], family, &Default::default()) {
                let e = encode(&table).unwrap();
                let mut seed = vec![u8::from(family == IpFamily::V6) | u8::from(table.name == "filter") << 1];
                for at in e.hook_entry.iter().chain(&e.underflow) {
                    seed.extend(((at / 8) as u16).to_le_bytes());
                }
                seed.extend(&e.blob);
                seeds.push(seed);
            }
        }
        run("x-tables", &seeds, x_tables);
    }

    #[test]
    fn fuzz_recording() {
        let seed = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings/1.rec")).unwrap();
        run("recording", &[seed], recording);
    }

    #[test]
    fn fuzz_objects() {
        let mut seeds = Vec::new();
        for set in sets() {
            for (_, text) in files_of(&set).into_iter().filter(|f| f.0.ends_with(".json")) {
                let Ok(mut list) = serde_json::from_str::<serde_json::Value>(&text) else { continue };
                if let Some(items) = list.get_mut("items").and_then(|i| i.as_array_mut()) {
                    items.truncate(2);
                    seeds.push(list.to_string().into_bytes());
                }
            }
        }
        run("objects", &seeds, objects);
    }

    #[test]
    fn fuzz_words() {
        let seeds = [
            "ns:shop proto:udp state:rejecting flows>10 -kube",
            "interval = 0.5\nservices = { filter = \"flows>1\", columns = [\"name\"] }\n[keys]\nquit = \"x\"\n",
            "shop/cart:http",
            "[fd00::1]:80/udp",
            "10.96.0.1:443",
        ];
        run("words", &seeds.map(|s| s.as_bytes().to_vec()), words);
    }
}
