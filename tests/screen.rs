//! The real program on a pseudo-terminal, and each pane on a small, a usual and a large screen.

mod common;

use common::{in_new_netns, load_legacy, read, set};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use kptop::lab::shop;
use kptop::proxy::{Model, Names, iptables, nftables};
use kptop::rates::Tracker;
use kptop::ruleset::{
    BaseChain, ChainKind, Counter, Dialect, Family, Hook, IpFamily, Match, Policy, RuleSpec, Table,
    TableBackend, TableBuilder, Target, Verdict, parse_save,
};
use kptop::snapshot::facts::{AcctObject, Ipset, Member};
use kptop::snapshot::{Conntrack, FlowFigures, FlowKey, Flows, Reading, Snapshot, TableState};
use kptop::tui::{App, Flow, Theme, Update, draw};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::tcgetattr;
use nix::unistd::Pid;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const KPTOP: &str = env!("CARGO_BIN_EXE_kptop");

/// A reading of a captured set, and one two seconds later in which some counters moved.
fn readings() -> Vec<Update> {
    readings_for(1)
}

/// The same with more readings after the first, two seconds apart.
fn readings_for(more: u64) -> Vec<Update> {
    let dir = set("1.36.2", "iptables-legacy");
    let tracker = Arc::new(Mutex::new(Tracker::default()));
    let mut tables = Vec::new();
    for (family, file) in [(IpFamily::V4, "iptables-save-c.txt"), (IpFamily::V6, "ip6tables-save-c.txt")] {
        for saved in parse_save(&read(&dir, file).unwrap(), family).unwrap() {
            tables.push(TableState {
                at: Duration::from_secs(10),
                backend: TableBackend::XTables,
                family: family.into(),
                table: Arc::new(saved.table),
                counters: Arc::new(saved.counters),
                recent: None,
                bytes: Some(200_000),
            });
        }
    }
    let mut model = Model::default();
    let mut reading = |tables: &[TableState]| {
        let mut snapshot = Snapshot { tables: tables.to_vec(), ..Snapshot::default() };
        let node = Arc::make_mut(&mut snapshot.node);
        node.hostname = Some("node-a".into());
        node.kernel = Some("6.1.0".into());
        let limits =
            kptop::snapshot::facts::Limits { count: Some(24_310), max: Some(262_144), ..Default::default() };
        snapshot.conntrack = Some(Conntrack { limits, stats: None, flows: None });
        model.update(&snapshot, &Names::default());
        let rates = tracker.lock().unwrap().update(&snapshot, &model);
        Update {
            snapshot: Arc::new(snapshot),
            model: Arc::new(model.clone()),
            changed: model.changed,
            rates: Arc::new(rates),
            tracker: tracker.clone(),
            took: Duration::from_millis(3),
            spacing: Duration::ZERO,
        }
    };
    let mut all = vec![reading(&tables)];
    for round in 0..more {
        for t in &mut tables {
            t.at += Duration::from_secs(2);
            let counters = Arc::make_mut(&mut t.counters);
            for (i, c) in counters.rules.iter_mut().enumerate() {
                c.packets += (i as u64 % 7) * (3 + (round * (i as u64 % 5 + 1)) % 6);
            }
        }
        all.push(reading(&tables));
    }
    all
}

fn app(colour: bool) -> App {
    let mut app = App::new(Theme { colour }, Duration::from_secs(1));
    for update in readings() {
        app.on_update(update);
    }
    app
}

fn press(app: &mut App, keys: &str) -> Flow {
    let mut last = Flow::Nothing;
    for c in keys.chars() {
        let code = match c {
            '\n' => KeyCode::Enter,
            '\t' => KeyCode::Tab,
            '\u{1b}' => KeyCode::Esc,
            c => KeyCode::Char(c),
        };
        last = app.on_key(KeyEvent::new(code, KeyModifiers::NONE));
    }
    last
}

fn screen(app: &mut App, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|f| draw(f, app)).unwrap();
    terminal.backend().to_string()
}

