//! Every captured set of iptables mode gives exactly the Services of the Kubernetes objects beside it.

use crate::common::truth::{
    Version, assert_same, iptables_lines, iptables_truth, nftables_truth, userspace_truth,
};
use crate::common::{in_new_netns, load_legacy, load_nft, read, run, run_with, set, sets, versions};
use kptop::proxy::{Engine, Mode, Model, NamedBy, Names, ServiceName, State, Variant, service_hash};
use kptop::ruleset::{Family, IpFamily, TableBackend, parse_save};
use kptop::snapshot::live::{Live, Wanted};
use kptop::snapshot::{Snapshot, TableState};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A snapshot of the texts of a set.
fn from_text(dir: &Path) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for (family, file) in [(IpFamily::V4, "iptables-save-c.txt"), (IpFamily::V6, "ip6tables-save-c.txt")] {
        for saved in parse_save(&read(dir, file).unwrap_or_default(), family).unwrap() {
            snapshot.tables.push(TableState {
                at: Duration::ZERO,
                backend: TableBackend::XTables,
                family: family.into(),
                table: Arc::new(saved.table),
                counters: Arc::new(saved.counters),
                bytes: None,
                recent: None,
            });
        }
    }
    snapshot
}

#[test]
fn text_of_every_iptables_set_tells_the_services() {
    for (version, mode) in sets(&["iptables-legacy", "iptables-nft"]) {
        let dir = set(version, mode);
        let model = Model::read(&from_text(&dir), &Names::default());
        let truth = iptables_truth(&dir, Version::of(version));
        assert!(truth.len() > 100);
        assert_same(&iptables_lines(&model.services), &truth, &format!("{version}/{mode}"));
        for s in model.services.iter() {
            assert_eq!(s.named_by, Some(NamedBy::Comment));
            if let (Some(hash), Some(name)) = (&s.chain_hash, &s.name) {
                assert_eq!(*hash, service_hash(name, s.protocol));
            }
        }
        let modes: Vec<_> =
            model.services.modes.iter().map(|m| (m.engine.mode(), m.family, m.state)).collect();
        assert_eq!(modes[0], (Mode::Iptables, IpFamily::V4, State::Active));
    }
}

/// What kube-proxy does above 1,000 endpoints, and a kernel without any comment at all.
#[test]
fn names_come_from_chain_hashes_where_a_list_is_given() {
    let dir = set("1.36.2", "iptables-legacy");
    let with_comments = Model::read(&from_text(&dir), &Names::default());
    let mut snapshot = from_text(&dir);
    for t in &mut snapshot.tables {
        let mut text = String::from("*nat\n");
        if t.table.name != "nat" || t.family != Family::Ip {
            continue;
        }
        let saved = read(&dir, "iptables-save-c.txt").unwrap();
        let nat = saved.split("*nat\n").nth(1).unwrap();
        for line in nat.lines() {
            let mut line = line.to_string();
            while let Some(at) = line.find("-m comment --comment ") {
                let rest = &line[at + 21..];
                let end = if let Some(quoted) = rest.strip_prefix('"') {
                    quoted.find('"').unwrap() + 2
                } else {
                    rest.find(' ').unwrap_or(rest.len())
                };
                line.replace_range(at..at + 21 + end, "");
            }
            text.push_str(&line);
            text.push('\n');
            if line == "COMMIT" {
                break;
            }
        }
        let saved = parse_save(&text, IpFamily::V4).unwrap().remove(0);
        t.table = Arc::new(saved.table);
        t.counters = Arc::new(saved.counters);
    }
    let unnamed = Model::read(&snapshot, &Names::default());
    let hashed = unnamed.services.iter().filter(|s| s.name.is_none()).count();
    assert!(hashed > 30, "{hashed}");
    let mut names = Names::default();
    for s in with_comments.services.iter() {
        names.add(s.name.as_ref().unwrap());
    }
    let named = Model::read(&snapshot, &names);
    let cart = ServiceName::parse("shop/cart").unwrap();
    let find = |m: &Model| m.services.iter().find(|s| s.name.as_ref() == Some(&cart)).cloned().unwrap();
    let (a, b) = (find(&named), find(&with_comments));
    assert_eq!(a.named_by, Some(NamedBy::Chain));
    assert_eq!(
        a.backends.iter().map(|b| b.address).collect::<Vec<_>>(),
        b.backends.iter().map(|b| b.address).collect::<Vec<_>>()
    );
    assert_eq!(named.services.iter().filter(|s| s.name.is_none()).count(), 0);
}

