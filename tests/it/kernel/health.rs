//! Faults that take some of a Service's new flows, made for real: health, doctor, explain, the list, the header, JSON and
//! metrics say the same, name the rule and whose it is, and are silent after healing.

use crate::common::screens::new_app;
use crate::common::ward::Ward;
use kptop::config::ThemeName;
use kptop::doctor::Severity;
use kptop::explain::{Sender, explain, frontend_destination};
use kptop::health::HealthState;
use kptop::observe::View;
use kptop::output::{self, Cardinality};
use kptop::proxy::Engine;
use kptop::ruleset::IpFamily;
use kptop::tui::{Update, draw};
use kptop::walk::End;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use std::net::IpAddr;
use std::time::Duration;

const ENGINES: [Engine; 3] = [Engine::IptablesLegacy, Engine::IptablesNft, Engine::Nftables];

/// What a fault takes, and how it must be told.
struct Fault<'a> {
    /// The Service.
    label: &'a str,
    family: IpFamily,
    share: f64,
    /// The backend whose flows die, where it is one.
    backend: Option<IpAddr>,
    /// Texts that the finding must have: the rule, its place, its owner.
    says: &'a [&'a str],
}

fn place_of(view: &View, label: &str, family: IpFamily) -> usize {
    let found = view.model.services.iter().position(|s| s.label() == label && s.family == family);
    found.unwrap_or_else(|| panic!("no {label}"))
}

/// The whole screen as text.
fn screen(view: &View, keys: &str) -> String {
    let mut app = new_app(ThemeName::None);
    app.on_update(Update::now(view.clone(), Duration::ZERO, Duration::ZERO));
    let mut terminal = Terminal::new(TestBackend::new(160, 50)).unwrap();
    terminal.draw(|f| draw(f, &mut app)).unwrap();
    for key in keys.chars() {
        use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
        let code = if key == '\n' { KeyCode::Enter } else { KeyCode::Char(key) };
        app.on_key(KeyEvent::new(code, KeyModifiers::NONE));
        terminal.draw(|f| draw(f, &mut app)).unwrap();
    }
    let buffer = terminal.backend().buffer();
    let line = |y| (0..buffer.area.width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..buffer.area.height).map(|y| line(y) + "\n").collect()
}

fn metrics(view: &View) -> String {
    let all = Cardinality { node_name: None, services: 1_000, backends: 1_000, namespaces: Vec::new() };
    let samples = output::samples(view, Duration::ZERO, Duration::ZERO, &all);
    output::open_metrics(samples).unwrap()
}

/// Every frontend says the same of a fault that takes a part.
#[track_caller]
fn all_say(what: &str, view: &View, fault: &Fault<'_>) {
    let place = place_of(view, fault.label, fault.family);
    let health = view.health.get(place).unwrap();
    assert_eq!(health.state, HealthState::Degraded, "{what}: {health:?}");
    let share = health.lost_share.unwrap();
    assert!((share - fault.share).abs() < 0.001, "{what}: {health:?}");
    assert_eq!(health.causes, ["foreign_drop"], "{what}");
    let service = &view.model.services[place];
    if let Some(address) = fault.backend {
        let lost: Vec<IpAddr> =
            health.lost_backends.iter().map(|l| service.backends[l.backend].address).collect();
        assert_eq!(lost, [address], "{what}");
    }
    // The doctor.
    let found: Vec<_> =
        view.examination.findings.iter().filter(|f| f.severity <= Severity::Warning).collect();
    assert_eq!(found.len(), 1, "{what}: {found:#?}");
    let f = found[0];
    assert!(f.id == "foreign_drop" && f.services.contains(&place), "{what}: {f:#?}");
    let text = format!("{} {:?}", f.title, f.evidence);
    for says in fault.says {
        assert!(text.contains(says), "{what}: no `{says}` in {f:#?}");
    }
    assert!(f.lost_share.is_some_and(|s| (s - fault.share).abs() < 0.001), "{what}: {f:#?}");
    // JSON.
    let mut json = Vec::new();
    output::write_snapshot_json(view, false, &mut json).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let mine = json["services"][place]["health"].clone();
    assert_eq!(
        (mine["state"].as_str(), &mine["causes"][0]),
        (Some("degraded"), &"foreign_drop".into()),
        "{what}"
    );
    // Metrics.
    let (namespace, name) = fault.label.split_once('/').unwrap();
    let name = name.split(':').next().unwrap();
    let labels = |l: &&str| {
        l.contains(&format!("namespace=\"{namespace}\"")) && l.contains(&format!("service=\"{name}\""))
    };
    let metrics = metrics(view);
    let of = |metric: &str| -> Vec<&str> {
        metrics.lines().filter(|l| l.starts_with(metric)).filter(labels).collect()
    };
    assert!(of("kptop_service_health{").iter().any(|l| l.contains("state=\"degraded\"")), "{what}");
    assert!(
        of("kptop_service_healthy{").iter().any(|l| l.ends_with(" 0.0")),
        "{what}: {:?}",
        of("kptop_service_healthy{")
    );
    let lost = |l: &&str| {
        l.rsplit(' ').next().unwrap().parse::<f64>().is_ok_and(|n| (n - fault.share).abs() < 0.001)
    };
    assert!(of("kptop_service_lost{").iter().any(lost), "{what}: {:?}", of("kptop_service_lost{"));
    // The header, the list, and only the problems.
    let text = screen(view, "2!");
    assert!(text.contains(" degraded  "), "{what}: {text}");
    let line = text.lines().find(|l| l.contains(&format!("◐ {}", fault.label)));
    assert!(line.is_some(), "{what}: {text}");
    // Overview.
    let text = screen(view, "1");
    assert!(text.contains("◐") && !text.contains("● Healthy"), "{what}: {text}");
}

