//! What kptop's reads cost beside the node's own tools, in one run: `cargo bench` (as root; makes its own network
//! namespaces). `cargo bench -- ipvs` needs a kernel with IPVS; `tests/bench-ipvs` runs it in the VM.
//!
//! CPU time, not wall time, and medians of interleaved rounds: machines are noisy, ratios hold.
#![allow(clippy::print_stdout)]

mod common;

use common::{in_netns, median, ms as text, record, write_table};
use kptop::kernel::conntrack::{Client as Conntrack, Tuple};
use kptop::kernel::ipvs::{Client as Ipvs, IpvsStats, RealServer, VirtualAddress, VirtualServer};
use kptop::kernel::netlink::{NETLINK_NETFILTER, Request, Socket as Netlink};
use kptop::kernel::nftables;
use kptop::kernel::usage::thread_cpu;
use kptop::kernel::xtables::{Socket, TableReader};
use kptop::lab::{install_table, shop};
use kptop::proxy::iptables::{WriteOptions, write};
use kptop::proxy::{Action, nftables as nftables_proxy};
use kptop::ruleset::{IpFamily, RuleId};
use kptop::snapshot::Flows;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use std::net::{IpAddr, Ipv4Addr};
use std::process::{Command, Stdio};
use std::time::Instant;

const KPTOP: &str = env!("CARGO_BIN_EXE_kptop");
const ROUNDS: usize = 9;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    match args.first().map(String::as_str) {
        // A helper of its own for each child, so that its peak memory is its own.
        Some("child") => return child(&args[1..]),
        Some("ipvs") => ipvs(),
        Some("xtables") => xtables(),
        Some("conntrack") => conntrack(),
        Some("iptables-nft") => iptables_nft(),
        Some("nftables") => nftables_mode(),
        Some("ipset") => ipsets(),
        Some("refresh") => refresh(),
        _ => {
            xtables();
            iptables_nft();
            nftables_mode();
            refresh();
            ipsets();
            conntrack();
        }
    }
    write_table();
}

/// CPU milliseconds that `f` takes on this thread.
fn cpu_ms(f: impl FnOnce()) -> f64 {
    let before = thread_cpu();
    f();
    (thread_cpu() - before).as_secs_f64() * 1e3
}

/// CPU milliseconds and peak MiB of a program.
fn run(program: &str, args: &[&str]) -> (f64, f64) {
    let me = std::env::current_exe().unwrap();
    let out = Command::new(me).arg("child").arg(program).args(args).output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    let mut words = text.split_whitespace().map(|w| w.parse::<f64>().unwrap());
    (words.next().unwrap(), words.next().unwrap())
}

fn child(args: &[String]) {
    let status = Command::new(&args[0])
        .args(&args[1..])
        .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "{args:?}");
    let u = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    let ms = (u.user_time().num_microseconds() + u.system_time().num_microseconds()) as f64 / 1e3;
    println!("{ms} {}", u.max_rss() as f64 / 1024.0);
}

fn line(what: &str, ms: f64, base: Option<(&str, f64)>) {
    match base {
        Some((name, base)) => println!("  {what:<52} {ms:>9.1} ms   {:>5.2} of {name}", ms / base),
        None => println!("  {what:<52} {ms:>9.1} ms"),
    }
}

