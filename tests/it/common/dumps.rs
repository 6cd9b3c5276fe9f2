//! Dump files against the live reader.

use super::recordings::{Place, json};
use super::{read, say};
use kptop::snapshot::dump;
use kptop::snapshot::live::{Live, Wanted};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The files of a set with these names, unpacked.
pub fn files(place: &Place, dir: &Path, names: &[&str]) -> Vec<PathBuf> {
    names
        .iter()
        .filter_map(|name| {
            let file = place.file(name);
            std::fs::write(&file, read(dir, name)?).unwrap();
            Some(file)
        })
        .collect()
}

/// Services of a snapshot's JSON, without what changes by itself between two readings: flows in conntrack.
pub fn services(text: &str) -> Vec<Value> {
    let mut all: Value = serde_json::from_str(text).unwrap();
    let Value::Array(mut services) = all["services"].take() else { panic!("no services") };
    for s in &mut services {
        // What a lookup costs hangs on the node's addresses and sysctls, too.
        s["lookup"] = Value::Null;
        // So does what is lost.
        s["health"] = Value::Null;
        s["frontends"].as_array_mut().unwrap().iter_mut().for_each(|f| f["flows"] = Value::Null);
        // ipvsadm prints real servers in the order of their addresses, the kernel lists the newest first.
        if s["mode"] == "ipvs" {
            s["backends"].as_array_mut().unwrap().sort_by_key(|b| format!("{}:{}", b["address"], b["port"]));
        }
        for b in s["backends"].as_array_mut().unwrap() {
            b["conntrack_flows"] = Value::Null;
            b["unreplied_flows"] = Value::Null;
            b["lost"] = Value::Null;
            if b["counters"]["source"] == "conntrack" {
                b["counters"] = Value::Null;
            }
        }
    }
    services
}

pub fn same_services(what: &str, live: &str, files: &[PathBuf]) {
    let snapshot = dump::read(files).unwrap();
    let failed: Vec<_> = snapshot.failed().collect();
    assert!(failed.is_empty(), "{what}: {failed:?}");
    let (live, from) = (services(live), services(&json(snapshot)));
    assert!(live.len() > 10, "{what}: {} Services", live.len());
    for (a, b) in live.iter().zip(&from) {
        for (key, value) in a.as_object().unwrap() {
            assert_eq!(value, &b[key], "{what}: {} {}: {key}", a["namespace"], a["name"]);
        }
    }
    assert_eq!(live.len(), from.len(), "{what}");
    say(&format!("{what}: {} Services", live.len()));
}

/// What the live reader reports the calling thread's namespace.
pub fn live_json() -> String {
    json(Live::open(None).unwrap().snapshot(Wanted::ALL))
}
