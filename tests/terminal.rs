//! The real program on a pseudo-terminal.

mod common;

use common::{in_new_netns, load_legacy, set};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{Termios, tcgetattr};
use nix::unistd::Pid;
use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const KPTOP: &str = env!("CARGO_BIN_EXE_kptop");

/// A terminal of which the program will not hold the other end.
fn terminal(rows: u16, columns: u16) -> OpenptyResult {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    let pty = openpty(&size, None).unwrap();
    for fd in [&pty.master, &pty.slave] {
        fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).unwrap();
    }
    pty
}

fn start_on(slave: &std::os::fd::OwnedFd, args: &[&str], dir: &std::path::Path) -> Child {
    let end = || slave.try_clone().unwrap();
    Command::new(KPTOP)
        .args(args)
        .current_dir(dir)
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
    /// How the terminal was before the program began.
    before: Termios,
}

impl Terminal80 {
    fn start(args: &[&str]) -> Terminal80 {
        Terminal80::start_in(args, std::path::Path::new("."))
    }

    fn start_in(args: &[&str], dir: &std::path::Path) -> Terminal80 {
        let pty = terminal(24, 80);
        let before = tcgetattr(&pty.slave).unwrap();
        let child = start_on(&pty.slave, args, dir);
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
            before,
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
        let before = t.before.clone();
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

/// A press of the left button, as xterm reports it (SGR 1006), places from 1.
fn click(column: usize, line: usize) -> String {
    format!("\u{1b}[<0;{column};{line}M\u{1b}[<0;{column};{line}m")
}

/// Every pane by keys and by mouse, in every size on the way, and what is copied.
#[test]
fn every_pane_is_reached_by_keys_and_mouse() {
    in_new_netns(|| {
        load_legacy(&set("1.36.2", "iptables-legacy"));
        let mut t = Terminal80::start(&["--interval", "0.2", "--pane", "overview"]);
        let before = t.before.clone();
        let sights = [
            ("1", "Most new flows"),
            ("2", "default/webhook"),
            ("3", "Tables and chains"),
            ("4", "under each mode of kube-proxy"),
            ("5", "Conntrack"),
            ("6", "causes looked for"),
            ("7", "since kptop began"),
            ("8", "What counters tell"),
        ];
        for (key, text) in sights {
            t.keys(key);
            t.wait_for(text);
        }
        // Round by Tab, and back to each by a click on its tab.
        t.keys("\t");
        t.wait_for("Most new flows");
        for (title, text) in
            [("2 Services", "SERVICE"), ("4 Compare", "under each mode"), ("6 Findings", "looked for")]
        {
            let line = t.screen.screen().rows(0, 80).nth(2).unwrap();
            let at = line.chars().collect::<String>().find(title).unwrap();
            t.keys(&click(at + 2, 3));
            t.wait_for(text);
        }
        // Into a Service, through its sections, out again.
        t.keys("2/frontend:http\r");
        t.wait_for("Services 2 of");
        t.keys("\r");
        t.wait_for("Esc goes back");
        t.keys("]");
        t.wait_for("CLIENT");
        t.keys("]");
        t.wait_for("KUBE-SVC-");
        t.keys("jj\r");
        t.wait_for("Tables and chains");
        for (rows, columns) in [(15, 60), (50, 160), (24, 80)] {
            t.resize(rows, columns);
            t.wait_for("Tables and chains");
        }
        t.keys("2\u{1b}");
        t.wait_for("Services 45 ");
        t.keys("g");
        t.wait_for("default/webhook");
        t.keys("y");
        t.wait_for("copied: ");
        t.keys(":theme: light\r");
        t.keys("?");
        t.wait_for("any other key closes");
        t.keys("\u{1b}");
        std::thread::sleep(Duration::from_millis(300)); // a lone Esc is one only when nothing follows
        t.keys("q");
        let (code, rest) = t.ended();
        assert_eq!(code, Some(0));
        assert!(rest.contains("\u{1b}]52;c;"), "copied through the terminal");
        assert!(rest.ends_with(SHOW_CURSOR) || rest.contains(LEAVE), "{rest:?}");
        assert_eq!(tcgetattr(&t.slave).unwrap(), before);
    });
}

/// Whatever is on the screen, a signal gives the terminal back.
#[test]
fn it_is_given_back_out_of_every_state() {
    for (keys, text) in [
        ("?", "any other key closes"),
        (":th", ": th"),
        ("/web", "search: web"),
        ("c", "Columns of Services"),
        (" ", "paused"),
        ("\r", "Esc goes back"),
    ] {
        in_new_netns(move || {
            load_legacy(&set("1.36.2", "iptables-legacy"));
            let mut t = Terminal80::start(&["--interval", "0.2"]);
            let before = t.before.clone();
            t.wait_for("default/webhook");
            t.keys(keys);
            t.wait_for(text);
            t.signal(Signal::SIGTERM);
            let (code, rest) = t.ended();
            assert_eq!(code, Some(0), "{keys}");
            assert!(rest.contains(LEAVE) && rest.contains(SHOW_CURSOR), "{keys}: {rest:?}");
            assert_eq!(tcgetattr(&t.slave).unwrap(), before, "{keys}");
        });
    }
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
            let before = t.before.clone();
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
        let mut child = start_on(&pty.slave, &[], std::path::Path::new("."));
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
        let mut child = start_on(&pty.slave, &[], std::path::Path::new("."));
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

/// A recording on the screen: time passes, stands, is jumped to, and its end is its end.
#[test]
fn a_recording_is_travelled_in() {
    let mut t = Terminal80::start(&["replay", "tests/recordings/1.rec"]);
    let before = t.before.clone();
    t.wait_for("1 of 5");
    t.keys("..");
    t.wait_for("3 of 5");
    t.keys(",");
    t.wait_for("2 of 5");
    t.keys(",,");
    t.wait_for("this is the first reading");
    t.keys("0");
    t.wait_for("5 of 5");
    t.keys("@+1.5\r");
    t.wait_for("2 of 5");
    t.keys("@nonsense\r");
    t.wait_for("is no time");
    t.keys("6");
    t.wait_for("shop/payments:http");
    t.keys("+++ ");
    t.wait_for("5 of 5");
    t.keys("q");
    assert_eq!(t.ended().0, Some(0));
    assert_eq!(tcgetattr(&t.slave).unwrap(), before);
}

/// The live screen goes back to what has just passed, saves it, and comes back to what is now.
#[test]
fn the_last_minutes_are_kept_and_saved() {
    let place = common::recordings::Place::new("saved");
    let dir = place.0.clone();
    in_new_netns(move || {
        load_legacy(&set("1.36.2", "iptables-legacy"));
        std::thread::scope(|_| {
            let mut t = Terminal80::start_in(&["--interval", "0.3"], &dir);
            t.wait_for("default/webhook");
            std::thread::sleep(Duration::from_secs(2));
            t.keys(",");
            t.wait_for("ago");
            t.keys(",,");
            t.wait_for(" ago");
            t.keys("0");
            t.wait_for("every 300 ms");
            t.keys("W");
            t.wait_for("readings");
            t.keys("q");
            assert_eq!(t.ended().0, Some(0));
        });
        let saved: Vec<_> = std::fs::read_dir(&dir).unwrap().flatten().map(|e| e.path()).collect();
        assert_eq!(saved.len(), 1, "{saved:?}");
        let mut recording = kptop::recording::Recording::open(&saved[0]).unwrap();
        assert!(recording.len() >= 3 && recording.cut().is_none());
        assert!(!recording.snapshot(0).unwrap().tables.is_empty());
    });
}