/// 7,200 Services with 4 endpoints: 100,000 rules in 36,000 chains, as kube-proxy 1.36 writes them.
fn xtables() {
    in_netns(|| {
        let services: Vec<_> = shop::services(Some(7_231), 4).split_off(31);
        let options = WriteOptions {
            cluster_cidr: "10.244.0.0/16".parse().ok(),
            large_cluster: false,
            ..Default::default()
        };
        for (table, _) in write(&services, IpFamily::V4, &options) {
            install_table(IpFamily::V4, &table).unwrap();
        }
        let socket = Socket::open(IpFamily::V4).unwrap();
        let info = socket.info("nat").unwrap();
        let mut buffer = Vec::new();
        let mut kept = TableReader::new(IpFamily::V4, "nat");
        let first = kept.read(&socket, &mut buffer).unwrap();
        println!(
            "x_tables, nat: {} rules, {} chains, {} MB in the kernel, {:.0} bytes a rule in kptop",
            first.table.rules.len(),
            first.table.chains.len(),
            info.size / 1_000_000,
            first.table.memory() as f64 / first.table.rules.len() as f64
        );
        let [mut bare, mut fresh, mut again, mut save, mut snapshot] = [const { Vec::new() }; 5];
        let (mut save_mib, mut snapshot_mib) = (0.0, 0.0);
        for _ in 0..ROUNDS {
            bare.push(cpu_ms(|| assert!(socket.entries(&info, &mut buffer).unwrap())));
            fresh.push(cpu_ms(|| {
                TableReader::new(IpFamily::V4, "nat").read(&socket, &mut buffer).unwrap();
            }));
            again.push(cpu_ms(|| {
                kept.read(&socket, &mut buffer).unwrap();
            }));
            let (ms, mib) = run("iptables-legacy-save", &["-c"]);
            save.push(ms);
            save_mib = mib;
            let (ms, mib) = run(KPTOP, &["snapshot", "-o", "json"]);
            snapshot.push(ms);
            snapshot_mib = mib;
        }
        let (bare, save) = (median(bare), median(save));
        let (fresh, again, snapshot) = (median(fresh), median(again), median(snapshot));
        let job = "x_tables, 7,200 Services with 4 endpoints, 100,000 rules: first read and parse";
        let beside = format!("{} for the bare `IPT_SO_GET_ENTRIES`", text(bare));
        record(job, &text(fresh), &beside, Some(fresh / bare));
        record("x_tables again, structure unchanged", &text(again), &beside, Some(again / bare));
        record(
            "whole process `kptop snapshot -o json` of them",
            &format!("{}, {snapshot_mib:.0} MiB", text(snapshot)),
            &format!("{}, {save_mib:.0} MiB for `iptables-legacy-save -c`", text(save)),
            Some(snapshot / save),
        );
        line("IPT_SO_GET_ENTRIES alone, buffer reused", bare, None);
        line("first read and parse", fresh, Some(("it (at most 1.6)", bare)));
        line("refresh, structure unchanged", again, Some(("it (at most 1.15)", bare)));
        line("iptables-legacy-save -c", save, None);
        line("kptop snapshot -o json, whole process", snapshot, Some(("it (at most 0.75)", save)));
        println!(
            "  peak memory: iptables-legacy-save {save_mib:.0} MiB, kptop snapshot {snapshot_mib:.0} MiB"
        );
    });
}

/// The same 100,000 rules in nf_tables, as iptables-nft keeps them.
fn iptables_nft() {
    in_netns(|| {
        let services: Vec<_> = shop::services(Some(7_231), 4).split_off(31);
        let options = WriteOptions {
            cluster_cidr: "10.244.0.0/16".parse().ok(),
            large_cluster: false,
            ..Default::default()
        };
        for (table, _) in write(&services, IpFamily::V4, &options) {
            install_table(IpFamily::V4, &table).unwrap();
        }
        let began = Instant::now();
        let loaded = Command::new("sh")
            .args(["-c", "iptables-legacy-save | iptables-nft-restore"])
            .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
            .status();
        assert!(loaded.is_ok_and(|s| s.success()));
        println!("  (loaded by iptables-nft-restore in {:.1} s)", began.elapsed().as_secs_f64());
        let mut client = nftables::Client::open().unwrap();
        let first = client.read().unwrap();
        let (rules, chains, bytes) = first.tables.iter().fold((0, 0, 0), |n, t| {
            let counters = t.counters.rules.capacity() * size_of::<kptop::ruleset::Counter>();
            (n.0 + t.table.rules.len(), n.1 + t.table.chains.len(), n.2 + t.table.memory() + counters)
        });
        println!(
            "iptables-nft: {rules} rules, {chains} chains, {:.0} bytes a rule in kptop, counters included",
            bytes as f64 / rules as f64
        );
        let [mut fresh, mut again, mut save, mut list] = [const { Vec::new() }; 4];
        for round in 0..5 {
            fresh.push(cpu_ms(|| {
                nftables::Client::open().unwrap().read().unwrap();
            }));
            again.push(cpu_ms(|| {
                client.read().unwrap();
            }));
            save.push(run("iptables-nft-save", &["-c"]).0);
            if round < 3 {
                list.push(run("nft", &["list", "ruleset"]).0);
            }
        }
        let (fresh, save, list) = (median(fresh), median(save), median(list));
        let job = "iptables-nft, the same rules: first read and parse";
        let beside = format!("{} for `iptables-nft-save -c`", text(save));
        record(job, &text(fresh), &beside, Some(fresh / save));
        let beside = format!("{} for `nft list ruleset`", text(list));
        record("the same beside nft", &text(fresh), &beside, Some(fresh / list));
        line("iptables-nft-save -c", save, None);
        line("nft list ruleset", list, None);
        line("first read and parse", fresh, Some(("iptables-nft-save (at most 0.6)", save)));
        line("the same", fresh, Some(("nft list ruleset (at most 0.1)", list)));
        line("all counters again, same generation", median(again), Some(("iptables-nft-save", save)));
    });
}

