//! `kptop fleet`: what it makes of a real Prometheus' answers, and its screen.

use crate::common::prometheus::{Prometheus, pages};
use crate::common::say;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use kptop::config::ThemeName;
use kptop::doctor::Severity;
use kptop::fleet::{Difference, Fleet, FleetNode, FleetService, Found, ServiceKey, ServiceOnNode};
use kptop::health::HealthState;
use kptop::output::METRICS;
use kptop::tui::{FleetAnswer, FleetEvent, FleetQuestion, FleetScreen, Theme, draw_fleet};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use serde_json::Value;
use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const KPTOP: &str = env!("CARGO_BIN_EXE_kptop");
/// The node that is behind, the one in another mode, and the one that goes.
const STALE: usize = 4;
const OTHER_MODE: usize = 7;
const GOES: usize = 9;

/// What `kptop serve` would serve on a node of many.
fn page(node: usize, services: usize, at: Duration) -> String {
    let mode = if node == OTHER_MODE { "iptables" } else { "nftables" };
    let mut out = format!(
        "kptop_build_info{{version=\"0.1.0\",commit=\"x\"}} 1\n\
         kptop_node_info{{nodename=\"worker-{node}\",proxy=\"kube-proxy\",proxy_version=\"v1.36.2\",mode=\"{mode}\"}} 1\n\
         kptop_reading_age_seconds 1.5\n\
         kptop_findings{{id=\"no_endpoints\",severity=\"info\"}} 1\n"
    );
    if node == STALE {
        out.push_str("kptop_findings{id=\"foreign_drop\",severity=\"critical\"} 1\n");
    }
    let (bad, all) = (usize::from(node == STALE), services - usize::from(node == STALE));
    out.push_str(&format!(
        "kptop_services{{state=\"healthy\"}} {}\n",
        all - bad + usize::from(node == OTHER_MODE)
    ));
    if bad > 0 {
        out.push_str("kptop_services{state=\"degraded\"} 1\n");
    }
    let hash = [(STALE, 5), (OTHER_MODE, 6)].iter().find(|n| n.0 == node).map_or(7, |n| n.1);
    out.push_str(&format!("kptop_services_hash {hash}\n"));
    for s in (0..services).filter(|s| (node, *s) != (STALE, 3)) {
        let labels = format!(
            "namespace=\"ns-{}\",service=\"svc-{s}\",port=\"http\",protocol=\"tcp\",family=\"ipv4\",mode=\"{mode}\"",
            s % 20
        );
        let (state, lost) = if (node, s) == (STALE, 5) { ("degraded", 0.25) } else { ("healthy", 0.0) };
        let hash = (s as u64 * 2_654_435_761 + u64::from((node, s) == (STALE, 6))) & 0xffff_ffff_ffff;
        let flows = at.as_secs_f64() * (s % 50) as f64;
        out.push_str(&format!(
            "kptop_service_health{{{labels},state=\"{state}\"}} 1\n\
             kptop_service_lost{{{labels}}} {lost}\n\
             kptop_service_backends{{{labels}}} 10\n\
             kptop_service_endpoints_hash{{{labels}}} {hash}\n\
             kptop_service_flows{{{labels}}} {s}\n\
             kptop_service_new_flows_total{{{labels}}} {flows:.0}\n\
             kptop_service_latency_seconds{{{labels},quantile=\"0.99\"}} 0.00{}\n",
            1 + node % 5
        ));
    }
    // A Service that one node alone has.
    if node == OTHER_MODE {
        out.push_str("kptop_service_health{namespace=\"x\",service=\"rare\",port=\"\",protocol=\"udp\",family=\"ipv4\",mode=\"iptables\",state=\"healthy\"} 1\n");
    }
    out
}

fn config(port: u16, nodes: usize, interval: u32) -> String {
    let mut text =
        format!("global: {{scrape_interval: {interval}s, scrape_timeout: {interval}s}}\nscrape_configs:\n");
    for n in 0..nodes {
        text.push_str(&format!(
            "- job_name: n{n}\n  metrics_path: /{n}/metrics\n  static_configs: [{{targets: ['127.0.0.1:{port}']}}]\n  relabel_configs: [{{target_label: instance, replacement: '10.0.0.{n}:9756'}}, {{target_label: job, replacement: kptop}}]\n"
        ));
    }
    text
}

fn fleet(url: &str, args: &[&str]) -> (i32, String, String) {
    let out = Command::new(KPTOP).args(["fleet", "--prometheus", url]).args(args).output().unwrap();
    let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
    (out.status.code().unwrap(), text(&out.stdout), text(&out.stderr))
}

