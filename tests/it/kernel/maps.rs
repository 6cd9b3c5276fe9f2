//! Maps of other proxies in a real kernel: written by `bpf(2)` into a bpffs that nobody else sees, and read as those of a node are.

use crate::common::{in_new_netns, run};
use kptop::kernel::maps::BpfMap;
use kptop::kernel::maps::make::Bpffs;
use kptop::lab::shop;
use kptop::observe::Observer;
use kptop::proxy::ebpf::{calico, cilium};
use kptop::proxy::{Engine, Model, Names, Service};
use kptop::snapshot::live::{Live, Wanted};
use kptop::snapshot::{SourceId, UnreadKind};

fn shop_of(maps: &[BpfMap]) -> (Bpffs, kptop::snapshot::Snapshot) {
    let bpffs = Bpffs::new().unwrap();
    maps.iter().for_each(|m| bpffs.pin(m).unwrap());
    let path = bpffs.path();
    let snapshot =
        in_new_netns(move || Live::open(None).unwrap().with_maps(Some(path)).snapshot(Wanted::ALL));
    (bpffs, snapshot)
}

#[test]
fn the_shop_as_cilium_and_calico_hold_it() {
    let services = shop::services(Some(2_000), 4);
    for (maps, engine) in
        [(cilium::write(&services), Engine::Cilium), (calico::write(&services, &[]), Engine::CalicoEbpf)]
    {
        let (_bpffs, snapshot) = shop_of(&maps);
        assert!(snapshot.unread.iter().all(|u| u.source != SourceId::ServiceMaps), "{:?}", snapshot.unread);
        assert_eq!(snapshot.maps.as_deref().unwrap().len(), maps.len());
        let model = Model::read(&snapshot, &Names::default());
        let direct = Model::read(
            &kptop::snapshot::Snapshot { maps: Some(maps.into()), ..kptop::snapshot::Snapshot::default() },
            &Names::default(),
        );
        let of = |m: &Model| m.services.iter().cloned().collect::<Vec<Service>>();
        assert_eq!(of(&model), of(&direct));
        assert!(model.services.iter().filter(|s| s.engine == engine).count() > 2_000);
        let view = Observer::new(Names::default()).observe(snapshot);
        assert!(view.examination.findings.iter().all(|f| f.id != "two_proxies"));
    }
}

/// A layout of a later version is named, and nothing of it is guessed; the others are read.
#[test]
fn sizes_that_are_not_known_are_said() {
    let mut maps = cilium::write(&shop::services(None, 4));
    for m in maps.iter_mut().filter(|m| m.name == "cilium_lb4_backends_v3") {
        let entries: Vec<_> = m.entries().map(|(k, v)| (k.to_vec(), [v, &[0; 4]].concat())).collect();
        m.value_size += 4;
        m.set_entries(entries);
    }
    let (bpffs, snapshot) = shop_of(&maps);
    let said: Vec<_> = snapshot.unread.iter().filter(|u| u.source == SourceId::ServiceMaps).collect();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].what.contains("cilium_lb4_backends_v3") && said[0].why.contains("values of 16 bytes"));
    assert_eq!(said[0].kind, UnreadKind::Failed);
    drop(bpffs);
}

#[test]
fn without_a_bpffs_nothing_is_missed() {
    let snapshot = in_new_netns(|| {
        let live = Live::open(None).unwrap().with_maps(Some("/nonexistent".into()));
        { live }.snapshot(Wanted::ALL)
    });
    assert!(snapshot.unread.iter().all(|u| u.source != SourceId::ServiceMaps));
    assert!(snapshot.maps.is_some_and(|m| m.is_empty()));
}

/// The demo: names by objects, and no word of kube-proxy.
#[test]
fn the_demo_shows_the_shop_as_cilium_holds_it() {
    let kptop = env!("CARGO_BIN_EXE_kptop");
    let text = run(kptop, &["demo", "--mode", "cilium", "-o", "json", "--for", "0"]);
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["proxy"]["name"], "cilium");
    let services = json["services"].as_array().unwrap();
    assert_eq!(services.len(), 35);
    assert!(services.iter().all(|s| s["mode"] == "cilium" && s["namespace"].is_string()));
    let invoices = services.iter().find(|s| s["name"] == "invoices").unwrap();
    assert_eq!(invoices["health"]["state"], "no_endpoints");
}
