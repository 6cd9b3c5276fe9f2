//! Every system call of a live session: nothing but reading is asked of the kernel, and nothing else is run or written.

use crate::common::terminal::Terminal;
use crate::common::{in_new_netns, load_legacy, read, run, run_with, say, set};
use kptop::snapshot::facts::{BPF_READS, READS};
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Duration;

const KPTOP: &str = env!("CARGO_BIN_EXE_kptop");

/// Calls that a session may make: memory and threads, waiting, its terminal and signals, reading files, sockets, and what it
/// gives up. What they are called with is looked at below.
const CALLS: &[&str] = &[
    // Memory, threads, time.
    "brk",
    "mmap",
    "munmap",
    "mremap",
    "mprotect",
    "madvise",
    "clone",
    "clone3",
    "set_robust_list",
    "rseq",
    "futex",
    "set_tid_address",
    "sched_getaffinity",
    "sched_yield",
    "gettid",
    "getpid",
    "clock_gettime",
    "clock_nanosleep",
    "nanosleep",
    "getrandom",
    "exit",
    "exit_group",
    "restart_syscall",
    "arch_prctl",
    "prlimit64",
    "sysinfo",
    "getuid",
    "geteuid",
    "getgid",
    "getegid",
    "uname",
    "getrusage",
    "timerfd_create",
    "timerfd_settime",
    "membarrier",
    // Waiting, and being woken.
    "poll",
    "ppoll",
    "epoll_create1",
    "epoll_ctl",
    "epoll_wait",
    "epoll_pwait",
    "eventfd2",
    "pipe2",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sigaltstack",
    "socketpair",
    // Reading files.
    "openat",
    "open",
    "close",
    "read",
    "pread64",
    "readv",
    "lseek",
    "fstat",
    "stat",
    "lstat",
    "newfstatat",
    "statx",
    "statfs",
    "getdents64",
    "readlink",
    "readlinkat",
    "access",
    "faccessat",
    "faccessat2",
    "getcwd",
    "dup",
    "dup2",
    "dup3",
    "fcntl",
    // Its terminal.
    "ioctl",
    "write",
    "writev",
    // Sockets.
    "socket",
    "bind",
    "connect",
    "getsockname",
    "getpeername",
    "getsockopt",
    "setsockopt",
    "sendto",
    "sendmsg",
    "recvfrom",
    "recvmsg",
    "shutdown",
    // eBPF programs.
    "bpf",
    // What it gives up.
    "seccomp",
    "prctl",
    "capget",
    "capset",
    // Itself, started.
    "execve",
];

/// Starts kptop under strace on a terminal, presses keys, and gives what strace saw.
fn traced(args: &[&str], keys: &[&str]) -> String {
    let place = crate::common::recordings::Place::new("syscalls");
    let log = place.file("strace");
    let mut strace = Command::new("strace"); // tests/setup installs it
    strace.args(["-f", "-y", "-s", "512", "-o"]).arg(&log).arg(KPTOP).args(args);
    let mut terminal = Terminal::run(strace, 50, 160);
    std::thread::sleep(Duration::from_secs(4));
    for k in keys {
        terminal.keys(k);
        std::thread::sleep(Duration::from_millis(700));
    }
    let (code, _) = terminal.ended_within(Duration::from_secs(20));
    assert_eq!(code, Some(0), "kptop did not end well");
    std::fs::read_to_string(log).unwrap()
}

/// `1234  openat(AT_FDCWD, "x", O_RDONLY) = 3` -> the call and what is in its brackets. Calls that were cut in two by
/// another thread have their arguments in the first half.
fn call(line: &str) -> Option<(&str, &str)> {
    let rest = line.split_once(' ')?.1.trim_start();
    if rest.starts_with(['<', '+', '-']) {
        return None;
    }
    let (name, args) = rest.split_once('(')?;
    Some((name, args))
}

/// Every `nlmsg_type=…` of a message.
fn netlink_types(args: &str) -> impl Iterator<Item = &str> {
    args.split("nlmsg_type=").skip(1).map(|r| r.split([',', '}']).next().unwrap_or_default())
}