#[test]
fn panes_look_as_they_did() {
    for (width, height) in [(60, 15), (80, 24), (160, 50)] {
        let mut a = app(true);
        insta::assert_snapshot!(format!("services-{width}x{height}"), screen(&mut a, width, height));
        press(&mut a, "2");
        screen(&mut a, width, height);
        press(&mut a, "jjjjjjjjj\n");
        insta::assert_snapshot!(format!("rules-{width}x{height}"), screen(&mut a, width, height));
        press(&mut a, "?");
        insta::assert_snapshot!(format!("help-{width}x{height}"), screen(&mut a, width, height));
    }
    insta::assert_snapshot!(
        "nothing-read-yet",
        screen(&mut App::new(Theme { colour: true }, Duration::from_secs(1)), 80, 24)
    );
    insta::assert_snapshot!("too-small", screen(&mut app(true), 40, 10));
}

/// A node in nftables mode that still holds the rules of iptables mode, with flows, ipsets and a firewall.
fn moved_node() -> App {
    let services = shop::services(None, 4);
    let options = nftables::WriteOptions {
        cluster_cidr: "10.244.0.0/16".parse().ok(),
        node_port_addresses: vec!["192.0.2.7".parse().unwrap()],
    };
    let (native, counters) = nftables::write(&services, IpFamily::V4, &options);
    let state = |table: Table, counters, backend| TableState {
        at: Duration::from_secs(1),
        backend,
        family: table.family,
        table: Arc::new(table),
        counters: Arc::new(counters),
        recent: None,
        bytes: None,
    };
    let old = iptables::write(&services[..6], IpFamily::V4, &iptables::WriteOptions::default());
    let mut tables: Vec<TableState> =
        old.into_iter().map(|(t, c)| state(t, c, TableBackend::XTables)).collect();
    let mut firewall = TableBuilder::new(Family::Inet, TableBackend::NfTables, "firewalld");
    firewall.dialect = Dialect::Nft;
    let chain = firewall.chain("filter_FORWARD");
    let (hook, kind) = (Hook::Forward, ChainKind::Filter);
    let base = BaseChain { hook, kind, priority: 10, policy: Policy::Accept };
    firewall.base(chain, base, Counter::default());
    let counter = Counter { packets: 12, bytes: 720 };
    let target = Target::Verdict(Verdict::Drop);
    firewall.push(chain, RuleSpec { matches: vec![Match::Counter], target, counter });
    let (firewall, counted) = firewall.finish();
    tables.push(state(firewall, counted, TableBackend::NfTables));
    tables.push(state(native, counters, TableBackend::NfTables));
    let mut flows = Flows::default();
    for s in services.iter().filter(|s| s.family == IpFamily::V4) {
        for (n, b) in s.backends.iter().enumerate() {
            if let Some(frontend) = s.frontends[0].address {
                let key = FlowKey {
                    protocol: s.protocol.number(),
                    frontend,
                    frontend_port: s.frontends[0].port,
                    backend: b.address,
                    backend_port: b.port,
                };
                flows.groups.insert(key, FlowFigures { flows: 3 + n as u32, ..FlowFigures::default() });
            }
        }
    }
    let at = Duration::from_secs(1);
    let conntrack = Conntrack {
        limits: Default::default(),
        stats: None,
        flows: Some(Reading { at, value: Arc::new(flows) }),
    };
    let member =
        Member { address: "10.96.0.1".parse().ok(), protocol: Some(6), port: Some(443), ..Member::default() };
    let set = Ipset {
        name: "KUBE-CLUSTER-IP".into(),
        kind: "hash:ip,port".into(),
        size: 1,
        members: Some(vec![member]),
        ..Ipset::default()
    };
    let object = AcctObject { name: "ct_state_invalid_dropped_pkts".into(), counter, references: 1 };
    let snapshot = Snapshot {
        tables,
        conntrack: Some(conntrack),
        ipsets: Some(Reading { at, value: Arc::new(vec![set]) }),
        accounts: Some(Reading { at, value: Arc::new(vec![object]) }),
        ..Snapshot::default()
    };
    let mut app = App::new(Theme { colour: true }, Duration::from_secs(1));
    let model = Model::read(&snapshot, &Names::default());
    let tracker = Arc::new(Mutex::new(Tracker::default()));
    let rates = tracker.lock().unwrap().update(&snapshot, &model);
    app.on_update(Update {
        snapshot: Arc::new(snapshot),
        model: Arc::new(model),
        changed: true,
        rates: Arc::new(rates),
        tracker,
        took: Duration::from_millis(3),
        spacing: Duration::ZERO,
    });
    app
}