/// The test's pages have the names that are served, and no others.
#[test]
fn the_pages_of_this_test_are_as_served() {
    let served: BTreeSet<String> = METRICS.iter().map(|m| m.full_name()).collect();
    for line in page(STALE, 7, Duration::from_secs(9)).lines() {
        let name = line.split(['{', ' ']).next().unwrap();
        assert!(served.contains(name), "{name}");
    }
}

#[test]
fn a_stale_node_among_twelve_is_named_by_a_real_prometheus() {
    let began = Instant::now();
    let gone = Arc::new(AtomicBool::new(false));
    let is_gone = gone.clone();
    let port =
        pages(move |n| (n != GOES || !is_gone.load(Ordering::Relaxed)).then(|| page(n, 30, began.elapsed())));
    let prometheus = Prometheus::start(&config(port, 12, 1));
    let minute = Duration::from_secs(60);
    prometheus.wait_for("count(kptop_build_info)", 12.0, minute);
    // Rates of ten seconds.
    prometheus.wait_for("min(count_over_time(kptop_build_info[10s]))", 9.0, minute);
    let url = prometheus.url();
    gone.store(true, Ordering::Relaxed);
    // Two failed scrapes later it is silent.
    let json = crate::common::wait_until(
        || -> Value {
            let (code, text, err) = fleet(&url, &["--window", "10s", "-o", "json"]);
            assert_eq!(code, 1, "{err}");
            serde_json::from_str(&text).unwrap()
        },
        |v| v["nodes"][0]["silent"] == true,
    );
    assert_eq!(json["schema"], "kptop.fleet/1");
    let nodes = json["nodes"].as_array().unwrap();
    let services = json["services"].as_array().unwrap();
    assert_eq!((nodes.len(), services.len()), (12, 31));
    assert_eq!((nodes[0]["name"].as_str(), nodes[0]["silent"].as_bool()), (Some("10.0.0.9"), Some(true)));
    // What differs, and nothing else does.
    let differs = |n: &Value| -> Vec<String> {
        let line = |d: &Value| format!("{} {}", d["kind"].as_str().unwrap(), d["subject"].as_str().unwrap());
        n["differs"].as_array().unwrap().iter().map(line).collect()
    };
    let by_name = |name: &str| nodes.iter().find(|n| n["name"] == name).unwrap();
    assert_eq!(differs(by_name("worker-4")), ["lacks ns-3/svc-3:http", "endpoints ns-6/svc-6:http"]);
    assert_eq!(differs(by_name("worker-7")), ["setting mode", "has x/rare udp"]);
    for n in nodes.iter().filter(|n| !["worker-4", "worker-7"].contains(&n["name"].as_str().unwrap())) {
        assert!(differs(n).is_empty(), "{n}");
    }
    assert_eq!(by_name("worker-4")["findings"][0]["id"], "foreign_drop");
    // The worst Service is the first, with the node that loses it.
    let first = &services[0];
    assert_eq!((first["name"].as_str(), first["state"].as_str()), (Some("svc-5"), Some("degraded")));
    assert_eq!((first["lost_share"].as_f64(), first["lost_on"].as_str()), (Some(0.25), Some("worker-4")));
    assert_eq!(first["nodes"]["degraded"], 1);
    assert_eq!(
        (first["nodes"]["healthy"].as_u64(), by_name("worker-4")["services"]["degraded"].as_u64()),
        (Some(10), Some(1))
    );
    // 11 nodes with 29 new flows a second each, of the Service that has the most.
    let busiest = services.iter().find(|s| s["name"] == "svc-29").unwrap();
    let rate = busiest["new_flows_per_s"].as_f64().unwrap();
    assert!((rate / (29.0 * 11.0) - 1.0).abs() < 0.15, "{rate}");
    assert!(busiest["latency_p99_s"].as_f64().is_some_and(|t| (t - 0.005).abs() < 1e-9), "{busiest}");
    // In print.
    let (code, text, _) = fleet(&url, &["--window", "10s"]);
    assert_eq!(code, 1);
    for line in [
        "12 nodes, 1 silent · 31 Service ports, 1 degraded · 2 nodes differ",
        "worker-4:",
        "  ✗ critical foreign_drop",
        "  lacks ns-3/svc-3:http",
        "  mode iptables (most: nftables)",
    ] {
        assert!(text.lines().any(|l| l == line), "no `{line}` in\n{text}");
    }
    // Only some of them: alike but for nothing.
    let (code, text, err) = fleet(&url, &["--selector", "{instance=~\"10.0.0.[0-3]:9756\"}"]);
    assert!(code == 0 && text.starts_with("4 nodes · 30 Service ports · no node differs"), "{text}{err}");
    // What goes wrong says the next step.
    for (url, args, why) in [
        (
            url.as_str(),
            &["--selector", "job=\"no\""][..],
            "it has no series of `kptop serve` with job=\"no\"",
        ),
        (url.as_str(), &["--selector", "job=no"], "--selector takes matchers"),
        (url.as_str(), &["--node-label", "a-b"], "a label has letters"),
        ("http://127.0.0.1:1", &[], "is this the address of Prometheus"),
        (&format!("{url}/x"), &[], "the address is that before /api/v1/query"),
    ] {
        let (code, _, err) = fleet(url, args);
        assert!(code == 2 && err.contains(why), "{args:?}: {err}");
    }
}

