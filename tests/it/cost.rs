//! explain, compare, calibrate and bench as a user meets them, and what they say of data made for the purpose.

use crate::common::{say, set, versions};
use kptop::cost::{Difference, Prices, compare_modes, moving};
use kptop::kube_proxy::Config;
use kptop::lab::shop;
use kptop::proxy::{Engine, Mode, Model, Names, Service, iptables, nftables};
use kptop::ruleset::{
    BaseChain, ChainKind, Counter, Family, Hook, IpFamily, Match, Policy, TableBackend, TableBuilder, Target,
    parse_save,
};
use kptop::snapshot::facts::{InterfaceAddress, KubeProxy, Node};
use kptop::snapshot::{Snapshot, TableState};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// Runs it with what was calibrated in this folder.
fn kptop_at(state: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kptop"));
    command.args(args).env("XDG_STATE_HOME", state).stdin(Stdio::null()).output().unwrap()
}

/// What this machine's user has calibrated must not matter.
fn kptop(args: &[&str]) -> Output {
    kptop_at(&std::env::temp_dir().join("kptop-tests-no-state"), args)
}

fn json(args: &[&str]) -> (Value, i32) {
    let out = kptop(args);
    let err = String::from_utf8_lossy(&out.stderr).into_owned();
    let value = serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{args:?}: {e}: {err}"));
    (value, out.status.code().unwrap())
}

#[test]
fn explain_tells_backends_odds_and_rules_in_every_mode() {
    for mode in ["iptables", "iptables-nft", "nftables"] {
        let (e, code) = json(&["explain", "--demo", mode, "shop/frontend:http", "-o", "json"]);
        assert_eq!((code, e["schema"].as_str()), (0, Some("kptop.explain/1")));
        let wanted = if mode == "nftables" { "nftables" } else { "iptables" };
        assert_eq!(e["mode"], wanted);
        assert_eq!(e["packet"]["destination"], "10.96.2.8");
        let outcomes = e["outcomes"].as_array().unwrap();
        assert_eq!(outcomes.len(), 6);
        let sum: f64 = outcomes.iter().map(|o| o["probability"].as_f64().unwrap()).sum();
        assert!((sum - 1.0).abs() < 1e-6, "{sum}");
        for o in outcomes {
            assert_eq!((o["verdict"].as_str(), o["masquerade"].as_bool()), (Some("dnat"), Some(false)));
            assert_eq!(o["backend"]["port"], 8080);
            let steps = o["steps"].as_array().unwrap();
            let evaluated: u64 = steps.iter().map(|s| s["evaluated"].as_u64().unwrap()).sum();
            assert_eq!(Some(evaluated), o["rules_evaluated"].as_u64());
            assert!(steps.iter().all(|s| s["hook"].is_string() && s["text"].is_string()));
        }
        assert_eq!(e["steps"], outcomes[0]["steps"]);
        // From outside of the cluster it is masqueraded.
        let (e, _) = json(&["explain", "--demo", mode, "10.96.2.8:80", "--client", "outside", "-o", "json"]);
        assert_eq!(e["service"], "shop/frontend:http");
        assert!(e["outcomes"].as_array().unwrap().iter().all(|o| o["masquerade"] == true));
        // A Service without endpoints, a source outside the ranges, a Service that is not there.
        let (e, code) = json(&["explain", "--demo", mode, "shop/payments", "--client", "node", "-o", "json"]);
        assert_eq!((code, e["outcomes"][0]["verdict"].as_str()), (1, Some("reject")));
        assert!(e["outcomes"][0]["text"].as_str().unwrap().contains("kube-proxy"), "{e}");
        let to = ["explain", "--demo", mode, "198.51.100.20:443", "--client", "198.18.0.9", "-o", "json"];
        let (e, code) = json(&to);
        assert_eq!((code, e["outcomes"][0]["verdict"].as_str()), (1, Some("drop")));
        // Node ports on localhost: iptables mode alone serves them.
        let local = ["explain", "--demo", mode, "127.0.0.1:30080/tcp", "--client", "node", "-o", "json"];
        let (e, code) = json(&local);
        let verdict = if mode == "nftables" { "accept" } else { "dnat" };
        assert_eq!((code, e["outcomes"][0]["verdict"].as_str()), (0, Some(verdict)));
        let (e, code) = json(&["explain", "--demo", mode, "203.0.113.80", "-o", "json"]);
        assert_eq!((code, e["service"].as_str(), e["mode"].as_str()), (0, None, None));
        assert_eq!(e["outcomes"][0]["verdict"], "accept");
        // Port, protocol, who represents a pod, and by which interface it comes in.
        assert_eq!(e["notes"].as_array().unwrap().len(), 4, "{}", e["notes"]);
    }
}

