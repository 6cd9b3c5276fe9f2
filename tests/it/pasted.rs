//! What people paste: every form of text, with prompts, fences, indentation, other line ends, cut off, and with a line that is none of
//! it. One line costs one line.

use crate::common::recordings::Place;
use crate::common::{read, set, sets};
use kptop::snapshot::{Snapshot, dump};
use proptest::prelude::*;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// A form: what prints it, the text, and whether a cut or a strange line costs more than itself (objects in JSON and YAML).
struct Sample {
    command: &'static str,
    text: String,
    nested: bool,
}

fn samples() -> &'static [Sample] {
    static ALL: OnceLock<Vec<Sample>> = OnceLock::new();
    ALL.get_or_init(|| {
        let of = |mode: &str, file: &str| read(&set("1.36.2", mode), file).unwrap();
        let s = |command, text: String, nested| Sample { command, text, nested };
        let kube_proxy = |file: &str| {
            let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kube-proxy/1.36.3/iptables-legacy/healthy");
            read(dir.as_ref(), file).unwrap()
        };
        let saved = of("iptables-legacy", "iptables-save-c.txt");
        let nat: Vec<&str> = saved.lines().skip_while(|l| *l != "*nat").take_while(|l| *l != "COMMIT").collect();
        // The same as commands, and as a listing.
        let mut commands = String::new();
        for l in &nat {
            match l.strip_prefix(':') {
                Some(rest) => {
                    let (chain, rest) = rest.split_once(' ').unwrap();
                    match rest.starts_with("ACCEPT") {
                        true => commands.push_str(&format!("-P {chain} ACCEPT\n")),
                        false => commands.push_str(&format!("-N {chain}\n")),
                    }
                }
                None => commands.push_str(&l.split_once("] ").map_or(String::new(), |r| format!("{}\n", r.1))),
            }
        }
        let listing = "Chain PREROUTING (policy ACCEPT 12 packets, 3456 bytes)\n pkts bytes target     prot opt in     out     source               destination         \n   27  1908 KUBE-SERVICES  all  --  *      *       0.0.0.0/0            0.0.0.0/0            /* kubernetes service portals */\n\nChain KUBE-SERVICES (1 references)\n pkts bytes target     prot opt in     out     source               destination         \n    3   180 KUBE-SVC-NPX46M4PTMTKRN6Y  tcp  --  *      *       0.0.0.0/0            10.96.0.1            /* default/kubernetes:https cluster IP */ tcp dpt:443\n\nChain KUBE-SVC-NPX46M4PTMTKRN6Y (1 references)\n pkts bytes target     prot opt in     out     source               destination         \n    1    60 KUBE-SEP-AAAAAAAAAAAAAAAA  all  --  *      *       0.0.0.0/0            0.0.0.0/0            /* default/kubernetes:https -> 1.2.3.4:6443 */\n\nChain KUBE-SEP-AAAAAAAAAAAAAAAA (1 references)\n pkts bytes target     prot opt in     out     source               destination         \n    1    60 DNAT       tcp  --  *      *       0.0.0.0/0            0.0.0.0/0            /* default/kubernetes:https */ tcp to:1.2.3.4:6443\n";
        let services = of("iptables-legacy", "services.json");
        let yaml = "apiVersion: v1\nitems:\n- apiVersion: v1\n  kind: Service\n  metadata:\n    name: cart\n    namespace: shop\n  spec:\n    clusterIP: 10.96.2.3\n    ports:\n    - name: http\n      port: 80\n      protocol: TCP\n    type: ClusterIP\n- apiVersion: v1\n  kind: Endpoints\n  metadata:\n    name: cart\n    namespace: shop\n  subsets:\n  - addresses:\n    - ip: 10.244.0.3\n    ports:\n    - name: http\n      port: 8080\n      protocol: TCP\nkind: List\n";
        vec![
            s("iptables-save -c", saved.clone(), false),
            s("iptables -t nat -S", commands, false),
            s("iptables -t nat -nvL", listing.into(), false),
            s("nft list ruleset", of("nftables", "nft-list-ruleset.txt"), true),
            s("nft -j list ruleset", of("nftables", "nft-list-ruleset.json"), true),
            s("ipvsadm -Ln", of("ipvs-legacy", "ipvsadm-Ln.txt"), false),
            s("ipvsadm -Ln --stats", of("ipvs-legacy", "ipvsadm-Ln-stats.txt"), false),
            s("ipvsadm -Sn", of("ipvs-legacy", "ipvsadm-Sn.txt"), false),
            s("ipset save", of("ipvs-legacy", "ipset-save.txt"), true),
            s("conntrack -L", of("iptables-legacy", "conntrack-L.txt"), false),
            s("ip addr", of("iptables-legacy", "ip-addr.txt"), true),
            s("ip route", of("iptables-legacy", "ip-route.txt"), false),
            s("sysctl -a", of("iptables-legacy", "sysctl.txt"), false),
            s("kubectl get svc -A -o json", services, true),
            s("kubectl get svc,ep -A -o yaml", yaml.into(), true),
            s("kubectl get svc -A -o wide", "NAMESPACE   NAME         TYPE        CLUSTER-IP   EXTERNAL-IP   PORT(S)         AGE   SELECTOR\ndefault     kubernetes   ClusterIP   10.96.0.1    <none>        443/TCP         9d    <none>\nshop        cart         NodePort    10.96.2.9    <none>        8080:30080/TCP  9d    app=cart\n".into(), false),
            s("ipvsadm -Lnc", "IPVS connection entries\npro expire state       source             virtual            destination\nTCP 14:59  ESTABLISHED 10.0.0.1:40000     10.96.0.1:443      1.2.3.4:6443\nTCP 14:58  ESTABLISHED 10.0.0.1:40001     10.96.0.1:443      1.2.3.4:6443\n".into(), false),
            s("ip neigh", "10.0.0.7 dev eth0 lladdr 02:00:00:00:00:07 REACHABLE\n10.0.0.9 dev eth0 FAILED\n".into(), false),
            s("nstat -az", "#kernel\nIpInReceives                    100                0.0\nTcpExtListenOverflows           3                  0.0\nTcpExtListenDrops               3                  0.0\n".into(), false),
            s("conntrack -S", "cpu=0   \tfound=1 invalid=2 insert=0 insert_failed=3 drop=0 early_drop=0 error=0 search_restart=9\ncpu=1   \tfound=1 invalid=2 insert=0 insert_failed=3 drop=0 early_drop=0 error=0 search_restart=9\n".into(), false),
            s("nfacct list", "{ pkts = 00000000000000000007, bytes = 00000000000000000900 } = ct_state_invalid_dropped_pkts;\n".into(), false),
            s("ip -j addr", r#"[{"ifindex":1,"ifname":"lo","flags":["LOOPBACK","UP"],"addr_info":[{"family":"inet","local":"127.0.0.1","prefixlen":8}]},{"ifindex":2,"ifname":"eth0","flags":["UP"],"addr_info":[{"family":"inet","local":"10.0.0.1","prefixlen":24}]}]"#.into(), true),
            s("ip -j route", r#"[{"dst":"default","gateway":"10.0.0.254","dev":"eth0","flags":[]},{"dst":"10.0.0.0/24","dev":"eth0","protocol":"kernel","scope":"link","prefsrc":"10.0.0.1","flags":[]}]"#.into(), true),
            s("ip rule", "0:\tfrom all lookup local\n32766:\tfrom all lookup main\n32767:\tfrom all lookup default\n".into(), false),
            s("cat /proc/net/snmp", "Ip: Forwarding DefaultTTL InReceives InHdrErrors InAddrErrors ForwDatagrams InUnknownProtos InDiscards\nIp: 1 64 100 0 2 90 0 3\nUdp: InDatagrams NoPorts InErrors\nUdp: 10 4 0\n".into(), true),
            s("cat /proc/net/softnet_stat", "0057eb35 00000000 00000001 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000\n00535ec5 00000002 00000003 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000\n".into(), false),
            s("netstat -s", "Ip:\n    Forwarding: 1\n    218088 total packets received\n    90 forwarded\n    3 incoming packets discarded\n    210594 requests sent out\nTcp:\n    17 segments retransmitted\nUdp:\n    4 packets to unknown port received\nTcpExt:\n    22 times the listen queue of a socket overflowed\n    22 SYNs to LISTEN sockets dropped\n".into(), false),
            s("cat /proc/net/stat/nf_conntrack", "entries  clashres found new invalid ignore delete chainlength insert insert_failed drop early_drop icmp_error  expect_new expect_create expect_delete search_restart\n00000007  00000000 00000001 00000000 00000002 00000000 00000000 00000000 00000000 00000003 00000000 00000000 00000000  00000000 00000000 00000000 00000009\n00000007  00000000 00000001 00000000 00000002 00000000 00000000 00000000 00000000 00000003 00000000 00000000 00000000  00000000 00000000 00000000 00000009\n".into(), false),
            s("cat /proc/net/nf_conntrack", of("iptables-legacy", "conntrack-L.txt").lines().filter(|l| l.starts_with("tcp ") || l.starts_with("udp ")).map(|l| format!("ipv4     2 {l}\n")).collect(), false),
            s("cat /proc/net/ip_vs", "IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port Scheduler Flags\n  -> RemoteAddress:Port Forward Weight ActiveConn InActConn\nTCP  0A600001:01BB rr\n  -> 01020304:192B      Masq    1      3          0\nUDP  0A60000A:0035 rr\n  -> 0AF40003:0035      Masq    1      0          7\n  -> 0AF40004:0035      Masq    1      0          8\n".into(), false),
            s("cat /proc/net/ip_vs_conn", "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\nTCP 0A000001 9C40 0A600001 01BB 01020304 192B ESTABLISHED     899\nTCP 0A000001 9C41 0A600001 01BB 01020304 192B ESTABLISHED     898\n".into(), false),
            s("cat /proc/net/ip_vs_stats", "   Total Incoming Outgoing         Incoming         Outgoing\n   Conns  Packets  Packets            Bytes            Bytes\n       7       2A       1B             F00              A00\n".into(), false),
            s("ipvsadm -Ln --rate", "IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port                 CPS    InPPS   OutPPS    InBPS   OutBPS\n  -> RemoteAddress:Port\nTCP  10.96.0.1:443                       1       10        9     1000      900\n  -> 1.2.3.4:6443                        1       10        9     1000      900\n".into(), false),
            s("ss -tlnp", "State  Recv-Q Send-Q Local Address:Port  Peer Address:Port Process\nLISTEN 0      4096   127.0.0.1:10249       0.0.0.0:*     users:((\"kube-proxy\",pid=1234,fd=8))\nLISTEN 0      4096   *:10256               *:*           users:((\"kube-proxy\",pid=1234,fd=9))\n".into(), false),
            s("kubectl describe svc -n shop cart", "Name:                     cart\nNamespace:                shop\nLabels:                   <none>\nAnnotations:              <none>\nSelector:                 app=cart\nType:                     NodePort\nIP Family Policy:         SingleStack\nIP Families:              IPv4\nIP:                       10.96.2.9\nIPs:                      10.96.2.9\nPort:                     http  80/TCP\nTargetPort:               8080/TCP\nNodePort:                 http  30080/TCP\nEndpoints:                10.244.0.3:8080,10.244.0.4:8080\nSession Affinity:         None\nExternal Traffic Policy:  Cluster\nEvents:                   <none>\n".into(), true),
            s("kubectl logs -n kube-system kube-proxy-x2x4z", "I1129 10:00:00.000000       1 server.go:655] \"Version info\" version=\"v1.31.0\"\nI1129 10:00:00.100000       1 server_linux.go:132] \"Using iptables Proxier\"\nI1129 10:00:00.200000       1 config.go:105] \"Starting endpoint slice config controller\"\n".into(), false),
            s("curl -s http://127.0.0.1:10249/metrics", kube_proxy("metrics.txt"), true),
            s("curl -s http://127.0.0.1:10249/configz", kube_proxy("configz.json"), true),
            s("curl -s http://127.0.0.1:10256/healthz", kube_proxy("healthz.json"), true),
            s("cat /proc/net/xt_recent/KUBE-SEP-NPX46M4PTMTKRN6Y", "src=10.0.0.1 ttl: 64 last_seen: 4295000000 oldest_pkt: 1 4295000000\nsrc=10.0.0.2 ttl: 64 last_seen: 4295000100 oldest_pkt: 1 4295000100\n".into(), false),
        ]
    })
}

/// How much was understood.
fn amount(s: &Snapshot) -> usize {
    let tables: usize = s
        .tables
        .iter()
        .map(|t| {
            t.table.rules.len()
                + t.table.chains.len()
                + t.table.sets.iter().map(|s| s.elements.as_ref().map_or(0, Vec::len)).sum::<usize>()
        })
        .sum();
    let ipvs = s.ipvs.iter().flat_map(|i| &i.value.servers).map(|v| 1 + v.real_servers.len()).sum::<usize>();
    let sets = s
        .ipsets
        .iter()
        .flat_map(|i| i.value.iter())
        .map(|i| 1 + i.members.as_ref().map_or(0, Vec::len))
        .sum::<usize>();
    let flows = s
        .conntrack
        .as_ref()
        .map_or(0, |c| c.flows.as_ref().map_or(0, |f| f.value.total as usize) + c.cpus.len());
    let cluster = s.cluster.as_ref().map_or(0, |c| c.services.iter().map(|x| 1 + x.endpoints.len()).sum());
    let counters = s.counters.as_ref().map_or(0, |c| c.value.named.len() + c.value.softnet.len());
    let remembered = s.remembered.iter().flat_map(|r| &r.value.lists).map(|l| l.1.len()).sum::<usize>();
    let accounts = s.accounts.as_ref().map_or(0, |a| a.value.len());
    tables
        + ipvs
        + sets
        + flows
        + cluster
        + counters
        + accounts
        + remembered
        + usize::from(s.kube_proxy.is_some())
        + s.addresses.len()
        + s.links.len()
        + s.routes.len()
        + s.sysctls.len()
}

fn write(place: &Place, text: &str) -> PathBuf {
    let file = place.file("pasted");
    std::fs::write(&file, text).unwrap();
    file
}

#[test]
fn every_sample_is_understood() {
    let place = Place::new("pasted-plain");
    for s in samples() {
        let snapshot = dump::read(&[write(&place, &s.text)]).unwrap_or_else(|e| panic!("{}: {e}", s.command));
        let parts = &snapshot.parts;
        assert_eq!(parts.len(), 1, "{}: {parts:?}", s.command);
        // Of these kptop uses single lines, and says so.
        let is_used_in_part = ["netstat", "kubectl logs", "cat /proc/net/ip_vs_stats"];
        match is_used_in_part.iter().any(|c| s.command.starts_with(c)) {
            true => assert!(!parts[0].notes.is_empty(), "{}: {parts:?}", s.command),
            false => assert_eq!(parts[0].unused, 0, "{}: {parts:?}", s.command),
        }
        // Neighbours and rules count only with routes and interfaces.
        let counts_alone = !["ip neigh", "ip rule", "cat /proc/net/ip_vs_stats"].contains(&s.command);
        assert!(amount(&snapshot) > 0 || !counts_alone, "{}", s.command);
    }
}

/// What stands around a text when it is pasted.
#[derive(Clone, Debug)]
enum Around {
    Nothing,
    Prompt(&'static str),
    Heading(&'static str, &'static str),
    Fence,
}

fn around() -> impl Strategy<Value = Around> {
    prop_oneof![
        Just(Around::Nothing),
        prop_oneof![Just("# "), Just("$ "), Just("root@node-a:~# "), Just("[root@node-a ~]# ")]
            .prop_map(Around::Prompt),
        prop_oneof![
            Just(("=== ", " ===")),
            Just(("*** Output of ", " ***")),
            Just(("--- ", " ---")),
            Just(("## ", ""))
        ]
        .prop_map(|(a, b)| Around::Heading(a, b)),
        Just(Around::Fence),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// What is only around it changes nothing.
    #[test]
    fn what_is_around_a_text_changes_nothing(n in any::<prop::sample::Index>(), around in around(), indent in 0usize..5, crlf: bool, coloured: bool) {
        let s = n.get(samples());
        let place = Place::new("pasted-around");
        let plain = amount(&dump::read(&[write(&place, &s.text)]).unwrap());
        let mut text: String = match indent {
            0 => s.text.clone(),
            _ => s.text.lines().map(|l| format!("{}{l}\n", " ".repeat(indent))).collect(),
        };
        if coloured {
            text = text.lines().enumerate().map(|(i, l)| if i % 3 == 0 { format!("\u{1b}[1m{l}\u{1b}[0m\n") } else { format!("{l}\n") }).collect();
        }
        let mut text = match around {
            Around::Nothing => text,
            Around::Prompt(p) => format!("{p}{}\n{text}{p}\n", s.command),
            Around::Heading(a, b) => format!("{a}{}{b}\n{text}", s.command),
            Around::Fence => format!("```\n{text}```\n"),
        };
        if crlf {
            text = text.replace('\n', "\r\n");
        }
        let snapshot = dump::read(&[write(&place, &text)]);
        prop_assert!(snapshot.is_ok(), "{}: {:?}", s.command, snapshot.err());
        prop_assert_eq!(amount(&snapshot.unwrap()), plain, "{}", s.command);
    }

    /// A line that is none of it, at any place: it costs itself, and is counted.
    #[test]
    fn one_line_costs_one_line(n in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), line in prop_oneof![
        Just("Connection to 10.0.0.1 closed."),
        Just("what is this?"),
        Just("Nov 29 10:00:00 node kernel: something happened"),
    ]) {
        let s = n.get(samples());
        let place = Place::new("pasted-line");
        let plain = amount(&dump::read(&[write(&place, &s.text)]).unwrap());
        let mut lines: Vec<&str> = s.text.lines().collect();
        let at = at.index(lines.len() + 1).max(1);
        lines.insert(at, line);
        let text = lines.join("\n") + "\n";
        let read = dump::read(&[write(&place, &text)]);
        prop_assert!(read.is_ok(), "{} at {at}: {:?}", s.command, read.err());
        let snapshot = read.unwrap();
        let got = amount(&snapshot);
        // In a list of elements or an object it costs that list or object.
        let least = if s.nested { plain / 3 } else { plain.saturating_sub(1) };
        prop_assert!(got >= least, "{} at {at}: {got} of {plain}", s.command);
        let part = &snapshot.parts[0];
        let said = part.unused > 0 || !part.notes.is_empty() || got > plain;
        prop_assert!(said || s.nested || at == lines.len(), "{} at {at}: nothing is said: {part:?}", s.command);
    }

    /// A text that ends early: what came before is used, or it is refused with a reason.
    #[test]
    fn a_text_that_was_cut_off_gives_what_came_before(n in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), inside: bool) {
        let s = n.get(samples());
        let place = Place::new("pasted-cut");
        let lines: Vec<&str> = s.text.split_inclusive('\n').collect();
        let at = at.index(lines.len());
        let mut text = lines[..at].concat();
        if inside {
            text.push_str(&lines[at][..lines[at].floor_char_boundary(lines[at].len() / 2)]);
        }
        match dump::read(&[write(&place, &text)]) {
            // So little that nobody knows what it is.
            Err(why) => prop_assert!(at < 15 || s.nested, "{} at {at} of {}: {why}", s.command, lines.len()),
            Ok(snapshot) => {
                // Of a text of single lines nearly all of them.
                let least = if s.nested || at < 15 || s.command == "sysctl -a" { 0 } else { at / 4 };
                prop_assert!(amount(&snapshot) >= least, "{} at {at} of {}: {}", s.command, lines.len(), amount(&snapshot));
            }
        }
    }
}

/// Several commands in one text, and both families.
#[test]
fn several_commands_in_one_text() {
    let place = Place::new("pasted-several");
    let wanted = ["iptables-save -c", "ipvsadm -Ln", "ipset save", "conntrack -L", "ip addr", "sysctl -a"];
    let mut text = String::new();
    let mut sum = 0;
    for s in samples().iter().filter(|s| wanted.contains(&s.command)) {
        text.push_str(&format!("root@node-a:~# {}\n{}", s.command, s.text));
        sum += amount(&dump::read(&[write(&place, &s.text)]).unwrap());
    }
    let snapshot = dump::read(&[write(&place, &text)]).unwrap();
    assert_eq!(snapshot.parts.len(), wanted.len(), "{:?}", snapshot.parts);
    assert_eq!(amount(&snapshot), sum);
    assert!(snapshot.parts.iter().all(|p| p.command.is_some()), "{:?}", snapshot.parts);
}

/// A bundle: the same files in a directory, in archives, and of several nodes.
#[test]
fn bundles_are_read_as_their_files() {
    let place = Place::new("pasted-bundles");
    let dir = set("1.36.2", "iptables-legacy");
    let plain = amount(&dump::read(std::slice::from_ref(&dir)).unwrap());
    let tar = |name: &str, nodes: &[&str]| -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for node in nodes {
            tar.append_dir_all(format!("{name}/{node}/sos_commands"), &dir).unwrap();
        }
        tar.into_inner().unwrap()
    };
    let save = |name: &str, bytes: &[u8]| {
        let file = place.file(name);
        std::fs::write(&file, bytes).unwrap();
        file
    };
    let one = tar("sosreport-worker", &["root"]);
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gz, &one).unwrap();
    let mut xz = Vec::new();
    lzma_rs::xz_compress(&mut one.as_slice(), &mut xz).unwrap();
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let files = |dir: &Path| std::fs::read_dir(dir).unwrap().flatten().map(|f| f.path()).collect::<Vec<_>>();
    let mut to_pack = files(&dir);
    while let Some(path) = to_pack.pop() {
        if path.is_dir() {
            to_pack.extend(files(&path));
            continue;
        }
        let name = path.strip_prefix(&dir).unwrap().to_string_lossy();
        zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        std::io::Write::write_all(&mut zip, &std::fs::read(&path).unwrap()).unwrap();
    }
    for (name, bytes) in [
        ("a.tar", one.clone()),
        ("a.tar.gz", gz.finish().unwrap()),
        ("a.tar.xz", xz),
        ("a.zip", zip.finish().unwrap().into_inner()),
    ] {
        let snapshot = dump::read(&[save(name, &bytes)]).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(amount(&snapshot), plain, "{name}");
    }
    // Cut off: what came before.
    let cut = save("cut.tar", &one[..one.len() * 3 / 4]);
    let snapshot = dump::read(&[cut]).unwrap();
    assert!(
        amount(&snapshot) > 0 && snapshot.failed().any(|u| u.why.contains("ends early")),
        "{:?}",
        snapshot.unread
    );
    // Several nodes.
    let two = save("cluster.tar", &tar("bundle", &["node-a", "node-b"]));
    let why = dump::read(std::slice::from_ref(&two)).unwrap_err();
    assert!(why.contains("of 2 nodes: node-a, node-b") && why.contains("--node node-a"), "{why}");
    let of = |node| dump::read_of(std::slice::from_ref(&two), dump::BUDGET, Some(node));
    assert_eq!(amount(&of("node-b").unwrap()), plain);
    assert!(of("node-c").unwrap_err().contains("there are node-a, node-b"));
    // Bytes that are none.
    for (name, bytes) in [
        ("b.tar.gz", &b"\x1f\x8bnonsense"[..]),
        ("b.zip", b"PK\x03\x04nonsense"),
        ("b.xz", b"\xfd7zXZ\0nonsense"),
    ] {
        assert!(dump::read(&[save(name, bytes)]).is_err(), "{name}");
    }
}

