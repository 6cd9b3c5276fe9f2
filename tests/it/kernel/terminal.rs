//! The real program on a pseudo-terminal.

use crate::common::terminal::{Terminal, kptop, session, start_on, terminal};
use crate::common::{in_new_netns, load_legacy, set};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::tcgetattr;
use nix::unistd::Pid;
use std::fs::File;
use std::io::Read;
use std::time::{Duration, Instant};

const LEAVE: &str = "\u{1b}[?1049l";
const SHOW_CURSOR: &str = "\u{1b}[?25h";

#[test]
fn keys_drive_the_real_program_and_the_terminal_comes_back() {
    in_new_netns(|| {
        load_legacy(&set("1.36.2", "iptables-legacy"));
        let mut t = Terminal::start(&["--interval", "0.2"]);
        let before = t.before.clone();
        t.wait_for("default/kubernetes");
        assert_ne!(tcgetattr(&t.slave).unwrap(), before, "raw mode");
        t.keys("?");
        t.wait_for("Esc closes");
        t.keys("x");
        t.wait_for("default/kubernetes");
        t.keys("\t");
        t.wait_for("Tables and chains");
        t.keys("1/frontend\r");
        t.wait_for("shop/frontend ▸ 2 ports");
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
        let mut t = Terminal::start(&["--interval", "0.2", "--pane", "overview"]);
        let before = t.before.clone();
        let sights = [
            ("1", "Most new flows"),
            ("2", "default/kubernetes"),
            ("3", "Tables and chains"),
            ("4", "under each mode of kube-proxy"),
            ("5", "Conntrack"),
            ("6", "causes ruled out"),
            ("7", "since kptop began"),
            ("8", "What counters report"),
        ];
        for (key, text) in sights {
            t.keys(key);
            t.wait_for(text);
        }
        // Round by Tab, and back to each by a click on its tab.
        t.keys("\t");
        t.wait_for("Most new flows");
        for (title, text) in
            [("2 Services", "SERVICE"), ("4 Compare", "under each mode"), ("6 Find", "looked for")]
        {
            let line = t.screen.screen().rows(0, 80).nth(2).unwrap();
            let at = line.chars().collect::<String>().find(title).unwrap();
            t.keys(&click(at + 2, 3));
            t.wait_for(text);
        }
        // Into a Service, through its sections, out again.
        t.keys("2/frontend:https\r");
        t.wait_for("1 of 45 ports");
        t.keys("\r");
        t.wait_for("Esc goes back");
        t.keys("]]");
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
        t.wait_for(" of 33 ");
        t.keys("g");
        t.wait_for("default/kubernetes");
        t.keys("y");
        t.wait_for("copied: ");
        t.keys(":theme: light\r");
        t.keys("?");
        t.wait_for("Esc closes");
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
        ("?", "Esc closes"),
        (":th", ": th"),
        ("/web", "search: web"),
        ("c", "Columns of Services"),
        (" ", "paused"),
        ("\r", "Esc goes back"),
    ] {
        in_new_netns(move || {
            load_legacy(&set("1.36.2", "iptables-legacy"));
            let mut t = Terminal::start(&["--interval", "0.2"]);
            let before = t.before.clone();
            t.wait_for("default/kubernetes");
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
        let mut t = Terminal::start(&[]);
        t.wait_for("default/kubernetes");
        t.resize(10, 40);
        t.wait_for("too small");
        t.resize(24, 80);
        t.wait_for("default/kubernetes");
        t.keys("q");
        assert_eq!(t.ended().0, Some(0));
    });
}

#[test]
fn signals_give_the_terminal_back() {
    let asks = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGUSR2];
    for (signal, expected) in asks.map(|s| (s, 0)).into_iter().chain([(Signal::SIGHUP, 2)]) {
        in_new_netns(move || {
            let mut t = Terminal::start(&[]);
            let before = t.before.clone();
            t.wait_for("No Services of kube-proxy");
            t.signal(signal);
            let (code, rest) = t.ended();
            assert_eq!(code, Some(expected), "{signal}");
            assert!(rest.contains(LEAVE), "{signal}: {rest:?}");
            assert_eq!(tcgetattr(&t.slave).unwrap(), before, "{signal}");
        });
    }
}

/// As by a shell: a signal from outside, and the key. What runs it finds a usual terminal, and `fg` a whole screen.
#[test]
fn it_stops_and_goes_on_as_a_job() {
    in_new_netns(|| {
        let mut shell = std::process::Command::new("bash");
        shell
            .args(["--norc", "--noprofile", "-i"])
            .env("PS1", "ready> ")
            .env("KPTOP", env!("CARGO_BIN_EXE_kptop"));
        let mut t = Terminal::run(session(shell), 24, 80);
        t.wait_for("ready>");
        for way in ["key", "signal"] {
            let start = if way == "key" { "$KPTOP --no-api\r" } else { "fg\r" };
            t.keys(start);
            t.wait_for("No Services of kube-proxy");
            match way {
                "key" => t.keys("\u{1a}"),
                _ => {
                    let status = std::process::Command::new("pkill")
                        .args(["-TSTP", "-s", &t.child.id().to_string(), "-x", "kptop"])
                        .status();
                    assert!(status.unwrap().success());
                }
            }
            t.wait_for("Stopped");
            // The word may still be there from the first time, and what is typed too early would be kptop's.
            let session = t.child.id().to_string();
            let is_stopped = || {
                let mut find = std::process::Command::new("pgrep");
                find.args(["-s", &session, "-x", "kptop", "-r", "T"]);
                find.stdout(std::process::Stdio::null()).status().unwrap().success()
            };
            assert!(crate::common::wait_until(is_stopped, |stopped| *stopped), "{way}: it does not stop");
            // The shell has a cooked terminal: it echoes, and lines end where they should.
            t.keys(&format!("echo up to $((40 + {}))\r", way.len()));
            t.wait_for(&format!("up to {}", 40 + way.len()));
        }
        t.keys("fg\r");
        t.wait_for("No Services of kube-proxy");
        t.keys("?");
        t.wait_for("Esc closes");
        t.keys("xq");
        t.wait_for("ready>");
        t.keys("exit\r");
        assert_eq!(t.ended().0, Some(0));
    });
}

/// Where no shell waits for it, Ctrl-Z stops nothing: nobody could continue it.
#[test]
fn without_a_shell_it_goes_on() {
    in_new_netns(|| {
        let mut t = Terminal::run(session(kptop(&["--no-api"])), 24, 80);
        t.wait_for("No Services of kube-proxy");
        t.keys("\u{1a}");
        t.keys("?");
        t.wait_for("Esc closes");
        t.keys("xq");
        assert_eq!(t.ended().0, Some(0));
    });
}

/// A terminal may claim any size.
#[test]
fn a_huge_terminal_takes_little_memory() {
    in_new_netns(|| {
        load_legacy(&set("1.36.2", "iptables-legacy"));
        let mut t = Terminal::run(kptop(&["--interval", "0.2"]), 65_535, 65_535);
        std::thread::sleep(Duration::from_secs(2)); // some readings: the peak is what they took
        let status = std::fs::read_to_string(format!("/proc/{}/status", t.child.id())).unwrap();
        let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
        let kib: u64 = peak.split_whitespace().next().unwrap().parse().unwrap();
        assert!(kib < 250_000, "{kib} KiB");
        t.keys("q");
        assert_eq!(t.ended().0, Some(0));
    });
}

/// An SSH line that breaks, without even a signal.
#[test]
fn a_terminal_that_goes_away_ends_it() {
    for hangup_ignored in [false, true].repeat(8) {
        in_new_netns(move || {
            let pty = terminal(24, 80);
            let mut command = kptop(&[]);
            if hangup_ignored {
                command = std::process::Command::new("sh");
                command.args(["-c", "trap '' HUP; exec \"$0\"", env!("CARGO_BIN_EXE_kptop")]);
            }
            let mut child = start_on(&pty.slave, command);
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
            assert_eq!(child.wait().unwrap().code(), Some(2), "SIGHUP ignored: {hangup_ignored}");
        });
    }
}

/// A line that hangs: nobody reads what is drawn, and a signal still ends the program.
#[test]
fn a_stuck_terminal_does_not_keep_it_alive() {
    in_new_netns(|| {
        load_legacy(&set("1.36.2", "iptables-legacy"));
        let pty = terminal(60, 300);
        let mut child = start_on(&pty.slave, kptop(&[]));
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
    let mut t = Terminal::start(&["--netns", "nowhere"]);
    let (code, text) = t.ended();
    assert_eq!(code, Some(2));
    assert!(text.contains("nowhere") && !text.contains("\u{1b}[?1049h"), "{text}");
}

/// A recording on the screen: time passes, is, is jumped to, and its end is its end.
#[test]
fn a_recording_is_travelled_in() {
    let mut t = Terminal::start(&["replay", "tests/recordings/1.rec"]);
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
    let place = crate::common::recordings::Place::new("saved");
    let dir = place.0.clone();
    in_new_netns(move || {
        load_legacy(&set("1.36.2", "iptables-legacy"));
        std::thread::scope(|_| {
            let mut command = kptop(&["--interval", "0.3"]);
            command.current_dir(&dir);
            let mut t = Terminal::run(command, 24, 80);
            t.wait_for("default/kubernetes");
            std::thread::sleep(Duration::from_secs(2));
            t.keys(",");
            t.wait_for("ago");
            t.keys(",,");
            t.wait_for(" ago");
            t.keys("0");
            t.wait_for("every 300 ms");
            t.keys("W");
            // The title of the list has readings, too.
            t.wait_for(" bytes, in");
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