/// Looks at each call; gives how often each was made, and which requests were sent.
fn examine(log: &str) -> (BTreeMap<String, u32>, BTreeSet<String>) {
    let (mut calls, mut sent) = (BTreeMap::new(), BTreeSet::new());
    let mut started = 0;
    for line in log.lines() {
        let Some((name, args)) = call(line) else { continue };
        *calls.entry(name.to_string()).or_default() += 1;
        assert!(CALLS.contains(&name), "{line}");
        match name {
            "execve" => started += 1,
            "openat" | "open" => {
                let writes =
                    ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_APPEND"].iter().any(|f| args.contains(f));
                let own = args.contains("\"/dev/tty\"") || args.contains("\"/dev/null\"");
                assert!(!writes || own, "opens for writing: {line}");
            }
            // To its terminal, and to itself.
            "write" | "writev" => {
                let to = args.split(',').next().unwrap_or_default();
                let own =
                    ["<pipe:", "<anon_inode:", "<socket:", "<UNIX", "/dev/pts/", "/dev/tty", "/dev/ptmx"];
                assert!(own.iter().any(|o| to.contains(o)), "writes: {line}");
            }
            "setsockopt" => {
                // Options of the socket itself; `IPT_SO_SET_*` and its kin are in SOL_IP and SOL_IPV6 from 64 on.
                let own = ["SOL_SOCKET", "SOL_NETLINK"].iter().any(|l| args.contains(l));
                assert!(own, "sets: {line}");
            }
            "socket" => {
                let known = [
                    "AF_NETLINK",
                    "AF_UNIX",
                    "AF_INET, SOCK_DGRAM",
                    "AF_INET6, SOCK_DGRAM",
                    // To ask kube-proxy; where to is looked at when it connects.
                    "AF_INET, SOCK_STREAM|SOCK_CLOEXEC|SOCK_NONBLOCK",
                    "AF_INET6, SOCK_STREAM|SOCK_CLOEXEC|SOCK_NONBLOCK",
                ];
                assert!(known.iter().any(|k| args.starts_with(k)), "opens: {line}");
            }
            "connect" => {
                let is_loopback =
                    args.contains("inet_addr(\"127.0.0.1\")") || args.contains("inet_pton(AF_INET6, \"::1\"");
                let asks_kube_proxy =
                    is_loopback && ["htons(10249)", "htons(10256)"].iter().any(|p| args.contains(p));
                let known = args.contains("AF_NETLINK") || args.contains("AF_UNIX") || asks_kube_proxy;
                assert!(known, "connects: {line}");
            }
            "bpf" => {
                let known = BPF_READS.iter().any(|r| args.starts_with(&format!("{},", r.name)));
                assert!(known, "asks bpf: {line}");
            }
            "ioctl" => assert!(!args.contains("SIOCS") && !args.contains("TIOCSTI"), "ioctl: {line}"),
            "prctl" => {
                let known = [
                    "PR_SET_NO_NEW_PRIVS",
                    "PR_SET_NAME",
                    "PR_GET_NAME",
                    "PR_CAP",
                    "PR_SET_VMA",
                    "PR_GET_SECCOMP",
                    "PR_SET_SECCOMP",
                ];
                assert!(known.iter().any(|k| args.starts_with(k)), "prctl: {line}");
            }
            "sendto" | "sendmsg" => {
                let to = args.split(',').next().unwrap_or_default();
                if to.contains("UNIX") || to.contains("<socket:") && !args.contains("nlmsg_type=") {
                    continue;
                }
                let mut any = false;
                for t in netlink_types(args) {
                    any = true;
                    // `NFNL_SUBSYS_NFTABLES<<8|NFT_MSG_GETGEN`, `RTM_GETLINK`, `nlctrl`
                    let last = t.rsplit('|').next().unwrap_or(t).trim();
                    let known = READS.iter().any(|r| r.name == last)
                        || (last == "nlctrl"
                            && (args.contains("CTRL_CMD_GETFAMILY") || args.contains("}, \"\\x03\\")));
                    assert!(known, "sends {t}: {line}");
                    sent.insert(t.to_string());
                }
                assert!(any, "sends what strace does not know: {line}");
            }
            _ => {}
        }
    }
    assert_eq!(started, 1, "another program was run");
    (calls, sent)
}