/// What README and manual say of it: `cargo test --release --test it -- --ignored fleet::a_hundred --nocapture`.
#[test]
#[ignore = "takes minutes, and its times decide nothing"]
fn a_hundred_nodes_with_a_thousand_services() {
    let began = Instant::now();
    let port = pages(move |n| Some(page(n, 1000, began.elapsed())));
    let prometheus = Prometheus::start(&config(port, 100, 20));
    let minutes = Duration::from_secs(300);
    prometheus.wait_for("count(rate(kptop_service_new_flows_total[2m]))", 99_999.0, minutes);
    for _ in 0..5 {
        let asked = Instant::now();
        let (code, text, err) = fleet(&prometheus.url(), &[]);
        let took = asked.elapsed();
        assert_eq!(code, 1, "{err}");
        assert!(text.contains("lacks ns-3/svc-3:http"), "{text}");
        say(&format!("100 nodes, 1,000 Services: {took:?}"));
    }
}

fn key(service: &str) -> ServiceKey {
    ServiceKey {
        namespace: "shop".into(),
        service: service.into(),
        port: "http".into(),
        protocol: "tcp".into(),
        family: "ipv4".into(),
    }
}

/// Four nodes: one silent, one behind with a finding, two well.
fn sample() -> Arc<Fleet> {
    let node = |name: &str| FleetNode {
        key: format!("{name}:9756"),
        name: name.into(),
        proxy: Some("kube-proxy".into()),
        version: Some("v1.36.2".into()),
        mode: Some("nftables".into()),
        age: Some(2.2),
        states: [(HealthState::Healthy, 3)].into(),
        new_flows: Some(812.0),
        ..FleetNode::default()
    };
    let silent = FleetNode {
        is_silent: true,
        name: "worker-9".into(),
        key: "worker-9:9756".into(),
        ..FleetNode::default()
    };
    let behind = FleetNode {
        findings: vec![Found { id: "foreign_drop".into(), severity: Severity::Critical, count: 1 }],
        differs: vec![Difference::Lacks(2), Difference::Endpoints(1)],
        states: [(HealthState::Degraded, 1), (HealthState::Healthy, 1)].into(),
        ..node("worker-4")
    };
    let services = vec![
        FleetService {
            key: key("cart"),
            states: [(HealthState::Degraded, 1), (HealthState::Healthy, 2)].into(),
            lost: Some((0.25, 1)),
            new_flows: Some(1234.0),
            latency: Some(0.0123),
            differs: vec![],
        },
        FleetService {
            key: key("a-service-with-quite-a-long-name"),
            states: [(HealthState::Healthy, 3)].into(),
            new_flows: Some(88.0),
            differs: vec![1],
            ..FleetService::default()
        },
        FleetService {
            key: key("mail"),
            states: [(HealthState::Healthy, 2)].into(),
            differs: vec![1],
            ..FleetService::default()
        },
    ];
    Arc::new(Fleet {
        nodes: vec![silent, behind, node("worker-1"), node("worker-2")],
        services,
        notes: vec!["1 node silent: nothing newer than some minutes, no figures of them".into()],
    })
}

fn screen() -> FleetScreen {
    let mut screen = FleetScreen::new(
        Theme::new(ThemeName::Dark),
        "http://prometheus:9090".into(),
        Duration::from_secs(15),
    );
    screen.on_answer(FleetAnswer::All(Ok(sample()), Duration::from_millis(640)));
    screen
}

fn drawn(screen: &mut FleetScreen, size: (u16, u16)) -> String {
    let mut terminal = Terminal::new(TestBackend::new(size.0, size.1)).unwrap();
    terminal.draw(|f| draw_fleet(f, screen)).unwrap();
    let buffer = terminal.backend().buffer();
    let line = |y| -> String { (0..size.0).map(|x| buffer[(x, y)].symbol()).collect() };
    (0..size.1).map(|y| line(y).trim_end().to_string() + "\n").collect()
}