#[test]
fn explain_asks_back_where_a_question_means_several_things() {
    for (question, part) in [
        (&["kube-dns"][..], "10.96.0.10:53/udp"),
        (&["no-such-service"], "no Service `no-such-service`"),
        (&["shop/fronten"], "there is shop/frontend"),
        (&["shop/frontend:99"], "it has 80/tcp, 30080/tcp"),
        (&["10.96.2.8:99999"], "is no port"),
        (&["10.96.2.8:80/icmp"], "tcp, udp or sctp"),
        (&["255.255.255.255:80"], "no address of one host"),
        (&["sh\u{1b}[31mop"], "sh\\u{1b}[31mop"),
        (&["10.96.2.8:80", "--client", "moon"], "neither pod, outside, node"),
        (&["10.96.2.8:80", "--client", "fd00::1"], "one is IPv4, the other IPv6"),
    ] {
        let args = [&["explain", "--demo", "iptables"][..], question].concat();
        let out = kptop(&args);
        let err = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{question:?} {err}");
        assert!(err.contains(part), "{question:?}: {err}");
    }
    let out = kptop(&["explain", "--demo", "iptables", "kube-dns:dns"]);
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(text.contains("kube-system/kube-dns:dns, cluster IP") && text.contains("PREROUTING"), "{text}");
}

#[test]
fn compare_keeps_the_contract_and_counts_what_is_there() {
    for (mode, running) in [("iptables", 0), ("iptables-nft", 1), ("nftables", 3)] {
        let (c, code) = json(&["compare", "--demo", mode, "--over", "0.3", "-o", "json"]);
        assert_eq!((code, c["schema"].as_str()), (0, Some("kptop.compare/1")));
        assert_eq!((c["services"].as_u64(), c["backends"].as_u64()), (Some(35), Some(90)));
        let modes = c["modes"].as_array().unwrap();
        assert_eq!(modes.len(), 4);
        for (i, m) in modes.iter().enumerate() {
            assert_eq!(m["running"].as_bool(), Some(i == running), "{m}");
            assert_eq!(m["estimate_from"], "defaults");
            let lookup = &m["lookup"];
            for kind in ["rules", "first_packet_ns"] {
                let at = |name: &str| lookup[kind][name].as_f64().unwrap();
                assert!(at("min") > 0.0 && at("min") <= at("mean") && at("mean") <= at("max"), "{lookup}");
                assert!(at("p95") <= at("max"));
            }
            assert!(lookup["per_packet_ns"].as_f64().unwrap() > 0.0);
            assert_eq!(m["kernel_bytes"].is_null(), i != 0, "{m}");
        }
        // Written or real, the same Services make as many rules, but for the one that counts twice.
        let rules: Vec<u64> = modes.iter().map(|m| m["rules"].as_u64().unwrap()).collect();
        assert!(rules[0].abs_diff(rules[1]) <= 2 && rules[2] < 100 && rules[3] < 150, "{rules:?}");
        assert!(!c["verdict"].as_array().unwrap().is_empty() && c["moving"].is_null());
    }
    let out = kptop(&["compare", "--demo", "iptables", "--services", "2000"]);
    let text = String::from_utf8_lossy(&out.stdout);
    for part in ["active", "projected", "Services that gain most", "drawn again at each full sync"] {
        assert!(text.contains(part), "{text}");
    }
}

