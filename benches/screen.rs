//! What the screen costs: `cargo bench --bench screen` (as root; makes its own network namespaces). With `htop` and
//! `trip` (trippy) on the PATH it counts their bytes, too.
#![allow(clippy::print_stdout)]

mod common;

use common::{in_netns, median, ms, record, write_table};
use kptop::config::{Config, ThemeName};
use kptop::lab::{install_table, shop};
use kptop::observe::{Observer, View};
use kptop::proxy::Names;
use kptop::proxy::iptables::{WriteOptions, write};
use kptop::ruleset::IpFamily;
use kptop::snapshot::{Snapshot, TableState};
use kptop::tui::{App, Theme, Update, Wire, draw};
use ratatui::Terminal;
use ratatui::backend::{Backend, CrosstermBackend, TestBackend};
use std::io::{self, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const KPTOP: &str = env!("CARGO_BIN_EXE_kptop");
const SIZE: (u16, u16) = (160, 50);

/// Rows that change with each refresh.
const CHANGING: usize = 30;

fn main() {
    // One of them, or all.
    let wanted = std::env::args().skip(1).find(|a| !a.starts_with("--"));
    let parts: [(&str, fn()); 8] = [
        ("drawing", drawing),
        ("observing", observing),
        ("lookups", lookups),
        ("doctor", doctor),
        ("recording", recording),
        ("bytes", bytes),
        ("live", live),
        ("keys", keys),
    ];
    for (name, part) in parts {
        if wanted.as_ref().is_none_or(|w| w == name) {
            part();
        }
    }
    write_table();
}

/// Made-up Services as kube-proxy writes them, without a kernel.
fn tables(services: usize) -> Vec<TableState> {
    let services: Vec<_> = shop::services(Some(31 + services), 4).split_off(34);
    let options = WriteOptions { cluster_cidr: "10.244.0.0/16".parse().ok(), ..Default::default() };
    write(&services, IpFamily::V4, &options)
        .into_iter()
        .map(|(table, counters)| TableState::new(Duration::from_secs(1), Arc::new(table), Arc::new(counters)))
        .collect()
}

/// The same in nftables mode.
fn native_tables(services: usize) -> Vec<TableState> {
    let services: Vec<_> = shop::services(Some(31 + services), 4).split_off(34);
    let (table, counters) = kptop::proxy::nftables::write(&services, IpFamily::V4, &Default::default());
    vec![TableState::new(Duration::from_secs(1), Arc::new(table), Arc::new(counters))]
}

/// The next reading, a second later: the first `changing` Services have new flows.
fn next(observer: &mut Observer, tables: &mut [TableState], view: Option<&View>, changing: usize) -> View {
    let mut moved = Vec::new();
    if let Some(view) = view {
        let services = view.model.services.iter().take(changing);
        moved = services.flat_map(|s| &s.backends).filter_map(|b| b.rule).collect();
    }
    for (i, t) in tables.iter_mut().enumerate() {
        t.at += Duration::from_secs(1);
        let counters = Arc::make_mut(&mut t.counters);
        for (n, r) in moved.iter().filter(|r| r.table == i).enumerate() {
            counters.rules[r.rule.0 as usize].packets += 1 + (t.at.as_secs() * 7 + n as u64 * 3) % 11;
        }
    }
    observer.observe(Snapshot { tables: tables.to_vec(), ..Snapshot::default() })
}

fn app() -> App {
    App::new(Theme::new(ThemeName::Dark), Duration::from_secs(1), &Config::default())
}

fn update(view: View) -> Update {
    Update::now(view, Duration::from_millis(3), Duration::ZERO)
}

fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

fn drawing() {
    let mut tables = tables(10_000);
    let mut observer = Observer::new(Names::default());
    let mut app = app();
    let mut terminal = Terminal::new(TestBackend::new(SIZE.0, SIZE.1)).unwrap();
    let (mut took, mut taken) = (Vec::new(), Vec::new());
    let mut view = next(&mut observer, &mut tables, None, 0);
    let before = resident_mib();
    let rounds = 300;
    for _ in 0..rounds {
        view = next(&mut observer, &mut tables, Some(&view), CHANGING);
        let began = Instant::now();
        app.on_update(update(view.clone()));
        taken.push(began.elapsed().as_secs_f64() * 1e3);
        let began = Instant::now();
        terminal.draw(|f| draw(f, &mut app)).unwrap();
        took.push(began.elapsed().as_secs_f64() * 1e3);
    }
    record("a frame of 10,000 Services at 160x50", &ms(median(took.clone())), "", None);
    record(
        "histories of 10,000 Services after 300 readings",
        &format!("{:.0} MiB", resident_mib() - before),
        "",
        None,
    );
    println!("drawing {} Services at {}x{}", view.model.services.len(), SIZE.0, SIZE.1);
    println!("  a frame {:.2} ms (at most 3), taking a reading in {:.2} ms", median(took), median(taken));
    println!("  histories after {rounds} readings: {:.1} MiB more", resident_mib() - before);
}

/// Understanding a reading of 10,000 Services with 10 backends of which nothing but a few counters changed, and letting
/// go of one.
fn observing() {
    for (mode, flows) in [("iptables", false), ("iptables", true), ("nftables", false)] {
        let services: Vec<_> = shop::services(Some(31 + 10_000), 10).split_off(34);
        let options = WriteOptions { cluster_cidr: "10.244.0.0/16".parse().ok(), ..Default::default() };
        let at = Duration::from_secs(1);
        let mut tables: Vec<TableState> = match mode {
            "iptables" => write(&services, IpFamily::V4, &options)
                .into_iter()
                .map(|(t, c)| TableState::new(at, Arc::new(t), Arc::new(c)))
                .collect(),
            _ => {
                let (t, c) = kptop::proxy::nftables::write(&services, IpFamily::V4, &Default::default());
                vec![TableState::new(at, Arc::new(t), Arc::new(c))]
            }
        };
        let mut observer = Observer::new(Names::default());
        let (mut took, mut let_go) = (Vec::new(), Vec::new());
        let mut views = std::collections::VecDeque::new();
        for round in 0..30u64 {
            for t in &mut tables {
                t.at += Duration::from_secs(1);
                let counters = Arc::make_mut(&mut t.counters);
                counters.rules.iter_mut().step_by(997).for_each(|c| c.packets += 1);
            }
            let conntrack = flows.then(|| held(&services, tables[0].at));
            let snapshot = Snapshot {
                tables: tables.clone(),
                conntrack,
                taken_at: jiff::Timestamp::from_second(1_000 + round as i64).unwrap(),
                ..Snapshot::default()
            };
            let began = Instant::now();
            views.push_back(observer.observe(snapshot));
            took.push(began.elapsed().as_secs_f64() * 1e3);
            // The doctor still compares with those of the last 10 s.
            if views.len() > 12 {
                let oldest = views.pop_front();
                let began = Instant::now();
                drop(oldest);
                let_go.push(began.elapsed().as_secs_f64() * 1e3);
            }
        }
        let took = median(took.split_off(5));
        let with = if flows { ", 20,000 pairs of flows" } else { "" };
        record(
            &format!("understanding a reading of 10,000 Services with 10 backends, {mode} mode{with}"),
            &ms(took),
            "",
            None,
        );
        let what = if flows { " and 20,000 pairs of flows" } else { "" };
        println!(
            "observing 10,000 Services with 10 backends in {mode} mode{what}: {took:.2} ms, and {:.2} ms to drop",
            median(let_go)
        );
    }
}

/// Flows of every fifth Service.
fn held(services: &[kptop::proxy::Service], at: Duration) -> kptop::snapshot::Conntrack {
    use kptop::snapshot::{FlowFigures, FlowKey, Flows, Reading};
    let mut flows = Flows::default();
    for s in services.iter().step_by(5) {
        for (f, b) in s.frontends.iter().take(1).flat_map(|f| s.backends.iter().map(move |b| (f, b))) {
            let Some(frontend) = f.address else { continue };
            let key = FlowKey {
                protocol: s.protocol.number(),
                frontend,
                frontend_port: f.port,
                backend: b.address,
                backend_port: b.port,
            };
            flows.groups.insert(key, FlowFigures { flows: 3, ..FlowFigures::default() });
        }
    }
    kptop::snapshot::Conntrack {
        at,
        flows: Some(Reading { at, value: Arc::new(flows) }),
        ..kptop::snapshot::Conntrack::default()
    }
}

/// What the cost of every lookup costs, once after each change of the rules; and the modes side by side.
fn lookups() {
    use kptop::cost::{Prices, compare_modes, lookups};
    use kptop::proxy::Model;
    use kptop::reach::survey;
    let prices = Prices::default();
    for (mode, services) in
        [("iptables", 1_000), ("iptables", 10_000), ("nftables", 1_000), ("nftables", 10_000)]
    {
        let tables = if mode == "iptables" { tables(services) } else { native_tables(services) };
        let snapshot = Snapshot { tables, ..Snapshot::default() };
        let timed = |f: &mut dyn FnMut()| {
            median(
                (0..5)
                    .map(|_| {
                        let began = Instant::now();
                        f();
                        began.elapsed().as_secs_f64() * 1e3
                    })
                    .collect(),
            )
        };
        let mut model = Model::default();
        let read = timed(&mut || model = Model::read(&snapshot, &Names::default()));
        let mut reach = survey(&snapshot, &model);
        let walked = timed(&mut || reach = survey(&snapshot, &model));
        drop(lookups(&snapshot, &model, &reach, &prices));
        let compared = timed(&mut || drop(compare_modes(&snapshot, &model, &prices)));
        println!(
            "lookups of {services} Services in {mode} mode: reading them {read:.1} ms, walking each {walked:.1} ms ({:.2} of it)",
            walked / read
        );
        println!("  all modes side by side {compared:.0} ms");
    }
}

/// A reading a second into a recording: what one takes to encode, its bytes, and what it takes to look at it again.
fn recording() {
    use kptop::recording::{Head, Ring};
    for (mode, services) in
        [("iptables", 1_000), ("iptables", 10_000), ("nftables", 1_000), ("nftables", 10_000)]
    {
        let tables = if mode == "iptables" { tables(services) } else { native_tables(services) };
        let mut now = Snapshot { tables, ..Snapshot::default() };
        let mut ring = Ring::new(Head::default(), usize::MAX, Duration::MAX);
        let began = Instant::now();
        ring.push(&now).unwrap();
        let (first, first_bytes) = (began.elapsed().as_secs_f64() * 1e3, ring.bytes());
        let mut times = Vec::new();
        for i in 0..60usize {
            now.taken_at += jiff::SignedDuration::from_secs(1);
            for t in &mut now.tables {
                t.at += Duration::from_secs(1);
                // Every tenth rule counted something.
                let counters = &mut Arc::make_mut(&mut t.counters).rules;
                counters.iter_mut().skip(i % 10).step_by(10).for_each(|c| {
                    c.packets += 3;
                    c.bytes += 180;
                });
            }
            let began = Instant::now();
            ring.push(&now).unwrap();
            times.push(began.elapsed().as_secs_f64() * 1e3);
        }
        let each = (ring.bytes() - first_bytes) / 60;
        let mut kept = ring.recording();
        let mut jumps = Vec::new();
        for i in [50, 10, 59, 3, 30] {
            let began = Instant::now();
            kept.snapshot(i).unwrap();
            jumps.push(began.elapsed().as_secs_f64() * 1e3);
        }
        let job = format!(
            "keeping a reading of {} Services for going back, {mode} mode",
            kptop::format::count(services as u64)
        );
        record(&job, &ms(median(times.clone())), "", None);
        println!(
            "recording {services} Services in {mode} mode: first {first:.1} ms and {first_bytes} bytes, each further {:.1} ms and {each} bytes ({} MB an hour), a jump {:.1} ms",
            median(times),
            each * 3600 / 1_000_000,
            median(jumps)
        );
    }
}

/// The doctor's whole run beyond the snapshot: walking to every Service, and every cause; with 100,000 flows over all backends.
fn doctor() {
    use kptop::doctor::{Before, Facts, examine};
    use kptop::proxy::Model;
    use kptop::rates::Tracker;
    use kptop::reach::{BackendWays, survey};
    use kptop::snapshot::facts::{Flow, InterfaceAddress, SEEN_REPLY, Tuple};
    use kptop::snapshot::{Conntrack, Flows, Reading};
    use std::net::IpAddr;
    for (mode, services) in
        [("iptables", 1_000), ("iptables", 10_000), ("nftables", 1_000), ("nftables", 10_000)]
    {
        let tables = if mode == "iptables" { tables(services) } else { native_tables(services) };
        // A node with a bridge of pods: packets are walked from every kind of sender.
        let address = |interface: &str, address: &str, prefix| InterfaceAddress {
            interface: interface.into(),
            address: address.parse().unwrap(),
            prefix: Some(prefix),
        };
        let addresses = vec![address("eth0", "192.168.50.10", 24), address("cni0", "10.244.0.1", 24)];
        let mut before = Snapshot { tables, addresses: addresses.into(), ..Snapshot::default() };
        let model = Model::read(&before, &Names::default());
        let mut flows = Flows::default();
        for i in 0..100_000usize {
            let s = &model.services[i % model.services.len()];
            let b = &s.backends[i / model.services.len() % s.backends.len()];
            let client = IpAddr::from([10, 244, (i >> 8) as u8, i as u8]);
            let tuple = |source, source_port, destination, destination_port| Tuple {
                source,
                destination,
                protocol: s.protocol.number(),
                source_port,
                destination_port,
            };
            let f = &s.frontends[0];
            flows.add(&Flow {
                original: tuple(client, 9, f.address.unwrap(), f.port),
                reply: tuple(b.address, b.port, client, 9),
                status: SEEN_REPLY,
                tcp_state: Some(3),
                timeout: 100,
                traffic: None,
                began_ns: None,
            });
        }
        let flows = Some(Reading { at: Duration::from_secs(1), value: Arc::new(flows) });
        before.conntrack = Some(Conntrack { flows, ..Conntrack::default() });
        let mut now = before.clone();
        for t in &mut now.tables {
            t.at += Duration::from_secs(5);
            Arc::make_mut(&mut t.counters).rules.iter_mut().for_each(|c| c.packets += 3);
        }
        let model = Model::read(&now, &Names::default());
        let mut tracker = Tracker::default();
        tracker.update(&before, &model);
        let rates = tracker.update(&now, &model);
        let node = tracker.node(&now, &model, &rates);
        let mut ways = BackendWays::default();
        ways.update(&now, &model.services);
        let (mut walks, mut causes, mut found) = (Vec::new(), Vec::new(), 0);
        for _ in 0..9 {
            let began = Instant::now();
            let reach = survey(&now, &model);
            walks.push(began.elapsed().as_secs_f64() * 1e3);
            let facts = Facts {
                snapshot: &now,
                model: &model,
                rates: &rates,
                node: &node,
                before: Some(Before { snapshot: &before, model: &model }),
                last: None,
                reach: &reach,
                ways: &ways,
                had: &[],
                same_since: jiff::Timestamp::UNIX_EPOCH,
            };
            let began = Instant::now();
            found = examine(&facts).findings.len();
            causes.push(began.elapsed().as_secs_f64() * 1e3);
        }
        let (walks, causes) = (median(walks), median(causes));
        if services == 10_000 {
            let job = format!("walks to 10,000 Services when rules changed, {mode} mode");
            record(&job, &ms(walks), "", None);
            let job = format!("the doctor's checks at a reading of 10,000 Services, {mode} mode");
            record(&job, &ms(causes), "", None);
        }
        println!(
            "doctor of {services} Services in {mode} mode: {:.1} ms (walks {walks:.1}, causes {causes:.1}), {found} findings",
            walks + causes
        );
    }
}

/// A writer that counts.
struct Count(Arc<AtomicUsize>);

impl Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.fetch_add(bytes.len(), Ordering::Relaxed);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Bytes that a program sends a second to a terminal, once its first two seconds are over.
fn bytes_of(mut command: Command, seconds: u64) -> Option<usize> {
    let (pty, mut child) = on_a_terminal(&mut command)?;
    let count = drained(pty);
    std::thread::sleep(Duration::from_secs(3));
    let before = count.load(Ordering::Relaxed);
    std::thread::sleep(Duration::from_secs(seconds));
    let sent = count.load(Ordering::Relaxed) - before;
    let _ = child.kill();
    let _ = child.wait();
    Some(sent / seconds as usize)
}

fn on_a_terminal(command: &mut Command) -> Option<(std::fs::File, Child)> {
    let size = nix::pty::Winsize { ws_row: SIZE.1, ws_col: SIZE.0, ws_xpixel: 0, ws_ypixel: 0 };
    let pty = nix::pty::openpty(&size, None).unwrap();
    let child = command
        .env("TERM", "xterm-256color")
        .stdin(pty.slave.try_clone().unwrap())
        .stdout(pty.slave.try_clone().unwrap())
        .stderr(pty.slave)
        .spawn()
        .ok()?;
    Some((std::fs::File::from(pty.master), child))
}

/// Reads all that comes, and counts it.
fn drained(mut pty: std::fs::File) -> Arc<AtomicUsize> {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    std::thread::spawn(move || {
        let mut chunk = [0u8; 65536];
        while let Ok(n) = pty.read(&mut chunk) {
            counted.fetch_add(n, Ordering::Relaxed);
            // Some ask the terminal where the cursor is, and end without an answer.
            if chunk[..n].windows(4).any(|w| w == b"\x1b[6n") {
                let _ = pty.write_all(b"\x1b[1;1R");
            }
        }
    });
    count
}

/// Bytes that kptop sends for one refresh, through a backend, and the time of a refresh.
fn own_bytes<B: Backend<Error = io::Error>>(
    config: &Config,
    backend: impl Fn(Count) -> B,
) -> (usize, Duration) {
    let count = Arc::new(AtomicUsize::new(0));
    let backend = backend(Count(count.clone()));
    let area = ratatui::layout::Rect::new(0, 0, SIZE.0, SIZE.1);
    let options = ratatui::TerminalOptions { viewport: ratatui::Viewport::Fixed(area) };
    let mut terminal = Terminal::with_options(backend, options).unwrap();
    let mut tables = tables(1_000);
    let mut observer = Observer::new(Names::default());
    let mut app = App::new(Theme::new(ThemeName::Dark), Duration::from_secs(1), config);
    let mut view = next(&mut observer, &mut tables, None, 0);
    let (warm_up, rounds) = (130, 60); // a full history moves as a whole
    let (mut before, mut took) = (0, Duration::ZERO);
    for round in 0..warm_up + rounds {
        if round == warm_up {
            before = count.load(Ordering::Relaxed);
            took = Duration::ZERO;
        }
        view = next(&mut observer, &mut tables, Some(&view), CHANGING);
        app.on_update(update(view.clone()));
        let began = Instant::now();
        terminal.draw(|f| draw(f, &mut app)).unwrap();
        took += began.elapsed();
    }
    ((count.load(Ordering::Relaxed) - before) / rounds, took / rounds as u32)
}

fn bytes() {
    println!("bytes to a terminal of {}x{} per refresh of {CHANGING} changing rows", SIZE.0, SIZE.1);
    let plain = "[services]\ncolumns = [\"state\", \"name\", \"proto\", \"frontend\", \"backends\", \"flows\", \"held\"]";
    let (kptop, took) = own_bytes(&Config::default(), Wire::new);
    let (usual, usual_took) = own_bytes(&Config::default(), CrosstermBackend::new);
    let plain = Config::parse(plain).unwrap();
    let (figures, figures_took) = own_bytes(&plain, Wire::new);
    let (usual_figures, usual_figures_took) = own_bytes(&plain, CrosstermBackend::new);
    for (what, (own, took), (usual, usual_took)) in [
        ("by CrosstermBackend, with trends", (kptop, took), (usual, usual_took)),
        ("by CrosstermBackend, figures alone", (figures, figures_took), (usual_figures, usual_figures_took)),
    ] {
        let time = took.as_secs_f64() / usual_took.as_secs_f64();
        let part = own as f64 / usual as f64;
        println!(
            "  {what:<44} {usual:>7}   kptop's writer has {part:.2} of it, in {time:.2} of a frame's time"
        );
    }
    let beside = format!("{usual} by ratatui's CrosstermBackend");
    let part = kptop as f64 / usual as f64;
    record("bytes for a refresh of 30 changing rows, with trends", &kptop.to_string(), &beside, Some(part));
    let beside = format!("{usual_figures} by ratatui's CrosstermBackend");
    let part = figures as f64 / usual_figures as f64;
    record(
        "bytes for a refresh of 30 changing rows, figures alone",
        &figures.to_string(),
        &beside,
        Some(part),
    );
    println!("  {:<44} {kptop:>7}", "kptop, Services with trends");
    println!("  {:<44} {figures:>7}", "kptop, Services with figures alone");
    let say = |what: &str, bytes: Option<usize>| match bytes {
        Some(n) => {
            let part = |own: usize| own as f64 / n.max(1) as f64;
            println!(
                "  {what:<44} {n:>7}   kptop has {:.2} of it, figures alone {:.2}",
                part(kptop),
                part(figures)
            );
        }
        None => println!("  {what:<44} not installed"),
    };
    let mut busy: Vec<Child> = (0..CHANGING).filter_map(|_| busy_process()).collect();
    let mut htop = Command::new("htop");
    htop.args(["-d", "10", "--sort-key", "PERCENT_CPU"]).env("HOME", "/nonexistent");
    say("htop, 30 processes that take CPU time", bytes_of(htop, 20));
    for child in &mut busy {
        let _ = child.kill();
        let _ = child.wait();
    }
    let path = with_hops(CHANGING);
    let mut trip = Command::new("ip");
    trip.args([
        "netns",
        "exec",
        "kptop-hop-0",
        "trip",
        "--tui-refresh-rate",
        "1s",
        "--min-round-duration",
        "1s",
    ]);
    trip.args(["--max-ttl", "64", "--first-ttl", "1", &path.target]);
    let there = Command::new("trip").arg("--version").stdout(Stdio::null()).status().is_ok();
    say("trippy, 30 hops", if there { bytes_of(trip, 20) } else { None });
}

/// A process that takes some CPU time every now and then, and ends by itself.
fn busy_process() -> Option<Child> {
    let script = "for i in $(seq 600); do for j in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do :; done; sleep 0.05; done";
    Command::new("sh").args(["-c", script]).stdout(Stdio::null()).spawn().ok()
}

/// Namespaces in a row, each a hop.
struct Hops {
    namespaces: Vec<String>,
    target: String,
}

impl Drop for Hops {
    fn drop(&mut self) {
        for n in &self.namespaces {
            ip(&format!("netns del {n}"));
        }
    }
}

fn ip(args: &str) {
    let _ = Command::new("ip").args(args.split(' ')).stderr(Stdio::null()).status();
}

fn with_hops(hops: usize) -> Hops {
    let name = |i: usize| format!("kptop-hop-{i}");
    let namespaces: Vec<String> = (0..=hops).map(name).collect();
    for n in &namespaces {
        ip(&format!("netns add {n}"));
        ip(&format!("netns exec {n} sysctl -q -w net.ipv4.ip_forward=1 net.ipv4.icmp_ratelimit=0"));
    }
    for i in 0..hops {
        let (a, b) = (name(i), name(i + 1));
        ip(&format!("link add name ktu{i} netns {a} type veth peer name ktd netns {b}"));
        ip(&format!("-n {a} addr add 10.99.{i}.1/24 dev ktu{i}"));
        ip(&format!("-n {b} addr add 10.99.{i}.2/24 dev ktd"));
        ip(&format!("-n {a} link set ktu{i} up"));
        ip(&format!("-n {b} link set ktd up"));
        ip(&format!("-n {a} route add default via 10.99.{i}.2"));
        for lower in 0..i {
            ip(&format!("-n {a} route add 10.99.{lower}.0/24 via 10.99.{}.1", i - 1));
        }
    }
    for lower in 0..hops - 1 {
        ip(&format!("-n {} route add 10.99.{lower}.0/24 via 10.99.{}.1", name(hops), hops - 1));
    }
    Hops { namespaces, target: format!("10.99.{}.2", hops - 1) }
}

fn install(services: usize) {
    let services: Vec<_> = shop::services(Some(31 + services), 4).split_off(34);
    let options = WriteOptions { cluster_cidr: "10.244.0.0/16".parse().ok(), ..Default::default() };
    for (table, _) in write(&services, IpFamily::V4, &options) {
        install_table(IpFamily::V4, &table).unwrap();
    }
}

/// Reads until the screen shows a text; gives the time that took.
fn wait_for(pty: &mut std::fs::File, screen: &mut vt100::Parser, text: &str) -> Duration {
    let began = Instant::now();
    let mut chunk = [0u8; 65536];
    while !screen.screen().contents().contains(text) {
        let n = pty.read(&mut chunk).unwrap();
        screen.process(&chunk[..n]);
        let shown = || screen.screen().contents();
        assert!(began.elapsed() < Duration::from_secs(60), "no `{text}` in {}", shown());
    }
    began.elapsed()
}

fn parser() -> vt100::Parser {
    vt100::Parser::new(SIZE.1, SIZE.0, 0)
}

/// User and kernel time of a process, in hundredths of a second.
fn times(pid: u32) -> (u64, u64) {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let rest = stat.rsplit_once(')').unwrap().1;
    let words: Vec<&str> = rest.split_whitespace().collect();
    (words[11].parse().unwrap(), words[12].parse().unwrap())
}

fn live() {
    in_netns(|| {
        install(1_000);
        println!("live: 1,000 Services, 4,000 backends, one reading a second, {}x{}", SIZE.0, SIZE.1);
        let mut first = Vec::new();
        for round in 0..5 {
            let (mut pty, mut kptop) = on_a_terminal(&mut Command::new(KPTOP)).unwrap();
            first.push(wait_for(&mut pty, &mut parser(), "service-000").as_secs_f64() * 1e3);
            if round == 0 {
                let count = drained(pty);
                std::thread::sleep(Duration::from_secs(2));
                let (before, sent) = (times(kptop.id()), count.load(Ordering::Relaxed));
                let seconds = 20.0;
                std::thread::sleep(Duration::from_secs_f64(seconds));
                let after = times(kptop.id());
                let percent = |ticks: u64| ticks as f64 / seconds;
                let (user, kernel) = (percent(after.0 - before.0), percent(after.1 - before.1));
                let own = format!("{user:.2} % of a core, and {kernel:.2} % in the kernel");
                record("the live screen: 1,000 Services, 4,000 backends, a reading a second", &own, "", None);
                println!(
                    "  user time {:.2} % of a core (at most 1), kernel time {:.2} %, {:.0} bytes a second",
                    percent(after.0 - before.0),
                    percent(after.1 - before.1),
                    (count.load(Ordering::Relaxed) - sent) as f64 / seconds
                );
            }
            let _ = kptop.kill();
            let _ = kptop.wait();
        }
        record("first frame with 1,000 Services", &ms(median(first.clone())), "", None);
        println!("  first frame with Services after {:.0} ms (at most 200)", median(first));
    });
}

/// From a key to what it draws, while a large table is read again and again.
fn keys() {
    in_netns(|| {
        install(7_200);
        let mut command = Command::new(KPTOP);
        command.args(["--interval", "0.1"]);
        let (mut pty, mut kptop) = on_a_terminal(&mut command).unwrap();
        let mut screen = parser();
        wait_for(&mut pty, &mut screen, "service-000");
        let mut took = Vec::new();
        for i in 0..60 {
            // At any moment of a reading.
            std::thread::sleep(Duration::from_millis(60 + i * 7 % 50));
            let (key, text): (&[u8], &str) =
                if i % 2 == 0 { (b"4", "The same Services") } else { (b"5", "STATISTIC") };
            pty.write_all(key).unwrap();
            took.push(wait_for(&mut pty, &mut screen, text).as_secs_f64() * 1e3);
        }
        let worst = took.iter().copied().fold(0.0, f64::max);
        let own = format!("{}, worst {}", ms(median(took.clone())), ms(worst));
        record("from a key to its frame, while 100,000 rules are read", &own, "", None);
        println!("from a key to its frame, 100,000 rules read every 0.1 s (as fast as the budget lets)");
        println!("  median {:.1} ms, worst {worst:.1} ms (at most 50)", median(took));
        let _ = kptop.kill();
        let _ = kptop.wait();
    });
}