/// `explain` finds the same share, by the same end.
#[track_caller]
fn explain_says(what: &str, view: &View, fault: &Fault<'_>, sender: Sender) {
    let place = place_of(view, fault.label, fault.family);
    let to = frontend_destination(&view.snapshot, &view.model, place, 0).unwrap();
    let answer = explain(&view.snapshot, &view.model, &to, sender, None).unwrap();
    let endings = answer.endings();
    let dropped: f64 = endings.iter().filter(|e| e.outcome.end == End::Dropped).map(|e| e.probability).sum();
    assert!((dropped - fault.share).abs() < 0.001, "{what}: {endings:#?}");
}

#[track_caller]
fn healed(what: &str, ward: &Ward) {
    let view = ward.view(|_| {});
    let bad: Vec<_> = view.health.iter().filter(|h| h.state != HealthState::Healthy).collect();
    assert!(bad.is_empty(), "{what}: {bad:#?}");
    assert!(!view.examination.is_alarming(), "{what}: {:#?}", view.examination.findings);
    assert!(screen(&view, "1").contains("● Healthy"), "{what}");
}

/// Every frontend and `explain` say the same of a fault, and are silent after healing.
#[track_caller]
fn told_and_healed(what: &str, ward: &Ward, fault: &Fault<'_>, heal: impl FnOnce()) {
    let view = ward.view(|_| {});
    all_say(what, &view, fault);
    explain_says(what, &view, fault, Sender::Pod);
    heal();
    healed(what, ward);
}

/// The iptables that writes to where kube-proxy's rules of a mode are; nftables mode has iptables-nft beside it.
fn iptables(engine: Engine, family: IpFamily) -> &'static str {
    match (engine, family) {
        (Engine::IptablesLegacy, IpFamily::V4) => "iptables-legacy",
        (Engine::IptablesLegacy, IpFamily::V6) => "ip6tables-legacy",
        (_, IpFamily::V4) => "iptables-nft",
        (_, IpFamily::V6) => "ip6tables-nft",
    }
}

#[test]
fn one_of_several_backends_is_dropped_in_forward() {
    for engine in ENGINES {
        let ward = Ward::new(engine, 0.0);
        healed("before", &ward);
        let cart = ward.service("shop/cart").backends.clone();
        let share = 1.0 / cart.len() as f64;
        let lost = cart[1].address;
        let program = iptables(engine, IpFamily::V4);
        let rule = format!("FORWARD -d {lost}/32 -p tcp -j DROP");
        ward.node(program, &format!("-I {rule}"));
        let what = format!("{engine:?}, FORWARD");
        let fault = Fault {
            label: "shop/cart",
            family: IpFamily::V4,
            share,
            backend: Some(lost),
            says: &["filter FORWARD", "no known program", &lost.to_string()],
        };
        // Packets of pods and of clients outside die; the node's own do not pass FORWARD.
        told_and_healed(&what, &ward, &fault, || {
            ward.node(program, &format!("-D {rule}"));
        });

        // Docker's own chain says whose it is.
        ward.node(program, "-N DOCKER-USER");
        ward.node(program, "-I FORWARD -j DOCKER-USER");
        ward.node(program, &format!("-A DOCKER-USER -d {lost}/32 -p tcp -j DROP"));
        let view = ward.view(|_| {});
        all_say(&what, &view, &Fault { says: &["a rule of Docker", "filter DOCKER-USER"], ..fault });
    }
}