/// Forms of kube-proxy after 1.36: single endpoints without a map (1.37) are read, in both spellings; a map that all Services share
/// (planned for 1.38) is not understood, and gives no backend and no verdict.
#[test]
fn forms_of_later_versions_are_read_or_not_understood() {
    use kptop::health::HealthState;
    use kptop::proxy::UnknownBackends;
    let text = include_str!("../later.nft");
    let judged = |snapshot: Snapshot| {
        let view = kptop::observe::Observer::new(Names::default()).observe(snapshot);
        let of = |name: &str| {
            let i = view.model.services.iter().position(|s| s.label() == name).unwrap();
            let s = &view.model.services[i];
            let at: Vec<String> = s.backends.iter().map(|b| format!("{}:{}", b.address, b.port)).collect();
            (at.join(" "), s.unknown_backends, view.health.get(i).unwrap().state)
        };
        assert_eq!(of("shop/single:http").0, "10.244.0.7:8080");
        assert_eq!(of("shop/single:http").1, None);
        assert_eq!(of("shop/known:http").0, "10.244.0.8:8080 10.244.1.8:8080");
        let (shared, why, state) = of("shop/shared:http");
        assert_eq!((&*shared, why), ("", Some(UnknownBackends::Unfamiliar)));
        let shared = view.model.services.iter().find(|s| s.label() == "shop/shared:http").unwrap();
        assert_eq!(shared.backend_count(), None, "not known is not 0");
        assert_eq!(state, HealthState::Unknown);
        // 1.37 cuts comments at 128 bytes: a part of a name is no name.
        assert_eq!(of("shop/empty:http").0, "");
        let cut = view.model.services.iter().find(|s| s.frontends[0].address == "10.96.2.6".parse().ok());
        assert_eq!(cut.unwrap().name, None);
    };
    let place = crate::common::recordings::Place::new("later-forms");
    for to in
        ["dnat to 10.244.0.7:8080", "dnat ip to 10.244.0.7:8080", "dnat ip addr . port to 10.244.0.7 . 8080"]
    {
        let text = text.replace("dnat to 10.244.0.7:8080", to);
        std::fs::write(place.file("rules.nft"), &text).unwrap();
        judged(kptop::snapshot::dump::read(std::slice::from_ref(&place.0)).unwrap());
        in_new_netns(move || {
            run_with("nft", &["-f", "-"], &text);
            judged(Live::open(None).unwrap().snapshot(Wanted::ALL));
        });
    }
}