/// What kptop predicts of a mode, from a node in another one, is what kube-proxy of that version wrote in it for the same objects:
/// rules within 2 %, the rules that a first packet meets within 4 % (the order of `KUBE-SERVICES` is drawn at each full sync).
#[test]
fn projected_modes_are_as_kube_proxy_wrote_them() {
    let engines = [Engine::IptablesLegacy, Engine::IptablesNft, Engine::Nftables, Engine::Ipvs];
    let folder = |e: Engine| if e == Engine::Ipvs { "ipvs-legacy" } else { e.name() };
    let holds = |version: &str, e: Engine| versions(folder(e)).contains(&version);
    let compared = |version: &str, e: Engine| {
        let mut snapshot = kptop::snapshot::dump::read(&[set(version, folder(e))]).unwrap();
        // As its /metrics report it.
        let logged_version = Some(version.to_string());
        snapshot.kube_proxy = Some(Arc::new(KubeProxy { logged_version, ..KubeProxy::default() }));
        let model = Model::read(&snapshot, &Names::default());
        compare_modes(&snapshot, &model, &Prices::default())
    };
    let (mut tried, mut worst) = (0, [0.0_f64; 2]);
    let all: std::collections::BTreeSet<&str> =
        engines.into_iter().flat_map(|e| versions(folder(e))).collect();
    for version in all {
        let here: Vec<Engine> = engines.into_iter().filter(|e| holds(version, *e)).collect();
        for from in &here {
            let c = compared(version, *from);
            for to in here.iter().filter(|to| *to != from) {
                let (projected, real) = (c.mode(*to).unwrap(), compared(version, *to));
                let real = real.mode(*to).unwrap();
                assert!(real.running && !projected.running);
                let off = |a: f64, b: f64| (a - b).abs() / b;
                let rules = off(projected.rules as f64, real.rules as f64);
                let met = off(projected.evaluated.unwrap().mean, real.evaluated.unwrap().mean);
                let what = format!("{version} {} to {}", from.name(), to.name());
                say(&format!(
                    "{what}: {} of {} rules, {:.1} of {:.1} met",
                    projected.rules,
                    real.rules,
                    projected.evaluated.unwrap().mean,
                    real.evaluated.unwrap().mean
                ));
                worst = [worst[0].max(rules), worst[1].max(met)];
                tried += 1;
            }
        }
    }
    say(&format!(
        "{tried} pairs; rules at most {:.1} % off, met {:.1} %",
        worst[0] * 100.0,
        worst[1] * 100.0
    ));
    assert!(tried >= 30 && worst[0] <= 0.02 && worst[1] <= 0.04, "{tried} {worst:?}");
}

#[test]
fn a_move_is_told_with_its_reasons() {
    let (c, code) = json(&["compare", "--demo", "iptables", "--to", "nftables", "-o", "json"]);
    assert_eq!(code, 1);
    let ids: Vec<&str> = c["moving"].as_array().unwrap().iter().map(|d| d["id"].as_str().unwrap()).collect();
    let wanted = [
        "localhost-node-ports",
        "route-localnet",
        "node-port-addresses",
        "cluster-ip-ports",
        "affinity",
        "external-ips-go",
        "clean-up",
    ];
    assert_eq!(ids, wanted);
    let out = kptop(&["compare", "--demo", "nftables", "--to", "nftables"]);
    assert_eq!(out.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&out.stdout).contains("Nothing would change"));
}

/// A node in iptables mode, of these Services.
fn node(services: &[Service], kernel: &str) -> Snapshot {
    let tables = iptables::write(services, IpFamily::V4, &Default::default());
    let own = |interface: &str, address: &str| InterfaceAddress {
        prefix: None,
        interface: interface.into(),
        address: address.parse().unwrap(),
    };
    Snapshot {
        node: Arc::new(Node { kernel: Some(kernel.into()), ..Node::default() }),
        tables: tables
            .into_iter()
            .map(|(t, c)| TableState::new(Duration::ZERO, Arc::new(t), Arc::new(c)))
            .collect(),
        addresses: Arc::new(vec![own("eth0", "192.0.2.1"), own("eth1", "198.18.0.1")]),
        ..Snapshot::default()
    }
}

