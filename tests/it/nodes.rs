//! `kptop diff`: nodes side by side, of every kind of input, and which one is behind.

use crate::common::recordings::Place;
use crate::common::{run, set};
use kptop::nodes::{NodeState, compare};
use kptop::observe::Observer;
use kptop::proxy::Names;
use kptop::snapshot::dump;
use serde_json::Value;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

const KPTOP: &str = env!("CARGO_BIN_EXE_kptop");

fn small(version: &str, mode: &str) -> PathBuf {
    set(version, mode)
}

fn diff(args: &[&str]) -> (i32, String, String) {
    let out = Command::new(KPTOP).arg("diff").args(args).output().unwrap();
    let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
    (out.status.code().unwrap(), text(&out.stdout), text(&out.stderr))
}

/// What is compared of a snapshot's JSON is what is compared of the reading itself, for each captured set.
#[test]
fn a_snapshot_says_what_its_reading_says() {
    for mode in ["iptables-legacy", "iptables-nft", "nftables", "ipvs-legacy"] {
        let dir = small("1.36.2", mode);
        let json = run(KPTOP, &["snapshot", "--from", dir.to_str().unwrap(), "-o", "json"]);
        let of_json = NodeState::of_json(&json, "x").unwrap().pop().unwrap();
        let snapshot = dump::read_of(&[dir], 1 << 30, None).unwrap();
        let mut of_view =
            NodeState::of_view(&Observer::new(Names::default()).at_once().observe(snapshot), "x");
        // A snapshot says no findings, and its time to the millisecond.
        of_view.findings = None;
        of_view.taken_at = of_json.taken_at;
        assert_eq!(of_json, of_view, "{mode}");
        assert!(of_json.services > 20 && !of_json.is_empty());
    }
}

/// One Service is the same in each mode, but for what rules of a mode cannot say.
#[test]
fn nodes_in_different_modes_hold_the_same_services() {
    let dirs =
        ["iptables-legacy", "iptables-nft", "nftables"].map(|m| small("1.36.2", m).display().to_string());
    let args: Vec<&str> = dirs.iter().map(String::as_str).chain(["-o", "json"]).collect();
    let (code, text, _) = diff(&args);
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, json["schema"].as_str()), (1, Some("kptop.diff/1")));
    for d in json["differences"].as_array().unwrap() {
        assert!(d["subject"].is_null(), "only settings differ: {d}");
    }
}

#[test]
fn a_stale_node_among_a_hundred_is_the_odd_one() {
    let place = Place::new("fleet");
    let dir = small("1.36.2", "nftables");
    let json = run(KPTOP, &["snapshot", "--from", dir.to_str().unwrap(), "-o", "json"]);
    let mut files = Vec::new();
    for n in 0..100 {
        let mut one: Value = serde_json::from_str(&json).unwrap();
        one["node"]["hostname"] = format!("worker-{n}").into();
        if n == 42 {
            let services = one["services"].as_array_mut().unwrap();
            services.retain(|s| s["name"] != "redis-leader");
            let cart = services.iter_mut().find(|s| s["name"] == "cart").unwrap();
            cart["backends"].as_array_mut().unwrap().pop();
        }
        let file = place.file(&format!("{n}.json"));
        std::fs::write(&file, one.to_string()).unwrap();
        files.push(file.display().to_string());
    }
    let args: Vec<&str> = files.iter().map(String::as_str).collect();
    let (code, text, err) = diff(&args);
    assert_eq!(code, 1, "{err}");
    // It is the first row, and the only one that differs.
    assert!(text.lines().nth(1).unwrap().starts_with("worker-42 "), "{text}");
    assert!(text.contains("worker-42 differs from the others:"), "{text}");
    // Of those that are alike one is shown.
    assert!(text.contains("and 98 more nodes that do not differ (--all)"), "{text}");
    assert_eq!(diff(&[&args[..], &["--all"]].concat()).1.matches("worker-").count(), 101, "--all");
    assert!(text.contains("is not there (99 of 100 nodes have it)"), "{text}");
    assert!(text.contains("shop/cart TCP") && text.contains("lacks the backend"), "{text}");
    assert_eq!(text.matches("differs from the others").count(), 1, "{text}");
}

