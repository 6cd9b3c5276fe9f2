//! Inputs that attacked kptop (`tests/attacks`), and what it must do with them.

use crate::common::{in_new_netns, run};
use proptest::prelude::*;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const KPTOP: &str = env!("CARGO_BIN_EXE_kptop");

fn attack(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/attacks").join(name).display().to_string()
}

fn kptop(args: &[&str]) -> Output {
    Command::new(KPTOP).args(args).stdin(Stdio::null()).output().unwrap()
}

fn from(command: &[&str], files: &[&str]) -> Output {
    let files: Vec<String> =
        files.iter().map(|f| if f.contains('/') { f.to_string() } else { attack(f) }).collect();
    let mut args = command.to_vec();
    args.extend(["--no-api", "--from"]);
    args.extend(files.iter().map(String::as_str));
    kptop(&args)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Nothing that does something to a terminal; CSV ends its lines in CR LF.
fn assert_plain(what: &str, out: &Output) {
    for (name, bytes) in [("stdout", &out.stdout), ("stderr", &out.stderr)] {
        let shown = text(bytes).replace("\r\n", "\n");
        let bad = shown.chars().find(|c| {
            (c.is_control() && *c != '\n')
                || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
        });
        assert_eq!(bad, None, "{name} of {what}:\n{shown:?}");
    }
    assert!(matches!(out.status.code(), Some(0..=2)), "{what}: {:?}", out.status);
}

/// Every command that prints what comes from outside.
const COMMANDS: &[&[&str]] = &[
    &["snapshot"],
    &["snapshot", "-o", "json"],
    &["snapshot", "-o", "csv"],
    &["explain", "10.96.0.10:80"],
    &["explain", "10.96.0.10:80", "-o", "json"],
    &["doctor"],
    &["doctor", "-o", "json"],
    &["compare"],
    &["compare", "--to", "nftables"],
    &["compare", "--to", "ipvs", "-o", "json"],
    &["watch", "--for", "0.2"],
];

#[test]
fn control_characters_reach_no_terminal() {
    for files in [
        &["escape-comment.save"][..],
        &["escape-nft.json"],
        &["anon.save", "escape-api-objects.json"],
        &["anon.save", "escape-api-objects.json", "escape-nft.json"],
    ] {
        for command in COMMANDS {
            assert_plain(&format!("{command:?} {files:?}"), &from(command, files));
        }
    }
    // It is shown, not left out.
    let shown = text(&from(&["snapshot"], &["anon.save", "escape-nft.json"]).stdout);
    assert!(shown.contains("\\x1b]0;"), "{shown}");
}

/// Files in which every text that may come from outside holds the same one.
fn hostile_files(dir: &Path, evil: &str) -> Vec<String> {
    let json = |t: &str| serde_json::to_string(t).unwrap();
    let e = json(evil);
    // In the text of iptables and sysctl a line is a line.
    let line: String =
        evil.chars().filter(|c| !matches!(c, '\0' | '\n' | '\r' | '"' | '\\' | '\'')).collect();
    let rules = fs::read_to_string(attack("anon.save"))
        .unwrap()
        .replace("\"why\"", &format!("\"{line}\""))
        .replace("\"dead\"", &format!("\"{line}\""));
    let nft = format!(
        r#"{{"nftables": [{{"table": {{"family": "ip", "name": {e}}}}},
            {{"chain": {{"family": "ip", "table": {e}, "name": {e}, "type": "filter", "hook": "forward", "prio": 0, "policy": "accept", "comment": {e}}}}},
            {{"set": {{"family": "ip", "table": {e}, "name": "s", "type": "ipv4_addr", "comment": {e}, "elem": [{{"elem": {{"val": "10.0.0.1", "comment": {e}}}}}]}}}},
            {{"rule": {{"family": "ip", "table": {e}, "chain": {e}, "comment": {e}, "expr": [{{"match": {{"op": "==", "left": {{"payload": {{"protocol": "ip", "field": "daddr"}}}}, "right": "10.0.0.1"}}}}, {{"log": {{"prefix": {e}}}}}, {{"what": {e}}}, {{"counter": {{"packets": 1, "bytes": 1}}}}, {{"drop": null}}]}}}}]}}"#
    );
    let objects = format!(
        r#"{{"apiVersion": "v1", "kind": "List", "items": [
            {{"apiVersion": "v1", "kind": "Service", "metadata": {{"namespace": {e}, "name": {e}}},
              "spec": {{"clusterIP": "10.96.0.10", "clusterIPs": ["10.96.0.10"], "ports": [{{"name": {e}, "port": 80, "protocol": "TCP"}}]}}}},
            {{"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {{"namespace": {e}, "name": "x", "labels": {{"kubernetes.io/service-name": {e}}}}},
              "addressType": "IPv4", "ports": [{{"name": {e}, "port": 80, "protocol": "TCP"}}],
              "endpoints": [{{"addresses": ["10.0.0.1"], "targetRef": {{"kind": "Pod", "name": {e}}}, "nodeName": {e}, "zone": {e}}}]}},
            {{"apiVersion": "v1", "kind": "Node", "metadata": {{"name": {e}}}, "status": {{"addresses": [{{"type": "InternalIP", "address": "192.0.2.1"}}]}}}}]}}"#
    );
    let sysctls = format!("kernel.hostname = {line}\nkernel.osrelease = {line}\nnet.ipv4.ip_forward = 1\n");
    let release = format!("PRETTY_NAME=\"{line}\"\n");
    let addresses = "1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536\n    inet 127.0.0.1/8 scope host lo\n2: eth0: <BROADCAST,UP,LOWER_UP> mtu 1500\n    inet 192.0.2.1/24 scope global eth0\n";
    [
        ("rules.save", rules),
        ("nft.json", nft),
        ("objects.json", objects),
        ("sysctl.txt", sysctls),
        ("os-release", release),
        ("addr.txt", addresses.to_string()),
    ]
    .into_iter()
    .map(|(name, content)| {
        let path = dir.join(name);
        fs::write(&path, content).unwrap();
        path.display().to_string()
    })
    .collect()
}