/// What `kptop collect --as-text` writes is what the tools print: it is read back to the same.
#[test]
fn what_kptop_writes_as_text_is_read_back() {
    let place = Place::new("pasted-as-text");
    for (version, mode) in sets(&["iptables-legacy", "iptables-nft", "nftables", "ipvs-legacy"]) {
        let first = dump::read(&[set(version, mode)]).unwrap();
        let dir = place.file(&format!("{version}-{mode}"));
        std::fs::create_dir_all(&dir).unwrap();
        for f in kptop::tool_text::files(&first) {
            std::fs::write(dir.join(f.name), f.text).unwrap();
        }
        let second = dump::read(&[dir]).unwrap();
        let unused: Vec<_> = second.parts.iter().filter(|p| p.unused > 0 || p.lines == 0).collect();
        assert!(unused.is_empty(), "{version}/{mode}: {unused:?}");
        let tables = |s: &Snapshot| -> Vec<String> {
            s.tables.iter().map(|t| format!("{:?} {}", t.backend, t.table.text(&t.counters))).collect()
        };
        for (a, b) in tables(&first).iter().zip(&tables(&second)) {
            let differs = a.lines().zip(b.lines()).find(|(a, b)| a != b);
            assert!(a == b, "{version}/{mode}: {differs:?}");
        }
        assert_eq!(first.tables.len(), second.tables.len());
        assert_eq!(first.ipvs.map(|i| i.value.servers.clone()), second.ipvs.map(|i| i.value.servers.clone()));
        let members = |s: &Snapshot| {
            s.ipsets
                .iter()
                .flat_map(|i| i.value.iter())
                .map(|i| (i.name.clone(), i.members.clone()))
                .collect::<Vec<_>>()
        };
        let (a, b) = (
            dump::read(&[set(version, mode)]).unwrap(),
            dump::read(&[place.file(&format!("{version}-{mode}"))]).unwrap(),
        );
        assert_eq!(members(&a), members(&b));
        assert_eq!((&a.addresses, &a.sysctls), (&b.addresses, &b.sysctls), "{version}/{mode}");
        // Slices may be put together otherwise: the endpoints are the same.
        let services = |s: &Snapshot| {
            let mut all: Vec<_> = s.cluster.iter().flat_map(|c| &c.services).map(|s| (**s).clone()).collect();
            all.iter_mut().for_each(|s| s.changed_at = None);
            all
        };
        assert_eq!(services(&a), services(&b), "{version}/{mode}");
    }
}