/// Without an API: what kubectl printed names virtual servers, as a table and as objects.
#[test]
fn virtual_servers_get_names_from_what_kubectl_printed() {
    let dir = set("1.36.2", "ipvs-legacy");
    let place = crate::common::recordings::Place::new("names-of-virtual-servers");
    for file in ["ipvsadm-Ln.txt", "ip-addr.txt", "ipset-save.txt"] {
        std::fs::write(place.file(file), read(&dir, file).unwrap()).unwrap();
    }
    let snapshot = kptop::snapshot::dump::read(std::slice::from_ref(&place.0)).unwrap();
    let list = serde_json::from_str::<serde_json::Value>(&read(&dir, "services.json").unwrap()).unwrap();
    let mut table = String::from("NAMESPACE  NAME  TYPE  CLUSTER-IP  EXTERNAL-IP  PORT(S)  AGE\n");
    for s in list["items"].as_array().unwrap() {
        let (m, spec) = (&s["metadata"], &s["spec"]);
        let word = |v: &serde_json::Value| v.as_str().unwrap_or("<none>").to_string();
        let join = |all: Vec<String>| if all.is_empty() { "<none>".into() } else { all.join(",") };
        let ports = spec["ports"].as_array().into_iter().flatten().map(|p| match p["nodePort"].as_u64() {
            Some(n) if n > 0 => format!("{}:{n}/{}", p["port"], p["protocol"].as_str().unwrap()),
            _ => format!("{}/{}", p["port"], p["protocol"].as_str().unwrap()),
        });
        let external = spec["externalIPs"].as_array().into_iter().flatten().map(word);
        let given = s["status"]["loadBalancer"]["ingress"].as_array().into_iter().flatten();
        let external = external.chain(given.filter_map(|i| i["ip"].as_str().map(str::to_string)));
        table.push_str(&format!(
            "{}  {}  {}  {}  {}  {}  3d\n",
            word(&m["namespace"]),
            word(&m["name"]),
            word(&spec["type"]),
            word(&spec["clusterIP"]),
            join(external.collect()),
            join(ports.collect())
        ));
    }
    let of = |text: &str| {
        let file = place.file("names");
        std::fs::write(&file, text).unwrap();
        let read = kptop::snapshot::dump::read(std::slice::from_ref(&file)).unwrap();
        Model::read(&snapshot, &Names::of_cluster(&read.cluster.unwrap()))
    };
    let unnamed = |m: &Model| m.services.iter().filter(|s| s.name.is_none()).count();
    assert!(unnamed(&Model::read(&snapshot, &Names::default())) > 80);
    let objects = of(&read(&dir, "services.json").unwrap());
    assert_eq!((unnamed(&objects), objects.services.len()), (0, 45));
    // A table has only the first of two cluster IPs, and no names of ports.
    let tabled = of(&table);
    assert_eq!(tabled.services.iter().filter(|s| s.family == IpFamily::V4 && s.name.is_none()).count(), 0);
    let label =
        |m: &Model| m.services.iter().any(|s| s.label() == "shop/frontend:443" && s.frontends.len() > 2);
    assert!(label(&tabled));
}

/// The same objects in ipvs mode are the same Services as in the other modes.
#[test]
fn services_of_ipvs_mode_are_those_of_the_other_modes() {
    let read = |mode: &str| {
        let snapshot = kptop::snapshot::dump::read(&[set("1.36.2", mode)]).unwrap();
        Model::read(&snapshot, &Names::default())
    };
    let keys = |m: &Model| -> std::collections::BTreeSet<String> {
        let named = m.services.iter().filter(|s| s.is_used());
        named.map(|s| format!("{} {} {}", s.label(), s.protocol.name(), s.family)).collect()
    };
    for mode in ["ipvs-legacy", "ipvs-nft"] {
        let (ipvs, iptables) = (read(mode), read("iptables-legacy"));
        assert!(keys(&ipvs).len() > 30);
        assert_eq!(keys(&ipvs), keys(&iptables), "{mode}");
        let used = ipvs.services.iter().filter(|s| s.is_used()).count();
        assert_eq!(used, keys(&ipvs).len(), "{mode}: each Service port is one entry");
        // All of its addresses are there, and its backends once.
        for s in iptables.services.iter().filter(|s| s.is_used()) {
            let mine = ipvs
                .services
                .iter()
                .find(|i| (i.label(), i.protocol, i.family) == (s.label(), s.protocol, s.family));
            let mine = mine.unwrap();
            for f in s.frontends.iter().filter(|f| f.address.is_some()) {
                let there = mine.frontends.iter().any(|m| (m.address, m.port) == (f.address, f.port));
                assert!(there, "{mode}: {} lacks {:?}", s.label(), f);
            }
            let places: std::collections::BTreeSet<_> =
                mine.backends.iter().map(|b| (b.address, b.port)).collect();
            assert_eq!(places.len(), mine.backends.len(), "{mode}: {}", s.label());
        }
    }
}