#[test]
fn a_live_session_only_reads() {
    let legacy = set("1.36.2", "iptables-legacy");
    let nft = read(&set("1.36.2", "nftables"), "nft-list-ruleset.txt").unwrap();
    let log = in_new_netns(move || {
        load_legacy(&legacy);
        run_with("nft", &["-f", "-"], &nft);
        // The maps of another proxy, in a bpffs of this thread's own mounts.
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS | nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
        run("mount", &["--make-rprivate", "/"]);
        run("mount", &["-t", "bpf", "none", "/sys/fs/bpf"]);
        std::fs::create_dir_all("/sys/fs/bpf/tc/globals").unwrap();
        for map in kptop::proxy::ebpf::cilium::write(&kptop::lab::shop::services(None, 4)) {
            kptop::kernel::maps::make::pin("/sys/fs/bpf/tc/globals".as_ref(), &map).unwrap();
        }
        let flow =
            "-I -p tcp -s 10.0.0.1 -d 10.0.0.2 --sport 9 --dport 80 --state ESTABLISHED -u SEEN_REPLY -t 300";
        run("conntrack", &flow.split(' ').collect::<Vec<_>>());
        // Every pane, an opened Service with each of its sections, a path, back in time, and out.
        let keys = [
            "1", "3", "4", "5", "6", "7", "2", "\r", "]", "]", "]", "]", "\x1b", "e", "\x1b", ",", ",", "0",
            " ", " ", "o", "q",
        ];
        traced(&["--interval", "0.5"], &keys)
    });
    let (calls, sent) = examine(&log);
    // It was a session: all of these were asked.
    for wanted in ["NFT_MSG_GETGEN", "NFT_MSG_GETRULE", "IPCTNL_MSG_CT_GET", "RTM_GETLINK"] {
        assert!(sent.iter().any(|s| s.ends_with(wanted)), "{wanted} was not asked: {sent:?}");
    }
    assert!(calls["getsockopt"] > 5, "x_tables were not read");
    assert!(log.contains("bpf(BPF_PROG_QUERY"), "eBPF programs were not asked for");
    let of_maps = |l: &&str| l.contains("bpf(BPF_OBJ_GET,");
    assert!(log.lines().filter(of_maps).all(|l| l.contains("BPF_F_RDONLY")), "a map was opened for writing");
    assert!(log.lines().any(|l| of_maps(&l)), "no pinned map was opened");
    assert!(log.contains("bpf(BPF_MAP_LOOKUP_BATCH") || log.contains("bpf(BPF_MAP_LOOKUP_ELEM"));
    // Privileges went before anything was opened in the kernel.
    let at = |what: &str| log.find(what).unwrap_or_else(|| panic!("no {what}"));
    assert!(at("PR_SET_NO_NEW_PRIVS") < at("AF_NETLINK") && at("capset(") < at("AF_NETLINK"));
    say(&format!(
        "{} calls of {} kinds, requests: {}",
        calls.values().sum::<u32>(),
        calls.len(),
        sent.into_iter().collect::<Vec<_>>().join(", ")
    ));
}

/// The check itself: what writes is seen.
#[test]
fn what_writes_is_seen() {
    for bad in [
        "1 openat(AT_FDCWD, \"/etc/x\", O_WRONLY|O_CREAT, 0666) = 3",
        "1 unlink(\"/etc/x\") = 0",
        "1 setsockopt(3<socket:[1]>, SOL_IP, IPT_SO_SET_REPLACE, 0x1, 99) = 0",
        "1 sendto(3<NETLINK:[1]>, [{nlmsg_len=40, nlmsg_type=NFNL_SUBSYS_NFTABLES<<8|NFT_MSG_NEWRULE, nlmsg_flags=0}], 40, 0, NULL, 0) = 40",
        "1 socket(AF_INET, SOCK_RAW, IPPROTO_RAW) = 3",
        "1 connect(9, {sa_family=AF_INET, sin_port=htons(10249), sin_addr=inet_addr(\"10.0.0.1\")}, 16) = 0",
        "1 connect(9, {sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr(\"127.0.0.1\")}, 16) = 0",
        "1 bpf(BPF_PROG_LOAD, {prog_type=BPF_PROG_TYPE_XDP, insn_cnt=2}, 128) = 3",
        "1 write(5</etc/x>, \"y\", 1) = 1",
    ] {
        let seen = std::panic::catch_unwind(|| examine(&format!("1 execve(\"kptop\") = 0\n{bad}\n")));
        assert!(seen.is_err(), "{bad}");
    }
}

/// Every subcommand, as few arguments as make it do its work for a short while.
fn every_subcommand(dir: &std::path::Path) -> Vec<(&'static str, Vec<String>)> {
    let file = |name: &str| dir.join(name).display().to_string();
    let recording = "tests/recordings/1.rec".to_string();
    let words = |text: &str| text.split(' ').map(str::to_string).collect::<Vec<_>>();
    let mut all = vec![
        ("snapshot", words("snapshot -o table")),
        ("snapshot", words("snapshot -o json")),
        ("explain", words("explain 10.96.2.3:80")),
        ("compare", words("compare")),
        ("doctor", words("doctor --over 0.2")),
        ("watch", words("watch --for 0.5 --every 0.2")),
        ("drops", words("drops --for 0.3")),
        ("calibrate", words("calibrate --dry-run")),
        ("bench", words("bench --services 10 --modes iptables --rounds 1 --seconds 0.2 --clients 1")),
        ("demo", words("demo -o table --for 0")),
        ("config", words("config")),
        ("completions", words("completions bash")),
        ("man", words("man")),
    ];
    all.push(("collect", [words("collect --over 0.3"), vec![file("out.rec")]].concat()));
    all.push((
        "files",
        vec!["--from".into(), "tests/rules/1.36.2/iptables-legacy/small".into(), "files".into()],
    ));
    let set = |mode: &str| format!("tests/rules/1.36.2/{mode}/small");
    all.push(("diff", vec!["diff".into(), set("iptables-legacy"), set("nftables")]));
    // Nobody answers there: in print that is an error, on a terminal the screen says so and asks again.
    all.push(("fleet", words("fleet --prometheus http://127.0.0.1:1")));
    all.push(("record", [words("record --for 0.5 --every 0.2"), vec![file("out.rec")]].concat()));
    all.push(("replay", vec!["replay".into(), recording.clone(), "--info".into()]));
    all.push(("replay", vec!["replay".into(), recording]));
    all.push(("shot", [words("shot --for 0.2"), vec![file("out.svg")]].concat()));
    all.push(("serve", words("serve --listen 127.0.0.1:0")));
    all.push(("", Vec::new()));
    all
}

