//! What the benchmarks share.
#![allow(dead_code)] // each takes a part

use kptop::kernel::netns::Netns;
use std::process::Command;
use std::sync::Mutex;

/// Runs `f` in a network namespace of its own.
pub(crate) fn in_netns(f: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(|| {
        let _ns = Netns::create().expect("network namespaces need root");
        let up = Command::new("ip").args(["link", "set", "lo", "up"]).status();
        assert!(up.is_ok_and(|s| s.success()), "ip link set lo up");
        f();
    });
    thread.join().expect("a bench");
}

/// The middle one.
pub(crate) fn median(mut v: Vec<f64>) -> f64 {
    v.sort_by(f64::total_cmp);
    v[v.len() / 2]
}

/// One line of the table of figures.
struct Row {
    job: String,
    cells: [String; 3],
}

static ROWS: Mutex<Vec<Row>> = Mutex::new(Vec::new());

/// Keeps a figure for the table: what was done, what it took kptop, what it took something beside it, and the ratio.
pub(crate) fn record(job: &str, kptop: &str, beside: &str, ratio: Option<f64>) {
    let ratio = ratio.map_or(String::new(), |r| format!("{r:.2}"));
    let cells = [kptop.to_string(), beside.to_string(), ratio];
    ROWS.lock().unwrap().push(Row { job: job.to_string(), cells });
}

/// The page that holds the table.
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/benchmarks.md");
const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
const BEGIN: &str = "<!-- benchmarks: written by cargo bench -->";
const END: &str = "<!-- /benchmarks -->";
const HEAD: &str = "| job | kptop | beside it | ratio | commit |\n|---|---|---|---|---|\n";

/// Writes what was recorded into the table of `docs/benchmarks.md` and of the README: a job that is there already has its
/// line replaced, others keep theirs with the commit that they were measured at.
pub(crate) fn write_table() {
    let rows = std::mem::take(&mut *ROWS.lock().unwrap());
    if rows.is_empty() {
        return;
    }
    let (commit, machine) = (commit(), machine());
    let page = std::fs::read_to_string(PAGE).expect("docs/benchmarks.md");
    let (before, rest) = page.split_once(BEGIN).expect("the table's begin");
    let (old, after) = rest.split_once(END).expect("the table's end");
    let mut lines: Vec<(String, String)> = old
        .lines()
        .filter(|l| l.starts_with("| ") && !l.starts_with("| job"))
        .map(|l| (l.split('|').nth(1).unwrap_or("").trim().to_string(), l.to_string()))
        .collect();
    for row in rows {
        let [kptop, beside, ratio] = row.cells;
        let line = format!("| {} | {kptop} | {beside} | {ratio} | {commit} |", row.job);
        match lines.iter_mut().find(|l| l.0 == row.job) {
            Some(known) => known.1 = line,
            None => lines.push((row.job, line)),
        }
    }
    let body: String = lines.iter().map(|l| format!("{}\n", l.1)).collect();
    let table = format!("{BEGIN}\n{machine}\n\n{HEAD}{body}{END}");
    std::fs::write(PAGE, format!("{before}{table}{after}")).expect("docs/benchmarks.md");
    let readme = std::fs::read_to_string(README).expect("README.md");
    let (before, rest) = readme.split_once(BEGIN).expect("the README's table");
    let (_, after) = rest.split_once(END).expect("the README's table");
    std::fs::write(README, format!("{before}{table}{after}")).expect("README.md");
}

/// The commit that was measured, with a `+` where the work tree is another.
fn commit() -> String {
    let git = |args: &[&str]| {
        let out = Command::new("git").arg("-C").arg(env!("CARGO_MANIFEST_DIR")).args(args).output();
        out.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_string()).unwrap_or_default()
    };
    // Where the binary was built elsewhere, or the work tree has gone on since.
    if let Ok(id) = std::env::var("KPTOP_BENCH_COMMIT") {
        return id;
    }
    let changed = !git(&["status", "--porcelain", "--", "src", "crates", "benches", "Cargo.lock"]).is_empty();
    format!("{}{}", git(&["rev-parse", "--short=7", "HEAD"]), if changed { "+" } else { "" })
}

/// What it was measured on.
fn machine() -> String {
    let node = kptop::snapshot::facts::read_node();
    let unknown = || "?".to_string();
    format!(
        "Measured on {} CPUs ({}), Linux {}.",
        node.cpus.map_or_else(unknown, |n| n.to_string()),
        node.cpu_model.unwrap_or_else(unknown),
        node.kernel.unwrap_or_else(unknown)
    )
}

/// Milliseconds in a few digits.
pub(crate) fn ms(n: f64) -> String {
    match n {
        n if n >= 1000.0 => format!("{:.1} s", n / 1e3),
        n if n >= 20.0 => format!("{n:.0} ms"),
        n if n >= 1.0 => format!("{n:.1} ms"),
        n => format!("{n:.2} ms"),
    }
}
