//! What the integration tests share: captured rule sets, namespaces of their own, and the node's tools.
#![allow(dead_code, unreachable_pub)] // each test binary uses a part

pub mod api_server;
pub mod dumps;
pub mod odd_rules;
pub mod prometheus;
pub mod recordings;
pub mod screens;
pub mod terminal;
pub mod truth;
pub mod walking;
pub mod ward;

use kptop::kernel::netns::Netns;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Says a figure beside the test's result (`--nocapture` shows it).
pub fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Folder of the captured rule sets.
pub fn rules_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rules")
}

/// The folder of one set: `set("1.36.2", "iptables-legacy")`.
pub fn set(version: &str, mode: &str) -> PathBuf {
    rules_dir().join(version).join(mode).join("small")
}

/// Versions of kube-proxy whose rules in a mode were captured, oldest first. A set that is added to `tests/rules` is tried by every
/// test that goes through them.
pub fn versions(mode: &str) -> Vec<&'static str> {
    let mut found: Vec<(u32, &'static str)> = fs::read_dir(rules_dir())
        .expect("tests/rules")
        .map(|e| e.expect("an entry of tests/rules").file_name().into_string().expect("a name"))
        .filter(|version| set(version, mode).is_dir())
        .map(|version| (minor(&version), &*version.leak()))
        .collect();
    found.sort_unstable();
    assert!(found.len() >= 2 || mode == "userspace-legacy" || mode == "ipvs-nft", "{mode}: {found:?}");
    found.into_iter().map(|v| v.1).collect()
}

/// Every captured set of these modes, as version and mode.
pub fn sets(modes: &[&'static str]) -> Vec<(&'static str, &'static str)> {
    modes.iter().flat_map(|mode| versions(mode).into_iter().map(|version| (version, *mode))).collect()
}

/// Modes of the sets, and of those that a kernel without IPVS takes.
pub const MODES: [&str; 6] =
    ["iptables-legacy", "iptables-nft", "userspace-legacy", "nftables", "ipvs-legacy", "ipvs-nft"];

/// The 36 of `1.36.2`.
pub fn minor(version: &str) -> u32 {
    version.split('.').nth(1).and_then(|v| v.parse().ok()).expect("a version")
}

/// A file of a set, unpacked where it is gzipped; `None` where the set has none.
pub fn read(dir: &Path, name: &str) -> Option<String> {
    if let Ok(text) = fs::read_to_string(dir.join(name)) {
        return Some(text);
    }
    let packed = fs::File::open(dir.join(format!("{name}.gz"))).ok()?;
    let mut text = String::new();
    flate2::read::GzDecoder::new(packed).read_to_string(&mut text).expect("a whole gzip file");
    Some(text)
}

/// Runs `f` on a thread of its own in a new network namespace, which ends with it.
pub fn in_new_netns<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    std::thread::spawn(|| {
        let _ns = Netns::create().expect("making a network namespace (kernel tests need root)");
        run("ip", &["link", "set", "lo", "up"]);
        f()
    })
    .join()
    .unwrap_or_else(|e| std::panic::resume_unwind(e))
}

/// Runs a tool of the node in the thread's namespace and gives what it prints.
pub fn run(program: &str, args: &[&str]) -> String {
    run_with(program, args, "")
}

/// The same with text for its standard input.
pub fn run_with(program: &str, args: &[&str], input: &str) -> String {
    let mut child = Command::new(program)
        .args(args)
        .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin:/usr/local/sbin:/usr/local/bin")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{program}: {e} (tests/setup installs what the tests need)"));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_string();
    let feeder = std::thread::spawn(move || {
        let _ = stdin.write_all(input.as_bytes());
    });
    let out = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    assert!(
        out.status.success(),
        "{program} {}: {}\n{}",
        args.join(" "),
        out.status,
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8(out.stdout).unwrap()
}

/// Loads the iptables rules of a set with iptables-legacy, counters included. Sets that the rules name must
/// have been made before (`load_ipsets`).
pub fn load_legacy(dir: &Path) {
    load(dir, ["iptables-legacy-restore", "ip6tables-legacy-restore"]);
}

/// The same with iptables-nft.
pub fn load_nft(dir: &Path) {
    load(dir, ["iptables-nft-restore", "ip6tables-nft-restore"]);
}

fn load(dir: &Path, programs: [&str; 2]) {
    for (program, file) in programs.into_iter().zip(["iptables-save-c.txt", "ip6tables-save-c.txt"]) {
        let Some(text) = read(dir, file) else { continue };
        make_accounts(&text);
        run_with(program, &["-c"], &text);
    }
}

/// Makes the nfacct objects that kube-proxy's rules name.
pub fn make_accounts(text: &str) {
    for name in ["ct_state_invalid_dropped_pkts", "localhost_nps_accepted_pkts"] {
        if text.contains(name) && !run("nfacct", &["list"]).contains(name) {
            run("nfacct", &["add", name]);
        }
    }
}

/// Makes the ipsets of a set.
pub fn load_ipsets(dir: &Path) {
    if let Some(text) = read(dir, "ipset-save.txt") {
        run_with("ipset", &["restore"], &text);
    }
}

/// Reads the calling thread's namespace twice: nothing is alarming but Services that refuse, and these have no endpoints.
pub fn no_false_alarm(what: &str) {
    use kptop::observe::Observer;
    use kptop::proxy::{Names, RulesState};
    use kptop::snapshot::live::{Live, Wanted};
    let mut live = Live::open(None).unwrap();
    let mut observer = Observer::new(Names::default());
    observer.observe(live.snapshot(Wanted::ALL));
    std::thread::sleep(std::time::Duration::from_millis(300));
    let view = observer.observe(live.snapshot(Wanted::ALL));
    assert!(view.model.services.len() > 10, "{what}: {} Services", view.model.services.len());
    let mut reported = std::collections::BTreeMap::<&str, usize>::new();
    for f in &view.examination.findings {
        *reported.entry(f.id).or_default() += f.services.len().max(1);
        let refuses = |i: &usize| view.model.services[*i].rules_state() != RulesState::Balancing;
        let refuses = !f.services.is_empty() && f.services.iter().all(refuses);
        let alarming = f.severity <= kptop::doctor::Severity::Warning;
        let true_of_it = ["no_endpoints", "no_local_endpoints"].contains(&f.id) && refuses;
        assert!(!alarming || true_of_it, "{what}: {} {}: {} {:?}", f.id, f.about, f.title, f.evidence);
    }
    say(&format!("{what}: {reported:?}"));
}

/// Asks again and again until the answer is right, for at most 10 s; gives the last answer.
pub fn wait_until<T>(mut ask: impl FnMut() -> T, right: impl Fn(&T) -> bool) -> T {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        let answer = ask();
        if right(&answer) || std::time::Instant::now() > end {
            return answer;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