fn with_ipvs(mut snapshot: Snapshot) -> Snapshot {
    use kptop::snapshot::facts::{Ipvs, IpvsStats, VirtualAddress, VirtualServer};
    let server = VirtualServer {
        family: IpFamily::V4,
        address: VirtualAddress::Socket { protocol: 6, address: "10.96.2.3".parse().unwrap(), port: 8080 },
        scheduler: "rr".into(),
        flags: 0,
        timeout: 0,
        netmask: u32::MAX,
        persistence_engine: None,
        stats: IpvsStats::default(),
        real_servers: Vec::new(),
    };
    let mark = VirtualServer { address: VirtualAddress::Mark(7), ..server.clone() };
    let value = Arc::new(Ipvs { servers: vec![server, mark], ..Ipvs::default() });
    snapshot.ipvs = Some(kptop::snapshot::Reading { at: Duration::ZERO, value });
    snapshot
}

#[test]
fn leftovers_of_another_mode_are_told() {
    let dir = set("1.36.2", "iptables-legacy");
    let states = |snapshot: &Snapshot| -> Vec<(Mode, State)> {
        let model = Model::read(snapshot, &Names::default());
        model
            .services
            .modes
            .iter()
            .filter(|m| m.family == IpFamily::V4)
            .map(|m| (m.engine.mode(), m.state))
            .collect()
    };
    // Rules active translate before IPVS sees a packet: what IPVS holds is stale.
    let both = with_ipvs(from_text(&dir));
    assert_eq!(states(&both), [(Mode::Iptables, State::Active), (Mode::Ipvs, State::Stale)]);
    // A Service that both hold appears once for each.
    let model = Model::read(&both, &Names::default());
    let at = |s: &&kptop::proxy::Service| s.frontends.iter().any(|f| f.address == "10.96.2.3".parse().ok());
    assert_eq!(model.services.iter().filter(at).count(), 2);
    // Nothing leads to the Services' chains any more: IPVS works, the rules are stale, and still named.
    let mut orphaned = with_ipvs(from_text(&dir));
    let text: String = read(&dir, "iptables-save-c.txt")
        .unwrap()
        .lines()
        .filter(|l| !["SERVICES ", "NODEPORTS "].iter().any(|c| l.contains(&format!("-A KUBE-{c}"))))
        .filter(|l| !l.contains("-A KUBE-EXTERNAL-SERVICES "))
        .map(|l| format!("{l}\n"))
        .collect();
    orphaned.tables.retain(|t| t.family != Family::Ip);
    for saved in parse_save(&text, IpFamily::V4).unwrap() {
        orphaned.tables.push(TableState {
            at: Duration::ZERO,
            backend: TableBackend::XTables,
            family: Family::Ip,
            table: Arc::new(saved.table),
            counters: Arc::new(saved.counters),
            bytes: None,
            recent: None,
        });
    }
    assert_eq!(states(&orphaned), [(Mode::Iptables, State::Stale), (Mode::Ipvs, State::Active)]);
    let model = Model::read(&orphaned, &Names::default());
    let cart = model.services.iter().find(|s| s.label() == "shop/cart").unwrap();
    assert_eq!((cart.frontends.len(), cart.backends.len()), (0, 4));
    assert_eq!(cart.rules_state(), kptop::proxy::RulesState::Stale);
}

/// Packets that rules refuse are counted: those of rejected Services, and those from outside source ranges.
#[test]
fn refused_packets_are_counted() {
    for version in ["1.20.2", "1.36.2"] {
        let model = Model::read(&from_text(&set(version, "iptables-legacy")), &Names::default());
        let refused = |label: &str, address: &str| {
            let mine = |s: &kptop::proxy::Service| s.label() == label && s.family == IpFamily::V4;
            let (s, figures) = model.iter().find(|(s, _)| mine(s)).unwrap();
            let f = s.frontends.iter().position(|f| f.address == address.parse().ok()).unwrap();
            (s.frontends[f].action, figures.frontend(f).refused)
        };
        use kptop::proxy::Action::{Balance, Reject};
        // The captured counters: [6:360] at the reject, [3:180] at the drop of other sources.
        assert_eq!(refused("shop/checkout:http", "10.96.2.5"), (Reject, Some(6)), "{version}");
        assert_eq!(refused("shop/frontend:http", "198.51.100.20"), (Balance, Some(3)), "{version}");
        assert_eq!(refused("shop/frontend:http", "10.96.2.2"), (Balance, None), "{version}");
        assert_eq!(refused("shop/catalog:http", "198.51.100.77"), (Balance, None), "{version}");
    }
}