#[test]
fn a_moved_node_looks_as_it_did() {
    for (width, height) in [(60, 15), (80, 24), (160, 50)] {
        let mut a = moved_node();
        insta::assert_snapshot!(format!("moved-services-{width}x{height}"), screen(&mut a, width, height));
        press(&mut a, "2/services\n");
        screen(&mut a, width, height);
        // The chain of that name in the native table.
        let mut at = 0;
        while !screen(&mut a, width, height).contains(" ip kube-proxy services ") {
            press(&mut a, "j");
            at += 1;
            assert!(at < 40, "{}", screen(&mut a, width, height));
        }
        insta::assert_snapshot!(format!("moved-rules-{width}x{height}"), screen(&mut a, width, height));
        press(&mut a, "\u{1b}/cluster\ng");
        let mut at = 0;
        while !screen(&mut a, width, height).contains(" ipset KUBE-CLUSTER-IP ") {
            press(&mut a, "j");
            at += 1;
            assert!(at < 40, "{}", screen(&mut a, width, height));
        }
        insta::assert_snapshot!(format!("moved-sets-{width}x{height}"), screen(&mut a, width, height));
    }
}

#[test]
fn a_chain_that_was_found_stays_chosen_when_the_search_ends() {
    let mut a = moved_node();
    press(&mut a, "2/@cluster-ips\njj");
    let found = |a: &mut App| screen(a, 120, 40).contains(" ip kube-proxy @cluster-ips ");
    for _ in 0..10 {
        if found(&mut a) {
            break;
        }
        press(&mut a, "j");
    }
    assert!(found(&mut a), "{}", screen(&mut a, 120, 40));
    press(&mut a, "\u{1b}");
    let text = screen(&mut a, 120, 40);
    assert!(text.contains(" ip kube-proxy @cluster-ips ") && text.contains("@hairpin-connections"), "{text}");
}

/// Every screen size draws, also between the layouts.
#[test]
fn no_size_breaks_the_screen() {
    let mut a = app(true);
    for keys in ["1", "2", "?"] {
        press(&mut a, keys);
        for width in [1, 20, 59, 60, 71, 80, 95, 120, 200, 300] {
            for height in [1, 5, 14, 15, 19, 24, 60] {
                let text = screen(&mut a, width, height);
                assert_eq!(text.lines().count(), usize::from(height));
            }
        }
    }
}

#[test]
fn without_colour_nothing_is_coloured() {
    let mut a = app(false);
    let mut terminal = Terminal::new(TestBackend::new(120, 40)).unwrap();
    for keys in ["1", "2", "!", "?"] {
        press(&mut a, keys);
        terminal.draw(|f| draw(f, &mut a)).unwrap();
        for cell in &terminal.backend().buffer().content {
            assert_eq!(cell.fg, ratatui::style::Color::Reset);
            assert_eq!(cell.bg, ratatui::style::Color::Reset);
        }
    }
}

#[test]
fn search_filters_and_sorting_work_by_keys() {
    let mut a = app(true);
    let services = |text: &str| text.lines().filter(|l| l.contains(" TCP ") || l.contains(" UDP ")).count();
    let all = services(&screen(&mut a, 120, 60));
    press(&mut a, "/redis\n");
    let text = screen(&mut a, 120, 60);
    assert!(text.contains("shop/redis-leader:redis") && text.contains("Services 1 of"), "{text}");
    assert!(text.contains("search \"redis\""));
    press(&mut a, "\u{1b}");
    // By a backend's address.
    press(&mut a, "/10.244.0.5:6379");
    assert!(screen(&mut a, 120, 60).contains("Services 1 of"));
    press(&mut a, "\u{1b}");
    assert_eq!(services(&screen(&mut a, 120, 60)), all);
    press(&mut a, "!");
    let text = screen(&mut a, 120, 60);
    assert!(
        text.contains("only: problems") && text.contains("shop/checkout:http") && !text.contains("shop/cart")
    );
    press(&mut a, "\u{1b}n");
    assert!(screen(&mut a, 120, 60).contains("namespace default"));
    press(&mut a, "\u{1b}");
    // The chosen Service stays chosen when the order changes.
    press(&mut a, "/cart\n");
    screen(&mut a, 120, 60);
    press(&mut a, "gj\u{1b}");
    press(&mut a, "ssss");
    let text = screen(&mut a, 120, 60);
    assert!(text.contains(" shop/cart TCP ─"), "{text}");
    assert_eq!(press(&mut a, "q"), Flow::Quit);
}