fn differences(snapshot: &Snapshot, to: Mode) -> Vec<Difference> {
    moving(snapshot, &Model::read(snapshot, &Names::default()), to)
}

fn has(all: &[Difference], id: &str, evidence: &str) -> bool {
    all.iter().any(|d| d.id == id && d.evidence.iter().any(|e| e.contains(evidence)))
}

#[test]
fn what_is_on_the_node_decides_what_a_move_changes() {
    let services = shop::services(None, 4);
    let mut s = node(&services, "5.10.0-30-amd64");
    let all = differences(&s, Mode::Nftables);
    assert!(all[0].blocks && all[0].id == "kernel-too-old", "{all:?}");
    assert!(has(&all, "node-port-addresses", "198.18.0.1 on eth1"));
    assert!(!all.iter().any(|d| d.id == "jumps-into-kube-chains" || d.id == "other-hooks"), "{all:?}");
    s = node(&services, "6.1.0");
    assert!(!differences(&s, Mode::Nftables).iter().any(|d| d.blocks));
    // A user's own rules that use kube-proxy's chains and mark, and a firewall.
    let text = "*nat\n:PREROUTING ACCEPT [0:0]\n:KUBE-MARK-MASQ - [0:0]\n:MINE - [0:0]\n\
                -A PREROUTING -j MINE\n-A MINE -d 192.0.2.80/32 -j KUBE-MARK-MASQ\n\
                -A MINE -d 192.0.2.81/32 -j MARK --set-xmark 0x4000/0x4000\n\
                -A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000\nCOMMIT\n";
    let mine = parse_save(text, IpFamily::V4).unwrap().remove(0);
    s.tables.push(TableState::new(Duration::ZERO, Arc::new(mine.table), Arc::new(mine.counters)));
    let mut b = TableBuilder::new(Family::Inet, TableBackend::NfTables, "firewalld");
    b.dialect = kptop::ruleset::Dialect::Nft;
    let chain = b.chain("filter_FORWARD");
    let base =
        BaseChain { hook: Hook::Forward, kind: ChainKind::Filter, priority: 10, policy: Policy::Accept };
    b.base(chain, base, Counter::default());
    b.rule(chain, vec![Match::Counter], Target::Reject { with: 3 });
    let (table, counters) = b.finish();
    s.tables.push(TableState::new(Duration::ZERO, Arc::new(table), Arc::new(counters)));
    s.sysctls = Arc::new([("net/ipv4/conf/all/route_localnet".into(), "1".to_string())].into());
    let all = differences(&s, Mode::Nftables);
    assert!(has(&all, "jumps-into-kube-chains", "MINE: -d 192.0.2.80/32 -j KUBE-MARK-MASQ"), "{all:#?}");
    assert!(has(&all, "masquerade-mark", "192.0.2.81"), "{all:#?}");
    assert!(
        has(&all, "other-hooks", "firewalld filter_FORWARD (forward, priority 10): firewalld"),
        "{all:#?}"
    );
    assert!(has(&all, "route-localnet", "route_localnet = 1"));
    assert!(has(&all, "affinity", "shop/sessions:redis (10800 s)"));
    // IPVS is not there.
    let all = differences(&s, Mode::Ipvs);
    assert!(all[0].blocks && all[0].id == "no-ipvs");
    assert!(all.iter().any(|d| d.id == "ipvs-deprecated"));
    for d in &all {
        assert!(!d.reason.is_empty() && !d.source.is_empty());
    }
}