/// On a real kernel, in network namespaces made for it.
mod kernel {
    use super::*;

    #[test]
    fn the_kernel_of_every_iptables_nft_set_tells_the_services() {
        for version in versions("iptables-nft") {
            in_new_netns(move || {
                let dir = set(version, "iptables-nft");
                load_nft(&dir);
                let snapshot = Live::open(None).unwrap().snapshot(Wanted::ALL);
                let model = Model::read(&snapshot, &Names::default());
                let truth = iptables_truth(&dir, Version::of(version));
                assert_same(&iptables_lines(&model.services), &truth, version);
                assert!(model.services.iter().all(|s| s.engine.variant() == Some(Variant::Nft)));
                let counted: u64 = model.iter().filter_map(|(_, figures)| figures.flows()).sum();
                assert!(counted > 20, "{version}: {counted}: the set's counters were loaded");
                let modes: Vec<_> = model.services.modes.iter().map(|m| (m.engine, m.state)).collect();
                assert_eq!(modes[0], (Engine::IptablesNft, State::Active));
            });
        }
    }

    #[test]
    fn the_kernel_of_every_legacy_set_tells_the_services() {
        for version in versions("iptables-legacy") {
            in_new_netns(move || {
                let dir = set(version, "iptables-legacy");
                load_legacy(&dir);
                let snapshot = Live::open(None).unwrap().snapshot(Wanted::ALL);
                let model = Model::read(&snapshot, &Names::default());
                assert_same(
                    &iptables_lines(&model.services),
                    &iptables_truth(&dir, Version::of(version)),
                    version,
                );
                let text = from_text(&dir);
                let from_text = Model::read(&text, &Names::default());
                for ((live, l), (text, t)) in model.iter().zip(from_text.iter()) {
                    let at =
                        |s: &kptop::proxy::Service| s.backends.iter().map(|b| b.address).collect::<Vec<_>>();
                    assert_eq!(at(live), at(text), "{}", live.label());
                    assert!(
                        l.backends().map(|b| b.flows).eq(t.backends().map(|b| b.flows)),
                        "{}",
                        live.label()
                    );
                }
                let counted: u64 = model.iter().filter_map(|(_, figures)| figures.flows()).sum();
                assert!(counted > 20, "{version}: {counted}: the set's counters were loaded");
            });
        }
    }

    #[test]
    fn the_kernel_of_every_nftables_set_tells_the_services() {
        for version in versions("nftables") {
            in_new_netns(move || {
                let dir = set(version, "nftables");
                run_with("nft", &["-f", "-"], &read(&dir, "nft-list-ruleset.txt").unwrap());
                let snapshot = Live::open(None).unwrap().snapshot(Wanted::ALL);
                let model = Model::read(&snapshot, &Names::default());
                let truth = nftables_truth(&dir, Version::of(version));
                assert!(truth.len() > 100);
                assert_same(&iptables_lines(&model.services), &truth, version);
                for (s, figures) in model.iter() {
                    let by = if s.backends.is_empty() { NamedBy::Comment } else { NamedBy::Chain };
                    assert_eq!((s.engine.mode(), s.named_by), (Mode::Nftables, Some(by)), "{}", s.label());
                    assert!(figures.frontends().all(|f| f.hits.is_none() && f.refused.is_none()));
                }
                let modes: Vec<_> =
                    model.services.modes.iter().map(|m| (m.engine.mode(), m.family, m.state)).collect();
                assert_eq!(
                    modes,
                    [
                        (Mode::Nftables, IpFamily::V4, State::Active),
                        (Mode::Nftables, IpFamily::V6, State::Active)
                    ]
                );
            });
        }
    }