/// Puts kube-proxy's nftables mode into the namespace: so many Services with so many endpoints.
fn install_nftables(services: usize, backends: usize) {
    let services: Vec<_> = shop::services(Some(31 + services), backends).split_off(31);
    let options = nftables_proxy::WriteOptions {
        cluster_cidr: "10.244.0.0/16".parse().ok(),
        node_port_addresses: vec![IpAddr::V4(Ipv4Addr::new(192, 168, 50, 10))],
        ..Default::default()
    };
    let (table, counters) = nftables_proxy::write(&services, IpFamily::V4, &options);
    nftables::create(&table, &counters).unwrap();
}

/// What it takes to find the Services in a table that was read: it should grow with their number, no faster.
fn understanding() {
    let ms_per_service = |n: usize, refused: bool| {
        let mut services = shop::services(Some(31 + n), 10);
        services.drain(..services.len() - n);
        if refused {
            for s in &mut services {
                s.backends.clear();
                s.frontends.iter_mut().for_each(|f| f.action = Action::Reject);
            }
        }
        let (table, _) = nftables_proxy::write(&services, IpFamily::V4, &Default::default());
        let times =
            (0..3).map(|_| cpu_ms(|| assert_eq!(nftables_proxy::read(IpFamily::V4, &table).len(), n)));
        median(times.collect()) / n as f64
    };
    println!("nftables mode: a table -> Services, milliseconds for 1,000 of them");
    for (what, refused) in [("with 10 endpoints", false), ("without endpoints", true)] {
        let few = 1000.0 * ms_per_service(1_000, refused);
        line(&format!("among 1,000 Services {what}"), few, None);
        let many = 1000.0 * ms_per_service(10_000, refused);
        line(&format!("among 10,000 Services {what}"), many, Some(("that", few)));
    }
}

/// kube-proxy's nftables mode, 10,000 Services with 10 endpoints.
fn nftables_mode() {
    understanding();
    in_netns(|| {
        install_nftables(10_000, 10);
        let mut client = nftables::Client::open().unwrap();
        let first = client.read().unwrap();
        let t = &first.tables[0].table;
        println!(
            "nftables mode: {} rules, {} chains, {} sets with {} elements",
            t.rules.len(),
            t.chains.len(),
            t.sets.len(),
            t.element_count().unwrap_or(0)
        );
        let [mut fresh, mut again, mut list, mut bare, mut change] = [const { Vec::new() }; 5];
        let sets: Vec<&str> = t.sets.iter().map(|s| t.str(s.name)).collect();
        for _ in 0..3 {
            // What the kernel takes for the questions alone: each set by its name, answers thrown away.
            bare.push(cpu_ms(|| {
                let mut socket = Netlink::open_with(NETLINK_NETFILTER, 8192).unwrap();
                for name in &sets {
                    let ask = Request::nfnetlink(10, 13, 0, 2).attr_str(1, "kube-proxy").attr_str(2, name);
                    socket.dump("bare", ask, &mut |_| {}).unwrap();
                }
            }));
            run("nft", &["add", "chain", "ip", "kube-proxy", "another"]);
            change.push(cpu_ms(|| {
                client.read().unwrap();
            }));
            run("nft", &["delete", "chain", "ip", "kube-proxy", "another"]);
            client.read().unwrap();
            fresh.push(cpu_ms(|| {
                nftables::Client::open().unwrap().read().unwrap();
            }));
            again.push(cpu_ms(|| {
                client.read().unwrap();
            }));
            list.push(run("nft", &["-j", "list", "ruleset"]).0);
        }
        let outline = median(
            (0..3)
                .map(|_| {
                    cpu_ms(|| {
                        let found = nftables::Client::open().unwrap().outline().unwrap().unwrap();
                        let services = nftables_proxy::read(IpFamily::V4, &found.tables[0].table);
                        assert!(services.len() >= 10_000);
                    })
                })
                .collect(),
        );
        let list = median(list);
        let (fresh, change, again) = (median(fresh), median(change), median(again));
        let beside = format!("{} for `nft -j list ruleset`", text(list));
        let job = "nftables mode, 10,000 Services with 10 endpoints: first read and parse";
        record(job, &text(fresh), &beside, Some(fresh / list));
        record(
            "nftables mode, the same: first picture, without the endpoints",
            &text(outline),
            &beside,
            Some(outline / list),
        );
        record("nftables mode after a change", &text(change), &beside, Some(change / list));
        record("nftables mode, nothing changed", &text(again), &beside, Some(again / list));
        line("nft -j list ruleset", list, None);
        line("first read and parse", fresh, Some(("it (at most 0.1)", list)));
        let bare = median(bare);
        line("of it, the kernel's answers about 10,013 sets, unread", bare, Some(("nft's", list)));
        line("reading after a change: sets that are known stay", change, Some(("nft's", list)));
        line("refresh, same generation (nothing counts)", again, Some(("it", list)));
    });
}

