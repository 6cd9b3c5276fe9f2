//! Recordings in tests.

use super::say;
use kptop::lab::{Lab, LabOptions, shop};
use kptop::observe::Observer;
use kptop::output::write_snapshot_json;
use kptop::proxy::{Engine, Names};
use kptop::recording::{FileWriter, Head, Recording, Ring};
use kptop::snapshot::Snapshot;
use kptop::snapshot::live::{Live, Wanted};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A path in a directory of its own, which goes with it.
pub struct Place(pub PathBuf);

impl Place {
    pub fn new(name: &str) -> Place {
        let dir = std::env::temp_dir().join(format!("kptop-recording-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        Place(dir)
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub fn json(snapshot: Snapshot) -> String {
    let mut out = Vec::new();
    let view = Observer::new(Names::default()).observe(snapshot);
    write_snapshot_json(&view, true, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// Readings of the shop in this mode, with its traffic.
fn live(engine: Engine, readings: usize) -> Vec<Snapshot> {
    let services = shop::services(None, 4);
    let options = LabOptions { engine, plan: shop::plan(&services, 1.0), services };
    std::thread::spawn(move || {
        let lab = Lab::start(&options).unwrap();
        let mut live = Live::enter(lab.node()).unwrap();
        let mut all = Vec::new();
        for _ in 0..readings {
            all.push(live.snapshot(Wanted::ALL));
            std::thread::sleep(Duration::from_millis(300));
        }
        all
    })
    .join()
    .unwrap()
}

fn record(path: &Path, snapshots: &[Snapshot]) {
    let mut writer = FileWriter::create(path, &Head::new(Duration::from_secs(1), false)).unwrap();
    snapshots.iter().for_each(|s| writer.write(s).unwrap());
}

/// A recording of the shop in this mode holds what was live, in a file and in memory.
pub fn replays_as_it_was(engine: Engine) {
    let place = Place::new(engine.name());
    let file = place.file("a.rec");
    let snapshots = live(engine, 5);
    record(&file, &snapshots);
    let mut recording = Recording::open(&file).unwrap();
    assert_eq!((recording.len(), recording.cut()), (5, None));
    // In any order.
    for i in [4, 0, 2, 1, 3] {
        let was = json(snapshots[i].clone());
        assert_eq!(json(recording.snapshot(i).unwrap()), was, "reading {i}");
        assert!(was.contains("frontend"), "the shop is in it");
    }
    // In memory it is the same.
    let mut ring = Ring::new(Head::default(), usize::MAX, Duration::MAX);
    snapshots.iter().for_each(|s| ring.push(s).unwrap());
    let mut recording = ring.recording();
    assert_eq!(json(recording.snapshot(3).unwrap()), json(snapshots[3].clone()));
    // What did not change is shared, so that nothing is understood again.
    let (a, b) = (recording.snapshot(1).unwrap(), recording.snapshot(2).unwrap());
    assert!(a.tables.iter().zip(&b.tables).all(|(a, b)| Arc::ptr_eq(&a.table, &b.table)));
    say(&format!("{}: {} bytes", engine.name(), std::fs::metadata(&file).unwrap().len()));
}