/// kube-proxy's own configuration takes the place of what rules and addresses suggest.
#[test]
fn what_kube_proxy_is_configured_to_do_decides_a_move() {
    let mut s = node(&shop::services(None, 4), "6.1.0");
    let text = |mask: u32, chain: &str| {
        format!(
            "*nat\n:{chain} - [0:0]\n-A {chain} -d 192.0.2.81/32 -j MARK --set-xmark {mask:#x}/{mask:#x}\nCOMMIT\n"
        )
    };
    for (mask, chain) in [(0x4000, "USUAL"), (0x20, "OTHER")] {
        let mine = parse_save(&text(mask, chain), IpFamily::V4).unwrap().remove(0);
        s.tables.push(TableState::new(Duration::ZERO, Arc::new(mine.table), Arc::new(mine.counters)));
    }
    let all = differences(&s, Mode::Nftables);
    assert!(has(&all, "node-port-addresses", "198.18.0.1") && has(&all, "masquerade-mark", "USUAL"));
    let of_rules = kptop::proxy::pod_network(&s, IpFamily::V4);
    assert_ne!(of_rules, "10.99.0.0/16".parse().ok());
    let config = Config {
        cluster_cidrs: vec!["fd99::/48".into(), "10.99.0.0/16".into()],
        node_port_addresses: vec!["primary".into(), "198.18.0.0/24".into()],
        masquerade_bit: Some(5),
        ..Config::default()
    };
    s.kube_proxy = Some(Arc::new(KubeProxy { config: Some(config), ..KubeProxy::default() }));
    let all = differences(&s, Mode::Nftables);
    assert!(!all.iter().any(|d| d.id == "node-port-addresses"), "{all:?}");
    assert!(has(&all, "masquerade-mark", "OTHER") && !has(&all, "masquerade-mark", "USUAL"), "{all:#?}");
    assert_eq!(kptop::proxy::pod_network(&s, IpFamily::V4), "10.99.0.0/16".parse().ok());
    assert_eq!(kptop::proxy::pod_network(&s, IpFamily::V6), "fd99::/48".parse().ok());
}

#[test]
fn costs_grow_with_services_where_lookups_are_lists() {
    let prices = Prices::default();
    let mut last = None;
    for n in [50, 500, 5_000] {
        let services = shop::services(Some(n), 4);
        let snapshot = node(&services, "6.1.0");
        let model = Model::read(&snapshot, &Names::default());
        let c = compare_modes(&snapshot, &model, &prices);
        let mean = |e: Engine| c.mode(e).unwrap().first_packet_ns.unwrap().mean;
        let rules = |e: Engine| c.mode(e).unwrap().evaluated.unwrap().mean;
        if let Some((legacy, nft, native)) = last {
            assert!(rules(Engine::IptablesLegacy) > legacy && rules(Engine::IptablesNft) > nft);
            assert!((rules(Engine::Nftables) - native as f64).abs() < 3.0);
        }
        last =
            Some((rules(Engine::IptablesLegacy), rules(Engine::IptablesNft), rules(Engine::Nftables) as u32));
        assert!(mean(Engine::IptablesNft) > mean(Engine::IptablesLegacy), "{n}");
        assert_eq!(c.running().unwrap().engine, Engine::IptablesLegacy);
        // What a change costs: the whole table in x_tables, its own chain in nftables mode.
        let change = |e: Engine| c.mode(e).unwrap().change.0;
        assert!(change(Engine::IptablesLegacy) > change(Engine::IptablesNft));
        assert!(change(Engine::Nftables) < 10);
    }
}

#[test]
fn a_running_mode_is_compared_by_its_real_rules() {
    // A captured set, from its text: as kube-proxy 1.36.2 wrote it.
    let dir = set("1.36.2", "iptables-legacy");
    let mut s = Snapshot::default();
    for (family, file) in [(IpFamily::V4, "iptables-save-c.txt"), (IpFamily::V6, "ip6tables-save-c.txt")] {
        for t in parse_save(&crate::common::read(&dir, file).unwrap(), family).unwrap() {
            s.tables.push(TableState::new(Duration::ZERO, Arc::new(t.table), Arc::new(t.counters)));
        }
    }
    let model = Model::read(&s, &Names::default());
    let c = compare_modes(&s, &model, &Prices::default());
    let mode = |e: Engine| c.mode(e).unwrap();
    let real: u64 = s.tables.iter().map(|t| t.table.rules.len() as u64).sum();
    assert_eq!((mode(Engine::IptablesLegacy).running, mode(Engine::IptablesLegacy).rules), (true, real));
    // kptop's own writing of the same Services lacks only what counts in nfacct, and the load balancers' own addresses.
    let written = mode(Engine::IptablesNft).rules;
    assert!(written <= real && real - written < 30, "{written} of {real}");
    let tables = nftables::write(&model.services, IpFamily::V4, &Default::default());
    assert!(mode(Engine::Nftables).rules >= tables.0.rules.len() as u64);
}