/// What one reading costs while nothing changed: the counters of 50 Services on the screen, among few and among
/// many.
fn refresh() {
    println!("refresh of what is on the screen: 50 Services with 4 endpoints, iptables-nft, same generation");
    let mut base = None;
    for n in [100, 1_000, 10_000] {
        let (send, receive) = std::sync::mpsc::channel();
        in_netns(move || {
            let services: Vec<_> = shop::services(Some(31 + n), 4).split_off(31);
            let options = WriteOptions {
                cluster_cidr: "10.244.0.0/16".parse().ok(),
                large_cluster: false,
                ..Default::default()
            };
            for (table, counters) in write(&services, IpFamily::V4, &options) {
                nftables::create(&table, &counters).unwrap();
            }
            let mut client = nftables::Client::open().unwrap();
            let ruleset = client.read().unwrap();
            let nat = ruleset.tables.iter().find(|t| t.table.name == "nat").unwrap();
            let is_dnat = |i: &u32| nat.table.rules[*i as usize].target.as_dnat_to().is_some();
            let shown: Vec<RuleId> =
                (0..nat.table.rules.len() as u32).filter(is_dnat).take(200).map(RuleId).collect();
            let mut times = Vec::new();
            for _ in 0..ROUNDS * 5 {
                times.push(cpu_ms(|| {
                    client.generation().unwrap();
                    let watched = client.counters_of(&nat.table, &shown).unwrap().unwrap();
                    assert_eq!(watched.len(), 200);
                }));
            }
            let whole = cpu_ms(|| {
                client.read().unwrap();
            });
            send.send((median(times), whole)).unwrap();
        });
        let (ms, whole) = receive.recv().unwrap();
        let first = *base.get_or_insert(ms);
        let job =
            format!("counters of 50 Services on the screen, among {} in all", kptop::format::count(n as u64));
        let beside = format!("{} among 100", text(first));
        record(&job, &text(ms), &beside, Some(ms / first));
        line(&format!("{n} Services: 200 counters"), ms, Some(("that of 100 Services", first)));
        line(&format!("{n} Services: all counters"), whole, None);
    }
}

/// A set with 100,000 members.
fn ipsets() {
    in_netns(|| {
        let mut input = String::from("create big hash:ip,port maxelem 200000\n");
        for i in 0..100_000u32 {
            let address = Ipv4Addr::from(0x0a00_0000 + i);
            input.push_str(&format!("add big {address},tcp:80\n"));
        }
        let mut restore = Command::new("ipset")
            .arg("restore")
            .env("PATH", "/usr/sbin:/usr/bin")
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut restore.stdin.take().unwrap(), input.as_bytes()).unwrap();
        assert!(restore.wait().unwrap().success());
        let mut client = kptop::kernel::ipset::Client::open().unwrap();
        let [mut save, mut own, mut headers] = [const { Vec::new() }; 3];
        for _ in 0..5 {
            own.push(cpu_ms(|| {
                let sets = client.read(|_| true).unwrap();
                assert_eq!(sets[0].members.as_ref().unwrap().len(), 100_000);
            }));
            headers.push(cpu_ms(|| assert_eq!(client.headers().unwrap()[0].size, 100_000)));
            save.push(run("ipset", &["save"]).0);
        }
        let (save, own) = (median(save), median(own));
        let beside = format!("{} for `ipset save`", text(save));
        record("ipset, 100,000 members", &text(own), &beside, Some(own / save));
        println!("ipset: 100,000 members");
        line("ipset save", save, None);
        line("kptop's read", own, Some(("it (at most 0.1)", save)));
        line("its header alone", median(headers), Some(("it", save)));
    });
}