/// How many programs were started, and the lines that say so.
fn started(log: &std::path::Path) -> (usize, String) {
    let log = std::fs::read_to_string(log).unwrap();
    let lines: Vec<&str> = log.lines().filter(|l| l.contains("execve")).collect();
    (lines.len(), lines.join("\n"))
}

/// No subcommand runs another program, with a terminal and without one (cron, systemd, `kubectl exec`).
#[test]
fn no_subcommand_runs_another_program() {
    let legacy = set("1.36.2", "iptables-legacy");
    let place = crate::common::recordings::Place::new("execs");
    let dir = place.0.clone();
    in_new_netns(move || {
        load_legacy(&legacy);
        let commands = every_subcommand(&dir);
        let help = run(KPTOP, &["--help"]);
        let listed = help.split("Commands:").nth(1).unwrap().split("Options:").next().unwrap();
        for name in listed.lines().filter_map(|l| l.strip_prefix("  ")?.split(' ').next()) {
            let known = name.is_empty()
                || ["help", "[PLACE]"].contains(&name)
                || commands.iter().any(|c| c.0 == name);
            assert!(known, "`{name}` is not tried here");
        }
        for (name, args) in commands {
            for on_terminal in [false, true] {
                let log = dir.join("log");
                let mut strace = Command::new("timeout");
                strace.args([
                    "--signal=TERM",
                    "20",
                    "strace",
                    "-f",
                    "-qq",
                    "-e",
                    "trace=execve,execveat",
                    "-o",
                ]);
                strace.arg(&log).arg(KPTOP).args(&args).arg("--no-api");
                let has_screen = name == "fleet" || matches!(args.len(), 0 | 2) && name != "man";
                let goes_on = name == "serve" || on_terminal && has_screen;
                if on_terminal {
                    let mut t = Terminal::run(crate::common::terminal::session(strace), 24, 80);
                    if goes_on {
                        std::thread::sleep(Duration::from_secs(2));
                        t.signal(nix::sys::signal::Signal::SIGTERM);
                    }
                    t.ended_within(Duration::from_secs(30));
                } else {
                    // A session of its own without a terminal, as cron's.
                    let mut leader = Command::new("setsid");
                    leader.arg("timeout").args(strace.get_args());
                    let null = std::process::Stdio::null;
                    let mut child = leader.stdin(null()).stdout(null()).stderr(null()).spawn().unwrap();
                    if goes_on {
                        std::thread::sleep(Duration::from_secs(2));
                        let pid = nix::unistd::Pid::from_raw(child.id() as i32);
                        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
                    }
                    child.wait().unwrap();
                }
                let (count, lines) = started(&log);
                assert_eq!(count, 1, "kptop {} (terminal: {on_terminal}):\n{lines}", args.join(" "));
                let _ = std::fs::remove_file(dir.join("out.rec"));
            }
        }
    });
}

/// The screen, whose terminal goes away.
#[test]
fn the_screen_runs_nothing_when_its_terminal_goes_away() {
    let place = crate::common::recordings::Place::new("gone");
    let log = place.file("log");
    let path = log.clone();
    in_new_netns(move || {
        let pty = crate::common::terminal::terminal(24, 80);
        let script = format!(
            "trap '' HUP; exec strace -f -qq -e trace=execve,execveat -o {} {KPTOP} --no-api",
            path.display()
        );
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]);
        let mut child =
            crate::common::terminal::start_on(&pty.slave, crate::common::terminal::session(shell));
        drop(pty.slave);
        std::thread::sleep(Duration::from_secs(2));
        drop(pty.master);
        assert_eq!(child.wait().unwrap().code(), Some(2));
    });
    let (count, lines) = started(&log);
    assert_eq!(count, 1, "{lines}");
}