/// As `kubectl kptop --all doctor` gathers them: a snapshot and what the doctor says of each node, one after the other.
#[test]
fn nodes_come_one_after_the_other_through_a_pipe() {
    let sets = ["iptables-legacy", "nftables"].map(|m| small("1.36.2", m).display().to_string());
    let mut stream = Vec::new();
    for dir in &sets {
        stream.extend(run_any(&["snapshot", "--from", dir, "-o", "json"]));
        stream.extend(run_any(&["doctor", "--from", dir, "-o", "json"]));
    }
    let stream = String::from_utf8(stream).unwrap();
    let (ok, text) = piped(&["diff", "-"], &stream);
    assert_eq!(ok, 1, "{text}");
    assert!(text.contains("Findings:") && text.contains("on all nodes"), "{text}");
    assert!(text.contains("critical") && text.contains("mode: nftables ipv4"), "{text}");
    // Cut in the middle of the second one: said, and nothing is compared.
    let (code, text) = piped(&["diff", "-"], &stream[..stream.len() * 3 / 4]);
    assert_eq!(code, 2, "{text}");
}

#[test]
fn two_nodes_are_named_on_both_sides() {
    let place = Place::new("two");
    let [a, b] = ["a.rec", "b.rec"].map(|f| place.file(f).display().to_string());
    for file in [&a, &b] {
        run(KPTOP, &["record", file, "--demo", "iptables", "--for", "3", "--every", "1"]);
    }
    let (_, text, err) = diff(&[&a, &b]);
    assert!(text.contains("(a.rec)") && text.contains("(b.rec)"), "{text}{err}");
    assert!(!text.contains("backend 10.244"), "{text}");
    // A recording beside what another tool wrote.
    let dir = small("1.36.2", "nftables").display().to_string();
    let (code, text, _) = diff(&[&a, &dir]);
    assert_eq!(code, 1);
    assert!(text.contains("mode: nftables ipv4"), "{text}");
}

#[test]
fn wrong_input_says_the_next_step() {
    let place = Place::new("wrong");
    let cut = place.file("cut.json");
    std::fs::write(&cut, "{\"schema\":\"kptop.snapshot/1\",\"node\":{").unwrap();
    let other = place.file("other.json");
    let doctor = run_any(&["doctor", "--from", small("1.36.2", "nftables").to_str().unwrap(), "-o", "json"]);
    std::fs::write(&other, doctor).unwrap();
    let good = small("1.36.2", "nftables").display().to_string();
    let text = |p: &PathBuf| p.display().to_string();
    for (args, why) in [
        (vec![good.clone()], "at least two nodes"),
        (vec![good.clone(), "/nonexistent".into()], "there is no /nonexistent"),
        (vec![good.clone(), text(&cut)], "is no snapshot"),
        (vec![good.clone(), text(&other)], "a snapshot is needed"),
        (vec![good.clone(), "http://127.0.0.1:1".into()], "is `kptop serve --snapshot FILE` running there?"),
        (vec!["--from".into(), good.clone(), "diff".into(), good.clone()], "without --from"),
    ] {
        let out = match args[0].as_str() {
            "--from" => Command::new(KPTOP).args(&args).output().unwrap(),
            _ => Command::new(KPTOP).arg("diff").args(&args).output().unwrap(),
        };
        let err = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.code() == Some(2) && err.contains(why), "{args:?}: {err}");
    }
}

/// kptop with this on its standard input: its exit code and output.
fn piped(args: &[&str], input: &str) -> (i32, String) {
    let mut child = Command::new(KPTOP)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_string());
    let feeder = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let out = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
    (out.status.code().unwrap(), text(&out.stdout) + &text(&out.stderr))
}