#[test]
fn one_of_several_backends_is_dropped_by_a_native_table() {
    for engine in ENGINES {
        let ward = Ward::new(engine, 0.0);
        let cart = ward.service("shop/cart").backends.clone();
        let lost = cart[0].address;
        ward.node("nft", "add table inet guard");
        ward.node("nft", "add chain inet guard check '{ type filter hook forward priority 5; }'");
        ward.node("nft", &format!("add rule inet guard check ip daddr {lost} counter drop"));
        let what = format!("{engine:?}, inet guard");
        let fault = Fault {
            label: "shop/cart",
            family: IpFamily::V4,
            share: 1.0 / cart.len() as f64,
            backend: Some(lost),
            says: &["inet guard check", "counter", "drop"],
        };
        told_and_healed(&what, &ward, &fault, || {
            ward.node("nft", "delete table inet guard");
        });
    }
}

#[test]
fn a_part_is_dropped_at_random_in_raw() {
    for engine in ENGINES {
        let ward = Ward::new(engine, 0.0);
        let (to, port) = ward.reached("shop/cart");
        let program = iptables(engine, IpFamily::V4);
        let rule = format!(
            "PREROUTING -d {to}/32 -p tcp --dport {port} -m statistic --mode random --probability 0.25 -j DROP"
        );
        ward.node(program, &format!("-t raw -I {rule}"));
        let what = format!("{engine:?}, raw");
        let fault = Fault {
            label: "shop/cart",
            family: IpFamily::V4,
            share: 0.25,
            backend: None,
            says: &["raw PREROUTING", "no known program"],
        };
        told_and_healed(&what, &ward, &fault, || {
            ward.node(program, &format!("-t raw -D {rule}"));
        });
    }
}

/// Packets that another node translated arrive with the backend as their destination.
#[test]
fn the_receiving_side_rejects() {
    for engine in ENGINES {
        let ward = Ward::new(engine, 0.0);
        let view = ward.view(|_| {});
        let place = place_of(&view, "shop/cart", IpFamily::V4);
        let backends = &view.model.services[place].backends;
        // The lab's pods of this node.
        let local = backends.iter().find(|b| b.address.to_string().starts_with("10.244.0.")).unwrap().address;
        // A pod's own route, as CNIs without a bridge make it.
        ward.node("ip", &format!("route add {local}/32 dev pods0"));
        ward.node("nft", "add table inet firewalld");
        ward.node(
            "nft",
            "add chain inet firewalld filter_FORWARD '{ type filter hook forward priority 10; }'",
        );
        for rule in ["ct state established,related accept", "ct status dnat accept"] {
            ward.node("nft", &format!("add rule inet firewalld filter_FORWARD {rule}"));
        }
        ward.node(
            "nft",
            &format!(
                "add rule inet firewalld filter_FORWARD ip daddr {local} reject with icmpx admin-prohibited"
            ),
        );
        let what = format!("{engine:?}, receiving");
        let view = ward.view(|_| {});
        let health = view.health.get(place).unwrap();
        assert_eq!(
            (health.state, &health.causes[..]),
            (HealthState::Degraded, &["foreign_drop"][..]),
            "{what}: {health:?}"
        );
        assert!(
            health.why.contains("another node") && health.why.contains("firewalld"),
            "{what}: {health:?}"
        );
        let f = view.examination.findings.iter().find(|f| f.id == "foreign_drop").unwrap();
        assert!(f.services.contains(&place) && f.title.contains("other nodes"), "{what}: {f:#?}");
        ward.node("nft", "delete table inet firewalld");
        healed(&what, &ward);
    }
}

#[test]
fn one_of_several_backends_is_dropped_in_ipv6() {
    for engine in ENGINES {
        let ward = Ward::new(engine, 0.0);
        let find = |s: &&kptop::proxy::Service| s.label() == "dual/web:http" && s.family == IpFamily::V6;
        let web = ward.services.iter().find(find).unwrap().backends.clone();
        let lost = web[0].address;
        let program = iptables(engine, IpFamily::V6);
        ward.node(program, &format!("-I FORWARD -d {lost}/128 -p tcp -j DROP"));
        let what = format!("{engine:?}, IPv6");
        let fault = Fault {
            label: "dual/web:http",
            family: IpFamily::V6,
            share: 1.0 / web.len() as f64,
            backend: Some(lost),
            says: &["ip6 filter FORWARD", &lost.to_string()],
        };
        told_and_healed(&what, &ward, &fault, || {
            ward.node(program, &format!("-D FORWARD -d {lost}/128 -p tcp -j DROP"));
        });
    }
}
