//! `kptop serve`, as Prometheus sees it; and what is made of it: rules and a dashboard.

use crate::common::prometheus::{Prometheus, serve};
use crate::common::recordings::Place;
use crate::common::{run, run_with, say};
use kptop::output::METRICS;
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const KPTOP: &str = env!("CARGO_BIN_EXE_kptop");

fn get(port: u16, path: &str, accept: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut all = String::new();
    stream.read_to_string(&mut all).unwrap();
    let (head, body) = all.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_lowercase(), body.to_string())
}

fn metrics(port: u16, accept: &str) -> String {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let (status, head, body) = get(port, "/metrics", accept);
        if status == 200 {
            assert_eq!(head.contains("openmetrics"), accept.contains("openmetrics"), "{head}");
            return body;
        }
        assert!(status == 503 && Instant::now() < end, "{status}: {body}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The value of a series whose line begins so.
fn value(text: &str, begin: &str) -> Option<f64> {
    text.lines().find(|l| l.starts_with(begin))?.rsplit_once(' ')?.1.parse().ok()
}

/// Names of metrics that an expression asks for.
fn asked(expr: &str) -> BTreeSet<String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    expr.split(|c: char| !word(c)).filter(|w| w.starts_with("kptop_")).map(str::to_string).collect()
}

fn asset(name: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets").join(name);
    std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

fn dashboard_expressions() -> Vec<String> {
    let d: Value = serde_json::from_str(&asset("grafana/kptop.json")).unwrap();
    let panels = d["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|p| p["targets"].as_array().unwrap());
    targets.map(|t| t["expr"].as_str().unwrap().to_string()).collect()
}

/// Expressions of the alerts: the lines that begin with `expr:`.
fn alert_expressions() -> Vec<String> {
    let text = asset("prometheus/kptop.rules.yaml");
    text.lines().filter_map(|l| l.trim().strip_prefix("expr: ").map(str::to_string)).collect()
}

#[test]
fn dashboard_and_alerts_ask_only_for_what_is_served() {
    let served: BTreeSet<String> = METRICS.iter().map(|m| m.full_name()).collect();
    assert_eq!(served.len(), METRICS.len(), "two metrics share a name");
    let (panels, alerts) = (dashboard_expressions(), alert_expressions());
    assert!(panels.len() > 15 && alerts.len() >= 10);
    for e in panels.iter().chain(&alerts) {
        let names = asked(e);
        assert!(!names.is_empty(), "{e} asks for nothing");
        let unknown: Vec<_> = names.difference(&served).collect();
        assert!(unknown.is_empty(), "{e}: no metric {unknown:?}");
    }
    // The dashboard is one that Grafana takes: panels with places that do not overlap, variables that are defined.
    let d: Value = serde_json::from_str(&asset("grafana/kptop.json")).unwrap();
    assert!(d["schemaVersion"].as_u64().unwrap() >= 36 && d["uid"].is_string() && d["title"].is_string());
    let mut taken = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for p in d["panels"].as_array().unwrap() {
        assert!(ids.insert(p["id"].as_u64().unwrap()));
        assert!(p["type"].is_string() && p["title"].is_string());
        let g = |k: &str| p["gridPos"][k].as_u64().unwrap();
        assert!(g("x") + g("w") <= 24);
        for x in g("x")..g("x") + g("w") {
            for y in g("y")..g("y") + g("h") {
                assert!(taken.insert((x, y)), "{} overlaps another panel", p["title"]);
            }
        }
    }
    let variables: Vec<&str> =
        d["templating"]["list"].as_array().unwrap().iter().map(|v| v["name"].as_str().unwrap()).collect();
    for e in &panels {
        for used in
            e.split('$').skip(1).map(|r| r.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap())
        {
            assert!(variables.contains(&used) || used == "__rate_interval", "{e}: no variable {used}");
        }
    }
    run("promtool", &["check", "rules", "assets/prometheus/kptop.rules.yaml"]);
}

#[test]
fn promtool_accepts_what_is_served_and_limits_hold() {
    let (_kptop, port) = serve(&["--demo", "iptables"]);
    let text = metrics(port, "text/plain");
    assert_eq!(run_with("promtool", &["check", "metrics"], &text), "");
    let open = metrics(port, "application/openmetrics-text; version=1.0.0");
    assert!(open.ends_with("# EOF\n"));
    // Both say the same.
    let lines = |t: &str| t.lines().filter(|l| !l.starts_with('#')).count();
    assert_eq!(lines(&text), lines(&open));
    let begin = "kptop_service_healthy{namespace=\"shop\",service=\"frontend\",port=\"http\",protocol=\"tcp\",family=\"ipv4\"";
    assert_eq!(value(&text, begin), Some(1.0), "{text}");
    assert_eq!(value(&text, &begin.replace("frontend", "payments")), Some(0.0));
    assert!(value(&text, "kptop_findings{id=\"no_endpoints\"").is_some_and(|n| n >= 1.0));
    assert!(value(&text, "kptop_conntrack_limit").is_some_and(|n| n > 0.0));
    assert_eq!(get(port, "/healthz", "*/*").0, 200);
    assert_eq!(get(port, "/nope", "*/*").0, 404);
    // Every series is one that the list says.
    let served: BTreeSet<String> = METRICS.iter().map(|m| m.full_name()).collect();
    for l in text.lines().filter(|l| !l.starts_with('#')) {
        let name = l.split(['{', ' ']).next().unwrap();
        assert!(served.contains(name), "{name}");
    }
    let (_kptop, port) = serve(&["--demo", "iptables", "--max-services", "3", "--max-backends", "2"]);
    let text = metrics(port, "text/plain");
    let count = |name: &str| text.lines().filter(|l| l.starts_with(&format!("{name}{{"))).count();
    assert_eq!((count("kptop_service_healthy"), count("kptop_backend_flows")), (3, 2));
    assert!(value(&text, "kptop_left_out{kind=\"services\"}").is_some_and(|n| n > 20.0));
    let (_kptop, port) = serve(&["--demo", "nftables", "--namespace", "media"]);
    let text = metrics(port, "text/plain");
    let of: Vec<&str> = text.lines().filter(|l| l.starts_with("kptop_service_healthy{")).collect();
    assert!(!of.is_empty() && of.iter().all(|l| l.contains("namespace=\"media\"")), "{of:?}");
}

/// Debian's Prometheus scrapes it, loads the alerts, and answers every question of the dashboard.
#[test]
fn prometheus_scrapes_without_an_error() {
    let (_kptop, port) = serve(&["--demo", "iptables"]);
    metrics(port, "text/plain");
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/prometheus/kptop.rules.yaml");
    let prometheus = Prometheus::start(&format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: ['{}']\nscrape_configs:\n- job_name: kptop\n  static_configs: [{{targets: ['127.0.0.1:{port}']}}]\n",
        rules.display()
    ));
    let ask = |path: &str| prometheus.ask(path);
    let query = |expr: &str| prometheus.query(expr);
    prometheus.wait_for("scrape_samples_scraped", 101.0, Duration::from_secs(60));
    let samples = prometheus.number("scrape_samples_scraped").unwrap();
    let up = |t: &Value| t["data"]["activeTargets"][0]["health"] == "up";
    let targets = crate::common::wait_until(|| ask("/api/v1/targets").unwrap_or_default(), up);
    let target = &targets["data"]["activeTargets"][0];
    assert_eq!((target["health"].as_str(), target["lastError"].as_str()), (Some("up"), Some("")), "{target}");
    // The rules are loaded, and none has an error.
    let is_active = |groups: &Value| {
        let rules = groups["data"]["groups"][0]["rules"].as_array();
        rules.is_some_and(|r| r.iter().any(|r| r["name"] == "KptopTrafficDies" && r["state"] != "inactive"))
    };
    let groups = crate::common::wait_until(|| ask("/api/v1/rules").unwrap_or_default(), is_active);
    let rules = groups["data"]["groups"][0]["rules"].as_array().unwrap();
    assert_eq!(rules.len(), alert_expressions().len());
    for r in rules {
        assert_eq!(r["health"], "ok", "{r}");
    }
    // The demo has Services without endpoints: that alert is on its way.
    let dies = rules.iter().find(|r| r["name"] == "KptopTrafficDies").unwrap();
    assert_ne!(dies["state"], "inactive", "{dies}");
    let questions = || -> usize {
        let mut with_data = 0;
        for expr in dashboard_expressions() {
            let mut asked = expr.replace("$__rate_interval", "1m");
            for v in ["$instance", "$namespace", "$service"] {
                asked = asked.replace(v, ".*");
            }
            let answer = query(&asked).unwrap();
            assert_eq!(answer["status"], "success", "{expr}: {answer}");
            with_data += usize::from(answer["data"]["result"].as_array().is_some_and(|r| !r.is_empty()));
        }
        with_data
    };
    // Rates need two scrapes.
    let with_data = crate::common::wait_until(questions, |n| *n >= 14);
    assert!(with_data >= 14, "only {with_data} questions of the dashboard had an answer");
    let log = prometheus.log();
    assert!(!log.contains("level=error") && !log.contains("Append failed"), "{log}");
    say(&format!("{samples} samples a scrape, {with_data} questions of the dashboard with data"));
}

/// Clients that hold their places do not shut a scrape out: it comes through at once, again and again.
#[test]
fn clients_that_hold_their_places_shut_nobody_out() {
    let (_running, port) = serve(&["--no-api"]);
    metrics(port, "text/plain");
    let asks = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(20);
    for manner in ["silent", "slow", "do not read"] {
        let mut held: Vec<TcpStream> = Vec::new();
        for _ in 0..300 {
            let mut s = TcpStream::connect(("127.0.0.1", port)).unwrap();
            match manner {
                "slow" => s.write_all(b"G").unwrap(),
                "do not read" => s.write_all(asks.as_bytes()).unwrap(),
                _ => {}
            }
            held.push(s);
        }
        for _ in 0..10 {
            let began = Instant::now();
            let (status, ..) = get(port, "/metrics", "text/plain");
            assert_eq!(status, 200);
            // By itself a place becomes free after 10 s (`PATIENCE`): nobody waited for that, however slow the machine.
            assert!(began.elapsed() < Duration::from_secs(9), "{manner}: {:?}", began.elapsed());
        }
        drop(held);
    }
}

/// What a client accepts is what it gets.
#[test]
fn qualities_and_packing_are_honoured() {
    // With Services, as on a node: a text of a few names says nothing about packing.
    let (_running, port) = serve(&["--demo", "iptables"]);
    metrics(port, "text/plain");
    let kind = |accept: &str| get(port, "/metrics", accept).1;
    assert!(kind("application/openmetrics-text;q=0").contains("text/plain"));
    assert!(kind("application/openmetrics-text;q=0.1,text/plain;q=0.9").contains("version=0.0.4"));
    assert!(
        kind("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3").contains("openmetrics")
    );
    let url = format!("http://127.0.0.1:{port}/metrics");
    let plain = run("curl", &["-s", &url]);
    let packed =
        Command::new("curl").args(["-s", "-H", "Accept-Encoding: gzip", &url]).output().unwrap().stdout;
    let mut unpacked = String::new();
    flate2::read::GzDecoder::new(&packed[..]).read_to_string(&mut unpacked).unwrap();
    // Rows come and go between two looks; names stay.
    let names = |text: &str| text.lines().filter(|l| l.starts_with("# TYPE")).count();
    assert_eq!(names(&unpacked), names(&plain));
    assert!(unpacked.ends_with('\n'));
    assert!(packed.len() < plain.len() / 3, "{} of {}", packed.len(), plain.len());
}

/// Pages that name Services are closed unless a flag opens each, with a token of its own; what they print is what the commands do.
#[test]
fn pages_are_opened_one_by_one() {
    let place = Place::new("pages");
    let [snapshot, doctor, explain] = ["snapshot", "doctor", "explain"].map(|name| {
        let file = place.file(name);
        std::fs::write(&file, format!("{name}-secret\n")).unwrap();
        file.display().to_string()
    });
    let (_closed, port) = serve(&["--no-api"]);
    metrics(port, "text/plain");
    for path in ["/snapshot", "/doctor", "/explain?to=10.96.2.9"] {
        let (status, _, body) = get(port, path, "*/*");
        assert_eq!((status, body.as_str()), (404, "there are /metrics, /healthz\n"), "{path}");
    }
    let flags = ["--snapshot", &snapshot, "--doctor", &doctor, "--explain", &explain];
    let (_open, port) = serve(&[&["--demo", "iptables"][..], &flags].concat());
    metrics(port, "text/plain");
    let ask = |path: &str, token: &str| {
        let url = format!("http://127.0.0.1:{port}{path}");
        let auth = format!("Authorization: Bearer {token}");
        let text = run("curl", &["-s", "-w", "\n%{http_code}", "-H", &auth, &url]);
        let (body, status) = text.rsplit_once('\n').unwrap();
        (status.to_string(), serde_json::from_str::<Value>(body).unwrap_or(Value::String(body.to_string())))
    };
    // A token opens its own page alone.
    assert_eq!(ask("/snapshot", "doctor-secret").0, "401");
    let (status, json) = ask("/snapshot", "snapshot-secret");
    assert_eq!((status.as_str(), json["schema"].as_str()), ("200", Some("kptop.snapshot/1")));
    assert_eq!(json["services"].as_array().unwrap().len(), 35);
    let (status, json) = ask("/doctor", "doctor-secret");
    assert_eq!((status.as_str(), json["schema"].as_str()), ("200", Some("kptop.doctor/1")));
    let (status, json) = ask("/explain?to=shop%2Fcart&client=outside", "explain-secret");
    assert_eq!((status.as_str(), json["schema"].as_str()), ("200", Some("kptop.explain/1")), "{json}");
    for (path, why) in [
        ("/explain", "where to?"),
        ("/explain?to=shop/nothing", "shop/nothing"),
        ("/explain?to=shop/cart&client=nobody", "nobody"),
        ("/explain?to=%ff%00%", ""),
    ] {
        let (status, body) = ask(path, "explain-secret");
        assert!(status == "400" && body.as_str().is_some_and(|b| b.contains(why)), "{path}: {status} {body}");
    }
    // What diff reads of a live node is what it reads of the page.
    let url = format!("http://127.0.0.1:{port}");
    let out = Command::new(KPTOP).args(["diff", &url, &url]).output().unwrap();
    assert_eq!(out.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&out.stderr).contains("--token-file FILE"));
    let text = run(KPTOP, &["diff", &url, &url, "--token-file", &snapshot]);
    assert!(
        text.contains("No difference between 2 nodes") && text.contains("kube-proxy, iptables"),
        "{text}"
    );
}

/// HTTPS, a token, and what listens to everybody says so.
#[test]
fn tls_and_tokens_by_files() {
    let place = Place::new("tls");
    let (cert, key, token) = (place.file("cert.pem"), place.file("key.pem"), place.file("token"));
    let [cert, key, token] = [&cert, &key, &token].map(|p| p.display().to_string());
    run(
        "openssl",
        &[
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=kptop",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-keyout",
            &key,
            "-out",
            &cert,
        ],
    );
    std::fs::write(&token, "secret\n").unwrap();
    let (_running, port) =
        serve(&["--no-api", "--tls-cert", &cert, "--tls-key", &key, "--token-file", &token]);
    let url = format!("https://127.0.0.1:{port}/metrics");
    let status = |args: &[&str]| {
        let mut all = vec!["-s", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", &cert];
        all.extend(args);
        run("curl", &all)
    };
    let until = Instant::now() + Duration::from_secs(20);
    while status(&["-H", "Authorization: Bearer secret", &url]) != "200" {
        assert!(Instant::now() < until);
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(status(&[&url]), "401");
    assert_eq!(status(&["-H", "Authorization: Bearer wrong", &url]), "401");
    assert_eq!(status(&[&url.replace("/metrics", "/healthz")]), "200");
    // Asked by another kptop: the certificate is checked.
    let (_page, port) = serve(&["--no-api", "--tls-cert", &cert, "--tls-key", &key, "--snapshot", &token]);
    let url = format!("https://127.0.0.1:{port}");
    let until = Instant::now() + Duration::from_secs(20);
    while !run("curl", &["-s", "--cacert", &cert, &format!("{url}/healthz")]).starts_with("ok") {
        assert!(Instant::now() < until);
        std::thread::sleep(Duration::from_millis(200));
    }
    let text = run(KPTOP, &["diff", &url, &url, "--token-file", &token, "--ca-file", &cert]);
    assert!(text.contains("No difference"), "{text}");
    let out = Command::new(KPTOP).args(["diff", &url, &url, "--token-file", &token]).output().unwrap();
    assert!(out.status.code() == Some(2) && String::from_utf8_lossy(&out.stderr).contains("--ca-file FILE"));
    // What is no certificate is said.
    let out = Command::new(KPTOP)
        .args(["serve", "--listen", "127.0.0.1:0", "--tls-cert", &token, "--tls-key", &key])
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&out.stderr).contains("holds no certificate"));
    let out =
        Command::new("timeout").args(["3", KPTOP, "serve", "--no-api", "--listen", ":0"]).output().unwrap();
    assert!(String::from_utf8_lossy(&out.stderr).contains("every address of this node"));
}
