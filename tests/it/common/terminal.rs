//! kptop, or another program, on a pseudo-terminal.

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{Termios, tcgetattr};
use nix::unistd::Pid;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// A terminal of which the program will not hold the other end.
pub fn terminal(rows: u16, columns: u16) -> OpenptyResult {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    let pty = openpty(&size, None).unwrap();
    for fd in [&pty.master, &pty.slave] {
        fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).unwrap();
    }
    pty
}

/// Starts a program on it.
pub fn start_on(slave: &OwnedFd, mut command: Command) -> Child {
    let end = || slave.try_clone().unwrap();
    command.env("TERM", "xterm-256color").env_remove("NO_COLOR").env_remove("KUBECONFIG");
    command
        .stdin(end())
        .stdout(end())
        .stderr(end())
        .spawn()
        .unwrap_or_else(|e| panic!("{command:?} (tests/setup installs what tests need): {e}"))
}

/// kptop with arguments.
pub fn kptop(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kptop"));
    command.args(args);
    command
}

/// The same program as the leader of a session that this terminal controls, as a login gives it.
pub fn session(command: Command) -> Command {
    let mut leader = Command::new("setsid");
    leader.arg("--ctty").arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(v) => leader.env(name, v),
            None => leader.env_remove(name),
        };
    }
    leader
}

/// The program on a terminal of its own.
pub struct Terminal {
    pub child: Child,
    pub master: File,
    pub slave: OwnedFd,
    output: Receiver<Vec<u8>>,
    seen: Vec<u8>,
    pub screen: vt100::Parser,
    /// How the terminal was before the program began.
    pub before: Termios,
}

impl Terminal {
    /// kptop on a usual one.
    pub fn start(args: &[&str]) -> Terminal {
        Terminal::run(kptop(args), 24, 80)
    }

    /// A program on one of this size.
    pub fn run(command: Command, rows: u16, columns: u16) -> Terminal {
        let pty = terminal(rows, columns);
        let before = tcgetattr(&pty.slave).unwrap();
        let child = start_on(&pty.slave, command);
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
        Terminal {
            child,
            master,
            slave: pty.slave,
            output,
            seen: Vec::new(),
            screen: vt100::Parser::new(rows.min(500), columns.min(1_000), 0),
            before,
        }
    }

    /// Waits until the screen shows a text.
    pub fn wait_for(&mut self, text: &str) {
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

    /// Presses keys.
    pub fn keys(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    /// Its exit code and all that it wrote; fails where it does not end.
    pub fn ended(&mut self) -> (Option<i32>, String) {
        self.ended_within(Duration::from_secs(10))
    }

    /// The same with more patience.
    pub fn ended_within(&mut self, limit: Duration) -> (Option<i32>, String) {
        let began = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(began.elapsed() < limit, "it does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
        while let Ok(chunk) = self.output.recv_timeout(Duration::from_millis(200)) {
            self.seen.extend(chunk);
        }
        (self.child.wait().unwrap().code(), String::from_utf8_lossy(&self.seen).into_owned())
    }

    /// As a window that is resized: by the terminal's own tool, as there is no safe call for it.
    pub fn resize(&mut self, rows: u16, columns: u16) {
        let status = Command::new("stty")
            .args(["rows", &rows.to_string(), "cols", &columns.to_string()])
            .stdin(self.master.try_clone().unwrap())
            .status()
            .unwrap();
        assert!(status.success());
        self.screen.screen_mut().set_size(rows, columns);
        self.signal(Signal::SIGWINCH);
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