/// The plugin on a cluster of two nodes, one of them with the DaemonSet's pod: `kubectl` is a script that answers as it does.
#[test]
fn the_plugin_gathers_all_nodes() {
    let place = Place::new("plugin");
    let [a, b] = ["iptables-legacy", "nftables"].map(|m| small("1.36.2", m).display().to_string());
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let bin = place.file("bin");
    std::fs::create_dir_all(&bin).unwrap();
    let script = |name: &str, text: &str| {
        let file = bin.join(name);
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    };
    let log = place.file("log");
    script(
        "kubectl",
        &format!(
            r#"#!/bin/sh
echo "$*" >> {log}
case "$*" in
"get nodes "*) printf 'worker-1\nworker-2\n' ;;
*"get pods "*spec.nodeName=worker-2*) printf '' ;;
*"get pods "*) printf 'kptop-abc' ;;
*"exec -i kptop-abc -- /kptop diff -") exec {KPTOP} diff - ;;
*"exec kptop-abc -- /kptop "*) shift 6; exec {KPTOP} --from {a} "$@" ;;
"debug node/worker-2 "*) while [ "$1" != -- ]; do shift; done; shift 2; exec {KPTOP} --from {b} "$@" ;;
*) echo "kubectl: what is $*?" >&2; exit 1 ;;
esac
"#,
            log = log.display()
        ),
    );
    let plugin = |args: &[&str], path: &str| {
        let out =
            Command::new(root.join("assets/kubectl-kptop")).args(args).env("PATH", path).output().unwrap();
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        (out.status.code().unwrap(), text(&out.stdout), text(&out.stderr))
    };
    let without_kptop = format!("{}:/usr/bin:/bin", bin.display());
    let (code, text, err) = plugin(&["--all", "doctor"], &without_kptop);
    assert!(code == 1 && text.contains("Findings:") && text.contains("mode: nftables"), "{text}{err}");
    let (code, text, err) = plugin(&["--all", "diff"], &without_kptop);
    assert!(code == 1 && text.contains("no bad Service") | text.contains("bad"), "{text}{err}");
    assert!(!text.contains("Findings:"), "{text}");
    let (code, text, err) = plugin(&["--all", "snapshot"], &without_kptop);
    assert_eq!((code, text.lines().count()), (0, 2), "{err}");
    assert!(
        std::fs::read_to_string(&log).unwrap().contains("debug node/worker-2 -i --quiet --profile=sysadmin")
    );
    // What cannot be is said.
    assert_eq!(plugin(&["--all"], &without_kptop).0, 2);
    assert_eq!(plugin(&["--all", "top"], &without_kptop).0, 2);
    let (code, _, err) = plugin(&["--all", "diff"], "/nonexistent");
    assert!(code != 0 && !err.is_empty());
}

/// What node-problem-detector runs: one line within its limit, and exit codes that it expects.
#[test]
fn the_doctor_in_one_line_for_monitors() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("assets/node-problem-detector/kptop.json")).unwrap();
    let config: Value = serde_json::from_str(&text).unwrap();
    let (most, rule) = (config["pluginConfig"]["max_output_length"].as_u64().unwrap(), &config["rules"][0]);
    let conditions = config["conditions"].as_array().unwrap();
    assert!(conditions.iter().any(|c| c["type"] == rule["condition"]), "{config}");
    let args: Vec<&str> = rule["args"].as_array().unwrap().iter().map(|a| a.as_str().unwrap()).collect();
    let dir = small("1.36.2", "iptables-legacy").display().to_string();
    let from: Vec<&str> =
        ["--from", dir.as_str()].into_iter().chain(args).filter(|a| *a != "--no-api").collect();
    let out = Command::new(KPTOP).args(from).output().unwrap();
    let line = String::from_utf8(out.stdout).unwrap();
    assert_eq!(out.status.code(), Some(1), "{line}");
    assert!(line.lines().count() == 1 && line.trim_end().len() as u64 <= most, "{line}");
    assert_eq!(line, "1 critical, 1 warning: default/no-selector-db:pg TCP: no backend answers\n");
    // Of any length, between characters.
    let snapshot = dump::read_of(&[PathBuf::from(&dir)], 1 << 30, None).unwrap();
    let view = Observer::new(Names::default()).at_once().observe(snapshot);
    for most in 0..80 {
        let line = kptop::output::examination_line(&view.examination, most);
        assert!(
            line.len() <= most.max(3) && (line.ends_with('…') || line.ends_with("answers")),
            "{most}: {line}"
        );
    }
    let (code, text) = piped(&["doctor", "--line", "--from", "/nonexistent"], "");
    assert!(code == 2 && !text.is_empty());
}

fn run_any(args: &[&str]) -> Vec<u8> {
    Command::new(KPTOP).args(args).output().unwrap().stdout
}

/// Altered snapshots are read or refused, and never crash; what is read can be compared.
#[test]
fn altered_snapshots_never_crash() {
    let dir = small("1.36.2", "iptables-legacy");
    let json = run(KPTOP, &["snapshot", "--from", dir.to_str().unwrap(), "-o", "json"]);
    let whole = NodeState::of_json(&json, "whole").unwrap().pop().unwrap();
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = |n: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % n as u64) as usize
    };
    let mut read = 0;
    for _ in 0..400 {
        let mut bytes = json.clone().into_bytes();
        for _ in 0..=next(3) {
            let at = next(bytes.len());
            match next(3) {
                0 => bytes[at] = b"0\"{}[],:nx-"[next(11)],
                1 => drop(bytes.splice(at..(at + next(40)).min(bytes.len()), [])),
                _ => bytes.truncate(at.max(1)),
            }
        }
        if let Ok(states) = NodeState::of_json(&String::from_utf8_lossy(&bytes), "altered") {
            read += 1;
            compare(&mut [std::slice::from_ref(&whole), &states[..]].concat());
        }
    }
    assert!(read > 10, "only {read} of 400 were read: nothing was tried");
}