fn press(screen: &mut FleetScreen, keys: &str) -> FleetEvent {
    let mut last = FleetEvent::Nothing;
    for c in keys.chars() {
        drawn(screen, (100, 24));
        let code = match c {
            '\n' => KeyCode::Enter,
            '⎋' => KeyCode::Esc,
            '↓' => KeyCode::Down,
            '⇥' => KeyCode::Tab,
            c => KeyCode::Char(c),
        };
        last = screen.on_key(KeyEvent::new(code, KeyModifiers::NONE));
    }
    last
}

#[test]
fn the_lists_at_every_size() {
    for size in [(60, 15), (80, 24), (120, 30)] {
        let mut s = screen();
        insta::assert_snapshot!(format!("fleet_services_{}x{}", size.0, size.1), drawn(&mut s, size));
        press(&mut s, "2↓");
        insta::assert_snapshot!(format!("fleet_nodes_{}x{}", size.0, size.1), drawn(&mut s, size));
    }
    assert!(drawn(&mut screen(), (39, 9)).contains("kptop needs 40x10"));
    for size in [(40, 10), (41, 11), (200, 60), (1, 1)] {
        drawn(&mut screen(), size);
    }
}

#[test]
fn keys_lead_to_a_node() {
    let mut s = screen();
    let FleetEvent::Ask(FleetQuestion::Service(fleet, asked)) = press(&mut s, "\n") else {
        panic!("nothing asked")
    };
    assert_eq!(asked, key("cart"));
    let on = |node, state, lost| ServiceOnNode {
        node,
        state,
        lost: Some(lost),
        new_flows: Some(411.0),
        latency: None,
        backends: Some(4),
        differs: false,
    };
    let rows = vec![on(1, HealthState::Degraded, 0.25), on(2, HealthState::Healthy, 0.0)];
    s.on_answer(FleetAnswer::Service(fleet, asked, Ok(rows)));
    insta::assert_snapshot!("fleet_opened_100x24", drawn(&mut s, (100, 24)));
    let FleetEvent::GoTo(command) = press(&mut s, "↓\n") else { panic!("no command") };
    assert_eq!(command, "kubectl kptop worker-1 shop/cart:http");
    press(&mut s, "⎋⇥↓");
    let FleetEvent::GoTo(command) = press(&mut s, "\n") else { panic!("no command") };
    assert_eq!(command, "kubectl kptop worker-4");
    assert!(matches!(press(&mut s, "q"), FleetEvent::Quit));
}

#[test]
fn a_search_is_undone_and_an_error_keeps_what_was_there() {
    let mut s = screen();
    press(&mut s, "/mail\n");
    let text = drawn(&mut s, (100, 24));
    assert!(text.contains("shop/mail:http") && !text.contains("shop/cart"), "{text}");
    press(&mut s, "⎋");
    assert!(drawn(&mut s, (100, 24)).contains("shop/cart"));
    // A finding's name finds its node.
    press(&mut s, "2/foreign_drop\n");
    let text = drawn(&mut s, (100, 24));
    assert!(text.contains("worker-4") && !text.contains("worker-1"), "{text}");
    press(&mut s, "⎋1");
    s.on_answer(FleetAnswer::All(Err("no answer within 20 s".into()), Duration::ZERO));
    let text = drawn(&mut s, (100, 24));
    assert!(
        text.contains("shop/cart")
            && text.contains("old: answered")
            && text.contains("no answer within 20 s"),
        "{text}"
    );
    // Before the first answer.
    let mut new = FleetScreen::new(Theme::new(ThemeName::Dark), "http://x:1".into(), Duration::from_secs(15));
    assert!(drawn(&mut new, (80, 24)).contains("Asking http://x:1"));
    new.on_answer(FleetAnswer::All(Err("http://x:1: refused".into()), Duration::ZERO));
    assert!(drawn(&mut new, (80, 24)).contains("http://x:1: refused"));
}

/// Names come from a store: what is printed is one word to a shell, and nothing that a terminal takes for a command.
#[test]
fn a_hostile_name_stays_a_word() {
    let mut fleet = Fleet::clone(&sample());
    fleet.nodes[1].name = "x; rm -rf '/'".into();
    let mut s = FleetScreen::new(Theme::new(ThemeName::Dark), "x".into(), Duration::from_secs(15));
    s.on_answer(FleetAnswer::All(Ok(Arc::new(fleet)), Duration::ZERO));
    let FleetEvent::GoTo(command) = press(&mut s, "2↓\n") else { panic!("no command") };
    assert_eq!(command, r"kubectl kptop 'x; rm -rf '\''/'\'''");
}