#[test]
fn the_mouse_chooses_sorts_and_scrolls() {
    let mut a = app(true);
    let text = screen(&mut a, 120, 40);
    let row = text.lines().position(|l| l.contains("default/webhook")).unwrap() as u16;
    let click = |column, row| MouseEvent {
        kind: MouseEventKind::Down(MouseButton::Left),
        column,
        row,
        modifiers: KeyModifiers::NONE,
    };
    assert_eq!(a.on_mouse(click(10, row)), Flow::Draw);
    assert!(screen(&mut a, 120, 40).contains(" default/webhook TCP ─"));
    let head = text.lines().position(|l| l.contains("SERVICE")).unwrap();
    let at = text.lines().nth(head).unwrap().chars().position(|c| c == 'F').unwrap() as u16;
    a.on_mouse(click(at, head as u16));
    assert!(screen(&mut a, 120, 40).contains("FRONTEND▾"));
    let tab = text.lines().nth(2).unwrap().chars().position(|c| c == '2').unwrap() as u16;
    a.on_mouse(click(tab, 2));
    assert!(screen(&mut a, 120, 40).contains("Tables and chains"));
    for _ in 0..5 {
        let kind = MouseEventKind::ScrollDown;
        a.on_mouse(MouseEvent { kind, column: 5, row: 8, modifiers: KeyModifiers::NONE });
    }
    assert_eq!(a.on_mouse(click(119, 39)), Flow::Nothing);
}

/// A frame as SVG: each run of cells of one style is a text, its background a rectangle.
fn svg(buffer: &ratatui::buffer::Buffer) -> String {
    use ratatui::style::{Color, Modifier};
    const W: f64 = 8.4;
    const H: f64 = 18.0;
    let colour = |c: Color, default: &str| -> String {
        match c {
            Color::Cyan => "#56c8d8".into(),
            Color::Green => "#7ec699".into(),
            Color::LightGreen => "#9fd8a8".into(),
            Color::Yellow => "#e5c07b".into(),
            Color::Red => "#f07178".into(),
            Color::Gray => "#b8bdc9".into(),
            Color::DarkGray => "#737a8c".into(),
            Color::Indexed(n) => format!("#{0:02x}{0:02x}{0:02x}", 8 + (u16::from(n) - 232) * 10 + 6),
            _ => default.into(),
        }
    };
    let area = buffer.area;
    let (width, height) = (f64::from(area.width) * W + 24.0, f64::from(area.height) * H + 24.0);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         font-family=\"ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace\" font-size=\"14\">\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#1b1e27\"/>\n"
    );
    for y in 0..area.height {
        let mut x = 0;
        while x < area.width {
            let style = buffer[(x, y)].style();
            let mut run = String::new();
            let start = x;
            while x < area.width && buffer[(x, y)].style() == style {
                run.push_str(buffer[(x, y)].symbol());
                x += 1;
            }
            let blanks = run.chars().take_while(|c| *c == ' ').count();
            let shown = run.trim().chars().count();
            let modifiers = style.add_modifier;
            let (mut fg, mut bg) = (
                colour(style.fg.unwrap_or_default(), "#d7dae0"),
                colour(style.bg.unwrap_or_default(), "none"),
            );
            if modifiers.contains(Modifier::REVERSED) {
                (fg, bg) = ("#1b1e27".into(), fg);
            }
            let (px, py) = (12.0 + f64::from(start) * W, 12.0 + f64::from(y) * H);
            let length = f64::from(x - start) * W;
            if bg != "none" {
                out.push_str(&format!(
                    "<rect x=\"{px:.1}\" y=\"{py:.1}\" width=\"{length:.1}\" height=\"{H}\" fill=\"{bg}\"/>\n"
                ));
            }
            if run.trim().is_empty() {
                continue;
            }
            let bold = if modifiers.contains(Modifier::BOLD) { " font-weight=\"bold\"" } else { "" };
            let text = run.trim().replace('&', "&amp;").replace('<', "&lt;").replace(' ', "\u{a0}");
            let (px, length) = (px + blanks as f64 * W, shown as f64 * W);
            out.push_str(&format!(
                "<text x=\"{px:.1}\" y=\"{:.1}\" textLength=\"{length:.1}\" fill=\"{fg}\"{bold}>{text}</text>\n",
                py + 13.5
            ));
        }
    }
    out.push_str("</svg>\n");
    out
}