#[test]
fn what_was_used_is_reported() {
    let place = Place::new("pasted-report");
    let saved = read(&set("1.36.2", "iptables-legacy"), "iptables-save-c.txt").unwrap();
    let file = write(&place, &saved.replacen("*nat", "*nat\nwhat is this", 1));
    let out = std::process::Command::new(env!("CARGO_BIN_EXE_kptop"))
        .arg("--from")
        .arg(&file)
        .arg("files")
        .output()
        .unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    assert_eq!(out.status.code(), Some(0), "{text}");
    for wanted in ["iptables-save", "1 line not understood", "add what ip addr prints"] {
        assert!(text.contains(wanted), "no `{wanted}` in:\n{text}");
    }
    let out = std::process::Command::new(env!("CARGO_BIN_EXE_kptop"))
        .args(["files", "-o", "json", "--from"])
        .arg(&file)
        .output()
        .unwrap();
    let json: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!((&json["schema"], &json["parts"][0]["unused"]), (&"kptop.files/1".into(), &1.into()));
}

/// A virtual server of a firewall mark is a Service; of statistics alone no weight is known; flows are there one by one.
#[test]
fn marks_weights_and_flows_of_files() {
    let place = Place::new("pasted-ipvs");
    let list = "IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port Scheduler Flags\n  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\nFWM  4096 wlc\n  -> 10.244.0.3:0                 Tunnel  1      2          0\n";
    let json = crate::common::recordings::json(dump::read(&[write(&place, list)]).unwrap());
    let all: serde_json::Value = serde_json::from_str(&json).unwrap();
    let s = &all["services"][0];
    assert_eq!((&s["mode"], &s["frontends"][0]["kind"]), (&"ipvs".into(), &"firewall_mark".into()), "{s}");
    assert_eq!(
        (&s["health"]["state"], &s["backends"][0]["counters"]["active"]),
        (&"unknown".into(), &2.into())
    );
    let snapshot = dump::read(&[set("1.36.2", "iptables-legacy").join("conntrack-L.txt.gz")]).unwrap();
    let flows = &snapshot.conntrack.as_ref().unwrap().flows.as_ref().unwrap().value;
    assert!(flows.all_kept && flows.followed.len() as u64 == flows.total);
}