    /// What a change of mode, or of iptables, leaves behind: both are shown, and which is active.
    #[test]
    fn two_modes_at_once_are_both_shown() {
        in_new_netns(|| {
            load_legacy(&set("1.36.2", "iptables-legacy"));
            load_nft(&set("1.36.2", "iptables-nft"));
            let dir = set("1.36.2", "nftables");
            run_with("nft", &["-f", "-"], &read(&dir, "nft-list-ruleset.txt").unwrap());
            let mut live = Live::open(None).unwrap();
            let model = Model::read(&live.snapshot(Wanted::ALL), &Names::default());
            let state = |m: &Model| -> Vec<_> {
                m.services
                    .modes
                    .iter()
                    .filter(|m| m.family == IpFamily::V4)
                    .map(|m| (m.engine, m.state))
                    .collect()
            };
            assert_eq!(
                state(&model),
                [
                    (Engine::Nftables, State::Active),
                    (Engine::IptablesNft, State::Stale),
                    (Engine::IptablesLegacy, State::Stale),
                ]
            );
            let cart = ServiceName::parse("shop/cart").unwrap();
            let holders: Vec<_> = model.services.iter().filter(|s| s.name.as_ref() == Some(&cart)).collect();
            assert_eq!(holders.len(), 3, "once per mode that holds it");
            // One goes: the next is active.
            run("nft", &["delete", "table", "ip", "kube-proxy"]);
            let model = Model::read(&live.snapshot(Wanted::ALL), &Names::default());
            assert_eq!(
                state(&model),
                [(Engine::IptablesNft, State::Active), (Engine::IptablesLegacy, State::Stale),]
            );
            // Rules that nothing jumps to are stale, even alone.
            for table in ["nat", "filter", "mangle"] {
                run("nft", &["delete", "table", "ip", table]);
            }
            for chain in ["PREROUTING", "OUTPUT"] {
                run("iptables-legacy", &["-t", "nat", "-F", chain]);
            }
            run("iptables-legacy", &["-t", "nat", "-F", "KUBE-SERVICES"]);
            run("iptables-legacy", &["-t", "nat", "-F", "KUBE-NODEPORTS"]);
            run("iptables-legacy", &["-t", "filter", "-F"]);
            let model = Model::read(&live.snapshot(Wanted::ALL), &Names::default());
            assert_eq!(state(&model), [(Engine::IptablesLegacy, State::Stale)]);
        });
    }

    #[test]
    fn userspace_rules_tell_the_services_and_the_ports_of_the_process() {
        in_new_netns(|| {
            let dir = set("1.20.2", "userspace-legacy");
            load_legacy(&dir);
            let snapshot = Live::open(None).unwrap().snapshot(Wanted::ALL);
            let model = Model::read(&snapshot, &Names::default());
            assert_same(
                &iptables_lines(&model.services),
                &userspace_truth(&dir, Version::of("1.20.2")),
                "userspace",
            );
            let text = read(&dir, "iptables-save-c.txt").unwrap();
            for s in model.services.iter() {
                assert_eq!(s.engine, Engine::UserspaceLegacy);
                let wanted = format!("--comment \"{}\"", s.label());
                let port = format!("REDIRECT --to-ports {}", s.proxy_port.unwrap());
                let protocol = format!("-p {} ", s.protocol.lower());
                assert!(
                    text.lines().any(|l| l.contains(&wanted) && l.contains(&protocol) && l.ends_with(&port))
                );
            }
            let modes: Vec<_> = model
                .services
                .modes
                .iter()
                .map(|m| (m.engine.mode(), m.services > 30, m.rules > 50))
                .collect();
            assert_eq!(modes, [(Mode::Userspace, true, true)]);
        });
    }
}