/// README's picture is what the screen looks like. `KPTOP_UPDATE_PICTURE=1` draws it anew.
#[test]
fn the_picture_is_current() {
    let mut a = App::new(Theme { colour: true }, Duration::from_secs(1));
    for update in readings_for(60) {
        a.on_update(update);
    }
    let mut terminal = Terminal::new(TestBackend::new(124, 36)).unwrap();
    terminal.draw(|f| draw(f, &mut a)).unwrap();
    press(&mut a, "/frontend:http\n");
    terminal.draw(|f| draw(f, &mut a)).unwrap();
    press(&mut a, "gjk\u{1b}");
    terminal.draw(|f| draw(f, &mut a)).unwrap();
    let drawn = svg(terminal.backend().buffer());
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/screen.svg");
    if std::env::var_os("KPTOP_UPDATE_PICTURE").is_some() {
        std::fs::write(&file, &drawn).unwrap();
    }
    let kept = std::fs::read_to_string(&file).unwrap();
    assert!(
        kept == drawn,
        "assets/screen.svg is not what the screen looks like: KPTOP_UPDATE_PICTURE=1 cargo test"
    );
}

/// A terminal of which the program will not hold the other end.
fn terminal(rows: u16, columns: u16) -> OpenptyResult {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    let pty = openpty(&size, None).unwrap();
    for fd in [&pty.master, &pty.slave] {
        fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).unwrap();
    }
    pty
}

fn start_on(slave: &std::os::fd::OwnedFd, args: &[&str]) -> Child {
    let end = || slave.try_clone().unwrap();
    Command::new(KPTOP)
        .args(args)
        .env("TERM", "xterm-256color")
        .env_remove("NO_COLOR")
        .stdin(end())
        .stdout(end())
        .stderr(end())
        .spawn()
        .unwrap()
}

/// The program on a terminal of its own.
struct Terminal80 {
    child: Child,
    master: File,
    slave: std::os::fd::OwnedFd,
    output: Receiver<Vec<u8>>,
    seen: Vec<u8>,
    screen: vt100::Parser,
}

impl Terminal80 {
    fn start(args: &[&str]) -> Terminal80 {
        let pty = terminal(24, 80);
        let child = start_on(&pty.slave, args);
        let master = File::from(pty.master);
        let mut reader = master.try_clone().unwrap();
        let (sender, output) = channel();
        std::thread::spawn(move || {
            let mut chunk = [0u8; 65536];
            while let Ok(n) = reader.read(&mut chunk) {
                if n == 0 || sender.send(chunk[..n].to_vec()).is_err() {
                    break;
                }
            }
        });
        Terminal80 {
            child,
            master,
            slave: pty.slave,
            output,
            seen: Vec::new(),
            screen: vt100::Parser::new(24, 80, 0),
        }
    }

    /// Waits until the screen shows a text.
    fn wait_for(&mut self, text: &str) {
        let began = Instant::now();
        loop {
            let shown = self.screen.screen().contents();
            if shown.contains(text) {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "no `{text}` in\n{shown}");
            if let Ok(chunk) = self.output.recv_timeout(Duration::from_millis(100)) {
                self.screen.process(&chunk);
                self.seen.extend(chunk);
            }
        }
    }