fn rss_mib() -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

/// 200,000 flows to 1,000 Services with 4 backends.
fn conntrack() {
    in_netns(|| {
        let mut client = Conntrack::open().unwrap();
        let n = 200_000u32;
        for i in 0..n {
            let source = IpAddr::V4(Ipv4Addr::from(0x0a80_0000 + i / 50_000));
            let frontend = IpAddr::V4(Ipv4Addr::from(0x0a60_0000 + i % 1000));
            let backend = IpAddr::V4(Ipv4Addr::from(0x0af4_0000 + i % 4000));
            let port = 10_000 + (i % 50_000) as u16;
            let original = Tuple {
                source,
                destination: frontend,
                protocol: 17,
                source_port: port,
                destination_port: 53,
            };
            let reply = Tuple {
                source: backend,
                destination: source,
                protocol: 17,
                source_port: 5353,
                destination_port: port,
            };
            client.create(original, reply, 3600).unwrap();
        }
        let [mut list, mut own] = [const { Vec::new() }; 2];
        let (mut mib, mut list_mib) = (0.0f64, 0.0);
        for _ in 0..5 {
            let before = rss_mib();
            let mut flows = Flows::default();
            own.push(cpu_ms(|| client.flows(|f| flows.add(f)).unwrap()));
            assert_eq!(flows.total, u64::from(n));
            assert_eq!(flows.groups.len(), 4000);
            mib = mib.max(rss_mib() - before);
            let (ms, peak) = run("conntrack", &["-L"]);
            list.push(ms);
            list_mib = peak;
        }
        println!("conntrack: {n} flows, 4,000 pairs of frontend and backend");
        let (list, own) = (median(list), median(own));
        let beside = format!("{}, {list_mib:.0} MiB for `conntrack -L`", text(list));
        record(
            "conntrack, 200,000 flows",
            &format!("{}, {mib:.1} MiB", text(own)),
            &beside,
            Some(own / list),
        );
        line("conntrack -L", list, None);
        line("kptop's dump, counted by pair", own, Some(("it (at most 0.55)", list)));
        println!("  memory: conntrack {list_mib:.0} MiB, kptop {mib:.1} MiB more (at most 16)");
    });
}

/// 2,000 virtual servers with 4 real servers.
fn ipvs() {
    in_netns(|| {
        let mut client = Ipvs::open().unwrap();
        for i in 0..2_000u32 {
            let address = |net: u32| IpAddr::V4(Ipv4Addr::from(net + i));
            let real_servers =
                (0..4u32).map(|n| RealServer::new(address(0x0af4_0000 + n * 0x4000), 8080, 1)).collect();
            let server = VirtualServer {
                family: IpFamily::V4,
                address: VirtualAddress::Socket { protocol: 6, address: address(0x0a60_0000), port: 80 },
                scheduler: "rr".into(),
                flags: 0,
                timeout: 0,
                netmask: u32::MAX,
                persistence_engine: None,
                stats: IpvsStats::default(),
                real_servers,
            };
            client.add(&server).unwrap();
        }
        let [mut list, mut own] = [const { Vec::new() }; 2];
        for _ in 0..5 {
            // Wall time too: a guest kernel of user-mode Linux counts no user time.
            let began = Instant::now();
            let read = client.read().unwrap();
            own.push(began.elapsed().as_secs_f64() * 1e3);
            assert_eq!(read.servers.iter().map(|s| s.real_servers.len()).sum::<usize>(), 8_000);
            let wall = |program: &str, args: &[&str]| {
                let began = Instant::now();
                run(program, args);
                began.elapsed().as_secs_f64() * 1e3
            };
            // Less what starting a program costs in the guest.
            let start = wall("true", &[]);
            list.push(wall("ipvsadm", &["-Ln", "--stats"]) - start);
        }
        let (list, own) = (median(list), median(own));
        let beside = format!("{} for `ipvsadm -Ln --stats`", text(list));
        let job = "IPVS, 2,000 virtual servers with 4 real servers (in a VM, wall time)";
        record(job, &text(own), &beside, Some(own / list));
        println!("IPVS: 2,000 services with 4 real servers (wall time, in a VM: only the ratio holds)");
        line("ipvsadm -Ln --stats, less the start of a program", list, None);
        line("kptop's read", own, Some(("it (at most 0.5)", list)));
    });
}