#[test]
fn calibrate_measures_and_keeps_what_the_others_use() {
    let state = std::env::temp_dir().join(format!("kptop-tests-state-{}", std::process::id()));
    let file = state.join("kptop/calibration.json");
    let out = kptop_at(&state, &["calibrate", "-o", "json"]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let reported: Value = serde_json::from_slice(&out.stdout).unwrap();
    let kept: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(reported, kept);
    for e in reported["engines"].as_array().unwrap() {
        assert!(e["later_ns"].as_f64().unwrap() > 100.0, "{e}");
        assert!(e["curve"].as_array().unwrap().iter().all(|p| p["base_ns"].as_f64().unwrap() > 100.0), "{e}");
    }
    let engines: Vec<&str> =
        reported["engines"].as_array().unwrap().iter().map(|e| e["engine"].as_str().unwrap()).collect();
    assert!(engines.starts_with(&["iptables-legacy", "iptables-nft"]), "{engines:?}");
    let out = kptop_at(&state, &["compare", "--demo", "iptables", "--over", "0.1", "-o", "json"]);
    let c: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(c["modes"][0]["estimate_from"], "calibration");
    // A kernel without a mode has not measured it.
    assert_eq!(c["modes"][2]["estimate_from"] == "calibration", engines.contains(&"ipvs"));
    // Another kernel's prices are not taken.
    let other = std::fs::read_to_string(&file).unwrap().replace("\"kernel\": \"", "\"kernel\": \"not-");
    std::fs::write(&file, other).unwrap();
    let out = kptop_at(&state, &["compare", "--demo", "iptables", "--over", "0.1", "-o", "json"]);
    let c: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(c["modes"][0]["estimate_from"], "defaults");
    assert!(c["prices"].as_str().unwrap().contains("of kernel not-"), "{}", c["prices"]);
    std::fs::remove_dir_all(state).unwrap();
}

#[test]
fn bench_answers_every_request_in_every_mode() {
    let short = ["bench", "--services", "60", "--rounds", "2", "--seconds", "0.2"];
    let (b, code) = json(&[&short[..], &["-o", "json"]].concat());
    assert_eq!((code, b["schema"].as_str()), (0, Some("kptop.bench/1")));
    let runs = b["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 8);
    for r in runs {
        if r["mode"] == "ipvs" && !r["missing"].is_null() {
            assert!(r["http_reqs_per_s"].is_null() && r["errors"].is_null(), "{r}");
            assert!(r["missing"].as_str().unwrap().contains("no IPVS"));
            continue;
        }
        assert_eq!((r["errors"].as_u64(), r["missing"].is_null()), (Some(0), true), "{r}");
        assert!(r["requests"].as_u64().unwrap() > 20, "{r}");
        for kind in ["http_req_duration_us", "http_req_waiting_us"] {
            let at = |p: &str| r[kind][p].as_f64().unwrap();
            assert!(at("p50") > 0.0 && at("p50") <= at("p95") && at("p95") <= at("p99"), "{r}");
        }
        let (low, high) = (&r["http_reqs_per_s_min"], &r["http_reqs_per_s_max"]);
        assert!(low.as_f64() <= r["http_reqs_per_s"].as_f64() && low.as_f64() <= high.as_f64(), "{r}");
    }
    let one = [&short[..3], &["--rounds", "1", "--seconds", "0.1", "--modes", "nftables"]].concat();
    let csv = String::from_utf8(kptop(&[&one[..], &["-o", "csv"]].concat()).stdout).unwrap();
    let columns = csv.lines().next().unwrap().split(',').count();
    assert_eq!(csv.lines().count(), 3);
    assert!(csv.lines().skip(1).all(|l| l.starts_with("nftables,,60,") && l.split(',').count() == columns));
    let markdown = String::from_utf8(kptop(&[&one[..], &["-o", "markdown"]].concat()).stdout).unwrap();
    assert!(markdown.contains("| nftables | 60 | new |") && markdown.contains("| Kernel |"), "{markdown}");
}