    fn keys(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    fn ended(&mut self) -> (Option<i32>, String) {
        let began = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(began.elapsed() < Duration::from_secs(10), "it does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
        while let Ok(chunk) = self.output.recv_timeout(Duration::from_millis(200)) {
            self.seen.extend(chunk);
        }
        (self.child.wait().unwrap().code(), String::from_utf8_lossy(&self.seen).into_owned())
    }

    /// As a window that is resized: by the terminal's own tool, as there is no safe call for it.
    fn resize(&mut self, rows: u16, columns: u16) {
        let status = Command::new("stty")
            .args(["rows", &rows.to_string(), "cols", &columns.to_string()])
            .stdin(self.master.try_clone().unwrap())
            .status()
            .unwrap();
        assert!(status.success());
        self.screen.screen_mut().set_size(rows, columns);
        self.signal(Signal::SIGWINCH);
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }
}

impl Drop for Terminal80 {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const LEAVE: &str = "\u{1b}[?1049l";
const SHOW_CURSOR: &str = "\u{1b}[?25h";

#[test]
fn keys_drive_the_real_program_and_the_terminal_comes_back() {
    in_new_netns(|| {
        load_legacy(&set("1.36.2", "iptables-legacy"));
        let mut t = Terminal80::start(&["--interval", "0.2"]);
        let before = tcgetattr(&t.slave).unwrap();
        t.wait_for("default/webhook");
        assert_ne!(tcgetattr(&t.slave).unwrap(), before, "raw mode");
        t.keys("?");
        t.wait_for("any other key closes");
        t.keys("x");
        t.wait_for("default/webhook");
        t.keys("\t");
        t.wait_for("Tables and chains");
        t.keys("1/frontend\r");
        t.wait_for("shop/frontend:https");
        t.keys(" ");
        t.wait_for("paused");
        t.keys("q");
        let (code, rest) = t.ended();
        assert_eq!(code, Some(0));
        assert!(rest.contains(LEAVE) && rest.contains(SHOW_CURSOR), "{rest:?}");
        assert_eq!(tcgetattr(&t.slave).unwrap(), before);
    });
}

#[test]
fn a_small_terminal_is_told_and_a_grown_one_goes_on() {
    in_new_netns(|| {
        load_legacy(&set("1.36.2", "iptables-legacy"));
        let mut t = Terminal80::start(&[]);
        t.wait_for("default/webhook");
        t.resize(10, 40);
        t.wait_for("too small");
        t.resize(24, 80);
        t.wait_for("default/webhook");
        t.keys("q");
        assert_eq!(t.ended().0, Some(0));
    });
}

#[test]
fn signals_give_the_terminal_back() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        in_new_netns(move || {
            let mut t = Terminal80::start(&[]);
            let before = tcgetattr(&t.slave).unwrap();
            t.wait_for("No Services of kube-proxy");
            t.signal(signal);
            let (code, rest) = t.ended();
            assert_eq!(code, Some(0), "{signal}");
            assert!(rest.contains(LEAVE), "{signal}: {rest:?}");
            assert_eq!(tcgetattr(&t.slave).unwrap(), before, "{signal}");
        });
    }
}

/// An SSH line that breaks, without even a signal.
#[test]
fn a_terminal_that_goes_away_ends_it() {
    in_new_netns(|| {
        let pty = terminal(24, 80);
        let mut child = start_on(&pty.slave, &[]);
        drop(pty.slave);
        let mut master = File::from(pty.master);
        assert!(master.read(&mut [0u8; 4096]).unwrap() > 0);
        drop(master);
        let began = Instant::now();
        while child.try_wait().unwrap().is_none() {
            if began.elapsed() > Duration::from_secs(10) {
                child.kill().unwrap();
                panic!("it goes on without a terminal");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    });
}

/// A line that hangs: nobody reads what is drawn, and a signal still ends the program.
#[test]
fn a_stuck_terminal_does_not_keep_it_alive() {
    in_new_netns(|| {
        load_legacy(&set("1.36.2", "iptables-legacy"));
        let pty = terminal(60, 300);
        let mut child = start_on(&pty.slave, &[]);
        std::thread::sleep(Duration::from_secs(2)); // by now more is drawn than a terminal buffers
        kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
        let began = Instant::now();
        while child.try_wait().unwrap().is_none() {
            if began.elapsed() > Duration::from_secs(10) {
                child.kill().unwrap();
                panic!("it hangs with its terminal");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        drop(pty.master);
    });
}

#[test]
fn an_unknown_namespace_is_said_on_a_usual_terminal() {
    let mut t = Terminal80::start(&["--netns", "nowhere"]);
    let (code, text) = t.ended();
    assert_eq!(code, Some(2));
    assert!(text.contains("nowhere") && !text.contains("\u{1b}[?1049h"), "{text}");
}
