//! The program as a user meets it, mistakes included.

use crate::common::{in_new_netns, load_legacy, run, set};
use serde_json::Value;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};

const KPTOP: &str = env!("CARGO_BIN_EXE_kptop");
const NOBODY: u32 = 65534;

fn kptop(args: &[&str]) -> Output {
    Command::new(KPTOP).args(args).stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn json(out: &Output) -> Value {
    serde_json::from_slice(&out.stdout).unwrap()
}

#[test]
fn mistakes_get_a_sentence_and_exit_code_2() {
    for (args, part) in [
        (&["--nonsense"][..], "--nonsense"),
        (&["snapshot", "-o", "yaml"], "possible values"),
        (&["--interval", "0"], "between 0.1 and 3600"),
        (&["--interval", "soon"], "not a number"),
        (&["snapshot", "--netns", "nowhere"], "there is no /run/netns/nowhere"),
        (&["snapshot", "--netns", "999999999"], "no process 999999999"),
        (&["snapshot", "--netns", "/etc/passwd"], "/etc/passwd"),
        (&["snapshot", "--netns", ""], "opening the network namespace"),
        (&["snapshot", "--names", "/no/such/file"], "/no/such/file"),
        (&["snapshot", "--netns", "/etc/passwd"], "not a network namespace"),
        (&["demo", "--netns", "x"], "do not go with it"),
        (&["demo", "--services", "0"], "0"),
        (&["demo", "--traffic", "99"], "between 0 and 10"),
        (&["--config", "/no/such/file"], "/no/such/file"),
        (&["--theme", "pink"], "possible values: dark, light, high-contrast, ansi, none"),
        (&["snapshot", "--over", "0"], "between 0.1 and 3600"),
        (&["shot", "/tmp/x.svg", "--size", "10x10"], "60x15"),
        (&["shot", "/tmp/x.svg", "--keys", "<Return>"], "there are <Enter>"),
        (&["shot", "/no/such/folder/x.svg", "--for", "1"], "/no/such/folder/x.svg"),
        (&["shop/cart", "snapshot"], "on the screen only"),
        (&["nosuch"], "neither a command"),
        (&["snapsho"], "is it `snapshot`?"),
        (&[], "the screen needs a terminal"),
    ] {
        let out = kptop(args);
        let err = text(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{args:?}: {err}");
        assert!(err.contains(part), "{args:?}: {err}");
        assert!(!err.contains("panicked"), "{err}");
        assert!(out.stdout.is_empty());
    }
}

/// A file of this test alone.
fn file(name: &str, content: &str) -> std::path::PathBuf {
    let file = std::env::temp_dir().join(format!("kptop-{name}-{}", std::process::id()));
    std::fs::write(&file, content).unwrap();
    file
}

#[test]
fn the_printed_config_is_taken_and_a_wrong_one_is_told_by_line_and_column() {
    let printed = kptop(&["config"]);
    assert_eq!(printed.status.code(), Some(0));
    let path = file("config", &text(&printed.stdout));
    // It goes on to the next thing that is missing here: a terminal.
    let out = kptop(&["--config", path.to_str().unwrap()]);
    assert!(text(&out.stderr).contains("the screen needs a terminal"), "{}", text(&out.stderr));
    std::fs::write(&path, "theme = \"dark\"\n[services]\nsort = \"nam\"\n").unwrap();
    let out = kptop(&["--config", path.to_str().unwrap()]);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(out.status.code(), Some(2));
    let err = text(&out.stderr);
    assert!(err.contains("line 3, column 8: no column `nam`") && err.contains("kptop config"), "{err}");
}

#[test]
fn csv_has_every_service_and_rates_over_a_time() {
    in_new_netns(|| {
        load_legacy(&set("1.36.2", "iptables-legacy"));
        let rows = |args: &[&str]| -> Vec<Vec<String>> {
            let out = kptop(&[&["snapshot", "-o", "csv"], args].concat());
            assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
            let row = |l: &str| l.split(',').map(str::to_string).collect();
            text(&out.stdout).split_terminator("\r\n").map(row).collect()
        };
        let once = rows(&[]);
        let d = json(&kptop(&["snapshot", "-o", "json"]));
        assert_eq!(once.len(), d["services"].as_array().unwrap().len() + 1);
        assert!(once.iter().all(|r| r.len() == once[0].len()));
        let column = |name: &str| once[0].iter().position(|h| h == name).unwrap();
        assert!(once[1..].iter().any(|r| r[column("name")] == "shop/cart" && r[column("ns")] == "shop"));
        let flows = column("flows (1/s)");
        assert!(once[1..].iter().all(|r| r[flows].is_empty()), "one reading makes no rate");
        let twice = rows(&["--over", "0.3"]);
        assert!(twice[1..].iter().any(|r| r[flows] == "0"), "nothing came meanwhile");
    });
}

#[test]
fn a_picture_is_drawn_of_what_the_keys_show() {
    in_new_netns(|| {
        load_legacy(&set("1.36.2", "iptables-legacy"));
        let path = file("shot", "");
        let args = ["shot", path.to_str().unwrap(), "--for", "1", "--keys", "/cart<Enter><Enter>]]]"];
        let out = kptop(&[&args[..], &["--size", "100x30", "--theme", "light"]].concat());
        assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
        let svg = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        assert!(svg.contains("shop/cart") && svg.contains("KUBE-SVC-"), "{svg}");
    });
}

#[test]
fn a_wrong_list_of_names_is_told_by_line() {
    let file = std::env::temp_dir().join(format!("kptop-names-{}", std::process::id()));
    std::fs::write(&file, "shop/cart\nthis is no name\n").unwrap();
    let out = kptop(&["snapshot", "--names", file.to_str().unwrap()]);
    std::fs::remove_file(&file).unwrap();
    assert_eq!(out.status.code(), Some(2));
    assert!(text(&out.stderr).contains("line 2"), "{}", text(&out.stderr));
}

#[test]
fn an_empty_namespace_is_said_plainly() {
    in_new_netns(|| {
        let out = kptop(&["snapshot"]);
        assert_eq!(out.status.code(), Some(0));
        assert!(text(&out.stdout).contains("No Services of kube-proxy found"), "{}", text(&out.stdout));
        let d = json(&kptop(&["snapshot", "-o", "json"]));
        assert_eq!(d["schema"], "kptop.snapshot/1");
        assert_eq!(d["services"], Value::Array(vec![]));
        assert_eq!(d["tables"], Value::Array(vec![]));
        assert!(d["node"]["kernel"].is_string());
        assert_eq!(d["conntrack"]["count"], 0);
    });
}

#[test]
fn json_keeps_the_contract() {
    in_new_netns(|| {
        load_legacy(&set("1.36.2", "iptables-legacy"));
        let d = json(&kptop(&["snapshot", "-o", "json"]));
        let modes = d["modes"].as_array().unwrap();
        assert_eq!(modes[0]["mode"], "iptables");
        assert_eq!(modes[0]["variant"], "legacy");
        assert_eq!(modes[0]["state"], "active");
        assert_eq!(modes[0]["rules"], 399 + 33);
        let services = d["services"].as_array().unwrap();
        let find = |name: &str, port: &str, family: &str| {
            let found = services
                .iter()
                .find(|s| s["name"] == name && s["port_name"] == port && s["family"] == family);
            found.unwrap_or_else(|| panic!("{name}:{port}")).clone()
        };
        let cart = find("cart", "", "ipv4");
        assert_eq!(cart["namespace"], "shop");
        assert_eq!(cart["named_by"], "comment");
        assert_eq!(cart["protocol"], "TCP");
        assert_eq!(cart["frontends"][0]["kind"], "cluster_ip");
        assert_eq!(cart["frontends"][0]["address"], "10.96.2.3");
        assert_eq!(cart["frontends"][0]["traffic_policy"], "cluster");
        assert_eq!(cart["frontends"][0]["source_ranges"], Value::Null);
        assert_eq!(cart["backends"].as_array().unwrap().len(), 4);
        assert_eq!(cart["backends"][0]["share"], 0.25);
        let counters = &cart["backends"][0]["counters"];
        assert_eq!(counters["source"], "nat_rule");
        assert!(counters["flows"].is_u64());
        assert_eq!(counters["packets"], Value::Null);
        let redis = find("redis-leader", "redis", "ipv4");
        assert_eq!(redis["session_affinity_s"], 10800);
        let remote = find("ingress-remote-only", "http", "ipv4");
        assert_eq!(remote["health_check_node_port"], 32101);
        let lb =
            remote["frontends"].as_array().unwrap().iter().find(|f| f["kind"] == "load_balancer_ip").unwrap();
        assert_eq!(lb["action"], "drop");
        assert_eq!(lb["source_ranges"][0], "203.0.113.0/24");
        let node_port =
            remote["frontends"].as_array().unwrap().iter().find(|f| f["kind"] == "node_port").unwrap();
        assert_eq!(node_port["address"], Value::Null);
        // Ordered by namespace, name, port name, protocol, family.
        let keys: Vec<String> = services
            .iter()
            .map(|s| {
                format!(
                    "{}\0{}\0{}\0{}\0{}",
                    s["namespace"], s["name"], s["port_name"], s["protocol"], s["family"]
                )
            })
            .collect();
        assert!(keys.is_sorted());
        let tables = d["tables"].as_array().unwrap();
        let nat = tables.iter().find(|t| t["name"] == "nat" && t["family"] == "ip").unwrap();
        assert_eq!((&nat["backend"], &nat["rules"]), (&"x_tables".into(), &399.into()));
        assert!(nat["bytes"].as_u64().unwrap() > 100_000);
        assert!(d["taken_at"].as_str().unwrap().ends_with('Z'));
    });
}

#[test]
fn a_closed_pipe_is_no_error() {
    in_new_netns(|| {
        load_legacy(&set("1.36.2", "iptables-legacy"));
        for format in ["table", "json"] {
            let mut child = Command::new(KPTOP)
                .args(["snapshot", "-o", format])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            drop(child.stdout.take());
            let mut err = String::new();
            child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
            assert_eq!(child.wait().unwrap().code(), Some(0), "{err}");
            assert_eq!(err, "");
        }
    });
}

/// The program where an ordinary user can run it, wherever the checkout is.
fn for_everybody() -> std::path::PathBuf {
    let path =
        std::env::temp_dir().join(format!("kptop-{}-{:?}", std::process::id(), std::thread::current().id()));
    // By another process: a test beside this one may start a program while this one has the copy open for writing,
    // and its child would hold it open ("text file busy").
    run("cp", &[KPTOP, path.to_str().unwrap()]);
    path
}

#[test]
fn without_privileges_it_names_what_it_lacks_and_shows_the_rest() {
    in_new_netns(|| {
        run("iptables-legacy", &["-t", "nat", "-L"]);
        let program = for_everybody();
        let out =
            Command::new(&program).args(["snapshot", "-o", "json"]).uid(NOBODY).gid(NOBODY).output().unwrap();
        let table = Command::new(&program).arg("snapshot").uid(NOBODY).gid(NOBODY).output().unwrap();
        std::fs::remove_file(&program).unwrap();
        assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
        let d = json(&out);
        let unread = d["unread"].as_array().unwrap();
        let why = |what: &str| {
            unread.iter().find(|u| u["what"].as_str().unwrap().contains(what)).map(|u| u["why"].to_string())
        };
        assert!(why("x_tables").unwrap().contains("CAP_NET_ADMIN"), "{unread:?}");
        assert!(why("flows").is_none_or(|w| w.contains("CAP_NET_ADMIN")), "{unread:?}");
        assert!(d["conntrack"]["max"].is_u64(), "sysctls need no privileges");
        assert!(d["node"]["hostname"].is_string());
        assert!(text(&table.stdout).contains("CAP_NET_ADMIN"), "{}", text(&table.stdout));
    });
}

#[test]
fn the_demo_runs_as_an_ordinary_user_where_the_kernel_lets_it() {
    let program = for_everybody();
    let demo = |more: &[&str]| {
        let arguments = ["demo", "-o", "json", "--for", "2"];
        Command::new(&program).args(arguments).args(more).uid(NOBODY).gid(NOBODY).output().unwrap()
    };
    let out = demo(&[]);
    if out.status.code() == Some(2) {
        let err = text(&out.stderr);
        std::fs::remove_file(&program).unwrap();
        assert!(err.contains("user namespace") && err.contains("->"), "{err}");
        return;
    }
    // More than an ordinary user may send the kernel at once.
    let many = json(&demo(&["--mode", "iptables-nft", "--services", "1500"]));
    std::fs::remove_file(&program).unwrap();
    assert!(many["services"].as_array().unwrap().len() > 1490);
    let d = json(&out);
    assert!(d["services"].as_array().unwrap().len() > 30);
    let flows: u64 = d["services"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|s| s["backends"].as_array().unwrap())
        .filter_map(|b| b["counters"]["flows"].as_u64())
        .sum();
    assert!(flows > 20, "{flows} flows");
}

/// Also when killed, the demo leaves no namespace behind.
#[test]
fn a_killed_demo_leaves_nothing() {
    let mut demo = Command::new(KPTOP)
        .args(["demo", "-o", "json", "--for", "60"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let fds = format!("/proc/{}/fd", demo.id());
    // Held open here: the kernel gives the number of a namespace that is gone to the next one, of another test perhaps.
    let namespaces = || -> Vec<(String, std::fs::File)> {
        std::fs::read_dir(&fds)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|e| {
                let name = std::fs::read_link(e.path()).ok()?.to_str()?.to_string();
                let is_net = name.starts_with("net:[");
                is_net.then_some(())?;
                Some((name, std::fs::File::open(e.path()).ok()?))
            })
            .collect()
    };
    let began = std::time::Instant::now();
    let mut held = namespaces();
    while held.len() < 4 {
        assert!(began.elapsed().as_secs() < 20, "the demo made no namespaces");
        std::thread::sleep(std::time::Duration::from_millis(50));
        held = namespaces();
    }
    demo.kill().unwrap();
    demo.wait().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(ns) = std::fs::read_link(process.path().join("ns/net")) else { continue };
        let is_held = held.iter().any(|(name, _)| *name == ns.to_string_lossy());
        assert!(!is_held, "{process:?} is still in {ns:?}");
    }
    assert!(!run("ip", &["netns", "list"]).contains("kptop"));
}

/// The doctor's contract: every cause is either looked for or not, and the exit code goes with what it found.
#[test]
fn the_doctor_has_a_contract() {
    let out = kptop(&["doctor", "--demo", "iptables", "--over", "1", "-o", "json"]);
    let d: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(d["schema"], "kptop.doctor/1");
    let (checked, unchecked) = (d["checked"].as_array().unwrap(), d["unchecked"].as_array().unwrap());
    assert_eq!(checked.len() + unchecked.len(), kptop::doctor::causes().count());
    assert!(unchecked.iter().all(|u| !u["why"].as_str().unwrap().is_empty()));
    let findings = d["findings"].as_array().unwrap();
    assert!(!findings.is_empty());
    for f in findings {
        for key in ["id", "severity", "title", "subject"] {
            assert!(!f[key].as_str().unwrap().is_empty(), "{f}");
        }
        let s = &f["service"];
        assert!(
            s.is_null() || (s["name"].is_string() && s["protocol"].is_string() && s["family"].is_string()),
            "{f}"
        );
        assert!(!f["evidence"].as_array().unwrap().is_empty() && !f["advice"].as_array().unwrap().is_empty());
    }
    let alarming = findings.iter().any(|f| f["severity"] != "info");
    assert_eq!(out.status.code(), Some(i32::from(alarming)));
}

/// A node without Services: nothing is wrong, and that there are none is said.
#[test]
fn an_empty_node_is_watched_and_examined() {
    in_new_netns(|| {
        let out = kptop(&["doctor", "--over", "0.2"]);
        let text = String::from_utf8(out.stdout).unwrap();
        assert!(
            out.status.success() && text.contains("Nothing that kptop reads holds a Service here"),
            "{text}"
        );
        let out = kptop(&["watch", "--every", "0.2", "--for", "0.5", "-o", "json"]);
        assert!(out.status.success() && out.stdout.is_empty());
        let out = kptop(&["drops", "--counters", "--for", "0.3", "-o", "json"]);
        let d: Value = serde_json::from_slice(&out.stdout).unwrap();
        assert_eq!((&d["schema"], &d["source"]), (&"kptop.drops/1".into(), &"counters".into()));
        assert!(out.status.success() && d["why"].is_string());
    });
}

/// Version, completions and man pages come out of the program itself.
#[test]
fn it_tells_its_version_and_makes_its_own_pages() {
    let out = text(&kptop(&["--version"]).stdout);
    assert!(out.starts_with(&format!("kptop {} (", env!("CARGO_PKG_VERSION"))), "{out}");
    assert!(out.contains("linux") && (out.contains("static") || out.contains("dynamic")), "{out}");
    for (shell, part) in [("bash", "_kptop()"), ("zsh", "#compdef kptop"), ("fish", "complete -c kptop")] {
        let out = text(&kptop(&["completions", shell]).stdout);
        assert!(out.contains(part) && out.contains("doctor"), "{shell}");
    }
    // What a shell itself says of it.
    let mut bash = Command::new("bash").arg("-n").stdin(Stdio::piped()).spawn().unwrap();
    let script = kptop(&["completions", "bash"]).stdout;
    std::io::Write::write_all(&mut bash.stdin.take().unwrap(), &script).unwrap();
    assert!(bash.wait().unwrap().success());
    let dir = std::env::temp_dir().join(format!("kptop-man-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    assert!(kptop(&["man", dir.to_str().unwrap()]).status.success());
    let mut pages: Vec<String> =
        std::fs::read_dir(&dir).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
    pages.sort();
    assert!(
        pages.contains(&"kptop.1".to_string()) && pages.contains(&"kptop-doctor.1".to_string()),
        "{pages:?}"
    );
    assert!(!pages.iter().any(|p| p.contains("guard")), "{pages:?}");
    let page = std::fs::read_to_string(dir.join("kptop-doctor.1")).unwrap();
    assert!(page.contains(".TH kptop") && page.contains("watch"), "{page}");
    std::fs::remove_dir_all(&dir).unwrap();
    assert_eq!(kptop(&["man", "/no/such/directory"]).status.code(), Some(2));
    assert_eq!(kptop(&["completions", "tcsh"]).status.code(), Some(2));
}

#[test]
fn recordings_and_files_are_read_by_every_command() {
    let place = crate::common::recordings::Place::new("cli");
    let made = place.file("a.rec");
    let made = made.to_str().unwrap();
    let out = kptop(&["record", made, "--demo", "nftables", "--every", "300ms", "--for", "1.5s"]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    assert!(text(&out.stdout).contains("readings"));
    // It is not written over; it is gone on with.
    let again = kptop(&["record", made, "--demo", "nftables", "--for", "1"]);
    assert_eq!(again.status.code(), Some(2));
    assert!(text(&again.stderr).contains("is there already"));
    let more = kptop(&["record", made, "--demo", "iptables", "--for", "1", "--append"]);
    assert_eq!(more.status.code(), Some(0), "{}", text(&more.stderr));
    let info = text(&kptop(&["replay", made, "--info"]).stdout);
    assert!(info.contains("whole") && info.matches(": 35 Services, ").count() == 2, "{info}");
    // Every command, with the flag before and behind.
    let snapshot = json(&kptop(&["--from", made, "snapshot", "-o", "json"]));
    assert_eq!(snapshot["modes"][0]["mode"], "iptables", "the newest session's");
    assert_eq!(snapshot["services"], json(&kptop(&["snapshot", "-o", "json", "--from", made]))["services"]);
    let doctor = kptop(&["doctor", "--from", made, "--over", "0.5", "-o", "json"]);
    assert_eq!(doctor.status.code(), Some(1));
    assert!(json(&doctor)["findings"].as_array().unwrap().iter().any(|f| f["id"] == "no_endpoints"));
    let explain = kptop(&["explain", "shop/frontend", "--from", made]);
    assert!(text(&explain.stdout).contains("10.244."), "{}", text(&explain.stderr));
    // `--from` takes several files, and what is behind them and is none is meant for the destination.
    for args in [
        &["explain", "--client", "outside", "--from", made, "198.51.100.20:443"][..],
        &["--from", made, "explain", "198.51.100.20:443", "--client", "outside"],
        &["explain", "198.51.100.20:443", "--from", made, "--client", "outside"],
    ] {
        let out = text(&kptop(args).stdout);
        assert!(out.contains("shop/partners") && out.contains("outside"), "{args:?}: {out}");
    }
    assert_eq!(kptop(&["compare", "--from", made]).status.code(), Some(0));
    assert!(text(&kptop(&["watch", "--from", made]).stdout).contains("watching"));
    // All of it, and the end of it.
    let of = |args: &[&str]| text(&kptop(args).stdout);
    let copy = place.file("copy.rec");
    assert!(
        of(&["--from", made, "record", copy.to_str().unwrap()])
            .starts_with(&format!("{} readings", of_session(&info)))
    );
    let taken = |o: Output| json(&o)["taken_at"].as_str().unwrap().to_string();
    let end = taken(kptop(&["snapshot", "-o", "json", "--from", made]));
    assert_eq!(taken(kptop(&["snapshot", "-o", "json", "--from", made, "--over", "0.7"])), end);
    // A pipe gives its bytes once.
    let mut piped = Command::new(KPTOP)
        .args(["snapshot", "-o", "json", "--from", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let saved = crate::common::read(&set("1.36.2", "iptables-legacy"), "iptables-save-c.txt").unwrap();
    std::io::Write::write_all(&mut piped.stdin.take().unwrap(), saved.as_bytes()).unwrap();
    let piped = piped.wait_with_output().unwrap();
    assert!(json(&piped)["services"].as_array().unwrap().len() > 20);
    // Without -c nothing is known of what was counted.
    let bare: String = saved
        .lines()
        .map(|l| format!("{}\n", l.split_once("] ").filter(|_| l.starts_with('[')).map_or(l, |x| x.1)))
        .collect();
    let file = place.file("bare.txt");
    std::fs::write(&file, bare).unwrap();
    let bare = json(&kptop(&["snapshot", "-o", "json", "--from", file.to_str().unwrap()]));
    let backends = |v: &Value| {
        v["services"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|s| s["backends"].as_array().unwrap().clone())
            .collect::<Vec<_>>()
    };
    assert!(backends(&bare).iter().all(|b| b["counters"]["flows"].is_null()));
    assert!(backends(&json(&piped)).iter().any(|b| b["counters"]["flows"].as_u64() > Some(0)));
    // Cut off: what is there is shown, and what is missing said.
    let bytes = std::fs::read(made).unwrap();
    let cut = place.file("cut.rec");
    std::fs::write(&cut, &bytes[..bytes.len() - 100]).unwrap();
    let out = kptop(&["snapshot", "--from", cut.to_str().unwrap()]);
    assert_eq!(out.status.code(), Some(0));
    assert!(text(&out.stderr).contains("ends early"), "{}", text(&out.stderr));
    // Redacted once more: the shop is gone.
    let hidden = place.file("hidden.rec");
    let hidden = hidden.to_str().unwrap();
    assert_eq!(kptop(&["--from", made, "record", hidden, "--redact"]).status.code(), Some(0));
    let out = text(&kptop(&["snapshot", "-o", "json", "--from", hidden]).stdout);
    assert!(!out.contains("\"shop\"") && out.contains("\"svc-"));
    // As small as asked for.
    let small = place.file("small.rec");
    let out = kptop(&[
        "record",
        small.to_str().unwrap(),
        "--demo",
        "iptables",
        "--every",
        "0.1",
        "--max-size",
        "64k",
    ]);
    assert!(text(&out.stdout).contains("--max-size"), "{}", text(&out.stderr));
    assert!(std::fs::metadata(&small).unwrap().len() <= 64 * 1024);
    for (args, part) in [
        (&["replay", "/no/such/file"][..], "/no/such/file"),
        (&["replay", "README.md"], "no recording of kptop"),
        (&["snapshot", "--kubeconfig", "/no/such/file"], "/no/such/file"),
        (&["record", hidden, "--demo", "iptables", "--append", "--for", "1"], "add --redact"),
        (&["replay", made, "--at", "noon", "--info"], "is no time"),
        (&["--from", made, "README.md", "snapshot"], "does not go together"),
        (&["drops", "--from", made], "needs a live node"),
        (&["serve", "--from", made], "needs a live node"),
        (&["serve", "--listen", "nowhere"], "no address with a port"),
        (&["record", "/no/such/dir/x.rec", "--for", "1"], "/no/such/dir/x.rec"),
        (&["snapshot", "--from", made, "--netns", "x"], "do not go together"),
        (&["explain"], "where to?"),
        (&["explain", "10.0.0.1", "--from", "outside"], "--client outside says who sends"),
        (&["explain", "10.0.0.1", "--client", "nonsense"], "is neither pod"),
        (&["snapshot", "--kubeconfig", "x", "--no-api"], "cannot be used with"),
    ] {
        let out = kptop(args);
        assert_eq!(out.status.code(), Some(2), "{args:?}: {}", text(&out.stdout));
        assert!(text(&out.stderr).contains(part), "{args:?}: {}", text(&out.stderr));
    }
}

/// Readings of the last session that `--info` says.
fn of_session(info: &str) -> usize {
    let line = info.lines().rfind(|l| l.contains(" readings")).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    let at = words.iter().position(|w| w.starts_with("readings")).unwrap();
    words[at - 1].parse().unwrap()
}

/// It writes into its own namespaces, flows among them, and keeps nothing.
#[test]
fn prices_are_measured_in_namespaces_of_its_own() {
    let out = kptop(&["calibrate", "--dry-run"]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    assert!(text(&out.stdout).contains("Nothing was kept"), "{}", text(&out.stdout));
    let out = kptop(&["calibrate", "--from", "README.md"]);
    assert_eq!(out.status.code(), Some(2));
}

/// Where /proc is hidden, what cannot be seen is not called absent.
#[test]
fn a_hidden_proc_is_said() {
    in_new_netns(|| {
        let script = format!("mount -t tmpfs none /proc && exec {KPTOP} snapshot -o json --no-api");
        let out = Command::new("unshare").args(["-m", "sh", "-c", &script]).output().unwrap();
        let all = json(&out);
        let unread = all["unread"].as_array().unwrap();
        let why = |what: &str| -> String {
            let found = unread.iter().find(|u| u["what"].as_str().unwrap().contains(what));
            found.map_or(String::new(), |u| u["why"].as_str().unwrap().to_string())
        };
        for what in ["x_tables", "arptables", "conntrack"] {
            assert!(why(what).contains("/proc is not mounted here"), "{what}: {all}");
        }
        // Whether IPVS is there is in the list of generic netlink's families, which is no file.
        let absent = |u: &&Value| u["why"].as_str().unwrap().contains("not loaded") && u["what"] != "IPVS";
        assert!(!unread.iter().any(|u| absent(&u)), "{all}");
    });
}

/// Who may change rules and may not read root's files is reported what is missing, for each list of tables alike.
#[test]
fn what_is_missing_is_named_rightly() {
    in_new_netns(|| {
        load_legacy(&set("1.36.2", "iptables-legacy"));
        let out = Command::new("setpriv")
            .args([
                "--reuid=65534",
                "--regid=65534",
                "--clear-groups",
                "--inh-caps=+net_admin",
                "--ambient-caps=+net_admin",
                "--bounding-set=-all,+net_admin",
            ])
            .args([KPTOP, "snapshot", "-o", "json", "--no-api"])
            .output()
            .unwrap();
        let all = json(&out);
        let tables: Vec<&Value> = all["unread"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|u| u["why"].as_str().unwrap().contains("no permission"))
            .collect();
        assert!(tables.iter().any(|u| u["what"].as_str().unwrap().contains("x_tables")), "{all}");
        // Not every kernel has arptables.
        let arp = std::path::Path::new("/proc/thread-self/net/arp_tables_names").exists();
        assert_eq!(tables.iter().any(|u| u["what"] == "tables of arptables"), arp, "{all}");
        for u in tables {
            assert!(u["why"].as_str().unwrap().contains("CAP_DAC_READ_SEARCH"), "{u}");
        }
    });
}