fn well_formed(svg: &str) {
    let allowed = |c: char| matches!(c, '\n' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    assert_eq!(svg.chars().find(|c| !allowed(*c)), None);
}

/// Whatever is in names, comments and messages: no output lets it through, and each stays what it is.
fn try_hostile(name: &str, evil: &str) {
    let place = crate::common::recordings::Place::new(name);
    let files = hostile_files(&place.0, evil);
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    for command in COMMANDS {
        let out = from(command, &files);
        assert_plain(&format!("{command:?} with {evil:?}"), &out);
        assert_ne!(out.status.code(), Some(2), "{command:?} with {evil:?}: {}", text(&out.stderr));
        if command.contains(&"json") {
            serde_json::from_slice::<serde_json::Value>(&out.stdout).unwrap();
        }
    }
    let svg = place.file("frame.svg");
    let shot = svg.display().to_string();
    let out = from(&["shot", &shot, "--for", "1"], &files);
    assert_plain("shot", &out);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    well_formed(&fs::read_to_string(&svg).unwrap());
    // A file's own name, in an error.
    let name: String = evil.chars().filter(|c| !matches!(c, '\0' | '/')).take(60).collect();
    let missing = place.0.join(format!("x{name}")).display().to_string();
    for command in [&["snapshot", "--from"][..], &["snapshot", "--names"], &["replay"], &["--config"]] {
        let mut args = command.to_vec();
        args.push(&missing);
        let out = kptop(&args);
        assert_eq!(out.status.code(), Some(2));
        assert_plain(&format!("{command:?} {missing:?}"), &out);
    }
}

#[test]
fn no_output_lets_hostile_text_through() {
    for evil in [
        "\u{1b}]0;PWNED\u{7}\u{1b}[2J\u{1b}]52;c;ZXZpbA==\u{7}",
        "\u{9b}31m\u{202e}txet\u{2066}\u{85}\u{2028}",
        "a\nkptop: all is well\r\nb\t\u{7f}\u{8}",
        "=1+1\u{0}\u{ffff}\u{fffe}@cmd|' /C calc'!A0",
        "\u{feff}\u{200f}ü\u{301}漢字🏠",
    ] {
        try_hostile("hostile", evil);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn no_output_lets_any_text_through(evil in "[\u{0}-\u{1f}\u{7f}-\u{9f}\u{200b}-\u{206f}a=]{1,12}\\PC{0,8}") {
        try_hostile("any", &evil);
    }
}

#[test]
fn cells_are_no_formulas() {
    let out = from(&["snapshot", "-o", "csv"], &["anon.save", "csv-formula.json"]);
    let csv = text(&out.stdout);
    let cells: Vec<&str> = csv.split(['\n', ',']).map(|c| c.trim_start_matches('"')).collect();
    assert!(csv.contains("\"'@"), "{csv}");
    let formula = cells.iter().find(|c| c.starts_with(['=', '@', '+', '\t']));
    assert_eq!(formula, None, "{csv}");
}

#[test]
fn nonsense_in_json_is_kept_as_unknown() {
    let out = from(&["snapshot", "-o", "json"], &["fib-panic.json"]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let all: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(all["tables"][0]["rules"], 1);
}

#[test]
fn what_is_nested_too_deep_names_its_line_at_once() {
    let began = Instant::now();
    let out = from(&["snapshot"], &["nft-deep-or.nft.gz"]);
    // The line costs itself.
    assert_eq!(out.status.code(), Some(0));
    let said = text(&out.stdout) + &text(&out.stderr);
    assert!(said.contains("line 3: an expression with too many operators"), "{said}");
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_member_of_icmp_is_read() {
    let place = crate::common::recordings::Place::new("icmp");
    let rules = place.file("rules.save");
    fs::copy(attack("anon.save"), &rules).unwrap();
    let out = from(&["snapshot", "-o", "json"], &[&rules.display().to_string(), "ipset-icmp.save"]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
}

/// A bound is no verdict; a circle is named as one.
#[test]
fn a_walk_that_is_given_up_decides_nothing() {
    let place = crate::common::recordings::Place::new("deep");
    let deep = place.file("deep.save");
    let mut rules = fs::read_to_string(attack("anon.save")).unwrap();
    let filter = rules.find("*filter").unwrap();
    rules.truncate(filter);
    rules.push_str("*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n");
    (0..10_000).for_each(|i| rules.push_str(&format!(":L{i} - [0:0]\n")));
    rules.push_str("-A FORWARD -j L0\n");
    (0..9_999).for_each(|i| rules.push_str(&format!("-A L{i} -j L{}\n", i + 1)));
    rules.push_str("COMMIT\n");
    fs::write(&deep, &rules).unwrap();
    let deep = deep.display().to_string();
    for file in ["laughs6x10.save", &deep] {
        let out = from(&["explain", "10.96.0.10:80", "-o", "json"], &[file]);
        assert_eq!(out.status.code(), Some(0), "{file}: {}", text(&out.stderr));
        let answer: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
        let outcome = &answer["outcomes"][0];
        assert_eq!(outcome["verdict"], "undecided", "{file}: {outcome}");
        assert!(outcome["assuming"][0].as_str().unwrap().contains("not decided"), "{outcome}");
        let found = text(&from(&["doctor"], &[file]).stdout);
        assert!(!found.contains("circle"), "{found}");
    }
    let circle = place.file("circle.save");
    let turned = rules.replace("-A L9998 -j L9999", "").replace("-A L5 -j L6", "-A L5 -j L2");
    fs::write(&circle, turned).unwrap();
    let out = from(&["explain", "10.96.0.10:80"], &[&circle.display().to_string()]);
    assert_eq!(out.status.code(), Some(1));
    assert!(
        text(&out.stdout).contains("chains lead in a circle: L2 -> L3 -> L4 -> L5 -> L2"),
        "{}",
        text(&out.stdout)
    );
}

/// Peak memory of a run, in KiB, and its exit code.
fn peak(mut command: Command) -> (u64, Option<i32>, String) {
    let mut timed = Command::new("/usr/bin/time");
    timed.args(["-f", "%M KiB"]).arg(command.get_program()).args(command.get_args());
    for (k, v) in command.get_envs() {
        if let Some(v) = v {
            timed.env(k, v);
        }
    }
    command = timed;
    let out = command.stdin(Stdio::null()).stdout(Stdio::null()).output().unwrap();
    let err = text(&out.stderr);
    let line = err.lines().rev().find(|l| l.ends_with(" KiB")).unwrap_or_else(|| panic!("{err}"));
    (line.trim_end_matches(" KiB").parse().unwrap(), out.status.code(), err)
}

fn within(limit: &str, script: &str) -> Command {
    let mut c = Command::new("timeout");
    c.args([limit, "bash", "-c", script]);
    c
}

/// Files, archives and pipes that do not end: one budget for all of them.
#[test]
fn no_file_takes_memory_without_bound() {
    let place = crate::common::recordings::Place::new("bomb");
    let (bomb, dir) = (place.file("bomb.save.gz"), place.file("many"));
    fs::create_dir(&dir).unwrap();
    let mut packed =
        flate2::write::GzEncoder::new(fs::File::create(&bomb).unwrap(), flate2::Compression::fast());
    let chunk = vec![0xffu8; 1 << 20];
    (0..200).for_each(|_| packed.write_all(&chunk).unwrap());
    packed.finish().unwrap();
    let rules = format!("*nat\n:PREROUTING ACCEPT [0:0]\n{}", "-A PREROUTING -j ACCEPT\n".repeat(1 << 20));
    let text_bomb = place.file("text.save.gz");
    let mut packed =
        flate2::write::GzEncoder::new(fs::File::create(&text_bomb).unwrap(), flate2::Compression::fast());
    (0..4).for_each(|_| packed.write_all(rules.as_bytes()).unwrap());
    packed.finish().unwrap();
    for i in 0..5 {
        fs::hard_link(&text_bomb, dir.join(format!("{i}.save.gz"))).unwrap();
    }
    let endless = "printf '*nat\\n:PREROUTING ACCEPT [0:0]\\n'; yes -- '-A PREROUTING -j ACCEPT'";
    let (bomb, text_bomb, dir) = (bomb.display(), text_bomb.display(), dir.display());
    for (script, code, says) in [
        (format!("{KPTOP} snapshot --no-api --from {bomb}"), 2, "nothing that kptop reads"),
        (format!("{KPTOP} snapshot --no-api --max-input 16M --from {text_bomb}"), 2, "--max-input"),
        (format!("{KPTOP} snapshot --no-api --from <(yes '*nat')"), 2, "nothing that kptop reads"),
        (format!("{KPTOP} snapshot --no-api --max-input 16M --from <({endless})"), 2, "--max-input"),
        (format!("({endless}) | {KPTOP} snapshot --no-api --max-input 16M --from -"), 2, "--max-input"),
        (format!("{KPTOP} snapshot --no-api --max-input 16M --from {dir}"), 2, ""),
    ] {
        let (kib, real, err) = peak(within("60", &script));
        assert_eq!(real, Some(code), "{script}: {err}");
        assert!(err.contains(says), "{script}: {err}");
        assert!(kib < 150_000, "{script}: {kib} KiB");
    }
}

/// Many sets, virtual servers, and real servers of one: twice as many take about twice as long, in user time, which
/// other load changes little.
#[test]
fn many_of_a_kind_take_linear_time() {
    let place = crate::common::recordings::Place::new("many");
    let address = |i: usize| format!("10.{}.{}.{}", i >> 16, i >> 8 & 255, i & 255);
    let set = |i| format!("create s{i} hash:ip family inet\nadd s{i} {}\n", address(i));
    let server = |i| {
        let a = address(i);
        format!("-A -t {a}:80 -s rr\n-a -t {a}:80 -r 10.200.0.1:80 -m -w 1\n")
    };
    let real = |i| match i {
        0 => "-A -t 10.0.0.1:80 -s rr\n".to_string(),
        i => format!("-a -t 10.0.0.1:80 -r {}:80 -m -w 1\n", address(i + (100 << 16))),
    };
    let kinds: [(&str, &dyn Fn(usize) -> String); 3] = [("ipset", &set), ("vs", &server), ("rs", &real)];
    for (kind, line) in kinds {
        let user = |n: usize| -> f64 {
            let path: PathBuf = place.file(&format!("{kind}{n}.txt"));
            fs::write(&path, (0..n).map(line).collect::<String>()).unwrap();
            let args = ["-f", "%U", KPTOP, "snapshot", "-o", "json", "--no-api", "--from"];
            let out =
                Command::new("/usr/bin/time").args(args).arg(&path).stdout(Stdio::null()).output().unwrap();
            let err = text(&out.stderr);
            err.lines().last().unwrap().parse().unwrap_or_else(|_| panic!("{err}"))
        };
        // Quadratic, 100,000 would take a hundred times as long as 10,000. A timing decides nothing: this is a factor of ten.
        let (few, many) = (user(10_000).max(0.05), user(100_000));
        crate::common::say(&format!("{kind}: {few:.2} s for 10,000, {many:.2} s for 100,000"));
        assert!(many < 60.0 * few, "{kind}: {few} s, then {many} s");
    }
}

/// On a real kernel, in network namespaces made for it.
mod kernel {
    use super::*;

    /// A Kubernetes API that hangs, streams without end, sends garbage, redirects: memory stays bounded, the node is shown,
    /// and why there are no names is said.
    #[test]
    fn a_hostile_api_is_said_and_takes_little() {
        let place = crate::common::recordings::Place::new("hostile-api");
        let dir = place.0.clone();
        in_new_netns(move || {
            let mut api = Command::new("python3").args([&attack("hostile-api.py"), "100"]).spawn().unwrap();
            let until = Instant::now() + Duration::from_secs(10);
            while std::net::TcpStream::connect("127.0.0.1:9990").is_err() {
                assert!(Instant::now() < until, "the server does not come up");
                std::thread::sleep(Duration::from_millis(50));
            }
            let manners = [
                "hang",
                "garbage",
                "stream10g",
                "stream10gnl",
                "contloop",
                "redirect",
                "err",
                "hugehdr",
                "gone",
                "null",
                "slow",
                "eof",
            ];
            let tries: Vec<_> = manners
                .into_iter()
                .enumerate()
                .map(|(i, manner)| {
                    let file = dir.join(format!("kubeconfig-{manner}"));
                    let port = 9910 + i;
                    fs::write(&file, format!("apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{{name: k, cluster: {{server: \"http://127.0.0.1:{port}\"}}}}]\nusers: [{{name: u, user: {{token: secret}}}}]\ncontexts: [{{name: c, context: {{cluster: k, user: u}}}}]\n")).unwrap();
                    (manner, file)
                })
                .collect();
            for (manner, file) in &tries {
                let out = kptop(&["snapshot", "-o", "json", "--kubeconfig", &file.display().to_string()]);
                assert_plain(manner, &out);
                assert_eq!(out.status.code(), Some(0), "{manner}: {}", text(&out.stderr));
                let all: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
                let said = all["unread"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .find(|u| u["what"] == "names from the Kubernetes API");
                // This one answers lists that are whole, and then floods.
                assert!(said.is_some() || *manner == "stream10gnl", "{manner}: {all}");
            }
            for (manner, file) in tries.iter().filter(|t| t.0.starts_with("stream") || t.0 == "contloop") {
                let mut command = Command::new("timeout");
                command
                    .args(["--preserve-status", "-s", "INT", "8", KPTOP, "watch", "--kubeconfig"])
                    .arg(file);
                let (kib, _, err) = peak(command);
                assert!(kib < 400_000, "{manner}: {kib} KiB, {err}");
                crate::common::say(&format!("{manner}: {kib} KiB"));
            }
            api.kill().unwrap();
            api.wait().unwrap();
        });
    }

    #[test]
    fn control_characters_of_live_names_reach_no_terminal() {
        in_new_netns(|| {
            run("python3", &[&attack("hostile-nft-names.py")]);
            run("iptables-legacy", &["-N", "D\u{1b}]0;x\u{7}"]);
            for command in COMMANDS {
                let mut args = command.to_vec();
                args.push("--no-api");
                let out = kptop(&args);
                assert_plain(&format!("{command:?}"), &out);
            }
            let shown = text(&kptop(&["snapshot", "--no-api"]).stdout);
            // The name's own end of line begins no line.
            assert!(shown.contains("\\x1b[31m\"\\\\n=1"), "{shown}");
        });
    }

    /// What never says anything is not waited for.
    #[test]
    fn nothing_is_waited_for_without_end() {
        let place = crate::common::recordings::Place::new("fifo");
        let fifo = place.file("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let fifo = fifo.display().to_string();
        for args in [
            &["snapshot", "--no-api", "--from", &fifo][..],
            &["snapshot", "--no-api", "--from", "/dev/zero"],
            &["snapshot", "--kubeconfig", &fifo],
            &["snapshot", "--kubeconfig", "/dev/zero"],
            &["snapshot", "--names", &fifo],
            &["snapshot", "--names", "/dev/zero"],
            &["--config", "/dev/zero"],
            &["replay", &fifo, "--info"],
            &["replay", "/dev/zero", "--info"],
        ] {
            let mut c = Command::new("timeout");
            c.args(["20", KPTOP]).args(args);
            let (kib, code, err) = peak(c);
            assert_eq!(code, Some(2), "{args:?}: {err}");
            assert!(kib < 100_000, "{args:?}: {kib} KiB");
        }
        // Names are optional where nobody asked for them by a flag: the node is shown all the same.
        for (name, value) in [("KUBECONFIG", "/dev/zero"), ("KUBECONFIG", fifo.as_str()), ("TZ", "/dev/zero")]
        {
            let mut c = Command::new("timeout");
            c.args(["20", KPTOP, "watch", "--for", "0.5"]).env(name, value);
            let (kib, code, err) = peak(c);
            assert_eq!(code, Some(0), "{name}={value}: {err}");
            assert!(kib < 100_000, "{name}={value}: {kib} KiB");
        }
    }
}
